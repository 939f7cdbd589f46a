"""The margin policy: scenario grid, volatility bumps, charges and collateral conventions, one frozen value.

A policy is bound into a channel's terms by its hash, so every number that can move a verdict is here and nowhere
else, and each is checked against bounds at birth. The bounds keep the fixed-point margin free of overflow
(`docs/risk.md`). Amounts of money are WAD of the quote currency, so one policy serves tokens of any decimals.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from itertools import pairwise

from ..errors import InvalidValue
from ..model.identity import checked_range, keccak, word
from ..units import SECONDS_PER_DAY, WAD, mul_div_up

MAX_SCENARIOS = 40
MAX_BUMPS = 12
MAX_FACTOR = 16 * WAD
MAX_AMOUNT = 2**120
"""Largest independent amount, threshold, minimum transfer and rounding, WAD."""


class VolShock(IntEnum):
    """Which of a tenor's bumps a scenario applies."""

    NONE = 0
    UP = 1
    DOWN = 2


@dataclass(frozen=True, slots=True)
class Scenario:
    """One row of the grid: spot × `spot_factor`, volatility by `vol_shock`, loss × `damping`, tau less `horizon` s."""

    spot_factor: int
    vol_shock: VolShock
    damping: int = WAD
    horizon: int = 0

    def __post_init__(self) -> None:
        checked_range("spot_factor", self.spot_factor, 1, MAX_FACTOR)
        if type(self.vol_shock) is not VolShock:
            raise InvalidValue("vol_shock", self.vol_shock, "this must be a VolShock")
        checked_range("damping", self.damping, 1, WAD)
        checked_range("horizon", self.horizon, 0, 30 * SECONDS_PER_DAY)

    @property
    def is_base(self) -> bool:
        """Whether nothing moves, so that the loss is zero."""
        return self.spot_factor == WAD and self.vol_shock == VolShock.NONE and self.horizon == 0

    def __str__(self) -> str:
        move = (self.spot_factor - WAD) * 10_000 // WAD
        parts = [f"spot {'-' if move < 0 else '+'}{abs(move) / 100:g} %", f"vol {self.vol_shock.name.lower()}"]
        if self.damping != WAD:
            parts.append(f"weight {self.damping * 10_000 // WAD / 10_000:g}")
        if self.horizon:
            parts.append(f"{self.horizon / SECONDS_PER_DAY:g} d later")
        return ", ".join(parts)


@dataclass(frozen=True, slots=True)
class VolBump:
    """At `tenor` seconds a volatility rises by the fraction `up` of itself, or falls by the fraction `down`, WAD."""

    tenor: int
    up: int
    down: int

    def __post_init__(self) -> None:
        checked_range("tenor", self.tenor, 1, 3650 * SECONDS_PER_DAY)
        checked_range("up", self.up, 0, 8 * WAD)
        checked_range("down", self.down, 0, WAD)


