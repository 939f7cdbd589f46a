"""Margin between two nodes: the peer is asked for collateral by itself, positions are closed out by agreement."""

from __future__ import annotations

import pytest
import trio

from channels.core import views
from channels.core.notices import BelowMaintenance, CollateralCalled, CollateralCallRefused, MarginRestored, Notice
from channels.errors import CloseOutInvalid, DealDeclined, ProposalRejected
from channels.model import CloseOut, Leg, Mark, Party, SettleExpiry
from channels.risk import close_out, close_out_payouts
from channels.runtime.live import LiveChannel
from channels.session import Offer, any_deal
from channels.units import WAD
from tests.pair import Pair, opened_pair
from tests.roles import DAY, ETH, NOW, UNIT

SHORT_CALLS = Leg.call(ETH, NOW + 7 * DAY, 2400, quantity=-10)


def heard(channel: LiveChannel, *kinds: type) -> list[Notice]:
    return [notice for notice in channel._unread if isinstance(notice, kinds)]


async def short_calls(pair: Pair) -> None:
    """Ten thousand each; Alice sells ten calls."""
    await pair.fund(10_000, 10_000)
    await pair.alice.channel.propose(pair.alice.channel.trade([SHORT_CALLS], premium=-400))


async def test_a_node_asks_for_collateral_by_itself_and_a_deposit_answers() -> None:
    async with opened_pair() as pair:
        await short_calls(pair)
        alice, bob = pair.alice.channel, pair.bob.channel
        pair.desk.spot = "3000"
        await bob.mark()
        await pair.until(lambda: bool(heard(alice, CollateralCalled)))
        (told,) = heard(alice, CollateralCalled)
        lacking = alice.margin.initial_margin - alice.margin.equity
        assert told == CollateralCalled(Party.ZERO, lacking, alice.version)
        assert heard(bob, CollateralCalled) == [told]
        assert [type(n) for n in heard(alice, BelowMaintenance, MarginRestored)] == [BelowMaintenance]
        await alice.deposit(lacking // UNIT + 1)
        await pair.until(lambda: bool(heard(alice, MarginRestored)) and pair.agree())
        assert bob.peer_margin.excess > 0
        assert bob.call_collateral() == 0
        assert not heard(alice, CollateralCallRefused) + heard(bob, CollateralCallRefused)


async def test_a_node_that_does_not_want_to_ask_is_asked_to() -> None:
    async with opened_pair(bob_config={"call_collateral": False}) as pair:
        await short_calls(pair)
        alice, bob = pair.alice.channel, pair.bob.channel
        pair.desk.spot = "2900"
        await bob.mark()
        lacking = bob.peer_margin.collateral_call
        await trio.sleep(0.2)  # ten looks of the watcher
        assert lacking > 0 and not heard(alice, CollateralCalled)
        assert bob.call_collateral() == lacking
        assert bob.call_collateral() == 0, "once for each agreed version"
        await pair.until(lambda: bool(heard(alice, CollateralCalled)))


async def test_positions_are_closed_out_at_the_market_and_the_channel_goes_on() -> None:
    async with opened_pair() as pair:
        await short_calls(pair)
        alice, bob = pair.alice.channel, pair.bob.channel
        with pytest.raises(CloseOutInvalid):
            await bob.close_out(Party.ZERO)
        pair.desk.spot = "2350"
        state, held = alice.state.base
        assert state is not None
        confirmation = await alice.close_out()
        mark, closed = confirmation.operations
        assert "close-out   every position at the marks, party 0 pays the charge" in str(confirmation)
        at_market = type(held)(held.legs, mark.marks, held.salt)  # type: ignore[union-attr]
        expected = close_out_payouts(state.balances, *close_out(at_market, 6), closed.party)  # type: ignore[union-attr]
        assert confirmation.agreed.state.balances == expected
        await pair.until(pair.agree)
        assert alice.positions == bob.positions == ()
        await bob.propose(bob.trade([SHORT_CALLS], premium=-400))


async def test_a_refused_trade_is_superseded_before_a_close_out() -> None:
    def declined(offer: Offer) -> None:
        raise DealDeclined("not today")

    async with opened_pair() as pair:
        await short_calls(pair)
        alice, bob = pair.alice.channel, pair.bob.channel
        bob._seat.deal = declined
        with pytest.raises(ProposalRejected):
            await alice.propose(alice.trade([SHORT_CALLS.times(-1)], premium=1))
        bob._seat.deal = any_deal
        confirmation = await alice.close_out()
        assert isinstance(confirmation.operations[-1], CloseOut)
        assert alice.positions == ()


async def test_an_expiry_that_settled_meanwhile_is_settled_with_the_close_out() -> None:
    """Two expiries; the first has settled, and nobody keeps house: one proposal settles it and closes the rest."""
    quiet = {"housekeeping": False}
    async with opened_pair(alice_config=quiet, bob_config=quiet) as pair:
        alice = pair.alice.channel
        for side in pair.sides:
            await side.channel.deposit(10_000)
        await pair.until(lambda: all(sum(s.channel.state.chain.deposits) == 20_000 * UNIT for s in pair.sides))
        legs = [SHORT_CALLS.times(1), Leg.call(ETH, NOW + 21 * DAY, 2500, quantity=-1)]
        await alice.propose(*views.housekeeping(alice.state), alice.trade(legs, premium=-400))
        expiry = SHORT_CALLS.expiry
        await pair.advance(expiry - pair.local.now + 1)
        await trio.to_thread.run_sync(lambda: pair.local.publish_settlement(ETH, expiry, 2_450 * WAD))
        await pair.until(lambda: all(s.channel.state.chain.settlement(ETH, expiry) for s in pair.sides))
        confirmation = await alice.close_out()
        assert [type(op) for op in confirmation.operations] == [SettleExpiry, Mark, CloseOut]
        assert alice.positions == ()


async def test_a_top_up_on_its_way_is_agreed_with_the_close_out() -> None:
    """Nobody keeps house here, so the deposit is confirmed and not agreed when the positions are closed."""
    quiet = {"housekeeping": False}
    async with opened_pair(alice_config=quiet, bob_config=quiet) as pair:
        alice, bob = pair.alice.channel, pair.bob.channel

        async def deposited(bobs: int) -> None:
            want = (10_000 * UNIT, bobs * UNIT)
            await pair.until(lambda: all(side.channel.state.chain.deposits == want for side in pair.sides))

        for side in pair.sides:
            await side.channel.deposit(10_000)
        await deposited(10_000)
        await alice.propose(*views.housekeeping(alice.state), alice.trade([SHORT_CALLS], premium=-400))
        await bob.deposit(500)
        await deposited(10_500)
        await alice.close_out()
        state, _ = alice.state.base
        assert state is not None and state.deposits == (10_000 * UNIT, 10_500 * UNIT)
        assert sum(state.balances) == 20_500 * UNIT
