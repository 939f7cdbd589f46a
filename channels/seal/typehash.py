"""EIP-712 type strings, domains and their hashes: the same constants as the contracts'."""

from __future__ import annotations

from functools import lru_cache

from ..model.identity import Address, Deployment, keccak, word

STATE_TYPE = (
    "State(bytes32 channel,uint64 version,uint8 intent,uint64 validUntil,"
    "uint128 deposit0,uint128 deposit1,uint128 withdrawal0,uint128 withdrawal1,"
    "int128 balance0,int128 balance1,bytes32 book)"
)
HELLO_TYPE = "Hello(bytes32 theirNonce,bytes32 myNonce,bytes32 listenerCertificateSha256,uint8 role)"
DOMAIN_TYPE = "EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"
LOCAL_DOMAIN_TYPE = "EIP712Domain(string name,string version)"

STATE_TYPEHASH = keccak(STATE_TYPE.encode())
HELLO_TYPEHASH = keccak(HELLO_TYPE.encode())
_NAME = keccak(b"OptionChannel")
_VERSION = keccak(b"1")
HELLO_DOMAIN = keccak(keccak(LOCAL_DOMAIN_TYPE.encode()) + _NAME + _VERSION)
"""A domain without a contract: a Hello can never be mistaken for a state."""


@lru_cache(maxsize=64)
def domain_separator(deployment: Deployment) -> bytes:
    """Return the EIP-712 domain hash of an adjudicator on its chain."""
    return _contract_domain(_NAME, deployment.chain_id, deployment.adjudicator)


@lru_cache(maxsize=64)
def state_prefix(deployment: Deployment) -> bytes:
    """Return what stands before a state's struct hash in what is signed: EIP-712's 0x1901 and the domain."""
    return b"\x19\x01" + domain_separator(deployment)


def _contract_domain(name: bytes, chain_id: int, contract: Address) -> bytes:
    return keccak(keccak(DOMAIN_TYPE.encode()) + name + _VERSION + word(chain_id) + contract.word)
