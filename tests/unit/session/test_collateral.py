"""Collateral calls: asked once, checked to the unit, never a promise, and never a reason to hang up."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from channels.core import events as e, facts as f, views
from channels.core.machine import step
from channels.core.monitor import agreed_margins
from channels.core.notices import CollateralCalled, CollateralCallRefused
from channels.core.phases import Phase
from channels.errors import UnexpectedMessage, WrongChannel
from channels.model import Close, Leg, Mark, Party
from channels.risk import DEFAULT_POLICY
from channels.units import WAD
from channels.wire import messages as m
from tests.roles import CHANNEL, ETH, EXPIRY, HOUR, NOW, UNIT
from tests.sansio import Joined, Side, durable, replayed


def lacking(spot: int = 2_800) -> Joined:
    """Ten thousand each; Alice is short ten calls, and the market has run: she lacks initial margin."""
    world = Joined()
    world.fund(10_000, 10_000)
    world.propose(world.alice, world.trade((Leg.call(ETH, EXPIRY, 2400, quantity=-10),)))
    mark_at(world, spot)
    return world


def mark_at(world: Joined, spot: int) -> None:
    world.spot = str(spot)
    world.propose(world.holder, world.mark())


def called(side: Side) -> list[CollateralCalled]:
    return [notice for notice in side.notices if isinstance(notice, CollateralCalled)]


def refused(side: Side) -> list[CollateralCallRefused]:
    return [notice for notice in side.notices if isinstance(notice, CollateralCallRefused)]


def ask(world: Joined) -> None:
    """Bob asks, and everything arrives."""
    world.act(world.bob, e.CollateralWanted())
    world.settle()


def test_the_call_is_what_the_agreed_state_lacks_and_both_owners_are_told() -> None:
    world = lacking(2_900)
    report = agreed_margins(world.alice.channel)[0]
    due = views.collateral_due(world.bob.channel)
    assert due == report.collateral_call == report.initial_margin - report.equity > 0
    before = durable(world.alice.channel)
    ask(world)
    expected = [CollateralCalled(Party.ZERO, due, world.agreed.version)]
    assert called(world.alice) == called(world.bob) == expected
    assert durable(world.alice.channel) == before == durable(replayed(world.alice)), "nothing is signed or stored"
    assert views.collateral_due(world.alice.channel) == 0, "Bob lacks nothing"


def test_nothing_is_asked_where_nothing_is_due() -> None:
    world = lacking(2_300)
    assert views.collateral_due(world.bob.channel) == 0
    ask(world)
    assert not called(world.alice) + called(world.bob)


def test_it_is_asked_once_at_each_agreed_version() -> None:
    world = lacking(2_900)
    for _ in range(3):
        ask(world)
    assert views.collateral_due(world.bob.channel) == 0
    first = called(world.alice)
    assert len(first) == len(called(world.bob)) == 1
    mark_at(world, 2_910)
    ask(world)
    assert [c.version for c in called(world.alice)] == [first[0].version, first[0].version + 1]
    assert called(world.alice)[1].amount > first[0].amount


def test_a_call_that_was_lost_with_the_connection_is_asked_again_on_the_next() -> None:
    world = lacking(2_900)
    world.act(world.bob, e.CollateralWanted())
    world.drop()
    world.reconnect()
    assert not called(world.alice)
    ask(world)
    assert len(called(world.alice)) == 1
    world.reconnect()
    ask(world)
    assert len(called(world.alice)) == 1, "Alice heard it before: the repetition is not told"


def test_a_top_up_answers_the_call() -> None:
    """Confirmed and not agreed yet, it silences further calls; agreed, nothing is due."""
    world = lacking(2_900)
    due = views.collateral_due(world.bob.channel)
    world.confirm(f.DepositSeen(Party.ZERO, 10_000 * UNIT + due))
    assert views.collateral_due(world.bob.channel) == 0
    world.propose(world.alice, *views.housekeeping(world.alice.channel))
    report = agreed_margins(world.bob.channel)[0]
    assert report.equity == report.initial_margin
    assert views.collateral_due(world.bob.channel) == 0


def csa(world: Joined, **changes: Any) -> None:
    """Both sides of the channel under other CSA terms."""
    for side in world.sides:
        side.seat.channel = replace(side.channel, policy=replace(DEFAULT_POLICY, **changes))


@pytest.mark.parametrize(
    ("terms", "expected"),
    [
        ({}, lambda lack: lack),
        ({"thresholds": (100_000 * WAD, 0)}, lambda lack: 0),
        ({"thresholds": (0, 100_000 * WAD)}, lambda lack: lack),
        ({"minimum_transfer": 100_000 * WAD}, lambda lack: 0),
        ({"transfer_rounding": 1_000 * WAD}, lambda lack: -(-lack // (1_000 * UNIT)) * 1_000 * UNIT),
    ],
)
def test_threshold_minimum_transfer_and_rounding_are_the_policys(terms: dict[str, Any], expected: Any) -> None:
    world = lacking(2_900)
    csa(world, **terms)
    report = agreed_margins(world.bob.channel)[0]
    amount = expected(report.initial_margin - report.equity)
    assert views.collateral_due(world.bob.channel) == amount
    ask(world)
    assert [c.amount for c in called(world.alice)] == ([amount] if amount else [])
    assert not refused(world.alice)


# Races


def test_a_call_that_crosses_a_newer_state_is_nothing() -> None:
    """Bob asks at one version while Alice's next mark is agreed: no error, no notice, and he may ask at the new one."""
    world = lacking(2_900)
    world.turn_to(world.bob)
    world.spot = "2910"
    world.propose(world.bob, world.mark(), deliver=False)
    world.act(world.bob, e.CollateralWanted())
    world.settle()
    assert len(called(world.alice)) == 0, "Alice had agreed the mark before the call arrived"
    assert not refused(world.alice) and not world.alice.hangups
    ask(world)
    assert [c.version for c in called(world.alice)] == [world.agreed.version]


