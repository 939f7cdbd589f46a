"""Several proposals in flight: agreed together, killed together, sent again as they were, bounded on both ends."""

from __future__ import annotations

from dataclasses import replace

import pytest

from channels.core import events as e, facts as f, notices as n, records as r
from channels.core.commands import Send
from channels.core.fold import replay
from channels.core.phases import Phase
from channels.core.views import waiting_for
from channels.errors import (
    IntentInvalid,
    MarginShortfall,
    OutstandingProposal,
    ReduceOnly,
    RemoteProtocolError,
    SigningBarred,
    TurnPromised,
    WindowFull,
)
from channels.model import Acknowledge, Close, Intent, Leg, Mark, Party, Trade, Withdraw, net
from channels.risk import DEFAULT_POLICY
from channels.seal import state_digest
from channels.session import Hangup, Output, Routed, Session
from channels.wire import messages as m
from channels.wire.codec import decode
from tests.roles import DEPLOYMENT, ETH, EXPIRY, NOW, TERMS, UNIT, alice, bob
from tests.sansio import MARK_POLICY, Joined, Side, durable, replayed

CALL = Leg.call(ETH, EXPIRY, 2400, quantity=1)


@pytest.fixture
def world() -> Joined:
    made = Joined(window=4)
    made.fund(10_000, 10_000)
    return made


def propose(world: Joined, *operations: Mark | Trade | Withdraw | Close | Acknowledge) -> int:
    """Alice proposes; nothing is delivered."""
    world.propose(world.alice, *operations, deliver=False)
    return world.alice.channel.signed


def told(side: Side, kind: type) -> list[n.Notice]:
    return [notice for notice in side.notices if isinstance(notice, kind)]


def messages(frames: list[bytes]) -> list[m.Message]:
    return [decode(frame[4:]) for frame in frames]


@pytest.fixture
def wide() -> Joined:
    """Half a window of eight is four."""
    made = Joined(window=8)
    made.fund(10_000, 10_000)
    return made


def accepted(outputs: list[Output]) -> list[int]:
    """The versions of the Accepts among outputs, which hold no other message."""
    sent = [made.effect.message for made in outputs if isinstance(made, Routed) and isinstance(made.effect, Send)]
    assert all(isinstance(message, m.Accept) for message in sent)
    return [message.version for message in sent]  # type: ignore[union-attr]


def test_what_arrives_together_is_agreed_on_one_signature(wide: Joined) -> None:
    world = wide
    versions = [propose(world, Mark()) for _ in range(4)]
    assert world.alice.channel.in_flight == tuple(versions) == (2, 3, 4, 5)
    assert waiting_for(world.alice.channel) == "the peer's answer to version 2, and up to 5"
    world.deliver(world.bob, 4)
    assert [type(said) for said in messages(list(world.alice.transit))] == [m.Accept]
    assert sorted(world.bob.signed) == [1, 5]
    world.settle()
    assert world.agreed.version == 5
    assert world.alice.channel.outstanding == ()
    assert world.alice.channel.phase is Phase.OPEN
    for side in world.sides:
        update = told(side, n.Updated)[-1]
        assert (update.versions, update.operations) == ((2, 3, 4, 5), (Mark(),))  # type: ignore[union-attr]
        assert side.store.records(world.id)[-1] == r.StateAgreed(world.agreed, (Mark(),))
        assert durable(replayed(side)) == durable(side.channel)


def test_half_a_window_is_answered_while_the_other_half_is_judged(wide: Joined) -> None:
    for _ in range(7):
        propose(wide, Mark())
    session = wide.bob.session
    assert session is not None
    outputs = session.receive_data(b"".join(wide.bob.transit), NOW, more=True)
    assert (accepted(outputs), session.unanswered) == ([5], 3)
    assert accepted(session.receive_data(b"", NOW)) == [8]


def test_what_arrives_piece_by_piece_is_agreed_on_one_signature(wide: Joined) -> None:
    """Whoever reads says whether there may be more: until there is not, the answer waits, and so does nothing else."""
    for _ in range(3):
        propose(wide, Mark())
    bob = wide.bob
    assert bob.session is not None
    for count, piece in enumerate(list(bob.transit), 1):
        assert bob.session.receive_data(piece, NOW, more=True) == []
        assert bob.session.unanswered == count
    outputs = bob.session.receive_data(b"", NOW)
    assert bob.session.unanswered == 0
    assert accepted(outputs) == [4]
    assert bob.session.receive_data(b"", NOW) == []


