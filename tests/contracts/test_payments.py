"""Withdrawals, and pushes that fail: `pay`, `claim`, and the rule that no channel pays what it does not hold."""

import pytest

from tests.contracts.conftest import MakeWorld
from tests.contracts.encoding import CLOSED, WAD
from tests.contracts.evm import STRANGER, Reverted
from tests.contracts.refusals import refused
from tests.contracts.world import EXPIRY, UNIT, Channel, World, call


@pytest.fixture
def channel(world: World) -> Channel:
    """A channel with 100 on each side, beside another one whose money must stay where it is."""
    world.channel((1_000 * UNIT, 1_000 * UNIT))
    return world.channel((100 * UNIT, 100 * UNIT))


def test_withdrawals_are_paid_once_per_cumulative_total(channel: Channel) -> None:
    channel.checkpoint(channel.state(1, withdrawal0=10 * UNIT))
    channel.checkpoint(channel.state(2, withdrawal0=25 * UNIT, withdrawal1=UNIT))
    channel.challenge(channel.state(3, withdrawal0=25 * UNIT, withdrawal1=UNIT))
    assert channel.status().paid == (25 * UNIT, UNIT)
    assert channel.wallets() == (25 * UNIT, UNIT)


def test_a_lower_total_takes_nothing_back(channel: Channel) -> None:
    channel.checkpoint(channel.state(1, withdrawal0=10 * UNIT))
    lower = channel.state(2, withdrawal0=4 * UNIT, balance0=96 * UNIT)
    channel.challenge(lower)
    channel.reach_settling()
    channel.settle(lower)
    assert channel.wallets() == (100 * UNIT, 100 * UNIT)


def test_two_withdrawal_totals_cannot_exceed_deposits(channel: Channel, world: World) -> None:
    """One person with both keys authorises more than the pot: party 0 goes first, party 1 gets the rest."""
    receipt = channel.checkpoint(
        channel.state(1, withdrawal0=150 * UNIT, withdrawal1=150 * UNIT, balance0=-(50 * UNIT))
    )
    assert [(paid["party"], paid["amount"]) for paid in receipt.all("Paid")] == [(0, 150 * UNIT), (1, 50 * UNIT)]
    assert channel.pot == 0
    channel.checkpoint(channel.state(2, withdrawal0=2**119, withdrawal1=2**119, balance0=-(2**119)))
    assert channel.pot == 0
    assert world.balance(world.adjudicator.address) == 2_000 * UNIT
    channel.close(channel.closing(3, withdrawal0=2**119, withdrawal1=0, balance0=0))
    assert channel.wallets() == (150 * UNIT, 50 * UNIT)
    assert world.balance(world.adjudicator.address) == 2_000 * UNIT


@pytest.mark.parametrize(("first", "paid"), [(0, (0, 200)), (200, (200, 0)), (201, (200, 0)), (120, (120, 80))])
def test_the_pot_is_read_anew_for_the_second_party(channel: Channel, first: int, paid: tuple[int, int]) -> None:
    channel.checkpoint(channel.state(1, withdrawal0=first * UNIT, withdrawal1=300 * UNIT))
    assert channel.status().paid == (paid[0] * UNIT, paid[1] * UNIT)


def test_blocked_withdrawal_pays_when_the_deposit_returns(channel: Channel) -> None:
    """While a deposit the state counts on is missing, nothing is paid, to neither party; when it comes, `pay` pays."""
    state = channel.state(1, deposit1=160 * UNIT, withdrawal0=10 * UNIT, withdrawal1=60 * UNIT)
    assert not channel.checkpoint(state).all("Paid")
    with refused("adjudicator: nothing due"):
        channel.pay(state)
    channel.deposit(1, 60 * UNIT - 1)
    with refused("adjudicator: nothing due"):
        channel.pay(state)
    channel.deposit(1, 1)
    receipt = channel.pay(state, sender=STRANGER)
    assert [paid["amount"] for paid in receipt.all("Paid")] == [10 * UNIT, 60 * UNIT]
    assert channel.wallets() == (10 * UNIT, 60 * UNIT)
    with refused("adjudicator: nothing due"):
        channel.pay(state)


