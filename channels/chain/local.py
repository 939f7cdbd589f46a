"""The embedded chain: a whole EVM in this process, with the contracts deployed from the shipped artifacts.

For demonstrations, examples and tests: same contracts, same client code, no network. Its money is minted on demand, its
keys are public knowledge, and its clock stands still until it is told to move (each block takes at least one second).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from adjudicator_contracts import artifact

from ..errors import MissingExtra
from ..model import Address, Deployment, keccak
from ..model.identity import word
from ..model.option import underlying_word
from ..risk.policy import DEFAULT_POLICY, MarginPolicy
from ..seal import Signer
from ..seal.typehash import DOMAIN_TYPE
from ..units import WAD
from .abi import abi_of
from .account import KeyAccount, TransactionSigner
from .client import Web3Chain
from .engine import NAME as ENGINE
from .port import Block, Call, Receipt
from .source import SignedSetup
from .submit import SubmitPolicy

if TYPE_CHECKING:
    from .evm import ClockedProvider

START_TIME = 1_704_067_200
"""2024-01-01 00:00 UTC."""
ENDPOINT = "embedded EVM (py-evm)"
GAS = 5_000_000
"""A fixed limit spares the search for an estimate; what is not used is not paid. A full book's whole grid takes 3 M."""
_POLICY = SubmitPolicy(gas=GAS)
_ETHER = 10**18
_FAUCET_ETHER = 10**9
_SPOT_TYPE = "Spot(bytes32 underlying,uint256 price,uint64 timestamp)"
_SETTLEMENT_TYPE = "Settlement(bytes32 underlying,uint64 expiry,uint256 price)"
_PRICES = keccak(b"OptionChannelPrices")


