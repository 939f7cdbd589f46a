# pragma version 0.4.3
"""
@title portfolio
@license MIT
@notice Reads book bytes once, refuses what is not a book, and prices every leg at a moment (`docs/risk.md` §2).
@dev What passes here satisfies protocol §2, on which all unchecked arithmetic of the engine relies. Only the canonical
     encoding passes: positions and length of the three arrays are fixed by their sizes, and every word in them is a field
     that the ABI decoder has clamped to its type. So no two byte strings have one meaning here.
     One rule of the library is not repeated, that a name be printable: it moves no number.
"""

from . import black
from . import book as layout
from . import fixed
from . import rounding
from . import schedule

WAD: constant(int256) = 10**18
MAX_QUANTITY: constant(int256) = 2**88
MAX_VOL: constant(int256) = 8 * WAD


# One leg, as a scenario needs it.
struct Leg:
    is_put: bool
    strike: int256
    ln_strike: int256  # Q120; of live legs only
    vol: int256
    notional: int256  # quantity * discount, 1e36


# What the book is worth at the moment, and what moves it; party 0's view.
struct Mark:
    age: int256  # of the marks, seconds
    is_live: bool  # some leg has not expired
    worth: int256  # sum of quantity * discount * price, 1e54, exact
    live: int256[4]  # that of live legs for each spot mark, 1e54, exact; the rest is of live legs too
    deltas: int256[4]  # sum of delta * F for each spot mark, 1e54
    gamma: int256  # net gain over the policy's move, absolute for each expiry, 1e36, rounded up
    vega: int256  # net, absolute for each expiry, 1e36, rounded up
    shorts: int256[2]  # sum of short quantity * F of each party, 1e36


@internal
@pure
def _open(
    book: Bytes[7712],
    spots: DynArray[uint256, 4],
    settlements: DynArray[uint256, 8],
    t: uint64,
    gamma_move: int256,
) -> (DynArray[schedule.Expiry, 8], DynArray[Leg, 32], Mark):
    """
    @notice Expiries and legs of a book, and what they are worth at time `t`.
    """
    expiries: DynArray[schedule.Expiry, 8] = []
    legs: DynArray[Leg, 32] = []
    mark: Mark = empty(Mark)
    contents: layout.Book = empty(layout.Book)
    if len(book) != 0:
        contents = abi_decode(book, layout.Book)
        expiries_at: uint256 = unsafe_add(192, unsafe_mul(64, len(contents.spots)))
        legs_at: uint256 = unsafe_add(expiries_at, unsafe_add(32, unsafe_mul(128, len(contents.forwards))))
        schedule._require(
            len(contents.legs) != 0
            and len(book) == unsafe_add(legs_at, unsafe_add(64, unsafe_mul(192, len(contents.legs))))
            and extract32(book, 0, output_type=uint256) == 32
            and extract32(book, 96, output_type=uint256) == 160
            and extract32(book, 128, output_type=uint256) == expiries_at
            and extract32(book, 160, output_type=uint256) == legs_at
        )
    assert len(spots) == len(contents.spots) and len(settlements) == len(contents.forwards), "risk: misaligned"

    now: uint64 = max(t, contents.time)
    mark.age = convert(unsafe_sub(now, contents.time), int256)
    expiries = schedule._expiries(contents.spots, contents.forwards, spots, settlements, contents.time, now)
    move_q100: int256 = unsafe_div(gamma_move << 100, WAD)
    at: uint256 = 0
    for e: uint256 in range(len(expiries), bound=8):
        key: layout.Forward = contents.forwards[e]
        expiry: schedule.Expiry = expiries[e]
        first: uint256 = at
        series: int256 = 0
        worth: int256 = 0
        delta: int256 = 0
        gamma: int256 = 0
        vega: int256 = 0
        for i: uint256 in range(first, len(contents.legs), bound=32):
            line: layout.Leg = contents.legs[i]
            if line.expiry != key.expiry or line.underlying != key.underlying:
                break
            at = unsafe_add(at, 1)
            last_series: int256 = series
            quantity: int256 = convert(line.quantity, int256)
            leg: Leg = empty(Leg)
            leg.is_put = line.kind == layout.PUT
            leg.strike = convert(line.strike, int256)
            leg.vol = convert(line.vol, int256)
            leg.notional = unsafe_mul(quantity, expiry.discount)
            series = unsafe_add(unsafe_mul(2, leg.strike), convert(leg.is_put, int256))
            schedule._require(
                line.kind <= layout.PUT
                and series > last_series
                and leg.strike != 0
                and leg.strike <= schedule.MAX_PRICE
                and quantity != 0
                and abs(quantity) <= MAX_QUANTITY
                and leg.vol <= MAX_VOL
            )
            width: int256 = 0
            if expiry.seconds != 0:
                leg.ln_strike = fixed._ln(leg.strike, expiry.top)
                width = unsafe_div(unsafe_mul(leg.vol, expiry.root), WAD)
            unit: black.Greeks = black._unit(
                leg.is_put, expiry.forward, expiry.ln_forward, leg.strike, leg.ln_strike, width, expiry.root, expiry.seconds
            )
            legs.append(leg)
            worth = unsafe_add(worth, unsafe_mul(leg.notional, unit.price))
            if expiry.seconds != 0:
                delta = unsafe_add(delta, unsafe_mul(leg.notional, unit.delta_cash))
                vega = unsafe_add(vega, unsafe_mul(leg.notional, unit.vega))
                # Half gamma times the move squared, w inside gamma floored at the move.
                gain: int256 = unsafe_div(
                    unsafe_mul(unsafe_mul(unit.density, gamma_move), move_q100),
                    unsafe_mul(2 * WAD, max(width, move_q100)),
                )
                gamma = unsafe_add(gamma, unsafe_mul(leg.notional, gain))
                if quantity < 0:
                    mark.shorts[0] = unsafe_sub(mark.shorts[0], unsafe_mul(quantity, expiry.forward))
                else:
                    mark.shorts[1] = unsafe_add(mark.shorts[1], unsafe_mul(quantity, expiry.forward))
        schedule._require(at != first)
        expiries[e].first = first
        expiries[e].end = at
        mark.worth = unsafe_add(mark.worth, worth)
        if expiry.seconds != 0:
            mark.is_live = True
            mark.live[expiry.underlying] = unsafe_add(mark.live[expiry.underlying], worth)
            mark.deltas[expiry.underlying] = unsafe_add(mark.deltas[expiry.underlying], delta)
            mark.gamma = unsafe_add(mark.gamma, rounding._div_up(abs(gamma), WAD))
            mark.vega = unsafe_add(mark.vega, rounding._div_up(abs(vega), WAD))
    schedule._require(at == len(contents.legs))
    return expiries, legs, mark
