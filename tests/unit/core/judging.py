"""What the tests of the rules share: two legs, a verdict on operations, and what was refused."""

from __future__ import annotations

from channels.core import rules
from channels.core.apply import apply
from channels.core.channel import Channel
from channels.model import Leg, Marks, Operation, Party
from tests.roles import CHANNEL, ETH, EXPIRY, NOW
from tests.sansio import Joined, fresh

CALL = Leg.call(ETH, EXPIRY, 2400, quantity=1)
SHORT_CALLS = Leg.call(ETH, EXPIRY, 2400, quantity=-10)


def holding_a_call() -> Joined:
    """Ten thousand each, and a call between them."""
    made = Joined()
    made.fund(10_000, 10_000)
    made.propose(made.alice, made.trade((CALL,)))
    return made


def refusals(world: Joined) -> list[str]:
    return [n.code for n in world.alice.notices if type(n).__name__ == "PeerRefused"]


def verdict(
    channel: Channel,
    *operations: Operation,
    version: int | None = None,
    by: Party | None = None,
    view: Marks | None = None,
    now: int = NOW,
) -> None:
    """Judge operations on the channel's base, as `by` (the channel's own party by default) proposes them."""
    proposer = channel.me if by is None else by
    number = rules.next_version(channel) if version is None else version
    state, book = apply(
        CHANNEL,
        *channel.base,
        operations,
        proposer=proposer,
        version=number,
        salt=fresh(),
        decimals=6,
        policy=channel.policy,
    )
    rules.judge(channel, operations, state, book, proposer=proposer, now=now, view=view)
