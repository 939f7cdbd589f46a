# pragma version 0.4.3
"""
@title shocks
@license MIT
@notice What a scenario makes of spot and volatility (`docs/risk.md` §3, steps 1 to 5): clamped to the protocol's bounds, never
        refused.
@dev Bumps and widening are checked arithmetic, once an expiry; what is done once a leg is unchecked and stays below 2**180
     (`tests/unit/risk/test_bounds.py`), also for marks as old as a 64-bit time can tell.
"""

from . import margin_policy
from . import portfolio
from . import rounding
from . import schedule

uses: margin_policy

WAD: constant(int256) = 10**18
SECONDS_PER_HOUR: constant(int256) = 3600
MAX_PRICE: constant(int256) = schedule.MAX_PRICE
MAX_VOL: constant(int256) = portfolio.MAX_VOL


@internal
@view
def _bumps(seconds: int256) -> (int256, int256):
    """
    @notice (up, down) for the time to expiry: linear between the tenors, flat outside, each rounded up.
    """
    table: int256[12] = margin_policy.BUMPS
    tenor: int256 = 0
    up: int256 = 0
    down: int256 = 0
    for word: int256 in table:
        if word == 0:
            break  # beyond the last tenor
        last_tenor: int256 = tenor
        last_up: int256 = up
        last_down: int256 = down
        tenor = word & margin_policy.MASK_64
        up = (word >> 64) & margin_policy.MASK_64
        down = word >> 128
        if seconds <= tenor:
            if last_tenor == 0:
                break  # before the first
            span: int256 = tenor - last_tenor
            done: int256 = seconds - last_tenor
            up = rounding._div_up(last_up * (span - done) + up * done, span)
            down = rounding._div_up(last_down * (span - done) + down * done, span)
            break
    return up, down


@internal
@view
def _widening(age: int256) -> int256:
    """
    @notice 1 + rate * (age - max age) / 1 h, rounded up; 1 while the marks are fresh.
    """
    stale: int256 = max(0, age - margin_policy.VOL_MAX_AGE)
    return WAD + rounding._div_up(margin_policy.VOL_STALE_PER_HOUR * stale, SECONDS_PER_HOUR)


@internal
@pure
def _shocked_forward(spot: int256, factor: int256, ratio: int256) -> int256:
    """
    @notice spot * factor clamped, then * ratio clamped, to [1, 2**92]; each rounded down.
    """
    moved: int256 = min(max(unsafe_div(unsafe_mul(spot, factor), WAD), 1), MAX_PRICE)
    return min(max(unsafe_div(unsafe_mul(moved, ratio), WAD), 1), MAX_PRICE)


@internal
@view
def _shocked_vols(
    expiries: DynArray[schedule.Expiry, 8], legs: DynArray[portfolio.Leg, 32], age: int256
) -> int256[96]:
    """
    @notice Each leg's volatility without a shock, up (rounded up, at most 8) and down (rounded down), three words to a leg.
    """
    vols: int256[96] = empty(int256[96])
    widening: int256 = self._widening(age)
    for expiry: schedule.Expiry in expiries:
        if expiry.seconds == 0:
            continue
        up: int256 = 0
        down: int256 = 0
        up, down = self._bumps(expiry.seconds)
        up = unsafe_add(WAD, rounding._div_up(unsafe_mul(up, widening), WAD))
        down = unsafe_sub(WAD, min(rounding._div_up(unsafe_mul(down, widening), WAD), WAD))
        for i: uint256 in range(expiry.first, expiry.end, bound=32):
            vol: int256 = legs[i].vol
            vols[3 * i] = vol
            vols[3 * i + 1] = min(rounding._div_up(unsafe_mul(vol, up), WAD), MAX_VOL)
            vols[3 * i + 2] = unsafe_div(unsafe_mul(vol, down), WAD)
    return vols
