# pragma version 0.4.3
# pragma evm-version cancun
# pragma nonreentrancy on
"""
@title ChainlinkPriceSource
@license MIT
@notice Prices from AggregatorV3 feeds; an expiry is settled once, by anyone, with a proof from the feed's own rounds.
@dev Feeds, ages and the settlement rule are immutable: part of the deployed code, so a party that checks the code checks them.
     One rule per deployment:
     - `window` 0: the first round at or after the expiry (`settle_first`);
     - otherwise the time-weighted average over the `window` seconds before it (`settle_average`), in as many calls as it takes.
     The proof of both is one round id: the last round before the expiry. All else is read from the feed, so that at any block
     there is one acceptable proof and one result (`history` says what is assumed of the feed, phase changes included). Both wait
     for a round at or after the expiry: that a feed shows no round yet is never taken for the proof that there is none.
     What cannot be proven stays missing, and the adjudicator's `pin` finds another price: nothing here can freeze a channel.
     WARNING: the feed's owner chooses its aggregators, and those its answers. A phase confirmed between an expiry and its
     settlement whose aggregator was already answering before the expiry counts from its own first round: it may change the
     result, never give two.
"""

from interfaces import IPriceSource
from modules import errors
from modules import history
from modules import rounds

implements: IPriceSource

MAX_FEEDS: constant(uint256) = 8
MAX_STEPS: constant(uint256) = 64
MAX_DECIMALS: constant(uint256) = 36
MIN_AGE: constant(uint256) = 60
MAX_AGE: constant(uint256) = 3 * 86_400
MIN_WINDOW: constant(uint256) = 60
MAX_WINDOW: constant(uint256) = 86_400


# What to deploy with.
struct Listing:
    underlying: bytes32  # ASCII, left-aligned
    feed: address  # AggregatorV3: usually a proxy, quoted in the token's currency
    max_age: uint256  # seconds for which a round is a price: the feed's heartbeat and some slack


# A listing with what the feed said at deployment.
struct Feed:
    underlying: bytes32
    feed: address
    max_age: uint256
    decimals: uint256


# An average on its way: the part of the window from `until` to the expiry is in `total`.
struct Average:
    last: uint256  # id of the earliest round that is in, zero before the first
    until: uint256  # unix second
    total: uint256  # WAD * seconds


# An expiry was settled, for ever: at `round_id`, or at an average that ends with it.
event Settled:
    underlying: indexed(bytes32)
    expiry: indexed(uint64)
    price: uint256
    round_id: uint256


# An average came this far back.
event Averaged:
    underlying: indexed(bytes32)
    expiry: indexed(uint64)
    before: uint256
    until: uint256


# By ascending underlying. The decimals are those at deployment: a feed that changes them is missing from then on.
FEEDS: immutable(DynArray[Feed, MAX_FEEDS])
# Seconds averaged before an expiry; zero for the first round at or after it.
WINDOW: immutable(uint256)

settlements: HashMap[bytes32, HashMap[uint64, uint256]]
# By underlying, expiry and proof: whoever starts from another round disturbs nobody.
averages: HashMap[bytes32, HashMap[uint64, HashMap[uint256, Average]]]


@deploy
def __init__(listings: DynArray[Listing, MAX_FEEDS], window: uint256):
    """
    @notice Fix which feeds are asked, how old an answer may be, and how expiries settle.
    @param listings 1 to 8, by strictly ascending underlying, each age 1 minute to 3 days, each feed with at most 36 decimals.
    @param window Zero, or 1 minute to 1 day.
    """
    errors._require(window == 0 or (window >= MIN_WINDOW and window <= MAX_WINDOW), "source: window")
    errors._require(len(listings) != 0, "source: no feed")
    feeds: DynArray[Feed, MAX_FEEDS] = []
    last: uint256 = 0
    for listing: Listing in listings:
        errors._require(convert(listing.underlying, uint256) > last, "source: underlyings not ascending")
        errors._require(listing.max_age >= MIN_AGE and listing.max_age <= MAX_AGE, "source: max age")
        decimals: uint256 = rounds._decimals(listing.feed)
        errors._require(decimals <= MAX_DECIMALS, "source: decimals")
        feeds.append(
            Feed(underlying=listing.underlying, feed=listing.feed, max_age=listing.max_age, decimals=decimals)
        )
        last = convert(listing.underlying, uint256)
    FEEDS = feeds
    WINDOW = window


@external
def settle_first(underlying: bytes32, expiry: uint64, before: uint256) -> uint256:
    """
    @notice Settle an expiry at the first round at or after it. Anyone may, once.
    @param underlying ASCII, left-aligned.
    @param expiry Unix seconds.
    @param before The proof: the id of the last round before the expiry.
    @return Price in WAD.
    """
    errors._require(WINDOW == 0, "source: settles at an average")
    feed: Feed = self._require_unsettled(underlying, expiry)
    first: rounds.Round = self._require_closed(feed, expiry, before)[1]

    self.settlements[underlying][expiry] = first.price
    log Settled(underlying=underlying, expiry=expiry, price=first.price, round_id=first.id)
    return first.price


