"""The rounding is in the name, human numbers are exact, and a float is never a number."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from math import ceil, floor, trunc
from typing import Any

import pytest
from hypothesis import given, strategies as st

from channels.errors import InvalidValue
from channels.units import (
    WAD,
    div_toward_zero,
    div_up,
    mul_div_down,
    mul_div_up,
    mul_wad_down,
    mul_wad_up,
    scaled,
    show,
    to_decimal,
    token_amount,
    wad,
)

numbers = st.integers(-(2**200), 2**200) | st.integers(-10, 10)
divisors = st.integers(1, 2**128) | st.integers(1, 10)


@given(numbers, numbers, divisors)
def test_each_division_rounds_the_way_its_name_says(x: int, y: int, divisor: int) -> None:
    exact = Fraction(x * y, divisor)
    assert mul_div_down(x, y, divisor) == floor(exact)
    assert mul_div_up(x, y, divisor) == ceil(exact)
    assert mul_wad_down(x, y) == floor(Fraction(x * y, WAD))
    assert mul_wad_up(x, y) == ceil(Fraction(x * y, WAD))
    assert div_up(x, divisor) == ceil(Fraction(x, divisor))
    assert div_toward_zero(x, divisor) == trunc(Fraction(x, divisor))


@pytest.mark.parametrize(
    ("function", "arguments", "expected"),
    [
        (mul_div_down, (-1, 1, 2), -1),
        (mul_div_up, (-1, 1, 2), 0),
        (mul_div_down, (1, 1, 2), 0),
        (mul_div_up, (1, 1, 2), 1),
        (mul_wad_down, (1, 1), 0),
        (mul_wad_up, (1, 1), 1),
        (div_up, (-3, 2), -1),
        (div_toward_zero, (-3, 2), -1),
        (div_toward_zero, (3, 2), 1),
    ],
)
def test_the_remainder_goes_where_the_name_says(
    function: Callable[..., int], arguments: tuple[int, ...], expected: int
) -> None:
    assert function(*arguments) == expected


@pytest.mark.parametrize(
    ("human", "expected"),
    [
        (2400, 2400 * WAD),
        ("0.5", WAD // 2),
        ("-0.000000000000000001", -1),
        ("1e3", 1000 * WAD),
        (Decimal("0.1"), WAD // 10),
        (2**92, 2**92 * WAD),
        ("0", 0),
    ],
)
def test_human_numbers_become_wad_exactly(human: Any, expected: int) -> None:
    assert wad(human) == expected


@pytest.mark.parametrize(
    "human",
    [
        0.5, 1.0, True, None, b"1", "", "one", "0x10", "nan", "inf", "-inf", Decimal("NaN"), Decimal("sNaN"),
        "0.0000000000000000001", "1e-19", "1e61", "1e999999999", "1e-999999999", "1." + "0" * 300 + "1",
    ],
)  # fmt: skip
def test_what_is_not_an_exact_number_is_refused(human: Any) -> None:
    with pytest.raises(InvalidValue):
        wad(human)


def test_a_token_amount_takes_the_decimals_of_the_token() -> None:
    assert token_amount("1.234567", 6) == 1_234_567
    assert token_amount(7, 0) == 7
    with pytest.raises(InvalidValue, match="more than 6 decimals"):
        token_amount("0.0000001", 6)


def test_the_refusal_names_the_field() -> None:
    with pytest.raises(InvalidValue, match=r"strike = 0\.5 is refused.*never a float"):
        to_decimal("strike", 0.5)


@given(st.integers(-(2**130), 2**130), st.integers(0, 18))
def test_what_is_shown_reads_back(amount: int, decimals: int) -> None:
    assert scaled("amount", show(amount, decimals), decimals) == amount


@pytest.mark.parametrize(
    ("amount", "decimals", "places", "text"),
    [
        (1_500_000, 6, None, "1.5"),
        (100, 0, None, "100"),
        (-1, 18, None, "-0.000000000000000001"),
        (0, 18, None, "0"),
        (1_234_567_890_000, 6, 2, "1,234,567.89"),
        (125, 3, 2, "0.12"),
        (135, 3, 2, "0.14"),
    ],
)
def test_amounts_are_shown_as_people_write_them(amount: int, decimals: int, places: int | None, text: str) -> None:
    assert show(amount, decimals, places) == text
