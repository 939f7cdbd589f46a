"""How values are written in msgpack: small two-way codecs, combined into those of the model's types.

msgpack refuses integers of 2^64 and above, so amounts travel as thirty-two bytes, big-endian, two's complement.
Decoding builds the model's values, whose birth checks refuse what is out of bounds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from ..errors import InvalidValue, MalformedMessage
from ..model import (
    Acknowledge,
    Address,
    Close,
    CloseOut,
    Deployment,
    ExpiryMark,
    Intent,
    Leg,
    Mark,
    Marks,
    OptionKind,
    Party,
    Reopen,
    SettleExpiry,
    SpotMark,
    State,
    Terms,
    Trade,
    VolMark,
    Withdraw,
    decode_book,
)
from ..model.book import MAX_BOOK_BYTES
from ..model.marks import MAX_EXPIRIES, MAX_LEGS, MAX_UNDERLYINGS


@dataclass(frozen=True, slots=True)
class Codec:
    """A value's way into msgpack's types and back; `unpack` raises MalformedMessage or the value's own refusal."""

    pack: Callable[[Any], Any]
    unpack: Callable[[Any], Any]


def refuse(detail: str) -> NoReturn:
    """Raise MalformedMessage."""
    raise MalformedMessage(detail)


def _number(raw: Any) -> int:
    return raw if type(raw) is int and 0 <= raw < 2**64 else refuse("an unsigned 64-bit integer is expected")


def _flag(raw: Any) -> bool:
    return raw if type(raw) is bool else refuse("a boolean is expected")


def _amount(raw: Any) -> int:
    return int.from_bytes(_sized(32)(raw), "big", signed=True)


def _sized(size: int) -> Callable[[Any], bytes]:
    def unpack(raw: Any) -> bytes:
        return raw if type(raw) is bytes and len(raw) == size else refuse(f"{size} bytes are expected")

    return unpack


def _plain(value: Any) -> Any:
    return value


NUMBER = Codec(int, _number)
FLAG = Codec(bool, _flag)
AMOUNT = Codec(lambda value: value.to_bytes(32, "big", signed=True), _amount)
BYTES32 = Codec(bytes, _sized(32))
SIGNATURE = Codec(bytes, _sized(65))
ADDRESS = Codec(bytes, lambda raw: Address(_sized(20)(raw)))


def text(limit: int) -> Codec:
    """Text of at most `limit` characters."""

    def unpack(raw: Any) -> str:
        return raw if type(raw) is str and len(raw) <= limit else refuse(f"text of at most {limit} is expected")

    return Codec(_plain, unpack)


def blob(limit: int) -> Codec:
    """Bytes, at most `limit` of them."""

    def unpack(raw: Any) -> bytes:
        return raw if type(raw) is bytes and len(raw) <= limit else refuse(f"at most {limit} bytes are expected")

    return Codec(bytes, unpack)


def sequence(item: Codec, low: int, high: int) -> Codec:
    """A tuple of `low` to `high` items."""

    def unpack(raw: Any) -> tuple[Any, ...]:
        if type(raw) is not tuple or not low <= len(raw) <= high:
            refuse(f"{low} to {high} items are expected")
        return tuple([item.unpack(entry) for entry in raw])

    return Codec(lambda values: [item.pack(value) for value in values], unpack)


def optional(item: Codec) -> Codec:
    """A value or nil."""
    return Codec(
        lambda value: None if value is None else item.pack(value), lambda raw: None if raw is None else item.unpack(raw)
    )


def enumeration(kind: Callable[[int], Any]) -> Codec:
    """An IntEnum by its number."""

    def unpack(raw: Any) -> Any:
        try:
            return kind(_number(raw))
        except ValueError:
            refuse(f"{raw} is not a {getattr(kind, '__name__', 'value')}")

    return Codec(int, unpack)


