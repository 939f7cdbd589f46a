"""What an open store remembers of where its journals end: it saves look-ups, is right after every refusal, and no
promise rests on it. Appends are sent to SQLite as few statements, and stay whole all the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from channels.core.records import Record, Signed, TurnMoved
from channels.errors import AlreadySigned, InvariantBroken, StoreFailed
from channels.model import ChannelId, Mark, keccak
from channels.store import SqliteStore, rows
from channels.store.file import LoggedFile
from channels.store.rows import End
from tests.keeper import Keeper
from tests.roles import CHANNEL, UNIT, half
from tests.unit.store.test_journal import CHECKPOINT
from tests.writer import OPENED, WRITTEN, update

OTHER = ChannelId(keccak(b"another channel"))
OTHER_STATE = {"balances": (1, 15_000 * UNIT - 1)}
MANY = [TurnMoved(turn) for turn in range(2, 3 + 2 * rows.TOGETHER)]
"""More records than one statement takes."""
FORGETFUL = replace(CHECKPOINT, agreed=None, outstanding=(), closing=None, signed=1, in_flight=())
"""A checkpoint below version 2, which is signed."""


def signed(version: int, **changes: Any) -> Signed:
    return Signed(half(version=version, **changes), (Mark(),))


@pytest.fixture
def store(path: Path) -> Iterator[SqliteStore]:
    """A store that knows where two journals end: versions 1 and 2 are signed in the first of them."""
    with closing(SqliteStore.open(path)) as opened:
        opened.append(OTHER, [OPENED])
        opened.append(CHANNEL, [TurnMoved(2)])
        yield opened


HELD = [*WRITTEN, TurnMoved(2)]


def statements(store: SqliteStore, append: Callable[[], object]) -> list[str]:
    """What SQLite was asked to do, once for each call: a trigger's statements come as a repetition."""
    said: list[str] = []
    assert store._connection is not None
    store._connection.set_trace_callback(said.append)
    append()
    store._connection.set_trace_callback(None)
    return [text.split(" ", 1)[0] for at, text in enumerate(said) if at == 0 or text != said[at - 1]]


def test_an_append_is_one_statement(store: SqliteStore) -> None:
    batch = {CHANNEL: [*update(3), *update(4), TurnMoved(3)], OTHER: [TurnMoved(1)]}
    assert statements(store, lambda: store.append_all(batch)) == ["INSERT"]
    assert statements(store, lambda: store.append(CHANNEL, update(5))) == ["INSERT"]
    assert statements(store, lambda: store.append(CHANNEL, [])) == []
    assert store.records(CHANNEL) == [*HELD, *batch[CHANNEL], *update(5)]
    assert store.records(OTHER) == [OPENED, TurnMoved(1)]


def test_only_what_may_be_a_repetition_is_looked_up(store: SqliteStore) -> None:
    asked = statements(store, lambda: store.append(CHANNEL, [signed(2), TurnMoved(3), signed(7), signed(6)]))
    assert asked == ["SELECT", "BEGIN", "INSERT", "SELECT", "SELECT", "INSERT", "COMMIT"]
    assert store.records(CHANNEL) == [*HELD, TurnMoved(3), signed(7), signed(6)]
    for version in (7, 6):
        with pytest.raises(AlreadySigned):
            store.append(CHANNEL, [signed(version, **OTHER_STATE)])


def test_what_a_checkpoint_alone_knows_is_looked_up_too(path: Path, store: SqliteStore) -> None:
    store.append(CHANNEL, [replace(FORGETFUL, signed=50)])
    store.close()
    with closing(SqliteStore.open(path)) as again:
        with pytest.raises(AlreadySigned):
            again.append(CHANNEL, [signed(50)])
        assert statements(again, lambda: again.append(CHANNEL, [signed(51)]))[-1] == "COMMIT"


