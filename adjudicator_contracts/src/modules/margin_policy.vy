# pragma version 0.4.3
"""
@title margin_policy
@license MIT
@notice The margin policy in immutables: every number that can move a verdict, with the bounds of `channels.risk.MarginPolicy`.
@dev The bounds keep the margin's arithmetic free of overflow (`docs/risk.md`). The two tables are packed, a row to a word,
     so that a scan reads each with one copy; a row of zeros ends a table that is not full, as no row in use is zero.
"""

from interfaces import IRiskEngine
from . import policy_rules

MAX_BUMPS: constant(uint256) = 12
MAX_SCENARIOS: constant(uint256) = 40

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
    policy_rules._check_scalars(policy)
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
    BUMPS = policy_rules._packed_bumps(policy)
    SCENARIO_COUNT = policy.scenario_count
    SCENARIOS = policy_rules._packed_scenarios(policy)


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
