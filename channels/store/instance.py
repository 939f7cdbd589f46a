"""The instance marker: how a store notices that it is not the file that its node last wrote.

A restored backup looks like any journal: it is whole, it is in order, and it ends too early. Whoever signs with it
signs versions a second time. So beside each store lies a small file that no backup procedure copies. It names the
store's inode and its own, and for each channel the highest version signed, the agreed version and the turn: written
after every append, without a sync of its own, because a marker that is behind after a power cut accuses nobody. A node
that opens a store finds it

    without its marker, or with a damaged one          restored, or copied to another place
    in another file than the marker names              restored, or copied with its marker
    behind what the marker says of a channel           an older copy, put back in place

and then holds every channel in it to be perhaps an old copy. What it cannot notice is a whole disk set back with
everything on it (a snapshot of a virtual machine): then the peer's `Resume` and the chain show it.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol
from zlib import crc32

from ..core import records as r
from ..errors import StoreFailed
from ..model import ChannelId
from .keep import sync_directory

_HEADER = struct.Struct(">8sQQQ")
_SLOT = struct.Struct(">32sQQQ")
_CHECK = struct.Struct(">Q")
_SIZE = _SLOT.size + _CHECK.size
"""Bytes of the header and of each slot: they divide a sector, so each is written as a whole or not at all."""
_MAGIC, _FORMAT = b"OPCHINST", 1


@dataclass(frozen=True, slots=True)
class Reached:
    """How far a channel's journal goes: the highest version signed, the agreed version, the turn counter."""

    signed: int = 0
    version: int = 0
    turn: int = 0

    def after(self, record: r.Record) -> Reached:
        """Return how far it goes with one more record."""
        match record:
            case r.Signed(half, _):
                return Reached(max(self.signed, half.state.version), self.version, self.turn)
            case r.StateAgreed(agreed, _):
                return Reached(self.signed, max(self.version, agreed.version), self.turn)
            case r.TurnMoved(turn):
                return Reached(self.signed, self.version, max(self.turn, turn))
            case r.RecoveryGranted(_, _, turn) | r.SigningResumed(_, _, turn):
                return Reached(self.signed, self.version, max(self.turn, turn))
        return self

    def is_behind(self, other: Reached) -> bool:
        """Whether `other` knows of more."""
        return self.signed < other.signed or self.version < other.version or self.turn < other.turn


class Instance(Protocol):
    """What a node asks about its store when it opens it, and tells it afterwards."""

    def doubt(self, found: Mapping[ChannelId, Reached]) -> str:
        """Return why this store may be an old copy, or nothing. `found`: how far its journals go."""
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
        rows = [data[at : at + _SIZE] for at in range(0, len(data), _SIZE)]
        if not rows or any(not _is_whole(row) for row in rows):
            return "its instance marker is damaged"
        magic, version, *marked = _HEADER.unpack(rows[0][: _HEADER.size])
        if (magic, version) != (_MAGIC, _FORMAT):
            return "its instance marker is of another kind"
        if tuple(marked) != inodes:
            return "it is not the file that was marked: it was restored or copied"
        for row in rows[1:]:
            channel, *numbers = _SLOT.unpack(row[: _SLOT.size])
            held = found.get(ChannelId(channel))
            if held is None:
                return f"channel 0x{channel.hex()} is gone from it"
            if held.is_behind(Reached(*numbers)):
                return f"channel 0x{channel.hex()} ends before what was signed in it: it is an older copy"
        return ""

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
                reached = known = self._reached.get(channel)
                for record in records:
                    reached = (reached or Reached()).after(record)
                if reached is not None and reached != known:
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
        self._write(place, _checked(_SLOT.pack(channel, reached.signed, reached.version, reached.turn)))

    def _write(self, place: int, row: bytes) -> None:
        assert self._descriptor is not None
        os.lseek(self._descriptor, place * _SIZE, os.SEEK_SET)
        os.write(self._descriptor, row)


def _checked(row: bytes) -> bytes:
    padded = row.ljust(_SLOT.size, b"\0")
    return padded + _CHECK.pack(crc32(padded))


def _is_whole(row: bytes) -> bool:
    return len(row) == _SIZE and _checked(row[: _SLOT.size]) == row


def instance_of(store: str) -> Instance:
    """Return the marker of a store by its path: none for a store that is not a file."""
    place = Path(store)
    return FileInstance(place) if place.is_file() else NoInstance()
