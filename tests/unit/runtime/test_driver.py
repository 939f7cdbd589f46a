"""The effects queue: what waits is made durable together, and only then said."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path

import pytest
import trio

from channels.core.commands import Persist, Send
from channels.core.records import Record, Signed, TurnMoved
from channels.errors import AlreadySigned
from channels.model import ChannelId, Mark, keccak
from channels.runtime.driver import QUIET, Driver
from channels.store import MemoryStore, SqliteStore
from channels.wire.messages import Message, WantTurn
from tests.roles import CHANNEL, UNIT, half
from tests.writer import OPENED

MANY = [ChannelId(keccak(bytes([i]))) for i in range(20)]


class SlowDisk(MemoryStore):
    """Counts how often it is asked, and what was said before it answered."""

    def __init__(self, said: list[ChannelId]) -> None:
        super().__init__()
        self.asked: list[int] = []
        self._said = said

    def append_all(self, batch: Mapping[ChannelId, Sequence[Record]]) -> None:
        before = len(self._said)
        trio.from_thread.run(trio.sleep, 0.05)
        super().append_all(batch)
        self.asked.append(len(batch))
        assert len(self._said) == before, "something was said while its record waited for the disk"


async def test_one_write_covers_all_channels_that_wait() -> None:
    said: list[ChannelId] = []
    disk = SlowDisk(said)

    def send(channel: ChannelId, message: Message) -> None:
        assert disk.records(channel), "said before it was durable"
        said.append(channel)

    driver = Driver(disk, send, lambda channel, notice: None)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(driver.run)
        driver.submit(MANY[0], [Persist(TurnMoved(1)), Send(WantTurn(MANY[0]))])
        await trio.testing.wait_all_tasks_blocked()
        for channel in MANY[1:]:
            driver.submit(channel, [Persist(TurnMoved(1)), Send(WantTurn(channel))])
        await driver.flush()
        nursery.cancel_scope.cancel()
    assert said == MANY
    assert disk.asked == [1, len(MANY) - 1]


def test_one_commit_holds_every_channel(tmp_path: Path) -> None:
    statements: list[str] = []
    with closing(SqliteStore.open(tmp_path / "store.sqlite")) as store:
        connection = store._connection
        assert isinstance(connection, sqlite3.Connection)
        connection.set_trace_callback(statements.append)
        store.append_all({channel: [TurnMoved(1), TurnMoved(2)] for channel in MANY})
        assert statements.count("COMMIT") == 1
        assert not any("wal_checkpoint" in statement for statement in statements)
        assert store.channels() == MANY


class TidyDisk(MemoryStore):
    """Notes when it appends and when it is told to move its log, which takes a while."""

    def __init__(self) -> None:
        super().__init__()
        self.did: list[str] = []
        self.begun, self.ended = trio.Event(), trio.Event()

    def append_all(self, batch: Mapping[ChannelId, Sequence[Record]]) -> None:
        super().append_all(batch)
        self.did.append("append")

    def checkpoint_log(self) -> None:
        self.did.append("begin")
        trio.from_thread.run_sync(self.begun.set)
        time.sleep(0.02)
        self.did.append("end")
        trio.from_thread.run_sync(self.ended.set)


async def test_a_quiet_driver_lets_the_store_tidy_its_log_once(autojump_clock: trio.testing.MockClock) -> None:
    disk = TidyDisk()
    driver = Driver(disk, lambda channel, message: None, lambda channel, notice: None)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(driver.run)
        await trio.sleep(10 * QUIET)
        assert disk.did == [], "nothing was logged"
        for _ in range(3):
            driver.submit(CHANNEL, [Persist(TurnMoved(1))])
            await driver.flush()
            await trio.sleep(QUIET / 2)
        assert disk.did == ["append"] * 3, "it was not quiet yet"
        await disk.ended.wait()
        for _ in range(3):
            await driver.flush()
            await trio.sleep(10 * QUIET)
        assert disk.did == [*["append"] * 3, "begin", "end"]
        nursery.cancel_scope.cancel()


async def test_tidying_is_not_torn_by_a_cancellation(autojump_clock: trio.testing.MockClock) -> None:
    disk = TidyDisk()
    driver = Driver(disk, lambda channel, message: None, lambda channel, notice: None)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(driver.run)
        driver.submit(CHANNEL, [Persist(TurnMoved(1))])
        await disk.begun.wait()
        nursery.cancel_scope.cancel()
    assert disk.did == ["append", "begin", "end"]


async def test_the_marker_is_told_after_the_disk_and_before_anybody_else() -> None:
    told: list[str] = []
    driver = Driver(
        MemoryStore(), lambda channel, message: told.append("send"), lambda channel, notice: None,
        lambda batch: told.append("marker"),
    )  # fmt: skip
    async with trio.open_nursery() as nursery:
        nursery.start_soon(driver.run)
        driver.submit(CHANNEL, [Send(WantTurn(CHANNEL)), Persist(TurnMoved(1))])
        await driver.flush()
        nursery.cancel_scope.cancel()
    assert told == ["marker", "send"]


@pytest.mark.parametrize("place", ["disk", "memory"])
def test_a_refused_signature_keeps_nothing_of_any_channel(place: str, tmp_path: Path) -> None:
    with closing(SqliteStore.open(tmp_path / "s.sqlite") if place == "disk" else MemoryStore()) as store:
        first = Signed(half(version=1), (Mark(),))
        other = Signed(half(version=1, balances=(9_000 * UNIT, 6_000 * UNIT)), (Mark(),))
        store.append(CHANNEL, [OPENED, first])
        with pytest.raises(AlreadySigned):
            store.append_all({MANY[0]: [TurnMoved(1)], CHANNEL: [other]})
        assert store.channels() == [CHANNEL]
        assert store.records(CHANNEL) == [OPENED, first]