@pytest.mark.parametrize("party", [0, 1])
def test_one_missing_deposit_blocks_both_withdrawals(channel: Channel, party: int) -> None:
    missing = {f"deposit{party}": 100 * UNIT + 1}
    channel.checkpoint(channel.state(1, withdrawal0=UNIT, withdrawal1=UNIT, **missing))
    assert channel.status().paid == (0, 0)


def test_pay_works_in_every_live_phase_and_only_for_the_registered_state(channel: Channel) -> None:
    state = channel.state(1, deposit0=103 * UNIT, withdrawal0=3 * UNIT)
    channel.challenge(state)
    with refused("adjudicator: not as registered"):
        channel.pay(channel.state(2, deposit0=103 * UNIT, withdrawal0=3 * UNIT))
    channel.reach_settling()
    channel.deposit(0, 3 * UNIT)
    channel.pay(state)
    assert channel.wallets() == (3 * UNIT, 0)


def test_a_short_pot_pays_the_rest_later(channel: Channel) -> None:
    state = channel.state(1, withdrawal0=150 * UNIT, withdrawal1=80 * UNIT)
    channel.checkpoint(state)
    assert channel.status().paid == (150 * UNIT, 50 * UNIT)
    channel.deposit(0, 10 * UNIT)
    channel.pay(state)
    assert channel.status().paid == (150 * UNIT, 60 * UNIT)


def test_a_reopen_must_know_every_withdrawal(channel: Channel) -> None:
    """Money that an answer to the challenge paid out cannot come back as collateral."""
    before = channel.state(1, balance0=100 * UNIT)
    channel.challenge(before)
    channel.challenge(channel.state(2, withdrawal0=40 * UNIT, withdrawal1=5 * UNIT, balance0=60 * UNIT))
    assert channel.status().paid == (40 * UNIT, 5 * UNIT)
    for withdrawals in ((0, 0), (40 * UNIT - 1, 5 * UNIT), (40 * UNIT, 5 * UNIT - 1)):
        forgets = channel.state(3, withdrawal0=withdrawals[0], withdrawal1=withdrawals[1])
        with refused("adjudicator: misses a payment"):
            channel.checkpoint(channel.reopening(forgets))
    knows = channel.state(3, withdrawal0=40 * UNIT, withdrawal1=5 * UNIT, balance0=60 * UNIT)
    channel.checkpoint(channel.reopening(knows))
    assert channel.pot == 155 * UNIT == knows.balance0 + knows.balance1


def test_reopen_pays_what_it_newly_authorises(channel: Channel) -> None:
    state = channel.state(1)
    channel.challenge(state)
    channel.checkpoint(channel.reopening(channel.state(1, withdrawal1=9 * UNIT)))
    assert channel.wallets() == (0, 9 * UNIT)


# ── pushes that fail ──


@pytest.fixture
def strict(make_world: MakeWorld) -> Channel:
    """A channel in a token with a blacklist."""
    return make_world(token="RevertingToken").channel((100 * UNIT, 100 * UNIT))


def refuse(channel: Channel, account: str, refused: bool = True) -> None:
    """Put an account on the token's blacklist."""
    channel.token.transact("refuse", account, refused)


