# pragma version 0.4.3
# pragma evm-version cancun
"""
@title RevertingToken
@license MIT
@notice A token as the large stablecoins are: a blacklist and a pause, both of which make transfers revert.
"""

from mocks.parts import balances

initializes: balances
exports: (balances.balanceOf, balances.allowance, balances.mint, balances.approve)

refused: public(HashMap[address, bool])
paused: public(bool)


@external
def refuse(account: address, refused: bool):
    """
    @notice Put an account on the blacklist, or take it off.
    """
    self.refused[account] = refused


@external
def pause(paused: bool):
    """
    @notice Stop, or resume, all transfers.
    """
    self.paused = paused


@external
def transfer(receiver: address, amount: uint256) -> bool:
    """
    @notice Move the caller's tokens.
    """
    self._check(msg.sender, receiver)
    balances._move(msg.sender, receiver, amount)
    return True


@external
def transferFrom(owner: address, receiver: address, amount: uint256) -> bool:
    """
    @notice Move `owner`'s tokens by its allowance.
    """
    self._check(owner, receiver)
    balances._spend(owner, receiver, amount)
    return True


@internal
@view
def _check(owner: address, receiver: address):
    """
    @notice Revert if the token refuses to move.
    """
    assert not self.paused, "token: paused"
    assert not self.refused[owner] and not self.refused[receiver], "token: refused account"
