"""Two nodes open a channel, trade a call spread, are refused by margin, and close. One process, no network, no set-up.

    python examples/01_trade_a_spread.py

The chain is an EVM inside this process, with the shipped contracts on it; everything else is what a trading bot does:
two stores, two nodes, a TCP connection on loopback. On a real chain, `Web3Chain.connect(url, ...)` takes its place.
"""

from __future__ import annotations

import os
from decimal import Decimal

import trio

from channels import (
    DEFAULT_POLICY,
    ChannelClosed,
    Leg,
    LiveChannel,
    LocalChain,
    MarginShortfall,
    Marks,
    MemoryStore,
    NodeConfig,
    Signer,
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


async def agreed_deposits(channel: LiveChannel, want: tuple[int, int]) -> None:
    """Read the channel's events until both deposits are part of the state that both parties signed."""
    async for event in channel:
        if isinstance(event, Updated) and event.agreed.state.deposits == want:
            return


async def main() -> None:
    chain = LocalChain(START)
    # A node accepts only tokens and price sources that its owner has named.
    config = NodeConfig(tokens={chain.token: 6}, sources=frozenset({chain.source}), poll=0.02)
    alices_chain, bobs_chain = (chain.client(key, tokens=50_000_000_000) for key in (ALICE, BOB))

    def now() -> int:
        return chain.now

    async with (
        open_node(ALICE, store=MemoryStore(), chain=alices_chain, market=market, config=config, clock=now) as alice,
        open_node(BOB, store=MemoryStore(), chain=bobs_chain, market=market, config=config, clock=now) as bob,
    ):
        # Open. Nothing is on-chain yet: both sides have written down the same terms.
        port = await bob.listen("127.0.0.1", 0)
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
        channel = await alice.open(terms)
        theirs = await bob.incoming()
        print(f"open        channel 0x{channel.id.hex()[:16]}, party {int(channel.state.me)} is us")

        # Deposit. The nodes see it on-chain and get it into the signed state by themselves.
        await channel.deposit("10000")
        await theirs.deposit("10000")
        await agreed_deposits(channel, (10_000_000_000, 10_000_000_000))
        print(f"deposits    both agreed; our balance is {usd(channel.balance)}")

        # Trade: ten 2400/2600 call spreads, for a premium that we pay. Positive quantities are bought by us.
        spread = channel.trade(
            [Leg.call("ETH/USD", EXPIRY, 2400, quantity=10), Leg.call("ETH/USD", EXPIRY, 2600, quantity=-10)],
            premium="470",
        )
        preview = channel.what_if(spread)  # nothing is signed
        print(
            f"what if     we would need {usd(preview.mine.initial_margin)}, they {usd(preview.theirs.initial_margin)}"
        )
        print(await channel.propose(spread))
        for leg in channel.positions:
            print(f"position    {leg}")
        report = channel.margin
        print(f"margin      equity {usd(report.equity)}, initial {usd(report.initial_margin)}")

        # Too much: the refusal is an exception with the facts in it, raised before anything is signed.
        naked = channel.trade([Leg.call("ETH/USD", EXPIRY, 2500, quantity=-500)], premium="-20000")
        try:
            await channel.propose(naked)
        except MarginShortfall as refused:
            print(f"refused     party {refused.party} lacks {usd(refused.shortfall)}: {refused.code}")

        # Close: both sign the final split, by default at the agreed marks, and the contract pays.
        payouts = await channel.close()
        print(f"closed      paid to party 0 and 1: {usd(payouts[0])} and {usd(payouts[1])}")
        async for event in channel:  # what has happened since we last looked; it ends with the channel
            print(f"event       {type(event).__name__}")
            assert not isinstance(event, ChannelClosed) or event.payouts == payouts


if __name__ == "__main__":
    trio.run(main)
