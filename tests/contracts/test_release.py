"""`release`: excess collateral out of a dispute whose other side is gone, and never what may still be owed."""

from fractions import Fraction
from math import floor

import pytest

from tests.contracts.encoding import CLOSED, ETH, WAD, Leg, State
from tests.contracts.evm import STRANGER
from tests.contracts.margin_world import STAKES, Desk, MarginWorld, called, eth_spot, short_calls
from tests.contracts.refusals import refused
from tests.contracts.world import CHALLENGE, EXPIRY, HOUR, UNIT, Channel, call, put

BEYOND = "adjudicator: beyond the excess"


@pytest.fixture
def world() -> MarginWorld:
    return MarginWorld()


@pytest.fixture
def channel(world: MarginWorld) -> Channel:
    return world.margined(STAKES)


def left_alone(channel: Channel, state: State, price: int = 2_000) -> Desk:
    """Nobody answers the challenge; the spot is fresh; return the library's figures."""
    channel.challenge(state)
    channel.reach_settling()
    eth_spot(channel.world, price)
    return Desk.of(channel, state)


def most(channel: Channel, state: State, party: int, bound: int) -> None:
    """The release of one unit more than `bound` is refused, that of `bound` paid to the owner."""
    before = channel.wallets()[party]
    with refused(BEYOND):
        channel.release(state, party, bound + 1)
    receipt = channel.release(state, party, bound)
    assert receipt.one("Released") == {"channel": channel.id, "party": party, "amount": bound}
    assert receipt.one("Paid")["amount"] == bound == channel.wallets()[party] - before


# ── who, when ──


def test_only_the_side_itself_takes_its_excess_to_its_owner(channel: Channel) -> None:
    state = short_calls(channel)
    left_alone(channel, state)
    for sender in (channel.terms.signers[0], channel.terms.owners[0], STRANGER):
        with refused("adjudicator: not a side"):
            channel.release(state, 1, 1, sender)
    for sender in (channel.terms.signers[1], channel.terms.owners[1]):
        channel.release(state, 1, UNIT, sender)
    assert channel.wallets() == (0, 2 * UNIT)
    assert channel.world.balance(channel.terms.signers[1]) == 0


@pytest.mark.parametrize("late", [-1, 0])
def test_a_release_waits_for_the_deadline(channel: Channel, late: int) -> None:
    state = short_calls(channel)
    channel.checkpoint(state)
    with refused("adjudicator: not settling"):
        channel.release(state, 1, UNIT)
    channel.rechallenge(state)
    channel.world.chain.sleep(CHALLENGE + late)
    eth_spot(channel.world, 2_000)
    if late < 0:
        with refused("adjudicator: not settling"):
            channel.release(state, 1, UNIT)
    else:
        channel.release(state, 1, UNIT)


@pytest.mark.parametrize(
    ("amount", "reason"),
    [(0, "adjudicator: zero amount"), (2**120, BEYOND), (2**255, BEYOND), (2**256 - 1, BEYOND)],
)
def test_amounts_that_are_none(channel: Channel, amount: int, reason: str) -> None:
    state = short_calls(channel)
    left_alone(channel, state)
    for party in (0, 1):
        with refused(reason):
            channel.release(state, party, amount)


# ── how much ──


@pytest.mark.parametrize("party", [0, 1])
def test_at_most_what_is_above_the_initial_margin(channel: Channel, party: int) -> None:
    state = short_calls(channel, balance0=3_500 * UNIT)
    report = left_alone(channel, state, 1_900).reports[party]
    assert 0 < report.excess < report.cash
    most(channel, state, party, min(report.excess, report.cash))
    with refused(BEYOND):
        channel.release(state, party, 1)


def test_below_the_initial_margin_nothing_is_released(channel: Channel) -> None:
    state = short_calls(channel)
    report = left_alone(channel, state).reports[0]
    assert report.maintenance_margin < report.equity < report.initial_margin
    with refused(BEYOND):
        channel.release(state, 0, 1)


