"""Prices and Greeks against 732 reference cases at forty digits, and the edges that are defined rather than met."""

from __future__ import annotations

import json
from dataclasses import fields
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from mpmath import log, mp, mpf, ncdf, npdf, sqrt

from channels.errors import OutOfBounds
from channels.model.marks import MAX_TENOR, MAX_VOL
from channels.model.option import MAX_PRICE, OptionKind
from channels.risk import price, unit_greeks
from channels.risk.black import GUARD_BITS, intrinsic, tails, tails_at, total_vol_down
from channels.risk.fixed import SQRT2_Q127, ln_q120, sqrt_years_q100_down
from channels.units import SECONDS_PER_YEAR, WAD, wad

mp.dps = 50
CALL, PUT = OptionKind.CALL, OptionKind.PUT
DAY = 86_400
CASES = json.loads((Path(__file__).parents[2] / "vectors" / "black76_cases.json").read_text())["cases"]


def inputs(case: dict[str, Any]) -> tuple[int, int, int, int]:
    """Forward, strike, volatility as WAD, and whole seconds: the reference times are all whole seconds."""
    seconds = round(mpf(case["tau_years"]) * SECONDS_PER_YEAR)
    return wad(case["F"]), wad(case["K"]), wad(case["sigma"]), seconds


def within(got: mpf, reference: mpf, scale: mpf) -> bool:
    """The tolerance of the specification for Greeks."""
    return abs(got - reference) <= mpf("1e-12") * abs(reference) + mpf("1e-18") * scale


def test_there_are_732_cases_and_each_has_whole_seconds() -> None:
    assert len(CASES) == 732
    for case in CASES:
        assert abs(mpf(case["tau_years"]) * SECONDS_PER_YEAR - inputs(case)[3]) < mpf("1e-15")


@pytest.mark.parametrize("kind", [CALL, PUT])
def test_prices_of_the_reference_cases(kind: OptionKind) -> None:
    for case in CASES:
        forward, strike, vol, seconds = inputs(case)
        error = abs(price(kind, forward, strike, vol, seconds) - mpf(case[kind.name.lower()]) * WAD)
        assert error <= mpf("1e-16") * max(forward, strike), case
        assert error <= mpf("1e-18") * min(forward, strike) + mpf("1e-19") * max(forward, strike) + 1, case


@pytest.mark.parametrize("gain", [1, 2**13])
def test_greeks_of_the_reference_cases(gain: int) -> None:
    """Black's formula is homogeneous in (F, K): at the greatest gain that all cases bear, the tolerance holds as it is.

    At gain 1 a Greek of an underlying that costs half a unit sits on a grid of 1e-18, coarser than 1e-18 of its scale.
    """
    finest = mpf(1) if gain == 1 else mpf(0)
    for case in CASES:
        forward, strike, vol, seconds = inputs(case)
        forward, strike = forward * gain, strike * gain
        f, tau = mpf(forward) / WAD, mpf(seconds) / SECONDS_PER_YEAR
        w = mpf(vol) / WAD * sqrt(tau)
        delta, gamma, vega, theta = (mpf(case[key]) for key in ("delta_call", "gamma", "vega", "theta_year"))
        call, put = (unit_greeks(kind, forward, strike, vol, seconds) for kind in (CALL, PUT))
        assert within(mpf(call.delta) / WAD, delta, mpf(1)), case
        assert within(mpf(call.delta_cash) / WAD, delta * f, max(f, finest)), case
        assert within(mpf(call.gamma_cash) / WAD, gamma * (f / gain) ** 2 * gain, max(f / w, finest)), case
        assert within(mpf(call.vega) / WAD, vega * gain, max(f * sqrt(tau), finest)), case
        assert within(mpf(call.theta) / WAD, theta * gain, max(f * w / tau, finest)), case
        assert put.delta == call.delta - WAD
        assert put.delta_cash == call.delta_cash - forward
        assert (put.gamma_cash, put.vega, put.theta) == (call.gamma_cash, call.vega, call.theta)


def test_the_bits_are_the_normative_ones() -> None:
    """Any other order of steps, rounding or constant shows here: a contract that agrees gives this digest too.

    Every case at two gains, and at each the logarithms, both tails with their guard bits, and the Greeks of both kinds.
    """
    digest = sha256()
    for gain in (1, 2**13):
        for case in CASES:
            forward, strike, vol, seconds = inputs(case)
            f, k = forward * gain, strike * gain
            logs, width = (ln_q120(f), ln_q120(k)), total_vol_down(vol, sqrt_years_q100_down(seconds))
            numbers = [*logs, width, *tails(min(f, k), abs(logs[0] - logs[1]), width)]
            for kind in (CALL, PUT):
                found = unit_greeks(kind, f, k, vol, seconds)
                numbers += (getattr(found, field.name) for field in fields(found))
            digest.update(repr(numbers).encode())
    assert digest.hexdigest() == "eaeffee69529d16d2e6e4b337e0e8ea7e2b9c7a33c834de5603577b15b722f57"


