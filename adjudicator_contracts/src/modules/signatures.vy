# pragma version 0.4.3
"""
@title signatures
@license MIT
@notice One accepted form of a signature: 65 bytes r || s || v, s in the lower half, v 27 or 28.
@dev Everything else is refused, also where plain recovery would succeed, so that a signature has one byte string only and
     contract and library accept exactly the same ones.
"""

from modules import errors

# Half the order of secp256k1, rounded down: the largest low s (EIP-2), 0x7FFFFFFF...681B20A0.
HALF_ORDER: constant(uint256) = 57896044618658097711785492504343953926418782139537452191302581570759080747168


@internal
@pure
def _recover(digest: bytes32, signature: Bytes[65]) -> address:
    """
    @notice Who signed `digest`. Reverts for anything but a canonical signature; never answers zero.
    """
    errors._require(len(signature) == 65, "signatures: not 65 bytes")
    s: uint256 = extract32(signature, 32, output_type=uint256)
    errors._require(s <= HALF_ORDER, "signatures: high s")
    v: uint256 = convert(slice(signature, 64, 1), uint256)
    errors._require(v == 27 or v == 28, "signatures: v is not 27 or 28")
    signer: address = ecrecover(digest, v, extract32(signature, 0, output_type=uint256), s)
    # The precompile answers zero for what it cannot recover; a zero address must never pass for a signer.
    errors._require(signer != empty(address), "signatures: not recoverable")
    return signer


@internal
@pure
def _check(signer: uint256, digest: bytes32, signature: Bytes[65]):
    """
    @notice Revert unless `signature` is `signer`'s canonical signature of `digest`.
    """
    errors._require(self._recover(digest, signature) == convert(signer, address), "signatures: wrong signer")
