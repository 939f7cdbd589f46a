"""A REOPEN is mined and one side hears of it first: an honest call at its version is held, and judged once both have.

Alice lacks margin and Bob calls. Until her own chain has confirmed the REOPEN its state does not operate for her: she
is told nothing that she might pay for. Mallory, in Bob's place, gains by it one slot that holds one call.
"""

from __future__ import annotations

import pytest

from channels.core import events as e, facts as f, views
from channels.core.monitor import agreed_margins
from channels.core.notices import CollateralCalled
from channels.core.phases import Phase
from channels.model import Agreed, Close, Party, Reopen
from channels.wire import messages as m
from tests.roles import CHANNEL, HOUR, NOW, UNIT
from tests.sansio import Joined, durable, replayed
from tests.unit.session.test_collateral import ask, called, lacking, mark_at, refused

SOON, VALID = NOW + 60, NOW + 600


def disputed() -> Joined:
    """Alice lacks initial margin, and both have heard of a dispute over what they agreed; it ends in a minute."""
    world = lacking(2_900)
    world.confirm(f.RegisteredSeen(world.agreed.state, SOON))
    return world


def reopen(world: Joined, valid_until: int = VALID) -> Agreed:
    """Both sign a REOPEN; neither has heard of it from the chain."""
    world.propose(world.alice, Reopen((0, 0), valid_until))
    signed = world.alice.channel.closing
    assert signed is not None and signed == world.bob.channel.closing
    assert world.alice.channel.base_version < signed.version
    return signed


def hear(world: Joined, agreed: Agreed, *sides: int) -> None:
    """It is mined, and these sides hear of it."""
    world.confirm(f.RegisteredSeen(agreed.state, 0), to=[world.sides[side] for side in sides])


def say(world: Joined, version: int, amount: int) -> None:
    """Mallory, in Bob's place, calls Alice."""
    world.say(world.alice, m.CollateralCall(CHANNEL, version, amount))


def due(world: Joined) -> int:
    """What Alice lacks; a REOPEN changes neither positions nor cash."""
    lacks = agreed_margins(world.alice.channel)[Party.ZERO].collateral_call
    assert lacks > 0
    return lacks


ALICE, BOB = 0, 1


# The caller has heard first


@pytest.mark.parametrize("phase", [Phase.DISPUTED, Phase.SETTLING])
def test_a_call_at_a_reopen_that_only_the_caller_has_heard_of_is_told_once_we_hear_of_it(phase: Phase) -> None:
    world = disputed()
    if phase is Phase.SETTLING:
        world.block(SOON + 1)
    signed = reopen(world)
    assert world.alice.channel.phase is phase
    hear(world, signed, BOB)
    before = durable(world.alice.channel)
    ask(world)
    expected = [CollateralCalled(Party.ZERO, due(world), signed.version)]
    assert called(world.bob) == expected, "it was made"
    assert not called(world.alice) + refused(world.alice) and world.connected
    assert durable(world.alice.channel) == before == durable(replayed(world.alice)), "nothing is signed or stored"
    hear(world, signed, ALICE)
    assert called(world.alice) == expected and not refused(world.alice)
    world.reconnect()
    ask(world)
    assert called(world.alice) == expected, "Alice heard it before: the repetition is not told"


def test_a_call_at_the_version_before_does_not_silence_the_one_at_the_reopen() -> None:
    world = lacking(2_900)
    ask(world)
    before = world.agreed.version
    world.confirm(f.RegisteredSeen(world.agreed.state, SOON))
    signed = reopen(world)
    hear(world, signed, BOB)
    ask(world)
    hear(world, signed, ALICE)
    assert [call.version for call in called(world.alice)] == [before, signed.version] and not refused(world.alice)


@pytest.mark.parametrize("killed", [False, True])
def test_a_held_call_is_told_once_whether_the_connection_breaks_or_our_process_ends(killed: bool) -> None:
    """Who restarts has forgotten it; the caller calls again on the new connection."""
    world = disputed()
    signed = reopen(world)
    hear(world, signed, BOB)
    ask(world)
    if killed:
        world.restart(world.alice)
    world.reconnect()
    ask(world)
    assert not called(world.alice) + refused(world.alice)
    hear(world, signed, ALICE)
    assert [call.version for call in called(world.alice)] == [signed.version] and not refused(world.alice)


def test_a_reopen_whose_acceptance_was_lost_is_known_before_the_call_at_it_arrives() -> None:
    """Bob completed Alice's half and had it mined; what he shows first on the next connection explains his call."""
    world = disputed()
    world.propose(world.alice, Reopen((0, 0), VALID), deliver=False)
    world.deliver(world.bob)
    signed = world.bob.channel.closing
    assert signed is not None
    world.drop()
    assert world.alice.channel.closing is None
    hear(world, signed, BOB)
    world.connect()
    ask(world)
    assert len(called(world.bob)) == 1 and not called(world.alice) + refused(world.alice)
    hear(world, signed, ALICE)
    assert called(world.alice) == called(world.bob) and not refused(world.alice)


def test_only_the_reopen_itself_lets_a_held_call_be_judged() -> None:
    """Older states may still be registered before it: the call waits, and pays for none of them."""
    world = lacking(2_900)
    older = world.agreed
    mark_at(world, 2_910)
    world.confirm(f.RegisteredSeen(older.state, SOON))
    signed = reopen(world)
    hear(world, signed, BOB)
    ask(world)
    newest = world.alice.channel.agreed
    assert newest is not None
    world.confirm(f.RegisteredSeen(newest.state, SOON), to=[world.alice])
    world.confirm(f.DepositSeen(Party.ONE, 10_001 * UNIT), to=[world.alice])
    assert not called(world.alice) + refused(world.alice)
    hear(world, signed, ALICE)
    assert [call.version for call in called(world.alice)] == [signed.version]