class LocalChain:
    """One embedded EVM with an adjudicator, a token and a price source of `threshold` of `publishers` publishers.

    `policy` is the margin policy of the risk engine, which is deployed when it is first asked for (`engine`).
    Shared by all its clients and threads, under one lock. Raises MissingExtra without the extra `local`.
    """

    def __init__(
        self,
        start_time: int = START_TIME,
        *,
        symbol: str = "USDC",
        decimals: int = 6,
        publishers: int = 3,
        threshold: int = 2,
        policy: MarginPolicy = DEFAULT_POLICY,
    ) -> None:
        self.threshold = threshold
        self.policy = policy
        self._engines: dict[bytes, Address] = {}
        self.faucet = Signer(keccak(b"option-channels: faucet"))
        keys = (Signer(keccak(f"option-channels: publisher {i}".encode())) for i in range(publishers))
        self.publishers = tuple(sorted(keys, key=lambda key: key.address))
        self.provider = _provider(start_time, self.faucet.address)
        self._gas: dict[str, list[int]] = {}
        self._clients: dict[Address, Web3Chain] = {}
        self.deployment = Deployment(self.provider.chain_id, self.deploy("Adjudicator"))
        self._operator = Web3Chain(self.provider, ENDPOINT, self.deployment, KeyAccount(self.faucet), _POLICY)
        self.token = self.deploy("TestToken", f"Test {symbol}", symbol, decimals)
        # Half the last price may move at once and a whole one per second later: replayed prices jump by the hour.
        bounds = (WAD // 2, WAD, 3_600)
        addresses = tuple(key.address for key in self.publishers)
        self.source = self.deploy("SignedPriceSource", addresses, threshold, *bounds)
        self.source_setup = SignedSetup(addresses, threshold, *bounds)

    # Clients

    def client(self, account: Signer | TransactionSigner, *, ether: int = 100, tokens: int = 0) -> Web3Chain:
        """Return the client that acts as `account`: one per address, so that they share its nonces.

        The first time, the account gets `ether` for gas, and `tokens` in the token's smallest units.
        """
        signer = KeyAccount(account) if isinstance(account, Signer) else account
        address = Address(signer.address)
        with self.provider.lock:
            if address not in self._clients:
                self._clients[address] = Web3Chain(
                    self.provider, ENDPOINT, self.deployment, signer, _POLICY, self._record
                )
                self.fund(address, ether=ether, tokens=tokens)
            return self._clients[address]

    def fund(self, address: Address, *, ether: int = 0, tokens: int = 0) -> None:
        """Give an address native money (whole ether) and tokens (smallest units)."""
        if ether:
            self.provider.transact(KeyAccount(self.faucet), address, value=ether * _ETHER)
        if tokens:
            self._do("TestToken", self.token, "mint", address, tokens)

    @property
    def gas(self) -> Mapping[str, tuple[int, ...]]:
        """The gas that each entry point's transactions used, in the order they were mined, failed ones not counted."""
        return {name: tuple(used) for name, used in self._gas.items()}

    # Time

    @property
    def now(self) -> int:
        """The chain's time, unix seconds: the newest block's, or later if the clock was set without mining."""
        return self.provider.now

    def head(self) -> Block:
        """Return the newest block."""
        return self._operator.head()

    def advance(self, seconds: int) -> Block:
        """Let time pass, and mine a block that shows it."""
        return self.set_time(self.now + seconds)

    def set_time(self, time: int, *, mine: bool = True) -> Block:
        """Set the clock, never back, and mine a block at that time, so that whoever watches the chain sees it.

        Without `mine`, the next transaction's block carries exactly `time`: how a boundary second is hit.
        """
        with self.provider.lock:
            self.provider.set_time(time)
            if mine and self.provider.head_time < time:
                self.provider.mine(time)
            return self.head()

    def mine(self, blocks: int = 1) -> Block:
        """Mine empty blocks, a second apart: confirmations."""
        with self.provider.lock:
            for _ in range(blocks):
                self.provider.mine(self.now)
            return self.head()

    # Prices

    def publish_spot(self, underlying: str, price: int, observed: int | None = None) -> Receipt:
        """Have the publishers report a spot, WAD, observed now or at a time within the last 30 seconds."""
        name, when = underlying_word(underlying), self.now if observed is None else observed
        signed = self._report(keccak(_SPOT_TYPE.encode()), name, word(price), word(when))
        return self._do("SignedPriceSource", self.source, "report_spot", name, price, when, signed)

    def publish_settlement(self, underlying: str, expiry: int, price: int) -> Receipt:
        """Have the publishers report what an expiry settled at, WAD, once and not before it."""
        name = underlying_word(underlying)
        signed = self._report(keccak(_SETTLEMENT_TYPE.encode()), name, word(expiry), word(price))
        return self._do("SignedPriceSource", self.source, "report_settlement", name, expiry, price, signed)

    def _report(self, *fields: bytes) -> bytes:
        """Return `threshold` publishers' signatures of an EIP-712 report, joined in the order of their addresses."""
        place = word(self.deployment.chain_id) + self.source.word
        domain = keccak(keccak(DOMAIN_TYPE.encode()) + _PRICES + keccak(b"1") + place)
        digest = keccak(b"\x19\x01" + domain + keccak(b"".join(fields)))
        return b"".join(key.sign(digest) for key in self.publishers[: self.threshold])

    # Contracts

    @property
    def engine(self) -> Address:
        """The risk engine of this chain's `policy`: for the `engine` of terms whose margin the contract enforces.

        Deployed the first time, which takes a block and therefore a second.
        """
        return self.engine_for(self.policy)

    def engine_for(self, policy: MarginPolicy) -> Address:
        """Return the risk engine of a policy, deployed the first time it is asked for."""
        with self.provider.lock:
            if policy.hash not in self._engines:
                self._engines[policy.hash] = self._create(artifact(ENGINE).bytecode + policy.encode())
            return self._engines[policy.hash]

    def deploy(self, name: str, *args: object) -> Address:
        """Deploy a shipped contract with its constructor's arguments; return its address."""
        return self._create(artifact(name).bytecode + abi_of(name).constructor_data(*args))

    def _create(self, code: bytes) -> Address:
        return Address(self.provider.transact(KeyAccount(self.faucet), None, data=code)["contractAddress"])

    def _record(self, receipt: Receipt) -> None:
        self._gas.setdefault(receipt.call, []).append(receipt.gas_used)

    def _do(self, contract: str, address: Address, name: str, *args: object) -> Receipt:
        with self.provider.lock:
            return self._operator.send(Call(name, address, abi_of(contract).call_data(name, *args)))


def _provider(start_time: int, rich: Address) -> ClockedProvider:
    try:
        from .evm import ClockedProvider
    except ImportError as missing:
        raise MissingExtra("the embedded chain", "local") from missing
    return ClockedProvider(start_time, rich, _FAUCET_ETHER * _ETHER)
