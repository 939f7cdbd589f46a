"""Margin against its definition in exact fractions, on books whose answer a desk knows by heart."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from math import ceil

import pytest

from channels.model import EMPTY_BOOK, Book, Leg, Marks
from channels.model.option import MAX_PRICE
from channels.risk import (
    DEFAULT_POLICY,
    MarginPolicy,
    MarginReport,
    Scenario,
    VolBump,
    VolShock,
    margin,
    price,
    scenario_losses,
    unit_greeks,
)
from channels.risk.scenarios import shocked_vols
from channels.units import WAD

ETH, BTC = "ETH/USD", "BTC/USD"
TIME = 1_704_700_800
DAY = 86_400
SALT = bytes(31) + b"\7"
TOKEN = 10**6
NO_CASH = (0, 0)


def book(*legs: Leg, ratio: str = "1", discount: str = "1", vol: str = "0.6") -> Book:
    """A book marked at ETH 3000, BTC 45000."""
    marks = Marks.at(TIME, spots={ETH: 3000, BTC: 45000}, vols=dict.fromkeys(legs, vol),
                     discounts={(leg.underlying, leg.expiry): discount for leg in legs})  # fmt: skip
    factor = int(Fraction(ratio) * WAD)
    marks = replace(marks, expiries=tuple(replace(mark, ratio=factor) for mark in marks.expiries))
    return Book.of(legs, marks, SALT)


def condor(days: int = 30, size: int = 5, underlying: str = ETH, around: int = 3000) -> tuple[Leg, ...]:
    """A short iron condor of party 0."""
    expiry = TIME + days * DAY
    return (
        Leg.put(underlying, expiry, around * 8 // 10, quantity=size),
        Leg.put(underlying, expiry, around * 9 // 10, quantity=-size),
        Leg.call(underlying, expiry, around * 11 // 10, quantity=-size),
        Leg.call(underlying, expiry, around * 12 // 10, quantity=size),
    )


def exact_lines(held: Book, policy: MarginPolicy, party: int, age: int = 0) -> dict[str, Fraction]:
    """Scan and charges of one party as docs/risk.md defines them, in fractions of the quote currency, nothing rounded.

    Written against the public pricer alone, with t = marks.time + age and a carry of zero.
    """
    sign = 1 if party == 0 else -1
    lines = dict.fromkeys(("scan", "delta", "gamma", "vega", "short"), Fraction(0))
    ratio = {(mark.underlying, mark.expiry): mark for mark in held.marks.expiries}
    for name in {leg.underlying for leg in held.legs}:
        rows = [
            (leg, vol.vol, ratio[leg.underlying, leg.expiry], leg.expiry - held.marks.time - age)
            for leg, vol in zip(held.legs, held.marks.vols, strict=True)
            if leg.underlying == name
        ]
        spot = held.marks.spot(name)

        def worth(scenario: Scenario, rows: list = rows, spot: int = spot) -> Fraction:
            total = Fraction(0)
            for leg, vol, mark, left in rows:
                forward = spot * scenario.spot_factor // WAD * mark.ratio // WAD
                shocked = shocked_vols(policy, vol, left, age)[scenario.vol_shock]
                found = price(leg.kind, forward, leg.strike, shocked, left - scenario.horizon)
                total += Fraction(leg.quantity * mark.discount * found, WAD**3)
            return sign * total

        base = worth(Scenario(WAD, VolShock.NONE))
        losses = [Fraction(row.damping, WAD) * (base - worth(row)) for row in policy.scenarios]
        lines["scan"] += max(Fraction(0), *losses)
        by_expiry: dict[int, list[Fraction]] = {}
        net_delta = Fraction(0)
        for leg, vol, mark, left in rows:
            forward = spot * mark.ratio // WAD
            unit = unit_greeks(leg.kind, forward, leg.strike, vol, left)
            held_units = Fraction(leg.quantity * mark.discount, WAD**2)
            width = max(Fraction(vol, WAD) * Fraction((left / 31_536_000) ** 0.5), Fraction(policy.gamma_move, WAD))
            move = Fraction(policy.gamma_move, WAD)
            sums = by_expiry.setdefault(leg.expiry, [Fraction(0), Fraction(0)])
            net_delta += held_units * Fraction(unit.delta_cash, WAD)
            sums[0] += held_units * Fraction(unit.density, WAD) / width * move**2 / 2
            sums[1] += held_units * Fraction(unit.vega, WAD)
            lines["short"] += max(Fraction(0), Fraction(-sign * leg.quantity * forward, WAD**2))
        lines["delta"] += abs(net_delta)
        lines["gamma"] += sum(abs(gamma) for gamma, _ in by_expiry.values())
        lines["vega"] += sum(abs(vega) for _, vega in by_expiry.values())
    for name in ("delta", "gamma", "vega", "short"):
        lines[name] *= Fraction(getattr(policy, f"{name}_charge"), WAD)
    return lines


BOOKS = {
    "short call": book(Leg.call(ETH, TIME + 7 * DAY, 3900, quantity=-10)),
    "condor": book(*condor(), ratio="1.01", discount="0.97"),
    "calendar": book(
        Leg.call(ETH, TIME + 7 * DAY, 3000, quantity=-4), Leg.call(ETH, TIME + 90 * DAY, 3000, quantity=4)
    ),
    "straddle at the last minute": book(
        Leg.call(ETH, TIME + 60, 3000, quantity=1), Leg.put(ETH, TIME + 60, 3000, quantity=1)
    ),
    "two underlyings": book(*condor(), *condor(60, 1, BTC, 45000)),
}


@pytest.mark.parametrize("name", BOOKS)
@pytest.mark.parametrize("party", [0, 1])
@pytest.mark.parametrize(
    "policy", [DEFAULT_POLICY, replace(DEFAULT_POLICY, gamma_charge=3 * WAD, gamma_move=WAD // 20)]
)
def test_every_line_is_its_definition_rounded_up(name: str, party: int, policy: MarginPolicy) -> None:
    report = margin(BOOKS[name], NO_CASH, 6, policy)[party]
    exact = exact_lines(BOOKS[name], policy, party)
    charges = report.charges
    for found, definition in (
        (report.scan_initial, exact["scan"] * policy.scan_initial / WAD),
        (report.scan_maintenance, exact["scan"] * policy.scan_maintenance / WAD),
        (charges.delta, exact["delta"]),
        (charges.gamma, exact["gamma"]),
        (charges.vega, exact["vega"]),
        (charges.short, exact["short"]),
    ):
        assert found - 1 <= ceil(definition * TOKEN) <= found + (found > 10**9), (found, float(definition))
    assert report.initial_margin == report.scan_initial + charges.total
    assert report.maintenance_margin == report.scan_maintenance + charges.total
    assert charges.total == charges.delta + charges.gamma + charges.vega + charges.short
    assert report.equity == report.value == margin(BOOKS[name], NO_CASH, 6)[party].value


def test_a_short_naked_tail_needs_what_the_tail_scan_says() -> None:
    """Ten short 7-day calls 30 % out of the money: worthless on any grid row, 8,100 each at four times the spot."""
    report = margin(BOOKS["short call"], NO_CASH, 6)[0]
    assert report.scan_initial / TOKEN == pytest.approx(0.0462 * 10 * (4 * 3000 - 3900), abs=2)
    assert report.worst[0].scenario == Scenario(4 * WAD, VolShock.UP, WAD * 462 // 10_000)
    assert report.worst[0].row == 32
    assert report.worst[0].loss == report.scan_initial
    core_only = replace(DEFAULT_POLICY, scenarios=DEFAULT_POLICY.scenarios[:27])
    assert margin(BOOKS["short call"], NO_CASH, 6, core_only)[0].scan_initial < report.scan_initial / 3


def test_a_holder_of_options_is_margined_for_their_whole_value_at_most() -> None:
    report = margin(BOOKS["short call"], NO_CASH, 6)[1]
    assert 0 < report.scan_initial <= report.value + 1
    assert report.charges.short == 0


def test_the_pure_decay_row_margins_theta() -> None:
    policy = replace(DEFAULT_POLICY, scenarios=(Scenario(WAD, VolShock.NONE, WAD, DAY),))
    held = book(Leg.call(ETH, TIME + 30 * DAY, 3000, quantity=1))
    first, second = margin(held, NO_CASH, 6, policy)
    assert first.scan_initial == pytest.approx(-first.greeks[0].theta_per_day / 10**12, rel=0.02)
    assert second.scan_initial == second.worst[0].loss == 0
    last_day = book(Leg.call(ETH, TIME + DAY // 2, 3100, quantity=1))
    assert margin(last_day, NO_CASH, 6, policy)[0].scan_initial == margin(last_day, NO_CASH, 6, policy)[0].value + 1


def test_losses_do_not_offset_between_underlyings() -> None:
    eth, btc = condor(), condor(60, 1, BTC, 45000)
    both = margin(book(*eth, *btc), NO_CASH, 6)[0]
    apart = [margin(book(*legs), NO_CASH, 6)[0] for legs in (eth, btc)]
    assert [worst.underlying for worst in both.worst] == [BTC, ETH]
    assert 0 <= sum(report.scan_initial for report in apart) - both.scan_initial <= 1
    assert sorted(worst.loss for worst in both.worst) == sorted(report.worst[0].loss for report in apart)


def test_delta_nets_over_expiries_vega_and_gamma_do_not() -> None:
    near, far = (Leg.call(ETH, TIME + days * DAY, 3000, quantity=1) for days in (30, 90))
    alone = [margin(book(leg), NO_CASH, 6)[0].charges for leg in (near, far)]
    spread = margin(book(near, far.times(-1)), NO_CASH, 6)[0].charges
    assert spread.delta == pytest.approx(abs(alone[0].delta - alone[1].delta), abs=1)
    assert spread.vega == pytest.approx(alone[0].vega + alone[1].vega, abs=1)
    assert spread.gamma == pytest.approx(alone[0].gamma + alone[1].gamma, abs=1)
    same = margin(book(near, Leg.call(ETH, near.expiry, 3001, quantity=-1)), NO_CASH, 6)[0].charges
    assert same.vega < alone[0].vega / 100


def test_gamma_of_the_last_second_is_bounded_by_the_move() -> None:
    """½·Γ·m² with w floored at m is at most pdf(0)·m/2 of the forward: 0.2 % for a move of 1 %."""
    held = book(Leg.call(ETH, TIME + 1, 3000, quantity=1))
    assert margin(held, NO_CASH, 6)[0].charges.gamma == pytest.approx(0.398942 * 0.01 / 2 * 3000 * TOKEN, rel=1e-4)


def test_the_independent_amount_is_a_floor_halved_for_maintenance_rounded_up() -> None:
    policy = replace(DEFAULT_POLICY, independent_amounts=(10**7 * WAD + 10**12, 0))
    first, second = margin(BOOKS["condor"], NO_CASH, 6, policy)
    plain = margin(BOOKS["condor"], NO_CASH, 6)[1]
    assert first.independent_amount == first.initial_margin == 10**13 + 1
    assert first.maintenance_margin == (10**13 + 2) // 2
    assert second == plain


def test_an_empty_or_expired_book_needs_nothing_not_even_the_independent_amount() -> None:
    policy = replace(DEFAULT_POLICY, independent_amounts=(WAD, WAD))
    for held, t in ((EMPTY_BOOK, TIME), (BOOKS["condor"], TIME + 30 * DAY)):
        for report in margin(held, (5, 7), 6, policy, t=t):
            assert (report.initial_margin, report.maintenance_margin, report.charges.total) == (0, 0, 0)
            assert report.collateralisation is None and report.worst == ()
            assert not report.is_breach


def test_an_expired_leg_counts_in_equity_and_neither_needs_nor_gives_margin() -> None:
    live = Leg.call(ETH, TIME + 30 * DAY, 3000, quantity=-1)
    expired = Leg.call(ETH, TIME + DAY, 2500, quantity=1)
    t = TIME + DAY
    both = margin(book(live, expired), NO_CASH, 6, t=t)[0]
    alone = margin(book(live), NO_CASH, 6, t=t)[0]
    assert both.value == alone.value + 500 * TOKEN
    assert (both.initial_margin, both.maintenance_margin, both.worst) == (
        alone.initial_margin,
        alone.maintenance_margin,
        alone.worst,
    )
    settled_debt = margin(book(expired.times(-1)), (499 * TOKEN, 0), 6, t=t)[0]
    assert settled_debt.maintenance_margin == 0 and settled_debt.is_breach


def test_stale_volatility_costs_a_straddle_more_whichever_way_it_faces() -> None:
    days = 60
    expiry = TIME + days * DAY
    straddle = (Leg.call(ETH, expiry, 3000, quantity=1), Leg.put(ETH, expiry, 3000, quantity=1))
    never = replace(DEFAULT_POLICY, vol_stale_per_hour=0)
    for party in (0, 1):
        fresh = margin(book(*straddle), NO_CASH, 6, never, t=TIME + 2 * DAY)[party]
        stale = margin(book(*straddle), NO_CASH, 6, t=TIME + 2 * DAY)[party]
        assert stale.value == fresh.value and stale.charges == fresh.charges
        assert stale.scan_initial > fresh.scan_initial
        exact = exact_lines(book(*straddle), DEFAULT_POLICY, party, age=2 * DAY)
        assert abs(stale.scan_initial - ceil(exact["scan"] * TOKEN)) <= 1


def test_equity_is_cash_plus_value_and_the_ratio_is_rounded_down() -> None:
    report = margin(BOOKS["condor"], (1000 * TOKEN, 9), 6)[0]
    assert report.equity == 1000 * TOKEN + report.value
    assert report.collateralisation == report.equity * WAD // report.maintenance_margin
    assert report.excess - report.initial_margin_shortfall == report.equity - report.initial_margin
    assert min(report.excess, report.initial_margin_shortfall) == 0


def at_equity(equity: int, policy: MarginPolicy = DEFAULT_POLICY) -> MarginReport:
    """Party 0's condor report with exactly this equity."""
    value = margin(BOOKS["condor"], NO_CASH, 6)[0].value
    return margin(BOOKS["condor"], (equity - value, 0), 6, policy)[0]


