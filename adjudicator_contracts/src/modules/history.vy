# pragma version 0.4.3
"""
@title history
@license MIT
@notice One history of a feed out of the histories of its phases, and what comes first in it since a moment.
@dev A proxy's phases overlap: an aggregator has rounds before the proxy is switched to it, and goes on after the proxy has
     left it; it may be empty, and it may come back as a later phase. The proxy does not keep when it switched. So the history is
     defined by what it does keep: **a phase counts from its first round on until the first round of any later phase.** It is a
     function of the feed's data at one block: no proof can choose. It moves only when the feed's owner confirms another phase
     whose aggregator has rounds before the moment in question.
     Assumed of a feed: within a phase ids rise by one from 1, and neither ids nor times run backward; a round is dated by the
     block that wrote it, and never rewritten; rounds without a price (`rounds`) never stand more than `MAX_GAP` - 1 in a row.
"""

from . import errors
from . import rounds

# How far to look for the neighbour of a round, and for the first round of a phase.
MAX_GAP: constant(uint256) = 8
# How many phases may have come since the round that a proof starts from.
MAX_PHASES: constant(uint256) = 8


@internal
@view
def _next(feed: address, round_id: uint256, decimals: uint256) -> rounds.Round:
    """
    @notice The next round of the same phase; of a phase's round 0, its first. Nothing if the phase ends here.
    """
    for i: uint256 in range(MAX_GAP):
        found: rounds.Round = rounds._read(feed, round_id + 1 + i, decimals)
        if found.price != 0:
            return found
    return empty(rounds.Round)


@internal
@view
def _previous(feed: address, round_id: uint256, decimals: uint256) -> rounds.Round:
    """
    @notice The round before in the same phase, nothing before its first. Reverts where neither can be told.
    """
    number: uint256 = rounds._within_phase(round_id)
    for i: uint256 in range(1, min(number, MAX_GAP + 1), bound=MAX_GAP):
        found: rounds.Round = rounds._read(feed, round_id - i, decimals)
        if found.price != 0:
            return found
    errors._require(number <= MAX_GAP, "history: gap too long")
    return empty(rounds.Round)


@internal
@view
def _first_since(
    feed: address, before: uint256, moment: uint256, phase: uint256, decimals: uint256
) -> (rounds.Round, rounds.Round):
    """
    @notice The last round before a moment and the first one at or after it, of the history up to a phase.
    @dev Reverts unless `before` is the last one: a round of the newest phase that had any, and the last there. The first since is
         the next of that phase or the first of a later one, whichever is earlier; the later phase if they are simultaneous.
    @param before The proof: the id of the last round before the moment.
    @return The round `before`, and the first since, nothing if there is none yet.
    """
    last: rounds.Round = rounds._read(feed, before, decimals)
    errors._require(last.price != 0 and last.time < moment, "history: not a round before it")
    own: uint256 = rounds._phase(before)
    errors._require(own <= phase and phase - own <= MAX_PHASES, "history: phases out of reach")
    first: rounds.Round = self._next(feed, before, decimals)
    errors._require(first.price == 0 or first.time >= moment, "history: a later round is before it")
    for later: uint256 in range(own + 1, phase + 1, bound=MAX_PHASES):
        opening: rounds.Round = self._next(feed, later << 64, decimals)
        if opening.price != 0:
            errors._require(opening.time >= moment, "history: a later phase is before it")
            if first.price == 0 or opening.time <= first.time:
                first = opening
    return last, first
