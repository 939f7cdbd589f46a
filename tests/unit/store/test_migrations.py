"""A store of the first release becomes one of this release, whole, or stays as it is.

`tests/data/journal_schema1.sqlite` was written by the first release (commit 4410e03): a session of two parties with
deposits, trades, marks, a withdrawal, one that was never answered, and an old state that somebody registered; and a
second channel. What that release made of it stands beside it. Neither is ever made again.
"""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from channels.core import checkpoint
from channels.core.channel import Channel
from channels.core.records import Opened, Signed, SigningFrozen, TurnMoved
from channels.errors import AlreadySigned, StoreCorrupt, StoreFailed
from channels.model import ChannelId, HalfSigned, Mark
from channels.runtime.dispute_steps import Evidence
from channels.seal import state_struct_hash
from channels.store import SqliteStore, migrations
from channels.store.file import UNLOCKED, connect
from channels.store.migrations import MIGRATIONS, SCHEMA_VERSION, definitions, migrate, objects
from channels.store.wal import log_of
from tests.keeper import Keeper, folded
from tests.roles import DEPLOYMENT, state
from tests.unit.store.crashes import every_crash, files_of, laid_out

DATA = Path(__file__).parents[2] / "data"
FIRST = (DATA / "journal_schema1.sqlite").read_bytes()
TOLD = json.loads((DATA / "journal_schema1.json").read_text("utf-8"))
CHANNEL, OTHER = ChannelId(bytes.fromhex(TOLD["channel"])), ChannelId(bytes.fromhex(TOLD["other"]))


@pytest.fixture
def first(tmp_path: Path) -> Path:
    """A store as the first release left it."""
    place = tmp_path / "first.sqlite"
    place.write_bytes(FIRST)
    return place


def told(channel: Channel) -> dict[str, Any]:
    """What the first release told of its channel, as this one sees it."""
    agreed, registered = channel.agreed, channel.chain.registered
    assert agreed is not None
    assert registered is not None
    assert channel.recalled is not None
    return {
        "me": int(channel.me),
        "accepted": channel.accepted,
        "signed": channel.signed,
        "turn": channel.turn,
        "frozen": channel.frozen,
        "agreed": [
            agreed.version,
            state_struct_hash(agreed.state).hex(),
            agreed.book.encoded.hex(),
            [signature.hex() for signature in agreed.signatures],
        ],
        "closing": channel.closing,
        "outstanding": [
            [out.version, state_struct_hash(out.half.state).hex(), out.half.signature.hex()]
            for out in channel.outstanding
        ],
        "deposits": list(channel.chain.deposits),
        "paid": list(channel.chain.paid),
        "registered": state_struct_hash(registered).hex(),
        "deadline": channel.chain.deadline,
        "settlements": [[seen.underlying, seen.expiry, seen.price] for seen in channel.chain.settlements],
        "recalled": channel.recalled.hash.hex(),
        "phase": channel.phase.value,
    }


def check_first(store: SqliteStore) -> None:
    """The store holds what the first release wrote, and it means the same."""
    records = store.records(CHANNEL)
    assert [type(record).__name__ for record in records] == TOLD["records"]
    channel = folded(records)
    assert told(channel) == {name: TOLD[name] for name in told(channel)}
    assert store.channels() == [CHANNEL, OTHER]
    assert [type(record) for record in store.records(OTHER)] == [Opened, SigningFrozen]
    assert store.cursor(DEPLOYMENT) == 7


def schema_of(place: Path) -> int:
    """Its schema's number, seen through its log; a connection that may write would move that into the file."""
    with closing(connect(place, f"mode=ro&vfs={UNLOCKED}" if log_of(place).exists() else "immutable=1")) as raw:
        raw.execute("PRAGMA locking_mode = EXCLUSIVE")
        return int(raw.execute("PRAGMA user_version").fetchone()[0])


def test_the_file_is_one_of_the_first_release(first: Path) -> None:
    assert schema_of(first) == 1
    with closing(sqlite3.connect(first)) as raw:
        assert objects(raw) == definitions(1)
    assert {"Opened", "Signed", "StateAgreed", "TurnMoved", "ChainSaid", "BookRecalled"} <= set(TOLD["records"])


def test_a_reader_reads_an_old_store_and_leaves_it_as_it_is(first: Path) -> None:
    with closing(SqliteStore.open(first, read_only=True)) as store:
        check_first(store)
        assert Evidence.read(store, CHANNEL).half_signed == TOLD["outstanding"][-1][0]
        with pytest.raises(StoreFailed, match="reading only"):
            store.append(CHANNEL, [TurnMoved(99)])
    assert first.read_bytes() == FIRST
    assert schema_of(first) == 1


