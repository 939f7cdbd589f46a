"""The adjudicator said a second time, in plain Python: what the deployed one is held against, step by step.

Written from protocol §3 and from the interface's promises, without hashes, packing, gas or storage. Every entry point
either raises `Refused` with the text the contract must give and changes nothing, or changes the model and returns the
events the contract must emit. Amounts are token units, prices WAD, times unix seconds, as everywhere.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import astuple, dataclass, field
from typing import Any, NamedTuple

from channels.errors import BadSignature
from channels.seal.verify import HALF_ORDER, recover
from tests.contracts.encoding import (
    CALL,
    CLOSE,
    CLOSED,
    DISPUTED,
    OPEN,
    OPERATE,
    PUT,
    REOPEN,
    SETTLING,
    Leg,
    State,
    Terms,
)
from tests.contracts.permits import Permit

LIMIT = 2**120
MAX_PRICE = 2**96
ELEVEN_YEARS = 11 * 365 * 86_400

Signatures = tuple[bytes, bytes]


class Refused(Exception):
    """The model refuses; `reason` is the revert string that the contract must give."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Said(NamedTuple):
    """One event the contract must emit."""

    name: str
    args: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Contents:
    """A book as far as the adjudicator looks into it."""

    legs: tuple[Leg, ...]
    spots: Mapping[bytes, int]

    @property
    def lines(self) -> tuple[tuple[bytes, int], ...]:
        """(underlying, expiry) of the legs, each once, in their order."""
        return tuple(dict.fromkeys((leg.underlying, leg.expiry) for leg in self.legs))


@dataclass(slots=True)
class Source:
    """A price source; while it is `dead` (reverts, burns its gas, answers nonsense) it says nothing."""

    dead: bool = False
    settlements: dict[tuple[bytes, int], int] = field(default_factory=dict)
    spots: dict[bytes, tuple[int, int]] = field(default_factory=dict)

    def settlement(self, underlying: bytes, expiry: int) -> int:
        """Return the settlement price, zero for missing."""
        return 0 if self.dead else _bounded(self.settlements.get((underlying, expiry), 0))

    def fresh_spot(self, underlying: bytes, expiry: int, now: int, max_age: int) -> int:
        """Return a spot seen at or after the expiry and not too long ago, zero for missing."""
        price, seen = (0, 0) if self.dead else self.spots.get(underlying, (0, 0))
        return _bounded(price) if expiry <= seen <= now <= seen + max_age else 0


@dataclass(slots=True)
class Money:
    """A token: balances, what the adjudicator may take of them, permits used, and who it refuses to pay."""

    balances: defaultdict[str, int] = field(default_factory=lambda: defaultdict(int))
    allowed: defaultdict[str, int] = field(default_factory=lambda: defaultdict(int))
    nonces: defaultdict[str, int] = field(default_factory=lambda: defaultdict(int))
    refused: set[str] = field(default_factory=set)

    def move(self, sender: str, receiver: str, amount: int) -> bool:
        """Move tokens if the token lets them."""
        if receiver in self.refused or self.balances[sender] < amount:
            return False
        self.balances[sender] -= amount
        self.balances[receiver] += amount
        return True

    def permit(self, permit: Permit, now: int, *signature: Any) -> None:
        """Let the adjudicator take what an owner permits; not by one that is late, used or another's."""
        if now <= permit.deadline and permit.is_signed(*signature):
            self.nonces[permit.owner] += 1
            self.allowed[permit.owner] = permit.amount


@dataclass(frozen=True, slots=True)
class MarginCall:
    """A margin call: its cure deadline, zero for never, and whether it stands against the registered version."""

    deadline: int = 0
    armed: bool = False


