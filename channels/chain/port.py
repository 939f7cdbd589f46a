"""What the rest of the library asks of a chain, as one Protocol and the values that pass through it.

Everything here is synchronous and may block for a network's time: the runtime calls it in worker threads. An action is
first a value, a `Call`, so that the same object can be simulated, estimated, shown to a person, and only then sent.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Protocol

from ..core.facts import ChainFact
from ..model import Address, Agreed, Book, ChannelId, Deployment, Party, State, Terms
from ..risk.policy import MarginPolicy
from .source import SourceSetup


class ChannelPhase(IntEnum):
    """A channel's phase as the adjudicator answers it. SETTLING begins in the deadline's own second."""

    OPEN = 0
    DISPUTED = 1
    SETTLING = 2
    CLOSED = 3


@dataclass(frozen=True, slots=True)
class Block:
    """A block's number and its timestamp, unix seconds: the only clock that counts on-chain."""

    number: int
    time: int


@dataclass(frozen=True, slots=True)
class Located:
    """A fact about a channel, and the block whose logs state it."""

    block: int
    channel: ChannelId
    fact: ChainFact


@dataclass(frozen=True, slots=True)
class OnChain:
    """A channel as the adjudicator knows it after one block; all zero for one it never heard of.

    `deadline` is the dispute's, unix seconds, 0 outside one; `registered` the struct hash of the registered state, zero
    for none; `deposits` and `paid` cumulative token units per party; `cure_deadlines` those of the margin calls that
    stand against the registered version, 0 for none (one that has lapsed is still answered). A closed channel keeps its
    phase and version only.
    """

    phase: ChannelPhase
    version: int
    deadline: int
    registered: bytes
    deposits: tuple[int, int]
    paid: tuple[int, int]
    cure_deadlines: tuple[int, int] = (0, 0)

    @property
    def pot(self) -> int:
        """What the channel holds, in token units."""
        return sum(self.deposits) - sum(self.paid)


@dataclass(frozen=True, slots=True)
class Spot:
    """What a price source says an underlying trades at: WAD, 0 for none, and when that was observed, unix seconds."""

    price: int
    observed: int

    def fresh(self, now: int, max_age: int) -> int:
        """Return the price if the adjudicator would take it at `now`, else 0: a margin question needs it fresh."""
        return self.price if 0 <= now - self.observed <= max_age else 0


@dataclass(frozen=True, slots=True)
class Spend:
    """Tokens that a call pulls from whoever sends it: `amount` in the token's units."""

    token: Address
    amount: int


@dataclass(frozen=True, slots=True)
class Call:
    """One call of a contract: nothing happens until it is sent. `name` is the entry point, `data` the ABI encoding."""

    name: str
    to: Address
    data: bytes
    spends: Spend | None = None


@dataclass(frozen=True, slots=True)
class Receipt:
    """A mined and successful transaction. `fee` is what it cost in wei; `call` the entry point's name."""

    transaction: str
    block: int
    gas_used: int
    fee: int
    call: str


class ChainCalls(Protocol):
    """Builders, one per entry point: pure, no network. `terms` are the channel's; who may send what is protocol §3."""

    def approve(self, token: Address, amount: int) -> Call:
        """Let the adjudicator pull exactly `amount` token units from the sender."""

    def deposit(self, terms: Terms, party: Party, amount: int) -> Call:
        """Pull `amount` token units from the sender for `party`; sending it approves first what is missing."""

    def checkpoint(self, terms: Terms, agreed: Agreed) -> Call:
        """Register a newer state and pay its withdrawals; with a REOPEN, end the dispute."""

    def challenge(self, terms: Terms, agreed: Agreed) -> Call:
        """Start a dispute with a state, or answer one with a newer state."""

    def challenge_registered(self, terms: Terms, state: State) -> Call:
        """Start a dispute with exactly the registered state, which needs no signatures."""

    def challenge_unsigned(self, terms: Terms) -> Call:
        """Start a dispute where nothing was ever registered: unanswered, each party gets its deposits back."""

    def close(self, terms: Terms, agreed: Agreed) -> Call:
        """Pay out an agreed CLOSE."""

    def margin_call(self, terms: Terms, agreed: Agreed, party: Party, witness: Sequence[int]) -> Call:
        """Prove `party` below maintenance margin in an agreed state, newer or registered, and start its cure period.

        `witness`: one row of the policy's grid for each spot mark of the book, as `risk.close_out.witness` gives.
        """

    def margin_call_registered(
        self, terms: Terms, state: State, book: Book, party: Party, witness: Sequence[int]
    ) -> Call:
        """The same on exactly the registered state, which needs no signatures; the only way once it is final."""

    def cure(self, terms: Terms, state: State, book: Book, party: Party) -> Call:
        """End the margin call of `party` by showing that it holds its initial margin in the registered state."""

    def liquidate(self, terms: Terms, state: State, book: Book, party: Party, witness: Sequence[int]) -> Call:
        """Close the channel out at the mark, in the execution window of a margin call that was not cured."""

    def release(self, terms: Terms, state: State, book: Book, party: Party, amount: int) -> Call:
        """Take `amount` token units above initial margin out of the registered state, once it is final."""

    def pin(self, terms: Terms, state: State, book: Book, underlying: str, expiry: int) -> Call:
        """Fix the price of an expired leg of the registered book."""

    def settle(self, terms: Terms, state: State | None, book: Book) -> Call:
        """Pay out the registered state; None and EMPTY_BOOK after an unanswered unsigned challenge."""

    def pay(self, terms: Terms, state: State) -> Call:
        """Pay withdrawals of the registered state that a missing deposit had blocked."""

    def last_resort(self, terms: Terms, state: State | None) -> Call:
        """Pay out the registered state as if its legs were worth nothing: the book is lost, the money is not."""

    def claim(self, token: Address, owner: Address) -> Call:
        """Pay `owner` what failed pushes of `token` left behind."""