def test_breach_is_strict_to_the_last_unit() -> None:
    needed = margin(BOOKS["condor"], NO_CASH, 6)[0].maintenance_margin
    assert not at_equity(needed).is_breach
    assert at_equity(needed - 1).is_breach
    initial = at_equity(0).initial_margin
    assert at_equity(initial).initial_margin_shortfall == 0
    assert at_equity(initial - 1).initial_margin_shortfall == 1


def test_the_losses_of_the_worst_rows_are_the_scan() -> None:
    held = book(*condor(), *condor(7, 1, BTC, 45_000), vol="0.5")
    for t in (None, TIME + 2 * DAY):
        reports = margin(held, NO_CASH, 6, t=t)
        for party, report in enumerate(reports):
            witness = {found.underlying: found.row for found in report.worst}
            losses = scenario_losses(held, witness, t=t)
            scanned = sum(-(-max(0, pair[party]) // WAD) for pair in losses.values())
            assert -(-scanned * WAD // 10**48) == report.scan_initial > 0
            assert [-(-pair[party] // 10**48) for pair in losses.values()] == [found.loss for found in report.worst]


def test_expired_underlyings_lose_nothing_in_any_scenario() -> None:
    held = book(*condor(), *condor(7, 1, BTC, 45_000))
    assert list(scenario_losses(held, {ETH: 0, BTC: 0}, t=TIME + 8 * DAY)) == [ETH]
    assert scenario_losses(EMPTY_BOOK, {}) == {}


def test_a_witness_never_claims_more_than_the_grid() -> None:
    """The named worst rows prove exactly the maintenance margin; any other choice of rows proves less or the same."""
    held = BOOKS["two underlyings"]
    full = margin(held, NO_CASH, 6)[0]
    named = {worst.row for worst in full.worst}
    for row in range(34):
        rows = tuple(DEFAULT_POLICY.scenarios[i] for i in sorted({row, *(named if row in named else ())}))
        witness = margin(held, NO_CASH, 6, replace(DEFAULT_POLICY, scenarios=rows))[0]
        assert witness.maintenance_margin <= full.maintenance_margin
        assert (witness.maintenance_margin == full.maintenance_margin) or row not in named


def collateral_calls() -> Iterator[tuple[dict[str, object], int, int]]:
    """(policy, equity below initial margin, call expected), token units."""
    yield {}, -1, 0
    yield {}, 0, 0
    yield {}, TOKEN - 1, 0
    yield {}, TOKEN, TOKEN
    yield {"minimum_transfer": 0}, 1, 1
    yield {"thresholds": (100 * WAD, 0)}, 100 * TOKEN, 0
    yield {"thresholds": (100 * WAD, 0)}, 100 * TOKEN + 1, 100 * TOKEN + 1
    yield {"thresholds": (0, 100 * WAD)}, 5 * TOKEN, 5 * TOKEN
    yield {"transfer_rounding": 10 * WAD}, 11 * TOKEN, 20 * TOKEN
    yield {"transfer_rounding": 10 * WAD}, 20 * TOKEN, 20 * TOKEN
    yield {"transfer_rounding": 10 * WAD, "minimum_transfer": 10 * WAD}, TOKEN, 10 * TOKEN


@pytest.mark.parametrize(("changes", "lacking", "expected"), list(collateral_calls()))
def test_the_collateral_call_follows_the_csa_terms(changes: dict[str, object], lacking: int, expected: int) -> None:
    initial = at_equity(0).initial_margin
    assert at_equity(initial - lacking, replace(DEFAULT_POLICY, **changes)).collateral_call == expected


def test_scenarios_beyond_the_bounds_are_clamped_not_refused() -> None:
    high = Leg("X", TIME + 30 * DAY, MAX_PRICE, BOOKS["condor"].legs[0].kind, WAD)
    marks = Marks.at(TIME, spots={"X": str(MAX_PRICE // WAD)}, vols={high: 8})
    for report in margin(Book.of([high], marks, SALT), NO_CASH, 6):
        assert report.initial_margin > 0


def test_the_first_of_equal_rows_is_the_worst() -> None:
    rows = (Scenario(WAD * 2, VolShock.NONE), Scenario(WAD // 2, VolShock.DOWN), Scenario(WAD // 2, VolShock.NONE))
    policy = replace(DEFAULT_POLICY, scenarios=rows, bumps=(VolBump(DAY, 0, 0),))
    report = margin(book(Leg.call(ETH, TIME + DAY, 3000, quantity=1)), NO_CASH, 6, policy)[0]
    assert report.worst[0].row == 1


def test_decimals_scale_the_report_and_round_against_the_party() -> None:
    fine, coarse = (margin(BOOKS["condor"], NO_CASH, decimals)[0] for decimals in (18, 0))
    assert coarse.value == fine.value // WAD
    assert coarse.scan_initial == -(-fine.scan_initial // WAD)
    assert coarse.charges.short == -(-fine.charges.short // WAD)
