# pragma version 0.4.3
# pragma nonreentrancy on
"""
@title pins
@license MIT
@notice What an expiry settled at in a channel: the price that `pin` fixed, else the source's.
"""

from interfaces import IAdjudicator
from modules import errors
from modules import payoff
from modules import prices

# Origins of a pinned price.
FROM_SETTLEMENT: constant(uint8) = 0
FROM_SPOT: constant(uint8) = 1
FROM_BOOK: constant(uint8) = 2

# Where the price of an expired leg is looked up.
struct PriceKey:
    channel: bytes32
    underlying: bytes32
    expiry: uint256

# keccak256(abi.encode(PriceKey)) -> pinned price
pins: HashMap[bytes32, uint256]


@external
@view
def pinned(channel: bytes32, underlying: bytes32, expiry: uint64) -> uint256:
    """
    @notice See `IAdjudicator.pinned`.
    """
    return self.pins[self._key(channel, underlying, convert(expiry, uint256))]


@internal
@pure
def _key(channel: bytes32, underlying: bytes32, expiry: uint256) -> bytes32:
    """
    @notice Where the pinned price of an expiry lies.
    """
    return keccak256(abi_encode(PriceKey(channel=channel, underlying=underlying, expiry=expiry)))


@internal
def _pin(
    channel: bytes32,
    terms: IAdjudicator.Terms,
    name: bytes32,
    book: Bytes[7712],
    underlying: bytes32,
    expiry: uint256,
    settling: bool,
):
    """
    @notice Fix the price of one of the book's expiries by the first source that has one now.
    """
    contents: payoff.Book = payoff._open(name, book)
    is_there: bool = False
    for leg: payoff.Leg in contents.legs:
        is_there = is_there or (leg.underlying == underlying and leg.expiry == expiry)
    errors._require(is_there, "adjudicator: no such leg")
    errors._require(block.timestamp >= expiry, "adjudicator: not expired")
    pin_key: bytes32 = self._key(channel, underlying, expiry)
    errors._require(self.pins[pin_key] == 0, "adjudicator: already pinned")

    origin: uint8 = FROM_SETTLEMENT
    # Checked above; unchecked here, because a code generator may put two checks in either order, and so their reasons.
    since: uint256 = unsafe_sub(block.timestamp, expiry)
    price: uint256 = prices._settlement(terms.source, underlying, expiry)
    if price == 0 and since >= terms.grace:
        origin = FROM_SPOT
        price = prices._fresh_spot(terms.source, underlying, expiry, terms.spot_max_age)
    if price == 0 and since >= 2 * terms.grace and settling:
        origin = FROM_BOOK
        for mark: payoff.Spot in contents.spots:
            if mark.underlying == underlying:
                price = mark.spot
    errors._require(price != 0, "adjudicator: no price yet")

    self.pins[pin_key] = price
    log IAdjudicator.Pinned(
        channel=channel, underlying=underlying, expiry=convert(expiry, uint64), price=price, origin=origin
    )


@internal
@view
def _settlement(channel: bytes32, source: uint256, underlying: bytes32, expiry: uint256) -> uint256:
    """
    @notice The effective settlement price, zero for none and before the expiry.
    """
    if block.timestamp < expiry:
        return 0
    price: uint256 = self.pins[self._key(channel, underlying, expiry)]
    if price != 0:
        return price
    return prices._settlement(source, underlying, expiry)


@internal
@view
def _settled(
    channel: bytes32, terms: IAdjudicator.Terms, name: bytes32, book: Bytes[7712], live: bool
) -> int256:
    """
    @notice What the expired legs pay party 0, at scale 1e36. Each must have its price; others may only be there if `live` says so.
    """
    total: int256 = 0
    underlying: bytes32 = empty(bytes32)
    expiry: uint256 = 0
    price: uint256 = 0
    contents: payoff.Book = payoff._open(name, book)
    for leg: payoff.Leg in contents.legs:
        # Legs are sorted, so each price is looked up once.
        if price == 0 or leg.expiry != expiry or leg.underlying != underlying:
            if block.timestamp < leg.expiry:
                errors._require(live, "adjudicator: live leg")
                continue
            underlying = leg.underlying
            expiry = leg.expiry
            price = self._settlement(channel, terms.source, underlying, expiry)
            errors._require(price != 0, "adjudicator: no settlement price")
        total += payoff._intrinsic(leg, price)
    return total
