"""`settle`, `last_resort`, `entitlements`: what options pay at expiry, to the last unit, also without their book."""

from dataclasses import astuple
from fractions import Fraction

import eth_abi
import pytest
from eth_hash.auto import keccak

from tests.contracts.encoding import BOOK_TYPE, BTC, CLOSED, ETH, WAD, Leg, State
from tests.contracts.evm import STRANGER, Reverted
from tests.contracts.refusals import refused
from tests.contracts.world import (
    CHALLENGE,
    DAY,
    EXPIRY,
    GRACE,
    HOUR,
    LAST_RESORT,
    UNIT,
    Channel,
    World,
    call,
    put,
)


@pytest.fixture
def channel(world: World) -> Channel:
    """A channel with 1,000 on each side."""
    return world.channel((1_000 * UNIT, 1_000 * UNIT))


def settled(channel: Channel, *legs: Leg, price: int, **fields: int) -> tuple[int, int]:
    """Dispute, let the legs expire at `price`, settle; return what was paid."""
    world = channel.world
    state = channel.state(1, *legs, **fields)
    before = channel.wallets()
    channel.challenge(state)
    world.chain.at(max([channel.status().deadline, *(leg.expiry for leg in legs)]))
    for leg in legs:
        world.settle_price(leg.expiry, price, leg.underlying)
    expected = channel.entitlements(state)
    paid = channel.settle(state, sender=STRANGER).one("Closed")
    after = channel.wallets()
    assert expected == (paid["payout0"], paid["payout1"]) == (after[0] - before[0], after[1] - before[1])
    return expected


def test_settling_begins_at_the_deadline(channel: Channel, world: World) -> None:
    state = channel.state(1)
    with refused("adjudicator: not settling"):
        channel.settle(state)
    channel.challenge(state)
    deadline = channel.status().deadline
    world.chain.at(deadline - 1)
    with refused("adjudicator: not settling"):
        channel.settle(state)
    world.chain.at(deadline)
    channel.settle(state)
    assert channel.status().phase == CLOSED


def test_only_exactly_the_registered_state_settles(channel: Channel, world: World) -> None:
    state = channel.state(2, balance0=1_000 * UNIT)
    channel.challenge(channel.state(1))
    channel.challenge(state)
    channel.reach_settling()
    for other in (
        channel.state(1),
        channel.state(3),
        state.but(balance0=1_001 * UNIT, balance1=999 * UNIT),
        state.but(valid_until=1),
        channel.nothing,
    ):
        with refused("adjudicator: not as registered"):
            channel.settle(other)
    with refused("adjudicator: wrong book"):
        channel.send("settle", astuple(state), b"\0" * 32)
    channel.settle(state)


@pytest.mark.parametrize("early", [1, 0])
def test_a_live_leg_does_not_settle(channel: Channel, world: World, early: int) -> None:
    state = channel.state(1, call(2_000, 1), call(2_000, 1, expiry=EXPIRY - DAY))
    channel.challenge(state)
    world.settle_price(EXPIRY, 2_000 * WAD)
    world.settle_price(EXPIRY - DAY, 2_000 * WAD)
    world.chain.at(EXPIRY - early)
    if early:
        for act in (channel.settle, channel.entitlements):
            with refused("adjudicator: live leg"):
                act(state)
    else:
        channel.settle(state)


def test_every_expiry_needs_its_price(channel: Channel, world: World) -> None:
    state = channel.state(1, call(2_000, 1), call(2_000, 1, expiry=EXPIRY - DAY), put(30_000, 1, underlying=BTC))
    channel.challenge(state)
    world.chain.at(EXPIRY)
    world.settle_price(EXPIRY, 2_010 * WAD)
    world.settle_price(EXPIRY - DAY, 2_020 * WAD)
    for act in (channel.settle, channel.entitlements):
        with refused("adjudicator: no settlement price"):
            act(state)
    world.settle_price(EXPIRY, 29_999 * WAD, BTC)
    channel.settle(state)
    assert channel.wallets() == (1_031 * UNIT, 969 * UNIT)


