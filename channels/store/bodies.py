"""How records hold signed states, their books, and the operations that led there: short, and each record by itself.

A book is its salt, its marks in the wire's bytes, and quantities: marks cover exactly the legs, so that the series are
theirs. Operations whose marks are those of the record's own book hold nil instead. The empty book is no bytes, and what
stands beside it is written as on the wire.

The first journals hold a book as its ABI words, and marks field by field: msgpack's type tells which it is. Both are
read; in each form a value has one spelling, and anything else is refused.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from ..model import (
    NO_MARKS,
    Agreed,
    Book,
    ExpiryMark,
    HalfSigned,
    Intent,
    Leg,
    Mark,
    Marks,
    Operation,
    SpotMark,
    State,
    Trade,
    VolMark,
)
from ..model.marks import MAX_EXPIRIES, MAX_LEGS, MAX_UNDERLYINGS
from ..wire import schema as s

_QUANTITY_BYTES = 12
"""|quantity| ≤ 2^88 in two's complement."""
_QUANTITIES = s.blob(MAX_LEGS * _QUANTITY_BYTES)


def _pack_book(book: Any) -> Any:
    if type(book) is not Book or not book.legs:
        return s.BOOK.pack(book)
    quantities = b"".join([leg.words[-_QUANTITY_BYTES:] for leg in book.legs])  # the quantity is a leg's last word
    return s.BYTES32.pack(book.salt), s.MARKS.pack(book.marks), quantities


def _unpack_book(raw: Any) -> Book:
    if type(raw) is not tuple:
        book: Book = s.BOOK.unpack(raw)
        return book
    if len(raw) != 3:
        s.refuse("salt, marks and quantities are expected")
    marks: Marks = s.MARKS.unpack(raw[1])
    quantities: bytes = _QUANTITIES.unpack(raw[2])
    if not marks.keys or len(quantities) != len(marks.keys) * _QUANTITY_BYTES:
        s.refuse("one quantity for each volatility is expected")
    cut = [quantities[at : at + _QUANTITY_BYTES] for at in range(0, len(quantities), _QUANTITY_BYTES)]
    legs = [Leg(*key, int.from_bytes(part, "big", signed=True)) for key, part in zip(marks.keys, cut, strict=True)]
    return Book(tuple(legs), marks, s.BYTES32.unpack(raw[0]))


BOOK = s.Codec(_pack_book, _unpack_book)


def _pack_short(value: Any) -> Any:
    return value if type(value) is int and -(2**63) <= value < 2**64 else s.AMOUNT.pack(value)


def _unpack_short(raw: Any) -> int:
    if type(raw) is int:
        return raw
    value: int = s.AMOUNT.unpack(raw)
    return value if not -(2**63) <= value < 2**64 else s.refuse("an amount is spelled in more bytes than it needs")


_SHORT = s.Codec(_pack_short, _unpack_short)
"""An amount as msgpack's integer, in thirty-two bytes only where it is none."""
_SHORT_PAIR = s.sequence(_SHORT, 2, 2)


def _pack_state(state: Any) -> Any:
    """Its birth has checked what the fields' own codecs would: they are only asked for amounts that msgpack has not."""
    if type(state) is not State:
        s.refuse("a state is expected")
    pairs: Any = (state.deposits, state.withdrawals, state.balances)
    amounts = [amount for pair in pairs for amount in pair]
    if min(amounts) < -(2**63) or max(amounts) >= 2**64:
        pairs = [tuple(map(_pack_short, pair)) for pair in pairs]
    return bytes(state.channel), state.version, int(state.intent), state.valid_until, *pairs, bytes(state.book)


_STATE_FIELDS = s.struct(
    State,
    channel=s.BYTES32,
    version=s.NUMBER,
    intent=s.enumeration(Intent),
    valid_until=s.NUMBER,
    deposits=_SHORT_PAIR,
    withdrawals=_SHORT_PAIR,
    balances=_SHORT_PAIR,
    book=s.BYTES32,
)
_SHORT_STATE = s.Codec(_pack_state, _STATE_FIELDS.unpack)


def _is_short(raw: Any) -> bool:
    """Whether a half-signed or agreed state is in the short form: its book is no bytes."""
    return type(raw) is tuple and len(raw) > 1 and type(raw[1]) is tuple


