"""The speed of the update protocol, case by case, each as a ratio to the floor: `tables()` measures all in one run."""

from __future__ import annotations

import os
import platform
import sys
import tempfile
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import trio

from tests.bench import bare
from tests.bench.floor import fsyncs, middle, pieces
from tests.bench.probe import within
from tests.bench.profile import OTHER, PARTS
from tests.bench.two import ROOT, Bout, two

Table = tuple[str, list[str]]
Say = Callable[[str], None]
WARM, BOUTS, UPDATES = 96, 24, 768
STEPS, TAIL = 600, 0.02
SPACE = 0.002
"""Seconds between syncs that are not back to back: a disk, and a processor, that rested take longer."""
CHANNELS, PER_CHANNEL = 100, 6
IDLE = 1_000
PROFILED = 3_000


@dataclass
class Case:
    """One row of the table."""

    name: str
    target: str
    measured: str
    detail: str

    def row(self) -> str:
        return f"| {self.name} | {self.target} | {self.measured} | {self.detail} |"


def us(seconds: float) -> str:
    return f"{seconds * 1e6:,.0f} µs"


def ms(seconds: float) -> str:
    return f"{seconds * 1e3:.2f} ms"


def spread(values: Sequence[float], form: str = ".2f") -> str:
    """The median, and the extremes of all bouts."""
    return f"{middle(values):{form}} ({min(values):{form}} to {max(values):{form}})"


def answered(bouts: Sequence[Bout]) -> float:
    """How many proposals one countersignature covered: Bob journals two records for each."""
    return sum(bout.updates for bout in bouts) / (sum(bout.theirs["records"] for bout in bouts) / 2)


async def bouts(measure: Callable[[], Awaitable[Bout]], count: int = BOUTS) -> list[Bout]:
    return [await measure() for _ in range(count)]


async def processor(engine: str, count: int, updates: int) -> list[Bout]:
    """Agree marks in a window with journals in memory."""
    async with two(None, engine) as pair:
        (channel,) = await pair.open(0, 1)
        await pair.stream([channel], WARM)
        return await bouts(lambda: pair.stream([channel], updates), count)


