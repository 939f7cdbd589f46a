"""Laws of the marks' bytes: one spelling for each value, and nothing else is read.

`plainly_read` and `plainly_written` are the layout of `docs/wire.md` without any thought of speed: field by field, and
every value by its own constructor. The library's reading and writing are held against them.
"""

from __future__ import annotations

import copy
import pickle
from dataclasses import FrozenInstanceError, fields, replace
from typing import Any

import pytest
from hypothesis import given, strategies as st

from channels.errors import InvalidBook
from channels.model import ExpiryMark, Leg, Marks, OptionKind, SpotMark, VolMark, marks as marks_module
from channels.model.marks import MAX_MARKS_BYTES, MAX_RATIO, MAX_VOL, NO_MARKS, decode_marks
from channels.model.option import MAX_PRICE, kind_of, underlying_name, underlying_word
from tests.strategies import legs_of_a_book, marks_for

marks = legs_of_a_book().flatmap(marks_for)


class Bytes:
    """Takes big-endian fields off the front of some bytes."""

    def __init__(self, raw: bytes) -> None:
        self.raw = raw

    def take(self, size: int) -> bytes:
        if size > len(self.raw):
            raise InvalidBook("the bytes end")
        taken, self.raw = self.raw[:size], self.raw[size:]
        return taken

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size), "big")


def plainly_read(raw: bytes) -> Marks:
    """What the bytes say, or InvalidBook."""
    source = Bytes(raw)
    time, spots, expiries, vols = (source.number(size) for size in (8, 1, 1, 1))
    if spots > 4 or expiries > 8 or vols > 32:
        raise InvalidBook("too many")
    names = [underlying_name(source.take(32)) for _ in range(spots)]
    pairs = [(source.number(1), source.number(8)) for _ in range(expiries)]
    series = [(source.number(1), source.number(12), source.number(1)) for _ in range(vols)]
    if any(at >= spots for at, _ in pairs) or any(at >= expiries for at, _, _ in series):
        raise InvalidBook("out of range")
    found = Marks(
        time,
        tuple([SpotMark(name, source.number(12)) for name in names]),
        tuple([ExpiryMark(names[at], expiry, source.number(8), source.number(8)) for at, expiry in pairs]),
        tuple(
            [
                VolMark(names[pairs[at][0]], pairs[at][1], strike, kind_of(kind), source.number(8))
                for at, strike, kind in series
            ]
        ),
    )
    if source.raw:
        raise InvalidBook("bytes are left")
    return found


def plainly_written(some: Marks) -> bytes:
    """The bytes of marks whose rows hang together."""
    names, pairs = [m.underlying for m in some.spots], [(m.underlying, m.expiry) for m in some.expiries]
    parts = [some.time.to_bytes(8, "big"), bytes((len(names), len(pairs), len(some.vols)))]
    parts += [underlying_word(name) for name in names]
    parts += [bytes((names.index(name),)) + expiry.to_bytes(8, "big") for name, expiry in pairs]
    for mark in some.vols:
        at = pairs.index((mark.underlying, mark.expiry))
        parts.append(bytes((at,)) + mark.strike.to_bytes(12, "big") + bytes((mark.kind,)))
    parts += [mark.spot.to_bytes(12, "big") for mark in some.spots]
    parts += [m.ratio.to_bytes(8, "big") + m.discount.to_bytes(8, "big") for m in some.expiries]
    parts += [mark.vol.to_bytes(8, "big") for mark in some.vols]
    return b"".join(parts)


def everything(value: Any) -> Any:
    """A value with all its fields, those that comparison leaves out too, and the types of all that is in it."""
    if isinstance(value, tuple):
        return tuple(everything(part) for part in value)
    if isinstance(value, Marks | SpotMark | ExpiryMark | VolMark):
        return type(value), *(everything(getattr(value, field.name)) for field in fields(value))
    return type(value), value


@given(marks)
def test_decoding_is_the_inverse_of_encoding(some: Marks) -> None:
    again = decode_marks(some.encoded)
    assert again == some
    assert hash(again) == hash(some)
    assert repr(again) == repr(some)
    assert some.encoded == plainly_written(some)
    assert len(some.encoded) <= MAX_MARKS_BYTES


@given(marks)
def test_what_is_read_fast_is_what_constructors_make(some: Marks) -> None:
    """Field by field and type by type, the hidden ones too."""
    fast, plain = decode_marks(some.encoded), plainly_read(some.encoded)
    assert plain.encoded == some.encoded
    assert everything(fast) == everything(plain)


def outcome(read: Any, raw: bytes) -> Any:
    try:
        found = read(raw)
        assert found.encoded == raw
    except InvalidBook:
        return InvalidBook
    return everything(found)


