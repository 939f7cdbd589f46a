"""After a loss of data: Bob runs on an old copy, both owners agree or do not, and Mallory tries it from either side.

The world notes every version that a side ever journalled as signed and fails if one is signed twice, so each test here
also says that no version was.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from channels.core import events as e, facts as f, notices as n, records as r, rules
from channels.core.exposure import exposure
from channels.core.fold import evolve
from channels.core.phases import Phase
from channels.core.recovery import MAX_CLAIM, MAX_RECOVERIES, MAX_TURNS, MAX_VERSION, SKIP
from channels.core.views import Answer, duties, housekeeping, waiting_for
from channels.errors import (
    CopySuspected,
    OutstandingProposal,
    RecoveryInvalid,
    RemoteProtocolError,
    SigningSuspended,
    TurnOutOfOrder,
    UnexpectedMessage,
    VersionSkipTooLarge,
)
from channels.model import Acknowledge, Agreed, Close, Leg, Mark
from channels.seal import state_digest
from channels.session import Hangup
from channels.wire import messages as m
from tests.roles import DEPLOYMENT, ETH, EXPIRY, HOUR, NOW, UNIT, alice, bob
from tests.sansio import Joined, Killed, Side, durable, fresh, kinds, replayed

MARKER, ANOTHER = b"m" * 32, b"n" * 32
CALL = (Leg.call(ETH, EXPIRY, 2400, quantity=1),)


@pytest.fixture
def world() -> Joined:
    made = Joined()
    made.fund(10_000, 10_000)
    return made


def put_back(world: Joined, side: Side, copy: list[r.Record], *, suspect: bool = False) -> None:
    """The side's disk is set back to an older copy; with `suspect` its instance marker tells."""
    side.store = type(side.store)()
    side.store.append(world.id, [*copy, r.LossSuspected(MARKER, 0)] if suspect else copy)
    world.restart(side)


def bob_lost_two_marks(world: Joined, *, suspect: bool = False) -> None:
    copy = list(world.bob.store.records(world.id))
    world.propose(world.alice, Mark())
    world.propose(world.bob, Mark())
    put_back(world, world.bob, copy, suspect=suspect)


def told(side: Side, kind: type) -> list[object]:
    return [notice for notice in side.notices if isinstance(notice, kind)]


def recover(world: Joined, loser: Side, marker: bytes = MARKER) -> None:
    """Both owners agree."""
    world.act(loser, e.RecoveryWanted(marker))
    world.settle()
    world.act(world.other(loser), e.RecoveryConsented(marker))
    world.settle()


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


# Mallory, who claims a loss


def test_a_skip_that_is_refused_and_then_used_is_refused_again(world: Joined) -> None:
    """Bob asks, Alice's owner says nothing, and Bob's own software signs at the skipped version all the same."""
    bob_lost_two_marks(world)
    world.reconnect()
    world.act(world.bob, e.RecoveryWanted(MARKER))
    world.settle()
    assert not world.alice.channel.my_turn
    forced = replace(world.bob.channel, frozen=0, leap=3 + SKIP, turn=world.alice.channel.turn)
    world.bob.seat.channel = forced
    world.carry(world.bob, world.bob.seat.propose((Mark(),), fresh(), NOW))
    world.settle()
    assert told(world.bob, n.PeerRefused)[-1].code == VersionSkipTooLarge.code  # type: ignore[attr-defined]
    assert world.alice.channel.version == 3


def test_an_owner_who_says_nothing_has_not_agreed(world: Joined) -> None:
    bob_lost_two_marks(world)
    world.reconnect()
    world.act(world.bob, e.RecoveryWanted(MARKER))
    signed = dict(world.bob.signed), dict(world.alice.signed)
    for _ in range(3):
        world.reconnect()
        with pytest.raises(SigningSuspended):
            world.bob.seat.propose((Mark(),), fresh(), NOW)
    assert world.bob.channel.recovery == m.Recovery(MARKER, 3 + SKIP)
    assert (world.bob.signed, world.alice.signed) == signed
    assert len(told(world.alice, n.RecoveryRequested)) == 3, "once for each connection"


