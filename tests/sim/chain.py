"""The adjudicator in virtual time: blocks, confirmations, reorganisations, and every endpoint's own view of them.

The rules are those of protocol §3 as far as two nodes without a risk engine use them, said in plain Python. Each block
holds its own copy of the accounts, so a reorganisation is a step back to an earlier block and another way from there.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import trio

from channels.chain.port import Block, Call, ChannelPhase, Located, OnChain, Receipt
from channels.chain.source import AuditedCode, SourceSetup
from channels.core import facts as f
from channels.errors import TransactionReverted
from channels.model import (
    Address,
    Agreed,
    Book,
    ChannelId,
    Deployment,
    Intent,
    Party,
    State,
    Terms,
    keccak,
)
from channels.risk.payoff import payoff
from channels.seal import check_agreed

from .faults import Faults

BLOCK = 3
"""Seconds from block to block."""


@dataclass(frozen=True)
class Account:
    """One channel as the adjudicator knows it."""

    deposits: tuple[int, int] = (0, 0)
    paid: tuple[int, int] = (0, 0)
    registered: State | None = None
    deadline: int = 0
    payouts: tuple[int, int] | None = None

    @property
    def version(self) -> int:
        return self.registered.version if self.registered else 0

    @property
    def pot(self) -> int:
        return sum(self.deposits) - sum(self.paid)


class Refused(Exception):
    """The adjudicator's revert, with its reason."""


def _require(condition: bool, reason: str) -> None:
    if not condition:
        raise Refused(reason)


def _with(pair: tuple[int, int], party: Party, amount: int) -> tuple[int, int]:
    return (amount, pair[1]) if party is Party.ZERO else (pair[0], amount)


Rule = Callable[[Account, int], tuple[Account, list[f.ChainFact]]]


@dataclass(frozen=True)
class Act(Call):
    """A call that knows what it does, instead of its ABI encoding."""

    channel: ChannelId = field(kw_only=True)
    rule: Rule = field(default=lambda account, now: (account, []), compare=False)
    shown: Agreed | None = None


@dataclass
class Mined:
    """A block: its facts and the accounts after it."""

    number: int
    time: int
    facts: list[Located]
    accounts: dict[ChannelId, Account]
    acts: list[Sent]


@dataclass
class Sent:
    """A transaction and whoever waits for it."""

    act: Act
    done: trio.Event = field(default_factory=trio.Event)
    receipt: Receipt | None = None
    reverted: str = ""


