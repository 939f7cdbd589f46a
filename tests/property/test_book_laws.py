"""Laws of the book: its bytes are eth-abi's, no other bytes are read, and netting is addition."""

from __future__ import annotations

from collections import Counter

import eth_abi
import pytest
from hypothesis import given, strategies as st

from channels.errors import InvalidBook
from channels.model import EMPTY_BOOK, ZERO32, Book, Leg, decode_book, keccak, net
from channels.model.book import MAX_BOOK_BYTES
from channels.model.option import MAX_QUANTITY
from tests.strategies import books, legs_of_a_book

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
