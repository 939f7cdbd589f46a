"""`close`: what both agreed to, in every phase, in time; and the tombstone it leaves."""

import pytest

from tests.contracts.encoding import CLOSED, DISPUTED, OPEN, OPERATE, REOPEN, SETTLING
from tests.contracts.evm import STRANGER
from tests.contracts.refusals import refused
from tests.contracts.world import HOUR, UNIT, Channel, World


@pytest.fixture
def channel(world: World) -> Channel:
    """A channel with 100 on each side."""
    return world.channel((100 * UNIT, 100 * UNIT))


def test_anyone_closes_a_channel_in_which_nothing_was_registered(channel: Channel, world: World) -> None:
    receipt = channel.close(channel.closing(1, balance0=130 * UNIT), sender=STRANGER)
    assert receipt.one("Closed") == {"channel": channel.id, "payout0": 130 * UNIT, "payout1": 70 * UNIT}
    assert channel.wallets() == (130 * UNIT, 70 * UNIT)
    assert world.balance(world.adjudicator.address) == 0


@pytest.mark.parametrize("phase", [OPEN, DISPUTED, SETTLING])
def test_close_works_in_every_phase_but_closed(channel: Channel, world: World, phase: int) -> None:
    channel.checkpoint(channel.state(1))
    if phase != OPEN:
        channel.challenge(channel.state(2))
        world.chain.at(channel.status().deadline - (phase == DISPUTED))
    closing = channel.closing(3)
    channel.close(closing)
    assert channel.status().phase == CLOSED
    with refused("adjudicator: closed"):
        channel.close(channel.closing(4))


def test_a_tombstone_remembers_its_version_and_holds_nothing(channel: Channel) -> None:
    channel.checkpoint(channel.state(1, withdrawal0=UNIT))
    channel.close(channel.closing(7, withdrawal0=UNIT))
    status = channel.status()
    assert (status.phase, status.version, status.deadline) == (CLOSED, 7, 0)
    assert (status.registered, status.deposits, status.paid) == (bytes(32), (0, 0), (0, 0))


def test_nothing_at_all_works_on_a_tombstone(channel: Channel, world: World) -> None:
    state = channel.state(1)
    channel.checkpoint(state)
    closing = channel.closing(2)
    channel.close(closing)
    world.chain.sleep(1)
    for act in (
        lambda: channel.deposit(0, UNIT),
        lambda: channel.checkpoint(channel.state(3)),
        lambda: channel.challenge(channel.state(3)),
        lambda: channel.rechallenge(state),
        lambda: channel.challenge_unsigned(),
        lambda: channel.close(closing),
        lambda: channel.pin(state),
        lambda: channel.settle(state),
        lambda: channel.settle(channel.nothing),
        lambda: channel.pay(state),
        lambda: channel.last_resort(state),
    ):
        with refused("adjudicator: closed"):
            act()


@pytest.mark.parametrize("late", [-1, 0])
def test_close_counts_up_to_its_last_second(channel: Channel, world: World, late: int) -> None:
    closing = channel.closing(1)
    world.chain.at(closing.valid_until + late)
    channel.close(closing)


def test_close_does_not_count_a_second_later(channel: Channel, world: World) -> None:
    closing = channel.closing(1)
    world.chain.at(closing.valid_until + 1)
    with refused("state: expired"):
        channel.close(closing)


@pytest.mark.parametrize("intent", [OPERATE, REOPEN])
def test_only_a_close_state_closes(channel: Channel, world: World, intent: int) -> None:
    with refused("adjudicator: not a close state"):
        channel.close(channel.state(1, intent=intent, valid_until=0 if intent == OPERATE else world.chain.now + HOUR))


def test_close_with_lower_or_equal_version_is_stale(channel: Channel) -> None:
    channel.checkpoint(channel.state(5))
    for version in (4, 5):
        with refused("adjudicator: stale version"):
            channel.close(channel.closing(version))
    channel.close(channel.closing(6))


def test_close_signed_then_trade_refused(channel: Channel) -> None:
    """Who signs above a CLOSE hands the other the choice between them; on-chain exactly one of the two takes effect."""
    closing, trade = channel.closing(7, balance0=0), channel.state(8)
    channel.checkpoint(trade)
    with refused("adjudicator: stale version"):
        channel.close(closing)
    channel.challenge(channel.state(9))
    with refused("adjudicator: stale version"):
        channel.close(closing)

    twin = channel.world.channel((100 * UNIT, 100 * UNIT))
    twin.close(twin.closing(7, balance0=0))
    with refused("adjudicator: closed"):
        twin.challenge(twin.state(8))
    with refused("adjudicator: closed"):
        twin.checkpoint(twin.state(8))


@pytest.mark.parametrize(
    ("balance", "payouts"),
    [
        (0, (0, 200 * UNIT)),
        (1, (1, 200 * UNIT - 1)),
        (200 * UNIT, (200 * UNIT, 0)),
        (200 * UNIT + 1, (200 * UNIT, 0)),
        (-1, (0, 200 * UNIT)),
        (2**119, (200 * UNIT, 0)),
        (-(2**119), (0, 200 * UNIT)),
    ],
)
def test_payouts_are_clamped_to_the_pot(channel: Channel, balance: int, payouts: tuple[int, int]) -> None:
    channel.close(channel.closing(1, balance0=balance))
    assert channel.wallets() == payouts


def test_withdrawals_authorised_and_not_yet_paid_are_part_of_the_payout(channel: Channel) -> None:
    channel.checkpoint(channel.state(1, withdrawal0=10 * UNIT))
    channel.close(channel.closing(2, withdrawal0=30 * UNIT, withdrawal1=5 * UNIT, balance0=70 * UNIT))
    assert channel.wallets() == (100 * UNIT, 100 * UNIT)


def test_deposits_the_close_does_not_know_go_back_to_their_party(channel: Channel) -> None:
    closing = channel.closing(1, balance0=50 * UNIT)
    channel.deposit(0, 9 * UNIT)
    channel.deposit(1, UNIT)
    channel.close(closing)
    assert channel.wallets() == (59 * UNIT, 151 * UNIT)


def test_reorged_deposit_is_a_debt(channel: Channel) -> None:
    """The state counts on 150 of party 0, the chain has 100: party 0 bears the gap, party 1 loses nothing."""
    closing = channel.closing(1, deposit0=150 * UNIT, balance0=120 * UNIT, balance1=130 * UNIT)
    channel.close(closing)
    assert channel.wallets() == (70 * UNIT, 130 * UNIT)


def test_reorged_deposit_is_a_debt_in_a_settlement_too(channel: Channel) -> None:
    state = channel.state(1, deposit0=300 * UNIT, balance0=300 * UNIT, balance1=100 * UNIT)
    channel.challenge(state)
    channel.reach_settling()
    channel.settle(state)
    assert channel.wallets() == (100 * UNIT, 100 * UNIT)


def test_the_same_close_does_not_work_in_a_channel_of_another_salt(channel: Channel, world: World) -> None:
    closing = channel.closing(1)
    signatures = channel.sign(closing)
    channel.close(closing, signatures)
    again = world.channel((100 * UNIT, 100 * UNIT), keys=channel.keys, owners=channel.terms.owners)
    with refused("adjudicator: wrong channel"):
        again.close(closing, signatures)
    with refused("signatures: wrong signer"):
        again.close(closing.but(channel=again.id), signatures)
