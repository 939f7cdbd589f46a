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
from operator import attrgetter
from struct import Struct
from typing import TYPE_CHECKING, Any

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
class Rows:
    """What marks are of: underlyings, (underlying, expiry) pairs, series; and the place of each pair's underlying.

    `is_exact` says whether there are spots and expiry marks of exactly these series: marks as a book has them. Names
    are plain text here, whatever kind of text they came as: rows are shared by all marks that are equal in them.
    """

    names: tuple[str, ...]
    pairs: tuple[tuple[str, int], ...]
    keys: tuple[SeriesKey, ...]
    last_expiry: int = field(init=False)
    """The latest of the pairs' expiries; 0 without any."""
    is_exact: bool = field(init=False)
    spot_at: tuple[int, ...] = field(init=False)
    """-1 for a pair without a spot, which exact ones are not."""

    def __post_init__(self) -> None:
        _sorted("spots", self.names)
        _sorted("expiries", self.pairs)
        _sorted("volatilities", self.keys)
        object.__setattr__(self, "names", tuple(map(_plain, self.names)))
        object.__setattr__(self, "pairs", tuple([(_plain(name), expiry) for name, expiry in self.pairs]))
        object.__setattr__(self, "keys", tuple([(_plain(name), *rest) for name, *rest in self.keys]))
        places = {name: at for at, name in enumerate(self.names)}
        object.__setattr__(self, "last_expiry", max((expiry for _, expiry in self.pairs), default=0))
        object.__setattr__(self, "is_exact", _is_exact(self.names, self.pairs, self.keys))
        object.__setattr__(self, "spot_at", tuple([places.get(name, -1) for name, _ in self.pairs]))


