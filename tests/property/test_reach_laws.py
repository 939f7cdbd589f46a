"""One judged state answers for those near it: no surplus moves by more than the bound says, and no verdict differs.

    python -m pytest -m nightly tests/property/test_reach_laws.py

runs the long campaign. Every failure names the seed of its walk.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from math import exp, inf
from random import Random

import pytest

from channels.errors import OutOfBounds
from channels.model import Book, ExpiryMark, Leg, Marks, OptionKind, SpotMark, VolMark
from channels.model.marks import MAX_RATIO, MAX_TENOR, MAX_VOL
from channels.model.option import MAX_PRICE
from channels.risk import DEFAULT_POLICY, MarginPolicy, Scenario, VolBump, VolShock, margin, screen
from channels.risk.screen import FloatScreen
from channels.risk.screen_grid import Strip, Table
from channels.risk.screen_reach import Reach
from channels.risk.screen_window import Quotes, Window
from channels.units import SECONDS_PER_DAY as DAY, SECONDS_PER_YEAR, WAD
from tests.contracts.engine_books import POLICIES, random_case
from tests.desk_books import TIME, desk_book

Surpluses = tuple[int, int, int, int]


def surpluses(book: Book, policy: MarginPolicy, decimals: int = 18) -> Surpluses:
    """Equity less requirement without cash, exact: initial margin of both parties, then maintenance margin."""
    one, other = margin(book, (0, 0), decimals, policy)
    return (
        one.equity - one.initial_margin,
        other.equity - other.initial_margin,
        one.equity - one.maintenance_margin,
        other.equity - other.maintenance_margin,
    )


def judged(book: Book, policy: MarginPolicy, decimals: int = 18) -> Reach | None:
    """What a screen remembers of a book; None where windows leave it to the integers."""
    one = FloatScreen()
    one.standings(book, (0, 0), decimals, policy)
    return next(iter(one._reached.values()), None)


def harsh_book(seed: int) -> Book:
    """A desk's book whose expiries come within seconds or a day, whose volatilities are tiny or at the cap, and whose
    strikes are far from every forward; or a book at the edges of the protocol."""
    dice = Random(seed)
    if dice.random() < 0.2:
        return random_case(seed).book
    book = desk_book(seed)
    marks, first = book.marks, min(leg.expiry for leg in book.legs)
    sooner = dice.choice((0, 0, 1, 100, 1000, 3600, DAY - 1, DAY, DAY + 1, DAY + 20, 3 * DAY))
    time = first - sooner if 0 < sooner < first - TIME else TIME
    tiny = dice.choice((None, None, 10**10, 10**13, WAD // 100, MAX_VOL, MAX_VOL // 2))
    legs = book.legs
    if dice.random() < 0.4:
        far = dice.choice((10**6, 10**3, 30, 3))
        strikes = [leg.strike * far if dice.random() < 0.5 else max(1, leg.strike // far) for leg in legs]
        moved = {
            (leg.underlying, leg.expiry, min(strike, MAX_PRICE), leg.kind): replace(leg, strike=min(strike, MAX_PRICE))
            for leg, strike in zip(legs, strikes, strict=True)
        }
        legs = tuple(moved[key] for key in sorted(moved))
    vols = tuple(
        VolMark(*leg.key, dice.randint(20, 150) * WAD // 100 if tiny is None or dice.random() < 0.3 else tiny)
        for leg in legs
    )
    return Book(legs, Marks(time, marks.spots, marks.expiries, vols), book.salt)


ANY = ("s", "r", "d", "v", "t", "sv", "srdvt", "srdvt")
"""Which of spots, ratios, discounts, volatilities and time move."""


def elsewhere(book: Book, scale: float, dice: Random, trend: float | None = None, which: tuple[str, ...] = ANY) -> Book:
    """The same legs where some of the marks' numbers, and perhaps their time, moved by up to `scale` of themselves."""
    marks = book.marks
    kinds = dice.choice(which)

    def moved(kind: str, number: int, most: int) -> int:
        if kind not in kinds:
            return number
        share = trend if trend is not None else dice.uniform(-1.0, 1.0)
        return min(max(number + int(number * scale * share), 0 if kind == "v" else 1), most)

    left = min(leg.expiry for leg in book.legs) - marks.time
    passed = dice.choice((0, 1, -1, int(left * scale))) if "t" in kinds else 0
    return Book(
        book.legs,
        Marks(
            max(book.last_expiry - MAX_TENOR, marks.time + passed),
            tuple(SpotMark(mark.underlying, moved("s", mark.spot, MAX_PRICE)) for mark in marks.spots),
            tuple(
                ExpiryMark(m.underlying, m.expiry, moved("r", m.ratio, MAX_RATIO), moved("d", m.discount, MAX_RATIO))
                for m in marks.expiries
            ),
            tuple(VolMark(*mark.key, moved("v", mark.vol, MAX_VOL)) for mark in marks.vols),
        ),
        book.salt,
    )


