"""The hot key of one party, and nothing else that is secret."""

from __future__ import annotations

import hmac

import coincurve

from ..errors import KeyUnusable
from ..model.identity import Address, keccak


class Signer:
    """Signs thirty-two-byte digests: 65 bytes r ‖ s ‖ v, low-s, v in {27, 28}, deterministic (RFC 6979).

    Raises KeyUnusable for a key that is not 32 bytes within the curve's order. Its repr never shows the key.
    """

    __slots__ = ("_key", "address")

    def __init__(self, secret: bytes) -> None:
        try:
            self._key = coincurve.PrivateKey(secret) if len(secret) == 32 else None
        except (ValueError, TypeError):
            self._key = None
        if self._key is None:
            raise KeyUnusable("a private key has thirty-two bytes and lies within the curve's order")
        self.address = address_of(self._key.public_key)

    @classmethod
    def from_hex(cls, text: str) -> Signer:
        """Build a signer from 0x-prefixed or bare hex; the error never repeats the text."""
        try:
            return cls(bytes.fromhex(text.strip().removeprefix("0x")))
        except ValueError:
            raise KeyUnusable("a private key is written as 64 hex digits") from None

    def sign(self, digest: bytes) -> bytes:
        """Return the 65-byte signature of a digest. libsecp256k1 always returns the low s."""
        assert self._key is not None
        raw = self._key.sign_recoverable(digest, hasher=None)
        return raw[:64] + bytes((raw[64] + 27,))

    def derive(self, purpose: bytes) -> bytes:
        """Return a 32-byte key for a purpose: HKDF-SHA256 (RFC 5869) of the signing key. It tells nothing about it."""
        assert self._key is not None
        return hkdf(self._key.secret, b"option-channels", purpose)

    def __repr__(self) -> str:
        return f"Signer({self.address})"


def hkdf(secret: bytes, salt: bytes, info: bytes) -> bytes:
    """Return the first 32 bytes of HKDF-SHA256: extract, then the one block that so many bytes take. RFC 5869."""
    extracted = hmac.digest(salt, secret, "sha256")
    return hmac.digest(extracted, info + b"\x01", "sha256")


def address_of(key: coincurve.PublicKey) -> Address:
    """Return the Ethereum address of a public key."""
    return Address(keccak(key.format(compressed=False)[1:])[12:])
