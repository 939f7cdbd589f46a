"""Laws of margin over random books: mirrored parties, diversification, hedges, scaling, and exact conservation."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace

import pytest

from channels.model import EMPTY_BOOK, Book, Leg, Marks, OptionKind, net
from channels.risk import DEFAULT_POLICY, MarginReport, margin, value
from channels.units import WAD

TIME = 1_704_700_800
DAY = 86_400
SALT = bytes(31) + b"\7"
NAMES = ("BTC/USD", "ETH/USD")
CAMPAIGNS = [60, pytest.param(3_000, marks=pytest.mark.nightly)]


class Desk:
    """Draws books on one volatility surface, so that any two of them can be held together."""

    def __init__(self, seed: int) -> None:
        self.dice = random.Random(seed)
        self.spots = {"BTC/USD": 45_000 * WAD, "ETH/USD": 3_000 * WAD}
        self.expiries = [TIME + days * DAY for days in sorted(self.dice.sample((1, 3, 7, 30, 90, 400), 3))]

    def legs(self, count: int) -> tuple[Leg, ...]:
        drawn: dict[object, Leg] = {}
        while len(drawn) < count:
            name = self.dice.choice(NAMES)
            strike = self.spots[name] * self.dice.randrange(60, 150, 5) // 100
            quantity = self.dice.choice((-1, 1)) * self.dice.randrange(1, 40 * WAD)
            kind = self.dice.choice(list(OptionKind))
            leg = Leg(name, self.dice.choice(self.expiries), strike, kind, quantity)
            drawn[leg.key] = leg
        return net((), drawn.values())

    def book(self, legs: tuple[Leg, ...]) -> Book:
        if not legs:
            return EMPTY_BOOK
        pairs = {(leg.underlying, leg.expiry) for leg in legs}
        marks = Marks.at(
            TIME,
            spots={name: spot // WAD for name, spot in self.spots.items()},
            vols={leg: f"0.{40 + hash_free(leg) % 50}" for leg in legs},
            forwards={(name, expiry): self.spots[name] // WAD + (expiry - TIME) // DAY for name, expiry in pairs},
            discounts={(name, expiry): f"0.99{(expiry - TIME) // DAY % 10}" for name, expiry in pairs},
        )
        return Book.of(legs, marks, SALT)


def hash_free(leg: Leg) -> int:
    """A number that depends on the series alone and is the same in every run."""
    return leg.strike // WAD + leg.expiry // DAY + leg.kind


def desks(count: int) -> Iterator[Desk]:
    return map(Desk, range(count))


def figures(report: MarginReport) -> tuple[object, ...]:
    """Everything of a report but whose it is."""
    return tuple(getattr(report, name) for name in MarginReport.__slots__ if name != "party")


@pytest.mark.parametrize("count", CAMPAIGNS)
def test_the_mirrored_book_mirrors_the_parties(count: int) -> None:
    for desk in desks(count):
        legs = desk.legs(6)
        straight = margin(desk.book(legs), (11, 22), 6)
        mirrored = margin(desk.book(tuple(leg.times(-1) for leg in legs)), (22, 11), 6)
        assert figures(straight[0]) == figures(mirrored[1])
        assert figures(straight[1]) == figures(mirrored[0])


@pytest.mark.parametrize("count", CAMPAIGNS)
def test_margin_of_books_held_together_is_never_more_than_apart(count: int) -> None:
    diversified = 0
    for desk in desks(count):
        first, second = desk.legs(5), desk.legs(5)
        together = margin(desk.book(net(first, second)), (0, 0), 6)
        apart = [margin(desk.book(legs), (0, 0), 6) for legs in (first, second)]
        for party in (0, 1):
            bound = sum(reports[party].initial_margin for reports in apart)
            assert together[party].initial_margin <= bound + 6, "one unit per line for its rounding"
            diversified += together[party].initial_margin < bound * 9 // 10
    assert diversified > count // 4


@pytest.mark.parametrize("count", CAMPAIGNS)
def test_a_perfect_hedge_ends_margin_and_a_partial_one_lowers_the_scan(count: int) -> None:
    for desk in desks(count):
        legs = desk.legs(5)
        assert net(legs, [leg.times(-1) for leg in legs]) == ()
        short = Leg("ETH/USD", desk.expiries[0], 3_300 * WAD, OptionKind.CALL, -7 * WAD)
        cover = Leg("ETH/USD", desk.expiries[0], 3_450 * WAD, OptionKind.CALL, 7 * WAD)
        naked = margin(desk.book((short,)), (0, 0), 6)[0]
        spread = margin(desk.book((short, cover)), (0, 0), 6)[0]
        assert spread.scan_initial < naked.scan_initial
        # A spread cannot lose more than the distance of its strikes, discounted; its value is the only other asset.
        assert spread.scan_initial + spread.value <= 7 * 150 * 10**6


@pytest.mark.parametrize("count", CAMPAIGNS)
def test_margin_scales_with_size(count: int) -> None:
    for desk in desks(count):
        legs = desk.legs(4)
        one = margin(desk.book(legs), (0, 0), 6)
        many = margin(desk.book(tuple(leg.times(1_000) for leg in legs)), (0, 0), 6)
        for small, large in zip(one, many, strict=True):
            assert 0 <= 1_000 * small.initial_margin - large.initial_margin <= 5 * 1_000
            assert 0 <= large.value - 1_000 * small.value <= 1_000


@pytest.mark.parametrize("count", CAMPAIGNS)
def test_equity_is_conserved_and_rounded_down_on_each_side(count: int) -> None:
    rounded = 0
    for desk in desks(count):
        held = desk.book(desk.legs(6))
        first, second = margin(held, (10**9, -(10**6)), 6)
        assert first.equity + second.equity - (10**9 - 10**6) in (-1, 0)
        assert (first.value, second.value) == value(held, decimals=6)
        rounded += first.value + second.value
    assert rounded < 0


@pytest.mark.parametrize("count", CAMPAIGNS)
def test_initial_margin_is_at_least_maintenance_and_covers_every_named_loss(count: int) -> None:
    for desk in desks(count):
        held = desk.book(desk.legs(8))
        for report in margin(held, (0, 0), 6):
            assert report.initial_margin >= report.maintenance_margin > 0
            assert 0 <= sum(worst.loss for worst in report.worst) - report.scan_initial < len(report.worst)


@pytest.mark.parametrize("count", CAMPAIGNS)
def test_a_wider_grid_never_asks_for_less(count: int) -> None:
    for desk in desks(count):
        held = desk.book(desk.legs(6))
        kept = desk.dice.sample(DEFAULT_POLICY.scenarios, 20)
        narrow = margin(held, (0, 0), 6, replace(DEFAULT_POLICY, scenarios=tuple(kept)))
        for less, full in zip(narrow, margin(held, (0, 0), 6), strict=True):
            assert less.initial_margin <= full.initial_margin
            assert less.charges == full.charges
