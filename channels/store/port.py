"""What the library asks of a disk: an append-only journal per channel, durable when `append` returns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from ..core.records import Record
from ..model import ChannelId, Deployment


class Store(Protocol):
    """A journal of channels. Blocking: the runtime decides in which thread. One process at a time."""

    @property
    def path(self) -> str:
        """Where it is, for messages to people."""
        ...

    def append(self, channel: ChannelId, records: Sequence[Record]) -> None:
        """Append one channel's records: `append_all` of that channel alone."""
        ...

    def append_all(self, batch: Mapping[ChannelId, Sequence[Record]]) -> None:
        """Append all records of all channels or none; they are durable when this returns, for one price.

        Appending again a `Signed` whose version and digest the journal holds is allowed and changes nothing (a crash
        may repeat it); another digest under that version, or a version that is not held and not above the last
        checkpoint's floor, raises AlreadySigned and nothing of the call is kept. A `Checkpoint` with a floor below a
        signature raises InvariantBroken.
        Raises StoreFailed when the disk refuses.
        """
        ...

    def checkpoint_log(self) -> None:
        """Tidy up while nothing waits for the disk; what was appended is durable anyway. Raises StoreFailed."""
        ...

    def channels(self) -> list[ChannelId]:
        """Return the channels known, oldest first."""
        ...

    def records(self, channel: ChannelId) -> list[Record]:
        """Return a channel's records in the order of appending; StoreCorrupt if one does not decode.

        The first one is always there. What lies between it and the last `Checkpoint` but one is superseded, and gone.
        """
        ...

    def lengths(self) -> dict[ChannelId, int]:
        """Return how many records each journal has taken so far, those that are gone included."""
        ...

    def archived(self, channel: ChannelId, version: int) -> list[Record]:
        """Return the records about one version that were archived when they left the journal; none without archive."""
        ...

    def cursor(self, deployment: Deployment) -> int:
        """Return the last block whose facts are journalled for this adjudicator; 0 at first."""
        ...

    def advance(self, deployment: Deployment, block: int) -> None:
        """Move the cursor; never backwards."""
        ...

    def close(self) -> None:
        """Release the file and its lock; further calls raise StoreFailed."""
        ...
