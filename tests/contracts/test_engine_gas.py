"""The engine's gas, held to what the adjudicator's entry points need of it; `bench_engine_gas` prints the figures."""

from __future__ import annotations

import pytest

from channels.risk import DEFAULT_POLICY
from tests.contracts.engine_gas import SHAPES, busiest, costs, single_options
from tests.contracts.engine_world import Engine

ENGINE_CAP = 3_000_000
"""What the whole grid of the default policy must fit on a full book. Nothing caps it: ADR 19."""
LIMITS = {
    (4, 1, 1): {"is_breach": 75_000, "excess": 400_000},
    (16, 1, 4): {"is_breach": 190_000, "liquidation": 190_000, "close_out": 120_000, "excess": 1_320_000},
    (32, 4, 8): {"is_breach": 345_000, "liquidation": 345_000, "excess": 2_700_000, "margin": 2_700_000},
}


def test_price_and_all_greeks_of_one_option() -> None:
    figures = dict(single_options())
    assert len(figures) == 6
    assert all(1_000 < gas <= 2_000 for name, gas in figures.items() if "logarithm" not in name)
    assert all(300 < gas <= 950 for name, gas in figures.items() if "logarithm" in name)


@pytest.mark.parametrize("shape", LIMITS)
def test_entry_points_stay_within_what_the_adjudicator_needs(shape: tuple[int, int, int]) -> None:
    assert shape in SHAPES
    found = costs(Engine.deployed(DEFAULT_POLICY), shape)
    for function, limit in LIMITS[shape].items():
        assert limit * 8 // 10 < found[function] <= limit, (function, found[function])


def test_a_full_book_passes_the_default_grid_within_the_cap_and_not_every_grid() -> None:
    """The second half is a fact for whoever draws up a policy: forty scattered rows cannot be proven on 32 legs."""
    assert max(costs(Engine.deployed(DEFAULT_POLICY), SHAPES[-1]).values()) * 11 // 10 < ENGINE_CAP
    assert busiest() > ENGINE_CAP
