"""A close-out pays what the contract would: marks, the charge from one side, the pot and nothing beyond it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, strategies as st

from channels.errors import InvariantBroken
from channels.model import EMPTY_BOOK, Book, Leg
from channels.risk import DEFAULT_POLICY, close_out, close_out_payouts, margin, scenario_losses, witness
from channels.units import WAD, div_up
from tests.roles import BTC, DAY, ETH, EXPIRY, LATER, NOW, UNIT, book, condor, marks

CALL = Leg.call(ETH, EXPIRY, 2400, quantity=3)
NOBODY = (0, 0)


def two_underlyings() -> Book:
    legs = (
        Leg.call(BTC, EXPIRY, 2500, quantity=-2),
        Leg.put(ETH, EXPIRY, 2200, quantity=-4),
        Leg.call(ETH, LATER, 2500, quantity=-3),
    )
    return Book(legs, marks(legs), b"s" * 32)


@pytest.mark.parametrize("held", [book(), book((CALL,)), two_underlyings()])
@pytest.mark.parametrize("t", [None, NOW + DAY, EXPIRY])
def test_values_and_charges_are_those_of_the_margin_reports(held: Book, t: int | None) -> None:
    settlements = {(ETH, EXPIRY): 2_450 * WAD, (BTC, EXPIRY): 2_300 * WAD} if t == EXPIRY else None
    values, charges = close_out(held, 6, t=t, settlements=settlements)
    reports = margin(held, NOBODY, 6, t=t, settlements=settlements)
    assert values == tuple(report.value for report in reports)
    assert charges == tuple(report.charges.total for report in reports)


def test_nothing_is_worth_nothing_and_costs_nothing() -> None:
    assert close_out(EMPTY_BOOK, 6) == (NOBODY, NOBODY)


def test_the_charge_goes_from_the_payer_to_the_other() -> None:
    values, charges = (100, -100), (30, 40)
    assert close_out_payouts((500, 500), values, charges, 0) == (570, 430)
    assert close_out_payouts((500, 500), values, charges, 1) == (640, 360)
    assert close_out_payouts((500, 500), values, charges, None) == (600, 400)


def test_the_odd_unit_goes_to_party_1_whoever_pays() -> None:
    """Each value is rounded down on its own: the two sum to -1 where a fraction is left."""
    for payer in (0, 1, None):
        first, second = close_out_payouts((10, 10), (3, -4), NOBODY, payer)
        assert (first, second) == (13, 7)


@pytest.mark.parametrize(
    ("cash", "values", "payer", "paid"),
    [
        ((100, 900), (-400, 399), 0, (0, 1000)),
        ((100, 900), (-90, 89), 0, (0, 1000)),
        ((900, 100), (399, -400), 1, (1000, 0)),
        ((-50, 1050), (60, -61), 0, (0, 1000)),
        ((-50, 1050), (80, -81), None, (30, 970)),
        ((1_300, -300), (0, 0), 1, (1000, 0)),
        ((0, 0), (-5, 4), 0, (0, 0)),
    ],
)
def test_who_owes_more_than_it_has_pays_what_it_has(
    cash: tuple[int, int], values: tuple[int, int], payer: int | None, paid: tuple[int, int]
) -> None:
    assert close_out_payouts(cash, values, (20, 25), payer) == paid


def test_a_negative_pot_is_no_pot() -> None:
    with pytest.raises(InvariantBroken):
        close_out_payouts((-1, 0), NOBODY, NOBODY, 0)


amounts = st.integers(-(10**13), 10**13)


@given(
    st.integers(0, 10**13), amounts, st.integers(-200, 200), st.sampled_from([0, 1, None]), st.sampled_from([0, 6, 18])
)
def test_payouts_share_the_pot_and_follow_the_formula(
    pot: int, moved: int, lots: int, payer: int | None, decimals: int
) -> None:
    held = book((CALL.times(lots),)) if lots else EMPTY_BOOK
    values, charges = close_out(held, decimals)
    cash = (moved, pot - moved)
    paid = close_out_payouts(cash, values, charges, payer)
    assert sum(paid) == pot
    assert min(paid) >= 0
    sign = {0: -1, 1: 1, None: 0}[payer]
    exact = cash[0] + values[0] + sign * (charges[payer] if payer is not None else 0)
    assert paid[0] == min(max(exact, 0), pot)
    if 0 <= exact <= pot:
        due = cash[1] + values[1] - sign * (charges[payer] if payer is not None else 0)
        assert paid[1] - due == -sum(values) in (0, 1)


# The witness


@pytest.mark.parametrize("held", [book(), two_underlyings()])
@pytest.mark.parametrize("party", [0, 1])
def test_the_witness_asks_for_exactly_the_maintenance_margin(held: Book, party: int) -> None:
    report = margin(held, NOBODY, 6)[party]
    names = [mark.underlying for mark in held.marks.spots]
    rows = witness(report)
    losses = scenario_losses(held, dict(zip(names, rows, strict=True)))
    scanned = sum(div_up(max(0, losses[name][party]), WAD) for name in names)
    asked = div_up(scanned * DEFAULT_POLICY.scan_maintenance, 10**48) + report.charges.total
    assert asked == report.maintenance_margin


def test_the_witness_has_a_row_for_an_underlying_whose_legs_have_expired() -> None:
    held = two_underlyings()
    report = margin(held, NOBODY, 6, t=EXPIRY)[0]
    assert [found.underlying for found in report.worst] == [ETH]
    assert witness(report) == (0, report.worst[0].row)
    assert witness(margin(EMPTY_BOOK, (5, 7), 6)[0]) == ()


def test_a_policy_of_the_channels_own_sets_the_charge() -> None:
    dear = replace(DEFAULT_POLICY, short_charge=WAD // 10)
    assert close_out(book((CALL,)), 6, dear)[1][1] > close_out(book((CALL,)), 6)[1][1]
    assert close_out(book((CALL,)), 6, dear)[1][0] == close_out(book((CALL,)), 6)[1][0]
    assert close_out(book(condor()), 6)[1][0] % UNIT
