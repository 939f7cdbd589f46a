"""Keeps a journal as a node does: each record is folded into the channel, which says when a checkpoint is due."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from itertools import count
from pathlib import Path

from channels.core import checkpoint
from channels.core.channel import Channel, MarkPolicy
from channels.core.fold import evolve, replay
from channels.core.records import Record
from channels.model import ChannelId
from channels.risk import DEFAULT_POLICY
from channels.store import SqliteStore, Store
from tests.roles import CHANNEL
from tests.writer import OPENED, update

POLICIES = {"policy": DEFAULT_POLICY, "mark_policy": MarkPolicy()}


def folded(records: Iterable[Record]) -> Channel:
    """The channel that records lead to."""
    return replay(records, DEFAULT_POLICY, MarkPolicy())


class Keeper:
    """One channel and its journal."""

    def __init__(self, store: Store, channel: ChannelId = CHANNEL) -> None:
        self.store, self.id = store, channel
        known = store.records(channel)
        self.channel = folded(known) if known else None

    def keep(self, *records: Record) -> Channel:
        """Append records, and a checkpoint where one is due, at once."""
        batch = list(records)
        for record in records:
            self.channel = evolve(self.channel, record, **POLICIES)
        assert self.channel is not None
        if checkpoint.is_due(self.channel):
            batch.append(checkpoint.checkpoint(self.channel))
            self.channel = evolve(self.channel, batch[-1])
        self.store.append(self.id, batch)
        return self.channel

    def update(self, versions: Iterable[int]) -> None:
        """One append per version: our signature and the agreed state."""
        for version in versions:
            self.keep(*([] if self.channel else [OPENED]), *update(version))


def main(arguments: Sequence[str]) -> None:
    """`python -m tests.keeper STORE EVERY`: update until killed, and say each version once it is durable."""
    checkpoint.EVERY = int(arguments[1])
    keeper = Keeper(SqliteStore.open(Path(arguments[0])))
    for version in count(keeper.channel.signed + 1 if keeper.channel else 1):
        keeper.update([version])
        print(version, flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
