"""From marks to the inputs of the formula, at a moment and under a scenario; each rounding is in its name.

Between the marks and the valuation time ratio and discount converge linearly to 1 at expiry, so that a carry nobody
re-marks cannot outlive the option. A volatility older than the policy allows has both its shocks widened. Scenario
values are clamped to the bounds of protocol §2, never refused.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence

from ..errors import OutOfBounds
from ..model.marks import MAX_VOL
from ..model.option import MAX_PRICE
from ..units import WAD, div_up, mul_wad_down, mul_wad_up
from .policy import MarginPolicy, VolBump, VolShock

SECONDS_PER_HOUR = 3600


def converge_down(marked: int, left: int, span: int) -> int:
    """Return 1 + (marked - 1) · left / span as WAD, rounded down; `left` of the `span` seconds to expiry remain.

    0 < left <= span; the dividend, a mean of two positive numbers, stays below 2^92.
    """
    return (marked * left + WAD * (span - left)) // span


def forward_down(spot: int, ratio: int) -> int:
    """Return spot · ratio, WAD, rounded down. Raises OutOfBounds unless it lies in [1, 2^92]."""
    forward = mul_wad_down(spot, ratio)
    if not 1 <= forward <= MAX_PRICE:
        raise OutOfBounds("forward", forward, 1, MAX_PRICE)
    return forward


def shocked_forward(spot: int, factor: int, ratio: int) -> int:
    """Return the scenario's forward: spot · factor clamped, then · ratio clamped, to [1, 2^92]; each rounded down."""
    moved = min(max(mul_wad_down(spot, factor), 1), MAX_PRICE)
    return min(max(mul_wad_down(moved, ratio), 1), MAX_PRICE)


def interpolated_bump_up(bumps: Sequence[VolBump], seconds: int) -> tuple[int, int]:
    """Return (up, down) for `seconds` to expiry: linear between the tenors, flat outside, each rounded up (wider)."""
    first, last = bumps[0], bumps[-1]
    if seconds <= first.tenor:
        return first.up, first.down
    if seconds >= last.tenor:
        return last.up, last.down
    right = bisect_left(bumps, seconds, key=_tenor)
    a, b = bumps[right - 1], bumps[right]
    span, done = b.tenor - a.tenor, seconds - a.tenor
    left = span - done
    return div_up(a.up * left + b.up * done, span), div_up(a.down * left + b.down * done, span)


def _tenor(bump: VolBump) -> int:
    return bump.tenor


def stale_factor_up(policy: MarginPolicy, age: int) -> int:
    """Return the widening 1 + rate · (age - vol_max_age) / 1 h as WAD, rounded up; 1 while the marks are fresh."""
    excess = max(0, age - policy.vol_max_age)
    return WAD + div_up(policy.vol_stale_per_hour * excess, SECONDS_PER_HOUR)


def bumps_up(policy: MarginPolicy, seconds: int, age: int) -> tuple[int, int]:
    """Return how far a volatility of that tenor rises and falls, WAD fractions of itself; the second at most 1.

    The tenor is the time to expiry at valuation, whatever the scenario's horizon.
    """
    up, down = interpolated_bump_up(policy.bumps, seconds)
    widening = stale_factor_up(policy, age)
    return mul_wad_up(up, widening), min(mul_wad_up(down, widening), WAD)


def bumped_vols(vol: int, up: int, down: int) -> tuple[int, int, int]:
    """Return the volatility as is, up (rounded up, at most 8) and down (rounded down): the order of `VolShock`."""
    return vol, min(mul_wad_up(vol, WAD + up), MAX_VOL), mul_wad_down(vol, WAD - down)


def shocked_vols(policy: MarginPolicy, vol: int, seconds: int, age: int) -> dict[VolShock, int]:
    """Return the volatility under each shock, WAD, `seconds` before expiry and at that age of the marks."""
    return dict(zip(VolShock, bumped_vols(vol, *bumps_up(policy, seconds, age)), strict=True))
