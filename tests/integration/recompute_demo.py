"""Recomputes the JSON document of `channels demo --json` without the library: integers, mpmath, and the recorded CSVs.

    channels demo --json | python tests/integration/recompute_demo.py [tests/data]

`faults(document, data)` returns a sentence per disagreement; as a script it prints them, and exits with 1 if there are
any. It imports nothing of `channels`, so what it confirms was computed twice.
"""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from mpmath import ceil, erfc, exp, floor, log, mp, mpf, pi, sqrt

mp.dps = 50
WAD = 10**18
YEAR = 31_536_000
REQUIRED = (
    *("scenario", "channel", "chain_id", "decimals", "deposits", "versions", "legs", "settlement_prices", "balances"),
    *("payout_expected", "payout_paid", "wallet_before", "wallet_after", "gas", "margin"),
)


def faults(document: dict[str, Any], data: Path) -> list[str]:
    """Return what is wrong with a document; an empty list if nothing is."""
    missing = [field for field in REQUIRED if field not in document]
    return [f"{field} is missing" for field in missing] or list(_faults(document, data))


def _faults(d: dict[str, Any], data: Path) -> Iterator[str]:
    yield from _money(d)
    yield from _settlements(d, data)
    yield from _margin(d)
    versions = d["versions"]
    if versions != sorted(set(versions)) or (versions and versions[0] < 1):
        yield f"the versions do not rise: {versions}"
    if d["scenario"] != "no-show":
        yield from _book(d)
    if d["scenario"] in ("dispute", "cooperative"):
        refused = d["refused_trade"]
        if not 0 < refused["shortfall"] == refused["initial_margin"] - refused["equity"]:
            yield f"the shortfall is not initial margin less equity: {refused}"
    if d["scenario"] == "dispute":
        challenge = d["challenge"]
        if not 0 < challenge["version"] < challenge["answered_with"] == max(versions) == d["settled_state"]["version"]:
            yield f"the challenge was not answered with the latest state: {challenge}"
    if d["scenario"] == "cooperative":
        yield from _transfer(d)
    if d["scenario"] == "margin-call":
        yield from _close_out(d, data)
    if d["scenario"] == "no-show" and (versions or d["settled_state"] or d["balances"] != d["deposits"]):
        yield "something was signed although nobody came"


def _money(d: dict[str, Any]) -> Iterator[str]:
    """Payoffs, cash and wallets, in token units."""
    payoff = _gained(d) if d["scenario"] == "margin-call" else _payoff(d)
    pot = sum(d["deposits"])
    first = min(max(d["balances"][0] + payoff, 0), pot)
    for field in ("payout_expected", "payout_paid"):
        if d[field] != [first, pot - first]:
            yield f"{field} is {d[field]}, legs and prices say {[first, pot - first]}"
    if sum(d["balances"]) != pot:
        yield f"the balances do not add up to the deposits of {pot}"
    got = [after - before + put for before, after, put in zip(*(d[k] for k in _WALLETS), strict=True)]
    if got != d["payout_paid"]:
        yield f"the wallets gained {got}, paid is {d['payout_paid']}"
    if sum(d["wallet_after"]) != sum(d["wallet_before"]) or d["left_in_adjudicator"] or any(d["claimable"]):
        yield "a token unit is not accounted for"
    state = d["settled_state"]
    if state is not None and state["balances"] != d["balances"]:
        yield "the settled state has other balances"


def _payoff(d: dict[str, Any]) -> int:
    """What the legs pay party 0 at their settlement prices, token units."""
    prices = {(row["underlying"], row["expiry"]): int(row["price"]) for row in d["settlement_prices"]}
    total = 0
    for leg in d["legs"]:
        settled, strike = prices[leg["underlying"], leg["expiry"]], int(leg["strike"])
        total += int(leg["quantity"]) * max(settled - strike if leg["kind"] == "call" else strike - settled, 0)
    unit = 10 ** (36 - d["decimals"])
    return abs(total) // unit * (1 if total >= 0 else -1)


def _gained(d: dict[str, Any]) -> int:
    """What a close-out gives party 0 beyond its cash: the value at the mark, and the charge from who was called."""
    call = d["margin_call"]
    value, charges = _at(d, call["liquidated_at"], call["liquidation_spot"])
    charge = charges[call["party"]]
    return value - charge if call["party"] == 0 else value + charge


_WALLETS = ("wallet_before", "wallet_after", "deposits")


