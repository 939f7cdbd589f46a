"""The store's file: one writer, no silent repair, no silent loss."""

from __future__ import annotations

import os
import shutil
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from channels.core.records import Signed, TermsAccepted, TurnMoved
from channels.errors import (
    AlreadySigned,
    StoreCorrupt,
    StoreFailed,
    StoreLocked,
    StoreMissing,
    StoreTooNew,
)
from channels.store import SqliteStore
from channels.store.file import APPLICATION_ID
from channels.store.migrations import SCHEMA_VERSION
from channels.store.wal import log_of
from tests.roles import CHANNEL, DEPLOYMENT, UNIT, half
from tests.writer import OPENED, WRITTEN, update

ROOT = Path(__file__).parents[3]


def writer(*arguments: object) -> subprocess.Popen[str]:
    """Start the writing process."""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "tests.writer", *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


def said(process: subprocess.Popen[str]) -> str:
    """The next line of the writing process."""
    assert process.stdout is not None
    return process.stdout.readline().strip()


def killed(process: subprocess.Popen[str]) -> list[str]:
    """Kill −9, and return what it had said and was not read yet."""
    process.kill()
    rest, _ = process.communicate()
    return rest.split()


def contents(directory: Path) -> dict[str, bytes]:
    return {entry.name: entry.read_bytes() for entry in directory.iterdir()}


def test_what_was_written_is_there_after_closing(path: Path) -> None:
    for options in ({}, {"create": False}, {"read_only": True}):
        with closing(SqliteStore.open(path, **options)) as store:
            assert store.path == str(path)
            assert store.channels() == [CHANNEL]
            assert store.records(CHANNEL) == WRITTEN
            assert store.cursor(DEPLOYMENT) == 7


def test_a_version_stays_signed_after_reopening(path: Path) -> None:
    other = Signed(half(version=2, balances=(1, 15_000 * UNIT - 1)), ())
    with closing(SqliteStore.open(path)) as store, pytest.raises(AlreadySigned):
        store.append(CHANNEL, [other])


def test_a_closed_store_is_one_file_beside_its_lock(path: Path) -> None:
    assert sorted(contents(path.parent)) == ["alice.sqlite", "alice.sqlite.lock"]


def test_only_its_owner_may_read_a_store(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        with closing(SqliteStore.open(tmp_path / "open.sqlite")) as store:
            store.append(CHANNEL, [OPENED])
            modes = {entry.name: stat.S_IMODE(entry.stat().st_mode) for entry in tmp_path.iterdir()}
    finally:
        os.umask(before)
    assert modes == dict.fromkeys(["open.sqlite", "open.sqlite-wal", "open.sqlite.lock"], 0o600)


@pytest.mark.parametrize("name", ["a b.sqlite", "what?.sqlite", "50%25.sqlite", "#1.sqlite", "Zürich.sqlite"])
def test_a_store_may_have_any_file_name(tmp_path: Path, name: str) -> None:
    with closing(SqliteStore.open(str(tmp_path / name))) as store:
        store.append(CHANNEL, [OPENED])
    assert (tmp_path / name).is_file()
    with closing(SqliteStore.open(tmp_path / name, read_only=True)) as store:
        assert store.records(CHANNEL) == [OPENED]


# ---------------------------------------------------------------------------------------------------------------
# One writer


@pytest.mark.parametrize("options", [{}, {"create": False}, {"read_only": True}], ids=str)
def test_a_second_store_in_the_process_is_refused(path: Path, options: dict[str, bool]) -> None:
    link = path.with_name("link.sqlite")
    link.symlink_to(path)
    with closing(SqliteStore.open(path)):
        for name in (path, link):
            with pytest.raises(StoreLocked):
                SqliteStore.open(name, **options)
    SqliteStore.open(path, **options).close()


def test_a_second_process_is_refused_until_the_first_is_killed(path: Path) -> None:
    first = writer(path, 3)
    assert said(first) == "3"
    for options in ({}, {"read_only": True}):
        with pytest.raises(StoreLocked):
            SqliteStore.open(path, **options)
    second = writer(path, 100)
    output, errors = second.communicate()
    assert output == ""
    assert "StoreLocked" in errors
    acknowledged = [3, *map(int, killed(first))]
    with closing(SqliteStore.open(path)) as store:
        records = store.records(CHANNEL)
    assert set(acknowledged) <= {record.half.state.version for record in records if isinstance(record, Signed)}


def test_reading_the_file_does_not_let_a_second_writer_in(path: Path) -> None:
    """POSIX drops a process's record locks when it closes any descriptor of the file, as a backup does."""
    with closing(SqliteStore.open(path)) as store:
        path.read_bytes()
        other = writer(path, 100)
        output, errors = other.communicate()
        assert output == ""
        assert "StoreLocked" in errors
        store.append(CHANNEL, [TurnMoved(2)])


def test_readers_share_and_keep_a_writer_out(path: Path) -> None:
    with closing(SqliteStore.open(path, read_only=True)), closing(SqliteStore.open(path, read_only=True)) as store:
        with pytest.raises(StoreLocked):
            SqliteStore.open(path)
        assert store.records(CHANNEL) == WRITTEN
    SqliteStore.open(path).close()


def test_another_program_cannot_write_while_the_store_is_open(path: Path) -> None:
    with (
        closing(SqliteStore.open(path)),
        closing(sqlite3.connect(path, timeout=0)) as raw,
        pytest.raises(sqlite3.OperationalError, match="locked"),
    ):
        raw.execute("DELETE FROM journal")


def test_a_refused_open_releases_the_lock(path: Path) -> None:
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])
    with pytest.raises(StoreCorrupt):
        SqliteStore.open(path)
    path.write_bytes(whole)
    SqliteStore.open(path).close()


