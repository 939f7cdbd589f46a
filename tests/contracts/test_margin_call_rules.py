"""`margin_call`, row by row: who may, on which state, in which phase, and what exactly it has to prove."""

from dataclasses import astuple, replace

import pytest

from channels.risk import DEFAULT_POLICY
from tests.contracts.encoding import DISPUTED, OPEN, WAD
from tests.contracts.evm import STRANGER, Reverted
from tests.contracts.margin_world import BREACH, STAKES, Desk, MarginWorld, called, eth_spot, short_calls, short_forward
from tests.contracts.refusals import refused
from tests.contracts.world import CURE, EXPIRY, UNIT, Channel, call


@pytest.fixture
def world() -> MarginWorld:
    return MarginWorld()


@pytest.fixture
def channel(world: MarginWorld) -> Channel:
    return world.margined(STAKES)


def acts(channel: Channel, book: bytes, party: int, witness: list[int]) -> dict[str, tuple[object, ...]]:
    """The arguments of the four entry points of margin on the registered short calls."""
    state = astuple(short_calls(channel))
    return {
        "margin_call": (state, b"", b"", book, party, witness),
        "cure": (state, book, party),
        "liquidate": (state, book, party, witness),
        "release": (state, book, party, 1),
    }


# ── who ──


def test_only_the_other_side_calls(channel: Channel) -> None:
    state = short_calls(channel)
    channel.checkpoint(state)
    eth_spot(channel.world, BREACH)
    witness = Desk.of(channel, state).witness(0)
    for sender in (channel.terms.signers[0], channel.terms.owners[0], STRANGER):
        with refused("adjudicator: not a side"):
            channel.recall(state, 0, witness, sender)
    channel.recall(state, 0, witness, channel.terms.owners[1])
    assert channel.status().cure_deadlines == (channel.world.chain.now + CURE, 0)


def test_the_other_sides_signer_calls_too_and_party_1_is_called_by_party_0(channel: Channel) -> None:
    state = channel.state(1, call(2_200, 10))
    channel.checkpoint(state)
    eth_spot(channel.world, BREACH)
    witness = Desk.of(channel, state).witness(1)
    for sender in (*channel.terms.owners[1:], *channel.terms.signers[1:]):
        with refused("adjudicator: not a side"):
            channel.recall(state, 1, witness, sender)
    channel.recall(state, 1, witness, channel.terms.signers[0])
    assert channel.status().cure_deadlines == (0, channel.world.chain.now + CURE)


# ── what the calldata must be ──


def settling_short_calls(channel: Channel) -> None:
    """Party 0 is called and the dispute about it is past its deadline: all four entry points are open."""
    state = short_calls(channel)
    channel.challenge(state)
    channel.reach_settling()
    called(channel, state)
    channel.world.chain.sleep(CURE)
    eth_spot(channel.world, BREACH)


@pytest.mark.parametrize("function", ["margin_call", "cure", "liquidate", "release"])
@pytest.mark.parametrize("party", [2, 3, 255])
def test_there_are_two_parties(channel: Channel, function: str, party: int) -> None:
    settling_short_calls(channel)
    arguments = acts(channel, channel.book_of(short_calls(channel)), party, [0])[function]
    for sender in (*channel.terms.signers, *channel.terms.owners):
        with refused("adjudicator: no such party"):
            channel.send(function, *arguments, sender=sender)


@pytest.mark.parametrize("function", ["margin_call", "cure", "liquidate", "release"])
@pytest.mark.parametrize("wrong", ["another", "none", "trailing"])
def test_the_book_is_the_states(channel: Channel, function: str, wrong: str) -> None:
    settling_short_calls(channel)
    right = channel.book_of(short_calls(channel))
    book = {"another": channel.book_of(channel.state(9, call(2_300, -10))), "none": b"", "trailing": right + bytes(32)}
    sender = channel.terms.signers[0 if function == "release" else 1]
    with refused("adjudicator: wrong book"):
        channel.send(function, *acts(channel, book[wrong], 0, [0])[function], sender=sender)


