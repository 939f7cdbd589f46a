"""All benchmarks in one run: `python -m tests.bench`. Ratios within the run are what counts; machines are noisy."""

from __future__ import annotations

from tests.bench import bench_risk, bench_update

bench_risk.main()
print()
bench_update.main()
