"""Who pays the gas: an account that signs transactions, and the Protocol by which any other one may be handed in.

`KeyAccount` packs EIP-1559 and legacy transactions by hand on top of `seal.Signer`, so that this room needs neither
another signing library nor its dictionaries; eth-account's LocalAccount satisfies the same Protocol.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Protocol

from ..model import Address, keccak
from ..seal import Signer

DYNAMIC_FEE = b"\x02"
"""The type byte of an EIP-1559 transaction."""
NO_ACCESS_LIST = b"\xc0"


class SignedTransaction(Protocol):
    """What `sign_transaction` returns: bytes to broadcast."""

    @property
    def raw_transaction(self) -> bytes: ...


class TransactionSigner(Protocol):
    """An account that can sign a transaction given as a JSON-RPC dictionary (`chainId`, `nonce`, `gas`, ...)."""

    @property
    def address(self) -> str: ...

    def sign_transaction(self, transaction_dict: dict[str, Any], /) -> SignedTransaction: ...


@dataclass(frozen=True, slots=True)
class RawTransaction:
    """Signed bytes."""

    raw_transaction: bytes


class KeyAccount:
    """Signs transactions with the key of a `Signer`."""

    def __init__(self, signer: Signer) -> None:
        self._signer = signer

    @property
    def address(self) -> str:
        return str(self._signer.address)

    def sign_transaction(self, transaction_dict: dict[str, Any], /) -> RawTransaction:
        """Return the signed transaction: EIP-1559 if it has `maxFeePerGas`, else legacy with the chain id (EIP-155)."""
        tx = transaction_dict
        to = bytes(Address(tx["to"])) if tx.get("to") else b""
        call: tuple[int | bytes, ...] = (tx["gas"], to, tx["value"], tx["data"])
        if "maxFeePerGas" in tx:
            head = (tx["chainId"], tx["nonce"], tx["maxPriorityFeePerGas"], tx["maxFeePerGas"], *call)
            fields = [*map(_rlp, head), NO_ACCESS_LIST]
            r, s, parity = self._sign(DYNAMIC_FEE + _rlp_list(fields))
            return RawTransaction(DYNAMIC_FEE + _rlp_list([*fields, *map(_rlp, (parity, r, s))]))
        head = (tx["nonce"], tx["gasPrice"], *call)
        r, s, parity = self._sign(_rlp_list(map(_rlp, (*head, tx["chainId"], 0, 0))))
        return RawTransaction(_rlp_list(map(_rlp, (*head, tx["chainId"] * 2 + 35 + parity, r, s))))

    def _sign(self, payload: bytes) -> tuple[int, int, int]:
        signature = self._signer.sign(keccak(payload))
        return int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:64], "big"), signature[64] - 27


def _rlp(item: int | bytes) -> bytes:
    """Encode one item: integers as their shortest big-endian bytes, zero as none."""
    raw = item.to_bytes((item.bit_length() + 7) // 8, "big") if isinstance(item, int) else bytes(item)
    if len(raw) == 1 and raw[0] < 0x80:
        return raw
    return _rlp_length(len(raw), 0x80) + raw


def _rlp_list(items: Iterable[bytes]) -> bytes:
    """Encode a list of items that are encoded already."""
    body = b"".join(items)
    return _rlp_length(len(body), 0xC0) + body


def _rlp_length(length: int, base: int) -> bytes:
    if length < 56:
        return bytes((base + length,))
    size = length.to_bytes((length.bit_length() + 7) // 8, "big")
    return bytes((base + 55 + len(size),)) + size
