"""Inputs a random campaign does not meet: where a branch turns, where a clamp bites, where one unit is all there is."""

from __future__ import annotations

from dataclasses import replace

import pytest

from channels.model import Book, ExpiryMark, Leg, Marks, OptionKind, SpotMark, VolMark
from channels.model.marks import MAX_VOL
from channels.model.option import MAX_PRICE, MAX_QUANTITY
from channels.risk import DEFAULT_POLICY
from channels.risk.black import LIMIT_Q72, total_vol_down
from channels.risk.fixed import SQRT2_Q127, sqrt_years_q100_down
from channels.risk.scenarios import shocked_forward
from channels.units import SECONDS_PER_DAY as DAY, WAD
from tests.contracts.engine_books import NOW, POLICIES, Case
from tests.contracts.engine_laws import check_case, check_option_rows
from tests.contracts.engine_world import Engine

TEN_SIGMA = 197_100_000
"""Seconds after which 800 % of volatility make a total of exactly 20: h = 10 at the money."""


@pytest.fixture(scope="module")
def engines() -> list[Engine]:
    return [Engine.deployed(policy) for policy in POLICIES]


def book(
    *rows: tuple[int, OptionKind, int, int], spot: int, ratio: int = WAD, discount: int = WAD, days: int = 30
) -> Book:
    """One underlying, one expiry; rows are (strike, kind, quantity, volatility)."""
    expiry = NOW + days * DAY
    legs = tuple(Leg("X", expiry, strike, kind, quantity) for strike, kind, quantity, _ in sorted(rows))
    marks = Marks(
        NOW,
        (SpotMark("X", spot),),
        (ExpiryMark("X", expiry, ratio, discount),),
        tuple(VolMark("X", expiry, strike, kind, vol) for strike, kind, _, vol in sorted(rows)),
    )
    return Book(legs, marks, bytes(31) + b"\1")


def case(held: Book, *, policy: int = 0, decimals: int = 18, t: int = NOW + 60) -> Case:
    spots = tuple(mark.spot for mark in held.marks.spots)
    return Case(held, (0, 0), decimals, spots, (0,) * len(held.marks.expiries), t, (0,) * len(spots), policy)


def test_where_a_tail_ends(engines: list[Engine]) -> None:
    root = sqrt_years_q100_down(TEN_SIGMA)
    assert total_vol_down(MAX_VOL, root) >> 29 == LIMIT_Q72
    for price in (1, WAD, 3000 * WAD, MAX_PRICE):
        rows = [
            (kind, price, price, vol, seconds)
            for kind in (0, 1)
            for vol in (MAX_VOL - 1, MAX_VOL)
            for seconds in range(TEN_SIGMA - 3, TEN_SIGMA + 4)
        ]
        assert check_option_rows(engines[0], rows) == 7 * 28


def test_where_the_logarithm_turns(engines: list[Engine]) -> None:
    """The square root of two, and each power of two, in every binary magnitude that a price has."""
    for bits in range(1, 93):
        seam, power = SQRT2_Q127 >> (128 - bits), 1 << (bits - 1)
        prices = sorted({min(MAX_PRICE, max(1, p + d)) for p in (seam, power) for d in (-1, 0, 1)})
        rows = [(0, forward, strike, WAD // 1000, DAY) for forward in prices for strike in prices][:32]
        assert check_option_rows(engines[0], rows) == 7 * len(rows)


@pytest.mark.parametrize("policy", range(4))
@pytest.mark.parametrize(
    ("spot", "ratio"), [(2**90, 4 * WAD), (2**91, 3 * WAD // 2), (2**92, WAD), (1, 4 * WAD), (1, WAD)]
)
def test_where_the_scenarios_forward_is_clamped(engines: list[Engine], spot: int, ratio: int, policy: int) -> None:
    assert policy or shocked_forward(spot, 4 * WAD, ratio) == min(MAX_PRICE, 4 * spot * ratio // WAD)
    rows = [
        (max(1, min(MAX_PRICE, spot * part // 4)), kind, quantity, WAD)
        for part in (2, 4, 7, 16)
        for kind, quantity in ((OptionKind.CALL, -WAD), (OptionKind.PUT, 3 * WAD))
    ]
    unique = {row[:2]: row for row in rows}
    check_case(engines[policy], case(book(*unique.values(), spot=spot, ratio=ratio), policy=policy, t=NOW))


@pytest.mark.parametrize("policy", range(4))
@pytest.mark.parametrize("quantity", [1, -1])
@pytest.mark.parametrize("discount", [1, WAD])
@pytest.mark.parametrize("decimals", [0, 6, 18])
def test_one_unit_of_everything(
    engines: list[Engine], quantity: int, discount: int, decimals: int, policy: int
) -> None:
    """Charges of less than a token unit are one unit, from the smallest gamma that there is."""
    for strike in (3000 * WAD, 2900 * WAD, WAD):
        held = book((strike, OptionKind.CALL, quantity, WAD // 2), spot=3000 * WAD, discount=discount)
        check_case(engines[policy], case(held, policy=policy, decimals=decimals, t=NOW))


@pytest.mark.parametrize("policy", range(4))
def test_thirty_two_greatest_legs(engines: list[Engine], policy: int) -> None:
    """What the bounds of every intermediate are about: everything at its greatest."""
    rows = [
        (MAX_PRICE - i, kind, sign * MAX_QUANTITY, MAX_VOL)
        for i in range(16)
        for kind, sign in ((OptionKind.CALL, 1), (OptionKind.PUT, 1 if i % 2 else -1))
    ]
    for spot, ratio in ((2**90, 4 * WAD), (1, WAD)):
        held = book(*rows, spot=spot, ratio=ratio, discount=4 * WAD, days=3650)
        for decimals in (0, 18):
            check_case(engines[policy], case(held, policy=policy, decimals=decimals, t=NOW))


@pytest.mark.parametrize("days", [1, 2, 4, 7, 14, 30, 60, 90, 180, 365, 730])
def test_at_every_tenor_of_the_bumps(engines: list[Engine], days: int) -> None:
    held = book((3000 * WAD, OptionKind.CALL, -WAD, WAD // 2), spot=3000 * WAD, days=days + 1)
    for t in (NOW + DAY - 1, NOW + DAY, NOW + DAY + 1):
        check_case(engines[0], case(held, decimals=6, t=t))


def test_at_the_edge_of_staleness(engines: list[Engine]) -> None:
    held = book((3000 * WAD, OptionKind.PUT, 7 * WAD, WAD // 2), spot=3000 * WAD)
    for age in (0, 1, DEFAULT_POLICY.vol_max_age, DEFAULT_POLICY.vol_max_age + 1, 10_000 * 3600):
        check_case(engines[0], case(held, decimals=6, t=NOW + age))


def test_two_underlyings_whose_middle_expiries_have_passed(engines: list[Engine]) -> None:
    """Indices of legs and expiries run on over what no scenario looks at."""
    legs = tuple(
        Leg(name, NOW + day * DAY, 3000 * WAD, OptionKind.CALL, sign * WAD)
        for name, sign in (("A", 1), ("B", -1), ("C", 1))
        for day in (1, 2, *((3,) if name != "B" else ()))
    )
    marks = Marks.at(NOW, spots=dict.fromkeys("ABC", 3000), vols=dict.fromkeys(legs, "0.6"))
    held = Book.of(legs, marks, bytes(31) + b"\1")
    for t in (NOW, NOW + DAY, NOW + 2 * DAY, NOW + 3 * DAY):
        at = case(held, decimals=6, t=t)
        for policy in range(4):
            check_case(engines[policy], replace(at, policy=policy))
