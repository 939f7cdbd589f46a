"""The policy in the engine: what the library accepts deploys, reads back and has its hash; what it refuses does not."""

from __future__ import annotations

import re
from dataclasses import fields, replace
from pathlib import Path
from random import Random

import pytest
from eth_hash.auto import keccak

from channels.errors import InvalidValue
from channels.risk import MarginPolicy, Scenario, VolBump, VolShock, fixed
from channels.units import SECONDS_PER_DAY as DAY, WAD
from tests.contracts.engine_books import POLICIES, random_policy
from tests.contracts.engine_world import Engine, Reverted

SOURCES = Path(__file__).parents[2] / "adjudicator_contracts" / "src"
WORD = 32
NAMES = [
    *("scan_initial", "scan_maintenance", "delta_charge", "gamma_charge", "gamma_move", "vega_charge", "short_charge"),
    *("vol_max_age", "vol_stale_per_hour", "independent 0", "independent 1", "threshold 0", "threshold 1"),
    *("minimum_transfer", "transfer_rounding", "bump_count"),
]
BUMPS_AT = len(NAMES)
SCENARIOS_AT = BUMPS_AT + 36 + 1


def words(encoded: bytes) -> list[int]:
    return [int.from_bytes(encoded[at : at + WORD], "big") for at in range(0, len(encoded), WORD)]


def refused(numbers: list[int]) -> bool:
    encoded = b"".join(number.to_bytes(WORD, "big") for number in numbers)
    try:
        engine = Engine.with_arguments(encoded)
    except Reverted as error:
        assert str(error) == "risk: policy"
        return True
    assert engine("policy") == keccak(encoded)
    return False


@pytest.mark.parametrize(
    "policy", [*POLICIES, *(random_policy(Random(seed)) for seed in range(20))], ids=lambda p: p.hash.hex()[:8]
)
def test_the_hash_is_the_librarys_and_every_number_reads_back(policy: MarginPolicy) -> None:
    engine = Engine.deployed(policy)
    assert engine("policy") == policy.hash
    (*scalars, independent, thresholds, least, rounding, bump_count, bumps, count, scenarios) = engine("parameters")
    assert scalars == [getattr(policy, field.name) for field in fields(policy)[:9]]
    assert (independent, thresholds) == (policy.independent_amounts, policy.thresholds)
    assert (least, rounding) == (policy.minimum_transfer, policy.transfer_rounding)
    assert tuple(VolBump(*row) for row in bumps[:bump_count]) == policy.bumps
    assert tuple(Scenario(f, VolShock(s), d, h) for f, s, d, h in scenarios[:count]) == policy.scenarios
    assert not any(map(any, bumps[bump_count:])) and not any(map(any, scenarios[count:]))


@pytest.mark.parametrize(
    ("name", "low", "high"),
    [
        ("scan_initial", 8 * WAD // 10, 4 * WAD),
        ("scan_maintenance", 1, WAD),
        *((name, 0, 4 * WAD) for name in ("delta_charge", "gamma_charge", "vega_charge", "short_charge")),
        ("gamma_move", WAD // 10_000, WAD // 2),
        ("vol_max_age", 0, 30 * DAY),
        ("vol_stale_per_hour", 0, WAD),
        *((name, 0, 2**120) for name in NAMES[9:15]),
    ],
)
def test_scalar_bounds_are_the_librarys(name: str, low: int, high: int) -> None:
    at = NAMES.index(name)
    for value, accepted in ((low, True), (high, True), (low - 1, False), (high + 1, False), (2**256 - 1, False)):
        if value < 0:
            continue
        numbers = words(MarginPolicy().encode())
        numbers[at] = value
        assert refused(numbers) is not accepted, value
        if at < 9:
            assert library_refuses(**{name: value}) is not accepted, value


def library_refuses(**changes: object) -> bool:
    try:
        replace(MarginPolicy(), **changes)
    except InvalidValue:
        return True
    return False


def _changed(at: int, value: int) -> list[int]:
    numbers = words(MarginPolicy().encode())
    numbers[at] = value
    return numbers


LAST_ROW = SCENARIOS_AT + 4 * 33


@pytest.mark.parametrize(
    "numbers",
    [
        _changed(BUMPS_AT - 1, 0),
        _changed(BUMPS_AT - 1, 10),
        _changed(BUMPS_AT - 1, 12),
        _changed(BUMPS_AT - 1, 13),
        _changed(BUMPS_AT, 0),
        _changed(BUMPS_AT, 2 * DAY),
        _changed(BUMPS_AT + 30, 3650 * DAY + 1),
        _changed(BUMPS_AT + 1, 8 * WAD + 1),
        _changed(BUMPS_AT + 2, WAD + 1),
        _changed(BUMPS_AT + 33, 1),
        _changed(BUMPS_AT + 34, 1),
        _changed(SCENARIOS_AT - 1, 0),
        _changed(SCENARIOS_AT - 1, 33),
        _changed(SCENARIOS_AT - 1, 35),
        _changed(SCENARIOS_AT - 1, 41),
        _changed(SCENARIOS_AT, 0),
        _changed(SCENARIOS_AT, 16 * WAD + 1),
        _changed(SCENARIOS_AT, 2**64 + WAD),
        _changed(SCENARIOS_AT + 1, 3),
        _changed(SCENARIOS_AT + 2, 0),
        _changed(SCENARIOS_AT + 2, WAD + 1),
        _changed(SCENARIOS_AT + 3, 30 * DAY + 1),
        _changed(LAST_ROW + 3, 0),
        _changed(LAST_ROW + 4, 1),
    ],
)
def test_tables_out_of_bounds_unsorted_repeated_or_not_padded_do_not_deploy(numbers: list[int]) -> None:
    assert refused(numbers)


def test_the_code_fits_with_room_to_spare() -> None:
    assert len(Engine.deployed(POLICIES[3]).code) <= 23_000


def test_the_contracts_constants_are_the_fitted_ones() -> None:
    """`tools/fit_constants.py --check` holds `channels/risk/fixed.py` to the fits; this holds the contract to it."""
    text = (SOURCES / "modules" / "fixed.vy").read_text("utf-8")
    found = dict(re.findall(r"^(\w+): constant\(int256\) = (\d+|-\d+)$", text, re.MULTILINE))
    names = [name for name in vars(fixed) if re.match(r"(SQRT2|LN2|INV_LN2|INV_SQRT|LN_[PQ]|EXP_[PQ]|TAIL_[PQ])", name)]
    assert len(names) == 5 + 10 + 6 + 17
    for name in names:
        assert int(found[name]) == getattr(fixed, name), name
