# pragma version 0.4.3
"""
@title tokens
@license MIT
@notice Moves ERC-20 tokens, with and without return values, without trusting them.
@dev A transfer counts if the call succeeds and returns nothing, or a first word equal to 1. Return data beyond that word is not copied.
"""

from ethereum.ercs import IERC20
from modules import errors

PUSH_GAS: constant(uint256) = 150_000
# The frame around a push: dispatch, and the 1/64 that the inner call holds back.
PUSH_FRAME_GAS: constant(uint256) = PUSH_GAS + 10_000
# What follows a failed push: a fresh claimable slot and an event, with room to spare.
PUSH_RESERVE: constant(uint256) = 50_000


@internal
@pure
def _accepted(answer: Bytes[32]) -> bool:
    """
    @notice Whether a token's answer means success.
    """
    if len(answer) == 0:
        return True
    return len(answer) == 32 and convert(answer, uint256) == 1


@internal
def _try_permit(
    token: address, owner: address, amount: uint256, deadline: uint256, v: uint8, r: bytes32, s: bytes32
):
    """
    @notice Present `owner`'s EIP-2612 permit to `token`, whatever comes of it.
    @dev Who saw the permit pending may have presented it already: what counts is the allowance, and that the pull checks.
    """
    success: bool = raw_call(
        token,
        abi_encode(
            owner,
            self,
            amount,
            deadline,
            v,
            r,
            s,
            method_id=method_id("permit(address,address,uint256,uint256,uint8,bytes32,bytes32)"),
        ),
        revert_on_failure=False,
    )


@internal
def _pull(token: address, payer: address, amount: uint256):
    """
    @notice Take exactly `amount` from `payer`, or revert.
    """
    before: uint256 = staticcall IERC20(token).balanceOf(self)
    success: bool = False
    answer: Bytes[32] = b""
    success, answer = raw_call(
        token,
        abi_encode(payer, self, amount, method_id=method_id("transferFrom(address,address,uint256)")),
        max_outsize=32,
        revert_on_failure=False,
    )
    errors._require(success and self._accepted(answer), "token: transfer refused")
    errors._require(staticcall IERC20(token).balanceOf(self) == before + amount, "token: wrong amount arrived")


@internal
def _transfer(token: address, owner: address, amount: uint256, gas_cap: uint256):
    """
    @notice Pay `owner`, or revert.
    """
    success: bool = False
    answer: Bytes[32] = b""
    success, answer = raw_call(
        token,
        abi_encode(owner, amount, method_id=method_id("transfer(address,uint256)")),
        max_outsize=32,
        gas=gas_cap,
        revert_on_failure=False,
    )
    errors._require(success and self._accepted(answer), "token: transfer refused")


@internal
def _try_push(token: address, owner: address, amount: uint256) -> bool:
    """
    @notice Pay `owner` by way of `push` in a frame of its own; answer whether it worked. If not, nothing moved.
    """
    errors._require(msg.gas * 63 // 64 > PUSH_FRAME_GAS + PUSH_RESERVE, "token: too little gas")
    return raw_call(
        self,
        abi_encode(token, owner, amount, method_id=method_id("push(address,address,uint256)")),
        gas=PUSH_FRAME_GAS,
        revert_on_failure=False,
    )