def test_at_the_money_textbook_value() -> None:
    # F = K = 100, w = 0.2: 100 · (2 N(0.1) - 1) = 7.965567455405804
    assert price(CALL, 100 * WAD, 100 * WAD, WAD // 5, SECONDS_PER_YEAR) == 7_965_567_455_405_796_283


@pytest.mark.parametrize("kind", [CALL, PUT])
@pytest.mark.parametrize(("vol", "seconds"), [(WAD, 0), (WAD, -DAY), (0, DAY), (1, 1)])
@pytest.mark.parametrize("forward", [2400 * WAD, 3000 * WAD, 4500 * WAD])
def test_without_time_or_volatility_it_is_intrinsic(kind: OptionKind, vol: int, seconds: int, forward: int) -> None:
    strike = 3000 * WAD
    expected = max(0, forward - strike if kind == CALL else strike - forward)
    found = unit_greeks(kind, forward, strike, vol, seconds)
    assert price(kind, forward, strike, vol, seconds) == expected == intrinsic(kind, forward, strike)
    if forward != strike:
        assert found.delta == ((WAD if kind == CALL else -WAD) if expected else 0)
        assert (found.density, found.gamma_cash, found.vega, found.theta) == (0, 0, 0, 0)


@pytest.mark.parametrize(("forward", "strike"), [(1, MAX_PRICE), (MAX_PRICE, 1), (WAD, 3000 * WAD), (3000 * WAD, WAD)])
def test_far_from_the_money_it_is_intrinsic(forward: int, strike: int) -> None:
    for kind in (CALL, PUT):
        assert price(kind, forward, strike, WAD // 2, 30 * DAY) == intrinsic(kind, forward, strike)


def test_a_tail_ends_at_ten_standard_deviations() -> None:
    half, limit = 1 << 71, 10 << 72
    assert tails_at(MAX_PRICE, half + limit, half) == (0, 0, 0)
    near, far, decay = tails_at(MAX_PRICE, half + limit - 1, half)
    assert decay > near > far > 0
    assert tails_at(MAX_PRICE, 0, limit) == (MAX_PRICE << GUARD_BITS, 0, 0)
    near, far, decay = tails_at(MAX_PRICE, 0, limit - 1)
    assert (MAX_PRICE << GUARD_BITS) > near > (MAX_PRICE << GUARD_BITS) - decay and decay > far > 0


def test_with_unbounded_volatility_a_call_is_worth_the_forward_and_a_put_the_strike() -> None:
    assert price(CALL, 3000 * WAD, 4500 * WAD, MAX_VOL, MAX_TENOR) == 3000 * WAD
    assert price(PUT, 3000 * WAD, 4500 * WAD, MAX_VOL, MAX_TENOR) == 4500 * WAD


def test_neighbouring_prices_stay_within_the_clamps_whatever_their_logarithms_say() -> None:
    seam = (SQRT2_Q127 << 91) >> 127
    for strike in (MAX_PRICE, seam + 1, seam, 2**91 + 1, 2**91):
        for kind in (CALL, PUT):
            found = price(kind, strike - 1, strike, 1000, 1)
            assert intrinsic(kind, strike - 1, strike) <= found <= strike
    assert tails(WAD, -5, 1 << 40) == tails(WAD, 0, 1 << 40)


@pytest.mark.parametrize(
    ("what", "arguments"),
    [
        ("forward", (0, WAD, WAD, DAY)),
        ("forward", (MAX_PRICE + 1, WAD, WAD, DAY)),
        ("strike", (WAD, 0, WAD, DAY)),
        ("strike", (WAD, MAX_PRICE + 1, WAD, DAY)),
        ("volatility", (WAD, WAD, -1, DAY)),
        ("volatility", (WAD, WAD, MAX_VOL + 1, DAY)),
        ("time to expiry", (WAD, WAD, WAD, MAX_TENOR + 1)),
    ],
)
def test_inputs_beyond_the_bounds_are_refused_by_name(what: str, arguments: tuple[int, int, int, int]) -> None:
    for function in (price, unit_greeks):
        with pytest.raises(OutOfBounds) as refused:
            function(CALL, *arguments)
        assert refused.value.what == what
        assert refused.value.code == "risk: out of bounds"


def test_the_bounds_themselves_are_priced() -> None:
    for kind in (CALL, PUT):
        assert price(kind, MAX_PRICE, MAX_PRICE, MAX_VOL, MAX_TENOR) == MAX_PRICE
        assert price(kind, 1, 1, MAX_VOL, MAX_TENOR) == 1


def test_out_of_the_money_prices_are_rounded_down() -> None:
    """The true value of each lies between the integer given and the next one, the error bound apart."""
    for forward, strike in ((3000 * WAD, 3300 * WAD), (3000 * WAD, 2700 * WAD), (5, 7), (7, 5), (1000, 1001)):
        lower = min(forward, strike)
        width = total_vol_down(WAD, sqrt_years_q100_down(30 * DAY))
        near, far, _ = tails(lower, abs(ln_q120(forward) - ln_q120(strike)), width)
        found = price(CALL if forward < strike else PUT, forward, strike, WAD, 30 * DAY)
        assert found << 36 <= near - far < (found + 1) << 36


def test_total_volatility_is_rounded_down() -> None:
    root = sqrt_years_q100_down(DAY)
    assert total_vol_down(3, root) * WAD <= 3 * root < (total_vol_down(3, root) + 1) * WAD


def test_greeks_are_truncated_toward_zero() -> None:
    """Numbers so small that one unit shows: F = 700 and K = 900 wei, 30 days at 100 %."""
    tau = mpf(30) / 365
    d1 = log(mpf(7) / 9) / sqrt(tau) + sqrt(tau) / 2
    exact = (700 * ncdf(d1), 700 * npdf(d1) * sqrt(tau), -700 * npdf(d1) / (2 * sqrt(tau)))
    call, put = (unit_greeks(kind, 700, 900, WAD, 30 * DAY) for kind in (CALL, PUT))
    assert (call.delta_cash, call.vega, call.theta) == tuple(int(value) for value in exact)
    assert put.theta == call.theta
    mirrored = unit_greeks(PUT, 900, 700, WAD, 30 * DAY)
    assert mirrored.delta_cash == -int(900 * ncdf(-(log(mpf(9) / 7) / sqrt(tau) + sqrt(tau) / 2)))
