"""Alice's disk is gone. With her key and nothing else she gets her channel back from Bob, who kept a sealed backup.

    python examples/06_recover_from_nothing.py

What comes back may be old, and Bob could not prove that it is new: so her node signs nothing until both owners agree.
docs/recovery.md goes through this output line by line.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path

import trio

from channels import (
    DEFAULT_POLICY,
    Leg,
    LiveChannel,
    LocalChain,
    Marks,
    Node,
    NodeConfig,
    RecoveryRequested,
    RuleViolation,
    Signer,
    SqliteStore,
    Terms,
    Updated,
    open_node,
)

ALICE, BOB = Signer(os.urandom(32)), Signer(os.urandom(32))
START = 1_704_700_800  # 2024-01-08 08:00 UTC
EXPIRY = "2024-01-26"  # at 08:00 UTC, as listed options do


def market(legs: tuple[Leg, ...], now: int) -> Marks:
    """Say what we think the market is: a node uses it for its own marks and to judge the peer's."""
    return Marks.at(now, spots={leg.underlying: 2300 for leg in legs}, vols=dict.fromkeys(legs, "0.55"))


def usd(units: int) -> str:
    """Amounts are integers of the token's smallest unit: here, millionths of a dollar."""
    return f"{Decimal(units).scaleb(-6):,.2f}"


@asynccontextmanager
async def running(chain: LocalChain, key: Signer, directory: Path) -> AsyncIterator[Node]:
    """Run a node whose store is a file in this directory."""
    config = NodeConfig(tokens={chain.token: 6}, sources=frozenset({chain.source}), poll=0.02, backup_interval=0.05)
    store = SqliteStore.open(directory / "channels.db")
    try:
        wallet = chain.client(key, tokens=50_000_000_000)
        async with open_node(
            key, store=store, chain=wallet, market=market, config=config, clock=lambda: chain.now
        ) as node:
            yield node
    finally:
        store.close()


async def agreed_deposits(channel: LiveChannel, want: tuple[int, int]) -> None:
    """Read the channel's events until both deposits are part of the state that both parties signed."""
    async for event in channel:
        if isinstance(event, Updated) and event.agreed.state.deposits == want:
            return


async def consent(channel: LiveChannel) -> None:
    """Bob's owner: read what the peer asks, and agree. A desk would ring the other desk first."""
    async for event in channel:
        if isinstance(event, RecoveryRequested):
            print(f"bob's owner sees a loss claimed: the peer shows version {event.theirs}, we hold {event.ours}")
            channel.allow_recovery(event.marker)
            return


async def main(home: Path) -> None:
    chain = LocalChain(START)
    for name in ("alice", "bob"):
        (home / name).mkdir()
    async with running(chain, BOB, home / "bob") as bob:
        port = await bob.listen("127.0.0.1", 0)
        async with running(chain, ALICE, home / "alice") as alice:
            await alice.connect("127.0.0.1", port, BOB.address)
            terms = Terms.between(
                ALICE.address,
                BOB.address,
                token=chain.token,
                decimals=6,
                source=chain.source,
                policy=DEFAULT_POLICY.hash,
                salt=os.urandom(32),
                last_resort=START + 365 * 86_400,
            )
            hers = await alice.open(terms)
            theirs = await bob.incoming()
            await hers.deposit("10000")
            await theirs.deposit("10000")
            await agreed_deposits(hers, (10_000_000_000, 10_000_000_000))
            await hers.propose(hers.trade([Leg.call("ETH/USD", EXPIRY, 2400, quantity=10)], premium="713"))
            version = hers.version
            print(f"agreed      version {version}: alice holds {hers.positions[0]}")
            await trio.sleep(0.3)  # her node hands Bob's a new backup at most every `backup_interval`

        shutil.rmtree(home / "alice")
        (home / "alice").mkdir()
        print("gone        alice's whole directory: journal, instance marker, everything but the key")

        async with running(chain, ALICE, home / "alice") as alice, trio.open_nursery() as nursery:
            (back,) = await alice.recover("127.0.0.1", port, BOB.address)
            print(f"recovered   version {back.version}: alice holds {back.positions[0]}, cash {usd(back.balance)}")
            print(f"waits for   {back.waiting_for()}")
            try:
                await back.mark()
            except RuleViolation as refused:
                print(f"refused     {refused.code}")
            nursery.start_soon(consent, theirs)
            first = await back.recover()  # alice's owner agrees here; it returns once bob's owner has agreed too
            print(f"agreed      by both owners: signing goes on from version {first:,}")
            await back.propose(back.trade([Leg.call("ETH/USD", EXPIRY, 2400, quantity=-4)], premium="-285"))
            print(f"traded      version {back.version:,}: alice holds {back.positions[0]}")
            payouts = await back.close()
            print(f"closed      paid to party 0 and 1: {usd(payouts[0])} and {usd(payouts[1])}")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as directory:
        trio.run(main, Path(directory))