@given(marks, st.data())
def test_fast_and_plain_reading_refuse_the_same(some: Marks, data: st.DataObject) -> None:
    """Any byte, or a whole field made zero or all ones: where one refuses so does the other, by the same error."""
    changed = bytearray(some.encoded)
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(changed) - 1))
        size = data.draw(st.sampled_from([1, 1, 2, 8, 12]))
        changed[at : at + size] = data.draw(st.binary(min_size=size, max_size=size) | st.just(b"\xff" * size))
    raw = bytes(changed) if data.draw(st.booleans()) else bytes(changed).replace(b"\xff", b"\0")
    assert outcome(decode_marks, raw) == outcome(plainly_read, raw)


ONE = Marks(7, (SpotMark("A", 5),), (ExpiryMark("A", 9, 3, 4),), (VolMark("A", 9, 2, OptionKind.PUT, 1),))
TWO = Marks(
    7,
    (SpotMark("A", 5), SpotMark("B", 5)),
    (ExpiryMark("A", 9, 3, 4), ExpiryMark("B", 8, 3, 4)),
    (VolMark("A", 9, 2, OptionKind.CALL, 1), VolMark("B", 8, 2, OptionKind.CALL, 1)),
)
_EXPIRY_AT, _SERIES_AT = 11 + 32, 11 + 32 + 9
_SPOT_AT, _RATIO_AT, _VOL_AT = _SERIES_AT + 14, _SERIES_AT + 26, _SERIES_AT + 42


def put(some: Marks, at: int, size: int, value: int) -> bytes:
    return some.encoded[:at] + value.to_bytes(size, "big") + some.encoded[at + size :]


@pytest.mark.parametrize(
    ("at", "size", "low", "high"),
    [
        (0, 8, 0, 2**63 - 1),
        (_EXPIRY_AT, 1, 0, 0),
        (_EXPIRY_AT + 1, 8, 1, 2**63 - 1),
        (_SERIES_AT, 1, 0, 0),
        (_SERIES_AT + 1, 12, 1, MAX_PRICE),
        (_SERIES_AT + 13, 1, 0, 1),
        (_SPOT_AT, 12, 1, MAX_PRICE),
        (_RATIO_AT, 8, 1, MAX_RATIO),
        (_RATIO_AT + 8, 8, 1, MAX_RATIO),
        (_VOL_AT, 8, 0, MAX_VOL),
    ],
    ids=["time", "spot index", "expiry", "expiry index", "strike", "kind", "spot", "ratio", "discount", "vol"],
)
def test_every_field_ends_at_its_bounds(at: int, size: int, low: int, high: int) -> None:
    for inside in {low, high}:
        assert decode_marks(put(ONE, at, size, inside)).encoded == put(ONE, at, size, inside)
    for outside in {low - 1, high + 1} - {-1}:
        for read in (decode_marks, plainly_read):
            with pytest.raises(InvalidBook):
                read(put(ONE, at, size, outside))


@pytest.mark.parametrize(
    ("at", "size", "value"),
    [
        (11, 32, int.from_bytes(b"C".ljust(32, b"\0"), "big")),
        (11, 32, int.from_bytes(b"B".ljust(32, b"\0"), "big")),
        (11 + 64, 1, 1),
        (11 + 64 + 9, 1, 0),
        (11 + 64 + 18, 1, 1),
        (11 + 64 + 18 + 14, 1, 0),
    ],
    ids=["names unsorted", "a name twice", "expiries unsorted", "expiries of one", "vols unsorted", "a vol twice"],
)
def test_rows_are_in_order(at: int, size: int, value: int) -> None:
    for read in (decode_marks, plainly_read):
        with pytest.raises(InvalidBook):
            read(put(TWO, at, size, value))


def test_marks_that_do_not_hang_together_have_no_bytes() -> None:
    with pytest.raises(InvalidBook, match=r"lack the forward of \('A', 9\)"):
        _ = replace(ONE, expiries=()).encoded
    with pytest.raises(InvalidBook, match="lack the spot of A"):
        _ = replace(ONE, spots=()).encoded
    spare = replace(TWO, vols=TWO.vols[:1])
    assert everything(decode_marks(spare.encoded)) == everything(spare)
    assert plainly_read(spare.encoded) == spare
    assert TWO.rows.is_exact
    assert not spare.rows.is_exact
    for expiry in (0, 2**63):
        for read in (decode_marks, plainly_read):
            with pytest.raises(InvalidBook, match="expiry"):
                read(put(spare, 11 + 64 + 9 + 1, 8, expiry))


