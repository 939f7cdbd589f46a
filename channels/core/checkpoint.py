"""Checkpoints: the channel's durable part as one record, so that a journal does not grow with the channel's life.

What a journal must bring back is small: the agreed and the closing state with both signatures and books, what is
half-signed and not superseded, the highest version ever signed, the turn, what the chain said. A checkpoint holds all
of it and is folded like any other record. It is a claim about the records before it, and the fold checks it wherever it
has read them: only directly after `Opened` is it taken at its word, because there a store has dropped what it replaced.
"""

from __future__ import annotations

from dataclasses import fields, replace

from ..errors import InvariantBroken
from .channel import Channel, changed
from .records import Checkpoint

EVERY = 256
"""Records from one checkpoint to the next. While proposals are in flight it waits, up to as many again: they would all
be in it."""

MAX_OUTSTANDING = 64
"""Half-signed states in a checkpoint at most: with more, the journal grows until they are superseded."""

MAX_SETTLEMENTS = 2**14
"""Settlement prices in a checkpoint at most, the expiries of many years: with more, the journal grows again."""

_FIELDS = tuple(field.name for field in fields(Checkpoint))


def is_due(channel: Channel) -> bool:
    """Whether the journal has grown by enough for another checkpoint."""
    if channel.recorded < (2 * EVERY if channel.in_flight else EVERY):
        return False
    return len(channel.outstanding) <= MAX_OUTSTANDING and len(channel.chain.settlements) <= MAX_SETTLEMENTS


def checkpoint(channel: Channel) -> Checkpoint:
    """Return the channel's durable part."""
    held = {name: getattr(channel, name) for name in _FIELDS}
    return Checkpoint(**held | {"chain": replace(channel.chain, time=0)})


def adopt(channel: Channel, record: Checkpoint) -> Channel:
    """Fold a checkpoint into the channel that the records before it led to.

    Raises InvariantBroken where it says something else than they do.
    """
    if channel.recorded > 1 and _substance(record) != _substance(checkpoint(channel)):
        raise InvariantBroken("a checkpoint is the fold of what it replaces", f"not at version {record.signed}")
    held = {name: getattr(record, name) for name in _FIELDS}
    return changed(channel, **held | {"chain": replace(record.chain, time=channel.chain.time), "recorded": 0})


def _substance(record: Checkpoint) -> Checkpoint:
    """All of it but the bases and what is in flight, which replay mends in journals of the first release."""
    outstanding = tuple(replace(out, base=0) for out in record.outstanding)
    return replace(record, outstanding=outstanding, in_flight=())
