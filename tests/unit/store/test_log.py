"""The log that belongs to an open store: no crash costs a record or a store, and no loss of it goes unsaid."""

from __future__ import annotations

import gc
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from channels.core.records import Record, Signed, TurnMoved
from channels.errors import StoreCorrupt, StoreError, StoreFailed, StoreIncomplete
from channels.store import SqliteStore, file, sqlite
from channels.store.wal import LogState, log_of, state_of
from tests.roles import CHANNEL, DEPLOYMENT
from tests.unit.store.crashes import every_crash, files_of, laid_out
from tests.writer import WRITTEN, update

ROOT = Path(__file__).parents[3]
MORE: list[Record] = [record for version in range(3, 9) for record in update(version)]


def crashed(path: Path, *records: Record) -> Path:
    """A copy of a store with a log, as a killed process leaves it."""
    left = path.with_name("left.sqlite")
    with closing(SqliteStore.open(path)) as store:
        for record in records or MORE:
            store.append(CHANNEL, [record])
        laid_out(files_of(path), left)
    return left


def contents(directory: Path) -> dict[str, bytes]:
    return {entry.name: entry.read_bytes() for entry in directory.iterdir() if entry.suffix != ".lock"}


def test_no_crash_in_a_stores_life_costs_a_record_or_the_store(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Opening, appends into a new log and into an old one, moving it in an append and in quiet, closing."""
    monkeypatch.setattr(sqlite, "LOGGED", 5 * sqlite.PER_CHANNEL)

    def life() -> None:
        with closing(SqliteStore.open(path)) as store:
            for number, record in enumerate(MORE, start=1):
                store.append(CHANNEL, [record])
                if number % 4 == 0:
                    store.checkpoint_log()

    check_each_append(path, monkeypatch)
    crashes, statements = every_crash(path, life, monkeypatch)
    assert statements > 60
    assert len(crashes) > 20
    lengths = []
    for at, files in enumerate(crashes):
        directory = tmp_path / f"crash {at}"
        directory.mkdir()
        place = laid_out(files, directory / "store.sqlite")
        before = contents(directory)
        with closing(SqliteStore.open(place, read_only=True)) as store:
            found = store.records(CHANNEL)
        assert contents(directory) == before
        assert found == [*WRITTEN, *MORE][: len(found)]
        lengths.append(len(found) - len(WRITTEN))
        with closing(SqliteStore.open(place)) as store:
            assert store.records(CHANNEL) == found
        assert not log_of(place).exists()
    assert lengths == sorted(lengths)
    assert set(lengths) == set(range(len(MORE) + 1))


def check_each_append(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Hold what every append returned for against a copy of the files at that moment."""
    append_all, copy = SqliteStore.append_all, path.with_name("copy.sqlite")

    def checked(store: SqliteStore, batch: Any) -> None:
        append_all(store, batch)
        with closing(SqliteStore.open(laid_out(files_of(path), copy), read_only=True)) as copied:
            assert copied.records(CHANNEL) == store.records(CHANNEL)

    monkeypatch.setattr(SqliteStore, "append_all", checked)


@pytest.mark.parametrize(("state", "left"), [("MISSING", None), ("EMPTY", b""), ("FOREIGN", b"SQLite format 3\0" * 99)])
def test_a_file_whose_log_is_gone_is_refused_and_read_only_where_that_is_asked_for(
    path: Path, state: str, left: bytes | None
) -> None:
    place = crashed(path)
    log_of(place).unlink()
    if left is not None:
        log_of(place).write_bytes(left)
    before = contents(path.parent)
    assert state_of(log_of(place)) == (LogState[state], False)
    for options in ({}, {"read_only": True}, {"salvage": True}):
        with pytest.raises(StoreIncomplete, match=r"left\.sqlite-wal.*copy both files"):
            SqliteStore.open(place, **options)
    with closing(SqliteStore.open(place, read_only=True, salvage=True)) as store:
        assert store.records(CHANNEL) == WRITTEN
    assert contents(path.parent) == before


def test_a_log_damaged_before_its_end_is_refused_and_its_beginning_can_be_salvaged(path: Path) -> None:
    place = crashed(path)
    log = bytearray(log_of(place).read_bytes())
    for at in (len(log) // 2, 40):
        damaged = bytearray(log)
        damaged[at] ^= 1
        log_of(place).write_bytes(damaged)
        before = contents(path.parent)
        for options in ({}, {"read_only": True}):
            with pytest.raises(StoreIncomplete, match="damaged before its end"):
                SqliteStore.open(place, **options)
        with closing(SqliteStore.open(place, read_only=True, salvage=True)) as store:
            found = store.records(CHANNEL)
        assert contents(path.parent) == before
        assert found == [*WRITTEN, *MORE][: len(found)]
        assert (len(found) > len(WRITTEN)) == (at > 40)


def test_a_file_older_than_its_log_is_refused(path: Path) -> None:
    """Copied before it, with a log between them that went into the file: only the cursor is in the one that is left."""
    place = path.with_name("copy.sqlite")
    with closing(SqliteStore.open(path)) as store:
        place.write_bytes(path.read_bytes())
        store.append(CHANNEL, MORE)
        store.checkpoint_log()
        store.advance(DEPLOYMENT, 99)
        log_of(place).write_bytes(log_of(path).read_bytes())
    with pytest.raises(StoreCorrupt, match="older than its log"):
        SqliteStore.open(place, read_only=True)


@contextmanager
def as_nobody(directory: Path) -> Iterator[None]:
    """Without the right to write there; also where the tests run as root, whom no mode stops."""
    is_root = os.geteuid() == 0
    for parent in (directory, *directory.parents):
        if is_root and parent.stat().st_uid == 0 and parent != Path("/"):
            parent.chmod(parent.stat().st_mode | 0o011)
    for entry in directory.iterdir():
        entry.chmod(0o444)
    directory.chmod(0o555)
    if is_root:
        os.seteuid(65_534)
    try:
        yield
    finally:
        if is_root:
            os.seteuid(0)
        directory.chmod(0o700)


def test_the_log_of_a_dead_node_is_read_where_nothing_can_be_written(path: Path, tmp_path: Path) -> None:
    medium = tmp_path / "medium"
    medium.mkdir()
    shutil.copy(place := crashed(path), medium)
    shutil.copy(log_of(place), medium)
    before = contents(medium)
    with as_nobody(medium):
        with pytest.raises(PermissionError):
            (medium / "a file").touch()
        with closing(SqliteStore.open(medium / place.name, read_only=True)) as store:
            assert store.records(CHANNEL) == [*WRITTEN, *MORE]
    assert contents(medium) == before


# ---------------------------------------------------------------------------------------------------------------
# A store that nobody closes, and a disk that refuses while it is closed: SQLite would delete the log by itself


def test_a_store_that_is_dropped_and_not_closed_is_whole(path: Path) -> None:
    store = SqliteStore.open(path)
    store.append(CHANNEL, MORE)
    lock = store._lock
    del store
    gc.collect()
    lock.release()
    assert not log_of(path).exists()
    with closing(SqliteStore.open(path)) as again:
        assert again.records(CHANNEL) == [*WRITTEN, *MORE]


@pytest.mark.parametrize(
    "end", ["", "sys.exit(1)", "raise KeyboardInterrupt", "os._exit(1)", "os.kill(os.getpid(), 9)"]
)
def test_a_process_that_ends_without_closing_leaves_a_whole_store(path: Path, end: str) -> None:
    script = f"""
import os, sys
from tests.unit.store.test_log import CHANNEL, MORE, SqliteStore
store = SqliteStore.open({str(path)!r})
store.append(CHANNEL, MORE)
{end}
"""
    subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)}, stderr=subprocess.DEVNULL
    )
    for options in ({"read_only": True}, {}):
        with closing(SqliteStore.open(path, **options)) as again:
            assert again.records(CHANNEL) == [*WRITTEN, *MORE]


