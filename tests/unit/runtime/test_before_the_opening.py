"""What the chain said of a channel before the node knew of it counts once it is confirmed: asked at a confirmed block.

The chain is a list of what stands after each block, so that a test can take blocks back and put others in their place.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

import pytest

from channels.chain.port import Block, ChannelPhase, Located, OnChain
from channels.core.facts import DepositSeen, RegisteredSeen
from channels.core.phases import Phase
from channels.core.records import Opened, TermsAccepted
from channels.errors import InvalidValue, RpcRefused
from channels.model import ZERO32, ChannelId, Party, Terms, keccak
from channels.runtime.config import NodeConfig
from channels.runtime.live import LiveChannel
from channels.runtime.node import Node, open_node
from channels.store import MemoryStore
from tests import peer_process, roles
from tests.peer_process import CHAIN, TERMS
from tests.roles import UNIT

CHANNEL = TERMS.channel_id(CHAIN)
DEPTH = 2
DEADLINE = roles.NOW + 3_600


@dataclass(frozen=True)
class Stand:
    """What the adjudicator knows after one block: Bob's deposits, and a dispute with nothing signed."""

    deposit: int = 0
    deadline: int = 0


NOTHING = Stand()
PAID = Stand(deposit=7 * UNIT)
DISPUTED = Stand(deadline=DEADLINE)


class Reorganised(peer_process.QuietChain):
    """The chain as the list `stands` has it at this moment. `asked`: for which blocks the status was wanted."""

    def __init__(self, *stands: Stand) -> None:
        self.stands = [*stands]
        self.asked: list[int | None] = []
        self.forgets = False

    def head(self) -> Block:
        return self.block(len(self.stands) - 1)

    def block(self, number: int) -> Block:
        return Block(number, roles.NOW + number)

    def facts(self, first: int, last: int) -> list[Located]:
        found = []
        for number in range(max(first, 1), last + 1):
            before, after = self.stands[number - 1 : number + 1]
            if after.deposit > before.deposit:
                found.append(Located(number, CHANNEL, DepositSeen(Party.ONE, after.deposit)))
            if after.deadline != before.deadline:
                found.append(Located(number, CHANNEL, RegisteredSeen(None, after.deadline)))
        return found

    def status(self, channel: ChannelId, block: int | None = None) -> OnChain:
        self.asked.append(block)
        if self.forgets:
            raise RpcRefused("http://pruned", "missing trie node")
        stand = self.stands[-1 if block is None else block]
        return OnChain(ChannelPhase.OPEN, 0, stand.deadline, ZERO32, (0, stand.deposit), (0, 0))


@asynccontextmanager
async def watching(chain: Reorganised, cursor: int, *more: Terms) -> AsyncIterator[tuple[Node, LiveChannel]]:
    """Alice's node, at channels of which it has read nothing up to the cursor; it looks when the test says so."""
    store = MemoryStore()
    for terms in (TERMS, *more):
        store.append(terms.channel_id(CHAIN), [Opened(CHAIN, terms, Party.ZERO, True), TermsAccepted()])
    store.advance(CHAIN, cursor)
    config = replace(peer_process.CONFIG, confirmations=DEPTH, poll=1e6)
    port: Any = chain
    async with open_node(roles.alice.signer, store=store, chain=port, config=config, clock=lambda: roles.NOW) as node:
        await node.watcher.look()
        yield node, node.channels[CHANNEL]


async def test_what_two_reorganisations_move_and_take_back_was_never_confirmed() -> None:
    """The deposit is at the head whenever somebody looks, each time in another block: then it is lost."""
    chain = Reorganised(*[NOTHING] * 5, PAID)
    async with watching(chain, 3) as (node, channel):
        for stands in ([*[NOTHING] * 7, PAID], [*[NOTHING] * 9, PAID], [NOTHING] * 14):
            chain.stands = stands
            await node.watcher.look()
        assert channel.state.chain.deposits == (0, 0)
        chain.stands += [PAID] * (DEPTH + 1)
        await node.watcher.look()
        assert channel.state.chain.deposits == (0, PAID.deposit), "the logs tell what is said later"


async def test_a_dispute_that_two_reorganisations_move_and_take_back_was_never_confirmed() -> None:
    chain = Reorganised(*[NOTHING] * 5, DISPUTED)
    async with watching(chain, 3) as (node, channel):
        for stands in ([*[NOTHING] * 7, DISPUTED], [*[NOTHING] * 9, DISPUTED], [NOTHING] * 14):
            chain.stands = stands
            await node.watcher.look()
        assert channel.phase is Phase.OPEN


@pytest.mark.parametrize("block", range(1, 9))
async def test_nothing_falls_between_the_status_and_the_logs(block: int) -> None:
    """In whichever block a deposit and a dispute are, below the cursor, at it or above: both are learned once."""
    chain = Reorganised(*[NOTHING] * block, *[Stand(PAID.deposit, DEADLINE)] * (9 - block))
    async with watching(chain, 4) as (node, channel):
        for _ in range(DEPTH):
            confirmed = len(chain.stands) - 1 - DEPTH
            assert (channel.state.chain.deposits[1] > 0) == (block <= confirmed)
            assert (channel.phase is Phase.DISPUTED) == (block <= confirmed)
            chain.stands.append(chain.stands[-1])
            await node.watcher.look()
        assert channel.state.chain.deposits == (0, PAID.deposit)
        assert channel.state.chain.deadline == DEADLINE
        assert chain.asked == [6], "once, at the block that the cursor has reached"


async def test_where_a_new_node_began_is_remembered_before_it_has_looked() -> None:
    chain, store = Reorganised(*[NOTHING] * 9), MemoryStore()

    async with open_node(
        roles.alice.signer,
        store=store,
        chain=chain,  # type: ignore[arg-type]  # the part of a chain that nothing happens on
        config=NodeConfig(confirmations=DEPTH, poll=60),
    ):
        assert store.cursor(CHAIN) == 8 - DEPTH


async def test_an_endpoint_that_lags_behind_the_cursor_is_asked_when_it_has_caught_up() -> None:
    """What lies between its confirmed block and the cursor is neither in that status nor read again."""
    chain = Reorganised(*[NOTHING] * 5, *[PAID] * 2)
    async with watching(chain, 6) as (node, channel):
        assert chain.asked == []
        chain.stands += [PAID] * 2
        await node.watcher.look()
        assert chain.asked == [6]
        assert channel.state.chain.deposits == (0, PAID.deposit)


async def test_an_endpoint_that_has_forgotten_the_block_stops_nothing_else() -> None:
    """It says so at each look; blocks are counted all the same, and another endpoint can be asked later."""
    chain = Reorganised(*[PAID] * 5)
    async with watching(chain, 4, replace(TERMS, salt=keccak(b"another"))) as (node, channel):
        chain.stands += [PAID] * DEPTH
        chain.forgets = True
        for _ in range(2):
            with pytest.raises(RpcRefused, match="missing trie node"):
                await node.watcher.look()
        assert {live.state.chain.time for live in node.channels.values()} == {roles.NOW + 4}
        assert channel.state.chain.deposits == (0, 0)
        chain.forgets = False
        await node.watcher.look()
        assert channel.state.chain.deposits == (0, PAID.deposit)


def test_there_are_no_confirmations_below_none() -> None:
    with pytest.raises(InvalidValue, match="confirmations"):
        NodeConfig(confirmations=-1)
