"""The risk engine that ships, on an in-process EVM, and how to ask it.

Calldata is encoded from the artifact's ABI with eth-abi, so that what the library encodes is judged by something else;
answers come back as plain tuples in the order of the interface's structs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import eth_abi
from eth_hash.auto import keccak
from pyrevm import EVM, BlockEnv

from adjudicator_contracts import artifact
from channels.risk import MarginPolicy

ERROR = keccak(b"Error(string)")[:4]
ACCOUNT = "0x" + "11" * 20
GAS = 60_000_000


class Reverted(Exception):
    """The engine reverted, with this string."""


def abi_type(value: Mapping[str, Any]) -> str:
    """Return the canonical type of an ABI entry's value, tuples spelled out."""
    kind: str = value["type"]
    if kind.startswith("tuple"):
        return f"({','.join(map(abi_type, value['components']))}){kind.removeprefix('tuple')}"
    return kind


class Engine:
    """A deployed contract without state, called over and over; `gas` is what the last call used, all included."""

    def __init__(self, bytecode: bytes, abi: tuple[Mapping[str, Any], ...], arguments: bytes = b"") -> None:
        self._evm = EVM(spec_id="CANCUN")
        self._evm.set_block_env(BlockEnv(number=1, timestamp=1, gas_limit=2 * GAS, basefee=0))
        self.gas = 0
        self._functions = {}
        for entry in abi:
            if entry["type"] == "function":
                inputs, outputs = (tuple(map(abi_type, entry[side])) for side in ("inputs", "outputs"))
                selector = keccak(f"{entry['name']}({','.join(inputs)})".encode())[:4]
                self._functions[entry["name"]] = (selector, inputs, outputs)
        try:
            self.address = self._evm.deploy(ACCOUNT, bytecode + arguments, gas=GAS)
        except RuntimeError as error:
            raise Reverted(_reason(str(error))) from None

    @classmethod
    def deployed(cls, policy: MarginPolicy) -> Engine:
        """Deploy the shipped engine with a policy."""
        return cls.with_arguments(policy.encode())

    @classmethod
    def with_arguments(cls, arguments: bytes) -> Engine:
        """Deploy the shipped engine with constructor arguments as they are."""
        shipped = artifact("RiskEngine")
        return cls(shipped.bytecode, shipped.abi, arguments)

    @property
    def code(self) -> bytes:
        """The deployed code."""
        return bytes(self._evm.basic(self.address).code or b"")

    def raw(self, data: bytes, gas: int = GAS) -> bytes:
        """Call with this calldata and return the bytes that come back; Reverted if it fails."""
        self._evm.reset_transient_storage()
        try:
            answer = bytes(self._evm.message_call(ACCOUNT, self.address, data, gas=gas, is_static=True))
        except RuntimeError as error:
            raise Reverted(_reason(str(error))) from None
        assert self._evm.result is not None
        self.gas = self._evm.result.gas_used
        return answer

    def calldata(self, function: str, *arguments: Any) -> bytes:
        """Encode a call."""
        selector, inputs, _ = self._functions[function]
        return selector + eth_abi.encode(inputs, arguments)

    def __call__(self, function: str, *arguments: Any, gas: int = GAS) -> Any:
        """Call a function and return what it returns, a single value bare."""
        values = eth_abi.decode(self._functions[function][2], self.raw(self.calldata(function, *arguments), gas))
        return values[0] if len(values) == 1 else values


def _reason(message: str) -> str:
    """Read the revert string out of pyrevm's message, which carries the output in hex."""
    _, _, tail = message.partition("output: 0x")
    output = bytes.fromhex("".join(c for c in tail if c in "0123456789abcdef"))
    return str(eth_abi.decode(["string"], output[4:])[0]) if output[:4] == ERROR else ""