@dataclass(slots=True)
class Account:
    """One channel as the adjudicator must know it."""

    terms: Terms
    id: bytes
    deposits: list[int] = field(default_factory=lambda: [0, 0])
    paid: list[int] = field(default_factory=lambda: [0, 0])
    version: int = 0
    deadline: int = 0
    registered: State | None = None
    closed: bool = False
    pins: dict[tuple[bytes, int], int] = field(default_factory=dict)
    calls: list[MarginCall] = field(default_factory=lambda: [MarginCall(), MarginCall()])

    @property
    def pot(self) -> int:
        """What the channel still holds."""
        return sum(self.deposits) - sum(self.paid)

    def phase(self, now: int) -> int:
        """Return the phase at `now`; the deadline's own second is SETTLING."""
        if self.closed:
            return CLOSED
        if not self.deadline:
            return OPEN
        return DISPUTED if now < self.deadline else SETTLING

    def is_side(self, sender: str) -> bool:
        """Return whether `sender` is a signer or an owner."""
        return sender in (*self.terms.signers, *self.terms.owners)

    def is_side_of(self, sender: str, party: int) -> bool:
        """Return whether `sender` is the party's signer or owner."""
        return sender in (self.terms.signers[party], self.terms.owners[party])

    def due(self, state: State) -> tuple[int, int]:
        """Return the withdrawals that `state` authorises and that can be paid now, party 0 first."""
        if state.deposit0 > self.deposits[0] or state.deposit1 > self.deposits[1]:
            return 0, 0
        first = min(max(0, state.withdrawal0 - self.paid[0]), self.pot)
        return first, min(max(0, state.withdrawal1 - self.paid[1]), self.pot - first)

    def cash(self, state: State) -> tuple[int, int]:
        """Return each party's share of the pot before the legs: balance, deposits not yet in it, unpaid withdrawals."""
        return (
            state.balance0 + self.deposits[0] - state.deposit0 + state.withdrawal0 - self.paid[0],
            state.balance1 + self.deposits[1] - state.deposit1 + state.withdrawal1 - self.paid[1],
        )

    def payouts(self, state: State, payoff: int) -> tuple[int, int]:
        """Return how the whole pot splits when the channel ends on `state`."""
        first = min(max(self.cash(state)[0] + payoff, 0), self.pot)
        return first, self.pot - first


