"""What settled legs pay, and how a pot is split: the same integers as the contract's `payoff` module.

One division for the whole book, truncated once toward zero, so that the split does not depend on the order of the
legs and neither party gains by cutting a leg in two.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ..errors import InvariantBroken, OutOfBounds, SettlementInvalid
from ..model.option import Leg
from ..units import div_toward_zero
from .black import intrinsic

MAX_SETTLEMENT = 2**96
"""Largest settlement price, WAD; a source that reports more counts as missing (protocol §3.3)."""


def payoff(legs: Iterable[Leg], settlements: Mapping[tuple[str, int], int], decimals: int) -> int:
    """Return what party 1 pays party 0 for settled legs, token units, truncated once toward zero.

    `settlements` is WAD per (underlying, expiry). Σ quantity · intrinsic is exact at 1e36 and below 2^189 for 32 legs.
    Raises SettlementInvalid for a leg without a price, OutOfBounds for a price outside [1, 2^96].
    """
    return div_toward_zero(_settled(legs, settlements), 10 ** (36 - decimals))


def realised(
    legs: Iterable[Leg], settlements: Mapping[tuple[str, int], int], decimals: int, now: int
) -> tuple[int, int]:
    """Return what the legs that expired by `now` brought party 0 and 1, token units, each rounded down on its own.

    Raises as `payoff` does, for these legs only: the others are alive.
    """
    total = _settled((leg for leg in legs if leg.expiry <= now), settlements)
    unit = 10 ** (36 - decimals)
    return total // unit, -total // unit


def releasable(excess: int, cash: int, realised: int, pot: int) -> int:
    """Return the most that the adjudicator's `release` pays a party, token units: gains that no expiry realised stay.

    `excess` is equity less initial margin over the whole grid, `cash` that of protocol §3.1, `realised` of `realised`.
    """
    return max(0, min(excess, cash + realised, pot))


def _settled(legs: Iterable[Leg], settlements: Mapping[tuple[str, int], int]) -> int:
    """Σ quantity · intrinsic in party 0's view, exact at 1e36."""
    total = 0
    for leg in legs:
        settlement = settlements.get((leg.underlying, leg.expiry))
        if settlement is None:
            raise SettlementInvalid(f"{leg.underlying} {leg.expiry} has no settlement price")
        if not 1 <= settlement <= MAX_SETTLEMENT:
            raise OutOfBounds("settlement price", settlement, 1, MAX_SETTLEMENT)
        total += leg.quantity * intrinsic(leg.kind, settlement, leg.strike)
    return total


def payouts(cash0: int, cash1: int, payoff: int, pot: int) -> tuple[int, int]:
    """Return what each party is paid, token units: clamp(cash0 + payoff, 0, pot), and the rest of the pot.

    Protocol §3.1. Raises InvariantBroken if the two cash amounts do not add up to the pot: then one of them is wrong.
    """
    if cash0 + cash1 != pot or pot < 0:
        raise InvariantBroken("cash adds up to the pot", f"{cash0} + {cash1} against {pot}")
    first = min(max(cash0 + payoff, 0), pot)
    return first, pot - first
