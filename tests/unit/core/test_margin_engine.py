"""The engine that is handed in: Alice judges by floats where she can, Bob by integers, and nobody can tell."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import pytest

from channels.core import monitor, views
from channels.core.machine import open_channel, replay
from channels.core.monitor import STANDINGS_KEPT, agreed_margins, agreed_standings, standings, standings_many
from channels.core.notices import BelowMaintenance, MarginRestored
from channels.errors import MarginShortfall, OutOfBounds
from channels.model import Leg, Mark, Party, Withdraw
from channels.risk import DEFAULT_POLICY, EXACT, MarginReport, Standing, margin
from channels.risk.screen import FloatScreen
from tests.roles import DEPLOYMENT, ETH, EXPIRY, TERMS, UNIT
from tests.sansio import MARK_POLICY, Joined


class Counted(FloatScreen):
    """A float screen that counts what it is asked."""

    __slots__ = ("asked",)

    def __init__(self) -> None:
        super().__init__()
        self.asked: Counter[str] = Counter()

    def margin(self, *args: Any, **kwargs: Any) -> tuple[MarginReport, MarginReport]:
        self.asked["margin"] += 1
        return super().margin(*args, **kwargs)

    def standings_many(self, asked: Any, *args: Any, **kwargs: Any) -> list[tuple[Standing, Standing] | None]:
        self.asked["batches"] += 1
        self.asked["standings"] += len(asked)
        return super().standings_many(asked, *args, **kwargs)


def mixed() -> tuple[Joined, Counted]:
    """Ten thousand each, Alice short ten calls; she screens, Bob does not."""
    world, engine = Joined(), Counted()
    world.alice.seat.channel = replace(world.alice.channel, margin_engine=engine)
    world.fund(10_000, 10_000)
    world.propose(world.alice, world.trade((Leg.call(ETH, EXPIRY, 2400, quantity=-10),)))
    assert world.bob.channel.margin_engine is EXACT
    return world, engine


def mark_at(world: Joined, spot: str) -> None:
    world.spot = spot
    world.propose(world.alice, world.mark())


def test_healthy_marks_and_trades_need_no_figures() -> None:
    world, engine = mixed()
    engine.asked.clear()
    for spot in ("2310", "2290", "2305.5"):
        mark_at(world, spot)
    world.propose(world.bob, world.trade((Leg.put(ETH, EXPIRY, 2000, quantity=1),)))
    assert views.collateral_due(world.alice.channel) == 0
    assert engine.asked["standings"] >= 4
    assert engine.asked["margin"] == 0


def test_both_sides_see_the_same_crossings() -> None:
    world, engine = mixed()
    for spot in (*map(str, range(2_400, 3_200, 50)), "2300"):
        mark_at(world, spot)
        assert agreed_standings(world.alice.channel) == tuple(map(Standing.of, agreed_margins(world.bob.channel)))
    told = [[n for n in side.notices if isinstance(n, BelowMaintenance | MarginRestored)] for side in world.sides]
    assert told[0] == told[1]
    assert [type(notice) for notice in told[0]] == [BelowMaintenance, MarginRestored]
    assert engine.asked["margin"] > 0, "a notice carries figures"


def test_a_window_is_judged_at_once_and_each_state_once() -> None:
    world, engine = mixed()
    engine.asked.clear()
    for second in range(1, 6):
        world.now += second
        world.propose(world.alice, world.mark(), deliver=False)
    world.deliver(world.bob, 5)
    world.settle()
    assert engine.asked == {"batches": 1, "standings": 5}


def test_what_is_remembered_is_remembered_for_its_arguments() -> None:
    """Cash, decimals, policy, engine: another one of them is another question."""
    book = mixed()[0].agreed.book
    report, _ = margin(book, (0, 0), 6)
    enough = report.initial_margin - report.value
    harsh = replace(DEFAULT_POLICY, scan_initial=4 * DEFAULT_POLICY.scan_initial)
    for engine in (Counted(), Counted()):
        for _ in range(2):
            assert standings(book, (enough, 0), 6, DEFAULT_POLICY, engine)[0].covers_initial
            assert not standings(book, (enough - 1, 0), 6, DEFAULT_POLICY, engine)[0].covers_initial
            assert not standings(book, (enough, 0), 7, DEFAULT_POLICY, engine)[0].covers_initial
            assert not standings(book, (enough, 0), 6, harsh, engine)[0].covers_initial
        assert engine.asked["standings"] == 4
    told = Told()
    for i in range(STANDINGS_KEPT + 10):
        assert not standings(book, (i, 0), 6, DEFAULT_POLICY, told)[0].covers_initial  # type: ignore[arg-type]
    assert len(monitor._remembered) == STANDINGS_KEPT


class Told:
    """An engine that says what it was made to say."""

    covers = False

    def standings_many(self, asked: Any, decimals: int, policy: Any) -> list[tuple[Standing, Standing]]:
        return [(Standing(0, self.covers, self.covers), Standing(1, self.covers, self.covers))] * len(asked)


@pytest.mark.parametrize("fresh", ["book", "policy", "engine"])
def test_what_is_remembered_stays_alive_with_its_key(fresh: str) -> None:
    """Verdicts are found by who asked about what: another book, engine or policy never comes to an old one's place."""
    book, policy, engine = mixed()[0].agreed.book, replace(DEFAULT_POLICY), Told()
    for at in range(300):
        if fresh == "book":
            book = replace(book, salt=at.to_bytes(32, "big"))
        elif fresh == "policy":
            policy = replace(policy)
        else:
            engine = Told()
        engine.covers = at % 3 == 0  # an address comes again at every second one
        found = standings(book, (1, 1), 6, policy, engine)  # type: ignore[arg-type]
        assert found[0].covers_initial is engine.covers


