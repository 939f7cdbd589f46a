"""What a party signs and what it refuses: margin, marks, versions, exclusivity, the bar of a signed close, expiries."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from channels.core import events as e, facts as f, rules
from channels.core.channel import MarkPolicy
from channels.core.machine import step
from channels.core.phases import Phase
from channels.errors import (
    IntentInvalid,
    MarkRefused,
    NotYourTurn,
    OutstandingProposal,
    QuoteExpired,
    RuleViolation,
    SettlementInvalid,
    SigningBarred,
    StaleVersion,
    UnconfirmedDeposit,
    UnexpectedMessage,
    VersionSkipTooLarge,
)
from channels.model import Acknowledge, Close, Leg, Mark, Marks, Party, Reopen, SettleExpiry, Withdraw
from channels.units import WAD
from tests.roles import DAY, ETH, EXPIRY, HOUR, NOW, TERMS, UNIT, condor
from tests.sansio import Joined, fresh
from tests.unit.core.judging import CALL, SHORT_CALLS, refusals, verdict


@pytest.fixture
def world() -> Joined:
    made = Joined()
    made.fund(10_000, 10_000)
    return made


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
