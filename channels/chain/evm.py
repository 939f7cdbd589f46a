"""The embedded EVM: py-evm behind eth-tester behind web3's provider interface, with a clock of its own.

eth-tester stamps blocks with wall time and lets calls see the last block's; here each block gets the virtual time, set
under one lock with the transaction it is for, and a call sees the virtual time even where no block carries it yet.
What goes wrong comes back as a JSON-RPC error, as from a node, so that clients meet one kind of failure everywhere.

Needs the extra `local`; only `channels.chain.local` imports it.
"""

from __future__ import annotations

import threading
from typing import Any

from eth_tester import EthereumTester
from eth_tester.backends.pyevm.main import PyEVMBackend
from eth_tester.exceptions import BlockNotFound, TransactionFailed, ValidationError as TesterRefusal
from eth_utils.exceptions import ValidationError as EvmRefusal
from web3 import Web3
from web3.providers.eth_tester import EthereumTesterProvider
from web3.types import RPCEndpoint, RPCResponse

from ..errors import InvalidValue, InvariantBroken
from ..model import Address
from ..model.identity import word
from .account import KeyAccount

CHAIN_ID = 131_277_322_940_537
"""eth-tester's; it is a constant there."""
GAS_LIMIT = 30_000_000

_ESTIMATE_TOLERANCE = 500
_REVERTED = 3
_REFUSED = -32_000


