"""A peer that does not read, or outruns our disk: what we hold for it is bounded, in time and in bytes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest
import trio
import trio.testing

from channels.core.commands import Notify, Persist
from channels.core.notices import ChannelOpened
from channels.core.records import Record, TurnMoved
from channels.model import ChannelId
from channels.runtime import driver as driving, peer as peering
from channels.runtime.driver import Driver
from channels.runtime.peer import STALLED, Link
from channels.session import Role, Session
from channels.store import MemoryStore
from channels.wire import messages as m
from tests.roles import CHANNEL, alice


def link_on(stream: trio.abc.Stream, **options: Any) -> Link:
    session = Session(alice.signer, Role.DIALER, b"n" * 32, {})
    link = Link(stream, session, lambda: 0, lambda link, output: None, **options)
    link.begin()
    return link


async def test_who_reads_nothing_is_cut_off_in_time(autojump_clock: Any) -> None:
    ours, theirs = trio.testing.lockstep_stream_pair()
    link = link_on(ours)
    began = trio.current_time()
    with trio.fail_after(2 * STALLED):
        assert await link.run() is None
    # The handshake's own deadline is sooner than a stalled write; here the peer did not even read our greeting.
    assert trio.current_time() - began <= STALLED
    del theirs


async def test_who_stops_reading_after_the_handshake_is_cut_off_in_time(
    autojump_clock: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(peering, "HANDSHAKE_TIMEOUT", 10 * STALLED)
    ours, theirs = trio.testing.lockstep_stream_pair()
    link = link_on(ours)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(link.run)
        await theirs.receive_some()
        began = trio.current_time()
        link.send(m.WantTurn(CHANNEL))
        with trio.fail_after(2 * STALLED):
            while not link._scope.cancel_called:
                await trio.sleep(0.1)
        assert STALLED <= trio.current_time() - began < STALLED + 1


async def test_what_waits_for_a_slow_reader_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peering, "MAX_UNSENT_BYTES", 10_000)
    ours, theirs = trio.testing.lockstep_stream_pair()
    link = link_on(ours)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(link.run)
        await trio.testing.wait_all_tasks_blocked()
        for _ in range(1_000):
            link.send(m.Reject(CHANNEL, 1, "x", "y" * 500))
        assert link._scope.cancel_called
        assert 9_000 < link._unsent_bytes <= 10_000
        assert len(link._unsent) < 20
    del theirs


async def test_a_reader_that_reads_is_sent_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    """The bound is on what waits, not on what is said."""
    monkeypatch.setattr(peering, "MAX_UNSENT_BYTES", 10_000)
    ours, theirs = trio.testing.memory_stream_pair()
    link = link_on(ours)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(link.run)
        for _ in range(200):
            link.send(m.Reject(CHANNEL, 1, "x", "y" * 500))
            await theirs.receive_some()
            await trio.testing.wait_all_tasks_blocked()
        assert not link._scope.cancel_called
        assert link._unsent_bytes == 0
        nursery.cancel_scope.cancel()


async def test_a_stranger_that_does_not_read_our_answers_is_no_bug(
    autojump_clock: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Answers to a flood are queued like all else: the line ends, quietly."""
    monkeypatch.setattr(peering, "MAX_UNSENT_BYTES", 200)
    ours, theirs = trio.testing.lockstep_stream_pair()
    link = link_on(ours)
    monkeypatch.setattr(link.session, "receive_data", lambda data, now, more=False: [peering.Reply(bytes(100))] * 3)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(theirs.send_all, b"x")
        assert await link.run() is None


class StuckDisk(MemoryStore):
    """Answers when it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.go = trio.Event()

    def append_all(self, batch: Mapping[ChannelId, Sequence[Record]]) -> None:
        trio.from_thread.run(self.go.wait)


async def test_no_peer_is_read_ahead_of_a_stuck_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """A flood whose every message is something to do: reading stops until the disk has answered."""
    monkeypatch.setattr(driving, "MAX_WAITING", 50)
    disk = StuckDisk()
    driver = Driver(disk, lambda channel, message: None, lambda channel, notice: None)
    ours, theirs = trio.testing.memory_stream_pair()
    link = link_on(ours, pace=driver.pace)

    def heard(data: bytes, now: int, more: bool = False) -> list[Any]:
        driver.submit(CHANNEL, [Notify(ChannelOpened())] * 20)
        return []

    monkeypatch.setattr(link.session, "receive_data", heard)
    monkeypatch.setattr(peering, "RECEIVE_SIZE", 10)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(driver.run)
        driver.submit(CHANNEL, [Persist(TurnMoved(1))])
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(link.run)
        await theirs.send_all(bytes(10_000))
        with trio.fail_after(20):
            while len(driver._queue) <= 50:
                await trio.sleep(0.01)
        await trio.sleep(0.2)
        assert len(driver._queue) <= 50 + 20 + 1
        disk.go.set()
        with trio.fail_after(5):
            while len(driver._queue):
                await trio.sleep(0.01)
        nursery.cancel_scope.cancel()
