"""A node is told its margin engine once, and every channel of it has that one: opened, accepted, restored."""

from __future__ import annotations

from channels.risk import EXACT
from channels.risk.screen import FloatScreen
from tests import roles
from tests.pair import opened_pair


async def test_every_channel_of_a_node_has_the_engine_of_its_config() -> None:
    ours, theirs = FloatScreen(), FloatScreen()
    async with opened_pair(alice_config={"margin_engine": ours}, bob_config={"margin_engine": theirs}) as pair:
        await pair.fund(10_000, 10_000)
        await pair.alice.channel.propose(pair.alice.channel.trade(roles.condor(), premium=5))
        await pair.bob.channel.mark()
        assert pair.agree()
        for side, engine in zip(pair.sides, (ours, theirs), strict=True):
            assert side.channel.state.margin_engine is engine
            assert (
                side.channel.margin
                == EXACT.margin(side.channel.state.book, pair.bob.channel.state.base[0].balances, 6)[
                    side.channel.state.me
                ]
            )
            side.node.restore()
            ((_, seat),) = side.node.seats.items()
            assert seat.channel.margin_engine is engine