def test_of_a_window_the_last_verdict_is_remembered_and_all_are_what_each_is() -> None:
    book, engine = mixed()[0].agreed.book, Counted()
    report, _ = margin(book, (0, 0), 6)
    enough = report.initial_margin - report.value
    books = [replace(book, salt=bytes([at]) * 32) for at in range(4)]
    asked = [(one, (enough + more, 0)) for one, more in zip(books, (0, -1, 10**9, -(10**9)), strict=True)]
    expected = [tuple(map(Standing.of, margin(one, cash, 6))) for one, cash in asked]
    assert [each[0].covers_initial for each in expected] == [True, False, True, False]
    assert standings_many(asked, 6, DEFAULT_POLICY, engine) == expected
    assert engine.asked["batches"] == 1
    for again in (asked[-1:], asked[-1:], asked[:1], asked[:1], asked[-1:]):
        assert standings_many(again, 6, DEFAULT_POLICY, engine) == [expected[asked.index(again[0])]]
    assert engine.asked["batches"] == 2, "the last of the window is known, and then the one that was asked about alone"
    assert engine.asked["standings"] == 5
    assert standings_many(asked[::-1], 6, DEFAULT_POLICY, engine) == expected[::-1]
    assert standings_many([], 6, DEFAULT_POLICY, engine) == []
    assert engine.asked["batches"] == 3


def test_what_a_window_leaves_is_the_lasts_and_stays_alive_with_its_key() -> None:
    """Windows of two books of which only the memory knows any more, as soon as they were told."""
    first, engine = mixed()[0].agreed.book, Told()
    for at in range(300):
        engine.covers = at % 3 == 0
        salts = (at.to_bytes(32, "big"), (~at & 0xFFFF).to_bytes(32, "big"))
        window = [(replace(first, salt=salt), (1, 1)) for salt in salts]
        for asked in (window, window[1:]):
            for found in standings_many(asked, 6, DEFAULT_POLICY, engine):  # type: ignore[arg-type]
                assert found[0].covers_initial is engine.covers
        key = id(window[1][0]), (1, 1), 6, id(DEFAULT_POLICY), id(engine)
        _, *alive = monitor._remembered[key]
        assert [*map(id, alive)] == [id(window[1][0]), id(DEFAULT_POLICY), id(engine)]


def test_a_withdrawal_to_the_last_unit_is_judged_alike() -> None:
    """What exceeds the margin by one unit is refused by whoever judges it, in the same words."""
    world, _ = mixed()
    excess = agreed_margins(world.alice.channel)[0].excess
    assert excess == agreed_margins(world.bob.channel)[0].excess > 0
    refusals = []
    for engine in (FloatScreen(), EXACT):
        world.alice.seat.channel = replace(world.alice.channel, margin_engine=engine)
        with pytest.raises(MarginShortfall) as caught:
            world.propose(world.alice, Withdraw(excess + 1))
        refusals.append(vars(caught.value))
    assert refusals[0] == refusals[1]
    assert refusals[0]["shortfall"] == 1
    world.alice.seat.channel = replace(world.alice.channel, margin_engine=FloatScreen())
    world.propose(world.alice, Withdraw(excess))
    assert world.agreed.state.withdrawals[Party.ZERO] == excess


def test_marks_that_cannot_be_priced_are_refused_before_floats_see_them() -> None:
    world, _ = mixed()
    marks = world.mark().marks
    assert marks is not None
    dead = replace(marks, spots=tuple(replace(mark, spot=1) for mark in marks.spots),
                   expiries=tuple(replace(mark, ratio=1) for mark in marks.expiries))  # fmt: skip
    with pytest.raises(OutOfBounds):
        world.propose(world.alice, Mark(dead))


def test_the_engine_is_handed_in_at_both_doors() -> None:
    engine = FloatScreen()
    made = open_channel(
        DEPLOYMENT, TERMS, Party.ZERO, DEFAULT_POLICY, MARK_POLICY, initiated=True, margin_engine=engine
    )
    assert made.channel.margin_engine is engine
    world, _ = mixed()
    again = replay(world.alice.store.records(world.id), DEFAULT_POLICY, MARK_POLICY, engine)
    assert again.margin_engine is engine
    assert again.agreed == world.agreed
    assert again == replay(world.alice.store.records(world.id), DEFAULT_POLICY, MARK_POLICY), "an engine is no state"
    assert agreed_margins(again)[0].equity == 10_000 * UNIT + agreed_margins(again)[0].value
