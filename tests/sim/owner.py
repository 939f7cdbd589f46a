"""What an owner does with a channel all day: trades, marks, withdrawals, deposits, and now and then an ending.

Owners use what every owner uses, `LiveChannel`; whatever rule refuses them, and whatever silence they meet, they go on.
An answer that never comes is found by the laws, after the network has healed.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import trio

from channels.core.phases import Phase
from channels.errors import ChannelError, InvariantBroken
from channels.model import Leg
from channels.runtime.live import LiveChannel
from tests.roles import ETH

if TYPE_CHECKING:
    from .machine import Machine
    from .world import World


class Owner:
    """One party's hands on one channel, for as long as its node is up."""

    def __init__(self, world: World, machine: Machine, live: LiveChannel) -> None:
        self.world, self.machine, self.live = world, machine, live
        self.rng = world.faults.rng

    async def work(self) -> None:
        """Do something every few seconds until the world heals."""
        if not any(self.live.state.chain.deposits):
            await attempt(
                self.world, self.machine, "deposit", lambda: self.live.deposit(self.rng.choice([10_000, 4_000]))
            )
            with trio.move_on_after(self.rng.choice([0, 20, 20])):
                while not self._funded():
                    await trio.sleep(1.0)
        while not self.world.healed:
            await trio.sleep(self.rng.random() * self.world.pause)
            if self.world.healed or self.live.phase is Phase.CLOSED:
                return
            name, act = self._choose()
            await attempt(self.world, self.machine, name, act)

    def _funded(self) -> bool:
        state, _ = self.live.state.base
        return state is not None and min(state.deposits) > 0

    def _choose(self) -> tuple[str, Callable[[], Awaitable[object]]]:
        live, rng = self.live, self.rng
        acts: list[tuple[int, str, Callable[[], Awaitable[object]]]] = [
            (10, "trade", self._trade),
            (5, "mark", live.mark),
            (3, "withdraw", lambda: live.withdraw(rng.choice([1, 50, 9_000]))),
            (1, "deposit", lambda: live.deposit(rng.randint(1, 100))),
            (1, "close-out", live.close_out),
        ]
        if self.world.ends:
            acts.append((1, "close", live.close))
            acts.append((1, "challenge", live.challenge))
        if live.phase in (Phase.DISPUTED, Phase.SETTLING):
            acts.append((8, "reopen", live.reopen))
        chosen = rng.choices(acts, [weight for weight, _, _ in acts])[0]
        return chosen[1], chosen[2]

    async def _trade(self) -> None:
        leg = self.rng.choice(self.world.series).times(self.rng.choice([-25, -9, -3, 1, 2, 9, 25, -60]))
        await self.live.propose(self.live.trade([leg], self.rng.randint(-20, 20)))


async def attempt(world: World, machine: Machine, name: str, act: Callable[[], Awaitable[object]]) -> None:
    """Do something and count how it ended."""
    fired = world.faults.fired
    world.note(f"{machine.name} wants: {name}")
    try:
        await act()
    except InvariantBroken:
        raise
    except ChannelError as refused:
        fired[f"{name}: {type(refused).__name__}"] += 1
        world.note(f"{machine.name} gets {type(refused).__name__}: {refused}")
    else:
        fired[name] += 1


def series(first: int, later: int) -> tuple[Leg, ...]:
    """Return what is traded: one contract of each series, bought."""
    return (
        Leg.call(ETH, first, 2400, quantity=1),
        Leg.put(ETH, first, 2200, quantity=1),
        Leg.call(ETH, later, 2500, quantity=1),
    )
