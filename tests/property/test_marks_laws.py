"""Laws of the marks' bytes: one spelling for each value, and nothing else is read."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from channels.errors import InvalidBook
from channels.model import ExpiryMark, Leg, Marks, SpotMark, VolMark
from channels.model.marks import MAX_MARKS_BYTES, NO_MARKS, decode_marks
from tests.strategies import legs_of_a_book, marks_for

marks = legs_of_a_book().flatmap(marks_for)


@given(marks)
def test_decoding_is_the_inverse_of_encoding(some: Marks) -> None:
    again = decode_marks(some.encoded)
    assert again == some
    assert Marks(again.time, again.spots, again.expiries, again.vols).encoded == some.encoded
    assert len(some.encoded) <= MAX_MARKS_BYTES


@given(marks, marks)
def test_two_values_never_share_their_bytes(one: Marks, other: Marks) -> None:
    assert (one.encoded == other.encoded) == (one == other)


@given(marks, st.data())
def test_bytes_are_read_only_if_they_are_an_encoding(some: Marks, data: st.DataObject) -> None:
    changed = bytearray(some.encoded)
    for _ in range(data.draw(st.integers(1, 3))):
        changed[data.draw(st.integers(0, len(changed) - 1))] = data.draw(st.integers(0, 255))
    low, high = sorted((data.draw(st.integers(0, len(changed))), data.draw(st.integers(0, len(changed)))))
    for raw in (bytes(changed), bytes(changed[:low] + changed[high:]), bytes(changed) + bytes(changed[low:high])):
        try:
            read = decode_marks(raw)
        except InvalidBook:
            continue
        assert Marks(read.time, read.spots, read.expiries, read.vols).encoded == raw


def test_no_marks_are_a_header_of_zeros() -> None:
    assert NO_MARKS.encoded == bytes(11)
    assert decode_marks(bytes(11)) == NO_MARKS


@pytest.mark.parametrize("raw", [b"", bytes(10), bytes(12), bytes(MAX_MARKS_BYTES + 1), bytes(8) + b"\1\0\0"])
def test_bytes_of_another_length_are_refused(raw: bytes) -> None:
    with pytest.raises(InvalidBook):
        decode_marks(raw)


@given(marks, legs_of_a_book(max_legs=6))
def test_marks_cover_exactly_what_they_are_cut_to(some: Marks, others: tuple[Leg, ...]) -> None:
    assert some.cover_exactly(some.keys)
    keys = tuple(leg.key for leg in others)
    assert some.cover_exactly(keys) == (
        keys == tuple(m.key for m in some.vols)
        and {key[:2] for key in keys} == {(m.underlying, m.expiry) for m in some.expiries}
        and {key[0] for key in keys} == {m.underlying for m in some.spots}
    )


def test_a_mark_too_many_is_not_exact() -> None:
    leg = Leg.call("ETH/USD", 1_706_000_000, 2_400, quantity=1)
    exact = Marks.at(1_705_000_000, spots={"ETH/USD": 2_300}, vols={leg: "0.6"})
    more, other = SpotMark("BTC/USD", 1), VolMark("ETH/USD", 1_708_000_000, 1, leg.kind, 1)
    for loose in (
        Marks(exact.time, (more, *exact.spots), exact.expiries, exact.vols),
        Marks(exact.time, exact.spots, (*exact.expiries, ExpiryMark("ETH/USD", 1_707_000_000, 1, 1)), exact.vols),
        Marks(exact.time, exact.spots, exact.expiries, (*exact.vols, other)),
    ):
        assert not loose.cover_exactly((leg.key,))
        assert loose.covering((leg,)) == exact
    assert exact.covering((leg,)) is exact
