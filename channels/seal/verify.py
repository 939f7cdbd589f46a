"""Who said it. The same refusals as the contract's, also where plain recovery would succeed."""

from __future__ import annotations

import coincurve

from ..errors import BadSignature
from ..model.identity import Address, Deployment, Party
from ..model.state import Agreed, State
from ..model.terms import Terms
from .digest import state_digest
from .signer import address_of

HALF_ORDER = 0x7FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF5D576E7357A4501DDFE92F46681B20A0
"""Half the curve's order: a larger s is the malleable twin of a canonical signature."""


def recover(digest: bytes, signature: bytes) -> Address:
    """Return the address that signed `digest`; BadSignature unless it is 65 bytes, low-s, v in {27, 28} and valid."""
    if not isinstance(signature, bytes) or len(signature) != 65:
        raise BadSignature(f"it is not 65 bytes, but {signature!r:.80}")
    if signature[64] not in (27, 28):
        raise BadSignature(f"v is {signature[64]}, not 27 or 28")
    if int.from_bytes(signature[32:64], "big") > HALF_ORDER:
        raise BadSignature("s is above half the curve's order")
    try:
        raw = signature[:64] + bytes((signature[64] - 27,))
        return address_of(coincurve.PublicKey.from_signature_and_message(raw, digest, hasher=None))
    except Exception:  # coincurve raises bare Exception for an unrecoverable point
        raise BadSignature("no public key can be recovered from it") from None


def check_signature(digest: bytes, signature: bytes, signer: Address) -> None:
    """Raise BadSignature unless `signature` is `signer`'s over `digest`."""
    if (found := recover(digest, signature)) != signer:
        raise BadSignature(f"it is by {found}, not by {signer}")


def check_party(deployment: Deployment, terms: Terms, state: State, party: Party, signature: bytes) -> None:
    """Raise BadSignature unless `party`'s signer signed `state`."""
    check_signature(state_digest(deployment, state), signature, terms.signers[party])


def check_agreed(deployment: Deployment, terms: Terms, agreed: Agreed) -> None:
    """Raise BadSignature unless both signers signed the state, each in its own place."""
    digest = state_digest(deployment, agreed.state)
    for party in Party:
        check_signature(digest, agreed.signatures[party], terms.signers[party])