@pytest.mark.parametrize(
    "version", [0, 3, 4 + 2 * SKIP, MAX_VERSION + 1, 2**64 - 1], ids=["0", "agreed", "two skips", "high", "highest"]
)
def test_a_loss_cannot_be_claimed_to_use_up_the_versions(world: Joined, version: int) -> None:
    world.propose(world.alice, Mark())
    world.propose(world.alice, Mark())
    asked = m.Resume(world.id, 0, 1, None, 1, m.Recovery(MARKER, version))
    outputs = world.say(world.alice, asked)
    assert isinstance(outputs[-1], Hangup)
    assert isinstance(outputs[-1].error, RemoteProtocolError)
    assert isinstance(outputs[-1].error.violation, RecoveryInvalid)
    world.reconnect()
    world.propose(world.bob, Mark())
    assert world.agreed.version == 4


def test_losses_are_claimed_a_bounded_number_of_times(world: Joined) -> None:
    """Each with the owner's consent, who is fooled each time: all of them leave room for 2^63 ordinary versions."""
    for number in range(MAX_RECOVERIES):
        marker = number.to_bytes(32, "big")
        top = rules.top_version(world.alice.channel)
        world.say(world.alice, m.Resume(world.id, world.alice.channel.turn, 1, None, 1, m.Recovery(marker, top + SKIP)))
        world.act(world.alice, e.RecoveryConsented(marker))
        world.reconnect()
    assert world.alice.channel.leap < 2**55
    top = rules.top_version(world.alice.channel)
    world.say(world.alice, m.Resume(world.id, world.alice.channel.turn, 1, None, 1, m.Recovery(ANOTHER, top + SKIP)))
    with pytest.raises(RecoveryInvalid, match="64 times"):
        world.act(world.alice, e.RecoveryConsented(ANOTHER))


def test_a_second_request_on_a_connection_ends_it(world: Joined) -> None:
    """Else the owner's notices could be flooded."""
    for marker in (MARKER, MARKER, ANOTHER):
        outputs = world.say(world.alice, m.Resume(world.id, 0, 1, None, 1, m.Recovery(marker, 1 + SKIP)))
    assert isinstance(outputs[-1], Hangup)
    assert kinds(world.alice.notices)["RecoveryRequested"] == 1


def test_a_request_that_was_used_lets_no_second_one_through(world: Joined) -> None:
    """An old marker in between does not make the connection forget that it has asked."""
    bob_lost_two_marks(world)
    world.reconnect()
    recover(world, world.bob)
    world.reconnect()
    told_before = kinds(world.alice.notices)["RecoveryRequested"]
    top = rules.top_version(world.alice.channel)
    turn = world.alice.channel.turn
    for marker, hangs_up in ((MARKER, False), (ANOTHER, False), (MARKER, False), (b"k" * 32, True)):
        version = top + SKIP if marker != MARKER else 3 + SKIP
        outputs = world.say(world.alice, m.Resume(world.id, turn, 1, None, 1, m.Recovery(marker, version)))
        assert any(isinstance(output, Hangup) for output in outputs) is hangs_up
    assert kinds(world.alice.notices)["RecoveryRequested"] == told_before + 1


def test_an_old_request_is_not_told_again(world: Joined) -> None:
    bob_lost_two_marks(world)
    world.reconnect()
    recover(world, world.bob)
    world.propose(world.bob, Mark())
    before = durable(world.alice.channel), len(world.alice.notices)
    old = m.Resume(world.id, 0, 1, None, 1, m.Recovery(MARKER, 3 + SKIP))
    for _ in range(2):
        assert not [o for o in world.say(world.alice, old) if isinstance(o, Hangup)]
    assert (durable(world.alice.channel), len(world.alice.notices)) == before
    allowed = m.RecoveryAllowed(world.id, MARKER, 3 + SKIP, world.bob.channel.turn + 7)
    before = durable(world.bob.channel), len(world.bob.notices)
    world.say(world.bob, allowed)
    assert (durable(world.bob.channel), len(world.bob.notices)) == before