# ---------------------------------------------------------------------------------------------------------------
# Nothing there, or something else


@pytest.mark.parametrize("options", [{"create": False}, {"read_only": True}], ids=str)
def test_a_missing_store_is_not_created_by_looking_for_it(tmp_path: Path, options: dict[str, bool]) -> None:
    with pytest.raises(StoreMissing, match="no store at this path"):
        SqliteStore.open(tmp_path / "nothing.sqlite", **options)
    assert contents(tmp_path) == {}


def test_a_missing_directory_is_named(tmp_path: Path) -> None:
    with pytest.raises(StoreMissing, match="directory does not exist"):
        SqliteStore.open(tmp_path / "nowhere" / "alice.sqlite")


def test_a_directory_is_no_store(tmp_path: Path) -> None:
    (tmp_path / "dir").mkdir()
    with pytest.raises(StoreMissing, match="not a file"):
        SqliteStore.open(tmp_path / "dir")


def foreign(path: Path) -> None:
    with closing(sqlite3.connect(path)) as raw:
        raw.execute("CREATE TABLE notes (text)")


@pytest.mark.parametrize(
    "make",
    [
        foreign,
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(b"\0"),
        lambda path: path.write_bytes(b"SQLite format 3\0"),
        lambda path: path.write_bytes(b"SQLite format 3\0" + bytes(4080)),
        lambda path: path.write_bytes(b"not a store" * 1000),
        lambda path: path.write_bytes(os.urandom(8192)),
    ],
    ids=["another program's", "empty", "one byte", "magic only", "magic and zeros", "text", "noise"],
)
@pytest.mark.parametrize("options", [{}, {"read_only": True}], ids=str)
def test_a_file_that_is_no_store_is_refused_and_left_alone(
    tmp_path: Path, make: Callable[[Path], object], options: dict[str, bool]
) -> None:
    make(tmp_path / "a.sqlite")
    before = contents(tmp_path)
    with pytest.raises(StoreCorrupt):
        SqliteStore.open(tmp_path / "a.sqlite", **options)
    assert {name: data for name, data in contents(tmp_path).items() if name != "a.sqlite.lock"} == before


def test_a_log_without_its_store_is_not_overwritten(path: Path) -> None:
    log = path.with_name(path.name + "-wal")
    log.write_bytes(b"the log")
    path.unlink()
    with pytest.raises(StoreCorrupt, match="-wal is still there"):
        SqliteStore.open(path)
    assert not path.exists()
    assert log.read_bytes() == b"the log"


@pytest.mark.parametrize("left", [b"", b"S", b"SQLite format 3\0"])
def test_a_file_cut_to_nothing_beside_a_log_does_not_cost_the_log(path: Path, left: bytes) -> None:
    log = path.with_name(path.name + "-wal")
    log.write_bytes(b"the log")
    path.write_bytes(left)
    with pytest.raises(StoreCorrupt, match=r"empty|are left"):
        SqliteStore.open(path)
    assert (path.read_bytes(), log.read_bytes()) == (left, b"the log")


