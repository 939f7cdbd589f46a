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

LIMIT: constant(uint128) = 2**120
LIMIT_SIGNED: constant(int128) = 2**120


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
    errors._require(
        state.deposit0 < LIMIT
        and state.deposit1 < LIMIT
        and state.withdrawal0 < LIMIT
        and state.withdrawal1 < LIMIT
        and state.balance0 < LIMIT_SIGNED
        and state.balance0 > -LIMIT_SIGNED
        and state.balance1 < LIMIT_SIGNED
        and state.balance1 > -LIMIT_SIGNED,
        "state: out of bounds",
    )
    errors._require(
        state.balance0 + state.balance1 + convert(state.withdrawal0, int128) + convert(state.withdrawal1, int128)
        == convert(state.deposit0, int128) + convert(state.deposit1, int128),
        "state: balances do not add up",
    )
