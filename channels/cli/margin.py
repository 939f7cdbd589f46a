"""`channels margin`: what a channel's positions need and why, and when its money is free, from a store file alone.

Reads the store and nothing else: no key, no network, no chain. Light to import: the library is loaded when it runs.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import InvalidValue, StoreLocked

if TYPE_CHECKING:
    from ..core.channel import Channel
    from ..risk import Explanation, Greeks, LiquidationBand
    from ..runtime.margin_table import MarginTable

NAME = "margin"
SUMMARY = "show a channel's margin, its worst scenario by Greek, and when its money is free"
DESCRIPTION = """\
Prints both parties' margin at the marks that both last agreed: equity, initial and maintenance margin, every charge,
liquidation price bands, and the worst scenario's loss split by Greek; then the terms, the collateral locked, and when
your money is free should the peer fall silent now. Only reads the store: no key and no network are needed. A copy of
the file serves while a node holds it.

With --spot and --at it shows the same positions at other prices, at another time: nothing is agreed by it.
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    parser.add_argument("store", type=Path, metavar="STORE", help="the node's store file, or a copy of it")
    parser.add_argument("--channel", metavar="ID", help="which channel: the first hex digits of its id are enough")
    parser.add_argument(
        "--spot",
        action="append",
        default=[],
        metavar="[NAME=]PRICE",
        help="what if: ETH/USD=2100; the name may go where there is one underlying. May be given for several",
    )
    parser.add_argument(
        "--at", metavar="TIME", help="what if: unix seconds, a date (08:00 UTC), or an ISO time with its zone"
    )
    parser.add_argument(
        "--no-bands", action="store_true", help="leave out the liquidation price bands: hundreds of margins"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON document instead of the table")


def run(arguments: argparse.Namespace) -> int:
    """Show it; return 0. Raises ChannelError."""
    from ..runtime.margin_table import MarginTable

    at = _moment(arguments.at)
    now = int(time.time()) if at is None else at
    channel = _channel(arguments.store, arguments.channel, now)
    table = MarginTable.of(channel, now, t=at, spots=_spots(arguments.spot, channel), bands=not arguments.no_bands)
    print(json.dumps(document(table), indent=2) if arguments.json else table)
    return 0


def _channel(path: Path, wanted: str | None, now: int) -> Channel:
    """Return the channel as its journal describes it at a time: a journal holds no clock, so we give it ours."""
    from dataclasses import replace

    from ..core.machine import replay
    from ..errors import StoreCorrupt
    from ..runtime.config import NodeConfig
    from ..runtime.dispute_steps import Evidence
    from ..store import SqliteStore
    from .dispute import chosen_channel, warn_of_a_loss

    try:
        store = SqliteStore.open(path, read_only=True)
    except StoreLocked:
        print("A running node has this store open: copy its log, then the file, and look at the copy.", file=sys.stderr)
        raise
    try:
        chosen = chosen_channel(store, wanted)
        warn_of_a_loss(store, chosen)
        terms, config = Evidence.read(store, chosen).terms, NodeConfig()
        channel = replay(store.records(chosen), config.policy_of(terms), config.mark_policy)
    finally:
        store.close()
    if channel.id != chosen:
        raise StoreCorrupt(str(path), f"channel 0x{chosen.hex()} does not have the terms of that id")
    return replace(channel, chain=replace(channel.chain, time=now))


def _moment(text: str | None) -> int | None:
    from ..model.identity import checked_range
    from ..model.option import LAST_CALENDAR_SECOND, parse_expiry

    if text is None:
        return None
    digits = text.strip()
    try:
        found = int(digits) if digits.isascii() and digits.isdigit() and len(digits) < 20 else parse_expiry(digits)
    except InvalidValue:
        raise InvalidValue("--at", text, "give unix seconds, a date, or an ISO time with its zone") from None
    return checked_range("--at", found, 0, LAST_CALENDAR_SECOND)


def _spots(given: list[str], channel: Channel) -> dict[str, int]:
    from ..core.exit import standing
    from ..units import wad

    names = [mark.underlying for mark in standing(channel)[1].marks.spots]
    spots: dict[str, int] = {}
    for text in given:
        name, _, price = text.rpartition("=")
        if not name and len(names) == 1:
            (name,) = names
        if name not in names:
            held = ", ".join(names) or "nothing"
            raise InvalidValue("--spot", text, f"name one of what the book holds ({held}), as in NAME=PRICE")
        if name in spots:
            raise InvalidValue("--spot", text, f"{name} is given twice")
        spots[name] = wad(price, "--spot")
    return spots


# One JSON document: token amounts are integers of the smallest unit, everything in WAD a string.


def document(table: MarginTable) -> dict[str, Any]:
    """Return the table as JSON values; docs/risk_report.md lists the fields."""
    channel, terms, chain, times = table.channel, table.channel.terms, table.channel.chain, table.exit
    return {
        "channel": f"0x{channel.id.hex()}",
        "version": channel.version,
        "phase": channel.phase.value,
        "we_are": int(channel.me),
        "decimals": terms.decimals,
        "time": table.time,
        "spots": {mark.underlying: str(mark.spot) for mark in table.spots},
        "parties": [_party(table, party) for party in (0, 1)],
        "terms": {
            "challenge_period": terms.challenge_period,
            "cure_period": terms.cure_period,
            "grace": terms.grace,
            "spot_max_age": terms.spot_max_age,
            "last_resort": terms.last_resort,
            "source": str(terms.source),
            "engine": str(terms.engine),
            "policy": f"0x{terms.policy.hex()}",
        },
        "locked": {"pot": chain.pot, "deposits": list(chain.deposits), "paid": list(chain.paid)},
        "exit": {
            "deadline": times.deadline,
            "last_expiry": times.last_expiry or None,
            "paid_from": times.paid_from,
            "paid_by": times.paid_by,
            "last_resort": times.last_resort,
            "agreed_close": times.agreed_close,
        },
    }


def _party(table: MarginTable, party: int) -> dict[str, Any]:
    report = table.reports[party]
    ratio = report.collateralisation
    bands = table.bands[party] if table.bands is not None else ()
    return {
        "party": party,
        "cash": report.cash,
        "value": report.value,
        "equity": report.equity,
        "initial_margin": report.initial_margin,
        "maintenance_margin": report.maintenance_margin,
        "scan_initial": report.scan_initial,
        "scan_maintenance": report.scan_maintenance,
        "charges": {name: getattr(report.charges, name) for name in ("delta", "gamma", "vega", "short")},
        "independent_amount": report.independent_amount,
        "collateral_call": report.collateral_call,
        "collateralisation": None if ratio is None else str(ratio),
        "is_breach": report.is_breach,
        "greeks": [_greeks(row) for row in report.greeks],
        "liquidation": [_band(band) for band in bands] if table.bands is not None else None,
        "worst": [_split(row) for row in table.explanations[party]],
    }


def _greeks(row: Greeks) -> dict[str, str]:
    names = ("delta", "delta_cash", "gamma_per_percent", "vega_per_point", "theta_per_day")
    return {"underlying": row.underlying, **{name: str(getattr(row, name)) for name in names}}


def _band(band: LiquidationBand) -> dict[str, str | None]:
    below, above = (None if level is None else str(level) for level in (band.below, band.above))
    return {"underlying": band.underlying, "below": below, "above": above}


def _split(row: Explanation) -> dict[str, Any]:
    scenario = row.scenario
    return {
        "underlying": row.underlying,
        "row": row.row,
        "spot_factor": str(scenario.spot_factor),
        "vol": scenario.vol_shock.name.lower(),
        "weight": str(scenario.damping),
        "horizon": scenario.horizon,
        "lines": dict(row.lines),
        "full_move": row.full_move,
        "pnl": row.pnl,
        "loss": row.loss,
    }
