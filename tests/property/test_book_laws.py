"""Laws of the book: its bytes are eth-abi's, no other bytes are read, netting is addition, and other marks make the
book that its birth makes of them."""

from __future__ import annotations

import copy
import pickle
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, fields, replace
from typing import Any

import eth_abi
import pytest
from hypothesis import given, strategies as st

from channels.errors import InvalidBook
from channels.model import (
    EMPTY_BOOK,
    NO_MARKS,
    ZERO32,
    Book,
    ExpiryMark,
    Leg,
    Marks,
    SpotMark,
    VolMark,
    decode_book,
    keccak,
    marks as marks_module,
    net,
)
from channels.model.book import MAX_BOOK_BYTES
from channels.model.marks import MAX_RATIO, MAX_TENOR, MAX_VOL, decode_marks
from channels.model.option import MAX_PRICE, MAX_QUANTITY
from channels.units import WAD
from tests.roles import EXPIRY, NOW
from tests.strategies import books, legs_of_a_book, marks_for

BOOK_TYPE = (
    "(bytes32,uint64,(bytes32,uint128)[],(bytes32,uint64,uint128,uint128)[],"
    "(bytes32,uint64,uint128,uint8,int128,uint128)[])"
)


def by_eth_abi(book: Book) -> bytes:
    """The oracle's encoding."""
    marks = book.marks
    return eth_abi.encode(
        [BOOK_TYPE],
        [
            (
                book.salt,
                marks.time,
                [(m.underlying.encode(), m.spot) for m in marks.spots],
                [(m.underlying.encode(), m.expiry, m.ratio, m.discount) for m in marks.expiries],
                [
                    (leg.underlying.encode(), leg.expiry, leg.strike, int(leg.kind), leg.quantity, mark.vol)
                    for leg, mark in zip(book.legs, marks.vols, strict=True)
                ],
            )
        ],
    )


@given(books())
def test_book_bytes_are_eth_abis(book: Book) -> None:
    assert book.encoded == by_eth_abi(book)
    assert book.hash == keccak(book.encoded)
    assert len(book.encoded) <= MAX_BOOK_BYTES


@given(books())
def test_decoding_is_the_inverse_of_encoding(book: Book) -> None:
    assert decode_book(book.encoded) == book


@given(books(max_legs=3), st.data())
def test_bytes_are_read_as_a_book_only_if_they_are_its_encoding(book: Book, data: st.DataObject) -> None:
    words = [book.encoded[i : i + 32] for i in range(0, len(book.encoded), 32)]
    at = data.draw(st.integers(0, len(words) - 1))
    number = st.integers(0, 2**256 - 1) | st.integers(0, 400)
    words[at] = data.draw(number.map(lambda n: n.to_bytes(32, "big")) | st.sampled_from(words))
    mutated = b"".join(words)
    try:
        found = decode_book(mutated)
    except InvalidBook:
        return
    assert found.encoded == mutated


@given(books(max_legs=2), st.binary(min_size=1, max_size=64))
def test_trailing_bytes_are_refused(book: Book, tail: bytes) -> None:
    with pytest.raises(InvalidBook):
        decode_book(book.encoded + tail)


@given(books(max_legs=2))
def test_a_book_truncated_at_any_byte_is_refused(book: Book) -> None:
    for size in range(1, len(book.encoded)):
        with pytest.raises(InvalidBook):
            decode_book(book.encoded[:size])


def test_the_empty_book_is_no_bytes() -> None:
    assert decode_book(b"") == EMPTY_BOOK
    assert (EMPTY_BOOK.encoded, EMPTY_BOOK.hash) == (b"", ZERO32)


def _totals(*books_of_legs: tuple[Leg, ...]) -> dict[object, int]:
    total: Counter[object] = Counter()
    for legs in books_of_legs:
        for leg in legs:
            total[leg.key] += leg.quantity
    return {key: quantity for key, quantity in total.items() if quantity}