def test_the_marker_of_an_earlier_recovery_is_old_news(world: Joined) -> None:
    copy = list(world.bob.store.records(world.id))
    for marker in (MARKER, ANOTHER):
        put_back(world, world.bob, copy, suspect=True)
        world.reconnect()
        recover(world, world.bob, marker)
    world.reconnect()
    before = durable(world.alice.channel), kinds(world.alice.notices)["RecoveryRequested"]
    turn = world.alice.channel.turn
    world.say(world.alice, m.Resume(world.id, turn, 1, None, 1, m.Recovery(MARKER, 1 + SKIP)))
    assert world.connected
    assert (durable(world.alice.channel), kinds(world.alice.notices)["RecoveryRequested"]) == before


def test_a_claimed_loss_rewinds_no_turn(world: Joined) -> None:
    """Mallory, who passed the turn to Alice, claims to have lost that, and would like to hold it again."""
    world.turn_to(world.bob)
    world.turn_to(world.alice)
    turn = world.alice.channel.turn
    world.say(world.alice, m.Resume(world.id, 1, 1, None, 1, m.Recovery(MARKER, 1 + SKIP)))
    world.act(world.alice, e.RecoveryConsented(MARKER))
    assert world.alice.channel.turn == turn
    assert world.alice.channel.granted == r.RecoveryGranted(MARKER, 1 + SKIP, turn)


# Mallory, who keeps what was lost


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"turn": -1}, TurnOutOfOrder),
        ({"turn": MAX_TURNS + 1}, TurnOutOfOrder),
        ({"version": 1}, RecoveryInvalid),
        ({"marker": ANOTHER}, RecoveryInvalid),
    ],
    ids=["a turn before ours", "a turn far off", "another version", "another marker"],
)
def test_a_consent_to_something_else_is_no_consent(
    world: Joined, change: dict[str, object], error: type[Exception]
) -> None:
    copy = list(world.bob.store.records(world.id))
    world.turn_to(world.bob)
    put_back(world, world.bob, [*copy, r.TurnMoved(1)], suspect=True)
    world.reconnect()
    world.act(world.bob, e.RecoveryWanted(b"k" * 32))
    asked = world.bob.channel.recovery
    assert asked is not None
    fields = {"marker": asked.marker, "version": asked.version, "turn": 1}
    for name, value in change.items():
        moved = isinstance(value, int) and name != "marker"
        fields[name] = fields[name] + value if moved else value  # type: ignore[operator,assignment]
    outputs = world.say(world.bob, m.RecoveryAllowed(world.id, **fields))  # type: ignore[arg-type]
    assert isinstance(outputs[-1], Hangup)
    assert isinstance(outputs[-1].error, RemoteProtocolError)
    assert isinstance(outputs[-1].error.violation, error)
    assert world.bob.channel.is_frozen


def test_a_consent_that_nobody_asked_for_is_an_error(world: Joined) -> None:
    outputs = world.say(world.bob, m.RecoveryAllowed(world.id, MARKER, 1 + SKIP, 0))
    assert isinstance(outputs[-1], Hangup)
    assert isinstance(outputs[-1].error, RemoteProtocolError)
    assert isinstance(outputs[-1].error.violation, UnexpectedMessage)
    assert not world.bob.channel.leap


def test_a_peer_that_overstates_versions_is_not_believed(world: Joined) -> None:
    """Alice says that version 2^63 was signed: Bob would skip past it, and the channel could never be updated again."""
    copy = list(world.bob.store.records(world.id))
    for claim, leap in ((1 + MAX_CLAIM, 1 + MAX_CLAIM + SKIP), (2 + MAX_CLAIM, 1 + SKIP), (2**64 - 1, 1 + SKIP)):
        put_back(world, world.bob, copy, suspect=True)
        world.connect()
        world.say(world.bob, m.Resume(world.id, 0, 1, world.alice.channel.agreed, claim))
        world.act(world.bob, e.RecoveryWanted(ANOTHER))
        assert world.bob.channel.recovery == m.Recovery(ANOTHER, leap)


