# pragma version 0.4.3
"""
@title payoff
@license MIT
@notice Reads book bytes, and says what an expired leg pays.
@dev Fields are read as whole words, whatever narrower type the protocol gives them: the words are the same, and whole words
     are copied in one go. The decoder so accepts some bytes that the library would never produce (gaps, trailing bytes, words
     out of bounds); the library refuses to sign those. Bytes that do not decode revert, as does arithmetic that overflows:
     such a channel ends by `last_resort`. Within the bounds of protocol §2 a payoff stays below 32 * 2**88 * 2**96.
"""

from modules import errors

struct Spot:
    underlying: bytes32
    spot: uint256  # WAD

struct Forward:
    underlying: bytes32
    expiry: uint256
    ratio: uint256
    discount: uint256

struct Leg:
    underlying: bytes32
    expiry: uint256
    strike: uint256  # WAD
    kind: uint256  # 0 call, 1 put
    quantity: int256  # WAD, positive: party 0 is long
    vol: uint256

struct Book:
    salt: bytes32
    time: uint256
    spots: DynArray[Spot, 4]
    forwards: DynArray[Forward, 8]
    legs: DynArray[Leg, 32]

CALL: constant(uint256) = 0
PUT: constant(uint256) = 1

# Quantity times price is 1e36; token units are that divided by 10**(36 - decimals).
SCALE_DIGITS: constant(uint256) = 36


@internal
@pure
def _open(name: bytes32, book: Bytes[7712]) -> Book:
    """
    @notice The book of a state that calls it `name`, decoded. No book is the empty one, and its name is zero.
    """
    found: bytes32 = empty(bytes32)
    if len(book) != 0:
        found = keccak256(book)
    errors._require(name == found, "adjudicator: wrong book")
    if name == empty(bytes32):
        return empty(Book)
    return abi_decode(book, Book)


@internal
@pure
def _intrinsic(leg: Leg, price: uint256) -> int256:
    """
    @notice Signed intrinsic value of one leg to party 0, at scale 1e36, exact.
    """
    errors._require(leg.kind <= PUT, "payoff: unknown kind")
    value: uint256 = 0
    if leg.kind == CALL:
        if price > leg.strike:
            value = price - leg.strike
    elif leg.strike > price:
        value = leg.strike - price
    return leg.quantity * convert(value, int256)


@internal
@pure
def _token_units(total: int256, decimals: uint256) -> int256:
    """
    @notice A sum at scale 1e36 in token units: one division, toward zero.
    """
    return total // convert(10 ** (SCALE_DIGITS - decimals), int256)


@internal
@pure
def _token_units_down(total: int256, decimals: uint256) -> int256:
    """
    @notice A sum at scale 1e36 in token units, rounded down.
    """
    unit: int256 = convert(10 ** (SCALE_DIGITS - decimals), int256)
    if total % unit < 0:
        return total // unit - 1
    return total // unit