@pytest.mark.parametrize("function", ["cure", "liquidate", "release"])
def test_only_exactly_the_registered_state_counts(channel: Channel, function: str) -> None:
    settling_short_calls(channel)
    state = short_calls(channel)
    book, sender = channel.book_of(state), channel.terms.signers[0 if function == "release" else 1]
    for other in (state.but(version=2), state.but(balance0=state.balance0 + 1, balance1=state.balance1 - 1)):
        arguments = (astuple(other), *acts(channel, book, 0, [0])[function][1:])
        with refused("adjudicator: not as registered"):
            channel.send(function, *arguments, sender=sender)


@pytest.mark.parametrize(
    ("witness", "reason"),
    [([], "risk: misaligned"), ([0, 0], "risk: misaligned"), ([34], "risk: no such scenario")],
)
@pytest.mark.parametrize("function", ["margin_call", "liquidate"])
def test_a_witness_is_one_row_for_each_underlying(
    channel: Channel, function: str, witness: list[int], reason: str
) -> None:
    state = short_calls(channel)
    channel.checkpoint(state)
    eth_spot(channel.world, BREACH)
    if function == "liquidate":
        called(channel, state)
        channel.world.chain.sleep(CURE)
        eth_spot(channel.world, BREACH)
    with refused(reason):
        (channel.recall if function == "margin_call" else channel.liquidate)(state, 0, witness)


def test_without_an_engine_there_is_no_margin_on_chain(world: MarginWorld) -> None:
    channel = world.channel(STAKES)
    state = short_calls(channel)
    channel.challenge(state)
    eth_spot(world, BREACH)
    with refused("adjudicator: no risk engine"):
        channel.recall(state, 0, [0])
    channel.reach_settling()
    eth_spot(world, BREACH)
    with refused("adjudicator: no risk engine"):
        channel.release(state, 1, 1)
    for act in (lambda: channel.cure(state, 0), lambda: channel.liquidate(state, 0, [0])):
        with pytest.raises(Reverted, match="call"):
            act()


# ── which state, when ──


def test_a_newer_state_is_registered_and_open_stays_open(channel: Channel) -> None:
    channel.checkpoint(short_calls(channel))
    newer = short_calls(channel, 3)
    eth_spot(channel.world, BREACH)
    receipt = channel.margin_call(newer, 0, Desk.of(channel, newer).witness(0))
    status = channel.status()
    assert (status.phase, status.version, status.deadline) == (OPEN, 3, 0)
    assert status.registered == newer.struct_hash()
    assert [event.name for event in receipt.events] == ["Registered", "Called"]
    assert receipt.one("Registered")["deadline"] == 0
    assert receipt.one("Called") == {"channel": channel.id, "party": 0, "deadline": channel.world.chain.now + CURE}


def test_in_a_dispute_a_newer_state_keeps_the_deadline(channel: Channel) -> None:
    channel.challenge(short_calls(channel))
    deadline = channel.status().deadline
    channel.world.chain.at(deadline - 1)
    eth_spot(channel.world, BREACH)
    newer = short_calls(channel, 2)
    channel.margin_call(newer, 0, Desk.of(channel, newer).witness(0))
    status = channel.status()
    assert (status.phase, status.version, status.deadline) == (DISPUTED, 2, deadline)


def test_settling_takes_exactly_the_registered_state(channel: Channel) -> None:
    state = short_calls(channel)
    channel.challenge(state)
    channel.reach_settling()
    eth_spot(channel.world, BREACH)
    newer = short_calls(channel, 2)
    witness = Desk.of(channel, state).witness(0)
    with refused("adjudicator: deadline passed"):
        channel.margin_call(newer, 0, witness)
    channel.recall(state, 0, witness)
    assert channel.status().version == 1


