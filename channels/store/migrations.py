"""The schema and how a store of an older release gets there: ordered steps, each one transaction, none ever changed.

`schema.sql` is the first release's. A new store is made by it and every step after it, so that a migrated file and a
new one have the same definitions, letter by letter, and an open can compare them.

A step is one SQLite transaction with the schema's number in it: a crash leaves the old schema or the new one. There is
no backup copy on purpose. A copy of a journal that is not the journal any more could sign a version twice.
"""

from __future__ import annotations

import contextlib
import sqlite3
from functools import cache
from importlib.resources import files

MIGRATIONS: tuple[tuple[str, ...], ...] = (
    # 2: checkpoints (kind 20) take the place of what they hold, and carry the floor of the sign-once guard. A
    # checkpoint's digest is the link of the row before it. Only rows between the first and the last checkpoint but one
    # may go, the oldest first: what replaces them was itself followed by a whole period and another checkpoint.
    # Checkpoints' versions never fall, so the last one has the floor; asked for as max(), all rows would be read.
    (
        "CREATE INDEX journal_checkpoints ON journal (channel, seq, version) WHERE kind = 20",
        "DROP TRIGGER journal_signs_once",
        """CREATE TRIGGER journal_signs_once_ever BEFORE INSERT ON journal
WHEN NEW.kind = 3 AND (
    EXISTS (SELECT 1 FROM journal WHERE channel = NEW.channel AND version = NEW.version AND kind = 3)
    OR NEW.version <= (SELECT version FROM journal WHERE channel = NEW.channel AND kind = 20 ORDER BY seq DESC LIMIT 1)
)
BEGIN
    SELECT RAISE(ABORT, 'journal: version already signed');
END""",
        """CREATE TRIGGER journal_keeps_the_floor BEFORE INSERT ON journal
WHEN NEW.kind = 20 AND (
    NEW.version IS NULL
    OR NEW.version < (SELECT max(version) FROM journal WHERE channel = NEW.channel AND kind = 3)
    OR NEW.version < (SELECT version FROM journal WHERE channel = NEW.channel AND kind = 20 ORDER BY seq DESC LIMIT 1)
    OR NEW.digest IS NOT (SELECT link FROM journal WHERE channel = NEW.channel ORDER BY seq DESC LIMIT 1)
)
BEGIN
    SELECT RAISE(ABORT, 'journal: not a checkpoint of this journal');
END""",
        "DROP TRIGGER journal_never_forgets",
        """CREATE TRIGGER journal_forgets_what_is_checkpointed BEFORE DELETE ON journal
WHEN OLD.seq = 1
    OR EXISTS (SELECT 1 FROM journal WHERE channel = OLD.channel AND seq > 1 AND seq < OLD.seq)
    OR (SELECT count(*) FROM journal WHERE channel = OLD.channel AND kind = 20 AND seq > OLD.seq) < 2
BEGIN
    SELECT RAISE(ABORT, 'journal: append only');
END""",
    ),
    # 3: one row about the log. `open`: a log belongs to this file, and what was appended last may be only there.
    # `begins`: the last record (position) before the first transaction of the log in use.
    (
        """CREATE TABLE log (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    open INTEGER NOT NULL CHECK (open IN (0, 1)),
    begins INTEGER NOT NULL CHECK (begins >= 0)
) STRICT""",
        "INSERT INTO log VALUES (1, 0, 0)",
        """CREATE TRIGGER log_is_one_row BEFORE INSERT ON log
BEGIN
    SELECT RAISE(ABORT, 'log: one row');
END""",
        """CREATE TRIGGER log_never_begins_earlier BEFORE UPDATE ON log
WHEN NEW.begins < OLD.begins OR NEW.one <> OLD.one
BEGIN
    SELECT RAISE(ABORT, 'log: never backwards');
END""",
        """CREATE TRIGGER log_is_never_gone BEFORE DELETE ON log
BEGIN
    SELECT RAISE(ABORT, 'log: one row');
END""",
    ),
)

LOGS_SINCE = 3
"""The schema from which on a file says whether a log belongs to it. Before, every append was moved into the file."""
SCHEMA_VERSION = 1 + len(MIGRATIONS)
"""The schema that this release writes; it reads every one from 1 on."""


@cache
def definitions(version: int) -> frozenset[tuple[bytes, bytes]]:
    """Return what a store of this schema consists of: (name, definition)."""
    with contextlib.closing(sqlite3.connect(":memory:", isolation_level=None)) as scratch:
        build(scratch, version)
        return objects(scratch)


def objects(connection: sqlite3.Connection) -> frozenset[tuple[bytes, bytes]]:
    """Return what is defined, as bytes: a damaged definition need not be text."""
    return frozenset(connection.execute("SELECT CAST(name AS BLOB), CAST(sql AS BLOB) FROM sqlite_master"))


def build(connection: sqlite3.Connection, version: int = SCHEMA_VERSION) -> None:
    """Make an empty store of a schema."""
    connection.executescript((files(__package__) / "schema.sql").read_text("utf-8"))
    migrate(connection, 1, version)


def migrate(connection: sqlite3.Connection, found: int, wanted: int = SCHEMA_VERSION) -> None:
    """Bring a store from schema `found` to `wanted`, one transaction per step; what is done stays done."""
    for version, statements in enumerate(MIGRATIONS[found - 1 : wanted - 1], start=found + 1):
        connection.execute("BEGIN IMMEDIATE")
        try:
            for statement in statements:
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {version}")
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