async def durable(folder: Path, say: Say) -> list[Case]:
    """All that needs a disk: throughput of one channel and of many, one update at a time."""
    async with two(folder) as pair:
        channels = await pair.open(0, CHANNELS)
        await pair.stream(channels, 2)
        single, many = list[Bout](), list[Bout]()
        for _ in range(BOUTS):
            single.append(await pair.stream(channels[:1], UPDATES))
            many.append(await pair.stream(channels, PER_CHANNEL))
        say(f"throughput of one channel {pooled(single):.2f} / floor, of many {pooled(many):.2f}")
        disk, spaced = fsyncs(folder, 100), fsyncs(folder, 100, SPACE)
        one = [await pair.step(channels[0], STEPS // 4) for _ in range(4)]
        disk, spaced = sorted(disk + fsyncs(folder, 100)), sorted(spaced + fsyncs(folder, 100, SPACE))
        say("one at a time")
    return [throughput(single), *latency(one, disk, spaced, bare.updates(folder)), together(single, many)]


async def idle(folder: Path) -> Case:
    """Restore a node with many channels that nothing happens in, and see how much larger its process became."""
    async with two(folder) as pair:
        await pair.open(0, IDLE)
    command = [sys.executable, "-m", "tests.bench.idle", str(folder / "bob.sqlite3")]
    said = await trio.run_process(command, cwd=ROOT, capture_stdout=True)
    count, grown = map(int, said.stdout.split())
    each = grown / count / 1024
    return Case(
        f"memory per idle channel ({count:,} in one node, each with the book)",
        "≤ 64 KiB",
        f"**{each:.0f} KiB**",
        "growth of the resident memory of a node that restores them from its journal, SQLite and caches included",
    )


def pooled(found: Sequence[Bout]) -> float:
    """Updates in a floor's time over all stretches."""
    floor = sum(bout.floor.wall for bout in found) / len(found)
    return sum(bout.updates for bout in found) / sum(bout.seconds for bout in found) * floor


def bound(found: Sequence[Bout]) -> float:
    """What the processor time of the busier side would allow if nothing else ran and no disk made it wait."""
    return middle(bout.updates * bout.floor.cpu / max(bout.ours["cpu"], bout.theirs["cpu"]) for bout in found)


def throughput(single: Sequence[Bout]) -> Case:
    rates = [bout.updates / bout.seconds for bout in single]
    return Case(
        "throughput, durable on both sides, window 32, loopback TLS, a process each",
        "≥ 0.35 / floor",
        f"**{pooled(single):.2f} / floor** ({min(b.rate for b in single):.2f} to {max(b.rate for b in single):.2f})",
        f"{middle(rates):,.0f} updates a second; processor {us(middle(b.cpu for b in single))} for both sides, "
        f"the busier one's alone would allow {bound(single):.2f} / floor; "
        f"one write to the disk for {records_per_write(single):.1f} records, "
        f"one countersignature for {answered(single):.1f} proposals",
    )


def records_per_write(single: Sequence[Bout]) -> float:
    sides = [side for bout in single for side in (bout.ours, bout.theirs)]
    return float(sum(side["records"] for side in sides) / sum(len(side["appends"]) for side in sides))


def together(single: Sequence[Bout], many: Sequence[Bout]) -> Case:
    rates = [bout.updates / bout.seconds for bout in many]
    return Case(
        f"{CHANNELS} channels of one node updating at once, durable: total",
        "≥ 90 % of one channel's throughput",
        f"**{100 * pooled(many) / pooled(single):.0f} %**",
        f"{middle(rates):,.0f} updates a second, {pooled(many):.2f} / floor, each stretch beside one of one channel; "
        f"processor {us(middle(b.cpu for b in many))} for both sides together; "
        f"one countersignature for {answered(many):.1f} proposals",
    )


PIECES = ("appends: encoding", "appends: SQLite and disk", "thread hops", "garbage collection", "the rest")


def anatomy(one: Sequence[Bout]) -> list[tuple[float, dict[str, float]]]:
    """Return how long each update took and what it consists of, shortest first."""
    found = []
    for bout in one:
        sides = (bout.ours, bout.theirs)
        for span in bout.spans:
            took = span[1] - span[0]
            coded, written, hops, collected = (
                sum(within(span, side[name]) for side in sides)
                for name in ("encodings", "appends", "hops", "collections")
            )
            parts = dict(zip(PIECES, (coded, written - coded, hops, collected), strict=False))
            found.append((took, {**parts, PIECES[-1]: took - written - hops - collected}))
    return sorted(found, key=lambda update: update[0])


def mean_of(updates: Sequence[tuple[float, dict[str, float]]]) -> str:
    total = Counter[str]()
    for _, parts in updates:
        total.update(parts)
    return ", ".join(f"{name} {ms(total[name] / len(updates))}" for name in PIECES)


def latency(one: Sequence[Bout], disk: Sequence[float], spaced: Sequence[float], alone: Sequence[float]) -> list[Case]:
    updates = anatomy(one)
    half, most = updates[len(updates) // 2][0], updates[len(updates) * 99 // 100][0]
    sync, slow = middle(disk), disk[len(disk) * 99 // 100]
    floor = middle(bout.floor.wall for bout in one)
    bound = 2 * sync + 4 * floor
    core = updates[len(updates) // 4 : len(updates) * 3 // 4]
    return [
        Case(
            "one update at a time, durable: p50",
            f"≤ 2 fsyncs + 4 × floor = {ms(bound)}",
            f"**{ms(half)}**, {half / bound:.1f} × that",
            f"from the call to the owner's confirmation; fsync here now: p50 {ms(sync)}, p99 {ms(slow)}, and p50 "
            f"{ms(middle(spaced))} with {SPACE * 1e3:.0f} ms between, as an update has; the least of it, without ours: "
            f"{ms(middle(alone))}; the middle half: {mean_of(core)}",
        ),
        Case(
            "one update at a time, durable: p99",
            "stated",
            f"**{ms(most)}**",
            f"the slowest {TAIL:.0%}: {mean_of(updates[-max(1, int(len(updates) * TAIL)) :])}",
        ),
    ]


async def profile(folder: Path) -> list[str]:
    """Return the share of the processor by part, both sides together, as rows."""
    async with two(folder, profiled=True) as pair:
        (channel,) = await pair.open(0, 1)
        await pair.stream([channel], WARM)
        counts = await pair.profiled(channel, PROFILED)
    own = "the benchmark itself"
    total = sum(sum(side.values()) for side in counts) - sum(side.get(own, 0) for side in counts)
    names = sorted((name for name, _ in (*PARTS, (OTHER, ()))), key=lambda name: -sum(s.get(name, 0) for s in counts))
    sums = [sum(side.values()) - side.get(own, 0) for side in counts]
    rows = ["| part | both sides | proposer | who answers |", "|---|---|---|---|"]
    for name in names:
        shares = [side.get(name, 0) / whole for side, whole in zip(counts, sums, strict=True)]
        share = sum(side.get(name, 0) for side in counts) / total
        if name != own and share >= 0.0005:
            rows.append(f"| {name} | {share:.1%} | {shares[0]:.1%} | {shares[1]:.1%} |")
    return [*rows, "", f"{total:,} samples over {PROFILED:,} updates, one channel, durable, window 32."]


def machine() -> str:
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    return (
        f"{datetime.now(UTC):%Y-%m-%d}, Python {platform.python_version()}, {os.cpu_count()} cores "
        f"({platform.machine()}), load averages {load} at the end: whatever else ran here is in it"
    )


def tables(folder: Path, say: Say) -> list[Table]:
    """Measure everything; return the tables by name."""
    parts = pieces()
    floor = [
        f"Floor of one update: 2 × ({us(parts['signature'])} to sign, {us(parts['verification'])} to verify, "
        f"{parts['digest'] * 1e6:.1f} µs for a digest) = {us(2 * sum(parts.values()))}."
    ]
    say(floor[0])
    screened = trio.run(processor, "screen", BOUTS, UPDATES)
    say(f"processor {spread([bout.cpu / bout.floor.cpu for bout in screened])} × floor")
    exact = trio.run(processor, "exact", 3, 64)
    say(f"exact margin {spread([bout.cpu / bout.floor.cpu for bout in exact])} × floor")
    cpu = Case(
        "processor time per agreed update, both sides, journals in memory, window 32",
        "≤ 2.5 × floor",
        f"**{spread([bout.cpu / bout.floor.cpu for bout in screened])} × floor**",
        f"{us(middle(bout.cpu for bout in screened))}; one countersignature for {answered(screened):.1f} proposals; "
        f"with the exact margin engine on both sides {middle(bout.cpu / bout.floor.cpu for bout in exact):.0f} × floor",
    )
    with tempfile.TemporaryDirectory(dir=folder) as place:
        rest = trio.run(durable, Path(place), say)
    with tempfile.TemporaryDirectory(dir=folder) as place:
        rest.append(trio.run(idle, Path(place)))
    say("idle channels")
    with tempfile.TemporaryDirectory(dir=folder) as place:
        profiled = trio.run(profile, Path(place))
    head = ["| case | to reach | measured | with |", "|---|---|---|---|"]
    speed = [*head, *(case.row() for case in (cpu, *rest))]
    return [("floor", floor), ("speed", speed), ("profile", profiled), ("machine", [machine()])]
