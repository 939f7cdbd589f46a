"""Laws of the store: what append acknowledged is read back or the loss is said; a version is signed once, ever."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from random import Random
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import given, strategies as st

from channels.core import checkpoint
from channels.core.records import Checkpoint, Record, Signed, StateAgreed, TurnMoved
from channels.errors import AlreadySigned, ChannelError, InvariantBroken, StoreCorrupt, StoreIncomplete
from channels.model import Agreed, ChannelId, HalfSigned, Mark, Party, keccak
from channels.seal import state_struct_hash
from channels.store import MemoryStore, SqliteStore, Store
from channels.store.codec import MAX_RECORD, RECORD, decode_record, encode_record
from channels.wire.codec import pack_with, unpack_with
from tests.keeper import Keeper, folded
from tests.roles import CHANNEL, DEPLOYMENT, UNIT, half
from tests.strategies import checkpoints, journal_records
from tests.writer import OPENED, holding, update

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
    lambda floor, held: holding(max(floor, held.half.version), held),
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


COPY_ORDERS = {"log first": ("-wal", ""), "file first": ("", "-wal")}


@pytest.mark.parametrize("order", COPY_ORDERS)
def test_a_copy_of_a_running_store_is_as_complete_as_when_copying_began_or_refused(tmp_path: Path, order: str) -> None:
    """Every moment between the two files of a copy: appends, a moved log, and what comes behind it."""
    path = tmp_path / "store.sqlite"
    dice, outcomes = Random(20240128), list[str]()
    with patch.object(checkpoint, "EVERY", 8), closing(SqliteStore.open(path)) as store:
        keeper = Keeper(store)
        keeper.keep(OPENED)

        def something() -> None:
            """Mostly appends; the cursor alone makes a log that holds none of the journal's pages."""
            for _ in range(dice.randrange(4)):
                match dice.randrange(4):
                    case 0:
                        store.checkpoint_log()
                    case 1:
                        store.advance(DEPLOYMENT, store.cursor(DEPLOYMENT) + 1)
                    case _:
                        keeper.update([keeper.channel.signed + 1 if keeper.channel else 1])

        for turn in range(150):
            something()
            begun, copy = store.records(CHANNEL), tmp_path / f"{turn}.sqlite"
            for suffix in COPY_ORDERS[order]:
                shutil.copy(f"{path}{suffix}", f"{copy}{suffix}")
                ended = store.records(CHANNEL)
                something()
            try:
                with closing(SqliteStore.open(copy, read_only=True)) as copied:
                    found = folded(copied.records(CHANNEL))
            except (StoreCorrupt, StoreIncomplete) as refused:
                assert order == "file first" or folded(begun) != folded(ended)
                outcomes.append(type(refused).__name__)
            else:
                assert folded(begun).signed <= found.signed <= folded(ended).signed
                outcomes.append("whole")
            if turn % 50 == 0:
                copy.unlink()
                Path(f"{copy}-wal").unlink(missing_ok=True)
    assert outcomes.count("whole") > 30
    assert "StoreCorrupt" in outcomes, "no copy was ever torn"


def test_the_main_file_alone_is_refused_while_the_store_is_open(tmp_path: Path) -> None:
    path = tmp_path / "store.sqlite"
    with closing(SqliteStore.open(path)) as store:
        for turn in range(1, 40):
            store.append(CHANNEL, [TurnMoved(turn)])
            if turn % 5 == 0:
                store.checkpoint_log()
            copy = tmp_path / "copy.sqlite"
            copy.write_bytes(path.read_bytes())
            with pytest.raises(StoreIncomplete, match="copy both files"):
                SqliteStore.open(copy, read_only=True)
            with closing(SqliteStore.open(copy, read_only=True, salvage=True)) as copied:
                assert copied.records(CHANNEL) == [TurnMoved(i) for i in range(1, turn - turn % 5 + 1)]
    with closing(SqliteStore.open(path, read_only=True)) as store:
        assert store.records(CHANNEL) == [TurnMoved(i) for i in range(1, 40)]


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
