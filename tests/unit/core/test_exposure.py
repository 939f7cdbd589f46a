"""What half-signed states may cost, and the owner's limits on them, enforced before anything is signed."""

from __future__ import annotations

import pytest

from channels.core import events as e, facts as f, notices as n
from channels.core.exposure import exposure
from channels.core.limits import Limits
from channels.core.monitor import agreed_margins
from channels.errors import ExposureTooHigh, PeerIsSilent, TooManyOutstanding
from channels.model import Acknowledge, Leg, Mark, Party, Withdraw
from channels.risk.valuation import value
from channels.wire import messages as m
from tests.roles import ETH, EXPIRY, LATER, NOW, UNIT, condor
from tests.sansio import Joined, durable, fresh, replayed

CALL = Leg.call(ETH, EXPIRY, 2400, quantity=1)
PREMIUM = 70


@pytest.fixture
def world() -> Joined:
    made = Joined()
    made.fund(10_000, 10_000)
    return made


def half_sign(world: Joined, *operations: object) -> None:
    world.carry(world.alice, world.alice.seat.propose(operations, fresh(), world.now))  # type: ignore[arg-type]


def test_without_half_signed_states_the_exposure_is_the_margins_worst_case(world: Joined) -> None:
    world.propose(world.alice, world.trade(condor()))
    for side in world.sides:
        found, report = exposure(side.channel), agreed_margins(side.channel)[side.me]
        assert found.cost == 0
        assert [state.version for state in found.states] == [2]
        loss = sum(row.loss for row in report.worst)
        assert loss > 0
        assert abs(found.worst.equity - (report.equity - loss)) <= 2


def test_a_half_signed_purchase_costs_what_of_the_premium_the_worst_row_leaves_no_value_for(world: Joined) -> None:
    half_sign(world, world.trade([CALL], premium=PREMIUM))
    found = exposure(world.alice.channel)
    mine = value(world.alice.channel.tip[1], decimals=6)[Party.ZERO]
    assert PREMIUM * UNIT - mine < found.cost <= PREMIUM * UNIT
    assert found.costliest.version == found.worst.version == 2
    assert exposure(world.bob.channel).cost == 0, "what Alice signed costs Bob nothing: he has not"
    [(name, row)] = found.costliest.rows
    assert name == ETH
    assert world.alice.channel.policy.scenarios[row].spot_factor < 10**18, "the row in which a call is worth least"


def test_a_half_signed_sale_costs_more_than_it_is_paid_for(world: Joined) -> None:
    half_sign(world, world.trade([CALL.times(-1)], premium=-PREMIUM))
    found = exposure(world.alice.channel).costliest
    paid, mine = PREMIUM * UNIT, value(world.alice.channel.tip[1], decimals=6)[Party.ZERO]
    assert found.cost > -mine - paid
    assert world.alice.channel.policy.scenarios[found.rows[0][1]].spot_factor > 10**18


def test_marks_alone_cost_nothing_whatever_they_say(world: Joined) -> None:
    world.propose(world.alice, world.trade(condor()))
    for spot in ("2310", "2290"):
        world.spot, world.now = spot, world.now + 1
        half_sign(world, Mark(world.view(world.alice.channel.book.legs, world.now)))  # type: ignore[arg-type]
    found = exposure(world.alice.channel)
    assert [state.version for state in found.states] == [2, 3, 4]
    assert found.cost == 0
    assert len({state.equity for state in found.states}) == 1


def test_facts_and_withdrawals_of_ours_cost_nothing(world: Joined) -> None:
    world.confirm(f.DepositSeen(Party.ZERO, 11_000 * UNIT))
    half_sign(world, Acknowledge((11_000 * UNIT, 10_000 * UNIT), (0, 0)))
    half_sign(world, Withdraw(500 * UNIT))
    found = exposure(world.alice.channel)
    assert {(state.equity, state.cost) for state in found.states} == {(11_000 * UNIT, 0)}


