"""A store that forgets: the same journal in memory, through the same bytes, for tests and for the sans-IO examples."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence

from ..core.records import Record
from ..errors import AlreadySigned, StoreFailed
from ..model import ChannelId, Deployment
from ..model.identity import checked_range
from .codec import CHECKPOINT, MAX_BLOCK, SIGNED, Entry, check_floor, decode_record, encode_record, signed_in


class Journal:
    """One channel's entries, and what is known to be signed."""

    def __init__(self, entries: Sequence[Entry] = ()) -> None:
        self.entries: list[Entry] = []
        self.signed: dict[int, bytes] = {}
        self.floor = 0
        self.last: Entry | None = None
        """The last checkpoint: of what is signed up to the floor, it and the entries kept are all there is."""
        self.length = 0
        self.extend(entries)

    def unknown(self, entries: Sequence[Entry]) -> list[Entry]:
        """Return the entries without signatures that are known; AlreadySigned for a second one of a version."""
        held, signed, floor, last = self.signed, dict[int, bytes](), self.floor, self.last
        unknown: list[Entry] = []
        for entry in entries:
            version, digest = entry.version or 0, entry.digest or b""
            if entry.kind == SIGNED:
                known = signed.get(version) or held.get(version)
                if known is None and version <= floor and last is not None:
                    known = signed_in(":memory:", last).get(version)
                if known != digest and (known or version <= floor):
                    raise AlreadySigned(version)
                if known:
                    continue
                signed[version] = digest
            elif entry.kind == CHECKPOINT:
                check_floor(version, max([floor, *held, *signed]), is_first=not self.entries and not unknown)
                # What it replaces is gone from here on, as on disk, and not only for the next batch.
                held, signed = _signed_since(last, [*self.entries, *unknown]), {}
                floor, last = version, entry
            unknown.append(entry)
        return unknown

    def extend(self, entries: Sequence[Entry]) -> None:
        """Add entries, and drop what the last checkpoint but one replaces."""
        self.entries.extend(entries)
        self.length += len(entries)
        self.signed.update((e.version or 0, e.digest or b"") for e in entries if e.kind == SIGNED)
        if any(entry.kind == CHECKPOINT for entry in entries):
            checkpoints = [at for at, entry in enumerate(self.entries) if entry.kind == CHECKPOINT]
            self.last = self.entries[checkpoints[-1]]
            if len(checkpoints) > 1:
                self.entries[1 : checkpoints[-2]] = []
            self.floor = self.last.version or 0
            self.signed = _signed_since(None, self.entries)


def _signed_since(last: Entry | None, entries: Sequence[Entry]) -> dict[int, bytes]:
    """Return the digests by version of the first entry and those behind `last`; of all entries without it."""
    begin = next((at for at, entry in enumerate(entries) if entry is last), 0)
    return {
        entry.version or 0: entry.digest or b"" for entry in (*entries[:1], *entries[begin:]) if entry.kind == SIGNED
    }


class MemoryStore:
    """A journal of channels that lives as long as the object; the same laws as SqliteStore, durability apart."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._journal: dict[ChannelId, Journal] = {}
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
            fresh = {channel: self._of(channel).unknown(entries) for channel, entries in encoded.items()}
            for channel, entries in fresh.items():
                if entries:
                    self._journal.setdefault(channel, Journal()).extend(entries)

    def checkpoint_log(self) -> None:
        """Do nothing: memory has no log."""

    def _of(self, channel: ChannelId) -> Journal:
        return self._journal.get(channel) or Journal()

    def channels(self) -> list[ChannelId]:
        """Return the channels known, oldest first."""
        with self._guard:
            self._require_open()
            return list(self._journal)

    def records(self, channel: ChannelId) -> list[Record]:
        """Return a channel's records in the order of appending; none for a channel that is not known."""
        with self._guard:
            self._require_open()
            entries = list(self._of(channel).entries)
        return [decode_record(self.path, entry) for entry in entries]

    def lengths(self) -> dict[ChannelId, int]:
        """Return how many records each journal has taken so far, those that are gone included."""
        with self._guard:
            self._require_open()
            return {channel: journal.length for channel, journal in self._journal.items()}

    def archived(self, channel: ChannelId, version: int) -> list[Record]:
        """Return nothing: memory keeps no archive."""
        return []

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
