"""A peer's trade or close is signed only at a price that the owner agrees to, whatever margin and marks allow."""

from __future__ import annotations

import pytest

from channels.core.notices import WeRefused
from channels.errors import DealDeclined
from channels.model import NO_MARKS, ChannelId, Close, Leg, Marks, Trade
from channels.session import FairDeal, Offer, any_deal
from channels.units import WAD
from tests.roles import ETH, EXPIRY, HOUR, NOW, UNIT
from tests.sansio import Joined, Side

CALL = (Leg.call(ETH, EXPIRY, 2400, quantity=1),)


def desks() -> Joined:
    """Alice and Bob with ten thousand each, both with the default word on deals."""
    world = Joined()
    world.fund(10_000, 10_000)
    for side in world.sides:
        side.seat.deal = FairDeal()
    return world


def fair(world: Joined) -> int:
    """What one call is worth to its holder at the market, token units."""
    offers: list[Offer] = []
    world.bob.seat.deal = offers.append
    world.propose(world.alice, world.trade(CALL))
    value = offers[0].value
    assert value is not None
    return -value


def refusals(side: Side) -> list[str]:
    return [notice.code for notice in side.notices if isinstance(notice, WeRefused)]


def test_an_absurd_premium_is_declined_and_nothing_is_signed() -> None:
    world = desks()
    signed = world.bob.channel.signed
    world.propose(world.alice, world.trade(CALL, -9_000))
    assert refusals(world.bob) == ["deal: declined"]
    assert world.bob.channel.signed == signed
    assert world.bob.channel.agreed == world.alice.channel.agreed


@pytest.mark.parametrize(("better", "taken"), [(0, True), (-1, False), (10**9, True)])
def test_the_slippage_is_exact(better: int, taken: bool) -> None:
    value = fair(desks())
    lowest = value - value // 100
    world = desks()
    trade = world.trade(CALL)
    world.propose(world.alice, Trade(trade.legs, lowest + better, trade.marks))
    assert (refusals(world.bob) == []) is taken


def test_the_owners_own_marks_count_not_the_peers() -> None:
    """The marks Alice proposes are within Bob's tolerance; the price is judged at Bob's own."""
    world = desks()
    trade = world.trade(CALL)
    value = fair(desks())
    world.bob.market = world.bob.seat.market = lambda legs, now: Marks.at(
        now, spots={ETH: 2300}, vols=dict.fromkeys(legs, "0.64")
    )
    world.propose(world.alice, Trade(trade.legs, value, trade.marks))
    assert refusals(world.bob) == ["deal: declined"]


def test_closing_positions_are_judged_too() -> None:
    world = desks()
    value = fair(world)
    world.bob.seat.deal = FairDeal()
    world.propose(world.bob, Trade((CALL[0].times(-1),), -value, NO_MARKS))
    assert refusals(world.alice) == []
    assert world.alice.channel.book.legs == ()


def test_washing_a_trade_to_and_fro_drains_nobody() -> None:
    """Mallory's every deal is within the slippage; together they must not cost more than one of them may."""
    world = desks()
    value = fair(desks())
    cost = value // 100
    for _ in range(3):
        buy = world.trade(CALL)
        world.propose(world.alice, Trade(buy.legs, value - cost, buy.marks))
        world.propose(world.alice, world.mark())
        if world.alice.channel.book.legs:
            world.propose(world.alice, Trade((CALL[0].times(-1),), -(value + cost), NO_MARKS))
            world.propose(world.alice, world.mark())
    lost = 10_000 * UNIT - world.agreed.state.balances[1] - (value if world.agreed.book.legs else 0)
    assert lost <= 2 * cost
    assert "deal: declined" in refusals(world.bob)


def test_what_a_deal_earns_gives_no_credit_for_a_worse_one() -> None:
    deal = FairDeal()
    for edge in (1_000 * UNIT, -UNIT):
        deal(Offer(ChannelId(bytes(32)), CALL, edge, 0, 100 * UNIT, 6))
    with pytest.raises(DealDeclined):
        deal(Offer(ChannelId(bytes(32)), CALL, -1, 0, 100 * UNIT, 6))
    deal(Offer(ChannelId(b"another channel".ljust(32)), CALL, -UNIT, 0, 100 * UNIT, 6))


def test_a_close_at_stale_marks_is_declined() -> None:
    """Alice waits until the agreed marks favour her, and offers to close at them."""
    world = desks()
    value = fair(world)
    world.bob.seat.deal = FairDeal()
    world.spot = "2100"
    world.propose(world.alice, Close(-value, NOW + HOUR // 2))
    assert refusals(world.bob) == ["deal: declined"]


def test_no_market_declines_and_says_so() -> None:
    with pytest.raises(DealDeclined, match="no market"):
        FairDeal()(Offer(ChannelId(bytes(32)), CALL, 0, None, None, 6))


def test_a_cent_is_never_worth_a_refusal() -> None:
    FairDeal(0)(Offer(ChannelId(bytes(32)), CALL, -UNIT // 100, 0, 0, 6))
    with pytest.raises(DealDeclined):
        FairDeal(0)(Offer(ChannelId(bytes(32)), CALL, -UNIT // 100 - 1, 0, 0, 6))


def test_any_deal_is_any_deal() -> None:
    any_deal(Offer(ChannelId(bytes(32)), CALL, -(10**30), 0, WAD, 6))
