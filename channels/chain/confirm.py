"""Which blocks to read next. Pure: a cursor, a head and a depth in, a range out.

A block is confirmed when `depth` blocks stand on top of it; depth 0 takes the head itself. Ranges are bounded because
endpoints refuse wide log queries. The cursor is durable elsewhere; reading a range twice changes nothing, since facts
are cumulative.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ..errors import InvalidValue

MAX_SPAN = 2_000
"""Blocks per query: below the limit of the common public endpoints."""


@dataclass(frozen=True, slots=True)
class BlockRange:
    """Blocks first to last, both included."""

    first: int
    last: int


def next_range(cursor: int, head: int, depth: int, span: int = MAX_SPAN) -> BlockRange | None:
    """Return the next confirmed blocks to read, at most `span` of them; None if there are none yet.

    `cursor` is the last block read, -1 before the first. A head below the cursor (an endpoint that lags) gives None.
    """
    for name, value, low in (("cursor", cursor, -1), ("depth", depth, 0), ("span", span, 1)):
        if value < low:
            raise InvalidValue(name, value, f"this must be at least {low}")
    last = min(head - depth, cursor + span)
    return BlockRange(cursor + 1, last) if last > cursor else None


def ranges(cursor: int, head: int, depth: int, span: int = MAX_SPAN) -> Iterator[BlockRange]:
    """Yield every range up to the last confirmed block, in order."""
    while (found := next_range(cursor, head, depth, span)) is not None:
        yield found
        cursor = found.last
