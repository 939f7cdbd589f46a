"""Laws of a damaged store: whatever happens to its file or its log, it is whole, refused, or doubted by the marker."""

from __future__ import annotations

import tempfile
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

import pytest
from hypothesis import given, settings, strategies as st

from channels.core import checkpoint
from channels.core.records import Record
from channels.errors import StoreCorrupt, StoreError
from channels.store import SqliteStore
from channels.store.instance import FileInstance, reached_by
from channels.store.wal import log_of
from tests.keeper import Keeper, folded
from tests.roles import CHANNEL, DEPLOYMENT
from tests.writer import OPENED, update

SECTOR = 512
Outcome = list[Record] | str
REFUSED, DOUBTED = "refused by a typed error", "read, and shorter than the instance marker says"


@dataclass(frozen=True)
class Files:
    """The store's files at the moments a crash may come, with what had been acknowledged until then.

    `main` and `log` belong together at the end, `torn` is the log one append before, `moved` the main file once the log
    was moved into it, `closed` after that.
    """

    main: bytes
    torn: bytes
    log: bytes
    moved: bytes
    closed: bytes
    acknowledged: list[Record]
    complete: list[Record]


@pytest.fixture(scope="module", params=["growing", "compacting"])
def files(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Files:
    """A store of some twenty pages, with a log of several appends, the last of which spans several pages.

    That of the second one compacts: it adds a checkpoint, and deletes what the last but one replaces.
    """
    path = tmp_path_factory.mktemp("files") / "store.sqlite"
    with patch.object(checkpoint, "EVERY", 16 if request.param == "compacting" else 1_000):
        with closing(SqliteStore.open(path)) as store:
            keeper = Keeper(store)
            keeper.keep(OPENED)
            keeper.update(range(1, 25))
            store.advance(DEPLOYMENT, 7)
        with closing(SqliteStore.open(path)) as store:
            keeper, main = Keeper(store), path.read_bytes()
            keeper.update(range(25, 31))
            acknowledged, torn = store.records(CHANNEL), log_of(path).read_bytes()
            keeper.keep(*(record for version in range(31, 39) for record in update(version)))
            complete, log = store.records(CHANNEL), log_of(path).read_bytes()
            if request.param == "compacting":
                assert acknowledged[1] != complete[1], "nothing was deleted"
            assert path.read_bytes() == main, "the log was moved too early"
            store.checkpoint_log()
            moved = path.read_bytes()
        return Files(main, torn, log, moved, path.read_bytes(), acknowledged, complete)


def outcome(main: bytes, log: bytes | None, noted: list[Record]) -> Outcome:
    """Open such a store, beside a marker that noted these records; what was refused is left as it was found."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "store.sqlite"
        logged = log_of(path)
        path.write_bytes(main)
        marker = FileInstance(path)
        marker.begin({})
        marker.note({CHANNEL: noted})
        marker.close()
        if log is not None:
            logged.write_bytes(log)
        left = {entry.name: entry.read_bytes() for entry in Path(directory).iterdir()}
        found: list[Outcome] = []
        for read_only in (True, False):
            try:
                store = SqliteStore.open(path, read_only=read_only)
            except StoreError:
                found.append(REFUSED)
            else:
                with closing(store):
                    found.append(judged(store, marker))
            if read_only or found[-1] == REFUSED:
                now = {entry.name: entry.read_bytes() for entry in Path(directory).iterdir()}
                now.pop("store.sqlite.lock", None)
                assert now == left, "it was only looked at"
        assert found[1] in (found[0], REFUSED), "SQLite reads some files that it does not write to"
        return found[1]


def judged(store: SqliteStore, marker: FileInstance) -> Outcome:
    try:
        records = store.records(CHANNEL)
        doubt = marker.missed({CHANNEL: reached_by(store, CHANNEL)})
        if not doubt:
            assert store.channels() == [CHANNEL]
            assert store.cursor(DEPLOYMENT) == 7
    except StoreCorrupt:
        return REFUSED
    return DOUBTED if doubt else records


def test_the_files_are_what_the_laws_below_need(files: Files) -> None:
    assert files.complete[: len(files.acknowledged)] == files.acknowledged or files.complete[1] != files.acknowledged[1]
    assert outcome(files.closed, None, files.complete) == files.complete
    for main in (files.main, files.moved):
        assert outcome(main, files.log, files.complete) == files.complete
    assert outcome(files.main, files.torn, files.acknowledged) == files.acknowledged
    assert outcome(files.main, files.torn, files.complete) == DOUBTED
    pages = {i for i in range(0, len(files.main), 4096) if files.main[i : i + 4096] != files.moved[i : i + 4096]}
    assert len(pages) + (len(files.moved) - len(files.main)) // 4096 >= 4


@given(data=st.data())
def test_a_truncated_store_is_refused(files: Files, data: st.DataObject) -> None:
    whole = files.closed
    edges = [edge + d for edge in range(0, len(whole), 4096) for d in (-1, 0, 1) if 0 <= edge + d < len(whole)]
    size = data.draw(st.sampled_from(edges) | st.integers(0, len(whole) - 1))
    assert outcome(whole[:size], None, files.complete) == REFUSED


@given(data=st.data())
def test_a_store_truncated_beside_its_log_is_refused_or_whole(files: Files, data: st.DataObject) -> None:
    main = data.draw(st.sampled_from([files.main, files.moved]))
    size = data.draw(st.integers(0, len(main) - 1) | st.integers(0, 1_024))
    assert outcome(main[:size], files.log, files.complete) in (REFUSED, files.complete)


@given(data=st.data())
def test_an_open_store_without_its_log_is_refused(files: Files, data: st.DataObject) -> None:
    """Also when nothing is lost by it: nobody can see that."""
    main = data.draw(st.sampled_from([files.main, files.moved]))
    log = data.draw(st.sampled_from([None, b"", b"the log", files.log[:31], bytes(32) + files.log[32:]]))
    assert outcome(main, log, []) == REFUSED


def check_damaged_log(files: Files, main: bytes, log: bytes) -> None:
    """A damaged log: the whole journal, a typed error, or a doubt by the marker."""
    found = outcome(main, log, files.complete)
    assert found in (REFUSED, DOUBTED, files.complete)
    if main == files.moved:
        # All of it is in the main file: older pages over newer ones are noticed, or they are the same.
        return
    if log != files.log and found != files.complete:
        unmarked = outcome(main, log, [])
        assert unmarked == REFUSED or is_earlier(unmarked, files)


def is_earlier(found: Outcome, files: Files) -> bool:
    """What an unmarked reader sees is a journal that once was, in its order."""
    return isinstance(found, list) and folded(found).version <= folded(files.complete).version


@given(data=st.data())
def test_a_truncated_log_is_refused_or_doubted(files: Files, data: st.DataObject) -> None:
    frames = [32 + at * 4120 + d for at in range(len(files.log) // 4120 + 1) for d in (-1, 0, 1)]
    size = data.draw(st.sampled_from(frames) | st.integers(0, len(files.log) - 1))
    check_damaged_log(files, files.main, files.log[:size])


@given(data=st.data())
def test_a_changed_byte_of_the_log_is_found_or_does_not_matter(files: Files, data: st.DataObject) -> None:
    damaged = bytearray(files.log)
    frame = data.draw(st.integers(0, len(damaged) // 4120 - 1))
    at = data.draw(st.integers(0, 31) | st.integers(0, 4119).map(lambda d: 32 + frame * 4120 + d))
    damaged[at] ^= data.draw(st.integers(1, 255))
    check_damaged_log(files, data.draw(st.sampled_from([files.main, files.moved])), bytes(damaged))


@given(data=st.data())
def test_a_log_damaged_before_its_last_append_is_refused_by_itself(files: Files, data: st.DataObject) -> None:
    """No marker is needed: a frame behind a commit that is not reached is proof."""
    damaged = bytearray(files.log)
    at = data.draw(st.integers(56, len(files.torn) - 1))
    if (at - 32) % 4120 < 24:
        at += 24
    damaged[at] ^= data.draw(st.integers(1, 255))
    assert outcome(files.main, bytes(damaged), []) == REFUSED


@given(data=st.data())
def test_a_crash_while_the_log_is_moved_loses_nothing(files: Files, data: st.DataObject) -> None:
    """The main file may hold any of the pages that the checkpoint was moving; the log has them all."""
    pages = range(0, len(files.moved), 4096)
    moved = data.draw(st.lists(st.booleans(), min_size=len(pages), max_size=len(pages)))
    mixed = bytearray(files.main.ljust(len(files.moved), b"\0"))
    for at, done in zip(pages, moved, strict=True):
        if done:
            mixed[at : at + 4096] = files.moved[at : at + 4096]
    assert outcome(bytes(mixed), files.log, files.complete) == files.complete


@given(data=st.data())
def test_a_power_cut_in_an_append_keeps_all_of_it_or_nothing_and_is_never_refused(
    files: Files, data: st.DataObject
) -> None:
    """Whichever sectors of the last append reached the disk, in whichever order."""
    sectors = range(0, len(files.log), SECTOR)
    before = files.torn.ljust(len(files.log), b"\0")
    written = [at for at in sectors if before[at : at + SECTOR] != files.log[at : at + SECTOR]]
    done = data.draw(st.sets(st.sampled_from(written)) | st.sets(st.sampled_from(written)).map(set(written).difference))
    mixed = bytearray(before)
    for at in done:
        mixed[at : at + SECTOR] = files.log[at : at + SECTOR]
    size = data.draw(st.sampled_from([len(mixed), max([len(files.torn), *(at + SECTOR for at in done)])]))
    assert outcome(files.main, bytes(mixed[:size]), files.acknowledged) in (files.acknowledged, files.complete)


@settings(max_examples=5 * settings.default.max_examples)
@given(data=st.data())
def test_a_changed_byte_is_found_or_does_not_matter(files: Files, data: st.DataObject) -> None:
    damaged = bytearray(files.closed)
    damaged[data.draw(st.integers(0, len(damaged) - 1) | st.integers(0, 99))] ^= data.draw(st.integers(1, 255))
    assert outcome(bytes(damaged), None, files.complete) in (REFUSED, files.complete)
