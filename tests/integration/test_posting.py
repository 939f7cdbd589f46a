"""A desk streams marks: each is signed in a version of its own, a window is in flight, and every answer is heard."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
import trio
import trio.testing

from channels.core.events import BlockConfirmed
from channels.core.records import Record, Signed, StateAgreed
from channels.errors import BaseRefused, MarkRefused, ProposalRejected
from channels.model import ChannelId, Leg, Mark, Marks
from channels.runtime import driver as driving
from channels.runtime.live import LiveChannel
from channels.runtime.peer import Link
from channels.runtime.proposer import Posted
from channels.session import Seat
from channels.store import MemoryStore
from tests.pair import PATIENCE, Pair, opened_pair, terms_for
from tests.roles import ETH, EXPIRY

CALL = Leg.call(ETH, EXPIRY, 2400, quantity=1)


def marks(pair: Pair, spot: str) -> Marks:
    return Marks.at(pair.alice.node.now(), spots={ETH: spot}, vols={CALL: "0.6"})


async def holding(pair: Pair) -> LiveChannel:
    """Fund both sides; return Alice's channel with a call in it."""
    await pair.fund(10_000, 10_000)
    channel = pair.alice.channel
    await channel.propose(channel.trade([CALL], premium=50))
    return channel


async def judged(pair: Pair) -> tuple[list[Posted], Seat]:
    """Post two marks to Bob, who does not answer; return them, and Bob's seat once he has judged both."""
    channel = await holding(pair)
    posted = [await channel.post_mark(marks(pair, f"{2300 + at}")) for at in range(2)]
    seat = pair.bob.node.seats[channel.id]
    with trio.fail_after(5):
        while len(seat.channel.unanswered) < 2:
            await trio.sleep(0.01)
    return posted, seat


class Gate(MemoryStore):
    """A disk on which an agreed state waits until the gate is open."""

    def __init__(self) -> None:
        super().__init__()
        self.open, self.waiting = threading.Event(), threading.Event()
        self.open.set()

    def append_all(self, batch: Mapping[ChannelId, Sequence[Record]]) -> None:
        if any(isinstance(record, StateAgreed) for records in batch.values() for record in records):
            self.waiting.set()
            assert self.open.wait(10)
        super().append_all(batch)


@pytest.fixture
def slow_disks(monkeypatch: pytest.MonkeyPatch) -> None:
    """No disk counts as quick: each append is made in a worker thread, as the gate must."""
    monkeypatch.setattr(driving, "QUICK", -1.0)


async def test_each_posted_mark_has_a_version_of_its_own() -> None:
    async with opened_pair() as pair:
        channel = await holding(pair)
        before = channel.version
        wanted = [marks(pair, f"{2300 + at}") for at in range(10)]
        posted = [await channel.post_mark(one) for one in wanted]
        assert [one.version for one in posted] == list(range(before + 1, before + 11))
        for at, one in enumerate(posted):
            confirmation = await one.agreed()
            covered = confirmation.version - one.version
            assert confirmation.operations[-1] == Mark(wanted[at + covered]), "the newest mark that it covers"
        await pair.until(pair.agree)
        assert pair.bob.channel.state.book.marks == wanted[-1]


async def test_a_window_that_comes_in_pieces_is_answered_once() -> None:
    async with opened_pair() as pair:
        channel = await holding(pair)
        theirs = pair.bob.node.store.records
        before = len(theirs(channel.id))
        posted = [await channel.post_mark(marks(pair, f"{2300 + at / 2}")) for at in range(32)]
        await posted[-1].agreed()
        await pair.until(pair.agree)
        signed = [record for record in theirs(channel.id)[before:] if isinstance(record, Signed)]
        # The first may be read before the others are there.
        assert 1 <= len(signed) <= 3
        assert signed[-1].half.state.version == posted[-1].version


async def test_what_was_judged_is_answered_before_anything_else_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    """The answer waits for more to read; the chain, or our owner, does not find the channel in between."""
    monkeypatch.setattr(Link, "_answer", lambda link: trio.sleep_forever())
    async with opened_pair() as pair:
        posted, seat = await judged(pair)
        assert seat.channel.version < posted[0].version
        pair.bob.node.act(seat, BlockConfirmed(seat.channel.chain.time + 1))
        assert (seat.channel.unanswered, seat.channel.version) == ((), posted[1].version)
        await posted[1].agreed()


async def test_a_line_that_ends_leaves_nothing_half_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Link, "_answer", lambda link: trio.sleep_forever())
    async with opened_pair() as pair:
        posted, _ = await judged(pair)
        link = pair.bob.node.link_to(pair.alice.node.signer.address)
        assert link is not None
        link.hang_up()
        await posted[1].agreed()
        await pair.until(pair.agree)


async def test_the_window_sets_the_pace() -> None:
    async with opened_pair(bob_config={"window": 3}) as pair:
        channel = await holding(pair)
        held = set[int]()
        for at in range(12):
            last = await channel.post_mark(marks(pair, f"{2300 + at}"))
            held.add(len(channel.state.in_flight))
        await last.agreed()
        assert max(held) == 3


