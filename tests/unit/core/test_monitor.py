"""The first agreed state at which a party is below maintenance is an event: once for each crossing, on both sides."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import pytest
from hypothesis import given, settings, strategies as st

from channels.core import facts as f, rules, views
from channels.core.channel import MarkPolicy
from channels.core.monitor import agreed_margins
from channels.core.notices import BelowMaintenance, MarginRestored, Notice, Updated
from channels.model import Acknowledge, CloseOut, Leg, Party, Reopen, Withdraw
from channels.risk import margin, witness
from channels.risk.screen import FloatScreen
from channels.units import WAD
from tests.roles import ETH, EXPIRY, HOUR, LATER, NOW, UNIT, condor
from tests.sansio import Joined, Side, durable, replayed

SHORT_CALLS = Leg.call(ETH, EXPIRY, 2400, quantity=-10)


def short(lots: int = 10) -> Joined:
    """Ten thousand each; Alice is short calls."""
    world = Joined()
    world.fund(10_000, 10_000)
    world.propose(world.alice, world.trade((Leg.call(ETH, EXPIRY, 2400, quantity=-lots),)))
    return world


def mark_at(world: Joined, spot: int, by: Side | None = None) -> None:
    """The market is at `spot`, and both agree on it."""
    world.spot = str(spot)
    world.propose(by or world.alice, world.mark())


def events(notices: Iterable[Notice]) -> list[BelowMaintenance | MarginRestored]:
    return [notice for notice in notices if isinstance(notice, BelowMaintenance | MarginRestored)]


@pytest.mark.parametrize("lots", [20, -20])
def test_a_crossing_of_one_party_alone_is_told_on_both_sides(lots: int) -> None:
    """Whichever of the two it is: party 0 is short, or party 1."""
    world, spot = short(lots), 2_300
    party = Party.ZERO if lots > 0 else Party.ONE
    while not views.is_below_maintenance(world.bob.channel, party):
        spot += 20
        mark_at(world, spot)
    for side in world.sides:
        assert [(type(notice), notice.party) for notice in events(side.notices)] == [(BelowMaintenance, party)]


def test_the_first_mark_below_maintenance_is_the_event() -> None:
    """Spot by spot: the notice names the very first agreed state whose integers say so."""
    world = short()
    first = 0
    for spot in range(2_800, 3_100, 20):
        mark_at(world, spot)
        report = margin(world.agreed.book, world.agreed.state.balances, 6)[0]
        if report.is_breach and not first:
            first = world.agreed.version
            expected = BelowMaintenance(
                Party.ZERO, first, report.equity, report.maintenance_margin, report.initial_margin
            )
    assert first and first < world.agreed.version
    for side in world.sides:
        assert events(side.notices) == [expected]
        before = side.notices[side.notices.index(expected) - 1]
        assert isinstance(before, Updated) and before.agreed.version == first, "the state comes before what it means"


def test_it_is_strict_to_the_last_unit() -> None:
    """One token unit of collateral, paid out by the adjudicator, is all the difference."""
    world = short()
    mark_at(world, 2_900)
    report = agreed_margins(world.alice.channel)[0]
    spare = report.equity - report.maintenance_margin
    assert spare > 0
    for paid, below in ((spare, False), (spare + 1, True)):
        fresh = short()
        totals = (10_000 * UNIT, 10_000 * UNIT)
        fresh.confirm(f.PaymentSeen(Party.ZERO, paid))
        fresh.propose(fresh.alice, Acknowledge(totals, (paid, 0)))
        mark_at(fresh, 2_900)
        assert views.is_below_maintenance(fresh.bob.channel, Party.ZERO) is below
        assert [type(n) for n in events(fresh.bob.notices)] == [BelowMaintenance] * below


def test_a_top_up_restores_and_a_later_dip_is_a_new_event() -> None:
    world = short()
    mark_at(world, 3_000)
    world.confirm(f.DepositSeen(Party.ZERO, 15_000 * UNIT))
    world.propose(world.bob, *views.housekeeping(world.bob.channel))
    mark_at(world, 3_100)
    mark_at(world, 3_600, world.bob)
    for side in world.sides:
        kinds = [type(notice) for notice in events(side.notices)]
        assert kinds == [BelowMaintenance, MarginRestored, BelowMaintenance]
        assert {notice.party for notice in events(side.notices)} == {Party.ZERO}


@pytest.mark.parametrize("how", ["settled", "closed out"])
def test_what_ends_the_positions_ends_the_breach(how: str) -> None:
    world = short()
    mark_at(world, 3_000)
    if how == "settled":
        world.block(EXPIRY + 1)
        world.settle_expiry(ETH, EXPIRY, 3_000 * WAD)
    else:
        world.propose(world.alice, CloseOut(Party.ZERO))
    for side in world.sides:
        assert [type(n) for n in events(side.notices)] == [BelowMaintenance, MarginRestored]
        assert events(side.notices)[-1].maintenance_margin == 0


def test_both_parties_may_be_below_at_once() -> None:
    world = Joined()
    world.fund(10_000, 10_000)
    world.propose(world.alice, world.trade((SHORT_CALLS, Leg.put(ETH, LATER, 2_200, quantity=20))))
    world.confirm(f.PaymentSeen(Party.ZERO, 9_000 * UNIT), f.PaymentSeen(Party.ONE, 9_000 * UNIT))
    world.propose(world.alice, *views.housekeeping(world.alice.channel))
    assert [n.party for n in events(world.bob.notices)] == [Party.ZERO, Party.ONE]


def test_a_restart_neither_repeats_nor_forgets() -> None:
    world = short()
    mark_at(world, 3_000)
    for side in world.sides:
        side.notices.clear()
        world.restart(side)
        assert durable(replayed(side)) == durable(side.channel)
    world.reconnect()
    assert not events(world.alice.notices + world.bob.notices)
    assert views.is_below_maintenance(world.alice.channel, Party.ZERO)
    mark_at(world, 3_020)
    assert not events(world.alice.notices + world.bob.notices)
    mark_at(world, 2_500)
    for side in world.sides:
        assert [type(n) for n in events(side.notices)] == [MarginRestored]


def test_a_state_that_only_a_resume_brings_is_monitored_too() -> None:
    """Bob's Accept is lost with the connection: Alice learns at the reconnect that the mark is agreed."""
    world = short()
    world.spot = "3000"
    world.propose(world.alice, world.mark(), deliver=False)
    world.deliver(world.bob)
    world.drop()
    assert not events(world.alice.notices)
    world.reconnect()
    assert [type(n) for n in events(world.alice.notices)] == [BelowMaintenance]
    assert [type(n) for n in events(world.bob.notices)] == [BelowMaintenance]


