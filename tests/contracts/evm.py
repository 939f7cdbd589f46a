"""A chain of one: contracts from their artifacts on an in-process EVM, with a clock that the test owns.

pyrevm executes a call in tens of microseconds, so that tests and state machines can afford thousands. Nothing of the
library is imported here: addresses, calldata, events and revert strings are decoded from the artifact's ABI with
eth-abi, so that what the library encodes is judged by something else.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any

import eth_abi
from eth_hash.auto import keccak
from pyrevm import EVM, BlockEnv

from adjudicator_contracts import artifact

START = 1_700_000_000
CHAIN_ID = 1
ERROR_SELECTOR = keccak(b"Error(string)")[:4]


class Reverted(Exception):
    """A transaction or call reverted; `reason` is its string, empty if it gave none."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Event:
    """One decoded log."""

    address: str
    name: str
    args: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Receipt:
    """What a transaction left behind."""

    result: Any
    events: tuple[Event, ...]
    gas: int

    def one(self, name: str) -> Mapping[str, Any]:
        """Return the arguments of the only event called `name`."""
        (found,) = (event.args for event in self.events if event.name == name)
        return found

    def all(self, name: str) -> list[Mapping[str, Any]]:
        """Return the arguments of every event called `name`."""
        return [event.args for event in self.events if event.name == name]


@dataclass(frozen=True, slots=True)
class Function:
    """How to call one function."""

    selector: bytes
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Log:
    """How to read one event."""

    name: str
    names: tuple[str, ...]
    types: tuple[str, ...]
    indexed: tuple[bool, ...]


@dataclass(frozen=True, slots=True)
class Interface:
    """How to speak to one contract."""

    functions: Mapping[str, Function]
    logs: Mapping[bytes, Log]
    constructor: tuple[str, ...]


class Chain:
    """The EVM, its clock, and the contracts on it."""

    id = CHAIN_ID

    def __init__(self, timestamp: int = START) -> None:
        self._evm = EVM(spec_id="CANCUN")
        self._contracts: dict[str, Contract] = {}
        self.number = 1
        self.now = timestamp
        self.at(timestamp)

    def at(self, timestamp: int) -> None:
        """Let the next transactions happen at this second, in a new block."""
        self.now = timestamp
        self.number += 1
        self._evm.set_block_env(BlockEnv(number=self.number, timestamp=timestamp, gas_limit=60_000_000, basefee=0))

    def sleep(self, seconds: int) -> None:
        """Let time pass."""
        self.at(self.now + seconds)

    def deploy(self, name: str, *args: Any) -> "Contract":
        """Deploy the artifact called `name`; `Reverted` if its constructor refuses."""
        return self.deploy_encoded(name, eth_abi.encode(interface_of(name).constructor, args))

    def deploy_encoded(self, name: str, arguments: bytes) -> "Contract":
        """Deploy the artifact called `name` with constructor arguments as they are."""
        interface = interface_of(name)
        code = artifact(name).bytecode + arguments
        try:
            address = self._evm.deploy(DEPLOYER, code, gas=20_000_000)
        except RuntimeError as error:
            raise Reverted(_reason(str(error))) from None
        contract = Contract(self, name, address, interface)
        self._contracts[address.lower()] = contract
        return contract

    def code(self, address: str) -> bytes:
        """Return the code at an address."""
        return bytes(self._evm.basic(address).code or b"")

    def execute(self, sender: str, to: str, data: bytes, gas: int, static: bool, value: int = 0) -> bytes:
        """Run one message; `Reverted` if it fails."""
        self._evm.reset_transient_storage()
        try:
            return bytes(self._evm.message_call(sender, to, data, value=value, gas=gas, is_static=static))
        except RuntimeError as error:
            raise Reverted(_reason(str(error))) from None

    def receipt(self, result: Any) -> Receipt:
        """Decode what the last message left behind."""
        last = self._evm.result
        assert last is not None
        events = tuple(self._decode(log) for log in last.logs)
        return Receipt(result=result, events=events, gas=last.gas_used)

    def fund(self, address: str) -> None:
        """Give an account ether (only for tests that send some)."""
        self._evm.set_balance(address, 10**20)

    @contextmanager
    def fork(self) -> Iterator[None]:
        """What happens inside has not happened afterwards."""
        checkpoint, now = self._evm.snapshot(), self.now
        try:
            yield
        finally:
            self._evm.revert(checkpoint)
            self.at(now)

    def _decode(self, log: Any) -> Event:
        topics, data = log.data
        raw = [bytes(topic) for topic in topics]
        contract = self._contracts[log.address.lower()]
        shape = contract.interface.logs[raw[0]]
        plain = iter(eth_abi.decode([t for t, i in zip(shape.types, shape.indexed, strict=True) if not i], bytes(data)))
        keyed = iter(raw[1:])
        values = [
            eth_abi.decode([kind], next(keyed))[0] if indexed else next(plain)
            for kind, indexed in zip(shape.types, shape.indexed, strict=True)
        ]
        return Event(contract.address, shape.name, dict(zip(shape.names, values, strict=True)))


