"""A peer that falls silent: told once, bounded by the owner's limits, and disputed where the owner says so."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from channels.core import events as e, notices as n
from channels.core.limits import Limits
from channels.core.phases import Phase
from channels.errors import ExposureTooHigh, PeerIsSilent, PeerUnresponsive
from channels.model import Leg
from tests.pair import Pair, Side, opened_pair
from tests.roles import ETH, EXPIRY, UNIT

CALL = Leg.call(ETH, EXPIRY, 2400, quantity=1)


def mute(pair: Pair) -> Callable[..., Any]:
    """Bob's node hears nothing of the channel any more; return what hears it again."""
    seat = pair.bob.node.seats[pair.bob.channel.id]
    hears = seat.receive
    seat.receive = lambda message, now: []  # type: ignore[method-assign]
    return hears


def impatient(side: Side, **seconds: float) -> None:
    """From now on, no sooner: what comes before may take its time on a busy machine."""
    side.node.config = replace(side.node.config, **seconds)  # type: ignore[arg-type]


def told(pair: Pair) -> list[n.Notice]:
    return [notice for notice in pair.alice.channel._unread if isinstance(notice, n.PeerSilent)]


async def test_silence_is_a_notice_and_ends_when_the_peer_speaks() -> None:
    async with opened_pair() as pair:
        await pair.fund(10_000, 10_000)
        hears = mute(pair)
        impatient(pair.alice, reply_timeout=0.3)
        with pytest.raises(PeerUnresponsive):
            await pair.alice.channel.mark()
        await pair.until(lambda: bool(told(pair)))
        with pytest.raises((PeerIsSilent, PeerUnresponsive)):
            await pair.alice.channel.mark()
        assert len(told(pair)) == 1
        assert pair.alice.channel.exposure().cost == 0, "a mark gives the peer nothing to choose"
        assert pair.alice.channel.phase is Phase.PROPOSED, "without the owner's word there is no dispute"
        pair.bob.node.seats[pair.bob.channel.id].receive = hears  # type: ignore[method-assign]
        impatient(pair.alice, reply_timeout=10)
        link = pair.alice.node.link_to(pair.bob.role.address)
        assert link is not None
        link.hang_up()
        await pair.until(lambda: pair.alice.channel.phase is Phase.OPEN and not pair.alice.channel.state.unresponsive)
        await pair.alice.channel.mark()
        assert pair.agree()


async def test_the_owners_policy_makes_a_dispute_of_it() -> None:
    async with opened_pair() as pair:
        await pair.fund(10_000, 10_000)
        await pair.alice.channel.propose(pair.alice.channel.trade([CALL], premium=50))
        version = pair.alice.channel.version
        mute(pair)
        impatient(pair.alice, reply_timeout=0.2, challenge_silence=0.5)
        with pytest.raises(PeerUnresponsive):
            await pair.alice.channel.mark()
        await pair.phase(Phase.DISPUTED)
        assert pair.alice.channel.state.chain.version == version


async def test_a_turn_that_is_not_passed_is_disputed_too() -> None:
    async with opened_pair() as pair:
        await pair.fund(10_000, 10_000)
        await pair.alice.channel.mark()
        impatient(pair.bob, turn_timeout=0.2, challenge_silence=0.4)
        pair.alice.node.act(pair.alice.node.seats[pair.alice.channel.id], e.TurnNeeded())
        pair.bob.node.act(pair.bob.node.seats[pair.bob.channel.id], e.TurnNeeded())
        await pair.phase(Phase.DISPUTED)


async def test_the_owners_limit_on_exposure_is_a_node_setting() -> None:
    async with opened_pair(alice_config={"limits": Limits(max_exposure=20 * UNIT)}) as pair:
        await pair.fund(10_000, 10_000)
        with pytest.raises(ExposureTooHigh):
            await pair.alice.channel.propose(pair.alice.channel.trade([CALL], premium=70))
        await pair.alice.channel.propose(pair.alice.channel.trade([CALL], premium=10))
        await pair.bob.channel.propose(pair.bob.channel.trade([CALL], premium=70))
        assert pair.alice.channel.positions == ()
