"""What the risk engine costs in gas: `python -m tests.bench.bench_engine_gas`. No figure depends on the machine."""

from __future__ import annotations

from channels.risk import DEFAULT_POLICY
from tests.contracts.engine_gas import SHAPES, busiest, costs, full_book_with_fewer_rows, single_options
from tests.contracts.engine_world import Engine


def main() -> None:
    """Print the tables."""
    engine = Engine.deployed(DEFAULT_POLICY)
    print(f"code {len(engine.code)} bytes, policy included; limit 24,576")
    print("price and all Greeks of one option from its logarithms, net of a stub; then the logarithm itself")
    for name, gas in single_options():
        print(f"  {name:50} {gas:6,}")
    print("each entry point, without calldata (legs, underlyings, expiries)")
    for shape in SHAPES:
        print(f"  {shape!s:12}" + "".join(f" {name} {gas:9,}" for name, gas in costs(engine, shape).items()))
    print(f"whole grid of 40 rows, 40 spots and 40 horizons over {SHAPES[-1]}: {busiest():,}")
    print(f"the same with 34 of those rows: {full_book_with_fewer_rows(34):,}")


if __name__ == "__main__":
    main()
