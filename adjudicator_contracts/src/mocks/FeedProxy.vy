# pragma version 0.4.3
# pragma evm-version cancun
"""
@title FeedProxy
@license MIT
@notice A proxy in front of one aggregator per phase, as feeds are deployed: each confirmed aggregator is another phase.
@dev Nothing keeps an aggregator from being confirmed twice, from having answered before, or from going on afterwards.
"""

interface Aggregator:
    def decimals() -> uint8: view
    def latestRoundData() -> (uint80, int256, uint256, uint256, uint80): view
    def getRoundData(round_id: uint80) -> (uint80, int256, uint256, uint256, uint80): view


phase: public(uint256)
aggregators: public(HashMap[uint256, address])


@deploy
def __init__(aggregator: address):
    """
    @notice A proxy in phase 1.
    """
    self._confirm(aggregator)


@external
def confirm(aggregator: address):
    """
    @notice Switch to the next phase.
    """
    self._confirm(aggregator)


@external
@view
def decimals() -> uint8:
    """
    @notice The decimals of the aggregator of the day.
    """
    return staticcall Aggregator(self.aggregators[self.phase]).decimals()


@external
@view
def latestRoundData() -> (uint80, int256, uint256, uint256, uint80):
    """
    @notice The latest round of the aggregator of the day.
    """
    phase: uint256 = self.phase
    round_id: uint80 = 0
    answer: int256 = 0
    started: uint256 = 0
    updated: uint256 = 0
    answered_in: uint80 = 0
    round_id, answer, started, updated, answered_in = staticcall Aggregator(self.aggregators[phase]).latestRoundData()
    return self._in_phase(phase, round_id), answer, started, updated, self._in_phase(phase, answered_in)


@external
@view
def getRoundData(round_id: uint80) -> (uint80, int256, uint256, uint256, uint80):
    """
    @notice Any round of any phase's aggregator; reverts if there is no such phase.
    """
    phase: uint256 = convert(round_id, uint256) >> 64
    number: uint80 = convert(convert(round_id, uint256) & (2**64 - 1), uint80)
    answer: int256 = 0
    started: uint256 = 0
    updated: uint256 = 0
    answered_in: uint80 = 0
    number, answer, started, updated, answered_in = staticcall Aggregator(self.aggregators[phase]).getRoundData(number)
    return self._in_phase(phase, number), answer, started, updated, self._in_phase(phase, answered_in)


@internal
def _confirm(aggregator: address):
    self.phase += 1
    self.aggregators[self.phase] = aggregator


@internal
@pure
def _in_phase(phase: uint256, number: uint80) -> uint80:
    return convert((phase << 64) | convert(number, uint256), uint80)
