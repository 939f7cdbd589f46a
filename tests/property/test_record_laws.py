"""Laws of the records' short form: it holds the same as the long one, each record by itself, and has one spelling.

The long form is spelled here once more, as the first release wrote it: with the book's ABI words, thirty-two bytes for
each amount, and marks field by field.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import msgpack
import pytest
from hypothesis import given, strategies as st

from channels.core.channel import Outstanding
from channels.core.records import BookRecalled, Checkpoint, Record, Signed, StateAgreed
from channels.errors import MalformedMessage, RuleViolation
from channels.model import (
    EMPTY_BOOK,
    NO_MARKS,
    Acknowledge,
    Agreed,
    Book,
    ChannelId,
    HalfSigned,
    Leg,
    Mark,
    Marks,
    Party,
    State,
    Trade,
)
from channels.store import bodies
from channels.store.codec import MAX_CHECKPOINT, RECORD
from channels.wire import schema as s
from channels.wire.codec import pack_with, unpack_with
from tests.bench.desk import held, price
from tests.roles import CHANNEL, agreed, book, condor, half, marks, state
from tests.strategies import batches, books, checkpoints, journal_records, signatures, states, words64


def written(record: Record) -> Any:
    return msgpack.unpackb(pack_with(RECORD, record))


def read(raw: Any) -> Record:
    record: Record = unpack_with(RECORD, msgpack.packb(raw), MAX_CHECKPOINT)
    return record


def long_marks(some: Marks) -> Any:
    amount = s.AMOUNT.pack
    return [
        some.time,
        [[m.underlying, amount(m.spot)] for m in some.spots],
        [[m.underlying, m.expiry, amount(m.ratio), amount(m.discount)] for m in some.expiries],
        [[m.underlying, m.expiry, amount(m.strike), int(m.kind), amount(m.vol)] for m in some.vols],
    ]


LONG_OPERATION = s.operation(s.Codec(long_marks, s.refuse))


def long(record: Record) -> Any:
    """The record as the first release wrote it."""
    match record:
        case Signed(half, operations):
            held = [s.STATE.pack(half.state), half.book.encoded, int(half.party), half.signature]
            return [3, held, [LONG_OPERATION.pack(operation) for operation in operations]]
        case StateAgreed(both, operations):
            held = [s.STATE.pack(both.state), both.book.encoded, list(both.signatures)]
            return [4, held, [LONG_OPERATION.pack(operation) for operation in operations]]
        case BookRecalled(recalled):
            return [8, recalled.encoded]
        case _:
            return written(record)


@st.composite
def signed_with_its_marks(draw: st.DrawFn) -> Signed | StateAgreed:
    """A record as a node writes it: among its operations are some with the very marks of its book."""
    held = draw(books(max_legs=6))
    mine = draw(states(held))
    own: list[Any] = [Mark(held.marks), Trade(held.legs, 5, held.marks, 7), Mark(replace(held.marks))]
    operations = draw(st.lists(st.sampled_from(own) | batches.map(lambda batch: batch[0]), max_size=4).map(tuple))
    if draw(st.booleans()):
        return Signed(HalfSigned(mine, held, draw(st.sampled_from(Party)), draw(signatures)), operations)
    return StateAgreed(Agreed(mine, held, (draw(signatures), draw(signatures))), operations)


@given(signed_with_its_marks() | journal_records)
def test_the_short_form_holds_what_the_long_one_held(record: Record) -> None:
    assert read(written(record)) == record
    assert read(long(record)) == record
    assert len(pack_with(RECORD, record)) <= len(msgpack.packb(long(record)))


@given(checkpoints, signed_with_its_marks(), words64)
def test_a_checkpoint_reads_back(checkpoint: Checkpoint, record: Signed | StateAgreed, base: int) -> None:
    """With half-signed states whose operations hold the marks of their own books, each of another book."""
    if isinstance(record, Signed):
        checkpoint = replace(checkpoint, outstanding=(*checkpoint.outstanding, Outstanding(*fields(record), base)))
    else:
        checkpoint = replace(checkpoint, agreed=record.agreed, recalled=record.agreed.book)
    assert read(written(checkpoint)) == checkpoint


def fields(record: Signed) -> tuple[Any, Any]:
    return record.half, record.operations


@given(signed_with_its_marks())
def test_marks_have_one_spelling_in_a_record(record: Signed | StateAgreed) -> None:
    """Nil where they are the book's own, bytes where they are others': the other way round is refused."""
    raw = written(record)
    own = (record.half if isinstance(record, Signed) else record.agreed).book.marks
    for at, operation in enumerate(record.operations):
        if not isinstance(operation, Trade | Mark):
            continue
        place = 3 if isinstance(operation, Trade) else 1
        assert (raw[2][at][place] is None) == (operation.marks == own)
        kept = raw[2][at][place]
        for other in (own.encoded, long_marks(operation.marks), b"", 0, False):
            raw[2][at][place] = other
            with pytest.raises(RuleViolation):
                read(raw)
        raw[2][at][place] = kept


@given(signed_with_its_marks(), st.data())
def test_what_is_read_is_written_as_it_was(record: Signed | StateAgreed, data: st.DataObject) -> None:
    """Any damage to the short form is refused, or is another record's one spelling."""
    said = bytearray(pack_with(RECORD, record))
    for _ in range(data.draw(st.integers(1, 2))):
        said[data.draw(st.integers(0, len(said) - 1))] = data.draw(st.integers(0, 255))
    try:
        found: Record = unpack_with(RECORD, bytes(said), MAX_CHECKPOINT)
    except RuleViolation:
        return
    assert pack_with(RECORD, found) == bytes(said)