def test_a_call_may_arrive_while_our_proposal_waits() -> None:
    world = lacking(2_900)
    world.turn_to(world.alice)
    world.spot = "2910"
    world.act(world.bob, e.CollateralWanted())
    world.propose(world.alice, world.mark(), deliver=False)
    assert world.alice.channel.phase is Phase.PROPOSED
    world.settle()
    assert len(called(world.alice)) == 1 and not refused(world.alice)


# Mallory


def test_another_amount_is_refused_and_nobody_is_hung_up_on() -> None:
    for wrong in (1, -1):
        world = lacking(2_900)
        due, version = views.collateral_due(world.bob.channel), world.agreed.version
        world.say(world.alice, m.CollateralCall(CHANNEL, version, due + wrong))
        (told,) = refused(world.alice)
        assert (told.amount, told.version, told.code) == (due + wrong, version, "margin: collateral call")
        assert f"{due} are due" in told.reason
        assert not called(world.alice) and world.connected


def test_a_call_where_nothing_is_due_is_refused() -> None:
    world = lacking(2_300)
    for amount in (0, 5, -5, 2**255 - 1, -(2**255)):
        world.say(world.alice, m.CollateralCall(CHANNEL, world.agreed.version, amount))
    assert len(refused(world.alice)) == 1
    assert world.connected


@pytest.mark.parametrize("ahead", [1, 2**16, 2**64 - 5])
def test_a_version_that_is_not_agreed_is_refused_and_poisons_nothing(ahead: int) -> None:
    world = lacking(2_900)
    due, version = views.collateral_due(world.bob.channel), world.agreed.version
    world.say(world.alice, m.CollateralCall(CHANNEL, min(version + ahead, 2**64 - 1), due))
    assert [r.code for r in refused(world.alice)] == ["margin: collateral call"]
    mark_at(world, 2_910)
    ask(world)
    assert [c.version for c in called(world.alice)] == [world.agreed.version]


def test_a_stale_version_is_nothing() -> None:
    world = lacking(2_900)
    for version in range(world.agreed.version):
        world.say(world.alice, m.CollateralCall(CHANNEL, version, 5))
    assert not refused(world.alice) and not called(world.alice) and world.connected


def test_a_flood_is_told_once_for_each_agreed_version() -> None:
    world = lacking(2_900)
    for spot in (2_900, 2_910, 2_920):
        mark_at(world, spot)
        version = world.agreed.version
        due = agreed_margins(world.alice.channel)[0].collateral_call
        for amount in (due, due, due + 1, due - 1, 0, due):
            for number in (version, version + 1, version - 1, 0, 2**64 - 1):
                world.say(world.alice, m.CollateralCall(CHANNEL, number, amount))
    assert len(called(world.alice)) == 3 and not refused(world.alice)
    assert world.connected


def test_old_calls_repeated_change_nothing() -> None:
    world = lacking(2_900)
    ask(world)
    number = b"\x0d"
    calls = [(side, frame) for side, frame in world.history if frame[5:6] == number]
    assert len(calls) == 1
    mark_at(world, 2_910)
    before = world.alice.channel
    for side, frame in calls * 3:
        world.feed(side, frame)
    assert world.alice.channel == before and world.connected


def test_a_call_about_another_channel_ends_the_connection() -> None:
    world = lacking(2_900)
    world.say(world.alice, m.CollateralCall(bytes(32), 1, 1))  # type: ignore[arg-type]
    assert [type(h.error.violation) for h in world.alice.hangups] == [WrongChannel]  # type: ignore[union-attr]


# Phases


def test_nothing_is_asked_in_a_dispute_nor_above_a_signed_close() -> None:
    world = lacking(2_900)
    world.propose(world.alice, Close(9_000 * UNIT, NOW + 60))
    assert world.bob.channel.bar is not None
    assert views.collateral_due(world.bob.channel) == 0
    world = lacking(2_900)
    world.confirm(f.RegisteredSeen(world.agreed.state, NOW + HOUR))
    assert views.collateral_due(world.bob.channel) == 0
    with pytest.raises(UnexpectedMessage):
        step(world.bob.channel, e.CollateralWanted())


def test_a_call_that_crosses_the_dispute_is_still_told() -> None:
    world = lacking(2_900)
    world.act(world.bob, e.CollateralWanted())
    world.confirm(f.RegisteredSeen(world.agreed.state, NOW + HOUR))
    world.settle()
    assert len(called(world.alice)) == 1


def test_a_closed_channel_is_called_for_nothing() -> None:
    world = lacking(2_900)
    world.act(world.bob, e.CollateralWanted())
    world.confirm(f.ClosedSeen((1, 2)))
    world.settle()
    assert not called(world.alice) and not refused(world.alice) and world.connected


def test_before_the_first_state_a_call_is_nothing() -> None:
    world = Joined()
    world.say(world.alice, m.CollateralCall(CHANNEL, 0, 5))
    world.act(world.bob, e.CollateralWanted())
    assert not called(world.alice) and not called(world.bob)
    world.propose(world.alice, Mark())
