"""What a journal weighs after many updates: `python -m tests.bench.bench_journal [--updates N] [--together N]`.

The real store takes the real records of one channel with a 16-leg book, as fast as it can: per update our signature and
the agreed state, both with the whole book and the marks that led to it. The channel's own fold says when a checkpoint
is due, as in a node. On the way the store is closed and opened again as a node does it: lock, inspection of the whole
file, every record decoded, every link checked, all folded. Sizes must not depend on how many updates there were.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from statistics import quantiles

from channels.core.records import Record, Signed, StateAgreed
from channels.model import Agreed, Book, HalfSigned, Mark, Party, keccak
from channels.store import SqliteStore
from channels.store.codec import encode_record
from tests import roles
from tests.bench.desk import LEGS, held, price
from tests.keeper import Keeper, folded
from tests.writer import OPENED

YEAR = 365 * 86_400
SIGNATURES = keccak(b"0") * 2 + b"\x1b", keccak(b"1") * 2 + b"\x1b"
"""Sixty-five bytes each: the store looks at none of them."""
MARKINGS = 64


def books() -> list[Book]:
    """The same positions under many marks."""
    legs = tuple(sorted(held(), key=lambda leg: leg.key))
    marks = price(0)
    spots = [replace(marks, spots=(replace(marks.spots[0], spot=marks.spots[0].spot + i),)) for i in range(MARKINGS)]
    return [Book.of(legs, each, keccak(bytes([i]))) for i, each in enumerate(spots)]


def updates(first: int) -> Iterator[list[Record]]:
    """What one side's journal holds of each update, from version `first` on."""
    marked = books()
    for version in range(first, first + YEAR):
        book = marked[version % MARKINGS]
        state, mark = roles.state(book, version=version), (Mark(book.marks),)
        half = HalfSigned(state, book, Party.ZERO, SIGNATURES[0])
        yield [Signed(half, mark), StateAgreed(Agreed(state, book, SIGNATURES), mark)]


def opened(place: Path) -> tuple[float, float, int]:
    """Return the seconds from the path to the channel, those of the processor, and how many records that read."""
    start, busy = time.perf_counter(), time.process_time()
    store = SqliteStore.open(place)
    records = store.records(roles.CHANNEL)
    folded(records)
    took, worked = time.perf_counter() - start, time.process_time() - busy
    store.close()
    return took, worked, len(records)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--updates", type=int, default=200_000, help="at least 10,000")
    parser.add_argument("--together", type=int, default=32, help="updates that share one append, as under load")
    chosen = parser.parse_args(arguments)
    source = updates(1)
    raw = sum(len(encode_record(roles.CHANNEL, record).body) for record in next(source))
    print(
        f"one update of {LEGS} legs: two records, {raw:,} bytes;"
        f" a year of one a second: {raw * YEAR / 1e9:,.0f} GB of records"
    )
    print(
        f"  {'updates':>9} {'file':>12} {'log':>12} {'records':>8}"
        f" {'open and replay':>16} {'of it CPU':>10} {'append p50':>11} {'p99':>9} {'most':>9}"
    )
    with tempfile.TemporaryDirectory() as directory:
        place = Path(directory) / "journal.sqlite"
        store, done, sizes, opens = SqliteStore.open(place), 1, list[int](), list[float]()
        keeper = Keeper(store)
        keeper.keep(OPENED)
        for step in range(1, 11):
            target = chosen.updates * step // 10 - 61 * (10 - step)  # openings at all distances from a checkpoint
            took: list[float] = []
            while done < target:
                batch = [record for _ in range(min(chosen.together, target - done)) for record in next(source)]
                start = time.perf_counter()
                keeper.keep(*batch)
                took.append(time.perf_counter() - start)
                done += len(batch) // 2
            size, log = place.stat().st_size, Path(f"{place}-wal").stat().st_size
            store.close()
            seconds, worked, records = opened(place)
            store = keeper.store = SqliteStore.open(place)
            sizes.append(size)
            opens.append(worked)
            cuts = quantiles(took, n=100)
            print(
                f"  {done:9,} {size:12,} {log:12,} {records:8,} {seconds * 1e3:13.0f} ms {worked * 1e3:7.0f} ms"
                f" {cuts[49] * 1e3:8.1f} ms {cuts[98] * 1e3:6.1f} ms {max(took) * 1e3:6.1f} ms",
                flush=True,
            )
        store.close()
    print(
        f"largest file {max(sizes):,} bytes, most CPU to open it {max(opens) * 1e3:.0f} ms,"
        " whatever the number of updates"
    )


if __name__ == "__main__":
    main()
