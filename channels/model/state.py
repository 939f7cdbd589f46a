"""The state both sides sign, and the types that must never be confused: claimed, half-signed and agreed."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from typing import NoReturn

from ..errors import InvalidState, UnbalancedState
from .book import Book
from .identity import ZERO32, ChannelId, Party

MAX_AMOUNT = 2**120
"""Deposits, withdrawals and absolute balances stay below this many token units."""
MAX_VERSION = 2**64 - 1


class Intent(IntEnum):
    """What a state is for: to go on, to end a dispute, or to end the channel."""

    OPERATE = 0
    REOPEN = 1
    CLOSE = 2


@dataclass(frozen=True, slots=True)
class State:
    """One version of the channel. Amounts are cumulative token units per party; balances may be negative.

    Raises InvalidState or UnbalancedState where the fields contradict the protocol.
    """

    channel: ChannelId
    version: int
    intent: Intent
    valid_until: int
    deposits: tuple[int, int]
    withdrawals: tuple[int, int]
    balances: tuple[int, int]
    book: bytes
    struct_hash: bytes = field(default=b"", init=False, repr=False, compare=False)
    """EIP-712's hashStruct, once `seal.state_struct_hash` has made it; empty before."""

    def __post_init__(self) -> None:
        channel, intent, book = self.channel, self.intent, self.book
        deposits, withdrawals, balances = self.deposits, self.withdrawals, self.balances
        for pair in (deposits, withdrawals, balances):
            if type(pair) is not tuple or len(pair) != 2:
                _refuse(self)
        (deposit0, deposit1), (withdrawal0, withdrawal1), (balance0, balance1) = deposits, withdrawals, balances
        if not (
            isinstance(channel, bytes)
            and len(channel) == 32
            and type(self.version) is int
            and 0 < self.version <= MAX_VERSION
            and type(intent) is Intent
            and type(self.valid_until) is int
            and 0 <= self.valid_until < 2**64
            and (intent is Intent.OPERATE) == (self.valid_until == 0)
            and type(deposit0) is type(deposit1) is type(withdrawal0) is type(withdrawal1) is int
            and type(balance0) is type(balance1) is int
            and 0 <= deposit0 < MAX_AMOUNT
            and 0 <= deposit1 < MAX_AMOUNT
            and 0 <= withdrawal0 < MAX_AMOUNT
            and 0 <= withdrawal1 < MAX_AMOUNT
            and -MAX_AMOUNT < balance0 < MAX_AMOUNT
            and -MAX_AMOUNT < balance1 < MAX_AMOUNT
            and isinstance(book, bytes)
            and len(book) == 32
            and (intent is not Intent.CLOSE or book == ZERO32)
            and balance0 + balance1 == deposit0 + deposit1 - withdrawal0 - withdrawal1
        ):
            _refuse(self)

    def marked(self, version: int, book: bytes) -> State:
        """Return the state of another version that has the same amounts and operates, with the book of that hash.

        Only what differs is checked. Raises InvalidState like a birth.
        """
        if type(version) is not int or not 0 < version <= MAX_VERSION or type(book) is not bytes or len(book) != 32:
            return State(self.channel, version, Intent.OPERATE, 0, self.deposits, self.withdrawals, self.balances, book)
        made = object.__new__(State)
        _set_channel(made, self.channel)
        _set_version(made, version)
        _set_intent(made, Intent.OPERATE)
        _set_valid_until(made, 0)
        _set_deposits(made, self.deposits)
        _set_withdrawals(made, self.withdrawals)
        _set_balances(made, self.balances)
        _set_book(made, book)
        _set_struct_hash(made, b"")
        return made

    @property
    def collateral(self) -> int:
        """Deposits less withdrawals: what the balances add up to, in token units."""
        return sum(self.deposits) - sum(self.withdrawals)


(
    _set_channel,
    _set_version,
    _set_intent,
    _set_valid_until,
    _set_deposits,
    _set_withdrawals,
    _set_balances,
    _set_book,
    _set_struct_hash,
) = (State.__dict__[name].__set__ for name in State.__slots__)
"""What fills the slots of a frozen state from within this module."""


@dataclass(frozen=True, slots=True)
class HalfSigned:
    """A state signed by one party: a free option written to the other one until a higher version is agreed."""

    state: State
    book: Book
    party: Party
    signature: bytes

    def __post_init__(self) -> None:
        if self.state.book != self.book.hash:
            raise InvalidState("the book is not the state's")

    @property
    def version(self) -> int:
        return self.state.version


@dataclass(frozen=True, slots=True)
class Claimed:
    """Marks that a party says it signed at `version`: nobody has looked at the signature, or made the state.

    Nobody has to where a later state takes its place. `amounts` is a state with the channel's amounts, which marks do
    not change. The version is above zero and below 2^64, as whoever makes one has checked.
    """

    amounts: State
    version: int
    book: Book
    party: Party
    signature: bytes
    _state: list[State] = field(default_factory=list, init=False, repr=False, compare=False)

    @property
    def state(self) -> State:
        """The state that the signature should be over. Made when first asked for."""
        if not self._state:
            self._state.append(self.amounts.marked(self.version, self.book.hash))
        return self._state[0]


@dataclass(frozen=True, slots=True)
class Agreed:
    """A state signed by both parties, with its book: what the adjudicator enforces."""

    state: State
    book: Book
    signatures: tuple[bytes, bytes]

    def __post_init__(self) -> None:
        if self.state.book != self.book.hash:
            raise InvalidState("the book is not the state's")

    @property
    def version(self) -> int:
        return self.state.version


def promote(half: HalfSigned, signature: bytes) -> Agreed:
    """Return the agreed state: the one way from half-signed to agreed. `signature` is the other party's, verified."""
    pair = (half.signature, signature) if half.party is Party.ZERO else (signature, half.signature)
    return Agreed(half.state, half.book, pair)


def _refuse(state: State) -> NoReturn:
    """Raise the error of the first rule that a state breaks. The rules of its birth once more, one by one."""
    pairs = {"deposits": state.deposits, "withdrawals": state.withdrawals, "balances": state.balances}
    _require(isinstance(state.channel, bytes) and len(state.channel) == 32, "the channel id has thirty-two bytes")
    _require(type(state.version) is int and 0 < state.version <= MAX_VERSION, "a version is 1 to 2^64 - 1")
    _require(type(state.intent) is Intent, "the intent is operate, reopen or close")
    _require(type(state.valid_until) is int and 0 <= state.valid_until < 2**64, "valid-until is a unix time")
    _require((state.intent is Intent.OPERATE) == (state.valid_until == 0), "only a close or reopen expires")
    for name, pair in pairs.items():
        _require(type(pair) is tuple and len(pair) == 2, f"{name} are two amounts, party 0's first")
    for name in ("deposits", "withdrawals"):
        for amount in pairs[name]:
            _require(type(amount) is int and 0 <= amount < MAX_AMOUNT, f"{name} must be 0 to 2^120")
    for amount in state.balances:
        _require(type(amount) is int and abs(amount) < MAX_AMOUNT, "balances must stay below 2^120")
    _require(isinstance(state.book, bytes) and len(state.book) == 32, "the book hash has thirty-two bytes")
    _require(state.intent is not Intent.CLOSE or state.book == ZERO32, "a close has no book")
    raise UnbalancedState(sum(state.balances), state.collateral)


def _require(condition: bool, detail: str) -> None:
    if not condition:
        raise InvalidState(detail)
