"""The margin grid in float64: every row and leg at once, and how far from the exact integers each figure can be.

The numbers are those of `margin` in the same units (prices in wei, values at 1e54), only rounded: nothing here is
signed, stored or settled. Every error bound carries the name of the inequality of docs/risk_screen.md that proves it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..model.marks import MAX_VOL
from ..model.option import MAX_PRICE, OptionKind
from ..units import SECONDS_PER_YEAR, WAD
from . import fixed
from .policy import MarginPolicy, VolShock

Array = NDArray[np.float64]

ROUNDING = 2.0**-46
"""128 unit roundoffs. A leg's value is off by at most this, times its notional, times forward + strike (P), and a sum
of money by at most this, times what was summed (S)."""
WEI = 8.0
"""Wei per unit of a leg that the integers' own truncations, shocked forward included, may add (P)."""
TOKENS = 8.0
"""Token units that rounding may add between equity and requirement: one for the value, five for the requirement (T)."""
LEAST_WIDTH = 1e-20
"""A total volatility below this counts as this, which moves no price by more than 4e-21 of the strike."""

# The rational of `fixed.scaled_tail`; its coefficients carry a gain of 2^10 on Q216 and Q144 in turn (Q72 at the top).
_TAIL_P = tuple(
    getattr(fixed, f"TAIL_P{j}") / 2 ** (fixed.TAIL_GAIN + (144 if j % 2 else 216)) for j in reversed(range(8))
)
_TAIL_Q = (
    fixed.TAIL_Q8 / 2 ** (fixed.TAIL_GAIN + 72),
    *(getattr(fixed, f"TAIL_Q{j}") / 2 ** (fixed.TAIL_GAIN + (144 if j % 2 else 216)) for j in reversed(range(8))),
)
_INV_SQRT_2PI = fixed.INV_SQRT_2PI_Q120 / 2**120


LiveLeg = tuple[int, int, int, int, int, int, int, int, int, int, int]
"""One live leg as the integers have it: spot, ratio, forward, strike, +1 for a call and -1 for a put, quantity,
notional = quantity · discount, volatility, 1 + bump up, 1 - bump down, seconds to expiry. The last two sums are formed
in integers: 1 - bump would cancel in floats. A plain tuple, because there is one for each leg and call."""


def side_of(kind: OptionKind) -> int:
    """Return +1 for a call, -1 for a put."""
    return 1 if kind is OptionKind.CALL else -1


class Table:
    """A policy's grid as arrays, with the unmoved row added at the end; distinct spot factors and times come once."""

    def __init__(self, policy: MarginPolicy) -> None:
        rows = policy.scenarios
        factors = list(dict.fromkeys((WAD, *(row.spot_factor for row in rows))))
        times = list(dict.fromkeys(((VolShock.NONE, 0), *((row.vol_shock, row.horizon) for row in rows))))
        self.policy = policy
        self.factor_of_row = np.array([factors.index(row.spot_factor) for row in rows] + [0])
        self.time_of_row = np.array([times.index((row.vol_shock, row.horizon)) for row in rows] + [0])
        self.factors: Array = np.array(factors, dtype=np.float64)[:, None] / WAD
        self.shock_of_time = np.array([int(shock) for shock, _ in times])
        self.horizons: Array = np.array([[horizon] for _, horizon in times], dtype=np.float64)
        self.damping: Array = np.array([[row.damping] for row in rows], dtype=np.float64) / WAD


@dataclass(frozen=True, slots=True)
class Losses:
    """Per row of the grid and underlying party 0's damped loss, per underlying its value, all at 1e54.

    Per underlying also how far a value, and a loss, can be from the integers'.
    """

    losses: Array
    value: Array
    value_error: Array
    loss_error: Array


@dataclass(frozen=True, slots=True)
class Costs:
    """Both parties' cost of replacement at 1e54, and how wrong it can be."""

    shared: float
    short: tuple[float, float]
    error: float


def scaled_tail(z: Array) -> Array:
    """Return exp(z²/2) · N(-z) for z ≥ 0; relative error against `fixed.scaled_tail`'s rational below 33 roundoffs.

    All coefficients are positive: nothing cancels (R). Beyond 10 it falls like 1/z, which is all that is relied on.
    """
    p: Array = _TAIL_P[0] * z
    p += _TAIL_P[1]
    for coefficient in _TAIL_P[2:]:
        p *= z
        p += coefficient
    q: Array = _TAIL_Q[0] * z
    q += _TAIL_Q[1]
    for coefficient in _TAIL_Q[2:]:
        q *= z
        q += coefficient
    p /= q
    return p


