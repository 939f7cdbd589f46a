# pragma version 0.4.3
"""
@title margin_policy
@license MIT
@notice The margin policy in immutables: every number that can move a verdict, with the bounds of `channels.risk.MarginPolicy`.
@dev The bounds keep the margin's arithmetic free of overflow (`docs/risk.md`). The two tables are packed, a row to a word,
     so that a scan reads each with one copy; a row of zeros ends a table that is not full, as no row in use is zero.
"""

from interfaces import IRiskEngine

WAD: constant(uint256) = 10**18
DAY: constant(uint256) = 86_400
MAX_BUMPS: constant(uint256) = 12
MAX_SCENARIOS: constant(uint256) = 40
MAX_AMOUNT: constant(uint256) = 2**120

# Volatility shocks of a scenario.
UNSHOCKED: constant(int256) = 0
UP: constant(int256) = 1
DOWN: constant(int256) = 2

# Layout of a scenario: factor 64, damping 64, horizon 32, shock 2 bits; of a bump: tenor 64, up 64, down 64 bits.
MASK_64: constant(int256) = 2**64 - 1
MASK_32: constant(int256) = 2**32 - 1

HASH: immutable(bytes32)
SCAN_INITIAL: immutable(int256)
SCAN_MAINTENANCE: immutable(int256)
DELTA_CHARGE: immutable(int256)
GAMMA_CHARGE: immutable(int256)
GAMMA_MOVE: immutable(int256)
VEGA_CHARGE: immutable(int256)
SHORT_CHARGE: immutable(int256)
VOL_MAX_AGE: immutable(int256)
VOL_STALE_PER_HOUR: immutable(int256)
INDEPENDENT_AMOUNTS: immutable(uint256[2])
# Of the collateral call, which is made off-chain: kept so that the hash binds them too.
COLLATERAL_TERMS: immutable(uint256[4])
BUMP_COUNT: immutable(uint256)
BUMPS: immutable(int256[MAX_BUMPS])
SCENARIO_COUNT: immutable(uint256)
SCENARIOS: immutable(int256[MAX_SCENARIOS])


@deploy
def __init__(policy: IRiskEngine.Policy):
    """
    @notice Check and keep the policy.
    """
    self._check_scalars(policy)
    HASH = keccak256(abi_encode(policy))
    SCAN_INITIAL = convert(policy.scan_initial, int256)
    SCAN_MAINTENANCE = convert(policy.scan_maintenance, int256)
    DELTA_CHARGE = convert(policy.delta_charge, int256)
    GAMMA_CHARGE = convert(policy.gamma_charge, int256)
    GAMMA_MOVE = convert(policy.gamma_move, int256)
    VEGA_CHARGE = convert(policy.vega_charge, int256)
    SHORT_CHARGE = convert(policy.short_charge, int256)
    VOL_MAX_AGE = convert(policy.vol_max_age, int256)
    VOL_STALE_PER_HOUR = convert(policy.vol_stale_per_hour, int256)
    INDEPENDENT_AMOUNTS = policy.independent_amounts
    COLLATERAL_TERMS = [
        policy.thresholds[0], policy.thresholds[1], policy.minimum_transfer, policy.transfer_rounding
    ]
    BUMP_COUNT = policy.bump_count
    BUMPS = self._packed_bumps(policy)
    SCENARIO_COUNT = policy.scenario_count
    SCENARIOS = self._packed_scenarios(policy)


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


@internal
@view
def _parameters() -> IRiskEngine.Policy:
    """
    @notice The policy, unpacked again.
    """
    policy: IRiskEngine.Policy = empty(IRiskEngine.Policy)
    policy.scan_initial = convert(SCAN_INITIAL, uint256)
    policy.scan_maintenance = convert(SCAN_MAINTENANCE, uint256)
    policy.delta_charge = convert(DELTA_CHARGE, uint256)
    policy.gamma_charge = convert(GAMMA_CHARGE, uint256)
    policy.gamma_move = convert(GAMMA_MOVE, uint256)
    policy.vega_charge = convert(VEGA_CHARGE, uint256)
    policy.short_charge = convert(SHORT_CHARGE, uint256)
    policy.vol_max_age = convert(VOL_MAX_AGE, uint256)
    policy.vol_stale_per_hour = convert(VOL_STALE_PER_HOUR, uint256)
    policy.independent_amounts = INDEPENDENT_AMOUNTS
    policy.thresholds = [COLLATERAL_TERMS[0], COLLATERAL_TERMS[1]]
    policy.minimum_transfer = COLLATERAL_TERMS[2]
    policy.transfer_rounding = COLLATERAL_TERMS[3]
    policy.bump_count = BUMP_COUNT
    for i: uint256 in range(MAX_BUMPS):
        word: uint256 = convert(BUMPS[i], uint256)
        policy.bumps[i] = IRiskEngine.Bump(tenor=word & (2**64 - 1), up=(word >> 64) & (2**64 - 1), down=word >> 128)
    policy.scenario_count = SCENARIO_COUNT
    for i: uint256 in range(MAX_SCENARIOS):
        word: uint256 = convert(SCENARIOS[i], uint256)
        policy.scenarios[i] = IRiskEngine.Scenario(
            spot_factor=word & (2**64 - 1),
            vol_shock=word >> 160,
            damping=(word >> 64) & (2**64 - 1),
            horizon=(word >> 128) & (2**32 - 1),
        )
    return policy
