"""The journal on disk: one SQLite file, one writer, everything in the main file when `append` returns.

Write-ahead logging alone would keep the newest records in a second file, whose loss or truncation SQLite takes for a
clean end: records that were acknowledged would be gone without a sign. So each append is committed and then
checkpointed into the main file before it returns: the log is synced, then the main file (and the log's header, where
it begins anew). Whoever copies or truncates that file gets a complete journal or a typed error, never a shorter one.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from ..core.records import Record
from ..errors import (
    AlreadySigned,
    StoreCorrupt,
    StoreError,
    StoreFailed,
    StoreLocked,
    StoreMissing,
    StoreTooNew,
)
from ..model import ChannelId, Deployment
from ..model.identity import checked_range
from .codec import FIRST_LINK, MAX_BLOCK, SIGNED, Entry, decode_records, encode_record
from .lock import StoreLock

SCHEMA_VERSION = 1
APPLICATION_ID = 0x4F504348
MIN_PAGE = 512
"""Bytes of the smallest database that SQLite writes."""

_LAST = "SELECT seq, link FROM journal WHERE channel = ? ORDER BY seq DESC LIMIT 1"
_APPEND = "INSERT INTO journal (channel, seq, kind, version, digest, body, link) VALUES (?, ?, ?, ?, ?, ?, ?)"
_JOURNAL = "SELECT kind, version, digest, body, link FROM journal WHERE channel = ? ORDER BY seq"
_SIGNED = f"SELECT digest FROM journal WHERE channel = ? AND version = ? AND kind = {SIGNED}"


class SqliteStore:
    """A journal of channels in one file of mode 0600. Made by `open`; thread-safe; one writing process at a time.

    After a failed write it refuses every further one: what the disk holds then is only known after it is opened again.
    """

    def __init__(self, path: Path, connection: sqlite3.Connection, lock: StoreLock, read_only: bool) -> None:
        self._path = path
        self._connection: sqlite3.Connection | None = connection
        self._lock = lock
        self._barred = "it is open for reading only" if read_only else ""
        self._guard = threading.Lock()

    @classmethod
    def open(cls, path: str | os.PathLike[str], *, create: bool = True, read_only: bool = False) -> SqliteStore:
        """Open the store at `path`, or create it where there is none; `read_only` never creates.

        Raises StoreMissing, StoreLocked (a node has it open), StoreCorrupt, StoreTooNew, StoreFailed. A file that is
        refused is left as it was found.
        """
        place = Path(path).resolve()
        create = create and not read_only
        if not place.parent.is_dir():
            raise StoreMissing(str(place), "its directory does not exist")
        if not create and not place.exists():
            raise StoreMissing(str(place), "there is no store at this path")
        lock = StoreLock(place, shared=read_only)
        try:
            with _mapped(place):
                if create and not place.exists():
                    _create(place)
                connection = _inspected(place)
                if not read_only:
                    connection.close()
                    connection = _writable(place)
        except BaseException:
            lock.release()
            raise
        return cls(place, connection, lock, read_only)

    @property
    def path(self) -> str:
        return str(self._path)

    def append(self, channel: ChannelId, records: Sequence[Record]) -> None:
        """Append one channel's records, as `append_all` does."""
        self.append_all({channel: records})

    def append_all(self, batch: Mapping[ChannelId, Sequence[Record]]) -> None:
        """Append all or none, in one transaction; durable in the main file when this returns. Errors as in the port."""
        encoded = {
            channel: [encode_record(channel, record) for record in records] for channel, records in batch.items()
        }
        with self._writing() as connection:
            for channel, entries in encoded.items():
                _append(connection, channel, entries)

    def channels(self) -> list[ChannelId]:
        """Return the channels known, oldest first."""
        rows = self._read("SELECT channel FROM journal WHERE seq = 1 ORDER BY position")
        return [ChannelId(channel) for (channel,) in rows]

    def records(self, channel: ChannelId) -> list[Record]:
        """Return a channel's records in the order of appending; none for a channel that is not known."""
        rows = self._read(_JOURNAL, channel)
        return decode_records(self.path, ((_entry(*columns), link) for *columns, link in rows))

    def cursor(self, deployment: Deployment) -> int:
        """Return the last block whose facts are journalled for this adjudicator; 0 at first."""
        rows = self._read("SELECT block FROM cursor WHERE chain_id = ? AND adjudicator = ?", *_key(deployment))
        return int(rows[0][0]) if rows else 0

    def advance(self, deployment: Deployment, block: int) -> None:
        """Move the cursor; a block below it changes nothing."""
        checked_range("block", block, 0, MAX_BLOCK)
        if block <= self.cursor(deployment):
            return
        with self._writing() as connection:
            moved = connection.execute(
                "UPDATE cursor SET block = max(block, ?) WHERE chain_id = ? AND adjudicator = ?",
                (block, *_key(deployment)),
            )
            if not moved.rowcount:
                connection.execute("INSERT INTO cursor VALUES (?, ?, ?)", (*_key(deployment), block))

    def close(self) -> None:
        """Release the file and its lock; further calls raise StoreFailed."""
        with self._guard:
            connection, self._connection = self._connection, None
            try:
                if connection is not None:
                    with _mapped(self._path):
                        connection.close()
            finally:
                self._lock.release()

    @contextlib.contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        with self._guard:
            connection = self._opened()
            if self._barred:
                raise StoreFailed(self.path, self._barred)
            try:
                with _mapped(self._path):
                    connection.execute("BEGIN IMMEDIATE")
                    yield connection
                    connection.execute("COMMIT")
                    _checkpoint(self._path, connection)
            except BaseException as refused:
                if isinstance(refused, StoreError) and not isinstance(refused, AlreadySigned):
                    self._barred = "an earlier write failed: stop, see to the disk, and open it again"
                if connection.in_transaction:
                    with contextlib.suppress(sqlite3.Error):
                        connection.execute("ROLLBACK")
                raise

    def _read(self, query: str, *values: bytes) -> list[tuple[Any, ...]]:
        with self._guard, _mapped(self._path):
            return self._opened().execute(query, values).fetchall()

    def _opened(self) -> sqlite3.Connection:
        if self._connection is None:
            raise StoreFailed(self.path, "it is closed")
        return self._connection


