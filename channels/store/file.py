"""The store's file and the log that belongs to it: how they are made, judged, opened and closed.

What was appended since the last checkpoint is in the log alone, and SQLite takes a log that is lost for a clean end. So
the file says that a log belongs to it: a flag, set in the file before the first append and cleared by the last
checkpoint. A file with the flag and without its log is refused. The row with the flag also says, in each log's first
transaction, at which record that log begins: a file that is older than its log (copied before it, with a checkpoint in
between) is refused as well.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from ..errors import StoreCorrupt, StoreFailed, StoreIncomplete, StoreLocked, StoreMissing, StoreTooNew
from .keep import sync_directory
from .migrations import LOGS_SINCE, SCHEMA_VERSION, build, definitions, migrate, objects
from .rows import GAPS
from .wal import LogState, log_of, state_of

APPLICATION_ID = 0x4F504348
MIN_PAGE = 512
"""Bytes of the smallest database that SQLite writes."""
MAX_FREE = 2_048
"""Free pages that a file may keep when it is opened for writing, or as many as it uses."""
MAX_LOG = 2**21
"""Bytes that the log keeps after a larger transaction."""
UNLOCKED = "win32-none" if os.name == "nt" else "unix-none"
"""SQLite's file system without locks and shared memory: readers of a log then leave no file beside it, and need not."""

Written = TypeVar("Written")

_HEAD = "(SELECT coalesce(max(position), 0) FROM journal)"
_SAYS = f"SELECT open, begins <= {_HEAD} FROM log"
_OPENED = f"UPDATE log SET open = 1, begins = {_HEAD}"
_BEGINS = f"UPDATE log SET begins = {_HEAD}"
_CLOSED = "UPDATE log SET open = 0"


@contextlib.contextmanager
def mapped(place: Path) -> Iterator[None]:
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


def connect(place: Path, mode: str) -> sqlite3.Connection:
    """Open a database as it is; SQLite reads nothing of it yet."""
    return sqlite3.connect(
        f"{place.as_uri()}?{mode}", uri=True, timeout=0, isolation_level=None, check_same_thread=False
    )


