"""The margin grid in float64: every row and leg of many books at once, and how far from exact each figure can be.

The numbers are those of `margin` in the same units (prices in wei, values at 1e54), only rounded: nothing here is
signed, stored or settled. Every error bound carries the name of the inequality of docs/risk_screen.md that proves it.
Books lie side by side, leg after leg; a sum over legs is one over a segment of one book, so no number of one book, not
even an infinite one, reaches another's.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..model.marks import MAX_VOL
from ..model.option import MAX_PRICE, Leg, OptionKind
from ..units import SECONDS_PER_YEAR, WAD
from . import fixed
from .policy import MarginPolicy, VolShock, money_to_tokens_up
from .scenarios import bumps_up

Array = NDArray[np.float64]
Indices = NDArray[np.intp]

ROUNDING = 2.0**-46
"""128 unit roundoffs. A leg's value is off by at most this, times its notional, times forward + strike (P), and a sum
of money by at most this, times what was summed (S)."""
WEI = 8.0
"""Wei per unit of a leg that the integers' own truncations, shocked forward included, may add (P)."""
TOKENS = 8.0
"""Token units that rounding may add between equity and requirement: one for the value, five for the requirement (T)."""
LEAST_WIDTH = 1e-20
"""A total volatility below this counts as this, which moves no price by more than 4e-21 of the strike."""
MULTIPLIERS_KEPT = 1024
"""Tenors whose bumps a table remembers: marks that follow each other mostly share the second."""


def _coefficients(name: str) -> tuple[float, ...]:
    """The low eight coefficients, highest first: they carry a gain of 2^10 on Q216 and Q144 in turn."""
    gains = (fixed.TAIL_GAIN + (144 if j % 2 else 216) for j in range(7, -1, -1))
    return tuple(getattr(fixed, f"{name}{j}") / 2**gain for j, gain in zip(range(7, -1, -1), gains, strict=True))


# The rational of `fixed.scaled_tail`; P begins with a zero, so that both have one degree.
_TAILS: Array = np.array(
    [(0.0, *_coefficients("TAIL_P")), (fixed.TAIL_Q8 / 2 ** (fixed.TAIL_GAIN + 72), *_coefficients("TAIL_Q"))]
).T
INV_SQRT_2PI = fixed.INV_SQRT_2PI_Q120 / 2**120


Expiry = tuple[int, int, int, int, int, int, int]
"""One expiry as the integers have it: spot, seconds left, ratio, discount, forward, 1 + bump up, 1 - bump down. The
last two sums are formed in integers: 1 - bump would cancel in floats."""


def side_of(kind: OptionKind) -> int:
    """Return +1 for a call, -1 for a put."""
    return 1 if kind is OptionKind.CALL else -1


class Table:
    """A policy's grid as arrays; distinct spot factors and times come once.

    `base` is the unmoved row, added at the end where the policy has none; `farthest` is the greatest spot factor.
    """

    def __init__(self, policy: MarginPolicy) -> None:
        rows = policy.scenarios
        factors = list(dict.fromkeys((WAD, *(row.spot_factor for row in rows))))
        times = list(dict.fromkeys(((VolShock.NONE, 0), *((row.vol_shock, row.horizon) for row in rows))))
        pairs = [(factors.index(row.spot_factor), times.index((row.vol_shock, row.horizon))) for row in rows]
        self.base = pairs.index((0, 0)) if (0, 0) in pairs else len(pairs)
        self.factor_of_row, self.time_of_row = np.array([*pairs, (0, 0)][: max(len(pairs), self.base + 1)]).T.copy()
        self.policy = policy
        self.farthest = factors.index(max(factors))
        self.factors: Array = np.array(factors, dtype=np.float64)[:, None] / WAD
        self.shock_of_time = np.array([int(shock) for shock, _ in times])
        self.horizons: Array = np.array([[horizon] for _, horizon in times], dtype=np.float64)
        self.damping: Array = np.array([[row.damping] for row in rows], dtype=np.float64) / WAD
        self.scanned: Array = np.array([[[policy.scan_initial]], [[policy.scan_maintenance]]], dtype=np.float64) / WAD
        self.charges: Array = np.array([[policy.gamma_charge], [policy.vega_charge]], dtype=np.float64) / WAD
        self._multipliers: dict[tuple[int, int], tuple[int, int]] = {}
        self._least: dict[int, Array] = {}

    def least(self, decimals: int) -> Array:
        """Return the least requirement, token units: the independent amounts for initial, half for maintenance margin.

        By kind, party and one column for all books.
        """
        found = self._least.get(decimals)
        if found is None:
            amounts = [money_to_tokens_up(amount, decimals) for amount in self.policy.independent_amounts]
            independent: Array = np.array(amounts, dtype=np.float64)[:, None]
            found = self._least[decimals] = np.array((independent, independent / 2))
        return found

    def multipliers(self, seconds: int, age: int) -> tuple[int, int]:
        """Return what a volatility of that tenor is multiplied by where it rises and where it falls, WAD."""
        found = self._multipliers.get((seconds, age))
        if found is None:
            if len(self._multipliers) >= MULTIPLIERS_KEPT:
                self._multipliers.clear()
            up, down = bumps_up(self.policy, seconds, age)
            found = self._multipliers[seconds, age] = WAD + up, WAD - down
        return found