@external
def settle_average(underlying: bytes32, expiry: uint64, before: uint256, crossing: uint256, steps: uint256) -> uint256:
    """
    @notice Add rounds to the average before an expiry, latest first, and settle at it when the window is full. Anyone may, and
            anyone may go on from where another stopped.
    @dev average = sum(price * seconds in force within the window) // window, rounded down. Reverts where a price in force is older
         than the feed's maximum age: a silence is not an average. The proof is checked again in each call, so what is written is
         true of the block that writes it.
    @param underlying ASCII, left-aligned.
    @param expiry Unix seconds.
    @param before The proof: the id of the last round before the expiry.
    @param crossing Where these steps come to the first round of a phase: the id of the last round of an earlier phase before it.
           Else not read.
    @param steps How many rounds to add, at most 64.
    @return Price in WAD, zero while the window is not full.
    """
    errors._require(WINDOW != 0, "source: settles at a round")
    feed: Feed = self._require_unsettled(underlying, expiry)
    start: uint256 = convert(expiry, uint256) - WINDOW
    final: rounds.Round = self._require_closed(feed, expiry, before)[0]
    average: Average = self.averages[underlying][expiry][before]
    if average.last == 0:
        average.until = convert(expiry, uint256)
    for _: uint256 in range(min(steps, MAX_STEPS), bound=MAX_STEPS):
        if average.until == start:
            break
        earlier: rounds.Round = final
        if average.last != 0:
            earlier = self._earlier(feed, average, crossing)
        errors._require(average.until - earlier.time <= feed.max_age, "source: stale in the window")
        since: uint256 = max(earlier.time, start)
        average.total += earlier.price * (average.until - since)
        average.until = since
        average.last = earlier.id

    self.averages[underlying][expiry][before] = average
    log Averaged(underlying=underlying, expiry=expiry, before=before, until=average.until)
    if average.until != start:
        return 0
    price: uint256 = average.total // WINDOW
    self.settlements[underlying][expiry] = price
    log Settled(underlying=underlying, expiry=expiry, price=price, round_id=before)
    return price


@external
@view
def spot(underlying: bytes32) -> (uint256, uint256):
    """
    @notice See `IPriceSource.spot`. Zeros while the feed has no price, or one older than its maximum age.
    """
    feed: Feed = self._feed(underlying)
    if feed.feed == empty(address) or rounds._decimals(feed.feed) != feed.decimals:
        return 0, 0
    latest: rounds.Round = rounds._latest(feed.feed, feed.decimals)[1]
    if block.timestamp - latest.time > feed.max_age:
        return 0, 0
    return latest.price, latest.time


@external
@view
def settlement(underlying: bytes32, expiry: uint64) -> uint256:
    """
    @notice See `IPriceSource.settlement`.
    """
    return self.settlements[underlying][expiry]


@external
@view
def average(underlying: bytes32, expiry: uint64, before: uint256) -> Average:
    """
    @notice How far an average has come.
    @return The earliest round that is in, the second from which on the window is covered, WAD times seconds so far.
    """
    return self.averages[underlying][expiry][before]


@external
@view
def feeds() -> DynArray[Feed, MAX_FEEDS]:
    """
    @notice Who is asked about what.
    @return Underlying, feed, maximum age in seconds, decimals, by ascending underlying.
    """
    return FEEDS


@external
@view
def window() -> uint256:
    """
    @notice How expiries settle.
    @return Seconds averaged before an expiry; zero for the first round at or after it.
    """
    return WINDOW


@internal
@view
def _feed(underlying: bytes32) -> Feed:
    """
    @notice The feed of an underlying, nothing if it has none.
    """
    for feed: Feed in FEEDS:
        if feed.underlying == underlying:
            return feed
    return empty(Feed)


@internal
@view
def _require_unsettled(underlying: bytes32, expiry: uint64) -> Feed:
    """
    @notice The expiry has passed and has no price, and its feed is what it was at deployment.
    """
    feed: Feed = self._feed(underlying)
    errors._require(feed.feed != empty(address), "source: no feed")
    errors._require(convert(expiry, uint256) <= block.timestamp, "source: not expired")
    errors._require(self.settlements[underlying][expiry] == 0, "source: already settled")
    errors._require(rounds._decimals(feed.feed) == feed.decimals, "source: decimals")
    return feed


@internal
@view
def _require_closed(feed: Feed, expiry: uint64, before: uint256) -> (rounds.Round, rounds.Round):
    """
    @notice The last round before the expiry, proven by its id, and the first since, which must be there.
    """
    phase: uint256 = rounds._latest(feed.feed, feed.decimals)[0]
    errors._require(phase < 2**16, "source: feed is silent")
    last: rounds.Round = empty(rounds.Round)
    first: rounds.Round = empty(rounds.Round)
    last, first = history._first_since(feed.feed, before, convert(expiry, uint256), phase, feed.decimals)
    errors._require(first.price != 0, "source: no round since the expiry")
    return last, first


@internal
@view
def _earlier(feed: Feed, average: Average, crossing: uint256) -> rounds.Round:
    """
    @notice The round before the earliest that is in: of the same phase, or, before its first, the proven one of an earlier phase.
    """
    found: rounds.Round = history._previous(feed.feed, average.last, feed.decimals)
    if found.price == 0:
        phase: uint256 = rounds._phase(average.last)
        errors._require(phase != 0, "source: no earlier phase")
        found = history._first_since(feed.feed, crossing, average.until, phase - 1, feed.decimals)[0]
    errors._require(found.time <= average.until, "source: rounds run backward")
    return found
