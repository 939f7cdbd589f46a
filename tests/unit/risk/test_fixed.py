"""The fixed-point functions against fifty digits: each stays within the error that its docstring states."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest
from mpmath import erfc, exp, log, mp, mpf, sqrt

from channels.model.marks import MAX_TENOR
from channels.model.option import MAX_PRICE
from channels.risk import fixed
from channels.risk.black import LIMIT_Q72
from channels.units import SECONDS_PER_YEAR

mp.dps = 50
Q72, Q100, Q120 = (mpf(2) ** n for n in (72, 100, 120))


def spread(count: int, high: int) -> list[int]:
    """Whole range and all magnitudes: uniform, log-uniform, and the ends."""
    dice = random.Random(20240108)
    uniform = [dice.randrange(high) for _ in range(count // 2)]
    log_uniform = [dice.randrange(1 << dice.randrange(1, high.bit_length())) for _ in range(count // 2)]
    return [*uniform, *log_uniform, 0, 1, high]


def test_ln_is_within_its_stated_error_over_all_prices() -> None:
    for value in spread(4000, MAX_PRICE):
        if value:
            assert abs(fixed.ln_q120(value) / Q120 - log(value)) <= mpf("1.5e-25"), value


def test_ln_of_one_is_zero_and_of_two_is_ln_two() -> None:
    assert fixed.ln_q120(1) == 0
    assert fixed.ln_q120(2) == fixed.LN2_Q120


@pytest.mark.parametrize("bits", [1, 2, 46, 91])
def test_ln_does_not_jump_where_its_branch_changes(bits: int) -> None:
    seam = (fixed.SQRT2_Q127 << bits) >> 127
    below, above = fixed.ln_q120(seam), fixed.ln_q120(seam + 1)
    assert abs((above - below) / Q120 - log(mpf(seam + 1) / seam)) <= mpf("3e-25")


def test_exp_is_within_its_stated_relative_error() -> None:
    for s in spread(4000, 50 << 72):
        r, n = fixed.exp_neg(s)
        assert abs(r / Q100 / mpf(2) ** n / exp(-s / Q72) - 1) <= mpf("9e-19"), s


def test_tail_is_within_its_stated_error_of_the_normal_distribution() -> None:
    for z_q72 in spread(4000, LIMIT_Q72):
        z = z_q72 / Q72
        p, q = fixed.scaled_tail(z_q72)
        assert abs(mpf(p) / q * exp(-z * z / 2) - erfc(z / sqrt(mpf(2))) / 2) <= mpf("1e-19"), z


def test_tail_keeps_falling_beyond_its_fit() -> None:
    values = [mpf(p) / q for p, q in (fixed.scaled_tail(z << 70) for z in range(145))]
    assert all(before > after > 0 for before, after in pairwise(values))
    assert abs(values[-1] * 36 * sqrt(2 * mp.pi) - 1) < mpf("0.01")


def test_sqrt_of_time_is_rounded_down_by_less_than_one_unit() -> None:
    for seconds in spread(500, MAX_TENOR):
        root = fixed.sqrt_years_q100_down(seconds)
        assert root**2 <= (seconds << 200) // SECONDS_PER_YEAR < (root + 1) ** 2
    assert fixed.sqrt_years_q100_down(SECONDS_PER_YEAR) == 1 << 100