class Strip:
    """What the grid needs of live legs alone, in the order of a book; it outlives every mark.

    `expiry` numbers each leg's (underlying, expiry) from 0; `expiries` and `underlyings` say at which leg each begins,
    `dates` when each expiry is, and `underlying_of_expiry` numbers its underlying.
    """

    __slots__ = (
        "columns",
        "count",
        "dates",
        "expiries",
        "expiry",
        "legs",
        "ln_strike",
        "underlying_of_expiry",
        "underlyings",
    )

    def __init__(self, legs: Sequence[Leg]) -> None:
        self.legs, self.count = legs, len(legs)
        rows = [(leg.strike, side_of(leg.kind), leg.quantity) for leg in legs]
        self.columns: Array = np.array(rows, dtype=np.float64).T.copy()
        self.ln_strike: Array = np.log(self.columns[0])[:, None]
        expiry = numbered((leg.underlying, leg.expiry) for leg in legs)
        self.expiry = np.array(expiry)
        self.expiries = _starts(expiry)
        self.dates = [legs[at].expiry for at in self.expiries]
        self.underlying_of_expiry = np.array(numbered(legs[at].underlying for at in self.expiries))
        self.underlyings = _starts(numbered(leg.underlying for leg in legs))


class Held(NamedTuple):
    """One book's live legs, their expiries in order, and each leg's volatility."""

    strip: Strip
    expiries: Sequence[Expiry]
    vols: Sequence[int]


@dataclass(frozen=True, slots=True)
class Losses:
    """Per row of the grid and underlying party 0's damped loss, per underlying its value, all at 1e54.

    Per underlying also how far a value, and a loss, can be from the integers'. The underlyings of one book follow each
    other: `Grid.per_book` adds them up.
    """

    losses: Array
    value: Array
    value_error: Array
    loss_error: Array


@dataclass(frozen=True, slots=True)
class Costs:
    """Per book both parties' cost of replacement at 1e54, `short` per party first, and how wrong it can be."""

    shared: Array
    short: Array
    error: Array


def scaled_tail(z: Array) -> Array:
    """Return exp(z²/2) · N(-z) for z ≥ 0; relative error against `fixed.scaled_tail`'s rational below 33 roundoffs.

    All coefficients are positive: nothing cancels (R). Beyond 10 it falls like 1/z, which is all that is relied on.
    Both polynomials go through one Horner scheme, P with a zero before it, which rounds nothing.
    """
    steps = _TAILS.reshape(-1, 2, *(1,) * z.ndim)
    both: Array = steps[0] * z
    for step in steps[1:-1]:
        both += step
        both *= z
    both += steps[-1]
    tail: Array = np.divide(both[0], both[1], out=both[0])
    return tail


