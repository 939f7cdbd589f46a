"""What two honest sides must survive: late news, lost messages, refusals that turn around, a clock that is ahead."""

from __future__ import annotations

from dataclasses import replace

import pytest

from channels.core import events as e, facts as f
from channels.core.machine import replay
from channels.core.notices import Updated
from channels.core.phases import Phase
from channels.errors import InvariantBroken, OutstandingProposal, SigningSuspended, TermsRefused
from channels.model import Acknowledge, Agreed, Close, Leg, Mark, Marks, Party, Reopen, Trade, Withdraw
from channels.risk import DEFAULT_POLICY
from channels.seal import state_digest
from channels.session import Hangup, OpeningRefused, Reply, Session
from channels.wire import messages as m
from tests.roles import DEPLOYMENT, ETH, EXPIRY, HOUR, NOW, TERMS, UNIT, alice, bob, condor
from tests.sansio import Joined, durable, fresh, kinds, replayed


@pytest.fixture
def world() -> Joined:
    made = Joined()
    made.fund(10_000, 10_000)
    return made


def refused_codes(world: Joined) -> list[str]:
    return [n.code for side in world.sides for n in side.notices if hasattr(n, "code")]


def test_a_refused_version_stays_refused(world: Joined) -> None:
    """Bob refuses; the same proposal comes again when he would take it: two answers would leave us with two futures."""
    world.confirm(f.DepositSeen(Party.ZERO, 11_000 * UNIT), to=[world.alice])
    world.propose(world.alice, Acknowledge((11_000 * UNIT, 10_000 * UNIT), (0, 0)), deliver=False)
    proposal = world.bob.transit[0]
    world.settle()
    assert refused_codes(world)[-1] == "acknowledge: not confirmed"
    world.confirm(f.DepositSeen(Party.ZERO, 11_000 * UNIT), to=[world.bob])
    world.propose(world.alice, Mark(), deliver=False)
    world.bob.transit.appendleft(proposal)
    world.settle()
    assert world.connected
    assert world.agreed.version == 3
    assert world.alice.channel.phase is Phase.OPEN


def test_an_expired_close_is_no_proof_of_data_loss(world: Joined) -> None:
    """Alice's clock is past the close, Bob's is not: what he resumes with is still something she signed herself."""
    world.propose(world.alice, Close(0, NOW + 60))
    world.act(world.alice, e.BlockConfirmed(NOW + 61))
    world.reconnect()
    assert not world.alice.channel.frozen
    world.act(world.bob, e.BlockConfirmed(NOW + 61))
    world.now = NOW + 61
    world.propose(world.alice, Mark())
    assert world.agreed.version == 3


def test_an_expired_close_is_no_proof_of_data_loss_after_a_restart(world: Joined) -> None:
    """Bob's node restarts and connects before it has looked at the chain's clock."""
    world.propose(world.bob, Close(0, NOW + 60))
    world.block(NOW + 61)
    world.now = NOW + 61
    world.propose(world.bob, Mark())
    world.restart(world.bob)
    world.reconnect()
    assert not world.alice.channel.frozen
    assert not world.bob.channel.frozen


def test_two_states_under_one_version_freeze_the_journal(world: Joined) -> None:
    """Our own signature over another state of a version we hold: this key signs in two places, so it must stop here."""
    ours = world.agreed
    other = replace(ours.state, balances=(ours.state.balances[0] - 1, ours.state.balances[1] + 1))
    digest = state_digest(DEPLOYMENT, other)
    shown = Agreed(other, ours.book, (alice.signer.sign(digest), bob.signer.sign(digest)))
    world.say(world.alice, m.Resume(world.id, world.alice.channel.turn, shown.version, shown))
    assert world.alice.channel.frozen
    world.reconnect()
    with pytest.raises(SigningSuspended):
        world.alice.seat.propose((Mark(),), fresh(), NOW)
    world.restart(world.alice)
    with pytest.raises(SigningSuspended):
        world.alice.seat.propose((Mark(),), fresh(), NOW)


