"""What attacks cost the node they are made on: `python -m tests.bench.bench_hostile [CONNECTIONS]`, 10,000 by default.

The node runs in a process of its own, so that its resident memory is what is read; the attacker and an honest friend,
who agrees marks all the while, are in this one. Peaks are read ten times a second. The figures stand in
docs/security.md.
"""

from __future__ import annotations

import json
import resource
import socket
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from statistics import quantiles

import trio

from channels.model import Withdraw
from channels.runtime.live import LiveChannel
from channels.wire import messages as m
from channels.wire.codec import MAX_MESSAGE
from tests import roles
from tests.hostile.attacks import client_hello, dial_raw, drained, flood, hung_up, line_to
from tests.hostile.besieged import node_of, terms_with
from tests.peer_process import CHAIN, both_deposited

BOB = roles.bob.address
STRANGERS = 256
MIB = 1_048_576
SPARE_FILES = 200
PATIENCE = 30
BURST = 500


class Besieged:
    """The node's process, asked for its figures over a pipe."""

    def __init__(self, process: trio.Process, port: int) -> None:
        self.port = port
        self._process = process
        self._heard = b""
        self._lock = trio.Lock()

    async def figures(self, *, at_rest: bool = False) -> dict[str, int]:
        """Return what it holds now; `at_rest`: after its garbage is collected, which is no work to do under attack."""
        async with self._lock:
            assert self._process.stdin is not None
            await self._process.stdin.send_all(b"rest\n" if at_rest else b"\n")
            answer: dict[str, int] = json.loads(await self.line())
            return answer

    async def line(self) -> bytes:
        """Return its next line."""
        assert self._process.stdout is not None
        while b"\n" not in self._heard:
            self._heard += await self._process.stdout.receive_some()
        line, self._heard = self._heard.split(b"\n", 1)
        return line


@dataclass
class Watch:
    """Peaks during one attack, and how long the friend waited for each update."""

    rss: int = 0
    strangers: int = 0
    files: int = 0
    waits: tuple[float, ...] = ()

    async def look(self, node: Besieged) -> None:
        while True:
            seen = await node.figures()
            self.rss = max(self.rss, seen["rss"])
            self.strangers = max(self.strangers, seen["strangers"])
            self.files = max(self.files, seen["files"])
            await trio.sleep(0.1)

    async def trade(self, friend: LiveChannel) -> None:
        while True:
            began = time.perf_counter()
            await friend.mark()
            self.waits += (time.perf_counter() - began,)
            await trio.sleep(0.02)


Attack = Callable[[int], Awaitable[str]]


async def silent(port: int, connections: int, said: bytes = b"") -> str:
    """Connections that say `said` and nothing more, as fast as the node takes them: the kernel's queue never fills."""
    held: list[socket.socket] = []
    made, ended, began = 0, 0, trio.current_time()
    while made < connections or (len(held) > STRANGERS and trio.current_time() < began + PATIENCE):
        burst = min(BURST, connections - made) if len(held) <= STRANGERS + BURST else 0
        held += await dial_raw(port, burst, said)
        made += burst
        await trio.sleep(0.1)
        over = [one for one in held if hung_up(one)]
        close(over)
        ended += len(over)
        held = [one for one in held if one.fileno() >= 0]
    took = trio.current_time() - began
    await trio.sleep(1)
    close(held)
    return f"{made:,} connections in {took:.0f} s, {ended:,} ended by the node"


async def nothing() -> str:
    """No attack: what the friend waits for anyway."""
    await trio.sleep(3)
    return ""


async def dribbling(port: int, connections: int) -> str:
    """A byte of a TLS hello a second, on each."""
    raw = await dial_raw(port, connections)
    for byte in client_hello()[:12]:
        for one in raw:
            try:
                one.send(bytes((byte,)))
            except OSError:
                continue
        await trio.sleep(1)
    close(raw)
    return f"{len(raw):,} connections, 12 s"


def close(raw: list[socket.socket]) -> None:
    for one in raw:
        one.close()


async def strangers_with_frames(port: int, connections: int) -> str:
    """Strangers who shake hands, begin the longest frame there is, and stop one byte short of its end."""
    unfinished = MAX_MESSAGE.to_bytes(4, "big") + bytes(MAX_MESSAGE - 1)

    async def one(at: int, ready: trio.Event) -> None:
        signer = type(roles.mallory.signer)(at.to_bytes(32, "big"))
        async with line_to(port, signer, BOB) as stream:
            await stream.send_all(unfinished)
            ready.set()
            await trio.sleep_forever()

    async with trio.open_nursery() as nursery:
        for at in range(connections):
            ready = trio.Event()
            nursery.start_soon(one, at + 1, ready)
            await ready.wait()
        await trio.sleep(1)
        nursery.cancel_scope.cancel()
    return f"{connections} strangers"


