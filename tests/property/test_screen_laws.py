"""The float screen against the integers: equal reports, equal verdicts, on the boundary most of all; and a band that
is neither vacuous nor wider than it is for a reason.

    python -m pytest -m nightly tests/property/test_screen_laws.py

runs the long campaigns. Every failure names the seed of its book.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import groupby
from random import Random

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from channels.core.monitor import standings_many
from channels.errors import ChannelError, OutOfBounds
from channels.model import Book
from channels.risk import (
    DEFAULT_POLICY,
    EXACT,
    MarginPolicy,
    MarginReport,
    Standing,
    margin,
    screen,
    screen_grid,
    screen_window,
)
from channels.risk.margin import replacement_cost, scenario_values
from channels.risk.screen import FloatScreen, Verdicts
from channels.risk.screen_grid import Grid, Held, Strip, Table
from channels.risk.screen_window import Window, quotes_of
from channels.risk.valuation import Position, positions
from channels.units import WAD, div_up
from tests.contracts.engine_books import POLICIES, Case, random_case
from tests.desk_books import desk_book
from tests.strategies import books

SCREEN = FloatScreen()
BOTH = ("initial", "maintenance")
ON_THE_BOUNDARY = (-1, 0, 1)


def arguments(case: Case) -> dict[str, object]:
    return {"t": case.t, "spots": case.spot_map(), "settlements": case.settlement_map()}


def check_case(seed: int) -> int:
    """Compare reports and verdicts of an engine case; return how many of its four verdicts floats knew."""
    case = random_case(seed)
    policy, given = POLICIES[case.policy], arguments(case)
    try:
        reports = margin(case.book, case.cash, case.decimals, policy, **given)  # type: ignore[arg-type]
    except OutOfBounds as refused:
        for judged in (SCREEN.margin, SCREEN.standings):
            with pytest.raises(OutOfBounds) as caught:
                judged(case.book, case.cash, case.decimals, policy, **given)  # type: ignore[operator]
            assert str(caught.value) == str(refused), seed
        return 0
    found = SCREEN.margin(case.book, case.cash, case.decimals, policy, **given)  # type: ignore[arg-type]
    assert found == reports, f"seed {seed}"
    told = SCREEN.verdicts(case.book, case.cash, case.decimals, policy, **given)  # type: ignore[arg-type]
    for report, (initial, maintenance) in zip(reports, told, strict=True):
        assert initial in (None, report.equity >= report.initial_margin), f"seed {seed}"
        assert maintenance in (None, not report.is_breach), f"seed {seed}"
    return sum(verdict is not None for pair in told for verdict in pair)


def required(report: MarginReport, what: str) -> int:
    return report.initial_margin if what == "initial" else report.maintenance_margin


def cash_on(report: MarginReport, what: str, beyond: int) -> tuple[int, int]:
    """Cash with which this party's equity is its requirement and `beyond` token units more, to the last unit."""
    own = required(report, what) - report.value + beyond
    return (own, 0) if report.party == 0 else (0, own)


@dataclass(frozen=True)
class Drive:
    """A book with cash that puts a party on a boundary, `beyond` token units over it, and whether that covers."""

    book: Book
    cash: tuple[int, int]
    party: int
    what: int
    beyond: int

    def verdict(self, told: tuple[Verdicts, Verdicts]) -> bool | None:
        return told[self.party][self.what]

    def final(self, told: tuple[Standing, Standing]) -> bool:
        return told[self.party].covers_maintenance if self.what else told[self.party].covers_initial


def drives(book: Book, decimals: int, policy: MarginPolicy, beyond: tuple[int, ...]) -> Iterator[Drive]:
    """Both boundaries of both parties."""
    for report in margin(book, (0, 0), decimals, policy):
        for what, name in enumerate(BOTH):
            for more in beyond:
                yield Drive(book, cash_on(report, name, more), report.party, what, more)


def check_boundary(
    driven: list[Drive], decimals: int, policy: MarginPolicy = DEFAULT_POLICY, engine: FloatScreen = SCREEN
) -> int:
    """Judge what is driven onto a boundary, at once and one by one; return how often floats alone were wrong there."""
    asked = [(drive.book, drive.cash) for drive in driven]
    at_once = engine.verdicts_many(asked, decimals, policy)
    final = standings_many(asked, decimals, policy, engine)
    wrong = 0
    for drive, together, last in zip(driven, at_once, final, strict=True):
        alone = engine.verdicts(drive.book, drive.cash, decimals, policy)
        wrong += any(drive.verdict(told) not in (None, drive.beyond >= 0) for told in (together, alone))
        assert wrong or drive.final(last) is (drive.beyond >= 0), drive
    return wrong


