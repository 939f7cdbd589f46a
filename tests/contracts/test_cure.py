"""`cure`: whoever holds its initial margin over the whole grid is done with the call; a top-up alone is half of it."""

import pytest

from tests.contracts.encoding import DISPUTED, OPEN, SETTLING
from tests.contracts.evm import STRANGER
from tests.contracts.margin_world import (
    BREACH,
    STAKES,
    Desk,
    MarginWorld,
    called,
    eth_spot,
    lacking,
    short_calls,
    short_forward,
)
from tests.contracts.refusals import refused
from tests.contracts.world import CURE, HOUR, UNIT, Channel

COMPLIANT = 1_900


@pytest.fixture
def world() -> MarginWorld:
    return MarginWorld()


@pytest.fixture
def channel(world: MarginWorld) -> Channel:
    return world.margined(STAKES)


def test_without_a_call_there_is_nothing_to_cure(channel: Channel) -> None:
    state = short_calls(channel)
    channel.checkpoint(state)
    eth_spot(channel.world, COMPLIANT)
    for party in (0, 1):
        with refused("adjudicator: no call pending"):
            channel.cure(state, party)


@pytest.mark.parametrize("sender", [STRANGER, "signer", "other owner"])
def test_anyone_may_cure_whoever_is_compliant(channel: Channel, sender: str) -> None:
    state = short_calls(channel)
    channel.checkpoint(state)
    called(channel, state)
    eth_spot(channel.world, COMPLIANT)
    who = {"signer": channel.terms.signers[0], "other owner": channel.terms.owners[1]}.get(sender, sender)
    receipt = channel.cure(state, 0, sender=who)
    assert [(event.name, event.args["party"]) for event in receipt.events] == [("Cured", 0)]
    with refused("adjudicator: no call pending"):
        channel.cure(state, 0)


@pytest.mark.parametrize("phase", [OPEN, DISPUTED, SETTLING])
def test_every_live_phase_cures_and_stays_what_it_is(channel: Channel, phase: int) -> None:
    state = short_calls(channel)
    channel.checkpoint(state)
    if phase != OPEN:
        channel.rechallenge(state)
    if phase == SETTLING:
        channel.reach_settling()
    called(channel, state)
    before = channel.status()
    eth_spot(channel.world, COMPLIANT)
    channel.cure(state, 0)
    after = channel.status()
    assert after.cure_deadlines == (0, 0)
    assert (after.phase, after.version, after.deadline) == (phase, before.version, before.deadline)


@pytest.mark.parametrize("late", [CURE - 1, CURE, CURE + 1, CURE + HOUR - 1, CURE + HOUR, CURE + 9 * HOUR])
def test_a_call_can_be_cured_until_it_is_executed_also_late(channel: Channel, late: int) -> None:
    state = short_calls(channel)
    channel.checkpoint(state)
    called(channel, state)
    channel.world.chain.sleep(late)
    eth_spot(channel.world, COMPLIANT)
    channel.cure(state, 0)
    eth_spot(channel.world, BREACH)
    with refused("adjudicator: no executable call"):
        channel.liquidate(state, 0, Desk.of(channel, state).witness(0))


def test_maintenance_is_not_enough(channel: Channel) -> None:
    """Between maintenance and initial margin nobody can be called, and nobody can be cured."""
    state = short_calls(channel)
    channel.checkpoint(state)
    called(channel, state)
    eth_spot(channel.world, 2_000)
    report = Desk.of(channel, state).reports[0]
    assert report.maintenance_margin <= report.equity < report.initial_margin
    with refused("adjudicator: not compliant"):
        channel.cure(state, 0)
    channel.world.chain.sleep(CURE)
    eth_spot(channel.world, 2_000)
    with refused("adjudicator: no breach"):
        channel.liquidate(state, 0, Desk.of(channel, state).witness(0))
    assert channel.status().cure_deadlines[0] != 0


def test_a_top_up_alone_ends_no_call_it_makes_the_second_proof_fail(channel: Channel) -> None:
    """The call goes on: if the spot runs further, the same call executes. Who deposits should also cure."""
    state = short_calls(channel)
    channel.checkpoint(state)
    deadline = called(channel, state)["deadline"]
    channel.deposit(0, lacking(channel, state))
    channel.world.chain.at(deadline)
    eth_spot(channel.world, BREACH)
    with refused("adjudicator: no breach"):
        channel.liquidate(state, 0, Desk.of(channel, state).witness(0))
    assert channel.status().cure_deadlines == (deadline, 0)
    eth_spot(channel.world, 2_400)
    with channel.world.chain.fork():
        channel.liquidate(state, 0, Desk.of(channel, state).witness(0))
    eth_spot(channel.world, BREACH)
    channel.cure(state, 0)
    eth_spot(channel.world, 2_400)
    with refused("adjudicator: no executable call"):
        channel.liquidate(state, 0, Desk.of(channel, state).witness(0))


def test_a_gift_of_the_other_side_to_itself_cures_nobody(channel: Channel) -> None:
    state = short_calls(channel)
    channel.checkpoint(state)
    called(channel, state)
    channel.deposit(1, 10_000 * UNIT)
    with refused("adjudicator: not compliant"):
        channel.cure(state, 0)
    channel.deposit(0, lacking(channel, state), payer=STRANGER)
    channel.cure(state, 0)


def test_each_partys_call_is_cured_on_its_own(world: MarginWorld) -> None:
    channel = world.margined((1_000 * UNIT, 1_000 * UNIT))
    state = short_forward(channel)
    channel.checkpoint(state)
    for party in (0, 1):
        called(channel, state, party, 2_000)
    deadlines = channel.status().cure_deadlines
    channel.deposit(1, lacking(channel, state, 1))
    with refused("adjudicator: not compliant"):
        channel.cure(state, 0)
    channel.cure(state, 1)
    assert channel.status().cure_deadlines == (deadlines[0], 0)


def test_an_empty_book_is_cured_by_paying_the_debt(channel: Channel) -> None:
    """No positions, no margin: what is owed is all."""
    state = channel.state(1, balance0=-5)
    channel.margin_call(state, 0, [])
    channel.deposit(0, 4)
    with refused("adjudicator: not compliant"):
        channel.cure(state, 0)
    channel.deposit(0, 1)
    channel.cure(state, 0)
