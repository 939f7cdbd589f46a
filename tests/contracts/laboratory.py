"""The chain of `evm`, with what a machine needs beside it: contracts from source text, mutated adjudicators.

The token and the price source here can turn hostile and back while a test runs, which no shipped contract should be
able to do; so they are compiled from the text below. A mutant is the shipped adjudicator with a few lines of its
sources replaced: each replacement must match exactly once, so that a planted bug can never silently stop being planted.
"""

from collections.abc import Mapping
from dataclasses import astuple, dataclass
from functools import cache, lru_cache
from pathlib import Path, PurePath
from typing import Any

import eth_abi
from eth_hash.auto import keccak
from vyper.compiler import compile_from_file_input
from vyper.compiler.input_bundle import JSONInputBundle

from adjudicator_contracts import artifact
from tests.contracts.encoding import State, Terms
from tests.contracts.evm import DEPLOYER, START, STRANGER, Chain, Contract, Event, arguments, interface_of

SOURCES = Path(__file__).parents[2] / "adjudicator_contracts" / "src"
GAS = 20_000_000

HONEST, REVERTING, BURNING, ABSURD = range(4)
"""What a price source may be like: the last three must all count as missing."""

TOKEN = """
# pragma version 0.4.3
# pragma evm-version cancun
balanceOf: public(HashMap[address, uint256])
allowance: public(HashMap[address, HashMap[address, uint256]])
nonces: HashMap[address, uint256]
refused: HashMap[address, bool]

@external
def permit(owner: address, spender: address, amount: uint256, deadline: uint256, v: uint8, r: bytes32, s: bytes32):
    assert block.timestamp <= deadline, "token: permit expired"
    domain: bytes32 = keccak256(
        abi_encode(keccak256("EIP712Domain(uint256 chainId,address verifyingContract)"), chain.id, self)
    )
    said: bytes32 = keccak256(abi_encode(
        keccak256("Permit(address owner,address spender,uint256 value,uint256 nonce,uint256 deadline)"),
        owner, spender, amount, self.nonces[owner], deadline,
    ))
    assert ecrecover(keccak256(concat(0x1901, domain, said)), v, r, s) == owner, "token: not the owner's permit"
    self.nonces[owner] += 1
    self.allowance[owner][spender] = amount

@external
def refuse(owner: address, refused: bool):
    self.refused[owner] = refused

@external
def mint(owner: address, amount: uint256):
    self.balanceOf[owner] += amount

@external
def approve(spender: address, amount: uint256) -> bool:
    self.allowance[msg.sender][spender] = amount
    return True

@external
def transfer(receiver: address, amount: uint256) -> bool:
    self._move(msg.sender, receiver, amount)
    return True

@external
def transferFrom(owner: address, receiver: address, amount: uint256) -> bool:
    self.allowance[owner][msg.sender] -= amount
    self._move(owner, receiver, amount)
    return True

@internal
def _move(owner: address, receiver: address, amount: uint256):
    assert not self.refused[receiver], "token: blacklisted"
    self.balanceOf[owner] -= amount
    self.balanceOf[receiver] += amount
"""
RETURNLESS_TOKEN = TOKEN.replace(" -> bool", "").replace("    return True\n", "")

SOURCE = """
# pragma version 0.4.3
# pragma evm-version cancun
mode: uint256
prices: HashMap[bytes32, uint256]
observed: HashMap[bytes32, uint256]
settlements: HashMap[bytes32, HashMap[uint64, uint256]]

@external
def set_mode(mode: uint256):
    self.mode = mode

@external
def set_spot(underlying: bytes32, price: uint256, updated_at: uint256):
    self.prices[underlying] = price
    self.observed[underlying] = updated_at

@external
def set_settlement(underlying: bytes32, expiry: uint64, price: uint256):
    self.settlements[underlying][expiry] = price

@external
@view
def spot(underlying: bytes32) -> (uint256, uint256):
    return self._answer(self.prices[underlying]), self.observed[underlying]

@external
@view
def settlement(underlying: bytes32, expiry: uint64) -> uint256:
    return self._answer(self.settlements[underlying][expiry])

@internal
@view
def _answer(price: uint256) -> uint256:
    assert self.mode != 1, "source: hostile"
    assert self.mode != 2, UNREACHABLE  # eats all the gas it is given
    return 2**96 + 1 if self.mode == 3 else price
"""


