"""What idle channels hold: `python -m tests.bench.idle STORE` restores a node from its journal and prints how many
channels it has, and by how many bytes of memory it grew for all of them."""

from __future__ import annotations

import gc
import sys

import trio

from channels.risk.screen import FloatScreen
from channels.runtime.node import open_node
from channels.store import SqliteStore
from tests import peer_process, roles
from tests.bench import desk
from tests.bench.probe import resident


async def main(place: str) -> None:
    store, chain = SqliteStore.open(place, create=False), peer_process.QuietChain()
    desk.price(0)
    before = resident()
    async with open_node(
        roles.bob.signer,
        store=store,
        chain=chain,  # type: ignore[arg-type]  # the part of a chain that nothing happens on
        market=desk.market,
        config=desk.config(FloatScreen()),
        clock=desk.now,
    ) as node:
        # Once around: the chain looked at, duties and margins asked for.
        await trio.sleep(2 * node.config.poll)
        gc.collect()
        print(len(node.channels), resident() - before)
    store.close()


if __name__ == "__main__":
    trio.run(main, sys.argv[1])
