"""A journal that checkpoints stays small, and forgets nothing that could ever matter: no signature, no agreed state."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from channels.chain.port import Block, ChannelPhase, Located, OnChain
from channels.core import checkpoint
from channels.core.facts import ClosedSeen, RegisteredSeen
from channels.core.records import BookRecalled, ChainSaid, Checkpoint, Opened, Record, Signed, StateAgreed, TurnMoved
from channels.errors import AlreadySigned, InvariantBroken, StoreCorrupt
from channels.model import ChannelId, Intent, Mark, Party, keccak
from channels.runtime.dispute import Dispute
from channels.runtime.dispute_steps import Evidence
from channels.runtime.watcher import find_book
from channels.seal import state_struct_hash
from channels.store import SqliteStore, Store, file, rows
from channels.store.codec import FIRST_LINK, Entry, decode_records, encode_record
from tests.keeper import Keeper, folded
from tests.roles import CHANNEL, DEPLOYMENT, UNIT, agreed, book, half, state
from tests.unit.store.crashes import Files, files_of, laid_out
from tests.writer import OPENED, update

EVERY = 8
OTHER_STATE = {"balances": (1, 15_000 * UNIT - 1)}
INSERT = "INTO journal (channel, seq, kind, version, digest, body, link) VALUES (?, ?, ?, ?, ?, ?, ?)"


@pytest.fixture(autouse=True)
def often() -> Iterator[None]:
    """A checkpoint every eight records."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checkpoint, "EVERY", EVERY)
        yield


def signed(version: int, **changes: Any) -> Signed:
    return Signed(half(version=version, **changes), (Mark(),))


def checkpoints(store: Store) -> list[int]:
    """Where the checkpoints are among a channel's records."""
    return [at for at, record in enumerate(store.records(CHANNEL)) if isinstance(record, Checkpoint)]


def test_a_journal_is_its_first_record_and_what_follows_the_last_checkpoint_but_one(store: Store) -> None:
    keeper, records = Keeper(store), list[Record]()
    for version in range(1, 60):
        records += [*([] if records else [OPENED]), *update(version)]
        keeper.update([version])
        kept = store.records(CHANNEL)
        assert isinstance(kept[0], Opened)
        assert len(kept) <= 2 * (EVERY + 2) + 1
        assert folded(kept) == folded(records) == keeper.channel
        assert len(checkpoints(store)) <= 2
    assert checkpoints(store)[0] == 1
    assert store.channels() == [CHANNEL]


def test_two_channels_are_compacted_each_by_itself(store: Store) -> None:
    other = ChannelId(keccak(b"another channel"))
    store.append(other, [OPENED, TurnMoved(1)])
    Keeper(store).update(range(1, 30))
    assert store.channels() == [other, CHANNEL]
    assert store.records(other) == [OPENED, TurnMoved(1)]


def test_a_version_is_signed_once_also_when_its_record_is_gone(store: Store) -> None:
    Keeper(store).update(range(1, 30))
    for version in range(1, 30):
        with pytest.raises(AlreadySigned) as refused:
            store.append(CHANNEL, [signed(version, **OTHER_STATE)])
        assert refused.value.version == version
    before = store.records(CHANNEL)
    assert min(r.half.state.version for r in before if isinstance(r, Signed)) > 10
    store.append(CHANNEL, [signed(30, **OTHER_STATE)])
    assert store.records(CHANNEL) == [*before, signed(30, **OTHER_STATE)]


def test_a_version_below_the_floor_that_was_never_signed_is_not_signed_either(store: Store) -> None:
    keeper = Keeper(store)
    keeper.keep(OPENED)
    keeper.update(range(2, 60, 2))
    floor = max(record.signed for record in store.records(CHANNEL) if isinstance(record, Checkpoint))
    for version in (1, 3, floor - 1):
        with pytest.raises(AlreadySigned):
            store.append(CHANNEL, [signed(version)])


