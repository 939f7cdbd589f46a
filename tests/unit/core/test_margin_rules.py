"""What margin lets a party sign: initial and maintenance margin, withdrawals, and those that hang half-signed."""

from __future__ import annotations

from dataclasses import replace

import pytest

from channels.core import facts as f, rules, views
from channels.core.apply import apply
from channels.core.channel import Channel
from channels.errors import (
    MarginShortfall,
    ReduceOnly,
)
from channels.model import Acknowledge, Leg, Mark, Party, Withdraw
from channels.units import WAD
from tests.roles import CHANNEL, ETH, EXPIRY, NOW, UNIT
from tests.sansio import Joined, fresh
from tests.unit.core.judging import CALL, SHORT_CALLS, refusals, verdict


@pytest.fixture
def world() -> Joined:
    made = Joined()
    made.fund(10_000, 10_000)
    return made


# Margin


def test_a_trade_is_refused_for_whoever_lacks_initial_margin(world: Joined) -> None:
    for lots, party in ((-60, Party.ZERO), (60, Party.ONE)):
        with pytest.raises(MarginShortfall) as caught:
            verdict(world.alice.channel, world.trade((CALL.times(lots),)))
        refused = caught.value
        assert refused.party is party
        assert refused.shortfall == refused.initial_margin - refused.equity > 0


def test_both_sides_come_to_the_same_verdict(world: Joined) -> None:
    trade = world.trade((CALL.times(-60),))
    view = world.view((CALL,), NOW)
    facts = []
    for side in world.sides:
        with pytest.raises(MarginShortfall) as caught:
            verdict(side.channel, trade, by=Party.ZERO, view=view)
        facts.append(vars(caught.value))
    assert facts[0] == facts[1]


def at_equity(world: Joined, party: Party, equity: int) -> Channel:
    """Alice's view of the channel, cash moved between the two until `party` has this equity."""
    channel = world.alice.channel
    assert channel.agreed is not None
    state = channel.agreed.state
    report = rules.reports(channel, *channel.base)[party]
    cash = list(state.balances)
    cash[party] += equity - report.equity
    cash[party.other] -= equity - report.equity
    agreed = replace(channel.agreed, state=replace(state, balances=(cash[0], cash[1])))
    return replace(channel, agreed=agreed)


def test_initial_margin_to_the_last_unit(world: Joined) -> None:
    """Equity equal to the requirement passes, one unit less does not."""
    trade = world.trade((SHORT_CALLS,))
    channel = world.alice.channel
    state, book = apply(
        CHANNEL,
        *channel.base,
        (trade,),
        proposer=Party.ZERO,
        version=9,
        salt=fresh(),
        decimals=6,
        policy=channel.policy,
    )
    needed = rules.reports(channel, state, book)[0]
    exact = needed.initial_margin - needed.value
    verdict(at_equity(world, Party.ZERO, exact), trade)
    with pytest.raises(MarginShortfall) as caught:
        verdict(at_equity(world, Party.ZERO, exact - 1), trade)
    assert caught.value.shortfall == 1


def test_below_initial_margin_what_lowers_the_lack_is_allowed(world: Joined) -> None:
    world.propose(world.alice, world.trade((SHORT_CALLS,)))
    requirement = rules.reports(world.alice.channel, *world.alice.channel.base)[0]
    poor = at_equity(world, Party.ZERO, requirement.initial_margin - 1)
    verdict(poor, world.trade((CALL.times(2),)))
    with pytest.raises(MarginShortfall):
        verdict(poor, world.trade((CALL.times(-1),)))


def test_below_maintenance_a_party_may_only_reduce(world: Joined) -> None:
    world.propose(world.alice, world.trade((SHORT_CALLS,)))
    requirement = rules.reports(world.alice.channel, *world.alice.channel.base)[0]
    breached = at_equity(world, Party.ZERO, requirement.maintenance_margin - 1)
    verdict(breached, world.trade((CALL.times(2),)))
    premium = -5_000
    with pytest.raises(ReduceOnly) as caught:
        verdict(breached, world.trade((CALL.times(-1),), premium))
    refused = caught.value
    assert refused.party is Party.ZERO
    assert (refused.equity, refused.maintenance_margin) == (
        requirement.maintenance_margin - 1,
        requirement.maintenance_margin,
    )
    assert refused.initial_after > refused.initial_before == requirement.initial_margin
    standing = at_equity(world, Party.ZERO, requirement.maintenance_margin)
    verdict(standing, world.trade((CALL.times(-1),), premium))


def test_reducing_is_strict_and_binds_the_party_below_whoever_proposes(world: Joined) -> None:
    """Alice is below: a leg that leaves her requirement as it is does not reduce it, and Bob cannot add for her."""
    world.propose(world.alice, world.trade((SHORT_CALLS,)))
    requirement = rules.reports(world.alice.channel, *world.alice.channel.base)[0]
    breached = at_equity(world, Party.ZERO, requirement.maintenance_margin - 1)
    speck = world.trade((Leg.call(ETH, EXPIRY, 9_000_000, quantity=1),))
    with pytest.raises(ReduceOnly) as caught:
        verdict(breached, speck)
    assert caught.value.initial_after == caught.value.initial_before
    for by in Party:
        with pytest.raises(ReduceOnly):
            verdict(breached, world.trade((CALL.times(-1),), -5_000), by=by, view=world.view((CALL,), NOW))
        verdict(breached, world.trade((CALL.times(1),)), by=by, view=world.view((CALL,), NOW))


