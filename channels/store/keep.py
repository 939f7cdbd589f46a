"""Where the blobs lie that peers have us keep: one file for each channel, the newest blob in it, and nothing else.

Their number is bounded by our channels and their size by the wire, so no peer fills our disk. They are no part of the
journal: to lose them hurts a peer that loses its own disk in the same night, and nobody else.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Protocol

from ..errors import StoreFailed
from ..model import ChannelId


class Keep(Protocol):
    """A place for peers' backups. Blocking: the runtime calls it in worker threads."""

    def put(self, channel: ChannelId, blob: bytes) -> None:
        """Keep a blob instead of the one before; durable when this returns. Raises StoreFailed."""
        ...

    def get(self, channel: ChannelId) -> bytes | None:
        """Return what is kept, or None. Raises StoreFailed."""
        ...

    def drop(self, channel: ChannelId) -> None:
        """Keep nothing for a channel any more."""
        ...


class MemoryKeep:
    """A keep that forgets with its process, for stores that do too."""

    def __init__(self) -> None:
        self._blobs: dict[ChannelId, bytes] = {}

    def put(self, channel: ChannelId, blob: bytes) -> None:
        """Keep a blob instead of the one before."""
        self._blobs[channel] = blob

    def get(self, channel: ChannelId) -> bytes | None:
        """Return what is kept, or None."""
        return self._blobs.get(channel)

    def drop(self, channel: ChannelId) -> None:
        """Keep nothing for a channel any more."""
        self._blobs.pop(channel, None)


class FileKeep:
    """Files of mode 0600 in one directory, each replaced in one move: a crash leaves the older blob or the newer."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def put(self, channel: ChannelId, blob: bytes) -> None:
        """Keep a blob instead of the one before; durable when this returns."""
        place = self._place(channel)
        draft = place.with_suffix(".new")
        try:
            self._directory.mkdir(mode=0o700, exist_ok=True)
            with os.fdopen(os.open(draft, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600), "wb") as file:
                file.write(blob)
                file.flush()
                os.fsync(file.fileno())
            draft.replace(place)
            sync_directory(self._directory)
        except OSError as refused:
            raise StoreFailed(str(place), refused.strerror or str(refused)) from refused

    def get(self, channel: ChannelId) -> bytes | None:
        """Return what is kept, or None."""
        place = self._place(channel)
        try:
            return place.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as refused:
            raise StoreFailed(str(place), refused.strerror or str(refused)) from refused

    def drop(self, channel: ChannelId) -> None:
        """Keep nothing for a channel any more."""
        place = self._place(channel)
        try:
            place.unlink(missing_ok=True)
        except OSError as refused:
            raise StoreFailed(str(place), refused.strerror or str(refused)) from refused

    def _place(self, channel: ChannelId) -> Path:
        return self._directory / channel.hex()


def sync_directory(directory: Path) -> None:
    """Make a rename durable; Windows cannot open directories, and needs no such call."""
    if os.name == "posix":
        descriptor = os.open(directory, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def keep_beside(store: str) -> Keep:
    """Return the keep of a store by its path: files beside a store that is a file, memory beside any other."""
    return FileKeep(Path(f"{store}.backups")) if Path(store).is_file() else MemoryKeep()
