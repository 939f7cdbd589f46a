# pragma version 0.4.3
"""
@title black
@license MIT
@notice Black-76 on the forward: price and Greeks of one European option from one exponential (`docs/risk.md` §1).
@dev A call on (F, K) and a put on (K, F) are worth the same, so every option reduces to its out-of-the-money side. With
     A = min(F, K), B = max(F, K), w the total volatility, m = ln(B/A)/w and h = w/2 - m:

         value = A*N(h) - B*N(h - w) = near - far        A*pdf(h) = B*pdf(h - w) = F*pdf(d1) = K*pdf(d2)

     The in-the-money side is that plus the intrinsic, so parity and bounds hold to the last bit. Prices, forwards and strikes
     are WAD up to 2**92, volatilities WAD up to 8, times at most ten years: callers check. Nothing is discounted. Within
     those bounds no intermediate reaches 2**255 (`tests/unit/risk/test_bounds.py`), hence the unchecked arithmetic.
"""

from . import fixed

WAD: constant(int256) = 10**18
# Where a tail ends: N(-10) is 7.6e-24.
LIMIT_Q72: constant(int256) = 10 * 2**72
# Extra bits below 1e-18 that near, far and density carry until the one final rounding.
GUARD_BITS: constant(uint256) = 36
HALF_GUARD: constant(uint256) = GUARD_BITS - 1


# Of one unit, undiscounted, WAD, truncated toward zero, delta to the nearest; as `channels.risk.UnitGreeks`.
struct Greeks:
    price: int256
    delta: int256  # per 1 of forward
    delta_cash: int256  # delta * F
    density: int256  # F * pdf(d1)
    gamma_cash: int256  # F² * gamma
    vega: int256  # per 1.00 of volatility
    theta: int256  # per 365-day year at constant forward


@internal
@pure
def _tails(
    forward: int256, ln_forward: int256, strike: int256, ln_strike: int256, width: int256
) -> (int256, int256, int256):
    """
    @notice Both tails and the decay (steps 4 to 10): A*N(h), B*N(h - w), A*exp(-h²/2), WAD with GUARD_BITS, each rounded down.
            All zero without volatility, or where h is at most -10.
    @dev The hot spot of a scan, so the reference's `exp_neg` and `scaled_tail` stand inline, and each polynomial is one
         expression: a call or a variable costs more here than the arithmetic.
    """
    if width == 0:
        return 0, 0, 0
    lower: int256 = forward
    m: int256 = unsafe_sub(ln_strike, ln_forward)
    if forward >= strike:
        lower = strike
        m = unsafe_sub(ln_forward, ln_strike)
    # That neighbouring integers keep their order under the logarithm is not claimed; a negative moneyness has no meaning.
    if m < 0:
        m = 0
    m = unsafe_div(m << 52, width)
    h: int256 = unsafe_sub(width >> 29, m)
    z: int256 = h
    if h < 0:
        z = unsafe_sub(0, h)
    if z >= LIMIT_Q72:
        if h > 0:
            return lower << GUARD_BITS, 0, 0
        return 0, 0, 0

    # exp(-s) = (q - p) / (q + p) * 2**-n with s = n ln 2 + y and p / q = tanh(y/2).
    y: int256 = unsafe_mul(z, z) >> 73
    n: int256 = unsafe_add(unsafe_mul(y, fixed.INV_LN2_Q72), fixed.HALF_Q144) >> 144
    y = unsafe_sub(y, unsafe_mul(n, fixed.LN2_Q72))
    v: int256 = unsafe_mul(y, y) >> 72
    y = unsafe_mul(
        unsafe_add(unsafe_mul(unsafe_add(unsafe_mul(fixed.EXP_P2, v), fixed.EXP_P1), v), fixed.EXP_P0) >> 144, y
    )
    v = unsafe_add(unsafe_mul(unsafe_add(unsafe_mul(fixed.EXP_Q2, v), fixed.EXP_Q1), v), fixed.EXP_Q0) >> 72
    decay: int256 = unsafe_mul(
        unsafe_div(unsafe_sub(v, y) << 100, unsafe_add(v, y)), lower
    ) >> convert(unsafe_add(n, 64), uint256)

    # exp(z²/2) N(-z) = P(z) / Q(z), Horner, two coefficients to a shift.
    near: int256 = unsafe_div(
        unsafe_mul(
            unsafe_add(unsafe_mul(unsafe_add(unsafe_mul(
                unsafe_add(unsafe_mul(unsafe_add(unsafe_mul(
                    unsafe_add(unsafe_mul(unsafe_add(unsafe_mul(
                        unsafe_add(unsafe_mul(fixed.TAIL_P7, z), fixed.TAIL_P6) >> 144,
                        z), fixed.TAIL_P5), z), fixed.TAIL_P4) >> 144,
                    z), fixed.TAIL_P3), z), fixed.TAIL_P2) >> 144,
                z), fixed.TAIL_P1), z), fixed.TAIL_P0) >> 144,
            decay,
        ),
        unsafe_add(unsafe_mul(unsafe_add(unsafe_mul(
            unsafe_add(unsafe_mul(unsafe_add(unsafe_mul(
                unsafe_add(unsafe_mul(unsafe_add(unsafe_mul(
                    unsafe_add(unsafe_mul(unsafe_add(unsafe_mul(
                        fixed.TAIL_Q8, z), fixed.TAIL_Q7), z), fixed.TAIL_Q6) >> 144,
                    z), fixed.TAIL_Q5), z), fixed.TAIL_Q4) >> 144,
                z), fixed.TAIL_Q3), z), fixed.TAIL_Q2) >> 144,
            z), fixed.TAIL_Q1), z), fixed.TAIL_Q0) >> 144,
    )
    if h > 0:
        near = unsafe_sub(lower << GUARD_BITS, near)
    z = unsafe_add(width >> 29, m)
    far: int256 = unsafe_div(
        unsafe_mul(
            unsafe_add(unsafe_mul(unsafe_add(unsafe_mul(
                unsafe_add(unsafe_mul(unsafe_add(unsafe_mul(
                    unsafe_add(unsafe_mul(unsafe_add(unsafe_mul(
                        unsafe_add(unsafe_mul(fixed.TAIL_P7, z), fixed.TAIL_P6) >> 144,
                        z), fixed.TAIL_P5), z), fixed.TAIL_P4) >> 144,
                    z), fixed.TAIL_P3), z), fixed.TAIL_P2) >> 144,
                z), fixed.TAIL_P1), z), fixed.TAIL_P0) >> 144,
            decay,
        ),
        unsafe_add(unsafe_mul(unsafe_add(unsafe_mul(
            unsafe_add(unsafe_mul(unsafe_add(unsafe_mul(
                unsafe_add(unsafe_mul(unsafe_add(unsafe_mul(
                    unsafe_add(unsafe_mul(unsafe_add(unsafe_mul(
                        fixed.TAIL_Q8, z), fixed.TAIL_Q7), z), fixed.TAIL_Q6) >> 144,
                    z), fixed.TAIL_Q5), z), fixed.TAIL_Q4) >> 144,
                z), fixed.TAIL_Q3), z), fixed.TAIL_Q2) >> 144,
            z), fixed.TAIL_Q1), z), fixed.TAIL_Q0) >> 144,
    )
    return near, far, decay


