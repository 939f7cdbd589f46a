"""`challenge` and `challenge_unsigned`: one clock, never moved; newer states answer until it ends."""

import pytest

from tests.contracts.encoding import CLOSE, CLOSED, DISPUTED, OPEN, REOPEN, SETTLING, State
from tests.contracts.evm import STRANGER
from tests.contracts.refusals import refused
from tests.contracts.world import CHALLENGE, HOUR, UNIT, Channel, World, call


@pytest.fixture
def channel(world: World) -> Channel:
    """A channel with 100 on each side."""
    return world.channel((100 * UNIT, 100 * UNIT))


@pytest.mark.parametrize("who", range(4))
def test_each_side_may_start_a_dispute_as_signer_or_owner(channel: Channel, world: World, who: int) -> None:
    sides = (*channel.terms.signers, *channel.terms.owners)
    said = channel.challenge(channel.state(1), sender=sides[who]).one("Registered")
    assert said["deadline"] == channel.status().deadline == world.chain.now + CHALLENGE
    assert channel.status().phase == DISPUTED


def test_a_stranger_may_not_start_a_dispute_but_may_answer_one(channel: Channel) -> None:
    state, newer = channel.state(1), channel.state(2)
    with refused("adjudicator: not a side"):
        channel.challenge(state, sender=STRANGER)
    with refused("adjudicator: not a side"):
        channel.challenge_unsigned(sender=STRANGER)
    channel.checkpoint(state)
    with refused("adjudicator: not a side"):
        channel.rechallenge(state, sender=STRANGER)
    channel.challenge(state)
    channel.challenge(newer, sender=STRANGER)
    assert channel.status().version == 2