def _signed(build: Callable[..., Any], **others: s.Codec) -> s.Codec:
    """A state with its book, and who signed it."""
    short = s.struct(build, state=_SHORT_STATE, book=BOOK, **others)
    plain = s.struct(build, state=s.STATE, book=s.BOOK, **others)
    return s.Codec(
        lambda value: (short if value.book.legs else plain).pack(value),
        lambda raw: (short if _is_short(raw) else plain).unpack(raw),
    )


HALF = _signed(HalfSigned, party=s.PARTY, signature=s.SIGNATURE)
AGREED = _signed(Agreed, signatures=s.sequence(s.SIGNATURE, 2, 2))

_SPOT = s.struct(SpotMark, underlying=s.UNDERLYING, spot=s.AMOUNT)
_EXPIRY = s.struct(ExpiryMark, underlying=s.UNDERLYING, expiry=s.NUMBER, ratio=s.AMOUNT, discount=s.AMOUNT)
_VOL = s.struct(VolMark, underlying=s.UNDERLYING, expiry=s.NUMBER, strike=s.AMOUNT, kind=s.KIND, vol=s.AMOUNT)
_OLD_MARKS = s.struct(
    Marks,
    time=s.NUMBER,
    spots=s.sequence(_SPOT, 0, MAX_UNDERLYINGS),
    expiries=s.sequence(_EXPIRY, 0, MAX_EXPIRIES),
    vols=s.sequence(_VOL, 0, MAX_LEGS),
)
"""Marks as the first journals hold them: field by field."""
_ANY_MARKS = s.Codec(s.MARKS.pack, lambda raw: (s.MARKS if type(raw) is bytes else _OLD_MARKS).unpack(raw))
_PLAIN_OPERATION = s.operation(_ANY_MARKS)


def _no_marks(raw: Any) -> Marks:
    return NO_MARKS if raw is None else s.refuse("nil is expected")


_OPERATION_WITHOUT_MARKS = s.operation(s.Codec(lambda marks: None, _no_marks))
_MARKS_AT = {1: 3, 3: 1}
"""Where a Trade and a Mark hold their marks, by the operation's number."""


def _pack_operation(operation: Any, own: Marks) -> Any:
    if isinstance(operation, (Trade, Mark)) and (operation.marks is own or operation.marks == own):
        return _OPERATION_WITHOUT_MARKS.pack(operation)
    return s.OPERATION.pack(operation)


def _unpack_operation(raw: Any, own: Marks) -> Operation:
    at = _MARKS_AT.get(raw[0]) if type(raw) is tuple and raw and type(raw[0]) is int else None
    if at is not None and len(raw) > at and raw[at] is None:
        operation: Operation = _OPERATION_WITHOUT_MARKS.unpack(raw)
        return replace(operation, marks=own) if isinstance(operation, Trade | Mark) else operation
    operation = s.OPERATION.unpack(raw)
    if isinstance(operation, Trade | Mark) and operation.marks == own:
        s.refuse("the marks of the record's own book are written as nil")
    return operation


def with_operations(build: Callable[..., Any], holder: str, signed: s.Codec, limit: int, **others: s.Codec) -> s.Codec:
    """A record of a signed state, in its field `holder`, and at most `limit` operations, and then of other fields."""
    plain = s.sequence(_PLAIN_OPERATION, 0, limit)
    rest = tuple(others.items())

    def pack(value: Any) -> Any:
        held, operations = getattr(value, holder), value.operations
        if held.book.legs:
            _check_count(operations, limit)
            packed = tuple([_pack_operation(operation, held.book.marks) for operation in operations])
        else:
            packed = plain.pack(operations)
        return signed.pack(held), packed, *[codec.pack(getattr(value, name)) for name, codec in rest]

    def unpack(raw: Any) -> Any:
        if type(raw) is not tuple or len(raw) != 2 + len(rest):
            s.refuse(f"{2 + len(rest)} fields are expected")
        held = signed.unpack(raw[0])
        if _is_short(raw[0]):
            _check_count(raw[1], limit)
            operations = tuple([_unpack_operation(entry, held.book.marks) for entry in raw[1]])
        else:
            operations = plain.unpack(raw[1])
        return build(held, operations, *[codec.unpack(part) for (_, codec), part in zip(rest, raw[2:], strict=True)])

    return s.Codec(pack, unpack)


def _check_count(values: Any, limit: int) -> None:
    if type(values) is not tuple or len(values) > limit:
        s.refuse(f"at most {limit} operations are expected")
