"""The first agreed state at which a party is below maintenance is an event: once for each crossing, on both sides."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import pytest
from hypothesis import given, settings, strategies as st

from channels.core import facts as f, rules, views
from channels.core.monitor import agreed_margins
from channels.core.notices import BelowMaintenance, MarginRestored, Notice, Updated
from channels.model import Acknowledge, CloseOut, Leg, Party, Reopen, Withdraw
from channels.risk import margin, witness
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


spots = st.lists(st.integers(2_300, 3_300), min_size=1, max_size=8)


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