async def test_what_stands_on_a_refused_mark_is_refused_with_it_and_the_next_one_is_not() -> None:
    async with opened_pair() as pair:
        channel = await holding(pair)
        posted = [await channel.post_mark(marks(pair, spot)) for spot in ("2301", "2900", "2302")]
        assert (await posted[0].agreed()).version == posted[0].version
        codes = []
        for one in posted[1:]:
            with pytest.raises(ProposalRejected) as caught:
                await one.agreed()
            assert caught.value.version == one.version
            codes.append(caught.value.code)
        assert codes == [MarkRefused.code, BaseRefused.code]
        later = await channel.post_mark(marks(pair, "2303"))
        assert (await later.agreed()).version == later.version


async def test_who_has_not_the_turn_gets_it_first() -> None:
    async with opened_pair() as pair:
        await holding(pair)
        assert not pair.bob.channel.state.my_turn
        with trio.fail_after(PATIENCE):
            posted = list[Posted]()

            async def post(spot: str) -> None:
                posted.append(await pair.bob.channel.post_mark(marks(pair, spot)))

            async with trio.open_nursery() as nursery:
                for at in range(3):
                    nursery.start_soon(post, f"{2300 + at}")
            assert len({one.version for one in posted}) == 3
            for one in posted:
                await one.agreed()
        assert pair.agree()


async def test_a_mark_is_posted_for_the_book_that_it_will_meet(slow_disks: None) -> None:
    gate = Gate()
    async with opened_pair(stores=(MemoryStore(), gate)) as pair:
        channel = await holding(pair)
        other = Leg.put(ETH, EXPIRY, 2200, quantity=1)
        gate.open.clear()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(channel.propose, channel.trade([other], premium=40))
            await pair.until(lambda: len(channel.state.tip[1].legs) == 2)
            assert len(channel.state.book.legs) == 1
            posted = await channel.post_mark()
            gate.open.set()
        assert {vol.key for vol in (await posted.agreed()).agreed.book.marks.vols} == {CALL.key, other.key}


async def test_an_answer_that_nobody_waits_for_is_not_kept() -> None:
    async with opened_pair() as pair:
        channel = await holding(pair)
        for at in range(5):
            await channel.post_mark(marks(pair, f"{2300 + at}"))
        assert not channel._proposer._posted


async def test_the_next_mark_is_signed_while_the_last_answer_is_written(slow_disks: None) -> None:
    """So both wait for one write. Nothing leaves before it."""
    gate = Gate()
    async with opened_pair(stores=(gate, MemoryStore()), alice_config={"window": 1}) as pair:
        channel = await holding(pair)
        gate.open.clear()
        gate.waiting.clear()
        first = await channel.post_mark(marks(pair, "2301"))
        with trio.fail_after(PATIENCE):
            second = await channel.post_mark(marks(pair, "2302"))
        await pair.until(gate.waiting.is_set)
        assert channel.version == first.version
        assert channel.state.in_flight == (second.version,)
        await trio.sleep(0.05)
        assert pair.bob.channel.state.version == first.version, "a proposal left before its record was durable"
        gate.open.set()
        await second.agreed()


async def test_no_transaction_leaves_before_what_was_signed_is_durable(
    slow_disks: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A dispute is answered with the newest state: its signature must not be on the chain and in no journal."""
    gate, sent = Gate(), list[Any]()
    async with opened_pair(stores=(gate, MemoryStore())) as pair:
        channel, node = await holding(pair), pair.alice.node
        gate.open.clear()
        gate.waiting.clear()
        await channel.post_mark(marks(pair, "2301"))
        await pair.until(gate.waiting.is_set)
        monkeypatch.setattr(node.chain, "send", sent.append)
        call: Any = "a call"
        async with trio.open_nursery() as nursery:
            nursery.start_soon(node.send, call)
            await trio.sleep(0.05)
            assert sent == []
            gate.open.set()
            await pair.until(lambda: sent == [call])
        monkeypatch.undo()


async def test_what_one_channel_is_told_wakes_no_other() -> None:
    async with opened_pair() as pair:
        channel = await holding(pair)
        other = await pair.alice.node.open(terms_for(pair.local, b"another"))
        with trio.fail_after(PATIENCE):
            await pair.bob.node.incoming()
        # A new channel hears of the latest block, and of its own opening, once.
        await pair.until(lambda: other.state.chain.time == channel.state.chain.time)
        await pair.alice.node.driver.flush()
        await trio.testing.wait_all_tasks_blocked(0.01)
        woken = []

        async def listen() -> None:
            await other.changed()
            woken.append(True)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(listen)
            for at in range(3):
                await (await channel.post_mark(marks(pair, f"{2300 + at}"))).agreed()
            assert not woken
            nursery.cancel_scope.cancel()