def test_a_newer_state_replaces_and_the_deadline_never_moves(channel: Channel, world: World) -> None:
    channel.challenge(channel.state(1))
    deadline = channel.status().deadline
    for version in range(2, 9):
        world.chain.sleep(CHALLENGE // 10)
        assert channel.challenge(channel.state(version)).one("Registered")["deadline"] == deadline
        assert channel.status().deadline == deadline
    assert channel.status().phase == DISPUTED


def test_many_answers_in_one_block_leave_the_highest(channel: Channel) -> None:
    channel.challenge(channel.state(1))
    for version in (2, 5, 9):
        channel.challenge(channel.state(version), sender=STRANGER)
    with refused("adjudicator: stale version"):
        channel.challenge(channel.state(8))
    assert channel.status().version == 9


def test_equal_and_older_versions_do_not_answer(channel: Channel) -> None:
    state = channel.state(5)
    channel.challenge(state)
    for answer in (state, channel.state(5, balance0=0), channel.state(4)):
        with refused("adjudicator: stale version"):
            channel.challenge(answer)


def test_settling_refuses_newer_state_at_deadline_accepts_one_second_before(channel: Channel, world: World) -> None:
    channel.challenge(channel.state(1))
    deadline = channel.status().deadline
    world.chain.at(deadline - 1)
    channel.challenge(channel.state(2))
    for second in (deadline, deadline + 1):
        world.chain.at(second)
        assert channel.status().phase == SETTLING
        with refused("adjudicator: deadline passed"):
            channel.challenge(channel.state(3))
    assert channel.status().version == 2


def test_in_open_the_registered_state_disputes_without_signatures(channel: Channel, world: World) -> None:
    state = channel.state(4)
    channel.checkpoint(state)
    channel.rechallenge(state)
    assert (channel.status().version, channel.status().deadline) == (4, world.chain.now + CHALLENGE)
    with refused("adjudicator: stale version"):
        channel.rechallenge(state)


def test_an_unregistered_state_needs_signatures(channel: Channel) -> None:
    channel.checkpoint(channel.state(4))
    with refused("signatures: not 65 bytes"):
        channel.rechallenge(channel.state(5))
    with refused("adjudicator: stale version"):
        channel.rechallenge(channel.state(4, balance0=0))
    with refused("adjudicator: stale version"):
        channel.challenge(channel.state(3))


def test_a_registered_reopen_disputes_whatever_its_age(channel: Channel, world: World) -> None:
    state = channel.state(1)
    channel.challenge(state)
    reopening = channel.reopening(state)
    channel.checkpoint(reopening)
    world.chain.at(reopening.valid_until + 100 * HOUR)
    channel.rechallenge(reopening)
    assert channel.status().phase == DISPUTED


@pytest.mark.parametrize("intent", [REOPEN, CLOSE])
def test_a_new_reopen_or_close_neither_starts_nor_answers(channel: Channel, world: World, intent: int) -> None:
    other = channel.state(2, intent=intent, valid_until=world.chain.now + 9 * HOUR)
    with refused("adjudicator: operate states only"):
        channel.challenge(other)
    channel.challenge(channel.state(1))
    with refused("adjudicator: operate states only"):
        channel.challenge(other)


def test_a_challenge_with_the_registered_state_applies_nothing_twice(channel: Channel) -> None:
    state = channel.state(1, withdrawal0=10 * UNIT)
    channel.checkpoint(state)
    assert not channel.rechallenge(state).all("Paid")
    assert channel.status().paid == (10 * UNIT, 0)
    assert channel.wallets() == (10 * UNIT, 0)


def test_a_challenge_pays_withdrawals(channel: Channel) -> None:
    paid = channel.challenge(channel.state(1, withdrawal1=7 * UNIT, balance0=100 * UNIT)).one("Paid")
    assert paid == {"channel": channel.id, "party": 1, "amount": 7 * UNIT, "total": 7 * UNIT}
    assert channel.wallets() == (0, 7 * UNIT)


def test_unsigned_registers_nothing_but_the_channel(channel: Channel, world: World) -> None:
    said = channel.challenge_unsigned(sender=channel.terms.owners[1]).one("Registered")
    assert State(*said["state"]) == State(channel=channel.id)
    status = channel.status()
    assert (status.phase, status.version, status.deadline) == (DISPUTED, 0, world.chain.now + CHALLENGE)
    assert status.registered == channel.nothing.struct_hash()


def test_unsigned_is_refused_once_something_is_registered(channel: Channel) -> None:
    state = channel.state(1)
    channel.checkpoint(state)
    with refused("adjudicator: already registered"):
        channel.challenge_unsigned()
    channel.challenge(channel.state(2))
    with refused("adjudicator: already registered"):
        channel.challenge_unsigned()


def test_unsigned_twice_does_not_move_the_deadline(channel: Channel, world: World) -> None:
    channel.challenge_unsigned()
    for later in (1, CHALLENGE - 1):
        world.chain.at(channel.status().deadline - CHALLENGE + later)
        with refused("adjudicator: already registered"):
            channel.challenge_unsigned()


def test_any_agreed_state_answers_an_unsigned_challenge(channel: Channel) -> None:
    channel.challenge_unsigned()
    channel.challenge(channel.state(1, balance0=0), sender=STRANGER)
    channel.reach_settling()
    channel.settle(channel.state(1, balance0=0))
    assert channel.wallets() == (0, 200 * UNIT)


def test_the_never_seen_peer_costs_a_window_and_nothing_else(channel: Channel) -> None:
    channel.deposit(0, UNIT)
    channel.challenge_unsigned()
    channel.deposit(1, 3 * UNIT)
    channel.reach_settling()
    channel.settle(channel.nothing)
    assert channel.wallets() == (101 * UNIT, 103 * UNIT)


def test_a_deposit_in_the_block_of_the_challenge_stays_with_who_made_it(channel: Channel) -> None:
    state = channel.state(1, balance0=150 * UNIT)
    channel.challenge(state)
    channel.deposit(1, 20 * UNIT)
    channel.reach_settling()
    channel.settle(state)
    assert channel.wallets() == (150 * UNIT, 70 * UNIT)


def test_a_position_added_while_the_dispute_runs_counts(channel: Channel) -> None:
    channel.challenge(channel.state(1))
    channel.challenge(channel.state(2, call(2_000, 1)))
    assert channel.status().version == 2


def test_sequencer_outage_spanning_a_window(channel: Channel, world: World) -> None:
    """No block from before a stale challenge's deadline until after it: the newer agreed state comes too late.

    The contract cannot know; so the deadline is strict for everyone, terms must outlast an outage (nodes check), and
    what both still agree to, REOPEN or CLOSE, works after it.
    """
    stale, latest = channel.state(1, balance0=150 * UNIT), channel.state(2, balance0=50 * UNIT)
    channel.challenge(stale)
    world.chain.at(channel.status().deadline + 5 * HOUR)
    with refused("adjudicator: deadline passed"):
        channel.challenge(latest)
    with refused("adjudicator: not a reopen state"):
        channel.checkpoint(latest)
    channel.checkpoint(channel.reopening(latest, version=3))
    assert (channel.status().phase, channel.status().version) == (OPEN, 3)


def test_silent_peer_after_reopen_cannot_freeze(channel: Channel, world: World) -> None:
    """After a REOPEN the peer is silent: the registered state, long expired as a REOPEN, starts the exit alone."""
    state = channel.state(1, balance0=120 * UNIT)
    channel.challenge(state)
    reopening = channel.reopening(state)
    channel.checkpoint(reopening)
    world.chain.sleep(30 * 24 * HOUR)
    channel.rechallenge(reopening, sender=channel.terms.owners[1])
    channel.reach_settling()
    channel.settle(reopening)
    assert channel.status().phase == CLOSED
    assert channel.wallets() == (120 * UNIT, 80 * UNIT)


def test_closed_takes_no_challenge(channel: Channel) -> None:
    channel.close(channel.closing(1))
    with refused("adjudicator: closed"):
        channel.challenge(channel.state(2))
    with refused("adjudicator: closed"):
        channel.challenge_unsigned()
