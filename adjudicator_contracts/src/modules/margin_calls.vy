# pragma version 0.4.3
"""
@title margin_calls
@license MIT
@notice The clock of a margin call (protocol §3.2), as arithmetic on one number per party.
@dev A call is its cure deadline in the lower 40 bits, and the bit above them while it is armed. A newer state disarms it and
     leaves the deadline, so that revealing states one by one defers a liquidation by half a cure period each time and not
     by a whole one. Zero: never called, or cured.
"""

from interfaces import IAdjudicator
from modules import payoff

MASK_40: constant(uint256) = 2**40 - 1
ARMED: constant(uint256) = 2**40

# The window to execute a call in is one cure period, between these bounds.
MIN_WINDOW: constant(uint256) = 3_600
MAX_WINDOW: constant(uint256) = 86_400


@internal
@pure
def _pending(call: uint256) -> uint256:
    """
    @notice The cure deadline of an armed call, zero for none.
    """
    return call & MASK_40 if call >= ARMED else 0


@internal
@pure
def _disarmed(calls: uint256[2]) -> uint256[2]:
    """
    @notice Both parties' calls after a newer state: their deadlines are remembered.
    """
    return [calls[0] & MASK_40, calls[1] & MASK_40]


@internal
@view
def _made(call: uint256, cure: uint256) -> uint256:
    """
    @notice A call made now, after `call`: the full cure period, or, at most a cure period after an earlier deadline, the rest of
            that one and at least half a cure period.
    """
    last: uint256 = call & MASK_40
    deadline: uint256 = block.timestamp + cure
    if last != 0 and block.timestamp <= last + cure:
        deadline = max(last, block.timestamp + (cure + 1) // 2)
    return deadline | ARMED


@internal
@view
def _stands(call: uint256, terms: IAdjudicator.Terms, name: bytes32, book: Bytes[7712]) -> bool:
    """
    @notice Whether the call is armed and has not lapsed. Its window waits for the settlement of legs that expired before its end.
    """
    if call < ARMED:
        return False
    end: uint256 = (call & MASK_40) + min(max(terms.cure_period, MIN_WINDOW), MAX_WINDOW)
    last: uint256 = end
    contents: payoff.Book = payoff._open(name, book)
    for mark: payoff.Forward in contents.forwards:
        if mark.expiry < end:
            last = max(last, mark.expiry + 2 * terms.grace)
    return block.timestamp < last


@internal
@view
def _is_executable(call: uint256, terms: IAdjudicator.Terms, name: bytes32, book: Bytes[7712]) -> bool:
    """
    @notice Whether a liquidation may execute the call now.
    """
    return block.timestamp >= call & MASK_40 and self._stands(call, terms, name, book)
