# pragma version 0.4.3
"""
@title payoff
@license MIT
@notice Reads book bytes, and says what an expired leg pays.
@dev The decoder accepts some bytes that the library would never produce (gaps, trailing bytes); the library refuses to sign
     those. Bytes that do not decode revert: such a channel ends by `last_resort`.
     Within the bounds of protocol §2 a payoff stays below 32 * 2**88 * 2**96; beyond them the arithmetic reverts.
"""

from modules import errors

struct Spot:
    underlying: bytes32
    spot: uint128

struct Forward:
    underlying: bytes32
    expiry: uint64
    ratio: uint128
    discount: uint128

struct Leg:
    underlying: bytes32
    expiry: uint64
    strike: uint128
    kind: uint8  # 0 call, 1 put
    quantity: int128  # WAD, positive: party 0 is long
    vol: uint128

struct Book:
    salt: bytes32
    time: uint64
    spots: DynArray[Spot, 4]
    forwards: DynArray[Forward, 8]
    legs: DynArray[Leg, 32]

CALL: constant(uint8) = 0
PUT: constant(uint8) = 1

# Quantity times price is 1e36; token units are that divided by 10**(36 - decimals).
SCALE_DIGITS: constant(uint256) = 36


@internal
@pure
def _decode(book: Bytes[7712]) -> Book:
    """
    @notice Decode non-empty book bytes.
    """
    return abi_decode(book, Book)


@internal
@pure
def _intrinsic(leg: Leg, price: uint256) -> int256:
    """
    @notice Signed intrinsic value of one leg to party 0, at scale 1e36, exact.
    """
    strike: uint256 = convert(leg.strike, uint256)
    errors._require(leg.kind <= PUT, "payoff: unknown kind")
    value: uint256 = 0
    if leg.kind == CALL:
        if price > strike:
            value = price - strike
    elif strike > price:
        value = strike - price
    return convert(leg.quantity, int256) * convert(value, int256)


@internal
@pure
def _token_units(total: int256, decimals: uint8) -> int256:
    """
    @notice A sum at scale 1e36 in token units: one division, toward zero.
    """
    return total // convert(10 ** (SCALE_DIGITS - convert(decimals, uint256)), int256)


@internal
@pure
def _contains(book: Book, underlying: bytes32, expiry: uint64) -> bool:
    """
    @notice Whether the book has a leg on this underlying with this expiry.
    """
    for leg: Leg in book.legs:
        if leg.underlying == underlying and leg.expiry == expiry:
            return True
    return False


@internal
@pure
def _spot(book: Book, underlying: bytes32) -> uint256:
    """
    @notice The spot that the book marks for `underlying`, zero if it has none.
    """
    for mark: Spot in book.spots:
        if mark.underlying == underlying:
            return convert(mark.spot, uint256)
    return 0
