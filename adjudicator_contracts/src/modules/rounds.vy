# pragma version 0.4.3
"""
@title rounds
@license MIT
@notice Reads rounds of an AggregatorV3 feed without trusting it: capped gas, capped return data, no revert passed on.
@dev A round has a price or it is none: a call that fails, answers less than five words or about another round, a round not
     answered yet or answered in an earlier one, dated after this block, not positive, or beyond 2**92 in WAD. All calls are static.
     Before each the gas for its full cap is proven to be there, so that nobody can make a round look absent by starving the feed.
     A proxy and its aggregator read two accounts and some six slots, all cold: below 20,000, a quarter of the cap. Two reads
     that burn the cap still fit into what an adjudicator gives a source.
"""

from . import errors

FEED_GAS: constant(uint256) = 80_000
FEED_RESERVE: constant(uint256) = 5_000
PHASE_OFFSET: constant(uint256) = 64
AGGREGATOR_ROUND: constant(uint256) = 2**64 - 1
MAX_ROUND_ID: constant(uint256) = 2**80 - 1
# Prices of the protocol's bounds (§2).
MAX_PRICE: constant(uint256) = 2**92
# Beyond this no scaling gives a price within the bounds; below it none overflows. Negative answers lie beyond it too.
MAX_ANSWER: constant(uint256) = 2**160


# A round with a price, or nothing but zeros.
struct Round:
    id: uint256  # phase << 64 | round of that phase's aggregator
    time: uint256  # unix second of the answer
    price: uint256  # WAD


@internal
@pure
def _phase(round_id: uint256) -> uint256:
    """
    @notice The phase of a round: which of its aggregators a proxy asks.
    """
    return round_id >> PHASE_OFFSET


@internal
@pure
def _within_phase(round_id: uint256) -> uint256:
    """
    @notice Which round of its phase a round is, from 1.
    """
    return round_id & AGGREGATOR_ROUND


@internal
@view
def _require_gas():
    """
    @notice Revert unless the next call can be given its cap: a call passes on at most 63/64 of what is left.
    """
    errors._require(msg.gas * 63 // 64 > FEED_GAS + FEED_RESERVE, "rounds: too little gas")


@internal
@view
def _decimals(feed: address) -> uint256:
    """
    @notice The feed's decimals; the largest integer if it does not say.
    """
    self._require_gas()
    success: bool = False
    answer: Bytes[32] = b""
    success, answer = raw_call(
        feed,
        method_id("decimals()"),
        max_outsize=32,
        gas=FEED_GAS,
        is_static_call=True,
        revert_on_failure=False,
    )
    if not success or len(answer) < 32:
        return max_value(uint256)
    return convert(answer, uint256)


@internal
@view
def _latest(feed: address, decimals: uint256) -> (uint256, Round):
    """
    @notice The feed's phase, beyond every phase if it does not say, and its latest round.
    """
    said: uint256[5] = self._ask(feed, method_id("latestRoundData()", output_type=Bytes[4]))
    return self._phase(said[0]), self._judged(said, decimals)


@internal
@view
def _read(feed: address, round_id: uint256, decimals: uint256) -> Round:
    """
    @notice The round with this id, nothing if it has no price.
    """
    if round_id > MAX_ROUND_ID or self._within_phase(round_id) == 0:
        return empty(Round)
    said: uint256[5] = self._ask(feed, abi_encode(round_id, method_id=method_id("getRoundData(uint80)")))
    return self._judged(said, decimals) if said[0] == round_id else empty(Round)


@internal
@view
def _ask(feed: address, question: Bytes[36]) -> uint256[5]:
    """
    @notice Round id, answer, start, update, round of the answer, as the feed says them; an impossible id if it does not.
    """
    self._require_gas()
    success: bool = False
    answer: Bytes[160] = b""
    success, answer = raw_call(
        feed, question, max_outsize=160, gas=FEED_GAS, is_static_call=True, revert_on_failure=False
    )
    if not success or len(answer) < 160:
        return [max_value(uint256), 0, 0, 0, 0]
    return abi_decode(answer, uint256[5])


@internal
@view
def _judged(said: uint256[5], decimals: uint256) -> Round:
    """
    @notice The round if it has a price.
    """
    time: uint256 = said[3]
    if said[0] > MAX_ROUND_ID or said[4] < said[0] or time == 0 or time > block.timestamp:
        return empty(Round)
    price: uint256 = self._to_wad_down(said[1], decimals)
    return Round(id=said[0], time=time, price=price) if price != 0 else empty(Round)


@internal
@pure
def _to_wad_down(answer: uint256, decimals: uint256) -> uint256:
    """
    @notice answer * 10**(18 - decimals), rounded down where the feed has more than 18; zero beyond the bounds.
    """
    if answer > MAX_ANSWER:
        return 0
    price: uint256 = answer * 10 ** (18 - decimals) if decimals <= 18 else answer // 10 ** (decimals - 18)
    return price if price <= MAX_PRICE else 0