def test_the_notice_comes_with_a_proof() -> None:
    world = short()
    mark_at(world, 3_000)
    report = agreed_margins(world.bob.channel)[0]
    assert witness(report) == tuple(found.row for found in report.worst)
    assert len(witness(report)) == len(world.agreed.book.marks.spots)


def test_before_the_first_state_nobody_is_below() -> None:
    world = Joined()
    for party in Party:
        assert not views.is_below_maintenance(world.alice.channel, party)
    world.confirm(f.DepositSeen(Party.ZERO, 5))
    assert not events(world.alice.notices)


def believing(world: Joined) -> None:
    """Both take any marks for the market: a window's are judged when it has moved on."""
    for side in world.sides:
        side.seat.channel = replace(side.channel, mark_policy=MarkPolicy(spot=10 * WAD))


def window(world: Joined, spots: Iterable[int], by: Side | None = None) -> list[int]:
    """One mark after the other before any is answered; return their versions. Nothing is delivered."""
    side = by or world.alice
    believing(world)
    for spot in spots:
        world.spot = str(spot)
        world.propose(side, world.mark(), deliver=False)
    return list(side.channel.in_flight)


def arrive(world: Joined, to: Side | None = None) -> None:
    """What is on the way arrives in one read, so that one answer covers it, and then whatever follows."""
    to = to or world.bob
    world.deliver(to, len(to.transit))
    world.settle()