def _settlements(d: dict[str, Any], data: Path) -> Iterator[str]:
    """Settlement prices are the chain's spot carried along the recorded closes; the options are listed ones."""
    with (data / "eth_option_chain_2024-01-08.csv").open(newline="") as lines:
        chain = list(csv.DictReader(lines))
    with (data / "eth_usd_hourly_2023-11-27_2024-01-08.csv").open(newline="") as lines:
        closes = {_unix(row["timestamp"]): mpf(row["close"]) for row in csv.DictReader(lines)}
    shift, start = d["data"]["time_shift"], d["data"]["start"]
    if start != max(int(row["timestamp_ms"]) for row in chain) // 1000 + shift:
        yield "the start is not the chain's instant, shifted"
    listed = {(_unix(row["expiry"]) + shift, int(row["strike"]) * WAD, row["option_type"]) for row in chain}
    for leg in d["legs"]:
        if (leg["expiry"], int(leg["strike"]), leg["kind"]) not in listed:
            yield f"the chain lists no such option: {leg}"
    for row in d["settlement_prices"]:
        spot = mpf(chain[0]["estimated_delivery_price"]) * closes[row["expiry"]] / closes[start // 3600 * 3600]
        if abs(spot - mpf(row["price"]) / WAD) > mpf("0.00000002"):
            yield f"expiry {row['expiry']} settled at {row['price']}, the recorded returns lead to {spot}"


def _margin(d: dict[str, Any]) -> Iterator[str]:
    """Each line adds up to the requirement, and the two parties' Greeks mirror each other."""
    for name, report in d["margin"].items():
        charges = sum(report["charges"].values())
        if report["equity"] != report["cash"] + report["value"]:
            yield f"{name}: equity is not cash and value"
        for kind in ("initial", "maintenance"):
            if report[f"{kind}_margin"] != report[f"scan_{kind}"] + charges:
                yield f"{name}: {kind} margin is not its scan and charges"
        if report["maintenance_margin"]:
            if int(report["collateralisation"]) != report["equity"] * WAD // report["maintenance_margin"]:
                yield f"{name}: the collateralisation ratio is not equity / maintenance margin"
            if report["scan_initial"] != sum(worst["loss"] for worst in report["worst"]):
                yield f"{name}: the scan is not the sum of the worst losses"
    one, other = (d["margin"][party["name"]] for party in d["parties"])
    for mine, theirs in zip(one["greeks"], other["greeks"], strict=True):
        if any(int(mine[key]) != -int(theirs[key]) for key in mine if key != "underlying"):
            yield "the Greeks do not mirror"


def _book(d: dict[str, Any]) -> Iterator[str]:
    """The last book's value and Greeks, by Black-76 at 50 digits, are those of the last margin reports."""
    value, greeks = _black(d["last_book"])
    report = d["margin"][d["parties"][0]["name"]]
    units = value * 10 ** d["decimals"]
    # The library's price is good to 1e-16 of the forward: a rounding may fall either way, no more.
    if abs(report["value"] - units) > 1:
        yield f"the positions are worth {units} token units, the margin report says {report['value']}"
    if abs(report["value"] + d["margin"][d["parties"][1]["name"]]["value"]) > 1:
        yield "the two parties' values do not mirror"
    (shown,) = report["greeks"]
    for key, own in greeks.items():
        if abs(mpf(shown[key]) / WAD - own) > mpf("1e-9") * (1 + abs(own)):
            yield f"{key} is {own}, the margin report says {shown[key]}"


def _transfer(d: dict[str, Any]) -> Iterator[str]:
    """The transfer that replaced the legs is their value, rounded down for the party that closed."""
    replaced, value = d["replaced_by_transfer"], _black(d["last_book"])[0]
    due = -int(floor(value * 10 ** d["decimals"]))
    if abs(replaced["transfer"] - due) > 1:
        yield f"the legs are worth a transfer of {due}, it was {replaced['transfer']}"
    one, other = replaced["balances"]
    if d["balances"] != [one - replaced["transfer"], other + replaced["transfer"]]:
        yield "the close is not the last state after its transfer"
    if d["settled_state"]["intent"] != "close" or d["legs"]:
        yield "a close has no legs"


def _close_out(d: dict[str, Any], data: Path) -> Iterator[str]:
    """The call was made and executed in time, below maintenance, at the spots that the crash leads to."""
    call, crash = d["margin_call"], d["synthetic_crash"]
    value, charges = _at(d, call["liquidated_at"], call["liquidation_spot"])
    if (call["value"], call["charge"]) != (value, charges[call["party"]]):
        yield f"value and charge are {value} and {charges}, the contract used {call['value']} and {call['charge']}"
    for time, spot, kind in (("time", "spot", ""), ("liquidated_at", "liquidation_spot", "liquidation_")):
        worth, _ = _at(d, call[time], call[spot])
        # Each party's value is rounded down on its own.
        equity = d["balances"][call["party"]] + (worth if call["party"] == 0 else -worth - 1)
        if call[f"{kind}equity"] != equity:
            yield f"the {kind}equity is {call[f'{kind}equity']}, by Black-76 it is {equity}"
        if not call[f"{kind}equity"] < call[f"{kind}maintenance_margin"]:
            yield "nobody was below maintenance margin"
        grown = _recorded(d, data, crash["starts"])
        for change in crash["hourly_returns"][: (call[time] - crash["starts"]) // 3600]:
            grown *= 1 + mpf(change)
        if abs(grown - mpf(call[spot]) / WAD) > mpf("0.00000002"):
            yield f"the spot was {call[spot]}, recorded and synthetic returns lead to {grown}"
    if crash["label"] != "SYNTHETIC" or d["settlement_prices"]:
        yield "a crash that nobody recorded is not labelled, or something settled"
    if not call["time"] < call["cure_deadline"] <= call["liquidated_at"] < call["cure_deadline"] + 3600:
        yield f"the call was executed outside its window: {call}"
    if not call["version"] == d["settled_state"]["version"] == d["last_book"]["version"] == max(d["versions"]):
        yield "the call was not made on the newest state"


def _at(d: dict[str, Any], time: int, spot: str) -> tuple[int, tuple[int, int]]:
    """Return party 0's value and both close-out charges of the last book at a moment and spot, token units.

    docs/risk.md §3 with the default charges: 1 % of delta, gamma's P&L over 1 %, 3 points of vega, 0.3 % of shorts.
    """
    book, units = d["last_book"], mpf(10) ** d["decimals"]
    marks = {row["expiry"]: (mpf(row["ratio"]) / WAD, mpf(row["discount"]) / WAD) for row in book["expiries"]}
    value = delta = mpf(0)
    gamma, vega, short = dict.fromkeys(marks, mpf(0)), dict.fromkeys(marks, mpf(0)), [mpf(0), mpf(0)]
    for leg in book["legs"]:
        expiry = leg["expiry"]
        ratio, discount = (1 + (m - 1) * (expiry - time) / mpf(expiry - book["time"]) for m in marks[expiry])
        forward, strike = mpf(spot) / WAD * ratio, mpf(leg["strike"]) / WAD
        width = mpf(leg["vol"]) / WAD * sqrt(mpf(expiry - time) / YEAR)
        d1 = log(forward / strike) / width + width / 2
        density = forward * exp(-d1 * d1 / 2) / sqrt(2 * pi)
        call = forward * _normal(d1) - strike * _normal(d1 - width)
        is_put, quantity = leg["kind"] == "put", mpf(leg["quantity"]) / WAD
        value += quantity * discount * (call - forward + strike if is_put else call)
        delta += quantity * discount * forward * (_normal(d1) - is_put)
        gamma[expiry] += quantity * discount * density * mpf("0.0001") / (2 * max(width, mpf("0.01")))
        vega[expiry] += quantity * discount * density * sqrt(mpf(expiry - time) / YEAR)
        short[0 if quantity < 0 else 1] += abs(quantity) * forward
    shared = (mpf("0.01") * abs(delta), sum(map(abs, gamma.values())), mpf("0.03") * sum(map(abs, vega.values())))
    one, other = (sum(int(ceil(line * units)) for line in (*shared, mpf("0.003") * sold)) for sold in short)
    return int(floor(value * units)), (one, other)


def _recorded(d: dict[str, Any], data: Path, time: int) -> Any:
    """The chain's spot, carried along the recorded closes."""
    with (data / "eth_option_chain_2024-01-08.csv").open(newline="") as lines:
        first = mpf(next(csv.DictReader(lines))["estimated_delivery_price"])
    with (data / "eth_usd_hourly_2023-11-27_2024-01-08.csv").open(newline="") as lines:
        closes = {_unix(row["timestamp"]): mpf(row["close"]) for row in csv.DictReader(lines)}
    return first * closes[time] / closes[d["data"]["start"] // 3600 * 3600]


def _black(book: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """Return party 0's value and Greeks of a book at its own marks, by docs/risk.md §1."""
    (spot,) = (mpf(row["spot"]) / WAD for row in book["spots"])
    marks = {row["expiry"]: (spot * mpf(row["ratio"]) / WAD, mpf(row["discount"]) / WAD) for row in book["expiries"]}
    value = delta = gamma = vega = theta = mpf(0)
    for leg in book["legs"]:
        forward, discount = marks[leg["expiry"]]
        strike, tau = mpf(leg["strike"]) / WAD, mpf(leg["expiry"] - book["time"]) / YEAR
        width = mpf(leg["vol"]) / WAD * sqrt(tau)
        d1 = log(forward / strike) / width + width / 2
        density = forward * exp(-d1 * d1 / 2) / sqrt(2 * pi)
        call = forward * _normal(d1) - strike * _normal(d1 - width)
        is_put = leg["kind"] == "put"
        weight = mpf(leg["quantity"]) / WAD * discount
        value += weight * (call - forward + strike if is_put else call)
        delta += weight * (_normal(d1) - is_put)
        gamma += weight * density / width
        vega += weight * density * sqrt(tau)
        theta -= weight * density * width / (2 * tau)
    shown = {
        "delta": delta,
        "gamma_per_percent": gamma / 100,
        "vega_per_point": vega / 100,
        "theta_per_day": theta / 365,
    }
    return value, shown


def _normal(x: Any) -> Any:
    return erfc(-x / sqrt(2)) / 2


def _unix(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp())


if __name__ == "__main__":
    found = faults(json.load(sys.stdin), Path(sys.argv[1] if sys.argv[1:] else "tests/data"))
    print("\n".join(found) or "recomputed: no fault")
    sys.exit(1 if found else 0)
