"""How far marks may move before a verdict can change: one judged state per set of legs answers for those near it.

Marks move by cents while a surplus is thousands of tokens. A state that floats have judged leaves its four surpluses,
their bands, and one weight for each number that marks consist of: no surplus moves by more than the sum of weight times
move while no number moves by more than a sixteenth of itself. Where that sum and the bands are less than a surplus, its
sign is what it was, and nothing is priced. docs/risk_screen.md §6 derives the weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from math import inf
from operator import gt, mul, sub

import numpy as np

from ..model.book import Book
from ..model.marks import Marks
from ..units import SECONDS_PER_YEAR, WAD
from .policy import MarginPolicy
from .screen_grid import ROUNDING, Array, Strip, Table

BOX = 16
"""A number of the marks, and the time to the first expiry, may move by one part in this many."""
LEAST_REACHED_WIDTH = 2.0**-30
"""A state with a smaller total volatility answers for no other: the charges of such a leg are almost a jump."""
TOGETHER = 6
"""States from which on arrays are faster than lists."""
BANDS = 4.0
"""What a verdict may be off by besides, in bands of the judged state: one of its own, at most two of the other's."""
NOTHING_TOLD = 40
"""The code, in base three, of four verdicts that nobody can tell: 1 each."""
_NO_ARRAYS: Array = np.empty(0)
PLACES = (1, 9, 3, 27)
"""What a verdict adds to the code if it is true: initial margin of both parties, then maintenance margin."""


