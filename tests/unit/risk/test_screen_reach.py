"""What a judged state answers for: its keys, where its box ends, how many are kept, and what it cannot tell."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import inf, nan

import pytest

from channels.model import Book, ExpiryMark, Leg, Marks, SpotMark, VolMark
from channels.model.marks import MAX_TIME
from channels.risk import DEFAULT_POLICY, MarginPolicy, margin, screen, screen_window
from channels.risk.policy import VolBump
from channels.risk.screen import FloatScreen
from channels.risk.screen_reach import BOX, NOTHING_TOLD, PLACES, TOGETHER, Reach, numbers, steepest_bump
from channels.units import SECONDS_PER_DAY as DAY, WAD

ETH = "ETH/USD"
TIME = 1_704_700_800
RICH = (10**13, 10**13)


def book(*legs: Leg, vol: str = "0.6") -> Book:
    return Book.of(legs, Marks.at(TIME, spots={ETH: 3000}, vols=dict.fromkeys(legs, vol)), bytes(31) + b"\1")


def short_call(days: int = 30, strike: int = 3000) -> Book:
    return book(Leg.call(ETH, TIME + days * DAY, strike, quantity=-1))


def at(held: Book, marks: Marks) -> Book:
    return Book(held.legs, marks, held.salt)


def spot(held: Book, more: int) -> Book:
    return at(held, replace(held.marks, spots=tuple(replace(m, spot=m.spot + more) for m in held.marks.spots)))


def remembered(engine: FloatScreen) -> Reach:
    (reach,) = engine._reached.values()
    return reach


def judged(held: Book, policy: MarginPolicy = DEFAULT_POLICY) -> Reach:
    engine = FloatScreen()
    engine.standings(held, RICH, 6, policy)
    return remembered(engine)


class NoWindow:
    """What takes a window's place where nothing may be priced."""

    def __init__(self, *_: object) -> None:
        raise AssertionError("a state was priced")


