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
from unittest.mock import patch

import pytest
from hypothesis import given, settings, strategies as st

from channels.core import checkpoint
from channels.core.channel import ChainView, Outstanding
from channels.core.records import Checkpoint, Record, Signed, StateAgreed, TurnMoved
from channels.errors import AlreadySigned, ChannelError, InvariantBroken, StoreCorrupt, StoreError
from channels.model import Agreed, ChannelId, HalfSigned, Mark, Party, keccak
from channels.seal import state_struct_hash
from channels.store import MemoryStore, SqliteStore, Store
from channels.store.codec import MAX_RECORD, RECORD, decode_record, encode_record
from channels.wire.codec import pack_with, unpack_with
from tests.keeper import Keeper, folded
from tests.roles import CHANNEL, DEPLOYMENT, UNIT, book, half
from tests.strategies import checkpoints, journal_records
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
    if isinstance(record, Checkpoint):
        held = tuple(replace(out, half=in_channel(Signed(out.half, ()), channel).half) for out in record.outstanding)
        return replace(record, outstanding=held)
    return record


few_versions = st.builds(
    lambda version, shift: Signed(
        half(version=version, balances=(10_000 * UNIT - shift, 5_000 * UNIT + shift)), (Mark(),)
    ),
    st.integers(1, 4),
    st.integers(0, 1),
)
few_checkpoints = st.builds(
    lambda signed, held: Checkpoint(
        accepted=True,
        agreed=None,
        closing=None,
        outstanding=(Outstanding(held.half, held.operations),),
        signed=max(signed, held.half.state.version),
        turn=0,
        chain=ChainView(),
        recalled=None,
        frozen=0,
        suspect=b"",
        recovery=None,
        granted=None,
        leap=0,
        markers=(),
        top_up=None,
        topped_up=0,
        in_flight=(),
    ),
    st.integers(1, 6),
    few_versions,
)
CHANNELS = [CHANNEL, ChannelId(keccak(b"second")), ChannelId(keccak(b"third"))]
steps: st.SearchStrategy[Any] = st.one_of(
    st.dictionaries(
        st.sampled_from(CHANNELS), st.lists(few_versions | few_checkpoints | journal_records, max_size=4), max_size=3
    ),
    st.integers(0, 9),
    st.just("reopen"),
)


class Model:
    """One channel's journal: what it holds, and every version that it ever took a signature for, forgotten or not."""

    def __init__(self, other: Model | None = None) -> None:
        self.kept: list[Record] = list(other.kept) if other else []
        self.ever: set[int] = set(other.ever) if other else set()

    def add(self, record: Record) -> None:
        """Take a record, or raise what a store has to raise."""
        checkpoints = [at for at, old in enumerate(self.kept) if isinstance(old, Checkpoint)]
        last = self.kept[checkpoints[-1]] if checkpoints else None
        floor, held = (last.signed, last.states) if isinstance(last, Checkpoint) else (0, ())
        if isinstance(record, Signed):
            version = record.half.state.version
            known = {state.version: state_struct_hash(state) for state, _ in held if version <= floor}
            known |= {r.half.state.version: state_struct_hash(r.half.state) for r in self.kept if isinstance(r, Signed)}
            if known.get(version) == state_struct_hash(record.half.state):
                return
            if version in known or version <= floor:
                raise AlreadySigned(version)
            assert version not in self.ever, "the law: a version is signed once"
            self.ever.add(version)
        if isinstance(record, Checkpoint):
            if record.signed < max([floor, *self.ever]) or not self.kept:
                raise InvariantBroken("a checkpoint forgets no signature, and begins no journal", "")
            if checkpoints:
                self.kept[1 : checkpoints[-1]] = []
        self.kept.append(record)


def added(model: Model | None, records: list[Record]) -> Model | ChannelError:
    """The journal after a batch, or why it is refused."""
    after = Model(model)
    try:
        for record in records:
            after.add(record)
    except (AlreadySigned, InvariantBroken) as refused:
        return refused
    return after


@STORES
@given(script=st.lists(steps, max_size=10))
def test_a_store_is_a_list_of_records_in_which_no_version_has_two_digests(kind: str, script: list[Any]) -> None:
    """Checkpoints drop what they replace, and refuse to forget a signature."""
    models: dict[ChannelId, Model] = {}
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
                after = {channel: added(models.get(channel), records) for channel, records in batch.items()}
                if refusals := [found for found in after.values() if not isinstance(found, Model)]:
                    with pytest.raises(type(refusals[0])) as refused:
                        holder.store.append_all(batch)
                    assert getattr(refused.value, "version", 0) == getattr(refusals[0], "version", 0)
                else:
                    holder.store.append_all(batch)
                    models |= {
                        channel: model for channel, model in after.items() if isinstance(model, Model) and model.kept
                    }
            assert holder.store.channels() == list(models)
            assert holder.store.cursor(DEPLOYMENT) == block
        for channel in CHANNELS:
            assert holder.store.records(channel) == (models[channel].kept if channel in models else [])


@given(record=checkpoints)
def test_a_checkpoint_is_read_back_as_it_was_appended(record: Checkpoint) -> None:
    body = encode_record(CHANNEL, record)
    assert (body.version, body.digest) == (record.floor, None)
    assert record.floor >= max([record.signed, *(state.version for state, _ in record.states)])
    assert decode_record("here", body) == record


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
    complete: list[Record]


@pytest.fixture(scope="module", params=["growing", "compacting"])
def files(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Files:
    """A store of some twenty pages: before and after one append that spans several, with its log; and closed.

    The append of the second one compacts: it adds a checkpoint, and deletes what the last but one replaces.
    """
    if request.param == "compacting":
        return compacting(tmp_path_factory.mktemp("files") / "store.sqlite")
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
    return Files(path.read_bytes(), before, after, logged, records, [*records, *last])


def compacting(path: Path) -> Files:
    with patch.object(checkpoint, "EVERY", 16), closing(SqliteStore.open(path)) as store:
        keeper = Keeper(store)
        keeper.update(range(1, 31))
        store.advance(DEPLOYMENT, 7)
        acknowledged, before = store.records(CHANNEL), path.read_bytes()
        keeper.keep(*(record for version in range(31, 39) for record in update(version)))
        complete = store.records(CHANNEL)
        assert acknowledged[1] != complete[1], "nothing was deleted"
        after, logged = path.read_bytes(), Path(f"{path}-wal").read_bytes()
    return Files(path.read_bytes(), before, after, logged, acknowledged, complete)


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


def acknowledge(path: Path, first: int, wanted: int, module: str = "tests.writer") -> list[int]:
    """Let another process sign from `first` on, kill it after so many acknowledgements, and return all it gave."""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", module, str(path), str(first)]
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


def test_kill_9_while_the_journal_compacts_loses_nothing_that_returned(tmp_path: Path) -> None:
    """A checkpoint every other update; the journal of the process that was killed goes on in the next one."""
    path, dice = tmp_path / "store.sqlite", Random(20240127)
    for _ in range(5):
        acknowledged = acknowledge(path, 4, dice.randint(1, 40), "tests.keeper")
        with closing(SqliteStore.open(path, create=False)) as store:
            channel = folded(store.records(CHANNEL))
            assert channel.signed == channel.version >= max(acknowledged)
            for version in {1, channel.signed // 2, channel.signed} - {0}:
                with pytest.raises(AlreadySigned):
                    store.append(CHANNEL, [Signed(half(version=version, balances=(0, 15_000 * UNIT)), ())])
            assert len(store.records(CHANNEL)) <= 1 + 2 * (4 + 3)


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
