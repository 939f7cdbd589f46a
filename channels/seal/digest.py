"""EIP-712 digests, packed by hand from typed fields.

Never from a dictionary: eth-account's encoder pads short bytes32, hashes -1 as 0 and ignores unknown keys, so it is the
test oracle and not the source.
"""

from __future__ import annotations

from struct import Struct

from ..model.identity import Deployment, keccak, word
from ..model.state import State
from .typehash import HELLO_DOMAIN, HELLO_TYPEHASH, STATE_TYPEHASH, state_prefix

_HEAD = Struct(">32s32s24xQ31xB24xQ")
"""Typehash, channel, version, intent and valid-until."""


def state_struct_hash(state: State) -> bytes:
    """Return hashStruct(state): what the adjudicator stores of a registered state. The state keeps it once made."""
    if not state.struct_hash:
        (deposit0, deposit1), (withdrawal0, withdrawal1) = state.deposits, state.withdrawals
        amounts = (deposit0, deposit1, withdrawal0, withdrawal1, *state.balances)
        head = _HEAD.pack(STATE_TYPEHASH, state.channel, state.version, state.intent, state.valid_until)
        words = b"".join([amount.to_bytes(32, "big", signed=True) for amount in amounts])
        object.__setattr__(state, "struct_hash", keccak(head + words + state.book))
    return state.struct_hash


def state_digest(deployment: Deployment, state: State) -> bytes:
    """Return the thirty-two bytes both parties sign for a state."""
    return keccak(state_prefix(deployment) + state_struct_hash(state))


def hello_digest(their_nonce: bytes, my_nonce: bytes, certificate_sha256: bytes, role: int) -> bytes:
    """Return the digest of a Hello: fresh by the peer's nonce, bound to the listener's certificate and to a role."""
    body = HELLO_TYPEHASH + their_nonce + my_nonce + certificate_sha256 + word(role)
    return keccak(b"\x19\x01" + HELLO_DOMAIN + keccak(body))
