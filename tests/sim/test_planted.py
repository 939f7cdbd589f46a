"""Each law of the simulator finds the bug that was planted for it, within the stated number of seeds."""

from __future__ import annotations

import pytest

from tests.sim.planted import PLANTS
from tests.sim.world import run


@pytest.mark.parametrize("name", PLANTS)
def test_the_law_finds_its_bug(name: str) -> None:
    plant = PLANTS[name]
    found: list[str] = []
    with plant.planted():
        for seed in range(plant.within):
            broken = run(seed).broken
            if broken is not None:
                found.append(broken)
                if plant.law in broken:
                    return
    raise AssertionError(f"{plant.within} seeds, and no broken law says {plant.law!r}; others: {found[:5]}")