def default_grid() -> tuple[Scenario, ...]:
    """Return the 34 rows of the default policy: nine moves × three volatilities, six damped tails, one day of decay."""
    core = [
        Scenario(WAD + step * WAD * 45 // 1000, shock)
        for step in range(-4, 5)
        for shock in (VolShock.DOWN, VolShock.NONE, VolShock.UP)
    ]
    tails = [
        Scenario(WAD * factor // 100, VolShock.UP, WAD * damping // 10_000)
        for factor, damping in ((34, 2100), (67, 4200), (150, 2772), (200, 1386), (300, 693), (400, 462))
    ]
    return (*core, *tails, Scenario(WAD, VolShock.NONE, WAD, SECONDS_PER_DAY))


_MICRO = WAD // 10**6
DEFAULT_BUMPS = tuple(
    VolBump(days * SECONDS_PER_DAY, up * _MICRO, down * _MICRO)
    for days, up, down in (
        (1, 1387096, 832257),
        (2, 1126672, 676003),
        (4, 915142, 549085),
        (7, 773708, 464225),
        (14, 628446, 377068),
        (30, 500000, 300000),
        (60, 456916, 274149),
        (90, 433455, 260073),
        (180, 396105, 237663),
        (365, 361325, 216795),
        (730, 330190, 198114),
    )
)
"""Up 0.5 and down 0.3 times (30 d / tenor)^p, p = 0.3 up to 30 days and 0.13 beyond; from tools/fit_constants.py."""


@dataclass(frozen=True, slots=True)
class MarginPolicy:
    """Everything that turns positions into margin; the defaults are those of docs/risk.md.

    Factors, charges, moves and rates are WAD fractions; ages are seconds; `independent_amounts` and `thresholds` are
    per party, and with `minimum_transfer` and `transfer_rounding` (0: none) WAD of the quote currency. `gamma_charge`
    is a multiple of the profit or loss that gamma makes over a relative move of `gamma_move`. Raises InvalidValue.
    """

    scan_initial: int = WAD
    scan_maintenance: int = 8 * WAD // 10
    delta_charge: int = WAD // 100
    gamma_charge: int = WAD
    gamma_move: int = WAD // 100
    vega_charge: int = 3 * WAD // 100
    short_charge: int = 3 * WAD // 1000
    vol_max_age: int = 3600
    vol_stale_per_hour: int = WAD // 100
    independent_amounts: tuple[int, int] = (0, 0)
    thresholds: tuple[int, int] = (0, 0)
    minimum_transfer: int = WAD
    transfer_rounding: int = 0
    bumps: tuple[VolBump, ...] = DEFAULT_BUMPS
    scenarios: tuple[Scenario, ...] = default_grid()

    def __post_init__(self) -> None:
        checked_range("scan_maintenance", self.scan_maintenance, 1, 4 * WAD)
        checked_range("scan_initial", self.scan_initial, self.scan_maintenance, 4 * WAD)
        for name in ("delta_charge", "gamma_charge", "vega_charge", "short_charge"):
            checked_range(name, getattr(self, name), 0, 4 * WAD)
        checked_range("gamma_move", self.gamma_move, WAD // 10_000, WAD // 2)
        checked_range("vol_max_age", self.vol_max_age, 0, 30 * SECONDS_PER_DAY)
        checked_range("vol_stale_per_hour", self.vol_stale_per_hour, 0, WAD)
        for name in ("independent_amounts", "thresholds"):
            pair = getattr(self, name)
            if not isinstance(pair, tuple) or len(pair) != 2:
                raise InvalidValue(name, pair, "this must be one amount per party")
            for amount in pair:
                checked_range(name, amount, 0, MAX_AMOUNT)
        checked_range("minimum_transfer", self.minimum_transfer, 0, MAX_AMOUNT)
        checked_range("transfer_rounding", self.transfer_rounding, 0, MAX_AMOUNT)
        _checked_rows("bumps", self.bumps, VolBump, MAX_BUMPS)
        if any(before.tenor >= after.tenor for before, after in pairwise(self.bumps)):
            raise InvalidValue("bumps", self.bumps, "tenors must rise strictly")
        _checked_rows("scenarios", self.scenarios, Scenario, MAX_SCENARIOS)
        if len(set(self.scenarios)) != len(self.scenarios):
            raise InvalidValue("scenarios", self.scenarios, "a scenario appears twice")

    def encode(self) -> bytes:
        """Return the canonical encoding: static ABI words in the order of the fields above.

        The two tables come last, each as its count followed by MAX_BUMPS rows of 3 and MAX_SCENARIOS rows of 4 words,
        padded with zeros: what `abi_encode` of a struct with two static arrays gives.
        """
        numbers = [
            self.scan_initial,
            self.scan_maintenance,
            self.delta_charge,
            self.gamma_charge,
            self.gamma_move,
            self.vega_charge,
            self.short_charge,
            self.vol_max_age,
            self.vol_stale_per_hour,
            *self.independent_amounts,
            *self.thresholds,
            self.minimum_transfer,
            self.transfer_rounding,
            len(self.bumps),
        ]
        for bump in self.bumps:
            numbers += (bump.tenor, bump.up, bump.down)
        numbers += [0] * (3 * (MAX_BUMPS - len(self.bumps)))
        numbers.append(len(self.scenarios))
        for row in self.scenarios:
            numbers += (row.spot_factor, row.vol_shock, row.damping, row.horizon)
        numbers += [0] * (4 * (MAX_SCENARIOS - len(self.scenarios)))
        return b"".join(map(word, numbers))

    @property
    def hash(self) -> bytes:
        """keccak256 of the encoding: the `policy` of a channel's terms."""
        return keccak(self.encode())


def _checked_rows(field: str, rows: object, kind: type, limit: int) -> None:
    if not isinstance(rows, tuple) or not 1 <= len(rows) <= limit or not all(type(row) is kind for row in rows):
        raise InvalidValue(field, rows, f"this must be a tuple of 1 to {limit} {kind.__name__} rows")


DEFAULT_POLICY = MarginPolicy()


def money_to_tokens_up(amount: int, decimals: int) -> int:
    """Return a WAD amount of the quote currency in token units, rounded up."""
    unit: int = 10**decimals
    return mul_div_up(amount, unit, WAD)
