"""Mallory and a loss of data: she claims one, or keeps what was lost and shows it later.

The world notes every version that a side ever journalled as signed and fails if one is signed twice, so each test here
also says that no version was.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from channels.core import events as e, facts as f, notices as n, records as r, rules
from channels.core.exposure import exposure
from channels.core.recovery import MAX_CLAIM, MAX_RECOVERIES, MAX_TURNS, MAX_VERSION, SKIP
from channels.core.views import Answer, duties
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
from channels.model import Acknowledge, Agreed, Close, Mark
from channels.seal import state_digest
from channels.session import Hangup
from channels.wire import messages as m
from tests.roles import DEPLOYMENT, HOUR, NOW, UNIT, alice, bob
from tests.sansio import Joined, durable, fresh, kinds, replayed
from tests.unit.session.losses import ANOTHER, CALL, MARKER, bob_lost_two_marks, put_back, recover, told


@pytest.fixture
def world() -> Joined:
    made = Joined()
    made.fund(10_000, 10_000)
    return made


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
