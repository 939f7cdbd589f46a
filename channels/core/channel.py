"""The channel as one party knows it: a frozen value, whose durable part is the fold of its journal."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from typing import Any

from ..model import (
    EMPTY_BOOK,
    Agreed,
    Book,
    ChannelId,
    Claimed,
    Deployment,
    HalfSigned,
    Intent,
    Operation,
    Party,
    State,
    Terms,
)
from ..risk.engine import EXACT, MarginEngine
from ..risk.policy import MarginPolicy
from ..wire.messages import Recovery
from .facts import LiquidatedSeen, SettlementSeen
from .margin_calls import NO_CALL, MarginCall
from .phases import Phase
from .records import RecoveryGranted, TopUpDecided


@dataclass(frozen=True, slots=True)
class MarkPolicy:
    """How far a peer's marks may lie from the owner's own view of the market. WAD ratios, seconds.

    `spot` bounds spots, forward ratios and discounts relatively, `vol` volatilities absolutely, `seconds` the distance
    of the marks' time from now, both ways.
    """

    spot: int = 10**16
    vol: int = 5 * 10**16
    seconds: int = 30


@dataclass(frozen=True, slots=True)
class ChainView:
    """What the chain has confirmed about the channel. Amounts are cumulative token units per party."""

    deposits: tuple[int, int] = (0, 0)
    paid: tuple[int, int] = (0, 0)
    registered: State | None = None
    """The registered state; None before the first one and for the all-zero state of an unsigned challenge."""
    deadline: int = 0
    """When the dispute ends; 0 where none runs."""
    settlements: tuple[SettlementSeen, ...] = ()
    payouts: tuple[int, int] | None = None
    """What the close paid; None while the channel is not closed."""
    time: int = 0
    """Time of the latest confirmed block."""
    calls: tuple[MarginCall, MarginCall] = (NO_CALL, NO_CALL)
    """Each party's margin call."""
    margin_place: tuple[int, int] = (-1, -1)
    """Where the chain said the last thing about margin that was heard: block number, log index."""
    liquidated: LiquidatedSeen | None = None
    """How a close-out closed the channel; None where none did."""

    @property
    def version(self) -> int:
        """The registered version; 0 where nothing is registered."""
        return self.registered.version if self.registered else 0

    @property
    def pot(self) -> int:
        """Token units held for the channel."""
        return sum(self.deposits) - sum(self.paid)

    def settlement(self, underlying: str, expiry: int) -> int | None:
        """Return the settlement price of an expiry, WAD, or None while there is none."""
        for seen in self.settlements:
            if (seen.underlying, seen.expiry) == (underlying, expiry):
                return seen.price
        return None


@dataclass(frozen=True, slots=True)
class Outstanding:
    """A state that we half-signed and no higher agreed version has superseded."""

    half: HalfSigned
    operations: tuple[Operation, ...]
    base: int = 0
    """The version that the operations apply to: agreed, or that of the proposal before it; 0 where there is none."""

    @property
    def version(self) -> int:
        return self.half.state.version


@dataclass(frozen=True, slots=True)
class Judged:
    """A proposal of the peer's that we find right and have not signed: our one answer may cover others after it."""

    half: HalfSigned | Claimed
    operations: tuple[Operation, ...]

    @property
    def version(self) -> int:
        return self.half.version


@dataclass(frozen=True, slots=True)
class Signing:
    """A signature of ours that was asked for and is not there yet. `theirs`: the half-signed state it completes.

    `operations` then led to it from the agreed state, over every proposal of the peer's that it accepts.
    """

    state: State
    book: Book
    operations: tuple[Operation, ...]
    theirs: HalfSigned | None


@dataclass(frozen=True, slots=True)
class PeerSaid:
    """A Resume of the peer's: unsigned, so it proves nothing, but it is what the owner has to go by after a loss."""

    turn: int
    seen: int
    """The highest version that it says was signed or skipped by anybody."""
    agreed: int
    """The version of the agreed state that it showed."""
    recovery: Recovery | None
    """What it asks of our owner, and was not answered before."""