def test_several_trades_are_agreed_on_one_signature(world: Joined) -> None:
    """Each trade carries marks of its own book; only the last book is one that anybody will hold."""
    first = (Leg.call(ETH, EXPIRY, 2400, quantity=1),)
    second = (Leg.call(ETH, EXPIRY, 2500, quantity=1),)
    one = world.trade(first)
    both = tuple(sorted(first + second, key=lambda leg: leg.key))
    two = Trade(second, 0, world.view(both, NOW))  # type: ignore[arg-type]
    world.propose(world.alice, one, two)
    assert world.agreed.version == 2
    assert world.agreed.book.legs == both
    assert [n.operations for n in world.bob.notices if isinstance(n, Updated)][-1] == (one, two)


def test_a_trade_with_a_withdrawal_is_refused_not_fatal(world: Joined) -> None:
    """Two options in one signature: either could be what the peer completes it for."""
    trade = world.trade((Leg.call(ETH, EXPIRY, 2400, quantity=1),))
    with pytest.raises(OutstandingProposal):
        world.propose(world.alice, trade, Withdraw(UNIT))
    world.carry(world.alice, _sign_anyway(world, trade, Withdraw(UNIT)))
    world.settle()
    assert refused_codes(world)[-1] == "proposal: outstanding"
    assert world.connected
    assert world.bob.channel.version == 1


def _sign_anyway(world: Joined, *operations):  # type: ignore[no-untyped-def]
    """What a side without rules of its own would say."""
    from channels.core import rules

    kept, rules.judge = rules.judge, lambda *args, **kwargs: None
    try:
        return world.alice.seat.propose(operations, fresh(), world.now)
    finally:
        rules.judge = kept


def test_marks_then_settlement_in_one_proposal(world: Joined) -> None:
    """New marks for all legs, then one expiry settles: Bob judges the marks of what is left."""
    world.propose(world.alice, world.trade((*condor(), Leg.call(ETH, EXPIRY + 7 * 86_400, 2500, quantity=1))))
    world.block(EXPIRY + 10)
    world.confirm(f.SettlementSeen(ETH, EXPIRY, 2_300 * 10**18))
    from channels.model import SettleExpiry

    world.propose(world.alice, world.mark(), SettleExpiry(ETH, EXPIRY, 2_300 * 10**18))
    assert len(world.agreed.book.legs) == 1
    assert world.agreed.version == 3


def test_a_market_that_lacks_an_underlying_refuses_and_stays_connected(world: Joined) -> None:
    """Marks.at says what it lacks with an error: that is no fault of the peer's connection."""

    def only_eth(legs: tuple[Leg, ...], now: int) -> Marks:
        return Marks.at(now, spots={ETH: world.spot}, vols=dict.fromkeys(legs, world.vol))

    world.bob.seat.market = only_eth
    world.propose(world.alice, world.trade((Leg.call("BTC/USD", EXPIRY, 2400, quantity=1),)))
    assert refused_codes(world)[-1] == "mark: refused"
    assert world.connected


def test_a_market_that_fails_refuses_and_stays_connected(world: Joined) -> None:
    """The owner's market is the owner's code: its bugs are not the peer's."""

    def broken(legs: tuple[Leg, ...], now: int) -> Marks:
        raise KeyError("BTC/USD")

    world.bob.seat.market = broken
    world.carry(world.alice, world.alice.seat.propose((world.trade(condor()),), fresh(), NOW))
    data = b"".join(world.bob.transit)
    world.bob.transit.clear()
    outputs = world.feed(world.bob, data)
    assert isinstance(outputs[-1], Hangup)
    assert isinstance(outputs[-1].error, InvariantBroken)
    assert world.bob.channel.version == 1


def test_a_bug_loses_nothing_that_was_said_rightly_before(world: Joined) -> None:
    """Two proposals in one read, the second one hits a bug: what the first one led to is still journalled."""
    world.carry(world.alice, world.alice.seat.propose((Mark(),), fresh(), NOW))
    first = world.bob.transit.popleft()
    fail = Session.to_bytes(m.PassTurn(world.id, 1))
    seat = world.bob.seat
    healthy = seat.receive

    def receive(message: m.ChannelMessage, now: int):  # type: ignore[no-untyped-def]
        if isinstance(message, m.PassTurn):
            raise ZeroDivisionError
        return healthy(message, now)

    class Broken(type(seat)):  # type: ignore[misc]
        __slots__ = ()

    object.__setattr__(seat, "receive", receive)
    world.feed(world.bob, first + fail)
    assert durable(world.bob.channel) == durable(
        replay(world.bob.store.records(world.id), DEFAULT_POLICY, world.bob.channel.mark_policy)
    )
    assert world.bob.channel.version == 2