def test_a_signature_that_the_checkpoint_holds_may_be_repeated(store: Store) -> None:
    """A half-signed withdrawal stays outstanding however many updates follow; its own record is long gone."""
    keeper = Keeper(store)
    hanging = Signed(half(Party.ZERO, version=1, withdrawals=(5, 0), balances=(15_000 * UNIT - 5, 0)), (Mark(),))
    keeper.keep(OPENED, hanging)
    keeper.update(range(2, 60))
    kept = store.records(CHANNEL)
    assert hanging not in kept
    assert folded(kept).outstanding[0].half == hanging.half
    store.append(CHANNEL, [hanging])
    assert store.records(CHANNEL) == kept
    with pytest.raises(AlreadySigned):
        store.append(CHANNEL, [signed(1, **OTHER_STATE)])


def test_a_checkpoint_that_forgets_a_signature_is_refused(store: Store) -> None:
    keeper = Keeper(store)
    keeper.update(range(1, 30))
    assert keeper.channel is not None
    right, before = checkpoint.checkpoint(keeper.channel), store.records(CHANNEL)
    for wrong in (replace(right, signed=28, agreed=None), replace(right, signed=0, agreed=None)):
        with pytest.raises(InvariantBroken, match="forgets no signature"):
            store.append(CHANNEL, [wrong])
    with pytest.raises(InvariantBroken, match="forgets no signature"):
        store.append(CHANNEL, [signed(31), replace(right, signed=30)])
    assert store.records(CHANNEL) == before
    assert replace(right, signed=0).floor == 29, "the agreed state is signed, too"
    store.append(CHANNEL, [replace(right, signed=40)])
    with pytest.raises(InvariantBroken, match="forgets no signature"):
        store.append(CHANNEL, [replace(right, signed=39)])


def test_a_batch_is_judged_in_its_own_order(store: Store) -> None:
    keeper = Keeper(store)
    keeper.update(range(1, 5))
    assert keeper.channel is not None
    right, before = checkpoint.checkpoint(keeper.channel), store.records(CHANNEL)
    with pytest.raises(AlreadySigned):
        store.append(CHANNEL, [replace(right, signed=9), signed(8)])
    with pytest.raises(AlreadySigned):
        store.append(CHANNEL, [replace(right, signed=9), right.agreed and signed(4, **OTHER_STATE)])
    assert store.records(CHANNEL) == before
    store.append(CHANNEL, [replace(right, signed=9), signed(10)])


def test_a_checkpoint_of_another_channel_is_refused(store: Store) -> None:
    keeper = Keeper(store)
    keeper.update(range(1, 5))
    assert keeper.channel is not None
    with pytest.raises(InvariantBroken, match="its own channel"):
        store.append(ChannelId(keccak(b"another channel")), [OPENED, checkpoint.checkpoint(keeper.channel)])


def test_a_checkpoint_is_held_against_the_records_before_it() -> None:
    records = [OPENED, *(record for version in range(1, 4) for record in update(version))]
    right = checkpoint.checkpoint(folded(records))
    assert folded([*records, right]) == folded([OPENED, right]) == folded(records)
    for wrong in (
        replace(right, turn=1),
        replace(right, agreed=None),
        replace(right, signed=9),
        replace(right, frozen=1),
        replace(right, chain=replace(right.chain, deposits=(1, 0))),
    ):
        with pytest.raises(InvariantBroken, match="the fold of what it replaces"):
            folded([*records, wrong])


def test_evidence_and_books_are_found_in_a_compacted_journal(store: Store) -> None:
    keeper = Keeper(store)
    hanging = Signed(
        half(Party.ZERO, book(), version=1, withdrawals=(5, 0), balances=(0, 15_000 * UNIT - 5)), (Mark(),)
    )
    keeper.keep(OPENED, hanging)
    keeper.update(range(2, 60))
    recalled = book(salt=b"r" * 32)
    keeper.keep(BookRecalled(recalled))
    keeper.update(range(60, 90))
    evidence = Evidence.read(store, CHANNEL)
    assert (evidence.deployment, evidence.me) == (DEPLOYMENT, Party.ZERO)
    assert evidence.agreed == keeper.channel.agreed  # type: ignore[union-attr]  # there is one
    assert hanging.half.state in evidence.states.values()
    for known in (recalled, hanging.half.book):
        assert known.hash in evidence.books
        assert find_book(store, CHANNEL, 1, known.hash) == known
    keeper.keep(signed(90))
    assert Evidence.read(store, CHANNEL).half_signed == 90


