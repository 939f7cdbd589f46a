"""The campaign: which games are played for the published tables, and the tables, as markdown.

Every figure is a gain in percent of the initial margin that the adversary locks at the opening under the default
policy, so that a variant that asks for more margin is not flattered by its own denominator.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import cache

import numpy as np

from channels.risk import DEFAULT_POLICY, MarginPolicy
from channels.risk.policy import Scenario
from channels.units import WAD

from . import exact
from .books import KINDS, Kind, Legs, kind_named
from .chain import Floats, recorded_chain
from .paths import CLOCK, FAMILIES, HOUR, Market, family_of, recorded, synthetic
from .play import Outcome, play, relevant_rows
from .rules import EARLY, MENU, REVEALS, SWEEPS, VOL, WALKS, Rules, Strategy
from .twin import evaluate

SHORT_CURE = Rules(cure=1800)
FAST = Rules(cure=300)
SOME_KINDS = tuple(kind_named(name) for name in ("short strangle, 11 d", "short straddle, 21 h", "short puts, 18 d"))
STRONGEST = (SWEEPS, VOL, REVEALS)
HALF_SIGNED_AT = 30
Table = tuple[str, list[str]]
"""A marker's name, and the lines between the markers."""


TABLES = (
    "recorded",
    "default",
    "strategies",
    "short-cure",
    "families",
    *(f"parameters-{i + 1}" for i in range(len(SOME_KINDS))),
    "reach",
    "half-signed",
)


@dataclass(frozen=True, slots=True)
class Campaign:
    """How much is played. The same campaign gives the same tables on every machine, to the printed digit."""

    seed: int = 20240108
    paths: int = 10_000
    sweep_paths: int = 2_000
    workers: int = 2


@dataclass(frozen=True, slots=True)
class Played:
    """What is kept of one game, in percent of `locked`; arrays have an entry for each path."""

    kind: str
    strategy: str
    locked: float
    percent: Floats
    uncovered: Floats

    @property
    def mean(self) -> float:
        return float(self.percent.mean())


@cache
def market_of(seed: int, paths: int) -> Market:
    """The campaign's synthetic paths; without any, the recorded windows."""
    return synthetic(seed, range(paths)) if paths else recorded()


def game(kind: Kind, rules: Rules, strategy: Strategy, seed: int, paths: int) -> Played:
    """Play one book under one strategy on all paths."""
    legs = Legs.of(kind)
    outcome = play(market_of(seed, paths), legs, rules, strategy, relevant_rows(legs, rules.policy))
    base = opening_margin(kind)
    return Played(
        kind.name,
        strategy.name,
        float(outcome.locked[0]),
        (100 * outcome.gain / base).astype(np.float32).astype(np.float64),
        (100 * outcome.uncovered / base).astype(np.float32).astype(np.float64),
    )


@cache
def opening_margin(kind: Kind) -> float:
    """The initial margin of a kind of book at the opening under the default policy."""
    legs, market = Legs.of(kind), market_of(0, 0).only([0])
    outcome: Outcome = play(market, legs, Rules(margin_calls=False), WALKS, tuple(range(len(DEFAULT_POLICY.scenarios))))
    return float(outcome.locked[0])


def tables(campaign: Campaign, tell: Callable[[str], None]) -> Iterator[Table]:
    """Play the campaign and return its tables, each as soon as it is ready."""
    with ProcessPoolExecutor(campaign.workers) as pool:

        def batch(games: Sequence[tuple[Kind, Rules, Strategy]], paths: int) -> list[Played]:
            tell(f"{len(games)} games on {paths or 'the recorded'} paths")
            return list(pool.map(game, *zip(*games, strict=True), [campaign.seed] * len(games), [paths] * len(games)))

        yield "recorded", recorded_table(batch)
        menu = (WALKS, SWEEPS, VOL, EARLY, REVEALS)
        at_default = batch([(kind, Rules(), s) for kind in KINDS for s in menu], campaign.paths)
        yield "default", book_table(at_default, campaign, Rules())
        yield "strategies", strategy_table(at_default, menu)
        quick = batch([(kind, SHORT_CURE, s) for kind in KINDS for s in (VOL, REVEALS)], campaign.paths)
        yield "short-cure", book_table(quick, campaign, SHORT_CURE)
        yield "families", family_table(quick)
        variants = parameter_variants()
        for kind in SOME_KINDS:
            games = [(kind, rules, s) for _, rules in variants for s in STRONGEST]
            found = batch(games, campaign.sweep_paths)
            yield f"parameters-{SOME_KINDS.index(kind) + 1}", parameter_table(kind, variants, found)
    yield "reach", reach_table()
    yield "half-signed", half_signed_table(campaign)


