"""Liquidation bands: books whose answer is a formula, a brute-force scan, and the awkward shapes."""

from __future__ import annotations

from dataclasses import replace

import pytest

from channels.errors import InvalidValue, OutOfBounds
from channels.model import EMPTY_BOOK, Book, Leg, Marks
from channels.model.option import MAX_PRICE
from channels.risk import (
    DEFAULT_POLICY,
    BandSearch,
    LiquidationBand,
    MarginPolicy,
    Scenario,
    VolShock,
    liquidation_bands,
    margin,
)
from channels.units import WAD

ETH, BTC = "ETH/USD", "BTC/USD"
TIME = 1_704_700_800
DAY = 86_400
TOKEN = 10**6
FREE = replace(DEFAULT_POLICY, delta_charge=0, gamma_charge=0, vega_charge=0, short_charge=0,
               scenarios=(Scenario(WAD, VolShock.NONE),))  # fmt: skip
"""A policy that asks for nothing but an equity that is not negative."""


def book(*legs: Leg, vol: str = "0", spot: int = 3000) -> Book:
    marks = Marks.at(TIME, spots={ETH: spot, BTC: 45_000}, vols=dict.fromkeys(legs, vol))
    return Book.of(legs, marks, bytes(31) + b"\7")


def bands(held: Book, cash: int, policy: MarginPolicy = FREE, **options: object) -> tuple[LiquidationBand, ...]:
    """Party 0's, with `cash` tokens; party 1 has all it may need."""
    mine, _ = liquidation_bands(held, (cash * TOKEN, 10**12 * TOKEN), 6, policy, **options)  # type: ignore[arg-type]
    return mine


def is_near(found: int | None, expected: float, spot: int = 3000) -> bool:
    """Within a basis point of the spot."""
    return found is not None and abs(found / WAD - expected) <= spot / 10_000


FAR = TIME + 30 * DAY
CALL, PUT = Leg.call(ETH, FAR, 3300, quantity=-2), Leg.put(ETH, FAR, 2700, quantity=-2)


def test_without_volatility_and_charges_the_band_is_strike_and_cash() -> None:
    (one,) = bands(book(CALL), 400)
    assert one.below is None and is_near(one.above, 3_300 + 400 / 2)
    (one,) = bands(book(PUT), 400)
    assert one.above is None and is_near(one.below, 2_700 - 400 / 2)
    (both,) = bands(book(CALL, PUT), 400)
    assert is_near(both.above, 3_500) and is_near(both.below, 2_500)
    assert both == LiquidationBand(ETH, 3000 * WAD, both.below, both.above) and not both.is_breach


