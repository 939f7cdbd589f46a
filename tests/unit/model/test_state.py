"""A state that contradicts itself is never born, and half-signed is not agreed."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, fields
from typing import Any

import pytest
from hypothesis import given, strategies as st

from channels.errors import InvalidState, RuleViolation, TradeInvalid, UnbalancedState, WithdrawalInvalid
from channels.model import (
    EMPTY_BOOK,
    EXCLUSIVE,
    Acknowledge,
    Agreed,
    Close,
    CloseOut,
    HalfSigned,
    Intent,
    Mark,
    Party,
    Reopen,
    SettleExpiry,
    State,
    Trade,
    Withdraw,
    promote,
)
from channels.model.state import MAX_AMOUNT
from tests.roles import agreed, book, condor, half, marks, signature, state

MOST = MAX_AMOUNT - 1


@pytest.mark.parametrize(
    "change",
    [
        {"version": 0},
        {"version": -1},
        {"version": 2**64},
        {"version": 1.0},
        {"version": True},
        {"channel": bytes(31)},
        {"channel": "c" * 32},
        {"intent": 0},
        {"intent": 3},
        {"valid_until": 1},
        {"valid_until": -1},
        {"intent": Intent.CLOSE},
        {"intent": Intent.REOPEN},
        {"intent": Intent.CLOSE, "valid_until": 2**64},
        {"deposits": (-1, 1)},
        {"deposits": (MAX_AMOUNT, 0)},
        {"deposits": (1.0, 0)},
        {"deposits": (10**10,)},
        {"deposits": (10**10, 5 * 10**9, 0)},
        {"deposits": [10**10, 5 * 10**9]},
        {"withdrawals": (-1, 1)},
        {"withdrawals": (MAX_AMOUNT, 0)},
        {"withdrawals": None},
        {"balances": (MAX_AMOUNT, -MAX_AMOUNT)},
        {"balances": (True, 0)},
        {"balances": 15 * 10**9},
        {"book": bytes(31)},
        {"book": None},
        {"intent": Intent.CLOSE, "valid_until": 1, "book": b"b" * 32},
    ],
    ids=str,
)
def test_a_state_that_contradicts_the_protocol_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(InvalidState):
        state(**change)


@pytest.mark.parametrize(
    "change",
    [
        {"balances": (10**10, 5 * 10**9 + 1)},
        {"balances": (10**10, 5 * 10**9 - 1)},
        {"deposits": (0, 0)},
        {"withdrawals": (1, 0)},
    ],
    ids=str,
)
def test_balances_that_do_not_add_up_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises(UnbalancedState):
        state(**change)


@pytest.mark.parametrize(
    "change",
    [
        {"version": 2**64 - 1},
        {"deposits": (MOST, MOST), "balances": (MOST, MOST)},
        {"deposits": (0, 0), "balances": (MOST, -MOST)},
        {"deposits": (10, 0), "withdrawals": (4, 6), "balances": (-3, 3)},
        {"intent": Intent.CLOSE, "valid_until": 2**64 - 1},
        {"intent": Intent.REOPEN, "valid_until": 1, "book": b"b" * 32},
    ],
    ids=str,
)
def test_a_state_at_its_bounds_stands(change: dict[str, Any]) -> None:
    made = state(**change)
    assert sum(made.balances) == made.collateral


def ruling(made: dict[str, Any]) -> tuple[type[Exception], str] | None:
    """The rules of a state's birth one by one, in the order in which they are told."""
    close, reopen = made["intent"] is Intent.CLOSE, made["intent"] is Intent.REOPEN
    rules = [
        (len(made["channel"]) == 32, "the channel id has thirty-two bytes"),
        (type(made["version"]) is int and 1 <= made["version"] < 2**64, "a version is 1 to 2^64 - 1"),
        (isinstance(made["intent"], Intent), "the intent is operate, reopen or close"),
        (type(made["valid_until"]) is int and 0 <= made["valid_until"] < 2**64, "valid-until is a unix time"),
        ((close or reopen) == (made["valid_until"] != 0), "only a close or reopen expires"),
        *(
            (isinstance(made[name], tuple) and len(made[name]) == 2, f"{name} are two amounts, party 0's first")
            for name in ("deposits", "withdrawals", "balances")
        ),
        *(
            (type(amount) is int and 0 <= amount <= MOST, f"{name} must be 0 to 2^120")
            for name in ("deposits", "withdrawals")
            for amount in made[name]
        ),
        *(
            (type(amount) is int and -MOST <= amount <= MOST, "balances must stay below 2^120")
            for amount in made["balances"]
        ),
        (len(made["book"]) == 32, "the book hash has thirty-two bytes"),
        (not close or made["book"] == bytes(32), "a close has no book"),
    ]
    for holds, said in rules:
        if not holds:
            return InvalidState, said
    if sum(made["balances"]) != sum(made["deposits"]) - sum(made["withdrawals"]):
        return UnbalancedState, ""
    return None


