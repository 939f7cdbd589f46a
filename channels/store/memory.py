"""A store that forgets: the same journal in memory, through the same bytes, for tests and for the sans-IO examples."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
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
        self._signed: dict[ChannelId, dict[int | None, bytes | None]] = {}
        self._cursors: dict[Deployment, int] = {}
        self._closed = False

    @property
    def path(self) -> str:
        return ":memory:"

    def append(self, channel: ChannelId, records: Sequence[Record]) -> None:
        """Append one channel's records, as `append_all` does."""
        self.append_all({channel: records})

    def append_all(self, batch: Mapping[ChannelId, Sequence[Record]]) -> None:
        """Append all records or none; AlreadySigned as in the port."""
        encoded = {
            channel: [encode_record(channel, record) for record in records] for channel, records in batch.items()
        }
        with self._guard:
            self._require_open()
            fresh = {channel: self._unknown(channel, entries) for channel, entries in encoded.items()}
            for channel, entries in fresh.items():
                if entries:
                    self._journal.setdefault(channel, []).extend(entries)
                    signed = self._signed.setdefault(channel, {})
                    signed.update((entry.version, entry.digest) for entry in entries if entry.kind == SIGNED)

    def _unknown(self, channel: ChannelId, entries: Sequence[Entry]) -> list[Entry]:
        """Return the entries without signatures that are known; AlreadySigned for a second one of a version."""
        signed = self._signed.get(channel, {})
        found: dict[int | None, bytes | None] = {}
        unknown = []
        for entry in entries:
            if entry.kind == SIGNED:
                known = signed.get(entry.version, found.get(entry.version))
                if known is not None and known != entry.digest:
                    raise AlreadySigned(entry.version or 0)
                if known is not None:
                    continue
                found[entry.version] = entry.digest
            unknown.append(entry)
        return unknown

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