def test_a_crash_while_creating_leaves_nothing_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "a.sqlite.new").write_bytes(b"half a st")
    with closing(SqliteStore.open(tmp_path / "a.sqlite")) as store:
        assert store.channels() == []
    assert not (tmp_path / "a.sqlite.new").exists()


def raw_sql(path: Path, script: str) -> None:
    """What somebody does with the sqlite3 shell while no node runs."""
    with closing(sqlite3.connect(path)) as raw:
        raw.executescript(script)
        raw.execute("PRAGMA journal_mode = DELETE")
        raw.execute("PRAGMA journal_mode = WAL")


def test_a_newer_schema_is_refused_and_left_alone(path: Path) -> None:
    raw_sql(path, f"PRAGMA user_version = {SCHEMA_VERSION + 1}; CREATE TABLE novelty (x);")
    before = path.read_bytes()
    for options in ({}, {"read_only": True}):
        with pytest.raises(StoreTooNew) as refused:
            SqliteStore.open(path, **options)
        assert (refused.value.found, refused.value.known) == (SCHEMA_VERSION + 1, SCHEMA_VERSION)
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    "script",
    [
        "PRAGMA user_version = 0",
        "PRAGMA user_version = -1",
        "PRAGMA application_id = 1",
        "DROP INDEX sign_once",
        "DROP INDEX sign_once; CREATE INDEX sign_once ON journal (channel, version) WHERE kind = 3",
        "DROP INDEX journal_checkpoints",
        "DROP TRIGGER journal_signs_once_ever",
        "DROP TRIGGER journal_keeps_the_floor",
        "DROP TRIGGER journal_has_no_gaps",
        "DROP TRIGGER journal_never_changes",
        "DROP TRIGGER journal_forgets_what_is_checkpointed",
        "PRAGMA user_version = 1",
        "DROP TRIGGER cursor_is_placed_once",
        "DROP TRIGGER cursor_never_goes_back",
        "DROP TRIGGER cursor_never_forgets",
        "CREATE TRIGGER mine AFTER INSERT ON journal BEGIN SELECT 1; END",
        "DROP TABLE cursor",
        "DROP TABLE journal",
    ],
)
def test_a_store_whose_guards_were_taken_away_is_refused(path: Path, script: str) -> None:
    raw_sql(path, script)
    with pytest.raises(StoreCorrupt):
        SqliteStore.open(path)


def test_a_schema_that_is_not_text_is_corrupt(path: Path) -> None:
    """sqlite3 quotes a damaged definition in its message, and then cannot decode the message."""
    whole = path.read_bytes()
    start = whole.index(b"CREATE TABLE journal")
    for at in range(start, start + 100):
        damaged = bytearray(whole)
        damaged[at] ^= 0x80
        path.write_bytes(damaged)
        with pytest.raises(StoreCorrupt):
            SqliteStore.open(path)


@pytest.mark.parametrize("change", [-4096, -1, 1, 4096])
def test_a_file_of_another_size_than_its_header_says_is_refused_when_it_is_opened(path: Path, change: int) -> None:
    whole = path.read_bytes()
    path.write_bytes(whole[:change] if change < 0 else whole + bytes(change))
    with pytest.raises(StoreCorrupt):
        SqliteStore.open(path)


def test_a_damaged_index_that_would_let_a_version_be_signed_again_is_refused(path: Path) -> None:
    with closing(sqlite3.connect(path)) as raw:
        (page,) = raw.execute("SELECT rootpage FROM sqlite_master WHERE name = 'sign_once'").fetchone()
        (size,) = raw.execute("PRAGMA page_size").fetchone()
    damaged = bytearray(path.read_bytes())
    at = damaged.index(CHANNEL + (2).to_bytes(8, "big"), (page - 1) * size, page * size) + len(CHANNEL)
    damaged[at : at + 8] = (9).to_bytes(8, "big")
    path.write_bytes(damaged)
    with pytest.raises(StoreCorrupt):
        SqliteStore.open(path)


def test_a_record_deleted_behind_the_guards_is_missed(path: Path) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as raw:
        (guard,) = raw.execute(
            "SELECT sql FROM sqlite_master WHERE name = 'journal_forgets_what_is_checkpointed'"
        ).fetchone()
        raw.execute("DROP TRIGGER journal_forgets_what_is_checkpointed")
        raw.execute("DELETE FROM journal WHERE seq = 2")
        raw.execute(guard)
    with pytest.raises(StoreCorrupt, match="records are missing"):
        SqliteStore.open(path)


