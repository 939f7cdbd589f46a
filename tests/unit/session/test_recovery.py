"""After a loss of data: Bob runs on an old copy, and both owners agree or do not.

The world notes every version that a side ever journalled as signed and fails if one is signed twice, so each test here
also says that no version was.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from channels.core import events as e, facts as f, notices as n, records as r
from channels.core.fold import evolve
from channels.core.phases import Phase
from channels.core.recovery import SKIP
from channels.core.views import Answer, duties, housekeeping, waiting_for
from channels.errors import (
    CopySuspected,
    RecoveryInvalid,
)
from channels.model import Mark
from channels.wire import messages as m
from tests.roles import HOUR, NOW, UNIT
from tests.sansio import Joined, Killed, durable, fresh, replayed
from tests.unit.session.losses import ANOTHER, CALL, MARKER, bob_lost_two_marks, put_back, recover, told


@pytest.fixture
def world() -> Joined:
    made = Joined()
    made.fund(10_000, 10_000)
    return made


# Alice and Bob


def test_both_owners_agree_and_one_new_state_supersedes_what_was_lost(world: Joined) -> None:
    bob_lost_two_marks(world)
    world.reconnect()
    assert world.bob.channel.frozen == 3
    assert world.bob.channel.version == 3, "what both signed is known again"
    recover(world, world.bob)
    leap = 3 + SKIP
    assert told(world.alice, n.RecoveryRequested) == [n.RecoveryRequested(MARKER, leap, 3, 3)]
    for side in world.sides:
        assert (side.channel.leap, side.channel.frozen, side.channel.turn) == (leap, 0, world.alice.channel.turn)
        assert side.channel.has_lost
        assert durable(replayed(side)) == durable(side.channel)
        assert told(side, n.RecoveryAgreed)[-1] == n.RecoveryAgreed(world.bob.me, leap)
    world.propose(world.bob, Mark())
    assert world.agreed.version == leap
    assert not any(side.channel.has_lost for side in world.sides)
    world.propose(world.alice, world.trade(CALL))
    assert world.agreed.version == leap + 1
    for side in world.sides:
        world.restart(side)
    world.reconnect()
    world.propose(world.bob, world.mark())
    assert world.agreed.version == leap + 2


def test_a_copy_that_nobody_can_prove_to_be_old_is_frozen_all_the_same(world: Joined) -> None:
    """The marker is gone, and Alice shows nothing newer: perhaps nothing was lost, perhaps she hides it."""
    copy = list(world.bob.store.records(world.id))
    put_back(world, world.bob, copy, suspect=True)
    world.reconnect()
    assert not world.bob.channel.frozen
    with pytest.raises(CopySuspected):
        world.bob.seat.propose((Mark(),), fresh(), NOW)
    world.propose(world.alice, Mark())
    assert told(world.alice, n.PeerRefused)[-1].code == CopySuspected.code  # type: ignore[attr-defined]
    assert "our owner to agree" in waiting_for(world.bob.channel)
    recover(world, world.bob, ANOTHER)
    assert not world.bob.channel.is_frozen
    world.propose(world.alice, Mark())
    assert world.agreed.version >= SKIP


def test_a_turn_that_moved_since_the_copy_is_no_error_for_a_copy(world: Joined) -> None:
    """Only the turn moved, three times: without the instance marker that would end every connection."""
    copy = list(world.bob.store.records(world.id))
    for side in (world.bob, world.alice, world.bob):
        world.turn_to(side)
    put_back(world, world.bob, copy, suspect=True)
    world.reconnect()
    assert world.connected
    assert world.bob.channel.turn == 0
    world.act(world.bob, e.TurnWantedSeen())
    assert world.bob.channel.turn == 0, "an old counter is passed to nobody"
    recover(world, world.bob)
    assert world.bob.channel.turn == world.alice.channel.turn == 3
    world.propose(world.bob, Mark())
    assert world.agreed.version == world.bob.channel.leap


@pytest.mark.parametrize("who", ["bob asks", "alice agrees", "bob hears"])
@pytest.mark.parametrize("fuse", range(3))
def test_a_crash_anywhere_in_between_is_healed_by_the_next_connection(world: Joined, who: str, fuse: int) -> None:
    bob_lost_two_marks(world, suspect=True)
    world.reconnect()
    try:
        if who == "bob asks":
            world.bob.fuse = fuse
        world.act(world.bob, e.RecoveryWanted(ANOTHER))
        world.settle()
        if who == "alice agrees":
            world.alice.fuse = fuse
        world.act(world.alice, e.RecoveryConsented(ANOTHER))
        if who == "bob hears":
            world.bob.fuse = fuse
        world.settle()
    except Killed:
        pass
    world.bob.fuse = world.alice.fuse = None
    world.reconnect()
    if world.bob.channel.is_frozen:
        assert not world.alice.channel.leap or world.bob.channel.recovery is not None
        world.act(world.bob, e.RecoveryWanted(b"k" * 32))
        world.settle()
        if world.bob.channel.recovery is not None:
            world.act(world.alice, e.RecoveryConsented(world.bob.channel.recovery.marker))
            world.settle()
    assert not world.bob.channel.is_frozen
    assert world.alice.channel.leap == world.bob.channel.leap == 3 + SKIP
    assert world.alice.channel.turn == world.bob.channel.turn
    world.propose(world.bob, Mark())
    assert world.agreed.version == 3 + SKIP


def test_consent_is_given_once_and_said_until_it_is_heard(world: Joined) -> None:
    bob_lost_two_marks(world)
    world.reconnect()
    world.act(world.bob, e.RecoveryWanted(MARKER))
    world.settle()
    world.act(world.alice, e.RecoveryConsented(MARKER))
    with pytest.raises(RecoveryInvalid, match="used before"):
        world.act(world.alice, e.RecoveryConsented(MARKER))
    world.drop()
    for side in world.sides:
        world.restart(side)
    world.reconnect()
    assert not world.bob.channel.is_frozen
    assert len(told(world.alice, n.RecoveryRequested)) == 1
    with pytest.raises(RecoveryInvalid, match="does not ask"):
        world.act(world.alice, e.RecoveryConsented(MARKER))


def test_both_lost_data_and_both_recover(world: Joined) -> None:
    copies = [list(side.store.records(world.id)) for side in world.sides]
    world.propose(world.bob, Mark())
    world.propose(world.alice, Mark())
    for side, copy in zip(world.sides, copies, strict=True):
        put_back(world, side, copy, suspect=True)
    world.reconnect()
    for side, marker in zip(world.sides, (MARKER, ANOTHER), strict=True):
        world.act(side, e.RecoveryWanted(marker))
    world.settle()
    for side, marker in zip(world.sides, (ANOTHER, MARKER), strict=True):
        world.act(side, e.RecoveryConsented(marker))
    world.settle()
    assert not any(side.channel.is_frozen for side in world.sides)
    assert world.alice.channel.leap == world.bob.channel.leap
    assert world.alice.channel.turn == world.bob.channel.turn
    world.propose(world.alice, Mark())
    world.propose(world.bob, Mark())
    assert world.agreed.version == world.alice.channel.leap + 1


def test_a_second_loss_recovers_again_further_up(world: Joined) -> None:
    first = list(world.bob.store.records(world.id))
    bob_lost_two_marks(world)
    world.reconnect()
    recover(world, world.bob)
    # Lost again before anything was agreed above the first recovery: only Alice knows how far the versions are.
    put_back(world, world.bob, first, suspect=True)
    world.reconnect()
    recover(world, world.bob, ANOTHER)
    assert world.alice.channel.leap == world.bob.channel.leap > 2 * SKIP
    world.propose(world.bob, Mark())
    assert world.agreed.version == world.bob.channel.leap


def test_a_fact_that_says_nothing_new_is_what_the_node_proposes_first(world: Joined) -> None:
    bob_lost_two_marks(world)
    world.reconnect()
    assert housekeeping(world.bob.channel) == ()
    recover(world, world.bob)
    holder = world.holder
    world.propose(holder, *housekeeping(holder.channel))
    assert world.agreed.version == world.bob.channel.leap
    assert housekeeping(holder.channel) == ()


def test_without_a_recovery_the_owner_still_answers_and_closes_on_chain(world: Joined) -> None:
    old = world.agreed.state
    bob_lost_two_marks(world)
    world.reconnect()
    world.confirm(f.RegisteredSeen(old, NOW + HOUR), to=[world.bob])
    assert [type(duty) for duty in duties(world.bob.channel)] == [Answer]
    recover(world, world.bob)
    assert world.bob.channel.phase is Phase.DISPUTED


def test_what_was_in_flight_is_given_up_on_both_sides(world: Joined) -> None:
    """Alice's mark hangs when Bob's disk dies: he refuses it, and the recovery leaves nothing that waits."""
    copy = list(world.bob.store.records(world.id))
    world.turn_to(world.alice)
    world.propose(world.alice, Mark(), deliver=False)
    put_back(world, world.bob, copy, suspect=True)
    world.connect()
    world.bob.transit.pop()
    world.alice.seat.channel = replace(world.alice.channel, in_flight=world.alice.channel.in_flight or (2,))
    while world.alice.transit:
        world.deliver(world.alice)
    world.bob.transit.clear()
    world.say(world.bob, m.Resume(world.id, 0, 2, world.alice.channel.agreed, 2))
    recover(world, world.bob)
    assert world.alice.channel.phase is world.bob.channel.phase is Phase.OPEN
    assert [out.version for out in world.alice.channel.outstanding] == [2]
    assert [notice.code for notice in world.alice.notices if isinstance(notice, n.PeerRefused)] == [
        RecoveryInvalid.code
    ]
    world.propose(world.alice, Mark())
    assert world.agreed.version == world.alice.channel.leap
    assert not world.alice.channel.outstanding


def test_a_recovery_that_is_lost_as_well_is_asked_for_anew(world: Joined) -> None:
    """A whole disk is set back to between asking and hearing: what was signed since is not signed again."""
    bob_lost_two_marks(world)
    world.reconnect()
    world.act(world.bob, e.RecoveryWanted(MARKER))
    asking = list(world.bob.store.records(world.id))
    world.settle()
    world.act(world.alice, e.RecoveryConsented(MARKER))
    world.settle()
    world.turn_to(world.bob)
    world.carry(world.bob, world.bob.seat.propose((Mark(),), fresh(), NOW))
    assert world.bob.channel.signed == 3 + SKIP
    proposal = world.alice.transit.popleft()
    world.alice.seat.deal = world.bob.seat.deal
    world.act(world.alice, e.BlockConfirmed(NOW))
    world.alice.seat.channel = replace(world.alice.channel, frozen=1)
    world.feed(world.alice, proposal)
    world.alice.seat.channel = replace(world.alice.channel, frozen=0)
    put_back(world, world.bob, asking)
    world.reconnect()
    assert world.bob.channel.is_frozen, "the consent is not repeated: Bob has signed at that version"
    recover(world, world.bob, ANOTHER)
    assert world.bob.channel.leap == 3 + 2 * SKIP
    world.propose(world.bob, Mark())
    assert world.agreed.version == 3 + 2 * SKIP


def test_where_both_lost_data_the_higher_turn_and_version_count(world: Joined) -> None:
    """Alice's copy is older than Bob's by two turns: she grants, and adopts, what he knows."""
    copy = list(world.alice.store.records(world.id))
    world.turn_to(world.bob)
    world.turn_to(world.alice)
    for side, known in ((world.alice, copy), (world.bob, list(world.bob.store.records(world.id)))):
        put_back(world, side, known, suspect=True)
    assert (world.alice.channel.turn, world.bob.channel.turn) == (0, 2)
    world.reconnect()
    recover(world, world.bob, ANOTHER)
    assert (world.alice.channel.turn, world.bob.channel.turn) == (2, 2)
    recover(world, world.alice, b"k" * 32)
    lower = r.RecoveryGranted(b"l" * 32, 5, 2)
    assert evolve(world.alice.channel, lower).leap == world.alice.channel.leap > SKIP


def test_a_frozen_side_moves_no_turn_and_gets_nothing_agreed(world: Joined) -> None:
    """Its counter may be an old one: Alice, on an old copy, believes that she holds the turn."""
    copy = list(world.alice.store.records(world.id))
    for side in (world.bob, world.alice, world.bob):
        world.turn_to(side)
    put_back(world, world.alice, copy, suspect=True)
    world.reconnect()
    assert world.alice.channel.my_turn
    world.say(world.alice, m.WantTurn(world.id))
    world.say(world.alice, m.PassTurn(world.id, 5))
    assert world.connected
    assert world.alice.channel.turn == 0
    world.confirm(f.DepositSeen(world.alice.me, 11_000 * UNIT))
    assert housekeeping(world.alice.channel) == ()


def test_a_request_is_judged_again_when_the_owner_agrees(world: Joined) -> None:
    """Between the two something may have been signed at that version."""
    bob_lost_two_marks(world)
    world.reconnect()
    world.act(world.bob, e.RecoveryWanted(MARKER))
    world.settle()
    world.alice.seat.channel = replace(world.alice.channel, seen=3 + SKIP)
    with pytest.raises(RecoveryInvalid, match="allowed"):
        world.act(world.alice, e.RecoveryConsented(MARKER))
