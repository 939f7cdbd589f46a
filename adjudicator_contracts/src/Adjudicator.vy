# pragma version 0.4.3
# pragma evm-version cancun
# pragma nonreentrancy on
"""
@title Adjudicator
@license MIT
@notice Holds the collateral of option channels and pays it out by the last state both parties signed.
@dev One singleton per chain, without owner, admin, upgrade, pause or fee. Per channel it stores four words; terms, states
     and books come in calldata and are checked against hashes. What callers must know stands in `IAdjudicator`.
     Every entry point reads in the same beats: require, compute, write, emit, call. Every external function is locked
     against re-entrancy (views too, so that nobody reads half a payment); only `push`, our own frame, is not.
"""

from interfaces import IAdjudicator
from modules import errors
from modules import ledger
from modules import payoff
from modules import prices
from modules import signatures
from modules import state_hash
from modules import state_rules
from modules import status as life
from modules import terms_rules
from modules import tokens

implements: IAdjudicator

# Origins of a pinned price.
FROM_SETTLEMENT: constant(uint8) = 0
FROM_SPOT: constant(uint8) = 1
FROM_BOOK: constant(uint8) = 2

# Where the price of an expired leg is looked up.
struct PriceKey:
    channel: bytes32
    underlying: bytes32
    expiry: uint64

# channel -> packed `status.Slot`
slots: HashMap[bytes32, uint256]
# channel -> struct hash of the registered state
registered: HashMap[bytes32, bytes32]
# channel -> cumulative deposits and payments, each packed as `ledger` says
deposits: HashMap[bytes32, uint256]
payments: HashMap[bytes32, uint256]
# keccak256(abi.encode(PriceKey)) -> pinned price
pins: HashMap[bytes32, uint256]
# token -> owner -> what failed pushes left behind
deferred: HashMap[address, HashMap[address, uint256]]


# ── Money in ────────────────────────────────────────────────────────────────────────────────────────────────────────


@external
def deposit(terms: IAdjudicator.Terms, party: uint8, amount: uint256):
    """
    @notice See `IAdjudicator.deposit`.
    """
    channel: bytes32 = state_hash._channel(terms)
    errors._require(life._unpack(self.slots[channel]).closed == 0, "adjudicator: closed")
    errors._require(party < 2, "adjudicator: no such party")
    errors._require(amount != 0, "adjudicator: zero amount")
    before: uint256 = self.deposits[channel]
    if before == 0:
        terms_rules._check_new(terms)

    totals: uint256[2] = ledger._unpack(before, 0).deposits
    # Room is positive, so an amount beyond every bound cannot wrap around it.
    errors._require(amount < state_rules.LIMIT - totals[party], "adjudicator: deposit too large")
    totals[party] += amount

    self.deposits[channel] = ledger._pack(totals)
    log IAdjudicator.Deposited(channel=channel, party=party, amount=amount, total=totals[party])
    tokens._pull(convert(terms.token, address), msg.sender, amount)


# ── States ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@external
def checkpoint(terms: IAdjudicator.Terms, state: IAdjudicator.State, sig0: Bytes[65], sig1: Bytes[65]):
    """
    @notice See `IAdjudicator.checkpoint`.
    """
    channel: bytes32 = state_hash._channel(terms)
    slot: life.Slot = self._live_slot(channel, terms)
    state_digest: bytes32 = self._require_agreed(channel, terms, slot, state, sig0, sig1)
    book: ledger.Ledger = self._ledger(channel)
    if slot.deadline == 0:
        errors._require(state.intent == state_rules.OPERATE, "adjudicator: only an operate state while open")
    else:
        errors._require(state.intent == state_rules.REOPEN, "adjudicator: only a reopen ends a dispute")
        errors._require(
            book.paid[0] <= state.withdrawal0
            and book.paid[1] <= state.withdrawal1,
            "adjudicator: reopen misses a payment",
        )
        slot.deadline = 0
        slot.cure_deadline_0 = 0
        slot.cure_deadline_1 = 0

    self._register(channel, terms, slot, state, state_digest, book)


