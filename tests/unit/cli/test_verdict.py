"""The demo's second opinion: right by hand, and equal to the library's payoff wherever both are asked."""

from __future__ import annotations

import sys
from subprocess import run

import pytest
from hypothesis import given, strategies as st

from channels.cli.demo import verdict
from channels.model import Leg, OptionKind
from channels.risk.payoff import payoff as library_payoff, payouts as library_payouts
from channels.units import show

EXPIRY = 1_702_627_200
WADS = st.integers(1, 10**24)


def printed(leg: Leg) -> dict[str, str]:
    return {
        "underlying": leg.underlying,
        "expiry": str(leg.expiry),
        "strike": show(leg.strike, 18),
        "kind": leg.kind.name.lower(),
        "quantity": show(leg.quantity, 18),
    }


def leg(kind: str, strike: str, quantity: str) -> dict[str, str]:
    return {"underlying": "ETH/USD", "expiry": "near", "strike": strike, "kind": kind, "quantity": quantity}


@pytest.mark.parametrize(
    ("legs", "price", "expected"),
    [
        ([leg("call", "2000", "10")], "2100.5", 1_005_000_000),
        ([leg("put", "2000", "-10")], "1999.999999", -10),
        ([leg("call", "2000", "1")], "1999", 0),
        ([leg("call", "2000", "0.1")], "2000.000015", 1),
        ([leg("call", "2000", "-0.1")], "2000.000015", -1),
        # Truncated once for the sum, not leg by leg: 0.5 and 0.5 of the smallest unit are one.
        ([leg("call", "2000", "0.5"), leg("put", "2000.000002", "0.5")], "2000.000001", 1),
    ],
)
def test_payoffs_by_hand(legs: list[dict[str, str]], price: str, expected: int) -> None:
    assert verdict.payoff(legs, {("ETH/USD", "near"): price}, 6) == expected


@given(
    st.lists(st.tuples(WADS, st.sampled_from(OptionKind), st.integers(-(10**22), 10**22).filter(bool)), max_size=6),
    WADS,
    st.integers(0, 18),
)
def test_it_agrees_with_the_library(rows: list[tuple[int, OptionKind, int]], price: int, decimals: int) -> None:
    legs = [Leg("ETH/USD", EXPIRY, *row) for row in rows]
    ours = verdict.payoff([printed(leg) for leg in legs], {("ETH/USD", str(EXPIRY)): show(price, 18)}, decimals)
    assert ours == library_payoff(legs, {("ETH/USD", EXPIRY): price}, decimals)


@pytest.mark.parametrize(
    ("cash", "payoff", "expected"),
    [
        ((60, 40), 0, (60, 40)),
        ((60, 40), -7, (53, 47)),
        ((60, 40), 41, (100, 0)),
        ((60, 40), -61, (0, 100)),
        ((-5, 105), 3, (0, 100)),
    ],
)
def test_nobody_is_due_less_than_nothing(cash: tuple[int, int], payoff: int, expected: tuple[int, int]) -> None:
    assert verdict.payouts(cash, payoff, 100) == expected == library_payouts(*cash, payoff, 100)


def test_it_imports_nothing_of_the_library() -> None:
    loads = (
        "import runpy, sys; runpy.run_path(sys.argv[1]); assert not any(n.startswith('channels') for n in sys.modules)"
    )
    assert run([sys.executable, "-c", loads, verdict.__file__], check=False).returncode == 0