def test_no_peer_puts_its_answer_off_by_saying_more(world: Joined) -> None:
    """Half a window is answered, whatever comes behind it; what was sent before our answer could be heard counts."""
    session, alice = world.bob.session, world.alice
    assert session is not None
    for _ in range(4):
        propose(world, Mark())
    last = alice.channel.outstanding[-1]
    more = m.Propose(world.id, last.version + 1, (Mark(),), bytes(32), last.half.signature, last.version)
    outputs = session.receive_data(b"".join([*world.bob.transit, Session.to_bytes(more)]), NOW, more=True)
    assert accepted(outputs) == [3, 5], "what was right before it is answered"
    assert isinstance(outputs[-1], Hangup)
    assert isinstance(outputs[-1].error, RemoteProtocolError)
    assert outputs[-1].error.violation.code == WindowFull.code


def test_terms_that_come_again_make_no_window_wider(world: Joined) -> None:
    """Mallory says the terms again behind each proposal: it is answered, which she cannot have heard yet."""
    for _ in range(4):
        propose(world, Mark())
    last = world.alice.channel.outstanding[-1]
    more = m.Propose(world.id, last.version + 1, (Mark(),), bytes(32), last.half.signature, last.version)
    again = Session.to_bytes(m.Open(DEPLOYMENT, TERMS))
    said = b"".join(frame + again for frame in (*world.bob.transit, Session.to_bytes(more)))
    world.bob.transit.clear()
    outputs = world.feed(world.bob, said)
    assert isinstance(outputs[-1], Hangup)
    assert isinstance(outputs[-1].error, RemoteProtocolError)
    assert outputs[-1].error.violation.code == WindowFull.code


def test_a_new_connection_finds_nothing_half_judged(world: Joined) -> None:
    """What the old one brought and did not answer yet is answered before the peer's Resume is heard."""
    propose(world, Mark())
    bob = world.bob
    assert bob.session is not None
    assert bob.session.receive_data(bob.transit[0], NOW, more=True) == []
    world.reconnect()
    assert (bob.channel.unanswered, world.agreed.version) == ((), 2)
    assert world.alice.channel.in_flight == ()


def test_each_proposal_stands_on_the_one_before(world: Joined) -> None:
    world.confirm(f.DepositSeen(Party.ZERO, 11_000 * UNIT))
    propose(world, Acknowledge((11_000 * UNIT, 10_000 * UNIT), (0, 0)))
    trade = world.trade([CALL], premium=50)
    propose(world, trade)
    legs = world.alice.channel.tip[1].legs
    assert legs == (CALL,)
    assert world.alice.channel.book.legs == ()
    propose(world, Mark(world.view(legs, NOW)))  # type: ignore[arg-type]
    assert [said.base for said in messages(list(world.bob.transit))] == [1, 2, 3]  # type: ignore[union-attr]
    world.settle()
    assert world.agreed.state.balances == (10_950 * UNIT, 10_050 * UNIT)
    assert world.agreed.version == 4


def test_a_refusal_in_the_window_kills_what_stands_on_it_and_nothing_else(world: Joined) -> None:
    world.bob.seat.market = lambda legs, now: None
    propose(world, Mark())
    propose(world, world.trade([CALL], premium=50))
    propose(world, Mark(world.view((CALL,), NOW)))  # type: ignore[arg-type]
    world.settle()
    assert world.agreed.version == 2
    channel = world.alice.channel
    assert channel.in_flight == ()
    assert [out.version for out in channel.outstanding] == [3, 4], "half-signed is not forgotten"
    refused = told(world.alice, n.PeerRefused)
    assert [(notice.version, notice.code) for notice in refused] == [  # type: ignore[union-attr]
        (3, "mark: refused"),
        (4, "proposal: base refused"),
    ]
    assert channel.seen <= channel.signed == 4
    assert durable(replayed(world.alice)) == durable(channel)
    propose(world, Mark())
    world.settle()
    assert world.agreed.version == 5
    assert world.alice.channel.outstanding == ()


def test_what_was_killed_may_be_completed_all_the_same(world: Joined) -> None:
    """A refusal takes nothing back: the peer holds our signature until a higher version is agreed."""
    propose(world, Mark())
    killed = propose(world, Mark())
    state = world.alice.channel.halves[killed].half.state
    world.say(world.alice, m.Reject(world.id, 2, "no", "no"))
    assert world.alice.channel.in_flight == ()
    world.say(world.alice, m.Accept(world.id, killed, bob.signer.sign(state_digest(DEPLOYMENT, state))))
    assert world.alice.channel.version == killed
    assert told(world.alice, n.Updated)[-1].versions == (2, 3)  # type: ignore[union-attr]