def _key(deployment: Deployment) -> tuple[bytes, bytes]:
    return deployment.chain_id.to_bytes(32, "big"), bytes(deployment.adjudicator)


def _entry(kind: int, version: bytes | None, digest: bytes | None, body: bytes) -> Entry:
    return Entry(kind, None if version is None else int.from_bytes(version, "big"), digest, body)


def _append(connection: sqlite3.Connection, channel: ChannelId, entries: Sequence[Entry]) -> None:
    seq, link = connection.execute(_LAST, (channel,)).fetchone() or (0, FIRST_LINK)
    for entry in entries:
        if entry.kind == SIGNED and _is_signed(connection, channel, entry):
            continue
        seq, link = seq + 1, entry.link(link)
        connection.execute(_APPEND, (channel, seq, entry.kind, entry.version_key, entry.digest, entry.body, link))


def _is_signed(connection: sqlite3.Connection, channel: ChannelId, entry: Entry) -> bool:
    known = connection.execute(_SIGNED, (channel, entry.version_key)).fetchone()
    if known is not None and known[0] != entry.digest:
        raise AlreadySigned(entry.version or 0)
    return known is not None


# ---------------------------------------------------------------------------------------------------------------
# The file


@contextlib.contextmanager
def _mapped(place: Path) -> Iterator[None]:
    """Turn what sqlite3 and the file system say into the store's errors, here and nowhere else."""
    try:
        yield
    except sqlite3.Error as refused:
        code = getattr(refused, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
        if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            raise StoreLocked(str(place)) from refused
        if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
            raise StoreCorrupt(str(place), str(refused)) from refused
        raise StoreFailed(str(place), str(refused)) from refused
    except UnicodeDecodeError as refused:  # sqlite3 quotes a damaged schema in its message, and cannot decode it
        raise StoreCorrupt(str(place), "its schema is not text") from refused
    except OSError as refused:
        raise StoreFailed(str(place), refused.strerror or str(refused)) from refused


def _connect(place: Path, mode: str) -> sqlite3.Connection:
    return sqlite3.connect(
        f"{place.as_uri()}?{mode}", uri=True, timeout=0, isolation_level=None, check_same_thread=False
    )


@cache
def _schema() -> tuple[str, frozenset[tuple[bytes, bytes]]]:
    """The schema's text, and the objects it makes: (name, definition)."""
    text = (files(__package__) / "schema.sql").read_text("utf-8")
    with contextlib.closing(sqlite3.connect(":memory:")) as scratch:
        scratch.executescript(text)
        return text, _objects(scratch)


def _objects(connection: sqlite3.Connection) -> frozenset[tuple[bytes, bytes]]:
    """What is defined, as bytes: a damaged definition need not be text."""
    return frozenset(connection.execute("SELECT CAST(name AS BLOB), CAST(sql AS BLOB) FROM sqlite_master"))


def _create(place: Path) -> None:
    """Make an empty store under another name and rename it: a crash leaves a whole store or none."""
    if Path(f"{place}-wal").exists():
        raise StoreCorrupt(str(place), "the file is gone and its -wal is still there")
    draft = Path(f"{place}.new")
    draft.unlink(missing_ok=True)
    os.close(os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    with contextlib.closing(_connect(draft, "mode=rw")) as connection:
        connection.execute("PRAGMA synchronous = FULL")
        connection.executescript(_schema()[0])
        connection.execute("PRAGMA journal_mode = WAL")
    draft.replace(place)
    _sync_directory(place.parent)


def _sync_directory(directory: Path) -> None:
    """Make a rename durable; Windows cannot open directories, and needs no such call."""
    if os.name == "posix":
        descriptor = os.open(directory, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _inspected(place: Path) -> sqlite3.Connection:
    """Return a connection that cannot write, once the file is seen to be a whole store of a known schema.

    A connection that can write would move the log into a damaged file when it closes. Without a log there is nothing
    to coordinate, and `immutable` keeps SQLite from making files beside the store.
    """
    if not place.is_file():
        raise StoreMissing(str(place), "this is not a file")
    size = place.stat().st_size
    if size < MIN_PAGE:  # SQLite takes a file of no byte, or of one, for a new database, and deletes its log
        raise StoreCorrupt(str(place), "it is empty" if size == 0 else f"only {size} bytes are left of it")
    log = Path(f"{place}-wal")
    logged = log.exists() and log.stat().st_size > 0
    connection = _connect(place, "mode=ro" if logged else "mode=ro&immutable=1")
    try:
        _inspect(place, connection, None if logged else size)
    except BaseException:
        connection.close()
        raise
    return connection


def _inspect(place: Path, connection: sqlite3.Connection, size: int | None) -> None:
    def pragma(name: str) -> int:
        return int(connection.execute(f"PRAGMA {name}").fetchone()[0])

    if pragma("application_id") != APPLICATION_ID:
        raise StoreCorrupt(str(place), "it is not a store of this library")
    if (found := pragma("user_version")) > SCHEMA_VERSION:
        raise StoreTooNew(str(place), found, SCHEMA_VERSION)
    if size is not None and pragma("page_count") * pragma("page_size") != size:
        raise StoreCorrupt(str(place), f"it has {size} bytes, its header says another number")
    if found != SCHEMA_VERSION or _objects(connection) != _schema()[1]:
        raise StoreCorrupt(str(place), "its schema was altered")
    (verdict,) = connection.execute("PRAGMA integrity_check(1)").fetchone()
    if verdict != "ok":
        raise StoreCorrupt(str(place), str(verdict))
    gaps = "SELECT 1 FROM journal GROUP BY channel HAVING min(seq) <> 1 OR max(seq) <> count(*) LIMIT 1"
    if connection.execute(gaps).fetchone():
        raise StoreCorrupt(str(place), "records are missing")


def _writable(place: Path) -> sqlite3.Connection:
    """Return the writing connection; it holds SQLite's exclusive lock too, which keeps other programs out."""
    connection = _connect(place, "mode=rw")
    try:
        connection.execute("PRAGMA locking_mode = EXCLUSIVE")
        # The checkpoint syncs the log before it writes the main file, and then that; a commit need not sync it as well.
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute("PRAGMA fullfsync = ON")
        connection.execute("PRAGMA checkpoint_fullfsync = ON")
        connection.execute("PRAGMA wal_autocheckpoint = 0")
        connection.execute("PRAGMA trusted_schema = OFF")
        if connection.execute("PRAGMA journal_mode = WAL").fetchone() != ("wal",):
            raise StoreFailed(str(place), "this file system does not allow write-ahead logging")
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("COMMIT")
        _checkpoint(place, connection)
        # In exclusive mode the log's index is in memory; a file of it is a reader's leftover.
        Path(f"{place}-shm").unlink(missing_ok=True)
    except BaseException:
        connection.close()
        raise
    return connection


def _checkpoint(place: Path, connection: sqlite3.Connection) -> None:
    """Move the log into the main file and sync it; StoreFailed unless all of it went."""
    busy, logged, moved = connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
    if busy or logged != moved:
        raise StoreFailed(str(place), f"{moved} of {logged} pages reached the main file")
