"""Bytes that are cut, bent, repeated or out of order: one typed error at most, and what was said rightly counts."""

from __future__ import annotations

from dataclasses import replace

import pytest

from channels.core import events as e
from channels.errors import (
    FrameTooLong,
    MalformedMessage,
    PeerFault,
    RuleViolation,
)
from channels.model import (
    Mark,
    Withdraw,
)
from channels.session import Hangup, Session
from channels.wire import messages as m
from channels.wire.framing import frame
from tests.roles import NOW, UNIT
from tests.sansio import Joined, durable, replayed
from tests.unit.session.unharmed import Unharmed


@pytest.fixture
def world() -> Joined:
    made = Joined()
    made.fund(10_000, 10_000)
    return made


# Frames


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b"\x00\x00\x00\x00", MalformedMessage),
        (b"\x7f\xff\xff\xff", FrameTooLong),
        (b"\x00\x01\x00\x01", FrameTooLong),
        (frame(b"\xc1"), MalformedMessage),
        (frame(b"\x91\x63"), MalformedMessage),
        (frame(b"\x80"), MalformedMessage),
        (frame(b"\x92\x0a\xc4\x20" + bytes(31)), MalformedMessage),
        (frame(b"\x91" * 60_000), MalformedMessage),
    ],
    ids=["empty", "huge", "one too long", "not msgpack", "unknown number", "a map", "cut", "deep"],
)
def test_bad_frames(world: Joined, data: bytes, error: type[RuleViolation]) -> None:
    unharmed = Unharmed(world)
    world.feed(world.bob, data * 50)
    unharmed.after(error)


def test_nothing_is_heard_after_a_hangup(world: Joined) -> None:
    session = world.bob.session
    assert session is not None
    world.feed(world.bob, frame(b"\xc1"))
    assert session.receive_data(Session.to_bytes(m.WantTurn(world.id)), NOW) == []
    assert session.receive_data(frame(b"\xc1"), NOW) == []


def test_what_was_said_rightly_before_a_bad_frame_counts(world: Joined) -> None:
    world.propose(world.alice, Mark(), deliver=False)
    world.feed(world.bob, world.bob.transit.popleft() + frame(b"\xc1"))
    assert world.bob.channel.version == 2
    assert durable(replayed(world.bob)) == durable(world.bob.channel)
    world.reconnect()
    assert world.agreed.version == 2


def test_a_message_cut_anywhere_and_a_new_connection(world: Joined) -> None:
    """Every prefix of a proposal: nothing happens, and the next connection brings the whole."""
    world.propose(world.alice, Mark(), deliver=False)
    whole = world.bob.transit.popleft()
    for cut in range(len(whole)):
        before = durable(world.bob.channel)
        world.feed(world.bob, whole[:cut])
        assert durable(world.bob.channel) == before
        world.connect()
        if cut % 16 == 0:
            world.bob.transit.clear()
        world.drop()
        world.connect()
        world.alice.transit.clear()
        world.bob.transit.clear()
    world.reconnect()
    assert world.agreed.version == 2
    assert not world.bob.hangups


def test_a_byte_at_a_time(world: Joined) -> None:
    world.propose(world.alice, Mark(), deliver=False)
    for byte in world.bob.transit.popleft():
        world.feed(world.bob, bytes((byte,)))
    world.settle()
    assert world.agreed.version == 2


def everything_once(world: Joined) -> None:
    """A conversation in which each kind of message is said."""
    world.propose(world.alice, Mark())
    world.propose(world.bob, Mark())
    world.turn_to(world.alice)
    world.bob.seat.channel = replace(world.bob.channel, frozen=1)
    world.propose(world.alice, Withdraw(UNIT))
    world.bob.seat.channel = replace(world.bob.channel, frozen=0)
    world.propose(world.alice, Mark())
    world.reconnect()


def test_every_message_said_twice_changes_nothing() -> None:
    """Repeated, each message is harmless or ends the connection; a turn that is wanted twice may move, no more."""
    fresh_world = Joined(opened=False)
    fresh_world.connect()
    fresh_world.open(fresh_world.alice)
    fresh_world.settle()
    fresh_world.fund(10_000, 10_000)
    everything_once(fresh_world)
    said = {frame[5] for _, frame in fresh_world.history}
    assert said >= {1, 2, 3, 4, 6, 7, 8, 9, 10, 11}
    for side, data in list(fresh_world.history):
        before = replace(side.channel, turn=0), dict(side.signed)
        fresh_world.feed(side, data)
        fresh_world.settle()
        assert durable(replace(side.channel, turn=0)) == durable(before[0])
        assert side.signed == before[1]
        if not fresh_world.connected:
            fresh_world.reconnect()
    fresh_world.propose(fresh_world.bob, Mark())
    assert fresh_world.agreed.version == 6


def test_messages_in_the_wrong_order_lose_nothing(world: Joined) -> None:
    """Everything in transit is swapped; at worst the connection ends, and the next one brings the same states."""
    for round_ in range(6):
        side = world.holder
        world.propose(side, Mark(), deliver=False)
        world.act(world.other(side), e.TurnNeeded())
        for at in world.sides:
            at.transit.reverse()
        world.settle()
        world.reconnect()
        world.act(world.other(side), e.TurnSpared())
        assert world.agreed.version == round_ + 2


def test_the_peers_fault_ends_the_connection_silently(world: Joined) -> None:
    outputs = world.say(world.bob, m.Fault("state: stale version", "you said 3"))
    assert isinstance(outputs[-1], Hangup)
    assert isinstance(outputs[-1].error, PeerFault)
    assert outputs[-1].farewell == b""
