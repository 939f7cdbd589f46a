"""One update alone takes the turns it must, and many at once still share their writes: two nodes, real sockets, TLS."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
import trio

from channels.core.records import Record, Signed, StateAgreed
from channels.errors import ProposalRejected
from channels.model import Acknowledge, ChannelId, Leg, Marks, keccak
from channels.runtime import driver as driving
from channels.runtime.config import NodeConfig
from channels.runtime.driver import Driver
from channels.runtime.live import LiveChannel
from channels.runtime.node import Node, open_node
from channels.runtime.peer import Link
from channels.session import any_deal
from channels.store import MemoryStore
from tests import peer_process, roles

DEPOSITS = (10_000 * roles.UNIT,) * 2
CALL = Leg.call(roles.ETH, roles.EXPIRY, 2400, quantity=1)


class Counted(MemoryStore):
    """Notes how many records each write held."""

    def __init__(self) -> None:
        super().__init__()
        self.writes: list[list[Record]] = []

    def append_all(self, batch: Mapping[ChannelId, Sequence[Record]]) -> None:
        super().append_all(batch)
        self.writes.append([record for records in batch.values() for record in records])


def market(legs: tuple[Leg, ...], now: int) -> Marks:
    return Marks.at(now, spots={roles.ETH: 2300}, vols=dict.fromkeys(legs, "0.6"))


def marks(at: int) -> Marks:
    return Marks.at(roles.NOW, spots={roles.ETH: f"2300.{at % 100:02}"}, vols={CALL: "0.6"})


class Both:
    """Alice's node, both stores, and her channels with the same position in each."""

    def __init__(self, alice: Node, stores: tuple[Counted, Counted], channels: list[LiveChannel]) -> None:
        self.alice, self.stores, self.channels = alice, stores, channels

    async def each(self, do: Callable[[LiveChannel], Any]) -> None:
        async with trio.open_nursery() as nursery:
            for channel in self.channels:
                nursery.start_soon(do, channel)


async def opened(node: Node, number: int) -> LiveChannel:
    channel = await node.open(replace(peer_process.TERMS, salt=keccak(bytes([number]))))
    peer_process.both_deposited(node, channel)
    while channel.state.base[0] is None or channel.state.base[0].deposits != DEPOSITS:
        try:
            await channel.propose(Acknowledge(DEPOSITS, (0, 0)))
        except ProposalRejected:
            continue
    await channel.propose(channel.trade([CALL], premium=50))
    return channel


@asynccontextmanager
async def both(count: int, **changes: Any) -> AsyncIterator[Both]:
    stores = Counted(), Counted()
    terms = peer_process.TERMS
    config = NodeConfig(
        tokens={terms.token: terms.decimals}, sources=frozenset({terms.source}), backup_interval=0, **changes
    )

    def node(at: int) -> Any:
        chain: Any = peer_process.QuietChain()
        signer = roles.PARTIES[at].signer
        return open_node(
            signer, store=stores[at], chain=chain, market=market, deal=any_deal, config=config, clock=lambda: roles.NOW
        )

    async with node(0) as alice, node(1) as bob, trio.open_nursery() as nursery:

        async def meet() -> None:
            while True:
                peer_process.both_deposited(bob, await bob.incoming())

        nursery.start_soon(meet)
        await alice.connect("127.0.0.1", await bob.listen(), roles.bob.address)
        yield Both(alice, stores, [await opened(alice, number) for number in range(count)])
        nursery.cancel_scope.cancel()


class Turns(trio.abc.Instrument):
    def __init__(self) -> None:
        self.of: Counter[str] = Counter()

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self.of[task.name] += 1


async def test_one_update_alone_takes_few_turns_and_three_writes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bob reads and answers; Alice reads; her caller goes on. Each message takes three turns of trio's TLS stream."""
    monkeypatch.setattr(driving, "QUICK", 1_000.0)
    async with both(1) as pair:
        (channel,) = pair.channels
        for at in range(10):
            await channel.mark(marks(at))
        for store in pair.stores:
            store.writes.clear()
        turns = Turns()
        trio.lowlevel.add_instrument(turns)
        for at in range(10, 60):
            await channel.mark(marks(at))
        trio.lowlevel.remove_instrument(turns)
        assert 50 * 9 <= turns.of.total() <= 50 * 12, turns.of
        hers, his = pair.stores
        assert [[type(record) for record in write] for write in hers.writes[:4]] == [[Signed], [StateAgreed]] * 2
        assert len(hers.writes) == 100
        assert len(his.writes) == 50


async def test_marks_of_many_channels_at_once_still_share_their_writes() -> None:
    async with both(30) as pair:
        await pair.each(lambda channel: channel.mark(marks(1)))
        for store in pair.stores:
            store.writes.clear()
        for at in range(2, 6):
            await pair.each(lambda channel, at=at: channel.mark(marks(at)))  # type: ignore[misc]
        for store in pair.stores:
            records = sum(map(len, store.writes))
            assert records >= 4 * 30 * 2
            assert len(store.writes) <= records / 10, "ten records share a write, and more"


async def test_who_waited_for_room_lets_go_out_what_was_said_first(monkeypatch: pytest.MonkeyPatch) -> None:
    waited, said = list[Link](), Link.said

    async def counted(link: Link) -> None:
        waited.append(link)
        await said(link)

    monkeypatch.setattr(Link, "said", counted)
    async with both(1, window=8) as pair:
        (channel,) = pair.channels
        waited.clear()
        for at in range(80):
            last = await channel.post_mark(marks(at))
        await last.agreed()
        hers = pair.alice.link_to(roles.bob.address)
        assert 4 <= waited.count(hers) <= 40, "about once for each half of a window"  # type: ignore[arg-type]


@pytest.mark.parametrize("window", [1, 8, 32])
async def test_a_stream_of_marks_shares_its_writes_on_both_sides(window: int) -> None:
    async with both(1, window=window) as pair:
        (channel,) = pair.channels
        for store in pair.stores:
            store.writes.clear()
        for at in range(200):
            last = await channel.post_mark(marks(at))
        await last.agreed()
        hers = pair.stores[0].writes
        assert sum(isinstance(record, Signed) for write in hers for record in write) == 200
        assert len(hers) <= 1.1 * 200 / max(1, window / 4)


async def test_a_full_window_is_written_and_said_before_its_caller_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the next answer could come before it, and its caller sign on: the peer would have nothing to judge."""
    monkeypatch.setattr(driving, "QUICK", 1_000.0)
    async with both(1, window=8) as pair:
        (channel,) = pair.channels
        written, at_once = list[tuple[int, int, int]](), Driver.at_once

        def seen(driver: Driver, *may: Any) -> None:
            in_flight, waits = len(channel.state.in_flight), len(driver._queue)
            at_once(driver, *may)
            if driver is pair.alice.driver:
                written.append((in_flight, waits, len(driver._queue)))

        await channel.mark(marks(0))
        monkeypatch.setattr(Driver, "at_once", seen)
        for at in range(9):
            last = await channel.post_mark(marks(at))
        assert (8, 16, 0) in written, "eight records and eight messages, and nothing is left"
        await last.agreed()
