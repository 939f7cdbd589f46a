"""What a book is worth at a moment, and its Greeks: party 0's view, exact until the one division at the end.

A leg's value is quantity · discount · price, an exact integer at 1e54; with the bounds of protocol §2 it stays below
2^242, thirty-two of them below 2^247. Party 1's value is its negative. A leg at or past its expiry and not settled
yet counts at the intrinsic of the spot.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ..errors import OutOfBounds
from ..model.book import Book
from ..model.option import MAX_PRICE, Leg
from ..units import SECONDS_PER_YEAR, WAD, div_toward_zero
from .black import UnitGreeks, check_inputs, greeks_down, intrinsic, price_down, total_vol_down
from .fixed import ln_q120, sqrt_years_q100_down
from .report import Greeks
from .scenarios import converge_down, forward_down

WAD_CUBED_TO_WAD = WAD * WAD


@dataclass(frozen=True, slots=True)
class Position:
    """A leg with everything its valuation needs at one moment; `seconds` to expiry is 0 where it has passed.

    `notional` = quantity · discount at 1e36, `ratio` and `discount` converged, `root` = sqrt(tau) in Q100, `width` =
    total volatility in Q100, logarithms in Q120. An expired leg has forward = spot and discount 1.
    """

    leg: Leg
    spot: int
    ratio: int
    discount: int
    forward: int
    vol: int
    seconds: int
    notional: int
    ln_forward: int
    ln_strike: int
    root: int
    width: int

    @property
    def is_live(self) -> bool:
        """Whether the leg has not expired: only then does it carry risk."""
        return self.seconds > 0

    def price(self) -> int:
        """Return the undiscounted price of one unit, WAD."""
        if not self.seconds:
            return intrinsic(self.leg.kind, self.forward, self.leg.strike)
        return price_down(self.leg.kind, self.forward, self.ln_forward, self.leg.strike, self.ln_strike, self.width)

    def unit_greeks(self) -> UnitGreeks:
        """Return price and Greeks of one unit, undiscounted, WAD."""
        return greeks_down(
            self.leg.kind,
            self.forward,
            self.ln_forward,
            self.leg.strike,
            self.ln_strike,
            self.width,
            self.root,
            self.seconds,
        )


def positions(book: Book, t: int | None = None, spots: Mapping[str, int] | None = None) -> tuple[Position, ...]:
    """Return the book's legs ready to be valued at `t` (default: the marks' time) and `spots` (default: the marks').

    A `t` before the marks' time counts as the marks' time: a mark may run ahead of the block clock by 30 s. Raises
    OutOfBounds where a spot or a forward leaves the protocol's bounds.
    """
    marks = book.marks
    now = marks.time if t is None else max(t, marks.time)
    moved = {mark.underlying: mark.spot for mark in marks.spots}
    for underlying in moved:
        if spots is not None and underlying in spots:
            moved[underlying] = spots[underlying]
        if not 1 <= moved[underlying] <= MAX_PRICE:
            raise OutOfBounds("spot", moved[underlying], 1, MAX_PRICE)
    expiries = {}
    for mark in marks.expiries:
        left, span = mark.expiry - now, mark.expiry - marks.time
        spot, ratio, discount = moved[mark.underlying], WAD, WAD
        if left > 0:
            ratio, discount = converge_down(mark.ratio, left, span), converge_down(mark.discount, left, span)
        forward = forward_down(spot, ratio)
        expiries[mark.underlying, mark.expiry] = (
            (spot, ratio, discount, forward, ln_q120(forward)),
            max(left, 0),
            sqrt_years_q100_down(max(left, 0)),
        )
    found = []
    for leg, mark_vol in zip(book.legs, marks.vols, strict=True):
        (spot, ratio, discount, forward, ln_forward), seconds, root = expiries[leg.underlying, leg.expiry]
        check_inputs(forward, leg.strike, mark_vol.vol, seconds)
        width = total_vol_down(mark_vol.vol, root)
        notional = leg.quantity * discount
        ln_strike = ln_q120(leg.strike)
        found.append(
            Position(
                leg, spot, ratio, discount, forward, mark_vol.vol, seconds, notional, ln_forward, ln_strike, root, width
            )
        )
    return tuple(found)


def value_1e54(held: tuple[Position, ...]) -> int:
    """Return Σ quantity · discount · price in party 0's view at 1e54, exact."""
    return sum(position.notional * position.price() for position in held)


def value(
    book: Book, *, t: int | None = None, spots: Mapping[str, int] | None = None, decimals: int = 18
) -> tuple[int, int]:
    """Return what the positions are worth to each party in token units, each rounded down on its own.

    So the two sum to 0 or to -1. Raises OutOfBounds as `positions` does.
    """
    exact = value_1e54(positions(book, t, spots))
    return tokens_down(exact, decimals), tokens_down(-exact, decimals)


def tokens_down(amount_1e54: int, decimals: int) -> int:
    """Return an amount at 1e54 in token units, rounded toward minus infinity."""
    unit: int = 10 ** (54 - decimals)
    return amount_1e54 // unit


def greeks(book: Book, *, t: int | None = None, spots: Mapping[str, int] | None = None) -> tuple[Greeks, ...]:
    """Return the Greeks per underlying in party 0's view; `Greeks.seen_by(1)` mirrors one. Expired legs have none."""
    return greeks_of(positions(book, t, spots))


def greeks_of(held: tuple[Position, ...]) -> tuple[Greeks, ...]:
    """Return the Greeks per underlying of positions already prepared, summed exactly and truncated once to WAD."""
    sums: dict[str, list[int]] = {}
    for position in held:
        row = sums.setdefault(position.leg.underlying, [0] * 6)
        if not position.is_live:
            continue
        unit = position.unit_greeks()
        discount_carry = unit.price * (WAD - position.discount) * SECONDS_PER_YEAR // position.seconds
        for i, amount in enumerate((unit.delta, unit.delta_cash, unit.gamma_cash, unit.vega, unit.theta)):
            row[i] += position.notional * amount
        row[5] += position.leg.quantity * discount_carry
    return tuple(
        Greeks(underlying, *(div_toward_zero(amount, WAD_CUBED_TO_WAD) for amount in row))
        for underlying, row in sums.items()
    )