def test_a_commit_is_synced_and_an_append_is_one_commit_of_the_log(path: Path) -> None:
    """A killed process cannot show the sync, since the kernel keeps what was written: so the settings are asked."""
    statements: list[str] = []
    log = log_of(path)
    with closing(SqliteStore.open(path)) as store:
        assert store._connection is not None
        settings = ("synchronous", 2), ("fullfsync", 1), ("wal_autocheckpoint", 0), ("cache_spill", 0)
        for name, value in settings:
            assert store._connection.execute(f"PRAGMA {name}").fetchone() == (value,)
        main = path.read_bytes()
        for turn in range(2, 9):
            logged = log.read_bytes()
            store._connection.set_trace_callback(statements.append)
            store.append(CHANNEL, [TurnMoved(turn)])
            store._connection.set_trace_callback(None)
            assert path.read_bytes() == main
            assert log.read_bytes() != logged
    # The first one begins a log and says so; a statement alone is a transaction.
    assert [statements.count(text) for text in ("BEGIN IMMEDIATE", "COMMIT")] == [1, 1]
    assert len({statement for statement in statements if statement.startswith("INSERT")}) == 7
    assert not any("checkpoint" in statement for statement in statements)


def test_the_file_says_what_it_is(path: Path) -> None:
    with closing(sqlite3.connect(path)) as raw:
        assert raw.execute("PRAGMA application_id").fetchone() == (APPLICATION_ID,)
        assert raw.execute("PRAGMA user_version").fetchone() == (SCHEMA_VERSION,)
        assert raw.execute("PRAGMA journal_mode").fetchone() == ("wal",)


# ---------------------------------------------------------------------------------------------------------------
# Reading only


def test_a_reader_cannot_write_and_leaves_no_trace(path: Path) -> None:
    before = contents(path.parent)
    with closing(SqliteStore.open(path, read_only=True)) as store:
        with pytest.raises(StoreFailed, match="reading only"):
            store.append(CHANNEL, [TermsAccepted()])
        with pytest.raises(StoreFailed, match="reading only"):
            store.advance(DEPLOYMENT, 8)
        assert store.records(CHANNEL) == WRITTEN
        assert contents(path.parent) == before
    assert contents(path.parent) == before


def test_a_copy_on_a_read_only_medium_can_be_read(path: Path) -> None:
    place = path.parent / "medium"
    place.mkdir()
    shutil.copy(path, place / "copy.sqlite")
    (place / "copy.sqlite").chmod(0o400)
    place.chmod(0o500)
    try:
        with closing(SqliteStore.open(place / "copy.sqlite", read_only=True)) as store:
            assert store.records(CHANNEL) == WRITTEN
    finally:
        place.chmod(0o700)
    assert [entry.name for entry in place.iterdir()] == ["copy.sqlite"]


def test_the_store_of_a_killed_node_is_read_and_then_opened_again(path: Path) -> None:
    process = writer(path, 3)
    while said(process) != "12":
        pass
    last = [12, *map(int, killed(process))][-1]
    with closing(SqliteStore.open(path, read_only=True)) as store:
        seen = store.records(CHANNEL)
    assert {record.half.state.version for record in seen if isinstance(record, Signed)} >= set(range(1, last + 1))
    with closing(SqliteStore.open(path)) as store:
        assert store.records(CHANNEL) == seen
    assert sorted(contents(path.parent)) == ["alice.sqlite", "alice.sqlite.lock"]


# ---------------------------------------------------------------------------------------------------------------
# A full disk


def test_a_full_disk_stops_the_store_and_loses_nothing(path: Path) -> None:
    process = writer(path, 3, 100_000)
    output, errors = process.communicate(timeout=30)
    lines = output.splitlines()
    acknowledged = [int(line) for line in lines if line.isdigit()]
    assert errors == ""
    assert acknowledged == list(range(3, 3 + len(acknowledged)))
    assert acknowledged
    failed, again, readable = lines[len(acknowledged) :]
    assert failed.startswith("failed: the store") and "could not be written" in failed
    assert "an earlier write failed" in again
    assert int(readable.removeprefix("readable: ")) >= len(WRITTEN) + 2 * len(acknowledged)
    with closing(SqliteStore.open(path)) as store:
        versions = {record.half.state.version for record in store.records(CHANNEL) if isinstance(record, Signed)}
        assert versions >= {1, 2, *acknowledged}
        assert 2**63 not in versions
        store.append(CHANNEL, update(2**63))
