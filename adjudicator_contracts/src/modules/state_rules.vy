# pragma version 0.4.3
"""
@title state_rules
@license MIT
@notice Which states may be registered: the same rules that the library applies before it signs.
@dev States come as whole words (`IAdjudicator`), so the widths of protocol §2 are checked here, before anything is registered.
     With every amount below 2**120 no sum or difference of a few of them leaves 128 bits, let alone 256.
"""

from interfaces import IAdjudicator
from modules import errors

OPERATE: constant(uint256) = 0
REOPEN: constant(uint256) = 1
CLOSE: constant(uint256) = 2

LIMIT: constant(uint256) = 2**120
SIGNED_LIMIT: constant(int256) = 2**120
MAX_64: constant(uint256) = 2**64 - 1


@internal
@view
def _check(state: IAdjudicator.State):
    """
    @notice Revert unless the state is well formed and, if it has a term of validity, still valid.
    """
    errors._require(state.version != 0, "state: version 0")
    if state.intent == OPERATE:
        errors._require(state.valid_until == 0, "state: valid-until on operate")
    else:
        errors._require(state.intent <= CLOSE, "state: unknown intent")
        # A valid-until of zero is in the past.
        errors._require(block.timestamp <= state.valid_until, "state: expired")
        errors._require(state.intent == REOPEN or state.book == empty(bytes32), "state: close has no book")
    # A union of bits is below a power of two exactly if each of its members is.
    amounts: uint256 = state.deposit0 | state.deposit1 | state.withdrawal0 | state.withdrawal1
    errors._require(
        (state.version | state.valid_until) <= MAX_64
        and amounts < LIMIT
        and max(state.balance0, state.balance1) < SIGNED_LIMIT
        and min(state.balance0, state.balance1) > -SIGNED_LIMIT,
        "state: out of bounds",
    )
    # Sums of numbers below 2**120 do not overflow.
    deposited: uint256 = unsafe_add(state.deposit0, state.deposit1)
    withdrawn: uint256 = unsafe_add(state.withdrawal0, state.withdrawal1)
    balances: int256 = unsafe_add(state.balance0, state.balance1)
    errors._require(
        balances == unsafe_sub(convert(deposited, int256), convert(withdrawn, int256)),
        "state: balances do not add up",
    )
