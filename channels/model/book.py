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
from typing import Any

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
            object.__setattr__(self, "_encoded", _encode(self))
        return self._encoded

    @property
    def hash(self) -> bytes:
        """Keccak-256 of `encoded`; zero for the empty book."""
        if not self._hash:
            object.__setattr__(self, "_hash", keccak(self.encoded) if self.legs else ZERO32)
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
        return made

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


@lru_cache(maxsize=256)
def _rows(spots: int, expiries: int, legs: int) -> tuple[bytes, Struct, Struct, Struct]:
    """Return the words before the spots' length for a book of so many, and its three arrays: a length, then rows."""
    expiries_at = 5 * 32 + 32 + spots * 2 * 32
    legs_at = expiries_at + 32 + expiries * 4 * 32
    return (
        word(5 * 32) + word(expiries_at) + word(legs_at),
        Struct(">24xQ" + spots * "32s20xIQ"),
        Struct(">24xQ" + expiries * "32s24xQ24xQ24xQ"),
        Struct(">24xQ" + legs * "160s24xQ"),
    )


def _encode(book: Book) -> bytes:
    marks, rows, levels = book.marks, book.marks.rows, book.marks.levels
    names, pairs = len(rows.names), len(rows.pairs)
    offsets, spot_rows, expiry_rows, leg_rows = _rows(names, pairs, len(book.legs))
    spots: list[Any] = []
    for name, spot in zip(rows.names, levels[:names], strict=True):
        spots += (underlying_word(name), spot >> 64, spot & _LOW)
    ratios, discounts = levels[names : names + pairs], levels[names + pairs : names + 2 * pairs]
    expiries: list[Any] = []
    for (name, expiry), ratio, discount in zip(rows.pairs, ratios, discounts, strict=True):
        expiries += (underlying_word(name), expiry, ratio, discount)
    legs: list[Any] = []
    for leg, vol in zip(book.legs, levels[names + 2 * pairs :], strict=True):
        legs += (leg.words, vol)
    return b"".join(
        (
            _TUPLE_AT,
            book.salt,
            marks.time.to_bytes(32, "big"),
            offsets,
            spot_rows.pack(names, *spots),
            expiry_rows.pack(pairs, *expiries),
            leg_rows.pack(len(book.legs), *legs),
        )
    )


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


_set_legs, _set_marks, _set_salt, _set_encoded, _set_hash = (Book.__dict__[name].__set__ for name in Book.__slots__)
"""What fills the slots of a frozen book from within this module."""
EMPTY_BOOK = Book((), NO_MARKS, b"")
"""The book of a channel that holds no positions."""