def test_a_newer_state_needs_both_signatures(channel: Channel) -> None:
    channel.checkpoint(short_calls(channel))
    newer = short_calls(channel, 2)
    eth_spot(channel.world, BREACH)
    witness = Desk.of(channel, newer).witness(0)
    first, second = channel.sign(newer)
    for sigs, reason in (
        ((b"", b""), "signatures: not 65 bytes"),
        ((first, b""), "signatures: not 65 bytes"),
        ((first, first), "signatures: wrong signer"),
        ((second, first), "signatures: wrong signer"),
    ):
        with refused(reason):
            channel.margin_call(newer, 0, witness, sigs)


def test_what_is_not_an_operate_state_or_not_newer_is_refused(channel: Channel) -> None:
    state = short_calls(channel, 2)
    channel.checkpoint(state)
    eth_spot(channel.world, BREACH)
    witness = Desk.of(channel, state).witness(0)
    with refused("adjudicator: stale version"):
        channel.margin_call(short_calls(channel, 1), 0, witness)
    with refused("adjudicator: stale version"):
        channel.margin_call(short_calls(channel, 2, balance0=2_799 * UNIT), 0, witness)
    with refused("adjudicator: operate states only"):
        channel.margin_call(channel.reopening(state), 0, witness)
    with refused("adjudicator: operate states only"):
        channel.margin_call(channel.closing(3), 0, [])
    other = channel.world.channel(STAKES)
    with refused("adjudicator: wrong channel"):
        channel.margin_call(short_calls(channel, 3).but(channel=other.id), 0, witness)


def test_a_registered_reopen_state_can_be_called_on(channel: Channel) -> None:
    state = short_calls(channel)
    channel.challenge(state)
    reopened = channel.reopening(state)
    channel.checkpoint(reopened)
    assert called(channel, reopened)["party"] == 0


def test_a_closed_channel_knows_no_margin(channel: Channel) -> None:
    state = short_calls(channel)
    channel.close(channel.closing(1))
    eth_spot(channel.world, BREACH)
    for act in (
        lambda: channel.margin_call(state, 0, [0]),
        lambda: channel.cure(state, 0),
        lambda: channel.liquidate(state, 0, [0]),
        lambda: channel.release(state, 1, 1),
    ):
        with refused("adjudicator: closed"):
            act()


# ── what is proven ──


def test_a_breach_is_strict_to_the_last_unit(channel: Channel) -> None:
    eth_spot(channel.world, BREACH)
    report = Desk.of(channel, short_calls(channel)).reports[0]
    at_maintenance = STAKES[0] + report.maintenance_margin - report.equity
    witness = Desk.of(channel, short_calls(channel)).witness(0)
    with refused("adjudicator: no breach"):
        channel.margin_call(short_calls(channel, 1, balance0=at_maintenance), 0, witness)
    channel.margin_call(short_calls(channel, 2, balance0=at_maintenance - 1), 0, witness)


def test_a_top_up_that_no_state_knows_counts(channel: Channel) -> None:
    state = short_calls(channel)
    channel.checkpoint(state)
    eth_spot(channel.world, BREACH)
    report = Desk.of(channel, state).reports[0]
    witness = Desk.of(channel, state).witness(0)
    missing = report.maintenance_margin - report.equity
    channel.deposit(0, missing - 1)
    channel.deposit(1, 10_000 * UNIT)  # the other side's money is no collateral of this one's
    with channel.world.chain.fork():
        channel.recall(state, 0, witness)
    channel.deposit(0, 1)
    with refused("adjudicator: no breach"):
        channel.recall(state, 0, witness)


def test_a_deposit_that_a_reorg_took_is_a_debt(channel: Channel) -> None:
    """The same positions on a deposit that is not there: what is missing is missing from the margin."""
    missing = short_calls(channel, 1, deposit0=5_600 * UNIT, balance0=5_600 * UNIT)
    channel.checkpoint(missing)
    assert called(channel, missing)["party"] == 0


