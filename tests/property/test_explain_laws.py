"""Laws of the split over any book inside the protocol's bounds: the lines add up, and the parties mirror."""

from __future__ import annotations

from hypothesis import assume, given, strategies as st

from channels.errors import OutOfBounds
from channels.model import Book
from channels.risk import DEFAULT_POLICY, Explanation, explain, margin
from channels.units import WAD
from tests.strategies import books

GREEKS = ("delta", "gamma", "vega", "volga", "theta", "cross")
ages = st.just(None) | st.integers(0, 400 * 86_400)
rows = st.integers(0, len(DEFAULT_POLICY.scenarios) - 1)
decimals = st.integers(0, 18)


def both(held: Book, scale: int, t: int | None, named: dict[str, int] | None) -> list[tuple[Explanation, ...]]:
    """Both parties' splits; a book whose forwards leave the bounds is none of ours."""
    try:
        return [explain(held, party, scale, rows=named, t=t) for party in (0, 1)]
    except OutOfBounds:
        assume(False)
        raise


@given(books(max_legs=6), decimals, ages)
def test_the_lines_add_up_to_the_loss_that_the_margin_was_made_on(held: Book, scale: int, age: int | None) -> None:
    t = None if age is None else held.marks.time + age
    found = both(held, scale, t, None)
    for split, report in zip(found, margin(held, (0, 0), scale, t=t), strict=True):
        assert [(e.underlying, e.row, e.loss) for e in split] == [(w.underlying, w.row, w.loss) for w in report.worst]
        for explanation in split:
            assert sum(amount for _, amount in explanation.lines) == explanation.pnl == -explanation.loss
            assert explanation.full_move + explanation.damping == explanation.pnl
            assert explanation.damping >= 0 and (explanation.damping == 0 or explanation.scenario.damping < WAD)


@given(books(max_legs=6), decimals, ages, rows)
def test_the_parties_lines_mirror(held: Book, scale: int, age: int | None, row: int) -> None:
    t = None if age is None else held.marks.time + age
    live = {leg.underlying for leg in held.legs if leg.expiry > (t or held.marks.time)}
    mine, theirs = both(held, scale, t, dict.fromkeys(live, row))
    assert {one.underlying for one in mine} == live
    for one, other in zip(mine, theirs, strict=True):
        assert [getattr(one, name) for name in GREEKS] == [-getattr(other, name) for name in GREEKS]
        assert one.full_move + other.full_move in (-1, 0), "each rounded down on its own"
        assert -2 <= one.pnl + other.pnl <= 0