def test_the_smaller_window_counts_and_is_full_where_it_says(world: Joined) -> None:
    world.windows[Party.ONE] = 3
    world.reconnect()
    for _ in range(3):
        propose(world, Mark())
    with pytest.raises(WindowFull):
        propose(world, Mark())
    world.settle()
    assert world.agreed.version == 4


def test_more_operations_than_a_record_holds_are_not_in_flight(world: Joined) -> None:
    marks = (Mark(),) * 16
    for _ in range(4):
        propose(world, *marks)
    with pytest.raises(WindowFull):
        propose(world, Mark())
    world.deliver(world.bob, 4)
    assert world.bob.channel.agreed_version == 5
    assert durable(replayed(world.bob)) == durable(world.bob.channel)


def test_a_window_that_shrinks_gives_up_what_it_has_no_room_for(world: Joined) -> None:
    for _ in range(4):
        propose(world, Mark())
    world.windows[Party.ONE] = 1
    world.reconnect()
    assert world.agreed.version == 2
    assert world.alice.channel.in_flight == ()
    assert [notice.version for notice in told(world.alice, n.PeerRefused)] == [3, 4, 5]  # type: ignore[union-attr]


def test_a_lost_window_comes_again_byte_for_byte(world: Joined) -> None:
    for _ in range(3):
        propose(world, Mark())
    sent = list(world.bob.transit)
    world.restart(world.alice)
    assert world.alice.channel.in_flight == (2, 3, 4)
    world.connect()
    world.deliver(world.alice, 9)
    assert list(world.bob.transit)[-3:] == sent
    world.settle()
    assert world.agreed.version == 4


def test_a_peer_that_floods_the_window_is_cut_off_after_what_was_right(world: Joined) -> None:
    world.alice.seat.window = 9
    for _ in range(5):
        propose(world, Mark())
    world.deliver(world.bob, 5)
    assert world.bob.hangups[-1].error.violation.code == "proposal: window full"  # type: ignore[union-attr]
    assert world.bob.channel.version == 5
    assert not world.bob.channel.unanswered


def test_a_proposal_on_an_unknown_base_is_refused_not_fatal(world: Joined) -> None:
    world.say(world.bob, m.Propose(world.id, 9, (Mark(),), bytes(32), bytes(65), 8))
    assert world.connected
    assert [said.code for said in messages(list(world.alice.transit))] == ["proposal: base refused"]  # type: ignore[union-attr]
    assert world.bob.channel.signed == 1


@pytest.mark.parametrize("window", [0, 2**63])
def test_a_peer_may_ask_for_any_window_but_none(window: int) -> None:
    world = Joined(opened=False)
    world.windows[Party.ONE] = window
    if window:
        world.connect()
        world.open(world.alice)
        world.settle()
        assert world.alice.seat.window == world.bob.seat.window == m.WINDOW
    else:
        with pytest.raises(AssertionError):
            world.connect()
            assert not world.alice.hangups


def test_a_close_stands_on_nothing_that_is_in_flight(world: Joined) -> None:
    propose(world, Mark())
    with pytest.raises(IntentInvalid, match="in flight"):
        propose(world, Close(0, NOW + 600))
    world.settle()
    propose(world, Close(0, NOW + 600))
    world.settle()
    assert world.bob.channel.closing is not None


@pytest.mark.parametrize("together", [True, False])
def test_nothing_is_agreed_above_a_close_that_waits_for_its_answer(world: Joined, together: bool) -> None:
    """However the two are read: else a close that the owner agreed to would leave the channel open."""
    propose(world, Close(0, NOW + 600))
    close = world.alice.channel.outstanding[-1].half.state
    above = replace(close, version=close.version + 1, intent=Intent.OPERATE, valid_until=0)
    signature = alice.signer.sign(state_digest(DEPLOYMENT, above))
    more = Session.to_bytes(m.Propose(world.id, above.version, (Mark(),), bytes(32), signature, close.version))
    session, frames = world.bob.session, [*world.bob.transit, more]
    assert session is not None
    pieces = [b"".join(frames)] if together else frames
    sent = [
        made.effect.message
        for piece in pieces
        for made in session.receive_data(piece, NOW)
        if isinstance(made, Routed) and isinstance(made.effect, Send)
    ]
    assert {(type(message), message.version) for message in sent} == {  # type: ignore[union-attr]
        (m.Accept, close.version),
        (m.Reject, above.version),
    }
    assert next(message.code for message in sent if isinstance(message, m.Reject)) == SigningBarred.code
    channel = world.bob.channel
    assert channel.closing is not None
    assert (channel.closing.state, channel.agreed_version) == (close, close.version - 1)


