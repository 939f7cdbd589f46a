"""What a channel's store proves, what the chain says of it, and the one step that follows from the two. Pure.

Nothing is remembered between steps or between runs, which is why an interrupted dispute is resumed by looking again.
Neither a peer nor a margin policy is needed: a policy judges proposals, and a dispute makes none.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ..chain.port import Call, ChainCalls, ChannelPhase, OnChain
from ..core.facts import ClosedSeen, RegisteredSeen
from ..core.records import ChainSaid, Checkpoint, Opened, Signed, StateAgreed
from ..errors import StoreCorrupt
from ..model import EMPTY_BOOK, ZERO32, Address, Agreed, Book, ChannelId, Deployment, Intent, Party, State, Terms
from ..seal import state_struct_hash
from ..store import Store
from .dispute_calls import PendingCall

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
    floor: int = 0
    """The highest version signed before the last checkpoint: a state up to it may have left the journal by rights."""

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
        payouts, signed, floor = None, 0, 0
        for record in records:
            match record:
                case StateAgreed(made, _):
                    _take(agreed, made, made.state.intent)
                    states[state_struct_hash(made.state)] = made.state
                    books[made.state.book] = made.book
                case Checkpoint():
                    if record.agreed is not None:
                        # A REOPEN that is registered operates; those before it are not in the journal any more.
                        _take(agreed, record.agreed, Intent.OPERATE)
                    if record.closing is not None:
                        _take(agreed, record.closing, record.closing.state.intent)
                    states |= {state_struct_hash(state): state for state, _ in record.states}
                    if record.chain.registered is not None:
                        states[state_struct_hash(record.chain.registered)] = record.chain.registered
                    books |= {book.hash: book for book in record.books}
                    payouts, signed = record.chain.payouts or payouts, max(signed, record.signed)
                    floor = record.floor
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
            floor,
        )

    @property
    def owner(self) -> Address:
        """Who is paid for our side."""
        return self.terms.owners[self.me]


def _take(agreed: dict[Intent, Agreed], made: Agreed, intent: Intent) -> None:
    """Keep the newest agreed state of each intent."""
    held = agreed.get(intent)
    if held is None or made.version > held.version:
        agreed[intent] = made


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
    """Whether the registered state is one that this store never held: the store is an old copy."""
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
    calls: tuple[PendingCall, ...] = ()
    """Margin calls that are armed on the registered version."""

    def call_on(self, party: Party) -> PendingCall | None:
        """Return a party's margin call, None where none stands any more."""
        return next((call for call in self.calls if call.party is party and call.stands), None)

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


@dataclass(frozen=True, slots=True)
class Orders:
    """What the owner allows beyond enforcing the agreed state.

    `liquidate`: close the peer out in the window of a margin call it missed. `top_up`: token units that may be
    deposited to cure a margin call against us.
    """

    liquidate: bool = False
    top_up: int = 0


NO_ORDERS = Orders()


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


def next_step(evidence: Evidence, outlook: Outlook, chain: ChainCalls, orders: Orders = NO_ORDERS) -> Step:
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
    if (margin_step := _margin_step(evidence, outlook, chain, orders)) is not None:
        return margin_step
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


def _margin_step(evidence: Evidence, outlook: Outlook, chain: ChainCalls, orders: Orders) -> Step | None:
    """Return what a margin call asks for before anything else; None where it asks for nothing, or is answered anyway.

    A newer state disarms every call, so it goes first wherever it is shown anyway.
    """
    terms, state, book, me = evidence.terms, outlook.registered, outlook.book, evidence.me
    if state is None or book is None:
        return None
    newer = _newer(evidence, outlook)
    ours, theirs = outlook.call_on(me), outlook.call_on(me.other)
    if ours and not newer:
        if ours.lacking == 0:
            return Act(chain.cure(terms, state, book, me), "cure the margin call against you: you hold initial margin")
        if ours.lacking is not None and ours.lacking <= orders.top_up:
            amount = min(ours.top_up, orders.top_up)
            return Act(chain.deposit(terms, me, amount), "top up, to cure the margin call against you")
    if not (theirs and theirs.times and orders.liquidate) or (newer and outlook.phase is ChannelPhase.DISPUTED):
        return None
    if not theirs.times.is_executable:
        return Wait(theirs.deadline, "the cure deadline of the peer's margin call")
    if not theirs.is_executable:
        return None
    if outlook.pinnable:
        return _pin(evidence, outlook, chain)
    if outlook.missing:
        return Wait(theirs.times.until, "a settlement price, without which nobody is closed out")
    what = "liquidate: close the peer out at the mark, with the close-out charge"
    return Act(chain.liquidate(terms, state, book, me.other, theirs.witness), what)


def _pin(evidence: Evidence, outlook: Outlook, chain: ChainCalls) -> Act:
    assert outlook.registered is not None
    assert outlook.book is not None
    underlying, expiry = outlook.pinnable[0]
    call = chain.pin(evidence.terms, outlook.registered, outlook.book, underlying, expiry)
    return Act(call, f"fix the settlement price of {underlying}")


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
        return _pin(evidence, outlook, chain)
    if book.last_expiry > outlook.now:
        return Wait(book.last_expiry, "the last leg to expire")
    if outlook.missing:
        expiry = min(when for _, when in outlook.missing)
        steps = (expiry + terms.grace, expiry + 2 * terms.grace)
        return Wait(next((at for at in steps if at > outlook.now), outlook.now), "a settlement price")
    return Act(chain.settle(terms, state, book), "settle: both sides are paid")
