"""Laws of the store: what append acknowledged is read back or the loss is said; a version is signed once, ever."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, fields, is_dataclass, replace
from itertools import count
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from channels.core.records import Record, Signed, StateAgreed, TurnMoved
from channels.errors import AlreadySigned, ChannelError, StoreCorrupt, StoreError
from channels.model import Agreed, ChannelId, HalfSigned, Mark, Party, keccak
from channels.seal import state_struct_hash
from channels.store import MemoryStore, SqliteStore, Store
from channels.store.codec import MAX_RECORD, RECORD, encode_record
from channels.wire.codec import pack_with, unpack_with
from tests.roles import CHANNEL, DEPLOYMENT, UNIT, book, half
from tests.strategies import journal_records
from tests.writer import OPENED, update

ROOT = Path(__file__).parents[2]
STORES = pytest.mark.parametrize("kind", ["sqlite", "memory"])


class Held:
    """A store of either kind that can be closed and opened again; the one in memory stays as it is."""

    def __init__(self, kind: str, directory: Path) -> None:
        self._path = directory / "store.sqlite" if kind == "sqlite" else None
        self.store: Store = SqliteStore.open(self._path) if self._path else MemoryStore()

    def reopen(self) -> None:
        if self._path:
            self.store.close()
            self.store = SqliteStore.open(self._path, create=False)


@contextmanager
def held(kind: str) -> Iterator[Held]:
    with tempfile.TemporaryDirectory() as directory:
        made = Held(kind, Path(directory))
        try:
            yield made
        finally:
            made.store.close()


# ---------------------------------------------------------------------------------------------------------------
# A plain model beside it


def in_channel(record: Record, channel: ChannelId) -> Record:
    """The record as `channel`'s: states name the channel they belong to."""
    if isinstance(record, Signed):
        old = record.half
        return Signed(HalfSigned(replace(old.state, channel=channel), old.book, old.party, old.signature), ())
    if isinstance(record, StateAgreed):
        return StateAgreed(
            Agreed(replace(record.agreed.state, channel=channel), record.agreed.book, record.agreed.signatures),
            record.operations,
        )
    return record


few_versions = st.builds(
    lambda version, shift: Signed(
        half(version=version, balances=(10_000 * UNIT - shift, 5_000 * UNIT + shift)), (Mark(),)
    ),
    st.integers(1, 4),
    st.integers(0, 1),
)
CHANNELS = [CHANNEL, ChannelId(keccak(b"second")), ChannelId(keccak(b"third"))]
steps: st.SearchStrategy[Any] = st.one_of(
    st.dictionaries(st.sampled_from(CHANNELS), st.lists(few_versions | journal_records, max_size=4), max_size=3),
    st.integers(0, 9),
    st.just("reopen"),
)


def expected(kept: list[Record], batch: list[Record]) -> list[Record] | int:
    """What the journal holds after a batch, or the version for which it is refused."""
    after = list(kept)
    for record in batch:
        if isinstance(record, Signed):
            state = record.half.state
            digests = [
                state_struct_hash(old.half.state)
                for old in after
                if isinstance(old, Signed) and old.half.state.version == state.version
            ]
            if digests and digests != [state_struct_hash(state)]:
                return state.version
            if digests:
                continue
        after.append(record)
    return after


@STORES
@given(script=st.lists(steps, max_size=10))
def test_a_store_is_a_list_of_records_in_which_no_version_has_two_digests(kind: str, script: list[Any]) -> None:
    model: dict[ChannelId, list[Record]] = {}
    block = 0
    with held(kind) as holder:
        for step in script:
            if step == "reopen":
                holder.reopen()
            elif isinstance(step, int):
                holder.store.advance(DEPLOYMENT, step)
                block = max(block, step)
            else:
                batch = {channel: [in_channel(row, channel) for row in records] for channel, records in step.items()}
                after = {channel: expected(model.get(channel, []), records) for channel, records in batch.items()}
                if refusals := [found for found in after.values() if isinstance(found, int)]:
                    with pytest.raises(AlreadySigned) as refused:
                        holder.store.append_all(batch)
                    assert refused.value.version == refusals[0]
                else:
                    holder.store.append_all(batch)
                    model |= {channel: rows for channel, rows in after.items() if isinstance(rows, list) and rows}
            assert holder.store.channels() == list(model)
            assert holder.store.cursor(DEPLOYMENT) == block
        for channel in CHANNELS:
            assert holder.store.records(channel) == model.get(channel, [])