class Reach:
    """A judged state: its marks, what each surplus was without cash, and how wrong each was, token units.

    `bare` and `band` are in the order of `PLACES`. The weights are formed when the state is first asked about another:
    legs that change with every state never are. It keeps its strip's legs and its table's policy alive.
    """

    __slots__ = (
        "_arrays",
        "_at",
        "_bands",
        "_bare",
        "_inside",
        "_limits",
        "_marks",
        "_strip",
        "_table",
        "_time",
        "_unit",
        "_weights",
    )

    def __init__(
        self,
        table: Table,
        strip: Strip,
        marks: Marks,
        bare: Sequence[float],
        band: Sequence[float],
        decimals: int,
    ) -> None:
        self._table, self._strip, self._marks = table, strip, marks
        self._unit = float(10 ** (54 - decimals))
        self._bare = (*bare,)
        # The sum, not the greatest: what is not a number stays so.
        self._bands = BANDS * sum(band)
        self._time = marks.time
        self._at = numbers(marks, marks.time)
        self._inside = 0.0
        self._limits: list[int] = []
        self._weights: list[float] = []
        self._arrays = _NO_ARRAYS

    def tell(self, asked: Sequence[tuple[Book, tuple[int, int]]], states: Sequence[int], found: list[int]) -> list[int]:
        """Write into `found` the codes of those `states` of what is asked that are near enough; return the others."""
        left = list[int]()
        drifts = self.drifts([asked[at][0].marks for at in states])
        cash = asked[states[0]][1]
        if sum(drifts) < inf and all(asked[at][1] == cash for at in states):
            # Whoever cannot be moved over zero by the furthest of them is not moved by those that are nearer.
            code = self.code(max(drifts), cash)
            if code is not None:
                for at in states:
                    found[at] = code
                return left
        for at, drift in zip(states, drifts, strict=True):
            code = self.code(drift, asked[at][1])
            if code is None:
                left.append(at)
            else:
                found[at] = code
        return left

    def code(self, drift: float, cash: tuple[int, int]) -> int | None:
        """Return the code of both parties' verdicts with that cash, no surplus having moved by more than `drift`.

        None where one of them can have changed.
        """
        one, other = cash
        room = drift + self._bands + ROUNDING * (abs(one) + abs(other))
        code = NOTHING_TOLD
        for held, bare, place in zip((one, other, one, other), self._bare, PLACES, strict=True):
            surplus = held + bare
            if surplus > room:
                code += place
            elif surplus < -room:
                code -= place
            else:  # what is not a number as well
                return None
        return code

    def drifts(self, marks: Sequence[Marks]) -> list[float]:
        """Return `drift` of each, many in one pass over arrays."""
        if len(marks) < TOGETHER:
            return [self.drift(one) for one in marks]
        if not self._limits:
            self._measure()
        at, limits, weights = self._arrays
        moved: Array = np.array([numbers(one, self._time) for one in marks], dtype=np.float64)
        moved -= at
        np.abs(moved, out=moved)
        far = np.logical_or.reduce(moved > limits, axis=1)
        moved *= weights
        drifts = np.add.reduce(moved, axis=1)
        drifts[far] = inf
        found: list[float] = drifts.tolist()
        return found

    def drift(self, marks: Marks) -> float:
        """Return what no surplus can have moved by, token units, rounding apart; infinite if marks are too far (D)."""
        if not self._limits:
            self._measure()
        moved = [*map(abs, map(sub, numbers(marks, self._time), self._at))]
        drift = sum(map(mul, moved, self._weights))
        # Below what the least weighty number may do alone, each is within its limit.
        return inf if drift > self._inside and any(map(gt, moved, self._limits)) else drift

    def _measure(self) -> None:
        limits, self._weights = self._measured()
        self._inside = 0.999 * min(map(mul, limits, self._weights))
        self._arrays = np.array((self._at, limits, self._weights), dtype=np.float64)
        self._limits = limits  # last: it says to other threads that the rest is there

    def _measured(self) -> tuple[list[int], list[float]]:
        """Return, in the order of `numbers`, how far each may move and what a unit of it can do to a surplus."""
        table, strip, marks = self._table, self._strip, self._marks
        policy, at = table.policy, self._at
        left = [date - marks.time for date in strip.dates]
        limits = [min(left) // BOX, *[number // BOX for number in at[1:]]]
        strike, _, quantity = strip.columns
        of_leg, of_expiry = strip.expiry, strip.underlying_of_expiry
        spot: Array = np.array([mark.spot for mark in marks.spots], dtype=np.float64)
        ratio, discount = np.array([(mark.ratio, mark.discount) for mark in marks.expiries], dtype=np.float64).T
        vol: Array = np.array([mark.vol for mark in marks.vols], dtype=np.float64)
        seconds: Array = np.array(left, dtype=np.float64)
        rise: Array = np.array([table.multipliers(tenor, 0)[0] for tenor in left], dtype=np.float64) / WAD
        root = np.sqrt(seconds / SECONDS_PER_YEAR).take(of_leg)
        width = vol / WAD * root
        if not width.min() >= LEAST_REACHED_WIDTH:
            return [-1] * len(at), [1.0] * len(at)
        forward = (spot.take(of_expiry) * ratio / WAD).take(of_leg)
        reach = forward * table.factors.max()
        size = np.abs(quantity)
        notional = size * discount.take(of_leg)
        scans = 1.0 + 2.0 * policy.scan_initial / WAD
        bent = (policy.gamma_charge / WAD) * (policy.gamma_move / WAD) / 2 + (policy.vega_charge / WAD) * root
        charge = policy.delta_charge / WAD + bent
        # Per relative move of a forward, of a discount, of a total volatility (D).
        by_forward = notional * (scans * 1.2 * reach + charge * (1.2 + 0.5 / width) * forward)
        by_forward += size * forward * (1.2 * policy.short_charge)
        by_discount = notional * 1.1 * (scans * (reach + strike) + charge * forward)
        by_width = notional * (scans * 0.5 * np.minimum(reach, strike) * width + charge * (0.9 + 0.3 * width) * strike)
        after_horizon = np.maximum(seconds - table.horizons.max(), 1.0)
        by_second = rise / np.sqrt(seconds * after_horizon) + 1.1 * steepest_bump(policy)
        per_ratio = np.bincount(of_leg, by_forward)
        weights = (
            np.dot(by_width, by_second.take(of_leg))[None],
            np.bincount(of_expiry, per_ratio) / spot,
            per_ratio / ratio,
            np.bincount(of_leg, by_discount) / discount,
            by_width * rise.take(of_leg) / vol,
        )
        found: list[float] = (np.concatenate(weights) / self._unit).tolist()
        return limits, found


def numbers(marks: Marks, since: int) -> list[int]:
    """Return what marks consist of: seconds since that time, spots, ratios, discounts, volatilities."""
    return [marks.time - since, *marks.levels]


def steepest_bump(policy: MarginPolicy) -> float:
    """Return how much the fraction that a volatility is bumped by changes at most in a second, rounding included."""
    slopes = [max(abs(b.up - a.up), abs(b.down - a.down)) / (b.tenor - a.tenor) for a, b in pairwise(policy.bumps)]
    return (max(slopes, default=0.0) + 1.0) / WAD
