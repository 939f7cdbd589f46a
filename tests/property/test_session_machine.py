"""Two honest sides, a network that loses and repeats, processes that die anywhere, a chain that says what it likes.

After every step: no version has two states signed by one party, nothing leaves before it is durable, nobody hangs up or
finds that it lost data, and what both signed is never lost. At the end, after one reconnect: both hold the same state
and the same turn, and each journal, replayed, is the running channel.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any, ClassVar

from hypothesis import seed, settings, strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from channels.core import events as e, facts as f, views
from channels.core.exposure import exposure
from channels.core.limits import NO_LIMITS, Limits
from channels.core.monitor import agreed_margins
from channels.core.notices import (
    BelowMaintenance,
    CollateralCalled,
    CollateralCallRefused,
    MarginRestored,
    PeerRefused,
    Updated,
)
from channels.core.phases import Phase
from channels.errors import BaseRefused, RuleViolation
from channels.model import (
    Acknowledge,
    Agreed,
    Close,
    CloseOut,
    Intent,
    Leg,
    Mark,
    Operation,
    Party,
    Reopen,
    Trade,
    Withdraw,
    net,
)
from channels.risk import margin
from channels.session import Session
from channels.wire import messages as m
from channels.wire.codec import decode
from tests.roles import DAY, ETH, EXPIRY, HOUR, LATER, UNIT
from tests.sansio import Joined, Killed, Side, durable, fresh, replayed

ROUNDS = 2 * settings().max_examples
SIDES = st.sampled_from([0, 1])
ACCEPT = b"\x07"
"""The number of an Accept on the wire, behind four bytes of length and one of msgpack."""
CALL = b"\x0d"
"""That of a CollateralCall."""
WINDOW = 4
LIMITS = Limits(max_exposure=900 * UNIT, max_outstanding=16)
LEGS = [
    Leg.call(ETH, EXPIRY, 2400, quantity=1),
    Leg.put(ETH, EXPIRY, 2200, quantity=1),
    Leg.call(ETH, LATER, 2500, quantity=1),
]


class Chain:
    """What the adjudicator would say, in order; each side hears it at its own pace."""

    def __init__(self, now: int) -> None:
        self.now = now
        self.news: list[f.ChainFact | int] = [now]
        self.deposits, self.paid = [0, 0], [0, 0]
        self.registered: Agreed | None = None
        self.deadline = 0
        self.closed = False

    @property
    def version(self) -> int:
        return self.registered.version if self.registered else 0

    @property
    def disputed(self) -> bool:
        return bool(self.deadline) and not self.closed

    def pass_time(self, seconds: int) -> None:
        self.now += seconds
        self.news.append(self.now)

    def deposit(self, party: Party, amount: int) -> None:
        self.deposits[party] += amount
        self.news.append(f.DepositSeen(party, self.deposits[party]))

    def register(self, agreed: Agreed | None, deadline: int) -> None:
        self.registered, self.deadline = agreed, deadline
        self.news.append(f.RegisteredSeen(agreed.state if agreed else None, deadline))
        for party in Party:
            if agreed and agreed.state.withdrawals[party] > self.paid[party]:
                self.paid[party] = agreed.state.withdrawals[party]
                self.news.append(f.PaymentSeen(party, self.paid[party]))

    def close(self, agreed: Agreed) -> None:
        self.closed = True
        balances = agreed.state.balances
        self.news.append(f.ClosedSeen((max(0, balances[0]), max(0, balances[1]))))


class TwoSides(RuleBasedStateMachine):
    """Alice and Bob with ten thousand tokens each, agreed."""

    fired: ClassVar[Counter[str]] = Counter()

    def __init__(self) -> None:
        super().__init__()
        self.world = Joined(window=WINDOW, limits=LIMITS)
        self.chain = Chain(self.world.now)
        self.steps = 0
        for party in Party:
            self.chain.deposit(party, 10_000 * UNIT)
        self.hear_all()
        self.world.propose(self.world.alice, Acknowledge((10_000 * UNIT,) * 2, (0, 0)))

    # What happens

    def attempt(self, side: Side, fuse: int | None, do: Callable[[], Any]) -> bool:
        """Do something; the side may die on the way, and rules may refuse it: then nothing has happened."""
        side.fuse = fuse
        before = durable(side.channel)
        try:
            do()
        except Killed:
            self.fired["killed"] += 1
            return False
        except RuleViolation as refused:
            self.fired[type(refused).__name__] += 1
            assert durable(side.channel) == before
            return False
        finally:
            side.fuse = None
        return True

    def propose(self, side: Side, fuse: int | None, *operations: Operation) -> bool:
        def do() -> None:
            self.world.carry(side, side.seat.propose(operations, fresh(), self.world.now))

        return self.attempt(side, fuse, do)

    def holder(self) -> Side | None:
        return next((side for side in self.world.sides if side.channel.my_turn), None)

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
        """Both hear of it, agree to go on, and have it mined."""
        self.hear_all()
        self.world.reconnect()
        side = self.holder()
        if side and side.channel.bar is None:
            if self.propose(side, None, Reopen(side.channel.chain.paid, self.world.now + 600)):
                self.fired["reopen"] += 1
            self.world.settle()
            self.mine_what_is_closing()

    @precondition(lambda self: any(s.heard < len(self.chain.news) for s in self.world.sides))
    @rule(who=SIDES, fuse=fuses, news=st.integers(1, 9))
    def hear(self, who: int, fuse: int | None, news: int) -> None:
        side = self.world.sides[who]
        for item in self.chain.news[side.heard : side.heard + news]:
            if not self.attempt(side, fuse, lambda item=item: self._hear(side, item)):  # type: ignore[misc]
                return
            side.heard += 1
            self.fired["heard"] += 1

    def _hear(self, side: Side, item: f.ChainFact | int) -> None:
        event = e.BlockConfirmed(item) if isinstance(item, int) else e.CHAIN_EVENTS[type(item)](item)
        self.world.act(side, event)

    def hear_all(self) -> None:
        for side in self.world.sides:
            for item in self.chain.news[side.heard :]:
                self._hear(side, item)
            side.heard = len(self.chain.news)

    # What must hold

    @invariant()
    def laws(self) -> None:
        self.steps += 1
        for side in self.world.sides:
            channel = side.channel
            assert not side.hangups, f"an honest peer was hung up on: {side.hangups[0].error}"
            assert not channel.frozen
            told = [n for n in side.notices if isinstance(n, BelowMaintenance | MarginRestored)]
            if told and told[-1].version == channel.base_version:
                below = agreed_margins(channel)[told[-1].party].is_breach
                assert below is isinstance(told[-1], BelowMaintenance), "a notice says what the agreed state does not"
            assert not any(isinstance(n, CollateralCallRefused) for n in side.notices), "an honest call is refused"
            calls = [n.version for n in side.notices if isinstance(n, CollateralCalled) and n.party is channel.me]
            assert calls == sorted(calls)
            assert channel.version >= side.held, "what both signed is lost"
            assert channel.signed == max(side.signed, default=0)
            assert len(channel.in_flight) <= m.WINDOW, "the window of one who is not connected"
            assert not channel.unanswered, "a proposal that nobody will answer"
            halves, lowest = channel.halves, channel.in_flight[:1]
            assert [halves[v].base for v in channel.in_flight[1:]] == list(channel.in_flight[:-1])
            if lowest and not channel.chain.registered:
                assert halves[lowest[0]].base <= channel.agreed_version
            self.check_confirmed(side)
            if self.steps % 8 == 0:
                assert durable(replayed(side)) == durable(channel)
        one, other = (side.channel for side in self.world.sides)
        assert abs(one.turn - other.turn) <= 1
        assert not (one.my_turn and other.my_turn), "two hold the turn"
        if one.agreed and other.agreed and one.agreed.version == other.agreed.version:
            assert one.agreed.state == other.agreed.state

    def check_confirmed(self, side: Side) -> None:
        """What is told agreed, refused or given up is told once; operations add up to the state they are told with."""
        told = [v for n in side.notices if isinstance(n, Updated) and n.proposer is side.me for v in n.versions]
        assert len(told) == len(set(told))
        updates = [n for n in side.notices if isinstance(n, Updated)]
        self.fired["accepted together"] += any(len(n.versions) > 1 for n in updates)
        self.fired["sent again"] += side.again > 1
        refused = [n for n in side.notices if isinstance(n, PeerRefused)]
        self.fired["killed behind another"] += any(n.code == BaseRefused.code for n in refused)
        waiting = [n.version for n in refused if n.version in side.channel.in_flight]
        assert not waiting, "what was refused waits for an answer"

    def check_crossings(self) -> None:
        """A notice names a state that differs from the very one it stands on, agreed alone or passed over; and once.

        Who was killed before it told its owner says less, but nobody says anything else.
        """
        signed = {**self.world.alice.signed, **self.world.bob.signed}
        proposed = {**self.world.alice.proposed, **self.world.bob.proposed}
        for side in self.world.sides:
            told = [n for n in side.notices if isinstance(n, BelowMaintenance | MarginRestored)]
            places = [(n.version, n.party) for n in told]
            assert places == sorted(set(places)), "a crossing is told twice, or late"
            for notice in told:
                message = decode(proposed[notice.version][4:])
                assert isinstance(message, m.Propose)
                below = [
                    version > 0
                    and margin(signed[version].book, signed[version].state.balances, 6)[notice.party].is_breach
                    for version in (message.base, notice.version)
                ]
                assert below == [(restored := isinstance(notice, MarginRestored)), not restored]

    def teardown(self) -> None:
        self.hear_all()
        self.world.reconnect()
        for side in self.world.sides:
            if side.channel.turn_needed:
                self.world.act(side, e.TurnSpared())
        self.world.settle()
        one, other = (side.channel for side in self.world.sides)
        self.laws()
        assert one.agreed == other.agreed
        assert one.closing == other.closing
        assert one.my_turn != other.my_turn
        assert one.chain == other.chain
        assert one.phase is other.phase
        assert one.phase is not Phase.PROPOSED
        for side in self.world.sides:
            assert durable(replayed(side)) == durable(side.channel)
        assert one.chain.pot == sum(self.chain.deposits) - sum(self.chain.paid)
        self.fired[f"ended {one.phase.value}"] += 1
        self.check_crossings()
        for side in self.world.sides:
            told = [n for n in side.notices if isinstance(n, CollateralCalled) and n.party is side.me]
            self.fired["collateral told"] += len(told)
            self.fired["below maintenance"] += sum(isinstance(n, BelowMaintenance) for n in side.notices)
        if one.phase is Phase.OPEN and one.bar is None and other.bar is None:
            # Life goes on: whoever wants to propose can.
            legs = one.book.legs
            marks = self.world.view(legs, self.world.now) if legs else None
            for side in self.world.sides:
                self.world.propose(side, Mark(marks) if marks else Mark())
            assert self.world.agreed.version >= one.version + 2


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
        "old accept", "close-out", "collateral asked", "collateral told", "old call",
        "window", "accepted together", "killed behind another", "WindowFull", "sent again", "ExposureTooHigh",
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