def test_acceptance_said_twice_changes_nothing_while_a_proposal_waits(world: Joined) -> None:
    world.carry(world.alice, world.alice.seat.propose((Mark(),), fresh(), NOW))
    assert world.alice.channel.phase is Phase.PROPOSED
    world.say(world.alice, m.OpenAccepted(world.id))
    assert world.connected
    world.settle()
    assert world.agreed.version == 2


def test_resume_proves_that_the_peer_opened_too() -> None:
    """Bob's acceptance is lost, and he holds no turn: what he says next must not be an error."""
    world = Joined(opened=False)
    world.connect()
    world.open(world.alice)
    world.deliver(world.bob)
    assert world.bob.channel.accepted
    world.drop()
    world.connect()
    while world.alice.transit:
        world.deliver(world.alice)
    assert world.alice.channel.phase is Phase.OPEN
    assert kinds(world.alice.notices)["ChannelOpened"] == 1
    world.settle()
    assert world.connected
    assert kinds(world.alice.notices)["ChannelOpened"] == 1


def test_a_proposal_for_a_closed_channel_is_refused_not_fatal(world: Joined) -> None:
    """Bob has seen the close, Alice not yet: their other channels must not suffer."""
    world.confirm(f.ClosedSeen((10_000 * UNIT, 10_000 * UNIT)), to=[world.bob])
    world.propose(world.alice, Mark())
    assert world.connected
    assert refused_codes(world)[-1] == "session: unexpected message"
    assert world.bob.channel.signed == 1


def test_a_refused_opening_is_told_to_who_asked() -> None:
    world = Joined(opened=False)

    def refuse(*_: object):  # type: ignore[no-untyped-def]
        raise TermsRefused("not these")

    world.opener = lambda side: refuse  # type: ignore[method-assign,assignment]
    world.connect()
    outputs = world.say(world.bob, m.Open(DEPLOYMENT, TERMS))
    assert [type(output) for output in outputs] == [Reply]
    world.open(world.alice)
    world.alice.transit.clear()
    world.deliver(world.bob)
    told = world.deliver(world.alice)
    assert [(type(o), o.code) for o in told] == [(OpeningRefused, "terms: refused")]
    assert world.connected


def test_a_stale_dispute_is_answered_while_a_reopen_waits(world: Joined) -> None:
    """A REOPEN that is never mined must not keep the newest state from the adjudicator."""
    from channels.core import views

    stale = world.agreed.state
    world.propose(world.alice, Mark())
    world.confirm(f.RegisteredSeen(stale, NOW + HOUR))
    world.propose(world.alice, Reopen((0, 0), NOW + 600))
    found = views.duties(world.alice.channel)
    assert {type(duty) for duty in found} == {views.SubmitReopen, views.Answer}


def test_withdrawals_tried_twice_are_not_counted_twice(world: Joined) -> None:
    """Cumulative totals: the larger of two withdrawals can leave, never their sum."""
    world.bob.seat.channel = replace(world.bob.channel, frozen=1)
    world.propose(world.alice, Withdraw(6_000 * UNIT))
    world.bob.seat.channel = replace(world.bob.channel, frozen=0)
    world.propose(world.alice, Mark())
    world.propose(world.alice, Withdraw(6_000 * UNIT))
    assert world.agreed.state.withdrawals == (6_000 * UNIT, 0)


def test_a_turn_that_is_wanted_is_used_before_it_is_passed_back(world: Joined) -> None:
    """Both want to propose: Bob asks back in the same breath as he passes, and Alice's owner has not moved yet."""
    world.act(world.bob, e.TurnNeeded())
    world.settle()
    assert world.bob.channel.my_turn
    world.say(world.bob, m.WantTurn(world.id))
    assert world.bob.channel.my_turn
    world.carry(world.bob, world.bob.seat.propose((Mark(),), fresh(), NOW))
    world.act(world.bob, e.TurnSpared())
    world.settle()
    assert world.alice.channel.my_turn


