# pragma version 0.4.3
"""
@title state_hash
@license MIT
@notice Names and digests: the channel id, and the EIP-712 hash of a state.
@dev Everything is hashed with the chain id and this contract's address read at the call, never cached, so that after a chain
     split each half has its own channels and no signature passes from one to the other.
"""

from interfaces import IAdjudicator

DOMAIN_TYPEHASH: constant(bytes32) = keccak256(
    "EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"
)
NAME_HASH: constant(bytes32) = keccak256("OptionChannel")
VERSION_HASH: constant(bytes32) = keccak256("1")
STATE_TYPEHASH: constant(bytes32) = keccak256(
    "State(bytes32 channel,uint64 version,uint8 intent,uint64 validUntil,uint128 deposit0,uint128 deposit1,uint128 withdrawal0,uint128 withdrawal1,int128 balance0,int128 balance1,bytes32 book)"
)


@internal
@view
def _channel(terms: IAdjudicator.Terms) -> bytes32:
    """
    @notice The channel id: 17 static words, so the encoding is unambiguous.
    """
    return keccak256(abi_encode(chain.id, self, terms))


@internal
@pure
def _state(state: IAdjudicator.State) -> bytes32:
    """
    @notice The EIP-712 struct hash of a state: what the adjudicator stores.
    """
    return keccak256(abi_encode(STATE_TYPEHASH, state))


@internal
@view
def _digest(state: bytes32) -> bytes32:
    """
    @notice The EIP-712 digest of a state's struct hash: what the parties sign.
    """
    domain: bytes32 = keccak256(abi_encode(DOMAIN_TYPEHASH, NAME_HASH, VERSION_HASH, chain.id, self))
    return keccak256(concat(0x1901, domain, state))