@dataclass
class Seen:
    """How many pairs were compared, and the largest move of a surplus over what it was bounded by."""

    pairs: int = 0
    ratio: float = 0.0

    def compare(self, seed: int, book: Book, policy: MarginPolicy, moves: int, which: tuple[str, ...] = ANY) -> None:
        dice = Random(seed)
        try:
            reach, before = judged(book, policy), surpluses(book, policy)
        except OutOfBounds:
            return
        for _ in range(moves if reach else 0):
            other = elsewhere(book, 10.0 ** dice.uniform(-14, -1.15), dice, which=which)
            drift = reach.drift(other.marks) if reach else inf
            if drift == inf:
                continue
            after = surpluses(other, policy)  # never out of bounds where the bound holds
            bound = drift + (reach._bands if reach else 0.0)
            self.pairs += 1
            self.ratio = max(self.ratio, *(abs(a - b) / bound for a, b in zip(after, before, strict=True)))


def campaign(seeds: Sequence[int], moves: int = 3) -> tuple[Seen, Seen]:
    harsh, ordinary = Seen(), Seen()
    for seed in seeds:
        harsh.compare(seed, harsh_book(seed), POLICIES[seed % len(POLICIES)], moves)
        ordinary.compare(seed, desk_book(seed), DEFAULT_POLICY, moves)
    return harsh, ordinary


def test_no_surplus_moves_farther_than_its_bound() -> None:
    harsh, ordinary = campaign(range(130))
    assert harsh.pairs > 150
    assert ordinary.pairs > 300
    assert harsh.ratio < 1.0, harsh
    assert ordinary.ratio < 1.0, ordinary
    assert min(harsh.ratio, ordinary.ratio) > 0.01, "the bound is a hundred times too wide"


def a_thousand_times_too_narrow(patch: pytest.MonkeyPatch) -> None:
    true = Reach._measured

    def narrow(self: Reach) -> tuple[list[int], list[float]]:
        limits, weights = true(self)
        return limits, [weight / 1000 for weight in weights]

    patch.setattr(Reach, "_measured", narrow)


def test_a_bound_a_thousand_times_narrower_is_exceeded(monkeypatch: pytest.MonkeyPatch) -> None:
    a_thousand_times_too_narrow(monkeypatch)
    harsh, ordinary = campaign(range(30))
    assert harsh.ratio > 1.0
    assert ordinary.ratio > 1.0


QUIET = MarginPolicy(
    scan_initial=1,
    scan_maintenance=1,
    delta_charge=0,
    gamma_charge=0,
    vega_charge=0,
    short_charge=0,
    scenarios=(Scenario(WAD, VolShock.NONE),),
)
"""Nothing but equity moves."""


def scanning(row: Scenario, bumps: tuple[VolBump, ...] = DEFAULT_POLICY.bumps) -> MarginPolicy:
    return replace(QUIET, scan_initial=4 * WAD, scan_maintenance=4 * WAD, scenarios=(row,), bumps=bumps)


