"""Mallory sells calls it cannot pay for and stops answering; Alice's node calls margin and closes it out by itself.

    python examples/05_margin_call.py

Both sign the positions, and their terms name a risk engine: the contract computes the margin that both nodes compute,
at the price source's spot. Below maintenance a counterparty cures within the cure period, or is closed out at the mark.
"""

from __future__ import annotations

import os
from decimal import Decimal

import trio

from channels import (
    DEFAULT_POLICY,
    CallingMargin,
    ChannelClosed,
    Leg,
    Liquidated,
    LiveChannel,
    LocalChain,
    MarginCalled,
    Marks,
    MemoryStore,
    NodeConfig,
    Signer,
    SpotBreach,
    Terms,
    Updated,
    open_node,
)

ALICE, MALLORY = Signer(os.urandom(32)), Signer(os.urandom(32))
START = 1_704_700_800  # 2024-01-08 08:00 UTC
EXPIRY = START + 7 * 86_400
WAD = 10**18


def market(legs: tuple[Leg, ...], now: int) -> Marks:
    """One view for both: ETH at 2,300, 55 % volatility."""
    return Marks.at(now, spots={leg.underlying: 2300 for leg in legs}, vols=dict.fromkeys(legs, "0.55"))


def usd(units: int) -> str:
    return f"{Decimal(units).scaleb(-6):,.2f}"


async def narrate(channel: LiveChannel) -> None:
    """Print what Alice's node tells its owner about margin, until the channel is closed."""
    async for event in channel:
        match event:
            case SpotBreach(_, equity, maintenance, _, _):
                print(f"alice sees  equity {usd(equity)}, maintenance margin {usd(maintenance)}: below")
            case CallingMargin(version, reason, _, _):
                print(f"alice       calls margin on version {version}: {reason}")
            case MarginCalled(_, deadline, _):
                print(f"alice sees  the call mined; mallory has until {deadline} to cure it")
            case Liquidated(_, value, charge):
                print(f"alice sees  mallory closed out: value {usd(abs(value))}, charge {usd(charge)}")
            case ChannelClosed(payouts):
                mine = payouts[channel.state.me]
                print(f"paid        alice {usd(mine)}, mallory {usd(sum(payouts) - mine)}")


async def main() -> None:
    chain = LocalChain(START)
    # Patience is what an owner gives a peer that still answers: here none, so that the example is short.
    config = NodeConfig(
        tokens={chain.token: 6},
        sources=frozenset({chain.source}),
        engines=frozenset({chain.engine}),
        poll=0.02,
        margin_patience=0,
    )
    alices_chain, mallorys_chain = (chain.client(key, tokens=50_000_000_000) for key in (ALICE, MALLORY))

    def now() -> int:
        return chain.now

    async with (
        open_node(ALICE, store=MemoryStore(), chain=alices_chain, market=market, config=config, clock=now) as alice,
        open_node(
            MALLORY, store=MemoryStore(), chain=mallorys_chain, market=market, config=config, clock=now
        ) as mallory,
    ):
        await alice.connect("127.0.0.1", await mallory.listen(), MALLORY.address)
        terms = Terms.between(
            ALICE.address,
            MALLORY.address,
            token=chain.token,
            decimals=6,
            source=chain.source,
            engine=chain.engine,
            policy=DEFAULT_POLICY.hash,
            salt=os.urandom(32),
            last_resort=START + 365 * 86_400,
            cure_period=3_600,
        )
        hers = await alice.open(terms)
        theirs = await mallory.incoming()
        await hers.deposit("10000")
        await theirs.deposit("10000")
        async for event in theirs:
            if isinstance(event, Updated) and event.agreed.state.deposits == (10_000_000_000, 10_000_000_000):
                break
        await hers.propose(hers.trade([Leg.call("ETH/USD", EXPIRY, 2400, quantity=10)], premium="400"))
        print(f"agreed      version {hers.version}: alice holds {hers.positions[0]}")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(narrate, hers)
            # The publishers report a jump; mallory's owner allows no top-up (`top_up_limit` is 0) and pays nothing.
            await trio.to_thread.run_sync(chain.publish_spot, "ETH/USD", 3_300 * WAD)
            while not hers.state.chain.calls[hers.state.me.other].is_armed:
                await trio.sleep(0.02)
            await trio.to_thread.run_sync(chain.advance, terms.cure_period)
            await trio.to_thread.run_sync(chain.publish_spot, "ETH/USD", 3_350 * WAD)


if __name__ == "__main__":
    trio.run(main)