@external
def challenge(terms: IAdjudicator.Terms, state: IAdjudicator.State, sig0: Bytes[65], sig1: Bytes[65]):
    """
    @notice See `IAdjudicator.challenge`.
    """
    channel: bytes32 = state_hash._channel(terms)
    slot: life.Slot = self._live_slot(channel, terms)
    state_digest: bytes32 = state_hash._state(state)
    if slot.deadline == 0:
        self._require_side(terms)
    else:
        errors._require(block.timestamp < slot.deadline, "adjudicator: deadline passed")
    if slot.deadline != 0 or self.registered[channel] != state_digest:
        self._require_agreed(channel, terms, slot, state, sig0, sig1)
        errors._require(state.intent == state_rules.OPERATE, "adjudicator: only an operate state in a challenge")
    if slot.deadline == 0:
        slot.deadline = block.timestamp + terms.challenge_period

    self._register(channel, terms, slot, state, state_digest, self._ledger(channel))


@external
def challenge_unsigned(terms: IAdjudicator.Terms):
    """
    @notice See `IAdjudicator.challenge_unsigned`.
    """
    channel: bytes32 = state_hash._channel(terms)
    slot: life.Slot = self._live_slot(channel, terms)
    errors._require(slot.version == 0 and slot.deadline == 0, "adjudicator: something is registered")
    self._require_side(terms)

    nothing: IAdjudicator.State = empty(IAdjudicator.State)
    nothing.channel = channel
    slot.deadline = block.timestamp + terms.challenge_period

    self._register(channel, terms, slot, nothing, state_hash._state(nothing), self._ledger(channel))


@external
def close(terms: IAdjudicator.Terms, state: IAdjudicator.State, sig0: Bytes[65], sig1: Bytes[65]):
    """
    @notice See `IAdjudicator.close`.
    """
    channel: bytes32 = state_hash._channel(terms)
    slot: life.Slot = self._live_slot(channel, terms)
    self._require_agreed(channel, terms, slot, state, sig0, sig1)
    errors._require(state.intent == state_rules.CLOSE, "adjudicator: not a close state")

    self._close(channel, terms, slot, state, 0)


# ── Prices ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@external
def pin(
    terms: IAdjudicator.Terms,
    state: IAdjudicator.State,
    book: Bytes[7712],
    underlying: bytes32,
    expiry: uint64,
):
    """
    @notice See `IAdjudicator.pin`.
    """
    channel: bytes32 = state_hash._channel(terms)
    slot: life.Slot = self._live_slot(channel, terms)
    self._require_registered(channel, state)
    contents: payoff.Book = self._open_book(state, book)
    errors._require(payoff._contains(contents, underlying, convert(expiry, uint256)), "adjudicator: no such leg")
    errors._require(block.timestamp >= convert(expiry, uint256), "adjudicator: not expired")
    pin_key: bytes32 = self._pin_key(channel, underlying, expiry)
    errors._require(self.pins[pin_key] == 0, "adjudicator: already pinned")

    origin: uint8 = FROM_SETTLEMENT
    # Checked above; unchecked here, because a code generator may put two checks in either order, and so their reasons.
    since: uint256 = unsafe_sub(block.timestamp, convert(expiry, uint256))
    grace: uint256 = terms.grace
    price: uint256 = prices._settlement(convert(terms.source, address), underlying, expiry)
    if price == 0 and since >= grace:
        origin = FROM_SPOT
        price = prices._fresh_spot(convert(terms.source, address), underlying, expiry, terms.spot_max_age)
    if price == 0 and since >= 2 * grace and life._phase(slot) == life.SETTLING:
        origin = FROM_BOOK
        price = payoff._spot(contents, underlying)
    errors._require(price != 0, "adjudicator: no price yet")

    self.pins[pin_key] = price
    log IAdjudicator.Pinned(channel=channel, underlying=underlying, expiry=expiry, price=price, origin=origin)


# ── Money out ───────────────────────────────────────────────────────────────────────────────────────────────────────


