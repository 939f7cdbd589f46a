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
from modules import engine
from modules import errors
from modules import ledger
from modules import margin_calls
from modules import payoff
from modules import pins
from modules import signatures
from modules import state_hash
from modules import state_rules
from modules import status as life
from modules import terms_rules
from modules import tokens
from modules import vault

implements: IAdjudicator

initializes: vault
initializes: pins
initializes: engine[pins := pins]

exports: (vault.claim, vault.push, vault.claimable, pins.pinned)

# channel -> packed `status.Slot`
slots: HashMap[bytes32, uint256]
# channel -> struct hash of the registered state
registered: HashMap[bytes32, bytes32]


# ── Money in ────────────────────────────────────────────────────────────────────────────────────────────────────────


@external
def deposit(terms: IAdjudicator.Terms, party: uint8, amount: uint256):
    """
    @notice See `IAdjudicator.deposit`.
    """
    self._deposit(terms, party, amount)


@external
def deposit_with_permit(
    terms: IAdjudicator.Terms, party: uint8, amount: uint256, deadline: uint256, v: uint8, r: bytes32, s: bytes32
):
    """
    @notice See `IAdjudicator.deposit_with_permit`.
    """
    tokens._try_permit(convert(terms.token, address), msg.sender, amount, deadline, v, r, s)
    self._deposit(terms, party, amount)


# ── States ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@external
def checkpoint(terms: IAdjudicator.Terms, state: IAdjudicator.State, sig0: Bytes[65], sig1: Bytes[65]):
    """
    @notice See `IAdjudicator.checkpoint`.
    """
    channel: bytes32 = state_hash._channel(terms)
    slot: life.Slot = self._live_slot(channel, terms)
    state_digest: bytes32 = self._require_agreed(channel, terms, slot, state, sig0, sig1)
    money: ledger.Ledger = vault._ledger(channel)
    if slot.deadline == 0:
        errors._require(state.intent == state_rules.OPERATE, "adjudicator: operate states only")
        slot.calls = margin_calls._disarmed(slot.calls)
    else:
        errors._require(state.intent == state_rules.REOPEN, "adjudicator: not a reopen state")
        errors._require(
            money.paid[0] <= state.withdrawal0 and money.paid[1] <= state.withdrawal1,
            "adjudicator: misses a payment",
        )
        slot.deadline = 0
        slot.calls = [0, 0]

    self._register(channel, slot, state, state_digest)
    vault._pay_due(channel, terms, money, ledger._withdrawals_due(state, money))


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
        self._require_operate(channel, terms, slot, state, sig0, sig1)
        slot.calls = margin_calls._disarmed(slot.calls)
    if slot.deadline == 0:
        slot.deadline = block.timestamp + terms.challenge_period
    money: ledger.Ledger = vault._ledger(channel)

    self._register(channel, slot, state, state_digest)
    vault._pay_due(channel, terms, money, ledger._withdrawals_due(state, money))


@external
def challenge_unsigned(terms: IAdjudicator.Terms):
    """
    @notice See `IAdjudicator.challenge_unsigned`.
    """
    channel: bytes32 = state_hash._channel(terms)
    slot: life.Slot = self._live_slot(channel, terms)
    errors._require(slot.version == 0 and slot.deadline == 0, "adjudicator: already registered")
    self._require_side(terms)

    nothing: IAdjudicator.State = empty(IAdjudicator.State)
    nothing.channel = channel
    slot.deadline = block.timestamp + terms.challenge_period

    self._register(channel, slot, nothing, state_hash._state(nothing))


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


# ── Margin ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@external
def margin_call(
    terms: IAdjudicator.Terms,
    state: IAdjudicator.State,
    sig0: Bytes[65],
    sig1: Bytes[65],
    book: Bytes[7712],
    party: uint8,
    witness: DynArray[uint256, 4],
):
    """
    @notice See `IAdjudicator.margin_call`.
    """
    channel: bytes32 = state_hash._channel(terms)
    slot: life.Slot = self._live_slot(channel, terms)
    self._require_other_side(terms, party)
    state_digest: bytes32 = state_hash._state(state)
    if self.registered[channel] != state_digest:
        errors._require(life._phase(slot) != life.SETTLING, "adjudicator: deadline passed")
        self._require_operate(channel, terms, slot, state, sig0, sig1)
        slot.calls = margin_calls._disarmed(slot.calls)
    stands: bool = margin_calls._stands(slot.calls[party], terms, state.book, book)
    errors._require(not stands, "adjudicator: call pending")
    # Margin is measured after the withdrawals that the state authorises: they are paid in the same breath.
    money: ledger.Ledger = vault._ledger(channel)
    due: uint256[2] = ledger._withdrawals_due(state, money)
    left: ledger.Ledger = ledger._after(money, due)
    engine._require_breach(
        channel, terms, state.book, book, party, ledger._cash(state, left, party), witness, False
    )
    slot.calls[party] = margin_calls._made(slot.calls[party], terms.cure_period)

    self._register(channel, slot, state, state_digest)
    log IAdjudicator.Called(
        channel=channel, party=party, deadline=convert(margin_calls._pending(slot.calls[party]), uint64)
    )
    vault._pay_due(channel, terms, money, due)


