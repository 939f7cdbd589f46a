"""Black-76 on the forward: price and Greeks of one European option in exact integers, from one exponential.

A call on (F, K) and a put on (K, F) are worth the same, so every option reduces to its out-of-the-money side. With
A = min(F, K), B = max(F, K), w the total volatility, m = ln(B/A)/w and h = w/2 - m:

    value = A·N(h) - B·N(h - w)  =  near - far          A·pdf(h) = B·pdf(h - w) = F·pdf(d1) = K·pdf(d2)

Both tails hang on the one exponential exp(-h²/2), and no ratio F/K is ever formed. The in-the-money side is that value
plus the forward intrinsic, so put-call parity and the clamps 0 <= value <= A hold to the last bit by construction.
Error: |price - exact| <= 1e-18 · A + 1e-19 · B + 1 wei. The exponential's relative error counts once against the value,
at most A; the two tails' errors, in units of N, count against A and B.

Source: F. Black, "The pricing of commodity contracts", J. Financial Economics 3 (1976). Prices, forwards and strikes
are WAD of the quote currency per unit, volatilities WAD, nothing here is discounted.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import OutOfBounds
from ..model.marks import MAX_TENOR, MAX_VOL
from ..model.option import MAX_PRICE, OptionKind
from ..units import SECONDS_PER_YEAR, WAD
from .fixed import INV_SQRT_2PI_Q120, exp_neg, ln_q120, scaled_tail, sqrt_years_q100_down

_CALL = OptionKind.CALL
LIMIT_Q72 = 10 << 72
"""Where a tail ends: N(-10) is 7.6e-24, and beyond it the option is its intrinsic, or all of A."""
GUARD_BITS = 36
"""Extra bits below 1e-18 that `near`, `far` and the density carry until the one final rounding."""


@dataclass(frozen=True, slots=True)
class UnitGreeks:
    """Undiscounted price and sensitivities of one unit, WAD each, truncated toward zero, delta to the nearest.

    `delta` per 1 of forward, `delta_cash` = delta · F, `density` = F·pdf(d1) = K·pdf(d2), `gamma_cash` = F² · gamma =
    density / w, `vega` per 1.00 of volatility, `theta` per 365-day year at constant forward. With no volatility left
    the last four are zero and delta is that of the intrinsic.
    """

    price: int
    delta: int
    delta_cash: int
    density: int
    gamma_cash: int
    vega: int
    theta: int


def price(kind: OptionKind, forward: int, strike: int, vol: int, seconds: int) -> int:
    """Return the undiscounted price, WAD, its out-of-the-money part rounded down.

    Expired (seconds <= 0) or without volatility it is the forward intrinsic. Raises OutOfBounds outside protocol §2.
    """
    check_inputs(forward, strike, vol, seconds)
    width = total_vol_down(vol, sqrt_years_q100_down(max(seconds, 0)))
    return price_down(kind, forward, ln_q120(forward), strike, ln_q120(strike), width)


def unit_greeks(kind: OptionKind, forward: int, strike: int, vol: int, seconds: int) -> UnitGreeks:
    """Return price and Greeks of one unit. Raises OutOfBounds outside protocol §2.

    The relative error of a Greek is below 1e-12 plus 1e-18 of its scale (delta 1, gamma_cash F/w, vega F·sqrt(tau),
    theta F·w/tau) while w >= 2^-32; below that the logarithm's absolute error shows in d1.
    """
    check_inputs(forward, strike, vol, seconds)
    root = sqrt_years_q100_down(max(seconds, 0))
    return greeks_down(
        kind, forward, ln_q120(forward), strike, ln_q120(strike), total_vol_down(vol, root), root, seconds
    )


def check_inputs(forward: int, strike: int, vol: int, seconds: int) -> None:
    """Raise OutOfBounds unless every input lies within the protocol's bounds; a past expiry is within them."""
    for what, value, low, high in (
        ("forward", forward, 1, MAX_PRICE),
        ("strike", strike, 1, MAX_PRICE),
        ("volatility", vol, 0, MAX_VOL),
    ):
        if not low <= value <= high:
            raise OutOfBounds(what, value, low, high)
    if seconds > MAX_TENOR:
        raise OutOfBounds("time to expiry", seconds, 0, MAX_TENOR)


def total_vol_down(vol: int, root: int) -> int:
    """Return w = vol · sqrt(tau) in Q100, rounded down; at most 25.3 (product below 2^165)."""
    return vol * root // WAD


