"""Two real nodes with a risk engine in their terms, a short call between them, and what tests of margin wait for."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import trio

from channels.core.margin_calls import NO_CALL
from channels.model import Agreed, Leg
from channels.risk import MarginReport, close_out, close_out_payouts, margin
from channels.store import MemoryStore
from channels.units import WAD
from tests.pair import Pair, Side, opened_pair
from tests.roles import ETH, EXPIRY, UNIT

CURE = 600
SHORT = Leg.call(ETH, EXPIRY, 2400, quantity=-10)
"""Alice is short ten calls: whole at 2,300, below maintenance at 3,300."""
HASTY = {"margin_patience": 0.0}
PATIENT = {"margin_patience": 1e9}
QUIET = {"answer": False, "settle": False, "call_margin": False}
"""A side that does nothing on-chain by itself, and agrees to facts."""
RICH = 9_000 * UNIT


@asynccontextmanager
async def short(
    alice: dict[str, Any] | None = None,
    bob: dict[str, Any] | None = None,
    stores: tuple[MemoryStore, MemoryStore] | None = None,
    legs: tuple[Leg, ...] = (SHORT,),
    funds: tuple[int, int] = (10_000, 10_000),
    premium: int = -400,
) -> AsyncIterator[Pair]:
    """Alice and Bob with an engine in their terms, their legs agreed, and a fresh spot of 2,300."""
    terms = {"spot_max_age": 3_600}
    async with opened_pair(margined=True, stores=stores, alice_config=alice, bob_config=bob, terms=terms) as pair:
        await pair.fund(*funds)
        spot(pair, 2_300)
        await pair.alice.channel.propose(pair.alice.channel.trade(legs, premium=premium))
        await pair.until(pair.agree)
        yield pair


def spot(pair: Pair, price: int) -> None:
    """The publishers report a spot, and nobody has marked to it yet."""
    pair.local.publish_spot(ETH, price * WAD)


def heard(side: Side, kind: type) -> list[Any]:
    return [notice for notice in side.channel._unread if isinstance(notice, kind)]


async def told(side: Side, kind: type, count: int = 1) -> Any:
    """The last of `count` notices of a kind, once it is there."""
    with trio.fail_after(20):
        while len(heard(side, kind)) < count:
            await trio.sleep(0.01)
    return heard(side, kind)[-1]


def final(pair: Pair) -> Agreed:
    agreed = pair.bob.channel.state.agreed
    assert agreed is not None
    return agreed


def report(pair: Pair, agreed: Agreed, price: int, party: int = 0, extra: int = 0) -> MarginReport:
    """A party's margin by the library at the newest block and a spot, with `extra` deposited."""
    cash = [balance + extra * (i == party) for i, balance in enumerate(agreed.state.balances)]
    now = pair.local.head().time
    return margin(agreed.book, (cash[0], cash[1]), 6, t=now, spots={ETH: price * WAD})[party]


def hurried(side: Side) -> None:
    """From now on, no sooner: an answer that takes longer is none. What came before had time on a busy machine."""
    side.node.config = replace(side.node.config, reply_timeout=0.3)


async def looked() -> None:
    """Let the watchers look a few times."""
    await trio.sleep(0.2)


async def called(pair: Pair) -> int:
    """Wait until both know of a call on Alice; return its cure deadline."""
    await pair.until(lambda: all(side.channel.state.chain.calls[0].is_armed for side in pair.sides))
    return pair.bob.channel.state.chain.calls[0].deadline


async def missed(pair: Pair, price: int = 3_350) -> None:
    """The cure deadline passes, and the publishers report a spot."""
    deadline = await called(pair)
    pair.local.set_time(max(deadline, pair.local.now))
    spot(pair, price)


async def cured(pair: Pair) -> None:
    await pair.until(lambda: all(side.channel.state.chain.calls[0] == NO_CALL for side in pair.sides))


def sent(pair: Pair, entry_point: str) -> int:
    """How many transactions of an entry point were mined."""
    return len(pair.local.gas.get(entry_point, ()))


async def mined(pair: Pair, **counts: int) -> None:
    """Wait until just so many transactions were mined: a node may see a log before the sender has its receipt."""
    await pair.until(lambda: {name: sent(pair, name) for name in counts} == counts)


async def closed_out(pair: Pair, agreed: Agreed, price: int, payer: int | None) -> tuple[int, int]:
    """Wait for the liquidation, and hold it against the library's close-out at the block's time; return the payouts."""
    with trio.fail_after(20):
        payouts = await pair.bob.channel.wait_until_closed()
    seen = pair.bob.channel.state.chain.liquidated
    assert seen is not None
    values, charges = close_out(agreed.book, 6, t=pair.bob.chain.block(seen.block).time, spots={ETH: price * WAD})
    assert payouts == close_out_payouts(agreed.state.balances, values, charges, payer)
    assert (seen.value0, seen.charge) == (values[0], charges[seen.party] if payer is not None else 0)
    return payouts
