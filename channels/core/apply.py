"""Operations to the next state: one pure function that both sides compute, so that states are never proposed as such.

Rules that need only the state, its book and the operation are here, each with its own error. Rules that need a clock,
the chain, the market or a margin model are in `rules`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from ..errors import (
    CloseOutInvalid,
    IntentInvalid,
    MarkRefused,
    SettlementInvalid,
    TradeInvalid,
    UnconfirmedDeposit,
    WithdrawalInvalid,
)
from ..model import (
    EMPTY_BOOK,
    NO_MARKS,
    ZERO32,
    Acknowledge,
    Book,
    ChannelId,
    Close,
    CloseOut,
    Intent,
    Leg,
    Mark,
    Marks,
    Operation,
    Party,
    Reopen,
    SettleExpiry,
    State,
    Trade,
    Withdraw,
    net,
)
from ..risk.close_out import close_out, close_out_payouts
from ..risk.payoff import payoff
from ..risk.policy import MarginPolicy

Pair = tuple[int, int]


class Draft(NamedTuple):
    """A state in the making: what operations change, one after the other."""

    deposits: Pair = (0, 0)
    withdrawals: Pair = (0, 0)
    balances: Pair = (0, 0)
    legs: tuple[Leg, ...] = ()
    marks: Marks = NO_MARKS
    intent: Intent = Intent.OPERATE
    valid_until: int = 0


class Setting(NamedTuple):
    """What operations need beside the draft: who proposes them, the token's decimals, the margin policy."""

    proposer: Party
    decimals: int
    policy: MarginPolicy


def apply(
    channel: ChannelId,
    base: State | None,
    book: Book,
    operations: tuple[Operation, ...],
    *,
    proposer: Party,
    version: int,
    salt: bytes,
    decimals: int,
    policy: MarginPolicy,
) -> tuple[State, Book]:
    """Return the state and book that `operations` lead to from `base`.

    Pure and total: the same arguments give the same bytes on both sides. Raises one RuleViolation per broken rule, or
    InvalidBook, InvalidState, UnbalancedState from the birth of the values.
    """
    draft, setting = Draft(), Setting(proposer, decimals, policy)
    if base is not None:
        draft = Draft(base.deposits, base.withdrawals, base.balances, book.legs, book.marks)
    for operation in operations:
        if draft.intent is not Intent.OPERATE:
            raise IntentInvalid("nothing can follow a close or reopen in one proposal")
        draft = _STEPS[type(operation)](draft, operation, setting)
    after = Book(draft.legs, draft.marks, salt) if draft.legs else EMPTY_BOOK
    state = State(
        channel,
        version,
        draft.intent,
        draft.valid_until,
        draft.deposits,
        draft.withdrawals,
        draft.balances,
        after.hash,
    )
    return state, after


def remarked(book: Book, operations: tuple[Mark, ...], salt: bytes) -> Book:
    """Return the book that marks alone lead to; the amounts stay what they are. Raises like `apply`."""
    held = book.marks
    for operation in operations:
        if not book.legs or operation.marks.rows is not held.rows:
            _check_cover(operation.marks, book.legs)
        _check_time(operation.marks, held)
        held = operation.marks
    return book.marked(held, salt) if book.legs else EMPTY_BOOK


def condensed(operations: tuple[Operation, ...]) -> tuple[Operation, ...]:
    """Return what a chain of operations comes to: without each Mark that a later one replaces before anything used it.

    It leads to the same state; thirty-two marks in flight are then one in the journal and in what the owner is told.
    """
    kept: list[Operation] = []
    is_replaced = False
    for operation in reversed(operations):
        if isinstance(operation, Mark):
            if is_replaced:
                continue
            is_replaced = True
        elif not isinstance(operation, Acknowledge | SettleExpiry):
            is_replaced = False
        kept.append(operation)
    return tuple(reversed(kept))


def _trade(draft: Draft, trade: Trade, setting: Setting) -> Draft:
    legs = net(draft.legs, trade.legs)
    if legs:
        _check_cover(trade.marks, legs)
        _check_time(trade.marks, draft.marks)
    elif trade.marks != NO_MARKS:
        raise TradeInvalid("it closes every position, so it carries no marks")
    for leg in trade.legs:
        if leg.expiry <= max(trade.marks.time, draft.marks.time):
            raise TradeInvalid(f"{leg} has expired")
    return draft._replace(legs=legs, marks=trade.marks, balances=_transfer(draft.balances, trade.premium))


def _withdraw(draft: Draft, withdraw: Withdraw, setting: Setting) -> Draft:
    if withdraw.amount > sum(draft.deposits) - sum(draft.withdrawals):
        raise WithdrawalInvalid(f"{withdraw.amount} exceeds the collateral in the channel")
    return _pay_out(draft, setting.proposer, withdraw.amount)


