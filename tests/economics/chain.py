"""The recorded market of `tests/data` as arrays: smiles of the option chain, and hourly returns.

Volatilities as the demo has them: Black-76 on each expiry's forward from the out-of-the-money mark, sticking to
log-moneyness ln(K/F), linear between the recorded strikes and flat beyond. Times are seconds since the chain's instant.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from statistics import median_low

import numpy as np
from numpy.typing import NDArray

from channels.cli.demo.make_data import CHAIN_CSV, HOURLY_CSV, SECONDS_PER_YEAR, implied_vol

Floats = NDArray[np.float64]
DATA = Path(__file__).parents[1] / "data"
UNDERLYING = "ETH/USD"


@dataclass(frozen=True, slots=True)
class Smile:
    """One expiry: seconds to it at the recorded instant, forward over spot, and volatility by rising ln(K/F)."""

    expiry: int
    ratio: float
    moneyness: Floats
    vols: Floats

    def vol(self, moneyness: Floats) -> Floats:
        """Return volatilities at ln(K/F)."""
        return np.interp(moneyness, self.moneyness, self.vols)


@dataclass(frozen=True, slots=True)
class Chain:
    """The recorded chain; `start` is its instant, unix seconds, `smiles` by the expiry's ISO date."""

    start: int
    spot: float
    smiles: dict[str, Smile]


@cache
def recorded_chain() -> Chain:
    """Return every expiry of the recorded chain."""
    rows = _rows(CHAIN_CSV)
    start = max(int(row["timestamp_ms"]) for row in rows) // 1000
    spot = float(rows[0]["estimated_delivery_price"])
    smiles = {}
    for text in sorted({row["expiry"] for row in rows}):
        expiry = int(datetime.fromisoformat(text).timestamp()) - start
        mine = [row for row in rows if row["expiry"] == text]
        points = sorted(_points(mine, expiry / SECONDS_PER_YEAR))
        ratio = median_low(float(row["underlying_price"]) for row in mine) / spot
        smiles[text[:10]] = Smile(expiry, ratio, np.array([p[0] for p in points]), np.array([p[1] for p in points]))
    return Chain(start, spot, smiles)


def _points(rows: list[dict[str, str]], years: float) -> list[tuple[float, float]]:
    found = []
    for row in rows:
        forward, strike, is_call = float(row["underlying_price"]), float(row["strike"]), row["option_type"] == "call"
        if row["mark_price"] and is_call == (strike >= forward):
            vol = implied_vol(forward, strike, float(row["mark_price"]) * forward, years, is_call)
            if vol is not None:
                found.append((float(np.log(strike / forward)), round(vol, 6)))
    return found


@cache
def hourly_closes() -> tuple[int, Floats]:
    """Return the first close's unix time and the recorded hourly closes."""
    rows = _rows(HOURLY_CSV)
    first = datetime.fromisoformat(rows[0]["timestamp"]).astimezone(UTC)
    return int(first.timestamp()), np.array([float(row["close"]) for row in rows])


def hourly_returns() -> Floats:
    """Return the recorded hourly log returns, close over close."""
    return np.diff(np.log(hourly_closes()[1]))


def _rows(name: str) -> list[dict[str, str]]:
    with (DATA / name).open(newline="", encoding="utf-8") as lines:
        return list(csv.DictReader(lines))