class Adjudicator:
    """The model. `digest` and `book_hash` name things; `contents` opens book bytes, None where they cannot be read."""

    def __init__(
        self,
        address: str,
        digest: Callable[[State], bytes],
        book_hash: Callable[[bytes], bytes],
        contents: Callable[[bytes], Contents | None],
    ) -> None:
        self.address = address
        self.now = 0
        self.accounts: dict[bytes, Account] = {}
        self.money: dict[str, Money] = {}
        self.sources: dict[str, Source] = {}
        self.deferred: defaultdict[tuple[str, str], int] = defaultdict(int)
        self._digest, self._book_hash, self._contents = digest, book_hash, contents

    # ── entry points ──

    def deposit(self, account: Account, sender: str, party: int, amount: int) -> list[Said]:
        """Credit `party`."""
        require(not account.closed, "adjudicator: closed")
        require(party < 2, "adjudicator: no such party")
        require(amount != 0, "adjudicator: zero amount")
        if account.deposits == [0, 0]:
            last = account.terms.last_resort
            require(self.now < last <= self.now + ELEVEN_YEARS, "terms: last resort")
        require(account.deposits[party] + amount < LIMIT, "adjudicator: deposit too large")
        money = self.money[account.terms.token]
        require(amount <= money.allowed[sender], "token: transfer refused")
        require(money.move(sender, self.address, amount), "token: transfer refused")
        money.allowed[sender] -= amount
        account.deposits[party] += amount
        total = account.deposits[party]
        return [Said("Deposited", {"channel": account.id, "party": party, "amount": amount, "total": total})]

    def deposit_with_permit(
        self, account: Account, sender: str, party: int, amount: int, deadline: int, *signature: Any
    ) -> list[Said]:
        """Credit `party` from what the sender lets the adjudicator take, by its permit or by an allowance."""
        token = account.terms.token
        money = self.money[token]
        before = money.allowed[sender], money.nonces[sender]
        permit = Permit(token, sender, self.address, amount, money.nonces[sender], deadline)
        money.permit(permit, self.now, *signature)
        try:
            return self.deposit(account, sender, party, amount)
        except Refused:
            money.allowed[sender], money.nonces[sender] = before
            raise

    def checkpoint(self, account: Account, sender: str, state: State, *sigs: bytes) -> list[Said]:
        """Register a newer agreed state."""
        self._require_agreed(account, state, sigs)
        if not account.deadline:
            require(state.intent == OPERATE, "adjudicator: operate states only")
        else:
            require(state.intent == REOPEN, "adjudicator: not a reopen state")
            known = account.paid[0] <= state.withdrawal0 and account.paid[1] <= state.withdrawal1
            require(known, "adjudicator: misses a payment")
        return self._register(account, state, 0)

    def challenge(self, account: Account, sender: str, state: State, *sigs: bytes) -> list[Said]:
        """Start a dispute, or answer one."""
        require(not account.closed, "adjudicator: closed")
        if not account.deadline:
            require(account.is_side(sender), "adjudicator: not a side")
        else:
            require(self.now < account.deadline, "adjudicator: deadline passed")
        if account.deadline or state != account.registered:
            self._require_agreed(account, state, sigs)
            require(state.intent == OPERATE, "adjudicator: operate states only")
        return self._register(account, state, account.deadline or self.now + account.terms.challenge_period)

    def challenge_unsigned(self, account: Account, sender: str) -> list[Said]:
        """Start a dispute about deposits only."""
        require(not account.closed, "adjudicator: closed")
        require(account.version == 0 and not account.deadline, "adjudicator: already registered")
        require(account.is_side(sender), "adjudicator: not a side")
        return self._register(account, State(account.id), self.now + account.terms.challenge_period)

    def close(self, account: Account, sender: str, state: State, *sigs: bytes) -> list[Said]:
        """End the channel together."""
        self._require_agreed(account, state, sigs)
        require(state.intent == CLOSE, "adjudicator: not a close state")
        return self._close(account, state, 0)

    def pin(
        self, account: Account, sender: str, state: State, book: bytes, underlying: bytes, expiry: int
    ) -> list[Said]:
        """Fix the price of an expired line."""
        require(not account.closed, "adjudicator: closed")
        require(state == account.registered, "adjudicator: not as registered")
        contents = self._open(state, book)
        require((underlying, expiry) in contents.lines, "adjudicator: no such leg")
        require(self.now >= expiry, "adjudicator: not expired")
        require((underlying, expiry) not in account.pins, "adjudicator: already pinned")
        price, origin = self._pin_price(account, contents, underlying, expiry)
        require(price != 0, "adjudicator: no price yet")
        account.pins[underlying, expiry] = price
        line = {"channel": account.id, "underlying": underlying, "expiry": expiry}
        return [Said("Pinned", line | {"price": price, "origin": origin})]

    def settle(self, account: Account, sender: str, state: State, book: bytes) -> list[Said]:
        """Pay out the registered state at its legs' settlement prices."""
        self._require_settling(account, state)
        return self._close(account, state, self.payoff(account, state, book))

    def last_resort(self, account: Account, sender: str, state: State) -> list[Said]:
        """Pay out the registered state without its book."""
        self._require_settling(account, state)
        require(self.now >= self.last_resort_start(account), "adjudicator: too early")
        return self._close(account, state, 0)

    def pay(self, account: Account, sender: str, state: State) -> list[Said]:
        """Pay withdrawals that had been blocked."""
        require(not account.closed, "adjudicator: closed")
        require(state == account.registered, "adjudicator: not as registered")
        due = account.due(state)
        require(due != (0, 0), "adjudicator: nothing due")
        return self._pay(account, due)

    def claim(self, token: str, owner: str) -> list[Said]:
        """Pay what failed pushes left."""
        amount = self.deferred[token, owner]
        require(amount != 0, "adjudicator: nothing to claim")
        require(self.money[token].move(self.address, owner, amount), "token: transfer refused")
        self.deferred[token, owner] = 0
        return [Said("Claimed", {"token": token, "owner": owner, "amount": amount})]

    # ── what views say ──

    def last_resort_start(self, account: Account) -> int:
        """Return the first second of `last_resort` in a dispute."""
        terms = account.terms
        return max(terms.last_resort, account.deadline) + terms.challenge_period + 2 * terms.grace

    def price(self, account: Account, underlying: bytes, expiry: int) -> int:
        """Return what an expiry settled at, zero for nothing yet."""
        if self.now < expiry:
            return 0
        pinned = account.pins.get((underlying, expiry), 0)
        return pinned or self.sources[account.terms.source].settlement(underlying, expiry)

    def payoff(self, account: Account, state: State, book: bytes) -> int:
        """Return what the legs pay party 0, token units, truncated once toward zero."""
        total = 0
        for leg in self._open(state, book).legs:
            require(self.now >= leg.expiry, "adjudicator: live leg")
            price = self.price(account, leg.underlying, leg.expiry)
            require(price != 0, "adjudicator: no settlement price")
            require(leg.kind in (CALL, PUT), "payoff: unknown kind")
            worth = price - leg.strike if leg.kind == CALL else leg.strike - price
            total += leg.quantity * max(0, worth)
        whole = abs(total) // 10 ** (36 - account.terms.decimals)
        return whole if total >= 0 else -whole

    # ── rules ──

    def _require_agreed(self, account: Account, state: State, sigs: Iterable[bytes]) -> None:
        require(not account.closed, "adjudicator: closed")
        require(state.channel == account.id, "adjudicator: wrong channel")
        require(state.version > account.version, "adjudicator: stale version")
        if fault := state_fault(state, self.now):
            raise Refused(fault)
        digest = self._digest(state)
        for signer, signature in zip(account.terms.signers, sigs, strict=True):
            if fault := signature_fault(signer, digest, signature):
                raise Refused(fault)

    def _require_settling(self, account: Account, state: State) -> None:
        require(not account.closed, "adjudicator: closed")
        require(account.phase(self.now) == SETTLING, "adjudicator: not settling")
        require(state == account.registered, "adjudicator: not as registered")

    def _open(self, state: State, book: bytes) -> Contents:
        require(self._book_hash(book) == state.book, "adjudicator: wrong book")
        contents = self._contents(book)
        if contents is None:
            raise Refused("")  # the decoder reverts without a word
        return contents

    def _pin_price(self, account: Account, contents: Contents, underlying: bytes, expiry: int) -> tuple[int, int]:
        terms, source, since = account.terms, self.sources[account.terms.source], self.now - expiry
        if price := source.settlement(underlying, expiry):
            return price, 0
        if since >= terms.grace and (price := source.fresh_spot(underlying, expiry, self.now, terms.spot_max_age)):
            return price, 1
        if since >= 2 * terms.grace and account.phase(self.now) == SETTLING:
            return contents.spots.get(underlying, 0), 2
        return 0, 0

    # ── consequences ──

    def _register(self, account: Account, state: State, deadline: int) -> list[Said]:
        if account.deadline and not deadline:
            account.calls = [MarginCall(), MarginCall()]
        elif state != account.registered:
            # A newer state disarms; how long ago the call was is remembered.
            account.calls = [MarginCall(call.deadline) for call in account.calls]
        account.version, account.deadline, account.registered = state.version, deadline, state
        said = Said("Registered", {"channel": account.id, "deadline": deadline, "state": astuple(state)})
        return [said, *self._pay(account, account.due(state))]

    def _pay(self, account: Account, due: tuple[int, int]) -> list[Said]:
        said = []
        for party, amount in enumerate(due):
            if amount:
                account.paid[party] += amount
                total = account.paid[party]
                said.append(Said("Paid", {"channel": account.id, "party": party, "amount": amount, "total": total}))
        return said + self._push(account, due)

    def _close(self, account: Account, state: State, payoff: int) -> list[Said]:
        payouts = account.payouts(state, payoff)
        account.closed, account.version, account.deadline, account.registered = True, state.version, 0, None
        account.deposits, account.paid, account.calls = [0, 0], [0, 0], [MarginCall(), MarginCall()]
        closed = Said("Closed", {"channel": account.id, "payout0": payouts[0], "payout1": payouts[1]})
        return [closed, *self._push(account, payouts)]

    def _push(self, account: Account, amounts: tuple[int, int]) -> list[Said]:
        said, token = [], account.terms.token
        for owner, amount in zip(account.terms.owners, amounts, strict=True):
            if amount and not self.money[token].move(self.address, owner, amount):
                self.deferred[token, owner] += amount
                said.append(Said("Deferred", {"channel": account.id, "owner": owner, "token": token, "amount": amount}))
        return said


