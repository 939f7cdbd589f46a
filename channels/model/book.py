"""The book: legs, the marks that cover exactly them, and a random salt; a state carries only its hash.

The encoding is Solidity's abi.encode of one dynamic tuple, packed by hand row by row (eth-abi, the test oracle, takes
forty times as long). It is canonical: `decode` refuses bytes that do not re-encode identically, because the contract's
decoder accepts gaps and trailing bytes and two byte strings for one book would be two hashes for one state.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import pairwise
from struct import Struct
from typing import Any, NamedTuple

from ..errors import InvalidBook
from ..units import WAD
from .identity import ZERO32, keccak, word
from .marks import (
    MAX_EXPIRIES,
    MAX_LEGS,
    MAX_TENOR,
    MAX_UNDERLYINGS,
    NO_MARKS,
    ExpiryMark,
    Marks,
    SpotMark,
    VolMark,
)
from .option import MAX_PRICE, MAX_QUANTITY, Leg, SeriesKey, kind_of, underlying_name, underlying_word

MAX_BOOK_BYTES = 7_712

_FORWARD_LIMIT = (MAX_PRICE + 1) * WAD
_TUPLE_AT = word(32)
_LOW = 2**64 - 1


@dataclass(frozen=True, slots=True)
class Book:
    """Legs strictly sorted by (underlying, expiry, strike, kind), marks that cover exactly them, and a salt.

    A book without legs is `EMPTY_BOOK`: no marks, no salt, no bytes, hash zero. Raises InvalidBook.
    """

    legs: tuple[Leg, ...]
    marks: Marks
    salt: bytes
    _encoded: bytes = field(default=b"", init=False, repr=False, compare=False)
    _hash: bytes = field(default=b"", init=False, repr=False, compare=False)
    _frame: _Frame | None = field(default=None, init=False, repr=False, compare=False)
    """Of the encoding, what other marks of the same legs leave as it is."""

    def __post_init__(self) -> None:
        if self.legs:
            _check(self.legs, self.marks)
            _check_salt(self.salt)
        elif self.salt or self.marks != NO_MARKS:
            raise InvalidBook("a book without legs has no marks and no salt")

    @property
    def encoded(self) -> bytes:
        """The canonical bytes, as `decode_book` takes them; none for the empty book. Made when first asked for."""
        if not self._encoded and self.legs:
            if self._frame is None:
                _set_frame(self, _frame_of(self))
            _set_encoded(self, _encode(self))
        return self._encoded

    @property
    def hash(self) -> bytes:
        """Keccak-256 of `encoded`; zero for the empty book."""
        if not self._hash:
            _set_hash(self, keccak(self.encoded) if self.legs else ZERO32)
        return self._hash

    def marked(self, marks: Marks, salt: bytes) -> Book:
        """Return the book with other marks, and its salt. Raises InvalidBook like a birth.

        Marks of the same rows cover the legs as these do: then only the numbers are checked.
        """
        if marks.rows is not self.marks.rows or not self.legs:
            return Book(self.legs, marks, salt)
        _check_levels(marks)
        _check_salt(salt)
        made = object.__new__(Book)
        _set_legs(made, self.legs)
        _set_marks(made, marks)
        _set_salt(made, salt)
        _set_encoded(made, b"")
        _set_hash(made, b"")
        _set_frame(made, self._frame)
        return made

    def cut(self, marks: Marks) -> Marks:
        """Return marks cut to what these legs need, as `Marks.covering` does. Raises InvalidBook like it."""
        return marks if marks.rows is self.marks.rows else marks.covering(self.legs)

    @classmethod
    def of(cls, legs: Iterable[Leg], marks: Marks, salt: bytes) -> Book:
        """Build a book from legs in any order and marks that cover at least them; without legs it is EMPTY_BOOK."""
        ordered = tuple(sorted(legs, key=lambda leg: leg.key))
        return cls(ordered, marks.covering(ordered), salt) if ordered else EMPTY_BOOK

    @property
    def last_expiry(self) -> int:
        """The latest expiry of a leg, unix seconds; 0 for the empty book."""
        return max((leg.expiry for leg in self.legs), default=0)


def net(held: Iterable[Leg], traded: Iterable[Leg]) -> tuple[Leg, ...]:
    """Return the legs held after a trade, sorted; quantities of one series add up, a leg netted to zero goes."""
    total: dict[SeriesKey, int] = {}
    for leg in (*held, *traded):
        total[leg.key] = total.get(leg.key, 0) + leg.quantity
    for key, quantity in total.items():
        if abs(quantity) > MAX_QUANTITY:
            raise InvalidBook(f"the quantity of {key} would exceed 2^88")
    return tuple(Leg(*key, quantity) for key, quantity in sorted(total.items()) if quantity)


def _check(legs: tuple[Leg, ...], marks: Marks) -> None:
    keys = tuple([leg.key for leg in legs])
    # Marks are in strict order by birth, so what they cover exactly is too.
    if not marks.cover_exactly(keys):
        if any(before >= after for before, after in pairwise(keys)):
            raise InvalidBook("legs are unsorted or duplicated")
        what = "volatilities" if marks.rows.keys != keys else "spots and expiry marks"
        raise InvalidBook(f"the {what} do not cover exactly the legs")
    spots, expiries = len(marks.rows.names), len(marks.rows.pairs)
    if len(legs) > MAX_LEGS or expiries > MAX_EXPIRIES or spots > MAX_UNDERLYINGS:
        raise InvalidBook(
            f"{len(legs)} legs, {expiries} expiries and {spots} underlyings exceed"
            f" {MAX_LEGS}, {MAX_EXPIRIES} and {MAX_UNDERLYINGS}"
        )
    _check_levels(marks)


def _check_salt(salt: bytes) -> None:
    if not isinstance(salt, bytes) or len(salt) != 32:
        raise InvalidBook("the salt must have thirty-two bytes")


def _check_levels(marks: Marks) -> None:
    """Raise InvalidBook for an expiry too far away or a forward too high, of marks that a book of some legs has."""
    rows, levels = marks.rows, marks.levels
    spots, expiries = len(rows.names), len(rows.pairs)
    ratios = levels[spots : spots + expiries]
    if rows.last_expiry - marks.time <= MAX_TENOR and max(levels[:spots]) * max(ratios) < _FORWARD_LIMIT:
        return  # no pair is beyond what the greatest of all keep
    for (underlying, expiry), at, ratio in zip(rows.pairs, rows.spot_at, ratios, strict=True):
        if expiry - marks.time > MAX_TENOR:
            raise InvalidBook(f"expiry {expiry} is more than ten years after the marks")
        if levels[at] * ratio >= _FORWARD_LIMIT:
            raise InvalidBook(f"the forward of {underlying} {expiry} exceeds 2^92")


class _Frame(NamedTuple):
    """An encoding with zeros for its numbers: the values that `_layout` takes, and where each kind of number goes."""

    values: tuple[Any, ...]
    spot_high: slice
    spot_low: slice
    ratio: slice
    discount: slice
    vol: slice


_SALT_AT, _TIME_AT = 1, 2


@lru_cache(maxsize=256)
def _layout(spots: int, expiries: int, legs: int) -> Struct:
    """Return the layout for so many: a head, then three arrays, each of them a length and rows."""
    rows = spots * "32s20xIQ", expiries * "32s24xQ24xQ24xQ", legs * "160s24xQ"
    return Struct(">32s32s24xQ96s" + "".join(["24xQ" + array for array in rows]))


def _frame_of(book: Book) -> _Frame:
    names, pairs, legs = book.marks.rows.names, book.marks.rows.pairs, book.legs
    pairs_at = 5 * 32 + 32 + len(names) * 2 * 32
    legs_at = pairs_at + 32 + len(pairs) * 4 * 32
    values: list[Any] = [_TUPLE_AT, b"", 0, word(5 * 32) + word(pairs_at) + word(legs_at), len(names)]
    spots = len(values)
    for name in names:
        values += (underlying_word(name), 0, 0)
    values.append(len(pairs))
    expiries = len(values)
    for name, expiry in pairs:
        values += (underlying_word(name), expiry, 0, 0)
    values.append(len(legs))
    vols = len(values)
    for leg in legs:
        values += (leg.words, 0)
    return _Frame(
        tuple(values),
        slice(spots + 1, expiries - 1, 3),
        slice(spots + 2, expiries - 1, 3),
        slice(expiries + 2, vols - 1, 4),
        slice(expiries + 3, vols - 1, 4),
        slice(vols + 1, None, 2),
    )


def _encode(book: Book) -> bytes:
    marks, frame = book.marks, book._frame
    assert frame is not None
    names, pairs, levels = len(marks.rows.names), len(marks.rows.pairs), marks.levels
    values = [*frame.values]
    values[_SALT_AT], values[_TIME_AT] = book.salt, marks.time
    spots = levels[:names]
    values[frame.spot_high] = [spot >> 64 for spot in spots]
    values[frame.spot_low] = [spot & _LOW for spot in spots]
    values[frame.ratio] = levels[names : names + pairs]
    values[frame.discount] = levels[names + pairs : names + 2 * pairs]
    values[frame.vol] = levels[names + 2 * pairs :]
    # Looked up, not kept in the frame: a Struct can be neither copied nor pickled, and a book can.
    return _layout(names, pairs, len(book.legs)).pack(*values)


def decode_book(encoded: bytes) -> Book:
    """Return the book whose canonical encoding `encoded` is; InvalidBook for anything else. Empty bytes: EMPTY_BOOK."""
    if not encoded:
        return EMPTY_BOOK
    if len(encoded) > MAX_BOOK_BYTES or len(encoded) % 32 or len(encoded) < 14 * 32:
        raise InvalidBook(f"{len(encoded)} bytes are not an encoded book")
    words = [encoded[i : i + 32] for i in range(0, len(encoded), 32)]
    cursor = _Cursor(words, 6)
    spots = tuple(SpotMark(*cursor.fields("ui")) for _ in range(cursor.count(MAX_UNDERLYINGS)))
    expiries = tuple(ExpiryMark(*cursor.fields("uiii")) for _ in range(cursor.count(MAX_EXPIRIES)))
    rows = [cursor.fields("uiikqi") for _ in range(cursor.count(MAX_LEGS))]
    legs = tuple(Leg(*row[:5]) for row in rows)
    vols = tuple(VolMark(row[0], row[1], row[2], row[3], row[5]) for row in rows)
    if not legs:
        raise InvalidBook("a book without legs is encoded as no bytes")
    book = Book(legs, Marks(cursor.number(words[2]), spots, expiries, vols), words[1])
    if book.encoded != encoded:
        raise InvalidBook("the bytes are not the canonical encoding of their book")
    return book


class _Cursor:
    """Reads words in order; positions are not followed, since the re-encoding comparison fixes them."""

    def __init__(self, words: list[bytes], at: int) -> None:
        self.words, self.at = words, at

    def next(self) -> bytes:
        if self.at >= len(self.words):
            raise InvalidBook("the bytes end inside the book")
        self.at += 1
        return self.words[self.at - 1]

    @staticmethod
    def number(raw: bytes) -> int:
        return int.from_bytes(raw, "big")

    def count(self, limit: int) -> int:
        count = self.number(self.next())
        if count > limit:
            raise InvalidBook(f"{count} entries exceed {limit}")
        return count

    def fields(self, shape: str) -> tuple:  # type: ignore[type-arg]
        return tuple(self._field(code) for code in shape)

    def _field(self, code: str) -> object:
        raw = self.next()
        if code == "u":
            return underlying_name(raw)
        value = self.number(raw)
        if code == "q":
            return value - 2**256 if value >= 2**255 else value
        return kind_of(value) if code == "k" else value


_set_legs, _set_marks, _set_salt, _set_encoded, _set_hash, _set_frame = (
    Book.__dict__[name].__set__ for name in ("legs", "marks", "salt", "_encoded", "_hash", "_frame")
)
"""What fills the slots of a frozen book from within this module."""
EMPTY_BOOK = Book((), NO_MARKS, b"")
"""The book of a channel that holds no positions."""
