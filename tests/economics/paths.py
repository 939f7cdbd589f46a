"""Price and volatility paths: windows of the recorded hours, and SYNTHETIC ones for what those mild weeks lack.

A path has a spot and a volatility level (a factor on the recorded smile) at every instant of one clock: 60 hours, a
mark a minute in the first three, every five minutes until the twelfth, every half hour after. A synthetic path follows
from (seed, index) alone; the index also names its family, in fixed shares. The shares are a stress set, not a forecast:
a mean over them weighs crashes far above their frequency.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from .chain import SECONDS_PER_YEAR, Floats, hourly_closes, hourly_returns, recorded_chain

HOURS = 60
MINUTE, HOUR = 60, 3600
CLOCK = np.concatenate(
    [np.arange(0, 3 * HOUR, MINUTE), np.arange(3 * HOUR, 12 * HOUR, 300), np.arange(12 * HOUR, HOURS * HOUR + 1, 1800)]
).astype(np.float64)
"""Seconds since the chain's instant at which the market is marked."""
_DT = np.diff(CLOCK)
_SPOT_PLACES, _LEVEL_PLACES = 8, 6

Family = Callable[[np.random.Generator], tuple[Floats, Floats]]
"""Draws the log returns of a path's steps, and its volatility level at every instant."""


@dataclass(frozen=True, slots=True)
class Market:
    """Paths side by side: `spot` and `level` have one row for each path and one column for each instant of CLOCK."""

    spot: Floats
    level: Floats
    names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.names)

    def only(self, rows: Iterable[int]) -> Market:
        """Return these paths alone."""
        chosen = list(rows)
        return Market(self.spot[chosen], self.level[chosen], tuple(self.names[i] for i in chosen))

    @classmethod
    def of(cls, paths: Iterable[tuple[Floats, Floats, str]]) -> Market:
        """Return a market of (spot, level, name) paths, rounded as feeds and marks are."""
        spots, levels, names = zip(*paths, strict=True)
        return cls(np.round(np.array(spots), _SPOT_PLACES), np.round(np.array(levels), _LEVEL_PLACES), tuple(names))


def recorded() -> Market:
    """Return every 60-hour window of the recorded closes, log-linear within an hour, volatilities as recorded.

    Spot starts at the chain's and takes the recorded returns, as in the demo.
    """
    _, closes = hourly_closes()
    logs = np.log(closes)
    hours = CLOCK / HOUR
    spot = recorded_chain().spot
    return Market.of(
        (
            spot * np.exp(np.interp(hours, np.arange(HOURS + 1), logs[i : i + HOURS + 1] - logs[i])),
            np.ones(len(CLOCK)),
            "recorded",
        )
        for i in range(len(closes) - HOURS)
    )


def synthetic(seed: int, indices: Iterable[int]) -> Market:
    """Return the synthetic paths with these indices."""
    return Market.of(_draw(seed, index) for index in indices)


def family_of(index: int) -> str:
    """Return the family that a path index belongs to."""
    return _SCHEDULE[index % len(_SCHEDULE)]


def _draw(seed: int, index: int) -> tuple[Floats, Floats, str]:
    name = family_of(index)
    steps, level = FAMILIES[name](np.random.default_rng([seed, index]))
    spot = recorded_chain().spot * np.exp(np.concatenate([[0.0], np.cumsum(steps)]))
    return np.maximum(spot, 1.0), np.clip(level, 0.4, 4.0), name


def _diffusion(rng: np.random.Generator, vol: float, level: Floats) -> Floats:
    return rng.standard_normal(len(_DT)) * vol * level[:-1] * np.sqrt(_DT / SECONDS_PER_YEAR)