@external
def cure(terms: IAdjudicator.Terms, state: IAdjudicator.State, book: Bytes[7712], party: uint8):
    """
    @notice See `IAdjudicator.cure`.
    """
    channel: bytes32 = state_hash._channel(terms)
    slot: life.Slot = self._live_slot(channel, terms)
    self._require_party(party)
    self._require_registered(channel, state)
    errors._require(slot.calls[party] >= margin_calls.ARMED, "adjudicator: no call pending")
    cash: int256 = ledger._cash(state, vault._ledger(channel), party)
    excess: int256 = engine._excess(channel, terms, state.book, book, party, cash, False)
    errors._require(excess >= 0, "adjudicator: not compliant")

    slot.calls[party] = 0
    self.slots[channel] = life._pack(slot)
    log IAdjudicator.Cured(channel=channel, party=party)


@external
def liquidate(
    terms: IAdjudicator.Terms,
    state: IAdjudicator.State,
    book: Bytes[7712],
    party: uint8,
    witness: DynArray[uint256, 4],
):
    """
    @notice See `IAdjudicator.liquidate`.
    """
    channel: bytes32 = state_hash._channel(terms)
    slot: life.Slot = self._live_slot(channel, terms)
    self._require_other_side(terms, party)
    self._require_registered(channel, state)
    executable: bool = margin_calls._is_executable(slot.calls[party], terms, state.book, book)
    errors._require(executable, "adjudicator: no executable call")
    cash: int256 = ledger._cash(state, vault._ledger(channel), party)
    value: int256 = 0
    charge: int256 = 0
    value, charge = engine._require_breach(channel, terms, state.book, book, party, cash, witness, True)
    if margin_calls._is_executable(slot.calls[1 - party], terms, state.book, book):
        # Both failed their calls: neither earns by being the first to say so.
        charge = 0

    log IAdjudicator.Liquidated(channel=channel, party=party, value0=value, charge=charge)
    if party == 0:
        charge = -charge
    self._close(channel, terms, slot, state, value + charge)


@external
def release(
    terms: IAdjudicator.Terms, state: IAdjudicator.State, book: Bytes[7712], party: uint8, amount: uint256
):
    """
    @notice See `IAdjudicator.release`.
    """
    channel: bytes32 = state_hash._channel(terms)
    slot: life.Slot = self._live_slot(channel, terms)
    self._require_settling(slot)
    self._require_party(party)
    self._require_side_of(terms, party)
    self._require_registered(channel, state)
    errors._require(amount != 0, "adjudicator: zero amount")
    money: ledger.Ledger = vault._ledger(channel)
    cash: int256 = ledger._cash(state, money, party)
    spare: int256 = engine._excess(channel, terms, state.book, book, party, cash, True)
    # Gains that no expiry has realised stay: what secures them may be gone by then.
    settled: int256 = pins._settled(channel, terms, state.book, book, True)
    if party == 1:
        settled = -settled
    spare = min(spare, cash + payoff._token_units_down(settled, terms.decimals))
    # What an insolvent other side owes is not in the pot.
    spare = min(spare, convert(ledger._pot(money), int256))
    errors._require(amount < state_rules.LIMIT and convert(amount, int256) <= spare, "adjudicator: beyond the excess")
    due: uint256[2] = [0, 0]
    due[party] = amount

    log IAdjudicator.Released(channel=channel, party=party, amount=amount)
    vault._pay_due(channel, terms, money, due)


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
    settling: bool = life._phase(slot) == life.SETTLING
    pins._pin(channel, terms, state.book, book, underlying, convert(expiry, uint256), settling)


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
    money: ledger.Ledger = vault._ledger(channel)
    due: uint256[2] = ledger._withdrawals_due(state, money)
    errors._require(due[0] != 0 or due[1] != 0, "adjudicator: nothing due")

    vault._pay_due(channel, terms, money, due)


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
    errors._require(
        block.timestamp >= max(terms.last_resort, slot.deadline) + waiting, "adjudicator: too early"
    )

    self._close(channel, terms, slot, state, 0)


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
    money: ledger.Ledger = vault._ledger(channel)
    return IAdjudicator.Status(
        phase=life._phase(slot),
        version=convert(slot.version, uint64),
        deadline=convert(slot.deadline, uint64),
        cure_deadlines=[
            convert(margin_calls._pending(slot.calls[0]), uint64),
            convert(margin_calls._pending(slot.calls[1]), uint64),
        ],
        registered=self.registered[channel],
        deposits=money.deposits,
        paid=money.paid,
    )


