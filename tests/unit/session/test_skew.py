"""Clocks that disagree: what needs a clock is refused, kindly; all else goes on, and nobody is cut off."""

from __future__ import annotations

import pytest

from channels.core import notices as n, rules
from channels.core.phases import Phase
from channels.errors import IntentInvalid, MarkRefused
from channels.model import Acknowledge, Close, Mark, Trade, Withdraw
from channels.wire import messages as m
from channels.wire.codec import decode
from tests.roles import DAY, NOW, UNIT, condor
from tests.sansio import Joined, fresh

SKEWS = [-30 * DAY, -DAY, -3_601, -31, 31, 3_601, DAY, 30 * DAY]


def skewed(seconds: int) -> Joined:
    """Alice and Bob hold a condor; from now on Bob's clock is that much ahead of Alice's."""
    world = Joined()
    world.fund(10_000, 10_000)
    world.propose(world.alice, world.trade(condor(), premium=5))
    world.now = NOW + seconds
    return world


def proposed(world: Joined, *operations: Mark | Trade | Close | Withdraw | Acknowledge) -> list[m.Message]:
    """Alice proposes at her own time; return what Bob says at his."""
    world.carry(world.alice, world.alice.seat.propose(operations, fresh(), NOW))
    world.deliver(world.bob)
    return [decode(frame[4:]) for frame in world.alice.transit]


@pytest.mark.parametrize("seconds", SKEWS)
def test_marks_of_another_time_are_refused_and_nothing_else_happens(seconds: int) -> None:
    world = skewed(seconds)
    legs = world.alice.channel.book.legs
    marks = world.view(legs, NOW)
    assert marks is not None
    (answer,) = proposed(world, Mark(marks))
    assert isinstance(answer, m.Reject)
    assert answer.code == MarkRefused.code
    world.settle()
    assert world.connected
    assert world.bob.channel.signed == 2
    assert world.alice.channel.phase is Phase.OPEN


@pytest.mark.parametrize("seconds", SKEWS)
def test_what_needs_no_clock_is_agreed(seconds: int) -> None:
    """A withdrawal at the agreed marks, however far the clocks are apart; and a new connection is made."""
    world = skewed(seconds)
    world.reconnect()
    (answer,) = proposed(world, Withdraw(UNIT))
    assert isinstance(answer, m.Accept)
    world.settle()
    assert world.agreed.version == 3
    assert not world.bob.hangups + world.alice.hangups


@pytest.mark.parametrize("seconds", [-30 * DAY, -3_601, 3_601, 30 * DAY])
def test_a_close_that_is_stale_or_too_long_by_our_clock_is_not_signed(seconds: int) -> None:
    """Its validity would bar us for longer than an hour by our clock, or is over already."""
    world = skewed(seconds)
    transfer = world_value(world)
    (answer,) = proposed(world, Close(transfer, NOW + 600))
    assert isinstance(answer, m.Reject)
    assert answer.code == IntentInvalid.code
    assert "valid until" in answer.reason
    assert not [notice for notice in world.bob.notices if isinstance(notice, n.DataLoss)]
    assert world.bob.channel.bar is None


def test_the_same_close_is_signed_where_the_clocks_agree() -> None:
    world = skewed(0)
    (answer,) = proposed(world, Close(world_value(world), NOW + 600))
    assert isinstance(answer, m.Accept)


def world_value(world: Joined) -> int:
    """What the legs are worth to Bob at the agreed marks, token units."""
    return rules.reports(world.bob.channel, *world.bob.channel.base)[world.bob.me].value
