"""Where one process's time goes while updates flow: its processor, its disk, its thread hops, its garbage collections.

Moments are of the machine's monotonic clock, so that two processes' can be laid side by side.
"""

from __future__ import annotations

import gc
import resource
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import trio

from channels.core.records import Record
from channels.model import ChannelId
from channels.store import Store, sqlite

Span = tuple[float, float]

_HOP: ContextVar[list[Span] | None] = ContextVar(
    "the appends of the thread that the running task asked for", default=None
)


@dataclass
class Probe:
    """Watches a process. `taken` returns what happened since it was last called, as plain values."""

    appends: list[Span] = field(default_factory=list)
    hops: list[Span] = field(default_factory=list)
    collections: list[Span] = field(default_factory=list)
    encodings: list[Span] = field(default_factory=list)
    records: int = 0
    _since: float = field(default_factory=time.process_time)
    _collecting: float = 0.0

    @contextmanager
    def watching(self, store: Store) -> Iterator[None]:
        """Time a store's appends, the hops to the threads that make them, and the garbage collector."""
        encode: Callable[..., Any] = sqlite.encode_record
        append_all: Callable[[Mapping[ChannelId, Sequence[Record]]], None] = store.append_all
        hop: Callable[..., Any] = trio.to_thread.run_sync

        def appending(batch: Mapping[ChannelId, Sequence[Record]]) -> None:
            start = time.perf_counter()
            append_all(batch)
            self.appends.append((start, time.perf_counter()))
            self.records += sum(map(len, batch.values()))
            if (made := _HOP.get()) is not None:
                made.append(self.appends[-1])

        async def hopping(function: Callable[..., Any], *values: Any, **options: Any) -> Any:
            start, made = time.perf_counter(), list[Span]()
            # A worker thread has the context of who asked for it; an append in the node's own thread has another.
            before = _HOP.set(made)
            try:
                result = await hop(function, *values, **options)
            finally:
                _HOP.reset(before)
            for begun, ended in made:
                self.hops += [(start, begun), (ended, time.perf_counter())]
            return result

        def encoding(*values: Any) -> Any:
            start = time.perf_counter()
            entry = encode(*values)
            self.encodings.append((start, time.perf_counter()))
            return entry

        sqlite.encode_record = encoding
        store.append_all = appending  # type: ignore[method-assign]
        trio.to_thread.run_sync = hopping  # type: ignore[assignment]
        gc.callbacks.append(self._collected)
        try:
            yield
        finally:
            trio.to_thread.run_sync = hop  # type: ignore[assignment]
            sqlite.encode_record = encode
            gc.callbacks.remove(self._collected)

    def _collected(self, phase: str, facts: dict[str, int]) -> None:
        if phase == "start":
            self._collecting = time.perf_counter()
        else:
            self.collections.append((self._collecting, time.perf_counter()))

    def taken(self) -> dict[str, Any]:
        used, self._since = time.process_time() - self._since, time.process_time()
        found = {
            "cpu": used,
            "records": self.records,
            "appends": self.appends,
            "hops": self.hops,
            "encodings": self.encodings,
            "collections": self.collections,
            "rss": resident(),
        }
        self.appends, self.hops, self.encodings, self.collections, self.records = [], [], [], [], 0
        return found


def resident() -> int:
    """Return the bytes of memory that this process holds now."""
    return int(Path("/proc/self/statm").read_text("ascii").split()[1]) * resource.getpagesize()


def within(span: Span, spans: Sequence[Span]) -> float:
    """Return how many seconds of `span` the others take."""
    return sum(max(0.0, min(span[1], end) - max(span[0], start)) for start, end in spans)
