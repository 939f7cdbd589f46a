"""The float screen's parts: the tail, the platform check, ties, and what it does where floats cannot answer."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from random import Random

import numpy as np
import pytest
from mpmath import erfc, mp, mpf, sqrt

from channels.errors import InvariantBroken, OutOfBounds
from channels.model import EMPTY_BOOK, Book, ExpiryMark, Leg, Marks, SpotMark, VolMark
from channels.model.marks import MAX_VOL
from channels.model.option import MAX_PRICE, MAX_QUANTITY, OptionKind
from channels.risk import (
    DEFAULT_POLICY,
    EXACT,
    MarginPolicy,
    Scenario,
    VolShock,
    fixed,
    margin,
    screen,
    screen_grid,
    screen_window,
)
from channels.risk.scenarios import bumps_up
from channels.risk.screen import FloatScreen
from channels.risk.screen_grid import LEAST_WIDTH, Array, Grid, Held, Strip, Table, scaled_tail
from channels.risk.screen_window import COARSE, SAFE_FORWARD, Quotes, Window, coarse_tail, quotes_of
from channels.risk.valuation import positions
from channels.units import SECONDS_PER_DAY as DAY, WAD

ETH = "ETH/USD"
TIME = 1_704_700_800
ROUNDOFF = 2.0**-53
SCREEN = FloatScreen()


def book(*legs: Leg, vol: str = "0.6", spot: int | str = 3000) -> Book:
    marks = Marks.at(TIME, spots={ETH: spot}, vols=dict.fromkeys(legs, vol))
    return Book.of(legs, marks, bytes(31) + b"\1")


def candidates(held: Book, policy: MarginPolicy = DEFAULT_POLICY) -> tuple[list[int], list[int]]:
    ((first, second),) = SCREEN.candidates([positions(held)], policy, 0)
    return first, second


def test_the_tail_is_the_integers_rational_to_thirty_three_roundoffs() -> None:
    """(R): 40,000 points of [0, 36], the integers' own truncation included."""
    z = np.linspace(0.0, 36.0, 40_001)
    for at, found in zip(z.tolist(), scaled_tail(z).tolist(), strict=True):
        p, q = fixed.scaled_tail(int(at * 2**72))
        assert abs(found * q / p - 1) <= 33 * ROUNDOFF, at


def test_the_tail_against_the_error_function() -> None:
    """N(-z) = exp(-z²/2) · tail: the fit's 1e-19 and a relative rounding, at 2,000 points of [0, 16]."""
    mp.dps = 40
    z = np.linspace(0.0, 16.0, 2_001)
    normal = np.exp(z * z * -0.5) * scaled_tail(z)
    for at, found in zip(z.tolist(), normal.tolist(), strict=True):
        exact = erfc(mpf(at) / sqrt(mpf(2))) / 2
        assert abs(mpf(found) - exact) <= (42 + at * at / 2) * ROUNDOFF * exact + mpf("1e-19"), at


def test_the_coarse_tail_is_good_to_the_band_it_was_given() -> None:
    """At 8,001 points of [0, 8]: between two of them the error moves by less than 4e-10, for both slopes are at most
    0.4 and the fit's follows; beyond, N(-z) is below 1e-15 and the rational below a half."""
    mp.dps = 30
    z = np.linspace(0.0, 8.0, 8_001)
    normal = np.exp(z * z * -0.5) * coarse_tail(z)
    worst = max(abs(found - float(erfc(mpf(at) / sqrt(mpf(2))) / 2)) for at, found in zip(z, normal, strict=True))
    assert 5.9e-8 < worst < 6.2e-8
    assert COARSE > 6.2e-8 + 2.0**-40
    beyond = np.exp(np.linspace(np.log(8.0), np.log(64.0 / LEAST_WIDTH), 1_000))
    assert ((coarse_tail(beyond) > 0.0) & (coarse_tail(beyond) < 0.1)).all()


def test_the_tail_stays_finite_where_no_volatility_is_left() -> None:
    farthest = np.array([64.0 / LEAST_WIDTH])
    assert np.isfinite(scaled_tail(farthest)).all()
    assert 0.0 <= float(scaled_tail(farthest)[0]) < 1e-18


def test_a_machine_with_a_worse_exponential_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    FloatScreen()
    for name in ("exp", "log"):
        true = getattr(np, name)
        with monkeypatch.context() as patch:
            patch.setattr(screen.np, name, lambda x, true=true: true(x) * (1 + 2e-15))
            with pytest.raises(InvariantBroken, match=name):
                FloatScreen()