@STORES
@given(batch=st.lists(journal_records, max_size=5))
def test_every_record_is_read_back_as_it_was_appended(kind: str, batch: list[Record]) -> None:
    versions: set[int] = set()
    records = []
    for record in batch:
        if isinstance(record, Signed):
            if record.half.state.version in versions:
                continue
            versions.add(record.half.state.version)
        records.append(record)
    with held(kind) as holder:
        holder.store.append(CHANNEL, records)
        holder.reopen()
        assert holder.store.records(CHANNEL) == records


# ---------------------------------------------------------------------------------------------------------------
# Damage


@dataclass(frozen=True)
class Files:
    """The store's files at the moments a crash may come, with what had been acknowledged until then."""

    closed: bytes
    before: bytes
    after: bytes
    log: bytes
    acknowledged: list[Record]
    appending: list[Record]

    @property
    def complete(self) -> list[Record]:
        return [*self.acknowledged, *self.appending]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    """A store of some twenty pages: before and after one append that spans several, with its log; and closed."""
    path = tmp_path_factory.mktemp("files") / "store.sqlite"
    log = Path(f"{path}-wal")
    with closing(SqliteStore.open(path)) as store:
        records: list[Record] = [OPENED, *(record for version in range(1, 31) for record in update(version))]
        for record in records:
            store.append(CHANNEL, [record])
        store.advance(DEPLOYMENT, 7)
        before = path.read_bytes()
        last: list[Record] = [Signed(half(Party.ZERO, book(), version=v), (Mark(),)) for v in range(31, 37)]
        store.append(CHANNEL, last)
        after, logged = path.read_bytes(), log.read_bytes()
    return Files(path.read_bytes(), before, after, logged, records, last)


