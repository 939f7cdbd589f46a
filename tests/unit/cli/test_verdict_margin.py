"""The demo's second opinion on a close-out: right by hand, and equal to the library's wherever both are asked."""

from __future__ import annotations

import sys
from decimal import Decimal
from subprocess import run

import pytest
from hypothesis import given, settings, strategies as st

from channels.cli.demo import mark, verdict_margin
from channels.cli.demo.margin_acts import ClosedOut
from channels.model import Book, Leg, Marks, OptionKind, Party
from channels.risk.close_out import close_out
from channels.units import WAD, show
from tests.roles import ETH, EXPIRY, LATER, NOW, agreed


@st.composite
def books(draw: st.DrawFn) -> Book:
    series = draw(
        st.lists(
            st.tuples(st.sampled_from([EXPIRY, LATER]), st.integers(1_200, 3_600), st.sampled_from(OptionKind)),
            min_size=1,
            max_size=6,
            unique=True,
        )
    )
    quantities = st.integers(-500, 500).filter(bool)
    legs = tuple(
        sorted((Leg(ETH, e, k * WAD, kind, draw(quantities) * WAD // 10) for e, k, kind in series), key=lambda x: x.key)
    )
    marks = Marks.at(
        NOW,
        spots={ETH: 2_300},
        vols={leg: f"0.{draw(st.integers(20, 99))}" for leg in legs},
        forwards={(ETH, leg.expiry): 2_300 + draw(st.integers(-50, 50)) for leg in legs},
        discounts={(ETH, leg.expiry): f"0.9{draw(st.integers(80, 99))}" for leg in legs},
    )
    return Book.of(legs, marks, bytes(32))


@settings(max_examples=60, deadline=None)
@given(books(), st.integers(1_500, 3_500), st.integers(0, EXPIRY - NOW - 60), st.sampled_from(Party))
def test_it_is_the_librarys_close_out_to_the_unit(book: Book, spot: int, later: int, party: Party) -> None:
    values, charges = close_out(book, 6, t=NOW + later, spots={ETH: spot * WAD})
    closed = ClosedOut(party, agreed(book), NOW + later, spot * WAD, values[0], charges[party])
    paid = charges[party] if party is Party.ONE else -charges[party]
    # Five figures are rounded; deep in the wings each may lie within the library's 1e-17 of a whole unit.
    assert abs(mark.gained(closed) - (values[0] + paid)) <= 5


@pytest.mark.parametrize(
    ("x", "expected"), [("0", "0.5"), ("1", "0.841344746068542948585232545632"), ("-6", "9.865876450376981407e-10")]
)
def test_the_normal_distribution_is_the_tables(x: str, expected: str) -> None:
    assert abs(verdict_margin._normal(Decimal(x)) / Decimal(expected) - 1) < Decimal("1e-17")


def test_one_call_by_hand() -> None:
    """At the money with a total volatility of one half: 1,000 · (N(¼) − N(−¼)) = 197.41; delta N(¼) = 0.5987."""
    leg = {"strike": "1000", "kind": "call", "quantity": "-1", "vol": "0.5", "ratio": "1", "discount": "1"}
    policy = verdict_margin.Policy("0.01", "1", "0.01", "0.03", "0.003")
    year = {"expiry": str(verdict_margin.YEAR), **leg}
    value, charges, (priced,) = verdict_margin.close_out([year], 0, "1000", 0, policy, 2)
    assert (value, round(priced.price, 2)) == (-19_742, Decimal("197.41"))
    # Cents, each line up: delta 5.99, gamma 386.67 · 0.0001 / 2 / 0.5 = 0.04, vega 386.67 · 0.03 = 11.61, short 3.00.
    assert charges == (599 + 4 + 1_161 + 300, 599 + 4 + 1_161)
    assert show(int(priced.worth.scaleb(18)), 18).startswith("-197.41")


def test_gamma_is_bounded_in_the_last_minute() -> None:
    call = Leg.call(ETH, EXPIRY, 2_300, quantity=-10)
    book = Book.of((call,), Marks.at(NOW, spots={ETH: 2_300}, vols={call: "0.6"}), bytes(32))
    time, spot = EXPIRY - 60, 2_300 * WAD
    values, charges = close_out(book, 6, t=time, spots={ETH: spot})
    closed = ClosedOut(Party.ZERO, agreed(book), time, spot, values[0], charges[0])
    assert abs(mark.gained(closed) - (values[0] - charges[0])) <= 1


def test_it_imports_nothing_of_the_library() -> None:
    loads = (
        "import runpy, sys; runpy.run_path(sys.argv[1]); assert not any(n.startswith('channels') for n in sys.modules)"
    )
    assert verdict_margin.__file__
    assert run([sys.executable, "-c", loads, verdict_margin.__file__], check=False).returncode == 0