@external
def settle(terms: IAdjudicator.Terms, state: IAdjudicator.State, book: Bytes[7712]):
    """
    @notice See `IAdjudicator.settle`.
    """
    channel: bytes32 = state_hash._channel(terms)
    slot: life.Slot = self._live_slot(channel, terms)
    self._require_settling(slot)
    self._require_registered(channel, state)

    self._close(channel, terms, slot, state, self._payoff(channel, terms, state, book))


@external
def pay(terms: IAdjudicator.Terms, state: IAdjudicator.State):
    """
    @notice See `IAdjudicator.pay`.
    """
    channel: bytes32 = state_hash._channel(terms)
    self._live_slot(channel, terms)
    self._require_registered(channel, state)
    book: ledger.Ledger = self._ledger(channel)
    due: uint256[2] = ledger._withdrawals_due(state, book)
    errors._require(due[0] != 0 or due[1] != 0, "adjudicator: nothing due")

    self._pay(channel, terms, book, due)


@external
def last_resort(terms: IAdjudicator.Terms, state: IAdjudicator.State):
    """
    @notice See `IAdjudicator.last_resort`.
    """
    channel: bytes32 = state_hash._channel(terms)
    slot: life.Slot = self._live_slot(channel, terms)
    self._require_settling(slot)
    self._require_registered(channel, state)
    waiting: uint256 = terms.challenge_period + 2 * terms.grace
    start: uint256 = max(terms.last_resort, slot.deadline) + waiting
    errors._require(block.timestamp >= start, "adjudicator: too early")

    self._close(channel, terms, slot, state, 0)


@external
def claim(token: address, owner: address):
    """
    @notice See `IAdjudicator.claim`.
    """
    amount: uint256 = self.deferred[token][owner]
    errors._require(amount != 0, "adjudicator: nothing to claim")

    self.deferred[token][owner] = 0
    log IAdjudicator.Claimed(token=token, owner=owner, amount=amount)
    tokens._transfer(token, owner, amount, msg.gas)


@external
@reentrant
def push(token: address, owner: address, amount: uint256):
    """
    @notice See `IAdjudicator.push`.
    """
    errors._require(msg.sender == self, "adjudicator: only the adjudicator")

    tokens._transfer(token, owner, amount, tokens.PUSH_GAS)


# ── Views ───────────────────────────────────────────────────────────────────────────────────────────────────────────


@external
@view
def channel_id(terms: IAdjudicator.Terms) -> bytes32:
    """
    @notice See `IAdjudicator.channel_id`.
    """
    return state_hash._channel(terms)


@external
@view
def digest(state: IAdjudicator.State) -> bytes32:
    """
    @notice See `IAdjudicator.digest`.
    """
    return state_hash._digest(state_hash._state(state))


@external
@view
def status(channel: bytes32) -> IAdjudicator.Status:
    """
    @notice See `IAdjudicator.status`.
    """
    slot: life.Slot = life._unpack(self.slots[channel])
    book: ledger.Ledger = self._ledger(channel)
    return IAdjudicator.Status(
        phase=life._phase(slot),
        version=convert(slot.version, uint64),
        deadline=convert(slot.deadline, uint64),
        cure_deadlines=[convert(slot.cure_deadline_0, uint64), convert(slot.cure_deadline_1, uint64)],
        registered=self.registered[channel],
        deposits=book.deposits,
        paid=book.paid,
    )


@external
@view
def pinned(channel: bytes32, underlying: bytes32, expiry: uint64) -> uint256:
    """
    @notice See `IAdjudicator.pinned`.
    """
    return self.pins[self._pin_key(channel, underlying, expiry)]


@external
@view
def effective_settlement(terms: IAdjudicator.Terms, underlying: bytes32, expiry: uint64) -> uint256:
    """
    @notice See `IAdjudicator.effective_settlement`.
    """
    if block.timestamp < convert(expiry, uint256):
        return 0
    return self._effective_settlement(state_hash._channel(terms), convert(terms.source, address), underlying, expiry)