def test_a_writer_migrates_it_once_and_keeps_no_copy(first: Path) -> None:
    with closing(SqliteStore.open(first)) as store:
        check_first(store)
    assert schema_of(first) == SCHEMA_VERSION
    assert sorted(entry.name for entry in first.parent.iterdir()) == ["first.sqlite", "first.sqlite.lock"]
    migrated = first.read_bytes()
    with closing(SqliteStore.open(first)) as store:
        check_first(store)
    assert first.read_bytes() == migrated


def test_a_migrated_store_has_the_guards_of_a_new_one(first: Path) -> None:
    new = first.with_name("new.sqlite")
    for place in (first, new):
        SqliteStore.open(place).close()
    with closing(sqlite3.connect(first)) as one, closing(sqlite3.connect(new)) as other:
        assert objects(one) == objects(other) == definitions(SCHEMA_VERSION)


def test_what_the_first_release_signed_is_signed_for_ever(first: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoint, "EVERY", 4)
    with closing(SqliteStore.open(first)) as store:
        keeper = Keeper(store, CHANNEL)
        before = keeper.channel
        assert before is not None
        versions = TOLD["signed_versions"]
        kept: list[Signed] = [record for record in store.records(CHANNEL) if isinstance(record, Signed)]
        for turn in range(before.turn + 1, before.turn + 20):
            keeper.keep(TurnMoved(turn))
        records = store.records(CHANNEL)
        assert not any(isinstance(record, Signed) for record in records), "nothing was compacted"
        assert folded(records) == keeper.channel
        assert told(folded(records)) == {**told(before), "turn": before.turn + 19}
        for record in kept:
            half = record.half
            other = state(half.book, channel=CHANNEL, version=half.state.version, balances=(1, 15_000 * 10**6 - 1))
            assert half.state.version in versions
            with pytest.raises(AlreadySigned):
                store.append(CHANNEL, [Signed(HalfSigned(other, half.book, half.party, half.signature), (Mark(),))])


def test_a_crash_at_any_statement_of_the_migration_leaves_a_whole_store(
    first: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    crashes, statements = every_crash(first, lambda: SqliteStore.open(first).close(), monkeypatch)
    assert statements > len(MIGRATIONS[0])
    seen = set()
    for number, files in enumerate(crashes):
        directory = tmp_path / str(number)
        directory.mkdir()
        place = laid_out(files, directory / "store.sqlite")
        with closing(SqliteStore.open(place, read_only=True)) as store:
            check_first(store)
        seen.add(schema_of(place))
        with closing(SqliteStore.open(place)) as store:
            check_first(store)
        assert schema_of(place) == SCHEMA_VERSION
    assert seen == set(range(1, SCHEMA_VERSION + 1))


def test_a_migration_that_fails_changes_nothing(first: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = (*MIGRATIONS[0], "CREATE TABLE journal (again)")
    monkeypatch.setattr(migrations, "MIGRATIONS", (broken,))
    with pytest.raises(StoreFailed, match="already exists"):
        SqliteStore.open(first)
    monkeypatch.undo()
    assert schema_of(first) == 1
    with closing(SqliteStore.open(first)) as store:
        check_first(store)


def test_every_step_is_a_transaction_of_its_own(first: Path) -> None:
    steps = (("CREATE TABLE one (x)",), ("CREATE TABLE two (x)", "CREATE TABLE one (again)"))
    with closing(sqlite3.connect(first, isolation_level=None)) as raw, pytest.MonkeyPatch.context() as patch:
        patch.setattr(migrations, "MIGRATIONS", steps)
        with pytest.raises(sqlite3.OperationalError):
            migrate(raw, 1, 3)
    assert schema_of(first) == 2
    with closing(sqlite3.connect(first)) as raw:
        assert raw.execute("SELECT name FROM sqlite_master WHERE name IN ('one', 'two')").fetchall() == [("one",)]


def test_an_old_store_whose_guards_were_taken_away_is_not_migrated(first: Path) -> None:
    with closing(sqlite3.connect(first)) as raw:
        raw.execute("DROP TRIGGER journal_signs_once")
    before = files_of(first)
    with pytest.raises(StoreCorrupt, match="schema was altered"):
        SqliteStore.open(first)
    assert files_of(first) == before