numbers = st.sampled_from([0, 1, -1, 5, MOST, -MOST, MAX_AMOUNT, -MAX_AMOUNT, 2**64 - 1, 2**64, 1.0, True])
pairs = st.tuples(numbers, numbers) | st.sampled_from([(10, 5), (10,), (10, 5, 0), [10, 5]])


GOOD: dict[str, Any] = {
    "channel": bytes(32), "version": 1, "intent": Intent.OPERATE, "valid_until": 0,
    "deposits": (10, 5), "withdrawals": (0, 0), "balances": (10, 5), "book": bytes(32),
}  # fmt: skip


@given(
    st.dictionaries(st.sampled_from(["deposits", "withdrawals", "balances"]), pairs, max_size=2),
    st.fixed_dictionaries(
        {},
        optional={
            "channel": st.sampled_from([bytes(31), b"c" * 33]),
            "version": numbers,
            "intent": st.sampled_from([*Intent, 0, 1, 2]),
            "valid_until": numbers,
            "book": st.sampled_from([b"b" * 32, bytes(31)]),
        },
    ),
)
def test_a_state_is_born_as_its_rules_say_one_by_one(amounts: dict[str, Any], others: dict[str, Any]) -> None:
    made: dict[str, Any] = GOOD | amounts | others
    expected = ruling(made)
    if expected is None:
        assert State(**made).collateral == sum(made["balances"])
        return
    with pytest.raises((InvalidState, UnbalancedState)) as refused:
        State(**made)
    assert type(refused.value) is expected[0]
    assert expected[1] in str(refused.value)


@pytest.mark.parametrize("odd", [-1, MAX_AMOUNT, -MAX_AMOUNT, True, 5.0])
@pytest.mark.parametrize("place", [0, 1])
@pytest.mark.parametrize("name", ["deposits", "withdrawals", "balances"])
def test_an_amount_out_of_bounds_is_refused_though_the_state_adds_up(name: str, place: int, odd: Any) -> None:
    pair = (odd, 7) if place == 0 else (7, odd)
    if name == "balances" and odd == -1:
        assert State(**GOOD | {"deposits": (3, 3), "balances": pair}).balances == pair
        return
    if name == "balances":
        total = int(sum(pair))
        made = GOOD | {"deposits": _halves(max(0, total)), "withdrawals": _halves(max(0, -total)), "balances": pair}
    else:
        total = sum(pair) if name == "deposits" else -sum(pair)
        made = GOOD | {"deposits": (0, 0), "withdrawals": (0, 0), "balances": _halves(int(total)), name: pair}
    assert sum(made["balances"]) == sum(made["deposits"]) - sum(made["withdrawals"])
    with pytest.raises(InvalidState):
        State(**made)


def _halves(amount: int) -> tuple[int, int]:
    return amount // 2, amount - amount // 2


class Bytes(bytes):
    """Bytes of a kind of their own."""


