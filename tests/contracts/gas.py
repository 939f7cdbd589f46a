"""Gas per entry point, from the receipts of transactions that eth-tester mined.

    python -m tests.contracts.gas        print the figures (`python -m adjudicator_contracts.build --gas` commits them)

pyrevm measures calls; what a user pays is a receipt: intrinsic gas, calldata and refunds included. Token balances are
warm: adjudicator and recipients hold tokens before. Each key is an entry point, after the dot what sets its price.
"""

import json
from collections.abc import Iterator
from typing import Any

import eth_abi
from eth_tester import EthereumTester, PyEVMBackend

from adjudicator_contracts import artifact
from tests.contracts.encoding import WAD, Key, Leg
from tests.contracts.evm import START, Chain, Contract, Receipt, interface_of
from tests.contracts.world import CHALLENGE, EXPIRY, GRACE, HOUR, UNIT, Channel, World, call

FORK = "prague"
DEPOSITS = (1_000 * UNIT, 1_000 * UNIT)


class MinedChain(Chain):
    """The same chain, each message a mined transaction with a receipt."""

    def __init__(self, timestamp: int = START) -> None:
        self._contracts: dict[str, Contract] = {}
        backend = PyEVMBackend(PyEVMBackend.generate_genesis_params({"timestamp": timestamp - HOUR}))
        assert type(backend.chain.get_vm()).__name__.lower() == f"{FORK}vm", "eth-tester mines another fork"
        self._tester = EthereumTester(backend)
        self._blocks = backend.chain
        self.id = self._blocks.chain_id
        self._payer = self._tester.get_accounts()[0]
        self._known = {self._payer.lower()}
        self._gas = 0
        self.now = timestamp

    def adopt(self, key: Key) -> str:
        """Let a key send transactions, and fund it."""
        self._tester.add_account("0x" + key.secret.hex())
        self._mine({"to": key.address, "gas": 21_000, "value": 10**18})
        self._known.add(key.address)
        return key.address

    def at(self, timestamp: int) -> None:
        """Mine the next transactions from this second on: no two blocks share one."""
        self.now = timestamp

    def deploy(self, name: str, *args: Any) -> Contract:
        """Deploy an artifact."""
        interface = interface_of(name)
        code = artifact(name).bytecode + eth_abi.encode(interface.constructor, args)
        receipt = self._mine({"to": "", "data": "0x" + code.hex(), "gas": 12_000_000})
        contract = Contract(self, name, receipt["contract_address"], interface)
        self._contracts[contract.address.lower()] = contract
        return contract

    def execute(self, sender: str, to: str, data: bytes, gas: int, static: bool, value: int = 0) -> bytes:
        """Mine one transaction; strangers share the first account."""
        origin = sender if sender.lower() in self._known else self._payer
        message = {"from": origin, "to": to, "data": "0x" + data.hex(), "gas": gas}
        if static:
            return bytes.fromhex(self._tester.call(message).removeprefix("0x"))
        self._gas = self._mine(message)["gas_used"]
        return b""

    def receipt(self, result: Any) -> Receipt:
        """Return what the transaction cost."""
        return Receipt(result=None, events=(), gas=self._gas)

    def _mine(self, message: dict[str, Any]) -> Any:
        self.now = max(self.now, self._blocks.get_canonical_head().timestamp + 1)
        self._blocks.header = self._blocks.header.copy(timestamp=self.now)
        sent = self._tester.send_transaction({"from": self._payer, "value": 0} | message)
        receipt = self._tester.get_transaction_receipt(sent)
        assert receipt["status"] == 1
        return receipt


def measure() -> dict[str, int]:
    """Return the gas of every entry point, by its key in the snapshot."""
    return dict(sorted(_figures()))


def snapshot() -> dict[str, Any]:
    """Return the document that is committed."""
    return {
        "fork": FORK,
        "compiler": artifact("Adjudicator").compiler,
        "unit": "gas used by the receipt; ERC-20 with 6 decimals, token balances warm",
        "code_bytes": len(artifact("Adjudicator").runtime),
        "gas": measure(),
    }