def test_a_dip_that_a_window_passes_over_is_told_at_its_own_marks() -> None:
    """Down and up again in one answer: nobody ever signed the state in between alone, and it is the event."""
    world = short()
    _, dip, deeper, back, _ = window(world, (2_400, 3_000, 3_100, 2_350, 2_300))
    halves = world.alice.channel.halves
    expected = []
    for kind, version in ((BelowMaintenance, dip), (MarginRestored, back)):
        report = margin(halves[version].half.book, halves[version].half.state.balances, 6)[0]
        assert report.is_breach is (kind is BelowMaintenance)
        expected.append(kind(Party.ZERO, version, report.equity, report.maintenance_margin, report.initial_margin))
    arrive(world)
    assert world.agreed.version > back > deeper
    for side in world.sides:
        assert events(side.notices) == expected
        updates = [notice for notice in side.notices if isinstance(notice, Updated)]
        assert {dip, back} < set(updates[-1].versions), "one answer agreed them all"
        assert not views.is_below_maintenance(side.channel, Party.ZERO), "the agreed state is what decides"


def test_the_first_of_a_window_below_maintenance_is_the_event_and_the_last_is_what_is_called_on() -> None:
    world = short()
    versions = window(world, (2_900, 3_000, 3_100, 3_200))
    arrive(world)
    for side in world.sides:
        assert [(type(n), n.version) for n in events(side.notices)] == [(BelowMaintenance, versions[1])]
        assert agreed_margins(side.channel)[0].is_breach
        assert world.agreed.version == versions[-1]
    assert views.collateral_due(world.bob.channel) == agreed_margins(world.bob.channel)[0].collateral_call


