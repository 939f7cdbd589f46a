"""From a call to a mined transaction: gas, fees, nonce, and the wait for the receipt.

One transaction at a time per account. What can be known to fail is found out before anything is sent: the call is
tried, the wallet is looked at. A transaction that an earlier run left in the pool is waited for first, so that the same
command run again sees its result instead of doing it twice.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeVar

from eth_typing import ChecksumAddress, HexAddress, HexStr
from hexbytes import HexBytes
from web3 import Web3
from web3.exceptions import TransactionNotFound
from web3.types import Nonce, TxParams, Wei

from ..errors import InsufficientFunds, RpcRefused, RpcUnavailable, TransactionPending, TransactionReverted
from ..model import Address, keccak
from .account import TransactionSigner
from .port import Call, Receipt
from .rpc import Rpc

T = TypeVar("T")

LEAST_GAS = 600_000
"""The adjudicator's calls need this much available, used or not: see the warnings of IAdjudicator."""
_POLL_FIRST, _POLL_LAST = 0.05, 2.0


@dataclass(frozen=True, slots=True)
class SubmitPolicy:
    """How to send. `patience`: seconds to wait until mined. `gas`: a fixed limit instead of an estimate."""

    patience: float = 120.0
    gas: int | None = None


DEFAULT_POLICY = SubmitPolicy()


@dataclass(frozen=True, slots=True)
class Fees:
    """What a unit of gas may cost at most, in wei; `priority` is the tip within it, None where there is no EIP-1559."""

    most: int
    priority: int | None

    def fields(self) -> TxParams:
        if self.priority is None:
            return {"gasPrice": Wei(self.most)}
        return {"type": 2, "maxFeePerGas": Wei(self.most), "maxPriorityFeePerGas": Wei(self.priority)}


