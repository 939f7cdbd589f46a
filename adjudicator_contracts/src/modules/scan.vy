# pragma version 0.4.3
"""
@title scan
@license MIT
@notice What the live legs of each underlying lose in a scenario, for both parties (`docs/risk.md` §3, steps 6 to 9).
@dev One code path serves a proof of compliance, which runs the whole grid, and a proof of breach, which names one row for each
     underlying: so the second can never claim more than the first would find. Losses are negative where the party gains.
"""

from . import fixed
from . import margin_policy
from . import portfolio
from . import rounding
from . import schedule
from . import shocks
from . import tails

uses: margin_policy
uses: shocks

WAD: constant(int256) = 10**18
# Below every loss; as a row's loss it would mean that no row was seen.
NOTHING: constant(int256) = min_value(int256)


# Per party and underlying: the row that costs most, the first of equals, and its damped loss at 1e54. Without a live leg both
# are zero.
struct Worst:
    rows: uint256[4][2]
    losses: int256[4][2]


@internal
@view
def _worst(
    expiries: DynArray[schedule.Expiry, 8],
    legs: DynArray[portfolio.Leg, 32],
    mark: portfolio.Mark,
    underlyings: uint256,
    witness: DynArray[uint256, 4],
) -> Worst:
    """
    @notice The worst of all rows, or of the one row that `witness` names, for each underlying.
    """
    worst: Worst = empty(Worst)
    rows: int256[40] = margin_policy.SCENARIOS
    vols: int256[96] = shocks._shocked_vols(expiries, legs, mark.age)
    from_expiry: uint256 = 0
    for u: uint256 in range(underlyings, bound=4):
        from_row: uint256 = 0
        to_row: uint256 = margin_policy.SCENARIO_COUNT
        if len(witness) != 0:
            from_row = witness[u]
            assert from_row < to_row, "risk: no such scenario"
            to_row = unsafe_add(from_row, 1)
        to_expiry: uint256 = from_expiry
        is_live: bool = False
        # The expiries of this underlying: from `first_expiry` to before `to_expiry`.
        for e: uint256 in range(from_expiry, len(expiries), bound=8):
            if expiries[e].underlying != u:
                break
            to_expiry = unsafe_add(e, 1)
            is_live = is_live or expiries[e].seconds != 0
        first_expiry: uint256 = from_expiry
        from_expiry = to_expiry
        if not is_live:
            continue

        losses: int256[2] = [NOTHING, NOTHING]
        factor: int256 = 0
        forwards: int256[8] = empty(int256[8])
        logarithms: int256[8] = empty(int256[8])
        for s: uint256 in range(from_row, to_row, bound=40):
            row: int256 = rows[s]
            damping: int256 = (row >> 64) & margin_policy.MASK_64
            horizon: int256 = (row >> 128) & margin_policy.MASK_32
            shock: uint256 = convert(row >> 160, uint256)
            change: int256 = 0
            if row & margin_policy.MASK_64 != WAD or shock != 0 or horizon != 0:
                is_same: bool = factor == row & margin_policy.MASK_64
                factor = row & margin_policy.MASK_64
                change = mark.live[u]
                for e: uint256 in range(first_expiry, to_expiry, bound=8):
                    expiry: schedule.Expiry = expiries[e]
                    if expiry.seconds == 0:
                        continue
                    root: int256 = expiry.root
                    if horizon != 0:
                        root = fixed._sqrt_years(max(0, unsafe_sub(expiry.seconds, horizon)))
                    # Rows of one factor follow each other: their forward is computed once.
                    if not is_same:
                        forwards[e] = shocks._shocked_forward(expiry.spot, factor, expiry.ratio)
                        logarithms[e] = fixed._ln(forwards[e], expiry.top)
                    forward: int256 = forwards[e]
                    ln_forward: int256 = logarithms[e]
                    for i: uint256 in range(expiry.first, expiry.end, bound=32):
                        leg: portfolio.Leg = legs[i]
                        near: int256 = 0
                        far: int256 = 0
                        decay: int256 = 0
                        near, far, decay = tails._tails(
                            forward,
                            ln_forward,
                            leg.strike,
                            leg.ln_strike,
                            unsafe_div(unsafe_mul(vols[unsafe_add(unsafe_mul(3, i), shock)], root), WAD),
                        )
                        price: int256 = 0
                        if near > far:
                            price = unsafe_sub(near, far) >> tails.GUARD_BITS
                        if leg.is_put:
                            if forward < leg.strike:
                                price = unsafe_add(price, unsafe_sub(leg.strike, forward))
                        elif forward > leg.strike:
                            price = unsafe_add(price, unsafe_sub(forward, leg.strike))
                        change = unsafe_sub(change, unsafe_mul(leg.notional, price))
            for party: uint256 in range(2):
                loss: int256 = unsafe_mul(
                    rounding._div_up(change if party == 0 else unsafe_sub(0, change), WAD), damping
                )
                if loss > losses[party]:
                    losses[party] = loss
                    worst.rows[party][u] = s
                    worst.losses[party][u] = loss
    return worst