def test_release_pays_no_unrealised_gain(channel: Channel) -> None:
    """Party 1's calls are worth thousands more than its margin; what it takes out is its cash."""
    state = channel.state(1, call(1_000, -3), balance0=5_000 * UNIT)
    report = left_alone(channel, state, 2_500).reports[1]
    assert report.excess > report.cash + 1_000 * UNIT
    most(channel, state, 1, report.cash)


def test_negative_cash_releases_nothing_however_large_the_gain(channel: Channel) -> None:
    state = channel.state(1, call(1_000, -3), balance0=STAKES[0] + STAKES[1] + 1)
    assert left_alone(channel, state, 2_600).reports[1].excess > UNIT
    with refused(BEYOND):
        channel.release(state, 1, 1)


@pytest.mark.parametrize("party", [0, 1])
@pytest.mark.parametrize("sign", [1, -1])
def test_settled_payoffs_count_to_the_last_unit_rounded_down(world: MarginWorld, party: int, sign: int) -> None:
    """What expired legs pay is a fraction of a unit off a whole one: each side's bound takes the fraction down."""
    channel = world.margined(STAKES)
    early = world.chain.now + HOUR
    size = sign * 4 * WAD // 10
    expired = [Leg(ETH, early, strike * WAD, 0, size) for strike in (1_000, 1_001, 1_002)]
    price = 1_002 * WAD + 10**12
    exact = sum(Fraction(leg.quantity * (price - leg.strike), 10**30) for leg in expired)
    assert abs(exact) == Fraction(12_000_012, 10)
    live = call(1_000, 3 if party == 0 else -3)  # a gain that is not the bound
    state = channel.state(1, live, *expired, balance0=STAKES[0])
    channel.challenge(state)
    world.settle_price(early, price)
    channel.reach_settling()
    world.chain.at(max(early, world.chain.now))
    eth_spot(world, 2_500)
    desk = Desk.of(channel, state, settlements={("ETH/USD", early): price})
    assert desk.reports[party].excess > STAKES[party] + 100 * UNIT
    most(channel, state, party, STAKES[party] + floor(exact if party == 0 else -exact))


def test_a_pinned_price_counts_before_the_sources(world: MarginWorld) -> None:
    channel = world.margined(STAKES)
    early = world.chain.now + HOUR
    state = channel.state(1, call(1_000, -3), put(2_000, 1, early))
    channel.challenge(state)
    world.chain.at(early)
    world.settle_price(early, 1_990 * WAD)
    channel.pin(state, early)
    world.settle_price(early, 1_000 * WAD)
    eth_spot(world, 2_500)
    most(channel, state, 1, STAKES[1] - 10 * UNIT)


def test_at_most_the_pot(world: MarginWorld) -> None:
    """The other side owes more than it has: its debt is no money that could be paid out."""
    other = world.margined((50 * UNIT, 50 * UNIT))
    channel = world.margined((100 * UNIT, 100 * UNIT))
    state = channel.state(1, balance0=250 * UNIT)
    assert left_alone(channel, state).reports[0].excess == 250 * UNIT
    most(channel, state, 0, 200 * UNIT)
    assert channel.pot == 0
    assert other.pot == world.balance(world.adjudicator.address) == 100 * UNIT


