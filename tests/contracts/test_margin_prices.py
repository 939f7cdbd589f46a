"""Which prices margin is measured at: fresh spots, settlements of what expired, marks that melt."""

from collections.abc import Callable
from dataclasses import astuple
from itertools import product

import eth_abi
import pytest

from channels.risk import DEFAULT_POLICY
from tests.contracts.encoding import BOOK_TYPE, BTC, ETH, WAD, Leg, State, book_hash
from tests.contracts.evm import Reverted
from tests.contracts.margin_world import BREACH, STAKES, Desk, MarginWorld, called, eth_spot, short_calls
from tests.contracts.refusals import refused
from tests.contracts.world import CURE, DAY, EXPIRY, HOUR, SPOT_MAX_AGE, UNIT, Channel, call, put

STALE = "adjudicator: no fresh spot"


@pytest.fixture
def world() -> MarginWorld:
    return MarginWorld()


@pytest.fixture
def channel(world: MarginWorld) -> Channel:
    return world.margined(STAKES)


def questions(channel: Channel, state: State) -> dict[str, Callable[[], object]]:
    """The four entry points that ask for a spot, about party 0 on a state with one underlying."""
    row = Desk.of(channel, state).witness(0)
    return {
        "margin_call": lambda: channel.recall(state, 0, row),
        "cure": lambda: channel.cure(state, 0),
        "liquidate": lambda: channel.liquidate(state, 0, row),
        "release": lambda: channel.release(state, 1, 1),
    }


def open_for(channel: Channel, state: State, function: str) -> None:
    """Bring the channel to where only its prices may refuse `function`."""
    channel.challenge(state)
    channel.reach_settling()
    if function in ("cure", "liquidate"):
        called(channel, state)
        channel.world.chain.sleep(CURE)
    eth_spot(channel.world, 1_900 if function == "cure" else BREACH)


# ── spots ──


@pytest.mark.parametrize("function", ["margin_call", "cure", "liquidate", "release"])
@pytest.mark.parametrize(
    ("age", "fresh"), [(0, True), (SPOT_MAX_AGE, True), (SPOT_MAX_AGE + 1, False), (DAY, False), (-1, False)]
)
def test_every_question_needs_a_fresh_spot(channel: Channel, function: str, age: int, fresh: bool) -> None:
    """Observed at most `spot_max_age` ago, and not in the future."""
    state = short_calls(channel)
    open_for(channel, state, function)
    channel.world.spot((1_900 if function == "cure" else BREACH) * WAD, age)
    ask = questions(channel, state)[function]
    if fresh:
        ask()
    else:
        with refused(STALE):
            ask()


@pytest.mark.parametrize("function", ["margin_call", "cure", "liquidate", "release"])
@pytest.mark.parametrize("mode", [1, 2, 3, 4, 6, 8])
def test_a_hostile_source_answers_no_question(function: str, mode: int) -> None:
    """Reverting, burning gas, zero, beyond the bounds, short, long: no spot; and `settle` needs none."""
    world = MarginWorld(source="HostileSource")
    world.source.transact("set_price", BREACH * WAD, world.chain.now)
    channel = world.channel(STAKES, engine=world.engine.address)
    state = short_calls(channel)
    channel.challenge(state)
    if function in ("cure", "liquidate"):
        channel.recall(state, 0, Desk.of(channel, state, {"ETH/USD": BREACH * WAD}).witness(0))
    channel.reach_settling()
    row = Desk.of(channel, state, {"ETH/USD": BREACH * WAD}).witness(0)
    world.source.transact("set_price", (1_900 if function == "cure" else BREACH) * WAD, world.chain.now)
    acts: dict[str, Callable[[], object]] = {
        "margin_call": lambda: channel.recall(state, 0, row),
        "cure": lambda: channel.cure(state, 0),
        "liquidate": lambda: channel.liquidate(state, 0, row),
        "release": lambda: channel.release(state, 1, 1),
    }
    world.source.transact("set_mode", mode)
    with refused(STALE):
        acts[function]()
    with world.chain.fork():
        world.source.transact("set_mode", 0)
        acts[function]()


def test_a_stale_spot_stops_no_settlement(channel: Channel) -> None:
    state = short_calls(channel)
    channel.challenge(state)
    channel.world.chain.at(EXPIRY)
    channel.world.settle_price(EXPIRY, 2_250 * WAD)
    channel.settle(state)
    assert channel.wallets() == (2_300 * UNIT, 3_300 * UNIT)