def test_many_records_are_several_statements_and_one_transaction(store: SqliteStore) -> None:
    asked = statements(store, lambda: store.append_all({CHANNEL: MANY[:-1], OTHER: MANY[-1:]}))
    assert asked == ["BEGIN", "INSERT", "INSERT", "INSERT", "COMMIT"]
    assert store.records(CHANNEL) == [*HELD, *MANY[:-1]]


# ---------------------------------------------------------------------------------------------------------------
# After a refusal


def fill(store: SqliteStore, pages: int) -> None:
    """Let the file grow by so many pages and no more."""
    assert store._connection is not None
    (used,) = store._connection.execute("PRAGMA page_count").fetchone()
    store._connection.execute(f"PRAGMA max_page_count = {used + pages}")


SPOILT: dict[str, tuple[type[Exception], list[Any]]] = {
    "another digest": (AlreadySigned, [signed(9), signed(2, **OTHER_STATE)]),
    "another digest in one append": (AlreadySigned, [signed(9), signed(9, **OTHER_STATE)]),
    "another digest behind many": (AlreadySigned, [*MANY, signed(9), signed(2, **OTHER_STATE)]),
    "a checkpoint that forgets": (InvariantBroken, [signed(9), FORGETFUL]),
    "no record at all": (InvariantBroken, [signed(9), "what"]),
}


@pytest.mark.parametrize("name", SPOILT)
@pytest.mark.parametrize("order", [(CHANNEL, OTHER), (OTHER, CHANNEL)], ids=["first", "last"])
def test_a_refused_append_of_several_channels_leaves_nothing_behind(
    store: SqliteStore, name: str, order: tuple[ChannelId, ...]
) -> None:
    refusal, spoilt = SPOILT[name]
    good: list[Record] = [TurnMoved(5), TurnMoved(6)]
    batch = {channel: spoilt if channel == CHANNEL else good for channel in order}
    for _ in range(2):
        with pytest.raises(refusal):
            store.append_all(batch)
        assert (store.records(CHANNEL), store.records(OTHER)) == (HELD, [OPENED])
    check_goes_on(store)


@pytest.mark.parametrize("pages", range(5))
def test_a_disk_that_fills_in_the_middle_leaves_nothing_behind(path: Path, store: SqliteStore, pages: int) -> None:
    fill(store, pages)
    with pytest.raises(StoreFailed, match="full"):
        store.append_all({OTHER: [TurnMoved(1)], CHANNEL: [*MANY, *(signed(version) for version in range(3, 90))]})
    assert (store.records(CHANNEL), store.records(OTHER)) == (HELD, [OPENED])
    with pytest.raises(StoreFailed, match="earlier write failed"):
        store.append(CHANNEL, [TurnMoved(3)])
    # What bars the store is taken away here, to see that what it remembers would not have misled it.
    store._barred = ""
    fill(store, 1_000)
    check_goes_on(store)