BASES: list[dict[str, Any]] = [
    GOOD,
    GOOD | {"version": 2**64 - 1},
    GOOD | {"intent": Intent.REOPEN, "valid_until": 7, "book": b"b" * 32},
    GOOD | {"intent": Intent.CLOSE, "valid_until": 2**64 - 1},
    GOOD | {"deposits": (10, 0), "withdrawals": (4, 6), "balances": (-3, 3), "channel": Bytes(b"c" * 32)},
]


@pytest.mark.parametrize("base", BASES, ids=range(len(BASES)))
@pytest.mark.parametrize("version", [1, 2, 2**64 - 1, 2**64, 0, -1, True, 1.0, None, "1"], ids=repr)
@pytest.mark.parametrize("held", [b"b" * 32, bytes(32), Bytes(b"b" * 32), bytes(31), bytes(33), bytearray(32), None])
def test_a_marked_state_is_the_one_that_is_born(base: dict[str, Any], version: Any, held: Any) -> None:
    """Of the same amounts, whatever the base was for; where that one is refused, so is this, in the same words."""
    made = base | {"version": version, "intent": Intent.OPERATE, "valid_until": 0, "book": held}
    first = State(**base)
    object.__setattr__(first, "struct_hash", b"h" * 32)
    told = []
    for make in (lambda: State(**made), lambda: first.marked(version, held)):
        try:
            state = make()
            told.append([(type(value), value) for value in (getattr(state, f.name) for f in fields(State))])
        except InvalidState as refused:
            told.append([(type(refused), str(refused))])
    assert told[0] == told[1]
    good = type(version) is int and 1 <= version < 2**64 and isinstance(held, bytes) and len(held) == 32
    assert (len(told[0]) == len(fields(State))) is good


def test_frozen_means_frozen() -> None:
    with pytest.raises(FrozenInstanceError):
        state().version = 2
    assert hash(state(book())) == hash(state(book()))


def test_a_signed_state_comes_with_its_own_book() -> None:
    made, sig = state(book()), bytes(65)
    with pytest.raises(InvalidState, match="book"):
        HalfSigned(made, EMPTY_BOOK, Party.ZERO, sig)
    with pytest.raises(InvalidState, match="book"):
        Agreed(made, EMPTY_BOOK, (sig, sig))


@pytest.mark.parametrize("first", Party)
def test_promotion_puts_each_signature_in_its_place(first: Party) -> None:
    proposed = half(first, book())
    assert promote(proposed, signature(first.other, proposed.state)) == agreed(book())
    assert agreed(book()).version == 1


@pytest.mark.parametrize(
    ("build", "error"),
    [
        (lambda: Trade((), 0, marks()), TradeInvalid),
        (lambda: Trade((condor()[0], condor()[0]), 0, marks()), TradeInvalid),
        (lambda: Trade(condor(), MAX_AMOUNT, marks()), TradeInvalid),
        (lambda: Trade(condor(), -MAX_AMOUNT, marks()), TradeInvalid),
        (lambda: Trade(condor(), 1.5, marks()), TradeInvalid),
        (lambda: Trade(condor(), 0, marks(), quote=-1), TradeInvalid),
        (lambda: Trade(condor(), 0, marks(), quote=2**64), TradeInvalid),
        (lambda: Withdraw(0), WithdrawalInvalid),
        (lambda: Withdraw(-1), WithdrawalInvalid),
        (lambda: Withdraw(MAX_AMOUNT), WithdrawalInvalid),
        (lambda: Withdraw(1.0), WithdrawalInvalid),
    ],
)
def test_an_operation_that_cannot_be_meant_is_refused(build: Any, error: type[RuleViolation]) -> None:
    with pytest.raises(error):
        build()


def test_what_writes_an_option_to_the_counterparty_is_exclusive() -> None:
    assert set(EXCLUSIVE) == {Trade, Withdraw, CloseOut, Close, Reopen}
    assert not {Mark, Acknowledge, SettleExpiry} & set(EXCLUSIVE)
