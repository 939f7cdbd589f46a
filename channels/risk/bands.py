"""Liquidation bands: how far a spot may move, all else unchanged, before a party falls below maintenance margin.

Equity and requirement are neither linear nor monotone in the spot, so there is no formula: the exact margin is walked
outward from the present spot on a grid, and the first step that ends below maintenance is bisected. What is found is
exact (`margin` says so at that very spot); what is missed is a dip that begins and ends between two grid points.
Hundreds of margins are computed, so this is for people and reports, never for the path of an update.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache, partial

from ..errors import InvalidValue, OutOfBounds
from ..model.book import Book
from ..model.option import MAX_PRICE
from ..units import WAD, mul_div_down, mul_wad_down, mul_wad_up
from .margin import margin
from .policy import DEFAULT_POLICY, MarginPolicy
from .valuation import Settlements


@dataclass(frozen=True, slots=True)
class BandSearch:
    """Where and how finely to search: WAD multiples of the present spot. Raises InvalidValue.

    The grid is geometric with ratio 1 + `step`; a crossing is located to `tolerance` of the present spot. The defaults
    take at most 2 · 162 margins and some 7 more per crossing, for each underlying.
    """

    low: int = WAD // 5
    high: int = 5 * WAD
    step: int = WAD // 100
    tolerance: int = WAD // 10_000

    def __post_init__(self) -> None:
        for name, least, most in (
            ("low", 1, WAD),
            ("high", WAD, 1_000 * WAD),
            ("step", WAD // 10_000, WAD),
            ("tolerance", 1, WAD),
        ):
            given = getattr(self, name)
            if type(given) is not int or not least <= given <= most:
                raise InvalidValue(name, given, f"this must be an integer between {least} and {most}")


@dataclass(frozen=True, slots=True)
class LiquidationBand:
    """Per underlying the nearest spots, WAD, at which a party is below maintenance; None where the search found none.

    `below` ≤ `spot` ≤ `above`. Both are `spot` itself where the party is below maintenance already. At either of them
    `margin` finds a breach, and within the search's tolerance towards `spot` it finds none.
    """

    underlying: str
    spot: int
    below: int | None
    above: int | None

    @property
    def is_breach(self) -> bool:
        """Whether the party is below maintenance at the present spot."""
        return self.below == self.spot


def liquidation_bands(
    book: Book,
    cash: tuple[int, int],
    decimals: int,
    policy: MarginPolicy = DEFAULT_POLICY,
    *,
    t: int | None = None,
    spots: Mapping[str, int] | None = None,
    settlements: Settlements | None = None,
    search: BandSearch | None = None,
) -> tuple[tuple[LiquidationBand, ...], tuple[LiquidationBand, ...]]:
    """Return both parties' bands, one per underlying of the book; the arguments are those of `margin`.

    Only that underlying's spot moves: volatilities, times, carry and the other spots stay. The search ends early where
    a spot or forward would leave the protocol's bounds. Raises OutOfBounds as `margin` does at the present spots.
    """
    chosen, given = search or BandSearch(), dict(spots or {})

    def breaches(name: str, at: int) -> tuple[bool, bool]:
        moved = {**given, name: at}
        one, other = margin(book, cash, decimals, policy, t=t, spots=moved, settlements=settlements)
        return one.is_breach, other.is_breach

    found = []
    for mark in book.marks.spots:
        spot = given.get(mark.underlying, mark.spot)
        at_spot = cache(partial(breaches, mark.underlying))  # both parties walk the same grid
        found.append([_band(mark.underlying, spot, at_spot, party, chosen) for party in (0, 1)])
    return tuple(band for band, _ in found), tuple(band for _, band in found)


def _band(
    underlying: str, spot: int, breaches: Callable[[int], tuple[bool, bool]], party: int, search: BandSearch
) -> LiquidationBand:
    def is_breach(at: int) -> bool:
        return breaches(at)[party]

    if is_breach(spot):
        return LiquidationBand(underlying, spot, spot, spot)
    tolerance = max(1, mul_wad_down(spot, search.tolerance))
    below = _crossing(spot, _falling(spot, search), is_breach, tolerance)
    above = _crossing(spot, _rising(spot, search), is_breach, tolerance)
    return LiquidationBand(underlying, spot, below, above)


def _falling(spot: int, search: BandSearch) -> Iterator[int]:
    """Yield the grid below the spot, ending at the lowest point of the search; each is at least one wei."""
    at, last = spot, max(1, mul_wad_up(spot, search.low))
    while at > last:
        at = max(last, mul_div_down(at, WAD, WAD + search.step))
        yield at


def _rising(spot: int, search: BandSearch) -> Iterator[int]:
    """Yield the grid above the spot, ending at the highest point of the search, at most 2^92."""
    at, last = spot, min(MAX_PRICE, mul_wad_down(spot, search.high))
    while at < last:
        at = min(last, mul_wad_up(at, WAD + search.step))
        yield at


def _crossing(spot: int, grid: Iterator[int], is_breach: Callable[[int], bool], tolerance: int) -> int | None:
    """Return the first breach on the grid, bisected against the point before it; None if none comes in bounds."""
    safe = spot
    for at in grid:
        try:
            found = is_breach(at)
        except OutOfBounds:
            return None
        if not found:
            safe = at
            continue
        while abs(at - safe) > tolerance:
            middle = (at + safe) // 2
            if is_breach(middle):
                at = middle
            else:
                safe = middle
        return at
    return None
