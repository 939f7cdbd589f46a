"""How values are written in msgpack: small two-way codecs, combined into those of the model's types.

msgpack refuses integers of 2^64 and above, so amounts travel as thirty-two bytes, big-endian, two's complement.
Decoding builds the model's values, whose birth checks refuse what is out of bounds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any, NoReturn

from ..errors import InvalidValue, MalformedMessage
from ..model import (
    Acknowledge,
    Address,
    Book,
    Close,
    CloseOut,
    Deployment,
    Intent,
    Leg,
    Mark,
    Marks,
    OptionKind,
    Party,
    Reopen,
    SettleExpiry,
    State,
    Terms,
    Trade,
    Withdraw,
    decode_book,
)
from ..model.book import MAX_BOOK_BYTES
from ..model.marks import MAX_LEGS, MAX_MARKS_BYTES, decode_marks


@dataclass(frozen=True, slots=True)
class Codec:
    """A value's way into msgpack's types and back, one to one.

    Both ways raise MalformedMessage, or the value's own refusal: what `pack` lets through, `unpack` gives back equal.
    """

    pack: Callable[[Any], Any]
    unpack: Callable[[Any], Any]


def refuse(detail: str) -> NoReturn:
    """Raise MalformedMessage."""
    raise MalformedMessage(detail)


def plain(check: Callable[[Any], Any]) -> Codec:
    """What msgpack has a type for: the same both ways, once `check` has let it through."""
    return Codec(check, check)


def _number(raw: Any) -> int:
    return raw if type(raw) is int and 0 <= raw < 2**64 else refuse("an unsigned 64-bit integer is expected")


def _flag(raw: Any) -> bool:
    return raw if type(raw) is bool else refuse("a boolean is expected")


def _pack_amount(value: Any) -> bytes:
    if type(value) is int and -(2**255) <= value < 2**255:
        return value.to_bytes(32, "big", signed=True)
    refuse("an integer of 256 bits is expected")


def _amount(raw: Any) -> int:
    if type(raw) is bytes and len(raw) == 32:
        return int.from_bytes(raw, "big", signed=True)
    refuse("32 bytes are expected")


def sized(size: int) -> Codec:
    """Exactly so many bytes."""

    def unpack(raw: Any) -> bytes:
        return raw if type(raw) is bytes and len(raw) == size else refuse(f"{size} bytes are expected")

    def pack(value: Any) -> bytes:
        return unpack(value if type(value) is bytes or not isinstance(value, bytes) else bytes(value))

    return Codec(pack, unpack)


def _address(value: Any) -> bytes:
    return bytes(value) if type(value) is Address else refuse("an address is expected")


NUMBER = plain(_number)
FLAG = plain(_flag)
AMOUNT = Codec(_pack_amount, _amount)
BYTES32 = sized(32)
SIGNATURE = sized(65)
ADDRESS = Codec(_address, lambda raw: Address(sized(20).unpack(raw)))


def text(limit: int) -> Codec:
    """Text of at most `limit` characters."""

    def check(raw: Any) -> str:
        return raw if type(raw) is str and len(raw) <= limit else refuse(f"text of at most {limit} is expected")

    return plain(check)


def blob(limit: int) -> Codec:
    """Bytes, at most `limit` of them."""

    def check(raw: Any) -> bytes:
        return raw if type(raw) is bytes and len(raw) <= limit else refuse(f"at most {limit} bytes are expected")

    return plain(check)


def sequence(item: Codec, low: int, high: int) -> Codec:
    """A tuple of `low` to `high` items."""
    pack_item, unpack_item = item.pack, item.unpack

    def check(values: Any) -> None:
        if type(values) is not tuple or not low <= len(values) <= high:
            refuse(f"{low} to {high} items are expected")

    def pack(values: Any) -> Any:
        check(values)
        return tuple([pack_item(value) for value in values])

    def unpack(raw: Any) -> tuple[Any, ...]:
        check(raw)
        return tuple([unpack_item(entry) for entry in raw])

    return Codec(pack, unpack)


def optional(item: Codec) -> Codec:
    """A value or nil."""
    return Codec(
        lambda value: None if value is None else item.pack(value), lambda raw: None if raw is None else item.unpack(raw)
    )


def enumeration(kind: type[Intent] | type[Party] | type[OptionKind]) -> Codec:
    """An IntEnum by its number."""
    members = {int(member): member for member in kind}

    def pack(value: Any) -> int:
        return int(value) if type(value) is kind else refuse(f"a {kind.__name__} is expected")

    def unpack(raw: Any) -> Any:
        return members[raw] if type(raw) is int and raw in members else refuse(f"{raw} is not a {kind.__name__}")

    return Codec(pack, unpack)


def struct(build: Callable[..., Any], **fields: Codec) -> Codec:
    """A dataclass as the list of the fields named, in that order."""
    packs, unpacks = [codec.pack for codec in fields.values()], [codec.unpack for codec in fields.values()]
    size = len(fields)
    pack_one, read = (packs[0] if packs else None), (attrgetter(*fields) if fields else None)

    def pack(value: Any) -> Any:
        if read is None or pack_one is None:
            return ()
        if size == 1:
            return (pack_one(read(value)),)
        return tuple([packs[i](part) for i, part in enumerate(read(value))])

    def unpack(raw: Any) -> Any:
        if type(raw) is not tuple or len(raw) != size:
            refuse(f"{size} fields are expected")
        try:
            return build(*[unpacks[i](part) for i, part in enumerate(raw)])
        except InvalidValue as refused:
            refuse(str(refused))

    return Codec(pack, unpack)


def union(members: Sequence[tuple[int, type, Codec]]) -> Codec:
    """One of several types, tagged with a number that is never reused."""
    by_type = {kind: (tag, codec) for tag, kind, codec in members}
    by_tag = {tag: codec for tag, _, codec in members}

    def pack(value: Any) -> Any:
        if type(value) not in by_type:
            refuse(f"{type(value).__name__} is not among the types")
        tag, codec = by_type[type(value)]
        return (tag, *codec.pack(value))

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
_MARKS_BYTES = blob(MAX_MARKS_BYTES)
MARKS = Codec(
    lambda marks: marks.encoded if type(marks) is Marks else refuse("marks are expected"),
    lambda raw: decode_marks(_MARKS_BYTES.unpack(raw)),
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
_BOOK_BYTES = blob(MAX_BOOK_BYTES)
BOOK = Codec(
    lambda book: book.encoded if type(book) is Book else refuse("a book is expected"),
    lambda raw: decode_book(_BOOK_BYTES.unpack(raw)),
)


def operation(marks: Codec) -> Codec:
    """An operation, with marks in the encoding given."""
    return union(
        [
            (1, Trade, struct(Trade, legs=sequence(LEG, 1, 2 * MAX_LEGS), premium=AMOUNT, marks=marks, quote=NUMBER)),
            (2, Withdraw, struct(Withdraw, amount=AMOUNT)),
            (3, Mark, struct(Mark, marks=marks)),
            (4, Acknowledge, struct(Acknowledge, deposits=PAIR, payments=PAIR)),
            (5, SettleExpiry, struct(SettleExpiry, underlying=UNDERLYING, expiry=NUMBER, price=AMOUNT)),
            (6, CloseOut, struct(CloseOut, party=PARTY)),
            (7, Close, struct(Close, transfer=AMOUNT, valid_until=NUMBER)),
            (8, Reopen, struct(Reopen, payments=PAIR, valid_until=NUMBER)),
        ]
    )


OPERATION = operation(MARKS)
MAX_OPERATIONS = 16
OPERATIONS = sequence(OPERATION, 1, MAX_OPERATIONS)