def outcome(main: bytes, log: bytes | None = None) -> list[Record] | None:
    """Open such a store: its records, or None if it was refused, with everything left as it was found."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "store.sqlite"
        logged = Path(f"{path}-wal")
        path.write_bytes(main)
        if log is not None:
            logged.write_bytes(log)
        try:
            store = SqliteStore.open(path)
        except StoreError:
            assert path.read_bytes() == main
            assert (logged.read_bytes() if logged.exists() else None) == log
            return None
        with closing(store):
            try:
                records = store.records(CHANNEL)
                assert store.channels() == [CHANNEL]
                assert store.cursor(DEPLOYMENT) == 7
            except StoreCorrupt:
                return None
            return records


def test_the_files_are_what_the_laws_below_need(files: Files) -> None:
    assert outcome(files.closed) == outcome(files.after, files.log) == files.complete
    assert outcome(files.before) == files.acknowledged
    pages = {i for i in range(0, len(files.before), 4096) if files.before[i : i + 4096] != files.after[i : i + 4096]}
    assert len(pages) + (len(files.after) - len(files.before)) // 4096 >= 4


@given(data=st.data())
def test_a_truncated_store_is_refused(files: Files, data: st.DataObject) -> None:
    whole = files.closed
    edges = [edge + d for edge in range(0, len(whole), 4096) for d in (-1, 0, 1) if 0 <= edge + d < len(whole)]
    size = data.draw(st.sampled_from(edges) | st.integers(0, len(whole) - 1))
    assert outcome(whole[:size]) is None


@given(data=st.data())
def test_a_store_truncated_beside_its_log_is_refused_or_whole(files: Files, data: st.DataObject) -> None:
    size = data.draw(st.integers(0, len(files.after) - 1) | st.integers(0, 1_024))
    assert outcome(files.after[:size], files.log) in (None, files.complete)


@given(data=st.data())
def test_a_lost_or_truncated_log_costs_nothing_that_was_acknowledged(files: Files, data: st.DataObject) -> None:
    size = data.draw(st.integers(0, len(files.log)))
    assert outcome(files.after, files.log[:size]) == files.complete
    assert outcome(files.after) == files.complete


@given(data=st.data())
def test_a_crash_between_commit_and_checkpoint_loses_nothing(files: Files, data: st.DataObject) -> None:
    """The main file may hold any of the pages that the checkpoint was moving; the log has them all."""
    assert outcome(files.before, files.log) == files.complete
    pages = range(0, len(files.after), 4096)
    moved = data.draw(st.lists(st.booleans(), min_size=len(pages), max_size=len(pages)))
    mixed = bytearray(files.before.ljust(len(files.after), b"\0"))
    for at, done in zip(pages, moved, strict=True):
        if done:
            mixed[at : at + 4096] = files.after[at : at + 4096]
    assert outcome(bytes(mixed), files.log) == files.complete


@given(data=st.data())
def test_a_log_cut_before_append_returned_gives_all_of_the_append_or_nothing(files: Files, data: st.DataObject) -> None:
    size = data.draw(st.integers(0, len(files.log)))
    assert outcome(files.before, files.log[:size]) in (files.acknowledged, files.complete)


@settings(max_examples=5 * settings.default.max_examples)
@given(data=st.data())
def test_a_changed_byte_is_found_or_does_not_matter(files: Files, data: st.DataObject) -> None:
    damaged = bytearray(files.closed)
    damaged[data.draw(st.integers(0, len(damaged) - 1) | st.integers(0, 99))] ^= data.draw(st.integers(1, 255))
    assert outcome(bytes(damaged)) in (None, files.complete)


# ---------------------------------------------------------------------------------------------------------------
# Kill −9


def acknowledge(path: Path, first: int, wanted: int) -> list[int]:
    """Let another process sign from `first` on, kill it after so many acknowledgements, and return all it gave."""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "tests.writer", str(path), str(first)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        given_out = [int(process.stdout.readline()) for _ in range(wanted)]
        process.kill()
        return [*given_out, *map(int, process.stdout.read().split())]


def test_kill_9_during_appends_loses_nothing_that_returned(tmp_path: Path) -> None:
    path, dice = tmp_path / "store.sqlite", Random(20240126)
    acknowledged: list[int] = []
    first = 1
    for _ in range(5):
        acknowledged += acknowledge(path, first, dice.randint(1, 60))
        with closing(SqliteStore.open(path, create=False)) as store:
            records = store.records(CHANNEL)
            signed = [record.half.state.version for record in records if isinstance(record, Signed)]
            assert signed == list(range(1, len(signed) + 1))
            assert set(acknowledged) <= set(signed)
            assert records == [records[0], *(record for version in signed for record in update(version))]
            for version in (signed[-1], dice.choice(signed)):
                with pytest.raises(AlreadySigned):
                    store.append(CHANNEL, [Signed(half(version=version, balances=(0, 15_000 * UNIT)), ())])
        first = signed[-1] + 1
    assert len(acknowledged) >= 5


def test_the_main_file_alone_is_complete_after_every_append(tmp_path: Path) -> None:
    path = tmp_path / "store.sqlite"
    with closing(SqliteStore.open(path)) as store:
        for turn in count(1):
            store.append(CHANNEL, [TurnMoved(turn)])
            copy = tmp_path / "copy.sqlite"
            copy.write_bytes(path.read_bytes())
            with closing(SqliteStore.open(copy, read_only=True)) as copied:
                assert copied.records(CHANNEL) == [TurnMoved(i) for i in range(1, turn + 1)]
            if turn == 40:
                break


ODD = st.one_of(
    st.integers(-(2**300), 2**300),
    st.booleans(),
    st.none(),
    st.floats(),
    st.text(max_size=40),
    st.binary(max_size=70),
    st.binary(min_size=32, max_size=32),
    st.lists(st.integers(0, 9), max_size=3),
    st.tuples(st.integers(0, 2**70), st.integers(0, 2**70)),
    st.sampled_from(list(Party)),
)


def mutated(value: Any, data: st.DataObject) -> Any:
    """The value with something odd at some depth in it; what its own birth checks refuse raises as they do."""
    if isinstance(value, tuple) and value and data.draw(st.booleans()):
        at = data.draw(st.integers(0, len(value) - 1))
        return (*value[:at], mutated(value[at], data), *value[at + 1 :])
    names = [f.name for f in fields(value) if f.init] if is_dataclass(value) else []
    if names and data.draw(st.booleans()):
        name = data.draw(st.sampled_from(names))
        return replace(value, **{name: mutated(getattr(value, name), data)})  # type: ignore[type-var]
    return data.draw(ODD)


@given(journal_records, st.data())
def test_what_is_written_reads_back_equal_whatever_a_bug_upstream_put_into_it(
    record: Record, data: st.DataObject
) -> None:
    """Writing is as strict as reading: so nothing has to be read back to know that it can be."""
    try:
        entry = encode_record(CHANNEL, mutated(record, data))
    except (ChannelError, TypeError, AttributeError):
        return
    read = unpack_with(RECORD, entry.body, MAX_RECORD)
    assert encode_record(CHANNEL, read) == entry


@given(journal_records)
def test_what_is_written_reads_back_equal(record: Record) -> None:
    body = pack_with(RECORD, record)
    assert unpack_with(RECORD, body, MAX_RECORD) == record
