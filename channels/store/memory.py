"""A store that forgets: the same journal in memory, through the same bytes, for tests and for the sans-IO examples."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from itertools import accumulate, islice

from ..core.records import Record
from ..errors import AlreadySigned, StoreFailed
from ..model import ChannelId, Deployment
from ..model.identity import checked_range
from .codec import FIRST_LINK, MAX_BLOCK, SIGNED, Entry, decode_records, encode_record


class MemoryStore:
    """A journal of channels that lives as long as the object; the same laws as SqliteStore, durability apart."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._journal: dict[ChannelId, list[Entry]] = {}
        self._cursors: dict[Deployment, int] = {}
        self._closed = False

    @property
    def path(self) -> str:
        return ":memory:"

    def append(self, channel: ChannelId, records: Sequence[Record]) -> None:
        """Append all records or none; AlreadySigned as in the port."""
        entries = [encode_record(channel, record) for record in records]
        with self._guard:
            self._require_open()
            kept = list(self._journal.get(channel, ()))
            signed = {entry.version: entry.digest for entry in kept if entry.kind == SIGNED}
            for entry in entries:
                if entry.kind == SIGNED and entry.version is not None:
                    if signed.setdefault(entry.version, entry.digest) != entry.digest:
                        raise AlreadySigned(entry.version)
                    if any(old.kind == SIGNED and old.version == entry.version for old in kept):
                        continue
                kept.append(entry)
            if kept:
                self._journal[channel] = kept

    def channels(self) -> list[ChannelId]:
        """Return the channels known, oldest first."""
        with self._guard:
            self._require_open()
            return list(self._journal)

    def records(self, channel: ChannelId) -> list[Record]:
        """Return a channel's records in the order of appending; none for a channel that is not known."""
        with self._guard:
            self._require_open()
            entries = list(self._journal.get(channel, ()))
        links = accumulate(entries, lambda link, entry: entry.link(link), initial=FIRST_LINK)
        return decode_records(self.path, zip(entries, islice(links, 1, None), strict=True))

    def cursor(self, deployment: Deployment) -> int:
        """Return the last block whose facts are journalled for this adjudicator; 0 at first."""
        with self._guard:
            self._require_open()
            return self._cursors.get(deployment, 0)

    def advance(self, deployment: Deployment, block: int) -> None:
        """Move the cursor; a block below it changes nothing."""
        checked_range("block", block, 0, MAX_BLOCK)
        with self._guard:
            self._require_open()
            self._cursors[deployment] = max(block, self._cursors.get(deployment, 0))

    def close(self) -> None:
        """Forget nothing yet, but answer no more: further calls raise StoreFailed."""
        with self._guard:
            self._closed = True

    def _require_open(self) -> None:
        if self._closed:
            raise StoreFailed(self.path, "it is closed")
