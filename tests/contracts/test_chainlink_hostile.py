"""A feed that does what it likes: prices may be missing, never two; nothing freezes. And the adjudicator."""

from collections.abc import Callable

import pytest

from tests.contracts.encoding import CLOSED, ETH, WAD
from tests.contracts.evm import START, Chain, Reverted
from tests.contracts.refusals import refused
from tests.contracts.rounds import DECIMALS, MAX_AGE, Desk, Told, hourly, wad
from tests.contracts.world import EXPIRY, GRACE, HOUR, MINUTE, SPOT_MAX_AGE, UNIT, World, call

ORIGIN = START - 1_000
COUNT = 900
PRICE = wad(2_000)
PROOF = 1 << 64 | 500
SINCE = ORIGIN + 501
HONEST, REENTRANT, SLOW = 0, 8, 20
NOT_BEFORE, LATER = "history: not a round before it", "history: a later round is before it"
SILENT = "source: feed is silent"
# What settling at the honest proof comes to: a reason, or nothing where the price is good.
OUTCOME = {
    0: "", 1: SILENT, 2: SILENT, 3: NOT_BEFORE, 4: SILENT, 5: "", 6: SILENT, 7: "", 8: "", 9: NOT_BEFORE,
    10: NOT_BEFORE, 11: NOT_BEFORE, 12: LATER, 13: SILENT, 14: LATER, 15: NOT_BEFORE, 16: NOT_BEFORE,
    17: LATER, 18: NOT_BEFORE, 19: NOT_BEFORE,
}  # fmt: skip
SILENT_ABOUT_DECIMALS = (1, 2, 3, 4, 6, 13)


def desk_with(window: int = 0) -> Desk:
    """A desk whose feed is still honest."""
    return Desk(window, feed=Chain().deploy("HostileFeed", 2_000 * 10**DECIMALS, ORIGIN, COUNT))


def settling(desk: Desk, window: int) -> Callable[[], object]:
    """Return how to settle at the honest proof."""
    return lambda: desk.step(SINCE, PROOF, 64) if window else desk.first(SINCE, PROOF)


@pytest.mark.parametrize("window", [0, MINUTE])
@pytest.mark.parametrize("mode", OUTCOME)
def test_a_hostile_feed_is_missing_or_settles_once(mode: int, window: int) -> None:
    desk = desk_with(window)
    settle = settling(desk, window)
    desk.feed.transact("set_call", desk.source.address, desk.source.encode("settlement", ETH, SINCE))
    desk.feed.transact("set_mode", mode, HONEST)
    if not OUTCOME[mode]:
        settle()
    else:
        with refused(OUTCOME[mode]):
            settle()
        assert desk.settlement(SINCE) == 0
        desk.feed.transact("set_mode", HONEST, HONEST)  # what it did has frozen nothing
        settle()
    price = desk.settlement(SINCE)
    assert price == (PRICE + desk.chain.now * 10**10 if mode == 7 else PRICE)
    desk.chain.sleep(1)
    desk.feed.transact("set_price", 1)
    with refused("source: already settled"):
        settle()
    assert desk.settlement(SINCE) == price


@pytest.mark.parametrize("mode", OUTCOME)
def test_whatever_the_feed_does_the_spot_answers_within_the_sources_gas(mode: int) -> None:
    desk = desk_with()
    desk.feed.transact("set_mode", mode, HONEST)
    price, time = desk.spot()
    good = {0: ORIGIN + COUNT, 5: ORIGIN + COUNT, 7: ORIGIN + COUNT, 8: ORIGIN + COUNT, 9: ORIGIN + COUNT}
    dated = good | {12: ORIGIN, 14: ORIGIN, 16: ORIGIN + COUNT}
    if mode == 8:  # a call to nobody is heard
        assert (price, time) == (10**10, dated[mode])
    elif mode in (9, 16, 18):
        assert (price, time) in ((PRICE, ORIGIN + COUNT), (0, 0))
    elif mode in dated:
        assert (price, time) == (PRICE + (desk.chain.now * 10**10 if mode == 7 else 0), dated[mode])
    else:
        assert (price, time) == (0, 0)