@pytest.mark.parametrize("blocked", [0, 1])
def test_blacklisted_owner_cannot_hold_the_other(strict: Channel, blocked: int) -> None:
    world, owners = strict.world, strict.terms.owners
    state = strict.state(1, call(2_000, 1), balance0=90 * UNIT)
    strict.challenge(state)
    refuse(strict, owners[blocked])
    world.chain.at(EXPIRY)
    world.settle_price(EXPIRY, 2_010 * WAD)
    receipt = strict.settle(state)
    assert strict.status().phase == CLOSED
    assert strict.wallets() == ((0, 100 * UNIT) if blocked == 0 else (100 * UNIT, 0))
    deferred = receipt.one("Deferred")
    assert (deferred["owner"], deferred["token"].lower()) == (owners[blocked], strict.token.address.lower())
    assert deferred["amount"] == world.claimable(owners[blocked]) == 100 * UNIT
    with refused("token: transfer refused"):
        strict.claim(owners[blocked])
    assert world.claimable(owners[blocked]) == 100 * UNIT
    refuse(strict, owners[blocked], False)
    said = strict.claim(owners[blocked], sender=STRANGER).one("Claimed")
    assert (said["owner"], said["amount"]) == (owners[blocked], 100 * UNIT)
    assert strict.wallets() == (100 * UNIT, 100 * UNIT)
    with refused("adjudicator: nothing to claim"):
        strict.claim(owners[blocked])


def test_a_blacklisted_owner_blocks_no_registration(strict: Channel) -> None:
    refuse(strict, strict.terms.owners[0])
    receipt = strict.challenge(strict.state(1, withdrawal0=30 * UNIT, withdrawal1=10 * UNIT))
    assert [paid["amount"] for paid in receipt.all("Paid")] == [30 * UNIT, 10 * UNIT]
    assert strict.status().paid == (30 * UNIT, 10 * UNIT)
    assert strict.wallets() == (0, 10 * UNIT)
    assert strict.world.claimable(strict.terms.owners[0]) == 30 * UNIT


def test_deferred_payments_add_up_over_channels_and_belong_to_one_token(strict: Channel) -> None:
    world, owner = strict.world, strict.terms.owners[0]
    other = world.channel((50 * UNIT, 0), owners=(owner, STRANGER))
    elsewhere = world.channel((7 * UNIT, 0), owners=(owner, STRANGER), token=world.deploy_token("RevertingToken"))
    for channel in (strict, other, elsewhere):
        refuse(channel, owner)
        channel.close(channel.closing(1))
    assert world.claimable(owner) == 150 * UNIT
    assert world.claimable(owner, elsewhere.token) == 7 * UNIT
    assert world.balance(world.adjudicator.address) == 150 * UNIT


def test_a_paused_token_delays_and_loses_nothing(strict: Channel) -> None:
    world = strict.world
    strict.challenge(strict.state(1))
    strict.token.transact("pause", True)
    strict.reach_settling()
    strict.settle(strict.state(1))
    assert strict.wallets() == (0, 0)
    strict.token.transact("pause", False)
    for owner in strict.terms.owners:
        strict.claim(owner)
    assert strict.wallets() == (100 * UNIT, 100 * UNIT)
    assert world.balance(world.adjudicator.address) == 0


def test_starving_a_push_reverts_and_defers_nothing(make_world: MakeWorld) -> None:
    """No gas limit turns a payment that would work into a deferred one."""
    channel = make_world().channel((100 * UNIT, 100 * UNIT))
    closing = channel.closing(1)
    signatures = channel.sign(closing)
    reasons = set()
    for gas in range(40_000, 700_000, 5_000):
        try:
            receipt = channel.close(closing, signatures, gas=gas)
        except Reverted as error:
            reasons.add(error.reason)
        else:
            assert not receipt.all("Deferred")
            break
    assert "token: too little gas" in reasons
    assert channel.wallets() == (100 * UNIT, 100 * UNIT)


def test_a_token_that_burns_all_gas_costs_its_cap_and_600_000_are_enough(make_world: MakeWorld) -> None:
    channel = make_world(token="OddToken").channel((100 * UNIT, 100 * UNIT))
    channel.token.transact("set_mode", 6)
    receipt = channel.close(channel.closing(1), gas=600_000)
    assert len(receipt.all("Deferred")) == 2
    assert receipt.gas < 500_000


def test_push_is_the_adjudicators_own(channel: Channel, world: World) -> None:
    for sender in (STRANGER, *channel.terms.signers, *channel.terms.owners):
        with refused("adjudicator: not the adjudicator"):
            world.adjudicator.transact("push", world.token.address, STRANGER, 1, sender=sender)
