"""What a proposal carries: operations, from which both sides compute the next state with the same pure function."""

from __future__ import annotations

from dataclasses import dataclass, field

from ..errors import CloseOutInvalid, TradeInvalid, WithdrawalInvalid
from ..units import TokenAmount
from .identity import Party
from .marks import MAX_LEGS, NO_MARKS, Marks
from .option import Leg
from .state import MAX_AMOUNT


@dataclass(frozen=True, slots=True)
class Trade:
    """Add signed quantities to the book, atomically, for a premium.

    `premium` in token units, positive = party 0 pays party 1. `marks` cover exactly the resulting book. `quote` is the
    id of the quote dealt on, 0 if dealt by hand.
    """

    legs: tuple[Leg, ...]
    premium: int
    marks: Marks
    quote: int = 0

    def __post_init__(self) -> None:
        if not 1 <= len(self.legs) <= 2 * MAX_LEGS:
            raise TradeInvalid(f"{len(self.legs)} legs, allowed 1 to {2 * MAX_LEGS}")
        if len({leg.key for leg in self.legs}) != len(self.legs):
            raise TradeInvalid("a series appears twice")
        if type(self.premium) is not int or abs(self.premium) >= MAX_AMOUNT:
            raise TradeInvalid("the premium must be an integer below 2^120")
        if type(self.quote) is not int or not 0 <= self.quote < 2**64:
            raise TradeInvalid("the quote id must be a 64-bit integer")


@dataclass(frozen=True, slots=True)
class Withdraw:
    """Authorise `amount` token units more to leave, for the proposer."""

    amount: TokenAmount

    def __post_init__(self) -> None:
        if type(self.amount) is not int or not 0 < self.amount < MAX_AMOUNT:
            raise WithdrawalInvalid(f"the amount {self.amount!r} must be positive and below 2^120")


@dataclass(frozen=True, slots=True)
class Mark:
    """New marks for exactly the present book. A fact: never refused for margin."""

    marks: Marks = field(default=NO_MARKS)


@dataclass(frozen=True, slots=True)
class Acknowledge:
    """Take confirmed cumulative on-chain totals into the state: a deposit raises a balance, a payment lowers it."""

    deposits: tuple[int, int]
    payments: tuple[int, int]


@dataclass(frozen=True, slots=True)
class SettleExpiry:
    """Cash-settle the legs of one underlying and expiry at the chain's settlement price, WAD."""

    underlying: str
    expiry: int
    price: int


@dataclass(frozen=True, slots=True)
class CloseOut:
    """Close every position at the book's marks; `party` pays the other its close-out charge. The channel goes on.

    The last operation of its proposal. What the adjudicator's close-out would pay: a party that owes more than it has
    pays what it has.
    """

    party: Party

    def __post_init__(self) -> None:
        if type(self.party) is not Party:
            raise CloseOutInvalid(f"{self.party!r} is no party")


@dataclass(frozen=True, slots=True)
class Close:
    """End the channel: `transfer` token units (positive = party 0 pays party 1) replace all legs."""

    transfer: int
    valid_until: int


@dataclass(frozen=True, slots=True)
class Reopen:
    """End a dispute and go on, folding in the payments that the agreed state does not know yet."""

    payments: tuple[int, int]
    valid_until: int


Operation = Trade | Withdraw | Mark | Acknowledge | SettleExpiry | CloseOut | Close | Reopen
EXCLUSIVE = (Trade, Withdraw, CloseOut, Close, Reopen)
"""Of these at most one may be half-signed and not superseded: each is an option written to the counterparty."""
