# pragma version 0.4.3
"""
@title balances
@license MIT
@notice What every mock token has: balances anyone may mint, and allowances.
"""

balanceOf: public(HashMap[address, uint256])
allowance: public(HashMap[address, HashMap[address, uint256]])


@external
def mint(owner: address, amount: uint256):
    """
    @notice Give `owner` new tokens.
    """
    self.balanceOf[owner] += amount


@external
def approve(spender: address, amount: uint256) -> bool:
    """
    @notice Let `spender` take up to `amount`.
    """
    self.allowance[msg.sender][spender] = amount
    return True


@internal
def _move(owner: address, receiver: address, amount: uint256):
    """
    @notice Move tokens, or revert.
    """
    self.balanceOf[owner] -= amount
    self.balanceOf[receiver] += amount


@internal
def _spend(owner: address, receiver: address, amount: uint256):
    """
    @notice Move `owner`'s tokens by the caller's allowance, or revert.
    """
    self.allowance[owner][msg.sender] -= amount
    self._move(owner, receiver, amount)