def test_reports_and_verdicts_on_books_at_the_edges_of_the_protocol() -> None:
    """A thousand books: extreme sizes, dead and stale legs, no volatility, policies that clamp, every refusal."""
    known = sum(check_case(seed) for seed in range(1000))
    assert known > 2000, "floats knew almost nothing"


def test_reports_and_verdicts_on_the_books_of_a_desk() -> None:
    for seed in range(500):
        book, decimals = desk_book(seed), (6, 18)[seed % 2]
        assert SCREEN.margin(book, (0, 0), decimals) == margin(book, (0, 0), decimals), f"seed {seed}"


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(books(max_legs=8), st.sampled_from(POLICIES), st.sampled_from([0, 6, 18]))
def test_reports_on_any_book(book: Book, policy: MarginPolicy, decimals: int) -> None:
    try:
        reports = margin(book, (0, 0), decimals, policy)
    except ChannelError as refused:
        with pytest.raises(type(refused)):
            SCREEN.margin(book, (0, 0), decimals, policy)
        return
    assert SCREEN.margin(book, (0, 0), decimals, policy) == reports
    assert check_boundary([*drives(book, decimals, policy, ON_THE_BOUNDARY)], decimals, policy) == 0


def test_no_verdict_changes_on_the_boundary() -> None:
    for seed in range(100):
        decimals = (6, 18)[seed % 2]
        assert check_boundary([*drives(desk_book(seed), decimals, DEFAULT_POLICY, ON_THE_BOUNDARY)], decimals) == 0
    for seed in range(100):
        case = random_case(seed)
        policy = POLICIES[case.policy]
        try:
            driven = [*drives(case.book, case.decimals, policy, ON_THE_BOUNDARY)]
        except OutOfBounds:
            continue
        assert check_boundary(driven, case.decimals, policy) == 0, seed


def test_no_verdict_changes_at_any_distance_from_the_boundary() -> None:
    """Every power of two of token units on both sides of it: some are inside the band, some outside."""
    beyond = tuple(sign * 2**power for power in range(0, 70, 3) for sign in (1, -1))
    for seed in range(12):
        assert check_boundary([*drives(desk_book(seed), 18, DEFAULT_POLICY, beyond)], 18) == 0, seed


@pytest.mark.parametrize("policy", range(len(POLICIES)))
def test_no_verdict_changes_in_a_crowd(policy: int) -> None:
    """Books of all sizes, from a desk's to the edges of the protocol, side by side in one pass, in any order."""
    dice, crowd = Random(policy), list[Drive]()
    for seed in range(30):
        for book in (desk_book(seed), random_case(seed).book):
            try:
                crowd += drives(book, 6, POLICIES[policy], (-1, 0, 10**6))
            except OutOfBounds:
                continue
    for _ in range(2):
        dice.shuffle(crowd)
        assert check_boundary(crowd, 6, POLICIES[policy]) == 0


