"""What Mallory can say on a connection: each time one typed error, nothing signed, nothing lost, and honesty heals."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from channels.core import events as e, notices as n
from channels.core.facts import RegisteredSeen
from channels.core.machine import open_channel
from channels.errors import (
    BadSignature,
    MalformedMessage,
    NotYourTurn,
    SigningSuspended,
    StaleVersion,
    TurnOutOfOrder,
    UnbalancedState,
    UnexpectedMessage,
    WrongChannel,
)
from channels.model import (
    ZERO32,
    Address,
    Agreed,
    Deployment,
    Mark,
    Party,
    Withdraw,
    keccak,
)
from channels.risk import DEFAULT_POLICY
from channels.session import Seat
from channels.wire import messages as m
from channels.wire.codec import encode
from channels.wire.framing import frame
from tests.roles import CHANNEL, DEPLOYMENT, NOW, TERMS, UNIT, alice, bob, mallory
from tests.sansio import MARK_POLICY, Joined, durable, fresh, kinds, replayed
from tests.unit.session.unharmed import Unharmed, channel_messages, next_state, sign

ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141


@pytest.fixture
def world() -> Joined:
    made = Joined()
    made.fund(10_000, 10_000)
    return made


def high_s(signature: bytes) -> bytes:
    s = ORDER - int.from_bytes(signature[32:64], "big")
    return signature[:32] + s.to_bytes(32, "big") + bytes((55 - signature[64],))


BENT: dict[str, Callable[[bytes], bytes]] = {
    "high-s": high_s,
    "v = 0 or 1": lambda s: s[:64] + bytes((s[64] - 27,)),
    "one bit": lambda s: bytes((s[0] ^ 1,)) + s[1:],
    "zeros": lambda s: bytes(65),
    "the other v": lambda s: s[:64] + bytes((55 - s[64],)),
}


@pytest.mark.parametrize("bend", BENT)
def test_a_bent_signature_on_a_proposal(world: Joined, bend: str) -> None:
    unharmed = Unharmed(world)
    signature = BENT[bend](sign(alice, next_state(world)))
    world.say(world.bob, m.Propose(world.id, 2, (Mark(),), ZERO32, signature, 1))
    unharmed.after(BadSignature)


@pytest.mark.parametrize("bend", BENT)
def test_a_bent_signature_on_an_acceptance(world: Joined, bend: str) -> None:
    world.turn_to(world.bob)
    world.propose(world.bob, Mark(), deliver=False)
    world.alice.transit.clear()
    unharmed = Unharmed(world)
    world.say(world.bob, m.Accept(world.id, 2, BENT[bend](sign(alice, next_state(world)))))
    unharmed.after(BadSignature, heals=False)
    world.reconnect()
    assert world.agreed.version == 2


@pytest.mark.parametrize("bend", BENT)
def test_a_bent_signature_on_a_resumed_state(world: Joined, bend: str) -> None:
    unharmed = Unharmed(world)
    state = next_state(world)
    shown = Agreed(state, world.agreed.book, (BENT[bend](sign(alice, state)), sign(bob, state)))
    world.say(world.bob, m.Resume(world.id, 0, 2, shown))
    unharmed.after(BadSignature)


def test_signatures_of_sixty_four_bytes_are_not_spelled(world: Joined) -> None:
    unharmed = Unharmed(world)
    whole = encode(m.Accept(world.id, 2, bytes(65)))
    world.feed(world.bob, frame(whole.replace(b"\xc4\x41" + bytes(65), b"\xc4\x40" + bytes(64))))
    unharmed.after(MalformedMessage)


def test_the_other_sides_signature_in_place_of_its_own(world: Joined) -> None:
    """Bob's own signature is shown to him as Alice's: in a proposal, an acceptance and a resumed state."""
    unharmed = Unharmed(world)
    state = next_state(world)
    world.say(world.bob, m.Propose(world.id, 2, (Mark(),), ZERO32, sign(bob, state), 1))
    unharmed.after(BadSignature)


def test_swapped_signers_in_an_acceptance(world: Joined) -> None:
    world.turn_to(world.bob)
    world.propose(world.bob, Mark(), deliver=False)
    unharmed = Unharmed(world)
    world.say(world.bob, m.Accept(world.id, 2, sign(bob, next_state(world))))
    unharmed.after(BadSignature, heals=False)


def test_swapped_signers_in_a_resumed_state(world: Joined) -> None:
    unharmed = Unharmed(world)
    state = next_state(world)
    shown = Agreed(state, world.agreed.book, (sign(bob, state), sign(alice, state)))
    world.say(world.bob, m.Resume(world.id, 0, 2, shown))
    unharmed.after(BadSignature)


ELSEWHERE = {
    "chain": Deployment(1, DEPLOYMENT.adjudicator),
    "adjudicator": Deployment(DEPLOYMENT.chain_id, Address(b"\x01" * 20)),
}


@pytest.mark.parametrize("where", ELSEWHERE)
def test_a_signature_for_another_domain(world: Joined, where: str) -> None:
    unharmed = Unharmed(world)
    world.say(world.bob, m.Propose(world.id, 2, (Mark(),), ZERO32, sign(alice, next_state(world), ELSEWHERE[where]), 1))
    unharmed.after(BadSignature)


@pytest.mark.parametrize("where", ELSEWHERE)
def test_a_message_for_the_same_terms_elsewhere(world: Joined, where: str) -> None:
    unharmed = Unharmed(world)
    world.say(world.bob, m.WantTurn(TERMS.channel_id(ELSEWHERE[where])))
    unharmed.after(WrongChannel)


@pytest.mark.parametrize("number", range(8))
def test_every_message_for_an_unknown_channel(world: Joined, number: int) -> None:
    unharmed = Unharmed(world)
    world.say(world.bob, channel_messages(keccak(b"nowhere"))[number])
    unharmed.after(WrongChannel)


@pytest.mark.parametrize("number", range(8))
def test_every_message_about_a_channel_with_somebody_else(world: Joined, number: int) -> None:
    """Bob has a channel with Mallory too; Alice may not speak about it."""
    signers = (min(bob.address, mallory.address), max(bob.address, mallory.address))
    terms = replace(TERMS, signers=signers)
    me = Party(signers.index(bob.address))
    other = open_channel(DEPLOYMENT, terms, me, DEFAULT_POLICY, MARK_POLICY, initiated=False).channel
    world.bob.seats[other.id] = Seat(other, bob.signer)
    unharmed = Unharmed(world)
    world.say(world.bob, channel_messages(other.id)[number])
    unharmed.after(WrongChannel)
    assert world.bob.seats[other.id].channel == other


def test_a_resumed_state_of_another_channel(world: Joined) -> None:
    unharmed = Unharmed(world)
    state = next_state(world, channel=keccak(b"another"))
    world.say(
        world.bob, m.Resume(world.id, 0, 2, Agreed(state, world.agreed.book, (sign(alice, state), sign(bob, state))))
    )
    unharmed.after(WrongChannel)


# Things out of place


def test_proposing_out_of_turn(world: Joined) -> None:
    world.turn_to(world.bob)
    unharmed = Unharmed(world)
    world.say(world.bob, m.Propose(world.id, 2, (Mark(),), ZERO32, sign(alice, next_state(world)), 1))
    unharmed.after(NotYourTurn)


@pytest.mark.parametrize("turn", [2, 3, 2**63])
def test_turns_out_of_order(world: Joined, turn: int) -> None:
    unharmed = Unharmed(world)
    world.say(world.bob, m.PassTurn(world.id, turn))
    unharmed.after(TurnOutOfOrder)


@pytest.mark.parametrize("turn", [2, 5])
def test_resuming_with_a_turn_out_of_order(world: Joined, turn: int) -> None:
    unharmed = Unharmed(world)
    world.say(world.bob, m.Resume(world.id, turn, 1, world.agreed))
    unharmed.after(TurnOutOfOrder)


@pytest.mark.parametrize("message", [m.Accept(CHANNEL, 9, bytes(65)), m.Reject(CHANNEL, 9, "x", "y")])
def test_an_answer_to_nothing(world: Joined, message: m.Message) -> None:
    unharmed = Unharmed(world)
    world.say(world.bob, message)
    unharmed.after(UnexpectedMessage)


@pytest.mark.parametrize(
    "message", [m.Greeting(1, bytes(32), 32), m.Hello(bytes(65)), m.OpenRefused(CHANNEL, "x", "y")], ids=type
)
def test_handshakes_and_refusals_in_the_middle(world: Joined, message: m.Message) -> None:
    if isinstance(message, m.OpenRefused):
        outputs = world.say(world.bob, message)
        assert [type(output).__name__ for output in outputs] == ["OpeningRefused"]
        assert world.bob.channel.version == 1
        return
    unharmed = Unharmed(world)
    world.say(world.bob, message)
    unharmed.after(UnexpectedMessage)


def test_an_old_version_proposed_again_with_another_state(world: Joined) -> None:
    """Version 1 is agreed; Mallory signs it a second time, for herself."""
    unharmed = Unharmed(world)
    other = next_state(world, version=1, withdrawals=(UNIT, 0), balances=(9_999 * UNIT, 10_000 * UNIT))
    world.say(world.bob, m.Propose(world.id, 1, (Withdraw(UNIT),), ZERO32, sign(alice, other), 0))
    unharmed.after(BadSignature)


def test_a_version_below_what_is_agreed(world: Joined) -> None:
    world.propose(world.alice, Mark())
    unharmed = Unharmed(world)
    world.say(world.bob, m.Propose(world.id, 1, (Mark(),), ZERO32, sign(alice, next_state(world, version=1)), 0))
    unharmed.after(StaleVersion)


def test_version_zero_is_never_signed(world: Joined) -> None:
    unharmed = Unharmed(world)
    world.say(world.bob, m.Propose(world.id, 0, (Mark(),), ZERO32, sign(alice, next_state(world)), 0))
    unharmed.after(StaleVersion)
    first = Joined()
    first.say(first.bob, m.Propose(first.id, 0, (Mark(),), ZERO32, bytes(65), 0))
    assert not first.bob.signed


def test_a_resumed_state_whose_balances_do_not_add_up(world: Joined) -> None:
    unharmed = Unharmed(world)
    good = m.Resume(world.id, 0, 1, world.agreed)
    amount = (10_000 * UNIT).to_bytes(32, "big")
    at = encode(good).rindex(amount)
    bad = bytearray(encode(good))
    bad[at + 31] ^= 1
    world.feed(world.bob, frame(bytes(bad)))
    unharmed.after(UnbalancedState)


# Data loss


def test_restore_with_hiding_peer_signs_nothing(world: Joined) -> None:
    """Bob runs on an old copy of his journal and Alice shows what he signed since: he signs nothing more, for good."""
    copy = list(world.bob.store.records(world.id))
    world.propose(world.alice, Mark())
    world.propose(world.alice, Mark())
    lost = world.agreed
    world.bob.store = type(world.bob.store)()
    world.bob.store.append(world.id, copy)
    ever = dict(world.bob.signed)
    world.restart(world.bob)
    world.reconnect()
    assert world.bob.channel.frozen == lost.version
    assert [told.theirs for told in world.bob.notices if isinstance(told, n.DataLoss)] == [lost.version]
    for _ in range(2):
        world.propose(world.alice, Mark())
        assert world.bob.signed == ever
        with pytest.raises(SigningSuspended):
            world.bob.seat.propose((Mark(),), fresh(), NOW)
        world.restart(world.bob)
        world.reconnect()


@pytest.mark.parametrize("shown_by", ["peer", "chain"])
def test_whose_answer_will_never_come_is_told(world: Joined, shown_by: str) -> None:
    """Proposals in flight when a lost state is shown, below it and above: all wait no longer, and stay half-signed."""
    for _ in range(3):
        world.carry(world.alice, world.alice.seat.propose((Mark(),), fresh(), NOW))
    waiting = world.alice.channel.in_flight
    state = next_state(world, version=waiting[1], balances=(9_999 * UNIT, 10_001 * UNIT))
    if shown_by == "peer":
        shown = Agreed(state, world.agreed.book, (sign(alice, state), sign(bob, state)))
        world.say(world.alice, m.Resume(world.id, 0, state.version, shown))
    else:
        world.carry(world.alice, world.alice.seat.act(e.RegistrationConfirmed(RegisteredSeen(state, 0))))
    (told,) = [notice for notice in world.alice.notices if isinstance(notice, n.DataLoss)]
    assert told == n.DataLoss(waiting[0] - 1, state.version, waiting)
    channel = world.alice.channel
    assert channel.in_flight == replayed(world.alice).in_flight == ()
    assert waiting[2] in channel.halves


def test_a_state_with_our_signature_that_we_never_made(world: Joined) -> None:
    state = next_state(world, version=5)
    shown = Agreed(state, world.agreed.book, (sign(alice, state), sign(bob, state)))
    world.say(world.bob, m.Resume(world.id, 0, 5, shown))
    assert world.bob.channel.frozen == 5
    assert replayed(world.bob).frozen == 5
    # It can be enforced, so it is known from now on, and nothing is signed above it.
    assert world.bob.channel.version == 5
    assert "LostStateShown" in kinds(world.bob.notices)


def test_a_state_we_half_signed_is_adopted_not_lost_data(world: Joined) -> None:
    """Alice accepted, and her answer was lost: Resume brings it."""
    world.turn_to(world.bob)
    world.propose(world.bob, Withdraw(UNIT), deliver=False)
    world.deliver(world.alice)
    world.drop()
    assert world.bob.channel.version == 1
    world.reconnect()
    assert world.agreed.version == 2
    assert not world.bob.channel.frozen


def test_a_late_acceptance_is_an_agreed_state(world: Joined) -> None:
    """Refused first, completed later: the half was out, so it counts; the mark above it waits for its own answer."""
    world.turn_to(world.bob)
    world.alice.seat.channel = replace(world.alice.channel, frozen=1)
    world.propose(world.bob, Withdraw(UNIT))
    world.propose(world.bob, Mark(), deliver=False)
    late = world.bob.signed[2].state
    world.say(world.bob, m.Accept(world.id, 2, sign(alice, late)))
    assert world.bob.channel.agreed_version == 2
    assert world.bob.channel.in_flight == (3,)
    assert durable(replayed(world.bob)) == durable(world.bob.channel)
