"""What the chain has said about a channel, confirmed: each fact is cumulative, so hearing it twice changes nothing."""

from __future__ import annotations

from dataclasses import dataclass

from ..model import Party, State


@dataclass(frozen=True, slots=True)
class DepositSeen:
    """The party's cumulative deposits are `total` token units."""

    party: Party
    total: int


@dataclass(frozen=True, slots=True)
class PaymentSeen:
    """The party's cumulative payments (withdrawals, releases) are `total` token units."""

    party: Party
    total: int


@dataclass(frozen=True, slots=True)
class RegisteredSeen:
    """The adjudicator registered a state; None is the all-zero one of an unsigned challenge.

    `deadline` is when the dispute ends, unix seconds; 0 where none runs (a checkpoint, or the end of a dispute).
    """

    state: State | None
    deadline: int

    @property
    def version(self) -> int:
        return 0 if self.state is None else self.state.version


@dataclass(frozen=True, slots=True)
class SettlementSeen:
    """The adjudicator's effective settlement price of an expiry, WAD: pinned, or final at the price source."""

    underlying: str
    expiry: int
    price: int


@dataclass(frozen=True, slots=True)
class ClosedSeen:
    """The channel is closed and these token units were paid to party 0 and 1."""

    payouts: tuple[int, int]


class _Placed:
    """A fact about margin, and where the chain says it: block number, index of the log in the block.

    A call and its cure may alternate at equal figures, so only their place tells the new from the old.
    """

    __slots__ = ()
    block: int
    index: int

    @property
    def place(self) -> tuple[int, int]:
        """What orders margin facts: one that stands before the last one heard is old news."""
        return self.block, self.index


@dataclass(frozen=True, slots=True)
class CalledSeen(_Placed):
    """The party is called for margin on the registered version, and has until `deadline`, unix seconds, to cure it."""

    party: Party
    deadline: int
    block: int
    index: int


@dataclass(frozen=True, slots=True)
class CuredSeen(_Placed):
    """The party's margin call is over: it holds its initial margin."""

    party: Party
    block: int
    index: int


@dataclass(frozen=True, slots=True)
class LiquidatedSeen(_Placed):
    """The party was closed out: `value0` is what the positions were worth to party 0, `charge` went to the other side.

    Token units. `ClosedSeen` follows.
    """

    party: Party
    value0: int
    charge: int
    block: int
    index: int


@dataclass(frozen=True, slots=True)
class ReleasedSeen(_Placed):
    """The party took `amount` token units of excess collateral out; `PaymentSeen` follows with the total."""

    party: Party
    amount: int
    block: int
    index: int


MarginFact = CalledSeen | CuredSeen | LiquidatedSeen | ReleasedSeen
ChainFact = DepositSeen | PaymentSeen | RegisteredSeen | SettlementSeen | ClosedSeen | MarginFact
