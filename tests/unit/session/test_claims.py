"""Marks that the peer says it signed: looked at when they are answered, and by the last signature alone.

Mallory has Alice's key and sits at her end of the line; what she signs badly is what she takes care never to need.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from channels.core import events as e, facts as f, notices as n, records as r
from channels.core.phases import Phase
from channels.errors import BadSignature, InvariantBroken, RemoteProtocolError, RuleViolation
from channels.model import Acknowledge, Claimed, HalfSigned, Leg, Party, Trade
from channels.seal import check_agreed
from channels.session import Hangup, Routed, Session
from channels.units import WAD
from channels.wire import messages as m
from channels.wire.codec import decode
from tests.roles import DEPLOYMENT, ETH, EXPIRY, NOW, TERMS, UNIT
from tests.sansio import Joined, durable, fresh, replayed

CALL = Leg.call(ETH, EXPIRY, 2400, quantity=1)
JUNK = bytes(64) + b"\x1b"


@pytest.fixture
def world() -> Joined:
    """Ten thousand each, a call between them, and room for eight proposals."""
    made = Joined(window=8)
    made.fund(10_000, 10_000)
    made.propose(made.alice, made.trade((CALL,)))
    return made


def proposals(world: Joined, count: int) -> list[m.Propose]:
    """What Alice says when she proposes so many marks; none of it is on its way."""
    for at in range(count):
        world.spot = f"23{at:02}"
        world.propose(world.alice, world.mark(), deliver=False)
    said = [decode(frame[4:]) for frame in world.bob.transit]
    world.bob.transit.clear()
    return [message for message in said if isinstance(message, m.Propose)]


def unsigned(message: m.Propose, signature: bytes = JUNK) -> m.Propose:
    return replace(message, signature=signature)


def hear(world: Joined, *messages: m.Message, more: bool = False) -> list[Any]:
    """Let Bob read all of it at once."""
    return world.feed(world.bob, b"".join(map(Session.to_bytes, messages)), more=more)


def ended_by(outputs: list[Any], kind: type[RuleViolation]) -> bool:
    last = outputs[-1] if outputs else None
    error = last.error if isinstance(last, Hangup) else None
    return isinstance(error, RemoteProtocolError) and isinstance(error.violation, kind)


def test_a_signature_that_nothing_hangs_on_is_not_looked_at(world: Joined) -> None:
    """Version 3 and 4 are never agreed by themselves: what both signed is 5, and it is what the adjudicator takes."""
    first, second, third = proposals(world, 3)
    hear(world, unsigned(first), unsigned(second), third)
    world.settle()
    assert world.agreed.version == third.version
    check_agreed(DEPLOYMENT, TERMS, world.agreed)
    assert sorted(world.bob.signed)[-1] == third.version
    assert first.version not in world.bob.signed
    assert world.bob.channel.seen == third.version
    assert not world.bob.hangups
    for side in world.sides:
        assert durable(replayed(side)) == durable(side.channel)
        assert [notice.versions for notice in side.notices if isinstance(notice, n.Updated)][-1] == (3, 4, 5)


def test_what_was_signed_is_answered_and_what_was_not_ends_it(world: Joined) -> None:
    first, second, third = proposals(world, 3)
    before = dict(world.bob.signed)
    outputs = hear(world, first, unsigned(second), unsigned(third))
    assert ended_by(outputs, BadSignature)
    assert world.bob.signed.keys() - before.keys() == {first.version}
    agreed = world.bob.store.records(world.id)[-1]
    assert isinstance(agreed, r.StateAgreed)
    assert agreed.operations == first.operations, "of what was agreed, and of nothing that was not"
    assert [notice.versions for notice in world.bob.notices if isinstance(notice, n.Updated)][-1] == (first.version,)
    assert (world.bob.channel.version, world.bob.channel.unanswered) == (first.version, ())
    check_agreed(DEPLOYMENT, TERMS, world.bob.channel.agreed)  # type: ignore[arg-type]
    world.reconnect()
    assert world.agreed.version == third.version, "Alice says again what she did sign"


@pytest.mark.parametrize("count", [1, 3])
def test_where_nothing_was_signed_nothing_is_answered(world: Joined, count: int) -> None:
    said = proposals(world, count)
    signed, written = dict(world.bob.signed), world.bob.store.records(world.id)
    assert ended_by(hear(world, *map(unsigned, said)), BadSignature)
    assert (world.bob.signed, world.bob.store.records(world.id)) == (signed, written)
    assert world.bob.channel.unanswered == ()
    assert world.bob.channel.phase is Phase.OPEN


def test_another_states_signature_is_no_claim_to_this_one(world: Joined) -> None:
    first, second = proposals(world, 2)
    outputs = hear(world, first, unsigned(second, first.signature))
    assert ended_by(outputs, BadSignature)
    assert world.bob.channel.version == first.version


def test_the_answer_put_off_finds_it_as_well(world: Joined) -> None:
    """Read piece by piece, or half a window at once: the claim is looked at wherever the answer is made."""
    said = proposals(world, 4)
    assert hear(world, said[0], unsigned(said[1]), more=True) == []
    assert [type(judged.half) for judged in world.bob.channel.unanswered] == [Claimed, Claimed]
    outputs = hear(world, unsigned(said[2]), unsigned(said[3]), more=True)  # half of eight
    assert ended_by(outputs, BadSignature)
    assert world.bob.channel.version == said[0].version


def test_our_own_step_answers_and_the_next_read_ends_it(world: Joined) -> None:
    """What our node does by itself answers first, too; there is no connection at hand to end, so the session does."""
    first, second = proposals(world, 2)
    hear(world, first, unsigned(second), more=True)
    world.act(world.bob, e.TurnNeeded())
    assert (world.bob.channel.version, world.bob.channel.unanswered) == (first.version, ())
    assert world.bob.session is not None
    outputs = world.bob.session.receive_data(b"", NOW)
    assert ended_by(outputs, BadSignature)


def test_an_earlier_connections_forgery_is_not_the_next_ones(world: Joined) -> None:
    first, second = proposals(world, 2)
    hear(world, first, unsigned(second), more=True)
    assert world.bob.session is not None
    world.bob.session = None  # gone without a last word, as under a connection that takes over
    world.reconnect()
    assert world.agreed.version == second.version
    assert world.bob.session is not None
    assert not world.bob.hangups


def test_marks_beside_another_fact_are_no_claim(world: Joined) -> None:
    """Amounts move with it: the state is made, and the signature checked, where it arrives."""
    totals = (10_000 * UNIT, 11_000 * UNIT)
    world.confirm(f.DepositSeen(Party.ONE, totals[1]))
    world.propose(world.alice, Acknowledge(totals, (0, 0)), world.mark(), deliver=False)
    (said,) = [decode(frame[4:]) for frame in world.bob.transit]
    assert isinstance(said, m.Propose)
    assert hear(world, said, more=True) == []
    assert isinstance(world.bob.channel.unanswered[-1].half, HalfSigned)
    assert world.bob.session is not None
    world.bob.session.receive_data(b"", NOW)
    assert world.bob.channel.base[0].deposits == totals  # type: ignore[union-attr]


def test_marks_stand_on_the_amounts_that_were_proposed_before_them(world: Joined) -> None:
    """Read together: an acknowledgement, whose state is made at once, and marks on it, whose state is made at last."""
    totals = (10_000 * UNIT, 11_000 * UNIT)
    world.confirm(f.DepositSeen(Party.ONE, totals[1]))
    world.propose(world.alice, Acknowledge(totals, (0, 0)), deliver=False)
    for spot in ("2301", "2302"):
        world.spot = spot
        world.propose(world.alice, world.mark(), deliver=False)
    world.deliver(world.bob, 3)
    world.settle()
    assert (world.agreed.version, world.agreed.state.deposits) == (5, totals)
    assert not world.bob.hangups


def test_a_dip_between_two_claims_is_told_alike_on_both_sides(world: Joined) -> None:
    """Nobody ever signs the state in the middle twice, or looks at its signature: it is judged all the same."""
    world.propose(world.bob, world.trade((CALL.times(-20),)))
    world.bob.seat.channel = replace(world.bob.channel, mark_policy=replace(world.bob.channel.mark_policy, spot=WAD))
    for side in world.sides:
        side.notices.clear()
    world.turn_to(world.alice)
    for spot in ("2310", "2990", "2320"):
        world.spot = spot
        world.propose(world.alice, world.mark(), deliver=False)
    world.spot = "2310"
    world.deliver(world.bob, 3)
    world.settle()
    kinds = n.BelowMaintenance | n.MarginRestored
    told = [[notice for notice in side.notices if isinstance(notice, kinds)] for side in world.sides]
    assert told[0] == told[1]
    versions = [notice.version for notice in told[0]]
    assert [type(notice) for notice in told[0]] == [n.BelowMaintenance, n.MarginRestored]
    assert versions == [world.agreed.version - 1, world.agreed.version]


def test_terms_that_come_again_find_a_forgery_as_well(world: Joined) -> None:
    first, second = proposals(world, 2)
    assert hear(world, first, unsigned(second), more=True) == []
    assert ended_by(hear(world, m.Open(DEPLOYMENT, TERMS), more=True), BadSignature)
    assert world.bob.channel.version == first.version


def test_an_earlier_connection_answers_nothing_of_the_next_one(world: Joined) -> None:
    """It winds up late: what the new connection brought is its own to answer, and a forgery there its own end."""
    first, second = proposals(world, 2)
    hear(world, first, second, more=True)
    earlier = world.bob.session
    assert earlier is not None
    world.bob.session = None
    world.reconnect()
    (third,) = proposals(world, 1)
    assert hear(world, unsigned(third), more=True) == []
    assert earlier.receive_data(b"", NOW) == []
    assert len(world.bob.channel.unanswered) == 1
    assert world.bob.session is not None
    assert ended_by(world.bob.session.receive_data(b"", NOW), BadSignature)


def test_a_claimed_version_is_nobodys_until_it_is_verified(world: Joined) -> None:
    """A version that nobody signed raises nothing that we say or sign."""
    (said,) = proposals(world, 1)
    far = replace(unsigned(said), version=said.version + 60_000)
    assert ended_by(hear(world, far), BadSignature)
    assert world.bob.channel.seen < far.version
    assert world.bob.channel.unanswered == ()
    world.reconnect()
    assert world.agreed.version == said.version
    assert world.bob.channel.seen == said.version


def test_a_deal_is_looked_at_where_it_arrives(world: Joined) -> None:
    """The owner's word is asked for what the peer did sign, and for nothing else."""
    (mark,) = proposals(world, 1)
    asked: list[object] = []
    world.bob.seat.deal = asked.append
    trade = Trade((CALL,), 5 * UNIT, world.alice.channel.tip[1].marks)
    forged = m.Propose(world.id, mark.version + 1, (trade,), fresh(), JUNK, mark.version)
    assert ended_by(hear(world, mark, forged), BadSignature)
    assert asked == []
    assert world.bob.channel.version == mark.version, "what came before it is answered"


