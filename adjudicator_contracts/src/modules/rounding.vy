# pragma version 0.4.3
"""
@title rounding
@license MIT
@notice Divisions with their direction in the name, and money from scale 1e54 to token units.
@dev The EVM's signed division truncates toward zero; these correct it. Divisors are positive. The unchecked sums cannot wrap:
     dividends stay below 2**251 (`docs/risk.md` §2 and §3).
"""

SCALE_DIGITS: constant(uint8) = 54
MAX_DECIMALS: constant(uint8) = 18


@internal
@pure
def _div_up(x: int256, divisor: int256) -> int256:
    """
    @notice x / divisor, rounded toward plus infinity.
    """
    if x > 0:
        return unsafe_div(unsafe_add(x, unsafe_sub(divisor, 1)), divisor)
    return unsafe_div(x, divisor)


@internal
@pure
def _div_down(x: int256, divisor: int256) -> int256:
    """
    @notice x / divisor, rounded toward minus infinity.
    """
    if x < 0:
        return unsafe_div(unsafe_sub(x, unsafe_sub(divisor, 1)), divisor)
    return unsafe_div(x, divisor)


@internal
@pure
def _token_unit(decimals: uint8) -> int256:
    """
    @notice One unit of the token at scale 1e54.
    """
    assert decimals <= MAX_DECIMALS, "risk: out of bounds"
    return convert(10 ** convert(SCALE_DIGITS - decimals, uint256), int256)
