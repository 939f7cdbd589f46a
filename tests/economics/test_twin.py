"""The fast float64 game is the exact engine's: figure by figure, and path by path to the end."""

from __future__ import annotations

import numpy as np
import pytest

from channels.risk import DEFAULT_POLICY, margin
from tests.economics import exact
from tests.economics.books import KINDS, Kind, Legs, kind_named
from tests.economics.chain import UNDERLYING, recorded_chain
from tests.economics.paths import CLOCK, synthetic
from tests.economics.play import play, relevant_rows
from tests.economics.rules import EARLY, REVEALS, VOL, WAITS, End, Rules, Strategy
from tests.economics.twin import evaluate

BAND_TOKENS = 8
"""Each line of the exact report is rounded to a token unit (1e-6 of money): value, scan, four charges, two over."""
BAND_RELATIVE = 1e-12
"""Of the notional at the greatest shocked spot: what float64 and the guard-bit rational differ by."""


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_the_twin_has_the_exact_engine_s_figures(kind: Kind) -> None:
    legs, chain = Legs.of(kind), recorded_chain()
    rng = np.random.default_rng(11)
    n = 8
    t = CLOCK[rng.integers(1, len(CLOCK), n)]
    t[0] = legs.expiry.min() + 600  # the nearest expiry has passed
    marked_at = np.floor(t * rng.uniform(0.0, 1.0, n))
    marked_spot, spot = (np.round(chain.spot * np.exp(rng.normal(0.0, 0.25, n)), 8) for _ in range(2))
    vols = legs.vols(chain, marked_spot, rng.uniform(0.5, 3.0, n), marked_at)
    fixing = np.round(np.broadcast_to(spot[:, None] * 0.9, vols.shape), 8)
    found = evaluate(legs, DEFAULT_POLICY, spot, vols, t, t - marked_at, fixing)
    for i in range(n):
        book = exact.book_at(legs, marked_at[i], marked_spot[i], vols[i])
        settled = {
            (leg.underlying, leg.expiry): exact.price_wad(fixing[i, 0])
            for leg in book.legs
            if leg.expiry <= chain.start + t[i]
        }
        report = margin(
            book,
            (0, 0),
            exact.DECIMALS,
            t=chain.start + int(t[i]),
            spots={UNDERLYING: exact.price_wad(spot[i])},
            settlements=settled,
        )[0]
        band = BAND_TOKENS + BAND_RELATIVE * exact.UNIT * float(np.abs(legs.quantity).sum()) * 4 * spot[i]
        for name, fast, slow in (
            ("value", found.value[i], report.value),
            ("scan", found.scan[i], report.scan_initial),
            ("cost", found.cost[i], report.charges.total),
        ):
            assert abs(fast * exact.UNIT - slow) <= band, (name, i, fast, slow)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_the_rows_left_out_of_the_scan_matter_to_nobody(kind: Kind) -> None:
    legs, chain = Legs.of(kind), recorded_chain()
    market = synthetic(5, range(60))
    rows = relevant_rows(legs, DEFAULT_POLICY)
    at = np.arange(60) * 6 + 10
    spot, t = market.spot[np.arange(60), at], CLOCK[at]
    vols = legs.vols(chain, spot, market.level[np.arange(60), at], t)
    fixing = np.broadcast_to(spot[:, None], vols.shape)
    args = (legs, DEFAULT_POLICY, spot, vols, t, t / 2, fixing)
    fewer, whole = evaluate(*args, rows=rows).scan, evaluate(*args).scan
    assert (fewer <= whole).all()
    assert (fewer >= 0.99 * whole).all()


@pytest.mark.parametrize(
    ("name", "strategy", "index", "declines"),
    [
        ("short strangle, 11 d", WAITS, 8, False),
        ("short straddle, 21 h", REVEALS, 10, False),
        ("short puts, 18 d", VOL, 9, False),
        ("calendar, 11/18 d", EARLY, 9, False),
        ("long straddle, 4 d", VOL, 15, False),
        ("put ratio 1×3, 18 d", WAITS, 9, False),
        ("put ratio 1×3, 18 d", WAITS, 9, True),
    ],
)
def test_a_path_ends_as_the_exact_engine_says(name: str, strategy: Strategy, index: int, declines: bool) -> None:
    legs, market = Legs.of(kind_named(name)), synthetic(3, [index])
    rules = Rules(cure=1800, outstanding=2, declines=declines)
    fast = play(market, legs, rules, strategy, tuple(range(len(DEFAULT_POLICY.scenarios))))
    slow = exact.replay(market, 0, legs, rules, strategy)
    assert (fast.ended[0], fast.silent[0], fast.called[0], fast.end[0]) == (
        slow.ended,
        slow.silent,
        slow.called,
        slow.end,
    )
    assert fast.percent[0] == pytest.approx(slow.percent, abs=1e-5)
    assert fast.ended[0] == End.LIQUIDATED
    assert fast.gain[0] > 0