def intrinsic(kind: OptionKind, forward: int, strike: int) -> int:
    """Return what exercise at `forward` pays per unit, WAD, exact."""
    return max(0, forward - strike if kind == _CALL else strike - forward)


def price_down(kind: OptionKind, forward: int, ln_forward: int, strike: int, ln_strike: int, width: int) -> int:
    """Return the price for a total volatility `width` in Q100 and logarithms in Q120; inputs unchecked."""
    if forward < strike:
        near, far, _ = tails(forward, ln_strike - ln_forward, width)
        value = (near - far) >> GUARD_BITS if near > far else 0
        return value if kind == _CALL else value + strike - forward
    near, far, _ = tails(strike, ln_forward - ln_strike, width)
    value = (near - far) >> GUARD_BITS if near > far else 0
    return value + forward - strike if kind == _CALL else value


def tails(lower: int, log_ratio: int, width: int) -> tuple[int, int, int]:
    """Return A·N(h), B·N(h - w) and A·exp(-h²/2) in WAD with GUARD_BITS, each rounded down; A = `lower` = min(F, K).

    `log_ratio` = ln(B/A) in Q120, `width` = w in Q100. No volatility, or h at most -10: all three are zero.
    """
    if width == 0:
        return 0, 0, 0
    # That neighbouring integers keep their order under ln_q120 is not claimed; a negative moneyness has no meaning.
    moneyness = (log_ratio << 52) // width if log_ratio > 0 else 0  # below 2^179
    return tails_at(lower, moneyness, width >> 29)


def tails_at(lower: int, moneyness: int, half: int) -> tuple[int, int, int]:
    """Return what `tails` does, for m = ln(B/A)/w and w/2 in Q72."""
    h = half - moneyness
    z = h if h >= 0 else -h
    if z >= LIMIT_Q72:
        return (lower << GUARD_BITS if h > 0 else 0), 0, 0
    r, n = exp_neg((z * z) >> 73)  # z below 10: product below 2^151
    decay = (lower * r) >> (n + 100 - GUARD_BITS)  # lower <= 2^92, r <= 1.42 in Q100: product below 2^194
    p, q = scaled_tail(z)
    near = decay * p // q  # decay below 2^129, p below 2^105
    p, q = scaled_tail(half + moneyness)  # at most |h| + w <= 35.3
    far = decay * p // q
    if h > 0:
        near = (lower << GUARD_BITS) - near
    return near, far, decay


def greeks_down(
    kind: OptionKind,
    forward: int,
    ln_forward: int,
    strike: int,
    ln_strike: int,
    width: int,
    root: int,
    seconds: int,
) -> UnitGreeks:
    """Return price and Greeks, magnitudes rounded down; `width` and `root` = sqrt(tau) in Q100; inputs unchecked."""
    below = forward < strike
    lower, log_ratio = (forward, ln_strike - ln_forward) if below else (strike, ln_forward - ln_strike)
    near, far, decay = tails(lower, log_ratio, width)
    value = (near - far) >> GUARD_BITS if near > far else 0
    tail = near if below else far  # of the out-of-the-money option: F·N(d1) of the call, F·N(-d1) of the put
    delta_cash = tail >> GUARD_BITS
    # To the nearest: a delta is shown, never multiplied by money. Tail below 2^129: product below 2^189.
    delta = (tail * WAD + (forward << (GUARD_BITS - 1))) // (forward << GUARD_BITS)
    if not below:
        delta_cash, delta = -delta_cash, -delta
    if below and kind != _CALL:
        value, delta_cash, delta = value + strike - forward, delta_cash - forward, delta - WAD
    elif not below and kind == _CALL:
        value, delta_cash, delta = value + forward - strike, delta_cash + forward, delta + WAD
    if decay == 0:
        return UnitGreeks(value, delta, delta_cash, 0, 0, 0, 0)
    density = (decay * INV_SQRT_2PI_Q120) >> 120  # decay below 2^129: product below 2^248
    gamma_cash = (density << 64) // width
    vega = (density * root) >> (100 + GUARD_BITS)  # root below 2^102
    theta = -((((density * width) >> 100) * SECONDS_PER_YEAR // (2 * seconds)) >> GUARD_BITS)
    return UnitGreeks(value, delta, delta_cash, density >> GUARD_BITS, gamma_cash, vega, theta)
