"""The margin screened by floats: float64 decides what is clear, integers decide the rest; no verdict ever differs.

Two uses of one array pass over the grid. `standings` compares equity and requirement in floats and believes the sign
only where it exceeds a proven error band; inside the band, and for whatever floats cannot hold, it says nothing, and
integers decide. `margin` gives the reports themselves: floats name the rows that can be the worst, all that lie within
the band of the greatest loss, and only these are priced in integers: equal reports to the last bit, ties included.

The band is derived in docs/risk_screen.md. This module needs numpy (`pip install option-channels[fast]`) and is
imported by nobody but its user, who hands a `FloatScreen` in wherever a `MarginEngine` is taken. Importing it raises
MissingExtra without numpy.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..errors import InvariantBroken, MissingExtra
from ..model.book import Book
from ..units import WAD
from .black import intrinsic
from .engine import Standing
from .fixed import exp_neg, ln_q120
from .margin import Scan, margin, scan
from .policy import DEFAULT_POLICY, MarginPolicy, money_to_tokens_up
from .report import MarginReport
from .scenarios import bumps_up
from .valuation import Moment, Position, Settlements, schedule

try:
    import numpy as np

    from .screen_grid import ROUNDING, TOKENS, Grid, LiveLeg, Table, numbered, side_of
except ModuleNotFoundError as missing:
    raise MissingExtra("the float screen", "fast") from missing

TABLES_KEPT = 16
"""Policies whose arrays are remembered; a node rarely has more than one."""
ELEMENTARY = 8 * 2.0**-53
"""Relative error that numpy's exp and log are trusted to stay within: four units in the last place."""
LN_ERROR = 3e-25
"""Of the difference of two logarithms of the integers."""
Verdicts = tuple[bool | None, bool | None]
"""Whether equity covers initial and maintenance margin; None where floats cannot tell."""


class FloatScreen:
    """A `MarginEngine` on numpy. Raises InvariantBroken where numpy's exp or log is less accurate than the band needs.

    It holds no state but arrays made from policies, so that one screen serves all channels of a node.
    """

    __slots__ = ("_tables",)

    def __init__(self) -> None:
        check_elementary_functions()
        self._tables: dict[int, Table] = {}

    def margin(
        self,
        book: Book,
        cash: tuple[int, int],
        decimals: int,
        policy: MarginPolicy = DEFAULT_POLICY,
        *,
        t: int | None = None,
        spots: Mapping[str, int] | None = None,
        settlements: Settlements | None = None,
    ) -> tuple[MarginReport, MarginReport]:
        """Return what `margin` returns, every bit of it, from the rows that can matter."""
        return margin(book, cash, decimals, policy, t=t, spots=spots, settlements=settlements, scanner=self.scan)

    def standings(
        self,
        book: Book,
        cash: tuple[int, int],
        decimals: int,
        policy: MarginPolicy = DEFAULT_POLICY,
        *,
        t: int | None = None,
        spots: Mapping[str, int] | None = None,
        settlements: Settlements | None = None,
    ) -> tuple[Standing, Standing] | None:
        """Return the verdicts of both parties' reports if floats can tell all four, else None. Raises as `margin`."""
        found = self.verdicts(book, cash, decimals, policy, t=t, spots=spots, settlements=settlements)
        (initial0, maintenance0), (initial1, maintenance1) = found
        if initial0 is None or maintenance0 is None or initial1 is None or maintenance1 is None:
            return None
        return Standing(0, initial0, maintenance0), Standing(1, initial1, maintenance1)

    def verdicts(
        self,
        book: Book,
        cash: tuple[int, int],
        decimals: int,
        policy: MarginPolicy = DEFAULT_POLICY,
        *,
        t: int | None = None,
        spots: Mapping[str, int] | None = None,
        settlements: Settlements | None = None,
    ) -> tuple[Verdicts, Verdicts]:
        """Return what floats alone can tell about each party, both None for a book without a live leg.

        Raises what `margin` raises: bounds are checked in integers.
        """
        moments = schedule(book, t, spots, settlements)
        age = 0 if t is None else max(0, t - book.marks.time)
        expired, legs, underlyings, expiries = _live_legs(book, moments, policy, age)
        if not legs:
            return (None, None), (None, None)
        grid = Grid(self._table(policy), legs, numbered(underlyings), numbered(expiries))
        losses, costs = grid.result, grid.costs()
        unit = float(10 ** (54 - decimals))
        value_error = float(losses.value_error.sum()) + ROUNDING * abs(expired)
        loss_error = float(losses.loss_error.sum())
        value = float(losses.value.sum()) + float(expired)
        found: list[Verdicts] = []
        for party, sign in ((0, 1.0), (1, -1.0)):
            scanned = float(np.maximum((sign * losses.losses).max(axis=0), 0.0).sum())
            equity = cash[party] + sign * value / unit
            independent = float(money_to_tokens_up(policy.independent_amounts[party], decimals))
            verdicts: list[bool | None] = []
            for least, factor in ((independent, policy.scan_initial), (independent / 2, policy.scan_maintenance)):
                weight = factor / WAD
                required = max(least, (weight * scanned + costs.shared + costs.short[party]) / unit)
                proven = (value_error + weight * loss_error + costs.error) / unit
                # (S) for the sums formed here, (T) for what the integers round.
                band = proven + ROUNDING * (abs(cash[party]) + abs(value) / unit + required) + TOKENS
                surplus = equity - required
                verdicts.append(True if surplus > band else False if surplus < -band else None)
            found.append((verdicts[0], verdicts[1]))
        return found[0], found[1]

    def scan(self, groups: Sequence[tuple[Position, ...]], policy: MarginPolicy, age: int) -> list[Scan]:
        """Return the scan of each underlying's live positions: the `Scanner` that `margin` takes."""
        if not groups:
            return []
        rows = self.candidates(groups, policy, age)
        return [scan(group, policy, age, chosen) for group, chosen in zip(groups, rows, strict=True)]

    def candidates(
        self, groups: Sequence[tuple[Position, ...]], policy: MarginPolicy, age: int
    ) -> list[tuple[list[int], list[int]]]:
        """Return per underlying and party the rows that can be its worst: no other row's loss reaches the greatest."""
        held = [position for group in groups for position in group]
        bumps = {seconds: multipliers(policy, seconds, age) for seconds in {position.seconds for position in held}}
        legs = [
            (
                position.spot,
                position.ratio,
                position.forward,
                position.leg.strike,
                side_of(position.leg.kind),
                position.leg.quantity,
                position.notional,
                position.vol,
                *bumps[position.seconds],
                position.seconds,
            )
            for position in held
        ]
        numbers = [number for number, group in enumerate(groups) for _ in group]
        result = Grid(self._table(policy), legs, numbers, numbers).result
        reach = 2.0 * result.loss_error
        chosen = []
        for sign in (1.0, -1.0):
            losses = sign * result.losses
            # Not `>=`: what is not a number stays a candidate.
            chosen.append((~(losses < losses.max(axis=0) - reach)).T)
        return [(one.nonzero()[0].tolist(), other.nonzero()[0].tolist()) for one, other in zip(*chosen, strict=True)]

    def _table(self, policy: MarginPolicy) -> Table:
        """By identity, since hashing a policy takes a tenth of the grid's time; a table keeps its policy's id alive."""
        table = self._tables.get(id(policy))
        if table is None:
            if len(self._tables) >= TABLES_KEPT:
                self._tables.clear()
            table = self._tables[id(policy)] = Table(policy)
        return table