def test_releases_add_up_and_a_later_top_up_frees_as_much(channel: Channel) -> None:
    state = short_calls(channel)
    report = left_alone(channel, state).reports[1]
    bound = min(report.excess, report.cash)
    channel.release(state, 1, bound // 3)
    most(channel, state, 1, bound - bound // 3)
    channel.deposit(1, 5 * UNIT)
    most(channel, state, 1, 5 * UNIT)
    assert channel.status().paid == (0, bound + 5 * UNIT)


def test_a_release_lowers_the_margin_that_the_next_question_sees(channel: Channel) -> None:
    """What left is no collateral: the side that took all its excess is called when the spot moves on."""
    state = short_calls(channel, balance0=3_500 * UNIT)
    report = left_alone(channel, state, 1_900).reports[0]
    channel.release(state, 0, report.excess)
    assert Desk.of(channel, state).reports[0].excess == 0
    assert called(channel, state, 0, 2_100)["party"] == 0


# ── what follows ──


def test_close_after_release_pays_only_the_pot(channel: Channel) -> None:
    """An agreed CLOSE that was signed before the release and does not know it: each side's own payments are counted."""
    other = channel.world.margined(STAKES)
    state = short_calls(channel)
    left_alone(channel, state)
    closing = channel.closing(2, balance0=2_000 * UNIT)
    channel.release(state, 1, 1_000 * UNIT)
    receipt = channel.close(closing).one("Closed")
    assert (receipt["payout0"], receipt["payout1"]) == (2_000 * UNIT, sum(STAKES) - 3_000 * UNIT)
    assert channel.wallets() == (2_000 * UNIT, sum(STAKES) - 2_000 * UNIT)
    assert other.pot == channel.world.balance(channel.world.adjudicator.address)


def test_a_close_that_owes_more_than_a_release_left_pays_what_is_left(channel: Channel) -> None:
    other = channel.world.margined(STAKES)
    state = short_calls(channel)
    left_alone(channel, state)
    channel.release(state, 1, 2_000 * UNIT)
    channel.close(channel.closing(2, balance0=sum(STAKES)))
    assert channel.wallets() == (sum(STAKES) - 2_000 * UNIT, 2_000 * UNIT)
    assert other.pot == channel.world.balance(channel.world.adjudicator.address)


def test_a_settlement_pays_the_rest(channel: Channel) -> None:
    state = short_calls(channel)
    left_alone(channel, state)
    channel.release(state, 1, 1_500 * UNIT)
    channel.world.chain.at(EXPIRY)
    channel.world.settle_price(EXPIRY, 2_250 * WAD)
    channel.settle(state)
    assert channel.status().phase == CLOSED
    assert channel.wallets() == (2_300 * UNIT, 3_300 * UNIT)


def test_reopen_after_release_has_no_phantom_collateral(channel: Channel) -> None:
    """A REOPEN must know every release: else money that left would be collateral, and a withdrawal, once more."""
    state = short_calls(channel)
    left_alone(channel, state)
    taken = 1_000 * UNIT
    channel.release(state, 1, taken)
    for forgets in (0, taken - 1):
        balance1 = STAKES[1] - forgets
        with refused("adjudicator: misses a payment"):
            channel.checkpoint(channel.reopening(state, withdrawal1=forgets, balance1=balance1))
    knows = channel.reopening(state, withdrawal1=taken, balance1=STAKES[1] - taken)
    receipt = channel.checkpoint(knows)
    assert not receipt.all("Paid")
    assert channel.pot == sum(STAKES) - taken == knows.balance0 + knows.balance1
    eth_spot(channel.world, 2_000)
    assert [report.cash for report in Desk.of(channel, knows).reports] == [STAKES[0], STAKES[1] - taken]


def test_a_withdrawal_that_was_blocked_is_not_paid_on_top_of_a_release(channel: Channel) -> None:
    """What `release` pays and what a state authorises are one total: the same money does not leave twice."""
    state = short_calls(channel, deposit0=STAKES[0] + UNIT, withdrawal1=1_000 * UNIT, balance0=STAKES[0] + UNIT)
    report = left_alone(channel, state).reports[1]
    assert report.cash == STAKES[1]
    channel.release(state, 1, 1_500 * UNIT)
    channel.deposit(0, UNIT)
    with refused("adjudicator: nothing due"):
        channel.pay(state)
    assert channel.wallets() == (0, 1_500 * UNIT)
