"""Convergence, shocks and staleness: each rounding goes the way its name says, each clamp holds."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import pytest

from channels.errors import OutOfBounds
from channels.model.marks import MAX_VOL
from channels.model.option import MAX_PRICE
from channels.risk import DEFAULT_POLICY, VolBump, VolShock
from channels.risk.scenarios import (
    converge_down,
    forward_down,
    interpolated_bump_up,
    shocked_forward,
    shocked_vols,
    stale_factor_up,
)
from channels.units import WAD

DAY = 86_400


@pytest.mark.parametrize("marked", [WAD // 2, WAD, 4 * WAD, WAD + 1, WAD - 1])
def test_ratio_and_discount_converge_linearly_to_one_rounded_down(marked: int) -> None:
    span = 7 * DAY
    assert converge_down(marked, span, span) == marked
    for left in (1, 12_345, span // 2, span - 1):
        exact = WAD + Fraction((marked - WAD) * left, span)
        assert converge_down(marked, left, span) <= exact < converge_down(marked, left, span) + 1


def test_forward_is_rounded_down_and_bounded() -> None:
    assert forward_down(3, WAD - 1) == 2
    assert forward_down(MAX_PRICE, WAD) == MAX_PRICE
    for spot, ratio in ((MAX_PRICE, WAD + 10**9), (1, WAD - 1)):
        with pytest.raises(OutOfBounds):
            forward_down(spot, ratio)


def test_a_scenario_forward_is_clamped_never_refused() -> None:
    assert shocked_forward(3000 * WAD, WAD * 109 // 100, WAD) == 3270 * WAD
    assert shocked_forward(MAX_PRICE, 4 * WAD, 4 * WAD) == MAX_PRICE
    assert shocked_forward(MAX_PRICE, 4 * WAD, WAD // 2) == MAX_PRICE // 2, "the spot is clamped before the ratio"
    assert shocked_forward(1, WAD // 3, WAD) == 1
    assert shocked_forward(1, WAD, 1) == 1


def test_bumps_are_linear_between_tenors_and_flat_outside() -> None:
    bumps = (VolBump(DAY, 100, 90), VolBump(3 * DAY, 50, 40), VolBump(4 * DAY, 49, 0))
    assert interpolated_bump_up(bumps, 1) == interpolated_bump_up(bumps, DAY) == (100, 90)
    assert interpolated_bump_up(bumps, 2 * DAY) == (75, 65)
    assert interpolated_bump_up(bumps, 3 * DAY) == (50, 40)
    assert interpolated_bump_up(bumps, 4 * DAY) == interpolated_bump_up(bumps, 400 * DAY) == (49, 0)


def test_an_interpolated_bump_is_rounded_up() -> None:
    assert interpolated_bump_up((VolBump(1, 100, 50), VolBump(4, 90, 49)), 2) == (97, 50)


def test_stale_volatility_widens_both_shocks_per_hour() -> None:
    policy = replace(DEFAULT_POLICY, vol_max_age=3600, vol_stale_per_hour=WAD // 100)
    assert stale_factor_up(policy, 0) == stale_factor_up(policy, 3600) == WAD
    assert stale_factor_up(policy, 7200) == WAD * 101 // 100
    assert stale_factor_up(policy, 3601) == WAD + -(-WAD // 100 // 3600) == WAD + 2_777_777_777_778
    fresh, stale = (shocked_vols(policy, WAD, 30 * DAY, age) for age in (0, 3600 + 3600 * 10))
    assert fresh == {VolShock.NONE: WAD, VolShock.UP: WAD * 15 // 10, VolShock.DOWN: WAD * 7 // 10}
    assert stale == {VolShock.NONE: WAD, VolShock.UP: WAD * 155 // 100, VolShock.DOWN: WAD * 67 // 100}


def test_shocked_volatilities_are_rounded_apart_and_clamped() -> None:
    vols = shocked_vols(DEFAULT_POLICY, 3, 30 * DAY, 0)
    assert (vols[VolShock.DOWN], vols[VolShock.NONE], vols[VolShock.UP]) == (2, 3, 5)
    assert shocked_vols(DEFAULT_POLICY, MAX_VOL, 30 * DAY, 0)[VolShock.UP] == MAX_VOL
    ancient = shocked_vols(DEFAULT_POLICY, WAD, 30 * DAY, 3650 * DAY)
    assert ancient[VolShock.DOWN] == 0 and ancient[VolShock.UP] == MAX_VOL
