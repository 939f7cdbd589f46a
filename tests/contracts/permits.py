"""EIP-2612 permits of the laboratory's token: who signed what, said apart from the token's own code.

The token's domain has a chain and an address and no name; else a permit is as the standard says.
"""

from dataclasses import astuple, dataclass

import eth_abi
from eth_hash.auto import keccak

from channels.errors import BadSignature
from channels.seal.verify import recover
from tests.contracts.encoding import Key
from tests.contracts.evm import CHAIN_ID

DOMAIN = keccak(b"EIP712Domain(uint256 chainId,address verifyingContract)")
PERMIT = keccak(b"Permit(address owner,address spender,uint256 value,uint256 nonce,uint256 deadline)")


@dataclass(frozen=True, slots=True)
class Permit:
    """What an owner lets a spender take, once, until a second."""

    token: str
    owner: str
    spender: str
    amount: int
    nonce: int
    deadline: int

    @property
    def digest(self) -> bytes:
        """What its owner signs."""
        token, *fields = astuple(self)
        domain = keccak(eth_abi.encode(["bytes32", "uint256", "address"], [DOMAIN, CHAIN_ID, token]))
        types = ["bytes32", "address", "address", "uint256", "uint256", "uint256"]
        return keccak(b"\x19\x01" + domain + keccak(eth_abi.encode(types, [PERMIT, *fields])))

    def sign(self, key: Key) -> tuple[int, bytes, bytes]:
        """Return v, r and s of somebody's signature."""
        signature = key.sign(self.digest)
        return signature[64], signature[:32], signature[32:64]

    def is_signed(self, v: int, r: bytes, s: bytes) -> bool:
        """Return whether its owner signed it; no test here makes a signature that only the token would take."""
        try:
            return "0x" + recover(self.digest, r + s + bytes([v])).hex() == self.owner
        except BadSignature:
            return False
