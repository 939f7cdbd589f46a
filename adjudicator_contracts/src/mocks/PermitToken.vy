# pragma version 0.4.3
# pragma evm-version cancun
"""
@title PermitToken
@license MIT
@notice A token with EIP-2612 permits: an allowance given by signature, once per nonce, for this token on this chain.
"""

from mocks.parts import balances

initializes: balances
exports: (balances.balanceOf, balances.allowance, balances.mint, balances.approve)

NAME_HASH: constant(bytes32) = keccak256("Permit dollar")
VERSION_HASH: constant(bytes32) = keccak256("1")
DOMAIN_TYPEHASH: constant(bytes32) = keccak256(
    "EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"
)
PERMIT_TYPEHASH: constant(bytes32) = keccak256(
    "Permit(address owner,address spender,uint256 value,uint256 nonce,uint256 deadline)"
)

nonces: public(HashMap[address, uint256])


@external
def permit(owner: address, spender: address, amount: uint256, deadline: uint256, v: uint8, r: bytes32, s: bytes32):
    """
    @notice Let `spender` take up to `amount` of `owner`'s tokens, who signed that with its next nonce.
    """
    assert block.timestamp <= deadline, "token: permit expired"
    struct_hash: bytes32 = keccak256(
        abi_encode(PERMIT_TYPEHASH, owner, spender, amount, self.nonces[owner], deadline)
    )
    digest: bytes32 = keccak256(concat(0x1901, self._domain(), struct_hash))
    signer: address = ecrecover(digest, v, r, s)
    assert signer != empty(address) and signer == owner, "token: not a permit of the owner"
    self.nonces[owner] += 1
    balances.allowance[owner][spender] = amount


@external
@view
def DOMAIN_SEPARATOR() -> bytes32:
    """
    @notice The EIP-712 domain of the permits.
    """
    return self._domain()


@external
def transfer(receiver: address, amount: uint256) -> bool:
    """
    @notice Move the caller's tokens.
    """
    balances._move(msg.sender, receiver, amount)
    return True


@external
def transferFrom(owner: address, receiver: address, amount: uint256) -> bool:
    """
    @notice Move `owner`'s tokens by its allowance.
    """
    balances._spend(owner, receiver, amount)
    return True


@internal
@view
def _domain() -> bytes32:
    """
    @notice The domain, with the chain id and the address read at the call.
    """
    return keccak256(abi_encode(DOMAIN_TYPEHASH, NAME_HASH, VERSION_HASH, chain.id, self))
