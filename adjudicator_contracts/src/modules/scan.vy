# pragma version 0.4.3
"""
@title scan
@license MIT
@notice What the live legs of each underlying lose in a scenario, for both parties (`docs/risk.md` §3, steps 1 to 9).
@dev One code path serves a proof of compliance, which runs the whole grid, and a proof of breach, which names one row for each
     underlying: so the second can never claim more than the first would find. Scenario values are clamped to the protocol's
     bounds, never refused. Losses are negative where the party gains.
"""

from . import black
from . import fixed
from . import margin_policy
from . import portfolio
from . import rounding

uses: margin_policy

WAD: constant(int256) = 10**18
SECONDS_PER_HOUR: constant(int256) = 3600
MAX_PRICE: constant(int256) = portfolio.MAX_PRICE
MAX_VOL: constant(int256) = portfolio.MAX_VOL
# Below every loss; as a row's loss it would mean that no row was seen.
NOTHING: constant(int256) = min_value(int256)


# Per party and underlying: the row that costs most, the first of equals, and its damped loss at 1e54. Without a live leg both
# are zero.
struct Worst:
    rows: uint256[4][2]
    losses: int256[4][2]


@internal
@view
def _bumps(seconds: int256) -> (int256, int256):
    """
    @notice (up, down) for the time to expiry: linear between the tenors, flat outside, each rounded up.
    """
    table: int256[12] = margin_policy.BUMPS
    tenor: int256 = 0
    up: int256 = 0
    down: int256 = 0
    for word: int256 in table:
        if word == 0:
            break  # beyond the last tenor
        last_tenor: int256 = tenor
        last_up: int256 = up
        last_down: int256 = down
        tenor = word & margin_policy.MASK_64
        up = (word >> 64) & margin_policy.MASK_64
        down = word >> 128
        if seconds <= tenor:
            if last_tenor == 0:
                break  # before the first
            span: int256 = tenor - last_tenor
            done: int256 = seconds - last_tenor
            up = rounding._div_up(last_up * (span - done) + up * done, span)
            down = rounding._div_up(last_down * (span - done) + down * done, span)
            break
    return up, down


@internal
@view
def _widening(age: int256) -> int256:
    """
    @notice 1 + rate * (age - max age) / 1 h, rounded up; 1 while the marks are fresh.
    """
    stale: int256 = max(0, age - margin_policy.VOL_MAX_AGE)
    return WAD + rounding._div_up(margin_policy.VOL_STALE_PER_HOUR * stale, SECONDS_PER_HOUR)


@internal
@pure
def _shocked_forward(spot: int256, factor: int256, ratio: int256) -> int256:
    """
    @notice spot * factor clamped, then * ratio clamped, to [1, 2**92]; each rounded down.
    """
    moved: int256 = min(max(unsafe_div(unsafe_mul(spot, factor), WAD), 1), MAX_PRICE)
    return min(max(unsafe_div(unsafe_mul(moved, ratio), WAD), 1), MAX_PRICE)


@internal
@view
def _worst(
    expiries: DynArray[portfolio.Expiry, 8],
    held: DynArray[portfolio.Position, 32],
    age: int256,
    underlyings: uint256,
    witness: DynArray[uint256, 4],
) -> Worst:
    """
    @notice The worst of all rows, or of the one row that `witness` names, for each underlying.
    """
    rows: int256[40] = margin_policy.SCENARIOS
    count: uint256 = margin_policy.SCENARIO_COUNT
    widening: int256 = self._widening(age)
    ups: int256[8] = empty(int256[8])
    downs: int256[8] = empty(int256[8])
    for e: uint256 in range(len(expiries), bound=8):
        if expiries[e].seconds != 0:
            up: int256 = 0
            down: int256 = 0
            up, down = self._bumps(expiries[e].seconds)
            ups[e] = WAD + rounding._div_up(up * widening, WAD)
            downs[e] = WAD - min(rounding._div_up(down * widening, WAD), WAD)

    worst: Worst = empty(Worst)
    first: uint256 = 0
    for u: uint256 in range(underlyings, bound=4):
        # The legs of this underlying are those from `first` to before `end`, the expired ones left out.
        end: uint256 = first
        base: int256 = 0
        is_live: bool = False
        for i: uint256 in range(first, len(held), bound=32):
            e: uint256 = held[i].expiry
            if expiries[e].underlying != u:
                break
            end = i + 1
            if expiries[e].seconds != 0:
                is_live = True
                base = unsafe_add(base, unsafe_mul(held[i].notional, held[i].unit.price))
        from_row: uint256 = 0
        to_row: uint256 = count
        if len(witness) != 0:
            from_row = witness[u]
            assert from_row < count, "risk: no such scenario"
            to_row = from_row + 1
        if is_live:
            losses: int256[2] = [NOTHING, NOTHING]
            for s: uint256 in range(from_row, to_row, bound=40):
                row: int256 = rows[s]
                factor: int256 = row & margin_policy.MASK_64
                damping: int256 = (row >> 64) & margin_policy.MASK_64
                horizon: int256 = (row >> 128) & margin_policy.MASK_32
                shock: int256 = row >> 160
                change: int256 = 0
                if factor != WAD or shock != margin_policy.UNSHOCKED or horizon != 0:
                    change = base
                    at: uint256 = max_value(uint256)
                    expiry: portfolio.Expiry = empty(portfolio.Expiry)
                    forward: int256 = 0
                    ln_forward: int256 = 0
                    root: int256 = 0
                    for i: uint256 in range(first, end, bound=32):
                        position: portfolio.Position = held[i]
                        if position.expiry != at:
                            at = position.expiry
                            expiry = expiries[at]
                            if expiry.seconds != 0:
                                forward = expiry.forward
                                ln_forward = expiry.ln_forward
                                if factor != WAD:
                                    forward = self._shocked_forward(expiry.spot, factor, expiry.ratio)
                                    ln_forward = fixed._ln(forward, expiry.top)
                                root = expiry.root
                                if horizon != 0:
                                    root = fixed._sqrt_years(max(0, expiry.seconds - horizon))
                        if expiry.seconds == 0:
                            continue
                        vol: int256 = position.vol
                        if shock == margin_policy.UP:
                            vol = min(rounding._div_up(unsafe_mul(vol, ups[at]), WAD), MAX_VOL)
                        elif shock == margin_policy.DOWN:
                            vol = unsafe_div(unsafe_mul(vol, downs[at]), WAD)
                        moved: int256 = black._unit(
                            position.is_put,
                            forward,
                            ln_forward,
                            position.strike,
                            position.ln_strike,
                            black._total_vol(vol, root),
                            0,
                            0,
                        ).price
                        change = unsafe_sub(change, unsafe_mul(position.notional, moved))
                for party: uint256 in range(2):
                    loss: int256 = unsafe_mul(
                        rounding._div_up(change if party == 0 else unsafe_sub(0, change), WAD), damping
                    )
                    if loss > losses[party]:
                        losses[party] = loss
                        worst.rows[party][u] = s
                        worst.losses[party][u] = loss
        first = end
    return worst
