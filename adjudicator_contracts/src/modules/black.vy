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
from . import tails

WAD: constant(int256) = 10**18
GUARD_BITS: constant(uint256) = tails.GUARD_BITS
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
    near, far, decay = tails._tails(forward, ln_forward, strike, ln_strike, width)
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