@pytest.mark.parametrize("order", [1, -1])
def test_a_forgery_in_one_channel_leaves_the_other_answered(world: Joined, order: int) -> None:
    """One connection, two channels: the second one's mark was signed, and is agreed although the connection ends."""
    other = Joined(replace(TERMS, salt=bytes(31) + b"\x02"), window=8)
    other.fund(10_000, 10_000)
    (good,) = proposals(other, 1)
    (bad,) = proposals(world, 1)
    session, id = world.bob.session, other.id
    assert session is not None
    world.bob.seats[id] = other.bob.seat
    said = map(Session.to_bytes, (good, unsigned(bad))[::order])
    outputs = session.receive_data(b"".join(said), NOW)
    assert ended_by(outputs, BadSignature)
    assert {made.channel for made in outputs if isinstance(made, Routed)} == {id}
    assert other.bob.channel.version == good.version


def test_an_answer_is_to_a_proposal_that_was_judged(world: Joined) -> None:
    first, second = proposals(world, 2)
    hear(world, first, second, more=True)
    bob = world.bob
    assert bob.seat.channel.agreed is not None
    stray = HalfSigned(bob.seat.channel.agreed.state, bob.seat.channel.agreed.book, Party.ZERO, JUNK)
    later = replace(bob.seat.channel.unanswered[-1].half.state, version=99)
    with pytest.raises(InvariantBroken):
        bob.seat.act(e.AnswerDue(HalfSigned(later, bob.seat.channel.unanswered[-1].half.book, Party.ZERO, JUNK)))
    assert bob.seat.act(e.AnswerDue(stray)) == [], "below all of them: nothing is left to answer"
