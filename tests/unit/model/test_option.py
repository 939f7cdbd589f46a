"""Legs and marks as people write them, and the bounds at which they stop."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from channels.errors import InvalidBook, InvalidValue
from channels.model import ExpiryMark, Leg, Marks, OptionKind, SpotMark, VolMark, parse_expiry
from channels.model.marks import MAX_RATIO, MAX_VOL
from channels.model.option import MAX_PRICE, MAX_QUANTITY, underlying_word
from channels.units import WAD
from tests.roles import ETH, EXPIRY, NOW, condor, marks

CALL = Leg.call(ETH, EXPIRY, 2400, quantity=1)


def test_a_leg_is_written_as_people_write_it() -> None:
    leg = Leg.call("ETH/USD", "2024-01-26", 2400, quantity=10)
    assert leg == Leg("ETH/USD", 1_706_256_000, 2400 * WAD, OptionKind.CALL, 10 * WAD)
    assert str(leg) == "10 ETH/USD 2024-01-26 2400 call"
    assert str(Leg.put("ETH/USD", 1_706_256_001, "0.5", quantity="-0.1")) == (
        "-0.1 ETH/USD 2024-01-26 08:00:01 0.5 put"
    )
    assert leg.times(-2).quantity == -20 * WAD


def test_an_expiry_beyond_the_calendar_is_still_shown() -> None:
    assert str(replace(CALL, expiry=2**62)) == f"1 ETH/USD at {2**62} 2400 call"
    assert "9999-12-31" in str(replace(CALL, expiry=253_402_300_799))


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        (1_706_256_000, 1_706_256_000),
        ("2024-01-26", 1_706_256_000),
        ("2024-01-26T08:00:00Z", 1_706_256_000),
        ("2024-01-26T09:00:00+01:00", 1_706_256_000),
        (datetime(2024, 1, 26, 8, tzinfo=UTC), 1_706_256_000),
        (datetime(2024, 1, 26, 10, tzinfo=timezone(timedelta(hours=2))), 1_706_256_000),
    ],
)
def test_expiries_are_unix_seconds(written: Any, seconds: int) -> None:
    assert parse_expiry(written) == seconds


@pytest.mark.parametrize(
    "written", ["2024-13-01", "tomorrow", "", "2024-01-26T08:00:00", datetime(2024, 1, 26), 1.5, None, b"2024"]
)
def test_an_ambiguous_expiry_is_refused(written: Any) -> None:
    with pytest.raises(InvalidValue):
        parse_expiry(written)


@pytest.mark.parametrize(
    "change",
    [
        {"quantity": 0},
        {"quantity": MAX_QUANTITY + 1},
        {"quantity": -MAX_QUANTITY - 1},
        {"quantity": 1.0},
        {"quantity": True},
        {"strike": 0},
        {"strike": -1},
        {"strike": MAX_PRICE + 1},
        {"expiry": 0},
        {"expiry": 2**63},
        {"expiry": "2024-01-26"},
        {"kind": 0},
        {"underlying": ""},
        {"underlying": "x" * 33},
        {"underlying": " ETH"},
        {"underlying": "ETH\0"},
        {"underlying": "ETH/€"},
        {"underlying": b"ETH"},
    ],
    ids=str,
)
def test_a_leg_out_of_bounds_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(InvalidBook):
        replace(CALL, **change)


def test_a_leg_at_its_bounds_stands() -> None:
    Leg("x" * 32, 2**63 - 1, MAX_PRICE, OptionKind.PUT, -MAX_QUANTITY)
    Leg("x", 1, 1, OptionKind.CALL, MAX_QUANTITY)


def test_an_underlying_is_left_aligned_ascii() -> None:
    assert underlying_word(ETH) == b"ETH/USD" + bytes(25)


def test_a_float_is_no_quantity_and_no_strike() -> None:
    with pytest.raises(InvalidValue, match="quantity"):
        Leg.call(ETH, EXPIRY, 2400, quantity=0.1)
    with pytest.raises(InvalidValue, match="strike"):
        Leg.call(ETH, EXPIRY, 2400.0, quantity=1)


@pytest.mark.parametrize(
    "build",
    [
        lambda: SpotMark(ETH, 0),
        lambda: SpotMark(ETH, MAX_PRICE + 1),
        lambda: SpotMark(ETH, 1.0),
        lambda: ExpiryMark(ETH, EXPIRY, 0, WAD),
        lambda: ExpiryMark(ETH, EXPIRY, MAX_RATIO + 1, WAD),
        lambda: ExpiryMark(ETH, EXPIRY, WAD, 0),
        lambda: ExpiryMark(ETH, EXPIRY, WAD, MAX_RATIO + 1),
        lambda: ExpiryMark(ETH, 0, WAD, WAD),
        lambda: VolMark(*CALL.key, -1),
        lambda: VolMark(*CALL.key, MAX_VOL + 1),
        lambda: Marks(-1, (), (), ()),
        lambda: Marks(0, (SpotMark("B", 1), SpotMark("A", 1)), (), ()),
        lambda: Marks(0, (SpotMark("A", 1), SpotMark("A", 1)), (), ()),
        lambda: Marks(0, (), (ExpiryMark("A", 2, 1, 1), ExpiryMark("A", 1, 1, 1)), ()),
        lambda: Marks(0, (), (), (VolMark(*CALL.key, 1), VolMark(*CALL.key, 2))),
    ],
)
def test_marks_out_of_bounds_or_order_are_refused(build: Any) -> None:
    with pytest.raises(InvalidBook):
        build()


def test_marks_are_written_as_people_write_them() -> None:
    made = Marks.at(
        "2024-01-05",
        spots={ETH: 2300, "BTC/USD": 45_000},
        vols={CALL: "0.6"},
        forwards={(ETH, "2024-01-12"): 2323},
        discounts={(ETH, EXPIRY): "0.99"},
    )
    assert made.time == NOW
    assert made.spots == (SpotMark(ETH, 2300 * WAD),)  # spots without a leg are left out
    assert made.expiries == (ExpiryMark(ETH, EXPIRY, 2323 * WAD // 2300, 99 * WAD // 100),)
    assert made.vols == (VolMark(*CALL.key, 6 * WAD // 10),)
    assert made.spot(ETH) == 2300 * WAD
    with pytest.raises(InvalidBook, match="lack a spot"):
        made.spot("BTC/USD")
    with pytest.raises(InvalidBook, match="no spot"):
        Marks.at(NOW, spots={}, vols={CALL: 1})


def test_marks_are_cut_to_what_legs_need() -> None:
    legs = condor()
    assert marks(legs).covering(legs[:1]) == marks(legs[:1])
    with pytest.raises(InvalidBook, match="lack the volatility"):
        marks(legs[:1]).covering(legs)
    with pytest.raises(InvalidBook, match="lack the spot"):
        marks(legs[:1]).covering([Leg.call("BTC/USD", EXPIRY, 1, quantity=1)])
    with pytest.raises(InvalidBook, match="lack the forward"):
        marks(legs[:1]).covering([replace(legs[0], expiry=EXPIRY + 1)])
