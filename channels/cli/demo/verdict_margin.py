"""What a close-out at the mark should have paid, from what was printed: a second opinion that shares no code.

Nothing of `channels` is imported. Black-76 in sixty decimal digits, by docs/risk.md §1 and §3; every amount of money is
rounded once, at the token's smallest unit: values down, each of the four charges up.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, Context, Decimal, localcontext
from itertools import count
from typing import Any

YEAR = 31_536_000
PI = Decimal("3.14159265358979323846264338327950288419716939937510582097494459")


@dataclass(frozen=True, slots=True)
class Policy:
    """The close-out charges, as decimal text: the policy's `delta_charge` and so on, 1 for the whole."""

    delta: str
    gamma: str
    gamma_move: str
    vega: str
    short: str


@dataclass(frozen=True, slots=True)
class Priced:
    """One leg at the close-out: the price of one unit, and what all of it is worth to party 0."""

    price: Decimal
    worth: Decimal


def close_out(
    legs: Sequence[Mapping[str, str]], marked_at: int, spot: str, time: int, policy: Policy, decimals: int
) -> tuple[int, tuple[int, int], list[Priced]]:
    """Return party 0's value and both parties' charges in token units, and every leg's price.

    A leg has the texts `expiry` (unix seconds), `strike`, `kind`, `quantity`, `vol`, and `ratio` and `discount` of its
    expiry as marked at `marked_at`; all are of one underlying, and expire after `time`.
    """
    with localcontext(Context(prec=60)):
        priced: list[Priced] = []
        delta = Decimal(0)
        gamma: dict[str, Decimal] = {}
        vega: dict[str, Decimal] = {}
        short = [Decimal(0), Decimal(0)]
        move = Decimal(policy.gamma_move)
        for leg in legs:
            expiry, quantity = int(leg["expiry"]), Decimal(leg["quantity"])
            # Forward ratio and discount go to 1 in a straight line from the mark to the expiry.
            left = Decimal(expiry - time) / (expiry - marked_at)
            forward = Decimal(spot) * (1 + (Decimal(leg["ratio"]) - 1) * left)
            discount = 1 + (Decimal(leg["discount"]) - 1) * left
            root = (Decimal(expiry - time) / YEAR).sqrt()
            width, strike = Decimal(leg["vol"]) * root, Decimal(leg["strike"])
            d1 = (forward / strike).ln() / width + width / 2
            density = forward * (-d1 * d1 / 2).exp() / (2 * PI).sqrt()
            call = forward * _normal(d1) - strike * _normal(d1 - width)
            is_put = leg["kind"] == "put"
            price = call - forward + strike if is_put else call
            held = quantity * discount
            priced.append(Priced(price, held * price))
            delta += held * forward * (_normal(d1) - is_put)
            gamma[leg["expiry"]] = gamma.get(leg["expiry"], Decimal(0)) + held * density * move**2 / (
                2 * max(width, move)
            )
            vega[leg["expiry"]] = vega.get(leg["expiry"], Decimal(0)) + held * density * root
            short[0 if quantity < 0 else 1] += abs(quantity) * forward
        lines = (
            Decimal(policy.delta) * abs(delta),
            Decimal(policy.gamma) * sum(map(abs, gamma.values())),
            Decimal(policy.vega) * sum(map(abs, vega.values())),
        )
        one, other = (
            sum(_units(line, decimals, ROUND_CEILING) for line in (*lines, Decimal(policy.short) * sold))
            for sold in short
        )
        worth = sum((row.worth for row in priced), Decimal(0))
        return _units(worth, decimals, ROUND_FLOOR), (one, other), priced


def _units(money: Decimal, decimals: int, rounding: Any) -> int:
    return int(money.scaleb(decimals).to_integral_value(rounding))


def _normal(x: Decimal) -> Decimal:
    """Return N(x) = 1/2 + pdf(x) · (x + x³/3 + x⁵/(3·5) + …), for x < 0 by symmetry."""
    if x < 0:
        return 1 - _normal(-x)
    term = total = x
    for k in count(1):
        term *= x * x / (2 * k + 1)
        if total + term == total:
            break
        total += term
    return Decimal("0.5") + total * (-x * x / 2).exp() / (2 * PI).sqrt()
