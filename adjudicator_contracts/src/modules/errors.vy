# pragma version 0.4.3
"""
@title errors
@license MIT
@notice The one place that reverts with a reason, always `"module: reason"`.
@dev An assertion with its own text costs the code some 120 bytes wherever it stands; a call of this function costs half.
"""


@internal
@pure
def _require(holds: bool, reason: String[64]):
    """
    @notice Revert with `reason` unless the condition holds.
    """
    assert holds, reason