def test_a_withdrawal_paid_at_the_registration_is_no_collateral(channel: Channel) -> None:
    """2,800 would do at a spot of 2,000; the state that is called on takes 1,500 of them out in the same breath."""
    state = short_calls(channel, 1, withdrawal0=1_500 * UNIT)
    eth_spot(channel.world, 2_000)
    witness = Desk.of(channel, short_calls(channel)).witness(0)
    receipt = channel.margin_call(state, 0, witness)
    assert receipt.one("Paid")["amount"] == 1_500 * UNIT == channel.wallets()[0]
    with refused("adjudicator: not compliant"):
        channel.cure(state, 0)


def test_a_blocked_withdrawal_is_collateral_while_it_is_here(channel: Channel) -> None:
    """The other side's deposit is missing, so nothing is paid: the money is in the pot. When it comes, both change."""
    state = short_calls(channel, 1, deposit1=STAKES[1] + UNIT, withdrawal0=1_500 * UNIT)
    eth_spot(channel.world, 2_000)
    witness = Desk.of(channel, short_calls(channel)).witness(0)
    channel.checkpoint(state)
    with refused("adjudicator: no breach"):
        channel.recall(state, 0, witness)
    channel.deposit(1, UNIT)
    assert channel.recall(state, 0, witness).one("Paid")["amount"] == 1_500 * UNIT


def test_a_call_without_positions_proves_nothing_but_a_debt(channel: Channel) -> None:
    nothing = channel.state(1)
    with refused("adjudicator: no breach"):
        channel.margin_call(nothing, 0, [])
    channel.margin_call(channel.state(2, balance0=-1), 0, [])


def test_a_row_that_loses_nothing_proves_no_breach(channel: Channel) -> None:
    """One witness: the row that names no loss asks for the charges only."""
    state = short_calls(channel)
    channel.challenge(state)
    eth_spot(channel.world, BREACH)
    with refused("adjudicator: no breach"):
        channel.recall(state, 0, [0])
    with refused("adjudicator: no breach"):
        channel.recall(state, 1, [0])


def test_half_the_independent_amount_is_maintenance_while_a_leg_lives() -> None:
    """No scenario is needed for it, and none of it is left when the last leg has expired."""
    world = MarginWorld(replace(DEFAULT_POLICY, independent_amounts=(5_600 * WAD + 2 * 10**12, 0)))
    channel = world.margined(STAKES)
    state = channel.state(1, call(2_200, 1), balance0=STAKES[0])
    short = Desk.of(channel, state).reports[0]
    exactly = state.but(version=2, balance0=STAKES[0] - short.value + 1, balance1=STAKES[1] + short.value - 1)
    with refused("adjudicator: no breach"):
        channel.margin_call(exactly, 0, [0])
    lacking_one = exactly.but(version=3, balance0=exactly.balance0 - 1, balance1=exactly.balance1 + 1)
    channel.checkpoint(lacking_one)
    with world.chain.fork():
        channel.recall(lacking_one, 0, [0])
    world.chain.at(EXPIRY)
    eth_spot(world, 2_000)
    with refused("adjudicator: no breach"):
        channel.recall(lacking_one, 0, [0])


def test_a_call_that_stands_cannot_be_renewed_and_the_other_sides_is_another(world: MarginWorld) -> None:
    channel = world.margined((1_000 * UNIT, 1_000 * UNIT))
    state = short_forward(channel)
    channel.challenge(state)
    first = called(channel, state, 0, 2_000)["deadline"]
    world.chain.sleep(60)
    with refused("adjudicator: call pending"):
        called(channel, state, 0, 2_000)
    second = called(channel, state, 1, 2_000)["deadline"]
    assert channel.status().cure_deadlines == (first, second) == (first, first + 60)