class Contract:
    """A deployed artifact: `transact` changes the chain, `call` does not."""

    def __init__(self, chain: Chain, name: str, address: str, interface: Interface) -> None:
        self.chain = chain
        self.name = name
        self.address = address
        self.interface = interface

    def transact(
        self, function: str, *args: Any, sender: str | None = None, gas: int = 3_000_000, value: int = 0
    ) -> Receipt:
        """Run `function` in a transaction of `sender`; `Reverted` if it reverts."""
        signature = self.interface.functions[function]
        output = self.chain.execute(sender or STRANGER, self.address, self.encode(function, *args), gas, False, value)
        return self.chain.receipt(_decoded(signature.outputs, output))

    def call(self, function: str, *args: Any, sender: str | None = None, gas: int = 30_000_000) -> Any:
        """Run `function` without consequences and return what it returns."""
        signature = self.interface.functions[function]
        output = self.chain.execute(sender or STRANGER, self.address, self.encode(function, *args), gas, True)
        return _decoded(signature.outputs, output)

    def encode(self, function: str, *args: Any) -> bytes:
        """Return the calldata of `function(*args)`."""
        signature = self.interface.functions[function]
        return signature.selector + arguments(signature.inputs, args)


def arguments(types: Sequence[str], values: Sequence[Any]) -> bytes:
    """Return the encoded arguments of a call; structs are flat words, in which an address is the number it is."""
    plain = [_words(value) if isinstance(value, tuple) else value for value in values]
    return eth_abi.encode(types, plain)


def _words(struct: tuple[Any, ...]) -> tuple[Any, ...]:
    flat: list[Any] = []
    for value in struct:
        match value:
            case tuple():
                flat += _words(value)
            case str():
                flat.append(int(value, 16))
            case _:
                flat.append(value)
    return tuple(flat)


def account(secret: int) -> str:
    """Return an address that stands for nobody in particular."""
    return "0x" + keccak(secret.to_bytes(32, "big"))[12:].hex()


DEPLOYER = account(0)
STRANGER = account(1)


def _decoded(types: Sequence[str], output: bytes) -> Any:
    if not output:  # a mined transaction, or a token that returns nothing
        return None
    values = eth_abi.decode(types, output)
    return values[0] if len(values) == 1 else values or None


def _reason(message: str) -> str:
    """Read the revert string out of pyrevm's message, which carries the output in hex."""
    _, _, tail = message.partition("output: 0x")
    output = bytes.fromhex("".join(c for c in tail if c in "0123456789abcdef"))
    if output[:4] != ERROR_SELECTOR:
        return ""
    reason: str = eth_abi.decode(["string"], output[4:])[0]
    return reason


@cache
def interface_of(name: str) -> Interface:
    """Return how to speak to the artifact called `name`."""
    functions, logs, constructor = {}, {}, ()
    for entry in artifact(name).abi:
        inputs = tuple(_type(value) for value in entry["inputs"])
        signature = f"{entry.get('name')}({','.join(inputs)})".encode()
        match entry["type"]:
            case "function":
                outputs = tuple(_type(value) for value in entry["outputs"])
                functions[entry["name"]] = Function(keccak(signature)[:4], inputs, outputs)
            case "event":
                names = tuple(value["name"] for value in entry["inputs"])
                indexed = tuple(bool(value["indexed"]) for value in entry["inputs"])
                logs[keccak(signature)] = Log(entry["name"], names, inputs, indexed)
            case "constructor":
                constructor = inputs
    return Interface(functions, logs, constructor)


def _type(value: Mapping[str, Any]) -> str:
    kind: str = value["type"]
    if kind.startswith("tuple"):
        return f"({','.join(_type(part) for part in value['components'])}){kind.removeprefix('tuple')}"
    return kind
