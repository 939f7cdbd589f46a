# pragma version 0.4.3
"""
@title status
@license MIT
@notice A channel's life in one storage word.
@dev Layout, from the lowest bit: version 64, dispute deadline 40, margin call of party 0 41, of party 1 41 (`margin_calls`),
     closed 1. 69 bits are free. The word is zero exactly while nothing was ever registered.
     Times fit 40 bits until the year 36,812; versions are uint64 in the state itself.
     SETTLING is not stored: it is DISPUTED whose deadline has come, so nobody has to act for it to begin.
"""

OPEN: constant(uint8) = 0
DISPUTED: constant(uint8) = 1
SETTLING: constant(uint8) = 2
CLOSED: constant(uint8) = 3

MASK_64: constant(uint256) = 2**64 - 1
MASK_40: constant(uint256) = 2**40 - 1
MASK_41: constant(uint256) = 2**41 - 1

struct Slot:
    version: uint256
    deadline: uint256
    calls: uint256[2]
    closed: uint256  # 1 for closed


@internal
@pure
def _unpack(word: uint256) -> Slot:
    """
    @notice Read the word.
    """
    return Slot(
        version=word & MASK_64,
        deadline=(word >> 64) & MASK_40,
        calls=[(word >> 104) & MASK_41, (word >> 145) & MASK_41],
        closed=word >> 186,
    )


@internal
@pure
def _pack(slot: Slot) -> uint256:
    """
    @notice Write the word. Assumes every field within its width: versions are uint64, times are block times plus a period.
    """
    return (
        slot.version
        | (slot.deadline << 64)
        | (slot.calls[0] << 104)
        | (slot.calls[1] << 145)
        | (slot.closed << 186)
    )


@internal
@view
def _phase(slot: Slot) -> uint8:
    """
    @notice The phase at this block's time. The deadline's own second is SETTLING.
    """
    if slot.closed != 0:
        return CLOSED
    if slot.deadline == 0:
        return OPEN
    if block.timestamp < slot.deadline:
        return DISPUTED
    return SETTLING