@dataclass(frozen=True, slots=True)
class Marks:
    """One moment's marks; each tuple strictly sorted by its key fields. `Marks.at` builds one from human numbers.

    Marks of the same series share their `rows`, as long as they are remembered.
    Raises InvalidBook where something is unsorted, duplicated, too many, or out of bounds.
    """

    time: int
    spots: tuple[SpotMark, ...]
    expiries: tuple[ExpiryMark, ...]
    vols: tuple[VolMark, ...]
    rows: Rows = field(init=False, repr=False, compare=False)
    levels: tuple[int, ...] = field(init=False, repr=False, compare=False)
    """Every spot, then every ratio, every discount, every volatility: WAD, in the order of `rows`."""
    _encoded: bytes = field(default=b"", init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        _bounded("marks time", self.time, 0, MAX_TIME)
        names = tuple([m.underlying for m in self.spots])
        pairs = tuple([(m.underlying, m.expiry) for m in self.expiries])
        object.__setattr__(self, "rows", _rows(names, pairs, tuple([m.key for m in self.vols])))
        columns = map(_SPOT, self.spots), map(_RATIO, self.expiries), map(_DISCOUNT, self.expiries)
        object.__setattr__(
            self, "levels", tuple([level for column in columns for level in column] + [*map(_VOL, self.vols)])
        )

    if not TYPE_CHECKING:  # or every misspelt attribute would be one of them

        def __getattr__(self, name: str) -> object:
            """Make what `decode_marks` left out, `spots`, `expiries` or `vols`: most marks are only computed with."""
            if name not in _ROWS_OF:
                raise AttributeError(f"marks have no {name}")
            made = _ROWS_OF[name](self)
            object.__setattr__(self, name, made)
            return made

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

    @property
    def keys(self) -> tuple[SeriesKey, ...]:
        """The series that the volatilities are of."""
        return self.rows.keys

    def cover_exactly(self, keys: tuple[SeriesKey, ...]) -> bool:
        """Whether these are the marks of a book of these series, which are in order, no more and no fewer."""
        return self.rows.is_exact and self.rows.keys == keys

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
        for name, level in zip(self.rows.names, self.levels, strict=False):
            if name == underlying:
                return level
        raise InvalidBook(f"the marks lack a spot for {underlying}")


_rows = lru_cache(maxsize=256)(Rows)
"""Rows, the same object for the same series while it is remembered: what stands on them is then the same, too."""


def _encode(marks: Marks) -> bytes:
    rows, levels = marks.rows, marks.levels
    spots, expiries, vols = len(rows.names), len(rows.pairs), len(rows.keys)
    _check_counts(spots, expiries, vols)
    expiry_at = {pair: i for i, pair in enumerate(rows.pairs)}
    parts = [_HEADER.pack(marks.time, spots, expiries, vols)]
    parts += [underlying_word(name) for name in rows.names]
    for (underlying, expiry), at in zip(rows.pairs, rows.spot_at, strict=True):
        if at < 0:
            raise InvalidBook(f"the marks lack the spot of {underlying}")
        parts.append(_EXPIRY.pack(at, expiry))
    series: list[int] = []
    try:
        for underlying, expiry, strike, kind in rows.keys:
            series += (expiry_at[underlying, expiry], strike >> 64, strike & _LOW, kind)
    except KeyError as missing:
        raise InvalidBook(f"the marks lack the forward of {missing.args[0]}") from None
    parts.append(_columns("BIQB", vols).pack(*series))
    parts += [level.to_bytes(_SPOT_BYTES, "big") for level in levels[:spots]]
    discounts_at, vols_at = spots + expiries, spots + 2 * expiries
    numbers = list(levels[spots:])
    numbers[: 2 * expiries : 2], numbers[1 : 2 * expiries : 2] = (
        levels[spots:discounts_at],
        levels[discounts_at:vols_at],
    )
    parts.append(_columns("Q", len(numbers)).pack(*numbers))
    return b"".join(parts)


@lru_cache(maxsize=256)
def _read_rows(raw: bytes) -> Rows:
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
    return _rows(names, pairs, keys)


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
    factors, vol_levels = numbers[: 2 * expiries], numbers[2 * expiries :]
    spot_levels = [
        int.from_bytes(encoded[at : at + _SPOT_BYTES], "big") for at in range(numbers_at, factors_at, _SPOT_BYTES)
    ]
    for level in spot_levels:
        _bounded("spot", level, 1, MAX_PRICE)
    if factors:
        _bounded("ratio or discount", min(factors), 1, MAX_RATIO)
        _bounded("ratio or discount", max(factors), 1, MAX_RATIO)
    _bounded("vol", max(vol_levels, default=0), 0, MAX_VOL)
    marks = object.__new__(Marks)
    _set_time(marks, time)
    _set_rows(marks, rows)
    _set_levels(marks, (*spot_levels, *factors[::2], *factors[1::2], *vol_levels))
    _set_encoded(marks, encoded)
    return marks


def _spot_marks(marks: Marks) -> tuple[SpotMark, ...]:
    return tuple(map(SpotMark, marks.rows.names, marks.levels))


def _expiry_marks(marks: Marks) -> tuple[ExpiryMark, ...]:
    pairs, at = marks.rows.pairs, len(marks.rows.names)
    ratios, discounts = marks.levels[at : at + len(pairs)], marks.levels[at + len(pairs) :]
    return tuple([ExpiryMark(*pair, *factors) for pair, *factors in zip(pairs, ratios, discounts, strict=False)])


def _vol_marks(marks: Marks) -> tuple[VolMark, ...]:
    keys = marks.rows.keys
    return tuple([VolMark(*key, level) for key, level in zip(keys, marks.levels[-len(keys) :], strict=False)])


_ROWS_OF: dict[str, Callable[[Marks], object]] = {"spots": _spot_marks, "expiries": _expiry_marks, "vols": _vol_marks}
_SPOT, _RATIO, _DISCOUNT, _VOL = map(attrgetter, ("spot", "ratio", "discount", "vol"))
_set_time, _set_rows, _set_levels, _set_encoded = (
    Marks.__dict__[name].__set__ for name in ("time", "rows", "levels", "_encoded")
)
"""What fills the slots of frozen marks from within this module."""
_LOW = 2**64 - 1


@lru_cache(maxsize=256)
def _columns(row: str, count: int) -> Struct:
    return Struct(">" + count * row)


def _check_counts(spots: int, expiries: int, vols: int) -> None:
    if spots > MAX_UNDERLYINGS or expiries > MAX_EXPIRIES or vols > MAX_LEGS:
        raise InvalidBook(f"the marks are more than {MAX_UNDERLYINGS}, {MAX_EXPIRIES} and {MAX_LEGS}")


def _is_exact(names: tuple[str, ...], pairs: tuple[tuple[str, int], ...], keys: tuple[SeriesKey, ...]) -> bool:
    return names == tuple(dict.fromkeys([key[0] for key in keys])) and pairs == tuple(
        dict.fromkeys([key[:2] for key in keys])
    )


def _plain(name: str) -> str:
    return underlying_name(underlying_word(name))


def _bounded(what: str, value: int, low: int, high: int) -> None:
    if type(value) is not int or not low <= value <= high:
        raise InvalidBook(f"{what} {value!r} must be an integer between {low} and {high}")


def _sorted(what: str, keys: Sequence[Any]) -> None:
    for before, after in pairwise(keys):
        if before >= after:
            raise InvalidBook(f"{what} are not strictly sorted at {after}")


NO_MARKS = Marks(0, (), (), ())
"""The marks of an empty book."""
