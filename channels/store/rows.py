"""The journal's rows: what SQL appends, looks up and lets go, inside a transaction that the store has begun."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import replace

from ..errors import AlreadySigned
from ..model import ChannelId
from .archive import Archive
from .codec import CHECKPOINT, FIRST_LINK, SIGNED, Entry, check_floor, signed_in

MAX_FORGOTTEN = 1_024
"""Rows that go with one checkpoint at most: twice as many as come between two, so that a journal of an older release
shrinks while nobody waits long for an append."""

_LAST = "SELECT seq, link FROM journal WHERE channel = ? ORDER BY seq DESC LIMIT 1"
_APPEND = "INSERT INTO journal (channel, seq, kind, version, digest, body, link) VALUES (?, ?, ?, ?, ?, ?, ?)"
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


def append(
    connection: sqlite3.Connection, channel: ChannelId, entries: Sequence[Entry], archive: Archive | None
) -> None:
    """Append entries to a channel's journal, and let go of what a checkpoint among them replaces.

    Raises AlreadySigned and InvariantBroken as the port says.
    """
    seq, link = connection.execute(_LAST, (channel,)).fetchone() or (0, FIRST_LINK)
    for entry in entries:
        if entry.kind == SIGNED and _is_signed(connection, channel, entry):
            continue
        if entry.kind == CHECKPOINT:
            check_floor(entry.version or 0, _highest_signed(connection, channel), is_first=seq == 0)
            entry = replace(entry, digest=link)
        seq, link = seq + 1, entry.link(link)
        connection.execute(_APPEND, (channel, seq, entry.kind, entry.version_key, entry.digest, entry.body, link))
        if entry.kind == CHECKPOINT:
            _forget(connection, channel, archive)


def _is_signed(connection: sqlite3.Connection, channel: ChannelId, entry: Entry) -> bool:
    """Whether this signature is known; AlreadySigned where another one is, or where it would be below the floor."""
    known = connection.execute(_SIGNED, (channel, entry.version_key)).fetchone()
    digest = known[0] if known else None
    if known is None:
        floor = connection.execute(_FLOOR, (channel,)).fetchone()
        if floor is None or entry.version_key > floor[0]:
            return False
        last = connection.execute(_CHECKPOINTED, (channel,)).fetchone()
        digest = signed_in("the store", entry_of(CHECKPOINT, *last)).get(entry.version or 0)
    if digest != entry.digest:
        raise AlreadySigned(entry.version or 0)
    return True


def _highest_signed(connection: sqlite3.Connection, channel: ChannelId) -> int:
    found = [connection.execute(query, (channel,)).fetchone() for query in (_FLOOR, _HIGHEST)]
    return max([int.from_bytes(row[0], "big") for row in found if row and row[0]], default=0)


def _forget(connection: sqlite3.Connection, channel: ChannelId, archive: Archive | None) -> None:
    """Drop what the last checkpoint but one replaces, the oldest first: a bounded part of it, archived before."""
    kept_from = connection.execute(_KEPT_FROM, (channel,)).fetchone()
    if kept_from is not None:
        gone = connection.execute(_SUPERSEDED, (channel, *kept_from, MAX_FORGOTTEN)).fetchall()
        if archive is not None:
            archive.keep([connection.execute(_ROW, (channel, seq)).fetchone() for (seq,) in gone])
        connection.executemany(_FORGET, [(channel, seq) for (seq,) in gone])