@external
@view
def entitlements(
    terms: IAdjudicator.Terms, state: IAdjudicator.State, book: Bytes[7712]
) -> uint256[2]:
    """
    @notice See `IAdjudicator.entitlements`.
    """
    channel: bytes32 = state_hash._channel(terms)
    errors._require(state.channel == channel, "adjudicator: wrong channel")
    return ledger._payouts(state, self._ledger(channel), self._payoff(channel, terms, state, book))


@external
@view
def claimable(token: address, owner: address) -> uint256:
    """
    @notice See `IAdjudicator.claimable`.
    """
    return self.deferred[token][owner]


# ── Require ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@internal
@view
def _live_slot(channel: bytes32, terms: IAdjudicator.Terms) -> life.Slot:
    """
    @notice The channel's slot, unless it is closed. A channel that nothing was registered in has its terms checked.
    """
    slot: life.Slot = life._unpack(self.slots[channel])
    errors._require(slot.closed == 0, "adjudicator: closed")
    if slot.version == 0:
        terms_rules._check(terms)
    return slot


@internal
@view
def _require_settling(slot: life.Slot):
    """
    @notice The dispute's deadline has come.
    """
    errors._require(life._phase(slot) == life.SETTLING, "adjudicator: not settling")


@internal
@view
def _require_side(terms: IAdjudicator.Terms):
    """
    @notice The caller is a signer or an owner.
    """
    errors._require(convert(msg.sender, uint256) in terms.signers or convert(msg.sender, uint256) in terms.owners, "adjudicator: not a side")


@internal
@view
def _require_agreed(
    channel: bytes32,
    terms: IAdjudicator.Terms,
    slot: life.Slot,
    state: IAdjudicator.State,
    sig0: Bytes[65],
    sig1: Bytes[65],
) -> bytes32:
    """
    @notice `state` is a well-formed state of this channel, newer than the recorded one, and signed by both parties.
    @return Its struct hash.
    """
    errors._require(state.channel == channel, "adjudicator: wrong channel")
    errors._require(state.version > slot.version, "adjudicator: stale version")
    state_rules._check(state)
    state_digest: bytes32 = state_hash._state(state)
    signed: bytes32 = state_hash._digest(state_digest)
    signatures._check(terms.signers[0], signed, sig0)
    signatures._check(terms.signers[1], signed, sig1)
    return state_digest


@internal
@view
def _require_registered(channel: bytes32, state: IAdjudicator.State):
    """
    @notice `state` is exactly the registered one. Its channel is then this one: it was checked when it was registered.
    """
    errors._require(self.registered[channel] == state_hash._state(state), "adjudicator: not the registered state")


# ── Compute ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@internal
@view
def _ledger(channel: bytes32) -> ledger.Ledger:
    """
    @notice Cumulative deposits and payments.
    """
    return ledger._unpack(self.deposits[channel], self.payments[channel])


@internal
@pure
def _open_book(state: IAdjudicator.State, book: Bytes[7712]) -> payoff.Book:
    """
    @notice The state's book, decoded. No book is the empty one.
    """
    name: bytes32 = empty(bytes32)
    if len(book) != 0:
        name = keccak256(book)
    errors._require(state.book == name, "adjudicator: wrong book")
    if name == empty(bytes32):
        return empty(payoff.Book)
    return payoff._decode(book)


@internal
@pure
def _pin_key(channel: bytes32, underlying: bytes32, expiry: uint64) -> bytes32:
    """
    @notice Where the pinned price of an expiry lies.
    """
    return keccak256(abi_encode(PriceKey(channel=channel, underlying=underlying, expiry=expiry)))


@internal
@view
def _effective_settlement(channel: bytes32, source: address, underlying: bytes32, expiry: uint64) -> uint256:
    """
    @notice The pinned price, else the source's, zero for neither. The expiry must have passed.
    """
    price: uint256 = self.pins[self._pin_key(channel, underlying, expiry)]
    if price != 0:
        return price
    return prices._settlement(source, underlying, expiry)