def test_evidence_that_only_a_checkpoint_holds_is_evidence(store: Store) -> None:
    """The last agreed state, a CLOSE above it and what the chain registered, long ago."""
    close = agreed(version=7, intent=Intent.CLOSE, valid_until=99)
    keeper = Keeper(store)
    keeper.keep(OPENED)
    keeper.update(range(1, 6))
    keeper.keep(StateAgreed(close, (Mark(),)), ChainSaid(RegisteredSeen(state(version=3), 99)), signed(9))
    for turn in range(1, 60):
        keeper.keep(TurnMoved(turn))
    assert not any(isinstance(record, Signed | StateAgreed | ChainSaid) for record in store.records(CHANNEL))
    evidence = Evidence.read(store, CHANNEL)
    assert evidence.agreed == agreed(version=5)
    assert evidence.closing == close
    assert evidence.half_signed == evidence.floor == 9
    assert {held.version for held in evidence.states.values()} == {3, 5, 7, 9}
    keeper.keep(ChainSaid(ClosedSeen((1, 2))))
    for turn in range(60, 99):
        keeper.keep(TurnMoved(turn))
    assert Evidence.read(store, CHANNEL).payouts == (1, 2)


def test_a_registered_reopen_is_what_a_checkpoint_has_agreed(store: Store) -> None:
    reopen = agreed(book(), version=7, intent=Intent.REOPEN, valid_until=99)
    keeper = Keeper(store)
    keeper.keep(OPENED)
    keeper.update(range(1, 6))
    keeper.keep(StateAgreed(reopen, (Mark(),)), ChainSaid(RegisteredSeen(reopen.state, 0)))
    for turn in range(1, 60):
        keeper.keep(TurnMoved(turn))
    assert Evidence.read(store, CHANNEL).agreed == reopen


def test_a_checkpoint_that_does_not_name_the_link_before_it_is_found() -> None:
    records = [OPENED, *(record for version in range(1, 4) for record in update(version))]
    right = encode_record(CHANNEL, checkpoint.checkpoint(folded(records)))
    rows, link = list[tuple[Entry, bytes]](), FIRST_LINK
    for record in records:
        entry = encode_record(CHANNEL, record)
        link = entry.link(link)
        rows.append((entry, link))
    named, wrong = replace(right, digest=link), replace(right, digest=bytes(32))
    assert len(decode_records("here", [*rows, (named, named.link(link))])) == len(rows) + 1
    with pytest.raises(StoreCorrupt):
        decode_records("here", [*rows, (wrong, wrong.link(link))])
    with pytest.raises(StoreCorrupt):
        decode_records("here", [rows[0], rows[1], (named, named.link(link))])


@pytest.mark.parametrize(("version", "foreign"), [(2, False), (5, False), (59, True), (61, True)])
def test_an_old_state_that_a_checkpoint_let_go_of_does_not_make_the_store_an_old_copy(
    store: Store, version: int, foreign: bool
) -> None:
    """`channels dispute` tells its owner to look for a newer copy only where there must be one."""
    keeper = Keeper(store)
    keeper.keep(OPENED)
    keeper.update(range(4, 60, 2))
    shown = state(version=version)

    class Shown:
        endpoint = "here"

        def head(self) -> Block:
            return Block(9, 0)

        def facts(self, first: int, last: int) -> list[Located]:
            return [Located(9, CHANNEL, RegisteredSeen(shown, 99))]

    chain: Any = Shown()
    dispute = Dispute(Evidence.read(store, CHANNEL), chain)
    status = OnChain(ChannelPhase.DISPUTED, version, 99, state_struct_hash(shown), (0, 0), (0, 0))
    assert dispute._registered(status) == (shown, dispute.evidence.books.get(shown.book), foreign)


# ---------------------------------------------------------------------------------------------------------------
# On disk


@pytest.fixture
def compacted(tmp_path: Path) -> Path:
    """A store with two checkpoints, closed."""
    place = tmp_path / "alice.sqlite"
    with closing(SqliteStore.open(place)) as store:
        Keeper(store).update(range(1, 30))
        store.advance(DEPLOYMENT, 7)
    return place