def test_without_numpy_its_import_says_what_to_install() -> None:
    code = (
        "import sys; sys.modules['numpy'] = None\n"
        "import channels.risk, channels.core.machine\n"
        "try:\n    import channels.risk.screen\n"
        "except channels.errors.MissingExtra as missing:\n    print(missing)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "option-channels[fast]" in done.stdout


def test_the_first_of_equal_rows_is_the_worst() -> None:
    """Without volatility a straddle at the money loses the same in six rows; the screen asks for all of them."""
    expiry = TIME + 30 * DAY
    straddle = book(Leg.call(ETH, expiry, 3000, quantity=-2), Leg.put(ETH, expiry, 3000, quantity=-2), vol="0")
    policy = MarginPolicy(scenarios=tuple(row for row in DEFAULT_POLICY.scenarios if row.damping == WAD))
    equal, _ = candidates(straddle, policy)
    assert [policy.scenarios[row].spot_factor for row in equal] == [WAD * 82 // 100] * 3 + [WAD * 118 // 100] * 3
    reports = SCREEN.margin(straddle, (0, 0), 18, policy)
    assert reports == margin(straddle, (0, 0), 18, policy)
    assert reports[0].worst[0].row == equal[0]


def test_a_box_is_worth_the_same_everywhere_and_every_row_is_asked() -> None:
    """Long and short the same synthetic forward between two strikes: what differs between rows is rounding alone."""
    expiry = TIME + 30 * DAY
    box = book(
        Leg.call(ETH, expiry, 2900, quantity=7), Leg.put(ETH, expiry, 2900, quantity=-7),
        Leg.call(ETH, expiry, 3100, quantity=-7), Leg.put(ETH, expiry, 3100, quantity=7),
    )  # fmt: skip
    every = list(range(len(DEFAULT_POLICY.scenarios)))
    assert candidates(box) == (every, every)
    assert SCREEN.margin(box, (0, 0), 18) == margin(box, (0, 0), 18)


def test_losses_that_rounding_makes_equal_are_ties() -> None:
    """A notional of 1e-36: the integers round losses up to that, and the worst row need not be the floats' greatest."""
    leg = Leg(ETH, TIME + 1, 1, OptionKind.CALL, 1)
    marks = Marks(
        TIME, (SpotMark(ETH, 228 * WAD),), (ExpiryMark(ETH, leg.expiry, 2, 1),), (VolMark(*leg.key, 0),)
    )  # fmt: skip
    dust = Book((leg,), marks, bytes(31) + b"\1")
    _, rising = candidates(dust)
    assert len(rising) > 1
    assert SCREEN.margin(dust, (0, 0), 0) == margin(dust, (0, 0), 0)


def test_the_largest_book_there_can_be() -> None:
    dice = Random(1)
    held = [
        Leg(ETH, TIME + days * DAY, strike, kind, dice.choice((MAX_QUANTITY, -MAX_QUANTITY)))
        for days in (1, 30, 365, 3650)
        for strike in (1, WAD, 3000 * WAD, MAX_PRICE)
        for kind in OptionKind
    ]
    largest = book(*held, vol="8", spot=str(MAX_PRICE // WAD))
    assert largest.marks.vols[0].vol == MAX_VOL
    assert SCREEN.margin(largest, (0, 0), 18) == margin(largest, (0, 0), 18)


def test_what_is_not_a_number_decides_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Should floats ever fail, every row is a candidate and no verdict is given."""
    held = book(Leg.call(ETH, TIME + 30 * DAY, 3000, quantity=-1))
    for module in (screen_grid, screen_window):
        monkeypatch.setattr(module, "LEAST_WIDTH", float("nan"))
    assert candidates(held) == (list(range(34)), list(range(34)))
    assert SCREEN.standings(held, (10**30, 10**30), 6) is None
    assert SCREEN.margin(held, (0, 0), 6) == margin(held, (0, 0), 6)


def test_what_is_not_a_number_in_one_book_reaches_no_other() -> None:
    """Books lie side by side in one pass; the middle one's volatility is none."""
    expiry, table = TIME + 30 * DAY, Table(DEFAULT_POLICY)
    held = [
        book(Leg.call(ETH, expiry, 3000, quantity=-1), Leg.put(ETH, expiry + DAY, 2000, quantity=lots))
        for lots in (1, 2, 3)
    ]
    priced = [SCREEN._hold(one, table) for one in held]
    books = [legs for _, legs in filter(None, priced)]
    books[1] = books[1]._replace(vols=[float("nan"), 0])  # type: ignore[list-item]
    together = Grid(table, books)
    costs = together.costs()
    assert np.isnan(together.result.value[1])
    assert np.isnan(costs.shared[1])
    for at in (0, 2):
        alone = Grid(table, [books[at]])
        assert together.result.losses[:, at].tolist() == alone.result.losses[:, 0].tolist()
        assert together.result.value[at] == alone.result.value[0]
        assert together.result.value_error[at] == alone.result.value_error[0]
        assert (costs.shared[at], costs.error[at]) == (alone.costs().shared[0], alone.costs().error[0])
        assert costs.short[:, at].tolist() == alone.costs().short[:, 0].tolist()


def moved(held: Book, count: int) -> list[Book]:
    """The same legs under marks whose spot, volatilities and, every third time, time are others."""
    return [
        Book(
            held.legs,
            replace(
                held.marks,
                time=held.marks.time + i // 3,
                spots=tuple(replace(mark, spot=mark.spot * (1000 + i) // 1000) for mark in held.marks.spots),
                vols=tuple(replace(mark, vol=mark.vol * (1000 - i) // 1000) for mark in held.marks.vols),
            ),
            held.salt,
        )
        for i in range(count)
    ]


def two_underlyings() -> Book:
    expiries = (TIME + 7 * DAY, TIME + 90 * DAY)
    legs = [
        (Leg.call if i % 2 else Leg.put)(name, expiries[i // 2 % 2], 100 * (i + 5), quantity=(-1) ** i * (1 + i))
        for name in ("BTC/USD", ETH)
        for i in range(8)
    ]
    marks = Marks.at(TIME, spots={"BTC/USD": 1100, ETH: 900}, vols=dict.fromkeys(legs, "0.7"))
    return Book.of(legs, marks, bytes(31) + b"\1")


def side_by_side(states: list[Book], policy: MarginPolicy = DEFAULT_POLICY) -> tuple[Window, Grid]:
    table, strip = Table(policy), Strip(states[0].legs)
    quotes = quotes_of(strip, [state.marks for state in states])
    assert quotes is not None
    held = [priced[1] for priced in (SCREEN._hold(state, table) for state in states) if priced is not None]
    return Window(table, strip, quotes), Grid(table, held)


BASELESS = MarginPolicy(
    scenarios=(
        Scenario(2 * WAD, VolShock.UP, WAD // 2),
        Scenario(WAD // 2, VolShock.DOWN),
        Scenario(2 * WAD, VolShock.UP),
    )
)


@pytest.mark.parametrize("policy", [DEFAULT_POLICY, BASELESS])
@pytest.mark.parametrize("count", [1, 2, 13])
def test_a_window_has_the_figures_of_the_grid_within_its_band(count: int, policy: MarginPolicy) -> None:
    """The grid is the simple version: sums and bounds in the same places, whatever blocks of rows there are."""
    window, grid = side_by_side(moved(two_underlyings(), count), policy)
    found, simple = window.result, grid.result

    def by_state(array: Array) -> Array:
        """The grid has the underlyings of one book next to each other, a window has states so."""
        return array.reshape(*array.shape[:-1], count, 2).swapaxes(-1, -2)

    assert (np.abs(found.losses - by_state(simple.losses)) <= found.loss_error).all()
    assert (np.abs(found.value - by_state(simple.value)) <= found.value_error).all()
    assert (found.value_error >= by_state(simple.value_error)).all()
    assert (window.per_book(found.value) == found.value.sum(axis=0)).all()
    coarse, fine = window.costs(), grid.costs()
    assert (np.abs(coarse.shared - fine.shared) <= coarse.error).all()
    assert np.abs(coarse.short / np.maximum(fine.short, 1.0) - 1.0).max() < 1e-14
    assert (coarse.error >= fine.error).all()


def test_blocks_of_rows_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    states = moved(two_underlyings(), 3)
    whole, _ = side_by_side(states)
    for size in (1, 100, 500):
        monkeypatch.setattr(screen_window, "BLOCK", size)
        parts, _ = side_by_side(states)
        assert (parts.result.losses == whole.result.losses).all()
        assert (parts.costs().shared == whole.costs().shared).all()


def test_what_is_not_a_number_in_one_state_reaches_no_other() -> None:
    states = moved(two_underlyings(), 3)
    table, strip = Table(DEFAULT_POLICY), Strip(states[0].legs)
    quotes = Quotes(strip, [state.marks for state in states])
    whole = Window(table, strip, quotes)
    quotes.vol[0, 1] = float("nan")
    broken = Window(table, strip, quotes)
    assert np.isnan(broken.result.value[0, 1])
    assert np.isnan(broken.costs().shared[1])
    for at in (0, 2):
        assert (broken.result.losses[..., at] == whole.result.losses[..., at]).all()
        assert broken.costs().shared[at] == whole.costs().shared[at]
        assert broken.costs().error[at] == whole.costs().error[at]


def test_a_window_leaves_dead_legs_and_forwards_near_the_bounds_to_the_integers() -> None:
    held = book(Leg.call(ETH, TIME + DAY, 3000, quantity=-1))
    strip = Strip(held.legs)
    for spot, ratio, time, taken in (
        (3000 * WAD, WAD, TIME, True),
        (3000 * WAD, WAD, TIME + DAY, False),
        (int(SAFE_FORWARD[0]), WAD, TIME, True),
        (int(SAFE_FORWARD[0]), WAD - 10**6, TIME, False),
        (int(SAFE_FORWARD[1]), WAD, TIME, True),
        (int(SAFE_FORWARD[1]), WAD + 10**6, TIME, False),
    ):
        marks = replace(
            held.marks, time=time, spots=(SpotMark(ETH, spot),), expiries=(ExpiryMark(ETH, TIME + DAY, ratio, WAD),)
        )
        assert (quotes_of(strip, [held.marks, marks]) is not None) is taken


def test_who_is_judged_in_a_window_and_who_is_left_to_the_grid(monkeypatch: pytest.MonkeyPatch) -> None:
    """States of the same legs together, as many as there may be; others, and what is within the band, in the grid."""
    windows: list[int] = []
    grids: list[int] = []

    class CountingWindow(Window):
        def __init__(self, table: Table, strip: Strip, quotes: Quotes) -> None:
            windows.append(len(quotes.marks))
            super().__init__(table, strip, quotes)

    class CountingGrid(Grid):
        def __init__(self, table: Table, books: Sequence[Held]) -> None:
            grids.append(len(books))
            super().__init__(table, books)

    monkeypatch.setattr(screen, "Window", CountingWindow)
    monkeypatch.setattr(screen, "Grid", CountingGrid)
    many, few = moved(two_underlyings(), 9), moved(book(Leg.call(ETH, TIME + 30 * DAY, 3000, quantity=-1)), 3)
    rich = (10**13, 10**13)
    asked = [(one, rich) for pair in zip(many, few, strict=False) for one in pair] + [(one, rich) for one in many[3:]]
    clear = SCREEN.standings_many(asked, 6)
    assert (windows, grids) == ([9], [3])
    assert clear[0] == SCREEN.standings(many[0], rich, 6)
    report, _ = margin(many[4], (0, 0), 18)
    near = (report.initial_margin - report.value + 10**11, 10**30)
    poor = [(one, near if one is many[4] else (10**30, 10**30)) for one in many]
    windows.clear()
    grids.clear()
    monkeypatch.setattr(screen, "WINDOW_LEGS", 5 * 16)
    told = SCREEN.standings_many(poor, 18)
    assert (windows, grids) == ([5, 4], [1])
    assert told[4] is not None
    assert told[4][0].covers_initial


def test_a_batch_of_any_size_is_judged_in_its_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """Books without a live leg in between, and passes that end everywhere."""
    small = book(Leg.call(ETH, TIME + 30 * DAY, 3000, quantity=-1))
    large = book(*(Leg.put(ETH, TIME + 30 * DAY, 1000 + i, quantity=-1) for i in range(20)))
    expired = Book(small.legs, replace(small.marks, time=TIME + 30 * DAY), small.salt)
    asked = [(one, (cash, 10**12)) for cash in (0, 10**11) for one in (small, EMPTY_BOOK, large, small, expired, large)]
    expected = [SCREEN.standings(one, cash, 6) for one, cash in asked]
    assert [found is None for found in expected[:6]] == [False, True, False, False, True, False]
    assert expected[0] != expected[6]
    passes: list[int] = []

    class Counting(Grid):
        def __init__(self, table: Table, books: Sequence[Held]) -> None:
            passes.append(len(books))
            super().__init__(table, books)

    monkeypatch.setattr(screen, "Grid", Counting)
    monkeypatch.setattr(screen, "WINDOW_FROM", 100)
    for at_once, sizes in ((1, [1] * 8), (22, [3, 2, 2, 1]), (41, [3, 3, 2]), (42, [4, 4]), (84, [8])):
        monkeypatch.setattr(screen, "LEGS_AT_ONCE", at_once)
        passes.clear()
        assert FloatScreen().standings_many(asked, 6) == expected
        assert passes == sizes
    assert SCREEN.standings_many([], 6) == SCREEN.standings_many([(EMPTY_BOOK, (0, 0))], 6)[1:] == []
    assert EXACT.standings_many(asked, 6) == [None] * len(asked)


def test_the_first_book_out_of_bounds_is_refused_in_the_integers_words() -> None:
    """Bounds are checked in integers, in the order of the books, before a float sees any of them."""
    leg = Leg.call(ETH, TIME + 30 * DAY, 3000, quantity=-1)
    good = book(leg)
    dust = replace(good.marks, spots=(SpotMark(ETH, 1),), expiries=(ExpiryMark(ETH, leg.expiry, 1, WAD),))
    bad = Book(good.legs, dust, good.salt)
    with pytest.raises(OutOfBounds) as exact:
        margin(bad, (0, 0), 6)
    with pytest.raises(OutOfBounds) as found:
        SCREEN.standings_many([(good, (0, 0)), (bad, (0, 0))], 6)
    assert str(found.value) == str(exact.value)


def test_legs_are_remembered_up_to_a_number_and_by_what_they_are() -> None:
    one = FloatScreen()
    for i in range(2 * screen.STRIPS_KEPT):
        held = book(Leg.call(ETH, TIME + 30 * DAY, 3000 + i, quantity=-1 - i))
        report, _ = margin(held, (0, 0), 6)
        for more in (-(10**6), 10**6):
            cash = (report.initial_margin - report.value + more, 0)
            ((initial, _), _) = one.verdicts(held, cash, 6)
            assert initial is (more > 0), "the arrays of other legs"
        assert len(one._strips) <= screen.STRIPS_KEPT


def test_marks_need_no_new_arrays_of_legs(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[int] = []

    class Counting(Strip):
        __slots__ = ()

        def __init__(self, legs: Sequence[Leg]) -> None:
            made.append(len(legs))
            super().__init__(legs)

    monkeypatch.setattr(screen, "Strip", Counting)
    one, held = FloatScreen(), book(Leg.call(ETH, TIME + 30 * DAY, 3000, quantity=-1))
    for i in range(3):
        moved = Book(held.legs, replace(held.marks, time=TIME + i), held.salt)
        one.standings_many([(moved, (0, 0)), (held, (i, 0))], 6)
    assert made == [1]


def test_bumps_are_remembered_up_to_a_number_by_tenor_and_age(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("channels.risk.screen_grid.MULTIPLIERS_KEPT", 8)
    table = Table(DEFAULT_POLICY)
    for seconds in (DAY, 5 * DAY, 30 * DAY, 400 * DAY):
        for age in (0, 3600, 7200, 10**6):
            up, down = bumps_up(DEFAULT_POLICY, seconds, age)
            for _ in range(2):
                assert table.multipliers(seconds, age) == (WAD + up, WAD - down)
            assert len(table._multipliers) <= 8


def test_without_a_live_leg_integers_answer() -> None:
    expired = book(Leg.call(ETH, TIME + DAY, 2900, quantity=3))
    for held, t in ((EMPTY_BOOK, None), (expired, TIME + DAY)):
        assert SCREEN.standings(held, (0, 0), 6, t=t) is None
        assert SCREEN.margin(held, (5, 5), 6, t=t) == margin(held, (5, 5), 6, t=t)


def test_an_expired_leg_counts_and_the_exact_engine_is_margin() -> None:
    held = book(Leg.call(ETH, TIME + DAY, 2900, quantity=3), Leg.call(ETH, TIME + 30 * DAY, 3300, quantity=-1))
    settled = {(ETH, TIME + DAY): 3500 * WAD}
    report, other = EXACT.margin(held, (0, 0), 6, t=TIME + DAY, settlements=settled)
    assert (report, other) == margin(held, (0, 0), 6, t=TIME + DAY, settlements=settled)
    for more in (-(10**6), 10**6):
        cash = (report.initial_margin - report.value + more, 0)
        found = SCREEN.verdicts(held, cash, 6, t=TIME + DAY, settlements=settled)
        assert found[0][0] is (more > 0)
    assert EXACT.standings(held, (0, 0), 6) is None


def test_policies_are_remembered_up_to_a_number() -> None:
    held, one = book(Leg.call(ETH, TIME + 30 * DAY, 3000, quantity=-1)), FloatScreen()
    for i in range(3 * screen.TABLES_KEPT):
        policy = MarginPolicy(scenarios=(Scenario(WAD + i, VolShock.UP), Scenario(2 * WAD, VolShock.NONE)))
        assert one.margin(held, (0, 0), 6, policy) == margin(held, (0, 0), 6, policy)
        assert len(one._tables) <= screen.TABLES_KEPT