@internal
@pure
def _unit(
    is_put: bool,
    forward: int256,
    ln_forward: int256,
    strike: int256,
    ln_strike: int256,
    width: int256,
    root: int256,
    seconds: int256,
) -> Greeks:
    """
    @notice Price and Greeks of one unit; `width` = w and `root` = sqrt(tau) in Q100.
    """
    unit: Greeks = empty(Greeks)
    near: int256 = 0
    far: int256 = 0
    decay: int256 = 0
    near, far, decay = self._tails(forward, ln_forward, strike, ln_strike, width)
    if near > far:
        unit.price = unsafe_sub(near, far) >> GUARD_BITS
    if forward < strike:
        # The call is out of the money: F*N(d1) is the near tail; the put by parity.
        unit.delta_cash = near >> GUARD_BITS
        unit.delta = unsafe_div(
            unsafe_add(unsafe_mul(near, WAD), forward << HALF_GUARD), forward << GUARD_BITS
        )
        if is_put:
            unit.price = unsafe_add(unit.price, unsafe_sub(strike, forward))
            unit.delta_cash = unsafe_sub(unit.delta_cash, forward)
            unit.delta = unsafe_sub(unit.delta, WAD)
    else:
        # The put is out of the money: F*N(-d1) is the far tail; the call by parity.
        unit.delta_cash = unsafe_sub(0, far >> GUARD_BITS)
        unit.delta = unsafe_sub(
            0, unsafe_div(unsafe_add(unsafe_mul(far, WAD), forward << HALF_GUARD), forward << GUARD_BITS)
        )
        if not is_put:
            unit.price = unsafe_add(unit.price, unsafe_sub(forward, strike))
            unit.delta_cash = unsafe_add(unit.delta_cash, forward)
            unit.delta = unsafe_add(unit.delta, WAD)
    if decay != 0:
        decay = unsafe_mul(decay, fixed.INV_SQRT_2PI_Q120) >> 120  # the density
        unit.density = decay >> GUARD_BITS
        unit.gamma_cash = unsafe_div(decay << 64, width)
        unit.vega = unsafe_mul(decay, root) >> 136
        unit.theta = unsafe_sub(
            0,
            unsafe_div(
                unsafe_mul(unsafe_mul(decay, width) >> 100, fixed.SECONDS_PER_YEAR), unsafe_mul(seconds, 2)
            ) >> GUARD_BITS,
        )
    return unit
