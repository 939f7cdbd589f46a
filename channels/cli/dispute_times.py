"""Times as the dispute's screen writes them: UTC to the second, the same on this machine, and spans in two units."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import pairwise


def utc(at: int) -> str:
    """Return a unix time in UTC, to the second."""
    return f"{datetime.fromtimestamp(at, UTC):%a %d %b %Y %H:%M:%S} UTC"


def local(at: int) -> str:
    """Return a unix time in this machine's zone, with its name."""
    return f"{datetime.fromtimestamp(at, UTC).astimezone():%a %d %b %Y %H:%M:%S %Z}"


def span(seconds: int) -> str:
    """Return a length of time in its two largest units."""
    units = ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s"))
    for (size, name), (smaller, below) in pairwise(units):
        if seconds >= size:
            rest = seconds % size // smaller
            return f"{seconds // size} {name}" + (f" {rest} {below}" if rest else "")
    return f"{seconds} s"