class Grid:
    """The grid of many books' live legs, one book after the other.

    The arithmetic happens at birth: one pass of array operations over rows × legs.
    """

    def __init__(self, table: Table, books: Sequence[Held]) -> None:
        self.table = table
        strips = [held.strip for held in books]
        # Where each book begins: in legs, in expiries, in underlyings.
        legs_at, self.expiries_at, self.underlyings_at = (
            _cumulated(sizes)
            for sizes in (
                [strip.count for strip in strips],
                [len(strip.expiries) for strip in strips],
                [len(strip.underlyings) for strip in strips],
            )
        )
        self.legs_at = legs_at
        columns = np.concatenate([strip.columns for strip in strips], axis=1)
        self.by_expiry = np.concatenate([s.expiries + at for s, at in zip(strips, legs_at, strict=True)])
        self.by_underlying = np.concatenate([s.underlyings + at for s, at in zip(strips, legs_at, strict=True)])
        expiry = np.concatenate([s.expiry + at for s, at in zip(strips, self.expiries_at, strict=True)])
        strike, side, self.quantity = columns
        moments: Array = np.array([row for held in books for row in held.expiries], dtype=np.float64).T
        spot, seconds, ratio, discount, forward, up, down = moments
        vol: Array = np.array([vol for held in books for vol in held.vols], dtype=np.float64)
        self.strike, self.side = strike, side
        with np.errstate(under="ignore"):
            forwards = clamped(clamped(table.factors * spot) * (ratio / WAD))
            forwards[0] = forward
            reach = np.maximum.reduce(forwards, axis=0)
            roots = np.sqrt(np.maximum(seconds - table.horizons, 0.0) / SECONDS_PER_YEAR)
            forwards, roots = forwards.take(expiry, axis=1), roots.take(expiry, axis=1)
            vols: Array = np.array((vol, vol * (up / WAD).take(expiry), vol * (down / WAD).take(expiry)))
            np.minimum(vols, MAX_VOL, out=vols)
            widths = np.maximum(vols.take(table.shock_of_time, axis=0) * roots / WAD, LEAST_WIDTH)
            self.forward, self.root, self.width = forwards[0], roots[0], widths[0]
            self.notional = self.quantity * discount.take(expiry)
            lower = np.minimum(forwards, strike)
            moneyness = np.log(np.maximum(forwards, strike) / lower).take(table.factor_of_row, axis=0)
            width = widths.take(table.time_of_row, axis=0)
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
            at = table.base
            self._base = lower[0], near[at], far[at], decay[at]
            price = np.maximum(near - far, 0.0)
            price *= (lower * self.notional).take(table.factor_of_row, axis=0)
            exercise = np.maximum(side * (forwards - strike), 0.0) * self.notional
            values = np.add.reduceat(price, self.by_underlying, axis=1)
            values += np.add.reduceat(exercise, self.by_underlying, axis=1).take(table.factor_of_row, axis=0)
        self._size = np.abs(self.notional)
        error = np.add.reduceat(self._size * (ROUNDING * (reach.take(expiry) + strike) + WEI), self.by_underlying)
        # (L) a loss is a difference of two values that the integers round up to 1e36.
        losses = (values[at] - values[: len(table.damping)]) * table.damping
        self.result = Losses(losses, values[at], error, 2.0 * error + WAD)

    def per_book(self, by_underlying: Array) -> Array:
        """Return the sum over each book's underlyings, which are the last axis."""
        total: Array = np.add.reduceat(by_underlying, self.underlyings_at, axis=-1)
        return total

    def costs(self) -> Costs:
        """Return the replacement cost of the unmoved portfolios, with the error bound (C)."""
        policy = self.table.policy
        delta_charge, gamma_charge = policy.delta_charge / WAD, policy.gamma_charge / WAD
        vega_charge, short_charge = policy.vega_charge / WAD, policy.short_charge / WAD
        move = policy.gamma_move / WAD
        lower, near, far, decay = self._base
        forward, side, width = self.forward, self.side, self.width
        below = forward < self.strike
        delta = lower * np.where(below, near, -far)
        delta += np.where(below == (side < 0), side * forward, 0.0)
        density = lower * decay * INV_SQRT_2PI
        gamma = density * (move * move) / (2 * np.maximum(width, move))
        vega = density * self.root
        net = self.per_book(np.abs(np.add.reduceat(delta * self.notional, self.by_underlying)) * delta_charge)
        bent = np.array((gamma * self.notional, vega * self.notional))
        charged = np.abs(np.add.reduceat(bent, self.by_expiry, axis=1)) * self.table.charges
        net += np.add.reduceat(charged[0] + charged[1], self.expiries_at)
        sold = self.quantity * forward * (short_charge * WAD)
        blurred = np.minimum(ROUNDING * (1.0 + 1.0 / width), 1.0) * (forward + self.strike) + WEI
        weight = delta_charge + gamma_charge + vega_charge * self.root
        error = self._size * blurred * weight + ROUNDING * np.abs(sold)
        lines = np.array((np.maximum(-sold, 0.0), np.maximum(sold, 0.0), error))
        summed = np.add.reduceat(lines, self.legs_at, axis=1)
        return Costs(net, summed[:2], summed[2])


def numbered(keys: Iterable[object]) -> list[int]:
    """Return for each key the number of distinct keys before its first occurrence."""
    seen: dict[object, int] = {}
    return [seen.setdefault(key, len(seen)) for key in keys]


def _starts(groups: Sequence[int]) -> Indices:
    """Return where each group begins; equal numbers follow each other."""
    return np.array([at for at, group in enumerate(groups) if not at or group != groups[at - 1]])


def _cumulated(sizes: Sequence[int]) -> Indices:
    """Return where each of these begins if one follows the other."""
    return np.array([0, *accumulate(sizes[:-1])])


def clamped(price: Array) -> Array:
    return np.minimum(np.maximum(price, 1.0), MAX_PRICE)
