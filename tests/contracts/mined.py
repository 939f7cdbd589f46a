"""The chain of `evm` with real transactions: mined by eth-tester, paid from accounts, each with a receipt.

pyrevm measures calls; what a user pays is a receipt: intrinsic gas, calldata and refunds included.
"""

from typing import Any

from eth_tester import EthereumTester, PyEVMBackend

from adjudicator_contracts import artifact
from tests.contracts.encoding import Key
from tests.contracts.evm import START, Chain, Contract, Receipt, interface_of
from tests.contracts.world import HOUR, UNIT, Channel, World

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

    def deploy_encoded(self, name: str, arguments: bytes) -> Contract:
        """Deploy an artifact."""
        interface = interface_of(name)
        code = artifact(name).bytecode + arguments
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


class Laboratory:
    """Channels whose parties hold tokens and ether."""

    def __init__(self, world: World) -> None:
        self.world = world
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