def recorded_table(batch: Callable[[Sequence[tuple[Kind, Rules, Strategy]], int], list[Played]]) -> list[str]:
    """Nothing, is the hope: the greatest gain of any strategy in any recorded window."""
    menu = (SWEEPS, VOL, EARLY, REVEALS)
    periods = (("5 min", FAST), ("30 min", SHORT_CURE), ("6 h", Rules()))
    played = batch([(kind, rules, s) for kind in KINDS for _, rules in periods for s in menu], 0)
    found = iter(played)
    lines = _header("book", *(f"greatest gain, cure {name}" for name, _ in periods))
    for kind in KINDS:
        greatest = [max(float(next(found).percent.max()) for _ in menu) for _ in periods]
        lines.append(_row(kind.name, *(f"{max(gain, 0.0):.2f}" for gain in greatest)))
    return lines


def book_table(played: list[Played], campaign: Campaign, rules: Rules) -> list[str]:
    """For each book the strategy with the greatest mean gain, and its worst path by the exact engine."""
    lines = _header(
        "book",
        "locked",
        "best strategy",
        "mean",
        "95 %",
        "99 %",
        "max (exact)",
        "path",
        "uncovered",
        "stale marks",
        "pays on",
    )
    for kind in KINDS:
        best = max((one for one in played if one.kind == kind.name), key=lambda one: one.mean)
        worst = int(np.argmax(best.percent))
        strategy = next(s for s in MENU if s.name == best.strategy)
        replayed = exact.replay(synthetic(campaign.seed, [worst]), 0, Legs.of(kind), rules, strategy)
        lines.append(
            _row(
                kind.name,
                f"{best.locked:,.0f}",
                best.strategy,
                *_quantiles(best.percent),
                f"{replayed.percent:.1f}",
                str(worst),
                f"{best.uncovered.mean():.2f}",
                f"{best.mean - best.uncovered.mean():.2f}",
                f"{100 * (best.percent > 0).mean():.0f} %",
            )
        )
    return lines


def strategy_table(played: list[Played], menu: Sequence[Strategy]) -> list[str]:
    """Mean and 99th percentile of each strategy for each book."""
    lines = _header("book", *(s.name for s in menu))
    for kind in KINDS:
        mine = {one.strategy: one for one in played if one.kind == kind.name}
        lines.append(
            _row(kind.name, *(f"{mine[s.name].mean:.2f} / {np.percentile(mine[s.name].percent, 99):.0f}" for s in menu))
        )
    return lines


def family_table(played: list[Played]) -> list[str]:
    """Mean and 99th percentile on each family of paths, best strategy of each book."""
    lines = _header("book", *FAMILIES)
    for kind in KINDS:
        best = max((one for one in played if one.kind == kind.name), key=lambda one: one.mean)
        names = np.array([family_of(i) for i in range(len(best.percent))])
        cells = []
        for name in FAMILIES:
            mine = best.percent[names == name]
            cells.append(f"{mine.mean():.2f} / {np.percentile(mine, 99):.0f}")
        lines.append(_row(kind.name, *cells))
    return lines


def policy(**changes: int) -> Rules:
    """The short-cure rules with a changed policy."""
    return replace(SHORT_CURE, policy=replace(DEFAULT_POLICY, **changes))


def wider_grid(factor: float) -> MarginPolicy:
    """The default policy with the undamped moves of its grid scaled."""

    def scaled(row: Scenario) -> Scenario:
        if row.damping != WAD:
            return row
        return replace(row, spot_factor=WAD + round((row.spot_factor - WAD) * factor))

    return replace(DEFAULT_POLICY, scenarios=tuple(scaled(row) for row in DEFAULT_POLICY.scenarios))


def parameter_variants() -> list[tuple[str, Rules]]:
    """One change at a time from the default policy with a cure period of 30 minutes."""
    base, percent = SHORT_CURE, WAD // 100
    return [
        ("**default policy, cure 30 min**", base),
        ("cure 5 min", FAST),
        ("cure 1 h", replace(base, cure=HOUR)),
        ("cure 6 h", replace(base, cure=6 * HOUR)),
        ("reply timeout 5 min", replace(base, reply_timeout=300)),
        ("reply timeout 30 min", replace(base, reply_timeout=1800)),
        ("no half-signed mark", replace(base, outstanding=0)),
        ("4 half-signed marks", replace(base, outstanding=4)),
        ("32 half-signed marks", replace(base, outstanding=32)),
        ("32, challenge 1 h", replace(base, outstanding=32, challenge=HOUR)),
        ("node declines stale close-outs", replace(base, declines=True)),
        ("declines, cure 5 min", replace(FAST, declines=True)),
        ("declines, cure 6 h", Rules(declines=True)),
        ("no margin calls", replace(base, margin_calls=False)),
        ("scan ±13.5 %", replace(base, policy=wider_grid(0.75))),
        ("scan ±22.5 %", replace(base, policy=wider_grid(1.25))),
        ("scan ±27 %", replace(base, policy=wider_grid(1.5))),
        ("scan ±36 %", replace(base, policy=wider_grid(2.0))),
        ("f_MM 0.9", policy(scan_maintenance=90 * percent)),
        ("f_MM 1.0", policy(scan_maintenance=WAD)),
        ("f_IM 1.25, f_MM 1.0", policy(scan_initial=125 * percent, scan_maintenance=WAD)),
        ("c_δ 0", policy(delta_charge=0)),
        ("c_δ 2 %", policy(delta_charge=2 * percent)),
        ("c_γ 0", policy(gamma_charge=0)),
        ("c_γ 4", policy(gamma_charge=4 * WAD)),
        ("c_ν 0", policy(vega_charge=0)),
        ("c_ν 6 points", policy(vega_charge=6 * percent)),
        ("c_ν 10 points", policy(vega_charge=10 * percent)),
        ("c_s 0", policy(short_charge=0)),
        ("c_s 1 %", policy(short_charge=percent)),
        ("no charges", policy(delta_charge=0, gamma_charge=0, vega_charge=0, short_charge=0)),
        ("vol_stale_per_hour 0", policy(vol_stale_per_hour=0)),
        ("vol_stale_per_hour 5 %", policy(vol_stale_per_hour=5 * percent)),
        ("20 %, vol_max_age 10 min", policy(vol_stale_per_hour=20 * percent, vol_max_age=600)),
    ]


