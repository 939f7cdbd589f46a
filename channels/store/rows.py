"""The journal's rows: what SQL appends, looks up and lets go, in the one transaction of an append."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from typing import NamedTuple

from ..errors import AlreadySigned
from ..model import ChannelId
from .archive import Archive
from .codec import CHECKPOINT, FIRST_LINK, SIGNED, Entry, check_floor, signed_in

MAX_FORGOTTEN = 1_024
"""Rows that go with one checkpoint at most: twice as many as come between two, so that a journal of an older release
shrinks while nobody waits long for an append."""

TOGETHER = 32
"""Rows that one statement inserts at most. Several in one cost less than several statements, each of which hands the
interpreter over; but each number of rows is a statement that SQLite compiles (0.1 ms) and sqlite3 keeps."""

_LAST = "SELECT seq, link FROM journal WHERE channel = ? ORDER BY seq DESC LIMIT 1"
_SIGNED = f"SELECT digest FROM journal WHERE channel = ? AND version = ? AND kind = {SIGNED}"
_HIGHEST = f"SELECT max(version) FROM journal WHERE channel = ? AND kind = {SIGNED}"
_CHECKPOINTS = f"FROM journal WHERE channel = ?1 AND kind = {CHECKPOINT} ORDER BY seq DESC LIMIT 1"
_FLOOR = f"SELECT version {_CHECKPOINTS}"
_CHECKPOINTED = f"SELECT version, digest, body {_CHECKPOINTS}"
"""With the body, which is long: only for a version that is not above the floor."""
_KEPT_FROM = f"SELECT seq {_CHECKPOINTS} OFFSET 1"
"""The last checkpoint but one: what lies between the first row and it is superseded."""
JOURNAL = f"""SELECT kind, version, digest, body, link FROM journal
WHERE channel = ?1 AND (seq = 1 OR seq >= coalesce(({_KEPT_FROM}), 1)) ORDER BY seq"""
_SUPERSEDED = "SELECT seq FROM journal WHERE channel = ? AND seq > 1 AND seq < ? ORDER BY seq LIMIT ?"
_ROW = "SELECT channel, seq, kind, version, digest, body, link FROM journal WHERE channel = ? AND seq = ?"
_FORGET = "DELETE FROM journal WHERE channel = ? AND seq = ?"
GAPS = f"""SELECT 1 FROM journal GROUP BY channel HAVING min(seq) <> 1
OR max(seq) - coalesce(min(CASE WHEN seq > 1 THEN seq END), 2) + 2 <> count(*)
OR (max(seq) <> count(*) AND sum(kind = {CHECKPOINT}) < 2) LIMIT 1"""
"""A channel whose rows do not follow each other, but for what two checkpoints replace behind the first row."""


def entry_of(kind: int, version: bytes | None, digest: bytes | None, body: bytes) -> Entry:
    """Return the entry that these columns are."""
    return Entry(kind, None if version is None else int.from_bytes(version, "big"), digest, body)


class End(NamedTuple):
    """Where a channel's journal ends: its last record's number and link, and up to which version a look-up has to tell
    whether a signature is new: the highest one signed, or the last checkpoint's floor.
    """

    seq: int
    link: bytes
    highest: int


class Appending:
    """The appends of one transaction, of one channel after another. What was added is inserted with `insert`, at last.

    What somebody remembers of where journals end saves looking it up, and no signature rests on it: a version signed a
    second time, or a row that is not the next, is refused by the schema all the same (sqlite3.IntegrityError).
    """

    def __init__(self, connection: sqlite3.Connection, together: Callable[[], None], archive: Archive | None) -> None:
        self._connection, self._together, self._archive = connection, together, archive
        self._rows: list[tuple[object, ...]] = []

    def add(self, channel: ChannelId, entries: Sequence[Entry], end: End | None) -> End:
        """Add entries to a channel's journal, which ends at `end` (None: look it up); return where it ends then.

        What a checkpoint among them replaces goes. Raises AlreadySigned and InvariantBroken as the port says.
        """
        seq, link, highest = end or self._end_of(channel)
        for entry in entries:
            version = entry.version or 0
            if entry.kind == SIGNED:
                if version <= highest and self._is_signed(channel, entry):
                    continue
                highest = max(highest, version)
            elif entry.kind == CHECKPOINT:
                check_floor(version, highest, is_first=seq == 0)
                entry, highest = replace(entry, digest=link), version
            seq, link = seq + 1, entry.link(link)
            self._rows.append((channel, seq, entry.kind, entry.version_key, entry.digest, entry.body, link))
            if entry.kind == CHECKPOINT:
                self._forget(channel)
        return End(seq, link, highest)

    def insert(self, *, is_last: bool) -> None:
        """Insert what was added and is not inserted yet; `is_last`: nothing more is written in this transaction."""
        if not is_last or len(self._rows) > TOGETHER:
            self._together()
        for at in range(0, len(self._rows), TOGETHER):
            rows = self._rows[at : at + TOGETHER]
            # For each `bytes` the sqlite3 module looks for an adapter, and for no `bytearray`: 1 µs for each row.
            values = [bytearray(value) if type(value) is bytes else value for row in rows for value in row]
            self._connection.execute(_insert(len(rows)), values)
        self._rows = []

    def _end_of(self, channel: ChannelId) -> End:
        found = self._connection.execute(_LAST, (channel,)).fetchone()
        if found is None:
            return End(0, FIRST_LINK, 0)
        highest = [self._connection.execute(query, (channel,)).fetchone() for query in (_FLOOR, _HIGHEST)]
        return End(
            found[0], found[1], max([int.from_bytes(row[0], "big") for row in highest if row and row[0]], default=0)
        )

    def _is_signed(self, channel: ChannelId, entry: Entry) -> bool:
        """Whether this signature is known; AlreadySigned where another one is, or where it would be below the floor."""
        if self._rows:
            self.insert(is_last=False)
        known = self._connection.execute(_SIGNED, (channel, entry.version_key)).fetchone()
        digest = known[0] if known else None
        if known is None:
            floor = self._connection.execute(_FLOOR, (channel,)).fetchone()
            if floor is None or entry.version_key > floor[0]:
                return False
            last = self._connection.execute(_CHECKPOINTED, (channel,)).fetchone()
            digest = signed_in("the store", entry_of(CHECKPOINT, *last)).get(entry.version or 0)
        if digest != entry.digest:
            raise AlreadySigned(entry.version or 0)
        return True

    def _forget(self, channel: ChannelId) -> None:
        """Drop what the last checkpoint but one replaces, the oldest first: a bounded part of it, archived before."""
        self.insert(is_last=False)
        connection = self._connection
        kept_from = connection.execute(_KEPT_FROM, (channel,)).fetchone()
        if kept_from is not None:
            gone = connection.execute(_SUPERSEDED, (channel, *kept_from, MAX_FORGOTTEN)).fetchall()
            if self._archive is not None:
                self._archive.keep([connection.execute(_ROW, (channel, seq)).fetchone() for (seq,) in gone])
            connection.executemany(_FORGET, [(channel, seq) for (seq,) in gone])


@cache
def _insert(count: int) -> str:
    rows = ", ".join(["(?, ?, ?, ?, ?, ?, ?)"] * count)
    return f"INSERT INTO journal (channel, seq, kind, version, digest, body, link) VALUES {rows}"
