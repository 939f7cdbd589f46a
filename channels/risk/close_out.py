"""What closing everything at the mark pays: the contract's close-out, done off-chain with the same integers.

    payout_0 = clamp(cash_0 + V_0 ∓ COST_i, 0, pot),   payout_1 = pot − payout_0        risk.md §3

V_0 is party 0's value rounded down and COST_i the replacement cost of whoever pays, so the odd token unit that a value
leaves goes to party 1. A party that owes more than it has pays what it has: a payout is never
negative, and never above the pot.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import groupby

from ..model.book import Book
from .margin import replacement_cost
from .payoff import payouts
from .policy import DEFAULT_POLICY, MarginPolicy
from .report import MarginReport
from .valuation import Settlements, positions, tokens_down

Pair = tuple[int, int]


def close_out(
    book: Book,
    decimals: int,
    policy: MarginPolicy = DEFAULT_POLICY,
    *,
    t: int | None = None,
    spots: Mapping[str, int] | None = None,
    settlements: Settlements | None = None,
) -> tuple[Pair, Pair]:
    """Return (values, charges) of party 0 and 1 in token units: each value rounded down, each charge rounded up.

    `RiskEngine.close_out` in Python; `t` and `spots` default to the marks', expired legs count as in `margin` and cost
    nothing to replace. Raises OutOfBounds as `margin` does.
    """
    held = positions(book, t, spots, settlements)
    exact = sum(position.value for position in held)
    live = (position for position in held if position.is_live)
    groups = [tuple(group) for _, group in groupby(live, key=lambda p: p.leg.underlying)]
    charges = replacement_cost(groups, policy, decimals)
    return (tokens_down(exact, decimals), tokens_down(-exact, decimals)), (charges[0].total, charges[1].total)


def close_out_payouts(cash: Pair, values: Pair, charges: Pair, payer: int | None) -> Pair:
    """Return what each party has after a close-out, token units; `cash` adds up to the pot.

    `payer` pays its own charge to the other party; None where both are in breach and no charge moves (protocol §3.2).
    Raises InvariantBroken for a negative pot.
    """
    charge = 0 if payer is None else charges[payer]
    gained = values[0] - charge if payer == 0 else values[0] + charge
    return payouts(*cash, gained, sum(cash))


def witness(report: MarginReport) -> tuple[int, ...]:
    """Return the rows of the grid that prove a breach on-chain: one for each spot mark of the book, in its order.

    The worst row of each underlying, 0 where no leg of it is live, as `IRiskEngine` wants them. These rows ask for
    exactly the report's maintenance margin, other rows never for more.
    """
    worst = {found.underlying: found.row for found in report.worst}
    return tuple(worst.get(greeks.underlying, 0) for greeks in report.greeks)
