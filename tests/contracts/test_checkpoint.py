"""`checkpoint`: the newer agreed state is registered; OPEN takes OPERATE, and only a REOPEN ends a dispute."""

from dataclasses import astuple

import pytest

from tests.contracts.encoding import CLOSE, DISPUTED, OPEN, OPERATE, REOPEN, SETTLING, State, book_hash
from tests.contracts.evm import STRANGER
from tests.contracts.refusals import refused
from tests.contracts.world import CHALLENGE, HOUR, UNIT, Channel, World, call


@pytest.fixture
def channel(world: World) -> Channel:
    """A channel with 100 on each side."""
    return world.channel((100 * UNIT, 100 * UNIT))


def test_anyone_registers_a_newer_state_and_the_event_carries_it(channel: Channel) -> None:
    state = channel.state(3, call(2_000, 1), balance0=90 * UNIT)
    said = channel.checkpoint(state, sender=STRANGER).one("Registered")
    assert said["deadline"] == 0
    assert State(*said["state"]) == state
    status = channel.status()
    assert (status.phase, status.version, status.registered) == (OPEN, 3, state.struct_hash())


def test_versions_only_rise_and_may_skip(channel: Channel) -> None:
    channel.checkpoint(channel.state(5))
    for version in (5, 4, 1):
        with refused("adjudicator: stale version"):
            channel.checkpoint(channel.state(version, balance0=0))
    channel.checkpoint(channel.state(2**64 - 1))
    assert channel.status().version == 2**64 - 1


def test_version_zero_is_not_signable(channel: Channel) -> None:
    with refused("adjudicator: stale version"):
        channel.checkpoint(channel.state(0))


@pytest.mark.parametrize("intent", [REOPEN, CLOSE])
def test_open_takes_operate_only(channel: Channel, world: World, intent: int) -> None:
    with refused("adjudicator: operate states only"):
        channel.checkpoint(channel.state(1, intent=intent, valid_until=world.chain.now))


@pytest.mark.parametrize("intent", [OPERATE, CLOSE])
@pytest.mark.parametrize("phase", [DISPUTED, SETTLING])
def test_a_dispute_takes_reopen_only(channel: Channel, world: World, phase: int, intent: int) -> None:
    channel.challenge(channel.state(1))
    world.chain.at(channel.status().deadline - (phase == DISPUTED))
    with refused("adjudicator: not a reopen state"):
        channel.checkpoint(channel.state(2, intent=intent, valid_until=0 if intent == OPERATE else world.chain.now))
    assert channel.status().phase == phase


@pytest.mark.parametrize("late", [-1, 0, 1])
def test_reopen_ends_the_dispute_around_the_deadline(channel: Channel, world: World, late: int) -> None:
    state = channel.state(1, call(2_000, 1))
    channel.challenge(state)
    world.chain.at(channel.status().deadline + late)
    channel.checkpoint(channel.reopening(state))
    status = channel.status()
    assert (status.phase, status.version, status.deadline) == (OPEN, 2, 0)
    channel.checkpoint(channel.state(3))


@pytest.mark.parametrize("late", [-1, 0])
def test_reopen_counts_up_to_its_last_second(channel: Channel, world: World, late: int) -> None:
    state = channel.state(1)
    channel.challenge(state)
    reopening = channel.reopening(state)
    world.chain.at(reopening.valid_until + late)
    channel.checkpoint(reopening)


def test_reopen_does_not_count_a_second_later(channel: Channel, world: World) -> None:
    state = channel.state(1)
    channel.challenge(state)
    reopening = channel.reopening(state)
    world.chain.at(reopening.valid_until + 1)
    with refused("state: expired"):
        channel.checkpoint(reopening)


def test_reopen_without_a_term_is_expired(channel: Channel) -> None:
    state = channel.state(1)
    channel.challenge(state)
    with refused("state: expired"):
        channel.checkpoint(channel.reopening(state, valid_until=0))


