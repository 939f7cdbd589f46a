"""`liquidate`: two proofs, the side they protect, a close-out at the mark, and nothing that a defaulter could turn."""

import pytest

from tests.contracts.encoding import BTC, CLOSED, DISPUTED, OPEN, SETTLING, WAD, State
from tests.contracts.evm import STRANGER
from tests.contracts.margin_world import (
    BREACH,
    STAKES,
    Desk,
    MarginWorld,
    called,
    eth_spot,
    short_calls,
    short_forward,
)
from tests.contracts.refusals import refused
from tests.contracts.world import CURE, HOUR, UNIT, Channel, call, put


@pytest.fixture
def world() -> MarginWorld:
    return MarginWorld()


@pytest.fixture
def channel(world: MarginWorld) -> Channel:
    return world.margined(STAKES)


def at_its_deadline(channel: Channel, state: State, party: int = 0, price: int = BREACH) -> Desk:
    """Call `party`, wait, and let the spot be there again; return the library's figures of that second."""
    called(channel, state, party, price)
    channel.world.chain.sleep(CURE)
    eth_spot(channel.world, price)
    return Desk.of(channel, state)


# ── who ──


def test_defaulter_cannot_call_or_liquidate_itself(channel: Channel) -> None:
    """Else it would choose the moment, the witness, or the harmless version; strangers may not either."""
    state = short_calls(channel)
    channel.checkpoint(state)
    eth_spot(channel.world, BREACH)
    witness = Desk.of(channel, state).witness(0)
    own = (channel.terms.signers[0], channel.terms.owners[0], STRANGER)
    for sender in own:
        with refused("adjudicator: not a side"):
            channel.recall(state, 0, witness, sender)
    desk = at_its_deadline(channel, state)
    for sender in own:
        with refused("adjudicator: not a side"):
            channel.liquidate(state, 0, desk.witness(0), sender)
    channel.liquidate(state, 0, desk.witness(0), channel.terms.owners[1])
    assert channel.status().phase == CLOSED


def test_the_called_side_does_not_liquidate_its_caller(channel: Channel) -> None:
    """A call against one party is none against the other."""
    state = short_calls(channel)
    channel.checkpoint(state)
    desk = at_its_deadline(channel, state)
    with refused("adjudicator: no executable call"):
        channel.liquidate(state, 1, desk.witness(1))


def test_without_a_call_nobody_is_liquidated(channel: Channel) -> None:
    state = short_calls(channel)
    channel.challenge(state)
    channel.reach_settling()
    eth_spot(channel.world, 9_000)
    with refused("adjudicator: no executable call"):
        channel.liquidate(state, 0, Desk.of(channel, state).witness(0))


# ── the second proof ──


def test_harmless_witness_reverts_and_clears_nothing(channel: Channel) -> None:
    """A row that loses nothing is no proof that all is well: the call stands, and the right row executes it."""
    state = short_calls(channel)
    channel.checkpoint(state)
    desk = at_its_deadline(channel, state)
    before = channel.status()
    assert before.cure_deadlines[0] == channel.world.chain.now
    harmless = [0]
    assert harmless != desk.witness(0)
    for sender in (channel.terms.signers[1], channel.terms.owners[1]):
        with refused("adjudicator: no breach"):
            channel.liquidate(state, 0, harmless, sender)
    assert channel.status() == before
    channel.liquidate(state, 0, desk.witness(0))
    assert channel.status().phase == CLOSED


def test_the_second_proof_is_strict_to_the_last_unit(channel: Channel) -> None:
    state = short_calls(channel)
    channel.checkpoint(state)
    desk = at_its_deadline(channel, state)
    missing = desk.reports[0].maintenance_margin - desk.reports[0].equity
    channel.deposit(0, missing - 1)
    with channel.world.chain.fork():
        channel.liquidate(state, 0, desk.witness(0))
    channel.deposit(0, 1)
    with refused("adjudicator: no breach"):
        channel.liquidate(state, 0, desk.witness(0))


# ── what it pays ──


@pytest.mark.parametrize("phase", [OPEN, DISPUTED, SETTLING])
@pytest.mark.parametrize("party", [0, 1])
def test_every_live_phase_closes_out_to_the_librarys_figures(channel: Channel, phase: int, party: int) -> None:
    state = channel.state(1, call(2_200, 10 if party else -10), put(1_500, -1))
    channel.checkpoint(state)
    if phase != OPEN:
        channel.rechallenge(state)
    if phase == SETTLING:
        channel.reach_settling()
    desk = at_its_deadline(channel, state, party)
    receipt = channel.liquidate(state, party, desk.witness(party))
    value, charge = desk.reports[0].value, desk.reports[party].charges.total
    assert charge > 0
    assert receipt.one("Liquidated") == {"channel": channel.id, "party": party, "value0": value, "charge": charge}
    first = STAKES[0] + value + (charge if party else -charge)
    closed = receipt.one("Closed")
    assert channel.wallets() == (closed["payout0"], closed["payout1"]) == (first, sum(STAKES) - first)
    assert [event.name for event in receipt.events if event.address == channel.world.adjudicator.address] == [
        "Liquidated",
        "Closed",
    ]
    status = channel.status()
    assert (status.phase, status.cure_deadlines, status.deposits) == (CLOSED, (0, 0), (0, 0))


@pytest.mark.parametrize("party", [0, 1])
def test_who_owes_more_than_it_has_pays_what_it_has(channel: Channel, party: int) -> None:
    other = channel.world.channel((500 * UNIT, 0))
    state = channel.state(1, call(2_200, 10 if party else -10))
    channel.checkpoint(state)
    desk = at_its_deadline(channel, state, party, 9_000)
    channel.liquidate(state, party, desk.witness(party))
    assert channel.wallets() == ((sum(STAKES), 0) if party else (0, sum(STAKES)))
    assert other.pot == channel.world.balance(channel.world.adjudicator.address)