class Chain(ChainCalls, Protocol):
    """A chain seen through one endpoint, acting with one account. Every method may block, and raises a ChainError.

    Of these: RpcUnavailable if the endpoint does not answer, or not with Ethereum JSON-RPC; WrongChain before anything
    is asked or sent; ContractMismatch if what answers is not the adjudicator.
    """

    @property
    def deployment(self) -> Deployment:
        """The adjudicator, and the id of the chain it is on."""

    @property
    def chain_id(self) -> int: ...

    @property
    def account(self) -> Address:
        """Who sends, and pays the gas."""

    @property
    def endpoint(self) -> str:
        """The endpoint as text for people: host only, since paths and user parts hold keys."""

    # What is known

    def head(self) -> Block: ...

    def block(self, number: int) -> Block: ...

    def facts(self, from_block: int, to_block: int) -> list[Located]:
        """Return what the adjudicator's logs say in these blocks, both included, in the order they were written."""

    def status(self, channel: ChannelId, block: int | None = None) -> OnChain:
        """Return a channel as it is after a block; None: the newest.

        Any full node keeps the state of the last 128 blocks; an older one takes an archive node, and elsewhere raises
        RpcUnavailable, as a block that is not there yet does. ContractMismatch before the adjudicator was deployed.
        """

    def effective_settlement(self, terms: Terms, underlying: str, expiry: int) -> int:
        """Return what the expiry settled at, WAD: pinned, else the price source's; 0 while there is none."""

    def entitlements(self, terms: Terms, state: State | None, book: Book) -> tuple[int, int]:
        """Return the token units each party would get if `state` settled now; TransactionReverted as `settle` is."""

    def spot(self, source: Address, underlying: str) -> Spot:
        """Return a price source's last price; one that reverts or answers nonsense has none, as on-chain."""

    def engine_policy(self, engine: Address) -> MarginPolicy:
        """Return the policy that a risk engine says it holds; ContractMismatch if it says none. See verify_engine."""

    def claimable(self, token: Address, owner: Address) -> int: ...

    def decimals(self, token: Address) -> int: ...

    def symbol(self, token: Address) -> str: ...

    def balance_of(self, token: Address, owner: Address) -> int: ...

    def allowance(self, token: Address, owner: Address) -> int:
        """Return the token units that the adjudicator may still pull from `owner`."""

    def native_balance(self, owner: Address) -> int:
        """Return wei."""

    def gas_price(self) -> int:
        """Return the wei per gas that the next transaction would offer at most."""

    def code(self, address: Address) -> bytes:
        """Return the code at an address, empty for none."""

    def verify_code(self, address: Address, artifact: str) -> None:
        """Raise ContractMismatch unless the code is the shipped artifact's; immutables are not compared."""

    def verify_engine(self, engine: Address, policy: MarginPolicy) -> None:
        """Raise ContractMismatch, naming what differs, unless it is the shipped engine with exactly this policy."""

    def verify_source(self, source: Address, accepted: Sequence[SourceSetup] | None) -> SourceSetup:
        """Return how a price source is set up; SourceMismatch unless that is accepted. None: whatever is shipped."""

    # What is done

    def simulate(self, call: Call) -> None:
        """Run the call without sending it; TransactionReverted with the contract's reason if it would fail."""

    def estimate(self, call: Call) -> int:
        """Return the gas limit that `send` would set, which the wallet must afford at `gas_price`; less is used."""

    def send(self, call: Call) -> Receipt:
        """Send the call from `account` and wait until it is mined.

        Raises TransactionReverted with the contract's reason, InsufficientFunds for gas or tokens (both before anything
        is sent, where that can be known), TransactionPending if it is not mined in time.
        """