def _halved(legs: tuple[Leg, ...]) -> tuple[Leg, ...]:
    """Quantities small enough that two of them add up within the bound."""
    return tuple(Leg(*leg.key, max(1, abs(leg.quantity) // 2) * (1 if leg.quantity > 0 else -1)) for leg in legs)


@st.composite
def overlapping(draw: st.DrawFn) -> tuple[tuple[Leg, ...], tuple[Leg, ...]]:
    """Two sets of legs, the second partly in the series of the first, sometimes exactly against them."""
    held = _halved(draw(legs_of_a_book(6)))
    again = draw(st.lists(st.sampled_from(held), unique=True))
    sides = [draw(st.sampled_from([1, -1])) for _ in again]
    fresh = [leg for leg in _halved(draw(legs_of_a_book(3))) if leg.key not in {other.key for other in held}]
    return held, (*(leg.times(side) for leg, side in zip(again, sides, strict=True)), *fresh)


@given(overlapping())
def test_netting_adds_quantities_and_drops_what_nets_to_zero(pair: tuple[tuple[Leg, ...], tuple[Leg, ...]]) -> None:
    held, traded = pair
    result = net(held, traded)
    assert {leg.key: leg.quantity for leg in result} == _totals(held, traded)
    assert list(result) == sorted(result, key=lambda leg: leg.key)


@given(overlapping())
def test_netting_commutes(pair: tuple[tuple[Leg, ...], tuple[Leg, ...]]) -> None:
    held, traded = pair
    assert net(held, traded) == net(traded, held)


@given(legs_of_a_book(6))
def test_a_trade_and_its_opposite_leave_nothing(legs: tuple[Leg, ...]) -> None:
    assert net(legs, [leg.times(-1) for leg in legs]) == ()
    assert net(legs, ()) == legs


@given(legs_of_a_book(1))
def test_netting_beyond_the_quantity_bound_is_refused(legs: tuple[Leg, ...]) -> None:
    most = Leg(*legs[0].key, MAX_QUANTITY)
    assert net([most], [Leg(*most.key, -1)])[0].quantity == MAX_QUANTITY - 1
    with pytest.raises(InvalidBook, match="exceed"):
        net([most], [Leg(*most.key, 1)])


# ── Other marks of the same legs ────────────────────────────────────────────────────────────────────────────────────


def outcome(make: Callable[..., Book], *values: Any) -> Any:
    """The book with its bytes and hash, as its own birth makes them; or what was refused, word for word."""
    try:
        made = make(*values)
    except (InvalidBook, AttributeError) as refused:
        return type(refused), str(refused)
    assert made.encoded == (by_eth_abi(made) if made.legs else b"")
    return made, hash(made), repr(made), made.encoded, made.hash, [type(getattr(made, f.name)) for f in fields(made)]


@st.composite
def loose_marks(draw: st.DrawFn, legs: tuple[Leg, ...]) -> Marks:
    """Marks of these legs, whatever a book says to them: too early for an expiry, or of too high a forward."""
    level = st.sampled_from([1, WAD, MAX_PRICE]) | st.integers(1, MAX_PRICE)
    factor = st.sampled_from([1, WAD - 1, WAD, WAD + 1, MAX_RATIO]) | st.integers(1, MAX_RATIO)
    last = max(leg.expiry for leg in legs)
    return Marks(
        draw(st.sampled_from([NOW, last, last + 1, max(0, last - MAX_TENOR), max(0, last - MAX_TENOR - 1), 0])),
        tuple(SpotMark(name, draw(level)) for name in sorted({leg.underlying for leg in legs})),
        tuple(ExpiryMark(*pair, draw(factor), draw(factor)) for pair in sorted({leg.key[:2] for leg in legs})),
        tuple(VolMark(*leg.key, draw(st.sampled_from([0, MAX_VOL]))) for leg in legs),
    )


salts = st.binary(min_size=32, max_size=32) | st.sampled_from(
    [b"", bytes(31), bytes(33), "s" * 32, bytearray(32), None]
)


@given(books(max_legs=6), st.data())
def test_other_marks_make_the_book_that_its_birth_makes(held: Book, data: st.DataObject) -> None:
    """Step by step, from a book whose bytes were asked for or not, and from marks that were made or read."""
    chain = data.draw(st.booleans())
    for _ in range(data.draw(st.integers(1, 4))):
        kind = data.draw(st.sampled_from(["bounded", "bounded", "loose", "others", "none"]))
        legs = data.draw(legs_of_a_book(6)) if kind == "others" else held.legs
        other = NO_MARKS if kind == "none" else data.draw(loose_marks(legs) if kind == "loose" else marks_for(legs))
        other = decode_marks(other.encoded) if data.draw(st.booleans()) else other
        salt: Any = data.draw(salts)
        if data.draw(st.booleans()):
            assert held.hash == keccak(held.encoded)
        expected = outcome(Book, held.legs, other, salt)
        assert outcome(held.marked, other, salt) == expected
        if chain and isinstance(expected[0], Book):
            held = held.marked(other, salt)
            assert held.legs is expected[0].legs


def told(cut: Callable[..., Marks], *values: Any) -> Any:
    try:
        return cut(*values)
    except InvalidBook as refused:
        return str(refused)


@given(books(max_legs=4), st.data())
def test_marks_are_cut_to_a_book_as_to_its_legs(held: Book, data: st.DataObject) -> None:
    """Whatever they are of: exactly these legs, more of them, others, none."""
    own = data.draw(marks_for(held.legs))
    others = data.draw(legs_of_a_book(3))
    more = tuple(sorted({leg.key: leg for leg in (*others, *held.legs)}.values(), key=lambda leg: leg.key))
    for some in (own, decode_marks(own.encoded), *(data.draw(loose_marks(legs)) for legs in (more, others)), NO_MARKS):
        for book in (held, EMPTY_BOOK):
            assert told(book.cut, some) == told(some.covering, book.legs)
    assert held.cut(own) is own
    assert EMPTY_BOOK.cut(NO_MARKS) == NO_MARKS


def named(
    one: int, other: int, ratios: tuple[int, int], time: int = NOW, expiries: tuple[int, int] | None = None
) -> Any:
    """Legs of two underlyings, an expiry each, and their marks: spots, and forward ratios."""
    near, far = expiries or (EXPIRY, EXPIRY)
    legs = Leg.call("A", near, 1, quantity=1), Leg.call("B", far, 1, quantity=1)
    return legs, Marks(
        time,
        (SpotMark("A", one), SpotMark("B", other)),
        (ExpiryMark("A", near, ratios[0], WAD), ExpiryMark("B", far, ratios[1], WAD)),
        tuple(VolMark(*leg.key, 0) for leg in legs),
    )


FAR = NOW + MAX_TENOR
RATIO = 17 * WAD // 10
GREATEST = ((MAX_PRICE + 1) * WAD - 1) // RATIO
"""The spot whose forward, 2^92 and a bit, is still 2^92 rounded down."""
EDGES: dict[str, tuple[tuple[Any, ...], str]] = {
    "the greatest spot at one": ((MAX_PRICE, 1, (WAD, MAX_RATIO)), ""),
    "each within, the greatest of all not": ((MAX_PRICE, WAD, (1, MAX_RATIO)), ""),
    "the last wei": ((MAX_PRICE // 4, 1, (MAX_RATIO, 1)), ""),
    "a wei more": ((MAX_PRICE // 4 + 1, 1, (MAX_RATIO, 1)), "forward of A"),
    "less than a wei more": ((GREATEST, 1, (RATIO, 1)), ""),
    "more than that": ((GREATEST + 1, 1, (RATIO, 1)), "forward of A"),
    "the second one's": ((1, MAX_PRICE, (WAD, WAD + 1)), "forward of B"),
    "both": ((MAX_PRICE, MAX_PRICE, (MAX_RATIO, MAX_RATIO)), "forward of A"),
    "ten years": ((WAD, WAD, (WAD, WAD), NOW, (EXPIRY, FAR)), ""),
    "ten years and a second": ((WAD, WAD, (WAD, WAD), NOW, (EXPIRY, FAR + 1)), f"expiry {FAR + 1}"),
    "the first one's": ((WAD, WAD, (WAD, WAD), NOW, (FAR + 2, FAR + 1)), f"expiry {FAR + 2}"),
    "the first one's is ten years": ((WAD, WAD, (WAD, WAD), NOW, (FAR, FAR + 1)), f"expiry {FAR + 1}"),
    "an earlier pair is told first": ((MAX_PRICE, WAD, (MAX_RATIO, WAD), NOW, (EXPIRY, FAR + 1)), "forward of A"),
    "expired long ago": ((WAD, WAD, (WAD, WAD), FAR, (1, 2)), ""),
}


@pytest.mark.parametrize("edge", EDGES)
@pytest.mark.parametrize("ways", ["born", "marked"])
def test_a_book_ends_at_its_bounds_either_way(edge: str, ways: str) -> None:
    values, refused = EDGES[edge]
    legs, other = named(*values)
    first = named(WAD, WAD, (WAD, WAD), legs[1].expiry, (legs[0].expiry, legs[1].expiry))[1]
    held = Book(legs, replace(first, time=max(leg.expiry for leg in legs)), bytes(32))
    assert other.rows is held.marks.rows, "or another way is tried"

    def make() -> Book:
        return Book(legs, other, bytes(32)) if ways == "born" else held.marked(other, bytes(32))

    if refused:
        with pytest.raises(InvalidBook, match=refused):
            make()
    else:
        assert make().encoded == by_eth_abi(make())


def test_a_book_without_legs_is_marked_as_it_is_born() -> None:
    some = named(WAD, WAD, (WAD, WAD))[1]
    for other, salt in ((NO_MARKS, b""), (NO_MARKS, bytes(32)), (some, b""), (Marks(1, (), (), ()), b"")):
        assert outcome(EMPTY_BOOK.marked, other, salt) == outcome(Book, (), other, salt)
    assert EMPTY_BOOK.marked(NO_MARKS, b"") == EMPTY_BOOK


def test_marks_of_the_same_rows_are_not_held_against_the_legs_again(monkeypatch: pytest.MonkeyPatch) -> None:
    legs, first = named(WAD, WAD, (WAD, WAD))
    held, again = Book(legs, first, bytes(32)), named(2 * WAD, WAD, (WAD, WAD))[1]
    assert held.encoded
    monkeypatch.setattr(Marks, "cover_exactly", None)
    made = held.marked(again, b"t" * 32)
    assert made._frame is held._frame, "what marks leave as it is is made once"
    assert made.encoded == by_eth_abi(made) != held.encoded
    assert made._frame is held._frame


def test_rows_that_fell_out_of_the_memory_are_as_good() -> None:
    """Marks made before and after are equal and encode alike; the book that has one takes the other."""
    legs, first = named(WAD, WAD, (WAD, WAD))
    held = Book(legs, first, bytes(32))
    marks_module._rows.cache_clear()
    _, again = named(2 * WAD, WAD, (WAD, WAD))
    assert again.rows is not first.rows
    assert again.rows == first.rows
    assert held.marked(again, bytes(32)) == Book(legs, again, bytes(32))
    assert held.marked(again, bytes(32)).encoded == Book(legs, again, bytes(32)).encoded
    with pytest.raises(InvalidBook, match="forward of A"):
        held.marked(named(MAX_PRICE, WAD, (MAX_RATIO, WAD))[1], bytes(32))


@given(books(max_legs=3))
def test_a_book_is_a_value_like_any_other(held: Book) -> None:
    """Copied, pickled and taken apart, before its bytes were asked for and after."""
    for _ in range(2):
        for again in (copy.copy(held), copy.deepcopy(held), pickle.loads(pickle.dumps(held)), replace(held)):
            assert again == held
            assert again.hash == Book(held.legs, held.marks, held.salt).hash
            assert again.marked(held.marks, bytes(32)) == Book(held.legs, held.marks, bytes(32))
        assert asdict(held)["salt"] == held.salt
        assert held.encoded