def test_a_reduction_bought_too_dear_is_refused_below_maintenance(world: Joined) -> None:
    """Closing one call lowers the requirement; at a premium above what it frees, the lack has grown all the same."""
    world.propose(world.alice, world.trade((SHORT_CALLS,)))
    requirement = rules.reports(world.alice.channel, *world.alice.channel.base)[0]
    breached = at_equity(world, Party.ZERO, requirement.maintenance_margin - 1)
    verdict(breached, world.trade((CALL,), 100))
    with pytest.raises(MarginShortfall):
        verdict(breached, world.trade((CALL,), 2_000))


def test_below_maintenance_nothing_is_withdrawn(world: Joined) -> None:
    """Not with the top-up in the same proposal either: it is agreed first."""
    world.propose(world.alice, world.trade((SHORT_CALLS,)))
    requirement = rules.reports(world.alice.channel, *world.alice.channel.base)[0]
    breached = at_equity(world, Party.ZERO, requirement.maintenance_margin - 1)
    deposits = (50_000 * UNIT, 10_000 * UNIT)
    breached = replace(breached, chain=replace(breached.chain, deposits=deposits))
    for operations in ((Withdraw(1),), (Acknowledge(deposits, (0, 0)), Withdraw(1))):
        with pytest.raises(ReduceOnly):
            verdict(breached, *operations)
    verdict(replace(breached, me=Party.ONE), Withdraw(1))


def test_a_mark_in_the_same_proposal_lifts_nothing(world: Joined) -> None:
    """The market came back and Alice would take her money out before the state that says so is agreed."""
    world.propose(world.alice, world.trade((SHORT_CALLS,)))
    world.spot = "3000"
    world.propose(world.alice, world.mark())
    assert rules.reports(world.alice.channel, *world.alice.channel.base)[0].is_breach
    world.spot = "2000"
    with pytest.raises(ReduceOnly) as caught:
        verdict(world.alice.channel, world.mark(), Withdraw(1))
    assert caught.value.initial_after < caught.value.initial_before
    world.propose(world.alice, world.mark())
    verdict(world.alice.channel, Withdraw(1))


def test_a_withdrawal_needs_its_proposers_initial_margin(world: Joined) -> None:
    world.propose(world.alice, world.trade((SHORT_CALLS,)))
    excess = rules.reports(world.alice.channel, *world.alice.channel.base)[0].excess
    verdict(world.alice.channel, Withdraw(excess))
    with pytest.raises(MarginShortfall) as caught:
        verdict(world.alice.channel, Withdraw(excess + 1))
    assert (caught.value.party, caught.value.shortfall) == (Party.ZERO, 1)


def test_the_other_sides_margin_does_not_hold_a_withdrawal(world: Joined) -> None:
    world.propose(world.alice, world.trade((SHORT_CALLS,)))
    poor = at_equity(world, Party.ONE, -1)
    verdict(poor, Withdraw(UNIT))


def test_facts_are_never_refused_for_margin(world: Joined) -> None:
    """The market runs away from Alice: the mark that shows it, a payment and a settlement are agreed all the same."""
    world.propose(world.alice, world.trade((SHORT_CALLS,)))
    world.spot = "5000"
    world.propose(world.alice, world.mark())
    broke = rules.reports(world.alice.channel, *world.alice.channel.base)[0]
    assert broke.is_breach
    assert broke.equity < 0
    world.confirm(f.PaymentSeen(Party.ZERO, 100))
    world.propose(world.alice, *views.housekeeping(world.alice.channel))
    world.block(EXPIRY + 1)
    world.settle_expiry(ETH, EXPIRY, 5_000 * WAD)
    assert world.agreed.state.balances[0] < 0
    assert not refusals(world)


# Withdrawals that hang


def test_half_signed_withdraw_counts_until_superseded_on_chain(world: Joined) -> None:
    world.bob.seat.channel = replace(world.bob.channel, frozen=1)
    world.propose(world.alice, Withdraw(9_000 * UNIT))
    world.bob.seat.channel = replace(world.bob.channel, frozen=0)
    assert refusals(world) == ["journal: signing suspended"]
    world.propose(world.alice, Mark())
    channel = world.alice.channel
    assert channel.withdrawal_at_risk(world.agreed.state) == 9_000 * UNIT
    assert rules.reports(channel, *channel.base)[0].equity == 1_000 * UNIT
    with pytest.raises(MarginShortfall):
        verdict(channel, world.trade((SHORT_CALLS,)))
    world.restart(world.alice)
    world.reconnect()
    assert rules.reports(world.alice.channel, *world.alice.channel.base)[0].equity == 1_000 * UNIT
    world.confirm(f.RegisteredSeen(world.agreed.state, 0))
    assert rules.reports(world.alice.channel, *world.alice.channel.base)[0].equity == 10_000 * UNIT
    verdict(world.alice.channel, world.trade((SHORT_CALLS,)))


def test_rejected_withdraw_cannot_hurt_the_countersigner(world: Joined) -> None:
    """Bob refused Alice's withdrawal: nothing with his signature pays it, and his margin never counts it."""
    world.bob.seat.channel = replace(world.bob.channel, frozen=1)
    world.propose(world.alice, Withdraw(9_000 * UNIT))
    world.bob.seat.channel = replace(world.bob.channel, frozen=0)
    assert 2 not in world.bob.signed
    for side in world.sides:
        assert rules.reports(side.channel, *side.channel.base)[1].equity == 10_000 * UNIT
    world.propose(world.bob, world.trade((SHORT_CALLS.times(-1),)))
    assert 2 not in world.bob.signed
    assert world.agreed.state.withdrawals == (0, 0)