def test_one_option_is_outstanding_at_a_time_however_many_facts_are(world: Joined) -> None:
    propose(world, Mark())
    propose(world, Withdraw(UNIT))
    with pytest.raises(OutstandingProposal):
        propose(world, Withdraw(UNIT))
    propose(world, Mark())
    world.settle()
    assert world.agreed.version == 4


def test_many_trades_need_margin_for_where_they_lead_not_for_the_way(world: Joined) -> None:
    """Only the last state is ever signed: what no one can enforce needs no margin."""
    naked = world.trade([CALL.times(-150)], premium=-9_000)
    with pytest.raises(MarginShortfall):
        propose(world, naked)
    bought = (CALL.times(149),)
    after = net((CALL.times(-150),), bought)
    propose(world, naked, Trade(bought, 8_940 * UNIT, world.view(after, NOW)))  # type: ignore[arg-type]
    world.settle()
    assert world.agreed.book.legs == (CALL.times(-1),)


def test_a_breach_that_is_in_flight_counts_for_what_stands_on_it(world: Joined) -> None:
    """The premium would restore initial margin, but below maintenance one only reduces: also below marks in flight."""
    world.propose(world.alice, world.trade([CALL.times(-20)]))
    world.spot = str(2300 * 112 // 100)
    propose(world, world.mark())
    with pytest.raises(ReduceOnly):
        propose(world, Trade((CALL.times(-1),), -9_000 * UNIT, world.mark().marks))
    world.settle()


def test_an_older_journal_kept_no_refusals_and_its_last_proposal_stands_on_the_agreed_state(world: Joined) -> None:
    world.confirm(f.DepositSeen(Party.ZERO, 11_000 * UNIT), to=[world.alice])
    propose(world, Acknowledge((11_000 * UNIT, 10_000 * UNIT), (0, 0)))
    world.settle()
    assert world.alice.channel.in_flight == ()
    propose(world, Mark())
    older = [record for record in world.alice.store.records(world.id) if not isinstance(record, r.ProposalsKilled)]
    channel = replay(older, DEFAULT_POLICY, MARK_POLICY)
    assert channel.in_flight == (3,)
    assert channel.halves[3].base == 1
    assert durable(channel) == durable(world.alice.channel)


def test_nothing_is_proposed_on_a_connection_before_the_peer_has_resumed(world: Joined) -> None:
    """Else it would come twice: Resume sends again whatever is in flight."""
    world.connect()
    propose(world, Mark())
    assert not any(isinstance(said, m.Propose) for said in messages(list(world.bob.transit)))
    world.settle()
    assert world.agreed.version == 2
    assert world.alice.again == 0


# The turn


def test_an_owner_who_still_needs_the_turn_uses_it_once_and_passes_it_on(world: Joined) -> None:
    world.act(world.alice, e.TurnNeeded())
    propose(world, Mark())
    world.act(world.bob, e.TurnNeeded())
    world.settle()
    assert world.alice.channel.my_turn, "it was asked for in the meantime, and not used since"
    propose(world, Mark())
    world.settle()
    assert world.bob.channel.my_turn
    assert world.bob.channel.turn_wanted, "who passed it on and needs it asks for it again"


def test_no_more_than_a_window_is_proposed_while_the_peer_waits(world: Joined) -> None:
    world.act(world.alice, e.TurnNeeded())
    propose(world, Mark())
    world.say(world.alice, m.WantTurn(world.id))
    for _ in range(3):
        propose(world, Mark())
    world.deliver(world.bob, 1)
    world.deliver(world.alice)
    assert world.alice.channel.in_flight == (3, 4, 5)
    propose(world, Mark())
    world.deliver(world.bob, 1)
    world.deliver(world.alice)
    with pytest.raises(TurnPromised):
        propose(world, Mark())
    world.act(world.bob, e.TurnNeeded())
    world.settle()
    assert world.bob.channel.my_turn


def test_a_turn_that_goes_to_and_fro_for_nothing_ends_the_connection_not_the_disk(world: Joined) -> None:
    before = len(world.bob.store.records(world.id))
    for turn in range(1, 5_000, 2):
        world.feed(world.bob, Session.to_bytes(m.PassTurn(world.id, turn)) + Session.to_bytes(m.WantTurn(world.id)))
        if world.bob.hangups:
            break
    assert world.bob.hangups[-1].error.violation.code == "turn: wasted"  # type: ignore[union-attr]
    assert len(world.bob.store.records(world.id)) - before <= 1_024
    assert world.bob.channel.turn <= 1_024