SHORT = Signed(half(Party.ONE, book(), version=2), (Mark(marks()), Acknowledge((0, 0), (0, 0))))
STRANGERS = [None, True, 0, -1, 2**64 - 1, 1.5, "", b"", bytes(32), bytes(12), [], [0], {}, [b"s" * 32, b"", b""]]


def places(node: Any, path: tuple[int, ...] = ()) -> list[tuple[int, ...]]:
    if not isinstance(node, list):
        return [path]
    return [path, *(inner for at, child in enumerate(node) for inner in places(child, (*path, at)))]


@pytest.mark.parametrize(
    "record", [SHORT, StateAgreed(agreed(book(), version=2), (Mark(marks()),)), BookRecalled(book())]
)
def test_a_value_of_another_type_anywhere_is_refused_or_has_one_spelling(record: Record) -> None:
    for path in places(written(record))[1:]:
        for stranger in STRANGERS:
            raw = written(record)
            parent = raw
            for at in path[:-1]:
                parent = parent[at]
            parent[path[-1]] = stranger
            try:
                found = read(raw)
            except RuleViolation:
                continue
            assert written(found) == raw


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ((1, 0, 4, 0), (10_000 * 10**6).to_bytes(32, "big")),
        ((1, 0, 7), bytes(32)),
        ((1, 1), [b"s" * 32, marks().encoded]),
        ((1, 1, 0), bytes(31)),
        ((1, 1, 1), NO_MARKS.encoded),
        ((1, 1, 1), marks(condor()[:3]).encoded),
        ((1, 1, 2), b""),
        ((1, 1, 2), bytes(12 * 4)),
        ((1, 1, 2), b"\x40" + bytes(12 * 4 - 1)),
        ((1, 1, 2), b"\0" * 11 + b"\1" * (12 * 3 + 2)),
        ((1, 1), EMPTY_BOOK.encoded),
        ((1, 1), book().encoded),
        ((2,), [[3, None]] * 17),
        ((2,), [[2, None]]),
        ((2,), [[1, [], bytes(32), None, 0]]),
        ((2,), [[3, None, None]]),
        ((2,), [[True, None]]),
    ],
    ids=str,
)
def test_what_is_no_short_record_is_refused(path: tuple[int, ...], value: Any) -> None:
    raw = written(SHORT)
    parent = raw
    for at in path[:-1]:
        parent = parent[at]
    assert parent[path[-1]] != value
    parent[path[-1]] = value
    with pytest.raises(RuleViolation):
        read(raw)


@pytest.mark.parametrize("held", [book(), EMPTY_BOOK], ids=["a book", "no book"])
def test_more_operations_than_a_record_holds_are_not_written(held: Book) -> None:
    mine = HalfSigned(state(held, version=2), held, Party.ZERO, bytes(65))
    both = Agreed(mine.state, held, (bytes(65), bytes(65)))
    seen = Acknowledge((0, 0), (0, 0))
    assert read(written(Signed(mine, (seen,) * 16))) == Signed(mine, (seen,) * 16)
    assert read(written(StateAgreed(both, (seen,) * 64))) == StateAgreed(both, (seen,) * 64)
    listed: Any = [seen]
    for record in (Signed(mine, (seen,) * 17), StateAgreed(both, (seen,) * 65), Signed(mine, listed)):
        with pytest.raises(RuleViolation):
            written(record)


