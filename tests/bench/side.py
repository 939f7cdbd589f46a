"""The other side of the benchmark, in a process of its own: `python -m tests.bench.side STORE ENGINE [profiled]`.

Prints its port, then answers each line of its input with one line of JSON.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import trio

from channels.risk import EXACT
from channels.risk.screen import FloatScreen
from channels.runtime.node import Node, open_node
from channels.session import any_deal
from channels.store import MemoryStore, SqliteStore, Store
from tests import peer_process, roles
from tests.bench import desk
from tests.bench.floor import sample
from tests.bench.probe import Probe
from tests.bench.profile import Sampler, inline

ENGINES = {"screen": FloatScreen, "exact": lambda: EXACT}
FLOORS = 8
"""How often the floor is sampled at a time."""


def store_at(place: str) -> Store:
    """Return the store at a path; `memory` is one that forgets."""
    return MemoryStore() if place == "memory" else SqliteStore.open(place)


def floors() -> list[tuple[float, float]]:
    """Sample the floor a few times: processor and wall."""
    return [(taken.cpu, taken.wall) for taken in (sample() for _ in range(FLOORS))]


async def meet(node: Node) -> None:
    """Confirm both deposits in each channel that the peer opens."""
    while True:
        peer_process.both_deposited(node, await node.incoming())


async def obey(node: Node, probe: Probe) -> None:
    """Answer the other process until it hangs up."""
    sampler = Sampler()
    while line := (await trio.to_thread.run_sync(sys.stdin.readline)).split():
        answer: Any = None
        match line[0]:
            case "floor":
                answer = floors()
            case "take":
                answer = probe.taken()
            case "profile":
                sampler.start()
            case "profiled":
                answer = sampler.stop()
        print(json.dumps(answer), flush=True)


async def main(place: str, engine: str, profiled: bool) -> None:
    store, probe, chain = store_at(place), Probe(), peer_process.QuietChain()
    with inline() if profiled else probe.watching(store):
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
    trio.run(main, sys.argv[1], sys.argv[2], sys.argv[3:] == ["profiled"])
