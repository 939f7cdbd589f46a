"""Two parties in two processes, as on two machines but for the distance: TLS, a journal and a core each."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import trio

from channels.runtime.live import LiveChannel
from channels.runtime.node import Node, open_node
from channels.session import any_deal
from tests import peer_process, roles
from tests.bench import desk
from tests.bench.floor import Sample, middle
from tests.bench.probe import Probe, Span
from tests.bench.profile import Sampler, inline
from tests.bench.side import ENGINES, floors, store_at

ROOT = Path(__file__).parents[2]


@dataclass
class Bout:
    """One stretch of updates: how many, how long, what each side did meanwhile, and the floor around it, seconds."""

    updates: int
    seconds: float
    floor: Sample
    ours: dict[str, Any]
    theirs: dict[str, Any]
    spans: list[Span] = field(default_factory=list)

    @property
    def rate(self) -> float:
        """Updates in a floor's time: 1 would be a machine that does nothing but the floor, on one core."""
        return self.updates / self.seconds * self.floor.wall

    @property
    def cpu(self) -> float:
        """Processor seconds of both sides for one update."""
        return float(self.ours["cpu"] + self.theirs["cpu"]) / self.updates


@dataclass
class Two:
    """Alice here, Bob there."""

    node: Node
    probe: Probe
    _process: subprocess.Popen[str]
    tape: desk.Tape = field(default_factory=desk.Tape)

    async def ask(self, *words: str) -> Any:
        """Tell the other process something; return its answer."""
        return await trio.to_thread.run_sync(self._ask, " ".join(words))

    def _ask(self, line: str) -> Any:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())

    async def open(self, first: int, count: int) -> list[LiveChannel]:
        """Open channels, a few at a time, each with the book in it."""
        made: list[LiveChannel] = []
        places = iter(range(first, first + count))

        async def some() -> None:
            for number in places:
                channel = await desk.opened(self.node, number)
                made.append(channel)

        async with trio.open_nursery() as nursery:
            for _ in range(16):
                nursery.start_soon(some)
        return made

    async def floors(self) -> list[tuple[float, float]]:
        """Sample the floor in both processes at once: two cores as busy as with updates."""
        found: list[tuple[float, float]] = []

        async def theirs() -> None:
            found.extend(await self.ask("floor"))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(theirs)
            await trio.sleep(0.002)
            found.extend(floors())
        return found

    async def stream(self, channels: list[LiveChannel], updates: int) -> Bout:
        """Keep a window of marks in flight in each channel until `updates` of each are agreed."""

        async def one(channel: LiveChannel) -> None:
            for _ in range(updates):
                last = await channel.post_mark(self.tape.next())
            await last.agreed()

        before = await self._begin()
        start = time.perf_counter()
        async with trio.open_nursery() as nursery:
            for channel in channels:
                nursery.start_soon(one, channel)
        return await self._ended(before, updates * len(channels), time.perf_counter() - start, [])

    async def step(self, channel: LiveChannel, updates: int) -> Bout:
        """Agree one mark after the other."""
        before, spans = await self._begin(), list[Span]()
        for _ in range(updates):
            start = time.perf_counter()
            await channel.mark(self.tape.next())
            spans.append((start, time.perf_counter()))
        return await self._ended(before, updates, sum(end - start for start, end in spans), spans)

    async def profiled(self, channel: LiveChannel, updates: int) -> list[dict[str, int]]:
        """Agree marks in a window; return how many samples of the processor each part had, here and there."""
        sampler = Sampler()
        await self.ask("profile")
        sampler.start()
        try:
            for _ in range(updates):
                last = await channel.post_mark(self.tape.next())
            await last.agreed()
        finally:
            ours = sampler.stop()
        return [ours, await self.ask("profiled")]

    async def _begin(self) -> list[tuple[float, float]]:
        before = await self.floors()
        await self.ask("take")
        self.probe.taken()
        return before

    async def _ended(self, before: list[tuple[float, float]], updates: int, seconds: float, spans: list[Span]) -> Bout:
        ours, theirs = self.probe.taken(), await self.ask("take")
        around = before + await self.floors()
        # On the wall the mean counts: what others take from these cores, they take from the updates as well.
        floor = Sample(middle(cpu for cpu, _ in around), sum(wall for _, wall in around) / len(around))
        return Bout(updates, seconds, floor, ours, theirs, spans)


@contextmanager
def other_side(*words: str) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """Run the other process."""
    command = [sys.executable, "-m", "tests.bench.side", *words]
    process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin is not None and process.stdout is not None
    try:
        yield process, int(process.stdout.readline())
    finally:
        process.stdin.close()
        process.wait(30)


@asynccontextmanager
async def two(folder: Path | None, engine: str = "screen", profiled: bool = False) -> AsyncIterator[Two]:
    """Connect Alice and Bob; journals in `folder`, or in memory. A probe watches, or all runs in one thread each."""
    places = [str(folder / f"{name}.sqlite3") if folder else "memory" for name in ("alice", "bob")]
    store, probe, chain = store_at(places[0]), Probe(), peer_process.QuietChain()
    with other_side(places[1], engine, *["profiled"] * profiled) as (process, port):
        with inline() if profiled else probe.watching(store):
            async with open_node(
                roles.alice.signer,
                store=store,
                chain=chain,  # type: ignore[arg-type]  # the part of a chain that nothing happens on
                market=desk.market,
                deal=any_deal,
                config=desk.config(ENGINES[engine]()),
                clock=desk.now,
            ) as node:
                await node.connect("127.0.0.1", port, roles.bob.address)
                yield Two(node, probe, process)
        store.close()