class Grid:
    """The grid of live legs, in the order of the book; `underlyings` and `expiries` number each leg's group from 0.

    The arithmetic happens at birth: one pass of array operations over rows × legs.
    """

    def __init__(
        self, table: Table, legs: Sequence[LiveLeg], underlyings: Sequence[int], expiries: Sequence[int]
    ) -> None:
        self.policy = table.policy
        self.by_underlying, self.expiries = _membership(underlyings), expiries
        columns: Array = np.array(legs, dtype=np.float64).T
        spot, ratio, forward, strike, side, self.quantity, self.notional, vol, up, down, seconds = columns
        self.forward, self.strike, self.side = forward, strike, side
        with np.errstate(under="ignore"):
            forwards = _clamped(_clamped(table.factors * spot) * (ratio / WAD))
            forwards[0] = forward
            vols: Array = np.array((vol, vol * (up / WAD), vol * (down / WAD)))
            np.minimum(vols, MAX_VOL, out=vols)
            roots = np.sqrt(np.maximum(seconds - table.horizons, 0.0) / SECONDS_PER_YEAR)
            widths = np.maximum(vols[table.shock_of_time] * roots / WAD, LEAST_WIDTH)
            self.root, self.width = roots[0], widths[0]
            lower = np.minimum(forwards, strike)
            moneyness = np.log(np.maximum(forwards, strike) / lower)[table.factor_of_row]
            width = widths[table.time_of_row]
            moneyness /= width
            width *= 0.5
            h = width - moneyness
            z = np.empty((2, *h.shape))
            np.abs(h, out=z[0])
            np.add(width, moneyness, out=z[1])
            decay = np.exp(h * h * -0.5)
            tails = scaled_tail(z)
            tails *= decay
            near, far = tails
            np.subtract(1.0, near, out=near, where=h > 0)
            price = np.maximum(near - far, 0.0)
            price *= (lower * self.notional)[table.factor_of_row]
            exercise = (np.maximum(side * (forwards - strike), 0.0) * self.notional) @ self.by_underlying
            values = price @ self.by_underlying + exercise[table.factor_of_row]
        size = np.abs(self.notional)
        reach = ROUNDING * (np.max(forwards, axis=0) + strike) + WEI
        self._base = lower[0], near[-1], far[-1], decay[-1]
        error = (size * reach) @ self.by_underlying
        # (L) a loss is a difference of two values that the integers round up to 1e36.
        losses = (values[-1] - values[:-1]) * table.damping
        self.result = Losses(losses, values[-1], error, 2.0 * error + WAD)

    def costs(self) -> Costs:
        """Return the replacement cost of the unmoved portfolio, with the error bound (C)."""
        policy = self.policy
        delta_charge, gamma_charge = policy.delta_charge / WAD, policy.gamma_charge / WAD
        vega_charge, short_charge = policy.vega_charge / WAD, policy.short_charge / WAD
        move = policy.gamma_move / WAD
        lower, near, far, decay = self._base
        forward, side, width = self.forward, self.side, self.width
        below = forward < self.strike
        delta = lower * np.where(below, near, -far)
        delta += np.where(below == (side < 0), side * forward, 0.0)
        density = lower * decay * _INV_SQRT_2PI
        gamma = density * (move * move) / (2 * np.maximum(width, move))
        vega = density * self.root
        by_expiry = _membership(self.expiries)
        net = np.abs((delta * self.notional) @ self.by_underlying).sum() * delta_charge
        net += np.abs((gamma * self.notional) @ by_expiry).sum() * gamma_charge
        net += np.abs((vega * self.notional) @ by_expiry).sum() * vega_charge
        sold = self.quantity * forward * (short_charge * WAD)
        blurred = np.minimum(ROUNDING * (1.0 + 1.0 / width), 1.0) * (forward + self.strike) + WEI
        weight = delta_charge + gamma_charge + vega_charge * self.root
        error = (np.abs(self.notional) * blurred * weight).sum() + ROUNDING * np.abs(sold).sum()
        short = float(-np.minimum(sold, 0.0).sum()), float(np.maximum(sold, 0.0).sum())
        return Costs(float(net), short, float(error))


def numbered(keys: Iterable[object]) -> list[int]:
    """Return for each key the number of distinct keys before its first occurrence."""
    seen: dict[object, int] = {}
    return [seen.setdefault(key, len(seen)) for key in keys]


def _membership(groups: Sequence[int]) -> Array:
    member = np.zeros((len(groups), max(groups) + 1))
    member[np.arange(len(groups)), groups] = 1.0
    return member


def _clamped(price: Array) -> Array:
    return np.minimum(np.maximum(price, 1.0), MAX_PRICE)
