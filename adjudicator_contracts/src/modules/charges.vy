# pragma version 0.4.3
"""
@title charges
@license MIT
@notice The cost of replacing the portfolio, which is also the close-out charge (`docs/risk.md` §3, steps 12 to 14).
@dev Delta nets over an underlying, gamma and vega only within an expiry (term-structure risk), short options not at all.
     Expired legs cost nothing. Sums at 1e54 come down to 1e36, rounded up, before a charge multiplies them.
"""

from . import margin_policy
from . import portfolio
from . import rounding

uses: margin_policy

WAD: constant(int256) = 10**18


# Token units, each line rounded up once. All but `short` are the same for both parties.
struct Charges:
    delta: int256
    gamma: int256
    vega: int256
    short: int256[2]


@internal
@view
def _charges(mark: portfolio.Mark, unit: int256) -> Charges:
    """
    @notice Every line, `unit` being one token unit at 1e54.
    """
    delta: int256 = 0
    for net: int256 in mark.deltas:
        delta = unsafe_add(delta, rounding._div_up(abs(net), WAD))
    return Charges(
        delta=rounding._div_up(unsafe_mul(delta, margin_policy.DELTA_CHARGE), unit),
        gamma=rounding._div_up(unsafe_mul(mark.gamma, margin_policy.GAMMA_CHARGE), unit),
        vega=rounding._div_up(unsafe_mul(mark.vega, margin_policy.VEGA_CHARGE), unit),
        short=[
            rounding._div_up(unsafe_mul(mark.shorts[0], margin_policy.SHORT_CHARGE), unit),
            rounding._div_up(unsafe_mul(mark.shorts[1], margin_policy.SHORT_CHARGE), unit),
        ],
    )
