"""One option line: a European, cash-settled call or put in the quote currency, with a signed quantity.

Positive quantities are party 0's longs, so one book describes both sides.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from enum import IntEnum
from functools import lru_cache

from ..errors import InvalidBook, InvalidValue
from ..units import Human, show, wad
from .identity import word

MAX_PRICE = 2**92
"""Largest spot, forward and strike, in WAD."""
MAX_QUANTITY = 2**88
"""Largest absolute quantity, in WAD."""
EXPIRY_HOUR_UTC = 8
"""A date without an hour expires at 08:00 UTC, as listed crypto options do."""

LAST_CALENDAR_SECOND = 253_402_300_799
"""The end of the year 9999, where Python's calendar stops; a peer may write a later expiry, and it is shown too."""


class OptionKind(IntEnum):
    """Call or put, as encoded in the book."""

    CALL = 0
    PUT = 1


@lru_cache(maxsize=256)
def underlying_word(underlying: str) -> bytes:
    """Return the ASCII name left-aligned in thirty-two bytes; InvalidBook if it does not fit or is not printable."""
    if not (isinstance(underlying, str) and underlying.isascii() and underlying.isprintable()):
        raise InvalidBook(f"underlying {underlying!r} is not printable ASCII")
    if not 1 <= len(underlying) <= 32 or underlying != underlying.strip():
        raise InvalidBook(f"underlying {underlying!r} must have 1 to 32 characters and no outer blanks")
    return underlying.encode().ljust(32, b"\0")


@lru_cache(maxsize=256)
def underlying_name(raw: bytes) -> str:
    """Return the name whose thirty-two bytes these are; InvalidBook unless `underlying_word` gives them back."""
    try:
        name = raw.rstrip(b"\0").decode("ascii")
    except UnicodeDecodeError:
        raise InvalidBook("an underlying is not ASCII") from None
    if underlying_word(name) != raw:
        raise InvalidBook(f"underlying {name!r} is not left-aligned")
    return name


_KINDS = tuple(OptionKind)


def kind_of(number: int) -> OptionKind:
    """Return call for 0, put for 1; InvalidBook for anything else."""
    if not 0 <= number < len(_KINDS):
        raise InvalidBook(f"kind {number} is neither call nor put")
    return _KINDS[number]


def parse_expiry(expiry: int | str | datetime) -> int:
    """Return an expiry as unix seconds.

    Takes unix seconds, an aware datetime, an ISO date ("2024-01-26" means 08:00 UTC) or an ISO date-time with a zone.
    """
    if isinstance(expiry, int):
        return expiry
    try:
        moment = expiry if isinstance(expiry, datetime) else datetime.fromisoformat(expiry)
    except (ValueError, TypeError):
        raise InvalidValue("expiry", expiry, "give unix seconds or an ISO date such as 2024-01-26") from None
    if isinstance(expiry, str) and len(expiry) <= 10:
        moment = moment.replace(hour=EXPIRY_HOUR_UTC, tzinfo=UTC)
    if moment.tzinfo is None:
        raise InvalidValue("expiry", expiry, "a time without a zone is ambiguous: add Z or an offset")
    return int(moment.timestamp())


@dataclass(frozen=True, slots=True)
class Leg:
    """One option line. `strike` in WAD of the quote currency, `quantity` in WAD units, positive = party 0 is long.

    Raises InvalidBook where a field is outside the protocol's bounds, or the quantity is zero.
    """

    underlying: str
    expiry: int
    strike: int
    kind: OptionKind
    quantity: int
    key: SeriesKey = field(init=False, repr=False, compare=False)
    """What identifies the series, and the sort order of a book."""
    words: bytes = field(init=False, repr=False, compare=False)
    """The leg's five words in the book's encoding; its volatility follows them there."""

    def __post_init__(self) -> None:
        check_series(self.underlying, self.expiry, self.strike, self.kind)
        if type(self.quantity) is not int or not 0 < abs(self.quantity) <= MAX_QUANTITY:
            raise InvalidBook(f"quantity {self.quantity!r} must be a non-zero integer of at most 2^88")
        numbers = (self.expiry, self.strike, self.kind, self.quantity)
        object.__setattr__(self, "key", (self.underlying, self.expiry, self.strike, self.kind))
        object.__setattr__(self, "words", underlying_word(self.underlying) + b"".join(map(word, numbers)))

    @classmethod
    def call(cls, underlying: str, expiry: int | str | datetime, strike: Human, *, quantity: Human) -> Leg:
        """Build a call from numbers as a person writes them: `Leg.call("ETH/USD", "2024-01-26", 2400, quantity=10)`."""
        return cls._human(underlying, expiry, strike, OptionKind.CALL, quantity)

    @classmethod
    def put(cls, underlying: str, expiry: int | str | datetime, strike: Human, *, quantity: Human) -> Leg:
        """Build a put from numbers as a person writes them."""
        return cls._human(underlying, expiry, strike, OptionKind.PUT, quantity)

    @classmethod
    def _human(
        cls, underlying: str, expiry: int | str | datetime, strike: Human, kind: OptionKind, quantity: Human
    ) -> Leg:
        return cls(underlying, parse_expiry(expiry), wad(strike, "strike"), kind, wad(quantity, "quantity"))

    def times(self, factor: int) -> Leg:
        """Return the leg with its quantity multiplied: `leg.times(-1)` is the other side's."""
        return replace(self, quantity=self.quantity * factor)

    def __str__(self) -> str:
        return (
            f"{show(self.quantity, 18)} {self.underlying} {_show_expiry(self.expiry)}"
            f" {show(self.strike, 18)} {self.kind.name.lower()}"
        )


def _show_expiry(expiry: int) -> str:
    if expiry > LAST_CALENDAR_SECOND:
        return f"at {expiry}"
    moment = datetime.fromtimestamp(expiry, UTC)
    hour = "" if moment.hour == EXPIRY_HOUR_UTC and expiry % 3600 == 0 else f" {moment:%H:%M:%S}"
    return f"{moment:%Y-%m-%d}{hour}"


SeriesKey = tuple[str, int, int, OptionKind]
"""Underlying, expiry, strike, kind: the strictly rising key of a book's legs."""


def check_series(underlying: str, expiry: int, strike: int, kind: OptionKind) -> None:
    """Raise InvalidBook unless the fields are those of a series within the protocol's bounds."""
    underlying_word(underlying)
    if type(expiry) is not int or not 0 < expiry < 2**63:
        raise InvalidBook(f"expiry {expiry!r} must be a positive unix time")
    if type(strike) is not int or not 0 < strike <= MAX_PRICE:
        raise InvalidBook(f"strike {strike!r} must be a positive integer of at most 2^92")
    if type(kind) is not OptionKind:
        raise InvalidBook(f"kind {kind!r} must be a call or a put")
