"""The demo's market: a recorded option chain, carried along recorded hourly returns.

Chain and returns were recorded at different times. So every time of the chain (its instant, its expiries) is moved by
one constant, whole weeks, to where the returns are: weekdays and the 08:00 UTC expiry stay what they were. From there
the spot starts at the chain's and takes each recorded return; the forward's premium over spot shrinks linearly to its
expiry; volatilities stick to log-moneyness ln(K/F), linear between the recorded strikes and flat beyond them. A
recorded history is replayed, no market is simulated: nothing is drawn at random. Decimals throughout, never floats.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Context, Decimal
from functools import cache
from importlib.resources import files
from itertools import pairwise
from typing import Any

from ...model import Leg, Marks
from ...units import wad
from .make_data import CHAIN_JSON, HOURLY_JSON

SHIFT = -35 * 86_400
"""Seconds added to every time of the recorded option chain: five weeks back, to a stretch with its worst day in it."""
_CONTEXT = Context(prec=40, rounding=ROUND_HALF_EVEN)
_PRICE_PLACES = Decimal("0.00000001")
"""Eight decimals, as price feeds report them."""
_VOL_PLACES = Decimal("0.000001")


@dataclass(frozen=True, slots=True)
class Smile:
    """One expiry of the chain: its forward at the recorded instant, and volatilities by log-moneyness, rising."""

    forward: Decimal
    points: tuple[tuple[Decimal, Decimal], ...]

    def vol(self, moneyness: Decimal) -> Decimal:
        """Return the volatility at ln(K/F): linear between the recorded points, flat beyond them."""
        if moneyness <= self.points[0][0]:
            return self.points[0][1]
        for (left, low), (right, high) in pairwise(self.points):
            if moneyness <= right:
                return low + (high - low) * (moneyness - left) / (right - left)
        return self.points[-1][1]


class RecordedMarket:
    """What the demo's two desks both look at. Callable as a node's market: `market(legs, now) -> Marks`.

    `start` is the shifted instant of the chain, unix seconds; expiries are shifted too, as the keys of `smiles`.
    """

    def __init__(self, chain: Mapping[str, Any], hourly: Mapping[str, Any], shift: int = SHIFT) -> None:
        self.underlying: str = chain["underlying"]
        self.source: str = "{repository} ({licence}), commit {commit}".format(**chain["source"])
        self.shift = shift
        self.start: int = chain["recorded_at"] + shift
        self.first_spot = Decimal(chain["spot"])
        self.smiles = {row["expiry"] + shift: _smile(row) for row in chain["expiries"]}
        self._step: int = hourly["step"]
        self._levels = [Decimal(1)]
        for change in hourly["returns"]:
            self._levels.append(_CONTEXT.multiply(self._levels[-1], 1 + Decimal(change)))
        self._origin: int = hourly["start"]
        self._base = self._levels[self._bar(self.start)]

    @classmethod
    def load(cls) -> RecordedMarket:
        """Return the market of the packaged data."""
        return cls(_packaged(CHAIN_JSON), _packaged(HOURLY_JSON))

    @property
    def end(self) -> int:
        """The last recorded bar, unix seconds: prices stand still after it."""
        return self._origin + self._step * (len(self._levels) - 1)

    def spot(self, time: int) -> Decimal:
        """Return the replayed spot: the chain's, times the recorded returns up to the last full hour."""
        grown = _CONTEXT.divide(self._levels[self._bar(max(time, self.start))], self._base)
        return (self.first_spot * grown).quantize(_PRICE_PLACES)

    def spot_wad(self, time: int) -> int:
        """Return the replayed spot as WAD, as publishers report it."""
        return wad(self.spot(time))

    def forward(self, expiry: int, time: int) -> Decimal:
        """Return an expiry's forward: the recorded premium over spot, shrinking linearly to nothing at the expiry."""
        premium = self.smiles[expiry].forward / self.first_spot - 1
        left = Decimal(max(expiry - time, 0)) / (expiry - self.start)
        return (self.spot(time) * (1 + premium * min(left, Decimal(1)))).quantize(_PRICE_PLACES)

    def vol(self, leg: Leg, time: int) -> Decimal:
        """Return the volatility of a series: the recorded smile at its present ln(K/F)."""
        strike = Decimal(leg.strike).scaleb(-18)
        moneyness = (strike / self.forward(leg.expiry, time)).ln(_CONTEXT)
        return self.smiles[leg.expiry].vol(moneyness).quantize(_VOL_PLACES)

    def __call__(self, legs: tuple[Leg, ...], now: int) -> Marks | None:
        """Return the marks for these legs at unix time `now`; None where the chain has no such series."""
        if not all(leg.underlying == self.underlying and leg.expiry in self.smiles for leg in legs):
            return None
        return Marks.at(
            now,
            spots={self.underlying: self.spot(now)},
            vols={leg: self.vol(leg, now) for leg in legs},
            forwards={(self.underlying, leg.expiry): self.forward(leg.expiry, now) for leg in legs},
        )

    def _bar(self, time: int) -> int:
        return min(max((time - self._origin) // self._step, 0), len(self._levels) - 1)


def _smile(row: Mapping[str, Any]) -> Smile:
    forward = Decimal(row["forward"])
    points = sorted(((Decimal(k) / forward).ln(_CONTEXT), Decimal(vol)) for k, vol in row["vols"].items())
    return Smile(forward, tuple(points))


@cache
def _packaged(name: str) -> Mapping[str, Any]:
    text = files(__package__).joinpath("data", name).read_text(encoding="utf-8")
    loaded: Mapping[str, Any] = json.loads(text)
    return loaded
