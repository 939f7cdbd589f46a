"""EIP-712 digests, packed by hand from typed fields.

Never from a dictionary: eth-account's encoder pads short bytes32, hashes -1 as 0 and ignores unknown keys, so it is the
test oracle and not the source.
"""

from __future__ import annotations

from ..model.identity import Deployment, keccak, word
from ..model.state import State
from .typehash import HELLO_DOMAIN, HELLO_TYPEHASH, STATE_TYPEHASH, domain_separator


def state_struct_hash(state: State) -> bytes:
    """Return hashStruct(state): what the adjudicator stores of a registered state. The state keeps it once made."""
    if not state.struct_hash:
        fields = (
            STATE_TYPEHASH,
            state.channel,
            word(state.version),
            word(state.intent),
            word(state.valid_until),
            *map(word, state.deposits),
            *map(word, state.withdrawals),
            *map(word, state.balances),
            state.book,
        )
        object.__setattr__(state, "struct_hash", keccak(b"".join(fields)))
    return state.struct_hash


def state_digest(deployment: Deployment, state: State) -> bytes:
    """Return the thirty-two bytes both parties sign for a state."""
    return keccak(b"\x19\x01" + domain_separator(deployment) + state_struct_hash(state))


def hello_digest(their_nonce: bytes, my_nonce: bytes, certificate_sha256: bytes, role: int) -> bytes:
    """Return the digest of a Hello: fresh by the peer's nonce, bound to the listener's certificate and to a role."""
    body = HELLO_TYPEHASH + their_nonce + my_nonce + certificate_sha256 + word(role)
    return keccak(b"\x19\x01" + HELLO_DOMAIN + keccak(body))
