"""Two seats joined by hand: no socket, no disk, no clock; every byte in transit and every crash is the test's choice.

    world = Joined()              Alice and Bob, connected, with a channel open between them
    world.fund(10_000, 10_000)    both deposits confirmed and agreed
    world.propose(world.alice, world.trade(condor(), premium=5))
    world.settle()                deliver whatever is in transit until nothing is

A side journals into a MemoryStore and can be killed before any effect (`side.fuse`) and restarted from what it wrote.
"""

from __future__ import annotations

import os
from collections import Counter, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from itertools import count
from typing import Any

from channels.core import events as e, facts as f, records as r
from channels.core.channel import Channel, MarkPolicy
from channels.core.commands import Effect, Persist, Send
from channels.core.limits import NO_LIMITS, Limits
from channels.core.machine import open_channel, replay
from channels.core.notices import Notice
from channels.model import (
    Acknowledge,
    Agreed,
    HalfSigned,
    Leg,
    Mark,
    Marks,
    Operation,
    Party,
    SettleExpiry,
    Terms,
    Trade,
    keccak,
    net,
)
from channels.risk import DEFAULT_POLICY
from channels.session import Deal, Hangup, Reply, Role as End, Routed, Seat, Session, any_deal
from channels.store import MemoryStore
from channels.wire import messages as m
from tests.roles import DEPLOYMENT, NOW, PARTIES, TERMS, UNIT, Role

MARK_POLICY = MarkPolicy()
_SALTS = count()


def fresh() -> bytes:
    """Thirty-two bytes that no other call returns."""
    return keccak(b"salt" + next(_SALTS).to_bytes(8, "big"))


class Killed(Exception):
    """The side's process ended: what it had not carried out by now never happens."""


@dataclass
class Side:
    """One party: its seat, its journal, its end of the connection, and what is on the way to it."""

    role: Role
    me: Party
    market: Callable[[tuple[Leg, ...], int], Marks | None]
    deal: Deal = field(default=any_deal, kw_only=True)
    store: MemoryStore = field(default_factory=MemoryStore)
    seats: dict[Any, Seat] = field(default_factory=dict)
    session: Session | None = None
    transit: deque[bytes] = field(default_factory=deque)
    notices: list[Notice] = field(default_factory=list)
    hangups: list[Hangup] = field(default_factory=list)
    signed: dict[int, HalfSigned] = field(default_factory=dict)
    """By version, everything this side ever journalled as signed."""
    proposed: dict[int, bytes] = field(default_factory=dict)
    """By version, the bytes of every proposal it ever sent."""
    again: int = 0
    """How many of them it sent again."""
    held: int = 0
    """The highest version it ever journalled with both signatures."""
    heard: int = 0
    """How many of the chain's facts this side has heard."""
    fuse: int | None = None
    """How many effects are still carried out before the side is killed; None: all."""

    @property
    def seat(self) -> Seat:
        return next(iter(self.seats.values()))

    @property
    def channel(self) -> Channel:
        return self.seat.channel


