"""What margin asks for at one look: every decision on both sides of its boundary."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from channels.core import events as e, facts as f, margin_duties as d, notices as n
from channels.core.channel import Channel
from channels.core.machine import step
from channels.core.views import FixPrice
from channels.errors import CalledForMargin, IntentInvalid
from channels.model import Close, Leg, Party, Reopen
from channels.risk import margin
from channels.risk.close_out import witness
from channels.units import WAD
from tests.roles import ETH, EXPIRY, HOUR, NOW, TERMS, UNIT
from tests.sansio import Joined, Side, kinds, replayed

CURE = TERMS.cure_period
SHORT = Leg.call(ETH, EXPIRY, 2400, quantity=-10)
NINE = Leg.call(ETH, EXPIRY, 2400, quantity=9)
ORDERS = d.MarginOrders(top_up_limit=9_000 * UNIT)
LOW, HIGH = 2_300, 3_300
"""Alice is whole at the low spot, and below maintenance at the high one."""


@pytest.fixture
def world() -> Joined:
    """Ten thousand each, Alice short ten calls in version 2, which is registered."""
    world = Joined()
    world.fund(10_000, 10_000)
    world.propose(world.alice, world.trade([SHORT], premium=-400))
    world.confirm(f.RegisteredSeen(world.agreed.state, 0))
    return world


def look(channel: Channel, spot: int | None = HIGH, **changes: Any) -> d.MarginLook:
    """The newest block, a minute after the marks; `spot` in whole dollars."""
    chain = channel.chain
    spots = () if spot is None else ((ETH, spot * WAD),)
    seen = d.MarginLook(NOW + 60, chain.version, 0, (0, 0), chain.deposits, chain.paid, spots, wallet=50_000 * UNIT)
    return replace(seen, **changes)


def called(channel: Channel, spot: int | None = HIGH, **changes: Any) -> d.MarginLook:
    """The same with a call on Alice, made a minute ago."""
    return look(channel, spot, **{"cure_deadlines": (NOW + CURE, 0), **changes})


def judged(side: Side, seen: d.MarginLook, **orders: Any) -> d.MarginView:
    return d.margin_view(side.channel, seen, replace(ORDERS, **orders))


# Calling


def test_a_peer_in_breach_is_called_with_the_rows_that_prove_it(world: Joined) -> None:
    agreed = world.agreed
    found = margin(agreed.book, agreed.state.balances, 6, t=NOW + 60, spots={ETH: HIGH * WAD})[0]
    view = judged(world.bob, look(world.bob.channel))
    wanted = d.CallMargin(None, agreed.state, agreed.book, witness(found), found.equity, found.maintenance_margin)
    assert view.pursuit == wanted
    assert view.is_breach(Party.ZERO) and not view.is_breach(Party.ONE)
    assert judged(world.alice, look(world.alice.channel)).pursuit is None, "nobody calls itself"
    assert judged(world.bob, look(world.bob.channel, LOW)).pursuit is None
    assert judged(world.bob, look(world.bob.channel), call=False).pursuit is None


def test_a_newer_agreed_state_is_called_upon_until_the_dispute_is_over(world: Joined) -> None:
    world.propose(world.bob, world.mark())
    channel = world.bob.channel
    upon = judged(world.bob, look(channel)).pursuit
    assert isinstance(upon, d.CallMargin) and upon.agreed == world.agreed
    over = judged(world.bob, look(channel, deadline=NOW + 60)).pursuit
    assert over is None, "the state of version 2 is final, and its book was forgotten"


def test_without_a_fresh_spot_or_a_sound_journal_nobody_is_called(world: Joined) -> None:
    view = judged(world.bob, look(world.bob.channel, None))
    assert (view.reports, view.pursuit) == (None, None)
    lost = replace(world.bob.channel, frozen=9)
    assert d.margin_view(lost, look(lost), ORDERS).pursuit is None


def test_a_top_up_on_the_chain_counts_before_it_is_confirmed(world: Joined) -> None:
    channel = world.bob.channel
    breach = judged(world.bob, look(channel)).reports
    assert breach is not None
    missing = breach[0].maintenance_margin - breach[0].equity
    for short_of, called_then in ((0, False), (1, True)):
        deposits = (10_000 * UNIT + missing - short_of, 10_000 * UNIT)
        assert (judged(world.bob, look(channel, deposits=deposits)).pursuit is not None) is called_then


def test_a_standing_call_is_not_made_again_and_a_lapsed_one_is(world: Joined) -> None:
    channel = world.bob.channel
    lapses = NOW + CURE + HOUR
    assert judged(world.bob, called(channel)).pursuit is None
    assert d.call_stands(channel, called(channel, now=lapses - 1), Party.ZERO)
    assert isinstance(judged(world.bob, called(channel, now=lapses - 1)).pursuit, d.Liquidate)
    assert isinstance(judged(world.bob, called(channel, now=lapses)).pursuit, d.CallMargin)
    assert not d.call_stands(channel, called(channel, now=lapses), Party.ZERO)


@pytest.mark.parametrize(
    ("conduct", "reason"),
    [
        (d.Conduct(breach=29.9, silent=9.9, away=9.9), None),
        (d.Conduct(breach=30), "it did not restore its margin in time"),
        (d.Conduct(breach=0, silent=10), "it does not answer"),
        (d.Conduct(breach=0, away=10), "it is not connected"),
    ],
)
def test_a_peer_is_called_for_a_reason(conduct: d.Conduct, reason: str | None) -> None:
    assert d.reason_to_call(conduct, patience=30, reply_timeout=10) == reason


# Executing


def test_a_liquidation_waits_for_the_deadline_and_for_a_breach_then(world: Joined) -> None:
    channel = world.bob.channel
    assert judged(world.bob, called(channel, now=NOW + CURE - 1)).pursuit is None
    execution = judged(world.bob, called(channel, now=NOW + CURE)).pursuit
    assert isinstance(execution, d.Liquidate) and execution.state == world.agreed.state
    assert judged(world.bob, called(channel, LOW, now=NOW + CURE)).pursuit is None
    assert judged(world.bob, called(channel, now=NOW + CURE), liquidate=False).pursuit is None


def test_nobody_is_closed_out_on_a_state_that_a_better_one_replaced(world: Joined) -> None:
    """Alice has bought her calls back, and has not shown it on-chain yet."""
    channel = world.bob.channel
    world.propose(world.alice, world.trade([NINE], premium=360))
    newer = world.bob.channel
    # The chain still has version 2, whose book the journal gives back.
    newer = replace(newer, recalled=channel.book)
    assert newer.agreed_version > newer.chain.version
    assert d.margin_view(newer, called(newer, now=NOW + CURE), ORDERS).pursuit is None


def test_nobody_is_closed_out_for_a_breach_that_is_not_in_the_registered_state() -> None:
    world = Joined()
    world.fund(10_000, 10_000)
    world.confirm(f.RegisteredSeen(world.agreed.state, 0))
    world.propose(world.alice, world.trade([SHORT], premium=-400))
    view = judged(world.bob, called(world.bob.channel, now=NOW + CURE))
    assert view.is_breach(Party.ZERO) and view.pursuit is None


def test_an_expired_leg_gets_its_price_before_the_close_out(world: Joined) -> None:
    channel = world.bob.channel
    late = called(channel, 3_500, now=EXPIRY + 1, cure_deadlines=(EXPIRY - 60, 0))
    assert judged(world.bob, late).pursuit == FixPrice(world.agreed.state, channel.book, ETH, EXPIRY)
    poor = replace(late, settlements=(((ETH, EXPIRY), 3_500 * WAD),))
    assert isinstance(judged(world.bob, poor).pursuit, d.Liquidate)
    rich = replace(late, settlements=(((ETH, EXPIRY), 2_500 * WAD),))
    assert judged(world.bob, rich).pursuit is None


# Answering


def test_a_newer_state_answers_first_until_the_dispute_is_over(world: Joined) -> None:
    world.propose(world.bob, world.mark())
    channel = world.alice.channel
    assert judged(world.alice, called(channel)).answer == d.Disarm(world.agreed)
    assert judged(world.alice, called(channel, deadline=NOW + 61)).answer == d.Disarm(world.agreed)
    late = judged(world.alice, called(channel, now=NOW + CURE)).answer
    assert late == d.Disarm(world.agreed), "agreed after the cure deadline: the call can be executed until it is shown"
    assert judged(world.alice, called(channel, deadline=NOW + 60)).answer is None
    assert judged(world.alice, look(channel)).answer is None, "no call, nothing to answer"


def test_what_is_lacking_is_topped_up_within_limit_and_wallet_to_the_unit(world: Joined) -> None:
    channel, agreed = world.alice.channel, world.agreed
    found = margin(agreed.book, agreed.state.balances, 6, t=NOW + 60, spots={ETH: HIGH * WAD})[0]
    lacking = found.initial_margin - found.equity
    wanted = lacking + -(-found.initial_margin // 100)
    deadline, before = NOW + CURE, 10_000 * UNIT

    def answer(limit: int, wallet: int = 50_000 * UNIT) -> d.Answering | None:
        return judged(world.alice, called(channel, wallet=wallet), top_up_limit=limit).answer

    assert answer(wanted + 1) == d.TopUp(wanted, before + wanted, deadline)
    assert answer(lacking) == d.TopUp(lacking, before + lacking, deadline)
    assert answer(lacking - 1) == d.AskForTopUp(wanted, deadline) == answer(0)
    assert answer(2 * wanted, lacking) == d.TopUp(lacking, before + lacking, deadline)
    assert answer(2 * wanted, lacking - 1) == d.AskForTopUp(wanted, deadline)
    assert judged(world.alice, called(channel, None)).answer is None, "nobody can act without a spot"
    lapsed = called(channel, now=NOW + CURE + HOUR)
    assert judged(world.alice, lapsed).answer is None
    enough = called(channel, deposits=(before + lacking, before))
    assert judged(world.alice, enough).answer == d.Cure(agreed.state, agreed.book)
    assert judged(world.alice, replace(enough, deposits=(before + lacking - 1, before))).answer != d.Cure(
        agreed.state, agreed.book
    )


def test_a_decided_top_up_is_the_same_one_until_it_is_there_and_counts_for_ever(world: Joined) -> None:
    side, before = world.alice, 10_000 * UNIT
    world.act(side, e.TopUpWanted(4_000 * UNIT, before + 4_000 * UNIT, NOW + CURE))
    assert replayed(side).topped_up == side.channel.topped_up == 4_000 * UNIT
    assert replayed(side).top_up == side.channel.top_up
    assert kinds(side.notices)["ToppingUp"] == 1
    again = d.TopUp(4_000 * UNIT, before + 4_000 * UNIT, NOW + CURE, is_decided=True)
    assert judged(side, called(side.channel)).answer == again
    assert isinstance(judged(side, called(side.channel, wallet=UNIT)).answer, d.AskForTopUp)
    mined = called(side.channel, deposits=(before + 4_000 * UNIT, before))
    more = judged(side, mined, top_up_limit=20_000 * UNIT).answer
    assert isinstance(more, d.TopUp) and not more.is_decided
    assert isinstance(judged(side, mined, top_up_limit=4_000 * UNIT + more.amount // 2).answer, d.AskForTopUp)


def test_a_close_on_its_way_leaves_everything_to_it(world: Joined) -> None:
    world.propose(world.alice, Close(2_000 * UNIT, NOW + HOUR))
    channel = world.bob.channel
    assert channel.closing is not None
    for side in world.sides:
        view = judged(side, called(side.channel, now=NOW + HOUR))
        assert (view.answer, view.pursuit) == (None, None)
    later = judged(world.bob, look(channel, now=NOW + HOUR + 1))
    assert isinstance(later.pursuit, d.CallMargin)


def test_a_called_party_gets_no_signature_under_what_leaves_it_below(world: Joined) -> None:
    world.confirm(f.CalledSeen(Party.ZERO, NOW + CURE, 5, 0))
    world.spot = str(HIGH)
    world.propose(world.alice, world.mark())
    refused = [note for note in world.bob.notices if isinstance(note, n.WeRefused)]
    assert [note.code for note in refused] == [CalledForMargin.code]
    world.propose(world.alice, world.trade([NINE], premium=8_110))
    assert world.agreed.book.legs == (Leg.call(ETH, EXPIRY, 2400, quantity=-1),)


def test_no_reopen_is_signed_while_our_call_stands(world: Joined) -> None:
    world.confirm(f.RegisteredSeen(world.agreed.state, NOW + 3 * HOUR))
    world.confirm(f.CalledSeen(Party.ZERO, NOW + CURE, 5, 0))
    reopen = Reopen((0, 0), NOW + HOUR)
    world.propose(world.alice, reopen)
    assert [note.code for note in world.bob.notices if isinstance(note, n.WeRefused)] == [IntentInvalid.code]
    world.turn_to(world.bob)
    with pytest.raises(IntentInvalid, match="a margin call on the peer stands"):
        world.propose(world.bob, reopen)


def test_a_lapsed_call_forbids_nothing(world: Joined) -> None:
    world.confirm(f.CalledSeen(Party.ZERO, NOW + CURE, 5, 0))
    world.block(NOW + CURE + HOUR)
    world.spot = str(HIGH)
    world.propose(world.alice, world.mark())
    assert world.agreed.book.marks.spot(ETH) == HIGH * WAD


# Releasing


def test_what_is_releasable_is_the_least_of_excess_realised_cash_and_pot(world: Joined) -> None:
    channel = world.bob.channel
    final = look(channel, LOW, deadline=NOW + 60)
    report = margin(channel.book, world.agreed.state.balances, 6, t=NOW + 60, spots={ETH: LOW * WAD})[1]
    assert 0 <= report.excess - d.releasable(channel, final) < 2 * UNIT
    assert d.releasable(channel, look(channel, LOW, deadline=NOW + 61)) == 0, "the dispute still runs"
    assert d.releasable(channel, look(channel, None, deadline=NOW + 60)) == 0
    gained = look(channel, HIGH, deadline=NOW + 60)
    assert d.releasable(channel, gained) == world.agreed.state.balances[1], "a gain that no expiry realised stays"
    assert d.releasable(world.alice.channel, gained) == 0
    expired = replace(gained, now=EXPIRY)
    assert d.releasable(channel, expired) == 0, "no settlement yet"
    settled = replace(expired, settlements=(((ETH, EXPIRY), 2_500 * WAD),))
    assert d.releasable(channel, settled) == world.agreed.state.balances[1] + 1_000 * UNIT
    everything = replace(settled, settlements=(((ETH, EXPIRY), 9_000 * WAD),))
    assert d.releasable(channel, everything) == 20_000 * UNIT


def test_cash_is_what_is_left_after_the_withdrawals_that_a_registration_pays(world: Joined) -> None:
    state = replace(world.agreed.state, withdrawals=(3_000 * UNIT, 0), balances=(7_400 * UNIT, 9_600 * UNIT))
    seen = look(world.bob.channel)
    assert d.cash_at(state, seen) == (7_400 * UNIT, 9_600 * UNIT)
    assert d.cash_at(state, replace(seen, paid=(3_000 * UNIT, 0))) == (7_400 * UNIT, 9_600 * UNIT)
    # Both withdraw more than there is: party 0 first, party 1 what is left.
    both = replace(state, withdrawals=(15_000 * UNIT, 8_000 * UNIT), balances=(-5_000 * UNIT, 2_000 * UNIT))
    assert d.cash_at(both, seen) == (-5_000 * UNIT, 5_000 * UNIT)
    # A deposit that a reorg took away is a debt, and until it is back nothing is paid.
    gone = replace(seen, deposits=(9_000 * UNIT, 10_000 * UNIT))
    assert d.cash_at(state, gone) == (9_400 * UNIT, 9_600 * UNIT)


def test_a_top_up_may_be_decided_in_every_phase_with_money_in_it(world: Joined) -> None:
    world.confirm(f.RegisteredSeen(world.agreed.state, NOW + HOUR))
    event = e.TopUpWanted(1, 10_000 * UNIT + 1, NOW + CURE)
    disputed = step(world.alice.channel, event).channel
    world.block(NOW + HOUR)
    assert step(world.alice.channel, event).channel.topped_up == disputed.topped_up == 1
