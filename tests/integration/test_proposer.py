"""Many callers, one channel: what waits together is agreed together, and nobody pays for another's refusal."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest
import trio
import trio.testing

from channels.core import events as e
from channels.core.facts import RegisteredSeen
from channels.core.notices import Updated
from channels.errors import DealDeclined, MarginShortfall, PeerUnresponsive, ProposalRejected, SigningSuspended
from channels.model import Acknowledge, Leg, Mark, Marks, Operation
from channels.runtime.confirmation import Confirmation
from channels.runtime.proposer import Request, merged
from channels.session import Offer
from tests.pair import Pair, Side, opened_pair
from tests.roles import ETH, EXPIRY, UNIT

CALL = Leg.call(ETH, EXPIRY, 2400, quantity=1)


async def all_of(side: Side, wanted: list[Operation]) -> list[Confirmation | Exception]:
    """Propose all of these at once; return each one's confirmation or refusal."""
    answers: list[Any] = [None] * len(wanted)

    async def ask(at: int, operation: Operation) -> None:
        try:
            answers[at] = await side.channel.propose(operation)
        except (MarginShortfall, ProposalRejected, PeerUnresponsive) as refused:
            answers[at] = refused

    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            for at, operation in enumerate(wanted):
                nursery.start_soon(ask, at, operation)
    return answers


def trades(pair: Pair, count: int) -> list[Operation]:
    return [pair.alice.channel.trade([CALL], premium=50, quote=at + 1) for at in range(count)]


async def test_trades_that_wait_are_agreed_on_few_signatures_and_each_is_confirmed() -> None:
    async with opened_pair() as pair:
        await pair.fund(10_000, 100_000)
        before = pair.alice.channel.version
        answers = await all_of(pair.alice, trades(pair, 20))
        assert pair.agree()
        assert pair.bob.channel.positions == (CALL.times(-20),)
        assert pair.alice.channel.version - before == 2, "sixteen operations fit into one proposal"
        for at, answer in enumerate(answers):
            assert isinstance(answer, Confirmation)
            assert at + 1 in [operation.quote for operation in answer.operations]  # type: ignore[union-attr]
            assert answer.digest == pair.bob.channel.confirmation(answer.agreed, answer.operations).digest


async def test_who_lacks_margin_is_refused_alone() -> None:
    async with opened_pair() as pair:
        await pair.fund(10_000, 10_000)
        wanted = trades(pair, 3)
        wanted.insert(1, pair.alice.channel.trade([CALL.times(-500)], premium=-1))
        answers = await all_of(pair.alice, wanted)
        assert [type(answer) for answer in answers] == [Confirmation, MarginShortfall, Confirmation, Confirmation]
        assert pair.alice.channel.positions == (CALL.times(3),)


async def test_who_is_refused_by_the_peer_is_refused_alone() -> None:
    async with opened_pair() as pair:
        await pair.fund(10_000, 10_000)

        def deal(offer: Offer) -> None:
            if offer.received == 7 * UNIT:
                raise DealDeclined("not for seven")

        pair.bob.node.seats[pair.bob.channel.id].deal = deal
        wanted = trades(pair, 3)
        wanted.insert(2, pair.alice.channel.trade([CALL], premium=7))
        answers = await all_of(pair.alice, wanted)
        assert [type(answer) for answer in answers] == [Confirmation, Confirmation, ProposalRejected, Confirmation]
        assert pair.alice.channel.positions == (CALL.times(3),)
        assert pair.agree()


