# pragma version 0.4.3
"""
@title schedule
@license MIT
@notice The spot and expiry marks of a book: checked, and brought to a moment (`docs/risk.md` §2, steps 1 to 3).
@dev Checked here are sizes, order and bounds of protocol §2, on which all unchecked arithmetic of the engine relies.
"""

from . import book as layout
from . import fixed

WAD: constant(int256) = 10**18
MAX_PRICE: constant(int256) = 2**92
MAX_RATIO: constant(int256) = 4 * WAD
MAX_TENOR: constant(int256) = 3650 * 86_400
MAX_TIME: constant(uint64) = 2**63 - 1
# The adjudicator lets a price source settle up to here.
MAX_SETTLEMENT: constant(int256) = 2**96


# What the legs of one expiry share at the moment of valuation.
struct Expiry:
    underlying: uint256  # index of its spot mark
    first: uint256  # index of its first leg
    end: uint256  # index after its last
    spot: int256
    seconds: int256  # left, zero where it has passed
    ratio: int256  # converged, as the discount; both 1 where it has passed
    discount: int256
    forward: int256  # where it has passed, what the intrinsic is taken at: settlement or spot
    top: uint256  # highest bit of the forward, where its neighbours' mostly is too; this and the rest of live expiries only
    ln_forward: int256  # Q120
    root: int256  # sqrt(seconds) in years, Q100


@internal
@pure
def _require(is_so: bool):
    """
    @notice What a book must be.
    """
    assert is_so, "book: invalid"


@internal
@pure
def _expiries(
    spot_marks: DynArray[layout.Spot, 4],
    marks: DynArray[layout.Forward, 8],
    spots: DynArray[uint256, 4],
    settlements: DynArray[uint256, 8],
    time: uint64,
    now: uint64,
) -> DynArray[Expiry, 8]:
    """
    @notice Check spot and expiry marks, and bring each expiry to `now`. Every leg's expiry is then one of these.
    """
    expiries: DynArray[Expiry, 8] = []
    at: uint256 = 0
    spot_mark: layout.Spot = empty(layout.Spot)
    spot: uint256 = 0
    last: uint64 = 0
    for mark: layout.Forward in marks:
        if mark.underlying != spot_mark.underlying:
            name: uint256 = convert(spot_mark.underlying, uint256)
            self._require(at < len(spot_marks))
            spot_mark = spot_marks[at]
            spot = spots[at]
            self._require(
                convert(spot_mark.underlying, uint256) > name
                and spot_mark.spot != 0
                and convert(spot_mark.spot, int256) <= MAX_PRICE
            )
            self._bound(spot, MAX_PRICE)
            at = unsafe_add(at, 1)
            last = 0
        ratio: int256 = convert(mark.ratio, int256)
        discount: int256 = convert(mark.discount, int256)
        span: int256 = unsafe_sub(convert(mark.expiry, int256), convert(time, int256))
        self._require(
            at != 0
            and mark.underlying == spot_mark.underlying
            and mark.expiry > last
            and mark.expiry <= MAX_TIME
            and time <= MAX_TIME
            and span <= MAX_TENOR
            and ratio != 0
            and ratio <= MAX_RATIO
            and discount != 0
            and discount <= MAX_RATIO
            and unsafe_div(unsafe_mul(convert(spot_mark.spot, int256), ratio), WAD) <= MAX_PRICE
        )
        last = mark.expiry
        settlement: uint256 = settlements[len(expiries)]
        expiry: Expiry = empty(Expiry)
        expiry.underlying = unsafe_sub(at, 1)
        expiry.spot = convert(spot, int256)
        expiry.seconds = max(0, unsafe_sub(convert(mark.expiry, int256), convert(now, int256)))
        if expiry.seconds == 0:
            self._bound(max(settlement, 1), MAX_SETTLEMENT)
            expiry.ratio = WAD
            expiry.discount = WAD
            expiry.forward = expiry.spot
            if settlement != 0:
                expiry.forward = convert(settlement, int256)
        else:
            past: int256 = unsafe_mul(WAD, unsafe_sub(span, expiry.seconds))
            self._bound(unsafe_add(settlement, 1), 1)
            expiry.ratio = unsafe_div(unsafe_add(unsafe_mul(ratio, expiry.seconds), past), span)
            expiry.discount = unsafe_div(unsafe_add(unsafe_mul(discount, expiry.seconds), past), span)
            expiry.forward = unsafe_div(unsafe_mul(expiry.spot, expiry.ratio), WAD)
            self._bound(convert(expiry.forward, uint256), MAX_PRICE)
            expiry.top = fixed._top_bit(expiry.forward)
            expiry.ln_forward = fixed._ln(expiry.forward, expiry.top)
            expiry.root = fixed._sqrt_years(expiry.seconds)
        expiries.append(expiry)
    self._require(at == len(spot_marks))
    return expiries


@internal
@pure
def _bound(price: uint256, limit: int256):
    """
    @notice A price lies between 1 and its limit.
    """
    assert price != 0 and price <= convert(limit, uint256), "risk: out of bounds"