def multipliers(policy: MarginPolicy, seconds: int, age: int) -> tuple[int, int]:
    """Return what a volatility is multiplied by where it rises and where it falls, WAD."""
    up, down = bumps_up(policy, seconds, age)
    return WAD + up, WAD - down


def _live_legs(
    book: Book, moments: Mapping[tuple[str, int], Moment], policy: MarginPolicy, age: int
) -> tuple[int, list[LiveLeg], list[str], list[tuple[str, int]]]:
    """Return the expired legs' value at 1e54, and the live legs with the underlying and the expiry of each."""
    expired = 0
    legs: list[LiveLeg] = []
    underlyings: list[str] = []
    expiries: list[tuple[str, int]] = []
    bumps = {at.left: multipliers(policy, at.left, age) for at in moments.values() if at.left}
    for leg, mark in zip(book.legs, book.marks.vols, strict=True):
        key = (leg.underlying, leg.expiry)
        spot, left, ratio, discount, forward = moments[key]
        quantity = leg.quantity
        if not left:
            expired += quantity * WAD * intrinsic(leg.kind, forward, leg.strike)
            continue
        side = side_of(leg.kind)
        notional = quantity * discount
        up, down = bumps[left]
        legs.append((spot, ratio, forward, leg.strike, side, quantity, notional, mark.vol, up, down, left))
        underlyings.append(leg.underlying)
        expiries.append(key)
    return expired, legs, underlyings, expiries


def check_elementary_functions() -> None:
    """Raise InvariantBroken unless numpy's exp and log agree with the integers' to four units in the last place.

    Five hundred points of each over the range that the grid uses; the instructions numpy runs depend on the machine.
    """
    exponents = [50.0 * (i + 0.5) / 512 for i in range(512)]
    near_one = [1.0 + 1.15**i / 2**52 for i in range(256)]
    ratios = near_one + [2.0 ** (92 * (i + 1) / 256) for i in range(256)]
    for name, found, exact in (
        ("exp", np.exp(-np.array(exponents)), [_exp_of_minus(s) for s in exponents]),
        ("log", np.log(np.array(ratios)), [_ln(ratio) for ratio in ratios]),
    ):
        allowed = ELEMENTARY * np.array(exact) + LN_ERROR
        if not bool(np.all(np.abs(found - exact) <= allowed)):
            raise InvariantBroken(f"numpy's {name} is accurate to four units in the last place", np.__version__)


def _exp_of_minus(s: float) -> float:
    """exp(-s) for s in [0, 50] by the integers, rounded once more."""
    numerator, denominator = s.as_integer_ratio()
    r, n = exp_neg((numerator << 72) // denominator)
    return float(r / 2 ** (100 + n))


def _ln(ratio: float) -> float:
    """ln of a ratio in [1, 2^92] by the integers, off by `LN_ERROR` and one rounding."""
    numerator, denominator = ratio.as_integer_ratio()
    return float((ln_q120(numerator) - ln_q120(denominator)) / 2**120)
