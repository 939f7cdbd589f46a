"""The driver and its disk: a quick one is written in the loop's thread, at once where nobody else is held up."""

from __future__ import annotations

import threading
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager

import pytest
import trio
import trio.testing

from channels.core.commands import Effect, Notify, Persist, Send
from channels.core.notices import ChannelOpened
from channels.core.records import Record, TurnMoved
from channels.errors import StoreFailed
from channels.model import ChannelId, keccak
from channels.runtime import driver as driving
from channels.runtime.driver import FEW, PAUSE, QUICK, QUIET, TURNS_TO_SHARE, Driver
from channels.store import MemoryStore
from channels.wire.messages import WantTurn
from tests.roles import CHANNEL

MANY = [ChannelId(keccak(bytes([i]))) for i in range(50)]
HERE, THERE = "loop", "worker"


class Disk(MemoryStore):
    """Takes as long as it is told to, on a clock of its own; notes in which thread it was written and by how much."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = threading.get_ident()
        self.now, self.takes = 0.0, QUICK / 2
        self.did: list[str] = []
        self.sizes: list[int] = []
        self.stuck: threading.Event | None = None
        self.is_full = False

    def append_all(self, batch: Mapping[ChannelId, Sequence[Record]]) -> None:
        if self.is_full:
            raise StoreFailed(self.path, "no space left on device")
        if self.stuck is not None:
            assert self.stuck.wait(10)
        super().append_all(batch)
        self.now += self.takes
        self.did.append(HERE if threading.get_ident() == self.loop else THERE)
        self.sizes.append(sum(map(len, batch.values())))

    def checkpoint_log(self) -> None:
        self.did.append("tidy")


class Desk:
    """A driver on such a disk, and what it said, in order."""

    def __init__(self, disk: Disk) -> None:
        self.disk = disk
        self.heard: list[str] = []
        self.driver = Driver(
            disk,
            lambda channel, message: self.heard.append("sent"),
            lambda channel, notice: self.heard.append("told"),
            lambda batch: self.heard.append(f"durable {len(disk.did)}"),
        )

    async def append(self, count: int = 1) -> str:
        """Have something made durable; return in which thread it was."""
        self.driver.submit(CHANNEL, [Persist(TurnMoved(1))] * count)
        await self.driver.flush()
        return self.disk.did[-1]

    def at_once(self, channel: ChannelId = CHANNEL, *more: Effect) -> None:
        self.driver.submit(channel, [Persist(TurnMoved(1)), *more], wake=False)
        self.driver.at_once()


@asynccontextmanager
async def desk(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Desk]:
    disk = Disk()
    monkeypatch.setattr(driving, "perf_counter", lambda: disk.now)
    one = Desk(disk)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(one.driver.run)
        yield one
        nursery.cancel_scope.cancel()


async def test_a_quick_disk_is_written_in_the_loop_once_it_is_known_to_be_quick(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with desk(monkeypatch) as one:
        assert [await one.append() for _ in range(4)] == [THERE, HERE, HERE, HERE]


async def test_a_disk_that_starts_slowly_never_stalls_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    async with desk(monkeypatch) as one:
        one.disk.takes = 2 * QUICK
        assert {await one.append() for _ in range(3 * PAUSE)} == {THERE}


async def test_a_slow_append_sends_the_next_ones_to_a_thread_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    async with desk(monkeypatch) as one:
        await one.append()
        one.disk.takes = 2 * QUICK
        assert await one.append() == HERE, "nobody can know before"
        assert [await one.append() for _ in range(2 * PAUSE)] == [THERE] * 2 * PAUSE, "it is slow still"
        one.disk.takes = QUICK / 10
        places = [await one.append() for _ in range(20 * PAUSE + 10)]
        stayed = places.index(HERE)
        assert abs(stayed - 20 * PAUSE) <= 1, "quick again, for so long"
        assert set(places[stayed:]) == {HERE}


async def test_a_slow_append_is_made_up_for_in_proportion(monkeypatch: pytest.MonkeyPatch) -> None:
    async with desk(monkeypatch) as one:
        await one.append()
        for stall in (2 * QUICK, 200 * QUICK):
            one.disk.takes = stall
            assert await one.append() == HERE
            one.disk.takes, began = QUICK / 2, one.disk.now
            while await one.append() == THERE:
                pass
            assert PAUSE * stall < one.disk.now - began < PAUSE * stall + 3 * QUICK


@pytest.mark.parametrize(("every", "least"), [(3, 0), (250, 10)])
async def test_a_disk_that_is_slow_now_and_then_stalls_the_loop_for_a_small_share_of_the_time(
    monkeypatch: pytest.MonkeyPatch, every: int, least: int
) -> None:
    async with desk(monkeypatch) as one:
        stalled = 0.0
        for at in range(3_000):
            one.disk.takes = 2 * QUICK if at % every == 0 else QUICK * 0.9
            if await one.append() == HERE and at % every == 0:
                stalled += one.disk.takes
        assert least * QUICK <= stalled <= one.disk.now / PAUSE


async def test_a_large_batch_goes_to_a_thread_and_says_nothing_about_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    async with desk(monkeypatch) as one:
        await one.append()
        one.disk.takes = 10 * QUICK
        assert await one.append(FEW + 1) == THERE
        one.disk.takes = QUICK / 2
        assert await one.append(FEW) == HERE


async def test_at_once_is_persist_then_speak_then_tell_in_the_callers_breath(monkeypatch: pytest.MonkeyPatch) -> None:
    async with desk(monkeypatch) as one:
        await one.append()
        await one.append()
        await trio.testing.wait_all_tasks_blocked()
        one.heard.clear()
        one.at_once(CHANNEL, Send(WantTurn(CHANNEL)), Notify(ChannelOpened()))
        assert one.disk.did == [THERE, HERE, HERE]
        assert one.heard == ["durable 3", "sent", "told"]


async def test_nothing_goes_at_once_while_an_append_is_under_way(monkeypatch: pytest.MonkeyPatch) -> None:
    async with desk(monkeypatch) as one:
        await one.append()
        one.disk.takes = 2 * QUICK
        await one.append()
        one.disk.takes, one.disk.stuck = QUICK / 2, threading.Event()
        one.driver.submit(CHANNEL, [Persist(TurnMoved(2)), Send(WantTurn(CHANNEL))])
        await trio.testing.wait_all_tasks_blocked()
        one.driver._disk.is_quick = True  # whatever is known of the disk
        before = len(one.disk.did)
        one.heard.clear()
        one.at_once(CHANNEL, Notify(ChannelOpened()))
        assert len(one.disk.did) == before
        assert not one.heard
        one.disk.stuck.set()
        await one.driver.flush()
        assert [word for word in one.heard if word in ("sent", "told")] == ["sent", "told"]


async def test_what_comes_after_a_write_at_once_has_turns_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """The driver was woken for what its caller then wrote itself: it does not write the next record alone for that."""
    async with desk(monkeypatch) as one:
        await one.append()
        one.driver.submit(CHANNEL, [Persist(TurnMoved(1))])
        for _ in range(TURNS_TO_SHARE - 1):
            await trio.lowlevel.checkpoint()
        one.driver.at_once()
        written = len(one.disk.sizes)
        one.driver.submit(CHANNEL, [Persist(TurnMoved(1))])
        for _ in range(TURNS_TO_SHARE - 1):
            await trio.lowlevel.checkpoint()
            assert len(one.disk.sizes) == written, "somebody may still share it"
        await one.driver.flush()
        assert one.disk.sizes[written:] == [1]


async def test_nothing_goes_at_once_on_a_slow_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    async with desk(monkeypatch) as one:
        one.disk.takes = 2 * QUICK
        await one.append()
        await trio.testing.wait_all_tasks_blocked()
        one.at_once()
        assert len(one.disk.did) == 1
        await one.driver.flush()
        assert one.disk.did == [THERE, THERE]


async def test_many_channels_that_speak_at_once_share_their_writes(monkeypatch: pytest.MonkeyPatch) -> None:
    async with desk(monkeypatch) as one:
        await one.append()
        await one.append()

        async def speak(channel: ChannelId) -> None:
            for _ in range(10):
                one.at_once(channel)
                await one.driver.flush()

        async with trio.open_nursery() as nursery:
            for channel in MANY:
                nursery.start_soon(speak, channel)
        written = one.disk.sizes[2:]
        assert sum(written) == 10 * len(MANY)
        assert len(written) == 10


async def test_the_caller_has_the_last_word_on_whether_it_goes_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    async with desk(monkeypatch) as one:
        await one.append()
        await trio.testing.wait_all_tasks_blocked()
        asked: list[ChannelId] = []
        one.driver.submit(CHANNEL, [Persist(TurnMoved(1))], wake=False)
        one.driver.at_once(lambda channel: bool(asked.append(channel)))
        assert asked == [CHANNEL]
        assert len(one.disk.did) == 1
        await trio.testing.wait_all_tasks_blocked()
        assert len(one.disk.did) == 2, "it is carried out all the same"


async def test_a_disk_that_fails_at_once_ends_the_driver_and_not_the_caller() -> None:
    one, unharmed = Desk(Disk()), False
    with pytest.raises(ExceptionGroup) as stopped:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(one.driver.run)
            await one.append()
            await trio.testing.wait_all_tasks_blocked()
            one.heard.clear()
            one.disk.is_full = True
            one.at_once(CHANNEL, Send(WantTurn(CHANNEL)))
            unharmed, one.disk.is_full = True, False
            one.at_once(CHANNEL, Send(WantTurn(CHANNEL)))
    assert stopped.group_contains(StoreFailed)
    assert unharmed
    assert len(one.disk.did) == 1, "nothing more is carried out"
    assert not one.heard


@pytest.mark.parametrize("turns", range(4))
async def test_after_a_failure_nothing_is_carried_out_by_a_driver_that_was_woken_before(turns: int) -> None:
    one = Desk(Disk())
    with pytest.raises(ExceptionGroup) as stopped:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(one.driver.run)
            await one.append()
            await trio.testing.wait_all_tasks_blocked()
            one.driver.submit(CHANNEL, [Persist(TurnMoved(1))])
            for _ in range(turns):
                await trio.lowlevel.checkpoint()
            before, one.disk.is_full = len(one.disk.did), True
            one.driver.submit(CHANNEL, [Persist(TurnMoved(1))])
            one.at_once()
            one.disk.is_full = False
            one.driver.submit(CHANNEL, [Persist(TurnMoved(1))])
    assert stopped.group_contains(StoreFailed)
    assert len(one.disk.did) == before


async def test_nothing_goes_at_once_when_the_driver_has_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    async with desk(monkeypatch) as one:
        await one.append()
        await trio.testing.wait_all_tasks_blocked()
    one.at_once()
    assert len(one.disk.did) == 1


@pytest.mark.parametrize("quick", [True, False])
async def test_what_is_queued_at_a_cancellation_is_not_written_and_what_was_begun_is_said(
    monkeypatch: pytest.MonkeyPatch, quick: bool
) -> None:
    async with desk(monkeypatch) as one:
        one.disk.takes = QUICK / 2 if quick else 2 * QUICK
        await one.append()
        await trio.testing.wait_all_tasks_blocked()
        one.heard.clear()
        one.driver.submit(CHANNEL, [Persist(TurnMoved(1)), Send(WantTurn(CHANNEL))])
        if not quick:
            one.disk.stuck = threading.Event()
            await trio.testing.wait_all_tasks_blocked()
            trio.lowlevel.spawn_system_task(_later, one.disk.stuck)
    assert len(one.disk.did) == (1 if quick else 2)
    assert one.heard == ([] if quick else ["durable 2", "sent"])


async def _later(event: threading.Event) -> None:
    await trio.sleep(0.02)
    event.set()


async def _until_idle(driver: Driver) -> None:
    """Let threads end, which no virtual clock waits for."""
    while not driver._is_idle:
        await trio.to_thread.run_sync(time.sleep, 0.001)


async def test_what_was_written_at_once_is_tidied_when_it_is_quiet(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: trio.testing.MockClock
) -> None:
    async with desk(monkeypatch) as one:
        await one.append()
        await trio.sleep(2 * QUIET)
        await _until_idle(one.driver)
        assert one.disk.did == [THERE, "tidy"]
        for _ in range(5):
            one.at_once()
            await trio.sleep(0.8 * QUIET)
        assert one.disk.did[2:] == [HERE] * 5
        await trio.sleep(QUIET)
        await _until_idle(one.driver)
        assert one.disk.did[7:] == ["tidy"]
        await trio.sleep(10 * QUIET)
        assert len(one.disk.did) == 8, "once is enough"


async def test_whoever_paces_itself_does_not_wait_for_what_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    async with desk(monkeypatch) as one:
        await one.append()
        await trio.testing.wait_all_tasks_blocked()
        one.at_once()
        with trio.CancelScope() as scope:
            scope.cancel()
            await one.driver.pace(True)  # reaches no checkpoint
        assert not scope.cancelled_caught
        one.driver.submit(CHANNEL, [Persist(TurnMoved(1))])
        with trio.CancelScope() as scope:
            scope.cancel()
            await one.driver.pace(True)
        assert scope.cancelled_caught
