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

from collections.abc import Iterator, Mapping, Sequence
from itertools import product

from ..errors import InvariantBroken, MissingExtra
from ..model.book import Book
from ..model.option import Leg
from ..units import WAD
from .black import intrinsic
from .engine import Standing
from .fixed import exp_neg, ln_q120
from .margin import Scan, margin, scan
from .policy import DEFAULT_POLICY, MarginPolicy
from .report import MarginReport
from .valuation import Position, Settlements, schedule

try:
    import numpy as np

    from .screen_grid import ROUNDING, TOKENS, Array, Expiry, Grid, Held, Strip, Table
    from .screen_reach import NOTHING_TOLD, PLACES, Reach
    from .screen_window import Window, quotes_of
except ModuleNotFoundError as missing:
    raise MissingExtra("the float screen", "fast") from missing

TABLES_KEPT = 16
"""Policies whose arrays are remembered; a node rarely has more than one."""
STRIPS_KEPT = 256
"""Tuples of legs whose arrays are remembered: a mark changes none of them."""
LEGS_AT_ONCE = 256
"""How many legs one pass over the grid takes before their arrays outgrow a core's cache."""
WINDOW_LEGS = 1024
"""How many legs one pass over a window takes, which goes through the grid in blocks of rows."""
WINDOW_FROM = 4
"""States of the same legs that are worth a pass of their own where others are asked about as well."""
ELEMENTARY = 8 * 2.0**-53
"""Relative error that numpy's exp and log are trusted to stay within: four units in the last place."""
LN_ERROR = 3e-25
"""Of the difference of two logarithms of the integers."""
Verdicts = tuple[bool | None, bool | None]
"""Whether equity covers initial and maintenance margin; None where floats cannot tell."""
UNSURE: tuple[Verdicts, Verdicts] = ((None, None), (None, None))
"""Of both parties: the integers say."""
Priced = tuple[int, Held]
"""Of one book: the value of its expired legs at 1e54, and its live legs."""
_SIGNS: Array = np.array(((1.0,), (-1.0,)))
_PLACES: Array = np.array(PLACES, dtype=np.float64)


def _standings(found: tuple[Verdicts, Verdicts]) -> tuple[Standing, Standing] | None:
    (initial0, maintenance0), (initial1, maintenance1) = found
    if initial0 is None or maintenance0 is None or initial1 is None or maintenance1 is None:
        return None
    return Standing(0, initial0, maintenance0), Standing(1, initial1, maintenance1)


def _all_verdicts() -> Iterator[tuple[Verdicts, Verdicts]]:
    """Yield what can be told, in the order of base three: refused, unsure, covered."""
    said = (False, None, True)
    for maintenance1, initial1, maintenance0, initial0 in product(said, repeat=4):
        yield (initial0, maintenance0), (initial1, maintenance1)


VERDICTS = tuple(_all_verdicts())
STANDINGS = tuple(map(_standings, VERDICTS))


