# pragma version 0.4.3
"""
@title tails
@license MIT
@notice The two normal tails of an option and the exponential they hang on: `docs/risk.md` §1, steps 4 to 10.
@dev Unchecked arithmetic within the bounds that `tests/unit/risk/test_bounds.py` proves; callers check the inputs.
"""

from . import fixed

# Where a tail ends: N(-10) is 7.6e-24.
LIMIT_Q72: constant(int256) = 10 * 2**72
# Extra bits below 1e-18 that near, far and density carry until the one final rounding.
GUARD_BITS: constant(uint256) = 36


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
