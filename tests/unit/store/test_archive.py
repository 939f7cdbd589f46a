"""An archive keeps what compactions take out of the journal. Without it history is lacking, and nothing else."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from channels.core import checkpoint
from channels.core.records import Checkpoint, Record, Signed
from channels.errors import StoreError, StoreFailed
from channels.model import Mark, Party
from channels.runtime.watcher import find_book
from channels.store import SqliteStore
from channels.store.codec import decode_records
from channels.store.rows import entry_of
from tests.keeper import Keeper, folded
from tests.roles import CHANNEL, book, half
from tests.writer import OPENED, update

EVERY = 8


@pytest.fixture(autouse=True)
def often() -> Iterator[None]:
    """A checkpoint every eight records."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checkpoint, "EVERY", EVERY)
        yield


def store_records(place: Path) -> list[Record]:
    with closing(SqliteStore.open(place, read_only=True)) as store:
        return store.records(CHANNEL)


def test_an_archive_and_the_journal_are_the_whole_history(tmp_path: Path) -> None:
    place, archive = tmp_path / "alice.sqlite", tmp_path / "alice.archive"
    old = Signed(half(Party.ZERO, book(), version=1), (Mark(),))
    history = [OPENED, old, *(record for version in range(2, 60) for record in update(version))]
    with closing(SqliteStore.open(place, archive=archive)) as store:
        keeper = Keeper(store)
        keeper.keep(OPENED, old)
        keeper.update(range(2, 30))
    with closing(SqliteStore.open(place, archive=archive)) as store:
        Keeper(store).update(range(30, 60))
        assert find_book(store, CHANNEL, 1, old.half.book.hash) == old.half.book
        assert find_book(store, CHANNEL, 2, old.half.book.hash) is None
        assert store.archived(CHANNEL, 5) == update(5)
        assert store.archived(CHANNEL, 59) == []
    with closing(sqlite3.connect(archive)) as kept, closing(sqlite3.connect(place)) as left:
        columns = "seq, kind, version, digest, body, link"
        gone = kept.execute(f"SELECT {columns} FROM archive ORDER BY seq").fetchall()
        held = left.execute(f"SELECT {columns} FROM journal ORDER BY seq").fetchall()
    whole = [held[0], *gone, *held[1:]]
    assert [seq for seq, *_ in whole] == list(range(1, len(whole) + 1))
    records = decode_records("here", ((entry_of(*row[1:5]), row[5]) for row in whole))
    assert [record for record in records if not isinstance(record, Checkpoint)] == history
    assert archive.stat().st_mode & 0o777 == 0o600


def test_without_its_archive_a_store_only_lacks_history(tmp_path: Path) -> None:
    place, archive = tmp_path / "alice.sqlite", tmp_path / "alice.archive"
    with closing(SqliteStore.open(place, archive=archive)) as store:
        Keeper(store).update(range(1, 30))
    archive.unlink()
    with closing(SqliteStore.open(place)) as store:
        assert folded(store.records(CHANNEL)).version == 29
        assert store.archived(CHANNEL, 5) == []


def test_what_cannot_be_archived_is_not_deleted(tmp_path: Path) -> None:
    place, archive = tmp_path / "alice.sqlite", tmp_path / "alice.archive"
    with closing(SqliteStore.open(place, archive=archive)) as store:
        keeper = Keeper(store)
        keeper.keep(OPENED)
        assert store._archive is not None
        store._archive._connection.execute("PRAGMA query_only = ON")
        with pytest.raises(StoreFailed):
            keeper.update(range(1, 30))
    before = store_records(place)
    assert before[:3] == [OPENED, *update(1)]
    with closing(SqliteStore.open(place, archive=archive)) as store:
        again = Keeper(store)
        assert again.channel is not None
        again.update(range(again.channel.signed + 1, 40))
        assert store.archived(CHANNEL, 1) == update(1)


@pytest.mark.parametrize("what", ["a store", "noise"])
def test_an_archive_is_a_file_of_its_own(tmp_path: Path, what: str) -> None:
    other = tmp_path / "other"
    if what == "a store":
        SqliteStore.open(other).close()
    else:
        other.write_bytes(b"my thesis " * 1_000)
    before = other.read_bytes()
    with pytest.raises(StoreError):
        SqliteStore.open(tmp_path / "alice.sqlite", archive=other)
    assert other.read_bytes() == before
    SqliteStore.open(tmp_path / "alice.sqlite").close()
