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


ChainFact = DepositSeen | PaymentSeen | RegisteredSeen | SettlementSeen | ClosedSeen
