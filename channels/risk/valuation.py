"""What a book is worth at a moment, and its Greeks: party 0's view, exact until the one division at the end.

A leg's value is quantity · discount · price, an exact integer at 1e54; with the bounds of protocol §2 it stays below
2^242, thirty-two of them below 2^249. Party 1's value is its negative. A leg at or past its expiry counts at its
settlement where one is given, and at the intrinsic of the spot where not.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from ..errors import OutOfBounds
from ..model.book import Book
from ..model.option import MAX_PRICE, Leg
from ..units import SECONDS_PER_YEAR, WAD, div_toward_zero
from .black import UnitGreeks, greeks_down, total_vol_down
from .fixed import ln_q120, sqrt_years_q100_down
from .report import Greeks
from .scenarios import converge_down, forward_down

_1E54_TO_WAD = WAD * WAD
MAX_SETTLEMENT = 2**96
"""The highest price that the adjudicator lets an expiry settle at, WAD: above the protocol's greatest spot."""
Settlements = Mapping[tuple[str, int], int]
"""Settlement prices, WAD, by (underlying, expiry); zero is as good as missing."""


@dataclass(frozen=True, slots=True)
class Position:
    """A leg with everything its valuation needs at one moment; `seconds` to expiry is 0 where it has passed.

    `notional` = quantity · discount at 1e36, `ratio` and `discount` converged, `width` = total volatility in Q100,
    logarithms in Q120, `unit` = undiscounted price and Greeks of one unit. An expired leg has forward = its settlement
    or the spot, discount 1, and its price is the intrinsic.
    """

    leg: Leg
    spot: int
    ratio: int
    discount: int
    forward: int
    vol: int
    seconds: int
    notional: int
    ln_strike: int
    width: int
    unit: UnitGreeks

    @property
    def is_live(self) -> bool:
        """Whether the leg has not expired: only then does it carry risk."""
        return self.seconds > 0

    @property
    def value(self) -> int:
        """quantity · discount · price in party 0's view at 1e54, exact."""
        return self.notional * self.unit.price


class Moment(NamedTuple):
    """One expiry at the valuation time: spot, seconds left (0: expired), converged ratio and discount, forward.

    An expired one has ratio and discount 1, and its forward is the settlement, without one the spot. WAD.
    """

    spot: int
    left: int
    ratio: int
    discount: int
    forward: int


def check_forwards(book: Book) -> None:
    """Raise OutOfBounds where `schedule` at the book's own marks would: for a forward outside [1, 2^92]."""
    marks, rows, levels = book.marks, book.marks.rows, book.marks.levels
    spots, expiries = len(rows.names), len(rows.pairs)
    if not expiries or min(levels[:spots]) * min(levels[spots : spots + expiries]) >= WAD:
        return  # no forward is below 1, and none of a book is above 2^92 by birth
    for (_, expiry), at, ratio in zip(rows.pairs, rows.spot_at, levels[len(rows.names) :], strict=False):
        forward_down(levels[at], ratio if expiry > marks.time else WAD)


def schedule(
    book: Book,
    t: int | None = None,
    spots: Mapping[str, int] | None = None,
    settlements: Settlements | None = None,
) -> dict[tuple[str, int], Moment]:
    """Return what each (underlying, expiry) of the book is valued with; arguments and errors as for `positions`."""
    marks = book.marks
    now = marks.time if t is None else max(t, marks.time)
    given, settled = spots or {}, settlements or {}
    spot_of = {mark.underlying: given.get(mark.underlying, mark.spot) for mark in marks.spots}
    if given:  # a mark's own is within them by birth
        for spot in spot_of.values():
            if not 1 <= spot <= MAX_PRICE:
                raise OutOfBounds("spot", spot, 1, MAX_PRICE)
    expiries = {}
    for mark in marks.expiries:
        spot, left, span = spot_of[mark.underlying], mark.expiry - now, mark.expiry - marks.time
        ratio = discount = WAD
        if 0 < left == span:
            ratio, discount = mark.ratio, mark.discount  # what `converge_down` gives where nothing has passed
        elif left > 0:
            ratio, discount = converge_down(mark.ratio, left, span), converge_down(mark.discount, left, span)
        else:
            left = 0
        forward = forward_down(spot, ratio)
        if settled:
            settlement = settled.get((mark.underlying, mark.expiry), 0)
            if not 0 <= settlement <= (0 if left else MAX_SETTLEMENT):
                raise OutOfBounds("settlement", settlement, 0, 0 if left else MAX_SETTLEMENT)
            forward = settlement or forward
        expiries[mark.underlying, mark.expiry] = Moment(spot, left, ratio, discount, forward)
    return expiries


def positions(
    book: Book,
    t: int | None = None,
    spots: Mapping[str, int] | None = None,
    settlements: Settlements | None = None,
) -> tuple[Position, ...]:
    """Return the book's legs valued at `t` (default: the marks' time), `spots` (default: the marks') and `settlements`.

    A `t` before the marks' time counts as the marks' time: a mark may run ahead of the block clock by 30 s. Raises
    OutOfBounds where a spot or a forward leaves the protocol's bounds, or a settlement exceeds 2^96 or is that of an
    expiry which has not come.
    """
    expiries = {
        key: (at, ln_q120(at.forward), sqrt_years_q100_down(at.left))
        for key, at in schedule(book, t, spots, settlements).items()
    }
    held = []
    for leg, vol_mark in zip(book.legs, book.marks.vols, strict=True):
        (spot, left, ratio, discount, forward), ln_forward, root = expiries[leg.underlying, leg.expiry]
        width = total_vol_down(vol_mark.vol, root)
        ln_strike = ln_q120(leg.strike)
        held.append(
            Position(
                leg,
                spot,
                ratio,
                discount,
                forward,
                vol_mark.vol,
                left,
                leg.quantity * discount,
                ln_strike,
                width,
                greeks_down(leg.kind, forward, ln_forward, leg.strike, ln_strike, width, root, left),
            )
        )
    return tuple(held)


def value(
    book: Book,
    *,
    t: int | None = None,
    spots: Mapping[str, int] | None = None,
    settlements: Settlements | None = None,
    decimals: int = 18,
) -> tuple[int, int]:
    """Return what the positions are worth to each party in token units, each rounded down on its own.

    So the two sum to 0 or to -1. Raises OutOfBounds as `positions` does.
    """
    exact = sum(position.value for position in positions(book, t, spots, settlements))
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
        unit = position.unit
        # Down to WAD before the quantity multiplies it: a second from expiry the product would leave a 256-bit word.
        carry = unit.price * (WAD - position.discount) * SECONDS_PER_YEAR // (position.seconds * WAD)
        for i, amount in enumerate((unit.delta, unit.delta_cash, unit.gamma_cash, unit.vega, unit.theta)):
            row[i] += position.notional * amount
        row[5] += position.leg.quantity * carry * WAD
    return tuple(
        Greeks(underlying, *(div_toward_zero(amount, _1E54_TO_WAD) for amount in row))
        for underlying, row in sums.items()
    )