WEEK = 7 * DAY
TERMS = {
    "delta, by the forward": (replace(QUIET, delta_charge=4 * WAD), DAY, 60, "s"),
    "delta, by the width": (replace(QUIET, delta_charge=4 * WAD), WEEK, 150, "v"),
    "gamma": (replace(QUIET, gamma_charge=4 * WAD, gamma_move=WAD // 2), 3600, 60, "s"),
    "gamma, by the width": (replace(QUIET, gamma_charge=4 * WAD, gamma_move=WAD // 2), WEEK, 60, "v"),
    "vega": (replace(QUIET, vega_charge=4 * WAD), 365 * DAY, 10, "s"),
    "vega, by the width": (replace(QUIET, vega_charge=4 * WAD), 365 * DAY, 5, "v"),
    "short options": (replace(QUIET, short_charge=4 * WAD), WEEK, 60, "s"),
    "the farthest spot": (scanning(Scenario(16 * WAD, VolShock.NONE)), WEEK, 60, "s"),
    "volatility that rises": (scanning(Scenario(WAD, VolShock.UP), (VolBump(DAY, 8 * WAD, 0),)), WEEK, 20, "v"),
    "the horizon": (scanning(Scenario(WAD, VolShock.NONE, WAD, DAY)), DAY + 30, 60, "t"),
    "the bumps' slope": (
        scanning(Scenario(WAD, VolShock.UP), (VolBump(WEEK, 0, 0), VolBump(WEEK + 1, 8 * WAD, 0))),
        WEEK,
        20,
        "t",
    ),
}
"""Policies, seconds to expiry, volatility in hundredths and what moves, such that this term is most of the bound."""


@pytest.mark.parametrize("name", TERMS)
def test_every_term_of_the_bound_is_needed(name: str) -> None:
    policy, seconds, percent, which = TERMS[name]
    seen = Seen()
    for seed in range(40):
        dice = Random(seed)
        width = percent / 100 * ((seconds - policy.scenarios[0].horizon) / SECONDS_PER_YEAR) ** 0.5
        strike = int(3000 * WAD * exp(width * dice.uniform(-2.0, 2.0)))
        leg = Leg("ETH/USD", TIME + seconds, strike, OptionKind(seed % 2), dice.choice((-1, 1)) * WAD)
        marks = Marks.at(TIME, spots={"ETH/USD": 3000}, vols={leg: f"{percent / 100}"})
        seen.compare(seed, Book.of([leg], marks, seed.to_bytes(32, "big")), policy, 4, (which,))
    assert seen.pairs > 60
    assert 0.03 < seen.ratio < 1.0, seen


# ── Walks across the boundary ───────────────────────────────────────────────────────────────────────────────────────


def walk(seed: int, steps: int) -> list[Book]:
    """A book whose marks drift one way and wobble, in steps of one size out of many."""
    dice = Random(seed)
    book = desk_book(seed) if dice.random() < 0.7 else harsh_book(seed)
    scale, found = 10.0 ** dice.uniform(-12, -2.5), [book]
    for _ in range(steps):
        found.append(elsewhere(found[-1], scale, dice, dice.choice((0.3, 1.0, 1.0, -0.2))))
    return found


def crossings(seed: int, steps: int, policy: MarginPolicy) -> Iterator[list[tuple[Book, tuple[int, int], Surpluses]]]:
    """The walk once for each verdict, with cash that has this one cross its boundary in the middle, and moves a bit."""
    dice = Random(~seed)
    states = walk(seed, steps)
    try:
        exact = [surpluses(book, policy) for book in states]
    except OutOfBounds:
        return
    for at in range(4):
        middle, wobble = -exact[steps // 2][at], dice.choice((0, 0, 1, 10**9, 10**18))
        path = []
        for book, bare in zip(states, exact, strict=True):
            own, others = middle + dice.randint(-wobble, wobble), 10**30
            path.append((book, (own, others) if at % 2 == 0 else (others, own), bare))
        yield path


def wrong_verdicts(seeds: Sequence[int], steps: int = 24) -> tuple[int, int]:
    """Return how many of a walk's states a screen judged, in calls of all sizes, and how many verdicts were wrong."""
    told = wrong = 0
    for seed in seeds:
        dice, policy = Random(seed), POLICIES[0 if seed % 3 else seed % len(POLICIES)]
        for path in crossings(seed, steps, policy):
            engine, begin = FloatScreen(), 0
            while begin < len(path):
                some = path[begin : begin + dice.choice((1, 1, 2, 16))]
                begin += len(some)
                verdicts = engine.verdicts_many([(book, cash) for book, cash, _ in some], 18, policy)
                for ((i0, m0), (i1, m1)), (_, cash, bare) in zip(verdicts, some, strict=True):
                    right = [own + surplus >= 0 for own, surplus in zip(cash * 2, bare, strict=True)]
                    told += None not in (i0, m0, i1, m1)
                    wrong += any(found not in (None, true) for found, true in zip((i0, i1, m0, m1), right, strict=True))
    return told, wrong


def test_no_verdict_changes_on_walks_across_the_boundary() -> None:
    told, wrong = wrong_verdicts(range(30))
    assert wrong == 0
    assert told > 1500


def test_verdicts_on_walks_are_wrong_without_the_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    a_thousand_times_too_narrow(monkeypatch)
    assert wrong_verdicts(range(8))[1] > 20


# ── Who is asked ────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("at_once", [1, 16])
def test_on_ordinary_walks_nine_states_in_ten_are_not_priced(at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Spots by cents, volatilities by hundredths of a point, a second every eighth state, cash by a token."""
    priced: list[int] = []

    class Counting(Window):
        def __init__(self, table: Table, strip: Strip, quotes: Quotes) -> None:
            priced.append(len(quotes.marks))
            super().__init__(table, strip, quotes)

    monkeypatch.setattr(screen, "Window", Counting)
    states = 0
    for seed in range(20):
        dice, engine, book = Random(seed), FloatScreen(), desk_book(seed)
        one, other = margin(book, (0, 0), 6)
        cash = (2 * one.initial_margin - one.value, 2 * other.initial_margin - other.value)
        for _ in range(96 // at_once):
            asked = []
            for _ in range(at_once):
                states += 1
                marks = book.marks
                spots = tuple(replace(m, spot=m.spot + dice.randint(-5, 5) * WAD // 100) for m in marks.spots)
                vols = tuple(replace(m, vol=m.vol + dice.randint(-1, 1) * WAD // 10_000) for m in marks.vols)
                time = marks.time + (states % 8 == 0)
                book = Book(book.legs, replace(marks, time=time, spots=spots, vols=vols), book.salt)
                cash = (cash[0] + dice.randint(-(10**6), 10**6), cash[1] + dice.randint(-(10**6), 10**6))
                asked.append((book, cash))
            assert None not in engine.standings_many(asked, 6)
    assert sum(priced) < states / 10 + 20 * at_once, "the first call of each book is priced whole"


@pytest.mark.nightly
def test_ten_thousand_walks() -> None:
    harsh, ordinary = campaign(range(1000, 11_000), 5)
    assert max(harsh.ratio, ordinary.ratio) < 1.0, (harsh, ordinary)
    assert wrong_verdicts(range(1000, 3000), 40)[1] == 0
