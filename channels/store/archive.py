"""What a compaction takes out of a journal, for owners who want every record: a second file that only grows.

A row is durable here before it is deleted there, so that a crash leaves it in both and never in neither. The archive is
no journal: nothing is signed by it, a node starts without it, and if it is lost only history is.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable
from pathlib import Path
from typing import Any

ARCHIVE_ID = 0x4F504341
_SCHEMA = (
    """CREATE TABLE IF NOT EXISTS archive (
    channel BLOB NOT NULL,
    seq INTEGER NOT NULL,
    kind INTEGER NOT NULL,
    version BLOB,
    digest BLOB,
    body BLOB NOT NULL,
    link BLOB NOT NULL,
    PRIMARY KEY (channel, seq)
) STRICT""",
    "CREATE INDEX IF NOT EXISTS archive_versions ON archive (channel, version)",
    f"PRAGMA application_id = {ARCHIVE_ID}",
)
_KEEP = "INSERT OR IGNORE INTO archive VALUES (?, ?, ?, ?, ?, ?, ?)"
_OF_VERSION = "SELECT kind, version, digest, body FROM archive WHERE channel = ? AND version = ? ORDER BY seq"


class Archive:
    """One archive file of mode 0600. Raises sqlite3.Error and OSError: the store that it belongs to maps them."""

    def __init__(self, place: Path) -> None:
        os.close(os.open(place, os.O_CREAT | os.O_WRONLY, 0o600))
        self._connection = sqlite3.connect(place, isolation_level=None, check_same_thread=False)
        try:
            (found,) = self._connection.execute("PRAGMA application_id").fetchone()
            if found != ARCHIVE_ID and self._connection.execute("SELECT 1 FROM sqlite_master").fetchone():
                raise sqlite3.DatabaseError(f"{place} is another program's file, or a store: give the archive its own")
            self._connection.execute("PRAGMA synchronous = FULL")
            self._connection.execute("PRAGMA locking_mode = EXCLUSIVE")
            for statement in _SCHEMA:
                self._connection.execute(statement)
        except BaseException:
            self._connection.close()
            raise

    def keep(self, rows: Iterable[tuple[Any, ...]]) -> None:
        """Hold these rows (channel, seq, kind, version, digest, body, link); durable when this returns."""
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            self._connection.executemany(_KEEP, rows)
            self._connection.execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise

    def of_version(self, channel: bytes, version: bytes) -> list[tuple[Any, ...]]:
        """Return the rows (kind, version, digest, body) about one version."""
        return self._connection.execute(_OF_VERSION, (channel, version)).fetchall()

    def close(self) -> None:
        self._connection.close()
