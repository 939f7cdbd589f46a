"""Walking away never pays, as laws: where they hold, and that the simulation sees it where they are broken."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from channels.risk import DEFAULT_POLICY, MarginPolicy
from tests.economics.books import KINDS, Kind, Legs, kind_named
from tests.economics.chain import recorded_chain
from tests.economics.paths import CLOCK, HOUR, Market, family_of, recorded, synthetic
from tests.economics.play import Outcome, play, relevant_rows
from tests.economics.rules import EARLY, HONEST, MENU, REVEALS, SWEEPS, VOL, WAITS, WALKS, End, Rules, Strategy

SEED = 20240108
HALF_HOUR = Rules(cure=1800)
AT_ONCE = Rules(cure=0, reply_timeout=0, latency=0, outstanding=0)
STRANGLE, STRADDLE = kind_named("short strangle, 11 d"), kind_named("short straddle, 21 h")
ROUNDING = 1e-9
QUICK = (STRANGLE, STRADDLE, kind_named("long straddle, 4 d"))
EVERY_KIND = pytest.mark.parametrize(
    "kind",
    [pytest.param(k, id=k.name, marks=() if k in QUICK else pytest.mark.nightly) for k in KINDS],
)
"""Three kinds in CI, all of them in the nightly run."""
BOUNDED = (kind_named("iron condor, 11 d"), kind_named("calendar, 11/18 d"))
"""Their loss ends by itself: a close-out in the worst hour may leave a debt that waiting would not."""


def played(kind: Kind, market: Market, rules: Rules, strategy: Strategy) -> Outcome:
    legs = Legs.of(kind)
    return play(market, legs, rules, strategy, relevant_rows(legs, rules.policy))


def family(*names: str, count: int = 200) -> Market:
    return synthetic(SEED, [i for i in range(count) if family_of(i) in names])


def continuous(count: int = 16) -> Market:
    """Paths without jumps: a drift between -40 and +40 % and slow waves, volatilities up to twice as high, smoothly."""
    rng = np.random.default_rng(SEED)
    hours = CLOCK / HOUR
    paths = []
    for _ in range(count):
        wave = rng.uniform(0.0, 0.05) * np.sin(2 * np.pi * hours / rng.uniform(20, 60))
        spot = recorded_chain().spot * np.exp(rng.uniform(-0.5, 0.35) * hours / hours[-1] + wave)
        level = 1 + rng.uniform(0.0, 1.0) * hours / hours[-1]
        paths.append((spot, level, "continuous"))
    return Market.of(paths)


def gains(outcome: Outcome) -> float:
    return float(outcome.percent.mean())


@EVERY_KIND
def test_on_a_continuous_path_an_immediate_liquidation_never_pays_the_leaver(kind: Kind) -> None:
    market = continuous()
    for strategy in (WALKS, replace(SWEEPS, sees=False)):
        outcome = played(kind, market, AT_ONCE, strategy)
        assert (outcome.gain <= ROUNDING * outcome.locked).all()
        assert (outcome.ended == End.LIQUIDATED).any()


def test_a_gap_pays_even_then_so_the_law_above_can_fail() -> None:
    outcome = played(STRANGLE, family("gap"), AT_ONCE, WALKS)
    assert outcome.percent.max() > 20
    assert (outcome.uncovered > 0).any()


@EVERY_KIND
def test_an_honest_party_has_exactly_what_it_has(kind: Kind) -> None:
    outcome = played(kind, family("crash", "bootstrap"), Rules(), HONEST)
    assert not outcome.gain.any()
    assert (outcome.ended == End.SIGNING).all()


@EVERY_KIND
def test_on_the_recorded_hours_nobody_gains_anything(kind: Kind) -> None:
    market = recorded()
    some = market.only(range(0, len(market), 67))
    for strategy in (SWEEPS, EARLY):
        assert (played(kind, some, Rules(), strategy).gain <= 0).all()


def scaled(factor: float) -> MarginPolicy:
    return replace(
        DEFAULT_POLICY,
        scan_initial=int(DEFAULT_POLICY.scan_initial * factor),
        scan_maintenance=int(DEFAULT_POLICY.scan_maintenance * factor),
    )


@pytest.mark.parametrize("kind", [STRANGLE, STRADDLE], ids=lambda kind: kind.name)
def test_more_margin_never_makes_leaving_pay_more(kind: Kind) -> None:
    market = family("crash", "melt-up", "gap", count=120)
    money = [float(played(kind, market, Rules(policy=scaled(f)), WALKS).gain.mean()) for f in (0.5, 1.0, 1.5, 2.0)]
    assert money == sorted(money, reverse=True)
    assert money[-1] < money[0] / 2


@pytest.mark.parametrize("kind", [STRANGLE, kind_named("short puts, 18 d")], ids=lambda kind: kind.name)
def test_without_margin_calls_leaving_pays_and_the_simulation_sees_it(kind: Kind) -> None:
    slow = [i for i in range(400) if family_of(i) == "crash"]
    market = synthetic(SEED, slow)
    # Slow enough for a call to come in time: less than the margin's reach within any half hour.
    gentle = market.only([i for i in range(len(market)) if _worst_half_hour(market.spot[i]) < 0.08])
    called = played(kind, gentle, Rules(cure=1800, outstanding=0), WALKS)
    never = played(kind, gentle, Rules(margin_calls=False), WALKS)
    assert len(gentle) >= 10
    assert gains(called) < 5
    assert gains(never) > gains(called) + 10


def _worst_half_hour(spot: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> float:
    hours = np.arange(0, CLOCK[-1], 300)
    along = np.interp(hours, CLOCK, np.log(spot))
    return float(np.abs(along[6:] - along[:-6]).max())


@EVERY_KIND
def test_seeing_before_curing_is_an_option(kind: Kind) -> None:
    market = family("crash", "whipsaw", "vol spike", count=100)
    rules = Rules(cure=1800)
    waits, walks = played(kind, market, rules, WAITS), played(kind, market, rules, WALKS)
    assert gains(waits) >= gains(walks)
    signing = (waits.cures > 0) & (waits.ended == End.SIGNING)
    assert signing.any()
    assert not waits.gain[signing].any()
    assert walks.gain[signing].mean() < 0


def test_the_option_to_see_grows_with_the_cure_period_where_the_fall_goes_on() -> None:
    market = family("crash", count=400)
    values = [gains(played(STRADDLE, market, Rules(cure=cure), WAITS)) for cure in (300, 1800, 3600, 21_600)]
    assert values == sorted(values)
    assert values[-1] > values[0] + 5


def test_the_adversary_does_not_see_the_future() -> None:
    market = family("crash", "whipsaw", "bootstrap", count=80)
    rules = Rules(cure=3600)
    for strategy in (VOL, REVEALS):
        before = played(STRANGLE, market, rules, strategy)
        spot, level = market.spot.copy(), market.level.copy()
        changed = before.ended == End.LIQUIDATED
        for i in np.flatnonzero(changed):
            spot[i, before.end[i] + 1 :] = spot[i, 0]
            level[i, before.end[i] + 1 :] = level[i, 0]
        after = played(STRANGLE, replace(market, spot=spot, level=level), rules, strategy)
        for one, other in ((before.ended, after.ended), (before.silent, after.silent), (before.gain, after.gain)):
            assert (one == other).all()
        assert (changed & (before.cures > 0)).any()


def test_half_signed_states_buy_half_a_cure_period_each_until_the_challenge_ends() -> None:
    market = family("crash", "melt-up")
    cure, challenge = 1800.0, 7200.0
    rules = Rules(cure=cure, challenge=challenge, outstanding=0)
    plain = played(STRANGLE, market, rules, replace(REVEALS, sees=False))
    one = played(STRANGLE, market, replace(rules, outstanding=1), replace(REVEALS, sees=False))
    many = played(STRANGLE, market, replace(rules, outstanding=32), replace(REVEALS, sees=False))
    done = (plain.ended == End.LIQUIDATED) & (one.ended == End.LIQUIDATED) & (many.ended == End.LIQUIDATED)
    done &= (one.called == plain.called) & (CLOCK[one.end] < 2.5 * HOUR)
    assert done.sum() >= 5
    assert (CLOCK[one.end[done]] >= CLOCK[plain.end[done]] + cure / 2).all()
    bound = CLOCK[many.called] + challenge + cure / 2 + rules.latency
    quick = done & (many.called == plain.called) & (bound + rules.latency < 3 * HOUR)
    assert quick.any()
    assert (CLOCK[many.end[quick]] <= bound[quick] + rules.latency + 60).all()
    assert (CLOCK[many.end[quick]] > CLOCK[one.end[quick]]).all()


def test_frozen_volatilities_pay_the_short_and_a_node_that_declines_pays_nobody() -> None:
    market = family("vol spike", count=200)
    rules = Rules(cure=1800)
    sold = played(STRANGLE, market, rules, VOL)
    assert sold.rest.max() > 0.05 * sold.locked[0]
    assert sold.rest.max() > sold.uncovered.max()
    declined = played(STRANGLE, market, replace(rules, declines=True), VOL)
    liquidated = declined.ended == End.LIQUIDATED
    assert (declined.gain[liquidated] <= declined.uncovered[liquidated] + ROUNDING * declined.locked[liquidated]).all()
    assert gains(declined) < gains(sold)


@pytest.mark.nightly
@EVERY_KIND
def test_on_every_recorded_hour_no_strategy_gains(kind: Kind) -> None:
    for cure in (300, 1800, 21_600):
        for strategy in MENU:
            assert (played(kind, recorded(), Rules(cure=cure), strategy).gain <= 0).all()


@pytest.mark.nightly
@EVERY_KIND
def test_ten_thousand_paths(kind: Kind) -> None:
    market = synthetic(SEED, range(10_000))
    base = played(kind, market, HALF_HOUR, WALKS)
    assert (base.percent[base.uncovered == 0] < 100).all()  # what is not a debt is bounded by the frozen marks
    assert np.allclose(base.gain, base.uncovered + base.rest)
    signing = base.ended == End.SIGNING
    assert not base.gain[signing].any()
    doubled = played(kind, market, replace(HALF_HOUR, policy=scaled(2.0)), WALKS)
    assert doubled.uncovered.mean() <= base.uncovered.mean()
    if kind not in BOUNDED:
        nobody = played(kind, market, Rules(margin_calls=False), WALKS)
        assert nobody.uncovered.mean() >= base.uncovered.mean()
    assert gains(played(kind, market, HALF_HOUR, SWEEPS)) >= gains(base)