def test_what_is_refused_in_a_window_is_no_event() -> None:
    """Bob takes nothing above 3,000 for the market: that mark and what stands on it are agreed by nobody."""
    world = short()
    versions = window(world, (2_400, 3_000, 2_400, 3_300, 2_400, 3_000, 2_200))
    world.bob.seat.channel = replace(world.bob.channel, mark_policy=MarkPolicy(spot=WAD * 4 // 10))
    arrive(world)
    assert world.agreed.version == versions[2]
    for side in world.sides:
        assert [(type(n), n.version) for n in events(side.notices)] == [
            (BelowMaintenance, versions[1]),
            (MarginRestored, versions[2]),
        ]


def test_a_window_that_only_a_resume_brings_is_told_whole() -> None:
    world = short()
    versions = window(world, (3_000, 2_300, 3_100))
    world.deliver(world.bob, 3)
    world.drop()
    assert len(events(world.bob.notices)) == 3
    assert not events(world.alice.notices)
    world.restart(world.alice)
    world.reconnect()
    assert events(world.alice.notices) == events(world.bob.notices)
    assert [n.version for n in events(world.alice.notices)] == versions


def test_a_window_that_the_chain_shows_first_is_told_whole() -> None:
    """Bob has signed the last of three and disputes with it before his answer arrives."""
    world = short()
    versions = window(world, (3_000, 2_300, 3_100))
    world.deliver(world.bob, 3)
    agreed = world.bob.channel.agreed
    assert agreed is not None and agreed.version == versions[-1]
    world.drop()
    world.confirm(f.RegisteredSeen(agreed.state, NOW + HOUR))
    assert events(world.alice.notices) == events(world.bob.notices)
    world.reconnect()
    for side in world.sides:
        assert [n.version for n in events(side.notices)] == versions, "and not again when the answer is there"


def test_a_trade_in_a_window_is_judged_with_what_stands_on_it() -> None:
    """The book changes between the marks: each state is measured with its own legs, cash and marks."""
    world = short()
    window(world, (3_000,))
    legs = world.alice.channel.book.legs
    closing = world.trade((legs[0].times(-1), Leg.put(ETH, LATER, 1_500, quantity=1)), premium=5)
    world.propose(world.alice, closing, deliver=False)
    arrive(world)
    for side in world.sides:
        assert [type(n) for n in events(side.notices)] == [BelowMaintenance, MarginRestored]
        below, restored = events(side.notices)
        assert restored.version == below.version + 1 == world.agreed.version
        assert below.maintenance_margin > restored.maintenance_margin


spots = st.lists(st.integers(2_300, 3_300), min_size=1, max_size=8)


@settings(max_examples=25)
@given(
    st.lists(st.lists(st.integers(2_300, 3_300), min_size=1, max_size=5), min_size=1, max_size=4),
    st.lists(st.sampled_from(["alice restarts", "bob restarts", "the answer is lost", ""]), min_size=4, max_size=4),
    st.booleans(),
)
def test_notices_are_the_crossings_of_every_state_whatever_the_windows(
    path: list[list[int]], breaks: list[str], floats: bool
) -> None:
    """A model: the verdict of every proposal by `margin` itself, in order, however they were agreed."""
    world = short()
    if floats:
        world.bob.seat.channel = replace(world.bob.channel, margin_engine=FloatScreen())
    expected: list[tuple[type, int, int]] = []
    below = False
    for marks, broken in zip(path, breaks, strict=False):
        side = world.holder
        for version in window(world, marks, side):
            half = side.channel.halves[version].half
            report = margin(half.book, half.state.balances, 6)[0]
            if report.is_breach is not below:
                expected.append((BelowMaintenance if report.is_breach else MarginRestored, version, report.equity))
            below = report.is_breach
        if broken == "the answer is lost":
            world.deliver(world.other(side), len(marks))
            world.drop()
        elif broken:
            world.restart(world.alice if broken == "alice restarts" else world.bob)
            believing(world)
        if broken:
            world.reconnect()
        arrive(world, world.other(side))
        world.turn_to(world.other(side))
    for side in world.sides:
        assert [(type(n), n.version, n.equity) for n in events(side.notices)] == expected


@settings(max_examples=25)
@given(spots, st.lists(st.booleans(), min_size=8, max_size=8), st.integers(1, 12))
def test_notices_are_the_crossings_of_the_path_whoever_restarts_when(
    path: list[int], restarts: list[bool], lots: int
) -> None:
    """A model: the verdict at every agreed mark, by `margin` itself; the notices are where it changes."""
    world = short(lots)
    expected: list[tuple[type, int]] = []
    below = False
    for spot, again in zip(path, restarts, strict=False):
        mark_at(world, spot, world.holder)
        now = margin(world.agreed.book, world.agreed.state.balances, 6)[0].is_breach
        if now is not below:
            expected.append((BelowMaintenance if now else MarginRestored, world.agreed.version))
        below = now
        if again:
            world.restart(world.alice)
            world.restart(world.bob)
            world.reconnect()
    for side in world.sides:
        assert [(type(n), n.version) for n in events(side.notices)] == expected


def test_a_dispute_changes_no_verdict() -> None:
    """The registered state is an agreed one: nothing new has happened to anybody's margin."""
    world = short()
    mark_at(world, 3_000)
    for side in world.sides:
        side.notices.clear()
    world.confirm(f.RegisteredSeen(world.agreed.state, NOW + HOUR))
    world.block(NOW + HOUR)
    assert not events(world.alice.notices + world.bob.notices)


def test_a_reopen_counts_when_it_is_registered() -> None:
    """It folds in a payment that the agreed state did not know: agreed it is nothing yet, registered it is a breach."""
    world = short()
    mark_at(world, 2_900)
    world.confirm(f.RegisteredSeen(world.agreed.state, NOW + HOUR), f.PaymentSeen(Party.ZERO, 1_500 * UNIT))
    world.propose(world.alice, Reopen((1_500 * UNIT, 0), NOW + 600))
    closing = world.alice.channel.closing
    assert closing is not None
    assert not events(world.alice.notices + world.bob.notices)
    world.confirm(f.RegisteredSeen(closing.state, 0))
    for side in world.sides:
        assert [(type(n), n.version) for n in events(side.notices)] == [(BelowMaintenance, closing.version)]


def test_a_withdrawal_that_hangs_on_one_side_is_no_event_on_either() -> None:
    """Alice counts it when she signs; whether she is in breach is not a matter of who knows what."""
    world = short()
    world.bob.seat.channel = replace(world.bob.channel, frozen=1)
    world.propose(world.alice, Withdraw(6_000 * UNIT))
    world.bob.seat.channel = replace(world.bob.channel, frozen=0)
    mark_at(world, 2_600)
    mine = rules.reports(world.alice.channel, *world.alice.channel.base)[0]
    assert mine.is_breach
    for side in world.sides:
        assert not views.is_below_maintenance(side.channel, Party.ZERO)
        assert not events(side.notices)


def test_a_condor_far_from_its_strikes_is_nobodys_event() -> None:
    world = Joined()
    world.fund(10_000, 10_000)
    world.propose(world.alice, world.trade(condor()))
    for spot in (2_100, 2_500):
        mark_at(world, spot)
    assert not events(world.alice.notices + world.bob.notices)
