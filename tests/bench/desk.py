"""What every case of the benchmark shares: a 16-leg book, prices that move, two parties, and margin on every update.

A mark is a fact, so no rule asks for the margin before it is signed; the monitor judges every state that an agreement
covers, on both sides.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cache
from itertools import count
from typing import Any

from channels.errors import ProposalRejected
from channels.model import Acknowledge, Leg, Marks, Terms, keccak
from channels.risk import MarginEngine
from channels.runtime.config import NodeConfig
from channels.runtime.live import LiveChannel
from channels.runtime.node import Node
from tests import peer_process, roles

LEGS = 16
SPOT, PRICES = 2_300, 1_000
DEPOSITS = (10_000 * roles.UNIT,) * 2


def now() -> int:
    """The benchmark's clock stands still."""
    return roles.NOW


@cache
def held() -> tuple[Leg, ...]:
    """Sixteen small legs over four expiries, sorted as in a book."""
    days = (7, 14, 28, 56)
    legs = (
        (Leg.call if i % 2 else Leg.put)(
            roles.ETH, roles.NOW + days[i % 4] * roles.DAY, 2000 + 40 * i, quantity=(-1) ** i
        )
        for i in range(LEGS)
    )
    return tuple(sorted(legs, key=lambda leg: leg.key))


@cache
def price(cents: int) -> Marks:
    """Marks of the book at so many cents above the first spot; every volatility moves as well."""
    vols = {leg: f"0.6{(cents + 7 * at) % 40:02}" for at, leg in enumerate(held())}
    return Marks.at(roles.NOW, spots={roles.ETH: f"{SPOT + cents // 100}.{cents % 100:02}"}, vols=vols)


def market(legs: tuple[Leg, ...], moment: int) -> Marks | None:
    """The view of whoever answers: it has a price ready, and does not make one for each question."""
    return price(0)


@dataclass
class Tape:
    """Prices, each another than the one before it, made before anything is measured."""

    _at: count[int] = field(default_factory=count)

    def __post_init__(self) -> None:
        for cents in range(PRICES):
            price(cents)

    def next(self) -> Marks:
        return price(next(self._at) % PRICES)


def config(engine: MarginEngine, **changes: Any) -> NodeConfig:
    """A node's defaults, but for whom it trusts."""
    terms = peer_process.TERMS
    base = NodeConfig(tokens={terms.token: 6}, sources=frozenset({terms.source}), margin_engine=engine)
    return replace(base, **changes)


def terms(number: int) -> Terms:
    """The terms of one channel of many."""
    return replace(peer_process.TERMS, salt=keccak(b"bench" + number.to_bytes(4, "big")))


async def opened(node: Node, number: int) -> LiveChannel:
    """Open a channel, and get the deposits and the book agreed."""
    channel = await node.open(terms(number))
    peer_process.both_deposited(node, channel)
    while channel.state.base[0] is None or channel.state.base[0].deposits != DEPOSITS:
        try:
            await channel.propose(Acknowledge(DEPOSITS, (0, 0)))
        except ProposalRejected:
            continue
    await channel.propose(channel.trade(held(), premium=0, marks=price(0)))
    return channel