def test_nil_stands_for_no_marks_where_there_is_no_book() -> None:
    """It is read nowhere but in the short form: the empty book's records are written as ever."""
    record = Signed(half(version=2), (Mark(NO_MARKS),))
    assert written(record)[2] == [[3, NO_MARKS.encoded]]
    raw = written(record)
    raw[2] = [[3, None]]
    with pytest.raises(RuleViolation):
        read(raw)


def test_amounts_take_thirty_two_bytes_only_where_msgpack_has_no_integer() -> None:
    most = 2**120 - 1
    for first, spelled in ((2**64 - 1, int), (2**64, bytes), (-(2**63), int), (-(2**63) - 1, bytes), (most, bytes)):
        mine = state(book(), version=2, balances=(first, -first), deposits=(0, 0))
        record = Signed(HalfSigned(mine, book(), Party.ZERO, bytes(65)), ())
        assert type(written(record)[1][0][6][0]) is spelled
        assert read(written(record)) == record


def test_an_update_of_sixteen_legs_takes_less_than_a_kibibyte() -> None:
    legs = tuple(sorted(held(), key=lambda leg: leg.key))
    assert len(legs) == 16
    large = Book.of(legs, price(0), b"s" * 32)
    mine, operations = state(large, version=2**40), (Mark(large.marks),)
    signed = Signed(HalfSigned(mine, large, Party.ZERO, bytes(65)), operations)
    both = StateAgreed(Agreed(mine, large, (bytes(65), bytes(65))), operations)
    assert max(len(pack_with(RECORD, record)) for record in (signed, both)) <= 1_024
    assert CHANNEL in pack_with(RECORD, both)
    assert [type(leg) for leg in read(written(both)).agreed.book.legs] == [Leg] * 16  # type: ignore[union-attr]


@given(st.just(EMPTY_BOOK) | books(max_legs=2), st.data())
def test_a_state_packs_as_its_fields_do(some: Book, data: st.DataObject) -> None:
    """Also where its hashes are bytes of a kind of their own."""
    made = data.draw(states(some))
    if data.draw(st.booleans()):
        made = replace(made, channel=ChannelId(Bytes(made.channel)), book=Bytes(made.book))
    packed = bodies._SHORT_STATE.pack(made)
    assert packed == bodies._STATE_FIELDS.pack(made)
    assert [*map(type, packed)] == [*map(type, bodies._STATE_FIELDS.pack(made))]
    assert bodies._SHORT_STATE.unpack(packed) == made


@pytest.mark.parametrize(
    ("amount", "in_all"), [(amount, False) for amount in (2**64 - 1, 2**64, -(2**63), -(2**63) - 1)] + [(2**64, True)]
)
@pytest.mark.parametrize("place", [0, 1])
def test_an_amount_is_short_as_far_as_msgpack_has_it(amount: int, in_all: bool, place: int) -> None:
    """A balance alone, or what came and went."""
    pair = (amount, 0) if place == 0 else (0, amount)
    amounts: dict[str, Any] = {
        "deposits": (max(0, amount - 1), 1),
        "withdrawals": (max(0, -amount), 1),
        "balances": pair,
    }
    if amount > 0:
        amounts |= {"withdrawals": (0, 0)}
    if in_all:
        amounts = {"deposits": pair, "withdrawals": pair, "balances": (0, 0)}
    made = state(**amounts)
    packed = bodies._SHORT_STATE.pack(made)
    assert packed == bodies._STATE_FIELDS.pack(made)
    assert any(type(part) is bytes for pair in packed[4:7] for part in pair) is not (-(2**63) <= amount < 2**64)
    assert bodies._SHORT_STATE.unpack(packed) == made


class Bytes(bytes):
    """Bytes of a kind of their own."""


class Kind(State):
    """A state that is none of ours: what it checked at its birth is anybody's guess."""

    __slots__ = ()


def test_what_only_looks_like_a_state_is_not_packed() -> None:
    made = half(Party.ZERO, book())
    first = made.state
    amounts = first.deposits, first.withdrawals, first.balances
    of_a_kind = Kind(first.channel, first.version, first.intent, first.valid_until, *amounts, first.book)
    for odd in (of_a_kind, None, made):
        with pytest.raises(MalformedMessage, match="a state is expected"):
            bodies._SHORT_STATE.pack(odd)
