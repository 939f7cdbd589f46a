"""Margin calls: who may make one, what it proves, how long it runs, what ends it, and what a liquidation pays."""

import pytest

from tests.contracts.margin_world import Desk, MarginWorld, eth_spot
from tests.contracts.refusals import refused
from tests.contracts.world import CURE, UNIT, Channel, call


@pytest.fixture
def world() -> MarginWorld:
    return MarginWorld()


@pytest.fixture
def channel(world: MarginWorld) -> Channel:
    return world.margined((2_800 * UNIT, 2_800 * UNIT))


def test_a_call_is_made_missed_and_executed_to_the_librarys_figures(world: MarginWorld, channel: Channel) -> None:
    """Party 0 is short ten calls; the spot runs; it neither cures nor shows a newer state."""
    state = channel.state(1, call(2_200, -10))
    channel.checkpoint(state)
    before = Desk.of(channel, state)
    with refused("adjudicator: no breach"):
        channel.recall(state, 0, before.witness(0))

    eth_spot(world, 2_150)
    called = channel.recall(state, 0, Desk.of(channel, state).witness(0)).one("Called")
    assert called["deadline"] == world.chain.now + CURE == channel.status().cure_deadlines[0]
    with refused("adjudicator: no executable call"):
        channel.liquidate(state, 0, Desk.of(channel, state).witness(0))

    world.chain.sleep(CURE)
    eth_spot(world, 2_160)
    desk = Desk.of(channel, state)
    receipt = channel.liquidate(state, 0, desk.witness(0))
    report = desk.reports[0]
    loss = report.value - report.charges.total
    assert receipt.one("Liquidated") == {
        "channel": channel.id,
        "party": 0,
        "value0": report.value,
        "charge": report.charges.total,
    }
    assert loss < 0
    assert channel.wallets() == (2_800 * UNIT + loss, 2_800 * UNIT - loss)


def test_a_top_up_cures(world: MarginWorld, channel: Channel) -> None:
    state = channel.state(1, call(2_200, -10))
    eth_spot(world, 2_150)
    channel.margin_call(state, 0, Desk.of(channel, state).witness(0))
    with refused("adjudicator: not compliant"):
        channel.cure(state, 0)
    report = Desk.of(channel, state).reports[0]
    lacking = report.initial_margin - report.equity
    channel.deposit(0, lacking - 1)
    with refused("adjudicator: not compliant"):
        channel.cure(state, 0)
    channel.deposit(0, 1)
    channel.cure(state, 0)
    assert channel.status().cure_deadlines == (0, 0)


def test_the_side_that_is_left_takes_its_excess_out(world: MarginWorld, channel: Channel) -> None:
    state = channel.state(1, call(2_200, -10))
    channel.challenge(state)
    channel.reach_settling()
    eth_spot(world, 2_000)
    report = Desk.of(channel, state).reports[1]
    most = min(report.excess, report.cash)
    with refused("adjudicator: beyond the excess"):
        channel.release(state, 1, most + 1)
    channel.release(state, 1, most)
    assert channel.wallets()[1] == most