def test_an_append_that_is_interrupted_once_it_is_durable_is_not_forgotten(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = LoggedFile.commit

    def interrupted(file: LoggedFile, write: Callable[[LoggedFile], Any]) -> None:
        commit(file, write)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(LoggedFile, "commit", interrupted)
        with pytest.raises(KeyboardInterrupt):
            store.append(CHANNEL, [signed(3)])
    with pytest.raises(AlreadySigned):
        store.append(CHANNEL, [signed(3, **OTHER_STATE)])
    store.append(CHANNEL, [TurnMoved(3)])
    assert store.records(CHANNEL) == [*HELD, signed(3), TurnMoved(3)]


def check_goes_on(store: SqliteStore) -> None:
    """Both journals are appended to where they ended: `records` follows the links."""
    store.append_all({CHANNEL: [signed(3), TurnMoved(3)], OTHER: [TurnMoved(1)]})
    assert store.records(CHANNEL) == [*HELD, signed(3), TurnMoved(3)]
    assert store.records(OTHER) == [OPENED, TurnMoved(1)]
    for version in (2, 3):
        with pytest.raises(AlreadySigned):
            store.append(CHANNEL, [signed(version, **OTHER_STATE)])


# ---------------------------------------------------------------------------------------------------------------
# A memory that is wrong


def poison(store: SqliteStore, **wrong: int) -> None:
    """Make the store believe something else of where the journal ends."""
    assert CHANNEL in store._ends
    store._ends[CHANNEL] = store._ends[CHANNEL]._replace(**wrong)


TWICE: dict[str, list[Record]] = {
    "alone": [signed(2, **OTHER_STATE)],
    "in one statement with others": [TurnMoved(9), signed(2, **OTHER_STATE), TurnMoved(10)],
    "in the last of several statements": [*MANY, signed(2, **OTHER_STATE)],
}


@pytest.mark.parametrize("records", TWICE.values(), ids=TWICE)
@pytest.mark.parametrize("guard", ["trigger", "index"])
def test_sql_alone_refuses_a_second_digest_for_a_version(
    path: Path, store: SqliteStore, records: list[Record], guard: str
) -> None:
    reason = "version already signed"
    assert store._connection is not None
    if guard == "index":
        reason = "UNIQUE constraint failed"
        (trigger,) = store._connection.execute(
            "SELECT sql FROM sqlite_master WHERE name = 'journal_signs_once_ever'"
        ).fetchone()
        store._connection.execute("DROP TRIGGER journal_signs_once_ever")
    poison(store, highest=0)
    with pytest.raises(StoreFailed, match=reason):
        store.append_all({OTHER: [TurnMoved(1)], CHANNEL: records})
    assert (store.records(CHANNEL), store.records(OTHER)) == (HELD, [OPENED])
    with pytest.raises(StoreFailed, match="earlier write failed"):
        store.append(CHANNEL, [TurnMoved(3)])
    if guard == "index":
        store._connection.execute(trigger)
    store.close()
    with closing(SqliteStore.open(path)) as again:
        assert (again.records(CHANNEL), again.records(OTHER)) == (HELD, [OPENED])
        check_goes_on(again)


def test_sql_alone_refuses_a_version_below_the_floor(store: SqliteStore) -> None:
    keeper = Keeper(store)
    keeper.update(range(3, 300))
    assert signed(5) not in store.records(CHANNEL), "its record is gone: only the floor says that it was signed"
    poison(store, highest=0)
    with pytest.raises(StoreFailed, match="version already signed"):
        store.append(CHANNEL, [signed(5, **OTHER_STATE)])


def test_sql_alone_refuses_a_checkpoint_that_forgets(store: SqliteStore) -> None:
    poison(store, highest=0)
    with pytest.raises(StoreFailed, match="not a checkpoint of this journal"):
        store.append(CHANNEL, [FORGETFUL])


@pytest.mark.parametrize("seq", [0, len(HELD) - 1, len(HELD) + 1])
def test_sql_alone_refuses_a_record_that_is_not_the_next(store: SqliteStore, seq: int) -> None:
    poison(store, seq=seq)
    with pytest.raises(StoreFailed, match="not the next record"):
        store.append(CHANNEL, [TurnMoved(3)])
    assert store.records(CHANNEL) == HELD


def test_what_is_remembered_is_what_the_file_says(store: SqliteStore) -> None:
    """The same appends, remembered or looked up: one end."""
    keeper = Keeper(store)
    for versions in (range(3, 5), range(5, 300)):
        keeper.update(versions)
        remembered = store._ends[CHANNEL]
        store._ends.clear()
        store.append(CHANNEL, [])
        assert store._ends[CHANNEL] == remembered
        assert remembered.highest == versions[-1]
    nothing = ChannelId(keccak(b"nothing"))
    store.append(nothing, [])
    assert store._ends[nothing] == End(0, bytes(32), 0)


def test_what_several_rows_pass_through_stays_in_memory(store: SqliteStore) -> None:
    assert store._connection is not None
    assert store._connection.execute("PRAGMA temp_store").fetchone() == (2,)
