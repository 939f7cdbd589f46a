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
@pure
def _gamma_move(density: int256, width: int256, move: int256, move_q100: int256) -> int256:
    """
    @notice What one unit's gamma earns over the move, WAD, rounded down; w inside gamma is floored at the move.
    """
    return unsafe_div(
        unsafe_mul(unsafe_mul(density, move), move_q100), unsafe_mul(2 * WAD, max(width, move_q100))
    )


@internal
@view
def _charges(
    expiries: DynArray[portfolio.Expiry, 8], held: DynArray[portfolio.Position, 32], unit: int256
) -> Charges:
    """
    @notice Every line, `unit` being one token unit at 1e54.
    """
    move: int256 = margin_policy.GAMMA_MOVE
    move_q100: int256 = unsafe_div(move << 100, WAD)
    # At 1e54: delta of the underlying, gamma and vega of the expiry at hand; at 1e36: what is behind them.
    net: int256[3] = empty(int256[3])
    gross: int256[3] = empty(int256[3])
    short: int256[2] = empty(int256[2])
    at: uint256 = 0
    expiry: portfolio.Expiry = empty(portfolio.Expiry)
    if len(expiries) != 0:
        expiry = expiries[0]
    for position: portfolio.Position in held:
        if position.expiry != at:
            at = position.expiry
            next: portfolio.Expiry = expiries[at]
            gross[1] = unsafe_add(gross[1], rounding._div_up(abs(net[1]), WAD))
            gross[2] = unsafe_add(gross[2], rounding._div_up(abs(net[2]), WAD))
            net[1] = 0
            net[2] = 0
            if next.underlying != expiry.underlying:
                gross[0] = unsafe_add(gross[0], rounding._div_up(abs(net[0]), WAD))
                net[0] = 0
            expiry = next
        if expiry.seconds == 0:
            continue
        moved: int256 = self._gamma_move(position.unit.density, position.width, move, move_q100)
        net[0] = unsafe_add(net[0], unsafe_mul(position.notional, position.unit.delta_cash))
        net[1] = unsafe_add(net[1], unsafe_mul(position.notional, moved))
        net[2] = unsafe_add(net[2], unsafe_mul(position.notional, position.unit.vega))
        cash: int256 = unsafe_mul(position.quantity, expiry.forward)
        if cash < 0:
            short[0] = unsafe_sub(short[0], cash)
        else:
            short[1] = unsafe_add(short[1], cash)

    for i: uint256 in range(3):
        gross[i] = unsafe_add(gross[i], rounding._div_up(abs(net[i]), WAD))
    return Charges(
        delta=rounding._div_up(unsafe_mul(gross[0], margin_policy.DELTA_CHARGE), unit),
        gamma=rounding._div_up(unsafe_mul(gross[1], margin_policy.GAMMA_CHARGE), unit),
        vega=rounding._div_up(unsafe_mul(gross[2], margin_policy.VEGA_CHARGE), unit),
        short=[
            rounding._div_up(unsafe_mul(short[0], margin_policy.SHORT_CHARGE), unit),
            rounding._div_up(unsafe_mul(short[1], margin_policy.SHORT_CHARGE), unit),
        ],
    )
