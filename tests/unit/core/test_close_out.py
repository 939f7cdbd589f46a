"""CloseOut: every position at the marks, the charge from one side, and both sides' word on it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from channels.core import facts as f, rules
from channels.core.apply import apply
from channels.core.channel import Channel
from channels.core.notices import PeerRefused, Updated
from channels.errors import (
    CloseOutInvalid,
    DealDeclined,
    MarkRefused,
    OutOfBounds,
    OutstandingProposal,
    RuleViolation,
    UnexpectedMessage,
)
from channels.model import (
    EMPTY_BOOK,
    Acknowledge,
    Agreed,
    Book,
    CloseOut,
    ExpiryMark,
    Intent,
    Leg,
    Mark,
    Marks,
    Operation,
    Party,
    SettleExpiry,
    State,
    Withdraw,
)
from channels.risk import DEFAULT_POLICY, close_out, close_out_payouts, margin
from channels.session import FairDeal, Offer
from channels.units import WAD
from tests.roles import CHANNEL, ETH, EXPIRY, HOUR, LATER, NOW, UNIT, book, condor, marks, state
from tests.sansio import Joined, fresh, kinds

SHORT_CALLS = Leg.call(ETH, EXPIRY, 2400, quantity=-10)
FUNDED = (10_000 * UNIT, 10_000 * UNIT)


@pytest.fixture
def world() -> Joined:
    """Ten thousand each; Alice is short ten calls."""
    made = Joined()
    made.fund(10_000, 10_000)
    made.propose(made.alice, made.trade((SHORT_CALLS,), -400))
    return made


def after(*operations: Operation, held: Book, by: Party = Party.ZERO, **changes: Any) -> tuple[State, Book]:
    start = state(held, **changes)
    return apply(
        CHANNEL, start, held, operations, proposer=by, version=2, salt=b"n" * 32, decimals=6, policy=DEFAULT_POLICY
    )


def verdict(channel: Channel, *operations: Operation, by: Party, now: int = NOW, view: Marks | None = None) -> None:
    """Judge what `by` proposes, as `channel`'s party does."""
    made, held = apply(
        channel.id,
        *channel.base,
        operations,
        proposer=by,
        version=rules.next_version(channel),
        salt=fresh(),
        decimals=6,
        policy=channel.policy,
    )
    rules.judge(channel, operations, made, held, proposer=by, now=now, view=view)


# What it does


@pytest.mark.parametrize("payer", Party)
@pytest.mark.parametrize("held", [book(), book((SHORT_CALLS,))])
def test_it_pays_what_the_contracts_close_out_pays(held: Book, payer: Party) -> None:
    made, holds = after(CloseOut(payer), held=held)
    values, charges = close_out(held, 6)
    assert made.balances == close_out_payouts((10_000 * UNIT, 5_000 * UNIT), values, charges, payer)
    assert charges[payer] > 0
    assert made.balances[payer] < (10_000 * UNIT, 5_000 * UNIT)[payer] + values[payer]
    assert holds == EMPTY_BOOK
    assert made.book == EMPTY_BOOK.hash
    assert (made.intent, made.valid_until) == (Intent.OPERATE, 0)
    assert sum(made.balances) == sum(made.deposits)


def test_it_closes_at_the_marks_that_precede_it() -> None:
    held = book((SHORT_CALLS,))
    later = marks((SHORT_CALLS,), time=NOW + 60, spot=2_500)
    made, _ = after(Mark(later), CloseOut(Party.ZERO), held=held)
    values, charges = close_out(Book((SHORT_CALLS,), later, b"s" * 32), 6)
    assert made.balances == close_out_payouts((10_000 * UNIT, 5_000 * UNIT), values, charges, 0)
    assert made.balances != after(CloseOut(Party.ZERO), held=held)[0].balances


@pytest.mark.parametrize("payer", Party)
def test_a_party_that_owes_more_than_it_has_is_left_with_nothing(payer: Party) -> None:
    """Ten short calls at 9,000: 66,000 are owed of 10,000."""
    legs = (SHORT_CALLS.times(1 if payer is Party.ZERO else -1),)
    held = Book(legs, marks(legs, spot=9_000), b"s" * 32)
    made, _ = after(CloseOut(payer), held=held)
    assert made.balances[payer] == 0
    assert made.balances[payer.other] == 15_000 * UNIT


def test_facts_settle_what_has_expired_first() -> None:
    far = Leg.call(ETH, LATER, 2500, quantity=-1)
    legs = (SHORT_CALLS, far)
    held = Book(legs, marks(legs, time=EXPIRY + 1), b"s" * 32)
    with pytest.raises(CloseOutInvalid, match="has expired: settle it first"):
        after(CloseOut(Party.ZERO), held=held)
    made, holds = after(SettleExpiry(ETH, EXPIRY, 2_300 * WAD), CloseOut(Party.ZERO), held=held)
    assert holds == EMPTY_BOOK
    alone = Book((far,), marks((far,), time=EXPIRY + 1), b"s" * 32)
    assert made.balances == close_out_payouts((10_000 * UNIT, 5_000 * UNIT), *close_out(alone, 6), 0)


