"""The margin of `channels.risk` in float64, over many paths at once: an analysis tool, never a verdict that binds.

The same formulas and the same rational for the normal tail as the exact engine, without its roundings;
`test_twin.py` states and checks the band between the two. Arrays have a row for each path and a column for each leg.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np

from channels.risk import MarginPolicy, fixed
from channels.risk.policy import VolShock
from channels.units import WAD

from .books import Legs
from .chain import SECONDS_PER_YEAR, Floats

_LOW, _HIGH = 2.0**72, 2.0**-72
_P = [fixed.TAIL_P7, fixed.TAIL_P6 / _LOW, fixed.TAIL_P5, fixed.TAIL_P4 / _LOW]
_P += [fixed.TAIL_P3, fixed.TAIL_P2 / _LOW, fixed.TAIL_P1, fixed.TAIL_P0 / _LOW]
_Q = [fixed.TAIL_Q8 / _HIGH, fixed.TAIL_Q7, fixed.TAIL_Q6 / _LOW, fixed.TAIL_Q5, fixed.TAIL_Q4 / _LOW]
_Q += [fixed.TAIL_Q3, fixed.TAIL_Q2 / _LOW, fixed.TAIL_Q1, fixed.TAIL_Q0 / _LOW]
_SCALE = 1.0 / float(fixed.TAIL_Q0 / _LOW)
_NUMERATOR, _DENOMINATOR = [p * _SCALE for p in _P], [q * _SCALE for q in _Q]
_INV_SQRT_2PI = float(1 / np.sqrt(2 * np.pi))


@dataclass(frozen=True, slots=True)
class Margins:
    """Per path, money of the quote currency, party 0's view."""

    value: Floats
    scan: Floats
    cost: Floats

    def initial(self, policy: MarginPolicy) -> Floats:
        """Return IM."""
        return self.scan * (policy.scan_initial / WAD) + self.cost

    def maintenance(self, policy: MarginPolicy) -> Floats:
        """Return MM."""
        return self.scan * (policy.scan_maintenance / WAD) + self.cost


def _tails(log_ratio: Floats, width: Floats) -> tuple[Floats, Floats, Floats]:
    """Return near, far and decay of the out-of-the-money side, over A, for log_ratio = ln(B/A) >= 0: `risk.black`."""
    width = np.maximum(width, 1e-12)
    moneyness = log_ratio / width
    half = 0.5 * width
    h = half - moneyness
    decay = np.exp(-0.5 * h * h)
    near = decay * _mills(np.abs(h))
    near = np.where(h > 0, 1.0 - near, near)
    return near, decay * _mills(half + moneyness), decay


def _mills(z: Floats) -> Floats:
    z = np.minimum(z, 36.0)
    p, q = _NUMERATOR[0] * z + _NUMERATOR[1], _DENOMINATOR[0] * z + _DENOMINATOR[1]
    for coefficient in _NUMERATOR[2:]:
        p *= z
        p += coefficient
    for coefficient in _DENOMINATOR[2:]:
        q *= z
        q += coefficient
    return p / q


def prices(legs: Legs, forward: Floats, log_forward: Floats, width: Floats) -> Floats:
    """Return undiscounted unit prices."""
    gap = np.log(legs.strike) - log_forward  # above 0: the call is out of the money
    lower = np.minimum(forward, legs.strike)
    near, far, _ = _tails(np.abs(gap), width)
    value = lower * np.maximum(near - far, 0.0)
    in_money = legs.is_call != (gap > 0)
    return np.where(in_money, value + np.abs(forward - legs.strike), value)