@pytest.mark.parametrize("refused", ["wal_checkpoint", "open = 0", "begins ="])
@pytest.mark.parametrize("returns", [True, False])
def test_a_disk_that_refuses_while_a_store_is_closed_costs_nothing(
    path: Path, refused: str, returns: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether or not SQLite can move the log after all, when the connection goes."""

    class Refusing:
        """A connection that fails at one kind of statement."""

        def __init__(self, real: sqlite3.Connection) -> None:
            self.real = real

        def __getattr__(self, name: str) -> Any:
            return getattr(self.real, name)

        def execute(self, statement: str, *values: Any) -> Any:
            if refused in statement:
                if not returns:
                    self.real.execute("PRAGMA query_only = ON")
                raise sqlite3.OperationalError("disk I/O error")
            return self.real.execute(statement, *values)

    store = SqliteStore.open(path)
    store.append(CHANNEL, MORE)
    assert store._file is not None
    monkeypatch.setattr(store._file, "connection", Refusing(store._file.connection))
    store.close()
    for options in ({"read_only": True}, {}):
        with closing(SqliteStore.open(path, **options)) as again:
            assert again.records(CHANNEL) == [*WRITTEN, *MORE]
    assert sorted(contents(path.parent)) == ["alice.sqlite"]


def test_a_log_that_was_kept_under_another_name_is_found_again(path: Path) -> None:
    """Killed between SQLite's deletion of the log and giving it its name back."""
    place = crashed(path)
    log_of(place).rename(f"{log_of(place)}.kept")
    with closing(SqliteStore.open(place)) as store:
        assert store.records(CHANNEL) == [*WRITTEN, *MORE]


def test_an_opening_that_is_refused_at_last_leaves_a_whole_store(path: Path) -> None:
    """The log of a dead node is in the file by then, and the archive turns out to be none."""
    place = crashed(path)
    noise = path.with_name("noise")
    noise.write_bytes(b"my thesis " * 1_000)
    with pytest.raises(StoreError):
        SqliteStore.open(place, archive=noise)
    with closing(SqliteStore.open(place)) as store:
        assert store.records(CHANNEL) == [*WRITTEN, *MORE]


def test_a_log_that_cannot_be_moved_bars_the_store_and_loses_nothing(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = SqliteStore.open(path)
    store.append(CHANNEL, MORE)
    assert store._file is not None

    def refuse() -> None:
        raise sqlite3.OperationalError("disk I/O error")

    monkeypatch.setattr(store._file, "checkpoint", refuse)
    with pytest.raises(StoreFailed, match="disk I/O error"):
        store.checkpoint_log()
    with pytest.raises(StoreFailed, match="an earlier write failed"):
        store.append(CHANNEL, [TurnMoved(9)])
    store.checkpoint_log()
    store.close()
    with closing(SqliteStore.open(path)) as again:
        assert again.records(CHANNEL) == [*WRITTEN, *MORE]


def test_the_log_is_moved_when_it_has_grown_and_stays_bounded(path: Path) -> None:
    main, moved = path.read_bytes(), 0
    with closing(SqliteStore.open(path)) as store:
        sizes = []
        for turn in range(1, 200):
            store.append(CHANNEL, [TurnMoved(turn)])
            moved += main != (main := path.read_bytes())
            sizes.append(log_of(path).stat().st_size)
        each = sqlite.LOGGED // (sqlite.PER_CHANNEL + sqlite.PER_RECORD)
        assert 199 // (each + 1) <= moved - 1 <= 199 // (each - 1)
        assert max(sizes) <= sqlite.LOGGED
        signed = [record for record in store.records(CHANNEL) if isinstance(record, Signed)]
    assert len(signed) == 2
    assert file.MAX_LOG >= sqlite.LOGGED
