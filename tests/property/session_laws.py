"""What must hold of two honest sides whatever their network, their processes and their chain do.

After every step: no version has two states signed by one party, nothing leaves before it is durable, nobody hangs up or
finds that it lost data, and what both signed is never lost. At the end, after one reconnect: both hold the same state
and the same turn, and each journal, replayed, is the running channel.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any, ClassVar

from hypothesis.stateful import RuleBasedStateMachine, invariant

from channels.core import events as e, facts as f
from channels.core.limits import Limits
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
from channels.model import Acknowledge, Agreed, Mark, Operation, Party
from channels.risk import margin
from channels.wire import messages as m
from channels.wire.codec import decode
from tests.roles import UNIT
from tests.sansio import Joined, Killed, Side, durable, fresh, replayed

WINDOW = 4
LIMITS = Limits(max_exposure=900 * UNIT, max_outstanding=16)


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


class SessionLaws(RuleBasedStateMachine):
    """Alice and Bob with ten thousand tokens each, agreed, and what must hold of them whatever happens."""

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
        before, answers = durable(side.channel), bool(side.channel.unanswered)
        try:
            do()
        except Killed:
            self.fired["killed"] += 1
            return False
        except RuleViolation as refused:
            self.fired[type(refused).__name__] += 1
            assert answers or durable(side.channel) == before, "what was judged before is answered all the same"
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
            owed = side.session.unanswered if side.session else 0
            assert owed == len(channel.unanswered), "a proposal that nobody will answer"
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
