# pragma version 0.4.3
"""
@title state_rules
@license MIT
@notice Which states may be registered: the same rules that the library applies before it signs.
@dev With every amount below 2**120 no sum or difference of a few of them leaves 128 bits, let alone 256.
"""

from interfaces import IAdjudicator
from modules import errors

OPERATE: constant(uint8) = 0
REOPEN: constant(uint8) = 1
CLOSE: constant(uint8) = 2

LIMIT: constant(uint256) = 2**120


@internal
@view
def _check(state: IAdjudicator.State):
    """
    @notice Revert unless the state is well formed and, if it has a term of validity, still valid.
    """
    errors._require(state.version != 0, "state: version 0")
    if state.intent == OPERATE:
        errors._require(state.valid_until == 0, "state: operate has no valid-until")
    else:
        errors._require(state.intent <= CLOSE, "state: unknown intent")
        # A valid-until of zero is in the past.
        errors._require(block.timestamp <= convert(state.valid_until, uint256), "state: expired")
        errors._require(state.intent == REOPEN or state.book == empty(bytes32), "state: close has no book")
    # A union of bits is below a power of two exactly if each of its members is.
    amounts: uint128 = state.deposit0 | state.deposit1 | state.withdrawal0 | state.withdrawal1
    balance_0: int256 = convert(state.balance0, int256)
    balance_1: int256 = convert(state.balance1, int256)
    errors._require(
        convert(amounts, uint256) < LIMIT and self._magnitude(balance_0) < LIMIT and self._magnitude(balance_1) < LIMIT,
        "state: out of bounds",
    )
    # Sums of numbers below 2**120 do not overflow.
    deposited: uint256 = unsafe_add(convert(state.deposit0, uint256), convert(state.deposit1, uint256))
    withdrawn: uint256 = unsafe_add(convert(state.withdrawal0, uint256), convert(state.withdrawal1, uint256))
    balances: int256 = unsafe_add(balance_0, balance_1)
    errors._require(
        balances == unsafe_sub(convert(deposited, int256), convert(withdrawn, int256)),
        "state: balances do not add up",
    )


@internal
@pure
def _magnitude(balance: int256) -> uint256:
    """
    @notice The absolute value; balances are 128 bits wide, so it cannot overflow.
    """
    return convert(max(balance, unsafe_sub(0, balance)), uint256)
