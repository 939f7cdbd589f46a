"""The margin policy: the default grid row by row, bounds refused at birth, and an encoding that eth-abi agrees with."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import pytest
from eth_abi import encode
from eth_utils import keccak

from channels.errors import InvalidValue
from channels.risk import DEFAULT_POLICY, MarginPolicy, Scenario, VolBump, VolShock
from channels.risk.policy import MAX_BUMPS, MAX_SCENARIOS, money_to_tokens_up
from channels.units import WAD

DAY = 86_400


def test_the_default_grid_has_the_34_rows_of_the_specification() -> None:
    rows = DEFAULT_POLICY.scenarios
    assert len(rows) == 34
    core, tails, decay = rows[:27], rows[27:33], rows[33]
    assert sorted({row.spot_factor for row in core}) == [WAD * (1000 + 45 * k) // 1000 for k in range(-4, 5)]
    assert {(row.damping, row.horizon) for row in core} == {(WAD, 0)}
    assert len(set(core)) == 27 and {row.vol_shock for row in core} == set(VolShock)
    assert [(row.spot_factor * 100 // WAD, row.damping * 10_000 // WAD) for row in tails] == [
        (34, 2100), (67, 4200), (150, 2772), (200, 1386), (300, 693), (400, 462),
    ]  # fmt: skip
    assert {row.vol_shock for row in tails} == {VolShock.UP}
    assert decay == Scenario(WAD, VolShock.NONE, WAD, DAY)
    assert sum(row.is_base for row in rows) == 1


def test_the_default_bumps_follow_their_power_law() -> None:
    for bump in DEFAULT_POLICY.bumps:
        power = 0.3 if bump.tenor <= 30 * DAY else 0.13
        scale = (30 * DAY / bump.tenor) ** power
        assert bump.up / WAD == pytest.approx(0.5 * scale, abs=1e-6)
        assert bump.down / WAD == pytest.approx(0.3 * scale, abs=1e-6)


def test_the_encoding_is_abi_encode_of_static_words() -> None:
    policy = replace(DEFAULT_POLICY, independent_amounts=(7, 8), thresholds=(9, 10))
    names = [field.name for field in fields(MarginPolicy)][:-2]
    numbers: list[int] = []
    for name in names:
        value = getattr(policy, name)
        numbers += value if isinstance(value, tuple) else [value]
    bumps = [(b.tenor, b.up, b.down) for b in policy.bumps] + [(0, 0, 0)] * (MAX_BUMPS - len(policy.bumps))
    rows = [(s.spot_factor, int(s.vol_shock), s.damping, s.horizon) for s in policy.scenarios]
    rows += [(0, 0, 0, 0)] * (MAX_SCENARIOS - len(rows))
    oracle = encode(
        [*["uint256"] * len(numbers), "uint256", f"uint256[3][{MAX_BUMPS}]", "uint256", f"uint256[4][{MAX_SCENARIOS}]"],
        [*numbers, len(policy.bumps), bumps, len(policy.scenarios), rows],
    )
    assert policy.encode() == oracle
    assert policy.hash == keccak(oracle)


def variants() -> list[MarginPolicy]:
    """The default with each field changed by the least amount."""
    changed: list[dict[str, Any]] = [
        {field.name: getattr(DEFAULT_POLICY, field.name) - 1}
        for field in fields(MarginPolicy)
        if type(getattr(DEFAULT_POLICY, field.name)) is int and getattr(DEFAULT_POLICY, field.name)
    ]
    changed += [
        {"independent_amounts": (1, 0)}, {"independent_amounts": (0, 1)}, {"thresholds": (1, 0)},
        {"thresholds": (0, 1)}, {"transfer_rounding": 1}, {"bumps": DEFAULT_POLICY.bumps[:-1]},
        {"scenarios": DEFAULT_POLICY.scenarios[:-1]},
        {"scenarios": DEFAULT_POLICY.scenarios[::-1]},
    ]  # fmt: skip
    return [replace(DEFAULT_POLICY, **change) for change in changed]


def test_every_field_is_in_the_hash() -> None:
    policies = [DEFAULT_POLICY, *variants()]
    assert len(policies) == 19
    assert len({policy.hash for policy in policies}) == len(policies)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("scan_initial", 8 * WAD // 10 - 1),
        ("scan_initial", 4 * WAD + 1),
        ("scan_maintenance", 0),
        ("scan_maintenance", 4 * WAD + 1),
        ("delta_charge", -1),
        ("gamma_charge", 4 * WAD + 1),
        ("gamma_move", WAD // 10_000 - 1),
        ("gamma_move", WAD // 2 + 1),
        ("vega_charge", 4 * WAD + 1),
        ("short_charge", True),
        ("short_charge", 0.003),
        ("vol_max_age", 30 * DAY + 1),
        ("vol_stale_per_hour", WAD + 1),
        ("independent_amounts", (0,)),
        ("independent_amounts", [0, 0]),
        ("independent_amounts", (-1, 0)),
        ("thresholds", (0, 2**120 + 1)),
        ("minimum_transfer", -1),
        ("transfer_rounding", 2**120 + 1),
        ("bumps", ()),
        ("bumps", (VolBump(DAY, 0, 0), VolBump(DAY, 1, 1))),
        ("bumps", tuple(VolBump(i + 1, 0, 0) for i in range(MAX_BUMPS + 1))),
        ("bumps", [VolBump(DAY, 0, 0)]),
        ("scenarios", ()),
        ("scenarios", (Scenario(WAD, VolShock.UP), Scenario(WAD, VolShock.UP))),
        ("scenarios", tuple(Scenario(i + 1, VolShock.UP) for i in range(MAX_SCENARIOS + 1))),
        ("scenarios", ((WAD, 1, WAD, 0),)),
    ],
)
def test_a_policy_out_of_bounds_is_refused_by_field(field: str, value: object) -> None:
    with pytest.raises(InvalidValue) as refused:
        replace(DEFAULT_POLICY, **{field: value})
    assert refused.value.field == field


@pytest.mark.parametrize(
    ("make", "field"),
    [
        (lambda: Scenario(0, VolShock.UP), "spot_factor"),
        (lambda: Scenario(16 * WAD + 1, VolShock.UP), "spot_factor"),
        (lambda: Scenario(WAD, 1), "vol_shock"),
        (lambda: Scenario(WAD, VolShock.UP, 0), "damping"),
        (lambda: Scenario(WAD, VolShock.UP, WAD + 1), "damping"),
        (lambda: Scenario(WAD, VolShock.UP, WAD, 30 * DAY + 1), "horizon"),
        (lambda: VolBump(0, 0, 0), "tenor"),
        (lambda: VolBump(1, 8 * WAD + 1, 0), "up"),
        (lambda: VolBump(1, 0, WAD + 1), "down"),
    ],
)
def test_a_row_out_of_bounds_is_refused_by_field(make: Any, field: str) -> None:
    with pytest.raises(InvalidValue) as refused:
        make()
    assert refused.value.field == field


def test_a_scenario_reads_as_a_desk_would_say_it() -> None:
    assert str(Scenario(WAD * 82 // 100, VolShock.UP)) == "spot -18 %, vol up"
    assert str(Scenario(4 * WAD, VolShock.UP, WAD * 462 // 10_000)) == "spot +300 %, vol up, weight 0.0462"
    assert str(Scenario(WAD, VolShock.NONE, WAD, DAY)) == "spot +0 %, vol none, 1 d later"


def test_money_becomes_tokens_rounded_up() -> None:
    assert money_to_tokens_up(WAD, 6) == 10**6
    assert money_to_tokens_up(WAD + 1, 6) == 10**6 + 1
    assert money_to_tokens_up(1, 0) == 1
