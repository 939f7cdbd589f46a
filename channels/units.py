"""Integers with a unit in their name, and arithmetic with the rounding in its name.

There is no neutral multiply: whoever divides says which way the remainder goes, because the remainder is somebody's
money. Nothing here, and nothing that is ever signed, stored or settled, is a float.
"""

from __future__ import annotations

from decimal import ROUND_HALF_EVEN, Context, Decimal, InvalidOperation
from typing import NewType

from .errors import InvalidValue

Wad = NewType("Wad", int)
"""A price, strike, quantity, ratio or volatility: an integer count of 1e-18."""
TokenAmount = NewType("TokenAmount", int)
"""An integer count of the token's smallest unit; signed where it is a balance."""
UnixTime = NewType("UnixTime", int)
"""Seconds since 1970-01-01 UTC, by block time where a chain is involved."""
Version = NewType("Version", int)
"""Rises with every state, may skip, never repeats; 0 means that nothing is signed."""

WAD = 10**18
SECONDS_PER_DAY = 86_400
SECONDS_PER_YEAR = 31_536_000
"""365 days, the year of every formula here."""


def mul_div_down(x: int, y: int, divisor: int) -> int:
    """Return x * y / divisor, rounded toward minus infinity; divisor > 0."""
    return x * y // divisor


def mul_div_up(x: int, y: int, divisor: int) -> int:
    """Return x * y / divisor, rounded toward plus infinity; divisor > 0."""
    return -(-x * y // divisor)


def mul_wad_down(x: int, y: int) -> int:
    """Return x * y / WAD, rounded toward minus infinity."""
    return x * y // WAD


def mul_wad_up(x: int, y: int) -> int:
    """Return x * y / WAD, rounded toward plus infinity."""
    return -(-x * y // WAD)


def div_up(x: int, divisor: int) -> int:
    """Return x / divisor, rounded toward plus infinity; divisor > 0."""
    return -(-x // divisor)


def div_toward_zero(x: int, divisor: int) -> int:
    """Return x / divisor, truncated as the EVM's signed division does; divisor > 0."""
    return x // divisor if x >= 0 else -(-x // divisor)


_EXACT = Context(prec=200, rounding=ROUND_HALF_EVEN)
"""Wide enough for every bound of the protocol: the default context would round beyond 28 digits."""

Human = int | str | Decimal
"""What a person may type for a number: never a float, whose digits are not the ones that were typed."""


def to_decimal(field: str, value: Human) -> Decimal:
    """Return `value` as an exact decimal; InvalidValue for floats, bools, infinities and other text."""
    if isinstance(value, bool) or not isinstance(value, int | str | Decimal):
        raise InvalidValue(field, value, 'give an int, a Decimal or a string such as "0.5", never a float')
    try:
        number = Decimal(value)
    except InvalidOperation:
        raise InvalidValue(field, value, "this is not a number") from None
    if not number.is_finite():
        raise InvalidValue(field, value, "this is not a finite number")
    return number


def scaled(field: str, value: Human, decimals: int) -> int:
    """Return `value` in units of 10^-decimals, exactly; InvalidValue if digits would be lost."""
    number = to_decimal(field, value)
    if number.adjusted() > 60:
        raise InvalidValue(field, value, "this is out of every bound")
    amount = number.scaleb(decimals, context=_EXACT)
    exact = amount.scaleb(-decimals, context=_EXACT) == number  # not so where more digits came than the context keeps
    if not exact or amount != amount.to_integral_value(context=_EXACT):
        raise InvalidValue(field, value, f"it has more than {decimals} decimals")
    return int(amount)


def wad(value: Human, field: str = "value") -> Wad:
    """Return a human number as WAD, exactly."""
    return Wad(scaled(field, value, 18))


def token_amount(value: Human, decimals: int, field: str = "amount") -> TokenAmount:
    """Return a human amount in the token's smallest units, exactly."""
    return TokenAmount(scaled(field, value, decimals))


def show(amount: int, decimals: int, places: int | None = None) -> str:
    """Return an integer amount as decimal text, exact; `places` rounds half-even and groups thousands, for display."""
    number = Decimal(amount).scaleb(-decimals, context=_EXACT)
    if places is not None:
        return f"{number.quantize(Decimal(1).scaleb(-places), context=_EXACT):,f}"
    text = f"{number:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
