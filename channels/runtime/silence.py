"""A clock for silence: what the peer owes us, since when, and what the owner's config makes of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import trio

from ..core import events as e
from ..core.channel import Channel
from ..core.phases import Phase
from ..errors import ChainError, NotPermitted, TransactionPending, TransactionReverted
from ..model import ChannelId
from ..session import Seat
from .log import log

if TYPE_CHECKING:
    from .node import Node


@dataclass
class Waiting:
    """What is waited for (a version, or the turn as 0 and its counter), since when, and what was done about it."""

    what: tuple[int, int]
    since: float
    told: bool = False
    challenged: bool = False


def awaited(channel: Channel) -> tuple[int, int] | None:
    """Return what the peer owes us: an answer to (version, 0), or the turn after (0, counter); None for nothing."""
    if channel.phase not in (Phase.OPEN, Phase.PROPOSED):
        return None
    if channel.in_flight:
        return channel.in_flight[0], 0
    return (0, channel.turn + 1) if channel.turn_needed and not channel.my_turn else None


class Silence:
    """Tells each channel when its peer has been silent for too long, connected or not; asked at every poll."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._waiting: dict[ChannelId, Waiting] = {}

    def watch(self, seat: Seat) -> None:
        """Look at the clock. Never waits; a dispute, where the owner wants one, is opened beside."""
        what, channel = awaited(seat.channel), seat.channel
        if what is None:
            self._waiting.pop(channel.id, None)
            return
        waiting = self._waiting.get(channel.id)
        if waiting is None or waiting.what != what:
            waiting = self._waiting[channel.id] = Waiting(what, trio.current_time())
        config, silent = self._node.config, trio.current_time() - waiting.since
        if silent >= (config.reply_timeout if what[0] else config.turn_timeout) and not waiting.told:
            waiting.told = True
            self._node.act(seat, e.SilenceNoticed(int(silent)))
        limit = config.challenge_silence
        if limit is not None and silent >= limit and not waiting.challenged:
            waiting.challenged = True
            self._node.start(lambda: self._challenge(channel.id, waiting))

    async def _challenge(self, channel: ChannelId, waiting: Waiting) -> None:
        live = self._node.channels[channel]
        try:
            block = await live.challenge()
            log.info("the peer is silent: a dispute is open since block %d", block)
        except (NotPermitted, TransactionReverted) as there:
            log.info("%s", there)
        except (ChainError, TransactionPending) as failed:
            log.warning("%s", failed)
            waiting.challenged = False