def test_every_underlying_needs_its_spot(channel: Channel) -> None:
    state = channel.state(1, call(2_200, -10), call(33_000, -1, underlying=BTC))
    channel.checkpoint(state)
    eth_spot(channel.world, BREACH)
    channel.world.spot(32_000 * WAD, SPOT_MAX_AGE + 1, BTC)
    row = Desk.of(channel, state).witness(0)
    with refused(STALE):
        channel.recall(state, 0, row)
    channel.world.spot(32_000 * WAD, SPOT_MAX_AGE, BTC)
    channel.recall(state, 0, row)


# ── settlements ──


@pytest.fixture
def expired(world: MarginWorld) -> tuple[Channel, State]:
    """Party 0 is short ten live calls and long one expired put, which has no settlement price yet."""
    channel = world.margined(STAKES)
    state = channel.state(1, call(2_200, -10), put(3_000, 1, EARLY))
    channel.challenge(state)
    channel.reach_settling()
    assert world.chain.now >= EARLY
    return channel, state


EARLY = EXPIRY - 7 * DAY + HOUR


def test_without_its_settlement_an_expired_leg_counts_at_spot_in_a_call_and_a_cure(
    expired: tuple[Channel, State],
) -> None:
    channel, state = expired
    eth_spot(channel.world, 2_200)
    report = Desk.of(channel, state).reports[0]
    short = Desk.of(channel, short_calls(channel)).reports[0]
    assert report.equity == short.equity + 800 * UNIT
    channel.recall(state, 0, Desk.of(channel, state).witness(0))
    channel.deposit(0, report.initial_margin - report.equity - 1)
    with refused("adjudicator: not compliant"):
        channel.cure(state, 0)
    channel.deposit(0, 1)
    channel.cure(state, 0)


def test_a_close_out_and_a_release_wait_for_it(expired: tuple[Channel, State]) -> None:
    channel, state = expired
    world = channel.world
    called(channel, state, 0, 2_250)
    world.chain.sleep(CURE)
    eth_spot(world, 2_250)
    row = Desk.of(channel, state).witness(0)
    for act in (lambda: channel.liquidate(state, 0, row), lambda: channel.release(state, 1, 1)):
        with refused("adjudicator: no settlement price"):
            act()
    world.settle_price(EARLY, 2_900 * WAD)
    with world.chain.fork():
        channel.release(state, 1, 1)
    desk = Desk.of(channel, state, settlements={("ETH/USD", EARLY): 2_900 * WAD})
    assert channel.liquidate(state, 0, row).one("Liquidated")["value0"] == desk.reports[0].value


def test_with_its_settlement_an_expired_leg_counts_at_that(expired: tuple[Channel, State]) -> None:
    """The spot says that the put pays 850, the settlement that it paid nothing: only then is there a breach."""
    channel, state = expired
    eth_spot(channel.world, BREACH)
    settlements = {("ETH/USD", EARLY): 3_000 * WAD}
    at_spot, settled = Desk.of(channel, state), Desk.of(channel, state, settlements=settlements)
    assert settled.reports[0].is_breach and not at_spot.reports[0].is_breach
    with refused("adjudicator: no breach"):
        channel.recall(state, 0, settled.witness(0))
    channel.world.settle_price(EARLY, 3_000 * WAD)
    channel.recall(state, 0, settled.witness(0))


def test_a_settlement_before_its_expiry_is_none(channel: Channel) -> None:
    state = short_calls(channel)
    channel.checkpoint(state)
    channel.world.settle_price(EXPIRY, WAD)
    assert called(channel, state)["party"] == 0


def test_starving_the_source_forges_no_missing_price() -> None:
    """Spot and settlement need most of their cap: with too little gas the call says so, never that one is missing."""
    world = MarginWorld(source="SlowSource")
    channel = world.channel(STAKES, engine=world.engine.address)
    state = channel.state(1, put(3_000, 1, EARLY))
    channel.challenge(state)
    channel.reach_settling()
    world.source.transact("set_price", 2_990 * WAD, world.chain.now)
    reasons = set()
    for gas in range(200_000, 1_500_000, 10_000):
        try:
            channel.release(state, 0, 1, gas=gas)
        except Reverted as error:
            reasons.add(error.reason)
        else:
            break
    assert channel.wallets()[0] == 1
    assert "prices: too little gas" in reasons
    assert not reasons & {STALE, "adjudicator: no settlement price"}