class Submitter:
    """Sends the calls of one account through one endpoint."""

    def __init__(self, rpc: Rpc, signer: TransactionSigner, policy: SubmitPolicy) -> None:
        self.rpc = rpc
        self.signer = signer
        self.policy = policy
        self.address = Address(signer.address)
        self.lock = threading.RLock()

    def simulate(self, call: Call, block: int | None = None) -> None:
        """Try a call at a block, by default the newest; TransactionReverted if it would fail."""
        message = self._message(call)
        self.rpc.ask(lambda w: w.eth.call(message, "latest" if block is None else block), call.name)

    def gas_limit(self, call: Call, least: int) -> int:
        """Return the gas to send with a call: what the endpoint estimates and a quarter more, at least `least`."""
        message = self._message(call)
        estimated = self.rpc.ask(lambda w: int(w.eth.estimate_gas(message)), call.name)
        return max(least, estimated + estimated // 4)

    def fees(self) -> Fees:
        """Return what to offer now: twice the base fee and the usual tip, or the legacy gas price."""
        base = self.rpc.ask(_base_fee)
        if base is None:
            return Fees(self.rpc.ask(lambda w: int(w.eth.gas_price)), None)
        tip = self.rpc.ask(lambda w: int(w.eth.max_priority_fee))
        return Fees(2 * base + tip, tip)

    def send(self, call: Call, least: int) -> Receipt:
        """Send a call and wait until it is mined. Errors as `port.Chain.send`. The caller holds the lock."""
        if self.policy.gas is None:
            gas = self.gas_limit(call, least)
        else:
            self.simulate(call)
            gas = self.policy.gas
        fees = self.fees()
        self._require_wei(gas * fees.most)
        transaction = self._broadcast(call, gas, fees)
        return self._receipt(call, transaction, fees)

    def wait_for_earlier(self) -> None:
        """Wait until nothing of this account is left in the pool; TransactionPending when patience ends.

        Before a call is tried, so that what an earlier run sent is seen done, and not done twice.
        """

        def left() -> bool:
            return self._nonce("pending") > self._nonce("latest")

        if left() and not self._poll(lambda: not left() or None):
            raise TransactionPending(f"of {self.address}, sent earlier,", self.policy.patience)

    def _message(self, call: Call) -> TxParams:
        return {"from": checksummed(self.address), "to": checksummed(call.to), "data": HexBytes(call.data)}

    def _nonce(self, block: Literal["latest", "pending"]) -> int:
        return self.rpc.ask(lambda w: int(w.eth.get_transaction_count(checksummed(self.address), block)))

    def _require_wei(self, needs: int) -> None:
        has = self.rpc.ask(lambda w: int(w.eth.get_balance(checksummed(self.address))))
        if has < needs:
            raise InsufficientFunds(str(self.address), needs, has, "wei for gas")

    def _broadcast(self, call: Call, gas: int, fees: Fees) -> str:
        """Sign and send; return the transaction's hash."""
        fields: TxParams = {
            "chainId": self.rpc.chain_id,
            "nonce": Nonce(self._nonce("pending")),
            "gas": gas,
            "to": checksummed(call.to),
            "value": Wei(0),
            "data": call.data,
            **fees.fields(),
        }
        raw = self.signer.sign_transaction(dict(fields)).raw_transaction
        transaction = "0x" + keccak(bytes(raw)).hex()
        try:
            self.rpc.ask(lambda w: w.eth.send_raw_transaction(HexBytes(raw)), call.name)
        except RpcRefused as refusal:
            message = refusal.detail.lower()
            if "insufficient funds" in message:
                self._require_wei(gas * fees.most)
            if "underpriced" in message or "nonce" in message:
                raise TransactionPending(f"of {self.address}, sent by someone else,", 0) from None
            # A pool that has these very bytes already has what we want.
            if "already known" not in message and "known transaction" not in message:
                raise
        return transaction

    def _receipt(self, call: Call, transaction: str, fees: Fees) -> Receipt:
        """Wait for the receipt. An endpoint that fails meanwhile is asked again: what was sent must not look unsent."""

        def look() -> _Mined | None:
            try:
                return self.rpc.ask(lambda w: _mined(w, transaction, fees.most))
            except RpcUnavailable:
                return None

        found = self._poll(look)
        if found is None:
            raise TransactionPending(transaction, self.policy.patience)
        if not found.succeeded:
            self.simulate(call, found.block)
            reason = f"it failed in block {found.block}, for no reason that a second try shows"
            raise TransactionReverted(call.name, reason)
        return Receipt(transaction, found.block, found.gas_used, found.gas_used * found.gas_price, call.name)

    def _poll(self, look: Callable[[], T | None]) -> T | None:
        """Return the first answer of `look` that is not None; None when patience ends."""
        deadline = time.monotonic() + self.policy.patience
        pause = _POLL_FIRST
        while (found := look()) is None and time.monotonic() < deadline:
            time.sleep(min(pause, max(0.0, deadline - time.monotonic())))
            pause = min(2 * pause, _POLL_LAST)
        return found


@dataclass(frozen=True, slots=True)
class _Mined:
    block: int
    succeeded: bool
    gas_used: int
    gas_price: int


def _mined(web3: Web3, transaction: str, most: int) -> _Mined | None:
    """Return what the receipt says, None without one. `most` stands in where a node does not tell the price paid."""
    try:
        found = web3.eth.get_transaction_receipt(HexStr(transaction))
    except TransactionNotFound:
        return None
    price = int(found.get("effectiveGasPrice", most))
    return _Mined(int(found["blockNumber"]), int(found["status"]) == 1, int(found["gasUsed"]), price)


def _base_fee(web3: Web3) -> int | None:
    fee = web3.eth.get_block("latest").get("baseFeePerGas")
    return None if fee is None else int(fee)


def checksummed(address: Address) -> ChecksumAddress:
    """Return an address as web3 types it."""
    return ChecksumAddress(HexAddress(HexStr(str(address))))