def test_a_turn_asked_for_is_asked_again_on_the_next_connection(world: Joined) -> None:
    world.drop()
    world.act(world.bob, e.TurnNeeded())
    world.reconnect()
    assert world.bob.channel.my_turn


def test_a_turn_that_is_spared_goes_to_who_wants_it(world: Joined) -> None:
    world.act(world.alice, e.TurnNeeded())
    world.say(world.alice, m.WantTurn(world.id))
    assert world.alice.channel.my_turn
    world.act(world.alice, e.TurnSpared())
    world.settle()
    assert world.bob.channel.my_turn


def test_an_old_resume_is_old_news(world: Joined) -> None:
    """Two connections were made at once, and what Alice said on the one is read after what she said on the other."""
    turn = world.alice.channel.turn
    old = m.Resume(world.id, turn, world.alice.channel.signed, world.alice.channel.agreed)
    world.turn_to(world.bob)
    world.propose(world.bob, Mark())
    before = durable(world.bob.channel)
    world.say(world.bob, old)
    assert world.connected
    assert durable(world.bob.channel) == before
    assert world.bob.channel.turn == turn + 1


def test_a_proposal_before_the_openings_resume_goes_out_once() -> None:
    """Alice accepts and proposes at once; Bob's late Resume, which ends the opening, must not call it forth again."""
    world = Joined(opened=False)
    world.connect()
    world.open(world.bob)
    world.deliver(world.alice)
    assert world.alice.channel.accepted and not world.bob.channel.accepted
    for _ in range(2):
        world.propose(world.alice, Mark(), deliver=False)
    world.settle()
    assert world.connected
    assert world.alice.again == 0
    assert world.agreed.version == 2


def test_a_base_that_is_mined_but_not_seen_here_is_refused_as_barred(world: Joined) -> None:
    """The Reopen is confirmed for Alice, not yet for Bob, who may sign nothing above it: that is what he says."""
    registered = world.agreed.state
    world.confirm(f.RegisteredSeen(registered, NOW + HOUR))
    world.propose(world.alice, Reopen((0, 0), NOW + 600))
    assert world.alice.channel.closing is not None
    reopened = world.alice.channel.closing.state
    world.confirm(f.RegisteredSeen(reopened, 0), to=[world.alice])
    world.propose(world.alice, Mark())
    assert refused_codes(world)[-1] == "proposal: barred by a signed close"
    world.confirm(f.RegisteredSeen(reopened, 0), to=[world.bob])
    world.propose(world.alice, Mark())
    assert world.agreed.version == world.alice.channel.signed


def test_a_reopen_that_is_mined_before_its_answer_arrives_is_what_goes_on(world: Joined) -> None:
    """Bob's answer is lost and he registers the Reopen: for both it is the newest state, in whatever order they hear.

    A close that follows and expires must leave Alice where Bob is, and not before the dispute.
    """
    world.propose(world.alice, world.trade(condor()))
    world.confirm(f.RegisteredSeen(world.agreed.state, NOW + HOUR))
    world.propose(world.alice, Reopen((0, 0), NOW + 600), deliver=False)
    world.deliver(world.bob)
    assert world.bob.channel.closing is not None
    reopened = world.bob.channel.closing
    world.drop()
    world.confirm(f.RegisteredSeen(reopened.state, 0))
    world.reconnect()
    for side in world.sides:
        assert (side.channel.agreed, side.channel.closing) == (reopened, None)
    world.turn_to(world.bob)
    world.propose(world.bob, Close(0, NOW + 60))
    for side in world.sides:
        assert side.channel.closing is not None
        assert side.channel.base == (reopened.state, reopened.book)
        assert durable(replayed(side)) == durable(side.channel)
    world.block(NOW + 61)
    world.now = NOW + 61
    world.propose(world.bob, world.mark())
    assert world.agreed.version == world.bob.channel.signed