def test_a_new_dispute_after_a_reopen_gets_a_whole_window(channel: Channel, world: World) -> None:
    state = channel.state(1)
    channel.challenge(state)
    world.chain.sleep(CHALLENGE - 1)
    channel.checkpoint(channel.reopening(state))
    world.chain.sleep(5)
    channel.challenge(channel.state(3))
    assert channel.status().deadline == world.chain.now + CHALLENGE


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"valid_until": 1}, "state: valid-until on operate"),
        ({"intent": 3, "valid_until": 2**63}, "state: unknown intent"),
        ({"intent": 255, "valid_until": 2**63}, "state: unknown intent"),
        ({"intent": CLOSE, "valid_until": 2**63, "book": b"b" * 32}, "state: close has no book"),
        ({"balance0": 1}, "state: balances do not add up"),
        ({"balance1": 1}, "state: balances do not add up"),
        ({"withdrawal0": 1}, "state: balances do not add up"),
        ({"withdrawal1": 1}, "state: balances do not add up"),
        ({"deposit0": 1}, "state: balances do not add up"),
        ({"deposit1": 1}, "state: balances do not add up"),
        ({"deposit0": 2**120}, "state: out of bounds"),
        ({"deposit1": 2**120}, "state: out of bounds"),
        ({"withdrawal0": 2**120}, "state: out of bounds"),
        ({"withdrawal1": 2**120}, "state: out of bounds"),
        ({"balance0": 2**120}, "state: out of bounds"),
        ({"balance0": -(2**120)}, "state: out of bounds"),
        ({"balance1": 2**120}, "state: out of bounds"),
        ({"balance1": -(2**120)}, "state: out of bounds"),
        ({"balance0": -(2**127), "balance1": 2**127 - 1}, "state: out of bounds"),
        ({"balance0": -(2**255), "balance1": -(2**255)}, "state: out of bounds"),
        ({"withdrawal0": 2**255, "withdrawal1": 2**255}, "state: out of bounds"),
        ({"version": 2**64}, "state: out of bounds"),
        ({"intent": CLOSE, "valid_until": 2**64}, "state: out of bounds"),
        ({"intent": 2**8, "valid_until": 2**63}, "state: unknown intent"),
    ],
)
def test_malformed_states_are_refused(channel: Channel, changes: dict[str, int], reason: str) -> None:
    with refused(reason):
        channel.checkpoint(channel.state(1).but(**changes))


def test_a_version_beyond_its_width_cannot_spill_into_the_deadline(channel: Channel) -> None:
    """Slots pack the version beside the deadline; states come as words, so the width is the contract's to check."""
    beyond = channel.state(2**64 + 1)
    for act in (channel.checkpoint, channel.challenge, lambda s: channel.close(s.but(intent=CLOSE, valid_until=2**40))):
        with refused("state: out of bounds"):
            act(beyond)
    assert channel.status().version == 0


def test_states_on_the_bounds_are_good(channel: Channel) -> None:
    top = 2**120 - 1
    channel.checkpoint(channel.state(1, deposit0=top, deposit1=top, balance0=top, balance1=top))
    channel.checkpoint(channel.state(2, deposit0=0, deposit1=0, balance0=top, balance1=-top))
    channel.checkpoint(channel.state(3, deposit0=0, deposit1=0, balance0=-top, balance1=top))


def test_a_state_of_another_channel_is_refused(world: World, channel: Channel) -> None:
    twin = world.channel((100 * UNIT, 100 * UNIT), keys=channel.keys)
    state = twin.state(1)
    with refused("adjudicator: wrong channel"):
        channel.checkpoint(state, twin.sign(state))


def test_a_balance_may_be_negative_against_a_live_gain(channel: Channel) -> None:
    channel.checkpoint(channel.state(1, call(2_000, 1), balance0=-5 * UNIT))
    assert channel.status().version == 1


def test_a_wrong_book_hash_still_registers_and_is_refused_when_opened(channel: Channel) -> None:
    """The book is opaque until it is needed: availability is the parties' duty, and `last_resort` their net."""
    state = channel.state(1, call(2_000, 1))
    lost = state.but(book=book_hash(b"no book at all"))
    channel.challenge(lost)
    channel.reach_settling()
    with refused("adjudicator: wrong book"):
        channel.send("settle", astuple(lost), channel.book_of(state))


def test_registering_the_same_state_again_is_stale_and_pays_nothing_twice(channel: Channel) -> None:
    state = channel.state(1, withdrawal0=10 * UNIT)
    channel.checkpoint(state)
    with refused("adjudicator: stale version"):
        channel.checkpoint(state)
    assert channel.wallets() == (10 * UNIT, 0)


def test_closed_takes_no_checkpoint(channel: Channel, world: World) -> None:
    channel.close(channel.closing(1))
    world.chain.sleep(HOUR)
    with refused("adjudicator: closed"):
        channel.checkpoint(channel.state(9))
