"""What is signed, said a second time: terms, states, books and digests through eth-abi, apart from the library.

The field order is protocol §2's. Nothing here validates: tests must be able to say what must be refused.
"""

from dataclasses import astuple, dataclass, replace
from typing import Any

import eth_abi
from coincurve import PrivateKey
from eth_hash.auto import keccak

WAD = 10**18
ETH = b"ETH/USD".ljust(32, b"\0")
BTC = b"BTC/USD".ljust(32, b"\0")
CALL, PUT = 0, 1
OPERATE, REOPEN, CLOSE = 0, 1, 2
OPEN, DISPUTED, SETTLING, CLOSED = 0, 1, 2, 3
NOWHERE = "0x" + "00" * 20

TERMS_TYPE = "(address[2],address[2],address,uint8,address,address,bytes32,uint32,uint32,uint32,uint32,uint64,bytes32)"
STATE_FIELDS = (
    ("bytes32", "channel"),
    ("uint64", "version"),
    ("uint8", "intent"),
    ("uint64", "validUntil"),
    ("uint128", "deposit0"),
    ("uint128", "deposit1"),
    ("uint128", "withdrawal0"),
    ("uint128", "withdrawal1"),
    ("int128", "balance0"),
    ("int128", "balance1"),
    ("bytes32", "book"),
)
BOOK_TYPE = (
    "(bytes32,uint64,(bytes32,uint128)[],(bytes32,uint64,uint128,uint128)[],"
    "(bytes32,uint64,uint128,uint8,int128,uint128)[])"
)
STATE_TYPEHASH = keccak(f"State({','.join(' '.join(field) for field in STATE_FIELDS)})".encode())
DOMAIN_TYPEHASH = keccak(b"EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)")
ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141


def _words(*values: Any) -> bytes:
    """Return static values as ABI words, whatever their types: also such as no type of the protocol admits."""
    out = b""
    for value in values:
        match value:
            case tuple():
                out += _words(*value)
            case str():
                out += int(value, 16).to_bytes(32, "big")
            case int():
                out += (value % 2**256).to_bytes(32, "big")
            case _:
                out += value
    return out


@dataclass(frozen=True, slots=True)
class Terms:
    """Protocol §2 `Terms`."""

    signers: tuple[str, str]
    owners: tuple[str, str]
    token: str
    decimals: int
    source: str
    engine: str
    policy: bytes
    challenge_period: int
    cure_period: int
    grace: int
    spot_max_age: int
    last_resort: int
    salt: bytes

    def channel(self, chain_id: int, adjudicator: str) -> bytes:
        """Return the channel id."""
        return keccak(_words(chain_id, adjudicator, *astuple(self)))


@dataclass(frozen=True, slots=True)
class State:
    """Protocol §2 `State`."""

    channel: bytes
    version: int = 0
    intent: int = OPERATE
    valid_until: int = 0
    deposit0: int = 0
    deposit1: int = 0
    withdrawal0: int = 0
    withdrawal1: int = 0
    balance0: int = 0
    balance1: int = 0
    book: bytes = bytes(32)

    def struct_hash(self) -> bytes:
        """Return the EIP-712 struct hash."""
        return keccak(_words(STATE_TYPEHASH, *astuple(self)))

    def digest(self, chain_id: int, adjudicator: str) -> bytes:
        """Return the EIP-712 digest."""
        domain = eth_abi.encode(
            ["bytes32", "bytes32", "bytes32", "uint256", "address"],
            [DOMAIN_TYPEHASH, keccak(b"OptionChannel"), keccak(b"1"), chain_id, adjudicator],
        )
        return keccak(b"\x19\x01" + keccak(domain) + self.struct_hash())

    def but(self, **changes: Any) -> "State":
        """Return this state with some fields changed."""
        return replace(self, **changes)


@dataclass(frozen=True, slots=True)
class Leg:
    """One option line; prices and quantity in WAD."""

    underlying: bytes
    expiry: int
    strike: int
    kind: int
    quantity: int
    vol: int = WAD // 2


def book(
    *legs: Leg, time: int = 1_700_000_000, spots: dict[bytes, int] | None = None, salt: bytes = b"s" * 32
) -> bytes:
    """Return the canonical book bytes: marks cover exactly the legs, everything sorted; empty for no legs."""
    if not legs:
        return b""
    marks = {leg.underlying: 2_000 * WAD for leg in legs} | (spots or {})
    expiries = sorted({(leg.underlying, leg.expiry) for leg in legs})
    lines = sorted(legs, key=lambda leg: (leg.underlying, leg.expiry, leg.strike, leg.kind))
    value = (
        salt,
        time,
        sorted(marks.items()),
        [(underlying, expiry, WAD, WAD) for underlying, expiry in expiries],
        [astuple(leg) for leg in lines],
    )
    return eth_abi.encode([BOOK_TYPE], [value])


def book_hash(data: bytes) -> bytes:
    """Return what a state says of a book."""
    return keccak(data) if data else bytes(32)


class Key:
    """A raw secp256k1 key and its address."""

    def __init__(self, secret: int) -> None:
        self._key = PrivateKey(secret.to_bytes(32, "big"))
        self.secret = secret.to_bytes(32, "big")
        self.address = "0x" + keccak(self._key.public_key.format(compressed=False)[1:])[12:].hex()

    def sign(self, digest: bytes) -> bytes:
        """Return the canonical signature: r, s (low), v 27 or 28."""
        signature = self._key.sign_recoverable(digest, hasher=None)
        return signature[:64] + bytes([27 + signature[64]])


def high_s(signature: bytes) -> bytes:
    """Return the other signature of the same message, which plain recovery accepts."""
    s = ORDER - int.from_bytes(signature[32:64], "big")
    return signature[:32] + s.to_bytes(32, "big") + bytes([27 + 28 - signature[64]])