def test_the_judged_state_moves_nothing_and_a_cent_moves_little() -> None:
    held = short_call()
    reach = judged(held)
    assert reach.drift(held.marks) == 0.0
    cent, dollar = (reach.drift(spot(held, more).marks) for more in (WAD // 100, WAD))
    assert dollar == pytest.approx(100 * cent)
    assert 10_000 < cent < 10**6, "token units of a millionth: more than the cent itself, less than a dollar"


@pytest.mark.parametrize("sign", [1, -1])
def test_the_box_ends_a_sixteenth_away_for_every_number(sign: int) -> None:
    held = short_call()
    reach, marks = judged(held), held.marks

    def moved(place: int, by: int) -> Marks:
        time, price, ratio, discount, vol = (n + by * (i == place) for i, n in enumerate(numbers(marks, 0)))
        (leg,) = held.legs
        return Marks(
            time,
            (SpotMark(ETH, price),),
            (ExpiryMark(ETH, leg.expiry, ratio, discount),),
            (VolMark(*leg.key, vol),),
        )

    for place, number in enumerate(numbers(marks, 0)):
        edge = (30 * DAY if place == 0 else number) // BOX
        assert reach.drift(moved(place, sign * edge)) < inf
        assert reach.drift(moved(place, sign * (edge + 1))) == inf


def test_a_small_number_leaves_its_box_though_little_hangs_on_it() -> None:
    """The short cut of the box: a large book's spot moves more money than all of a small leg's volatility can."""
    large, small = (
        Leg.call(ETH, TIME + 30 * DAY, 3000, quantity=-1000),
        Leg.call(ETH, TIME + 30 * DAY, 3100, quantity="0.001"),
    )
    held = book(large, small)
    reach = judged(held)
    for legs_vol, inside in ((WAD * 6 // 10 * 17 // 16, True), (WAD * 6 // 10 * 17 // 16 + 1, False)):
        vols = (held.marks.vols[0], replace(held.marks.vols[1], vol=legs_vol))
        assert (reach.drift(replace(held.marks, vols=vols)) < inf) is inside


def test_a_leg_without_volatility_answers_for_nothing() -> None:
    held = book(Leg.call(ETH, TIME + 30 * DAY, 3000, quantity=-1), vol="0")
    assert judged(held).drift(held.marks) == inf
    assert judged(short_call()).drift(short_call().marks) == 0.0


def test_the_last_seconds_answer_for_the_same_second_and_a_dead_leg_never() -> None:
    held = short_call(days=1)
    reach = judged(at(held, replace(held.marks, time=TIME + DAY - BOX + 1)))
    assert reach.drift(replace(held.marks, time=TIME + DAY - BOX + 1)) == 0.0
    for time in (TIME + DAY - BOX, TIME + DAY - BOX + 2, TIME + DAY):
        assert reach.drift(replace(held.marks, time=time)) == inf


def test_seconds_are_counted_exactly_at_the_end_of_time() -> None:
    expiry = MAX_TIME - 5
    leg = Leg.call(ETH, expiry, 3000, quantity=-1)
    marks = Marks.at(expiry - 30 * DAY, spots={ETH: 3000}, vols={leg: "0.6"})
    reach = judged(Book.of([leg], marks, bytes(31) + b"\1"))
    second = reach.drift(replace(marks, time=marks.time + 1))
    later = [replace(marks, time=marks.time + seconds) for seconds in (1000, 1, 0, -1, 2, 3)]
    assert reach.drift(later[0]) == pytest.approx(1000 * second)
    assert reach.drifts(later) == pytest.approx([seconds * second for seconds in (1000, 1, 0, 1, 2, 3)])


def test_many_states_move_as_far_as_each_of_them_alone() -> None:
    held = short_call()
    reach, marks = judged(held), held.marks
    later = replace(marks, time=TIME + 30)
    jumped = replace(marks, vols=(replace(marks.vols[0], vol=WAD),))
    states = [marks, later, jumped, *[spot(held, more).marks for more in (1, -(10**9), WAD, -100 * WAD, 400 * WAD)]]
    alone = [reach.drift(one) for one in states]
    assert len(states) >= TOGETHER
    assert [at for at, drift in enumerate(alone) if drift == inf] == [2, 7]
    # An integer of 72 bits becomes a float: the cent's billionth part is lost, and no more.
    lost = 2.0**-51 * 3000 * alone[5]
    assert reach.drifts(states) == pytest.approx(alone, rel=1e-12, abs=lost)
    assert lost < reach._bands / 100
    assert reach.drifts(states[:3]) == alone[:3]


def test_nothing_is_priced_near_a_judged_state_and_cash_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    engine, held = FloatScreen(), short_call()
    engine.standings(held, RICH, 6)
    near = spot(held, WAD // 100)
    report, _ = margin(near, (0, 0), 6)
    monkeypatch.setattr(screen, "Window", NoWindow)
    for what in (report.initial_margin, report.maintenance_margin):
        for more in (-(10**7), 10**7):
            told = engine.standings(near, (what - report.value + more, 10**13), 6)
            assert told is not None
            assert told[0].covers_initial is (what + more >= report.initial_margin)
            assert told[0].covers_maintenance is (what + more >= report.maintenance_margin)
        with pytest.raises(AssertionError, match="priced"):
            engine.standings(near, (what - report.value + 10, 10**13), 6)


def test_other_legs_decimals_or_terms_are_another_state(monkeypatch: pytest.MonkeyPatch) -> None:
    engine, held = FloatScreen(), short_call()
    engine.standings(held, RICH, 6)
    monkeypatch.setattr(screen, "Window", NoWindow)
    assert engine.standings(held, RICH, 6) is not None
    for other, decimals, policy in (
        (held, 18, DEFAULT_POLICY),
        (held, 6, MarginPolicy(scan_initial=2 * WAD)),
        (short_call(strike=3001), 6, DEFAULT_POLICY),
    ):
        with pytest.raises(AssertionError, match="priced"):
            engine.standings(other, RICH, decimals, policy)


def test_what_was_priced_last_is_what_the_next_is_measured_from() -> None:
    engine, held = FloatScreen(), short_call()
    states = [spot(held, i * 400 * WAD) for i in range(4)]
    for asked in (states[:1], states[1:3], states[3:]):
        engine.standings_many([(one, RICH) for one in asked], 6)
        assert remembered(engine).drift(asked[-1].marks) == 0.0
    engine.standings(spot(states[3], 1), RICH, 6)
    assert remembered(engine).drift(states[3].marks) == 0.0, "what was not priced replaces nothing"


def test_states_are_remembered_up_to_a_number_and_by_what_they_are() -> None:
    engine = FloatScreen()
    for i in range(2 * screen.STRIPS_KEPT):
        held = short_call(strike=3000 + i)
        report, _ = margin(held, (0, 0), 6)
        for more in (-(10**6), 10**6, -(10**6)):
            cash = (report.initial_margin - report.value + more, 10**13)
            ((initial, _), _) = engine.verdicts(held, cash, 6)
            assert initial is (more > 0), "the surpluses of other legs"
        assert len(engine._reached) <= screen.STRIPS_KEPT


def test_what_is_not_a_number_answers_for_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    held = short_call()
    for name in ("COARSE", "_P0"):
        with monkeypatch.context() as patch:
            patch.setattr(screen_window, name, float("nan"))
            reach = judged(held)
        assert reach.drift(held.marks) == 0.0
        assert reach.code(0.0, (10**30, 10**30)) is None


def one_by_one(reach: Reach, asked: Sequence[tuple[Book, tuple[int, int]]], states: Sequence[int]) -> dict[int, int]:
    """The codes of those that the state answers for, each asked about alone."""
    drifts = reach.drifts([asked[state][0].marks for state in states])
    codes = {state: reach.code(drift, asked[state][1]) for state, drift in zip(states, drifts, strict=True)}
    return {state: code for state, code in codes.items() if code is not None}


def surpluses_of(held: Book, more: int, other: int) -> tuple[int, int]:
    """Cash with which each party covers initial margin but for so much."""
    zero, one = margin(held, (0, 0), 6)
    return zero.initial_margin - zero.value + more, one.initial_margin - one.value + other


RICHER = 10**10
WINDOWS: dict[str, tuple[list[tuple[int, int]], int]] = {
    "all near": ([(0, RICHER), (1, RICHER), (WAD, RICHER)], 3),
    "all near, many": ([(i * WAD // 100, RICHER) for i in range(TOGETHER + 2)], TOGETHER + 2),
    "all of them poor": ([(0, -RICHER), (WAD // 100, -RICHER)], 2),
    "the furthest is not near enough": ([(0, 3 * 10**6), (WAD // 100, 3 * 10**6), (9 * WAD, 3 * 10**6)], 2),
    "one out of the box": ([(0, RICHER), (400 * WAD, RICHER), (1, RICHER)], 2),
    "one out of the box, many": ([(400 * WAD * (i == 3), RICHER) for i in range(TOGETHER)], TOGETHER - 1),
    "the first out of the box": ([(400 * WAD, RICHER), (1, RICHER)], 1),
    "nobody": ([(400 * WAD, RICHER), (-400 * WAD, RICHER)], 0),
    "one with less cash": ([(0, RICHER), (1, RICHER), (2, -RICHER), (3, RICHER)], 4),
    "the first with less cash": ([(0, -RICHER), (1, RICHER), (2, RICHER)], 3),
    "one on the boundary": ([(0, RICHER), (1, 0), (2, RICHER)], 2),
    "a single one": ([(WAD, RICHER)], 1),
    "a single one on the boundary": ([(WAD, 1)], 0),
}
"""How far each state's spot moved, and what one party has above its initial margin, token units; how many are told."""


@pytest.mark.parametrize("name", WINDOWS)
@pytest.mark.parametrize("party", [0, 1])
def test_a_window_is_told_what_its_states_are_told_one_by_one(name: str, party: int) -> None:
    held = short_call()
    reach, (window, told) = judged(held), WINDOWS[name]
    asked = [(held, (7, 7))]  # and nobody asks about it
    for move, more in window:
        asked.append((spot(held, move), surpluses_of(held, *((more, 10**13) if party == 0 else (10**13, more)))))
    states = range(1, len(asked))
    expected = one_by_one(reach, asked, states)
    found = [-1] * len(asked)
    left = reach.tell(asked, states, found)
    assert left == [state for state in states if state not in expected]
    assert found == [expected.get(state, -1) for state in range(len(asked))]
    assert len(expected) == told


class Drifting(Reach):
    """A judged state that is told how far states have moved."""

    __slots__ = ("told",)

    def __init__(self, judged: Reach, told: list[float]) -> None:
        for name in Reach.__slots__:
            setattr(self, name, getattr(judged, name))
        self.told = told

    def drifts(self, marks: Sequence[Marks]) -> list[float]:
        return self.told[: len(marks)]


@pytest.mark.parametrize(
    "drifts",
    [
        [0.0, nan, 0.0], [nan, 0.0, 0.0], [0.0, 0.0, nan], [nan, nan, nan], [inf, nan, 0.0], [nan, inf, 0.0],
        [0.0, inf, 1.0], [inf, inf, inf], [1e308, 1e308, 0.0], [0.0, 1e300, 1.0], [0.0, 1.0, 2.0], [5.0, 0.0, 0.0],
    ],
)  # fmt: skip
def test_who_moved_by_what_is_no_number_is_told_nothing(drifts: list[float]) -> None:
    held = short_call()
    reach = Drifting(judged(held), drifts)
    asked = [(held, surpluses_of(held, 10**13, 10**13))] * 3
    found = [-1] * 3
    left = reach.tell(asked, range(3), found)
    assert left == [at for at, drift in enumerate(drifts) if not drift < 1e299]
    assert [found[at] == -1 for at in range(3)] == [at in left for at in range(3)]
    assert {code for code in found if code != -1} <= {NOTHING_TOLD + sum(PLACES)}


def test_a_window_costs_one_code_where_its_furthest_has_one(monkeypatch: pytest.MonkeyPatch) -> None:
    held, asked_for = short_call(), list[float]()
    reach, true = judged(held), Reach.code

    def counted(self: Reach, drift: float, cash: tuple[int, int]) -> int | None:
        asked_for.append(drift)
        return true(self, drift, cash)

    monkeypatch.setattr(Reach, "code", counted)
    cash = surpluses_of(held, 10**13, 10**13)
    asked = [(held, RICH), *[(spot(held, more), cash) for more in (1, WAD, 2)]]
    assert reach.tell(asked, range(1, 4), [0] * 4) == []
    assert asked_for == [reach.drift(asked[2][0].marks)]


def test_the_steepest_bump_is_that_of_the_table() -> None:
    bumps = (VolBump(10, 5 * WAD, 0), VolBump(20, 5 * WAD, WAD // 2), VolBump(40, 3 * WAD, WAD // 4))
    assert steepest_bump(replace(DEFAULT_POLICY, bumps=bumps)) == pytest.approx(0.1)
    assert steepest_bump(replace(DEFAULT_POLICY, bumps=bumps[:1])) == 1e-18
