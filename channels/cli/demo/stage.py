"""The stage: an embedded chain, two players with a wallet, a store on disk and a node each, and the recorded market."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

import trio

from ...chain.client import Web3Chain
from ...chain.local import LocalChain
from ...core import notices as n
from ...core.phases import Phase
from ...errors import InvariantBroken
from ...model import ZERO_ADDRESS, Party, Terms, keccak
from ...risk import DEFAULT_POLICY
from ...runtime.config import NodeConfig
from ...runtime.confirmation import Confirmation
from ...runtime.live import LiveChannel
from ...runtime.node import Node, open_node
from ...seal import Signer
from ...store import SqliteStore
from ..render import Names
from .market import RecordedMarket

SYMBOL, DECIMALS = "USDC", 6
UNIT: int = 10**DECIMALS
WALLET = 100_000 * UNIT
HOUR, DAY = 3_600, 86_400
LEAD = 300
"""Seconds before the market opens at which the embedded chain starts: deploying and depositing take blocks."""
PATIENCE = 45.0
"""Real seconds after which something that should have happened counts as a bug."""

T = TypeVar("T")


@dataclass(eq=False)
class Player:
    """One party: a key, a wallet and, once it is there, a node with its channel and everything it was told."""

    name: str
    signer: Signer
    chain: Web3Chain
    store: Path
    told: list[n.Notice] = field(default_factory=list)
    live_node: Node | None = None
    live_channel: LiveChannel | None = None

    @property
    def node(self) -> Node:
        """The running node."""
        return _there(self.live_node, f"{self.name}'s node runs")

    @property
    def channel(self) -> LiveChannel:
        """The open channel."""
        return _there(self.live_channel, f"{self.name} has a channel")

    @property
    def updates(self) -> list[n.Updated]:
        """Every agreed state that this side was told of, oldest first."""
        return [notice for notice in self.told if isinstance(notice, n.Updated)]

    def confirmation(self, version: int) -> Confirmation | None:
        """Return this side's own confirmation of an agreed version, once it has been told of it."""
        for update in self.updates:
            if update.agreed.version == version:
                return self.channel.confirmation(update.agreed, update.operations)
        return None


@dataclass(eq=False)
class Stage:
    """Everything that is real in the demo. Amounts in token units, times in unix seconds of the embedded chain."""

    local: LocalChain
    market: RecordedMarket
    players: tuple[Player, Player]
    terms: Terms
    nursery: trio.Nursery
    wallets_before: tuple[int, int]
    facts: dict[str, Any] = field(default_factory=dict)
    """What the acts add to the JSON document."""

    @property
    def alice(self) -> Player:
        return self.players[0]

    @property
    def bob(self) -> Player:
        return self.players[1]

    @property
    def by_party(self) -> tuple[Player, Player]:
        """The players in the protocol's order: party 0 is the lower signer address."""
        return self.players if self.party(self.alice) is Party.ZERO else (self.bob, self.alice)

    @property
    def names(self) -> Names:
        """What to call party 0 and party 1."""
        one, other = self.by_party
        return one.name, other.name

    def party(self, player: Player) -> Party:
        """Return which party a player is."""
        return Party(self.terms.signers.index(player.signer.address))

    def wallets(self) -> tuple[int, int]:
        """Return the tokens of party 0 and 1 outside the adjudicator. Blocks."""
        one, other = (p.chain.balance_of(self.local.token, p.signer.address) for p in self.by_party)
        return one, other

    # What happens on it

    async def open_node(self, stack: AsyncExitStack, player: Player, **config: Any) -> None:
        """Start a player's node on its own store; `config` changes what its owner decided."""
        store = SqliteStore.open(player.store)
        stack.callback(store.close)
        made = NodeConfig(
            tokens={self.local.token: DECIMALS},
            sources=frozenset({self.local.source}),
            source_setups=(self.local.source_setup,),
            engines=frozenset({self.terms.engine} - {ZERO_ADDRESS}),
            poll=0.02,
            **{"reply_timeout": PATIENCE, **config},
        )
        node = open_node(
            player.signer,
            store=store,
            chain=player.chain,
            market=self.market,
            config=made,
            clock=lambda: self.local.now,
        )
        player.live_node = await stack.enter_async_context(node)

    def attend(self, player: Player, channel: LiveChannel) -> None:
        """Give a player its channel, and write down from now on what its node tells."""
        player.live_channel = channel

        async def listen() -> None:
            async for notice in channel:
                player.told.append(notice)

        self.nursery.start_soon(listen)

    async def on_chain(self, what: Callable[..., T], *arguments: Any) -> T:
        """Do something that blocks, off the trio thread."""
        return await trio.to_thread.run_sync(what, *arguments)

    async def time(self, time: int) -> None:
        """Let the chain's clock reach a moment, which both nodes then see."""
        if time > self.local.now:
            await self.on_chain(self.local.set_time, time)

    async def until(self, happened: Callable[[], bool], what: str) -> None:
        """Wait until something is so; InvariantBroken if it does not come about."""
        with trio.move_on_after(PATIENCE):
            while not happened():
                await trio.sleep(0.005)
            return
        raise InvariantBroken(what, f"not within {PATIENCE:g} s")

    async def gas(self, entry_point: str, count: int = 1) -> int:
        """Return what an entry point's `count`th transaction used: a node may see its log before its receipt is in."""

        def used() -> tuple[int, ...]:
            return self.local.gas.get(entry_point, ())

        await self.until(lambda: len(used()) >= count, f"{entry_point} is mined")
        return used()[count - 1]

    async def phase(self, phase: Phase, *players: Player) -> None:
        """Wait until players (default: both) see the channel in a phase."""
        watching = players or self.players
        await self.until(lambda: all(p.channel.phase is phase for p in watching), f"the channel is {phase.value}")


@asynccontextmanager
async def open_stage(market: RecordedMarket, *, margined: bool = False) -> AsyncIterator[Stage]:
    """Build the chain, give both players their wallets, and write the terms; no node runs yet.

    `margined`: the terms name a risk engine, so that the contract can enforce their margin.
    """
    local = await trio.to_thread.run_sync(lambda: LocalChain(market.start - LEAD, symbol=SYMBOL, decimals=DECIMALS))
    with TemporaryDirectory(prefix="channels-demo-") as directory:
        players = []
        for name in ("alice", "bob"):
            signer = Signer(keccak(f"option-channels demo: {name}".encode()))
            client = await trio.to_thread.run_sync(partial(local.client, signer, tokens=WALLET))
            players.append(Player(name, signer, client, Path(directory) / f"{name}.sqlite3"))
        alice, bob = players
        terms = Terms.between(
            alice.signer.address,
            bob.signer.address,
            token=local.token,
            decimals=DECIMALS,
            source=local.source,
            policy=DEFAULT_POLICY.hash,
            salt=keccak(b"option-channels demo"),
            last_resort=market.start + 365 * DAY,
            challenge_period=DAY,
            engine=await trio.to_thread.run_sync(lambda: local.engine) if margined else ZERO_ADDRESS,
            cure_period=HOUR if margined else HOUR // 2,
        )
        async with trio.open_nursery() as nursery:
            stage = Stage(local, market, (alice, bob), terms, nursery, (0, 0))
            stage.wallets_before = await stage.on_chain(stage.wallets)
            yield stage
            nursery.cancel_scope.cancel()


def _there(value: T | None, what: str) -> T:
    if value is None:
        raise InvariantBroken(what, "it is not there yet")
    return value