@external
@view
def effective_settlement(terms: IAdjudicator.Terms, underlying: bytes32, expiry: uint64) -> uint256:
    """
    @notice See `IAdjudicator.effective_settlement`.
    """
    return pins._settlement(state_hash._channel(terms), terms.source, underlying, convert(expiry, uint256))


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
    return ledger._payouts(state, vault._ledger(channel), self._payoff(channel, terms, state, book))


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
@pure
def _require_party(party: uint8):
    """
    @notice There are two.
    """
    errors._require(party < 2, "adjudicator: no such party")


@internal
@view
def _is_side(terms: IAdjudicator.Terms, party: uint8) -> bool:
    """
    @notice Whether the caller is `party`'s signer or owner.
    """
    caller: uint256 = convert(msg.sender, uint256)
    if party == 0:
        return caller == terms.signer0 or caller == terms.owner0
    return caller == terms.signer1 or caller == terms.owner1


@internal
@view
def _require_side(terms: IAdjudicator.Terms):
    """
    @notice The caller is a signer or an owner.
    """
    if not self._is_side(terms, 0):
        self._require_side_of(terms, 1)


@internal
@view
def _require_side_of(terms: IAdjudicator.Terms, party: uint8):
    """
    @notice The caller is `party`'s signer or owner.
    """
    is_side: bool = self._is_side(terms, party)
    errors._require(is_side, "adjudicator: not a side")


@internal
@view
def _require_other_side(terms: IAdjudicator.Terms, party: uint8):
    """
    @notice The caller is of the side that a margin call against `party` protects: nobody calls, or liquidates, itself.
    """
    self._require_party(party)
    self._require_side_of(terms, 1 - party)


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
    signatures._check(terms.signer0, signed, sig0)
    signatures._check(terms.signer1, signed, sig1)
    return state_digest


@internal
@view
def _require_operate(
    channel: bytes32,
    terms: IAdjudicator.Terms,
    slot: life.Slot,
    state: IAdjudicator.State,
    sig0: Bytes[65],
    sig1: Bytes[65],
):
    """
    @notice An agreed state, and an OPERATE one: what may be registered without ending anything.
    """
    self._require_agreed(channel, terms, slot, state, sig0, sig1)
    errors._require(state.intent == state_rules.OPERATE, "adjudicator: operate states only")


@internal
@view
def _require_registered(channel: bytes32, state: IAdjudicator.State):
    """
    @notice `state` is exactly the registered one. Its channel is then this one: it was checked when it was registered.
    """
    errors._require(self.registered[channel] == state_hash._state(state), "adjudicator: not as registered")


# ── Compute ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@internal
@view
def _payoff(
    channel: bytes32, terms: IAdjudicator.Terms, state: IAdjudicator.State, book: Bytes[7712]
) -> int256:
    """
    @notice What the legs pay party 0, in token units. Every leg must have expired and have its price.
    """
    settled: int256 = pins._settled(channel, terms, state.book, book, False)
    return payoff._token_units(settled, terms.decimals)


# ── Write, emit, call ───────────────────────────────────────────────────────────────────────────────────────────────


@internal
def _deposit(terms: IAdjudicator.Terms, party: uint8, amount: uint256):
    """
    @notice Credit `amount` to `party` and pull it from the caller.
    """
    channel: bytes32 = state_hash._channel(terms)
    errors._require(life._unpack(self.slots[channel]).closed == 0, "adjudicator: closed")
    self._require_party(party)
    errors._require(amount != 0, "adjudicator: zero amount")
    totals: uint256[2] = vault._deposits(channel)
    if totals[0] | totals[1] == 0:
        terms_rules._check_new(terms)
    # Room is positive, so an amount beyond every bound cannot wrap around it.
    errors._require(amount < state_rules.LIMIT - totals[party], "adjudicator: deposit too large")
    totals[party] += amount

    vault._credit(channel, totals)
    log IAdjudicator.Deposited(channel=channel, party=party, amount=amount, total=totals[party])
    tokens._pull(convert(terms.token, address), msg.sender, amount)


@internal
def _register(channel: bytes32, slot: life.Slot, state: IAdjudicator.State, state_digest: bytes32):
    """
    @notice Make `state` the registered one.
    """
    slot.version = state.version

    self.slots[channel] = life._pack(slot)
    self.registered[channel] = state_digest
    log IAdjudicator.Registered(channel=channel, deadline=convert(slot.deadline, uint64), state=state)


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
    """
    payouts: uint256[2] = ledger._payouts(state, vault._ledger(channel), payoff_0)

    self.slots[channel] = life._pack(life.Slot(version=state.version, deadline=0, calls=[0, 0], closed=1))
    if slot.version != 0 or slot.deadline != 0:
        self.registered[channel] = empty(bytes32)
    vault._empty(channel, terms, payouts)
