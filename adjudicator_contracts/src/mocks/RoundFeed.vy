# pragma version 0.4.3
# pragma evm-version cancun
"""
@title RoundFeed
@license MIT
@notice An AggregatorV3 proxy that replays the rounds a test tells it, phase by phase.
@dev As the real ones: the latest round is that of the confirmed phase, whichever other phases have rounds; all phases can be read.
     A round that was never published answers zeros (as offchain aggregators do) or reverts (as older ones do).
"""

struct Answer:
    answer: int256
    updated: uint256
    answered_in: uint256


decimals: public(uint8)
phase: public(uint256)
reverts: public(bool)
counts: public(HashMap[uint256, uint256])
latest: HashMap[uint256, uint256]
answers: HashMap[uint256, Answer]


@deploy
def __init__(decimals: uint8):
    """
    @notice A feed in phase 1, without rounds.
    """
    self.decimals = decimals
    self.phase = 1


@external
def set_decimals(decimals: uint8):
    """
    @notice Say something else from now on.
    """
    self.decimals = decimals


@external
def set_reverts(reverts: bool):
    """
    @notice Whether a round that was never published reverts.
    """
    self.reverts = reverts


@external
def confirm(phase: uint256):
    """
    @notice Switch to another phase.
    """
    self.phase = phase


@external
def publish(phase: uint256, prices: DynArray[int256, 256], times: DynArray[uint256, 256]):
    """
    @notice Add rounds to a phase; time 0 leaves a round out.
    """
    assert len(prices) == len(times)
    number: uint256 = self.counts[phase]
    for i: uint256 in range(len(prices), bound=256):
        number += 1
        if times[i] != 0:
            id: uint256 = (phase << 64) | number
            self.answers[id] = Answer(answer=prices[i], updated=times[i], answered_in=id)
            self.latest[phase] = number
    self.counts[phase] = number


@external
def carry_over(round_id: uint256):
    """
    @notice Make a round one that timed out: its answer is that of the round before.
    """
    self.answers[round_id].answered_in = round_id - 1


@external
@view
def latestRoundData() -> (uint80, int256, uint256, uint256, uint80):
    """
    @notice The latest round of the confirmed phase that was not left out.
    """
    return self._round((self.phase << 64) | self.latest[self.phase])


@external
@view
def getRoundData(round_id: uint80) -> (uint80, int256, uint256, uint256, uint80):
    """
    @notice Any round of any phase.
    """
    return self._round(convert(round_id, uint256))


@internal
@view
def _round(round_id: uint256) -> (uint80, int256, uint256, uint256, uint80):
    said: Answer = self.answers[round_id]
    assert said.updated != 0 or not self.reverts, "feed: no data present"
    id: uint80 = convert(round_id, uint80)
    return id, said.answer, said.updated, said.updated, convert(said.answered_in, uint80)