@st.composite
def windows(draw: st.DrawFn) -> list[tuple[Book, tuple[int, int]]]:
    """What windows agree: books whose marks alone move, now and then another book, and any cash."""
    asked: list[tuple[Book, tuple[int, int]]] = []
    for _ in range(draw(st.integers(1, 4))):
        book = draw(st.builds(desk_book, st.integers(0, 10**6)) | books(max_legs=6))
        for _ in range(draw(st.integers(1, 6))):
            marks = book.marks
            if book.legs:
                moved = tuple(
                    replace(mark, spot=max(1, mark.spot * draw(st.integers(70, 100)) // 100)) for mark in marks.spots
                )
                vols = tuple(replace(mark, vol=mark.vol * draw(st.integers(90, 100)) // 100) for mark in marks.vols)
                later = marks.time + draw(st.sampled_from((0, 1, 86_400, 40 * 86_400)))
                book = Book(book.legs, replace(marks, time=later, spots=moved, vols=vols), book.salt)
            asked.append((book, (draw(st.integers(-(10**12), 10**12)), draw(st.integers(-(10**12), 10**12)))))
    return asked


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(windows(), st.sampled_from(POLICIES), st.sampled_from([0, 6, 18]))
def test_many_are_judged_as_one_by_one(
    asked: list[tuple[Book, tuple[int, int]]], policy: MarginPolicy, decimals: int
) -> None:
    try:
        exact = [tuple(map(Standing.of, margin(book, cash, decimals, policy))) for book, cash in asked]
    except OutOfBounds as refused:
        with pytest.raises(OutOfBounds) as caught:
            SCREEN.standings_many(asked, decimals, policy)
        assert str(caught.value) == str(refused)
        return
    assert standings_many(asked, decimals, policy, SCREEN) == exact
    assert standings_many(asked, decimals, policy, EXACT) == exact
    told = SCREEN.standings_many(asked, decimals, policy)
    for one, (book, cash) in zip(told, asked, strict=True):
        assert one == SCREEN.standings(book, cash, decimals, policy)


def narrowed(monkeypatch: pytest.MonkeyPatch, factor: float) -> None:
    for name in ("ROUNDING", "WEI", "TOKENS", "COARSE", "COARSE_WIDTH"):
        for module in (screen, screen_grid, screen_window):
            if hasattr(module, name):
                monkeypatch.setattr(module, name, getattr(module, name) * factor)


def test_without_its_band_the_screen_is_wrong_on_the_boundary(monkeypatch: pytest.MonkeyPatch) -> None:
    driven = [one for seed in range(10) for one in drives(desk_book(seed), 18, DEFAULT_POLICY, ON_THE_BOUNDARY)]
    with monkeypatch.context() as patch:
        narrowed(patch, 1e-6)
        assert check_boundary(driven, 18, engine=FloatScreen()) > 20
        patch.setattr(screen, "quotes_of", lambda strip, marks: None)
        assert check_boundary(driven, 18, engine=FloatScreen()) > 20, "of the grid"
    monkeypatch.setattr(screen_window, "COARSE", screen_window.COARSE * 1e-3)
    driven = [one for seed in range(10) for one in drives(desk_book(seed), 18, DEFAULT_POLICY, (-(10**9), 10**9))]
    assert check_boundary(driven, 18, engine=FloatScreen()) > 20, "of a window"


def share_unsure(seeds: range, decimals: int) -> float:
    """How often floats cannot tell, with equity from none to three times the initial margin."""
    unsure = asked = 0
    for seed in seeds:
        book = desk_book(seed)
        one, other = margin(book, (0, 0), decimals)
        cash = tuple(r.initial_margin * (seed * 7919 % 300) // 100 - r.value for r in (one, other))
        for pair in SCREEN.verdicts(book, (cash[0], cash[1]), decimals):
            unsure += sum(verdict is None for verdict in pair)
            asked += 2
    return unsure / asked


@pytest.mark.parametrize("decimals", [6, 18])
def test_on_ordinary_books_floats_are_sure(decimals: int) -> None:
    assert share_unsure(range(200), decimals) < 0.01


def test_on_ordinary_books_windows_are_sure(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a window leaves to the grid is little too, or nothing would be gained."""

    def refused(*_: object) -> None:
        raise AssertionError

    books = [desk_book(seed) for seed in range(100)]
    left = 0
    monkeypatch.setattr(screen, "Grid", refused)
    for seed, book in enumerate(books):
        report, _ = margin(book, (0, 0), 6)
        try:
            SCREEN.standings(book, (report.initial_margin * (seed * 7919 % 300) // 100 - report.value, 10**20), 6)
        except AssertionError:
            left += 1
    assert left <= 2


def test_on_ordinary_books_one_row_is_the_worst() -> None:
    """What makes a screened report cheap: hardly a row but the worst is priced in integers."""
    rows = groups = 0
    for seed in range(200):
        held = positions(desk_book(seed))
        by_name = [tuple(group) for _, group in groupby(held, key=lambda p: p.leg.underlying)]
        for pair in SCREEN.candidates(by_name, DEFAULT_POLICY, 0):
            rows += len(pair[0]) + len(pair[1])
            groups += 2
    assert rows < 1.5 * groups


# ── The band against the errors themselves ──────────────────────────────────────────────────────────────────────────


@dataclass
class Errors:
    """The largest |float − exact| / proven bound seen, for values, losses and costs."""

    value: float = 0.0
    loss: float = 0.0
    cost: float = 0.0


def cases(seeds: range) -> Iterator[tuple[Book, int, dict[str, int] | None, MarginPolicy]]:
    for seed in seeds:
        case = random_case(seed)
        yield case.book, max(case.t, case.book.marks.time), case.spot_map(), POLICIES[case.policy]


def desks(seeds: range) -> Iterator[tuple[Book, int, dict[str, int] | None, MarginPolicy]]:
    for seed in seeds:
        book = desk_book(seed)
        yield book, book.marks.time, None, DEFAULT_POLICY


def measure(book: Book, t: int, spots: dict[str, int] | None, policy: MarginPolicy, seen: Errors) -> None:
    """Compare the grid's figures with exact ones, row by row, in exact arithmetic."""
    try:
        live = [position for position in positions(book, t, spots) if position.is_live]
    except OutOfBounds:
        return
    if not live:
        return
    age = max(0, t - book.marks.time)
    table = Table(policy)
    expiries = {
        (p.leg.underlying, p.leg.expiry): (
            p.spot, p.seconds, p.ratio, p.discount, p.forward, *table.multipliers(p.seconds, age),
        )
        for p in live
    }  # fmt: skip
    strip = Strip([p.leg for p in live])
    groups = [tuple(group) for _, group in groupby(live, key=lambda p: p.leg.underlying)]
    compare(Grid(table, [Held(strip, list(expiries.values()), [p.vol for p in live])]), groups, age, policy, seen)


def measure_window(book: Book, policy: MarginPolicy, seen: Errors) -> bool:
    """The same for a window of one state, the book at its marks; return whether a window takes it at all."""
    strip = Strip(book.legs)
    quotes = quotes_of(strip, [book.marks])
    if quotes is None:
        return False
    groups = [tuple(group) for _, group in groupby(positions(book), key=lambda p: p.leg.underlying)]
    compare(Window(Table(policy), strip, quotes), groups, 0, policy, seen)
    return True


def compare(
    grid: Grid | Window, groups: list[tuple[Position, ...]], age: int, policy: MarginPolicy, seen: Errors
) -> None:
    rows, underlyings = len(policy.scenarios), len(groups)
    result = grid.result
    losses = result.losses.reshape(rows, underlyings)
    value, value_error, loss_error = (
        array.reshape(underlyings) for array in (result.value, result.value_error, result.loss_error)
    )
    assert np.isfinite(losses).all()
    for number, group in enumerate(groups):
        base = sum(position.value for position in group)
        seen.value = max(seen.value, abs(int(value[number]) - base) / value_error[number])
        for row, moved in enumerate(scenario_values(group, base, policy, age)):
            found, damping = int(losses[row, number]), policy.scenarios[row].damping
            for sign in (1, -1):
                exact = div_up(sign * (base - moved), WAD) * damping
                seen.loss = max(seen.loss, abs(sign * found - exact) / loss_error[number])
    costs = grid.costs()
    for party, charges in enumerate(replacement_cost(groups, policy, 18)):
        # Each of the four lines was rounded up to a token unit, 1e36.
        off = abs(int(costs.shared[0] + costs.short[party, 0]) - charges.total * 10**36) - 4 * 10**36
        if off > 0:
            seen.cost = max(seen.cost, off / costs.error[0])


def test_no_error_exceeds_its_bound_and_the_bound_is_no_fantasy() -> None:
    extreme, ordinary = Errors(), Errors()
    for facts in cases(range(300)):
        measure(*facts, extreme)
    for facts in desks(range(100)):
        measure(*facts, ordinary)
    for seen in (extreme, ordinary):
        assert max(seen.value, seen.loss, seen.cost) <= 1.0, seen
    assert min(ordinary.value, ordinary.loss) > 1e-3, "the band is a thousand times too wide"


def test_no_error_of_a_window_exceeds_its_bound() -> None:
    extreme, ordinary = Errors(), Errors()
    taken = sum(measure_window(book, policy, extreme) for book, _, _, policy in cases(range(1000)))
    assert taken > 40, "the edges are left to the grid"
    assert all(measure_window(book, policy, ordinary) for book, _, _, policy in desks(range(100)))
    for seen in (extreme, ordinary):
        assert max(seen.value, seen.loss, seen.cost) <= 1.0, seen
    assert min(ordinary.value, ordinary.loss) > 1e-3, "the band is a thousand times too wide"


@pytest.mark.nightly
def test_twenty_thousand_books_at_the_edges() -> None:
    for seed in range(1000, 21_000):
        check_case(seed)


@pytest.mark.nightly
def test_five_thousand_books_on_the_boundary() -> None:
    seen = Errors()
    for seed in range(1000, 6000):
        decimals = (6, 18)[seed % 2]
        driven = [*drives(desk_book(seed), decimals, DEFAULT_POLICY, ON_THE_BOUNDARY)]
        assert check_boundary(driven, decimals) == 0, seed
    for facts in (*cases(range(1000, 4000)), *desks(range(1000, 4000))):
        measure(*facts, seen)
    assert max(seen.value, seen.loss, seen.cost) <= 1.0, seen
    seen = Errors()
    for book, _, _, policy in (*cases(range(1000, 6000)), *desks(range(1000, 3000))):
        measure_window(book, policy, seen)
    assert max(seen.value, seen.loss, seen.cost) <= 1.0, seen
    assert EXACT.standings(desk_book(1), (0, 0), 6) is None
