"""The amount of a collateral call, against the terms it comes from: risk.md §3, ISDA CSA conventions."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, strategies as st

from channels.risk import DEFAULT_POLICY, MarginPolicy
from channels.risk.margin import collateral_call
from channels.units import WAD

TOKEN = 10**6
amounts = st.integers(0, 10**12)
money = st.integers(0, 10**6).map(lambda n: n * WAD) | st.integers(0, 10**24)


def tokens(amount: int, decimals: int, *, up: bool) -> int:
    """A WAD amount of money in token units."""
    scaled = amount * 10**decimals
    return -(-scaled // WAD) if up else scaled // WAD


@given(
    st.integers(-(10**12), 10**12), amounts, money, money, money, st.sampled_from([0, 6, 18]), st.sampled_from([0, 1])
)
def test_the_call_is_the_formula(
    equity: int, initial: int, threshold: int, minimum: int, rounding: int, decimals: int, party: int
) -> None:
    pair = (threshold, 0) if party == 0 else (0, threshold)
    policy = replace(DEFAULT_POLICY, thresholds=pair, minimum_transfer=minimum, transfer_rounding=rounding)
    amount = collateral_call(party, equity, initial, decimals, policy)
    lacking = initial - equity
    if not equity + tokens(threshold, decimals, up=False) < initial:
        assert amount == 0
        return
    unit = tokens(rounding, decimals, up=True) or 1
    rounded = -(-lacking // unit) * unit
    assert amount == (rounded if rounded >= tokens(minimum, decimals, up=True) else 0)
    if amount:
        assert equity + amount >= initial, "who pays the call has its initial margin"
        assert amount - lacking < unit
    assert collateral_call(1 - party, initial, initial, decimals, policy) == 0


@pytest.mark.parametrize(
    ("changes", "lacking", "expected"),
    [
        # The threshold is unsecured exposure: reached, not exceeded, it is not called; exceeded, all is.
        ({"thresholds": (250 * WAD, 0)}, 250 * TOKEN, 0),
        ({"thresholds": (250 * WAD, 0)}, 250 * TOKEN + 1, 250 * TOKEN + 1),
        # A threshold between two token units is rounded down, against the party being called.
        ({"thresholds": (WAD // 10**6 * 3 // 2, 0), "minimum_transfer": 0}, 1, 0),
        ({"thresholds": (WAD // 10**6 * 3 // 2, 0), "minimum_transfer": 0}, 2, 2),
        # The minimum is held against the rounded amount, and rounding comes last of all.
        ({"minimum_transfer": 500 * WAD, "transfer_rounding": 250 * WAD}, 251 * TOKEN, 500 * TOKEN),
        ({"minimum_transfer": 500 * WAD, "transfer_rounding": 250 * WAD}, 250 * TOKEN, 0),
        # Both parties' thresholds are their own.
        ({"thresholds": (0, 10**6 * WAD)}, TOKEN, TOKEN),
    ],
)
def test_the_conventions_case_by_case(changes: dict[str, object], lacking: int, expected: int) -> None:
    policy: MarginPolicy = replace(DEFAULT_POLICY, **changes)  # type: ignore[arg-type]
    assert collateral_call(0, 1_000 * TOKEN - lacking, 1_000 * TOKEN, 6, policy) == expected


def test_an_excess_is_never_called_back() -> None:
    """What is above the requirement leaves by a withdrawal of its owner's, not by a call."""
    assert collateral_call(0, 2_000 * TOKEN, 1_000 * TOKEN, 6, replace(DEFAULT_POLICY, minimum_transfer=0)) == 0
