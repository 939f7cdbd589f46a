"""Two parties with everything real between them: an embedded EVM, two stores, two nodes, one TCP connection.

async with opened_pair() as pair:
    await pair.fund(10_000, 10_000)
    await pair.alice.channel.propose(pair.alice.channel.trade([...], premium=5))
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import trio

from channels.chain.local import LocalChain
from channels.core.phases import Phase
from channels.model import Leg, Marks, Terms, keccak
from channels.risk import DEFAULT_POLICY
from channels.runtime.config import NodeConfig
from channels.runtime.live import LiveChannel
from channels.runtime.node import Node, open_node
from channels.session import any_deal
from channels.store import MemoryStore, Store

from . import roles

DAY = roles.DAY
PATIENCE = 20


@dataclass
class Desk:
    """The market both sides see: one spot and one volatility per underlying, moved by the test."""

    spot: str = "2300"
    vol: str = "0.6"

    def __call__(self, legs: tuple[Leg, ...], now: int) -> Marks:
        return Marks.at(now, spots={leg.underlying: self.spot for leg in legs}, vols=dict.fromkeys(legs, self.vol))


@dataclass
class Side:
    """One party's node and channel."""

    role: roles.Role
    node: Node
    channel: LiveChannel

    @property
    def chain(self) -> Any:
        return self.node.chain


@dataclass
class Pair:
    """Alice (party 0) and Bob (party 1) in one channel."""

    local: LocalChain
    desk: Desk
    alice: Side
    bob: Side
    port: int
    stores: tuple[Store, Store] = field(default_factory=lambda: (MemoryStore(), MemoryStore()))

    @property
    def sides(self) -> tuple[Side, Side]:
        return self.alice, self.bob

    @property
    def terms(self) -> Terms:
        return self.alice.channel.state.terms

    async def fund(self, alice: int, bob: int) -> None:
        """Both deposit tokens, and both states know it."""
        for side, amount in zip(self.sides, (alice, bob), strict=True):
            if amount:
                await side.channel.deposit(amount)
        want = (alice * roles.UNIT, bob * roles.UNIT)
        await self.until(lambda: all(s.channel.state.base[0] is not None for s in self.sides))
        await self.until(lambda: all(s.channel.state.base[0].deposits == want for s in self.sides))  # type: ignore

    async def until(self, happened: Callable[[], bool]) -> None:
        """Wait until something is so; fail after a while."""
        with trio.fail_after(PATIENCE):
            while not happened():
                await trio.sleep(0.01)

    async def phase(self, phase: Phase) -> None:
        """Wait until both sides see a phase."""
        await self.until(lambda: all(side.channel.phase is phase for side in self.sides))

    async def advance(self, seconds: int) -> None:
        """Let the chain's time pass."""
        await trio.to_thread.run_sync(self.local.advance, seconds)

    def agree(self) -> bool:
        """Whether both sides hold the same agreed state."""
        one, other = (side.channel.state.agreed for side in self.sides)
        return (one and one.state) == (other and other.state)


def terms_for(local: LocalChain, salt: bytes = b"pair", **changes: Any) -> Terms:
    """Terms between Alice and Bob on the embedded chain."""
    made = Terms.between(
        roles.alice.address,
        roles.bob.address,
        token=local.token,
        decimals=6,
        source=local.source,
        policy=DEFAULT_POLICY.hash,
        salt=keccak(salt),
        last_resort=local.now + 365 * DAY,
        challenge_period=3_600,
        cure_period=600,
        grace=3_600,
    )
    return replace(made, **changes)


def config_for(local: LocalChain, **changes: Any) -> NodeConfig:
    """A node's policy that trusts the embedded chain's token and price source, and no other publishers than its."""
    config = NodeConfig(
        tokens={local.token: 6},
        sources=frozenset({local.source}),
        source_setups=(local.source_setup,),
        poll=0.02,
        reply_timeout=10,
        turn_timeout=10,
    )
    return replace(config, **changes)


@asynccontextmanager
async def opened_pair(
    *,
    stores: tuple[Store, Store] | None = None,
    alice_config: dict[str, Any] | None = None,
    bob_config: dict[str, Any] | None = None,
    terms: dict[str, Any] | None = None,
    margined: bool = False,
) -> AsyncIterator[Pair]:
    """Open a channel between Alice and Bob; they have a million tokens each in their wallets.

    `margined`: its terms name the chain's risk engine, which both trust.
    """
    local = await trio.to_thread.run_sync(LocalChain, roles.NOW)
    trusted = {"engines": frozenset({local.engine}), "min_cure": 600} if margined else {}
    terms = {"engine": local.engine, **(terms or {})} if margined else terms
    desk = Desk()
    stores = stores or (MemoryStore(), MemoryStore())
    async with AsyncExitStack() as stack:
        nodes = []
        for role, store, changes in zip(roles.PARTIES, stores, (alice_config, bob_config), strict=True):
            client = local.client(role.signer, tokens=1_000_000 * roles.UNIT)
            config = config_for(local, **{**trusted, **(changes or {})})
            node = open_node(
                role.signer,
                store=store,
                chain=client,
                market=desk,
                deal=any_deal,
                config=config,
                clock=lambda: local.now,
            )
            nodes.append(await stack.enter_async_context(node))
        one, other = nodes
        port = await other.listen()
        await one.connect("127.0.0.1", port, roles.bob.address)
        channel = await one.open(terms_for(local, **(terms or {})))
        with trio.fail_after(PATIENCE):
            theirs = await other.incoming()
        sides = Side(roles.alice, one, channel), Side(roles.bob, other, theirs)
        yield Pair(local, desk, *sides, port, stores)
