"""The state both sides sign, and the two types that must never be confused: half-signed and agreed."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum

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
        _require(isinstance(self.channel, bytes) and len(self.channel) == 32, "the channel id has thirty-two bytes")
        _require(type(self.version) is int and 0 < self.version <= MAX_VERSION, "a version is 1 to 2^64 - 1")
        _require(type(self.intent) is Intent, "the intent is operate, reopen or close")
        _require(type(self.valid_until) is int and 0 <= self.valid_until < 2**64, "valid-until is a unix time")
        _require((self.intent is Intent.OPERATE) == (self.valid_until == 0), "only a close or reopen expires")
        for name in ("deposits", "withdrawals", "balances"):
            pair = getattr(self, name)
            _require(type(pair) is tuple and len(pair) == 2, f"{name} are two amounts, party 0's first")
        for name in ("deposits", "withdrawals"):
            for amount in getattr(self, name):
                _require(type(amount) is int and 0 <= amount < MAX_AMOUNT, f"{name} must be 0 to 2^120")
        for amount in self.balances:
            _require(type(amount) is int and abs(amount) < MAX_AMOUNT, "balances must stay below 2^120")
        _require(isinstance(self.book, bytes) and len(self.book) == 32, "the book hash has thirty-two bytes")
        _require(self.intent is not Intent.CLOSE or self.book == ZERO32, "a close has no book")
        if sum(self.balances) != self.collateral:
            raise UnbalancedState(sum(self.balances), self.collateral)

    @property
    def collateral(self) -> int:
        """Deposits less withdrawals: what the balances add up to, in token units."""
        return sum(self.deposits) - sum(self.withdrawals)


@dataclass(frozen=True, slots=True)
class HalfSigned:
    """A state signed by one party: a free option written to the other one until a higher version is agreed."""

    state: State
    book: Book
    party: Party
    signature: bytes

    def __post_init__(self) -> None:
        _require(self.state.book == self.book.hash, "the book is not the state's")


@dataclass(frozen=True, slots=True)
class Agreed:
    """A state signed by both parties, with its book: what the adjudicator enforces."""

    state: State
    book: Book
    signatures: tuple[bytes, bytes]

    def __post_init__(self) -> None:
        _require(self.state.book == self.book.hash, "the book is not the state's")

    @property
    def version(self) -> int:
        return self.state.version


def promote(half: HalfSigned, signature: bytes) -> Agreed:
    """Return the agreed state: the one way from half-signed to agreed. `signature` is the other party's, verified."""
    pair = (half.signature, signature) if half.party is Party.ZERO else (signature, half.signature)
    return Agreed(half.state, half.book, pair)


def _require(condition: bool, detail: str) -> None:
    if not condition:
        raise InvalidState(detail)
