"""The instance marker: how a store notices that it is not the file that its node last wrote.

A restored backup looks like any journal: it is whole, it is in order, and it ends too early. Whoever signs with it
signs versions a second time. So beside each store lies a small file that no backup procedure copies. It names the
store's inode and its own, and for each channel the highest version signed, the agreed version, the turn and how many
records its journal has taken: written after every append and before anything is said of it, without a sync of its own,
because a marker that is behind after a power cut accuses nobody. A node that opens a store finds it

    without its marker, or with a damaged one          restored, or copied to another place
    in another file than the marker names              restored, or copied with its marker
    behind what the marker says of a channel           an older copy, put back in place, or its log was cut

and then holds every channel in it to be perhaps an old copy. What it cannot notice is a whole disk set back with
everything on it (a snapshot of a virtual machine): then the peer's `Resume` and the chain show it.
"""

from __future__ import annotations

import os
import struct
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass, replace
from pathlib import Path
from typing import Protocol
from zlib import crc32

from ..core import records as r
from ..errors import StoreFailed
from ..model import ChannelId
from .keep import sync_directory
from .port import Store

_HEADER = struct.Struct(">8sQQQ")
_SLOT = struct.Struct(">32sQQQI")
_CHECK = struct.Struct(">I")
_SIZE = _SLOT.size + _CHECK.size
"""Bytes of the header and of each slot: they divide a sector, so each is written as a whole or not at all."""
_MAGIC, _FORMAT = b"OPCHINST", 2
_UNCOUNTED = 1
"""The format that did not count records: zeros stand there, and are not in its checks."""
_MOST = 2**32 - 1


@dataclass(frozen=True, slots=True)
class Reached:
    """How far a channel's journal goes: the highest version signed, the agreed version, the turn counter, its records.

    `records` are at least so many as the journal has taken, those that are gone included.
    """

    signed: int = 0
    version: int = 0
    turn: int = 0
    records: int = 0

    def after(self, records: Iterable[r.Record]) -> Reached:
        """Return how far it goes with more records. A `Signed` that may be a repeated one is not counted."""
        signed, version, turn, counted = self.signed, self.version, self.turn, self.records
        for record in records:
            counted += 1
            match record:
                case r.Signed():
                    found = record.half.state.version
                    if found <= signed or found <= version:
                        counted -= 1
                    signed = max(signed, found)
                case r.StateAgreed():
                    version = max(version, record.agreed.version)
                case r.TurnMoved() | r.RecoveryGranted() | r.SigningResumed():
                    turn = max(turn, record.turn)
                case r.Checkpoint():
                    signed, turn = max(signed, record.signed), max(turn, record.turn)
                    version = max(version, record.agreed.version if record.agreed else 0)
        return Reached(signed, version, turn, counted)

    def is_behind(self, other: Reached) -> bool:
        """Whether `other` knows of more."""
        ours, theirs = astuple(self), astuple(other)
        return any(mine < known for mine, known in zip(ours, theirs, strict=True))


class Instance(Protocol):
    """What a node asks about its store when it opens it, and tells it afterwards."""

    def doubt(self, found: Mapping[ChannelId, Reached]) -> str:
        """Return why this store may be an old copy, or nothing. `found`: how far its journals go."""
        ...

    def missed(self, found: Mapping[ChannelId, Reached]) -> str:
        """Return what a reader of these channels may miss, or nothing; to be a copy is no reason, nor a lost marker."""
        ...

    def begin(self, found: Mapping[ChannelId, Reached]) -> None:
        """Mark the store as this one, from now on; durable when this returns. Raises StoreFailed."""
        ...

    def note(self, batch: Mapping[ChannelId, Sequence[r.Record]]) -> None:
        """Remember what was made durable. Never raises: a marker that falls behind is no danger."""
        ...

    def close(self) -> None:
        """Let go of the file."""
        ...


class NoInstance:
    """For a store in memory, which nobody can copy."""

    def doubt(self, found: Mapping[ChannelId, Reached]) -> str:
        """Return nothing."""
        return ""

    def missed(self, found: Mapping[ChannelId, Reached]) -> str:
        """Return nothing."""
        return ""

    def begin(self, found: Mapping[ChannelId, Reached]) -> None:
        """Do nothing."""

    def note(self, batch: Mapping[ChannelId, Sequence[r.Record]]) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""


