"""What must never happen to a journal cannot be done with raw SQL either: the schema itself refuses."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from channels.errors import StoreCorrupt
from channels.model import keccak
from channels.store import SqliteStore
from channels.store.codec import encode_record
from tests.roles import CHANNEL, DEPLOYMENT
from tests.writer import WRITTEN, update

INSERT = "INTO journal (channel, seq, kind, version, digest, body, link) VALUES (?, ?, ?, ?, ?, ?, ?)"
VERSION_2 = (2).to_bytes(8, "big")
NEXT = len(WRITTEN) + 1
LINK, BODY = bytes(32), b"\x92\x05\x01"
SECOND = (CHANNEL, NEXT, 3, VERSION_2, keccak(b"another digest"), BODY, LINK)
CHAIN = DEPLOYMENT.chain_id.to_bytes(32, "big")
CURSOR = (CHAIN, bytes(DEPLOYMENT.adjudicator))

ATTEMPTS: dict[str, tuple[str, tuple[Any, ...]]] = {
    "sign a version twice": (f"INSERT {INSERT}", SECOND),
    "sign a version twice, or replace": (f"INSERT OR REPLACE {INSERT}", SECOND),
    "sign a version twice, replacing": (f"REPLACE {INSERT}", SECOND),
    "sign a version twice, upserting": (
        f"INSERT {INSERT} ON CONFLICT (channel, version) WHERE kind = 3 DO UPDATE SET digest = excluded.digest", SECOND,
    ),
    "sign without a version": (f"INSERT {INSERT}", (CHANNEL, NEXT, 3, None, LINK, BODY, LINK)),
    "sign without a digest": (f"INSERT {INSERT}", (CHANNEL, NEXT, 3, b"v" * 8, None, BODY, LINK)),
    "sign a version as an integer": (f"INSERT {INSERT}", (CHANNEL, NEXT, 3, 2, LINK, BODY, LINK)),
    "sign a version in nine bytes": (f"INSERT {INSERT}", (CHANNEL, NEXT, 3, b"v" * 9, LINK, BODY, LINK)),
    "write over a record": (f"INSERT OR REPLACE {INSERT}", (CHANNEL, 1, 5, None, None, BODY, LINK)),
    "write over a position": (
        "INSERT OR REPLACE INTO journal VALUES (?, ?, ?, ?, ?, ?, ?, ?)", (1, CHANNEL, NEXT, 5, None, None, BODY, LINK),
    ),
    "skip a number": (f"INSERT {INSERT}", (CHANNEL, NEXT + 1, 5, None, None, BODY, LINK)),
    "begin a channel at 2": (f"INSERT {INSERT}", (b"n" * 32, 2, 5, None, None, BODY, LINK)),
    "begin a channel at 0": (f"INSERT {INSERT}", (b"n" * 32, 0, 5, None, None, BODY, LINK)),
    "a short channel": (f"INSERT {INSERT}", (b"n", 1, 5, None, None, BODY, LINK)),
    "change a digest": ("UPDATE journal SET digest = ?", (LINK,)),
    "change a digest, or replace": ("UPDATE OR REPLACE journal SET version = ?", (VERSION_2,)),
    "change nothing at all": ("UPDATE journal SET body = body", ()),
    "delete": ("DELETE FROM journal", ()),
    "delete the first": ("DELETE FROM journal WHERE seq = 1", ()),
    "delete one": ("DELETE FROM journal WHERE seq = ?", (NEXT - 1,)),
    "a checkpoint without a floor": (f"INSERT {INSERT}", (CHANNEL, NEXT, 20, None, LINK, BODY, LINK)),
    "a checkpoint without the link before it": (f"INSERT {INSERT}", (CHANNEL, NEXT, 20, VERSION_2, LINK, BODY, LINK)),
    "move the cursor back": ("UPDATE cursor SET block = 6", ()),
    "move the cursor away": ("UPDATE cursor SET adjudicator = ?", (bytes(20),)),
    "forget the cursor": ("DELETE FROM cursor", ()),
    "place the cursor again": ("INSERT INTO cursor VALUES (?, ?, 1)", CURSOR),
    "place the cursor again, or replace": ("INSERT OR REPLACE INTO cursor VALUES (?, ?, 1)", CURSOR),
    "place a cursor over its row": (
        "INSERT OR REPLACE INTO cursor (rowid, chain_id, adjudicator, block) VALUES (1, ?, ?, 1)", (CHAIN, bytes(20)),
    ),
    "a cursor below zero": ("INSERT INTO cursor VALUES (?, ?, -1)", (CHAIN, bytes(20))),
}  # fmt: skip


@pytest.mark.parametrize("name", ATTEMPTS)
def test_raw_sql_cannot(path: Path, name: str) -> None:
    statement, values = ATTEMPTS[name]
    with closing(sqlite3.connect(path, isolation_level=None)) as raw:
        before = list(raw.iterdump())
        with pytest.raises(sqlite3.IntegrityError):
            raw.execute(statement, values)
        assert list(raw.iterdump()) == before
    with closing(SqliteStore.open(path)) as store:
        assert store.records(CHANNEL) == WRITTEN
        assert store.cursor(DEPLOYMENT) == 7


def test_the_unique_index_signs_once_even_without_the_trigger(path: Path) -> None:
    with closing(sqlite3.connect(path)) as raw:
        raw.execute("DROP TRIGGER journal_signs_once_ever")
        with pytest.raises(sqlite3.IntegrityError, match="UNIQUE constraint failed"):
            raw.execute(f"INSERT {INSERT}", SECOND)


def test_raw_sql_can_do_what_the_store_does(path: Path) -> None:
    """So the attempts above fail for what they try and not for how they are written."""
    with closing(sqlite3.connect(path, isolation_level=None)) as raw:
        entry = encode_record(CHANNEL, *update(3)[:1])
        (last,) = raw.execute("SELECT link FROM journal ORDER BY position DESC LIMIT 1").fetchone()
        link = entry.link(last)
        raw.execute(f"INSERT {INSERT}", (CHANNEL, NEXT, entry.kind, entry.version_key, entry.digest, entry.body, link))
        raw.execute("UPDATE cursor SET block = 8")
    with closing(SqliteStore.open(path)) as store:
        assert store.records(CHANNEL) == [*WRITTEN, update(3)[0]]
        assert store.cursor(DEPLOYMENT) == 8


def test_a_record_written_with_another_link_is_found_when_it_is_read(path: Path) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as raw:
        raw.execute(f"INSERT {INSERT}", (CHANNEL, NEXT, 5, None, None, BODY, LINK))
    with closing(SqliteStore.open(path)) as store, pytest.raises(StoreCorrupt, match=f"record {NEXT}"):
        store.records(CHANNEL)
