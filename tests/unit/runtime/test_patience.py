"""How often a node asks a peer that refuses a fact: soon where it lags, and hardly where it refuses for ever."""

from __future__ import annotations

from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import trio
import trio.testing

from channels.core import facts as f
from channels.core.checkpoint import MAX_OUTSTANDING
from channels.core.commands import Effect
from channels.model import Party
from channels.runtime.config import NodeConfig
from channels.runtime.watcher import MAX_PATIENCE, Watcher
from channels.session import Seat
from tests.roles import UNIT
from tests.sansio import Joined, fresh

LOOK, DAY = 5.0, 86_400.0


class Desk:
    """What a watcher asks of its node to keep house: Alice's, connected to a Bob who has not heard of her deposit."""

    def __init__(self) -> None:
        self.world = Joined()
        self.world.fund(10_000, 10_000)
        self.world.confirm(f.DepositSeen(Party.ZERO, 11_000 * UNIT), to=[self.world.alice])
        self.config = NodeConfig(poll=LOOK)
        self.channels = {self.world.id: SimpleNamespace(peer_is_called=False)}
        self.asked: list[float] = []
        self.watcher = Watcher(self, 0)  # type: ignore[arg-type]

    def link_to(self, peer: object) -> object:
        return self

    def submit(self, seat: Seat, effects: list[Effect]) -> None:
        self.asked.append(trio.current_time())
        self.world.carry(self.world.alice, effects)
        self.world.settle()

    def random(self, size: int) -> bytes:
        return fresh()

    def now(self) -> int:
        return self.world.now

    async def keep_house(self, seconds: float) -> None:
        """Look again and again, as the node does at every poll."""
        until = trio.current_time() + seconds
        while trio.current_time() < until:
            self.watcher._keep_house(self.world.alice.seat)
            await trio.sleep(LOOK)


async def test_a_peer_that_lags_is_asked_again_within_half_a_minute(autojump_clock: Any) -> None:
    desk = Desk()
    await desk.keep_house(1_200)
    pauses = [later - sooner for sooner, later in pairwise(desk.asked)]
    assert pauses[0] == LOOK
    assert max(pauses) == MAX_PATIENCE
    assert len(desk.world.alice.channel.outstanding) == len(desk.asked) < MAX_OUTSTANDING


async def test_a_peer_that_refuses_for_ever_makes_us_sign_ever_less(autojump_clock: Any) -> None:
    desk = Desk()
    await desk.keep_house(3 * DAY)
    # Half an hour of trying, and then a doubling wait: ten more to the end of the first day, one on each later day.
    assert MAX_OUTSTANDING < len(desk.asked) <= MAX_OUTSTANDING + 13
    assert desk.asked[-1] - desk.asked[-2] > DAY / 4
    lagging = desk.asked[MAX_OUTSTANDING + 5 :]
    for sooner, later in pairwise(lagging):
        assert later - sooner <= sooner - desk.asked[0] + 2 * LOOK, "nobody waits longer than he has been refused"
    desk.world.confirm(f.DepositSeen(Party.ZERO, 11_000 * UNIT), to=[desk.world.bob])
    await desk.keep_house(DAY)
    channel = desk.world.alice.channel
    assert channel.agreed is not None
    assert channel.agreed.state.deposits == (11_000 * UNIT, 10_000 * UNIT)
    assert not channel.outstanding
