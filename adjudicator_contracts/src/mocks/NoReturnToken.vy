# pragma version 0.4.3
# pragma evm-version cancun
"""
@title NoReturnToken
@license MIT
@notice A token from before the standard: its transfers return nothing.
"""

from mocks.parts import balances

initializes: balances
exports: (balances.balanceOf, balances.allowance, balances.mint, balances.approve)


@external
def transfer(receiver: address, amount: uint256):
    """
    @notice Move the caller's tokens.
    """
    balances._move(msg.sender, receiver, amount)


@external
def transferFrom(owner: address, receiver: address, amount: uint256):
    """
    @notice Move `owner`'s tokens by its allowance.
    """
    balances._spend(owner, receiver, amount)
