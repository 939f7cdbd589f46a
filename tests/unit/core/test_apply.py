"""apply: what each operation does, what it refuses, and that money neither appears nor goes."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, strategies as st

from channels.core.apply import apply
from channels.errors import (
    IntentInvalid,
    InvalidBook,
    InvalidState,
    MarkRefused,
    RuleViolation,
    SettlementInvalid,
    TradeInvalid,
    UnconfirmedDeposit,
    WithdrawalInvalid,
)
from channels.model import (
    EMPTY_BOOK,
    NO_MARKS,
    Acknowledge,
    Book,
    Close,
    CloseOut,
    Intent,
    Leg,
    Mark,
    Operation,
    Party,
    Reopen,
    SettleExpiry,
    State,
    Trade,
    Withdraw,
    net,
)
from channels.risk import DEFAULT_POLICY
from tests.roles import CHANNEL, ETH, EXPIRY, LATER, NOW, UNIT, book, condor, marks, state

SALT = b"n" * 32


def after(
    *operations: Operation, base: State | None = None, held: Book = EMPTY_BOOK, by: Party = Party.ZERO, **changes: Any
) -> tuple[State, Book]:
    start = state(held, **changes) if base is None else base
    return apply(CHANNEL, start, held, operations, proposer=by, version=2, salt=SALT, decimals=6, policy=DEFAULT_POLICY)


def sell(*legs: Leg, premium: int = 0, held: tuple[Leg, ...] = (), **changes: Any) -> Trade:
    return Trade(legs, premium, marks((*held, *legs), **changes))


CALL = Leg.call(ETH, EXPIRY, 2400, quantity=2)


def test_a_trade_adds_its_legs_and_moves_the_premium_from_party_0() -> None:
    made, holds = after(sell(CALL, premium=7 * UNIT))
    assert holds.legs == (CALL,)
    assert holds.salt == SALT
    assert made.book == holds.hash
    assert made.balances == (9_993 * UNIT, 5_007 * UNIT)
    assert (made.version, made.intent, made.valid_until) == (2, Intent.OPERATE, 0)


def test_a_negative_premium_is_paid_by_party_1() -> None:
    assert after(sell(CALL, premium=-7 * UNIT))[0].balances == (10_007 * UNIT, 4_993 * UNIT)


def test_a_trade_nets_and_a_leg_netted_to_zero_goes() -> None:
    held = book((CALL, *condor()[:1]))
    closing = Trade((CALL.times(-1),), 0, marks(condor()[:1]))
    assert after(closing, held=held)[1].legs == condor()[:1]


def test_the_last_position_closed_leaves_the_empty_book() -> None:
    made, holds = after(Trade((CALL.times(-1),), 0, NO_MARKS), held=book((CALL,)))
    assert holds is EMPTY_BOOK or holds == EMPTY_BOOK
    assert made.book == bytes(32)


def test_withdraw_is_for_its_proposer_alone() -> None:
    made, _ = after(Withdraw(3 * UNIT), by=Party.ONE)
    assert made.withdrawals == (0, 3 * UNIT)
    assert made.balances == (10_000 * UNIT, 4_997 * UNIT)


def test_withdrawals_add_up() -> None:
    made, _ = after(Withdraw(3 * UNIT), withdrawals=(UNIT, 0), balances=(9_999 * UNIT, 5_000 * UNIT))
    assert made.withdrawals == (4 * UNIT, 0)


def test_a_mark_replaces_marks_and_nothing_else() -> None:
    held = book()
    made, holds = after(Mark(marks(time=NOW + 5, spot=2_350)), held=held)
    assert (holds.legs, holds.marks) == (held.legs, marks(time=NOW + 5, spot=2_350))
    assert (made.balances, made.deposits) == (state().balances, state().deposits)


def test_acknowledged_deposits_raise_balances_and_payments_lower_them() -> None:
    made, _ = after(Acknowledge((10_500 * UNIT, 5_000 * UNIT), (0, 200 * UNIT)))
    assert made.deposits == (10_500 * UNIT, 5_000 * UNIT)
    assert made.withdrawals == (0, 200 * UNIT)
    assert made.balances == (10_500 * UNIT, 4_800 * UNIT)


def test_a_payment_that_the_state_authorised_is_not_taken_twice() -> None:
    made, _ = after(
        Acknowledge((10_000 * UNIT, 5_000 * UNIT), (50, 0)),
        withdrawals=(100, 0),
        balances=(10_000 * UNIT - 100, 5_000 * UNIT),
    )
    assert made.withdrawals == (100, 0)


def test_the_first_state_comes_from_nothing() -> None:
    made, _ = apply(
        CHANNEL,
        None,
        EMPTY_BOOK,
        (Acknowledge((5, 6), (0, 0)),),
        proposer=Party.ONE,
        version=1,
        salt=SALT,
        decimals=6,
        policy=DEFAULT_POLICY,
    )
    assert made.balances == (5, 6)


@pytest.mark.parametrize(("price", "paid"), [(2_400, 0), (2_450, 100), (9_000, 13_200), (1, 0)])
def test_settlement_pays_intrinsic_and_may_leave_a_balance_negative(price: int, paid: int) -> None:
    made, holds = after(SettleExpiry(ETH, EXPIRY, price * 10**18), held=book((CALL,)))
    assert holds == EMPTY_BOOK
    assert made.balances == ((10_000 + paid) * UNIT, (5_000 - paid) * UNIT)


@pytest.mark.parametrize(("quantity", "paid"), [(10, 1), (-10, -1)])
def test_settlement_truncates_once_toward_zero(quantity: int, paid: int) -> None:
    """Two legs of 0.6 units each pay one: leg by leg it would be none, rounded down it would be minus two."""
    legs = tuple(Leg(ETH, EXPIRY, strike * 10**18, CALL.kind, quantity) for strike in (1, 2))
    made, _ = after(SettleExpiry(ETH, EXPIRY, 6 * 10**28), held=book(legs))
    assert made.balances == (10_000 * UNIT + paid, 5_000 * UNIT - paid)


def test_settlement_takes_one_expiry_and_leaves_the_others_with_their_marks() -> None:
    late = Leg.put(ETH, LATER, 2_000, quantity=1)
    _, holds = after(SettleExpiry(ETH, EXPIRY, 2_450 * 10**18), held=book((CALL, late)))
    assert holds.legs == (late,)
    assert holds.marks == marks((late,))


def test_close_replaces_all_legs_by_its_transfer() -> None:
    made, holds = after(Close(-100, NOW + 60), held=book())
    assert holds == EMPTY_BOOK
    assert made.balances == (10_000 * UNIT + 100, 5_000 * UNIT - 100)
    assert (made.intent, made.valid_until) == (Intent.CLOSE, NOW + 60)


def test_reopen_folds_in_payments_and_nothing_else() -> None:
    held = book()
    made, holds = after(Reopen((0, 70), NOW + 60), held=held)
    assert (holds.legs, holds.marks) == (held.legs, held.marks)
    assert made.deposits == state().deposits
    assert made.withdrawals == (0, 70)
    assert made.balances == (10_000 * UNIT, 5_000 * UNIT - 70)
    assert made.intent is Intent.REOPEN


EXPIRED = Leg.call(ETH, NOW, 2400, quantity=1)
REFUSALS: dict[str, tuple[type[RuleViolation], Book, tuple[Operation, ...]]] = {
    "marks cover too much": (TradeInvalid, EMPTY_BOOK, (Trade((CALL,), 0, marks((CALL, *condor()[:1]))),)),
    "marks cover too little": (InvalidBook, book((CALL,)), (Trade(condor()[:1], 0, marks(condor()[:1])),)),
    "marks without a book": (TradeInvalid, book((CALL,)), (Trade((CALL.times(-1),), 0, marks((CALL,))),)),
    "an expired leg": (TradeInvalid, EMPTY_BOOK, (Trade((EXPIRED,), 0, marks((EXPIRED,))),)),
    "marks of a trade before the last": (MarkRefused, book((CALL,)), (sell(CALL, time=NOW - 1),)),
    "marks before the last": (MarkRefused, book((CALL,)), (Mark(marks((CALL,), time=NOW - 1)),)),
    "marks of nothing": (TradeInvalid, EMPTY_BOOK, (Mark(marks((CALL,))),)),
    "no marks for something": (InvalidBook, book((CALL,)), (Mark(),)),
    "quantities beyond bounds": (
        InvalidBook,
        book((Leg(ETH, EXPIRY, 10**18, CALL.kind, 2**88),)),
        (sell(Leg(ETH, EXPIRY, 10**18, CALL.kind, 1)),),
    ),
    "a premium beyond bounds": (InvalidState, EMPTY_BOOK, (sell(CALL, premium=2**120 - 1),)),
    "more than there is": (WithdrawalInvalid, EMPTY_BOOK, (Withdraw(15_000 * UNIT + 1),)),
    "a deposit taken back": (UnconfirmedDeposit, EMPTY_BOOK, (Acknowledge((0, 5_000 * UNIT), (0, 0)),)),
    "an expiry not in the book": (SettlementInvalid, book((CALL,)), (SettleExpiry(ETH, LATER, 10**18),)),
    "another underlying": (SettlementInvalid, book((CALL,)), (SettleExpiry("BTC/USD", EXPIRY, 10**18),)),
    "a price of zero": (SettlementInvalid, book((CALL,)), (SettleExpiry(ETH, EXPIRY, 0),)),
    "a price beyond 2^96": (SettlementInvalid, book((CALL,)), (SettleExpiry(ETH, EXPIRY, 2**96 + 1),)),
    "an expiry settled twice": (SettlementInvalid, book((CALL,)), (SettleExpiry(ETH, EXPIRY, 5),) * 2),
    "a close below zero": (IntentInvalid, EMPTY_BOOK, (Close(10_000 * UNIT + 1, NOW),)),
    "something after a close": (IntentInvalid, EMPTY_BOOK, (Close(0, NOW), Mark())),
    "something after a reopen": (IntentInvalid, EMPTY_BOOK, (Reopen((0, 0), NOW), Mark())),
    "a close that never expires": (InvalidState, EMPTY_BOOK, (Close(0, 0),)),
}


@pytest.mark.parametrize("what", REFUSALS)
def test_apply_refuses(what: str) -> None:
    error, held, operations = REFUSALS[what]
    with pytest.raises(RuleViolation) as caught:
        after(*operations, held=held)
    assert type(caught.value) is error


def test_the_wind_up_of_everything_to_the_last_unit() -> None:
    assert after(Withdraw(15_000 * UNIT))[0].balances == (-5_000 * UNIT, 5_000 * UNIT)
    assert after(Close(10_000 * UNIT, NOW + 1))[0].balances == (0, 15_000 * UNIT)


tokens = st.integers(0, 10**12)
pairs = st.tuples(tokens, tokens)
calls = st.builds(
    lambda strike, expiry, lots: Leg.call(ETH, expiry, strike, quantity=lots),
    st.sampled_from([2_000, 2_400]),
    st.sampled_from([EXPIRY, LATER]),
    st.sampled_from([-2, -1, 1, 2]),
)
settlements = st.builds(
    SettleExpiry, st.just(ETH), st.sampled_from([EXPIRY, LATER]), st.integers(1, 5_000).map(lambda p: p * 10**18)
)
others = st.one_of(
    st.builds(Withdraw, st.integers(1, 10**12)),
    st.builds(Acknowledge, pairs, pairs),
    settlements,
    st.builds(CloseOut, st.sampled_from(Party)),
    st.builds(Close, st.integers(-(10**10), 10**10), st.just(NOW + 60)),
    st.builds(Reopen, pairs, st.just(NOW + 60)),
)


@given(st.lists(st.one_of(calls, others), min_size=1, max_size=12), st.sampled_from(Party))
def test_balances_always_add_up_and_both_sides_compute_the_same_bytes(steps: list[Any], by: Party) -> None:
    base, held = state(), EMPTY_BOOK
    for step in steps:
        operation = step
        if isinstance(step, Leg):
            try:
                legs = Book.of((step,), marks((step,)), SALT).legs

                resulting = net(held.legs, legs)
                operation = Trade(legs, 17 * UNIT, marks(resulting) if resulting else NO_MARKS)
            except RuleViolation:
                continue
        arguments = {"proposer": by, "version": base.version + 1, "salt": SALT, "decimals": 6, "policy": DEFAULT_POLICY}
        try:
            ours = apply(CHANNEL, base, held, (operation,), **arguments)
        except RuleViolation as refused:
            with pytest.raises(type(refused)):
                apply(CHANNEL, base, held, (operation,), **arguments)
            continue
        theirs = apply(CHANNEL, base, held, (operation,), **arguments)
        assert ours == theirs
        assert ours[1].encoded == theirs[1].encoded
        base, held = ours
        assert sum(base.balances) == sum(base.deposits) - sum(base.withdrawals)
        if base.intent is not Intent.OPERATE:
            return