async def test_who_waits_while_it_comes_out_that_the_journal_lost_data_is_told_so_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One that is in flight, one that was posted, one that waits for the first: none of them for its time-out."""
    async with opened_pair(alice_config={"reply_timeout": 60, "turn_timeout": 60}) as pair:
        await pair.fund(10_000, 10_000)
        alice, told = pair.alice.channel, list[SigningSuspended]()
        monkeypatch.setattr(pair.bob.channel._seat, "receive", lambda message, now: [])

        async def waits(ask: Callable[[], Awaitable[object]]) -> None:
            with pytest.raises(SigningSuspended, match="until both owners agree to a recovery") as suspended:
                await ask()
            told.append(suspended.value)

        with trio.fail_after(20):
            posted = await alice.post_mark()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(waits, posted.agreed)
                nursery.start_soon(waits, alice.mark)
                await pair.until(lambda: len(alice.state.in_flight) == 2)
                nursery.start_soon(waits, lambda: alice.withdraw(1))
                await trio.testing.wait_all_tasks_blocked()
                agreed = alice.state.agreed
                assert agreed is not None
                balances = (9_999 * UNIT, 10_001 * UNIT)
                lost = replace(agreed.state, version=alice.state.in_flight[-1], balances=balances)
                pair.alice.node.act(alice._seat, e.RegistrationConfirmed(RegisteredSeen(lost, 0)))
            with pytest.raises(SigningSuspended):
                await posted.agreed()
        assert [(error.known, error.shown) for error in told] == [(agreed.version, lost.version)] * 3


async def test_without_the_turn_nobody_waits_for_it_after_a_loss_of_data() -> None:
    async with opened_pair(bob_config={"turn_timeout": 60}) as pair:
        await pair.fund(10_000, 10_000)
        bob = pair.bob.channel
        agreed = bob.state.agreed
        assert agreed is not None
        assert not bob.state.my_turn
        lost = replace(agreed.state, version=agreed.version + 9)
        pair.bob.node.act(bob._seat, e.RegistrationConfirmed(RegisteredSeen(lost, 0)))
        with trio.fail_after(20), pytest.raises(SigningSuspended):
            await bob.mark()


async def test_both_sides_go_on_proposing_and_neither_waits_for_ever() -> None:
    async with opened_pair() as pair:
        await pair.fund(10_000, 10_000)
        order: list[int] = []

        async def go_on(side: Side) -> None:
            for _ in range(8):
                await side.channel.mark()
                order.append(int(side.channel.state.me))

        with trio.fail_after(20):
            async with trio.open_nursery() as nursery:
                for side in pair.sides:
                    nursery.start_soon(go_on, side)
        first, last = order[: len(order) // 2], order[len(order) // 2 :]
        assert 0 < sum(first) < len(first), f"one waited until the other had done: {order}"
        assert len(last) > 0
        assert pair.agree()


async def test_marks_that_wait_become_the_newest_one() -> None:
    """Ten at once: the first goes at once, and while it is in flight the others wait for one proposal."""
    async with opened_pair() as pair:
        await pair.fund(10_000, 10_000)
        await pair.alice.channel.propose(pair.alice.channel.trade([CALL], premium=50))
        before = pair.alice.channel.version
        spots = [f"{2300 + at}" for at in range(10)]
        now = pair.alice.node.now()
        marks = [Marks.at(now, spots={ETH: spot}, vols={CALL: "0.6"}) for spot in spots]
        answers = await all_of(pair.alice, [Mark(mark) for mark in marks])
        assert {type(answer) for answer in answers} == {Confirmation}
        assert pair.alice.channel.version - before == 2
        assert pair.bob.channel.state.book.marks in marks


async def test_a_mark_follows_the_book_that_it_meets() -> None:
    """It was taken for the agreed book; a trade goes before it."""
    async with opened_pair() as pair:
        await pair.fund(10_000, 10_000)
        answers = await all_of(pair.alice, [*trades(pair, 1), Mark()])
        assert {type(answer) for answer in answers} == {Confirmation}
        assert pair.alice.channel.positions == (CALL,)


async def test_a_mark_for_another_book_is_marked_anew_where_nothing_goes_before_it() -> None:
    """It was taken before a trade, by a caller who comes when nobody waits: it goes at once."""
    async with opened_pair() as pair:
        await pair.fund(10_000, 10_000)
        taken = Mark()
        await pair.alice.channel.propose(*trades(pair, 1))
        confirmation = await pair.alice.channel.propose(taken)
        assert confirmation.agreed.book.legs == (CALL,)
        assert confirmation.operations == (Mark(confirmation.agreed.book.marks),)


async def test_a_peer_that_keeps_the_turn_is_unresponsive() -> None:
    async with opened_pair(bob_config={"reply_timeout": 60}) as pair:
        await pair.fund(10_000, 10_000)
        await pair.alice.channel.mark()
        node = pair.bob.node
        patient, node.config = node.config, replace(node.config, turn_timeout=0.3)
        pair.alice.node.act(pair.alice.node.seats[pair.alice.channel.id], e.TurnNeeded())
        with pytest.raises(PeerUnresponsive) as caught:
            await pair.bob.channel.mark()
        assert caught.value.seconds == 0.3
        node.config = patient
        pair.alice.node.act(pair.alice.node.seats[pair.alice.channel.id], e.TurnSpared())
        await pair.bob.channel.mark()


async def test_who_gives_up_is_not_proposed_for() -> None:
    async with opened_pair() as pair:
        await pair.fund(10_000, 10_000)
        await pair.alice.channel.mark()
        alice = pair.alice.node.seats[pair.alice.channel.id]
        pair.alice.node.act(alice, e.TurnNeeded())
        with trio.move_on_after(0.2):
            await pair.bob.channel.propose(pair.bob.channel.trade([CALL], premium=50))
        before = len([n for n in pair.bob.channel._unread if isinstance(n, Updated)])
        pair.alice.node.act(alice, e.TurnSpared())
        await pair.alice.channel.mark()
        assert pair.bob.channel.positions == ()
        assert len([n for n in pair.bob.channel._unread if isinstance(n, Updated)]) == before + 1


def test_facts_merge_into_the_newest_marks_and_the_highest_totals() -> None:
    older, newer = Mark(), Mark(Marks.at(5, spots={ETH: "1"}, vols={CALL: "0.5"}))
    facts: list[Operation] = [Acknowledge((5, 0), (0, 2)), older, Acknowledge((4, 9), (1, 0)), newer]
    requests = [Request(at, tuple, (fact,)) for at, fact in enumerate(facts)]
    assert merged(requests) == (Acknowledge((5, 9), (1, 2)), newer)
    assert all(requests[0].goes_with(other) for other in requests)
    assert not Request(0, tuple, (older,), alone=True).goes_with(requests[0])
