"""A run: two or three machines, a chain, a network and the weather of one seed, from opening to the last law.

`run(seed)` first lets the owners work while things fail, then heals everything, waits until all is quiet, has every
owner agree one more mark, and checks the laws. Time is virtual: it jumps to the next thing that happens.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from hashlib import sha256
from random import Random
from typing import Any
from unittest.mock import patch

import trio
import trio.testing

from channels.core import checkpoint, views
from channels.core.commands import Effect
from channels.core.limits import Limits
from channels.core.phases import Phase
from channels.model import EXCLUSIVE, Agreed, ChannelId, Intent, Terms, keccak
from channels.risk.policy import MarginPolicy, Scenario, VolShock
from channels.runtime.live import LiveChannel
from channels.runtime.node import Node
from channels.session import Seat
from channels.units import WAD
from tests.roles import DAY, ETH, NOW, TERMS, UNIT, alice, bob, trent

from . import laws
from .chain import BLOCK, Chain, deployment_of
from .faults import Faults
from .history import History, LawBroken
from .machine import POLL, Machine, simulated_trio
from .network import End, Network
from .owner import Owner, attempt, series

POLICY = MarginPolicy(
    scenarios=tuple(Scenario(WAD * spot // 100, shock) for spot in (82, 118) for shock in (VolShock.DOWN, VolShock.UP))
)
"""A grid of four rows: margin is exact on both sides whatever the grid, and a run should spend its time elsewhere."""
CHALLENGE = 600
MAX_EXPOSURE = 150 * UNIT
"""Token units: half of the trades that owners try cost more in the worst case."""
CHECKPOINT_EVERY = 8
"""Records between two checkpoints: a run is short, and shall be compacted often."""
PATIENCE = 90.0
"""Virtual seconds in which a healed network must come to rest, and an owner must get an answer."""
RETRY = 40.0
"""Virtual seconds in which a fact is agreed once nothing bars it any more. A node that was refused asks again within
thirty, at its next poll: who waited a close's whole validity may wait that much longer, and no more."""


@dataclass(frozen=True)
class Outcome:
    """What a run came to. `broken` names the law that does not hold; None where all do."""

    seed: int
    broken: str | None
    fired: Counter[str]
    messages: Counter[str]
    operations: Counter[str]
    lines: tuple[str, ...]
    seconds: float
    """Virtual."""

    @property
    def happened(self) -> Counter[str]:
        """How often each fault, owner's act, message and agreed operation happened."""
        found = Counter(self.fired)
        found.update({f"message {name}": times for name, times in self.messages.items()})
        found.update({f"agreed {name}": times for name, times in self.operations.items()})
        return found

    @property
    def fingerprint(self) -> str:
        """A hash of everything that happened, in order: equal for equal runs."""
        return sha256("\n".join(self.lines).encode()).hexdigest()[:16]


