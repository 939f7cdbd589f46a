"""`pin`: the first price available, in the order source, fresh spot, book; once and for ever; by who has the book."""

from dataclasses import astuple

import pytest

from tests.contracts.conftest import MakeWorld
from tests.contracts.encoding import BTC, CLOSED, ETH, WAD, State
from tests.contracts.evm import STRANGER, Reverted
from tests.contracts.refusals import refused
from tests.contracts.world import CHALLENGE, EXPIRY, GRACE, SPOT_MAX_AGE, UNIT, Channel, World, call, put

PRICE = 2_100 * WAD


@pytest.fixture
def channel(world: World) -> Channel:
    """A channel with 100 on each side."""
    return world.channel((100 * UNIT, 100 * UNIT))


@pytest.fixture
def state(channel: Channel) -> State:
    """A registered state with one call, not disputed."""
    made = channel.state(1, call(2_000, 1), spots={ETH: 1_950 * WAD})
    channel.checkpoint(made)
    return made


def settling(channel: Channel, state: State, until: int) -> None:
    """Dispute well before `until`, then go there."""
    channel.world.chain.at(EXPIRY - 2 * CHALLENGE)
    channel.rechallenge(state)
    channel.world.chain.at(until)


def test_a_settlement_is_pinned_from_the_expiry_on_by_anyone(channel: Channel, world: World, state: State) -> None:
    world.settle_price(EXPIRY, PRICE)
    world.chain.at(EXPIRY - 1)
    with refused("adjudicator: not expired"):
        channel.pin(state)
    assert channel.effective_settlement() == 0
    world.chain.at(EXPIRY)
    said = channel.pin(state, sender=STRANGER).one("Pinned")
    assert said == {"channel": channel.id, "underlying": ETH, "expiry": EXPIRY, "price": PRICE, "origin": 0}
    assert channel.pinned() == channel.effective_settlement() == PRICE


def test_a_pinned_price_is_never_replaced(channel: Channel, world: World, state: State) -> None:
    world.chain.at(EXPIRY)
    world.settle_price(EXPIRY, PRICE)
    channel.pin(state)
    world.settle_price(EXPIRY, PRICE + 1)
    with refused("adjudicator: already pinned"):
        channel.pin(state)
    assert channel.effective_settlement() == PRICE


def test_without_a_settlement_a_fresh_spot_counts_after_the_grace(channel: Channel, world: World, state: State) -> None:
    world.chain.at(EXPIRY + GRACE - 1)
    world.spot(PRICE)
    with refused("adjudicator: no price yet"):
        channel.pin(state)
    world.chain.at(EXPIRY + GRACE)
    said = channel.pin(state).one("Pinned")
    assert (said["price"], said["origin"]) == (PRICE, 1)


def test_the_source_goes_first_even_after_the_grace(channel: Channel, world: World, state: State) -> None:
    world.chain.at(EXPIRY + 3 * GRACE)
    world.spot(PRICE + WAD)
    world.settle_price(EXPIRY, PRICE)
    assert channel.pin(state).one("Pinned")["origin"] == 0
    assert channel.pinned() == PRICE


@pytest.mark.parametrize(("age", "fresh"), [(0, True), (SPOT_MAX_AGE, True), (SPOT_MAX_AGE + 1, False), (-1, False)])
def test_a_spot_is_fresh_up_to_its_age_and_never_from_the_future(
    channel: Channel, world: World, state: State, age: int, fresh: bool
) -> None:
    world.chain.at(EXPIRY + GRACE)
    world.spot(PRICE, age=age)
    if fresh:
        channel.pin(state)
    else:
        with refused("adjudicator: no price yet"):
            channel.pin(state)


@pytest.mark.parametrize(("after", "counts"), [(-1, False), (0, True), (1, True)])
def test_a_spot_from_before_the_expiry_is_not_its_price(world: World, after: int, counts: bool) -> None:
    channel = world.channel((UNIT, UNIT), spot_max_age=2 * GRACE)
    state = channel.state(1, call(2_000, 1))
    channel.checkpoint(state)
    world.chain.at(EXPIRY + GRACE)
    world.source.transact("set_spot", ETH, PRICE, EXPIRY + after)
    if counts:
        channel.pin(state)
    else:
        with refused("adjudicator: no price yet"):
            channel.pin(state)


def test_the_registered_book_counts_after_a_second_grace(channel: Channel, world: World, state: State) -> None:
    settling(channel, state, EXPIRY + 2 * GRACE - 1)
    with refused("adjudicator: no price yet"):
        channel.pin(state)
    world.chain.at(EXPIRY + 2 * GRACE)
    said = channel.pin(state).one("Pinned")
    assert (said["price"], said["origin"]) == (1_950 * WAD, 2)


@pytest.mark.parametrize("early", [1, 0])
def test_the_registered_book_counts_only_in_settling(channel: Channel, world: World, state: State, early: int) -> None:
    """In OPEN and DISPUTED a newer book may still come, so the registered one is nobody's price yet."""
    world.chain.at(EXPIRY + 3 * GRACE)
    with refused("adjudicator: no price yet"):
        channel.pin(state)
    channel.rechallenge(state)
    world.chain.at(channel.status().deadline - early)
    if early:
        with refused("adjudicator: no price yet"):
            channel.pin(state)
    else:
        assert channel.pin(state).one("Pinned")["origin"] == 2


def test_only_a_line_of_the_registered_book_can_be_pinned(channel: Channel, world: World, state: State) -> None:
    world.chain.at(EXPIRY)
    world.settle_price(EXPIRY, PRICE)
    world.settle_price(EXPIRY - 1, PRICE)
    world.settle_price(EXPIRY, PRICE, BTC)
    for expiry, underlying in ((EXPIRY - 1, ETH), (EXPIRY, BTC), (0, ETH)):
        with refused("adjudicator: no such leg"):
            channel.pin(state, expiry, underlying)


