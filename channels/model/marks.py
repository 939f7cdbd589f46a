"""What valuation needs and both sides agreed on: time, spots, forward ratios, discounts and volatilities.

Marks are what most messages and journal records consist of, so they have one canonical encoding, which is made once and
travels as it is, big-endian: a header (time, and how many rows of each kind), then what the marks are of, then their
numbers. What they are of changes with a trade and not with a mark, so that a reader who has seen it reads numbers only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
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

MAX_TIME = 2**63 - 1
"""Latest time of marks and of an expiry, unix seconds."""

_HEADER, _EXPIRY, _SERIES = Struct(">QBBB"), Struct(">BQ"), Struct(">BIQB")
"""The header; an expiry's spot and time; a series' expiry, strike (in twelve bytes) and kind."""
_NAME_BYTES, _SPOT_BYTES, _FACTORS_BYTES, _VOL_BYTES = 32, 12, 16, 8


def _sizes(spots: int, expiries: int, vols: int) -> tuple[int, int]:
    """Return where the numbers of so many rows begin in an encoding, and where it ends."""
    numbers_at = _HEADER.size + spots * _NAME_BYTES + expiries * _EXPIRY.size + vols * _SERIES.size
    return numbers_at, numbers_at + spots * _SPOT_BYTES + expiries * _FACTORS_BYTES + vols * _VOL_BYTES


MAX_MARKS_BYTES = _sizes(MAX_UNDERLYINGS, MAX_EXPIRIES, MAX_LEGS)[1]


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
        _bounded("expiry", self.expiry, 1, MAX_TIME)
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
    is_exact: bool = field(init=False, repr=False, compare=False)
    """Whether there are spots and expiry marks of exactly these series: marks as a book has them."""
    _encoded: bytes = field(default=b"", init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        _bounded("marks time", self.time, 0, MAX_TIME)
        names = tuple([m.underlying for m in self.spots])
        pairs = tuple([(m.underlying, m.expiry) for m in self.expiries])
        keys = tuple([m.key for m in self.vols])
        _check_order(names, pairs, keys)
        object.__setattr__(self, "keys", keys)
        object.__setattr__(self, "is_exact", _is_exact(names, pairs, keys))

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
        return self.is_exact and self.keys == keys

    @property
    def encoded(self) -> bytes:
        """The canonical bytes, as `decode_marks` takes them.

        Raises InvalidBook for more rows than a book can need, and for a volatility without its expiry mark or an expiry
        mark without its spot.
        """
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
    counts = (len(marks.spots), len(marks.expiries), len(marks.vols))
    _check_counts(*counts)
    spot_at = {mark.underlying: i for i, mark in enumerate(marks.spots)}
    expiry_at = {(mark.underlying, mark.expiry): i for i, mark in enumerate(marks.expiries)}
    parts = [_HEADER.pack(marks.time, *counts)]
    parts += [underlying_word(mark.underlying) for mark in marks.spots]
    for mark in marks.expiries:
        if mark.underlying not in spot_at:
            raise InvalidBook(f"the marks lack the spot of {mark.underlying}")
        parts.append(_EXPIRY.pack(spot_at[mark.underlying], mark.expiry))
    series: list[int] = []
    try:
        for underlying, expiry, strike, kind in marks.keys:
            series += (expiry_at[underlying, expiry], strike >> 64, strike & _LOW, kind)
    except KeyError as missing:
        raise InvalidBook(f"the marks lack the forward of {missing.args[0]}") from None
    parts.append(_columns("BIQB", len(marks.vols)).pack(*series))
    parts += [mark.spot.to_bytes(_SPOT_BYTES, "big") for mark in marks.spots]
    numbers = [factor for mark in marks.expiries for factor in (mark.ratio, mark.discount)]
    numbers += [mark.vol for mark in marks.vols]
    parts.append(_columns("Q", len(numbers)).pack(*numbers))
    return b"".join(parts)


@dataclass(frozen=True, slots=True)
class _Rows:
    """What marks are of, as their encoding says it, checked."""

    names: tuple[str, ...]
    pairs: tuple[tuple[str, int], ...]
    keys: tuple[SeriesKey, ...]
    is_exact: bool


@lru_cache(maxsize=256)
def _read_rows(raw: bytes) -> _Rows:
    """Return what marks are of from the three counts and the rows behind them; InvalidBook if it cannot be."""
    spots, expiries, vols = raw[:3]
    _check_counts(spots, expiries, vols)
    expiries_at = 3 + spots * _NAME_BYTES
    series_at = expiries_at + expiries * _EXPIRY.size
    names = tuple([underlying_name(raw[i : i + _NAME_BYTES]) for i in range(3, expiries_at, _NAME_BYTES)])
    try:
        pairs = tuple([(names[at], expiry) for at, expiry in _EXPIRY.iter_unpack(raw[expiries_at:series_at])])
        rows = [(pairs[at], high << 64 | low, kind) for at, high, low, kind in _SERIES.iter_unpack(raw[series_at:])]
    except IndexError:
        raise InvalidBook("a row of the marks stands on one that is not there") from None
    keys = tuple([(*pair, strike, kind_of(kind)) for pair, strike, kind in rows])
    for _, expiry in pairs:
        _bounded("expiry", expiry, 1, MAX_TIME)
    for key in keys:
        check_series(*key)
    _check_order(names, pairs, keys)
    return _Rows(names, pairs, keys, _is_exact(names, pairs, keys))


def decode_marks(encoded: bytes) -> Marks:
    """Return the marks whose canonical encoding `encoded` is; InvalidBook for anything else.

    Every field has one size and one spelling, so that what decodes re-encodes identically. The marks are not born by
    their constructors, which check number by number, but from columns that are checked here at once: the same values,
    the same refusals.
    """
    if not _HEADER.size <= len(encoded) <= MAX_MARKS_BYTES:
        raise InvalidBook(f"{len(encoded)} bytes are not encoded marks")
    time, spots, expiries, vols = _HEADER.unpack_from(encoded)
    numbers_at, end = _sizes(spots, expiries, vols)
    if len(encoded) != end:
        raise InvalidBook("the bytes end before the marks do, or after them")
    _bounded("marks time", time, 0, MAX_TIME)
    rows = _read_rows(encoded[8:numbers_at])
    factors_at = numbers_at + spots * _SPOT_BYTES
    numbers = _columns("Q", 2 * expiries + vols).unpack_from(encoded, factors_at)
    factors, levels = numbers[: 2 * expiries], numbers[2 * expiries :]
    if factors:
        _bounded("ratio or discount", min(factors), 1, MAX_RATIO)
        _bounded("ratio or discount", max(factors), 1, MAX_RATIO)
    _bounded("vol", max(levels, default=0), 0, MAX_VOL)
    marks = _new(Marks)
    _set_time(marks, time)
    _set_spots(
        marks,
        tuple(
            [
                SpotMark(name, int.from_bytes(encoded[at : at + _SPOT_BYTES], "big"))
                for name, at in zip(rows.names, range(numbers_at, factors_at, _SPOT_BYTES), strict=True)
            ]
        ),
    )
    _set_expiries(marks, _expiry_marks(rows.pairs, factors))
    _set_vols(marks, _vol_marks(rows.keys, levels))
    _set_keys(marks, rows.keys)
    _set_is_exact(marks, rows.is_exact)
    _set_encoded(marks, encoded)
    return marks


def _expiry_marks(pairs: tuple[tuple[str, int], ...], factors: tuple[int, ...]) -> tuple[ExpiryMark, ...]:
    """Return the expiry marks of these pairs; everything is known to be within bounds."""
    made = []
    for (underlying, expiry), ratio, discount in zip(pairs, factors[::2], factors[1::2], strict=True):
        mark = _new(ExpiryMark)
        _set_expiry_underlying(mark, underlying)
        _set_expiry_expiry(mark, expiry)
        _set_expiry_ratio(mark, ratio)
        _set_expiry_discount(mark, discount)
        made.append(mark)
    return tuple(made)


def _vol_marks(keys: tuple[SeriesKey, ...], vols: tuple[int, ...]) -> tuple[VolMark, ...]:
    """Return the volatilities of these series; everything is known to be within bounds."""
    made = []
    for (underlying, expiry, strike, kind), vol in zip(keys, vols, strict=True):
        mark = _new(VolMark)
        _set_vol_underlying(mark, underlying)
        _set_vol_expiry(mark, expiry)
        _set_vol_strike(mark, strike)
        _set_vol_kind(mark, kind)
        _set_vol_vol(mark, vol)
        made.append(mark)
    return tuple(made)


def _setters(kind: type, *names: str) -> list[Callable[[Any, Any], None]]:
    """Return what fills the slots of a frozen value from within this module."""
    return [kind.__dict__[name].__set__ for name in names]


_new = object.__new__
_set_time, _set_spots, _set_expiries, _set_vols, _set_keys, _set_is_exact, _set_encoded = _setters(
    Marks, "time", "spots", "expiries", "vols", "keys", "is_exact", "_encoded"
)
_set_expiry_underlying, _set_expiry_expiry, _set_expiry_ratio, _set_expiry_discount = _setters(
    ExpiryMark, "underlying", "expiry", "ratio", "discount"
)
_set_vol_underlying, _set_vol_expiry, _set_vol_strike, _set_vol_kind, _set_vol_vol = _setters(
    VolMark, "underlying", "expiry", "strike", "kind", "vol"
)
_LOW = 2**64 - 1


@lru_cache(maxsize=256)
def _columns(row: str, count: int) -> Struct:
    return Struct(">" + count * row)


def _check_counts(spots: int, expiries: int, vols: int) -> None:
    if spots > MAX_UNDERLYINGS or expiries > MAX_EXPIRIES or vols > MAX_LEGS:
        raise InvalidBook(f"the marks are more than {MAX_UNDERLYINGS}, {MAX_EXPIRIES} and {MAX_LEGS}")


def _check_order(names: Sequence[Any], pairs: Sequence[Any], keys: Sequence[Any]) -> None:
    _sorted("spots", names)
    _sorted("expiries", pairs)
    _sorted("volatilities", keys)


def _is_exact(names: tuple[str, ...], pairs: tuple[tuple[str, int], ...], keys: tuple[SeriesKey, ...]) -> bool:
    return names == tuple(dict.fromkeys([key[0] for key in keys])) and pairs == tuple(
        dict.fromkeys([key[:2] for key in keys])
    )


def _bounded(what: str, value: int, low: int, high: int) -> None:
    if type(value) is not int or not low <= value <= high:
        raise InvalidBook(f"{what} {value!r} must be an integer between {low} and {high}")


def _sorted(what: str, keys: Sequence[Any]) -> None:
    for before, after in pairwise(keys):
        if before >= after:
            raise InvalidBook(f"{what} are not strictly sorted at {after}")


NO_MARKS = Marks(0, (), (), ())
"""The marks of an empty book."""