def test_every_prefix_counts_and_is_remembered_until_a_higher_version_is_agreed(world: Joined) -> None:
    world.bob.seat.market = lambda legs, now: None
    half_sign(world, world.trade([CALL], premium=PREMIUM))
    half_sign(world, Mark(world.view((CALL,), world.now)))  # type: ignore[arg-type]
    world.settle()
    assert world.alice.channel.in_flight == ()
    cost = exposure(world.alice.channel).cost
    assert cost > 0
    world.restart(world.alice)
    assert [state.version for state in exposure(world.alice.channel).states] == [1, 2, 3]
    assert exposure(world.alice.channel).cost == cost
    world.reconnect()
    half_sign(world, Mark())
    assert exposure(world.alice.channel).cost == cost, "half-signed supersedes nothing"
    world.settle()
    assert exposure(world.alice.channel).cost == 0
    assert len(exposure(world.alice.channel).states) == 1


def test_before_anything_is_agreed_deposits_are_what_we_hold() -> None:
    world = Joined()
    world.confirm(f.DepositSeen(Party.ZERO, 5 * UNIT))
    half_sign(world, Acknowledge((5 * UNIT, 0), (0, 0)))
    found = exposure(world.alice.channel)
    assert [(state.version, state.equity, state.cost) for state in found.states] == [(0, 5 * UNIT, 0), (1, 5 * UNIT, 0)]


def test_underlyings_move_apart(world: Joined) -> None:
    """A spread over two expiries is one underlying: one row for both legs, not the worst of each."""
    spread = (CALL, Leg.call(ETH, LATER, 2400, quantity=-1))
    half_sign(world, world.trade(spread))
    together = exposure(world.alice.channel).cost
    alone = 0
    for leg in spread:
        other = Joined()
        other.fund(10_000, 10_000)
        half_sign(other, other.trade([leg]))
        alone += exposure(other.alice.channel).cost
    assert together < alone


def test_max_exposure_is_enforced_before_anything_is_signed(world: Joined) -> None:
    half_sign(world, world.trade([CALL], premium=PREMIUM))
    cost = exposure(world.alice.channel).cost
    world.settle()
    other = Joined()
    other.fund(10_000, 10_000)
    other.alice.seat.limits = Limits(max_exposure=cost - 1)
    before = len(other.alice.store.records(other.id))
    with pytest.raises(ExposureTooHigh) as caught:
        half_sign(other, other.trade([CALL], premium=PREMIUM))
    assert (caught.value.cost, caught.value.limit, caught.value.version) == (cost, cost - 1, 2)
    assert len(other.alice.store.records(other.id)) == before
    other.alice.seat.limits = Limits(max_exposure=cost)
    half_sign(other, other.trade([CALL], premium=PREMIUM))


def test_max_outstanding_counts_killed_ones_too(world: Joined) -> None:
    world.alice.seat.limits = Limits(max_outstanding=3)
    half_sign(world, Mark())
    half_sign(world, Mark())
    world.say(world.alice, m.Reject(world.id, 2, "no", "no"))
    half_sign(world, Mark())
    with pytest.raises(TooManyOutstanding):
        half_sign(world, Mark())
    world.say(world.alice, m.Reject(world.id, 4, "no", "no"))
    with pytest.raises(TooManyOutstanding):
        half_sign(world, world.trade([CALL]))
    half_sign(world, Mark())
    world.settle()
    assert world.agreed.version == 3, "Bob never refused what Alice was told he had"
    assert durable(replayed(world.alice)) == durable(world.alice.channel)


def test_silence_is_told_once_and_nothing_more_is_half_signed_until_it_ends(world: Joined) -> None:
    half_sign(world, Mark())
    for _ in range(3):
        world.act(world.alice, e.SilenceNoticed(30))
    assert [notice for notice in world.alice.notices if isinstance(notice, n.PeerSilent)] == [n.PeerSilent(2, 30)]
    with pytest.raises(PeerIsSilent):
        half_sign(world, Mark())
    world.settle()
    half_sign(world, Mark())
    world.settle()
    assert world.agreed.version == 3


def test_a_turn_that_does_not_come_is_silence_too(world: Joined) -> None:
    world.act(world.bob, e.SilenceNoticed(30))
    assert not [notice for notice in world.bob.notices if isinstance(notice, n.PeerSilent)]
    world.act(world.bob, e.TurnNeeded())
    world.act(world.bob, e.SilenceNoticed(30))
    assert n.PeerSilent(0, 30) in world.bob.notices
    assert world.now == NOW