class Chain:
    """The one true chain. Only its last `confirmations` blocks may still change."""

    def __init__(self, faults: Faults, deployment: Deployment, start: int) -> None:
        self.faults, self.deployment, self.start = faults, deployment, start
        self.confirmations = faults.rng.choice([0, 1, 2])
        self.blocks = [Mined(0, start, [], {}, [])]
        self.waiting: list[Sent] = []
        self.prices: dict[tuple[str, int], int] = {}
        self.on_show: Callable[[Agreed], None] = lambda agreed: None
        """Told of each state with two signatures that anybody shows."""

    @property
    def now(self) -> int:
        return self.start + int(trio.current_time())

    def account(self, channel: ChannelId) -> Account:
        return self.blocks[-1].accounts.get(channel, Account())

    def final(self, channel: ChannelId) -> Account:
        """Return the account as the last block that can no longer change knows it."""
        return self.blocks[max(0, len(self.blocks) - 1 - self.confirmations)].accounts.get(channel, Account())

    def mine(self) -> None:
        """Make a block of what waits, or first take some blocks back."""
        if (
            len(self.blocks) > self.confirmations + 1
            and self.confirmations
            and self.faults.strikes(self.faults.reorgs, "reorg")
        ):
            depth = self.faults.rng.randint(1, self.confirmations)
            gone, self.blocks = self.blocks[-depth:], self.blocks[:-depth]
            # The same transactions, in another order; one may be priced out and is not seen again.
            again = [sent for block in gone for sent in block.acts]
            self.faults.rng.shuffle(again)
            if again and self.faults.strikes(0.5, "transaction lost in a reorg"):
                again.pop()
            self.waiting = again + self.waiting
            for block in gone:
                self._add(block.time, [self.waiting.pop(0)] if self.waiting else [])
        waiting, self.waiting = self.waiting, []
        self._add(self.now, waiting)

    def _add(self, time: int, waiting: list[Sent]) -> None:
        last = self.blocks[-1]
        block = Mined(last.number + 1, time, [], dict(last.accounts), [])
        for sent in waiting:
            act = sent.act
            try:
                after, said = act.rule(block.accounts.get(act.channel, Account()), time)
            except Refused as refused:
                sent.reverted = str(refused)
            else:
                block.accounts[act.channel] = after
                block.facts += [Located(block.number, act.channel, fact) for fact in said]
                block.acts.append(sent)
                sent.receipt = Receipt("0x", block.number, 21_000, 0, act.name)
            sent.done.set()
        self.blocks.append(block)

    def submit(self, act: Act) -> Sent:
        if act.shown is not None:
            self.on_show(act.shown)
        sent = Sent(act)
        self.waiting.append(sent)
        return sent

    # The entry points

    def _act(self, name: str, terms: Terms, rule: Rule, shown: Agreed | None = None) -> Act:
        if shown is not None:
            check_agreed(self.deployment, terms, shown)
        channel = terms.channel_id(self.deployment)
        return Act(name, self.deployment.adjudicator, b"", channel=channel, rule=rule, shown=shown)

    def deposit(self, terms: Terms, party: Party, amount: int) -> Act:
        def rule(account: Account, now: int) -> tuple[Account, list[f.ChainFact]]:
            _require(account.payouts is None, "adjudicator: closed")
            total = account.deposits[party] + amount
            return replace(account, deposits=_with(account.deposits, party, total)), [f.DepositSeen(party, total)]

        return self._act("deposit", terms, rule)

    def challenge(self, terms: Terms, agreed: Agreed) -> Act:
        def rule(account: Account, now: int) -> tuple[Account, list[f.ChainFact]]:
            _require(account.payouts is None, "adjudicator: closed")
            _require(agreed.state.intent is Intent.OPERATE, "adjudicator: intent")
            if account.deadline:
                _require(now < account.deadline, "adjudicator: too late")
                _require(agreed.version > account.version, "adjudicator: stale version")
            else:
                _require(agreed.version >= account.version, "adjudicator: stale version")
            return _register(account, agreed.state, account.deadline or now + terms.challenge_period)

        return self._act("challenge", terms, rule, agreed)

    def challenge_registered(self, terms: Terms, state: State) -> Act:
        def rule(account: Account, now: int) -> tuple[Account, list[f.ChainFact]]:
            _require(account.payouts is None and not account.deadline, "adjudicator: phase")
            _require(account.registered == state, "adjudicator: not the registered state")
            return _register(account, state, now + terms.challenge_period)

        return self._act("challenge", terms, rule)

    def challenge_unsigned(self, terms: Terms) -> Act:
        def rule(account: Account, now: int) -> tuple[Account, list[f.ChainFact]]:
            _require(account.payouts is None and not account.deadline, "adjudicator: phase")
            _require(account.registered is None, "adjudicator: a state is registered")
            deadline = now + terms.challenge_period
            return replace(account, deadline=deadline), [f.RegisteredSeen(None, deadline)]

        return self._act("challenge_unsigned", terms, rule)

    def checkpoint(self, terms: Terms, agreed: Agreed) -> Act:
        def rule(account: Account, now: int) -> tuple[Account, list[f.ChainFact]]:
            state = agreed.state
            _require(account.payouts is None, "adjudicator: closed")
            _require(state.version > account.version, "adjudicator: stale version")
            if account.deadline:
                _require(state.intent is Intent.REOPEN, "adjudicator: intent")
                _require(now <= state.valid_until, "adjudicator: expired")
                paid = zip(account.paid, state.withdrawals, strict=True)
                _require(all(was <= is_ for was, is_ in paid), "adjudicator: unknown payment")
            else:
                _require(state.intent is Intent.OPERATE, "adjudicator: intent")
            return _register(account, state, 0)

        return self._act("checkpoint", terms, rule, agreed)

    def close(self, terms: Terms, agreed: Agreed) -> Act:
        def rule(account: Account, now: int) -> tuple[Account, list[f.ChainFact]]:
            state = agreed.state
            _require(account.payouts is None, "adjudicator: closed")
            _require(state.intent is Intent.CLOSE and state.version > account.version, "adjudicator: stale version")
            _require(now <= state.valid_until, "adjudicator: expired")
            return _pay_out(replace(account, registered=state), state, 0)

        return self._act("close", terms, rule, agreed)

    def settle(self, terms: Terms, state: State | None, book: Book) -> Act:
        def rule(account: Account, now: int) -> tuple[Account, list[f.ChainFact]]:
            _require(account.payouts is None and 0 < account.deadline <= now, "adjudicator: phase")
            _require(account.registered == state, "adjudicator: not the registered state")
            _require(not book.legs or (state is not None and state.book == book.hash), "adjudicator: book")
            keys = {leg.key[:2] for leg in book.legs}
            _require(keys <= self.prices.keys(), "adjudicator: no settlement price")
            gain = payoff(book.legs, {key: self.prices[key] for key in keys}, terms.decimals) if keys else 0
            return _pay_out(account, state, gain)

        return self._act("settle", terms, rule)

    def pin(self, terms: Terms, state: State, book: Book, underlying: str, expiry: int) -> Act:
        def rule(account: Account, now: int) -> tuple[Account, list[f.ChainFact]]:
            raise Refused("adjudicator: too early to pin")

        return self._act("pin", terms, rule)