@pytest.mark.parametrize("mode", SILENT_ABOUT_DECIMALS)
def test_a_feed_that_is_silent_about_its_decimals_is_missing(mode: int) -> None:
    desk = desk_with()
    desk.feed.transact("set_mode", HONEST, mode)
    assert desk.spot() == (0, 0)
    with refused("source: decimals"):
        desk.first(SINCE, PROOF)


def test_there_is_no_round_0_of_a_phase() -> None:
    desk = desk_with()
    with refused(NOT_BEFORE):
        desk.first(ORIGIN + 1, 1 << 64)
    assert desk.first(ORIGIN + 2, 1 << 64 | 1).result == PRICE


def test_a_feed_in_a_phase_that_cannot_be_is_missing() -> None:
    desk = Desk()
    desk.tell(Told({1: hourly(2_000, 2_010)}))
    for phase in (10, 2**16 - 1):
        desk.feed.transact("confirm", phase)
        with refused("history: phases out of reach"):
            desk.first(START - 99 * HOUR, 1 << 64 | 1)


def test_a_feed_cannot_call_back_into_a_settlement() -> None:
    """Feeds are asked in static calls, and the source is locked meanwhile: neither writes nor reads get through."""
    desk = desk_with()
    messages = (
        desk.source.encode("settle_first", ETH, SINCE, PROOF),
        desk.source.encode("settle_first", ETH, SINCE - 9, PROOF - 9),
        desk.source.encode("settlement", ETH, SINCE),
        desk.source.encode("spot", ETH),
        desk.source.encode("feeds"),
    )
    for n, message in enumerate(messages, 1):
        desk.feed.transact("set_call", desk.source.address, message)
        desk.feed.transact("set_mode", REENTRANT, HONEST)
        assert desk.first(SINCE + n, PROOF + n).result == PRICE
    assert desk.settlement(SINCE) == desk.settlement(SINCE - 9) == 0


def test_answers_that_change_while_an_average_is_on_its_way_give_one_price() -> None:
    desk = desk_with(MINUTE)
    desk.step(SINCE, PROOF, 30)
    desk.feed.transact("set_price", 4_000 * 10**DECIMALS)
    price = desk.step(SINCE, PROOF, 64).result
    assert price == desk.settlement(SINCE) == (30 * PRICE + 30 * 2 * PRICE) // 60
    with refused("source: already settled"):
        desk.step(SINCE, PROOF, 64)


def test_rounds_that_run_backward_are_no_average() -> None:
    desk = Desk(2 * HOUR)
    rounds = [(START - 3 * HOUR, 10**DECIMALS), (START - 1 * HOUR, 10**DECIMALS), (START - 2 * HOUR, 10**DECIMALS)]
    desk.publish(1, *rounds, (START - MINUTE, 10**DECIMALS))
    with refused("source: rounds run backward"):
        desk.step(START - HOUR + 1, 1 << 64 | 3)


def test_starved_feed_reverts_not_missing() -> None:
    """No gas limit makes a round look absent: else another phase's price could be had instead of the next round's.

    The feed needs much of its cap to answer. Every limit that is too small ends in the one reason, at whichever read it
    falls short.
    """
    desk = desk_with()
    desk.feed.transact("set_mode", SLOW, HONEST)
    reasons, gas = set(), 40_000
    while not desk.settlement(SINCE):
        try:
            assert desk.first(SINCE, PROOF, gas=gas).result == PRICE
        except Reverted as error:
            reasons.add(error.reason)
        gas += 1_000
    assert reasons == {"rounds: too little gas"}
    assert gas > 200_000, "the feed was not slow"