# ── two underlyings ──


def test_two_underlyings_witness_equals_grid(world: MarginWorld) -> None:
    """One row for each underlying, each its worst, asks for the maintenance margin of the whole grid: no more, no less.

    One unit above it no pair of rows proves a breach, one unit below the worst pair does, in the book's order.
    """
    channel = world.margined(STAKES)
    world.spot(30_000 * WAD, underlying=BTC)
    legs = (call(2_200, -5), put(28_000, -1, underlying=BTC))
    report = Desk.of(channel, channel.state(1, *legs, spots={BTC: 30_000 * WAD})).reports[0]
    bound = STAKES[0] + report.maintenance_margin - report.equity
    compliant = channel.state(1, *legs, spots={BTC: 30_000 * WAD}, balance0=bound)
    worst = Desk.of(channel, compliant).witness(0)
    assert worst[0] != worst[1]
    rows = range(len(DEFAULT_POLICY.scenarios))
    pairs = {*product((worst[0],), rows), *product(rows, (worst[1],)), *zip(rows, reversed(rows), strict=True)}
    channel.checkpoint(compliant)
    for pair in pairs:
        with refused("adjudicator: no breach"):
            channel.recall(compliant, 0, pair)
    breaching = compliant.but(version=2, balance0=bound - 1, balance1=compliant.balance1 + 1)
    with refused("adjudicator: no breach"):
        channel.margin_call(breaching, 0, worst[::-1])
    channel.margin_call(breaching, 0, worst)


# ── silence ──


def carried(channel: Channel, *legs: Leg, ratio: int, discount: int) -> State:
    """Return a state whose only expiry has this forward ratio and discount, marked at the chain's time."""
    forwards = [(ETH, EXPIRY, ratio, discount)]
    value = (b"s" * 32, channel.world.chain.now, [(ETH, 2_000 * WAD)], forwards, [astuple(leg) for leg in legs])
    data = eth_abi.encode([BOOK_TYPE], [value])
    channel.books[book_hash(data)] = data
    return channel.state(1).but(book=book_hash(data))


@pytest.mark.parametrize(("share", "forward", "discount"), [(4, 2_300, 90), (2, 2_150, 95), (1, 2_075, 9_750)])
def test_silent_carry_converges_to_spot(world: MarginWorld, share: int, forward: int, discount: int) -> None:
    """A carry agreed before the silence melts to nothing at expiry: with a quarter of the time left, a quarter of it.

    Deep in the money a call is worth discount · (forward − strike): at a spot of 2,000 it tells the forward and
    the discount that the contract uses. Party 0 cannot be held to a forward of 2,300 by whoever stopped signing.
    """
    channel = world.margined((10_000 * UNIT, 10_000 * UNIT))
    leg = Leg(ETH, EXPIRY, 400 * WAD, 0, -10 * WAD, WAD // 5)
    state = carried(channel, leg, ratio=115 * WAD // 100, discount=90 * WAD // 100)
    channel.checkpoint(state)
    channel.world.chain.at(EXPIRY - (EXPIRY - world.chain.now) * share // 4)
    called(channel, state, 0, 2_000)
    channel.world.chain.sleep(CURE)
    eth_spot(world, 2_000)
    desk = Desk.of(channel, state)
    value = channel.liquidate(state, 0, desk.witness(0)).one("Liquidated")["value0"]
    assert value == desk.reports[0].value
    per_cent = discount if discount < 100 else discount / 100
    assert value == pytest.approx(-10 * (forward - 400) * per_cent / 100 * UNIT, rel=1e-3)


def test_in_its_last_second_an_option_is_worth_its_spot_intrinsic(world: MarginWorld) -> None:
    channel = world.margined((10_000 * UNIT, 10_000 * UNIT))
    leg = Leg(ETH, EXPIRY, 400 * WAD, 0, -10 * WAD, WAD // 5)
    channel.checkpoint(carried(channel, leg, ratio=4 * WAD, discount=WAD // 2))
    state = carried(channel, leg, ratio=4 * WAD, discount=WAD // 2)
    world.chain.at(EXPIRY - 1 - CURE)
    called(channel, state, 0, 2_000)
    world.chain.at(EXPIRY - 1)
    eth_spot(world, 2_000)
    said = channel.liquidate(state, 0, Desk.of(channel, state).witness(0)).one("Liquidated")
    assert said["value0"] == pytest.approx(-16_000 * UNIT, rel=1e-4)
