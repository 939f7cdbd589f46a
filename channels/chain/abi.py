"""The contracts' ABI, read once from the shipped artifacts: selectors, topics, and encoding by eth-abi.

web3's contract objects do the same with validation that costs more than the call; here a name is looked up in a table
made from the artifact, so a function that the contract does not have fails at the first use and not on-chain.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from eth_abi.abi import decode, encode
from eth_abi.exceptions import DecodingError

from adjudicator_contracts import artifact

from ..errors import InvariantBroken
from ..model import keccak

ERROR_SELECTOR = keccak(b"Error(string)")[:4]


@dataclass(frozen=True, slots=True)
class Entry:
    """A function's or an event's types. `inputs` are an event's unindexed ones, in order."""

    signature: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]

    @property
    def selector(self) -> bytes:
        """The four bytes a call of it starts with."""
        return keccak(self.signature.encode())[:4]

    @property
    def topic(self) -> bytes:
        """The first topic of its logs."""
        return keccak(self.signature.encode())


class Abi:
    """One contract's functions and events by name; Vyper has no overloading, and default arguments are not used."""

    def __init__(self, entries: Sequence[Mapping[str, Any]]) -> None:
        self.functions = {e["name"]: _entry(e) for e in entries if e["type"] == "function"}
        self.events = {e["name"]: _entry(e) for e in entries if e["type"] == "event"}
        constructor = [e for e in entries if e["type"] == "constructor"]
        self._constructor = tuple(_type_of(i) for e in constructor for i in e["inputs"])

    def call_data(self, name: str, *args: object) -> bytes:
        """Return the calldata of a call; InvariantBroken for a function the artifact does not have."""
        entry = self._function(name)
        return entry.selector + encode(entry.inputs, args)

    def constructor_data(self, *args: object) -> bytes:
        """Return what is appended to the creation code."""
        return encode(self._constructor, args)

    def result(self, name: str, answer: bytes) -> tuple[Any, ...]:
        """Return a call's decoded answer, one value per output; eth_abi's DecodingError if it is none."""
        return decode(self._function(name).outputs, answer)

    def _function(self, name: str) -> Entry:
        if (entry := self.functions.get(name)) is None:
            raise InvariantBroken("the artifact has every function that is called", name)
        return entry


@cache
def abi_of(name: str) -> Abi:
    """Return the ABI of a shipped contract."""
    return Abi(artifact(name).abi)


def revert_reason(data: bytes) -> str | None:
    """Return the text of an `Error(string)`, None for any other revert data."""
    if data[:4] != ERROR_SELECTOR:
        return None
    try:
        (text,) = decode(("string",), data[4:])
    except (DecodingError, ValueError, OverflowError):
        return None
    return str(text)


def _entry(row: Mapping[str, Any]) -> Entry:
    types = [_type_of(item) for item in row["inputs"]]
    plain = tuple(t for t, item in zip(types, row["inputs"], strict=True) if not item.get("indexed"))
    outputs = tuple(_type_of(item) for item in row.get("outputs", ()))
    return Entry(f"{row['name']}({','.join(types)})", plain, outputs)


def _type_of(item: Mapping[str, Any]) -> str:
    kind: str = item["type"]
    if not kind.startswith("tuple"):
        return kind
    return f"({','.join(_type_of(part) for part in item['components'])}){kind.removeprefix('tuple')}"
