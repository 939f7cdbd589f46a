"""Margin on-chain through the port: calls, cures, liquidations, releases, and which engines are the shipped one."""

from __future__ import annotations

from dataclasses import replace

import pytest

from channels.chain import ChannelPhase, Spot
from channels.chain.local import LocalChain
from channels.core.facts import (
    CalledSeen,
    ChainFact,
    ClosedSeen,
    CuredSeen,
    LiquidatedSeen,
    PaymentSeen,
    RegisteredSeen,
    ReleasedSeen,
)
from channels.errors import ContractMismatch, TransactionReverted
from channels.model import Book, Leg, Marks, Party
from channels.risk import DEFAULT_POLICY, margin
from channels.risk.close_out import close_out, close_out_payouts, witness
from channels.risk.payoff import realised, releasable
from channels.units import WAD
from tests.integration.chain_world import DEPOSITS
from tests.integration.margin_world import SHORT, Desk
from tests.roles import BTC, DAY, ETH, EXPIRY, LATER, NOW, UNIT, alice, bob, book

LENIENT = replace(DEFAULT_POLICY, scan_maintenance=WAD // 2)


@pytest.fixture
def desk() -> Desk:
    return Desk()


def placed(fact: ChainFact) -> ChainFact:
    """A margin fact without its place, which is the chain's."""
    margins = (CalledSeen, CuredSeen, LiquidatedSeen, ReleasedSeen)
    return replace(fact, block=0, index=0) if isinstance(fact, margins) else fact


def test_a_call_is_missed_and_executed_for_the_librarys_figures(desk: Desk) -> None:
    final = desk.agreed(1, SHORT)
    deadline = desk.called(final)
    assert desk.bob.status(desk.channel).cure_deadlines == (deadline, 0)
    assert desk.bob.status(desk.channel).phase is ChannelPhase.OPEN
    execute = desk.bob.liquidate(desk.terms, final.state, SHORT, Party.ZERO, [0])
    with pytest.raises(TransactionReverted, match="adjudicator: no executable call"):
        desk.bob.simulate(execute)

    desk.local.set_time(deadline)
    desk.spot(3_400)
    now = desk.local.now + 5
    report = desk.reports(final.state, SHORT, now)[0]
    with pytest.raises(TransactionReverted, match="adjudicator: not a side"):
        desk.alice.simulate(desk.alice.liquidate(desk.terms, final.state, SHORT, Party.ZERO, witness(report)))
    desk.at(now)
    values, charges = close_out(SHORT, 6, DEFAULT_POLICY, t=now, spots=desk.spots(SHORT))
    due = close_out_payouts(desk.cash(final.state), values, charges, Party.ZERO)
    desk.bob.send(desk.bob.liquidate(desk.terms, final.state, SHORT, Party.ZERO, witness(report)))
    assert [placed(fact) for fact in desk.facts()] == [
        RegisteredSeen(final.state, 0),
        CalledSeen(Party.ZERO, deadline, 0, 0),
        LiquidatedSeen(Party.ZERO, values[0], charges[0], 0, 0),
        ClosedSeen(due),
    ]
    assert [desk.trent.balance_of(desk.local.token, role.owner) for role in (alice, bob)] == list(due)
    assert due[0] < DEPOSITS[0] - 9_000 * UNIT


def test_margin_facts_stand_where_the_chain_says_them(desk: Desk) -> None:
    desk.called(desk.agreed(1, SHORT))
    head = desk.trent.head().number
    called = desk.facts()[-1]
    assert isinstance(called, CalledSeen)
    assert called.place == (head, 1), "behind the registration, in one block"


def test_a_top_up_cures(desk: Desk) -> None:
    final = desk.agreed(1, SHORT)
    desk.called(final)
    cure = desk.trent.cure(desk.terms, final.state, SHORT, Party.ZERO)
    with pytest.raises(TransactionReverted, match="adjudicator: not compliant"):
        desk.trent.send(cure)
    now = desk.local.now + 10
    report = desk.reports(final.state, SHORT, now)[0]
    lacking = report.initial_margin - report.equity
    desk.alice.send(desk.alice.deposit(desk.terms, Party.ZERO, lacking))
    desk.at(now)
    desk.trent.send(cure)
    assert desk.trent.status(desk.channel).cure_deadlines == (0, 0)
    assert placed(desk.facts()[-1]) == CuredSeen(Party.ZERO, 0, 0)


def test_a_call_on_the_registered_state_needs_no_signatures(desk: Desk) -> None:
    final = desk.agreed(1, SHORT)
    desk.alice.send(desk.alice.checkpoint(desk.terms, final))
    desk.spot(3_300)
    rows = witness(desk.reports(final.state, SHORT, desk.local.now)[0])
    call = desk.bob.margin_call_registered(desk.terms, final.state, SHORT, Party.ZERO, rows)
    signed = desk.bob.margin_call(desk.terms, final, Party.ZERO, rows)
    assert len(call.data) < len(signed.data)
    desk.bob.send(call)
    with pytest.raises(TransactionReverted, match="adjudicator: call pending"):
        desk.bob.send(call)


def test_the_side_that_is_left_takes_its_excess(desk: Desk) -> None:
    final = desk.agreed(1, SHORT)
    desk.disputed(final)
    desk.spot(2_000)
    now = desk.local.now + 5
    report = desk.reports(final.state, SHORT, now)[1]
    most = min(report.excess, report.cash)
    desk.at(now)
    with pytest.raises(TransactionReverted, match="adjudicator: beyond the excess"):
        desk.bob.simulate(desk.bob.release(desk.terms, final.state, SHORT, Party.ONE, most + 1))
    desk.bob.send(desk.bob.release(desk.terms, final.state, SHORT, Party.ONE, most))
    assert desk.trent.balance_of(desk.local.token, bob.owner) == most
    assert [placed(fact) for fact in desk.facts()][-2:] == [
        ReleasedSeen(Party.ONE, most, 0, 0),
        PaymentSeen(Party.ONE, most),
    ]


@pytest.mark.parametrize("party", Party)
def test_what_can_be_released_is_the_librarys_figure(desk: Desk, party: Party) -> None:
    """One expiry has settled in Alice's favour, with an odd unit; a spread is alive, a gain that is not realised."""
    spread = Leg.call(ETH, LATER, 2000, quantity=10), Leg.call(ETH, LATER, 2100, quantity=-10)
    held = book((Leg.call(ETH, EXPIRY, 2400, quantity="0.3333333"), *spread))
    final = desk.agreed(1, held)
    desk.disputed(final)
    desk.local.set_time(EXPIRY)
    price = 2_500 * WAD + 7
    desk.local.publish_settlement(ETH, EXPIRY, price)
    desk.spot(4_000)
    now = desk.local.now + 5
    settled = {(ETH, EXPIRY): price}
    cash = desk.cash(final.state)
    spots = desk.spots(held)
    report = margin(held, cash, 6, DEFAULT_POLICY, t=now, spots=spots, settlements=settled)[party]
    gains = realised(held.legs, settled, 6, now)
    assert gains[0] + gains[1] == -1, "each rounded down"
    most = releasable(report.excess, cash[party], gains[party], sum(DEPOSITS))
    assert (most < report.excess) is (party is Party.ZERO)
    chain = (desk.alice, desk.bob)[party]
    desk.at(now)
    with pytest.raises(TransactionReverted, match="adjudicator: beyond the excess"):
        chain.simulate(chain.release(desk.terms, final.state, held, party, most + 1))
    chain.simulate(chain.release(desk.terms, final.state, held, party, most))


def test_the_whole_grid_of_a_full_book_fits_the_gas_that_is_sent(desk: Desk) -> None:
    """32 legs, 4 underlyings, 8 expiries: what an engine takes longest for."""
    names = [ETH, BTC, "SOL/USD", "XRP/USD"]
    legs = [
        Leg.call(names[i % 4], EXPIRY + (i % 8) * DAY, 2_000 + 10 * i, quantity="0.01" if i % 2 else "-0.01")
        for i in range(32)
    ]
    vols = dict.fromkeys(legs, "0.6")
    held = Book.of(tuple(legs), Marks.at(NOW, spots=dict.fromkeys(names, 2_300), vols=vols), b"f" * 32)
    assert (len(held.legs), len(held.marks.spots)) == (32, 4)
    final = desk.agreed(1, held)
    desk.disputed(final)
    for name in names:
        desk.local.publish_spot(name, 2_300 * WAD)
    receipt = desk.alice.send(desk.alice.release(desk.terms, final.state, held, Party.ZERO, UNIT))
    assert 2_000_000 < receipt.gas_used < 4_000_000


# What can be known


def test_a_spot_is_what_the_source_says_and_nothing_where_it_says_nothing(desk: Desk) -> None:
    source = desk.local.source
    assert desk.trent.spot(source, ETH) == Spot(0, 0)
    desk.spot(2_300)
    observed = desk.local.now - 1
    assert desk.trent.spot(source, ETH) == Spot(2_300 * WAD, observed)
    assert desk.trent.spot(alice.address, ETH) == Spot(0, 0), "no code"
    assert desk.trent.spot(desk.local.token, ETH) == Spot(0, 0), "a contract that refuses"


@pytest.mark.parametrize(("age", "fresh"), [(-1, False), (0, True), (300, True), (301, False)])
def test_a_spot_is_fresh_within_its_age(age: int, fresh: bool) -> None:
    assert Spot(WAD, NOW).fresh(NOW + age, 300) == (WAD if fresh else 0)


def test_the_shipped_engine_is_taken_and_every_other_refused(desk: Desk) -> None:
    local, chain = desk.local, desk.trent
    assert chain.engine_policy(local.engine) == DEFAULT_POLICY == local.policy
    chain.verify_engine(local.engine, DEFAULT_POLICY)
    other = local.engine_for(LENIENT)
    assert other != local.engine == local.engine_for(DEFAULT_POLICY)
    assert chain.engine_policy(other) == LENIENT
    with pytest.raises(ContractMismatch, match="HASH, SCAN_MAINTENANCE differ"):
        chain.verify_engine(other, DEFAULT_POLICY)
    for wrong, detail in ((local.source, "not that of the shipped RiskEngine"), (alice.address, "there is no code")):
        with pytest.raises(ContractMismatch, match=detail):
            chain.verify_engine(wrong, DEFAULT_POLICY)
        with pytest.raises(ContractMismatch):
            chain.engine_policy(wrong)


def test_another_policy_of_the_chain_is_its_engines() -> None:
    local = LocalChain(NOW, policy=LENIENT)
    assert local.client(alice.signer).engine_policy(local.engine) == LENIENT