@dataclass(frozen=True)
class Channel:
    """One party's knowledge of one channel. `machine.step` makes the next one; nobody else does.

    Without slots, unlike every other value here: an update makes a dozen of them, and a dictionary is copied at once.
    """

    deployment: Deployment
    terms: Terms
    id: ChannelId
    me: Party
    policy: MarginPolicy
    mark_policy: MarkPolicy = field(default_factory=MarkPolicy)
    initiated: bool = False
    accepted: bool = False
    agreed: Agreed | None = None
    """The latest agreed state that operates (a REOPEN once it is registered)."""
    closing: Agreed | None = None
    """The latest agreed CLOSE or REOPEN above the agreed state, not registered; it may have expired."""
    outstanding: tuple[Outstanding, ...] = ()
    signed: int = 0
    """The highest version we ever signed."""
    seen: int = 0
    """The highest version the peer is known to have signed."""
    refused: int = 0
    """The highest version of the peer's that we refused since we started: it is never accepted after all."""
    turn: int = 0
    chain: ChainView = field(default_factory=ChainView)
    recalled: Book | None = None
    """The registered state's book, where it was found in the journal rather than among what is known."""
    frozen: int = 0
    """The version that proved our journal lost data; 0: it did not."""
    suspect: bytes = b""
    """The marker under which this journal was found to be perhaps an old copy; empty: it was not."""
    recovery: Recovery | None = None
    """What our owner asks of the peer's, after a loss of data, and has no answer to yet."""
    granted: RecoveryGranted | None = None
    """The last recovery of the peer's that our owner agreed to."""
    leap: int = 0
    """The first version that may be signed after the last recovery of either side; 0: there was none."""
    markers: tuple[bytes, ...] = ()
    """Of all recoveries, ours and the peer's: each is used once."""
    top_up: TopUpDecided | None = None
    """The last deposit that this node decided on by itself, mined or not."""
    topped_up: int = 0
    """Token units of all of these."""
    in_flight: tuple[int, ...] = ()
    """The versions of our proposals that wait for an answer, rising: each applies to the one before it."""
    unanswered: tuple[Judged, ...] = ()
    """The peer's proposals that we judged right and answer next, each on the one before it."""
    signing: Signing | None = None
    peer_said: PeerSaid | None = None
    """What the peer said of itself on this connection; None before its Resume."""
    is_resumed: bool = True
    """Whether we know what the peer knows, on this connection: its Resume decides what has to be sent again."""
    unresponsive: int = 0
    """Our version that the peer has left without an answer for too long; 0: none, or it has spoken since."""
    turn_wanted: bool = False
    """The peer asked for the turn."""
    turn_used: int = 0
    """How many proposals we made since the peer asked for this turn."""
    idle_turns: int = 0
    """How often the turn has moved on this connection since something was agreed."""
    turn_needed: bool = False
    """Our owner asked for the turn and has not used it yet."""
    called: int = 0
    """The agreed version at which we called the peer for collateral on this connection."""
    call_judged: int = 0
    """The agreed version at which a collateral call of the peer's was judged: further ones there are not."""
    call_held: tuple[int, int] = (0, 0)
    """Version and amount of the first collateral call of the peer's at an agreed REOPEN that we have not heard to be
    registered: it is judged when we do. Version 0: none was held yet."""
    recorded: int = field(default=0, compare=False)
    """How many records the journal holds since the channel opened or its last checkpoint."""
    margin_engine: MarginEngine = field(default=EXACT, compare=False, repr=False)
    """Who computes the margin; all of them give the same integers."""

    @property
    def phase(self) -> Phase:
        """Where the channel stands, by what the chain said first and by what is in flight second."""
        if self.chain.payouts is not None:
            return Phase.CLOSED
        if self.chain.deadline:
            return Phase.DISPUTED if self.chain.time < self.chain.deadline else Phase.SETTLING
        if not self.accepted:
            return Phase.OPENING
        return Phase.PROPOSED if self.in_flight else Phase.OPEN

    @property
    def is_free(self) -> bool:
        """Whether the peer asked for the channel and nothing has happened in it: it has cost the peer nothing yet."""
        chain = self.chain
        return not (self.initiated or self.version or any(chain.deposits) or chain.deadline or chain.payouts)

    @property
    def is_frozen(self) -> bool:
        """Whether our journal lost data, or may have: nothing is signed."""
        return bool(self.frozen or self.suspect)

    @property
    def has_lost(self) -> bool:
        """Whether a state that one side has forgotten may still be shown: until one above the loss is agreed."""
        return self.is_frozen or self.leap > self.agreed_version

    @property
    def my_turn(self) -> bool:
        """Whether we may propose."""
        return self.turn % 2 == self.me

    @property
    def version(self) -> int:
        """The highest version both sides agreed; 0 where there is none."""
        agreed, closing = self.agreed, self.closing
        version = agreed.state.version if agreed else 0
        return max(version, closing.state.version) if closing else version

    @property
    def base(self) -> tuple[State | None, Book]:
        """The state and book that the next operations apply to: the newest that operates, agreed or registered."""
        registered = self.chain.registered
        newest = (self.agreed.state, self.agreed.book) if self.agreed else (None, EMPTY_BOOK)
        if registered and registered.intent is not Intent.CLOSE and registered.version > self.agreed_version:
            for state, book in self.known():
                if state == registered:
                    return state, book
        return newest

    @property
    def agreed_version(self) -> int:
        """The version of the agreed state that operates; 0 where there is none."""
        return self.agreed.state.version if self.agreed else 0

    @property
    def base_version(self) -> int:
        """The version that the next operations apply to; 0 where nothing is agreed."""
        state, _ = self.base
        return state.version if state else 0

    @property
    def tip(self) -> tuple[State | None, Book]:
        """The state and book that the next proposal applies to: the newest in flight, or those agreed.

        Only the turn's holder proposes and only the other side answers, so it is the same chain seen from both ends.
        """
        if self.unanswered:
            newest = self.unanswered[-1].half
            return newest.state, newest.book
        if self.in_flight:
            last = self.in_flight[-1]
            for out in reversed(self.outstanding):
                if out.half.state.version == last:
                    return out.half.state, out.half.book
        return self.base

    @property
    def tip_version(self) -> int:
        """The version of `tip`; 0 where there is none."""
        if self.unanswered:
            return self.unanswered[-1].version
        state, _ = self.tip
        return state.version if state else 0

    @property
    def halves(self) -> dict[int, Outstanding]:
        """What is outstanding, by version."""
        return {out.half.state.version: out for out in self.outstanding}

    def half(self, version: int) -> Outstanding | None:
        """Return what is outstanding at a version."""
        return next((out for out in self.outstanding if out.half.state.version == version), None)

    def chain_to(self, version: int) -> tuple[Outstanding, ...]:
        """Return our outstanding proposals that lead to `version`, oldest first: each applies to the one before it."""
        halves, found, floor = self.halves, list[Outstanding](), self.agreed_version
        while version > floor and version in halves:
            found.append(halves[version])
            version = halves[version].base
        return tuple(reversed(found))

    @property
    def book(self) -> Book:
        """The positions both sides agreed."""
        return self.base[1]

    def known(self) -> Iterator[tuple[State, Book]]:
        """Yield every state whose book we hold and that the adjudicator may still show us."""
        for agreed in (self.agreed, self.closing):
            if agreed:
                yield agreed.state, agreed.book
        for out in self.outstanding:
            yield out.half.state, out.half.book
        registered = self.chain.registered
        for book in (EMPTY_BOOK, self.recalled):
            if registered and book and registered.book == book.hash:
                yield registered, book

    @property
    def bar(self) -> State | None:
        """The CLOSE or REOPEN that we signed and that may still be mined: nothing may be signed above it."""
        operate = Intent.OPERATE
        candidates = [state for out in self.outstanding if (state := out.half.state).intent is not operate]
        candidates += [self.closing.state] if self.closing else []
        if not candidates:
            return None
        standing = [s for s in candidates if s.version > self.chain.version and self.chain.time <= s.valid_until]
        return max(standing, key=lambda s: s.version, default=None)

    def withdrawal_at_risk(self, state: State | None) -> int:
        """What a half-signed withdrawal of ours may take from our collateral beyond what `state` authorises.

        Token units. It counts as gone until a version above it is registered: the peer may complete and register it any
        time. Withdrawals are cumulative totals, so of several the largest counts, and one that `state` covers does not.
        """
        counted = state.withdrawals[self.me] if state else 0
        risky = [out.half.state.withdrawals[self.me] for out in self.outstanding if out.version > self.chain.version]
        return max([counted, *risky]) - counted


_FIELDS = len(fields(Channel))
_set_fields = Channel.__dict__["__dict__"].__set__
"""What gives a channel all of its fields at once: it is frozen to everybody else."""


def changed(channel: Channel, **changes: Any) -> Channel:
    """Return the channel with other values in the fields named: `dataclasses.replace`, at a fraction of its cost.

    A channel has no birth checks to repeat, and an update makes a dozen of them. Raises TypeError for another name.
    """
    held = channel.__dict__ | changes
    if len(held) != _FIELDS:
        raise TypeError(f"a channel has none of {sorted(changes.keys() - channel.__dict__.keys())}")
    made = object.__new__(Channel)
    _set_fields(made, held)
    return made
