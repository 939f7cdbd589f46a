"""What one agreed update costs: `python -m tests.bench.bench_update`.

Two nodes over loopback TCP agree marks of a 16-leg book, one at a time: each side computes the next state and its
hashes, signs and verifies. Beside it, in the same run, the floor: two signatures and two verifications by the fastest
library calls here, which no protocol of co-signed states can do without.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import quantiles

import trio

from channels.chain.local import LocalChain
from channels.core import events as e
from channels.core.facts import DepositSeen
from channels.model import Acknowledge, Book, Leg, Marks, Party
from channels.runtime.node import Node, open_node
from channels.seal import check_signature, state_digest
from channels.store import MemoryStore, SqliteStore, Store
from tests import roles
from tests.bench.bench_risk import best_us
from tests.pair import config_for, terms_for

UPDATES = 200
LEGS = 16


def held() -> tuple[Leg, ...]:
    """Sixteen small legs over four expiries."""
    days = (7, 14, 28, 56)
    return tuple(
        (Leg.call if i % 2 else Leg.put)(
            roles.ETH, roles.NOW + days[i % 4] * roles.DAY, 2000 + 40 * i, quantity=(-1) ** i
        )
        for i in range(LEGS)
    )


def view(legs: tuple[Leg, ...], now: int) -> Marks:
    return Marks.at(now, spots={roles.ETH: 2300}, vols=dict.fromkeys(legs, "0.6"))


def pieces() -> float:
    """Print what the pieces cost, microseconds; return the floor."""
    legs = held()
    marks = view(tuple(sorted(legs, key=lambda leg: leg.key)), roles.NOW)
    book = Book.of(legs, marks, b"s" * 32)
    state = roles.state(book)
    digest = state_digest(roles.DEPLOYMENT, state)
    signature = roles.alice.signer.sign(digest)
    rows = {
        f"book of {LEGS} legs: bytes and hash": best_us(lambda: Book(book.legs, book.marks, book.salt), 200),
        "digest of a state": best_us(lambda: state_digest(roles.DEPLOYMENT, state), 1000),
        "sign": best_us(lambda: roles.alice.signer.sign(digest), 500),
        "verify": best_us(lambda: check_signature(digest, signature, roles.alice.address), 500),
    }
    for name, took in rows.items():
        print(f"  {name:36} {took:8.1f} us")
    return 2 * rows["sign"] + 2 * rows["verify"]


@contextmanager
def stores(durable: bool) -> Iterator[tuple[Store, Store]]:
    """A store per side: in memory, or SQLite files on this machine's disk."""
    if not durable:
        yield MemoryStore(), MemoryStore()
        return
    with tempfile.TemporaryDirectory() as place:
        pair = tuple(SqliteStore.open(Path(place) / f"{name}.sqlite3") for name in ("alice", "bob"))
        yield pair[0], pair[1]
        for store in pair:
            store.close()


async def agree_updates(durable: bool) -> list[float]:
    """Return the seconds that each of the updates took, from the proposal to the confirmation."""
    local = LocalChain(roles.NOW)
    with stores(durable) as (one, other):
        config = config_for(local, poll=3600, housekeeping=False)
        kit = {"market": view, "config": config, "clock": lambda: local.now}
        chains = [local.client(role.signer) for role in roles.PARTIES]
        async with (
            open_node(roles.alice.signer, store=one, chain=chains[0], **kit) as alice,
            open_node(roles.bob.signer, store=other, chain=chains[1], **kit) as bob,
        ):
            return await _measure(alice, bob, local)


async def _measure(alice: Node, bob: Node, local: LocalChain) -> list[float]:
    port = await bob.listen()
    await alice.connect("127.0.0.1", port, roles.bob.address)
    channel = await alice.open(terms_for(local))
    await bob.incoming()
    for node in (alice, bob):
        for party in Party:
            node.act(node.seats[channel.id], e.DepositConfirmed(DepositSeen(party, 10**12)))
    await channel.propose(Acknowledge((10**12, 10**12), (0, 0)))
    await channel.propose(channel.trade(held(), premium=0))
    took = []
    for _ in range(UPDATES):
        start = time.perf_counter()
        await channel.mark()
        took.append(time.perf_counter() - start)
    return took


def main() -> None:
    print("pieces")
    floor = pieces()
    print(f"  {'floor: 2 signatures, 2 verifications':36} {floor:8.1f} us")
    print(f"one agreed update at a time, both sides in one process, {LEGS} legs, loopback TCP, {UPDATES} updates")
    for name, durable in (("memory stores", False), ("SQLite stores, durable", True)):
        took = trio.run(agree_updates, durable)
        cuts = quantiles(took, n=100)
        half, most = cuts[49] * 1e6, cuts[98] * 1e6
        print(f"  {name:24} p50 {half:8.0f} us = {half / floor:5.1f} × floor     p99 {most:8.0f} us")


if __name__ == "__main__":
    main()
