"""A node in a process of its own, to be killed: `python -m tests.peer_process STORE PORT` proposes marks for ever.

It speaks to Bob at a loopback port, keeps its journal in STORE, and prints each version that it was told is agreed:
what it has printed is what its owner may rely on.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import trio

from channels.chain.port import Block, ChannelPhase, OnChain
from channels.chain.source import AuditedCode
from channels.core import checkpoint, events as e, facts as f
from channels.core.notices import Updated
from channels.errors import ChannelError
from channels.model import ZERO32, ChannelId, Deployment, Party, Terms, keccak
from channels.risk import DEFAULT_POLICY
from channels.runtime.config import NodeConfig
from channels.runtime.live import LiveChannel
from channels.runtime.node import Node, open_node
from channels.store import SqliteStore
from tests import roles

CHAIN = roles.DEPLOYMENT
TERMS = Terms.between(
    roles.alice.address,
    roles.bob.address,
    token=roles.TERMS.token,
    decimals=6,
    source=roles.TERMS.source,
    policy=DEFAULT_POLICY.hash,
    salt=keccak(b"kill -9"),
    last_resort=roles.NOW + 365 * roles.DAY,
)
CONFIG = NodeConfig(tokens={TERMS.token: 6}, sources=frozenset({TERMS.source}), poll=0.05, reply_timeout=5)


class QuietChain:
    """A chain on which both deposits were made in block 1, and nothing happens since."""

    deployment: Deployment = CHAIN

    def verify_code(self, address: Any, name: str) -> None:
        """The contracts are what they should be."""

    def verify_source(self, source: Any, accepted: Any) -> AuditedCode:
        """So is the price source."""
        return AuditedCode(bytes(32))

    def head(self) -> Block:
        return Block(1, roles.NOW)

    def block(self, number: int) -> Block:
        return Block(number, roles.NOW)

    def facts(self, first: int, last: int) -> list[Any]:
        return []

    def status(self, channel: ChannelId, block: int | None = None) -> OnChain:
        return OnChain(ChannelPhase.OPEN, 0, 0, ZERO32, (10_000 * roles.UNIT,) * 2, (0, 0))


def both_deposited(node: Node, channel: LiveChannel) -> None:
    """Have the node confirm a deposit of ten thousand tokens by each side."""
    for party in Party:
        node.act(node.seats[channel.id], e.DepositConfirmed(f.DepositSeen(party, 10_000 * roles.UNIT)))


async def print_what_is_agreed(channel: LiveChannel) -> None:
    """Print versions as the owner learns of them."""
    async for notice in channel:
        if isinstance(notice, Updated):
            print(notice.agreed.version, flush=True)


async def main(store: Path, port: int) -> None:
    """Propose marks, one after the other, until killed. The journal compacts every few updates, to be killed there."""
    checkpoint.EVERY = 8
    journal = SqliteStore.open(store)
    chain: Any = QuietChain()
    async with (
        open_node(roles.alice.signer, store=journal, chain=chain, config=CONFIG, clock=lambda: roles.NOW) as node,
        trio.open_nursery() as nursery,
    ):
        await node.connect("127.0.0.1", port, roles.bob.address)
        channel = next(iter(node.channels.values()), None) or await node.open(TERMS)
        nursery.start_soon(print_what_is_agreed, channel)
        both_deposited(node, channel)
        while True:
            try:
                await channel.mark()
            except ChannelError as refused:
                print(refused, file=sys.stderr, flush=True)


if __name__ == "__main__":
    trio.run(main, Path(sys.argv[1]), int(sys.argv[2]))