class Joined:
    """Alice (party 0) and Bob (party 1)."""

    def __init__(
        self, terms: Terms = TERMS, *, opened: bool = True, window: int = m.WINDOW, limits: Limits = NO_LIMITS
    ) -> None:
        self.terms, self.now, self.spot, self.vol = terms, NOW, "2300", "0.6"
        self.limits = limits
        self.windows = dict.fromkeys(Party, window)
        """How many proposals each side lets be in flight, from its next connection on."""
        self.id = terms.channel_id(DEPLOYMENT)
        self.history: list[tuple[Side, bytes]] = []
        """Every frame that ever arrived, and where."""
        self.alice, self.bob = (Side(role, party, self.view) for role, party in zip(PARTIES, Party, strict=True))
        if opened:
            self.connect()
            self.open(self.alice)
            self.settle()

    def view(self, legs: tuple[Leg, ...], now: int) -> Marks | None:
        """The market that both sides see."""
        return Marks.at(now, spots={leg.underlying: self.spot for leg in legs}, vols=dict.fromkeys(legs, self.vol))

    @property
    def sides(self) -> tuple[Side, Side]:
        return self.alice, self.bob

    def other(self, side: Side) -> Side:
        return self.sides[1 - side.me]

    @property
    def holder(self) -> Side:
        """Who may propose, as that side sees it itself."""
        return next(side for side in self.sides if side.channel.my_turn)

    # The connection

    def connect(self, expect: bool = True) -> None:
        """Shake hands on a new connection; what follows from it is left in transit."""
        self.drop()
        for side, end in zip(self.sides, End, strict=True):
            peer = self.other(side).role.address if expect else None
            side.session = Session(
                side.role.signer,
                end,
                fresh(),
                side.seats,
                opener=self.opener(side),
                expected=peer,
                window=self.windows[side.me],
            )
        for side in self.sides:
            assert side.session is not None
            self.other(side).transit.append(side.session.start())
        for _ in range(2):
            for side in self.sides:
                self.deliver(side)

    def opener(self, side: Side) -> Callable[..., tuple[Seat, list[Effect]]]:
        def accept(deployment: Any, terms: Terms) -> tuple[Seat, list[Effect]]:
            made = open_channel(deployment, terms, side.me, DEFAULT_POLICY, MARK_POLICY, initiated=False)
            return Seat(made.channel, side.role.signer, side.market, side.deal, self.limits), list(made.commands)  # type: ignore[arg-type]

        return accept

    def open(self, side: Side) -> None:
        made = open_channel(DEPLOYMENT, self.terms, side.me, DEFAULT_POLICY, MARK_POLICY, initiated=True)
        side.seats[self.id] = Seat(made.channel, side.role.signer, side.market, side.deal, self.limits)
        self.carry(side, made.commands)

    @property
    def connected(self) -> bool:
        return all(side.session is not None for side in self.sides)

    def drop(self) -> None:
        """The connection breaks; whatever was on the way is lost, and what was judged is answered into the journal."""
        ended = [(side, side.session) for side in self.sides]
        for side in self.sides:
            side.session = None
            side.transit.clear()
        for side, session in ended:
            outputs = session.receive_data(b"", self.now) if session else []
            self.carry(side, [output.effect for output in outputs if isinstance(output, Routed)])

    def deliver(self, side: Side, frames: int = 1, *, more: bool = False) -> list[Any]:
        """Let the next frames arrive, in one piece; `more` may be there to read at once."""
        arrived = [side.transit.popleft() for _ in range(min(frames, len(side.transit)))]
        self.history += [(side, frame) for frame in arrived]
        data = b"".join(arrived)
        return self.feed(side, data, more=more)

    def feed(self, side: Side, data: bytes, *, more: bool = False) -> list[Any]:
        """Let these bytes arrive at a side and carry out what follows."""
        if side.session is None or not data:
            return []
        outputs = side.session.receive_data(data, self.now, more=more)
        for output in outputs:
            if isinstance(output, Routed):
                self.carry(side, (output.effect,))
            elif isinstance(output, Reply):
                self.other(side).transit.append(output.data)
            elif isinstance(output, Hangup):
                side.hangups.append(output)
                self.drop()
        return outputs

    def say(self, to: Side, message: m.Message) -> list[Any]:
        """Let the peer of `to` say this, whatever its own seat thinks."""
        return self.feed(to, Session.to_bytes(message))

    def settle(self, limit: int = 1_000) -> None:
        """Deliver everything in transit, and what follows, until it is quiet."""
        for _ in range(limit):
            if not any(side.transit for side in self.sides):
                return
            for side in self.sides:
                if side.transit:
                    self.deliver(side)
        raise AssertionError("two honest sides never come to rest")

    # The effects

    def carry(self, side: Side, effects: Iterable[Any]) -> None:
        """Carry out effects in order, as a driver would; with a lit fuse the side dies on the way."""
        for effect in effects:
            if side.fuse is not None:
                if not side.fuse:
                    side.fuse = None
                    self.restart(side)
                    raise Killed
                side.fuse -= 1
            if isinstance(effect, Persist):
                side.store.append(self.id, [effect.record])
                self._note(side, effect.record)
            elif isinstance(effect, Send):
                self._check_signatures(side, effect.message)
                if self.connected:
                    self.other(side).transit.append(Session.to_bytes(effect.message))
            else:
                side.notices.append(effect.notice)

    def _note(self, side: Side, record: r.Record) -> None:
        if isinstance(record, r.Signed):
            half = record.half
            known = side.signed.setdefault(half.state.version, half)
            assert known.state == half.state, f"version {half.state.version} is signed twice"
        elif isinstance(record, r.StateAgreed):
            side.held = max(side.held, record.agreed.version)

    def _check_signatures(self, side: Side, message: m.Message) -> None:
        """Whatever leaves was journalled before, under this version and no other state."""
        if isinstance(message, m.Propose | m.Accept):
            assert side.signed[message.version].signature == message.signature, "said before it was durable"
            if isinstance(message, m.Propose):
                data = Session.to_bytes(message)
                side.again += message.version in side.proposed
                assert side.proposed.setdefault(message.version, data) == data, "sent again in other bytes"
        elif isinstance(message, m.Resume) and message.agreed is not None:
            shown = message.agreed
            assert side.signed[shown.version].state == shown.state
            assert shown.signatures[side.me] == side.signed[shown.version].signature

    def act(self, side: Side, event: e.Event) -> None:
        """Step a side as its node would: what it has judged is answered first."""
        self.carry(side, side.seat.answer())
        self.carry(side, side.seat.act(event))

    def restart(self, side: Side) -> None:
        """The side's process ends and starts again from its journal; the connection is gone."""
        side.session = None
        self.drop()
        side.fuse = None
        records = side.store.records(self.id)
        side.seats.clear()
        if records:
            channel = replay(records, DEFAULT_POLICY, MARK_POLICY)
            side.seats[self.id] = Seat(channel, side.role.signer, side.market, side.deal, self.limits)
            side.heard = 0

    def reconnect(self) -> None:
        """A new connection, and everything healed."""
        self.connect()
        self.settle()

    # The chain

    def confirm(self, *facts: f.ChainFact, to: Iterable[Side] | None = None) -> None:
        """Both sides (or those named) hear of these facts."""
        for side in self.sides if to is None else to:
            for fact in facts:
                self.act(side, e.CHAIN_EVENTS[type(fact)](fact))

    def block(self, time: int) -> None:
        """Both sides hear of a block at this time, and their clocks show it."""
        self.now = max(self.now, time)
        for side in self.sides:
            self.act(side, e.BlockConfirmed(time))

    # Operations

    def propose(self, side: Side, *operations: Operation, deliver: bool = True) -> None:
        """Have a side propose, passing the turn to it first where needed."""
        if not side.channel.my_turn:
            self.turn_to(side)
        self.carry(side, side.seat.propose(operations, fresh(), self.now))
        if deliver:
            self.settle()

    def turn_to(self, side: Side) -> None:
        """Let the turn move to a side."""
        if not side.channel.my_turn:
            self.act(side, e.TurnNeeded())
            self.settle()
            self.act(side, e.TurnSpared())
        assert side.channel.my_turn

    def fund(self, alice: int, bob: int) -> None:
        """Deposits in whole tokens, confirmed and agreed."""
        totals = (alice * UNIT, bob * UNIT)
        self.confirm(*(f.DepositSeen(party, total) for party, total in zip(Party, totals, strict=True) if total))
        self.propose(self.alice, Acknowledge(totals, (0, 0)))

    def trade(self, legs: Iterable[Leg], premium: int = 0, **changes: Any) -> Trade:
        """A trade in Alice's view at the market's marks; `premium` in whole tokens, positive = she pays."""
        added = tuple(sorted(legs, key=lambda leg: leg.key))
        after = net(self.alice.channel.book.legs, added)
        marks = self.view(after, self.now)
        assert marks is not None
        return replace(Trade(added, premium * UNIT, marks), **changes)

    def mark(self) -> Mark:
        """The market's marks for the present book."""
        legs = self.alice.channel.book.legs
        marks = self.view(legs, self.now)
        return Mark(marks) if legs and marks else Mark()

    def settle_expiry(self, underlying: str, expiry: int, price: int) -> None:
        """An expiry settles on the chain, and then between the two."""
        self.confirm(f.SettlementSeen(underlying, expiry, price))
        self.propose(self.holder, SettleExpiry(underlying, expiry, price))

    @property
    def agreed(self) -> Agreed:
        """What both agree on."""
        one, other = self.alice.channel.agreed, self.bob.channel.agreed
        assert one is not None
        assert one == other
        return one


def durable(channel: Channel) -> tuple[Any, ...]:
    """What a journal must bring back: all but clocks and what waits for an answer."""
    return (
        channel.agreed,
        channel.closing,
        channel.outstanding,
        channel.signed,
        channel.turn,
        channel.accepted,
        channel.frozen,
        channel.suspect,
        channel.recovery,
        channel.granted,
        channel.leap,
        channel.markers,
        channel.in_flight,
        replace(channel.chain, time=0),
    )


def replayed(side: Side) -> Channel:
    """The channel that the side's journal describes."""
    return replay(side.store.records(side.channel.id), DEFAULT_POLICY, MARK_POLICY)


def kinds(notices: Iterable[Notice]) -> Counter[str]:
    """How often each kind of notice was given."""
    return Counter(type(notice).__name__ for notice in notices)


def nights(name: str, day: int) -> int:
    """How many rounds a campaign has: the environment variable's number, or `day`."""
    return int(os.environ.get(name, day))
