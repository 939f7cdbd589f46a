"""Where the processor's time goes: samples of the stack, taken by the clock of the processor and not of the wall.

A profiler that counts calls doubles the price of small ones; samples do not. Each belongs to the innermost frame that
has a part, so what a library does counts for who called it. Signals reach the main thread only: so for a profile the
work of the threads is done there (`inline`), and `SIGPROF` comes every few milliseconds of processor time.
"""

from __future__ import annotations

import signal
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import trio

WIRE, JOURNAL, OTHER = "wire codec", "journal codec", "other"
PARTS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("the benchmark itself", ("/tests/",)),
    ("hashing", ("/eth_hash/", "/seal/digest.py", "/seal/typehash.py", "/model/identity.py")),
    ("signatures", ("/channels/seal/", "/coincurve/")),
    (JOURNAL, ("/store/codec.py",)),
    ("SQLite", ("/channels/store/",)),
    (WIRE, ("/channels/wire/",)),
    ("margin and pricing", ("/channels/risk/", "/numpy/")),
    ("core: the machine, its rules and the model", ("/channels/core/", "/channels/model/", "/channels/session/")),
    ("TLS and sockets", ("/ssl.py", "/trio/_ssl.py", "/trio/_socket.py", "/trio/_highlevel", "/socket.py")),
    ("runtime and trio", ("/channels/runtime/", "/trio/", "/outcome/")),
)
INTERVAL = 0.001
"""Seconds of processor time between samples; the kernel rounds up to its own tick."""


def part_of(frame: FrameType | None) -> str:
    """Return the part that a stack belongs to. The codec of messages works for the journal too: who called it says."""
    found = OTHER
    while frame is not None:
        here = _part(frame.f_code.co_filename)
        if found == OTHER:
            found = here
        if found not in (OTHER, WIRE):
            return found
        if found == WIRE and here == JOURNAL:
            return JOURNAL
        frame = frame.f_back
    return found


def _part(path: str) -> str:
    return next((name for name, places in PARTS if any(place in path for place in places)), OTHER)


class Sampler:
    """Counts samples by part between `start` and `stop`; main thread only."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()

    def start(self) -> None:
        self._counts.clear()
        signal.signal(signal.SIGPROF, self._sample)
        signal.setitimer(signal.ITIMER_PROF, INTERVAL, INTERVAL)

    def stop(self) -> dict[str, int]:
        signal.setitimer(signal.ITIMER_PROF, 0)
        return dict(self._counts)

    def _sample(self, number: int, frame: FrameType | None) -> None:
        self._counts[part_of(frame)] += 1


@contextmanager
def inline() -> Iterator[None]:
    """Do in the trio thread what nodes do in others, but for reading our own input."""
    hop: Callable[..., Any] = trio.to_thread.run_sync

    async def here(function: Callable[..., Any], *values: Any, **options: Any) -> Any:
        if getattr(function, "__name__", "") in ("readline", "_ask"):
            return await hop(function, *values, **options)
        await trio.lowlevel.checkpoint()
        return function(*values)

    trio.to_thread.run_sync = here  # type: ignore[assignment]
    try:
        yield
    finally:
        trio.to_thread.run_sync = hop  # type: ignore[assignment]
