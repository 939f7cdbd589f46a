# pragma version 0.4.3
# pragma evm-version cancun
"""
@title OddToken
@license MIT
@notice A token that answers transfers in every way but the right one, after moving the money.
@dev Modes: 0 true, 1 false, 2 the number 2, 3 one byte, 4 a long answer that begins with true, 5 a very long answer, 6 burns
     all gas, 7 moves nothing and says true.
"""

from mocks.parts import balances

initializes: balances
exports: (balances.balanceOf, balances.allowance, balances.mint, balances.approve)

mode: public(uint256)


@external
def set_mode(mode: uint256):
    """
    @notice Answer in this way from now on.
    """
    self.mode = mode


@external
@raw_return
def transfer(receiver: address, amount: uint256) -> Bytes[20000]:
    """
    @notice Move the caller's tokens.
    """
    if self.mode != 7:
        balances._move(msg.sender, receiver, amount)
    return self._answer()


@external
@raw_return
def transferFrom(owner: address, receiver: address, amount: uint256) -> Bytes[20000]:
    """
    @notice Move `owner`'s tokens by its allowance.
    """
    if self.mode != 7:
        balances._spend(owner, receiver, amount)
    return self._answer()


@internal
@view
def _answer() -> Bytes[20000]:
    """
    @notice The odd answer.
    """
    if self.mode == 1:
        return abi_encode(False)
    if self.mode == 2:
        return abi_encode(convert(2, uint256))
    if self.mode == 3:
        return b"\x01"
    if self.mode == 4:
        return abi_encode(True, True)
    if self.mode == 5:
        long: uint256[600] = empty(uint256[600])
        long[0] = 1
        return abi_encode(long)
    assert self.mode != 6, UNREACHABLE
    return abi_encode(True)