def test_the_peer_is_asked_first(world: Joined) -> None:
    put_back(world, world.bob, list(world.bob.store.records(world.id)), suspect=True)
    with pytest.raises(RecoveryInvalid, match="connect to it first"):
        world.act(world.bob, e.RecoveryWanted(ANOTHER))
    world.reconnect()
    with pytest.raises(RecoveryInvalid, match="lost nothing"):
        world.act(world.alice, e.RecoveryWanted(ANOTHER))


def hide(world: Joined, shown: Agreed) -> None:
    """Alice shows an older state than she has, while Bob recovers with her owner's consent."""
    world.connect()
    world.deliver(world.alice)
    world.bob.transit.clear()
    turn = world.alice.channel.turn
    world.say(world.bob, m.Resume(world.id, turn, shown.version, shown, shown.version))
    world.act(world.bob, e.RecoveryWanted(ANOTHER))
    asked = world.bob.channel.recovery
    assert asked is not None
    world.alice.transit.clear()
    world.bob.transit.clear()
    world.say(world.bob, m.RecoveryAllowed(world.id, asked.marker, asked.version, turn))
    assert not world.bob.channel.is_frozen


def test_a_peer_that_hides_its_newest_state_can_show_it_until_a_new_one_is_agreed(world: Joined) -> None:
    """What Bob's owner risks by agreeing: here a trade. Known again, it counts, and is no second loss."""
    shown = world.agreed
    copy = list(world.bob.store.records(world.id))
    world.propose(world.alice, world.trade(CALL, 50))
    hidden = world.agreed
    put_back(world, world.bob, copy, suspect=True)
    hide(world, shown)
    assert exposure(world.bob.channel).has_lost
    with pytest.raises(OutstandingProposal):
        rules.check_options(world.bob.channel)
    world.say(world.bob, m.Resume(world.id, world.bob.channel.turn, 2, hidden, 2))
    assert world.bob.channel.agreed == hidden
    assert not world.bob.channel.frozen
    assert told(world.bob, n.LostStateShown) == [n.LostStateShown(2)]
    assert replayed(world.bob).agreed == hidden


def test_a_hidden_state_is_superseded_by_the_first_new_one(world: Joined) -> None:
    shown = world.agreed
    copy = list(world.bob.store.records(world.id))
    world.propose(world.alice, Mark())
    hidden = world.agreed
    put_back(world, world.bob, copy, suspect=True)
    hide(world, shown)
    leap = world.bob.channel.leap
    new = replace(shown.state, version=leap)
    digest = state_digest(DEPLOYMENT, new)
    half = r.HalfSigned(new, shown.book, world.bob.me, bob.signer.sign(digest))
    agreed = Agreed(new, shown.book, (alice.signer.sign(digest), half.signature))
    for record in (r.Signed(half, (Mark(),)), r.StateAgreed(agreed, (Mark(),))):
        world.bob.store.append(world.id, [record])
    world.restart(world.bob)
    assert not exposure(world.bob.channel).has_lost
    world.confirm(f.RegisteredSeen(hidden.state, NOW + HOUR), to=[world.bob])
    assert not world.bob.channel.frozen
    assert [duty.agreed for duty in duties(world.bob.channel) if isinstance(duty, Answer)] == [agreed]


def test_a_lost_proposal_that_is_completed_later_counts_and_is_no_second_loss(world: Joined) -> None:
    """Bob half-signed a trade before his disk died; Alice never answered, and completes it when she likes it."""
    copy = list(world.bob.store.records(world.id))
    world.turn_to(world.bob)
    world.propose(world.bob, world.trade(CALL, 50), deliver=False)
    half = world.bob.channel.outstanding[-1].half
    put_back(world, world.bob, [*copy, r.TurnMoved(1)], suspect=True)
    hide(world, world.alice.channel.agreed)  # type: ignore[arg-type]
    digest = state_digest(DEPLOYMENT, half.state)
    completed = Agreed(half.state, half.book, (alice.signer.sign(digest), half.signature))
    world.confirm(f.RegisteredSeen(completed.state, NOW + HOUR), to=[world.bob])
    assert not world.bob.channel.frozen
    assert told(world.bob, n.LostStateShown) == [n.LostStateShown(2)]
    world.say(world.bob, m.Resume(world.id, world.bob.channel.turn, 2, completed, 2))
    assert world.bob.channel.agreed == completed


