"""A deterministic simulator: real nodes in virtual time, on machines, disks, networks and a chain that fail.

    python -m tests.sim 1234                      replay seed 1234, line by line
    python -m tests.sim 1234 --plant "a premium goes the wrong way"
    python -m tests.sim --from 0 --seeds 100000   a campaign; prints every seed that breaks a law
    python -m tests.sim --minutes 60              the same, for an hour
    python -m tests.sim --from -1000 --seeds 1000  the same, with stern owners: negative seeds

One number decides everything: the weather (`faults`), what owners do (`owner`), what the scheduler runs first, every
nonce; a negative one is that of the number above zero, with owners who close and challenge in every run and decline
every other deal. A run works for a while under faults, heals, comes to rest, and must then satisfy every law.

What is real: `Node`, its driver, links, watcher, sessions, seats, the core, the wire and the store's bytes, unchanged.
What is not: TCP (`network`), the disk under the journal (`disk`), the chain (`chain`), time (trio's MockClock) and
TLS, whose randomness nobody can seed; `machine` swaps three functions of trio for it, and the clock by which a driver
knows a quick disk; nothing in the library knows.
What is true is read off a log of every durable record and every byte that left (`history`), not off the nodes alone;
what must be true at the end is in `laws`. `planted` breaks the library on purpose, to show that each law can fail.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from contextlib import nullcontext

from .planted import PLANTS
from .world import run


def main(arguments: list[str]) -> int:
    """Replay one seed, or search many; the exit code is 1 if a law was broken."""
    parser = argparse.ArgumentParser(prog="python -m tests.sim", description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("seed", type=int, nargs="?", help="replay this one")
    parser.add_argument("--plant", choices=list(PLANTS), help="with this bug in the library")
    parser.add_argument("--from", dest="first", type=int, default=0)
    parser.add_argument("--seeds", type=int, default=0, help="how many to play")
    parser.add_argument("--minutes", type=float, default=0.0, help="stop after this time")
    chosen = parser.parse_args(arguments)
    with PLANTS[chosen.plant].planted() if chosen.plant else nullcontext():
        if chosen.seed is not None:
            return replay(chosen.seed)
        return campaign(chosen.first, chosen.seeds or sys.maxsize, chosen.minutes)


def replay(seed: int) -> int:
    """Tell one run's story."""
    outcome = run(seed, tell=print)
    print(f"seed {seed}, fingerprint {outcome.fingerprint}: {outcome.broken or 'every law holds'}")
    return int(outcome.broken is not None)


def campaign(first: int, seeds: int, minutes: float) -> int:
    """Play many runs; say which broke a law and how to replay it, then what happened in all of them together."""
    began, used = time.monotonic(), time.process_time()
    fired: Counter[str] = Counter()
    found = played = 0
    for seed in range(first, first + seeds):
        if minutes and time.monotonic() - began > 60 * minutes:
            break
        outcome = run(seed)
        played += 1
        fired += outcome.happened
        if outcome.broken is not None:
            found += 1
            print(f"{outcome.broken}\n    python -m tests.sim {seed}", flush=True)
    for what, times in sorted(fired.items()):
        print(f"{times:10,}  {what}")
    rate = played / max(time.process_time() - used, 1e-9)
    print(f"{played:,} seeds from {first}, {rate:.0f} a second of processor time, {found} broke a law")
    return int(found > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