def create(place: Path) -> None:
    """Make an empty store under another name and rename it: a crash leaves a whole store or none."""
    if log_of(place).exists():
        raise StoreCorrupt(str(place), "the file is gone and its -wal is still there")
    draft = Path(f"{place}.new")
    draft.unlink(missing_ok=True)
    os.close(os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    with contextlib.closing(connect(draft, "mode=rw")) as connection:
        connection.execute("PRAGMA synchronous = FULL")
        build(connection)
        connection.execute("PRAGMA journal_mode = WAL")
    draft.replace(place)
    sync_directory(place.parent)


# ---------------------------------------------------------------------------------------------------------------
# Judging


def inspected(place: Path, *, salvage: bool = False) -> sqlite3.Connection:
    """Return a connection that cannot write, once the file and its log are seen to be a whole store of a known schema.

    A connection that can write would move the log into a damaged file when it closes. With `salvage` a log that is
    lost or damaged is no reason to refuse: what is left of the journal may be a shorter one.
    """
    if not place.is_file():
        raise StoreMissing(str(place), "this is not a file")
    size = place.stat().st_size
    if size < MIN_PAGE:  # SQLite takes a file of no byte, or of one, for a new database, and deletes its log
        raise StoreCorrupt(str(place), "it is empty" if size == 0 else f"only {size} bytes are left of it")
    # A log that holds nothing has nothing to add, and SQLite would delete it when it closes.
    log, logged = state_of(log_of(place))
    connection = connect(place, f"mode=ro&vfs={UNLOCKED}" if logged else "mode=ro&immutable=1")
    try:
        # Who owns a log alone keeps its index in memory. At the end it fails to move the log into the file that it
        # may not write, and leaves both as they are.
        connection.execute("PRAGMA locking_mode = EXCLUSIVE")
        schema = _inspect(place, connection, None if logged else size)
        if schema >= LOGS_SINCE:
            _inspect_log(place, connection, log, salvage)
    except BaseException:
        connection.close()
        raise
    return connection


def _inspect(place: Path, connection: sqlite3.Connection, size: int | None) -> int:
    def pragma(name: str) -> int:
        return int(connection.execute(f"PRAGMA {name}").fetchone()[0])

    if pragma("application_id") != APPLICATION_ID:
        raise StoreCorrupt(str(place), "it is not a store of this library")
    if (found := pragma("user_version")) > SCHEMA_VERSION:
        raise StoreTooNew(str(place), found, SCHEMA_VERSION)
    if size is not None and pragma("page_count") * pragma("page_size") != size:
        raise StoreCorrupt(str(place), f"it has {size} bytes, its header says another number")
    if found < 1 or objects(connection) != definitions(found):
        raise StoreCorrupt(str(place), "its schema was altered")
    (verdict,) = connection.execute("PRAGMA integrity_check(1)").fetchone()
    if verdict != "ok":
        raise StoreCorrupt(str(place), str(verdict))
    if connection.execute(GAPS).fetchone():
        raise StoreCorrupt(str(place), "records are missing")
    return found


def _inspect_log(place: Path, connection: sqlite3.Connection, log: LogState, salvage: bool) -> None:
    says = connection.execute(_SAYS).fetchone()
    if says is None:
        raise StoreCorrupt(str(place), "it does not say whether a log belongs to it")
    is_open, is_reached = says
    if not is_reached:
        raise StoreCorrupt(str(place), "it is older than its log: copy the log first, and then the file")
    lost = is_open and log in (LogState.MISSING, LogState.EMPTY, LogState.FOREIGN)
    if (lost or log is LogState.DAMAGED) and not salvage:
        raise StoreIncomplete(str(place), log.value)


# ---------------------------------------------------------------------------------------------------------------
# Writing


class LoggedFile:
    """The one writing connection, and the log that belongs to the file for as long as this is open.

    Opened on a store that was inspected. Raises sqlite3.Error, OSError and StoreFailed; not thread-safe.
    """

    def __init__(self, place: Path) -> None:
        self._place = place
        self.connection = connect(place, "mode=rw")
        self._is_fresh = True
        try:
            self._prepare()
        except BaseException:
            self.end()
            raise

    def _prepare(self) -> None:
        connection = self.connection
        # It holds SQLite's exclusive lock too, which keeps other programs out.
        connection.execute("PRAGMA locking_mode = EXCLUSIVE")
        # A commit is durable in the log when it returns: one sync, and one more where a log begins.
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA fullfsync = ON")
        connection.execute("PRAGMA checkpoint_fullfsync = ON")
        connection.execute("PRAGMA wal_autocheckpoint = 0")
        connection.execute(f"PRAGMA journal_size_limit = {MAX_LOG}")
        # No page gets into the log before its commit: what `wal` proves of a damaged log rests on it.
        connection.execute("PRAGMA cache_spill = OFF")
        # Some builds overwrite what is deleted: a compaction would then write as much as it frees.
        connection.execute("PRAGMA secure_delete = OFF")
        connection.execute("PRAGMA trusted_schema = OFF")
        if connection.execute("PRAGMA journal_mode = WAL").fetchone() != ("wal",):
            raise StoreFailed(str(self._place), "this file system does not allow write-ahead logging")
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("COMMIT")
        # First of all: what a crash tore is never written over, but left behind by a new log.
        self.checkpoint()
        migrate(connection, int(connection.execute("PRAGMA user_version").fetchone()[0]))
        self.checkpoint()
        self._shrink()
        # Several rows in one statement pass through a table of its own, and no record has to lie in a file of that.
        connection.execute("PRAGMA temp_store = MEMORY")
        # In exclusive mode the log's index is in memory; a file of it is another program's leftover.
        Path(f"{self._place}-shm").unlink(missing_ok=True)

    def begin(self) -> None:
        """Say in the file, durably, that a log belongs to it from now on."""
        self._write(_OPENED)

    def end(self) -> None:
        """Move the log into the file, say there that none belongs to it, and close.

        Never raises: where the disk refuses, the log stays, and the next opening goes on with it.
        """
        with contextlib.suppress(sqlite3.Error, OSError, StoreFailed):
            try:
                if self.connection.in_transaction:
                    self.connection.execute("ROLLBACK")
                self.checkpoint()
                self._write(_CLOSED)
            except BaseException:
                # SQLite deletes a log that it could move when it closes, and the file would still ask for it.
                with _kept(log_of(self._place)):
                    self.connection.close()
                raise
            self.connection.close()

    def commit(self, write: Callable[[LoggedFile], Written]) -> Written:
        """Let `write` execute one statement, or several after `together`: all or nothing, durable when this returns."""
        connection = self.connection
        try:
            if self._is_fresh:
                self.together()
                connection.execute(_BEGINS)
            written = write(self)
            if connection.in_transaction:
                connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                with contextlib.suppress(sqlite3.Error):
                    connection.execute("ROLLBACK")
            raise
        self._is_fresh = False
        return written

    def together(self) -> None:
        """Make one transaction of the statements up to the end of `commit`. A single one is a transaction by itself,
        and each call of SQLite hands the interpreter to whoever waits for it: for milliseconds, where much waits."""
        if not self.connection.in_transaction:
            self.connection.execute("BEGIN IMMEDIATE")

    def checkpoint(self) -> None:
        """Move the log into the file and sync both; the next transaction begins a new log over the old one.

        Raises StoreFailed unless all of it went.
        """
        busy, logged, moved = self.connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        if busy or logged != moved:
            raise StoreFailed(str(self._place), f"{moved} of {logged} pages reached the main file")
        self._is_fresh = True

    def _write(self, statement: str) -> None:
        self.commit(lambda file: file.connection.execute(statement))
        self.checkpoint()

    def _shrink(self) -> None:
        """Give back a file that is mostly free pages; an append reuses them, but never gives them back."""
        names = ("page_count", "freelist_count")
        pages, free = (int(self.connection.execute(f"PRAGMA {name}").fetchone()[0]) for name in names)
        if free > MAX_FREE and 2 * free > pages:
            # A disk without room for the copy: the store is as it was.
            with contextlib.suppress(sqlite3.OperationalError):
                self.connection.execute("VACUUM")
            self.checkpoint()


@contextlib.contextmanager
def _kept(log: Path) -> Iterator[None]:
    """Keep a log that is deleted meanwhile, by a second name for it."""
    spare = Path(f"{log}.kept")
    with contextlib.suppress(OSError):
        spare.unlink(missing_ok=True)
        if log.stat().st_size:
            os.link(log, spare)
    try:
        yield
    finally:
        put_back(log)


def put_back(log: Path) -> None:
    """Give a log that was kept its name back, where that is free."""
    spare = Path(f"{log}.kept")
    with contextlib.suppress(OSError):
        if spare.exists():
            if log.exists():
                spare.unlink()
            else:
                spare.replace(log)
