"""All benchmarks in one run: `python -m tests.bench` prints, `--write` puts the tables into docs/benchmarks.md as well.

Ratios within the run are what counts; machines are noisy. `--only speed` or `--only risk` leaves out the rest.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from tests.bench import bench_risk
from tests.bench.speed import tables
from tests.economics.__main__ import written

PAGE = Path(__file__).parents[2] / "docs" / "benchmarks.md"


def main(arguments: list[str]) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--write", action="store_true", help="write the tables into docs/benchmarks.md")
    parser.add_argument("--only", choices=["risk", "speed"], help="one half")
    parser.add_argument("--folder", type=Path, default=Path.cwd(), help="whose disk holds the journals")
    chosen = parser.parse_args(arguments)
    if chosen.only != "speed":
        bench_risk.main()
    if chosen.only != "risk":
        started = time.monotonic()
        found = tables(chosen.folder, lambda text: print(f"{time.monotonic() - started:4.0f} s  {text}", flush=True))
        for name, lines in found:
            print("\n".join(["", name, *lines]), flush=True)
        if chosen.write:
            PAGE.write_text(written(PAGE.read_text(encoding="utf-8"), found, PAGE.name), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