def test_a_held_call_ends_with_a_channel_that_closes_instead() -> None:
    world = disputed()
    signed = reopen(world)
    hear(world, signed, BOB)
    ask(world)
    world.confirm(f.ClosedSeen((1, 2)))
    hear(world, signed, ALICE)
    assert world.alice.channel.phase is Phase.CLOSED
    assert not called(world.alice) + refused(world.alice) and world.connected


# We have heard first


def test_who_has_not_heard_of_the_reopen_calls_for_nothing_and_what_it_had_said_is_nothing() -> None:
    """For Bob the dispute runs: he has nothing to call. His last call before it, read again, is about a state left."""
    world = lacking(2_900)
    world.act(world.bob, e.CollateralWanted())
    (lost,) = world.alice.transit
    world.drop()
    world.reconnect()
    world.confirm(f.RegisteredSeen(world.agreed.state, SOON))
    signed = reopen(world)
    hear(world, signed, ALICE)
    assert views.collateral_due(world.bob.channel) == 0
    before = world.alice.channel
    world.feed(world.alice, lost)
    assert world.alice.channel == before and world.connected
    assert not called(world.alice) + refused(world.alice)
    hear(world, signed, BOB)
    ask(world)
    assert [call.version for call in called(world.alice)] == [signed.version] and not refused(world.alice)


# Mallory


@pytest.mark.parametrize("wrong", [1, -1])
def test_a_wrong_amount_at_a_reopen_is_refused_once_it_operates_and_cannot_be_amended(wrong: int) -> None:
    world = disputed()
    signed = reopen(world)
    right = due(world)
    say(world, signed.version, right + wrong)
    say(world, signed.version, right)
    assert not called(world.alice) + refused(world.alice)
    hear(world, signed, ALICE)
    (told,) = refused(world.alice)
    assert (told.amount, told.version) == (right + wrong, signed.version) and f"{right} are due" in told.reason
    say(world, signed.version, right)
    assert not called(world.alice) and len(refused(world.alice)) == 1 and world.connected


def test_calls_at_a_reopen_that_is_never_mined_are_nothing() -> None:
    """However many and whatever they ask for: one is held, and Alice is told of nothing that she might pay."""
    world = lacking(2_900)
    older = world.agreed
    mark_at(world, 2_910)
    world.confirm(f.RegisteredSeen(older.state, SOON))
    signed = reopen(world)
    before = durable(world.alice.channel)
    say(world, signed.version, due(world))
    held = world.alice.channel
    for amount in (due(world), due(world) + 1, 0, -5, 2**255 - 1, -(2**255)):
        for _ in range(3):
            say(world, signed.version, amount)
    assert world.alice.channel == held and durable(held) == before and world.connected
    world.block(VALID + 1)
    world.confirm(f.RegisteredSeen(world.agreed.state, SOON))
    assert not called(world.alice) + refused(world.alice)


def test_a_flood_around_a_reopen_is_told_once_for_each_version_that_operates() -> None:
    world = disputed()
    signed, base = reopen(world), world.agreed.version

    def flood() -> None:
        for amount in (due(world), due(world) + 1, 0):
            for number in (base, signed.version, base, signed.version, signed.version + 1, base - 1, 2**64 - 1):
                say(world, number, amount)

    flood()
    assert [call.version for call in called(world.alice)] == [base]
    hear(world, signed, ALICE)
    flood()
    assert [call.version for call in called(world.alice)] == [base, signed.version]
    assert not refused(world.alice) and world.connected


def test_a_call_at_a_close_is_refused() -> None:
    """Nothing operates at its version, mined or not."""
    world = disputed()
    world.propose(world.alice, Close(9_000 * UNIT, VALID))
    closing = world.alice.channel.closing
    assert closing is not None
    say(world, closing.version, due(world))
    assert [told.version for told in refused(world.alice)] == [closing.version]
    say(world, closing.version, due(world))
    world.confirm(f.ClosedSeen((1, 2)))
    assert len(refused(world.alice)) == 1 and not called(world.alice)


def test_a_call_at_a_reopen_that_the_caller_refused_is_refused() -> None:
    """Alice's half of it hangs, but Bob has said that there is no such state."""
    world = disputed()
    world.propose(world.alice, Reopen((0, 0), VALID), deliver=False)
    version = world.alice.channel.signed
    world.bob.transit.clear()
    world.say(world.alice, m.Reject(CHANNEL, version, "intent", "no"))
    say(world, version, due(world))
    assert [told.version for told in refused(world.alice)] == [version] and not called(world.alice)


def test_a_call_at_a_reopen_that_we_refused_is_refused() -> None:
    world = disputed()
    world.propose(world.bob, Reopen((0, 0), VALID), deliver=False)
    version = world.bob.channel.signed
    world.now = VALID + HOUR
    world.settle()
    assert world.alice.channel.closing is None
    say(world, version, due(world))
    assert [told.version for told in refused(world.alice)] == [version] and not called(world.alice)


def test_a_reopen_that_expired_unmined_holds_no_call_and_the_next_one_does() -> None:
    world = disputed()
    first = reopen(world)
    say(world, first.version, 1)
    world.block(VALID + 1)
    say(world, first.version, due(world))
    assert [told.version for told in refused(world.alice)] == [first.version], "nothing will ever operate there"
    second = reopen(world, VALID + 600)
    hear(world, second, BOB)
    ask(world)
    hear(world, second, ALICE)
    assert [call.version for call in called(world.alice)] == [second.version]
    assert len(refused(world.alice)) == 1