REFUSED: dict[str, tuple[str, dict[str, Any]]] = {
    "nothing to close": ("no position", {"held": EMPTY_BOOK}),
    "more paid than deposited": (
        "payments exceed",
        {
            "held": book(),
            "deposits": (0, 0),
            "withdrawals": (5, 0),
            "balances": (-5, 0),
        },
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_closed_is_refused(case: str) -> None:
    reason, arguments = REFUSED[case]
    with pytest.raises(CloseOutInvalid, match=reason):
        after(CloseOut(Party.ZERO), **arguments)


def test_a_number_is_no_party() -> None:
    with pytest.raises(CloseOutInvalid):
        CloseOut(0)  # type: ignore[arg-type]


# What is signed


def test_both_agree_and_trading_goes_on(world: Joined) -> None:
    values, charges = close_out(world.agreed.book, 6)
    expected = close_out_payouts(world.agreed.state.balances, values, charges, 0)
    world.propose(world.alice, CloseOut(Party.ZERO))
    assert world.agreed.state.balances == expected
    assert world.agreed.book == EMPTY_BOOK
    world.restart(world.alice)
    world.restart(world.bob)
    world.reconnect()
    assert world.agreed.state.balances == expected
    world.propose(world.bob, world.trade((SHORT_CALLS.times(-1),), 400))
    assert world.agreed.book.legs


def breached(world: Joined) -> None:
    """The market runs: Alice is below maintenance, with equity left."""
    world.spot = "3000"
    world.propose(world.bob, world.mark())
    report = margin(world.agreed.book, world.agreed.state.balances, 6)[0]
    assert report.is_breach and report.equity > 0


def test_only_a_party_below_maintenance_is_closed_out_by_the_other_at_its_own_expense(world: Joined) -> None:
    with pytest.raises(CloseOutInvalid, match="who leaves early pays"):
        world.propose(world.bob, CloseOut(Party.ZERO))
    for channel in (world.alice.channel, world.bob.channel):
        with pytest.raises(CloseOutInvalid):
            verdict(channel, CloseOut(Party.ZERO), by=Party.ONE)
        verdict(channel, CloseOut(Party.ZERO), by=Party.ZERO)
        verdict(channel, CloseOut(Party.ONE), by=Party.ONE)
    breached(world)
    for channel in (world.alice.channel, world.bob.channel):
        verdict(channel, CloseOut(Party.ZERO), by=Party.ONE)
    world.propose(world.bob, CloseOut(Party.ZERO))
    assert world.agreed.book == EMPTY_BOOK


def test_the_breach_counts_at_the_marks_it_closes_at(world: Joined) -> None:
    world.spot = "3000"
    mark = world.mark()
    view = world.view((SHORT_CALLS,), NOW)
    verdict(world.alice.channel, mark, CloseOut(Party.ZERO), by=Party.ONE, view=view)


def test_marks_that_price_a_close_out_are_judged_like_any(world: Joined) -> None:
    """The book is gone afterwards, so nobody would look at them; the money moved by them stays."""
    absurd = Mark(Marks.at(NOW, spots={ETH: 1_000}, vols={SHORT_CALLS: "0.6"}))
    view = world.view((SHORT_CALLS,), NOW)
    with pytest.raises(MarkRefused, match="spot"):
        verdict(world.bob.channel, absurd, CloseOut(Party.ZERO), by=Party.ZERO, view=view)
    with pytest.raises(MarkRefused, match="no own view"):
        verdict(world.bob.channel, absurd, CloseOut(Party.ZERO), by=Party.ZERO, view=None)
    world.carry(world.alice, world.alice.seat.propose((absurd, CloseOut(Party.ZERO)), fresh(), NOW))
    world.settle()
    assert [n.code for n in world.alice.notices if isinstance(n, PeerRefused)] == ["mark: refused"]
    world.propose(world.alice, world.mark())
    world.propose(world.alice, world.mark(), CloseOut(Party.ZERO))
    assert world.agreed.book == EMPTY_BOOK


def test_a_leg_that_has_expired_by_our_clock_is_settled_first(world: Joined) -> None:
    with pytest.raises(CloseOutInvalid, match="settle it first"):
        verdict(world.bob.channel, CloseOut(Party.ZERO), by=Party.ZERO, now=EXPIRY)
    verdict(world.bob.channel, CloseOut(Party.ZERO), by=Party.ZERO, now=EXPIRY - 1)


def test_a_top_up_that_the_state_does_not_know_is_acknowledged_first(world: Joined) -> None:
    """An insolvent party could otherwise close before its own deposit counts, and keep it."""
    world.confirm(f.DepositSeen(Party.ZERO, 12_000 * UNIT))
    known = Acknowledge((12_000 * UNIT, 10_000 * UNIT), (0, 0))
    with pytest.raises(CloseOutInvalid, match="acknowledge them first"):
        verdict(world.bob.channel, CloseOut(Party.ZERO), by=Party.ZERO)
    verdict(world.bob.channel, known, CloseOut(Party.ZERO), by=Party.ZERO)
    world.confirm(f.PaymentSeen(Party.ONE, 5))
    with pytest.raises(CloseOutInvalid, match="acknowledge them first"):
        verdict(world.bob.channel, known, CloseOut(Party.ZERO), by=Party.ZERO)
    with pytest.raises(CloseOutInvalid, match="nothing can follow"):
        verdict(world.bob.channel, CloseOut(Party.ZERO), known, by=Party.ZERO)


def test_it_is_one_of_the_exclusive_operations(world: Joined) -> None:
    for pair in ((Withdraw(1), CloseOut(Party.ZERO)), (world.trade((SHORT_CALLS,)), CloseOut(Party.ZERO))):
        with pytest.raises(OutstandingProposal):
            verdict(world.alice.channel, *pair, by=Party.ZERO)
    world.bob.seat.channel = replace(world.bob.channel, frozen=1)
    world.propose(world.alice, CloseOut(Party.ZERO))
    world.bob.seat.channel = replace(world.bob.channel, frozen=0)
    with pytest.raises(OutstandingProposal):
        verdict(world.alice.channel, Withdraw(1), by=Party.ZERO)


def test_in_a_dispute_it_is_too_late(world: Joined) -> None:
    world.confirm(f.RegisteredSeen(world.agreed.state, NOW + HOUR))
    with pytest.raises(UnexpectedMessage):
        verdict(world.alice.channel, CloseOut(Party.ZERO), by=Party.ZERO)


# The owner's word


def test_the_owner_is_asked_what_it_would_get_and_give(world: Joined) -> None:
    offers: list[Offer] = []
    world.bob.seat.deal = offers.append
    before = world.agreed.state.balances[1]
    world.propose(world.alice, world.mark(), CloseOut(Party.ZERO))
    (offer,) = offers
    assert offer.legs == (SHORT_CALLS,)
    assert offer.received == world.agreed.state.balances[1] - before
    charge = close_out(book((SHORT_CALLS,)), 6)[1][0]
    assert offer.edge is not None and 0 < offer.edge <= charge + UNIT


def declined(offer: Offer) -> None:
    raise DealDeclined("we keep our positions")


def test_the_owners_no_leaves_everything_as_it_was(world: Joined) -> None:
    world.bob.seat.deal = declined
    agreed = world.bob.channel.agreed
    assert isinstance(agreed, Agreed)
    signed = world.bob.channel.signed
    world.propose(world.alice, CloseOut(Party.ZERO))
    assert [n.code for n in world.alice.notices if isinstance(n, PeerRefused)] == ["deal: declined"]
    assert (world.bob.channel.agreed, world.bob.channel.signed) == (agreed, signed)


def test_the_default_word_takes_the_charge_and_refuses_the_insolvent(world: Joined) -> None:
    """Alice pays her charge: fine. Alice owes more than she has and would walk away from it: not without Bob."""
    world.bob.seat.deal = FairDeal()
    world.spot = "3600"
    world.propose(world.bob, world.mark())
    assert margin(world.agreed.book, world.agreed.state.balances, 6)[0].equity < 0
    world.propose(world.alice, CloseOut(Party.ZERO))
    assert [n.code for n in world.alice.notices if isinstance(n, PeerRefused)] == ["deal: declined"]
    world.spot = "2350"
    world.propose(world.bob, world.mark())
    world.propose(world.alice, CloseOut(Party.ZERO))
    assert world.agreed.book == EMPTY_BOOK
    assert kinds(world.alice.notices)["Updated"] == sum(isinstance(n, Updated) for n in world.bob.notices)


# Books that cannot be priced


def test_marks_that_the_risk_engine_cannot_price_are_refused_before_they_are_signed(world: Joined) -> None:
    """A forward below one wei: on-chain, every margin call on such a book would revert."""
    made = world.mark().marks
    nowhere = replace(made, expiries=(ExpiryMark(ETH, EXPIRY, 1, WAD),), spots=(replace(made.spots[0], spot=WAD // 2),))
    for operations in ((Mark(nowhere),), (Mark(nowhere), CloseOut(Party.ZERO))):
        with pytest.raises(OutOfBounds):
            verdict(world.alice.channel, *operations, by=Party.ZERO)
    wide = replace(world.bob.channel, mark_policy=replace(world.bob.channel.mark_policy, spot=2 * WAD))
    with pytest.raises(OutOfBounds):
        verdict(wide, Mark(nowhere), by=Party.ZERO, view=world.view((SHORT_CALLS,), NOW))
    assert issubclass(OutOfBounds, RuleViolation)


def test_the_condor_is_closed_for_less_than_its_legs_one_by_one() -> None:
    legs = condor()
    one_by_one = sum(close_out(Book((leg,), marks((leg,)), b"s" * 32), 6)[1][0] for leg in legs)
    assert close_out(book(legs), 6)[1][0] < one_by_one
