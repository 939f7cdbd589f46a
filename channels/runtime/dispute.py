"""Brings one channel from a store file to its payout, with a key and an endpoint and nothing else.

A run remembers nothing. Each step is derived anew from what the store proves and what the chain says, so a run that was
interrupted anywhere is resumed by starting it again, and nothing is done twice. The store is only read. No peer, no
margin policy and no running node are needed: whoever restores a backup on a borrowed machine can use this.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from ..chain.confirm import ranges
from ..chain.port import Call, Chain, ChainCalls, ChannelPhase, OnChain, Receipt
from ..core.facts import ClosedSeen, RegisteredSeen
from ..core.records import ChainSaid, Opened, Signed, StateAgreed
from ..errors import KeyUnusable, RpcUnavailable, StoreCorrupt, TransactionReverted
from ..model import EMPTY_BOOK, ZERO32, Address, Agreed, Book, ChannelId, Deployment, Intent, Party, State, Terms
from ..seal import state_struct_hash
from ..store import Store

GAS_PER_CALL = 600_000
"""Gas that a wallet must be able to pay for with each call; less is used, and only that is charged."""
STUBBORN = 5
"""So many refusals of one call with one reason in a row are not a race that somebody else won."""

Expiry = tuple[str, int]
"""Underlying and unix time."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """What a store proves about one channel. `read` makes it."""

    deployment: Deployment
    terms: Terms
    channel: ChannelId
    me: Party
    agreed: Agreed | None
    """The newest agreed state that operates: what a challenge can register."""
    closing: Agreed | None
    """The newest agreed CLOSE, expired or not."""
    half_signed: int
    """The highest version above every agreed one that only we are known to have signed; 0 for none."""
    states: Mapping[bytes, State]
    """Every state that the journal holds, by struct hash."""
    books: Mapping[bytes, Book]
    """Every book that it holds, by hash."""
    payouts: tuple[int, int] | None
    cursor: int
    """The last block whose facts the journal holds."""

    @classmethod
    def read(cls, store: Store, channel: ChannelId) -> Evidence:
        """Return what the journal of a channel proves. Raises StoreCorrupt where it does not begin with its terms."""
        records = store.records(channel)
        opened = records[0] if records else None
        if not isinstance(opened, Opened):
            raise StoreCorrupt(store.path, f"channel 0x{channel.hex()} does not begin with its terms")
        states: dict[bytes, State] = {}
        books = {ZERO32: EMPTY_BOOK}
        agreed: dict[Intent, Agreed] = {}
        payouts, signed = None, 0
        for record in records:
            match record:
                case StateAgreed(made, _):
                    held = agreed.get(made.state.intent)
                    if held is None or made.version > held.version:
                        agreed[made.state.intent] = made
                    states[state_struct_hash(made.state)] = made.state
                    books[made.state.book] = made.book
                case Signed(half, _):
                    states[state_struct_hash(half.state)] = half.state
                    books[half.state.book] = half.book
                    signed = max(signed, half.state.version)
                case ChainSaid(RegisteredSeen(State() as state, _)):
                    states[state_struct_hash(state)] = state
                case ChainSaid(ClosedSeen(paid)):
                    payouts = paid
        newest = max((made.version for made in agreed.values()), default=0)
        return cls(
            opened.deployment,
            opened.terms,
            channel,
            opened.me,
            agreed.get(Intent.OPERATE),
            agreed.get(Intent.CLOSE),
            signed if signed > newest else 0,
            states,
            books,
            payouts,
            store.cursor(opened.deployment),
        )

    @property
    def owner(self) -> Address:
        """Who is paid for our side."""
        return self.terms.owners[self.me]


@dataclass(frozen=True, slots=True)
class Outlook:
    """The channel on-chain at one block, seen with the evidence in hand. Amounts in token units, times unix seconds."""

    now: int
    status: OnChain
    registered: State | None
    """The registered state; None where nothing is, and for the all-zero one of an unsigned challenge."""
    book: Book | None
    """The registered state's book; None where nobody showed it to this store."""
    foreign: bool
    """Whether the registered state is one that this store does not hold: the store is an old copy."""
    close: Agreed | None
    """An agreed CLOSE that the contract would pay now."""
    missing: tuple[Expiry, ...]
    """Expiries of the registered book that have passed and have no settlement price."""
    pinnable: tuple[Expiry, ...]
    """Of these, the ones whose price can be fixed now."""
    expected: tuple[int, int] | None
    """What party 0 and 1 would get if the enforceable state settled now; None while a leg has no price."""
    payouts: tuple[int, int] | None
    """What the close paid, once it has."""
    claimable: int
    """What failed pushes left behind for our owner, of this token."""

    @property
    def phase(self) -> ChannelPhase:
        return self.status.phase