class FileInstance:
    """The marker of one store that is a file: `<store>.instance`."""

    def __init__(self, store: Path) -> None:
        self._store, self._path = store, Path(f"{store}.instance")
        self._descriptor: int | None = None
        self._places: dict[ChannelId, int] = {}
        self._reached: dict[ChannelId, Reached] = {}

    def doubt(self, found: Mapping[ChannelId, Reached]) -> str:
        """Return why this store may be an old copy, or nothing."""
        try:
            data = self._path.read_bytes()
            inodes = self._store.stat().st_ino, self._path.stat().st_ino
        except FileNotFoundError:
            return "it has no instance marker: it was restored or copied" if found else ""
        except OSError as refused:
            raise StoreFailed(str(self._path), refused.strerror or str(refused)) from refused
        marked = _read(data)
        if isinstance(marked, str):
            return marked
        if marked[0] != inodes:
            return "it is not the file that was marked: it was restored or copied"
        return next(filter(None, (_ends_early(slot, found) for slot in marked[1].items())), "")

    def missed(self, found: Mapping[ChannelId, Reached]) -> str:
        """Return what a reader of these channels may miss, or nothing; to be a copy is no reason, nor a lost marker."""
        try:
            marked = _read(self._path.read_bytes())
        except OSError:
            return ""
        if isinstance(marked, str):
            return marked
        known = ((channel, reached) for channel, reached in marked[1].items() if channel in found)
        return next(filter(None, (_ends_early(slot, found) for slot in known)), "")

    def begin(self, found: Mapping[ChannelId, Reached]) -> None:
        """Write the marker anew, and keep it open."""
        self.close()
        draft = Path(f"{self._path}.new")
        try:
            draft.unlink(missing_ok=True)
            self._descriptor = os.open(draft, os.O_CREAT | os.O_EXCL | os.O_RDWR | getattr(os, "O_BINARY", 0), 0o600)
            inodes = self._store.stat().st_ino, os.fstat(self._descriptor).st_ino
            self._write(0, _checked(_HEADER.pack(_MAGIC, _FORMAT, *inodes)))
            self._places, self._reached = {}, {}
            for channel, reached in found.items():
                self._put(channel, reached)
            os.fsync(self._descriptor)
            draft.replace(self._path)
            sync_directory(self._path.parent)
        except OSError as refused:
            raise StoreFailed(str(self._path), refused.strerror or str(refused)) from refused

    def note(self, batch: Mapping[ChannelId, Sequence[r.Record]]) -> None:
        """Write the slots of the channels that went further."""
        if self._descriptor is None:
            return
        try:
            for channel, records in batch.items():
                known = self._reached.get(channel)
                reached = (known or Reached()).after(records)
                if reached != (known or Reached()):
                    self._put(channel, reached)
        except OSError:
            self.close()

    def close(self) -> None:
        """Let go of the file; it stays."""
        if self._descriptor is not None:
            descriptor, self._descriptor = self._descriptor, None
            os.close(descriptor)

    def _put(self, channel: ChannelId, reached: Reached) -> None:
        place = self._places.setdefault(channel, len(self._places) + 1)
        self._reached[channel] = reached
        self._write(place, _checked(_slot(channel, reached)))

    def _write(self, place: int, row: bytes) -> None:
        assert self._descriptor is not None
        if sys.platform == "win32":
            os.lseek(self._descriptor, place * _SIZE, os.SEEK_SET)
            os.write(self._descriptor, row)
        else:
            os.pwrite(self._descriptor, row, place * _SIZE)


def _slot(channel: ChannelId, reached: Reached) -> bytes:
    return _SLOT.pack(channel, reached.signed, reached.version, reached.turn, min(reached.records, _MOST))


def _checked(row: bytes, counted: bool = True) -> bytes:
    padded = row.ljust(_SLOT.size, b"\0")
    return padded + _CHECK.pack(crc32(padded if counted else padded[: -_CHECK.size]))


def _read(data: bytes) -> tuple[tuple[int, int], dict[ChannelId, Reached]] | str:
    """Return the inodes and the slots of a marker, or why it is none."""
    rows = [data[at : at + _SIZE] for at in range(0, len(data), _SIZE)]
    for version in (_FORMAT, _UNCOUNTED):
        if rows and all(_checked(row[: _SLOT.size], version != _UNCOUNTED) == row for row in rows):
            magic, found, *inodes = _HEADER.unpack(rows[0][: _HEADER.size])
            if (magic, found) != (_MAGIC, version):
                return "its instance marker is of another kind"
            slots = [_SLOT.unpack(row[: _SLOT.size]) for row in rows[1:]]
            return (inodes[0], inodes[1]), {ChannelId(channel): Reached(*numbers) for channel, *numbers in slots}
    return "its instance marker is damaged"


def _ends_early(slot: tuple[ChannelId, Reached], found: Mapping[ChannelId, Reached]) -> str:
    channel, marked = slot
    held = found.get(channel)
    if held is None:
        return f"channel 0x{channel.hex()} is gone from it"
    if held.is_behind(replace(marked, records=marked.records if held.records < _MOST else 0)):
        return f"channel 0x{channel.hex()} ends before what was written to it: an older copy, or its log was cut"
    return ""


def reached_by(store: Store, channel: ChannelId) -> Reached:
    """Return how far a channel's journal goes. Raises what the store raises."""
    reached = Reached().after(store.records(channel))
    return replace(reached, records=store.lengths().get(channel, 0))


def instance_of(store: str) -> Instance:
    """Return the marker of a store by its path: none for a store that is not a file."""
    place = Path(store)
    return FileInstance(place) if place.is_file() else NoInstance()
