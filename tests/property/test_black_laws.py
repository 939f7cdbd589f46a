"""Laws of Black-76 over the whole domain: 5,000 options in every run, 100,000 at night, the extremes among them."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from mpmath import erfc, exp, log, mp, mpf, pi, sqrt

from channels.model.marks import MAX_TENOR, MAX_VOL
from channels.model.option import MAX_PRICE, OptionKind
from channels.risk import price, unit_greeks
from channels.risk.black import intrinsic, total_vol_down
from channels.risk.fixed import sqrt_years_q100_down
from channels.units import SECONDS_PER_YEAR, WAD

mp.dps = 50
CALL, PUT = OptionKind.CALL, OptionKind.PUT
CAMPAIGNS = [5_000, pytest.param(100_000, marks=pytest.mark.nightly)]


@dataclass(frozen=True, slots=True)
class Case:
    """One option of the domain."""

    forward: int
    strike: int
    vol: int
    seconds: int

    @property
    def error(self) -> int:
        """The stated error of a price, rounded up."""
        return (10 * min(self.forward, self.strike) + max(self.forward, self.strike)) // 10**19 + 2

    @property
    def width(self) -> mpf:
        return mpf(self.vol) / WAD * sqrt(mpf(max(self.seconds, 0)) / SECONDS_PER_YEAR)


def cases(count: int) -> Iterator[Case]:
    """Any magnitude against any, strikes a few standard deviations from the forward, and the ends of the ranges."""
    dice = random.Random(count)

    def magnitude(high: int) -> int:
        return min(high, max(1, int(2 ** dice.uniform(0, high.bit_length()))))

    for i in range(count):
        forward = dice.choice((magnitude(MAX_PRICE), int(WAD * 10 ** dice.uniform(-1, 5)), 1, MAX_PRICE))
        vol = dice.choice((magnitude(MAX_VOL), int(WAD * dice.uniform(0.05, 2)), 0, MAX_VOL))
        seconds = dice.choice((magnitude(MAX_TENOR), dice.randrange(60, 63_072_000), 0, 1, -1, MAX_TENOR))
        if i % 3:
            width = vol / WAD * (max(seconds, 1) / SECONDS_PER_YEAR) ** 0.5
            strike = int(forward * 2.718281828 ** max(-60.0, min(60.0, dice.gauss(0, 3) * width)))
        else:
            strike = dice.choice((magnitude(MAX_PRICE), forward, forward + 1, 1, MAX_PRICE))
        yield Case(forward, min(MAX_PRICE, max(1, strike)), vol, seconds)


@pytest.mark.parametrize("count", CAMPAIGNS)
def test_prices_are_clamped_and_in_parity_and_greeks_have_their_signs(count: int) -> None:
    valued = 0
    for case in cases(count):
        f, k, vol, seconds = case.forward, case.strike, case.vol, case.seconds
        call, put = (unit_greeks(kind, f, k, vol, seconds) for kind in (CALL, PUT))
        assert intrinsic(CALL, f, k) <= call.price <= f, case
        assert intrinsic(PUT, f, k) <= put.price <= k, case
        assert call.price - put.price == f - k, case
        assert (price(CALL, f, k, vol, seconds), price(PUT, f, k, vol, seconds)) == (call.price, put.price), case
        assert 0 <= call.delta <= WAD and put.delta == call.delta - WAD, case
        assert 0 <= call.delta_cash <= f and put.delta_cash == call.delta_cash - f, case
        assert call.density >= 0 and call.gamma_cash >= 0 and call.vega >= 0 and call.theta <= 0, case
        assert (put.density, put.gamma_cash, put.vega, put.theta) == (
            call.density,
            call.gamma_cash,
            call.vega,
            call.theta,
        )
        valued += call.price > intrinsic(CALL, f, k)
    assert valued > count // 4, "most of the campaign was intrinsic: the law was hardly tested"


@pytest.mark.parametrize("count", CAMPAIGNS)
def test_a_call_on_f_struck_at_k_is_a_put_on_k_struck_at_f(count: int) -> None:
    for case in cases(count):
        swapped = price(PUT, case.strike, case.forward, case.vol, case.seconds)
        assert price(CALL, case.forward, case.strike, case.vol, case.seconds) == swapped, case


@pytest.mark.parametrize("count", CAMPAIGNS)
def test_prices_move_the_way_no_arbitrage_says(count: int) -> None:
    """Calls fall in the strike, by no more than it rises, and are convex in it; they rise in volatility and time."""
    dice = random.Random(7)
    for case in cases(count):
        f, vol, seconds = case.forward, case.vol, max(0, case.seconds)
        step = max(1, case.strike // dice.choice((1000, 50, 3)))
        low, mid, high = case.strike, case.strike + step, case.strike + 2 * step
        if high > MAX_PRICE:
            continue
        prices = [price(CALL, f, strike, vol, seconds) for strike in (low, mid, high)]
        allowed = 2 * Case(f, high, vol, seconds).error
        assert -allowed <= prices[0] - prices[1] <= step + allowed, case
        assert prices[0] + prices[2] - 2 * prices[1] >= -2 * allowed, case
        assert price(CALL, f, low, min(MAX_VOL, vol + vol // 9 + 1), seconds) >= prices[0] - allowed, case
        assert price(CALL, f, low, vol, min(MAX_TENOR, seconds + seconds // 9 + 1)) >= prices[0] - allowed, case


@pytest.mark.parametrize("count", [10_000, pytest.param(300_000, marks=pytest.mark.nightly)])
def test_neighbouring_prices_are_monotone_within_one_wei_in_1e21(count: int) -> None:
    """A call falls in its strike and rises in its forward, from one integer to the next, up to a stated slack."""
    dice, against = random.Random(11), 0
    for _ in range(count):
        strike = int(2 ** dice.uniform(1, 92))
        forward = max(1, min(MAX_PRICE, int(strike * 2 ** dice.gauss(0, dice.choice((1e-9, 1e-4, 0.1, 1))))))
        vol = int(dice.choice((dice.uniform(1e-6, 8), dice.uniform(0.1, 2))) * WAD)
        seconds = dice.choice((dice.randrange(1, 86_400), dice.randrange(1, MAX_TENOR)))
        step = dice.choice((1, 2, 10, max(1, strike >> 60)))
        here = price(CALL, forward, strike, vol, seconds)
        moves = (
            price(CALL, forward, min(MAX_PRICE, strike + step), vol, seconds) - here,
            here - price(CALL, min(MAX_PRICE, forward + step), strike, vol, seconds),
        )
        against += max(moves) > 0
        assert max(moves) <= 1 + max(forward, strike) // 10**21, (forward, strike, vol, seconds, step)
    assert against, "no case in which rounding shows: the law was not tried"


def reference(case: Case) -> tuple[mpf, mpf, mpf]:
    """Call price, N(d1) and F·pdf(d1) at fifty digits, in WAD; the out-of-the-money side first, to keep its digits."""
    f, k, w = mpf(case.forward), mpf(case.strike), case.width

    def normal(x: mpf) -> mpf:
        return erfc(-x / sqrt(mpf(2))) / 2

    d1 = log(f / k) / w + w / 2
    density = f * exp(-d1 * d1 / 2) / sqrt(2 * pi)
    if f < k:
        return f * normal(d1) - k * normal(d1 - w), normal(d1), density
    return k * normal(w - d1) - f * normal(-d1) + f - k, 1 - normal(-d1), density


@pytest.mark.parametrize("count", [5_000, pytest.param(50_000, marks=pytest.mark.nightly)])
def test_prices_and_greeks_against_fifty_digits(count: int) -> None:
    """The error bounds that the docstrings state, over the whole domain; Greeks from w >= 2^-32 on."""
    compared = 0
    for case in cases(count):
        w = case.width
        if w == 0 or total_vol_down(case.vol, sqrt_years_q100_down(max(0, case.seconds))) == 0:
            continue
        call, delta, density = reference(case)
        found = unit_greeks(CALL, case.forward, case.strike, case.vol, case.seconds)
        if w < mpf(2) ** -32:
            assert abs(found.price - call) <= case.error, case
            continue
        compared += 1
        assert abs(found.price - call) <= case.error, case
        assert abs(found.delta - delta * WAD) <= mpf("1e-12") * delta * WAD + 1 + mpf(WAD) / case.forward / 2**34, case
        tolerance = mpf("1e-12") * density + mpf("1e-18") * case.forward + 1
        assert abs(found.density - density) <= tolerance, case
        assert abs(found.gamma_cash - density / w) <= tolerance / w + 1, case
        tau = mpf(case.seconds) / SECONDS_PER_YEAR
        assert abs(found.vega - density * sqrt(tau)) <= tolerance * sqrt(tau) + 1, case
        assert abs(found.theta + density * w / (2 * tau)) <= tolerance * w / (2 * tau) + 1, case
    assert compared > count // 3