class World:
    """Everything that one seed decides."""

    def __init__(self, seed: int, tell: Callable[[str], None] | None = None) -> None:
        rng = Random(seed)
        self.faults = Faults.draw(rng)
        self.deployment = deployment_of(b"simulated")
        self.history = History(self.deployment, tell=tell)
        self.policy = POLICY
        self.chain = Chain(self.faults, self.deployment, NOW)
        self.chain.on_show = lambda agreed: self.guard(self.history.shown, agreed)
        self.network = Network(self.faults)
        self.network.made = self._connected
        self.healed = self.over = False
        self.broken: str | None = None
        self.pause = rng.choice([1.0, 2.0, 6.0])
        self.work_time = rng.choice([6.0, 10.0, 16.0])
        self.ends = rng.random() < 0.25
        """Whether owners close and challenge, too."""
        if seed < 0:
            # Stern owners: they end things in every run, and decline every other deal that the peer offers.
            self.ends, self.faults.declines = True, max(self.faults.declines, 0.5)
        first = NOW + (int(self.work_time * 2 / 3) + 18 if rng.random() < 0.25 else 7 * DAY)
        self.series = series(first, NOW + 21 * DAY)
        self.chain.prices[(ETH, first)] = 2_350 * WAD
        self.spot = "2300"
        self.limits = Limits(max_exposure=MAX_EXPOSURE) if seed % 2 else Limits()
        """What owners let their half-signed states cost, where they say it."""
        self.moves = [99, 100, 102, 108, 112] + ([75, 130, 135] if rng.random() < 0.3 else [])
        roles = [alice, bob] if rng.random() < 0.9 else [alice, bob, trent]
        self.machines = [Machine(self, role, 9_000 + place) for place, role in enumerate(roles)]
        self.sample = replace(TERMS, policy=POLICY.hash, challenge_period=CHALLENGE, cure_period=300)
        self.wanted: dict[ChannelId, tuple[Terms, tuple[Machine, Machine]]] = {}
        for one, other in zip(self.machines, self.machines[1:], strict=False):
            self._plan(one, other)
        self.scope = trio.CancelScope()

    def _plan(self, one: Machine, other: Machine) -> None:
        """Two neighbours want a channel; either may be the one who asks, either or both may dial."""
        pair = (one, other) if one.role.address < other.role.address else (other, one)
        roles = [machine.role for machine in pair]
        terms = replace(
            self.sample,
            signers=(roles[0].address, roles[1].address),
            owners=(roles[0].owner, roles[1].owner),
            salt=keccak(one.name.encode()),
        )
        asks = pair if self.faults.rng.random() < 0.5 else (pair[1], pair[0])
        self.wanted[terms.channel_id(self.deployment)] = (terms, asks)
        asks[0].dials.append(asks[1])
        if self.faults.both_dial:
            asks[1].dials.append(asks[0])
            self.faults.fired["both dial"] += 1

    # What machines tell

    def guard(self, check: Callable[..., None], *arguments: object) -> None:
        """Write into the history; the first broken law ends the run."""
        self.history.clock = trio.current_time()
        try:
            check(*arguments)
        except LawBroken as broken:
            self.fail(str(broken))

    def fail(self, law: str) -> None:
        """End the run: this law does not hold."""
        if self.broken is None and not self.over:
            self.broken = law
            self.note(f"BROKEN  {law}")
            self.scope.cancel()

    def note(self, line: str) -> None:
        self.history.clock = trio.current_time()
        self.history.note(line)

    def _connected(self, end: End) -> None:
        machine = next(machine for machine in self.machines if machine.name == end.owner)
        end.boundary = machine.boundary
        end.tap = lambda data: self.guard(self.history.left, end.owner, end.peer, end, data)

    # What owners do

    async def work(self, machine: Machine, node: Node, nursery: trio.Nursery) -> None:
        """Have an owner work with a node that just came up, channel by channel."""
        for channel, (terms, (asks, answers)) in self.wanted.items():
            if machine is asks:
                nursery.start_soon(self._open, machine, node, channel, terms)
            elif machine is answers:
                nursery.start_soon(self._await, machine, node, channel)

    async def _open(self, machine: Machine, node: Node, channel: ChannelId, terms: Terms) -> None:
        if channel not in node.channels:
            while node.link_to(self.peer(machine, channel).role.address) is None:
                await trio.sleep(1.0)
            if self.faults.rng.random() < 0.05:
                worthless = replace(terms, token=machine.role.address)
                await attempt(self, machine, "open refused", lambda: node.open(worthless))
            await attempt(self, machine, "open", lambda: node.open(terms))
        await self._await(machine, node, channel)

    async def _await(self, machine: Machine, node: Node, channel: ChannelId) -> None:
        while channel not in node.channels or not node.channels[channel].state.accepted:
            await trio.sleep(1.0)
        await Owner(self, machine, node.channels[channel]).work()

    def peer(self, machine: Machine, channel: ChannelId) -> Machine:
        one, other = self.wanted[channel][1]
        return other if machine is one else one

    def live(self, machine: Machine, channel: ChannelId) -> LiveChannel | None:
        """Return a machine's channel, if it is up and has it."""
        return machine.node.channels.get(channel) if machine.node else None

    # The weather

    async def _mine(self) -> None:
        while True:
            await trio.sleep(BLOCK)
            self.chain.mine()
            self.history.time = self.chain.blocks[-1].time

    async def _weather(self) -> None:
        faults, rng = self.faults, self.faults.rng
        while not self.healed:
            await trio.sleep(1.0)
            if rng.random() < 0.2:
                self.spot = str(2300 * rng.choice(self.moves) // 100)
            for machine in self.machines:
                if machine.node is None:
                    continue
                if faults.crashes and rng.random() < faults.crashes:
                    if rng.random() < 0.3:
                        faults.fired["crash at rest"] += 1
                        machine.crash("at rest")
                    else:
                        machine.fuse = rng.randint(1, 12)
                if faults.strikes(faults.clock_jumps, "clock jump"):
                    machine.jump = rng.choice([-40, -5, 0, 5, 40])
            if self.network.connections and faults.strikes(faults.cuts, "cut"):
                self.network.cut(rng.choice(self.network.connections), rng.choice([0.1, 5.0]))
            if faults.strikes(faults.partitions, "partition"):
                one, other = rng.choice([asks for _, asks in self.wanted.values()])
                self.network.part(one.name, other.name, rng.random() * 20)
            if faults.strikes(faults.cheats, "stale state shown"):
                self._cheat()

    def _cheat(self) -> None:
        """Somebody shows the chain an agreed state, probably an old one."""
        channel, kept = self.faults.rng.choice(list(self.history.agreed.items()) or [(None, {})])
        states: list[Agreed] = [record.agreed for record in kept.values()]
        states = [agreed for agreed in states if agreed.state.intent is Intent.OPERATE]
        if channel is None or not states:
            return
        terms, _ = self.wanted[channel]
        self.chain.submit(self.chain.challenge(terms, self.faults.rng.choice(states)))

    # A run

    async def main(self) -> None:
        """Live through it all."""
        with self.scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._mine)
                for machine in self.machines:
                    nursery.start_soon(machine.run)
                nursery.start_soon(self._weather)
                with trio.move_on_after(25):
                    while not all(min(self.chain.account(channel).deposits) for channel in self.wanted):
                        await trio.sleep(1)
                await trio.sleep(self.work_time)
                await self._heal()
                await self._rest()
                await laws.one_more_each(self)
                await self._let_time_pass()
                await laws.journals(self)
                await self._rest()
                laws.check(self)
                self.over = True
                nursery.cancel_scope.cancel()

    async def _heal(self) -> None:
        self.note("everything heals")
        self.healed = True
        self.faults.heal()
        self.network.heal()
        for machine in self.machines:
            machine.fuse, machine.jump = None, 0

    async def _let_time_pass(self) -> None:
        """Wait until no expiry and no dispute's deadline is ahead: then legs are settled, registered states final."""
        deadlines = [self.chain.account(channel).deadline for channel in self.wanted]
        if max(deadlines) > self.chain.now:
            self.faults.fired["dispute ran out"] += 1
        first = min(leg.expiry for leg in self.series)
        ahead = max(*deadlines, first if first < NOW + DAY else 0) - self.chain.now
        if ahead > -5 * BLOCK:
            await trio.sleep(max(0, ahead) + 5 * BLOCK)

    async def _rest(self) -> None:
        """Wait until both sides of every channel are connected, have heard the chain out, and nothing is in flight.

        A close or reopen that one side has signed bars what the other proposes for as long as it is valid. No patience
        shortens that: the adjudicator may still take it, so the time to answer counts from its end.
        """
        with trio.move_on_after(PATIENCE) as scope:
            while not all(self._quiet(channel) for channel in self.wanted):
                if any(self._bars(channel) for channel in self.wanted):
                    self.faults.fired["barred at rest"] += 1
                    scope.deadline = max(scope.deadline, trio.current_time() + RETRY)
                await trio.sleep(1.0)
        for channel in self.wanted:
            self.history.clock = trio.current_time()
            for machine in self.wanted[channel][1]:
                live = self.live(machine, channel)
                if live is None:
                    self.fail(f"a healed network comes to rest: {machine.name} has no channel")
                elif not self._answered(channel):
                    self.fail(f"every proposal is answered: {machine.name} waits for {live.waiting_for()}")

    def _bars(self, channel: ChannelId) -> bool:
        """Whether a close or reopen keeps a side from signing; one that expired in blocks long heard of must not."""
        heard_by = self.chain.now - (self.chain.confirmations + 2) * BLOCK - 2 * POLL
        found = False
        for machine in self.wanted[channel][1]:
            live = self.live(machine, channel)
            if live is None or live.phase is Phase.CLOSED or (bar := live.state.bar) is None:
                continue
            found = True
            if bar.valid_until < heard_by:
                self.fail(f"what expired bars nobody: {machine.name} signs nothing above version {bar.version}")
        return found

    def _answered(self, channel: ChannelId) -> bool:
        """Whether nothing waits for an answer, no fact for an agreement, and both sides name the same holder."""
        sides = [live.state for machine in self.wanted[channel][1] if (live := self.live(machine, channel))]
        # Nobody says anything about a channel that was paid out before the answer.
        alive = [side for side in sides if side.phase is not Phase.CLOSED]
        asked = any(side.phase is Phase.OPENING or side.in_flight for side in alive)
        due = any(views.housekeeping(side) for side in sides)
        return not asked and not due and sides[0].turn == sides[1].turn

    def _quiet(self, channel: ChannelId) -> bool:
        for machine in self.wanted[channel][1]:
            live = self.live(machine, channel)
            if live is None or machine.node is None:
                return False
            if machine.node.link_to(self.peer(machine, channel).role.address) is None:
                return False
            known, final = live.state.chain, self.chain.final(channel)
            heard = known.deposits, known.paid, known.version, known.payouts
            if heard != (final.deposits, final.paid, final.version, final.payouts):
                return False
        return self._answered(channel) and not self._bars(channel)


