"""Two honest sides, a network that loses and repeats, processes that die anywhere, a chain that says what it likes.

What happens is here, what must hold then in `session_laws`.
"""

from __future__ import annotations

from hypothesis import seed, settings, strategies as st
from hypothesis.stateful import (
    precondition,
    rule,
    run_state_machine_as_test,
)

from channels.core import events as e, views
from channels.core.exposure import exposure
from channels.core.limits import NO_LIMITS
from channels.core.monitor import agreed_standings
from channels.core.phases import Phase
from channels.model import (
    Acknowledge,
    Agreed,
    Close,
    CloseOut,
    Intent,
    Leg,
    Mark,
    Party,
    Reopen,
    Trade,
    Withdraw,
    net,
)
from channels.session import Session
from channels.wire import messages as m
from tests.property.session_laws import LIMITS, SessionLaws
from tests.roles import DAY, ETH, EXPIRY, HOUR, LATER, UNIT
from tests.sansio import Joined, Side, fresh

ROUNDS = 2 * settings().max_examples
SIDES = st.sampled_from([0, 1])
ACCEPT = b"\x07"
"""The number of an Accept on the wire, behind four bytes of length and one of msgpack."""
CALL = b"\x0d"
"""That of a CollateralCall."""
LEGS = [
    Leg.call(ETH, EXPIRY, 2400, quantity=1),
    Leg.put(ETH, EXPIRY, 2200, quantity=1),
    Leg.call(ETH, LATER, 2500, quantity=1),
]