class FloatScreen:
    """A `MarginEngine` on numpy. Raises InvariantBroken where numpy's exp or log is less accurate than the band needs.

    It holds nothing but arrays made from policies and legs and the last judged state of legs, on which no verdict
    depends, so that one screen serves all channels of a node.
    """

    __slots__ = ("_reached", "_strips", "_tables")

    def __init__(self) -> None:
        check_elementary_functions()
        self._tables: dict[int, Table] = {}
        self._strips: dict[int, Strip] = {}
        self._reached: dict[tuple[int, int, int], Reach] = {}

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
        return _standings(found)

    def standings_many(
        self, asked: Sequence[tuple[Book, tuple[int, int]]], decimals: int, policy: MarginPolicy = DEFAULT_POLICY
    ) -> list[tuple[Standing, Standing] | None]:
        """Return for each book and cash what `standings` returns at the book's marks; raises for the first that does.

        Books that follow each other with the very same legs cost least.
        """
        return [STANDINGS[code] for code in self._codes(asked, decimals, policy)]

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
        if t is None and not spots and not settlements:
            return self.verdicts_many([(book, cash)], decimals, policy)[0]
        held = self._hold(book, self._table(policy), t, spots, settlements)
        return UNSURE if held is None else VERDICTS[self._judge_held([held], [cash], decimals, policy)[0]]

    def verdicts_many(
        self, asked: Sequence[tuple[Book, tuple[int, int]]], decimals: int, policy: MarginPolicy = DEFAULT_POLICY
    ) -> list[tuple[Verdicts, Verdicts]]:
        """Return for each book and cash what `verdicts` returns at the book's marks, from few passes over the grid."""
        return [VERDICTS[code] for code in self._codes(asked, decimals, policy)]

    def _codes(self, asked: Sequence[tuple[Book, tuple[int, int]]], decimals: int, policy: MarginPolicy) -> list[int]:
        """Return the place in `VERDICTS` of what floats can tell of each: states of the same legs in one window."""
        table, found = self._table(policy), [NOTHING_TOLD] * len(asked)
        same_legs: dict[int, list[int]] = {}
        for at, (book, _) in enumerate(asked):
            if book.legs:
                same_legs.setdefault(id(book.legs), []).append(at)
        rest: list[int] = []
        for legs, all_states in same_legs.items():
            key = legs, id(policy), decimals
            near = self._reached.get(key)
            states = all_states if near is None else near.tell(asked, all_states, found)
            if not states or (len(states) < WINDOW_FROM and len(same_legs) > 1):
                rest += states
                continue
            strip = self._strip(asked[states[0]][0].legs)
            most = max(1, WINDOW_LEGS // max(1, strip.count))
            for begin in range(0, len(states), most):
                some = states[begin : begin + most]
                quotes = quotes_of(strip, [asked[at][0].marks for at in some])
                if quotes is None:
                    rest += some
                    continue
                told, bare, band = _judge(table, Window(table, strip, quotes), [asked[at][1] for at in some], decimals)
                last = asked[some[-1]][0].marks
                self._remember(key, Reach(table, strip, last, bare[:, -1].tolist(), band[:, -1].tolist(), decimals))
                for at, code in zip(some, told, strict=True):
                    if STANDINGS[code] is None:
                        rest.append(at)
                    else:
                        found[at] = code
        held = ((at, self._hold(asked[at][0], table)) for at in sorted(rest))
        for batch in _batches([(at, priced) for at, priced in held if priced is not None]):
            told = self._judge_held(
                [priced for _, priced in batch], [asked[at][1] for at, _ in batch], decimals, policy
            )
            for (at, _), code in zip(batch, told, strict=True):
                found[at] = code
        return found

    def _judge_held(
        self, priced: Sequence[Priced], cash: Sequence[tuple[int, int]], decimals: int, policy: MarginPolicy
    ) -> list[int]:
        table = self._table(policy)
        expired: Array = np.array([amount for amount, _ in priced], dtype=np.float64)
        return _judge(table, Grid(table, [held for _, held in priced]), cash, decimals, expired)[0]

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
        table = self._table(policy)
        expiries = {
            (at.leg.underlying, at.leg.expiry): (
                at.spot,
                at.seconds,
                at.ratio,
                at.discount,
                at.forward,
                *table.multipliers(at.seconds, age),
            )
            for at in held
        }
        strip = Strip([position.leg for position in held])
        result = Grid(table, [Held(strip, list(expiries.values()), [position.vol for position in held])]).result
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

    def _strip(self, legs: tuple[Leg, ...]) -> Strip:
        """By identity, as tables are: a mark leaves the tuple as it is. A strip keeps its legs' id alive."""
        strip = self._strips.get(id(legs))
        if strip is None:
            if len(self._strips) >= STRIPS_KEPT:
                self._strips.clear()
            strip = self._strips[id(legs)] = Strip(legs)
        return strip

    def _remember(self, key: tuple[int, int, int], judged: Reach) -> None:
        """Keep the last judged state of legs, policy and decimals, of as many legs as there are strips."""
        if len(self._reached) >= STRIPS_KEPT and key not in self._reached:
            self._reached.clear()
        self._reached[key] = judged

    def _hold(
        self,
        book: Book,
        table: Table,
        t: int | None = None,
        spots: Mapping[str, int] | None = None,
        settlements: Settlements | None = None,
    ) -> Priced | None:
        """Return the expired legs' value at 1e54 and the live legs; None without any. Raises what `margin` raises."""
        moments = schedule(book, t, spots, settlements)
        age = 0 if t is None else max(0, t - book.marks.time)
        expiries: list[Expiry] = [(*at, *table.multipliers(at.left, age)) for at in moments.values() if at.left]
        if not expiries:
            return None
        vols = [mark.vol for mark in book.marks.vols]
        if len(expiries) == len(moments):
            return 0, Held(self._strip(book.legs), expiries, vols)
        expired, live, live_vols = 0, list[Leg](), list[int]()
        for leg, vol in zip(book.legs, vols, strict=True):
            at = moments[leg.underlying, leg.expiry]
            if at.left:
                live.append(leg)
                live_vols.append(vol)
            else:
                expired += leg.quantity * WAD * intrinsic(leg.kind, at.forward, leg.strike)
        return expired, Held(Strip(live), expiries, live_vols)


def _judge(
    table: Table,
    grid: Grid | Window,
    cash: Sequence[tuple[int, int]],
    decimals: int,
    expired: Array | None = None,
) -> tuple[list[int], Array, Array]:
    """Return the place in `VERDICTS` of what floats alone can tell of each book. `expired` is the value of dead legs.

    Also each surplus without cash, and how wrong it can be: in the order of `PLACES`, then by book. The axes of all
    other arrays: initial and maintenance, party, book.
    """
    losses, costs = grid.result, grid.costs()
    unit = float(10 ** (54 - decimals))
    worst = np.empty((2, *losses.value.shape))
    np.maximum.reduce(losses.losses, axis=0, out=worst[0])
    np.negative(np.minimum.reduce(losses.losses, axis=0, out=worst[1]), out=worst[1])
    scanned = grid.per_book(np.maximum(worst, 0.0, out=worst))
    value, value_error, loss_error = grid.per_book(np.array((losses.value, losses.value_error, losses.loss_error)))
    if expired is not None:
        value, value_error = value + expired, value_error + ROUNDING * np.abs(expired)
    held: Array = np.array(cash, dtype=np.float64).T
    required = np.maximum(table.least(decimals), (table.scanned * scanned + (costs.shared + costs.short)) / unit)
    # (S) for the sums formed here, (T) for what the integers round.
    band = (value_error + table.scanned * loss_error + costs.error) / unit
    band = band + ROUNDING * (np.abs(held) + np.abs(value) / unit + required) + TOKENS
    bare = _SIGNS * (value / unit) - required
    surplus = held + bare
    # Not a number is neither.
    told = np.greater(surplus, band) * 1.0 - np.less(surplus, -band)
    codes: list[int] = (NOTHING_TOLD + _PLACES @ told.reshape(4, -1)).astype(np.intp).tolist()
    return codes, bare.reshape(4, -1), band.reshape(4, -1)


def _batches(priced: Sequence[tuple[int, Priced]]) -> Iterator[list[tuple[int, Priced]]]:
    """Yield the numbered books in order, as many at once as their legs allow, and one at least."""
    batch: list[tuple[int, Priced]] = []
    legs = 0
    for at, (expired, held) in priced:
        if batch and legs + held.strip.count > LEGS_AT_ONCE:
            yield batch
            batch, legs = [], 0
        batch.append((at, (expired, held)))
        legs += held.strip.count
    if batch:
        yield batch


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
