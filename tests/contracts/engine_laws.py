"""The one law of the engine: for equal inputs, the integers of `channels.risk`, every one of them.

`check_book` asks the shipped contract everything it can be asked about one case and compares; `check_options` does the
same with thirty-two single options. Both are functions of a seed, and both return how many integers they compared.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Any

from channels.errors import OutOfBounds
from channels.model import OptionKind
from channels.model.marks import MAX_TENOR, MAX_VOL
from channels.model.option import MAX_PRICE
from channels.risk import Greeks, MarginReport, UnitGreeks, greeks, margin, scenario_losses, unit_greeks
from channels.risk.valuation import Position, positions
from channels.units import SECONDS_PER_DAY as DAY, WAD, div_up
from tests.contracts.engine_books import POLICIES, Case, magnitude, random_case
from tests.contracts.engine_world import Engine, Reverted

BATCH = 32
WORD = 32


def same(what: str, contract: Any, library: Any) -> None:
    """Fail, naming what differs."""
    assert contract == library, f"{what}: the contract says {contract}, the library {library}"


# ── Single options ──────────────────────────────────────────────────────────────────────────────────────────────────


def random_option(dice: Random) -> tuple[int, int, int, int, int]:
    """(kind, forward, strike, volatility, seconds), a third of them at an edge of something."""
    forward = dice.choice((3000 * WAD, magnitude(dice, MAX_PRICE), dice.choice((1, MAX_PRICE))))
    strike = dice.choice(
        (
            min(MAX_PRICE, max(1, forward * dice.randint(200, 5000) // 1000)),
            min(MAX_PRICE, max(1, forward + dice.randint(-2, 2))),
            magnitude(dice, MAX_PRICE),
            dice.choice((1, MAX_PRICE, forward)),
        )
    )
    vol = dice.choice(
        (dice.randint(WAD // 20, 3 * WAD), dice.randint(0, MAX_VOL), magnitude(dice, MAX_VOL), 0, MAX_VOL)
    )
    seconds = dice.choice(
        (dice.randint(1, 400 * DAY), dice.randint(0, MAX_TENOR), magnitude(dice, DAY), 0, 1, MAX_TENOR)
    )
    return dice.getrandbits(1), forward, strike, vol, seconds


def check_options(engine: Engine, seed: int) -> int:
    """Compare the options of a seed."""
    dice = Random(seed)
    return check_option_rows(engine, [random_option(dice) for _ in range(BATCH)])


def check_option_rows(engine: Engine, options: Sequence[tuple[int, int, int, int, int]]) -> int:
    """Compare up to 32 single options, packed by hand because an ABI encoder would take longer than the contract."""
    words = [WORD, len(options)] + [field for option in options for field in option]
    answer = engine.raw(UNITS + b"".join(word.to_bytes(WORD, "big") for word in words))
    found = [int.from_bytes(answer[at : at + WORD], "big", signed=True) for at in range(64, len(answer), WORD)]
    for i, (kind, forward, strike, vol, seconds) in enumerate(options):
        expected = _unit(unit_greeks(OptionKind(kind), forward, strike, vol, seconds))
        if tuple(found[7 * i : 7 * i + 7]) != expected:
            same(f"option {options[i]}", tuple(found[7 * i : 7 * i + 7]), expected)
    assert len(found) == 7 * len(options)
    return len(found)


def _unit(unit: UnitGreeks) -> tuple[int, ...]:
    return (unit.price, unit.delta, unit.delta_cash, unit.density, unit.gamma_cash, unit.vega, unit.theta)


# ── Books ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def check_book(engines: Sequence[Engine], seed: int) -> int:
    """Compare everything about the case of a seed, verdicts on both sides of their boundary included."""
    return check_case(engines[(case := random_case(seed)).policy], case)


def check_case(engine: Engine, case: Case) -> int:
    """As `check_book`, for a case at hand."""
    policy = POLICIES[case.policy]
    at = {"t": case.t, "spots": case.spot_map()}
    settlements = case.settlement_map()
    asked = (list(case.spots), list(case.settlements), case.t)
    try:
        reports = margin(case.book, case.cash, case.decimals, policy, settlements=settlements, **at)
    except OutOfBounds as refusal:
        for call in (("margin", case.book.encoded, case.cash, case.decimals), ("value", case.book.encoded)):
            same("refusal", _refusal(engine, *call, *asked), refusal.code)
        return 2

    held = positions(case.book, case.t, at["spots"], settlements)
    exact = sum(position.value for position in held)
    same("value", engine("value", case.book.encoded, *asked), exact)
    if _fits(held):
        per_leg, totals = engine("greeks", case.book.encoded, *asked)
        same("Greeks of the legs", per_leg, tuple(_unit(position.unit) for position in held))
        same("Greeks", totals, tuple(map(_greeks, greeks(case.book, **at))))
    else:
        same("refusal", _refusal(engine, "greeks", case.book.encoded, *asked), "")
    margins = engine("margin", case.book.encoded, case.cash, case.decimals, *asked)
    names = [mark.underlying for mark in case.book.marks.spots]
    for party, report in enumerate(reports):
        same(f"margin of {party}", margins[party], _report(report, names))
    charges = tuple(report.charges.total for report in reports)
    values = tuple(report.value for report in reports)
    same("close-out", engine("close_out", case.book.encoded, case.decimals, *asked), (values, charges))
    compared = 7 * len(held) + 6 * len(names) + 2 * 18 + 5
    for party, report in enumerate(reports):
        for witness in (margins[party][10][: len(names)], case.witness):
            compared += _check_witness(engine, case, party, report, witness, (values, charges))
        for above in (-1, 0):
            cash = report.initial_margin - report.value + above
            query = (case.book.encoded, party, cash, case.decimals, *asked)
            same("excess", engine("excess", *query), above)
            same("compliance", engine("is_compliant", *query), above >= 0)
            compared += 2
    return compared


def _check_witness(
    engine: Engine, case: Case, party: int, report: MarginReport, witness: Sequence[int], closed: tuple[Any, Any]
) -> int:
    """Losses of the rows named, and the verdict with equity one unit below what they ask for, and with just that."""
    policy = POLICIES[case.policy]
    asked = (list(case.spots), list(case.settlements), case.t, list(witness))
    names = [mark.underlying for mark in case.book.marks.spots]
    named = dict(zip(names, witness, strict=True))
    losses = scenario_losses(case.book, named, policy, t=case.t, spots=case.spot_map())
    expected = tuple(losses[name][party] if name in losses else 0 for name in names)
    found = engine("scenario_loss", case.book.encoded, party, *asked)
    same("scenario loss", found, expected + (0,) * (4 - len(names)))
    scanned = sum(div_up(max(0, loss), WAD) for loss in expected)
    unit = 10 ** (54 - case.decimals)
    asked_for = max(
        div_up(report.independent_amount, 2), div_up(scanned * policy.scan_maintenance, unit) + report.charges.total
    )
    assert asked_for <= report.maintenance_margin
    if all(row == worst.row for worst in report.worst for row in [named[worst.underlying]]):
        same("the worst rows' margin", asked_for, report.maintenance_margin)
    for above in (-1, 0):
        query = (case.book.encoded, party, asked_for - report.value + above, case.decimals, *asked)
        same("breach", engine("is_breach", *query), above < 0)
        same("liquidation", engine("liquidation", *query), (above < 0, *closed))
    return 12


def _fits(held: Sequence[Position]) -> bool:
    """Whether the sums of gamma and theta stay within a signed word on the way; nothing else can leave it."""
    for name in ("gamma_cash", "theta"):
        sums: dict[str, int] = {}
        for position in held:
            if position.is_live:
                product = position.notional * getattr(position.unit, name)
                total = sums.get(position.leg.underlying, 0) + product
                if not all(-(2**255) <= number < 2**255 for number in (product, total)):
                    return False
                sums[position.leg.underlying] = total
    return True


def _refusal(engine: Engine, *call: Any) -> str:
    try:
        engine(*call)
    except Reverted as refusal:
        return str(refusal)
    return "no refusal"


def _greeks(row: Greeks) -> tuple[int, ...]:
    return (row.delta, row.delta_cash, row.gamma_cash, row.vega, row.theta, row.carry)


def _report(report: MarginReport, names: Sequence[str]) -> tuple[Any, ...]:
    """A report as the contract's `Margin` has it: worst rows for every spot mark, zero without a live leg."""
    worst = {found.underlying: found for found in report.worst}
    rows = [worst[name].row if name in worst else 0 for name in names]
    losses = [worst[name].loss if name in worst else 0 for name in names]
    padding = [0] * (4 - len(names))
    charges = report.charges
    return (
        report.equity,
        report.initial_margin,
        report.maintenance_margin,
        report.scan_initial,
        report.scan_maintenance,
        charges.delta,
        charges.gamma,
        charges.vega,
        charges.short,
        report.independent_amount,
        tuple(rows + padding),
        tuple(losses + padding),
    )


def _selector(function: str) -> bytes:
    return Engine.deployed(POLICIES[0]).calldata(function, [])[:4]


UNITS = _selector("units")