def test_a_state_above_the_recovery_that_we_do_not_know_is_a_new_loss(world: Joined) -> None:
    bob_lost_two_marks(world)
    world.reconnect()
    recover(world, world.bob)
    state = replace(world.agreed.state, version=world.bob.channel.leap)
    digest = state_digest(DEPLOYMENT, state)
    shown = Agreed(state, world.agreed.book, (alice.signer.sign(digest), bob.signer.sign(digest)))
    world.say(world.bob, m.Resume(world.id, world.bob.channel.turn, state.version, shown, state.version))
    assert world.bob.channel.frozen == state.version
    assert replayed(world.bob).frozen == state.version


def test_no_option_is_written_before_a_new_fact_is_agreed(world: Joined) -> None:
    bob_lost_two_marks(world)
    world.reconnect()
    recover(world, world.bob)
    for side in world.sides:
        world.turn_to(side)
        with pytest.raises(OutstandingProposal):
            side.seat.propose((world.trade(CALL),), fresh(), NOW)
    world.turn_to(world.bob)
    before = world.bob.channel
    assert world.bob.seat.propose((Close(0, NOW + 600),), fresh(), NOW), "to end the channel is always allowed"
    world.bob.seat.channel = before
    world.carry(world.bob, _anyway(world, world.trade(CALL)))
    world.settle()
    assert told(world.bob, n.PeerRefused)[-1].code == OutstandingProposal.code  # type: ignore[attr-defined]


def _anyway(world: Joined, *operations):  # type: ignore[no-untyped-def]
    """What a side without rules of its own would say."""
    kept, rules.judge = rules.judge, lambda *args, **kwargs: None
    try:
        return world.bob.seat.propose(operations, fresh(), world.now)
    finally:
        rules.judge = kept


def test_a_recovered_deposit_is_agreed_like_any_other(world: Joined) -> None:
    bob_lost_two_marks(world)
    world.reconnect()
    recover(world, world.bob)
    world.confirm(f.DepositSeen(world.bob.me, 11_000 * UNIT))
    world.propose(world.bob, Acknowledge((10_000 * UNIT, 11_000 * UNIT), (0, 0)))
    assert world.agreed.version == world.bob.channel.leap


def test_a_fork_below_the_recovery_is_explained_however_often_it_is_shown(world: Joined) -> None:
    """The lost journal had signed the copy's own version in another state: a recovery is above both for good."""
    first, second = world.agreed.state.balances
    fork = replace(world.agreed.state, balances=(first - 1, second + 1))
    digest = state_digest(DEPLOYMENT, fork)
    shown = Agreed(fork, world.agreed.book, (alice.signer.sign(digest), bob.signer.sign(digest)))
    said = m.Resume(world.id, world.bob.channel.turn, fork.version, shown)
    world.say(world.bob, said)
    assert world.bob.channel.frozen == fork.version
    world.reconnect()
    recover(world, world.bob)
    for _ in range(2):
        world.reconnect()
        world.say(world.bob, replace(said, turn=world.bob.channel.turn))
        assert not world.bob.channel.is_frozen
    world.propose(world.bob, Mark())
    assert world.agreed.version == world.bob.channel.leap


def test_a_copy_calls_no_proposal_out_of_turn(world: Joined) -> None:
    """By Bob's old counter it is his turn: Alice, who cannot know, is refused and stays connected."""
    world.turn_to(world.bob)
    copy = list(world.bob.store.records(world.id))
    world.turn_to(world.alice)
    put_back(world, world.bob, copy, suspect=True)
    world.reconnect()
    world.carry(world.alice, world.alice.seat.propose((Mark(),), fresh(), NOW))
    world.settle()
    assert world.connected
    assert told(world.alice, n.PeerRefused)[-1].code == CopySuspected.code  # type: ignore[attr-defined]
    recover(world, world.bob, ANOTHER)
    world.propose(world.alice, Mark())
    assert world.agreed.version == world.bob.channel.leap