@pytest.mark.parametrize(("mode", "price"), [(20, PRICE), (2, 0)])
def test_two_slow_answers_fit_into_the_sources_gas(mode: int, price: int) -> None:
    """Decimals that take the cap, then a round that does, or that burns it: the adjudicator's 200,000 hold both."""
    desk = desk_with()
    desk.feed.transact("set_mode", mode, SLOW)
    assert desk.spot() == (price, ORIGIN + COUNT if price else 0)


# ── with the adjudicator ──


@pytest.mark.parametrize("window", [0, HOUR])
def test_the_adjudicator_pins_and_settles_what_was_proven(window: int) -> None:
    desk = Desk(window)
    world = World(chain=desk.chain)
    channel = world.channel((100 * UNIT, 100 * UNIT), source=desk.source.address)
    state = channel.state(1, call(2_000, 1))
    channel.challenge(state)
    told = Told({1: hourly(2_010, 2_020, 2_030, 2_040, start=EXPIRY - 3 * HOUR + 60)})
    desk.tell(told)
    proof = told.before(EXPIRY)
    assert proof is not None
    desk.chain.at(EXPIRY)
    with refused("adjudicator: no price yet"):
        channel.pin(state)
    desk.chain.at(EXPIRY + 60)
    if window:
        price = desk.averaged(told, EXPIRY)
        assert price == (60 * wad(2_020) + 3_540 * wad(2_030)) // HOUR
    else:
        price = desk.first(EXPIRY, proof.id).result
        assert price == wad(2_040)
    assert channel.effective_settlement() == price
    said = channel.pin(state).one("Pinned")
    assert (said["price"], said["origin"]) == (price, 0)
    channel.settle(state)
    gain = (price - 2_000 * WAD) // 10**12
    assert channel.wallets() == (100 * UNIT + gain, 100 * UNIT - gain)


def test_the_adjudicator_takes_the_feeds_spot_after_the_grace_if_nobody_proved() -> None:
    desk = Desk()
    world = World(chain=desk.chain)
    channel = world.channel((100 * UNIT, 100 * UNIT), source=desk.source.address)
    state = channel.state(1, call(2_000, 1))
    channel.challenge(state)
    desk.publish(1, (EXPIRY - 1, 2_010 * 10**DECIMALS))
    desk.chain.at(EXPIRY + GRACE)
    with refused("adjudicator: no price yet"):
        channel.pin(state)
    desk.publish(1, (EXPIRY + GRACE - SPOT_MAX_AGE, 2_030 * 10**DECIMALS))
    assert channel.pin(state).one("Pinned")["origin"] == 1
    desk.first(EXPIRY, 1 << 64 | 1)  # proven too late: the pinned price stays
    channel.settle(state)
    assert channel.wallets() == (130 * UNIT, 70 * UNIT)


@pytest.mark.parametrize("mode", [mode for mode, reason in OUTCOME.items() if reason])
def test_the_adjudicator_closes_over_a_hostile_feed(mode: int) -> None:
    desk = desk_with()
    world = World(chain=desk.chain)
    channel = world.channel((100 * UNIT, 100 * UNIT), source=desk.source.address)
    state = channel.state(1, call(2_000, 1), spots={ETH: 2_025 * WAD})
    channel.challenge(state)
    desk.feed.transact("set_mode", mode, mode)
    desk.chain.at(EXPIRY + 2 * GRACE)
    assert desk.spot() == (0, 0)
    assert channel.pin(state).one("Pinned")["price"] == 2_025 * WAD
    channel.settle(state)
    assert channel.status().phase == CLOSED


def test_a_spot_older_than_the_feeds_age_is_missing_for_the_adjudicator_too() -> None:
    desk = Desk()
    desk.publish(1, (START, 2_000 * 10**DECIMALS))
    desk.chain.at(START + MAX_AGE)
    assert desk.spot() == (wad(2_000), START)
    desk.chain.sleep(1)
    assert desk.spot() == (0, 0)
