"""Value and Greeks of a book: party by party, at the marks or at another moment, live or expired."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import pytest

from channels.errors import OutOfBounds
from channels.model import EMPTY_BOOK, Book, Leg, Marks, OptionKind
from channels.model.option import MAX_PRICE
from channels.risk import greeks, margin, price, unit_greeks, value
from channels.risk.valuation import MAX_SETTLEMENT, positions
from channels.units import SECONDS_PER_YEAR, WAD

ETH, BTC = "ETH/USD", "BTC/USD"
TIME = 1_704_700_800
DAY = 86_400
SALT = bytes(31) + b"\7"


def book(*legs: Leg, forward: str = "3030", discount: str = "0.98", vol: str = "0.6") -> Book:
    """A book marked at spot 3000 (BTC: 45000), with one forward and discount for every expiry."""
    marks = Marks.at(
        TIME,
        spots={ETH: 3000, BTC: 45000},
        vols=dict.fromkeys(legs, vol),
        forwards={(leg.underlying, leg.expiry): forward if leg.underlying == ETH else "45450" for leg in legs},
        discounts={(leg.underlying, leg.expiry): discount for leg in legs},
    )
    return Book.of(legs, marks, SALT)


CALL = Leg.call(ETH, TIME + 30 * DAY, 3200, quantity=2)
PUT = Leg.put(ETH, TIME + 30 * DAY, 2800, quantity=-3)


def test_value_is_quantity_times_discount_times_price() -> None:
    call = price(OptionKind.CALL, 3030 * WAD, 3200 * WAD, WAD * 6 // 10, 30 * DAY)
    put = price(OptionKind.PUT, 3030 * WAD, 2800 * WAD, WAD * 6 // 10, 30 * DAY)
    exact = Fraction(98, 100) * (2 * call - 3 * put)
    assert value(book(CALL, PUT)) == (exact.__floor__(), (-exact).__floor__())


def test_each_party_is_rounded_down_on_its_own() -> None:
    first, second = value(book(CALL), decimals=6)
    assert first > 0 > second
    assert first + second == -1
    assert value(EMPTY_BOOK) == (0, 0)


def test_spots_and_time_replace_those_of_the_marks() -> None:
    held = book(CALL, forward="3000", discount="1")
    later = value(held, t=TIME + 10 * DAY, spots={ETH: 3300 * WAD})
    expected = 2 * price(OptionKind.CALL, 3300 * WAD, 3200 * WAD, WAD * 6 // 10, 20 * DAY)
    assert later == (expected, -expected)
    assert value(held, spots={BTC: 1}) == value(held), "a spot of something not held changes nothing"


def test_silent_carry_converges_to_spot() -> None:
    """A marked forward far from spot is worth less each day, and nothing at expiry."""
    held = book(Leg.call(ETH, TIME + 10 * DAY, 1, quantity=1), forward="6000", discount="0.5")
    values = [value(held, t=TIME + day * DAY)[0] / WAD for day in range(11)]
    for day, found in enumerate(values):
        left = (10 - day) / 10
        assert found == pytest.approx((1 - 0.5 * left) * (3000 * (1 + left) - 1), rel=1e-12)


def test_a_time_before_the_marks_counts_as_the_marks_time() -> None:
    assert value(book(CALL, PUT), t=TIME - 30) == value(book(CALL, PUT))


@pytest.mark.parametrize("after", [0, 1, 5 * DAY])
def test_an_expired_leg_counts_at_spot_intrinsic_and_has_no_greeks(after: int) -> None:
    held = book(Leg.call(ETH, TIME + DAY, 2500, quantity=2), Leg.put(ETH, TIME + DAY, 3500, quantity=-1))
    assert value(held, t=TIME + DAY + after) == (500 * WAD, -500 * WAD)
    (found,) = greeks(held, t=TIME + DAY + after)
    assert (found.delta, found.delta_cash, found.gamma_cash, found.vega, found.theta, found.carry) == (0,) * 6


@pytest.mark.parametrize("price_at_expiry", [1, 3199 * WAD, 3300 * WAD, MAX_SETTLEMENT])
def test_an_expired_leg_with_a_settlement_counts_there_whatever_the_spot(price_at_expiry: int) -> None:
    held = book(CALL, PUT)
    settled = {(ETH, CALL.expiry): price_at_expiry}
    payoff = 2 * max(0, price_at_expiry - 3200 * WAD) - 3 * max(0, 2800 * WAD - price_at_expiry)
    for spot in (WAD, 3000 * WAD, MAX_PRICE):
        at = {"t": CALL.expiry, "spots": {ETH: spot}, "settlements": settled}
        assert value(held, **at) == (payoff, -payoff)
        reports = margin(held, (5, 6), 18, **at)
        assert [report.equity for report in reports] == [5 + payoff, 6 - payoff]
        assert [report.maintenance_margin for report in reports] == [0, 0]


def test_no_settlement_is_zero_and_counts_at_spot() -> None:
    held = book(CALL, PUT)
    for none in ({}, {(ETH, CALL.expiry): 0}, {(BTC, CALL.expiry): 7 * WAD}):
        at = {"t": CALL.expiry, "spots": {ETH: 3300 * WAD}, "settlements": none}
        assert value(held, **at) == (200 * WAD, -200 * WAD)


def test_a_settlement_moves_no_other_expiry() -> None:
    later = Leg.call(ETH, CALL.expiry + DAY, 3200, quantity=2)
    at = {"t": CALL.expiry, "spots": {ETH: 3000 * WAD}}
    alone = value(book(later), **at)[0]
    both = value(book(CALL, later), **at, settlements={(ETH, CALL.expiry): 3300 * WAD})[0]
    assert both - alone == 200 * WAD


@pytest.mark.parametrize(("t", "price_at_expiry"), [(CALL.expiry, -1), (CALL.expiry, 2**96 + 1), (CALL.expiry - 1, 1)])
def test_a_settlement_out_of_bounds_or_of_a_live_expiry_is_refused(t: int, price_at_expiry: int) -> None:
    with pytest.raises(OutOfBounds, match="settlement"):
        value(book(CALL), t=t, settlements={(ETH, CALL.expiry): price_at_expiry})


def test_carry_is_the_discounts_convergence_per_year() -> None:
    held = book(CALL)
    (row,) = greeks(held)
    unit = price(OptionKind.CALL, 3030 * WAD, 3200 * WAD, WAD * 6 // 10, 30 * DAY)
    per_unit = unit * (WAD - 98 * WAD // 100) * SECONDS_PER_YEAR // (30 * DAY * WAD)
    assert row.carry == 2 * per_unit
    a_day_later = replace(held.marks.expiries[0], discount=98 * WAD // 100 + 2 * WAD // 3000)
    gained = 2 * unit * (a_day_later.discount - 98 * WAD // 100) // WAD
    assert abs(row.carry // 365 - gained) < gained // 1000


def test_marks_taken_at_the_expiry_have_converged_whatever_they_say() -> None:
    late = replace(book(CALL).marks, time=CALL.expiry)
    (held,) = positions(Book((CALL,), late, SALT))
    assert (held.seconds, held.ratio, held.discount, held.forward) == (0, WAD, WAD, 3000 * WAD)


def test_marks_taken_after_the_expiry_still_value_the_leg() -> None:
    assert value(book(Leg.call(ETH, TIME - DAY, 2500, quantity=2))) == (1000 * WAD, -1000 * WAD)


@pytest.mark.parametrize("spot", [0, MAX_PRICE + 1, -1])
def test_a_spot_out_of_bounds_is_refused(spot: int) -> None:
    with pytest.raises(OutOfBounds) as refused:
        value(book(CALL), spots={ETH: spot})
    assert refused.value.what == "spot"


def test_a_forward_out_of_bounds_is_refused() -> None:
    with pytest.raises(OutOfBounds) as refused:
        value(book(CALL), spots={ETH: MAX_PRICE})
    assert refused.value.what == "forward"


def test_greeks_are_discounted_and_summed_per_underlying() -> None:
    other = Leg.call(BTC, TIME + 60 * DAY, 50000, quantity=1)
    btc, eth = greeks(book(CALL, PUT, other))
    assert (btc.underlying, eth.underlying) == (BTC, ETH)
    call = unit_greeks(OptionKind.CALL, 3030 * WAD, 3200 * WAD, WAD * 6 // 10, 30 * DAY)
    put = unit_greeks(OptionKind.PUT, 3030 * WAD, 2800 * WAD, WAD * 6 // 10, 30 * DAY)
    for name in ("delta", "delta_cash", "gamma_cash", "vega", "theta"):
        exact = Fraction(98, 100) * (2 * getattr(call, name) - 3 * getattr(put, name))
        assert getattr(eth, name) == int(exact), name
    carry = Fraction(2, 100) * (2 * call.price - 3 * put.price) * SECONDS_PER_YEAR / (30 * DAY)
    assert abs(eth.carry - carry) < 3


def test_the_other_party_sees_the_mirror_image() -> None:
    (found,) = greeks(book(CALL, PUT))
    (mirrored,) = greeks(book(CALL.times(-1), PUT.times(-1)))
    assert found.seen_by(1) == mirrored
    assert found.seen_by(0) is found
    assert mirrored.seen_by(1) == found


def test_desk_units_predict_the_next_revaluation() -> None:
    """Move spot by 1 %, volatility by a point, time by a day: the desk's numbers say what happens, to second order."""
    held = book(CALL, PUT, forward="3000", discount="1")
    (now,) = greeks(held)
    (moved,) = greeks(held, spots={ETH: 3001 * WAD})
    assert (moved.delta - now.delta) * 3000 * 30 == pytest.approx(now.gamma_per_percent, rel=0.02)
    up = value(book(CALL, PUT, forward="3000", discount="1", vol="0.601"))[0] - value(held)[0]
    assert up * 10 == pytest.approx(now.vega_per_point, rel=0.01)
    hour = value(held, t=TIME + 3600)[0] - value(held)[0]
    assert hour * 24 == pytest.approx(now.theta_per_day, rel=0.01)


def test_positions_carry_what_they_were_valued_with() -> None:
    (call,) = positions(book(CALL), TIME + 15 * DAY)
    assert (call.ratio, call.discount, call.forward) == (WAD * 1005 // 1000, WAD * 99 // 100, 3015 * WAD)
    assert call.seconds == 15 * DAY and call.is_live
    assert call.value == 2 * WAD * (WAD * 99 // 100) * call.unit.price
