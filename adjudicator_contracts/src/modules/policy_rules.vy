# pragma version 0.4.3
"""
@title policy_rules
@license MIT
@notice What a margin policy must be to be deployed, the bounds of `channels.risk.MarginPolicy`, and its tables packed.
@dev Runs in the constructor only. The bounds keep the margin's arithmetic free of overflow (`docs/risk.md`).
"""

from interfaces import IRiskEngine

WAD: constant(uint256) = 10**18
DAY: constant(uint256) = 86_400
MAX_BUMPS: constant(uint256) = 12
MAX_SCENARIOS: constant(uint256) = 40
MAX_AMOUNT: constant(uint256) = 2**120


@internal
@pure
def _check_scalars(policy: IRiskEngine.Policy):
    """
    @notice Every number outside the tables lies within its bounds.
    """
    assert policy.scan_maintenance != 0 and policy.scan_maintenance <= policy.scan_initial, "risk: policy"
    assert policy.scan_initial <= 4 * WAD, "risk: policy"
    assert policy.delta_charge <= 4 * WAD and policy.gamma_charge <= 4 * WAD, "risk: policy"
    assert policy.vega_charge <= 4 * WAD and policy.short_charge <= 4 * WAD, "risk: policy"
    assert policy.gamma_move >= WAD // 10_000 and policy.gamma_move <= WAD // 2, "risk: policy"
    assert policy.vol_max_age <= 30 * DAY and policy.vol_stale_per_hour <= WAD, "risk: policy"
    for party: uint256 in range(2):
        assert policy.independent_amounts[party] <= MAX_AMOUNT, "risk: policy"
        assert policy.thresholds[party] <= MAX_AMOUNT, "risk: policy"
    assert policy.minimum_transfer <= MAX_AMOUNT and policy.transfer_rounding <= MAX_AMOUNT, "risk: policy"
    assert policy.bump_count != 0 and policy.bump_count <= MAX_BUMPS, "risk: policy"
    assert policy.scenario_count != 0 and policy.scenario_count <= MAX_SCENARIOS, "risk: policy"


@internal
@pure
def _packed_bumps(policy: IRiskEngine.Policy) -> int256[MAX_BUMPS]:
    """
    @notice The bumps, a word each: within bounds, tenors rising strictly, zero beyond their number.
    """
    packed: int256[MAX_BUMPS] = empty(int256[MAX_BUMPS])
    last: uint256 = 0
    for i: uint256 in range(MAX_BUMPS):
        bump: IRiskEngine.Bump = policy.bumps[i]
        if i < policy.bump_count:
            assert bump.tenor > last and bump.tenor <= 3650 * DAY, "risk: policy"
            assert bump.up <= 8 * WAD and bump.down <= WAD, "risk: policy"
            last = bump.tenor
        else:
            assert bump.tenor | bump.up | bump.down == 0, "risk: policy"
        packed[i] = convert(bump.tenor | (bump.up << 64) | (bump.down << 128), int256)
    return packed


@internal
@pure
def _packed_scenarios(policy: IRiskEngine.Policy) -> int256[MAX_SCENARIOS]:
    """
    @notice The scenarios, a word each: within bounds, none twice, zero beyond their number.
    """
    packed: int256[MAX_SCENARIOS] = empty(int256[MAX_SCENARIOS])
    for i: uint256 in range(MAX_SCENARIOS):
        row: IRiskEngine.Scenario = policy.scenarios[i]
        if i < policy.scenario_count:
            assert row.spot_factor != 0 and row.spot_factor <= 16 * WAD, "risk: policy"
            assert row.vol_shock <= 2 and row.horizon <= 30 * DAY, "risk: policy"
            assert row.damping != 0 and row.damping <= WAD, "risk: policy"
        else:
            assert row.spot_factor | row.vol_shock | row.damping | row.horizon == 0, "risk: policy"
        word: int256 = convert(
            row.spot_factor | (row.damping << 64) | (row.horizon << 128) | (row.vol_shock << 160), int256
        )
        for j: uint256 in range(i, bound=MAX_SCENARIOS):
            assert word == 0 or packed[j] != word, "risk: policy"
        packed[i] = word
    return packed
