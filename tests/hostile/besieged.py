"""Bob's node under attack: here, or in a process of its own, so that the memory it takes is its alone.

python -m tests.hostile.besieged MAX_STRANGERS     prints its port, then one line of figures for each line it reads
"""

from __future__ import annotations

import gc
import json
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import trio

from channels.chain.port import ChannelPhase, OnChain
from channels.model import ZERO32, Address, ChannelId, Marks, Terms, keccak
from channels.runtime.node import Node, open_node
from channels.session import any_deal
from channels.store import MemoryStore, Store
from tests import peer_process, roles


class EmptyChain(peer_process.QuietChain):
    """A chain on which nobody has deposited anything: who has money in a channel is told to the node by the test."""

    def status(self, channel: ChannelId, block: int | None = None) -> OnChain:
        return OnChain(ChannelPhase.OPEN, 0, 0, ZERO32, (0, 0), (0, 0))


def market(legs: tuple[Any, ...], now: int) -> Marks:
    """One spot and one volatility for all."""
    return Marks.at(now, spots={leg.underlying: "2300" for leg in legs}, vols=dict.fromkeys(legs, "0.6"))


def terms_with(one: Address, other: Address, salt: bytes = b"besieged") -> Terms:
    """Terms that a besieged node takes from either of these two."""
    signers = (min(one, other), max(one, other))
    return replace(peer_process.TERMS, signers=signers, owners=signers, salt=keccak(salt))


@asynccontextmanager
async def node_of(role: roles.Role, store: Store | None = None, **config: Any) -> AsyncIterator[Node]:
    """A node on a chain where nothing happens."""
    settings = {"reply_timeout": 10.0, "poll": 0.2} | config
    chain: Any = EmptyChain()
    async with open_node(
        role.signer,
        store=store or MemoryStore(),
        chain=chain,
        market=market,
        deal=any_deal,
        config=replace(peer_process.CONFIG, **settings),
        clock=lambda: roles.NOW,
    ) as node:
        yield node


def figures(node: Node) -> dict[str, int]:
    """What the process holds: resident bytes, and counts of what a peer can make more of."""
    pages = int(Path("/proc/self/statm").read_text("ascii").split()[1])
    return {
        "rss": pages * 4096,
        "cpu_ms": int(time.process_time() * 1e3),
        "files": len(list(Path("/proc/self/fd").iterdir())),
        "strangers": len(node._strangers),
        "links": len(node._links),
        "channels": len(node.seats),
        "waiting": len(node.driver._queue),
        "records": sum(len(node.store.records(channel)) for channel in node.store.channels()),
        "notices": sum(len(live._unread) for live in node.channels.values()),
    }


async def main(max_strangers: int) -> None:
    """Listen until the other end of stdin is closed."""
    async with node_of(roles.bob, max_strangers=max_strangers) as node:
        print(await node.listen(), flush=True)
        async for asked in trio.wrap_file(sys.stdin):
            if asked.strip() == "rest":
                gc.collect()
            print(json.dumps(figures(node)), flush=True)


if __name__ == "__main__":
    trio.run(main, int(sys.argv[1]))
