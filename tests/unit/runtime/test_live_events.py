"""The owner hears everything, the last word too: the machine is closed before the notice of it is durable."""

from __future__ import annotations

from typing import Any

import trio

from channels.core import events as e, facts as f, notices as n
from channels.runtime.live import LiveChannel
from tests.sansio import Joined


async def heard(live: LiveChannel, into: list[n.Notice]) -> None:
    into.extend([notice async for notice in live])


async def test_the_events_end_with_the_close_and_not_before(autojump_clock: Any) -> None:
    world, told = Joined(), []  # type: ignore[var-annotated]
    live = LiveChannel(None, world.alice.seat)  # type: ignore[arg-type]  # events need no node
    async with trio.open_nursery() as nursery:
        effects = world.alice.seat.act(e.CloseConfirmed(f.ClosedSeen((1, 2))))
        nursery.start_soon(heard, live, told)
        await trio.sleep(1)
        assert told == []
        live.deliver(effects[-1].notice)  # type: ignore[union-attr]
    assert told == [n.ChannelClosed((1, 2))]


async def test_a_channel_restored_as_closed_tells_nothing(autojump_clock: Any) -> None:
    world, told = Joined(), []  # type: ignore[var-annotated]
    world.alice.seat.act(e.CloseConfirmed(f.ClosedSeen((1, 2))))
    with trio.fail_after(1):
        await heard(LiveChannel(None, world.alice.seat), told)  # type: ignore[arg-type]
    assert told == []