@dataclass(frozen=True, slots=True)
class Mutation:
    """One planted change: `old`, which must occur exactly once in the source `file`, becomes `new`."""

    file: str
    old: str
    new: str


class Laboratory(Chain):
    """A chain that takes bytecode."""

    def __init__(self, timestamp: int = START) -> None:
        super().__init__(timestamp)

    def put(self, like: str, bytecode: bytes) -> Contract:
        """Deploy `bytecode`, which has the interface of the artifact called `like`."""
        interface = interface_of(like)
        address = self._evm.deploy(DEPLOYER, bytecode, gas=GAS).lower()
        contract = Contract(self, like, address, interface)
        self._contracts[address] = contract
        return contract

    def send(self, to: str, signature: str, *args: Any, sender: str = STRANGER) -> None:
        """Run a function that the artifact's interface does not know, or whose answer must not be read."""
        types = signature[signature.index("(") + 1 : -1].split(",")
        self.execute(sender, to, keccak(signature.encode())[:4] + eth_abi.encode(types, args), GAS, False)

    def view(self, contract: Contract, function: str, *args: Any) -> tuple[int, ...]:
        """Return the words that a view answers, as numbers; its calldata is encoded once for every chain."""
        data = _calldata(contract.name, function, args)
        output = self.execute(STRANGER, contract.address, data, GAS, True)
        return tuple(int.from_bytes(output[i : i + 32], "big") for i in range(0, len(output), 32))

    def _decode(self, log: Any) -> Event:
        topics, data = log.data
        raw = [bytes.fromhex(topic.removeprefix("0x")) if isinstance(topic, str) else bytes(topic) for topic in topics]
        contract = self._contracts[log.address.lower()]
        shape = contract.interface.logs[raw[0]]
        fields = list(zip(shape.types, shape.indexed, strict=True))
        plain = iter(eth_abi.decode([kind for kind, indexed in fields if not indexed], bytes(data)))
        keyed = iter(raw[1:])
        values = [eth_abi.decode([kind], next(keyed))[0] if indexed else next(plain) for kind, indexed in fields]
        return Event(contract.address, shape.name, dict(zip(shape.names, values, strict=True)))


@lru_cache(maxsize=50_000)
def _calldata(name: str, function: str, args: tuple[Any, ...]) -> bytes:
    signature = interface_of(name).functions[function]
    encoded: bytes = signature.selector + arguments(signature.inputs, args)
    return encoded


@lru_cache(maxsize=50_000)
def words(value: Terms | State) -> tuple[Any, ...]:
    """Return terms or a state as the ABI takes them."""
    return astuple(value)


@cache
def compiled(text: str) -> bytes:
    """Return the bytecode of one source text."""
    return _compile({PurePath("Text.vy"): text}, "Text.vy")


@cache
def adjudicator(*mutations: Mutation) -> bytes:
    """Return the bytecode of the shipped adjudicator, or of one with bugs planted."""
    if not mutations:
        return artifact("Adjudicator").bytecode
    texts = {PurePath(path.relative_to(SOURCES)): path.read_text("utf-8") for path in SOURCES.rglob("*.vy*")}
    for mutation in mutations:
        name = PurePath(mutation.file)
        assert texts[name].count(mutation.old) == 1, f"{mutation.file} does not contain exactly once: {mutation.old}"
        texts[name] = texts[name].replace(mutation.old, mutation.new)
    return _compile(texts, "Adjudicator.vy")


def _compile(texts: Mapping[PurePath, str], name: str) -> bytes:
    bundle = JSONInputBundle({path: {"content": text} for path, text in texts.items()}, [PurePath()])
    output = compile_from_file_input(bundle.load_file(name), input_bundle=bundle, output_formats=["bytecode"])
    return bytes.fromhex(output["bytecode"].removeprefix("0x"))