def _register(account: Account, state: State, deadline: int) -> tuple[Account, list[f.ChainFact]]:
    said: list[f.ChainFact] = [f.RegisteredSeen(state, deadline)]
    account = replace(account, registered=state, deadline=deadline)
    if all(known <= arrived for known, arrived in zip(state.deposits, account.deposits, strict=True)):
        for party in Party:
            due = min(max(0, state.withdrawals[party] - account.paid[party]), account.pot)
            if due:
                total = account.paid[party] + due
                account = replace(account, paid=_with(account.paid, party, total))
                said.append(f.PaymentSeen(party, total))
    return account, said


def _pay_out(account: Account, state: State | None, gain: int) -> tuple[Account, list[f.ChainFact]]:
    """Close and pay by the formula of protocol §3.1; `gain` is the payoff in party 0's view, token units."""
    balance, known, authorised = (state.balances[0], state.deposits[0], state.withdrawals[0]) if state else (0, 0, 0)
    cash = balance + account.deposits[0] - known + authorised - account.paid[0]
    first = min(max(0, cash + gain), account.pot)
    payouts = (first, account.pot - first)
    return replace(account, payouts=payouts), [f.ClosedSeen(payouts)]


class Endpoint:
    """The chain as one machine's node sees it: a little behind, and answering in its own time."""

    endpoint = "simulated"
    chain_id = 31_337

    def __init__(self, chain: Chain, account: Address) -> None:
        self.chain, self.account, self.deployment = chain, account, chain.deployment
        self.gone = False
        self._seen = 0

    def head(self) -> Block:
        chain = self.chain
        behind = chain.faults.rng.randint(0, chain.faults.lag) if chain.faults.lag else 0
        if behind:
            chain.faults.fired["endpoint behind"] += 1
        self._seen = max(0, len(chain.blocks) - 1 - behind)
        return self.block(self._seen)

    def block(self, number: int) -> Block:
        found = self.chain.blocks[number]
        return Block(found.number, found.time)

    def facts(self, from_block: int, to_block: int) -> list[Located]:
        return [fact for block in self.chain.blocks[from_block : to_block + 1] for fact in block.facts]

    def effective_settlement(self, terms: Terms, underlying: str, expiry: int) -> int:
        return self.chain.prices.get((underlying, expiry), 0) if self.chain.now >= expiry else 0

    def status(self, channel: ChannelId, block: int | None = None) -> OnChain:
        account = self.chain.blocks[self._seen if block is None else block].accounts.get(channel, Account())
        phase = ChannelPhase.OPEN if account.payouts is None else ChannelPhase.CLOSED
        return OnChain(phase, account.version, account.deadline, bytes(32), account.deposits, account.paid)

    def verify_code(self, address: Address, artifact: str) -> None:
        """Every contract is the shipped one here."""

    def verify_source(self, source: Address, accepted: tuple[SourceSetup, ...] | None) -> SourceSetup:
        """Every price source is somebody's who is trusted."""
        return AuditedCode(bytes(32))

    def simulate(self, act: Act) -> None:
        try:
            act.rule(self.chain.account(act.channel), self.chain.now)
        except Refused as refused:
            raise TransactionReverted(act.name, str(refused)) from None

    def send(self, act: Act) -> Sent:
        """Return the transaction; the simulator waits for it where a real endpoint would block."""
        return self.chain.submit(act)

    def __getattr__(self, name: str) -> Any:
        # The builders of calls are the chain's own.
        return getattr(self.chain, name)


def deployment_of(rng_bytes: bytes) -> Deployment:
    """Return a deployment of its own."""
    return Deployment(Endpoint.chain_id, Address(keccak(rng_bytes)[12:]))
