# pragma version 0.4.3
# pragma evm-version cancun
"""
@title ReentrantToken
@license MIT
@notice A token that calls its victim back while it moves, with calldata a test has prepared, and remembers how that went.
"""

from mocks.parts import balances

initializes: balances
exports: (balances.balanceOf, balances.allowance, balances.mint, balances.approve)

victim: public(address)
calldata: Bytes[16000]
attempts: public(uint256)
entered: public(uint256)


@external
def arm(victim: address, calldata: Bytes[16000]):
    """
    @notice Call `victim` with `calldata` on every transfer from now on; no calldata disarms.
    """
    self.victim = victim
    self.calldata = calldata


@external
def transfer(receiver: address, amount: uint256) -> bool:
    """
    @notice Move the caller's tokens, and call back.
    """
    self._reenter()
    balances._move(msg.sender, receiver, amount)
    return True


@external
def transferFrom(owner: address, receiver: address, amount: uint256) -> bool:
    """
    @notice Move `owner`'s tokens by its allowance, and call back.
    """
    self._reenter()
    balances._spend(owner, receiver, amount)
    return True


@internal
def _reenter():
    """
    @notice Call the victim.
    """
    if len(self.calldata) == 0:
        return
    self.attempts += 1
    if raw_call(self.victim, self.calldata, revert_on_failure=False):
        self.entered += 1
