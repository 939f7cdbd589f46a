"""The journal on disk: one SQLite file and its write-ahead log, one writer, one sync for each append.

An append is durable in the log when it returns, and reaches the main file later: when the log has grown, soon after the
disk has nothing else to do, at closing and at opening. Until then the main file says that a log belongs to it (`file`),
so that nobody takes it for the whole journal; a log that is damaged before its end is noticed by its frames (`wal`),
and one that is cut behind a whole transaction by the instance marker (`instance`).
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
import weakref
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..core.records import Record
from ..errors import AlreadySigned, StoreError, StoreFailed, StoreMissing
from ..model import ChannelId, Deployment
from ..model.identity import checked_range
from .archive import Archive
from .codec import MAX_BLOCK, Entry, decode_record, decode_records, encode_record
from .file import LoggedFile, Written, create as create_file, inspected, mapped, put_back
from .lock import StoreLock
from .rows import JOURNAL, Appending, End, entry_of
from .wal import log_of

LOGGED = 2**20
"""Bytes of log, about, after which an append moves it into the main file before it returns."""
PER_CHANNEL, PER_RECORD = 6 * 4_096, 2_048
"""Bytes of log, about, that one append takes for each of its channels (pages of indexes, pages begun) and beside each
record's own (pages not filled): what the log grows by is not told by SQLite."""

_MOVE_CURSOR = "UPDATE cursor SET block = max(block, ?) WHERE chain_id = ? AND adjudicator = ?"


