"""Whether a risk engine is the shipped one with a given margin policy: its code, to the last immutable. Pure.

An engine has no state: what it decides is its code, and the policy is part of that. But init code is the deployer's
own, and can leave the shipped runtime behind with immutables that the shipped constructor would never have written: the
hash of one policy beside the grid of another. So every immutable is compared, and not the hash alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import Any

from adjudicator_contracts import artifact

from ..errors import ContractMismatch, InvalidValue
from ..model import Address
from ..model.identity import word
from ..risk.policy import MAX_BUMPS, MAX_SCENARIOS, MarginPolicy, Scenario, VolBump, VolShock

NAME = "RiskEngine"
_MODULE = "margin_policy."


def immutables(policy: MarginPolicy) -> dict[str, bytes]:
    """Return what the constructor writes for a policy, by name: `modules/margin_policy.vy` and its packing of rows."""
    bumps = [bump.tenor | bump.up << 64 | bump.down << 128 for bump in policy.bumps]
    rows = [r.spot_factor | r.damping << 64 | r.horizon << 128 | r.vol_shock << 160 for r in policy.scenarios]
    collateral = (*policy.thresholds, policy.minimum_transfer, policy.transfer_rounding)
    return {
        "HASH": policy.hash,
        "SCAN_INITIAL": word(policy.scan_initial),
        "SCAN_MAINTENANCE": word(policy.scan_maintenance),
        "DELTA_CHARGE": word(policy.delta_charge),
        "GAMMA_CHARGE": word(policy.gamma_charge),
        "GAMMA_MOVE": word(policy.gamma_move),
        "VEGA_CHARGE": word(policy.vega_charge),
        "SHORT_CHARGE": word(policy.short_charge),
        "VOL_MAX_AGE": word(policy.vol_max_age),
        "VOL_STALE_PER_HOUR": word(policy.vol_stale_per_hour),
        "INDEPENDENT_AMOUNTS": _words(policy.independent_amounts),
        "COLLATERAL_TERMS": _words(collateral),
        "BUMP_COUNT": word(len(bumps)),
        "BUMPS": _words([*bumps, *[0] * (MAX_BUMPS - len(bumps))]),
        "SCENARIO_COUNT": word(len(rows)),
        "SCENARIOS": _words([*rows, *[0] * (MAX_SCENARIOS - len(rows))]),
    }


def require_engine(address: Address, code: bytes, policy: MarginPolicy) -> None:
    """Raise ContractMismatch, naming what differs, unless `code` is the shipped engine's with exactly this policy."""
    shipped = artifact(NAME)
    if not code:
        raise ContractMismatch(str(address), "there is no code")
    if not shipped.matches(code):
        raise ContractMismatch(str(address), f"its code is not that of the shipped {NAME}")
    expected = immutables(policy)
    names = [value.name.removeprefix(_MODULE) for value in shipped.immutables]
    differing = [name for name in names if shipped.immutable(code, _MODULE + name) != expected.get(name)]
    if differing:
        detail = f"its margin policy is not 0x{policy.hash.hex()}: {', '.join(differing)} differ"
        raise ContractMismatch(str(address), detail)


def policy_of(address: Address, parameters: Sequence[Any]) -> MarginPolicy:
    """Return the policy that an engine's `parameters()` answers; ContractMismatch for one that nobody could deploy."""
    (*scalars, independent, thresholds, least, rounding, bump_count, bumps, count, rows) = parameters
    names = [field.name for field in fields(MarginPolicy)]
    try:
        return MarginPolicy(
            **dict(zip(names[: len(scalars)], scalars, strict=True)),
            independent_amounts=independent,
            thresholds=thresholds,
            minimum_transfer=least,
            transfer_rounding=rounding,
            bumps=tuple(VolBump(*bump) for bump in bumps[:bump_count]),
            scenarios=tuple(Scenario(f, VolShock(shock), damping, later) for f, shock, damping, later in rows[:count]),
        )
    except (InvalidValue, ValueError) as broken:
        raise ContractMismatch(str(address), f"its margin policy is none: {broken}") from None


def _words(numbers: Sequence[int]) -> bytes:
    return b"".join(map(word, numbers))