@pytest.mark.parametrize("price", [1, 1_999 * WAD, 2_000 * WAD - 1, 2_000 * WAD, 2_000 * WAD + 1, 2_001 * WAD, 2**96])
@pytest.mark.parametrize("quantity", [1, -1])
def test_calls_and_puts_around_the_strike(channel: Channel, price: int, quantity: int) -> None:
    strike = 2_000 * WAD
    for leg, intrinsic in (
        (call(2_000, quantity), max(0, price - strike)),
        (put(2_000, quantity), max(0, strike - price)),
    ):
        fresh = channel.world.channel((1_000 * UNIT, 1_000 * UNIT))
        move = quantity * (intrinsic // 10**12)
        first = min(max(1_000 * UNIT + move, 0), 2_000 * UNIT)
        assert settled(fresh, leg, price=price) == (first, 2_000 * UNIT - first)


@pytest.mark.parametrize("sign", [1, -1])
def test_the_sum_is_divided_once_toward_zero(channel: Channel, sign: int) -> None:
    """Three legs worth 0.4 units each pay 1 unit, not 0: the sum is 1.2 units, and its sign does not change that."""
    piece = 4 * WAD // 10
    legs = [Leg(ETH, EXPIRY, strike * WAD, 0, sign * piece) for strike in (1_000, 1_001, 1_002)]
    price = 1_002 * WAD + 10**12
    total = sum(sign * piece * (price - leg.strike) for leg in legs)
    move = int(Fraction(total, 10**30))
    assert move == sign * 1_200_001
    assert settled(channel, *legs, price=price) == (1_000 * UNIT + move, 1_000 * UNIT - move)


@pytest.mark.parametrize("decimals", [0, 6, 18])
def test_token_units_follow_the_decimals_of_the_terms(world: World, decimals: int) -> None:
    channel = world.channel((10**20, 10**20), decimals=decimals)
    paid = settled(channel, call(2_000, 3), price=2_007 * WAD + WAD // 2)
    move = int(Fraction(3 * 15, 2) * 10**decimals)
    assert paid == (10**20 + move, 10**20 - move)


def test_payouts_never_leave_the_pot(world: World) -> None:
    for quantity, expected in ((10**6, (20 * UNIT, 0)), (-(10**6), (0, 20 * UNIT))):
        channel = world.channel((10 * UNIT, 10 * UNIT))
        assert settled(channel, call(2_000, quantity), price=3_000 * WAD) == expected


def test_top_ups_stand_behind_the_position(channel: Channel, world: World) -> None:
    state = channel.state(1, call(2_000, 1), balance0=1_000 * UNIT)
    channel.challenge(state)
    channel.deposit(1, 500 * UNIT)
    world.chain.at(EXPIRY)
    world.settle_price(EXPIRY, 3_400 * WAD)
    channel.settle(state)
    assert channel.wallets() == (2_400 * UNIT, 100 * UNIT)


def test_a_book_of_32_legs_in_8_expiries_settles(channel: Channel, world: World) -> None:
    legs = [
        Leg(underlying, EXPIRY - i * HOUR, (2_000 + j) * WAD, kind, (i - j) * WAD or WAD)
        for underlying in (BTC, ETH)
        for i in range(4)
        for j in (0, 3)
        for kind in (0, 1)
    ]
    assert len(legs) == 32
    price = 2_001 * WAD
    move = sum(leg.quantity * max(0, price - leg.strike if leg.kind == 0 else leg.strike - price) for leg in legs)
    assert settled(channel, *legs, price=price)[0] == 1_000 * UNIT + int(Fraction(move, 10**30))


@pytest.mark.parametrize(
    "book",
    [
        b"\xff" * 32,
        b"\0" * 31,
        eth_abi.encode([BOOK_TYPE], [(b"s" * 32, 0, [], [], [(ETH, EXPIRY, WAD, 2, WAD, WAD)])]),
        eth_abi.encode([BOOK_TYPE], [(b"s" * 32, 0, [], [], [(ETH, 1, WAD, 0, WAD, WAD)] * 33)]),
        eth_abi.encode([BOOK_TYPE], [(b"s" * 32, 0, [(ETH, WAD)] * 5, [], [])]),
    ],
    ids=["noise", "short", "kind", "legs", "spots"],
)
def test_a_book_that_does_not_decode_ends_by_the_last_resort(channel: Channel, world: World, book: bytes) -> None:
    state = channel.state(1, balance0=1_500 * UNIT).but(book=keccak(book))
    channel.challenge(state)
    world.chain.at(LAST_RESORT + CHALLENGE + 2 * GRACE)
    world.settle_price(EXPIRY, WAD)
    world.settle_price(1, WAD)
    with pytest.raises(Reverted):
        channel.send("settle", astuple(state), book)
    channel.last_resort(state)
    assert channel.wallets() == (1_500 * UNIT, 500 * UNIT)


# ── the last resort ──


def test_last_resort_pays_when_the_book_is_lost(channel: Channel, world: World) -> None:
    state = channel.state(1, call(2_000, 1), balance0=900 * UNIT)
    channel.challenge(state)
    start = LAST_RESORT + CHALLENGE + 2 * GRACE
    world.chain.at(start - 1)
    with refused("adjudicator: too early"):
        channel.last_resort(state)
    world.chain.at(start)
    channel.last_resort(state, sender=STRANGER)
    assert channel.wallets() == (900 * UNIT, 1_100 * UNIT)
    assert channel.status().phase == CLOSED


@pytest.mark.parametrize("late", [-1, 0, 1])
def test_last_resort_waits_for_settling(channel: Channel, world: World, late: int) -> None:
    """A dispute that starts after the last resort time gets its window, and who has the book settles first."""
    state = channel.state(1, call(2_000, 1), balance0=900 * UNIT)
    channel.checkpoint(state)
    world.chain.at(LAST_RESORT + 10 * DAY)
    with refused("adjudicator: not settling"):
        channel.last_resort(state)
    channel.rechallenge(state)
    deadline = channel.status().deadline
    world.chain.at(deadline - 1)
    with refused("adjudicator: not settling"):
        channel.last_resort(state)
    world.chain.at(deadline)
    with refused("adjudicator: too early"):
        channel.last_resort(state)
    world.chain.at(deadline + CHALLENGE + 2 * GRACE + late)
    if late < 0:
        with refused("adjudicator: too early"):
            channel.last_resort(state)
    else:
        channel.last_resort(state)


def test_last_resort_takes_only_the_registered_state(channel: Channel, world: World) -> None:
    state = channel.state(2)
    channel.challenge(state)
    world.chain.at(LAST_RESORT + CHALLENGE + 2 * GRACE)
    with refused("adjudicator: not as registered"):
        channel.last_resort(channel.state(1))
    channel.last_resort(state)


# ── foresight ──


def test_entitlements_speak_of_states_that_are_not_registered(channel: Channel, world: World) -> None:
    state = channel.state(4, call(2_000, 1), balance0=1_200 * UNIT)
    world.chain.at(EXPIRY)
    world.settle_price(EXPIRY, 2_300 * WAD)
    assert channel.entitlements(state) == (1_500 * UNIT, 500 * UNIT)
    assert channel.entitlements(channel.nothing) == (1_000 * UNIT, 1_000 * UNIT)
    with refused("adjudicator: wrong channel"):
        channel.entitlements(state.but(channel=b"c" * 32))


def test_entitlements_of_a_closed_channel_are_nothing(channel: Channel) -> None:
    state = channel.state(1)
    channel.close(channel.closing(1))
    assert channel.entitlements(state) == (0, 0)


def test_the_zero_state_of_an_unknown_channel_is_worth_nothing(world: World) -> None:
    channel = world.channel()
    assert channel.entitlements(State(channel=channel.id)) == (0, 0)
    assert astuple(channel.status()) == (0, 0, 0, (0, 0), bytes(32), (0, 0), (0, 0))