def evaluate(
    legs: Legs,
    policy: MarginPolicy,
    spot: Floats,
    vols: Floats,
    t: Floats,
    age: Floats,
    fixing: Floats,
    *,
    rows: tuple[int, ...] | None = None,
) -> Margins:
    """Return party 0's margin at times `t` (seconds since the chain's instant), marks `age` seconds old.

    `fixing` is the settlement price of each leg that has expired by `t`; elsewhere it is not read. `rows` limits the
    scan to these rows of the grid, which can only lower it.
    """
    quantity = legs.quantity
    left = legs.expiry - t[:, None]
    live = left > 0
    held = np.where(live, quantity, 0.0)
    years = np.maximum(left, 1.0) / SECONDS_PER_YEAR
    ratio = legs.ratio(t)
    forward = spot[:, None] * ratio
    log_forward = np.log(forward)
    root = np.sqrt(years)
    width = vols * root
    base = np.sum(held * prices(legs, forward, log_forward, width), axis=1)
    settled = np.where(legs.is_call, 1.0, -1.0) * (fixing - legs.strike)
    expired = np.sum(np.where(live, 0.0, quantity * np.maximum(settled, 0.0)), axis=1)
    cost = _cost(legs, policy, held, forward, log_forward, width, root)
    scan = _scan(legs, policy, held, base, forward, log_forward, vols, left, age, rows)
    return Margins(base + expired, scan, cost)


def _scan(
    legs: Legs,
    policy: MarginPolicy,
    held: Floats,
    base: Floats,
    forward: Floats,
    log_forward: Floats,
    vols: Floats,
    left: Floats,
    age: Floats,
    rows: tuple[int, ...] | None,
) -> Floats:
    tenors, up, down = _bump_table(policy)
    excess = np.maximum(age - policy.vol_max_age, 0.0) / 3600
    widening = (1.0 + policy.vol_stale_per_hour / WAD * excess)[:, None]
    shocked = {
        VolShock.NONE: vols,
        VolShock.UP: np.minimum(vols * (1.0 + np.interp(left, tenors, up) * widening), 8.0),
        VolShock.DOWN: vols * (1.0 - np.minimum(np.interp(left, tenors, down) * widening, 1.0)),
    }
    worst = np.zeros(len(base))
    widths: dict[tuple[VolShock, int], Floats] = {}
    for index in range(len(policy.scenarios)) if rows is None else rows:
        row = policy.scenarios[index]
        key = row.vol_shock, row.horizon
        if key not in widths:
            widths[key] = shocked[row.vol_shock] * np.sqrt(np.maximum(left - row.horizon, 0.0) / SECONDS_PER_YEAR)
        factor = row.spot_factor / WAD
        moved = np.sum(held * prices(legs, forward * factor, log_forward + np.log(factor), widths[key]), axis=1)
        np.maximum(worst, (base - moved) * (row.damping / WAD), out=worst)
    return worst


def _cost(
    legs: Legs, policy: MarginPolicy, held: Floats, forward: Floats, log_forward: Floats, width: Floats, root: Floats
) -> Floats:
    gap = np.log(legs.strike) - log_forward
    below = gap > 0
    lower = np.minimum(forward, legs.strike)
    near, far, decay = _tails(np.abs(gap), width)
    delta_cash = lower * np.where(below, near, -far)
    delta_cash = np.where(legs.is_call == below, delta_cash, delta_cash + np.where(legs.is_call, forward, -forward))
    density = lower * decay * _INV_SQRT_2PI
    move = policy.gamma_move / WAD
    gamma = 0.5 * density * move * move / np.maximum(width, move)
    short = np.sum(np.maximum(-held, 0.0) * forward, axis=1)
    return (
        policy.delta_charge / WAD * np.abs(np.sum(held * delta_cash, axis=1))
        + policy.gamma_charge / WAD * np.sum(np.abs((held * gamma) @ legs.group), axis=1)
        + policy.vega_charge / WAD * np.sum(np.abs((held * density * root) @ legs.group), axis=1)
        + policy.short_charge / WAD * short
    )


@cache
def _bump_table(policy: MarginPolicy) -> tuple[Floats, Floats, Floats]:
    bumps = policy.bumps
    return (
        np.array([float(bump.tenor) for bump in bumps]),
        np.array([bump.up / WAD for bump in bumps]),
        np.array([bump.down / WAD for bump in bumps]),
    )