async def flooding(port: int, make: Callable[[int], m.Message | bytes], count: int, *, reads: bool = True) -> str:
    """One peer says a thing again and again, over as many lines as it takes."""
    said, lines = 0, 0
    while said < count and lines < 20:
        async with line_to(port, roles.mallory.signer, BOB) as stream, trio.open_nursery() as nursery:
            if reads:
                nursery.start_soon(partial(drained, patience=60), stream)
            said += await flood(stream, make, count - said, patience=60)
            await trio.sleep(0.2)
            nursery.cancel_scope.cancel()
        lines += 1
    return f"{said:,} messages, {lines} line{'s' if lines > 1 else ''}"


def attacks(connections: int) -> dict[str, Attack]:
    """Every attack by name; each takes the port and says how much it did."""
    terms = terms_with(roles.mallory.address, BOB)
    channel = terms.channel_id(CHAIN)

    def opens(at: int) -> m.Message:
        return m.Open(CHAIN, terms_with(roles.mallory.address, BOB, at.to_bytes(4, "big")))

    def nonsense(at: int) -> m.Message:
        return m.Propose(channel, 1 + at, (Withdraw(10**9),), bytes(32), bytes(65), 9)

    def turns(at: int) -> m.Message:
        return m.WantTurn(channel) if at % 2 else m.PassTurn(channel, at + 1)

    return {
        "none, for comparison": lambda port: nothing(),
        "connections that never speak": partial(silent, connections=connections),
        "half a TLS hello on each": partial(silent, connections=connections, said=client_hello()[:100]),
        "a byte of a hello a second": partial(dribbling, connections=STRANGERS),
        "unfinished frames of strangers": partial(strangers_with_frames, connections=STRANGERS),
        "Propose of nonsense": partial(
            flooding, make=lambda at: m.Open(CHAIN, terms) if not at else nonsense(at), count=10_000
        ),
        "the same, and answers not read": partial(
            flooding, make=lambda at: m.Open(CHAIN, terms) if not at else nonsense(at), count=10_000, reads=False
        ),
        "Resume again and again": partial(
            flooding, make=lambda at: m.Resume(channel, 0, at, None), count=10_000, reads=False
        ),
        "WantTurn and PassTurn": partial(flooding, make=turns, count=10_000),
        "Reject, with all the words it may have": partial(
            flooding, make=lambda at: m.Reject(channel, 0, "x" * 64, "y" * 512), count=10_000
        ),
        "CollateralCall": partial(flooding, make=lambda at: m.CollateralCall(channel, at, 10**9), count=10_000),
        "a frame of four gigabytes": partial(flooding, make=lambda at: b"\xff" * 4, count=20),
        "Open of one channel after the other": partial(flooding, make=opens, count=10_000),
    }


async def measure(node: Besieged, friend: LiveChannel, name: str, attack: Attack) -> None:
    """Make one attack and print its line."""
    before, watch = await node.figures(at_rest=True), Watch()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch.look, node)
        nursery.start_soon(watch.trade, friend)
        await trio.sleep(0.3)
        done = await attack(node.port)
        nursery.cancel_scope.cancel()
    await trio.sleep(0.5)
    after = await node.figures(at_rest=True)
    cuts = quantiles(watch.waits, n=100) if len(watch.waits) > 1 else [float("nan")]
    p50, p99 = cuts[len(cuts) // 2] * 1e3, cuts[-1] * 1e3
    print(
        f"| {name} | {done} | {(watch.rss - before['rss']) / MIB:.1f} | {(after['rss'] - before['rss']) / MIB:.1f} "
        f"| {(after['cpu_ms'] - before['cpu_ms']) / 1e3:.1f} | {watch.strangers} | {watch.files} "
        f"| {len(watch.waits)} | {p50:.0f} | {p99:.0f} |",
        flush=True,
    )


async def main(connections: int) -> None:
    """Make every attack on one node, one after the other."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    fitting = min(connections, hard - SPARE_FILES)
    if fitting < connections:
        print(f"this process may hold {hard:,} files, so {fitting:,} connections instead of {connections:,}")
    command = [sys.executable, "-m", "tests.hostile.besieged", str(STRANGERS)]
    async with trio.open_nursery() as nursery:
        run = partial(trio.run_process, command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        process = await nursery.start(run)
        node = Besieged(process, 0)
        node.port = int(await node.line())
        async with node_of(roles.alice) as alice:
            await alice.connect("127.0.0.1", node.port, BOB)
            friend = await alice.open(terms_with(roles.alice.address, BOB))
            both_deposited(alice, friend)
            for _ in range(50):
                await friend.mark()
            print(f"resident before: {(await node.figures())['rss'] / MIB:.0f} MiB")
            print("| attack | how much | peak, MiB more | after, MiB | CPU, s | strangers | files", end=" ")
            print("| updates | p50, ms | p99, ms |")
            print("|---|---|---|---|---|---|---|---|---|---|")
            for name, attack in attacks(fitting).items():
                await measure(node, friend, name, attack)
            print(json.dumps(await node.figures()))
        assert process.stdin is not None
        await process.stdin.aclose()


if __name__ == "__main__":
    trio.run(main, int(sys.argv[1]) if len(sys.argv) > 1 else 10_000)