def test_a_compacted_store_is_what_it_was_after_opening_again(compacted: Path) -> None:
    for options in ({"read_only": True}, {}):
        with closing(SqliteStore.open(compacted, **options)) as store:
            assert checkpoints(store)[0] == 1
            assert folded(store.records(CHANNEL)).version == 29
            assert store.channels() == [CHANNEL]
            assert store.cursor(DEPLOYMENT) == 7
    with closing(SqliteStore.open(compacted)) as store:
        for version in range(1, 30):
            with pytest.raises(AlreadySigned):
                store.append(CHANNEL, [signed(version, **OTHER_STATE)])


def raw(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(path, isolation_level=None)


def test_raw_sql_cannot_sign_below_the_floor_nor_lower_it(compacted: Path) -> None:
    with closing(raw(compacted)) as connection:
        seq, link = connection.execute("SELECT seq, link FROM journal ORDER BY seq DESC LIMIT 1").fetchone()
        before = list(connection.iterdump())
        for version in (1, 12, 29):
            entry = encode_record(CHANNEL, signed(version, **OTHER_STATE))
            row = (CHANNEL, seq + 1, 3, entry.version_key, entry.digest, entry.body, entry.link(link))
            with pytest.raises(sqlite3.IntegrityError, match="already signed"):
                connection.execute(f"INSERT {INSERT}", row)
        for version in (28, 0):
            row = (CHANNEL, seq + 1, 20, version.to_bytes(8, "big"), link, b"", link)
            with pytest.raises(sqlite3.IntegrityError, match="not a checkpoint"):
                connection.execute(f"INSERT {INSERT}", row)
        assert list(connection.iterdump()) == before


def test_raw_sql_deletes_nothing_that_is_not_replaced_twice(compacted: Path) -> None:
    with closing(raw(compacted)) as connection:
        rows = [seq for (seq,) in connection.execute("SELECT seq FROM journal")]
        for seq in rows:
            with pytest.raises(sqlite3.IntegrityError, match="append only"):
                connection.execute("DELETE FROM journal WHERE seq = ?", (seq,))
        assert [seq for (seq,) in connection.execute("SELECT seq FROM journal")] == rows


@pytest.mark.parametrize("gone", ["seq = 1", "kind = 20", "seq = (SELECT max(seq) - 2 FROM journal)"])
def test_a_row_missing_from_a_compacted_journal_is_missed(compacted: Path, gone: str) -> None:
    with closing(raw(compacted)) as connection:
        name = "journal_forgets_what_is_checkpointed"
        (guard,) = connection.execute("SELECT sql FROM sqlite_master WHERE name = ?", (name,)).fetchone()
        connection.execute(f"DROP TRIGGER {name}")
        connection.execute(f"DELETE FROM journal WHERE {gone}")
        connection.execute(guard)
    with pytest.raises(StoreCorrupt, match="records are missing"):
        SqliteStore.open(compacted)


@pytest.mark.parametrize("column", ["version", "digest", "body", "link"])
def test_a_changed_checkpoint_is_found(compacted: Path, column: str) -> None:
    with closing(raw(compacted)) as connection:
        name = "journal_never_changes"
        (guard,) = connection.execute("SELECT sql FROM sqlite_master WHERE name = ?", (name,)).fetchone()
        connection.execute(f"DROP TRIGGER {name}")
        (seq, value) = connection.execute(f"SELECT min(seq), {column} FROM journal WHERE kind = 20").fetchone()
        changed = value[:-1] + bytes([value[-1] ^ 1])
        connection.execute(f"UPDATE journal SET {column} = ? WHERE seq = ?", (changed, seq))
        connection.execute(guard)
    with closing(SqliteStore.open(compacted)) as store, pytest.raises(StoreCorrupt):
        store.records(CHANNEL)


def test_a_long_journal_of_before_is_let_go_in_parts_and_its_file_shrinks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody waits for thousands of rows, and what waits to be deleted is not read any more."""
    monkeypatch.setattr(rows, "MAX_FORGOTTEN", 20)
    monkeypatch.setattr(file, "MAX_FREE", 10)
    place = tmp_path / "alice.sqlite"
    history = [OPENED, *(record for version in range(1, 101) for record in update(version))]
    with closing(SqliteStore.open(place)) as store:
        store.append(CHANNEL, history)
        keeper, held = Keeper(store), list[int]()
        for version in range(101, 190):
            keeper.update([version])
            store.checkpoint_log()
            with closing(SqliteStore.open(copied(place, tmp_path), read_only=True, salvage=True)) as copy:
                assert folded(copy.records(CHANNEL)) == keeper.channel
            held.append(count(place, "SELECT count(*) FROM journal"))
        assert max(before - after for before, after in pairwise(held)) <= 20
        assert held[-1] < 30 < max(held)
    large = place.stat().st_size
    with closing(SqliteStore.open(place)) as store:
        assert folded(store.records(CHANNEL)) == keeper.channel
    assert place.stat().st_size < large // 2


def copied(place: Path, directory: Path) -> Path:
    copy = directory / "copy.sqlite"
    copy.write_bytes(place.read_bytes())
    return copy


def count(place: Path, query: str) -> int:
    with closing(sqlite3.connect(copied(place, place.parent))) as connection:
        return int(connection.execute(query).fetchone()[0])


def test_the_file_and_its_log_stay_below_a_bound_whatever_the_number_of_updates(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Four thousand updates, twenty to an append: the file holds what three periods need, the log what one append does.

    Three, because pages are free only when the transaction that frees them is committed.
    """
    every, together = 100, 40
    monkeypatch.setattr(checkpoint, "EVERY", every)
    place = tmp_path / "alice.sqlite"
    sizes, logs = list[int](), list[int]()
    with closing(SqliteStore.open(place)) as store:
        keeper = Keeper(store)
        keeper.keep(OPENED)
        for first in range(1, 4_000, together // 2):
            keeper.keep(*(record for version in range(first, first + together // 2) for record in update(version)))
            sizes.append(place.stat().st_size)
            logs.append(Path(f"{place}-wal").stat().st_size)
    assert max(sizes[100:]) <= max(sizes[:100]), "the file grows"
    assert max(logs[100:]) <= max(logs[:100]), "the log grows"
    row = max(len(encode_record(CHANNEL, record).body) for record in store_records(place)) + 256
    assert max(sizes) <= 3 * (every + together + 1) * row + 16 * 4_096


def store_records(place: Path) -> list[Record]:
    with closing(SqliteStore.open(place, read_only=True)) as store:
        return store.records(CHANNEL)


def test_agreed_states_are_kept_with_both_signatures(compacted: Path) -> None:
    records = store_records(compacted)
    newest = [record for record in records if isinstance(record, StateAgreed)][-1]
    assert (
        folded(records).agreed == newest.agreed == folded(records[:1] + records[checkpoints_at(records)[-1] :]).agreed
    )


def checkpoints_at(records: list[Record]) -> list[int]:
    return [at for at, record in enumerate(records) if isinstance(record, Checkpoint)]


def test_a_crash_at_any_statement_of_a_compaction_leaves_the_old_journal_or_the_new_one(
    compacted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = store_records(compacted)
    with closing(SqliteStore.open(compacted)) as store:
        keeper = Keeper(store)
        keeper.update([30, 31])
        missing = EVERY - (keeper.channel.recorded if keeper.channel else 0)
        keeper.update(range(32, 32 + missing // 2 - 1))
        old, version = store.records(CHANNEL), keeper.channel.signed + 1  # type: ignore[union-attr]  # there is one
        statements: list[str] = []
        crashes: dict[Files, None] = {}

        def note(statement: str) -> None:
            statements.append(statement)
            crashes[files_of(compacted)] = None

        assert store._connection is not None
        store._connection.set_trace_callback(note)
        keeper.update([version])
        store._connection.set_trace_callback(None)
        crashes[files_of(compacted)] = None
        new = store.records(CHANNEL)
    assert before[1] == old[1] != new[1], "nothing was deleted"
    assert sum(statement.startswith("DELETE") for statement in statements) >= EVERY
    seen = []
    for number, files in enumerate(crashes):
        directory = tmp_path / str(number)
        directory.mkdir()
        with closing(SqliteStore.open(laid_out(files, directory / "store.sqlite"))) as store:
            found = store.records(CHANNEL)
            assert found in (old, new)
            seen.append(found == new)
            for signed_before in range(1, version):
                with pytest.raises(AlreadySigned):
                    store.append(CHANNEL, [signed(signed_before, **OTHER_STATE)])
    assert seen == sorted(seen)
    assert set(seen) == {False, True}
