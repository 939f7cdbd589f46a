"""Mallory opens a dispute with an old state; Alice's node answers by itself, and the newest state is paid.

    python examples/02_stale_challenge.py

A state is enforceable because both parties signed it, so an old one is too, until a newer one is shown. That is what
the challenge period is for: whoever is online once within it cannot be cheated.
"""

from __future__ import annotations

import os
from decimal import Decimal

import trio

from channels import (
    DEFAULT_POLICY,
    Challenged,
    Leg,
    LiveChannel,
    LocalChain,
    Marks,
    MemoryStore,
    NodeConfig,
    Phase,
    Registered,
    SettlementFixed,
    Settling,
    Signer,
    Terms,
    Updated,
    open_node,
)

ALICE, MALLORY = Signer(os.urandom(32)), Signer(os.urandom(32))
START = 1_704_700_800  # 2024-01-08 08:00 UTC
EXPIRY = START + 7 * 86_400
CHALLENGE_PERIOD = 3_600


def market(legs: tuple[Leg, ...], now: int) -> Marks:
    """One view for both: ETH at 2,300, 55 % volatility."""
    return Marks.at(now, spots={leg.underlying: 2300 for leg in legs}, vols=dict.fromkeys(legs, "0.55"))


def usd(units: int) -> str:
    return f"{Decimal(units).scaleb(-6):,.2f}"


async def narrate(channel: LiveChannel) -> None:
    """Print what Alice's node tells its owner about the dispute."""
    async for event in channel:
        match event:
            case Challenged(version, newest, _) if version < newest:
                print(f"alice sees  a challenge with version {version}; she holds {newest}: her node answers")
            case Challenged(version, _, _):
                print(f"alice sees  version {version} registered in the dispute: the newest there is")
            case Registered(version):
                print(f"alice sees  version {version} registered")
            case Settling(version):
                print(f"alice sees  the deadline has passed; version {version} is final")
            case SettlementFixed(underlying, _, price):
                print(f"alice sees  {underlying} settled at {Decimal(price).scaleb(-18):,.2f}")


async def main() -> None:
    chain = LocalChain(START)
    config = NodeConfig(tokens={chain.token: 6}, sources=frozenset({chain.source}), poll=0.02)
    # An honest node would answer its own owner's old challenge: Mallory has switched that off.
    dishonest = NodeConfig(tokens=config.tokens, sources=config.sources, poll=0.02, answer=False)
    alices_chain, mallorys_chain = (chain.client(key, tokens=50_000_000_000) for key in (ALICE, MALLORY))

    def now() -> int:
        return chain.now

    async with (
        trio.open_nursery() as nursery,
        open_node(ALICE, store=MemoryStore(), chain=alices_chain, market=market, config=config, clock=now) as alice,
        open_node(
            MALLORY, store=MemoryStore(), chain=mallorys_chain, market=market, config=dishonest, clock=now
        ) as mallory,
    ):
        await alice.connect("127.0.0.1", await mallory.listen(), MALLORY.address)
        terms = Terms.between(
            ALICE.address,
            MALLORY.address,
            token=chain.token,
            decimals=6,
            source=chain.source,
            policy=DEFAULT_POLICY.hash,
            salt=os.urandom(32),
            last_resort=START + 365 * 86_400,
            challenge_period=CHALLENGE_PERIOD,
            cure_period=600,
        )
        hers = await alice.open(terms)
        theirs = await mallory.incoming()
        await hers.deposit("10000")
        await theirs.deposit("10000")
        async for event in theirs:
            if isinstance(event, Updated) and event.agreed.state.deposits == (10_000_000_000, 10_000_000_000):
                break

        # Mallory keeps the state from before the trade, sells a call to Alice, and wishes it had not.
        old = theirs.state.agreed
        assert old is not None
        call = hers.trade([Leg.call("ETH/USD", EXPIRY, 2300, quantity=5)], premium="400")
        await hers.propose(call)
        newest = hers.version
        print(f"agreed      version {newest}: alice holds {hers.positions[0]}")
        nursery.start_soon(narrate, hers)

        # The cheat, by hand: LiveChannel.challenge() would have used the newest state.
        await trio.to_thread.run_sync(mallorys_chain.send, mallorys_chain.challenge(terms, old))
        print(f"mallory     challenged with version {old.version}")
        while hers.state.chain.version < newest:
            await trio.sleep(0.02)
        assert hers.phase is Phase.DISPUTED

        # The deadline passes, the call expires in the money, the publishers report the price: anyone may settle, and
        # Alice's node does.
        await trio.to_thread.run_sync(chain.advance, CHALLENGE_PERIOD)
        await trio.to_thread.run_sync(chain.set_time, EXPIRY)
        await trio.to_thread.run_sync(chain.publish_settlement, "ETH/USD", EXPIRY, 2_500 * 10**18)
        payouts = await hers.wait_until_closed()
        mine = payouts[hers.state.me]
        print(f"paid        alice {usd(mine)}, mallory {usd(sum(payouts) - mine)}")
        assert mine == 10_000_000_000 - 400_000_000 + 5 * 200_000_000


if __name__ == "__main__":
    trio.run(main)