@dataclass(frozen=True, slots=True)
class Act:
    """Send this call now. `what` says so to a person."""

    call: Call
    what: str


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing can be done before `until` (unix seconds by the chain's clock), or until something changes."""

    until: int
    what: str


@dataclass(frozen=True, slots=True)
class Finished:
    """There is nothing left to do."""

    what: str


Step = Act | Wait | Finished


def enforceable(evidence: Evidence, outlook: Outlook) -> tuple[State | None, Book | None]:
    """Return the state that our side gets paid by if it acts in time and the peer shows nothing newer; its book."""
    if outlook.close:
        return outlook.close.state, EMPTY_BOOK
    if _newer(evidence, outlook):
        assert evidence.agreed is not None
        return evidence.agreed.state, evidence.agreed.book
    return outlook.registered, outlook.book


def last_resort_start(evidence: Evidence, deadline: int) -> int:
    """Return from when the registered state can be paid without its book (protocol §3, `last_resort`)."""
    terms = evidence.terms
    return max(terms.last_resort, deadline) + terms.challenge_period + 2 * terms.grace


def next_step(evidence: Evidence, outlook: Outlook, chain: ChainCalls) -> Step:
    """Return what follows from evidence and chain. Pure: the same two always give the same step."""
    terms, status, agreed = evidence.terms, outlook.status, evidence.agreed
    if outlook.phase is ChannelPhase.CLOSED:
        if outlook.claimable:
            return Act(chain.claim(terms.token, evidence.owner), "claim what a failed payment left behind")
        return Finished("the channel is closed and paid")
    if outlook.close:
        return Act(chain.close(terms, outlook.close), f"submit the agreed close, version {outlook.close.version}")
    if not status.pot and outlook.phase is ChannelPhase.OPEN:
        return Finished("the channel holds no money: there is nothing to enforce")
    if outlook.phase is ChannelPhase.SETTLING:
        return _settling_step(evidence, outlook, chain)
    if agreed and _newer(evidence, outlook):
        verb = "open the dispute" if outlook.phase is ChannelPhase.OPEN else "answer"
        return Act(chain.challenge(terms, agreed), f"{verb} with version {agreed.version}")
    if outlook.phase is ChannelPhase.DISPUTED:
        return Wait(status.deadline, "the dispute's deadline")
    if outlook.registered:
        call = chain.challenge_registered(terms, outlook.registered)
        return Act(call, f"open the dispute with version {status.version}, which the chain has already")
    return Act(chain.challenge_unsigned(terms), "open the dispute with nothing signed: each gets its deposits back")


def _newer(evidence: Evidence, outlook: Outlook) -> bool:
    """Whether we hold a state that the contract would still take in place of the registered one."""
    in_time = outlook.phase in (ChannelPhase.OPEN, ChannelPhase.DISPUTED)
    return in_time and evidence.agreed is not None and evidence.agreed.version > outlook.status.version


def _settling_step(evidence: Evidence, outlook: Outlook, chain: ChainCalls) -> Step:
    terms, state, book = evidence.terms, outlook.registered, outlook.book
    if book is None:
        start = last_resort_start(evidence, outlook.status.deadline)
        if outlook.now < start:
            return Wait(start, "the last resort, since this store lacks the book of the registered state")
        return Act(chain.last_resort(terms, state), "last resort: pay the cash, the legs count as nothing")
    if outlook.pinnable and state:
        underlying, expiry = outlook.pinnable[0]
        return Act(chain.pin(terms, state, book, underlying, expiry), f"fix the settlement price of {underlying}")
    if book.last_expiry > outlook.now:
        return Wait(book.last_expiry, "the last leg to expire")
    if outlook.missing:
        expiry = min(when for _, when in outlook.missing)
        steps = (expiry + terms.grace, expiry + 2 * terms.grace)
        return Wait(next((at for at in steps if at > outlook.now), outlook.now), "a settlement price")
    return Act(chain.settle(terms, state, book), "settle: both sides are paid")


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
        return outlook if closed else self._with_prices(outlook)

    def budget(self, outlook: Outlook, step: Step) -> Budget:
        """Return what is still to be sent at most. Prices are those of this moment."""
        gas = GAS_PER_CALL
        if isinstance(step, Act) and self._would_work(step.call):
            gas = max(gas, self.chain.estimate(step.call))
        calls = self._calls_left(outlook, step)
        return Budget(calls, gas, self.chain.gas_price(), self.chain.native_balance(self.chain.account))

    def next_step(self, outlook: Outlook) -> Step:
        """Return what follows from the evidence and this outlook."""
        return next_step(self.evidence, outlook, self.chain)

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
                    self.chain.simulate(step.call)
                    tell(outlook, self.chain.send(step.call))
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

    # Looking

    def _registered(self, status: OnChain) -> tuple[State | None, Book | None, bool]:
        """Return the registered state, its book if it is known, and whether the state is new to the store."""
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
        return shown, books.get(shown.book), True

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
            if outlook.phase is ChannelPhase.SETTLING:
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
        _, book = enforceable(self.evidence, outlook)
        prices = len({leg.key[:2] for leg in book.legs}) if book else 0
        opening = isinstance(step, Act) and outlook.phase is not ChannelPhase.SETTLING
        return int(opening) + prices + 1
