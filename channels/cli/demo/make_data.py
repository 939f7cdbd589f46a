"""Makes the demo's packaged data from the recorded CSV files: `python -m channels.cli.demo.make_data tests/data`.

The option chain records marks, not volatilities; they are solved here (Black-76 on each expiry's forward, zero rate,
365 days) from the out-of-the-money side of each strike, where a mark says most about volatility. Values are otherwise
as recorded. Floats stay in this script: what it writes are decimal texts, rounded far above a float's last digits, so
the same CSV files give the same bytes on every machine.
"""

from __future__ import annotations

import csv
import json
import math
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from statistics import NormalDist, median_low
from typing import Any

CHAIN_CSV = "eth_option_chain_2024-01-08.csv"
HOURLY_CSV = "eth_usd_hourly_2023-11-27_2024-01-08.csv"
CHAIN_JSON = "eth_option_chain_2024-01-08.json"
HOURLY_JSON = "eth_usd_hourly_returns_2023-11-27.json"
DATA = Path(__file__).parent / "data"

EXPIRIES = ("2024-01-12T08:00:00Z", "2024-01-19T08:00:00Z", "2024-01-26T08:00:00Z", "2024-02-23T08:00:00Z")
"""The expiries a demonstration of a few weeks can use; the far one anchors the term structure."""
UNDERLYING = "ETH/USD"
SECONDS_PER_YEAR = 31_536_000
HIGHEST_VOL = 8.0
VOL_PLACES = Decimal("0.000001")
RETURN_PLACES = Decimal("0.000000000001")
SOURCE = {
    "repository": "jiaxiang-cheng/definer",
    "licence": "MIT, (c) 2024 XuejingLyu",
    "commit": "014a0c090013d5c6d6207e0ffcf952d35d4bca2d",
}
_N = NormalDist().cdf


def main(arguments: list[str]) -> int:
    """Write both data files from the directory of CSV files named, into the package or a second directory."""
    if not 1 <= len(arguments) <= 2:
        print("usage: python -m channels.cli.demo.make_data CSV_DIRECTORY [OUTPUT_DIRECTORY]", file=sys.stderr)
        return 2
    source, target = Path(arguments[0]), Path(arguments[1]) if arguments[1:] else DATA
    for made, recorded, make in ((CHAIN_JSON, CHAIN_CSV, chain), (HOURLY_JSON, HOURLY_CSV, hourly)):
        write(target / made, make, source / recorded)
    return 0


def write(target: Path, make: Callable[[list[dict[str, str]]], dict[str, Any]], source: Path) -> None:
    """Make one document from one CSV file."""
    with source.open(newline="", encoding="utf-8") as lines:
        document = make(list(csv.DictReader(lines)))
    text = json.dumps({**document, "recorded_in": source.name, "source": SOURCE}, indent=1)
    target.write_text(text + "\n", encoding="utf-8", newline="\n")


def chain(rows: list[dict[str, str]]) -> dict[str, Any]:
    """Return the selected expiries: forward, and a volatility per strike."""
    moment = max(int(row["timestamp_ms"]) for row in rows) // 1000
    (spot,) = {row["estimated_delivery_price"] for row in rows}
    return {
        "title": "ETH options, one instant: forwards as recorded, volatilities solved from the recorded marks",
        "method": "Black-76 on the expiry's forward, zero rate, 365 days, from the out-of-the-money mark per strike",
        "underlying": UNDERLYING,
        "recorded_at": moment,
        "spot": spot,
        "expiries": [_expiry(expiry, moment, [r for r in rows if r["expiry"] == expiry]) for expiry in EXPIRIES],
    }


def _expiry(expiry: str, moment: int, rows: list[dict[str, str]]) -> dict[str, Any]:
    time = int(datetime.fromisoformat(expiry).timestamp())
    years = (time - moment) / SECONDS_PER_YEAR
    vols = {}
    for row in sorted(rows, key=lambda row: Decimal(row["strike"])):
        forward, strike, is_call = float(row["underlying_price"]), float(row["strike"]), row["option_type"] == "call"
        if row["mark_price"] and is_call == (strike >= forward):
            vol = implied_vol(forward, strike, float(row["mark_price"]) * forward, years, is_call)
            if vol is not None:
                vols[row["strike"]] = str(Decimal(vol).quantize(VOL_PLACES))
    forwards = [Decimal(row["underlying_price"]) for row in rows]
    return {"expiry": time, "date": expiry, "forward": str(median_low(forwards)), "vols": vols}


def implied_vol(forward: float, strike: float, price: float, years: float, is_call: bool) -> float | None:
    """Return the volatility that gives `price`, by bisection; None where only intrinsic value is left."""
    low, high = 1e-3, HIGHEST_VOL
    if not black(forward, strike, low * math.sqrt(years), is_call) < price:
        return None
    for _ in range(80):
        middle = (low + high) / 2
        if black(forward, strike, middle * math.sqrt(years), is_call) < price:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def black(forward: float, strike: float, width: float, is_call: bool) -> float:
    """Return the undiscounted Black-76 price for total volatility `width`."""
    d1 = math.log(forward / strike) / width + width / 2
    if is_call:
        return forward * _N(d1) - strike * _N(d1 - width)
    return strike * _N(width - d1) - forward * _N(-d1)


def hourly(rows: list[dict[str, str]]) -> dict[str, Any]:
    """Return the hourly returns, close over close, and the time of the first close they start from."""
    closes = [Decimal(row["close"]) for row in rows]
    times = [int(datetime.fromisoformat(row["timestamp"]).timestamp()) for row in rows]
    if any(after - before != 3600 for before, after in pairwise(times)):
        raise ValueError("the bars are not hourly")
    returns = [after / before - 1 for before, after in pairwise(closes)]
    return {
        "title": "ETH-USD hourly returns, close over close, from a Uniswap v3 pool",
        "start": times[0],
        "start_date": datetime.fromtimestamp(times[0], UTC).isoformat(),
        "step": 3600,
        "returns": [f"{change.quantize(RETURN_PLACES):f}" for change in returns],
    }


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