def _figures() -> Iterator[tuple[str, int]]:
    lab = _Laboratory()
    world = lab.world

    fresh = lab.open()
    yield "deposit.new", lab.first_deposit
    yield "deposit.top_up", fresh.send("deposit", 0, UNIT, sender=fresh.terms.owners[0]).gas
    yield "checkpoint.first", fresh.checkpoint(fresh.state(1)).gas
    yield "checkpoint.next", fresh.checkpoint(fresh.state(2)).gas
    taken = {"withdrawal0": 100 * UNIT}
    yield "checkpoint.withdrawal_first", fresh.checkpoint(fresh.state(3, **taken)).gas
    taken = {"withdrawal0": 200 * UNIT}
    yield "checkpoint.withdrawal_next", fresh.checkpoint(fresh.state(4, **taken)).gas
    yield "challenge.registered", fresh.rechallenge(fresh.state(4, **taken)).gas
    yield "challenge.answer", fresh.challenge(fresh.state(5, **taken)).gas
    yield "checkpoint.reopen", fresh.checkpoint(fresh.reopening(fresh.state(5, **taken))).gas
    yield "close.registered", fresh.close(fresh.closing(7, **taken)).gas

    fresh = lab.open()
    yield "challenge", fresh.challenge(fresh.state(1)).gas
    fresh = lab.open()
    yield "challenge_unsigned", fresh.challenge_unsigned().gas
    fresh = lab.open()
    yield "close", fresh.close(fresh.closing(1)).gas

    fresh = lab.open()
    short = fresh.state(1, deposit1=DEPOSITS[1] + UNIT, withdrawal1=UNIT, balance0=DEPOSITS[0])
    fresh.checkpoint(short)
    fresh.send("deposit", 1, UNIT, sender=fresh.terms.owners[1])
    yield "pay", fresh.pay(short).gas

    refusing = world.chain.deploy("RevertingToken")
    late = lab.open(token=refusing)
    refusing.transact("refuse", late.terms.owners[0], True)
    yield "close.deferred", late.close(late.closing(1)).gas
    refusing.transact("refuse", late.terms.owners[0], False)
    yield "claim", late.claim(late.terms.owners[0]).gas

    books = {
        "settle.0": (),
        "settle.4": _legs(4, 1),
        "settle.16": _legs(16, 1),
        "settle.32": _legs(32, 1),
        "settle.32_in_8_expiries": _legs(32, 8),
    }
    disputes = {key: (lab.open(), legs) for key, legs in books.items()}
    disputes["last_resort"] = (lab.open(), _legs(4, 1))
    states = {}
    for key, (channel, legs) in disputes.items():
        states[key] = channel.state(1, *legs)
        channel.challenge(states[key])
    world.chain.at(EXPIRY + 2 * GRACE)
    for leg in _legs(32, 8):
        world.settle_price(leg.expiry, 2_030 * WAD)
    yield "pin", disputes["settle.4"][0].pin(states["settle.4"]).gas
    for key in ("settle.0", "settle.16", "settle.32", "settle.32_in_8_expiries"):
        yield key, disputes[key][0].settle(states[key]).gas
    yield "settle.4_pinned", disputes["settle.4"][0].settle(states["settle.4"]).gas
    fresh = lab.open(last_resort=world.chain.now + HOUR)
    unpinned = fresh.state(1, *_legs(4, 1))
    fresh.challenge(unpinned)
    world.chain.sleep(CHALLENGE + HOUR)
    yield "settle.4", fresh.settle(unpinned).gas

    lost, _ = disputes["last_resort"]
    world.chain.at(lost.terms.last_resort + CHALLENGE + 2 * GRACE)
    yield "last_resort", lost.last_resort(states["last_resort"]).gas


class _Laboratory:
    """Channels whose parties hold tokens and ether."""

    def __init__(self) -> None:
        self.world = World(chain=MinedChain())
        self.first_deposit = 0
        self._keys = 50

    def open(self, token: Contract | None = None, **changes: Any) -> Channel:
        """Open a channel with both deposits made from wallets that hold more than that."""
        chain, money = self.world.chain, token or self.world.token
        assert isinstance(chain, MinedChain)
        keys = [Key(self._keys + i) for i in range(4)]
        self._keys += 4
        for key in keys:
            chain.adopt(key)
            money.transact("mint", key.address, 10 * DEPOSITS[0])
            money.transact("approve", self.world.adjudicator.address, 10 * DEPOSITS[0], sender=key.address)
        money.transact("mint", self.world.adjudicator.address, UNIT)
        owners = (keys[2].address, keys[3].address)
        channel = self.world.channel(keys=(keys[0], keys[1]), owners=owners, token=token, **changes)
        self.first_deposit = channel.send("deposit", 0, DEPOSITS[0], sender=owners[0]).gas
        channel.send("deposit", 1, DEPOSITS[1], sender=owners[1])
        return channel


def _legs(count: int, expiries: int) -> tuple[Leg, ...]:
    return tuple(
        call(1_800 + 10 * (i // expiries), (-1) ** i * (1 + i % 3), EXPIRY - i % expiries * HOUR) for i in range(count)
    )


if __name__ == "__main__":
    print(json.dumps(snapshot(), indent=2))
