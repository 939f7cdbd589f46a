"""What a party signs and what it refuses: margin, marks, versions, exclusivity, the bar of a signed close, expiries."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from channels.core import events as e, facts as f, rules, views
from channels.core.apply import apply
from channels.core.channel import Channel, MarkPolicy
from channels.core.machine import step
from channels.core.phases import Phase
from channels.errors import (
    IntentInvalid,
    MarginShortfall,
    MarkRefused,
    NotYourTurn,
    OutstandingProposal,
    QuoteExpired,
    ReduceOnly,
    RuleViolation,
    SettlementInvalid,
    SigningBarred,
    StaleVersion,
    UnconfirmedDeposit,
    UnexpectedMessage,
    VersionSkipTooLarge,
)
from channels.model import Acknowledge, Close, Leg, Mark, Marks, Operation, Party, Reopen, SettleExpiry, Withdraw
from channels.units import WAD
from tests.roles import CHANNEL, DAY, ETH, EXPIRY, HOUR, NOW, TERMS, UNIT, condor
from tests.sansio import Joined, fresh

CALL = Leg.call(ETH, EXPIRY, 2400, quantity=1)
SHORT_CALLS = Leg.call(ETH, EXPIRY, 2400, quantity=-10)


@pytest.fixture
def world() -> Joined:
    made = Joined()
    made.fund(10_000, 10_000)
    return made


def refusals(world: Joined) -> list[str]:
    return [n.code for n in world.alice.notices if type(n).__name__ == "PeerRefused"]


def verdict(
    channel: Channel,
    *operations: Operation,
    version: int | None = None,
    by: Party | None = None,
    view: Marks | None = None,
    now: int = NOW,
) -> None:
    """Judge operations on the channel's base, as `by` (the channel's own party by default) proposes them."""
    proposer = channel.me if by is None else by
    number = rules.next_version(channel) if version is None else version
    state, book = apply(
        CHANNEL,
        *channel.base,
        operations,
        proposer=proposer,
        version=number,
        salt=fresh(),
        decimals=6,
        policy=channel.policy,
    )
    rules.judge(channel, operations, state, book, proposer=proposer, now=now, view=view)


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


# Exclusivity and the bar


@pytest.mark.parametrize("first", ["trade", "withdraw", "close"])
@pytest.mark.parametrize("second", ["trade", "withdraw", "close"])
def test_at_most_one_trade_withdraw_close_or_reopen_is_outstanding(world: Joined, first: str, second: str) -> None:
    made = {"trade": world.trade((CALL,)), "withdraw": Withdraw(UNIT), "close": Close(0, NOW + 60)}
    world.bob.seat.channel = replace(world.bob.channel, frozen=1)
    world.propose(world.alice, made[first])
    world.bob.seat.channel = replace(world.bob.channel, frozen=0)
    barred: type[RuleViolation] = SigningBarred if first == "close" else OutstandingProposal
    with pytest.raises(barred) as caught:
        verdict(world.alice.channel, made[second])
    assert caught.value.version == 2  # type: ignore[attr-defined]
    if first != "close":
        world.propose(world.alice, Mark())
        verdict(world.alice.channel, made[second])


def test_one_proposal_holds_one_of_them(world: Joined) -> None:
    for pair in ((Withdraw(1), Withdraw(1)), (Withdraw(1), world.trade((CALL,)))):
        with pytest.raises(OutstandingProposal):
            verdict(world.alice.channel, *pair)


@pytest.mark.parametrize("agreed", [True, False])
def test_close_signed_then_trade_refused(world: Joined, agreed: bool) -> None:
    """Whoever has signed a CLOSE, alone or with the other, signs nothing above it until it has expired or was mined."""
    if not agreed:
        world.bob.seat.channel = replace(world.bob.channel, frozen=1)
    world.propose(world.alice, Close(0, NOW + 60))
    world.bob.seat.channel = replace(world.bob.channel, frozen=0)
    world.block(NOW + 60)
    for side in world.sides if agreed else [world.alice]:
        for operation in (world.trade((CALL,)), Mark(), Withdraw(1), Close(0, NOW + 120)):
            with pytest.raises(SigningBarred) as caught:
                verdict(side.channel, operation, now=NOW + 60)
            assert (caught.value.version, caught.value.valid_until) == (2, NOW + 60)
    world.restart(world.alice)
    world.reconnect()
    world.act(world.alice, e.BlockConfirmed(NOW + 60))
    assert world.alice.channel.bar is not None
    world.block(NOW + 61)
    assert world.alice.channel.bar is None
    world.propose(world.alice, world.trade((CALL,)))
    assert world.agreed.version == 3


def test_a_reopen_that_is_mined_bars_no_more(world: Joined) -> None:
    world.confirm(f.RegisteredSeen(world.agreed.state, NOW + HOUR))
    world.propose(world.alice, Reopen((0, 0), NOW + 60))
    with pytest.raises(SigningBarred):
        verdict(world.alice.channel, Mark())
    closing = world.alice.channel.closing
    assert closing is not None
    world.confirm(f.RegisteredSeen(closing.state, 0))
    assert world.alice.channel.phase is Phase.OPEN
    assert world.alice.channel.agreed == closing
    world.propose(world.alice, world.trade((CALL,)))
    assert world.agreed.version == 3


# Intents


@pytest.mark.parametrize("valid_until", [NOW, NOW - 1, NOW + 3_601])
def test_a_close_is_valid_for_at_most_an_hour(world: Joined, valid_until: int) -> None:
    with pytest.raises(IntentInvalid):
        verdict(world.alice.channel, Close(0, valid_until))


@pytest.mark.parametrize("valid_until", [NOW + 1, NOW + 3_600])
def test_a_close_within_the_hour_is_signed(world: Joined, valid_until: int) -> None:
    verdict(world.alice.channel, Close(0, valid_until))


def test_a_peers_close_pays_us_our_equity_or_is_refused(world: Joined) -> None:
    """Mallory closes at a transfer of her choice: only her own money is hers to give."""
    world.propose(world.alice, world.trade((SHORT_CALLS,)))
    value = rules.reports(world.bob.channel, *world.bob.channel.base)[1].value
    assert value > 0
    for transfer, fair in ((value, True), (value + 1, True), (value - 1, False), (-9_000 * UNIT, False)):
        if fair:
            verdict(world.bob.channel, Close(transfer, NOW + 60), by=Party.ZERO)
        else:
            with pytest.raises(IntentInvalid, match="our equity"):
                verdict(world.bob.channel, Close(transfer, NOW + 60), by=Party.ZERO)
        verdict(world.alice.channel, Close(transfer, NOW + 60))
    world.propose(world.alice, Close(-9_000 * UNIT, NOW + 60))
    assert refusals(world) == ["intent: invalid"]
    assert world.bob.channel.bar is None


def test_a_reopen_needs_a_confirmed_dispute_and_the_confirmed_payments(world: Joined) -> None:
    with pytest.raises(IntentInvalid):
        verdict(world.alice.channel, Reopen((0, 0), NOW + 60))
    world.confirm(f.RegisteredSeen(world.agreed.state, NOW + HOUR), f.PaymentSeen(Party.ONE, 5))
    verdict(world.alice.channel, Reopen((0, 5), NOW + 60))
    for payments in ((0, 0), (0, 6), (1, 5)):
        with pytest.raises(IntentInvalid):
            verdict(world.alice.channel, Reopen(payments, NOW + 60))


def test_in_a_dispute_only_what_ends_it_is_signed(world: Joined) -> None:
    world.confirm(f.RegisteredSeen(world.agreed.state, NOW + HOUR))
    for operation in (Mark(), world.trade((CALL,)), Withdraw(1), Acknowledge((10_000 * UNIT,) * 2, (0, 0))):
        with pytest.raises(UnexpectedMessage):
            verdict(world.alice.channel, operation)
    verdict(world.alice.channel, Close(0, NOW + 60))


# Marks


def peers_mark(world: Joined, **changes: Any) -> Mark:
    legs = world.alice.channel.book.legs
    made = Marks.at(
        changes.pop("time", NOW),
        spots={ETH: changes.pop("spot", world.spot)},
        vols=dict.fromkeys(legs, changes.pop("vol", world.vol)),
        **changes,
    )
    return Mark(made)


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"spot": "2323.000000000000000001"}, "spot"),
        ({"spot": "2276.999999999999999999"}, "spot"),
        ({"vol": "0.650000000000000001"}, "volatility"),
        ({"vol": "0.549999999999999999"}, "volatility"),
        ({"forwards": {(ETH, EXPIRY): "2324"}}, "forward"),
        ({"discounts": {(ETH, EXPIRY): "0.98"}}, "discount"),
        ({"time": NOW + 31}, "time"),
    ],
)
def test_marks_off_the_owners_view_are_refused(world: Joined, changes: dict[str, Any], what: str) -> None:
    world.propose(world.alice, world.trade((CALL,)))
    view = world.view((CALL,), NOW)
    with pytest.raises(MarkRefused, match=what):
        verdict(world.bob.channel, peers_mark(world, **changes), by=Party.ZERO, view=view)


@pytest.mark.parametrize(
    "changes", [{"spot": "2323"}, {"spot": "2277"}, {"vol": "0.65"}, {"vol": "0.55"}, {"time": NOW + 30}]
)
def test_marks_at_the_edge_of_the_owners_view_pass(world: Joined, changes: dict[str, Any]) -> None:
    world.propose(world.alice, world.trade((CALL,)))
    verdict(world.bob.channel, peers_mark(world, **changes), by=Party.ZERO, view=world.view((CALL,), NOW))


def test_no_market_no_marks(world: Joined) -> None:
    with pytest.raises(MarkRefused, match="no own view"):
        verdict(world.bob.channel, world.trade((CALL,)), by=Party.ZERO, view=None)
    world.bob.seat.market = lambda legs, now: None
    world.propose(world.alice, world.trade((CALL,)))
    assert refusals(world) == ["mark: refused"]


def test_marks_of_no_positions_need_no_market(world: Joined) -> None:
    verdict(world.bob.channel, Mark(), by=Party.ZERO, view=None)


def test_a_wider_policy_takes_wider_marks(world: Joined) -> None:
    world.propose(world.alice, world.trade((CALL,)))
    wide = replace(world.bob.channel, mark_policy=MarkPolicy(spot=WAD, vol=WAD, seconds=3_600))
    verdict(
        wide, peers_mark(world, spot="4000", vol="1.5", time=NOW + 3_600), by=Party.ZERO, view=world.view((CALL,), NOW)
    )


# Versions


@pytest.mark.parametrize(
    ("version", "error"),
    [
        (1, StaleVersion),
        (2, None),
        (1 + 2**16, None),
        (2 + 2**16, VersionSkipTooLarge),
        (2**64 - 1, VersionSkipTooLarge),
    ],
)
def test_versions_rise_and_skip_a_little(world: Joined, version: int, error: type[RuleViolation] | None) -> None:
    if error is None:
        verdict(world.bob.channel, Mark(), version=version, by=Party.ZERO)
        return
    with pytest.raises(error):
        verdict(world.bob.channel, Mark(), version=version, by=Party.ZERO)


def test_the_next_version_is_above_all_that_either_ever_signed(world: Joined) -> None:
    channel = world.alice.channel
    assert rules.next_version(channel) == 2
    assert rules.next_version(replace(channel, seen=40)) == 41
    assert rules.next_version(replace(channel, signed=50, seen=40)) == 51
    chain = replace(channel.chain, registered=replace(world.agreed.state, version=60))
    assert rules.next_version(replace(channel, signed=50, chain=chain)) == 61


def test_only_the_turns_holder_proposes(world: Joined) -> None:
    with pytest.raises(NotYourTurn):
        step(world.bob.channel, e.ProposalWanted((Mark(),), fresh(), NOW))


# Facts of the chain


def test_an_unconfirmed_deposit_is_refused(world: Joined) -> None:
    for claimed in ((10_001 * UNIT, 10_000 * UNIT), (10_000 * UNIT, 10_001 * UNIT)):
        with pytest.raises(UnconfirmedDeposit):
            verdict(world.bob.channel, Acknowledge(claimed, (0, 0)), by=Party.ZERO)
    with pytest.raises(UnconfirmedDeposit):
        verdict(world.bob.channel, Acknowledge((10_000 * UNIT,) * 2, (0, 1)), by=Party.ZERO)


def test_a_settlement_needs_the_chains_price(world: Joined) -> None:
    world.propose(world.alice, world.trade((CALL,)))
    with pytest.raises(SettlementInvalid, match="no confirmed"):
        verdict(world.bob.channel, SettleExpiry(ETH, EXPIRY, 5 * WAD), by=Party.ZERO)
    world.confirm(f.SettlementSeen(ETH, EXPIRY, 6 * WAD))
    with pytest.raises(SettlementInvalid, match="settled at"):
        verdict(world.bob.channel, SettleExpiry(ETH, EXPIRY, 5 * WAD), by=Party.ZERO)
    verdict(world.bob.channel, SettleExpiry(ETH, EXPIRY, 6 * WAD), by=Party.ZERO)


LIMIT = TERMS.last_resort - 2 * TERMS.grace - 2 * TERMS.challenge_period - TERMS.cure_period


@pytest.mark.parametrize(("expiry", "fine"), [(LIMIT, True), (LIMIT + 1, False), (NOW + DAY, True)])
def test_no_leg_outlives_the_last_resort(world: Joined, expiry: int, fine: bool) -> None:
    leg = Leg.call(ETH, expiry, 2400, quantity=1)
    if fine:
        verdict(world.alice.channel, world.trade((leg,)))
        return
    with pytest.raises(QuoteExpired):
        verdict(world.alice.channel, world.trade((leg,)))


def test_no_leg_that_has_expired_by_our_clock(world: Joined) -> None:
    trade = world.trade((CALL,))
    with pytest.raises(QuoteExpired):
        verdict(world.alice.channel, trade, now=EXPIRY)


def test_an_unknown_registration_freezes_only_what_is_above_us(world: Joined) -> None:
    held = world.agreed
    world.propose(world.alice, Mark())
    world.confirm(f.RegisteredSeen(held.state, NOW + HOUR))
    assert not world.alice.channel.frozen
    world.confirm(f.RegisteredSeen(replace(held.state, version=7), NOW + HOUR))
    assert world.alice.channel.frozen == 7
    assert world.alice.channel.phase is Phase.DISPUTED


def test_the_condor_needs_less_than_its_short_strangle(world: Joined) -> None:
    verdict(world.alice.channel, world.trade(condor()))