class TwoSides(SessionLaws):
    """Whatever may happen to them."""

    fuses = st.sampled_from([None, None, None, None, 0, 1, 2, 3])

    @rule(
        fuse=fuses,
        leg=st.sampled_from(LEGS),
        lots=st.sampled_from([-3, -1, 1, 2]),
        premium=st.integers(-20, 20),
    )
    def propose_a_trade(self, fuse: int | None, leg: Leg, lots: int, premium: int) -> None:
        if (side := self.holder()) is None:
            return
        legs = (leg.times(lots),)
        after = net(side.channel.tip[1].legs, legs)
        marks = self.world.view(after, self.world.now)
        trade = Trade(legs, premium * UNIT, marks) if after and marks else None
        if trade is not None and self.propose(side, fuse, trade):
            self.fired["trade"] += 1
            above = [out for out in side.channel.outstanding if out.version > side.channel.base_version]
            assert len(above) <= LIMITS.max_outstanding
            assert 0 <= exposure(side.channel).cost <= (side.seat.limits.max_exposure or 10**15)

    @rule(fuse=fuses)
    def propose_a_mark(self, fuse: int | None) -> None:
        if (side := self.holder()) is None:
            return
        legs = side.channel.tip[1].legs
        marks = self.world.view(legs, self.world.now) if legs else None
        if self.propose(side, fuse, Mark(marks) if marks else Mark()):
            self.fired["mark"] += 1

    @rule(fuse=fuses, count=st.integers(2, 6), seconds=st.sampled_from([0, 0, 1]))
    def propose_a_window(self, fuse: int | None, count: int, seconds: int) -> None:
        """Facts on facts, before any of them is answered; the window of this world is four."""
        if (side := self.holder()) is None:
            return
        for _ in range(count):
            before = side.channel.in_flight
            if not side.channel.my_turn:
                return
            self.world.now += seconds
            legs = side.channel.tip[1].legs
            marks = self.world.view(legs, self.world.now) if legs else None
            if not self.propose(side, fuse, Mark(marks) if marks else Mark()):
                return
            if before and side.channel.in_flight[: len(before)] == before:
                self.fired["window"] += 1

    @precondition(lambda self: self.holds_in(Phase.OPEN) and bool(self.holder().channel.book.legs))
    @rule(fuse=fuses, payer=st.sampled_from(Party), marked=st.booleans())
    def propose_a_close_out(self, fuse: int | None, payer: Party, marked: bool) -> None:
        if (side := self.holder()) is None:
            return
        legs = side.channel.book.legs
        marks = self.world.view(legs, self.world.now) if legs and marked else None
        if self.propose(side, fuse, *((Mark(marks),) if marks else ()), CloseOut(payer)):
            self.fired["close-out"] += 1

    def callers(self) -> list[Side]:
        return [side for side in self.world.sides if views.collateral_due(side.channel)]

    @precondition(lambda self: bool(self.callers()))
    @rule(fuse=fuses)
    def ask_for_collateral(self, fuse: int | None) -> None:
        for side in self.callers():
            if self.attempt(side, fuse, lambda side=side: self.world.act(side, e.CollateralWanted())):  # type: ignore[misc]
                assert views.collateral_due(side.channel) == 0
                self.fired["collateral asked"] += 1

    @rule(fuse=fuses, tokens=st.sampled_from([1, 50, 9_000]))
    def propose_a_withdrawal(self, fuse: int | None, tokens: int) -> None:
        if (side := self.holder()) is not None and self.propose(side, fuse, Withdraw(tokens * UNIT)):
            self.fired["withdraw"] += 1

    @rule(fuse=fuses)
    def propose_what_is_due(self, fuse: int | None) -> None:
        side = self.holder()
        due = views.housekeeping(side.channel) if side else ()
        if side is not None and due and self.propose(side, fuse, *due):
            self.fired["housekeeping"] += 1

    def holds_in(self, *phases: Phase) -> bool:
        side = self.holder()
        return side is not None and side.channel.phase in phases

    @precondition(lambda self: self.steps % 2 == 0 and self.holds_in(Phase.OPEN, Phase.PROPOSED))
    @rule(fuse=fuses, seconds=st.sampled_from([60, 1800]))
    def propose_a_close(self, fuse: int | None, seconds: int) -> None:
        self.world.settle()
        side = self.holder()
        if side is not None and self.propose(side, fuse, Close(0, self.world.now + seconds)):
            self.fired["close"] += 1

    @precondition(lambda self: self.holds_in(Phase.DISPUTED, Phase.SETTLING))
    @rule(fuse=fuses, seconds=st.sampled_from([60, 1800]))
    def propose_a_reopen(self, fuse: int | None, seconds: int) -> None:
        side = self.holder()
        if side is None:
            return
        reopen = Reopen(side.channel.chain.paid, self.world.now + seconds)
        if self.propose(side, fuse, reopen):
            self.fired["reopen"] += 1

    @precondition(lambda self: self.world.connected and not any(s.transit for s in self.world.sides))
    @rule(who=SIDES, fuse=fuses)
    def want_the_turn(self, who: int, fuse: int | None) -> None:
        side = self.world.sides[who]
        if side.channel.phase is Phase.CLOSED or side.channel.my_turn:
            return
        if self.attempt(side, fuse, lambda: self.world.act(side, e.TurnNeeded())):
            self.fired["turn wanted"] += 1

    @precondition(lambda self: any(s.channel.turn_needed for s in self.world.sides))
    @rule(who=SIDES, fuse=fuses)
    def spare_the_turn(self, who: int, fuse: int | None) -> None:
        side = self.world.sides[who]
        if side.channel.turn_needed:
            self.attempt(side, fuse, lambda: self.world.act(side, e.TurnSpared()))
            self.fired["turn spared"] += 1

    @precondition(lambda self: any(s.transit for s in self.world.sides))
    @rule(who=SIDES, fuse=fuses, frames=st.integers(1, 3))
    def deliver(self, who: int, fuse: int | None, frames: int) -> None:
        side = self.world.sides[who]
        if side.transit:
            self.attempt(side, fuse, lambda: self.world.deliver(side, frames))
            self.fired["delivered"] += 1

    @precondition(lambda self: any(s.transit for s in self.world.sides))
    @rule(who=SIDES, fuse=fuses, frames=st.integers(1, 3))
    def deliver_some_of_it(self, who: int, fuse: int | None, frames: int) -> None:
        """There may be more to read at once, so the answer waits; then anything else happens first."""
        side = self.world.sides[who]
        if side.transit:
            self.attempt(side, fuse, lambda: self.world.deliver(side, frames, more=True))
            self.fired["answer put off"] += bool(side.channel.unanswered)

    @precondition(lambda self: any(s.transit for s in self.world.sides))
    @rule()
    def deliver_all(self) -> None:
        self.world.settle()
        self.fired["settled"] += 1

    @precondition(lambda self: self.steps % 3 == 0 and any(s.transit for s in self.world.sides))
    @rule()
    def drop(self) -> None:
        self.world.drop()
        self.fired["dropped"] += 1

    @precondition(lambda self: not self.world.connected)
    @rule()
    def connect_and_settle(self) -> None:
        self.world.reconnect()

    @precondition(lambda self: not self.world.connected)
    @rule()
    def connect(self) -> None:
        self.world.connect()
        self.fired["connected"] += 1

    @precondition(lambda self: self.steps % 4 == 0)
    @rule(who=SIDES)
    def restart(self, who: int) -> None:
        self.world.restart(self.world.sides[who])
        self.fired["restarted"] += 1

    @precondition(lambda self: self.world.connected and self.steps % 3 == 0)
    @rule(data=st.data())
    def an_old_accept_comes_again(self, data: st.DataObject) -> None:
        accepts = [(side, frame) for side, frame in self.world.history if frame[5:6] == ACCEPT]
        if accepts:
            side, frame = data.draw(st.sampled_from(accepts))
            self.world.feed(side, frame)
            self.fired["old accept"] += 1

    def calls(self) -> list[tuple[Side, bytes]]:
        return [(side, frame) for side, frame in self.world.history if frame[5:6] == CALL]

    @precondition(lambda self: self.world.connected and bool(self.calls()))
    @rule(data=st.data())
    def an_old_call_comes_again(self, data: st.DataObject) -> None:
        side, frame = data.draw(st.sampled_from(self.calls()))
        self.world.feed(side, frame)
        self.fired["old call"] += 1

    @rule(percent=st.sampled_from([99, 100, 102, 112]))
    def the_market_moves(self, percent: int) -> None:
        """By more than a peer's mark may be off, if it is on the way."""
        self.world.spot = str(2300 * percent // 100)

    # What the chain says

    @rule(who=SIDES, amount=st.integers(1, 100))
    def deposit(self, who: int, amount: int) -> None:
        if not self.chain.closed:
            self.chain.deposit(Party(who), amount * UNIT)
            self.fired["deposit"] += 1

    @rule(seconds=st.sampled_from([12, 120, HOUR]))
    def time_passes(self, seconds: int) -> None:
        if self.chain.now + seconds < EXPIRY - DAY:
            self.chain.pass_time(seconds)
            self.world.now = self.chain.now

    def shown(self) -> list[Agreed]:
        """Every state with both signatures that either side holds."""
        found = [a for side in self.world.sides for a in (side.channel.agreed, side.channel.closing) if a]
        return [a for a in found if max(a.state.deposits) <= max(self.chain.deposits)]

    @precondition(lambda self: not self.chain.closed and self.steps % 5 == 0)
    @rule(data=st.data())
    def challenge(self, data: st.DataObject) -> None:
        """With an agreed state of either side, the newest or one the other side has left behind."""
        states = [a for a in self.shown() if a.version > self.chain.version and a.state.intent is Intent.OPERATE]
        if self.chain.disputed and self.chain.now >= self.chain.deadline:
            return
        if states:
            deadline = self.chain.deadline or self.chain.now + HOUR
            self.chain.register(data.draw(st.sampled_from(states)), deadline)
            self.fired["challenge"] += 1

    @precondition(lambda self: not self.chain.closed and any(s.channel.closing for s in self.world.sides))
    @rule()
    def mine_what_is_closing(self) -> None:
        for agreed in self.shown():
            state = agreed.state
            if agreed.version <= self.chain.version or self.chain.now > state.valid_until:
                continue
            if state.intent is Intent.CLOSE:
                self.chain.close(agreed)
                self.fired["closed"] += 1
                return
            if state.intent is Intent.REOPEN and self.chain.disputed:
                self.chain.register(agreed, 0)
                self.fired["reopened"] += 1
                return

    @precondition(lambda self: self.chain.disputed)
    @rule()
    def end_the_dispute(self) -> None:
        """Both hear of it, agree to go on, and have it mined; whose peer lacks margin hears that first, and calls."""
        self.hear_all()
        self.world.reconnect()
        side = self.holder()
        if side and side.channel.bar is None:
            if self.propose(side, None, Reopen(side.channel.chain.paid, self.world.now + 600)):
                self.fired["reopen"] += 1
            self.world.settle()
            self.mine_what_is_closing()
            for one in self.world.sides:
                if not agreed_standings(one.channel)[one.me.other].covers_initial:
                    self.call_ahead(one)

    def call_ahead(self, side: Side) -> None:
        """One side hears all the news and calls for what is due; the other has still to hear them."""
        for item in self.chain.news[side.heard :]:
            self._hear(side, item)
        side.heard = len(self.chain.news)
        if views.collateral_due(side.channel):
            self.world.act(side, e.CollateralWanted())
            self.world.settle()
            version, _ = self.world.other(side).channel.call_held
            self.fired["call held"] += version == side.channel.base_version

    @precondition(lambda self: any(s.heard < len(self.chain.news) for s in self.world.sides))
    @rule(who=SIDES, fuse=fuses, news=st.integers(1, 9))
    def hear(self, who: int, fuse: int | None, news: int) -> None:
        side = self.world.sides[who]
        for item in self.chain.news[side.heard : side.heard + news]:
            if not self.attempt(side, fuse, lambda item=item: self._hear(side, item)):  # type: ignore[misc]
                return
            side.heard += 1
            self.fired["heard"] += 1


class Underwater(TwoSides):
    """The same, and Alice is short twenty calls in a market that has run: she lacks margin from the start."""

    def __init__(self) -> None:
        super().__init__()
        world = self.world
        world.alice.seat.limits = NO_LIMITS
        world.propose(world.alice, world.trade((LEGS[0].times(-20),)))
        world.spot = str(2300 * 112 // 100)
        world.propose(world.alice, world.mark())


RULES = frozenset(
    {
        "killed", "trade", "mark", "withdraw", "housekeeping", "close", "reopen", "delivered", "settled", "dropped",
        "connected", "restarted", "deposit", "challenge", "closed", "reopened", "heard", "turn wanted", "turn spared",
        "old accept", "close-out", "collateral asked", "collateral told", "old call", "call held",
        "window", "accepted together",
        "answer put off", "killed behind another", "WindowFull", "sent again", "ExposureTooHigh",
        "ended open", "ended disputed", "ended settling", "ended closed",
    }
)  # fmt: skip
"""Each must have happened, or the laws were not put to the test."""


def test_two_honest_sides_agree_whatever_the_network_does() -> None:
    TwoSides.fired.clear()
    silent = RULES
    for number in range(6):
        for machine, rounds in ((TwoSides, ROUNDS), (Underwater, ROUNDS // 3)):
            run_state_machine_as_test(
                seed(number)(machine), settings=settings(stateful_step_count=60, max_examples=rounds)
            )  # type: ignore[no-untyped-call]
        silent = RULES - {name for name, times in TwoSides.fired.items() if times}
        if not silent:
            return
    raise AssertionError(f"never happened: {silent} (happened: {dict(TwoSides.fired)})")


def test_the_laws_notice_a_signature_that_leaves_before_it_is_durable() -> None:
    world = Joined()
    seat = world.alice.seat
    effects = seat.propose((Acknowledge((0, 0), (0, 0)),), fresh(), world.now)
    try:
        world.carry(world.alice, reversed(effects))
    except KeyError:
        return
    raise AssertionError("a proposal left before its record")


def test_accepts_and_calls_are_told_by_their_number() -> None:
    """The rules above that repeat an Accept or a CollateralCall find it by its byte on the wire."""
    assert Session.to_bytes(m.Accept(Joined().id, 1, bytes(65)))[5:6] == ACCEPT
    assert Session.to_bytes(m.CollateralCall(Joined().id, 1, 5))[5:6] == CALL
