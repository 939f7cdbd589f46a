"""A node with many channels that nothing happens in has next to nothing to do at each poll."""

from __future__ import annotations

from collections import Counter

import pytest
import trio

from channels.core import views
from channels.core.channel import Channel
from channels.model import Leg
from tests.pair import opened_pair
from tests.roles import ETH, EXPIRY


async def test_a_state_that_lacks_no_collateral_is_judged_once(monkeypatch: pytest.MonkeyPatch) -> None:
    judged = Counter[tuple[int, int]]()
    due = views.collateral_due

    def counting(channel: Channel) -> int:
        judged[channel.me, channel.base_version] += 1
        return due(channel)

    monkeypatch.setattr(views, "collateral_due", counting)
    async with opened_pair() as pair:
        await pair.fund(10_000, 10_000)
        await pair.alice.channel.propose(pair.alice.channel.trade([Leg.call(ETH, EXPIRY, 2400, quantity=1)], premium=5))
        await pair.until(pair.agree)
        version = pair.alice.channel.version
        await pair.until(lambda: len([key for key in judged if key[1] == version]) == 2)
        before = judged.copy()
        await trio.sleep(20 * pair.alice.node.config.poll)
        assert judged == before, "it is judged again though nothing has changed"
        await pair.alice.channel.mark()
        await pair.until(lambda: len([key for key in judged if key[1] == version + 1]) == 2)