def test_who_lacks_the_registered_state_or_its_book_cannot_pin(channel: Channel, world: World, state: State) -> None:
    world.chain.at(EXPIRY)
    world.settle_price(EXPIRY, PRICE)
    newer = channel.state(2, call(2_000, 2))
    with refused("adjudicator: not as registered"):
        channel.pin(newer)
    with refused("adjudicator: wrong book"):
        channel.send("pin", astuple(state), channel.book_of(newer), ETH, EXPIRY)
    with refused("adjudicator: wrong book"):
        channel.send("pin", astuple(state), b"", ETH, EXPIRY)
    with refused("adjudicator: not as registered"):
        world.channel((UNIT, UNIT)).send("pin", astuple(state), channel.book_of(state), ETH, EXPIRY)
    channel.checkpoint(newer)
    with refused("adjudicator: not as registered"):
        channel.pin(state)
    channel.pin(newer)


def test_pins_are_per_channel_and_survive_a_newer_state(channel: Channel, world: World, state: State) -> None:
    other = world.channel((UNIT, UNIT))
    world.chain.at(EXPIRY)
    world.settle_price(EXPIRY, PRICE)
    channel.pin(state)
    world.settle_price(EXPIRY, PRICE + 5)
    assert (channel.effective_settlement(), other.effective_settlement()) == (PRICE, PRICE + 5)
    assert other.pinned() == 0
    newer = channel.state(2, put(2_200, 3))
    channel.challenge(newer)
    channel.reach_settling()
    assert channel.entitlements(newer) == (200 * UNIT, 0)
    channel.settle(newer)
    assert channel.pinned() == PRICE


def test_withheld_settlement_pins_once_late_report_ignored(channel: Channel, world: World, state: State) -> None:
    """A withheld settlement: a spot is pinned after the grace, and the late report changes nothing."""
    settling(channel, state, EXPIRY + GRACE)
    with refused("adjudicator: no settlement price"):
        channel.settle(state)
    world.spot(2_040 * WAD)
    channel.pin(state)
    world.settle_price(EXPIRY, 9_000 * WAD)
    assert channel.effective_settlement() == 2_040 * WAD
    with refused("adjudicator: already pinned"):
        channel.pin(state)
    channel.settle(state)
    assert channel.wallets() == (140 * UNIT, 60 * UNIT)


@pytest.mark.parametrize("mode", range(1, 9))
def test_hostile_source_and_engine_still_settle(make_world: MakeWorld, mode: int) -> None:
    """Whatever the source does, the book's spot is pinned after two graces, and nobody ever asks the engine."""
    world = make_world(source="HostileSource")
    engine = world.chain.deploy("HostileEngine")
    engine.transact("set_mode", 2, [])
    channel = world.channel((100 * UNIT, 100 * UNIT), engine=engine.address)
    state = channel.state(1, call(2_000, 1), spots={ETH: 2_025 * WAD})
    channel.challenge(state)
    world.source.transact("set_mode", mode)
    world.source.transact("set_price", 2**100, EXPIRY)
    world.chain.at(EXPIRY + 2 * GRACE)
    channel.pin(state)
    if mode == 7:  # an answer that changes is an answer: it is pinned, and stays what it was
        assert channel.pinned() == world.chain.now * WAD
        world.chain.sleep(1)
        assert channel.effective_settlement() == (world.chain.now - 1) * WAD
    else:
        assert channel.pinned() == 2_025 * WAD
    channel.settle(state)
    assert channel.status().phase == CLOSED


@pytest.mark.parametrize(("price", "counts"), [(2**96, True), (2**96 + 1, False), (2**256 - 1, False), (0, False)])
def test_a_price_beyond_its_bound_is_missing(make_world: MakeWorld, price: int, counts: bool) -> None:
    world = make_world()
    channel = world.channel((100 * UNIT, 100 * UNIT))
    state = channel.state(1, call(2_000, 1))
    channel.checkpoint(state)
    world.chain.at(EXPIRY)
    world.settle_price(EXPIRY, price)
    assert channel.effective_settlement() == (price if counts else 0)
    if counts:
        channel.pin(state)
    else:
        with refused("adjudicator: no price yet"):
            channel.pin(state)


def test_a_source_without_code_is_missing(world: World) -> None:
    channel = world.channel((100 * UNIT, 100 * UNIT), source=STRANGER)
    state = channel.state(1, call(2_000, 1))
    channel.challenge(state)
    world.chain.at(EXPIRY + 2 * GRACE)
    assert channel.effective_settlement() == 0
    assert channel.pin(state).one("Pinned")["origin"] == 2


def test_starved_source_call_reverts_not_missing(make_world: MakeWorld) -> None:
    """No gas limit makes an answering source look silent: with too little gas the call reverts and pins nothing.

    The source needs most of its cap to answer. If its failure under starvation counted as "missing", some gas limit
    below would pin the spot or the book's mark instead of the settlement.
    """
    world = make_world(source="SlowSource")
    channel = world.channel((100 * UNIT, 100 * UNIT))
    state = channel.state(1, call(2_000, 1), spots={ETH: 1_950 * WAD})
    channel.challenge(state)
    world.chain.at(EXPIRY + 2 * GRACE)
    world.source.transact("set_price", PRICE, world.chain.now)
    reasons = set()
    for gas in range(60_000, 500_000, 2_500):
        try:
            channel.pin(state, gas=gas)
        except Reverted as error:
            reasons.add(error.reason)
            assert channel.pinned() == 0
        else:
            break
    assert "prices: too little gas" in reasons
    assert "adjudicator: no price yet" not in reasons
    assert channel.pinned() == PRICE
