"""Brings one channel from a store file to its payout, with a key and an endpoint and nothing else.

The store is only read. No peer and no running node are needed: whoever restores a backup on a borrowed machine can use
this. `dispute_steps` decides, this looks, sends and waits.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from ..chain.confirm import ranges
from ..chain.port import Call, Chain, ChannelPhase, OnChain, Receipt
from ..core.facts import ClosedSeen, RegisteredSeen
from ..errors import KeyUnusable, RpcUnavailable, TransactionReverted
from ..model import EMPTY_BOOK, Agreed, Book, State
from ..seal import state_struct_hash
from .dispute_calls import pending_calls
from .dispute_steps import NO_ORDERS, Act, Evidence, Expiry, Finished, Orders, Outlook, Step, enforceable, next_step

GAS_PER_CALL = 600_000
"""Gas that a wallet must be able to pay for with each call; less is used, and only that is charged."""
STUBBORN = 5
"""So many refusals of one call with one reason in a row are not a race that somebody else won."""


@dataclass(frozen=True, slots=True)
class Budget:
    """What is still to be sent at most, and what the wallet has for it. Wei."""

    transactions: int
    gas: int
    price: int
    balance: int

    @property
    def needs(self) -> int:
        """An upper bound: gas limits times the most that is offered per gas."""
        return self.transactions * self.gas * self.price

    @property
    def is_enough(self) -> bool:
        return self.balance >= self.needs


@dataclass
class Dispute:
    """One channel, one endpoint. Blocking; every method may raise a ChainError.

    `run` sends; everything else only looks.
    """

    evidence: Evidence
    chain: Chain
    orders: Orders = NO_ORDERS
    _scanned: int = field(init=False)
    _shown: dict[bytes, State] = field(init=False, default_factory=dict)
    _payouts: tuple[int, int] | None = field(init=False)

    def __post_init__(self) -> None:
        self._scanned = self.evidence.cursor
        self._payouts = self.evidence.payouts

    def check(self) -> None:
        """Raise unless this key may act for this channel, on this chain, with the shipped contract.

        KeyUnusable for a key that is not our side's signer or owner, WrongChain, ContractMismatch, RpcUnavailable.
        """
        evidence, account = self.evidence, self.chain.account
        party = evidence.terms.party_of(account)
        if party is not evidence.me:
            whose = "a stranger to this channel" if party is None else "the peer's"
            ours = f"{evidence.terms.signers[evidence.me]} (signer) or {evidence.owner} (owner)"
            raise KeyUnusable(f"it belongs to {account}, {whose}; give the key of {ours}")
        self.chain.verify_code(evidence.deployment.adjudicator, "Adjudicator")

    def look(self) -> Outlook:
        """Return how things stand at the newest block."""
        evidence, chain = self.evidence, self.chain
        now = chain.head().time
        status = chain.status(evidence.channel)
        closed = status.phase is ChannelPhase.CLOSED
        state, book, foreign = (None, EMPTY_BOOK, False) if closed else self._registered(status)
        if closed and self._payouts is None:
            self._scan()
        outlook = Outlook(
            now,
            status,
            state,
            book,
            foreign,
            self._usable_close(status, now),
            (),
            (),
            None,
            self._payouts,
            chain.claimable(evidence.terms.token, evidence.owner),
        )
        if closed:
            return outlook
        calls = pending_calls(chain, evidence.terms, status, state, book, now)
        return self._with_prices(replace(outlook, calls=calls))

    def budget(self, outlook: Outlook, step: Step) -> Budget:
        """Return what is still to be sent at most. Prices are those of this moment."""
        gas = GAS_PER_CALL
        if isinstance(step, Act) and self._would_work(step.call):
            gas = max(gas, self.chain.estimate(step.call))
        calls = self._calls_left(outlook, step)
        return Budget(calls, gas, self.chain.gas_price(), self.chain.native_balance(self.chain.account))

    def next_step(self, outlook: Outlook) -> Step:
        """Return what follows from the evidence and this outlook."""
        return next_step(self.evidence, outlook, self.chain, self.orders)

    def run(
        self,
        tell: Callable[[Outlook, Step | Receipt | TransactionReverted | RpcUnavailable], None],
        *,
        pause: Callable[[float], None] = time.sleep,
        poll: float = 5.0,
        patience: float = 600.0,
    ) -> Outlook:
        """Do what is to be done until the channel is closed and paid; return the last outlook.

        `tell` hears every step before it is taken, every receipt, and every trouble that is waited out. An endpoint
        that fails is asked again for `patience` seconds, then RpcUnavailable is raised. Every call is simulated first;
        one that is refused is derived anew, and TransactionReverted is raised if it keeps being refused.
        """
        outlook = self.look()
        refusals: list[tuple[str, str]] = []
        reached = time.monotonic()
        while True:
            try:
                outlook = self.look()
                step = self.next_step(outlook)
                tell(outlook, step)
                if isinstance(step, Finished):
                    return outlook
                if isinstance(step, Act):
                    if step.call.spends is None:  # else it needs its approval, which `send` sees to
                        self.chain.simulate(step.call)
                    tell(outlook, self.chain.send(step.call))
                    self._spent(step.call)
                    refusals = []
                reached = time.monotonic()
                if isinstance(step, Act):
                    continue
            except TransactionReverted as refused:
                # Somebody else was first, or the block that counts is not there yet: the next look shows which.
                refusals = [*refusals, (refused.call, refused.reason)][-STUBBORN:]
                if refusals == refusals[:1] * STUBBORN:
                    raise
                tell(outlook, refused)
            except RpcUnavailable as gone:
                if time.monotonic() - reached > patience:
                    raise
                tell(outlook, gone)
            pause(poll)

    def _spent(self, call: Call) -> None:
        """What was topped up comes off what may be."""
        if call.spends is not None:
            self.orders = replace(self.orders, top_up=self.orders.top_up - call.spends.amount)

    # Looking

    def _registered(self, status: OnChain) -> tuple[State | None, Book | None, bool]:
        """Return the registered state, its book if it is known, and whether the store should hold it and does not."""
        if not status.version:
            return None, EMPTY_BOOK, False
        books = self.evidence.books
        known = self.evidence.states.get(status.registered)
        if known:
            return known, books.get(known.book), False
        if status.registered not in self._shown:
            self._scan()
        shown = self._shown.get(status.registered)
        if shown is None:
            detail = f"it shows no log of version {status.version} since block {self.evidence.cursor}"
            raise RpcUnavailable(self.chain.endpoint, detail)
        return shown, books.get(shown.book), shown.version > self.evidence.floor

    def _scan(self) -> None:
        """Read the logs that the store has not seen: what others registered, and what the close paid."""
        for span in ranges(self._scanned, self.chain.head().number, 0):
            for located in self.chain.facts(span.first, span.last):
                if located.channel != self.evidence.channel:
                    continue
                match located.fact:
                    case RegisteredSeen(State() as state, _):
                        self._shown[state_struct_hash(state)] = state
                    case ClosedSeen(payouts):
                        self._payouts = payouts
            self._scanned = span.last

    def _usable_close(self, status: OnChain, now: int) -> Agreed | None:
        closing = self.evidence.closing
        if closing is None or status.phase is ChannelPhase.CLOSED:
            return None
        in_time = closing.version > status.version and now <= closing.state.valid_until
        return closing if in_time and self._would_work(self.chain.close(self.evidence.terms, closing)) else None

    def _with_prices(self, outlook: Outlook) -> Outlook:
        evidence, chain, terms = self.evidence, self.chain, self.evidence.terms
        missing: tuple[Expiry, ...] = ()
        pinnable: tuple[Expiry, ...] = ()
        if outlook.book is not None and outlook.registered is not None:
            due = dict.fromkeys(leg.key[:2] for leg in outlook.book.legs if leg.expiry <= outlook.now)
            missing = tuple(pair for pair in due if not chain.effective_settlement(terms, *pair))
            if outlook.phase is ChannelPhase.SETTLING or (self.orders.liquidate and outlook.calls):
                state, book = outlook.registered, outlook.book
                pinnable = tuple(p for p in missing if self._would_work(chain.pin(terms, state, book, *p)))
        expected = None
        state_to_pay, its_book = enforceable(evidence, outlook)
        if its_book is not None and not (its_book.last_expiry > outlook.now):
            try:
                expected = chain.entitlements(terms, state_to_pay, its_book)
            except TransactionReverted:
                expected = None
        return replace(outlook, missing=missing, pinnable=pinnable, expected=expected)

    def _would_work(self, call: Call) -> bool:
        try:
            self.chain.simulate(call)
        except TransactionReverted:
            return False
        return True

    def _calls_left(self, outlook: Outlook, step: Step) -> int:
        if isinstance(step, Finished):
            return 0
        if outlook.phase is ChannelPhase.CLOSED or outlook.close or outlook.book is None:
            return 1
        if isinstance(step, Act) and step.call.name == "liquidate":
            return 1
        _, book = enforceable(self.evidence, outlook)
        prices = len({leg.key[:2] for leg in book.legs}) if book else 0
        opening = isinstance(step, Act) and outlook.phase is not ChannelPhase.SETTLING
        # A call against us takes an approval, a deposit and a cure.
        topping = 3 if isinstance(step, Act) and step.call.spends else 0
        return topping + int(opening) + prices + 1