def test_a_charge_on_delta_brings_the_band_nearer_by_its_formula() -> None:
    """cash − 2·(S − K) < 0.05·2·S, as soon as S > (cash/2 + K)/1.05."""
    (one,) = bands(book(CALL), 1_000, replace(FREE, delta_charge=WAD // 20))
    assert is_near(one.above, (1_000 / 2 + 3_300) / 1.05)


def test_the_other_party_has_its_own_bands() -> None:
    mine, theirs = liquidation_bands(book(CALL.times(-1)), (0, 400 * TOKEN), 6, FREE)
    assert mine == (LiquidationBand(ETH, 3000 * WAD, None, None),)
    assert is_near(theirs[0].above, 3_500)


@pytest.mark.parametrize("legs", [(CALL,), (PUT,), (CALL, PUT), (CALL, Leg.call(ETH, FAR, 3600, quantity=2))])
def test_a_fine_scan_finds_the_same_level(legs: tuple[Leg, ...]) -> None:
    held, cash = book(*legs, vol="0.7"), (1_700 * TOKEN, 0)

    def breached(at: int) -> bool:
        return margin(held, cash, 6, spots={ETH: at})[0].is_breach

    spot, fine = 3_000 * WAD, 3_000 * WAD // 5_000
    assert not breached(spot)
    ((found,), _) = liquidation_bands(held, cash, 6, search=BandSearch(low=WAD * 7 // 10, high=WAD * 14 // 10))
    for step, level, end in ((-fine, found.below, spot * 7 // 10), (fine, found.above, spot * 14 // 10)):
        first = next((at for at in range(spot, end, step) if breached(at)), None)
        assert (level is None) == (first is None)
        if level is not None and first is not None:
            assert abs(level - first) <= fine + spot // 10_000
            assert breached(level) and not breached(level - spot // 10_000 * (1 if step > 0 else -1))


def butterfly(width: int) -> tuple[Leg, ...]:
    """Short a butterfly around 3300: worth −width there, nothing outside."""
    return (
        Leg.call(ETH, FAR, 3300 - width, quantity=-1),
        Leg.call(ETH, FAR, 3300, quantity=2),
        Leg.call(ETH, FAR, 3300 + width, quantity=-1),
    )


def test_the_first_crossing_is_found_though_the_far_end_is_safe_again() -> None:
    held = book(*butterfly(200))
    assert not margin(held, (100 * TOKEN, 0), 6, FREE, spots={ETH: 4_000 * WAD})[0].is_breach
    (one,) = bands(held, 100)
    assert is_near(one.above, 3_200) and one.below is None


def test_a_dip_between_two_grid_points_is_missed_and_a_finer_step_finds_it() -> None:
    held = book(*butterfly(8))
    (coarse,) = bands(held, 4, search=BandSearch(step=WAD * 7 // 100))
    (fine,) = bands(held, 4, search=BandSearch(step=WAD // 1_000))
    assert coarse.above is None
    assert is_near(fine.above, 3_296)


def test_who_is_below_already_is_at_no_distance() -> None:
    held = book(Leg.call(ETH, FAR, 2500, quantity=-2))
    (now,) = bands(held, 999)
    assert now == LiquidationBand(ETH, 3000 * WAD, 3000 * WAD, 3000 * WAD) and now.is_breach
    (just_not,) = bands(held, 1_000)
    assert not just_not.is_breach and is_near(just_not.above, 3_000)


def test_only_one_spot_moves_at_a_time() -> None:
    held = book(CALL, Leg.put(BTC, FAR, 40_000, quantity=-1))
    btc, eth = bands(held, 400)
    assert (btc.underlying, eth.underlying) == (BTC, ETH)
    assert is_near(btc.below, 39_600, 45_000) and btc.above is None
    assert is_near(eth.above, 3_500) and eth.below is None
    moved, _ = bands(held, 400, spots={ETH: 3_450 * WAD})
    assert is_near(moved.below, 39_900, 45_000)


def test_time_and_settlements_are_those_given() -> None:
    held = book(CALL, Leg.call(ETH, FAR + DAY, 3300, quantity=-2))
    (settled,) = bands(held, 400, t=FAR, settlements={(ETH, FAR): 3_400 * WAD})
    assert is_near(settled.above, 3_400), "200 of the 400 went to the leg that settled at 3400"
    (unsettled,) = bands(held, 400, t=FAR)
    assert is_near(unsettled.above, 3_400), "both at spot intrinsic: 4 units share 400"
    (cheap,) = bands(held, 400, t=FAR, settlements={(ETH, FAR): 3_300 * WAD})
    assert is_near(cheap.above, 3_500)


def test_the_search_ends_at_its_range_and_at_the_bounds_of_prices() -> None:
    (short,) = bands(book(CALL), 400, search=BandSearch(high=WAD * 116 // 100))
    assert short.above is None
    (reached,) = bands(book(CALL), 400, search=BandSearch(high=WAD * 117 // 100))
    assert is_near(reached.above, 3_500)
    steep = Book.of(
        (CALL,), replace(book(CALL).marks, expiries=(replace(book(CALL).marks.expiries[0], ratio=3 * WAD),)), bytes(32)
    )
    (ends,) = bands(steep, 10**12, spots={ETH: MAX_PRICE // 4})
    assert ends.above is None
    with pytest.raises(OutOfBounds):
        bands(steep, 400, spots={ETH: MAX_PRICE // 2})
    (dust,) = bands(book(PUT), 400, spots={ETH: 3})
    assert dust.below == 3


def test_a_step_never_leaves_the_range_and_the_last_one_reaches_its_end() -> None:
    wide = BandSearch(low=WAD * 95 // 100, high=WAD * 105 // 100, step=WAD // 2)
    (one,) = bands(book(Leg.put(ETH, FAR, 2_800, quantity=-2), Leg.call(ETH, FAR, 3_200, quantity=-2)), 1, search=wide)
    assert one.below is None and one.above is None
    (one,) = bands(book(Leg.put(ETH, FAR, 2_900, quantity=-2), Leg.call(ETH, FAR, 3_100, quantity=-2)), 1, search=wide)
    assert is_near(one.below, 2_899.5) and is_near(one.above, 3_100.5)
    top = Leg("ETH/USD", FAR, MAX_PRICE * 997 // 1_000, CALL.kind, -1)
    (one,) = bands(book(top), 0, spots={ETH: MAX_PRICE * 995 // 1_000})
    assert one.above is not None and is_near(one.above, top.strike / WAD, MAX_PRICE // WAD)


def test_it_takes_the_margins_that_it_says(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def counted(*arguments: object, **options: dict[str, int]) -> object:
        asked.append(options["spots"][ETH])
        return margin(*arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr("channels.risk.bands.margin", counted)
    (one,) = bands(book(CALL), 400)
    assert is_near(one.above, 3_500)
    assert len(asked) == len(set(asked)) <= 1 + 2 * 162 + 7, "the present spot, both grids, one bisection"


def test_cash_alone_has_no_bands() -> None:
    assert liquidation_bands(EMPTY_BOOK, (1, 1), 6) == ((), ())


@pytest.mark.parametrize(
    "wrong",
    [{"low": 0}, {"low": 2 * WAD}, {"high": 0}, {"step": 0}, {"step": 2 * WAD}, {"tolerance": 0}, {"step": 0.01}],
)
def test_a_search_out_of_bounds_is_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(InvalidValue):
        BandSearch(**wrong)
