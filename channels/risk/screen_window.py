"""The margin grid of one set of legs under many marks, coarsely: what a window of updates asks, in one pass.

A verdict is seldom a matter of the tenth digit. The figures are those of `screen_grid.Grid`, with a tail of the normal
distribution that takes a third of the work and is good to 6e-8; the band is as much wider, and what lies inside it goes
to `Grid`. The axes are row of the grid, leg, state: what depends on legs alone is broadcast along the states, a sum
over legs adds whole rows of states, and no number of one state, not even an infinite one, reaches another's.
docs/risk_screen.md §5 derives the band.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..model.marks import MAX_VOL, Marks
from ..units import SECONDS_PER_YEAR, WAD
from .screen_grid import INV_SQRT_2PI, LEAST_WIDTH, ROUNDING, WEI, Array, Costs, Losses, Strip, Table, clamped

COARSE = 2.0**-23
"""A leg's value is off by at most this, times its notional, times forward + strike, and `WEI` (P')."""
COARSE_WIDTH = 2.0**-40
"""Of a total volatility: what the charges are off by in addition, times notional, times forward + strike (C')."""
SAFE_FORWARD = (2.0**44, 2.0**91)
"""Wei; between these no rounding hides a forward out of bounds, and a wei is below 2^-44 of it."""
BLOCK = 6144
"""Numbers in each array of a block of rows: few enough for a core's cache, and for malloc to keep their memory."""
# A rational that misses exp(z²/2) · N(-z) by at most 6e-8 · exp(z²/2): tools/fit_constants.py. All are positive.
COARSE_P = (0.0406290993145, 0.215600640244, 0.50000005962)
COARSE_Q = (0.100092907026, 0.561838416278, 1.22909438404, 1.0)
_P2, _P1, _P0 = (p / COARSE_Q[0] for p in COARSE_P)
_Q2, _Q1, _Q0 = (q / COARSE_Q[0] for q in COARSE_Q[1:])


def coarse_tail(z: Array, out: Array | None = None, below: Array | None = None) -> Array:
    """Return exp(z²/2) · N(-z) for z ≥ 0, off by at most 6.2e-8 · exp(z²/2); beyond 6 it only falls like 1/z.

    The result is written to `out`, the denominator to `below`.
    """
    tail = np.multiply(z, _P2, out=out)
    tail += _P1
    tail *= z
    tail += _P0
    below = np.add(z, _Q2, out=below)
    below *= z
    below += _Q1
    below *= z
    below += _Q0
    tail /= below
    return tail


class Quotes:
    """Marks as arrays, for one set of legs: the axes are underlying, expiry or leg, and then the state."""

    __slots__ = ("discount", "forward", "marks", "ratio", "spot", "vol")

    def __init__(self, strip: Strip, marks: Sequence[Marks]) -> None:
        self.marks = marks
        spot = _columns([float(mark.spot) for m in marks for mark in m.spots], len(marks))
        self.spot = spot.take(strip.underlying_of_expiry, axis=0)
        self.ratio = _columns([mark.ratio for m in marks for mark in m.expiries], len(marks)) / WAD
        self.discount = _columns([mark.discount for m in marks for mark in m.expiries], len(marks))
        self.forward = self.spot * self.ratio
        self.vol = _columns([mark.vol for m in marks for mark in m.vols], len(marks))


def _columns(numbers: list[int] | list[float], states: int) -> Array:
    """Return one state's numbers after the other's as one column for each state."""
    rows: Array = np.fromiter(numbers, np.float64, len(numbers))
    return rows.reshape(states, -1).T.copy()


def quotes_of(strip: Strip, marks: Sequence[Marks]) -> Quotes | None:
    """Return the marks as arrays; None where the integers have to look: a dead leg, or a forward near its bounds."""
    if min(strip.dates) <= max([m.time for m in marks]):
        return None
    quotes = Quotes(strip, marks)
    least, most = SAFE_FORWARD
    safe = quotes.forward.min() >= least and quotes.forward.max() <= most
    return quotes if safe else None


class Window:
    """The grid of the same live legs under each of many marks; the arithmetic happens at birth.

    Every leg is live under all of them, and every forward within `SAFE_FORWARD`.
    """

    def __init__(self, table: Table, strip: Strip, quotes: Quotes) -> None:
        self.table, self.strip = table, strip
        strike, side, quantity = strip.columns[:, :, None]
        of_leg, of_row = strip.expiry, table.factor_of_row
        seconds, up, down = self._tenors(quotes.marks)
        with np.errstate(under="ignore"):
            forwards = clamped(table.factors[:, :, None] * quotes.spot)
            forwards *= quotes.ratio
            forwards = clamped(forwards)
            reach = forwards[table.farthest].take(of_leg, axis=0)
            moneyness = np.log(forwards).take(of_leg, axis=1)
            moneyness -= strip.ln_strike
            np.abs(moneyness, out=moneyness)
            forwards = forwards.take(of_leg, axis=1)
            lower = np.minimum(forwards, strike)
            roots = np.sqrt(np.maximum(seconds - table.horizons[:, :, None], 0.0) / SECONDS_PER_YEAR)
            roots = roots.take(of_leg, axis=1)
            vols = np.empty((3, *quotes.vol.shape))
            vols[0] = quotes.vol
            np.multiply(quotes.vol, up.take(of_leg, axis=0), out=vols[1])
            np.multiply(quotes.vol, down.take(of_leg, axis=0), out=vols[2])
            np.minimum(vols, MAX_VOL, out=vols)
            vols *= 1 / WAD
            widths = vols.take(table.shock_of_time, axis=0)
            widths *= roots
            np.maximum(widths, LEAST_WIDTH, out=widths)
            inverse = 1.0 / widths
            self.forward, self.root = forwards[0].copy(), roots[0]
            self.width, self.inverse = widths[0].copy(), inverse[0]
            self.notional = quantity * quotes.discount.take(of_leg, axis=0)
            widths *= 0.5
            weights = lower * self.notional
            exercise = forwards
            exercise -= strike
            exercise *= side
            np.maximum(exercise, 0.0, out=exercise)
            exercise *= self.notional
            # Of N(h) the rows count what it is above one half.
            exercise += 0.5 * weights
            values = self._by_underlying(exercise).take(of_row, axis=0)
            self._lower = lower[0]
            step = max(1, BLOCK // weights[0].size)
            for begin in range(0, len(of_row), step):
                rows = slice(begin, begin + step)
                self._add_rows(rows, moneyness, inverse, widths, weights, values)
        self._size = np.abs(self.notional)
        self._reach = self._size * (reach + strike)
        error = self._by_underlying((self._reach * COARSE + self._size * WEI)[None])[0]
        value = values[table.base]
        losses = value - values[: len(table.damping)]
        losses *= table.damping[:, :, None]
        self.result = Losses(losses, value, error, 2.0 * error + WAD)

    def per_book(self, by_underlying: Array) -> Array:
        """Return the sum over each state's underlyings, which are the last axis but one."""
        total: Array = by_underlying[..., 0, :]
        return total if len(self.strip.underlyings) == 1 else np.add.reduce(by_underlying, axis=-2)

    def costs(self) -> Costs:
        """Return the replacement cost of the unmoved portfolios, with the error bound (C)."""
        policy, strip = self.table.policy, self.strip
        delta_charge, gamma_charge = policy.delta_charge / WAD, policy.gamma_charge / WAD
        vega_charge, short_charge = policy.vega_charge / WAD, policy.short_charge / WAD
        move = policy.gamma_move / WAD
        strike, side, quantity = strip.columns[:, :, None]
        near, far, decay = self._base
        lower, forward, width, notional = self._lower, self.forward, self.width, self.notional
        # Of a call; a put has one forward less.
        delta = np.where(forward < strike, lower * near, forward - lower * far)
        delta -= forward * (side < 0)
        delta *= notional
        net = np.abs(self._by_underlying(delta[None])[0])
        net *= delta_charge
        bent = np.empty((2, *delta.shape))
        density = np.multiply(lower, decay, out=delta)
        density *= notional
        density *= INV_SQRT_2PI
        np.divide(density, np.maximum(width, move), out=bent[0])
        bent[0] *= move * move / 2
        np.multiply(density, self.root, out=bent[1])
        charged = np.abs(np.add.reduceat(bent, strip.expiries, axis=1))
        charged *= self.table.charges[:, :, None]
        shared = np.add.reduce(net, axis=0) + np.add.reduce(charged, axis=(0, 1))
        sold = forward * (quantity * (short_charge * WAD))
        blurred = np.minimum(COARSE_WIDTH * self.inverse + COARSE, 1.0)
        blurred *= forward + strike
        blurred += WEI
        blurred *= self._size
        blurred *= delta_charge + gamma_charge + vega_charge * self.root
        lines = np.empty((3, *delta.shape))
        np.maximum(sold, 0.0, out=lines[1])
        np.subtract(lines[1], sold, out=lines[0])
        np.add(lines[0], lines[1], out=lines[2])
        lines[2] *= ROUNDING
        lines[2] += blurred
        summed = np.add.reduce(lines, axis=1)
        return Costs(shared, summed[:2], summed[2])

    def _add_rows(
        self, rows: slice, moneyness: Array, inverse: Array, half: Array, weights: Array, values: Array
    ) -> None:
        """Add lower · (N(h) - 1/2 - N(-k) · exp(m · w)), h and k = w/2 ∓ m, times notional, to the rows' values."""
        table = self.table
        times, points = table.time_of_row[rows], table.factor_of_row[rows]
        z, tails, below = (np.empty((2, len(points), *weights.shape[1:])) for _ in range(3))
        near, far = tails
        m, taken = below
        moneyness.take(points, axis=0, out=m, mode="clip")
        inverse.take(times, axis=0, out=taken, mode="clip")
        m *= taken
        half.take(times, axis=0, out=taken, mode="clip")
        np.add(taken, m, out=z[1])
        h = taken - m
        np.abs(h, out=z[0])
        coarse_tail(z, tails, below)
        decay = np.multiply(h, h, out=below[0])
        decay *= -0.5
        np.exp(decay, out=decay)
        tails *= decay
        np.subtract(0.5, near, out=near)
        np.copysign(near, h, out=near)
        if rows.start <= table.base < rows.stop:
            at = table.base - rows.start
            self._base = near[at] + 0.5, far[at].copy(), decay[at].copy()
        near -= far
        near *= weights.take(points, axis=0, out=far, mode="clip")
        values[rows] += self._by_underlying(near)

    def _by_underlying(self, lines: Array) -> Array:
        """Return the sum over each underlying's legs, which are the last axis but one."""
        if len(self.strip.underlyings) == 1:
            total: Array = np.add.reduce(lines, axis=1, keepdims=True)
        else:
            total = np.add.reduceat(lines, self.strip.underlyings, axis=1)
        return total

    def _tenors(self, marks: Sequence[Marks]) -> tuple[Array, Array, Array]:
        """Return per expiry and state the seconds left, and what volatilities that rise and fall are multiplied by.

        One column for all states where all share the time.
        """
        times = [m.time for m in marks]
        distinct = list(dict.fromkeys(times))
        rows = []
        for time in distinct:
            left = [at - time for at in self.strip.dates]
            rows.append([(seconds, *self.table.multipliers(seconds, 0)) for seconds in left])
        found: Array = np.array(rows, dtype=np.float64).transpose(2, 1, 0)
        if len(distinct) > 1:
            place = {time: at for at, time in enumerate(distinct)}
            found = found.take([place[time] for time in times], axis=2)
        seconds_, up, down = found
        return seconds_, up / WAD, down / WAD