def state_fault(state: State, now: int) -> str:
    """Return why a state may not be registered now, empty if it may."""
    amounts = (state.deposit0, state.deposit1, state.withdrawal0, state.withdrawal1)
    balances = (state.balance0, state.balance1)
    if state.intent == OPERATE and state.valid_until:
        return "state: valid-until on operate"
    if state.intent > CLOSE:
        return "state: unknown intent"
    if state.intent != OPERATE and state.valid_until < now:
        return "state: expired"
    if state.intent == CLOSE and state.book != bytes(32):
        return "state: close has no book"
    if max(state.version, state.valid_until) >= 2**64:
        return "state: out of bounds"
    if any(amount >= LIMIT for amount in amounts) or any(abs(balance) >= LIMIT for balance in balances):
        return "state: out of bounds"
    if sum(balances) != state.deposit0 + state.deposit1 - state.withdrawal0 - state.withdrawal1:
        return "state: balances do not add up"
    return ""


def signature_fault(signer: str, digest: bytes, signature: bytes) -> str:
    """Return why `signature` does not pass for `signer`'s, empty if it does."""
    if len(signature) != 65:
        return "signatures: not 65 bytes"
    if int.from_bytes(signature[32:64], "big") > HALF_ORDER:
        return "signatures: high s"
    if signature[64] not in (27, 28):
        return "signatures: v is not 27 or 28"
    try:
        found = recover(digest, signature)
    except BadSignature:
        return "signatures: not recoverable"
    return "" if found.hex() == signer[2:] else "signatures: wrong signer"


def _bounded(price: int) -> int:
    return price if price <= MAX_PRICE else 0


def require(condition: bool, reason: str) -> None:
    """Raise Refused unless the condition holds."""
    if not condition:
        raise Refused(reason)