class ClockedProvider(EthereumTesterProvider):
    """An in-process node with one rich account, whose blocks carry the time they are told."""

    def __init__(self, start_time: int, rich: Address, wei: int) -> None:
        genesis = PyEVMBackend.generate_genesis_params({"timestamp": start_time - 1, "gas_limit": GAS_LIMIT})
        alloc = {bytes(rich): {"balance": wei, "nonce": 0, "code": b"", "storage": {}}}
        self._backend = PyEVMBackend(genesis_parameters=genesis, genesis_state=alloc)
        super().__init__(EthereumTester(self._backend))
        self.lock = threading.RLock()
        self.chain_id = CHAIN_ID
        self._web3 = Web3(self, middleware=())
        self._time = start_time - 1
        self.mine(start_time)

    @property
    def now(self) -> int:
        """The virtual time: at least the newest block's, unix seconds."""
        return self._time

    @property
    def head_time(self) -> int:
        """The newest block's timestamp."""
        return int(self._chain.get_canonical_head().timestamp)

    def set_time(self, time: int) -> None:
        """Move the clock without mining: the next transaction is mined at exactly `time`, if that is a new second."""
        with self.lock:
            if time < self._time:
                raise InvalidValue("time", time, f"the chain's clock already shows {self._time}")
            self._time = time

    def mine(self, time: int) -> None:
        """Mine an empty block at `time`, or one second after the last block if that is later."""
        with self.lock:
            self.set_time(max(time, self._time))
            self._stamp()
            self._backend.mine_blocks(1)

    def transact(self, account: KeyAccount, to: Address | None, *, value: int = 0, data: bytes = b"") -> Any:
        """Send money, or create a contract (`to` None), and return the receipt: how the chain is furnished."""
        with self.lock:
            sender = Web3.to_checksum_address(account.address)
            base = self._web3.eth.get_block("latest")["baseFeePerGas"]
            transaction = {
                "chainId": self.chain_id,
                "nonce": self._web3.eth.get_transaction_count(sender),
                "gas": GAS_LIMIT // 2,
                "maxFeePerGas": 2 * base + 10**9,
                "maxPriorityFeePerGas": 10**9,
                "to": None if to is None else str(to),
                "value": value,
                "data": data,
            }
            sent = self._web3.eth.send_raw_transaction(account.sign_transaction(transaction).raw_transaction)
            receipt = self._web3.eth.get_transaction_receipt(sent)
            if receipt["status"] != 1:
                raise InvariantBroken("the embedded chain can be furnished", f"a transaction to {to} failed")
            return receipt

    def make_request(self, method: RPCEndpoint, params: Any) -> RPCResponse:
        """Answer one request, in virtual time; failures as JSON-RPC errors."""
        with self.lock:
            try:
                return self._answer(method, params)
            except TransactionFailed as failure:
                return _error(_REVERTED, str(failure))
            except (TesterRefusal, EvmRefusal, BlockNotFound) as refusal:
                return _error(_REFUSED, str(refusal))

    def _answer(self, method: RPCEndpoint, params: Any) -> RPCResponse:
        if method == "eth_sendRawTransaction":
            self._stamp()
        elif method == "eth_estimateGas":
            return {"jsonrpc": "2.0", "id": 1, "result": self._estimate(params[0])}
        elif method == "eth_call" and params[1] == "latest":
            return self._try(params[0])
        elif method == "eth_call" and isinstance(params[1], int):
            return self._try(params[0], params[1])
        elif method == "eth_getLogs" and (query := _simple_query(params[0])) is not None:
            return {"jsonrpc": "2.0", "id": 1, "result": self._logs(*query)}
        return super().make_request(method, params)

    def _estimate(self, message: Any) -> int:
        """Search the least gas with which a call works; TransactionFailed, with the reason, if none is enough.

        eth-tester's own search runs at wall time.
        """
        self._try({**message, "gas": GAS_LIMIT})
        low, high = 21_000, GAS_LIMIT
        while high - low > _ESTIMATE_TOLERANCE:
            middle = (low + high) // 2
            try:
                self._try({**message, "gas": middle})
            except (TransactionFailed, EvmRefusal):
                low = middle
            else:
                high = middle
        return high

    def _logs(self, address: Address, first: int, last: int) -> list[Any]:
        """Read the logs of one contract; eth-tester would search the whole chain once for each transaction."""
        found: list[Any] = []
        for number in range(first, min(last, self._chain.get_canonical_head().block_number) + 1):
            block = self._chain.get_canonical_block_by_number(number)
            logs = (log for receipt in block.get_receipts(self._chain.chaindb) for log in receipt.logs)
            found += [
                {
                    "address": str(Address(log.address)),
                    "topics": ["0x" + word(topic).hex() for topic in log.topics],
                    "data": "0x" + log.data.hex(),
                    "blockNumber": number,
                    "blockHash": "0x" + block.hash.hex(),
                    "logIndex": index,
                    "removed": False,
                }
                for index, log in enumerate(logs)
                if log.address == address
            ]
        return found

    def _try(self, message: Any, number: int | None = None) -> RPCResponse:
        """Run a call in a block of the virtual time whose gas is free, as nodes do: a caller needs no money to ask.

        With a number, after that block, in its own second: every block's state is kept.
        """
        pending = self._chain.header
        if number is not None and number >= pending.block_number:
            raise BlockNotFound(f"No block found for block number: {number}")
        if number is None:
            self._chain.header = pending.copy(timestamp=self._time, base_fee_per_gas=0)
        else:
            mined = self._chain.get_canonical_block_header_by_number(number)
            self._chain.header = mined.copy(base_fee_per_gas=0, gas_used=0)
        try:
            free = {**message, "max_fee_per_gas": 0, "max_priority_fee_per_gas": 0}
            return super().make_request(RPCEndpoint("eth_call"), [free, "pending"])
        finally:
            self._chain.header = pending

    def _stamp(self) -> None:
        """Give the pending block the virtual time, which must be a new second."""
        self._time = max(self._time, self.head_time + 1)
        self._chain.set_header_timestamp(self._time)

    @property
    def _chain(self) -> Any:
        return self._backend.chain


def _simple_query(asked: Any) -> tuple[Address, int, int] | None:
    """Return the one address and the two block numbers of a log query without topics; None for any other query."""
    if set(asked) != {"address", "from_block", "to_block"}:
        return None
    address, first, last = asked["address"], asked["from_block"], asked["to_block"]
    if isinstance(address, list) and len(address) == 1:
        (address,) = address
    if not (isinstance(address, str) and isinstance(first, int) and isinstance(last, int)):
        return None
    return Address(address), first, last


def _error(code: int, message: str) -> RPCResponse:
    return {"jsonrpc": "2.0", "id": 1, "error": {"code": code, "message": message}}