class SqliteStore:
    """A journal of channels in one file of mode 0600. Made by `open`; thread-safe; one writing process at a time.

    After a failed write it refuses every further one: what the disk holds then is only known after it is opened again.
    """

    def __init__(
        self,
        path: Path,
        connection: sqlite3.Connection,
        lock: StoreLock,
        file: LoggedFile | None,
        archive: Archive | None,
    ) -> None:
        self._path = path
        self._archive = archive
        self._connection: sqlite3.Connection | None = connection
        self._lock = lock
        self._file = file
        self._barred = "it is open for reading only" if file is None else ""
        self._guard = threading.Lock()
        self._logged = 0
        # Only what is committed is remembered: an append takes out what it begins from, and puts in where it ended.
        self._ends: dict[ChannelId, End] = {}
        # Also where nobody closes the store: SQLite, left alone, would delete the log that the file still asks for.
        self._end = weakref.finalize(self, file.end if file else connection.close)

    @classmethod
    def open(
        cls,
        path: str | os.PathLike[str],
        *,
        create: bool = True,
        read_only: bool = False,
        salvage: bool = False,
        archive: str | os.PathLike[str] | None = None,
    ) -> SqliteStore:
        """Open the store at `path`, or create it where there is none; `read_only` never creates.

        A store of an older schema is migrated, unless it is only read. `archive` names a file that keeps what
        compactions take out of the journal; it is made where there is none, and not used for reading only. `salvage`,
        for reading only, takes what is left where the log is lost or damaged: perhaps a shorter journal.
        Raises StoreMissing, StoreLocked (a node has it open), StoreCorrupt, StoreIncomplete (the log is lost or
        damaged), StoreTooNew, StoreFailed. A file that is refused is left as it was found.
        """
        place = Path(path).resolve()
        create = create and not read_only
        if not place.parent.is_dir():
            raise StoreMissing(str(place), "its directory does not exist")
        if not create and not place.exists():
            raise StoreMissing(str(place), "there is no store at this path")
        lock = StoreLock(place, shared=read_only)
        try:
            with mapped(place):
                if create and not place.exists():
                    create_file(place)
                if not read_only:
                    put_back(log_of(place))
                connection = inspected(place, salvage=salvage and read_only)
                if read_only:
                    return cls(place, connection, lock, None, None)
                connection.close()
                file = LoggedFile(place)
                with contextlib.ExitStack() as undo:
                    undo.callback(file.end)
                    kept = None
                    if archive is not None:
                        kept = Archive(Path(archive).resolve())
                        undo.callback(kept.close)
                    file.begin()
                    undo.pop_all()
                return cls(place, file.connection, lock, file, kept)
        except BaseException:
            lock.release()
            raise

    @property
    def path(self) -> str:
        return str(self._path)

    def append(self, channel: ChannelId, records: Sequence[Record]) -> None:
        """Append one channel's records, as `append_all` does."""
        self.append_all({channel: records})

    def append_all(self, batch: Mapping[ChannelId, Sequence[Record]]) -> None:
        """Append all or none, in one transaction; durable in the log when this returns. Errors as in the port."""
        encoded: dict[ChannelId, list[Entry]] = {}
        size = 0
        for channel, records in batch.items():
            entries = encoded[channel] = [encode_record(channel, record) for record in records]
            size += PER_CHANNEL + sum([PER_RECORD + len(entry.body) for entry in entries])

        def write(file: LoggedFile) -> dict[ChannelId, End]:
            appending = Appending(file.connection, file.together, self._archive)
            ends = {
                channel: appending.add(channel, entries, self._ends.pop(channel, None))
                for channel, entries in encoded.items()
            }
            appending.insert(is_last=True)
            return ends

        with self._guard:
            self._ends.update(self._written(size, write))

    def checkpoint_log(self) -> None:
        """Move the log into the main file; the next append begins a new one. Nothing that was promised waits for it."""
        with self._guard:
            if self._logged and not self._barred and self._connection is not None:
                self._moved()

    def channels(self) -> list[ChannelId]:
        """Return the channels known, oldest first."""
        rows = self._read("SELECT channel FROM journal WHERE seq = 1 ORDER BY position")
        return [ChannelId(channel) for (channel,) in rows]

    def records(self, channel: ChannelId) -> list[Record]:
        """Return a channel's records in the order of appending; none for a channel that is not known."""
        rows = self._read(JOURNAL, channel)
        return decode_records(self.path, ((entry_of(*columns), link) for *columns, link in rows))

    def lengths(self) -> dict[ChannelId, int]:
        """Return how many records each journal has taken so far, those that are gone included."""
        rows = self._read("SELECT channel, max(seq) FROM journal GROUP BY channel")
        return {ChannelId(channel): seq for channel, seq in rows}

    def archived(self, channel: ChannelId, version: int) -> list[Record]:
        """Return the records about one version that this store's archive took over; none without an archive."""
        with self._guard, mapped(self._path):
            self._opened()
            rows = self._archive.of_version(channel, version.to_bytes(8, "big")) if self._archive else []
        return [decode_record(self.path, entry_of(*columns)) for columns in rows]

    def cursor(self, deployment: Deployment) -> int:
        """Return the last block whose facts are journalled for this adjudicator; 0 at first."""
        rows = self._read("SELECT block FROM cursor WHERE chain_id = ? AND adjudicator = ?", *_key(deployment))
        return int(rows[0][0]) if rows else 0

    def advance(self, deployment: Deployment, block: int) -> None:
        """Move the cursor; a block below it changes nothing."""
        checked_range("block", block, 0, MAX_BLOCK)
        if block <= self.cursor(deployment):
            return
        key = _key(deployment)

        def write(file: LoggedFile) -> None:
            file.together()
            if not file.connection.execute(_MOVE_CURSOR, (block, *key)).rowcount:
                file.connection.execute("INSERT INTO cursor VALUES (?, ?, ?)", (*key, block))

        with self._guard:
            self._written(PER_CHANNEL, write)

    def close(self) -> None:
        """Release the file and its lock; further calls raise StoreFailed.

        Never loses anything: where the disk refuses, the newest records stay in the log until the next opening.
        """
        with self._guard:
            self._connection = None
            try:
                with mapped(self._path):
                    self._end()
                    if self._archive is not None:
                        self._archive.close()
            finally:
                self._lock.release()

    def _written(self, size: int, write: Callable[[LoggedFile], Written]) -> Written:
        """Let `write` change about `size` bytes of log in one transaction, for who holds the guard."""
        self._opened()
        if self._barred or self._file is None:
            raise StoreFailed(self.path, self._barred)
        try:
            try:
                written = self._file.commit(write)
            except (sqlite3.Error, UnicodeDecodeError, OSError):
                # Entered where something failed: around each append it costs 8 µs, a tenth of what is not the disk's.
                with mapped(self._path):
                    raise
        except StoreError as refused:
            self._bar(refused)
            raise
        self._logged += size
        if self._logged >= LOGGED:
            self._moved()
        return written

    def _moved(self) -> None:
        assert self._file is not None
        try:
            with mapped(self._path):
                self._file.checkpoint()
        except StoreError as refused:
            self._bar(refused)
            raise
        self._logged = 0

    def _bar(self, refused: StoreError) -> None:
        if not isinstance(refused, AlreadySigned):
            self._barred = "an earlier write failed: stop, see to the disk, and open it again"

    def _read(self, query: str, *values: bytes) -> list[tuple[Any, ...]]:
        with self._guard, mapped(self._path):
            return self._opened().execute(query, values).fetchall()

    def _opened(self) -> sqlite3.Connection:
        if self._connection is None:
            raise StoreFailed(self.path, "it is closed")
        return self._connection


def _key(deployment: Deployment) -> tuple[bytes, bytes]:
    return deployment.chain_id.to_bytes(32, "big"), bytes(deployment.adjudicator)
