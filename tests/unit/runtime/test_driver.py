"""The effects queue: what waits is made durable together, and only then said."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path

import pytest
import trio

from channels.core.commands import Persist, Send
from channels.core.records import Record, Signed, TurnMoved
from channels.errors import AlreadySigned
from channels.model import ChannelId, Mark, keccak
from channels.runtime.driver import Driver
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
        assert sum("wal_checkpoint" in statement for statement in statements) == 1
        assert store.channels() == MANY


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