def test_deposits_and_withdrawals_that_the_state_does_not_know_are_counted(channel: Channel) -> None:
    """A gift to the protected side, a top-up too small, a withdrawal still blocked: all in the payout, once."""
    state = short_calls(channel, 1, deposit1=STAKES[1] + UNIT, withdrawal0=7 * UNIT, balance0=STAKES[0] - 7 * UNIT)
    channel.checkpoint(state)
    channel.deposit(0, 3 * UNIT)
    desk = at_its_deadline(channel, state)
    assert desk.reports[0].cash == STAKES[0] + 3 * UNIT
    channel.liquidate(state, 0, desk.witness(0))
    first = STAKES[0] + 3 * UNIT + desk.reports[0].value - desk.reports[0].charges.total
    assert channel.wallets() == (first, sum(STAKES) + 3 * UNIT - first)


def test_expired_legs_close_out_at_their_settlement_and_cost_nothing_to_replace(world: MarginWorld) -> None:
    channel = world.margined(STAKES)
    expiry = world.chain.now + CURE // 2
    state = channel.state(1, call(2_200, -10), put(2_300, 1, expiry))
    channel.checkpoint(state)
    called(channel, state)
    world.settle_price(expiry, 2_111 * WAD)
    world.chain.sleep(CURE)
    eth_spot(world, BREACH)
    desk = Desk.of(channel, state, settlements={("ETH/USD", expiry): 2_111 * WAD})
    alone = Desk.of(channel, short_calls(channel, 5))
    assert desk.reports[0].value == alone.reports[0].value + (2_300 - 2_111) * UNIT
    assert desk.reports[0].charges == alone.reports[0].charges
    said = channel.liquidate(state, 0, desk.witness(0)).one("Liquidated")
    assert (said["value0"], said["charge"]) == (desk.reports[0].value, desk.reports[0].charges.total)


def test_two_underlyings_close_out_together(world: MarginWorld) -> None:
    channel = world.margined(STAKES)
    world.spot(30_000 * WAD, underlying=BTC)
    state = channel.state(1, call(2_200, -8), call(33_000, -1, underlying=BTC), spots={BTC: 30_000 * WAD})
    channel.checkpoint(state)
    desk = at_its_deadline_with_btc(channel, state)
    said = channel.liquidate(state, 0, desk.witness(0)).one("Liquidated")
    assert (said["value0"], said["charge"]) == (desk.reports[0].value, desk.reports[0].charges.total)


def at_its_deadline_with_btc(channel: Channel, state: State) -> Desk:
    """As above, BTC at 32,000."""
    channel.world.spot(32_000 * WAD, underlying=BTC)
    called(channel, state)
    channel.world.chain.sleep(CURE)
    eth_spot(channel.world, BREACH)
    channel.world.spot(32_000 * WAD, underlying=BTC)
    return Desk.of(channel, state)


# ── both in breach ──


@pytest.fixture
def poor(world: MarginWorld) -> Channel:
    return world.margined((1_000 * UNIT, 1_000 * UNIT))


def test_both_in_breach_no_charge_order_independent(poor: Channel) -> None:
    """Both failed their calls: whoever executes first, nobody is charged and the payouts are the same."""
    state = short_forward(poor)
    poor.checkpoint(state)
    called(poor, state, 0, 2_000)
    desk = at_its_deadline(poor, state, 1, 2_000)
    paid = []
    for party in (0, 1):
        with poor.world.chain.fork():
            said = poor.liquidate(state, party, desk.witness(party)).one("Liquidated")
            assert (said["charge"], said["value0"]) == (0, desk.reports[0].value)
            paid.append(poor.wallets())
    assert paid[0] == paid[1] == (1_000 * UNIT + desk.reports[0].value, 1_000 * UNIT - desk.reports[0].value)
    assert min(report.charges.total for report in desk.reports) > 0


@pytest.mark.parametrize("late", [-1, 0])
def test_the_callers_own_call_counts_from_its_deadline(poor: Channel, late: int) -> None:
    state = short_forward(poor)
    poor.checkpoint(state)
    called(poor, state, 0, 2_000)
    poor.world.chain.sleep(60)
    own = called(poor, state, 1, 2_000)["deadline"]
    poor.world.chain.at(own + late)
    eth_spot(poor.world, 2_000)
    desk = Desk.of(poor, state)
    said = poor.liquidate(state, 0, desk.witness(0)).one("Liquidated")
    assert said["charge"] == (0 if late == 0 else desk.reports[0].charges.total)


def test_the_callers_own_call_counts_no_more_once_it_lapsed_or_was_cured(poor: Channel) -> None:
    state = short_forward(poor)
    poor.checkpoint(state)
    called(poor, state, 1, 2_000)
    poor.world.chain.sleep(CURE + HOUR - 60)
    desk = at_its_deadline(poor, state, 0, 2_000)
    with poor.world.chain.fork():
        said = poor.liquidate(state, 0, desk.witness(0)).one("Liquidated")
        assert said["charge"] == desk.reports[0].charges.total
    again = short_forward(poor, 2)
    poor.checkpoint(again)
    called(poor, again, 1, 2_000)
    called(poor, again, 0, 2_000)
    poor.deposit(1, 5_000 * UNIT)
    poor.cure(again, 1)
    poor.world.chain.sleep(CURE)
    eth_spot(poor.world, 2_000)
    desk = Desk.of(poor, again)
    assert poor.liquidate(again, 0, desk.witness(0)).one("Liquidated")["charge"] == desk.reports[0].charges.total
