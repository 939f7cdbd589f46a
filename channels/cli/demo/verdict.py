"""What each party should have got, computed from what was printed: a second opinion that shares no code with the first.

Nothing of `channels` is imported. Legs and prices come as decimal text, the arithmetic is that of rational numbers, and
the one rounding is the contract's: the sum of all payoffs, truncated toward zero to the token's smallest unit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction


def payoff(legs: Sequence[Mapping[str, str]], prices: Mapping[tuple[str, str], str], decimals: int) -> int:
    """Return what party 1 owes party 0 for settled legs, token units, truncated toward zero.

    A leg has the texts `underlying`, `expiry`, `strike`, `kind`, `quantity`; `prices` is by underlying and expiry.
    """
    total = Fraction(0)
    for leg in legs:
        settled, strike = Fraction(prices[leg["underlying"], leg["expiry"]]), Fraction(leg["strike"])
        intrinsic = settled - strike if leg["kind"] == "call" else strike - settled
        total += Fraction(leg["quantity"]) * max(intrinsic, Fraction(0))
    return int(total * 10**decimals)


def payouts(cash: tuple[int, int], payoff: int, pot: int) -> tuple[int, int]:
    """Return what each party is due: nobody less than nothing, both together all there is."""
    first = min(max(cash[0] + payoff, 0), pot)
    return first, pot - first
