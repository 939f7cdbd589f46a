"""The instance marker: a store that is not the file its node last wrote is noticed, and an untouched one never is."""

from __future__ import annotations

import os
import shutil
from contextlib import closing
from pathlib import Path
from zlib import crc32

import pytest

from channels.core import records as r
from channels.core.checkpoint import checkpoint
from channels.errors import StoreFailed
from channels.model import ChannelId, Party, keccak
from channels.store import MemoryStore, SqliteStore
from channels.store.instance import FileInstance, NoInstance, Reached, instance_of, reached_by
from tests.keeper import folded
from tests.roles import CHANNEL, agreed, half
from tests.writer import OPENED, update

OTHER = ChannelId(keccak(b"another channel"))
SIGNED = r.Signed(half(Party.ZERO, version=5), ())


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A store that a node has had open, and has signed version 5 in."""
    store = SqliteStore.open(tmp_path / "channels.db")
    store.close()
    begun = FileInstance(tmp_path / "channels.db")
    begun.begin({CHANNEL: Reached(4, 4, 1, 7)})
    begun.note({CHANNEL: [SIGNED]})
    begun.close()
    return tmp_path / "channels.db"


HELD = {CHANNEL: Reached(5, 4, 1, 8)}


def doubt(place: Path, found: dict[ChannelId, Reached] | None = None) -> str:
    return FileInstance(place).doubt(HELD if found is None else found)


def test_a_store_that_nobody_touched_is_itself(place: Path) -> None:
    assert doubt(place) == ""
    assert doubt(place, {CHANNEL: Reached(9, 8, 7, 9), OTHER: Reached()}) == "", (
        "a marker may be behind, after a power cut"
    )


def test_a_new_store_needs_no_marker(tmp_path: Path) -> None:
    SqliteStore.open(tmp_path / "new.db").close()
    assert doubt(tmp_path / "new.db", {}) == ""


def test_a_store_without_its_marker_was_restored(place: Path) -> None:
    Path(f"{place}.instance").unlink()
    assert "no instance marker" in doubt(place)


def test_a_store_that_was_copied_is_noticed_with_its_marker_and_without(place: Path, tmp_path: Path) -> None:
    there = tmp_path / "elsewhere"
    there.mkdir()
    shutil.copy2(place, there / "channels.db")
    assert "no instance marker" in doubt(there / "channels.db")
    shutil.copy2(f"{place}.instance", there / "channels.db.instance")
    assert "not the file" in doubt(there / "channels.db")


def test_a_store_put_back_by_replacing_the_file_is_noticed(place: Path) -> None:
    shutil.copy2(place, f"{place}.bak")
    Path(f"{place}.bak").replace(place)
    assert "not the file" in doubt(place)


def test_a_marker_that_was_put_back_vouches_for_nothing(place: Path) -> None:
    """An older marker would know of less than was signed."""
    marker = Path(f"{place}.instance")
    shutil.copy2(marker, f"{marker}.bak")
    Path(f"{marker}.bak").replace(marker)
    assert "not the file" in doubt(place)


def test_a_store_that_moved_within_its_file_system_is_still_itself(place: Path, tmp_path: Path) -> None:
    there = tmp_path / "elsewhere"
    there.mkdir()
    for name in ("channels.db", "channels.db.instance"):
        (tmp_path / name).rename(there / name)
    assert doubt(there / "channels.db") == ""


@pytest.mark.parametrize(
    "older",
    [Reached(4, 4, 1, 8), Reached(5, 3, 1, 8), Reached(5, 4, 0, 8), Reached(5, 4, 1, 7)],
    ids=["signed", "agreed", "turn", "records"],
)
def test_an_older_copy_written_into_the_same_file_is_noticed(place: Path, older: Reached) -> None:
    assert "older copy" in doubt(place, {CHANNEL: older})


def test_a_channel_that_is_gone_is_noticed(place: Path) -> None:
    assert "is gone" in doubt(place, {OTHER: Reached(9, 9, 9, 9)})


def test_a_damaged_marker_vouches_for_nothing(place: Path) -> None:
    marker = Path(f"{place}.instance")
    whole = marker.read_bytes()
    for at in range(0, len(whole), 7):
        marker.write_bytes(whole[:at] + bytes((whole[at] ^ 1,)) + whole[at + 1 :])
        assert "damaged" in doubt(place), at
    for cut in (0, 1, 63, 65, len(whole) - 1):
        marker.write_bytes(whole[:cut])
        assert "damaged" in doubt(place), cut
    marker.write_bytes(whole)
    assert doubt(place) == ""


def test_what_is_noted_is_what_a_journal_reaches(place: Path) -> None:
    begun = FileInstance(place)
    begun.begin(HELD)
    begun.note(
        {
            OTHER: [r.TurnMoved(3), r.StateAgreed(agreed(version=2), ()), r.TermsAccepted()],
            CHANNEL: [r.SigningResumed(b"m" * 32, 2**48, 9)],
        }
    )
    begun.close()
    begun.note({CHANNEL: [r.TurnMoved(99)]})
    assert doubt(place, {CHANNEL: Reached(5, 4, 9, 9), OTHER: Reached(0, 2, 3, 3)}) == ""
    assert "older copy" in doubt(place, {CHANNEL: Reached(5, 4, 8, 9), OTHER: Reached(0, 2, 3, 3)})
    assert "older copy" in doubt(place, {CHANNEL: Reached(5, 4, 9, 9), OTHER: Reached(0, 1, 3, 3)})
    assert "older copy" in doubt(place, {CHANNEL: Reached(5, 4, 9, 9), OTHER: Reached(0, 2, 3, 2)})


def test_a_signature_that_may_be_a_repeated_one_is_not_counted(place: Path) -> None:
    """The store keeps no second one: a marker that had counted it would accuse a journal that is whole."""
    with closing(SqliteStore.open(place)) as store:
        begun = FileInstance(place)
        begun.begin({})
        for records in ([OPENED, *update(1)], update(2)[:1], update(2), [checkpoint(folded([OPENED, *update(2)]))]):
            store.append(CHANNEL, records[:])
            begun.note({CHANNEL: records})
        store.append(CHANNEL, update(2)[:1])
        begun.note({CHANNEL: update(2)[:1]})
        begun.close()
        assert reached_by(store, CHANNEL) == Reached(2, 2, 0, 6)
        assert doubt(place, {CHANNEL: reached_by(store, CHANNEL)}) == ""
        assert "older copy" in doubt(place, {CHANNEL: Reached(2, 2, 0, 5)})


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        (update(8)[0], Reached(9, 8, 5, 3)),
        (update(9)[0], Reached(9, 8, 5, 3)),
        (update(10)[0], Reached(10, 8, 5, 4)),
        (update(7)[1], Reached(9, 8, 5, 4)),
        (update(10)[1], Reached(9, 10, 5, 4)),
        (r.TurnMoved(4), Reached(9, 8, 5, 4)),
        (r.RecoveryGranted(bytes(32), 50, 6), Reached(9, 8, 6, 4)),
        (r.SigningResumed(bytes(32), 50, 6), Reached(9, 8, 6, 4)),
        (r.TermsAccepted(), Reached(9, 8, 5, 4)),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_journal_never_reaches_less_far_than_before(record: r.Record, expected: Reached) -> None:
    assert Reached(9, 8, 5, 3).after([record]) == expected


def test_a_signature_below_what_is_agreed_may_be_a_repeated_one() -> None:
    assert Reached(1, 8, 5, 3).after(update(8)[:1]) == Reached(8, 8, 5, 3)


def test_a_marker_that_does_not_count_records_is_understood(place: Path) -> None:
    """The format before: zeros where the number is now, and outside of the check."""
    marker = Path(f"{place}.instance")

    def row(text: bytes) -> bytes:
        return text + crc32(text).to_bytes(8, "big")

    header = b"OPCHINST" + b"".join(n.to_bytes(8, "big") for n in (1, place.stat().st_ino, marker.stat().st_ino))
    slot = CHANNEL + b"".join(n.to_bytes(8, "big") for n in (5, 4, 1))
    marker.write_bytes(row(header.ljust(56, b"\0")) + row(slot))
    assert doubt(place, {CHANNEL: Reached(5, 4, 1, 0)}) == ""
    assert "older copy" in doubt(place, {CHANNEL: Reached(5, 3, 1, 9)})
    marker.write_bytes(row(header.ljust(56, b"\0")) + row(slot)[:-1] + b"\0")
    assert "damaged" in doubt(place)


def test_a_reader_is_told_what_it_misses_and_not_that_it_reads_a_copy(place: Path, tmp_path: Path) -> None:
    there = tmp_path / "elsewhere"
    there.mkdir()
    shutil.copy2(place, there / "channels.db")
    copy = FileInstance(there / "channels.db")
    behind = {CHANNEL: Reached(5, 4, 1, 7)}
    assert copy.missed(behind) == ""
    shutil.copy2(f"{place}.instance", there / "channels.db.instance")
    assert copy.missed(HELD) == copy.missed({}) == ""
    assert "older copy" in copy.missed(behind)
    (there / "channels.db.instance").write_bytes(b"noise")
    assert "damaged" in copy.missed(HELD)
    assert NoInstance().missed(behind) == ""


def test_only_its_owner_reads_it_and_a_disk_that_refuses_is_told(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert Path(f"{place}.instance").stat().st_mode & 0o777 == 0o600

    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("channels.store.instance.os.fsync", refuse)
    with pytest.raises(StoreFailed, match="No space left"):
        FileInstance(place).begin(HELD)
    assert doubt(place) == "", "the old marker still stands"


def test_a_new_marker_is_durable_before_it_takes_the_old_ones_place(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced, sync = [], os.fsync

    def note(descriptor: int) -> None:
        synced.append(Path(f"{place}.instance.new").exists())
        sync(descriptor)

    monkeypatch.setattr("channels.store.instance.os.fsync", note)
    begun = FileInstance(place)
    begun.begin(HELD)
    begun.close()
    assert synced == [True, False], "the file, then the directory"


def test_a_store_in_memory_has_no_marker(place: Path) -> None:
    assert isinstance(instance_of(MemoryStore().path), NoInstance)
    assert isinstance(instance_of(str(place)), FileInstance)
    assert NoInstance().doubt(HELD) == ""
