"""Who and where: addresses, the two parties, the deployment a channel lives in, and the one hash function.

An address is its twenty bytes, so that two spellings of one address can never be two addresses.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from typing import NewType

from eth_hash.backends.pysha3 import keccak256

from ..errors import InvalidValue

keccak: Callable[[bytes], bytes] = keccak256
"""Keccak-256 of bytes, by the C implementation (four times faster than the default one)."""

ChannelId = NewType("ChannelId", bytes)
"""keccak256(abi.encode(chainid, adjudicator, terms)): thirty-two bytes."""

Hash32 = bytes
ZERO32 = bytes(32)


class Party(IntEnum):
    """One of the two sides, ordered by signer address, lower first."""

    ZERO = 0
    ONE = 1

    @property
    def other(self) -> Party:
        return Party.ONE if self is Party.ZERO else Party.ZERO


class Address(bytes):
    """Twenty bytes; printed with the EIP-55 checksum.

    Accepts twenty bytes or 0x-prefixed hex; mixed-case hex must carry the right checksum. Raises InvalidValue.
    """

    def __new__(cls, value: bytes | str) -> Address:
        if isinstance(value, str):
            raw = _unhex(value)
            made = super().__new__(cls, raw)
            body = value[2:]
            if body not in (body.lower(), body.upper()) and str(made) != value:
                raise InvalidValue("address", value, "its checksum is wrong: one character is mistyped")
            return made
        if not isinstance(value, bytes) or len(value) != 20:
            raise InvalidValue("address", value, "an address has twenty bytes")
        return super().__new__(cls, value)

    def __str__(self) -> str:
        text = self.hex()
        digest = keccak(text.encode()).hex()
        return "0x" + "".join(c.upper() if int(d, 16) > 7 else c for c, d in zip(text, digest, strict=False))

    def __repr__(self) -> str:
        return f"Address({str(self)!r})"

    @property
    def word(self) -> bytes:
        """The address as one ABI word."""
        return bytes(12) + self


def _unhex(value: str) -> bytes:
    try:
        raw = bytes.fromhex(value[2:]) if value[:2] == "0x" else b""
    except ValueError:
        raw = b""
    if len(raw) != 20 or len(value) != 42:
        raise InvalidValue("address", value, "an address is 0x and forty hex digits")
    return raw


ZERO_ADDRESS = Address(bytes(20))


@dataclass(frozen=True, slots=True)
class Deployment:
    """An adjudicator on a chain: what the EIP-712 domain and the channel id bind to."""

    chain_id: int
    adjudicator: Address

    def __post_init__(self) -> None:
        checked_range("chain_id", self.chain_id, 1, 2**64 - 1)  # EIP-2294 keeps chain ids below 2^63
        if not isinstance(self.adjudicator, Address):
            raise InvalidValue("adjudicator", self.adjudicator, "this must be an Address")


def word(value: int) -> bytes:
    """Return an integer as one ABI word, two's complement when negative."""
    return value.to_bytes(32, "big", signed=value < 0)


def checked_range(field: str, value: int, low: int, high: int) -> int:
    """Return `value` if it is an int (not a bool) within [low, high]; raise InvalidValue otherwise."""
    if type(value) is not int and (isinstance(value, bool) or not isinstance(value, int)):
        raise InvalidValue(field, value, "this must be an integer")
    if not low <= value <= high:
        raise InvalidValue(field, value, f"this must lie between {low} and {high}")
    return value


def checked_hash(field: str, value: bytes) -> bytes:
    """Return `value` if it is thirty-two bytes; raise InvalidValue otherwise."""
    if not isinstance(value, bytes) or len(value) != 32:
        raise InvalidValue(field, value, "this must be thirty-two bytes")
    return value