def _mark(draft: Draft, mark: Mark, setting: Setting) -> Draft:
    _check_cover(mark.marks, draft.legs)
    _check_time(mark.marks, draft.marks)
    return draft._replace(marks=mark.marks)


def _acknowledge(draft: Draft, seen: Acknowledge, setting: Setting) -> Draft:
    for party in Party:
        if seen.deposits[party] < draft.deposits[party]:
            raise UnconfirmedDeposit(party, seen.deposits[party], draft.deposits[party])
        arrived = seen.deposits[party] - draft.deposits[party]
        draft = draft._replace(
            deposits=_with(draft.deposits, party, seen.deposits[party]),
            balances=_with(draft.balances, party, draft.balances[party] + arrived),
        )
    return _fold_payments(draft, seen.payments)


def _settle(draft: Draft, settle: SettleExpiry, setting: Setting) -> Draft:
    key = (settle.underlying, settle.expiry)
    due = tuple(leg for leg in draft.legs if leg.key[:2] == key)
    if not due:
        raise SettlementInvalid(f"no leg of {settle.underlying} expires at {settle.expiry}")
    if not 0 < settle.price <= 2**96:
        raise SettlementInvalid(f"{settle.price} is not a settlement price")
    rest = tuple(leg for leg in draft.legs if leg.key[:2] != key)
    # Party 0 receives a positive payoff, so the transfer runs the other way round.
    balances = _transfer(draft.balances, -payoff(due, {key: settle.price}, setting.decimals))
    return draft._replace(legs=rest, marks=draft.marks.covering(rest) if rest else NO_MARKS, balances=balances)


def _close_out(draft: Draft, closed: CloseOut, setting: Setting) -> Draft:
    if not draft.legs:
        raise CloseOutInvalid("there is no position to close")
    for leg in draft.legs:
        if leg.expiry <= draft.marks.time:
            raise CloseOutInvalid(f"{leg} has expired: settle it first")
    if sum(draft.balances) < 0:
        raise CloseOutInvalid("payments exceed the deposits in the state")
    values, charges = close_out(Book(draft.legs, draft.marks, ZERO32), setting.decimals, setting.policy)
    balances = close_out_payouts(draft.balances, values, charges, closed.party)
    return draft._replace(legs=(), marks=NO_MARKS, balances=balances)


def _close(draft: Draft, close: Close, setting: Setting) -> Draft:
    balances = _transfer(draft.balances, close.transfer)
    if min(balances) < 0:
        raise IntentInvalid(f"a close would leave a party at {min(balances)} token units")
    return draft._replace(
        legs=(), marks=NO_MARKS, balances=balances, intent=Intent.CLOSE, valid_until=close.valid_until
    )


def _reopen(draft: Draft, reopen: Reopen, setting: Setting) -> Draft:
    return _fold_payments(draft, reopen.payments)._replace(intent=Intent.REOPEN, valid_until=reopen.valid_until)


_STEPS: dict[type, Callable[[Draft, Any, Setting], Draft]] = {
    Trade: _trade,
    Withdraw: _withdraw,
    Mark: _mark,
    Acknowledge: _acknowledge,
    SettleExpiry: _settle,
    CloseOut: _close_out,
    Close: _close,
    Reopen: _reopen,
}


def _check_cover(marks: Marks, legs: tuple[Leg, ...]) -> None:
    if not (marks.cover_exactly(tuple([leg.key for leg in legs])) if legs else marks == NO_MARKS):
        if legs:
            marks.covering(legs)  # says what they lack, if anything
        raise TradeInvalid("the marks do not cover exactly the resulting book")


def _check_time(marks: Marks, held: Marks) -> None:
    if marks.time < held.time:
        raise MarkRefused("time", str(marks.time), f"not before {held.time}")


def _fold_payments(draft: Draft, payments: Pair) -> Draft:
    """Take payments that the state has not authorised itself (a release, a withdrawal of another version) into it."""
    for party in Party:
        unknown = payments[party] - draft.withdrawals[party]
        if unknown > 0:
            draft = _pay_out(draft, party, unknown)
    return draft


def _pay_out(draft: Draft, party: Party, amount: int) -> Draft:
    return draft._replace(
        withdrawals=_with(draft.withdrawals, party, draft.withdrawals[party] + amount),
        balances=_with(draft.balances, party, draft.balances[party] - amount),
    )


def _transfer(balances: Pair, amount: int) -> Pair:
    """Move `amount` from party 0 to party 1."""
    return balances[0] - amount, balances[1] + amount


def _with(pair: Pair, party: Party, value: int) -> Pair:
    return (value, pair[1]) if party is Party.ZERO else (pair[0], value)
