"""The other side of the benchmark, in a process of its own: `python -m tests.bench.side STORE ENGINE`.

Prints its port, then answers each line of its input with one line of JSON; `profile` writes its profile to a file.
"""

from __future__ import annotations

import cProfile
import json
import sys
import time
from pathlib import Path
from typing import Any

import trio

from channels.model import ChannelId
from channels.risk import EXACT
from channels.risk.screen import FloatScreen
from channels.runtime.node import Node, open_node
from channels.session import any_deal
from channels.store import MemoryStore, SqliteStore, Store
from tests import peer_process, roles
from tests.bench import desk
from tests.bench.floor import Floor
from tests.bench.probe import Probe

ENGINES = {"screen": FloatScreen, "exact": lambda: EXACT}
FLOORS = 8
"""How often the floor is sampled at a time."""


def store_at(place: str) -> Store:
    """Return the store at a path; `memory` is one that forgets."""
    return MemoryStore() if place == "memory" else SqliteStore.open(place)


def floors(clock: Any = time.perf_counter) -> list[float]:
    """Sample the floor a few times."""
    floor = Floor(clock)
    return [floor.take() for _ in range(FLOORS)]


async def meet(node: Node) -> None:
    """Confirm both deposits in each channel that the peer opens."""
    while True:
        peer_process.both_deposited(node, await node.incoming())


async def obey(node: Node, probe: Probe) -> None:
    """Answer the other process until it hangs up."""
    done: set[ChannelId] = set()
    profile: cProfile.Profile | None = None
    while line := (await trio.to_thread.run_sync(sys.stdin.readline)).split():
        answer: Any = None
        match line[0]:
            case "floor":
                answer = floors()
            case "verify":
                desk.verify_all(node, done)
            case "take":
                answer = probe.taken()
            case "profile":
                profile = cProfile.Profile()
                profile.enable()
            case "profiled" if profile is not None:
                profile.disable()
                profile.dump_stats(line[1])
        print(json.dumps(answer), flush=True)


async def main(place: str, engine: str) -> None:
    store, probe, chain = store_at(place), Probe(), peer_process.QuietChain()
    with probe.watching(store):
        async with (
            open_node(
                roles.bob.signer,
                store=store,
                chain=chain,  # type: ignore[arg-type]  # the part of a chain that nothing happens on
                market=desk.market,
                deal=any_deal,
                config=desk.config(ENGINES[engine]()),
                clock=desk.now,
            ) as node,
            trio.open_nursery() as nursery,
        ):
            nursery.start_soon(meet, node)
            print(await node.listen(), flush=True)
            await obey(node, probe)
            nursery.cancel_scope.cancel()
    store.close()


if __name__ == "__main__":
    trio.run(main, sys.argv[1], sys.argv[2])