class _Complaints(logging.Handler):
    """The nodes' own log: a bug that they report, or an honest peer that they hang up on, is a broken law."""

    def __init__(self, world: World, verbose: bool) -> None:
        super().__init__(logging.INFO if verbose else logging.WARNING)
        self.world = world

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        if self.world.history.tell is not None:
            # Told, not written down: a run is the same whether somebody watches or not.
            self.world.history.tell(f"{trio.current_time():9.3f}    log: {text}")
        if "hanging up" in text or "by a bug" in text:
            cause = record.exc_info[1] if record.exc_info else ""
            self.world.fail(f"honest peers get along: {text} {cause!r}")


def _watched(world: World) -> Callable[..., list[Effect]]:
    """A seat's proposing, with a look at what all that is half-signed may cost as soon as one option more is.

    Facts are the way out of what costs too much, after a move of the market: agreed, they supersede it.
    """
    propose = Seat.propose

    def look(seat: Seat, *values: Any) -> list[Effect]:
        effects = propose(seat, *values)
        if any(isinstance(operation, EXCLUSIVE) for operation in values[0]):
            world.guard(laws.within_limits, world, seat.channel)
        return effects

    return look


def run(seed: int, tell: Callable[[str], None] | None = None) -> Outcome:
    """Play one seed; the same seed is the same run. `tell` hears each line of the log as it is written."""
    from trio._core import _run

    world = World(seed, tell)
    clock = trio.testing.MockClock(autojump_threshold=0)
    log, complaints = logging.getLogger("channels"), _Complaints(world, tell is not None)
    level, spread = log.level, log.propagate
    log.addHandler(complaints)
    log.setLevel(complaints.level)
    log.propagate = False
    state = _run._r.getstate()
    _run._r.seed(seed)
    try:
        with (
            simulated_trio(),
            patch.object(checkpoint, "EVERY", CHECKPOINT_EVERY),
            patch.object(Seat, "propose", _watched(world)),
        ):
            trio.run(world.main, clock=clock)
    finally:
        _run._r.setstate(state)
        log.removeHandler(complaints)
        log.setLevel(level)
        log.propagate = spread
    history = world.history
    return Outcome(
        seed,
        world.broken,
        world.faults.fired,
        history.messages,
        history.operations,
        tuple(history.lines),
        history.clock,
    )
