"""The chain through a JSON-RPC endpoint: web3's synchronous client behind the `Chain` port.

web3's asynchronous client runs on asyncio only, so the runtime calls this one in worker threads. It may be shared by
threads: reads are independent, and sending is serialised per client.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from eth_abi.exceptions import DecodingError
from hexbytes import HexBytes
from web3 import Web3
from web3.providers import BaseProvider
from web3.types import BlockIdentifier, LogReceipt, TxParams

from adjudicator_contracts import artifact

from ..errors import ContractMismatch, InsufficientFunds, RpcUnavailable, TransactionReverted
from ..model import Address, Book, ChannelId, Deployment, State, Terms
from ..model.option import underlying_word
from ..risk.policy import MarginPolicy
from .abi import abi_of
from .account import TransactionSigner
from .decode import decode_log
from .encode import CallBuilder, terms_tuple
from .engine import NAME as ENGINE, policy_of, require_engine
from .port import Block, Call, Chain, ChannelPhase, Located, OnChain, Receipt, Spot
from .rpc import REQUEST_TIMEOUT, BoundedHTTPProvider, Rpc, printable
from .source import SourceSetup, require_source
from .submit import DEFAULT_POLICY, LEAST_GAS, SubmitPolicy, Submitter, checksummed

MAX_PRICE = 2**96
"""The adjudicator takes a price above for a missing one."""
DEPOSIT_GAS = 150_000
"""What a deposit is budgeted with while its approval is missing, when no endpoint can estimate it."""


class Web3Chain(CallBuilder, Chain):
    """One endpoint, one deployment, one account. See `port.Chain` for the methods and their errors."""

    def __init__(
        self,
        provider: BaseProvider,
        endpoint: str,
        deployment: Deployment,
        signer: TransactionSigner,
        policy: SubmitPolicy = DEFAULT_POLICY,
        on_receipt: Callable[[Receipt], None] | None = None,
    ) -> None:
        super().__init__(deployment)
        self._rpc = Rpc(provider, endpoint, deployment.chain_id)
        self._submitter = Submitter(self._rpc, signer, policy)
        self._on_receipt = on_receipt

    @classmethod
    def connect(
        cls,
        url: str,
        deployment: Deployment,
        signer: TransactionSigner,
        *,
        timeout: float = REQUEST_TIMEOUT,
        policy: SubmitPolicy = DEFAULT_POLICY,
    ) -> Web3Chain:
        """Return a client of an HTTP endpoint; nothing is asked yet. `timeout`: seconds per request."""
        provider = BoundedHTTPProvider(url, timeout)
        return cls(provider, provider.public, deployment, signer, policy)

    @property
    def deployment(self) -> Deployment:
        return self._deployment

    @property
    def chain_id(self) -> int:
        return self._deployment.chain_id

    @property
    def account(self) -> Address:
        return self._submitter.address

    @property
    def endpoint(self) -> str:
        return self._rpc.endpoint

    # What is known

    def head(self) -> Block:
        return self._block("latest")

    def block(self, number: int) -> Block:
        return self._block(number)

    def facts(self, from_block: int, to_block: int) -> list[Located]:
        logs = self._rpc.ask(
            lambda w: w.eth.get_logs(
                {
                    "address": checksummed(self._deployment.adjudicator),
                    "fromBlock": from_block,
                    "toBlock": to_block,
                }
            )
        )
        try:
            found = [self._located(log, from_block, to_block) for log in logs]
        except (DecodingError, LookupError, TypeError, ValueError) as fault:
            raise RpcUnavailable(self.endpoint, "its logs are not the adjudicator's") from fault
        return [located for located in found if located is not None]

    def status(self, channel: ChannelId, block: int | None = None) -> OnChain:
        answer = self._view("status", channel, block=block)
        ((phase, version, deadline, cures, registered, deposits, paid),) = answer
        if phase not in list(ChannelPhase):
            raise ContractMismatch(str(self._deployment.adjudicator), f"it answers phase {phase}")
        money = tuple(deposits), tuple(paid)
        return OnChain(ChannelPhase(phase), version, deadline, registered, *money, tuple(cures))

    def effective_settlement(self, terms: Terms, underlying: str, expiry: int) -> int:
        (price,) = self._view("effective_settlement", terms_tuple(terms), underlying_word(underlying), expiry)
        return int(price)

    def entitlements(self, terms: Terms, state: State | None, book: Book) -> tuple[int, int]:
        ((first, second),) = self._view("entitlements", terms_tuple(terms), self._state(terms, state), book.encoded)
        return first, second

    def spot(self, source: Address, underlying: str) -> Spot:
        try:
            price, observed = self._read("SignedPriceSource", source, "spot", underlying_word(underlying))
        except (TransactionReverted, ContractMismatch):
            return Spot(0, 0)
        return Spot(price if price <= MAX_PRICE else 0, observed)

    def engine_policy(self, engine: Address) -> MarginPolicy:
        try:
            (parameters,) = self._read(ENGINE, engine, "parameters")
        except TransactionReverted:
            raise ContractMismatch(str(engine), "it does not answer parameters") from None
        return policy_of(engine, parameters)

    def claimable(self, token: Address, owner: Address) -> int:
        return int(self._view("claimable", token, owner)[0])

    def decimals(self, token: Address) -> int:
        return int(self._token(token, "decimals"))

    def symbol(self, token: Address) -> str:
        return printable(str(self._token(token, "symbol")), 32)

    def balance_of(self, token: Address, owner: Address) -> int:
        return int(self._token(token, "balanceOf", owner))

    def allowance(self, token: Address, owner: Address) -> int:
        return int(self._token(token, "allowance", owner, self._deployment.adjudicator))

    def native_balance(self, owner: Address) -> int:
        return self._rpc.ask(lambda w: int(w.eth.get_balance(checksummed(owner))))

    def gas_price(self) -> int:
        return self._submitter.fees().most

    def code(self, address: Address) -> bytes:
        return self._rpc.ask(lambda w: bytes(w.eth.get_code(checksummed(address))))

    def verify_code(self, address: Address, artifact_name: str) -> None:
        code = self.code(address)
        if not code:
            raise ContractMismatch(str(address), "there is no code")
        if not artifact(artifact_name).matches(code):
            raise ContractMismatch(str(address), f"its code is not that of the shipped {artifact_name}")

    def verify_engine(self, engine: Address, policy: MarginPolicy) -> None:
        require_engine(engine, self.code(engine), policy)
        if (named := self._read(ENGINE, engine, "policy")[0]) != policy.hash:
            raise ContractMismatch(str(engine), f"it answers policy 0x{named.hex()}, not 0x{policy.hash.hex()}")

    def verify_source(self, source: Address, accepted: Sequence[SourceSetup] | None) -> SourceSetup:
        return require_source(source, self.code(source), accepted)

    # What is done

    def simulate(self, call: Call) -> None:
        self._submitter.simulate(call)

    def estimate(self, call: Call) -> int:
        approvals = self._approvals(call)
        if approvals:
            return DEPOSIT_GAS + sum(self._submitter.gas_limit(approval, 0) for approval in approvals)
        return self._submitter.gas_limit(call, self._least_gas(call))

    def send(self, call: Call) -> Receipt:
        with self._submitter.lock:
            self._submitter.wait_for_earlier()
            for approval in self._approvals(call):
                self._send(approval)
            return self._send(call)

    def _send(self, call: Call) -> Receipt:
        receipt = self._submitter.send(call, self._least_gas(call))
        if self._on_receipt is not None:
            self._on_receipt(receipt)
        return receipt

    def _least_gas(self, call: Call) -> int:
        return LEAST_GAS if call.to == self._deployment.adjudicator and call.spends is None else 0

    def _approvals(self, call: Call) -> list[Call]:
        """Return what must come before a call that pulls tokens; InsufficientFunds if there are too few."""
        if call.spends is None:
            return []
        token, needs = call.spends.token, call.spends.amount
        if (has := self.balance_of(token, self.account)) < needs:
            raise InsufficientFunds(str(self.account), needs, has, f"units of {self.symbol(token)}")
        allowed = self.allowance(token, self.account)
        if allowed >= needs:
            return []
        # Some tokens (USDT) refuse to change an allowance that is not zero to another that is not.
        reset = [self.approve(token, 0)] if allowed else []
        return [*reset, self.approve(token, needs)]

    # Asking

    def _block(self, which: BlockIdentifier) -> Block:
        def look(web3: Web3) -> Block:
            found = web3.eth.get_block(which)
            return Block(int(found["number"]), int(found["timestamp"]))

        return self._rpc.ask(look)

    def _located(self, log: LogReceipt, first: int, last: int) -> Located | None:
        if log.get("removed") or Address(bytes.fromhex(log["address"][2:])) != self._deployment.adjudicator:
            return None
        block = int(log["blockNumber"])
        if not first <= block <= last:
            return None
        decoded = decode_log(log["topics"], bytes(log["data"]), block, int(log["logIndex"]))
        return None if decoded is None else Located(block, *decoded)

    def _view(self, name: str, *args: object, block: int | None = None) -> tuple[Any, ...]:
        return self._read("Adjudicator", self._deployment.adjudicator, name, *args, block=block)

    def _token(self, token: Address, name: str, *args: object) -> Any:
        return self._read("TestToken", token, name, *args)[0]

    def _read(
        self, contract: str, address: Address, name: str, *args: object, block: int | None = None
    ) -> tuple[Any, ...]:
        data = HexBytes(abi_of(contract).call_data(name, *args))
        message: TxParams = {"from": checksummed(self.account), "to": checksummed(address), "data": data}
        answer = self._rpc.ask(lambda w: bytes(w.eth.call(message, "latest" if block is None else block)), name)
        try:
            return abi_of(contract).result(name, answer)
        except (DecodingError, ValueError, OverflowError):
            detail = f"it does not answer {name}" if answer else "there is no code"
            raise ContractMismatch(str(address), detail) from None