def struct(build: Callable[..., Any], **fields: Codec) -> Codec:
    """A dataclass as the list of the fields named, in that order."""
    names, codecs = tuple(fields), tuple(fields.values())

    def pack(value: Any) -> list[Any]:
        return [codec.pack(getattr(value, name)) for name, codec in zip(names, codecs, strict=True)]

    def unpack(raw: Any) -> Any:
        if type(raw) is not tuple or len(raw) != len(codecs):
            refuse(f"{len(codecs)} fields are expected")
        values = [codec.unpack(entry) for codec, entry in zip(codecs, raw, strict=True)]
        try:
            return build(*values)
        except InvalidValue as refused:
            refuse(str(refused))

    return Codec(pack, unpack)


def union(members: Sequence[tuple[int, type, Codec]]) -> Codec:
    """One of several types, tagged with a number that is never reused."""
    by_type = {kind: (tag, codec) for tag, kind, codec in members}
    by_tag = {tag: codec for tag, _, codec in members}

    def pack(value: Any) -> list[Any]:
        tag, codec = by_type[type(value)]
        return [tag, *codec.pack(value)]

    def unpack(raw: Any) -> Any:
        if type(raw) is not tuple or not raw or type(raw[0]) is not int or raw[0] not in by_tag:
            refuse("the type is unknown")
        return by_tag[raw[0]].unpack(raw[1:])

    return Codec(pack, unpack)


PAIR = sequence(AMOUNT, 2, 2)
PARTY = enumeration(Party)
UNDERLYING = text(32)
KIND = enumeration(OptionKind)
LEG = struct(Leg, underlying=UNDERLYING, expiry=NUMBER, strike=AMOUNT, kind=KIND, quantity=AMOUNT)
MARKS = struct(
    Marks,
    time=NUMBER,
    spots=sequence(struct(SpotMark, underlying=UNDERLYING, spot=AMOUNT), 0, MAX_UNDERLYINGS),
    expiries=sequence(
        struct(ExpiryMark, underlying=UNDERLYING, expiry=NUMBER, ratio=AMOUNT, discount=AMOUNT), 0, MAX_EXPIRIES
    ),
    vols=sequence(
        struct(VolMark, underlying=UNDERLYING, expiry=NUMBER, strike=AMOUNT, kind=KIND, vol=AMOUNT), 0, MAX_LEGS
    ),
)
DEPLOYMENT = struct(Deployment, chain_id=NUMBER, adjudicator=ADDRESS)
TERMS = struct(
    Terms,
    signers=sequence(ADDRESS, 2, 2),
    owners=sequence(ADDRESS, 2, 2),
    token=ADDRESS,
    decimals=NUMBER,
    source=ADDRESS,
    engine=ADDRESS,
    policy=BYTES32,
    challenge_period=NUMBER,
    cure_period=NUMBER,
    grace=NUMBER,
    spot_max_age=NUMBER,
    last_resort=NUMBER,
    salt=BYTES32,
)
STATE = struct(
    State,
    channel=BYTES32,
    version=NUMBER,
    intent=enumeration(Intent),
    valid_until=NUMBER,
    deposits=PAIR,
    withdrawals=PAIR,
    balances=PAIR,
    book=BYTES32,
)
BOOK = Codec(lambda book: book.encoded, lambda raw: decode_book(blob(MAX_BOOK_BYTES).unpack(raw)))
OPERATION = union(
    [
        (1, Trade, struct(Trade, legs=sequence(LEG, 1, 2 * MAX_LEGS), premium=AMOUNT, marks=MARKS, quote=NUMBER)),
        (2, Withdraw, struct(Withdraw, amount=AMOUNT)),
        (3, Mark, struct(Mark, marks=MARKS)),
        (4, Acknowledge, struct(Acknowledge, deposits=PAIR, payments=PAIR)),
        (5, SettleExpiry, struct(SettleExpiry, underlying=UNDERLYING, expiry=NUMBER, price=AMOUNT)),
        (6, CloseOut, struct(CloseOut, party=PARTY)),
        (7, Close, struct(Close, transfer=AMOUNT, valid_until=NUMBER)),
        (8, Reopen, struct(Reopen, payments=PAIR, valid_until=NUMBER)),
    ]
)
MAX_OPERATIONS = 16
OPERATIONS = sequence(OPERATION, 1, MAX_OPERATIONS)
