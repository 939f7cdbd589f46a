"""What Mallory can say on a connection: each time one typed error, nothing signed, nothing lost, and honesty heals."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from channels.core import events as e, facts as f
from channels.core.machine import open_channel
from channels.errors import (
    BadSignature,
    FrameTooLong,
    HandshakeRefused,
    InvariantBroken,
    MalformedMessage,
    NotYourTurn,
    PeerFault,
    RemoteProtocolError,
    RuleViolation,
    SigningSuspended,
    StaleVersion,
    TurnOutOfOrder,
    UnbalancedState,
    UnexpectedMessage,
    UnsupportedProtocol,
    WrongChannel,
)
from channels.model import (
    ZERO32,
    Address,
    Agreed,
    Deployment,
    Mark,
    Party,
    State,
    Withdraw,
    keccak,
)
from channels.risk import DEFAULT_POLICY
from channels.seal import Signer, hello_digest, state_digest
from channels.session import Handshake, Hangup, Role as End, Seat, Session
from channels.wire import messages as m
from channels.wire.codec import encode
from channels.wire.framing import frame
from tests.roles import CHANNEL, DEPLOYMENT, HOUR, NOW, TERMS, UNIT, Role, alice, bob, mallory
from tests.sansio import MARK_POLICY, Joined, durable, fresh, kinds, replayed

ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141


@pytest.fixture
def world() -> Joined:
    made = Joined()
    made.fund(10_000, 10_000)
    return made


class Unharmed:
    """Bob's side before Mallory, who holds Alice's key, speaks; and the proof that it is the same after."""

    def __init__(self, world: Joined) -> None:
        self.world, self.bob = world, world.bob
        self.before = durable(self.bob.channel)
        self.records = self.bob.store.records(world.id)

    def after(self, error: type[RuleViolation], *, heals: bool = True) -> None:
        (hangup,) = self.bob.hangups
        assert isinstance(hangup.error, RemoteProtocolError)
        assert type(hangup.error.violation) is error, hangup.error
        assert hangup.farewell == Session.to_bytes(m.Fault(error.code, str(hangup.error.violation)[:512]))
        assert durable(self.bob.channel) == self.before
        assert self.bob.store.records(self.world.id) == self.records
        assert not self.world.connected
        if heals:
            self.world.reconnect()
            self.world.propose(self.world.alice, Mark())
            assert self.world.connected
            assert len(self.bob.hangups) == 1


def next_state(world: Joined, **changes: object) -> State:
    return replace(world.agreed.state, **{"version": 2, **changes})  # type: ignore[arg-type]


def sign(role: Role, state: State, deployment: Deployment = DEPLOYMENT) -> bytes:
    return role.signer.sign(state_digest(deployment, state))


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


def channel_messages(channel: bytes) -> list[m.Message]:
    return [
        m.OpenAccepted(channel),  # type: ignore[arg-type]
        m.OpenRefused(channel, "x", "y"),  # type: ignore[arg-type]
        m.Propose(channel, 2, (Mark(),), ZERO32, bytes(65), 1),  # type: ignore[arg-type]
        m.Accept(channel, 1, bytes(65)),  # type: ignore[arg-type]
        m.Reject(channel, 1, "x", "y"),  # type: ignore[arg-type]
        m.WantTurn(channel),  # type: ignore[arg-type]
        m.PassTurn(channel, 1),  # type: ignore[arg-type]
        m.Resume(channel, 0, 0, None),  # type: ignore[arg-type]
    ]


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
    assert [n.theirs for n in world.bob.notices if type(n).__name__ == "DataLoss"] == [lost.version]
    for _ in range(2):
        world.propose(world.alice, Mark())
        assert world.bob.signed == ever
        with pytest.raises(SigningSuspended):
            world.bob.seat.propose((Mark(),), fresh(), NOW)
        world.restart(world.bob)
        world.reconnect()


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
