# pragma version 0.4.3
# pragma evm-version cancun
"""
@title FeeToken
@license MIT
@notice A token that burns one per cent of whatever moves: what is sent does not arrive.
"""

from mocks.parts import balances

initializes: balances
exports: (balances.balanceOf, balances.allowance, balances.mint, balances.approve)


@external
def transfer(receiver: address, amount: uint256) -> bool:
    """
    @notice Move the caller's tokens, less the fee.
    """
    balances._move(msg.sender, receiver, amount)
    balances.balanceOf[receiver] -= amount // 100
    return True


@external
def transferFrom(owner: address, receiver: address, amount: uint256) -> bool:
    """
    @notice Move `owner`'s tokens by its allowance, less the fee.
    """
    balances._spend(owner, receiver, amount)
    balances.balanceOf[receiver] -= amount // 100
    return True