def parameter_table(kind: Kind, variants: list[tuple[str, Rules]], played: list[Played]) -> list[str]:
    """For each variant the best of the strongest strategies, on all paths and on the bootstrap family alone."""
    lines = _header(kind.name, "locked", "mean", "95 %", "99 %", "max", "uncovered", "bootstrap mean", "bootstrap 99 %")
    found = iter(played)
    for name, _ in variants:
        best = max((next(found) for _ in STRONGEST), key=lambda one: one.mean)
        ordinary = best.percent[[family_of(i) == "bootstrap" for i in range(len(best.percent))]]
        lines.append(
            _row(
                name,
                f"{100 * best.locked / opening_margin(kind):.0f} %",
                *_quantiles(best.percent),
                f"{best.percent.max():.1f}",
                f"{best.uncovered.mean():.2f}",
                f"{ordinary.mean():.2f}",
                f"{np.percentile(ordinary, 99):.1f}",
            )
        )
    return lines


def reach_table() -> list[str]:
    """How far spot may move at once, volatilities as they are, to a breach and to the end of the collateral."""
    lines = _header("book", "fall to breach", "fall to nothing left", "rise to breach", "rise to nothing left")
    spot, moves = recorded_chain().spot, np.arange(1, 9001) / 10_000
    for kind in KINDS:
        legs = Legs.of(kind)
        cells = []
        for sign in (-1, 1):
            scale = 1 if sign < 0 else 2
            moved = spot * (1 + sign * scale * np.concatenate([[0.0], moves]))
            n = len(moved)
            opened = np.full(n, spot)
            zero = np.zeros(n)
            vols = legs.vols(recorded_chain(), opened, np.ones(n), zero)
            fixing = np.broadcast_to(moved[:, None], vols.shape)
            now = evaluate(legs, DEFAULT_POLICY, moved, vols, zero, zero, fixing)
            equity = now.initial(DEFAULT_POLICY)[0] - now.value[0] + now.value
            cells += [
                f"{100 * scale * moves[int(np.argmax(gone)) - 1]:.1f} %" if gone.any() else "never"
                for gone in (equity < now.maintenance(DEFAULT_POLICY), equity < 0)
            ]
        lines.append(_row(kind.name, *cells))
    return lines


def half_signed_table(campaign: Campaign) -> list[str]:
    """What one half-signed trade is worth to who may still accept it: half the strangle bought back, or sold again."""
    kind = SOME_KINDS[0]
    legs, market = Legs.of(kind), market_of(campaign.seed, campaign.sweep_paths)
    names = np.array(market.names)
    n = len(market)

    def values(at: int) -> Floats:
        t = np.full(n, CLOCK[at])
        vols = legs.vols(recorded_chain(), market.spot[:, at], market.level[:, at], t)
        fixing = np.broadcast_to(market.spot[:, at][:, None], vols.shape)
        return evaluate(legs, DEFAULT_POLICY, market.spot[:, at], vols, t, np.zeros(n), fixing, rows=()).value

    signed = values(HALF_SIGNED_AT)
    lines = _header("the peer may accept for", "paths", "mean", "95 %", "99 %", "max")
    for text, seconds in (("1 min", 60), ("30 min", 1800), ("6 h", 6 * HOUR), ("24 h", 24 * HOUR)):
        at = int(np.searchsorted(CLOCK, CLOCK[HALF_SIGNED_AT] + seconds))
        change = 100 * 0.5 * (values(at) - signed) / opening_margin(kind)
        for label, chosen in (("bootstrap", names == "bootstrap"), ("all", names != "")):
            free = np.maximum(np.concatenate([change[chosen], -change[chosen]]), 0.0)
            lines.append(_row(text, label, *_quantiles(free), f"{free.max():.1f}"))
    return lines


def _quantiles(percent: Floats) -> tuple[str, str, str]:
    return f"{percent.mean():.2f}", f"{np.percentile(percent, 95):.1f}", f"{np.percentile(percent, 99):.1f}"


def _header(*cells: str) -> list[str]:
    return [_row(*cells), _row("---", *("---:" for _ in cells[1:]))]


def _row(*cells: str) -> str:
    return "| " + " | ".join(cells) + " |"