def bootstrap(rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Recorded hourly returns in blocks of six, scaled by 1 to 2.5, bridged within the hour, with fat-tailed jumps.

    Jumps: Poisson, two in 60 hours, 3 % times a Student t of three degrees. The level reverts over twelve hours and
    rises when spot falls.
    """
    returns = hourly_returns()
    scale = rng.uniform(1.0, 2.5)
    starts = rng.integers(0, len(returns) - 6, HOURS // 6)
    hourly = scale * np.concatenate([returns[i : i + 6] for i in starts])
    hour = np.minimum(CLOCK[:-1] // HOUR, HOURS - 1).astype(int)
    share = _DT / HOUR
    noise = rng.standard_normal(len(_DT)) * scale * returns.std() * np.sqrt(share)
    steps = hourly[hour] * share + noise - share * np.bincount(hour, noise, HOURS)[hour]
    for _ in range(rng.poisson(2.0)):
        steps[rng.integers(len(steps))] += np.clip(0.03 * rng.standard_t(3), -0.6, 0.6)
    log_level, levels = 0.0, [0.0]
    for step, dt, shock in zip(steps, _DT, rng.standard_normal(len(steps)), strict=True):
        log_level += -log_level * dt / (12 * HOUR) - 1.5 * step + 0.4 * shock * np.sqrt(dt / 86_400)
        levels.append(log_level)
    return steps, np.exp(np.array(levels))


def crash(rng: np.random.Generator) -> tuple[Floats, Floats]:
    """A fall of 10 to 60 % within one minute to 48 hours, half of them with a partial bounce."""
    return _regime(rng, np.log(1 - rng.uniform(0.10, 0.60)), rng.uniform(1, 5))


def melt_up(rng: np.random.Generator) -> tuple[Floats, Floats]:
    """A rise of 10 to 60 % within one minute to 48 hours, half of them with a partial retreat."""
    return _regime(rng, np.log(1 + rng.uniform(0.10, 0.60)), rng.uniform(0.5, 3))


def _regime(rng: np.random.Generator, move: float, reaction: float) -> tuple[Floats, Floats]:
    onset = rng.uniform(5, 100) * MINUTE
    duration = np.exp(rng.uniform(np.log(MINUTE), np.log(48 * HOUR)))
    done = _progress(rng, onset, duration)
    bounce = _progress(rng, onset + duration, duration * rng.uniform(0.2, 1.0))
    back = rng.uniform(0.0, 0.6) * (rng.random() < 0.5)
    level = 1 + reaction * abs(np.expm1(move)) * np.sqrt(done) * _decay(onset + duration, 24 * HOUR)
    steps = np.diff(move * (done - back * bounce)) + _diffusion(rng, rng.uniform(0.4, 0.9), level)
    return steps, level


def vol_spike(rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Volatilities rise by 30 to 200 % within half an hour and halve again in 2 to 24 hours; spot has no trend."""
    onset, duration = rng.uniform(5, 100) * MINUTE, rng.uniform(1, 30) * MINUTE
    half_life = rng.uniform(2, 24) * HOUR
    level = 1 + rng.uniform(0.3, 2.0) * _progress(rng, onset, duration) * _decay(onset + duration, half_life)
    return _diffusion(rng, rng.uniform(0.4, 0.8), level), level


def whipsaw(rng: np.random.Generator) -> tuple[Floats, Floats]:
    """A move of 8 to 35 % either way within two hours, and 80 to 110 % of it back within the next four."""
    move = np.log(1 + rng.choice([-1, 1]) * rng.uniform(0.08, 0.35))
    onset, out = rng.uniform(5, 60) * MINUTE, rng.uniform(5, 120) * MINUTE
    home = rng.uniform(5, 240) * MINUTE
    there, back = _progress(rng, onset, out), _progress(rng, onset + out, home)
    level = 1 + rng.uniform(0.5, 3) * abs(move) * there * _decay(onset + out, 6 * HOUR)
    steps = np.diff(move * (there - rng.uniform(0.8, 1.1) * back)) + _diffusion(rng, 0.6, level)
    return steps, level


def gap(rng: np.random.Generator) -> tuple[Floats, Floats]:
    """One mark to the next: a move of 10 to 45 % either way, and volatilities with it."""
    move = np.log(1 + rng.choice([-1, 1]) * rng.uniform(0.10, 0.45))
    at = rng.integers(5, 100)
    level = np.ones(len(CLOCK))
    level[at + 1 :] += rng.uniform(1, 4) * abs(move)
    level = 1 + (level - 1) * _decay(CLOCK[at + 1], 24 * HOUR)
    steps = _diffusion(rng, 0.6, level)
    steps[at] += move
    return steps, level


def _progress(rng: np.random.Generator, onset: float, duration: float) -> Floats:
    """Return how much of a move is done at each instant, 0 to 1, in uneven steps between onset and onset + duration."""
    share = np.diff(np.clip((CLOCK - onset) / duration, 0.0, 1.0))
    uneven = share * rng.gamma(0.7, size=len(share))
    if uneven.sum() == 0.0:
        return np.zeros(len(CLOCK))
    done = share.sum()  # less than 1 where the path ends first
    return np.concatenate([[0.0], np.cumsum(uneven) * done / uneven.sum()])


def _decay(start: float, half_life: float) -> Floats:
    return np.exp2(-np.maximum(CLOCK - start, 0.0) / half_life)


FAMILIES: dict[str, Family] = {
    "bootstrap": bootstrap,
    "crash": crash,
    "melt-up": melt_up,
    "vol spike": vol_spike,
    "whipsaw": whipsaw,
    "gap": gap,
}
_SCHEDULE = tuple(
    name
    for name, count in {"bootstrap": 8, "crash": 5, "melt-up": 2, "vol spike": 2, "whipsaw": 2, "gap": 1}.items()
    for _ in range(count)
)
"""Families of twenty consecutive indices."""