@internal
@view
def _payoff(
    channel: bytes32, terms: IAdjudicator.Terms, state: IAdjudicator.State, book: Bytes[7712]
) -> int256:
    """
    @notice What the legs pay party 0, in token units. Every leg must have expired and have its price.
    """
    total: int256 = 0
    underlying: bytes32 = empty(bytes32)
    expiry: uint256 = 0
    price: uint256 = 0
    contents: payoff.Book = self._open_book(state, book)
    for leg: payoff.Leg in contents.legs:
        # Legs are sorted, so each price is looked up once.
        if price == 0 or leg.expiry != expiry or leg.underlying != underlying:
            errors._require(block.timestamp >= leg.expiry, "adjudicator: live leg")
            underlying = leg.underlying
            expiry = leg.expiry
            price = self._effective_settlement(channel, convert(terms.source, address), underlying, convert(expiry, uint64))
            errors._require(price != 0, "adjudicator: no settlement price")
        total += payoff._intrinsic(leg, price)
    return payoff._token_units(total, terms.decimals)


# ── Write, emit, call ───────────────────────────────────────────────────────────────────────────────────────────────


@internal
def _register(
    channel: bytes32,
    terms: IAdjudicator.Terms,
    slot: life.Slot,
    state: IAdjudicator.State,
    state_digest: bytes32,
    book: ledger.Ledger,
):
    """
    @notice Make `state` the registered one and pay the withdrawals it authorises.
    """
    due: uint256[2] = ledger._withdrawals_due(state, book)
    slot.version = state.version

    self.slots[channel] = life._pack(slot)
    self.registered[channel] = state_digest
    log IAdjudicator.Registered(channel=channel, deadline=convert(slot.deadline, uint64), state=state)
    if due[0] != 0 or due[1] != 0:
        self._pay(channel, terms, book, due)


@internal
def _pay(channel: bytes32, terms: IAdjudicator.Terms, book: ledger.Ledger, due: uint256[2]):
    """
    @notice Book the withdrawals that are due, then push them.
    """
    book.paid[0] += due[0]
    book.paid[1] += due[1]
    # Holds by construction of `due`; asserted because both keys may be one person's and the other channels' money is here.
    ledger._pot(book)

    self.payments[channel] = ledger._pack(book.paid)
    for i: uint256 in range(2):
        if due[i] != 0:
            log IAdjudicator.Paid(channel=channel, party=convert(i, uint8), amount=due[i], total=book.paid[i])
    for i: uint256 in range(2):
        self._send(channel, convert(terms.token, address), convert(terms.owners[i], address), due[i])


@internal
def _close(
    channel: bytes32,
    terms: IAdjudicator.Terms,
    slot: life.Slot,
    state: IAdjudicator.State,
    payoff_0: int256,
):
    """
    @notice Pay out the whole pot by `state` and leave the tombstone.
    @dev The ledger is wiped: a closed channel has no pot, so nothing could be paid from it even without the phase check.
    """
    payouts: uint256[2] = ledger._payouts(state, self._ledger(channel), payoff_0)

    self.slots[channel] = life._pack(
        life.Slot(
            version=state.version, deadline=0, cure_deadline_0=0, cure_deadline_1=0, closed=1
        )
    )
    self.deposits[channel] = 0
    self.payments[channel] = 0
    if slot.version != 0 or slot.deadline != 0:
        self.registered[channel] = empty(bytes32)
    log IAdjudicator.Closed(channel=channel, payout0=payouts[0], payout1=payouts[1])
    for i: uint256 in range(2):
        self._send(channel, convert(terms.token, address), convert(terms.owners[i], address), payouts[i])


@internal
def _send(channel: bytes32, token: address, owner: address, amount: uint256):
    """
    @notice Push `amount`, or leave it for `claim`.
    @dev Writes after the call; the lock makes that safe, and the amount had already left the pot.
    """
    if amount == 0 or tokens._try_push(token, owner, amount):
        return
    self.deferred[token][owner] += amount
    log IAdjudicator.Deferred(channel=channel, owner=owner, token=token, amount=amount)
