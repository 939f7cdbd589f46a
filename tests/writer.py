"""A process that signs one version after another into a store and says each version once its append has returned.

    python -m tests.writer STORE FIRST_VERSION [LARGEST_FILE]

It ends when it is killed. With LARGEST_FILE, the disk is full beyond that many bytes per file; the writer then prints
what the store said, tries once more, and shows that it can still read.
"""

from __future__ import annotations

import sys
from itertools import count

from channels.core.channel import ChainView, Outstanding
from channels.core.records import Checkpoint, Opened, Record, Signed, StateAgreed, TurnMoved
from channels.errors import StoreFailed
from channels.model import Mark, Party
from channels.store import SqliteStore
from tests.roles import CHANNEL, DEPLOYMENT, TERMS, agreed, half


def update(version: int) -> list[Signed | StateAgreed]:
    """What one update appends: our signature, then both."""
    return [Signed(half(version=version), (Mark(),)), StateAgreed(agreed(version=version), (Mark(),))]


def holding(floor: int, *held: Signed) -> Checkpoint:
    """A checkpoint with this floor, which says that these hang."""
    return Checkpoint(
        accepted=True,
        agreed=None,
        closing=None,
        outstanding=tuple(Outstanding(one.half, one.operations) for one in held),
        signed=floor,
        turn=0,
        chain=ChainView(),
        recalled=None,
        frozen=0,
        suspect=b"",
        recovery=None,
        granted=None,
        leap=0,
        markers=(),
        top_up=None,
        topped_up=0,
        in_flight=(),
    )


OPENED = Opened(DEPLOYMENT, TERMS, Party.ZERO, initiated=True)
WRITTEN: list[Record] = [OPENED, *update(1), *update(2), TurnMoved(1)]
"""A short journal."""


def main(path: str, first: int, largest: int | None) -> None:
    """Write until killed, or until the disk is full."""
    store = SqliteStore.open(path)
    if not store.channels():
        store.append(CHANNEL, [OPENED])
    if largest is not None:
        import resource

        resource.setrlimit(resource.RLIMIT_FSIZE, (largest, largest))
    try:
        for version in count(first):
            store.append(CHANNEL, update(version))
            print(version, flush=True)
    except StoreFailed as refused:
        print(f"failed: {refused}", flush=True)
    try:
        store.append(CHANNEL, update(2**63))
    except StoreFailed as refused:
        print(f"again: {refused}", flush=True)
    print(f"readable: {len(store.records(CHANNEL))}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]) if len(sys.argv) > 3 else None)