@pytest.mark.parametrize("which", [0, 1])
@pytest.mark.parametrize("level", [0, MAX_PRICE + 1])
def test_every_spot_is_within_bounds(which: int, level: int) -> None:
    spots_at = len(TWO.encoded) - len(TWO.vols) * 8 - len(TWO.expiries) * 16 - len(TWO.spots) * 12
    for read in (decode_marks, plainly_read):
        with pytest.raises(InvalidBook, match="spot"):
            read(put(TWO, spots_at + 12 * which, 12, level))


def test_more_rows_than_a_book_can_need_have_no_bytes() -> None:
    many = tuple(SpotMark("A" + i * "A", 1) for i in range(5))
    pairs = tuple(ExpiryMark("A", 1 + i, 1, 1) for i in range(9))
    vols = tuple(VolMark("A", 9, 1 + i, OptionKind.CALL, 1) for i in range(33))
    for change in ({"spots": many}, {"expiries": pairs}, {"vols": vols}):
        loose = replace(ONE, **change)
        with pytest.raises(InvalidBook, match="more than 4, 8 and 32"):
            _ = loose.encoded
        for read in (decode_marks, plainly_read):
            with pytest.raises(InvalidBook):
                read(plainly_written(loose))


@given(marks)
def test_marks_that_were_read_are_values_like_any_other(some: Marks) -> None:
    read = decode_marks(some.encoded)
    for again in (copy.copy(read), copy.deepcopy(read), pickle.loads(pickle.dumps(read)), replace(read)):
        assert again == read
        assert again.encoded == read.encoded
    for frozen, name in ((read, "time"), (read.spots[0], "spot"), (read.expiries[0], "ratio"), (read.vols[0], "vol")):
        with pytest.raises(FrozenInstanceError):
            setattr(frozen, name, 1)
    with pytest.raises(InvalidBook):
        replace(read.vols[0], vol=-1)


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


class Text(str):
    """Text as another library may hand it over: equal to the plain one, and not it."""


def test_rows_are_plain_whoever_asked_for_them_first() -> None:
    """They are shared by all marks equal in them: one caller's kind of text is not what another's legs are made of."""
    marks_module._rows.cache_clear()
    odd = Text("ODD/USD")
    first = Marks(7, (SpotMark(odd, 5),), (ExpiryMark(odd, 9, 3, 4),), (VolMark(odd, 9, 2, OptionKind.PUT, 1),))
    raw = first.encoded
    for some in (first, decode_marks(raw), Marks(8, first.spots, first.expiries, first.vols)):
        assert some.rows is first.rows
        ((underlying, expiry),) = some.rows.pairs
        assert [type(name) for name in (*some.rows.names, underlying, some.keys[0][0])] == [str] * 3
        assert everything((expiry, some.keys)) == everything((9, (("ODD/USD", 9, 2, OptionKind.PUT),)))
    plain = plainly_read(raw)
    assert plain.encoded == raw
    assert everything(decode_marks(raw)) == everything(plain)


@given(marks, st.booleans())
def test_marks_of_the_same_series_share_their_rows_and_lose_nothing_by_it(some: Marks, forgotten: bool) -> None:
    """Made, read, or made again when nobody remembers: the same values, whether the same object or not."""
    rows, read = some.rows, decode_marks(some.encoded)
    assert read.rows == rows
    if forgotten:
        marks_module._rows.cache_clear()
    again = Marks(some.time + 1, some.spots, some.expiries, some.vols)
    assert (again.rows is rows) is not forgotten
    assert again.rows == rows
    assert hash(again.rows) == hash(rows)
    again = replace(again, time=some.time)
    assert again.encoded == some.encoded
    assert everything(again) == everything(some) == everything(read)
    assert rows.last_expiry == max(mark.expiry for mark in some.expiries)
    assert rows.is_exact
    assert [rows.names[at] for at in rows.spot_at] == [name for name, _ in rows.pairs]


def test_marks_of_nothing_expire_never() -> None:
    assert NO_MARKS.rows.last_expiry == 0
    assert ONE.rows.last_expiry == 9
    assert TWO.rows.last_expiry == 9, "the latest, not the last"


@given(marks)
def test_rows_that_are_refused_are_refused_every_time(some: Marks) -> None:
    for _ in range(2):
        with pytest.raises(InvalidBook, match="spots are not strictly sorted"):
            replace(some, spots=some.spots[-1:] * 2)
        with pytest.raises(InvalidBook, match="expiries are not strictly sorted"):
            replace(some, expiries=some.expiries[:1] * 2)
        with pytest.raises(InvalidBook, match="volatilities are not strictly sorted"):
            replace(some, vols=some.vols[:1] * 2)
