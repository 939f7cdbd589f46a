"""What valuation needs and both sides agreed on: time, spots, forward ratios, discounts and volatilities.

Marks are what most messages and journal records consist of, so they have one canonical encoding, in rows of fixed size,
which is made once and travels as it is: a header (time, and how many rows of each kind), then the rows, big-endian,
`underlying` ASCII left-aligned in thirty-two bytes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import pairwise
from struct import Struct
from typing import Any

from ..errors import InvalidBook
from ..units import WAD, Human, mul_div_down, wad
from .option import (
    MAX_PRICE,
    Leg,
    OptionKind,
    SeriesKey,
    check_series,
    kind_of,
    parse_expiry,
    underlying_name,
    underlying_word,
)

MAX_RATIO = 4 * WAD
"""Largest forward ratio and discount."""
MAX_VOL = 8 * WAD
"""Largest volatility: 800 % a year."""
MAX_TENOR = 3650 * 86_400
"""Longest time from the marks to an expiry: ten years."""
MAX_UNDERLYINGS = 4
MAX_EXPIRIES = 8
MAX_LEGS = 32

_HEADER, _SPOT, _EXPIRY, _VOL = (Struct(row) for row in (">QBBB", ">32s16s", ">32sQQQ", ">32sQ16sBQ"))
MAX_MARKS_BYTES = _HEADER.size + MAX_UNDERLYINGS * _SPOT.size + MAX_EXPIRIES * _EXPIRY.size + MAX_LEGS * _VOL.size


@dataclass(frozen=True, slots=True)
class SpotMark:
    """The agreed spot of an underlying, WAD of the quote currency."""

    underlying: str
    spot: int

    def __post_init__(self) -> None:
        underlying_word(self.underlying)
        _bounded("spot", self.spot, 1, MAX_PRICE)


@dataclass(frozen=True, slots=True)
class ExpiryMark:
    """Per underlying and expiry: forward / spot and the discount factor, both WAD."""

    underlying: str
    expiry: int
    ratio: int
    discount: int

    def __post_init__(self) -> None:
        underlying_word(self.underlying)
        _bounded("expiry", self.expiry, 1, 2**63 - 1)
        _bounded("ratio", self.ratio, 1, MAX_RATIO)
        _bounded("discount", self.discount, 1, MAX_RATIO)


@dataclass(frozen=True, slots=True)
class VolMark:
    """The agreed volatility of a series, WAD per square root of a 365-day year."""

    underlying: str
    expiry: int
    strike: int
    kind: OptionKind
    vol: int

    def __post_init__(self) -> None:
        check_series(self.underlying, self.expiry, self.strike, self.kind)
        _bounded("vol", self.vol, 0, MAX_VOL)

    @property
    def key(self) -> SeriesKey:
        return (self.underlying, self.expiry, self.strike, self.kind)


@dataclass(frozen=True, slots=True)
class Marks:
    """One moment's marks; each tuple strictly sorted by its key fields. `Marks.at` builds one from human numbers.

    Raises InvalidBook where something is unsorted, duplicated, too many, or out of bounds.
    """

    time: int
    spots: tuple[SpotMark, ...]
    expiries: tuple[ExpiryMark, ...]
    vols: tuple[VolMark, ...]
    keys: tuple[SeriesKey, ...] = field(init=False, repr=False, compare=False)
    """The series that the volatilities are of."""
    _encoded: bytes = field(default=b"", init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        _bounded("marks time", self.time, 0, 2**63 - 1)
        _sorted("spots", [m.underlying for m in self.spots])
        _sorted("expiries", [(m.underlying, m.expiry) for m in self.expiries])
        object.__setattr__(self, "keys", tuple([m.key for m in self.vols]))
        _sorted("volatilities", self.keys)

    @classmethod
    def at(
        cls,
        time: int | str | datetime,
        *,
        spots: Mapping[str, Human],
        vols: Mapping[Leg, Human],
        forwards: Mapping[tuple[str, int | str], Human] | None = None,
        discounts: Mapping[tuple[str, int | str], Human] | None = None,
    ) -> Marks:
        """Build marks for the legs in `vols` from human numbers.

        `forwards` and `discounts` are per (underlying, expiry); a missing forward is the spot, a missing discount is 1.
        The forward's ratio to spot is rounded down.
        """
        forward = {(u, parse_expiry(e)): wad(f, "forward") for (u, e), f in (forwards or {}).items()}
        discount = {(u, parse_expiry(e)): wad(d, "discount") for (u, e), d in (discounts or {}).items()}
        spot = {u: wad(s, "spot") for u, s in spots.items()}
        legs = list(vols)
        for leg in legs:
            if leg.underlying not in spot:
                raise InvalidBook(f"no spot is given for {leg.underlying}")
        pairs = sorted({(leg.underlying, leg.expiry) for leg in legs})
        return cls(
            parse_expiry(time),
            tuple(SpotMark(u, spot[u]) for u in sorted({leg.underlying for leg in legs})),
            tuple(
                ExpiryMark(u, e, mul_div_down(forward.get((u, e), spot[u]), WAD, spot[u]), discount.get((u, e), WAD))
                for u, e in pairs
            ),
            tuple(sorted((VolMark(*leg.key, wad(v, "vol")) for leg, v in vols.items()), key=lambda m: m.key)),
        )

    def covering(self, legs: Iterable[Leg]) -> Marks:
        """Return these marks cut to exactly what `legs` need; InvalidBook names what is missing."""
        needed = tuple([leg.key for leg in legs])
        if self.cover_exactly(needed):
            return self
        keys = set(needed)
        pairs = {key[:2] for key in keys}
        names = {key[0] for key in keys}
        cut = Marks(
            self.time,
            tuple(m for m in self.spots if m.underlying in names),
            tuple(m for m in self.expiries if (m.underlying, m.expiry) in pairs),
            tuple(m for m in self.vols if m.key in keys),
        )
        for what, missing in (
            ("spot", names - {m.underlying for m in cut.spots}),
            ("forward", pairs - {(m.underlying, m.expiry) for m in cut.expiries}),
            ("volatility", keys - {m.key for m in cut.vols}),
        ):
            if missing:
                raise InvalidBook(f"the marks lack the {what} of {min(missing)}")
        return cut

    def cover_exactly(self, keys: tuple[SeriesKey, ...]) -> bool:
        """Whether these are the marks of a book of these series, which are in order, no more and no fewer."""
        return (
            self.keys == keys
            and [m.underlying for m in self.spots] == list(dict.fromkeys([key[0] for key in keys]))
            and [(m.underlying, m.expiry) for m in self.expiries] == list(dict.fromkeys([key[:2] for key in keys]))
        )

    @property
    def encoded(self) -> bytes:
        """The canonical bytes, as `decode_marks` takes them. Raises InvalidBook for more rows than a book can need."""
        if not self._encoded:
            object.__setattr__(self, "_encoded", _encode(self))
        return self._encoded

    def spot(self, underlying: str) -> int:
        """Return the spot of `underlying`, WAD; InvalidBook if it is not marked."""
        for mark in self.spots:
            if mark.underlying == underlying:
                return mark.spot
        raise InvalidBook(f"the marks lack a spot for {underlying}")


def _encode(marks: Marks) -> bytes:
    if len(marks.spots) > MAX_UNDERLYINGS or len(marks.expiries) > MAX_EXPIRIES or len(marks.vols) > MAX_LEGS:
        raise InvalidBook(f"the marks are more than {MAX_UNDERLYINGS}, {MAX_EXPIRIES} and {MAX_LEGS}")
    rows = [_HEADER.pack(marks.time, len(marks.spots), len(marks.expiries), len(marks.vols))]
    rows += [_SPOT.pack(underlying_word(m.underlying), m.spot.to_bytes(16, "big")) for m in marks.spots]
    rows += [_EXPIRY.pack(underlying_word(m.underlying), m.expiry, m.ratio, m.discount) for m in marks.expiries]
    rows += [
        _VOL.pack(underlying_word(m.underlying), m.expiry, m.strike.to_bytes(16, "big"), m.kind, m.vol)
        for m in marks.vols
    ]
    return b"".join(rows)


def decode_marks(encoded: bytes) -> Marks:
    """Return the marks whose canonical encoding `encoded` is; InvalidBook for anything else.

    Rows have one size and every field one spelling, so that what decodes re-encodes identically.
    """
    if not _HEADER.size <= len(encoded) <= MAX_MARKS_BYTES:
        raise InvalidBook(f"{len(encoded)} bytes are not encoded marks")
    time, spots, expiries, vols = _HEADER.unpack_from(encoded)
    expiries_at = _HEADER.size + spots * _SPOT.size
    vols_at = expiries_at + expiries * _EXPIRY.size
    if len(encoded) != vols_at + vols * _VOL.size:
        raise InvalidBook("the bytes end before the marks do, or after them")
    marks = Marks(
        time,
        tuple(
            [
                SpotMark(underlying_name(name), int.from_bytes(spot, "big"))
                for name, spot in _SPOT.iter_unpack(encoded[_HEADER.size : expiries_at])
            ]
        ),
        tuple(
            [
                ExpiryMark(underlying_name(name), *row)
                for name, *row in _EXPIRY.iter_unpack(encoded[expiries_at:vols_at])
            ]
        ),
        tuple(
            [
                VolMark(underlying_name(name), expiry, int.from_bytes(strike, "big"), kind_of(kind), vol)
                for name, expiry, strike, kind, vol in _VOL.iter_unpack(encoded[vols_at:])
            ]
        ),
    )
    object.__setattr__(marks, "_encoded", encoded)
    return marks


def _bounded(what: str, value: int, low: int, high: int) -> None:
    if type(value) is not int or not low <= value <= high:
        raise InvalidBook(f"{what} {value!r} must be an integer between {low} and {high}")


def _sorted(what: str, keys: Sequence[Any]) -> None:
    for before, after in pairwise(keys):
        if before >= after:
            raise InvalidBook(f"{what} are not strictly sorted at {after}")


NO_MARKS = Marks(0, (), (), ())
"""The marks of an empty book."""
