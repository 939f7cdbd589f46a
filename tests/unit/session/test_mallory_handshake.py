"""Who is there: hellos replayed, reflected, of somebody else; and what is heard of a peer nobody knows yet."""

from __future__ import annotations

from dataclasses import replace

import pytest

from channels.core import facts as f
from channels.errors import (
    BadSignature,
    HandshakeRefused,
    InvariantBroken,
    RuleViolation,
    UnexpectedMessage,
    UnsupportedProtocol,
)
from channels.model import (
    ZERO32,
    Address,
    Mark,
)
from channels.seal import Signer, hello_digest
from channels.session import Handshake, Role as End, Session
from channels.wire import messages as m
from tests.roles import DEPLOYMENT, HOUR, NOW, TERMS, alice, bob, mallory
from tests.sansio import Joined, fresh
from tests.unit.session.unharmed import Unharmed, channel_messages


@pytest.fixture
def world() -> Joined:
    made = Joined()
    made.fund(10_000, 10_000)
    return made


# Handshake


def shake(expected: Address | None = alice.address) -> tuple[Handshake, bytes]:
    """Bob listens; returns his end and the nonce he greets with."""
    hands = Handshake(bob.signer, End.LISTENER, fresh(), expected=expected)
    return hands, hands.greeting.nonce


def hello(signer: Signer, theirs: bytes, mine: bytes, role: End = End.DIALER, certificate: bytes = ZERO32) -> m.Hello:
    return m.Hello(signer.sign(hello_digest(theirs, mine, certificate, role)))


def test_an_honest_hello() -> None:
    hands, nonce = shake()
    mine = fresh()
    assert hands.receive(m.Greeting(1, mine, 32)) == hello(bob.signer, mine, nonce, End.LISTENER)
    assert hands.receive(hello(alice.signer, nonce, mine)) is None
    assert hands.peer == alice.address


def test_a_hello_of_somebody_else() -> None:
    hands, nonce = shake()
    mine = fresh()
    hands.receive(m.Greeting(1, mine, 32))
    with pytest.raises(HandshakeRefused):
        hands.receive(hello(mallory.signer, nonce, mine))
    assert hands.peer is None


def test_a_replayed_hello() -> None:
    mine = fresh()
    old = hello(alice.signer, fresh(), mine)
    hands, _ = shake()
    hands.receive(m.Greeting(1, mine, 32))
    with pytest.raises(HandshakeRefused):
        hands.receive(old)


def test_a_replayed_hello_is_not_alice_to_an_open_listener() -> None:
    """Nobody is expected, so any key may call; a replay proves another address, which has no channel here."""
    hands, _ = shake(expected=None)
    mine = fresh()
    old = hello(alice.signer, fresh(), mine)
    hands.receive(m.Greeting(1, mine, 32))
    hands.receive(old)
    assert hands.peer not in (alice.address, bob.address, None)


def test_a_reflected_hello() -> None:
    hands, _ = shake(expected=None)
    mine = fresh()
    sent = hands.receive(m.Greeting(1, mine, 32))
    assert sent is not None
    hands.receive(sent)
    assert hands.peer not in (alice.address, bob.address)
    guarded, _ = shake()
    sent = guarded.receive(m.Greeting(1, fresh(), 32))
    assert sent is not None
    with pytest.raises(HandshakeRefused):
        guarded.receive(sent)


def test_our_own_nonce_and_our_own_key() -> None:
    hands, nonce = shake()
    with pytest.raises(HandshakeRefused, match="own nonce"):
        hands.receive(m.Greeting(1, nonce, 32))
    hands, nonce = shake(expected=None)
    mine = fresh()
    hands.receive(m.Greeting(1, mine, 32))
    with pytest.raises(HandshakeRefused, match="own key"):
        hands.receive(hello(bob.signer, nonce, mine))


def test_a_man_in_the_middle_has_another_certificate() -> None:
    hands, nonce = shake()
    mine = fresh()
    hands.receive(m.Greeting(1, mine, 32))
    with pytest.raises(HandshakeRefused):
        hands.receive(hello(alice.signer, nonce, mine, certificate=b"m" * 32))


@pytest.mark.parametrize("protocol", [0, 2, 2**64 - 1])
def test_another_protocol(protocol: int) -> None:
    with pytest.raises(UnsupportedProtocol):
        shake()[0].receive(m.Greeting(protocol, fresh(), 32))


def test_greetings_and_hellos_out_of_order() -> None:
    hands, nonce = shake()
    with pytest.raises(UnexpectedMessage):
        hands.receive(hello(alice.signer, nonce, fresh()))
    hands.receive(m.Greeting(1, fresh(), 32))
    with pytest.raises(UnexpectedMessage):
        hands.receive(m.Greeting(1, fresh(), 32))


@pytest.mark.parametrize("number", range(8))
def test_nothing_is_heard_before_the_handshake(world: Joined, number: int) -> None:
    unharmed = Unharmed(world)
    world.drop()
    world.bob.session = Session(bob.signer, End.LISTENER, fresh(), world.bob.seats)
    world.say(world.bob, channel_messages(world.id)[number])
    unharmed.after(UnexpectedMessage)


def test_opening_terms_of_others(world: Joined) -> None:
    unharmed = Unharmed(world)
    foreign = replace(TERMS, signers=(min(bob.address, mallory.address), max(bob.address, mallory.address)))
    world.say(world.bob, m.Open(DEPLOYMENT, foreign))
    unharmed.after(BadSignature)


def test_a_disputes_facts_and_mallorys_words_do_not_mix(world: Joined) -> None:
    """Under a dispute a proposal of anything but its end is refused, not signed, and not an error."""
    world.confirm(f.RegisteredSeen(world.agreed.state, NOW + HOUR), to=[world.bob])
    world.propose(world.alice, Mark())
    assert world.connected
    assert world.bob.channel.signed == 1


def test_invariant_errors_are_not_the_peers_words() -> None:
    assert not issubclass(InvariantBroken, RuleViolation)
