"""A disk that keeps what it said it keeps, and nothing else.

The node appends to a journal in memory, through the store's real bytes. When the power goes, what was appended is there
and what was being appended is there up to some record: a torn write. A node that restarts gets a new store over these
records and no more. The port promises all or none of an append; a torn one is harsher, and the protocol bears it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from channels.core.records import Checkpoint, Record
from channels.model import ChannelId, Deployment
from channels.store import MemoryStore
from channels.store.codec import Entry
from channels.store.memory import Journal

from .faults import Faults

Forgets = Callable[[list[Entry]], list[Entry]]


class PowerCut(Exception):
    """The machine went off in this call: whoever made it never hears of it."""


class Disk:
    """One machine's disk, which outlives its processes."""

    def __init__(
        self, faults: Faults, boundary: Callable[[str], bool], keep: Callable[[ChannelId, Record], None]
    ) -> None:
        self.faults, self.boundary = faults, boundary
        self.kept: MemoryStore = MemoryStore()
        self.on_durable = keep
        """Told of each record that is durable from now on."""
        self.spent = 0.0
        """Virtual seconds that appends took so far, for who measures them in whichever thread they are made."""
        self.forgets: Forgets = lambda entries: entries
        """What a restart reads of what was durable: all of it, unless a bug was planted."""

    def mounted(self) -> Mounted:
        """Return the store that the next process opens."""
        self.kept = remade(self.kept, self.forgets)
        return Mounted(self, self.kept)

    def write(self, store: MemoryStore, batch: Mapping[ChannelId, Sequence[Record]]) -> None:
        if self.boundary("before persist"):
            raise PowerCut
        self.spent += self.faults.rng.random() * self.faults.slow_disk
        records = [(channel, record) for channel, entries in batch.items() for record in entries]
        torn = self.boundary("torn persist")
        for channel, record in records[: self.faults.rng.randrange(len(records))] if torn else records:
            store.append(channel, [record])
            self.on_durable(channel, record)
            self.faults.fired["checkpoint"] += isinstance(record, Checkpoint)
        if torn or self.boundary("after persist"):
            raise PowerCut


class Mounted:
    """The store as one process sees it; after that process is gone it does nothing any more."""

    path = ":simulated:"

    def __init__(self, disk: Disk, store: MemoryStore) -> None:
        self.disk, self.store = disk, store
        self.gone = False

    def append(self, channel: ChannelId, records: Sequence[Record]) -> None:
        self.append_all({channel: records})

    def append_all(self, batch: Mapping[ChannelId, Sequence[Record]]) -> None:
        if self.gone:
            raise PowerCut
        self.disk.write(self.store, batch)

    def checkpoint_log(self) -> None:
        if self.gone:
            raise PowerCut

    def channels(self) -> list[ChannelId]:
        return self.store.channels()

    def records(self, channel: ChannelId) -> list[Record]:
        return self.store.records(channel)

    def lengths(self) -> dict[ChannelId, int]:
        return self.store.lengths()

    def archived(self, channel: ChannelId, version: int) -> list[Record]:
        return self.store.archived(channel, version)

    def cursor(self, deployment: Deployment) -> int:
        found = self.store.cursor(deployment)
        faults = self.disk.faults
        if found and faults.forgetful_endpoint:
            faults.fired["blocks read again"] += 1
            return max(1, found - faults.rng.randint(0, 20))
        return found

    def advance(self, deployment: Deployment, block: int) -> None:
        if self.gone:
            raise PowerCut
        self.store.advance(deployment, block)

    def close(self) -> None:
        """Whoever opened it closes it; the disk stays."""


def remade(store: MemoryStore, forgets: Forgets) -> MemoryStore:
    """Return a new store over what the old one held, as a restart would read it."""
    fresh = MemoryStore()
    fresh._cursors = dict(store._cursors)
    for channel, journal in store._journal.items():
        kept = forgets(journal.entries)
        if kept:
            fresh._journal[channel] = Journal(kept)
    return fresh
