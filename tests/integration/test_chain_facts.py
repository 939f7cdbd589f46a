"""What the watcher reads from the logs is what was done, no less and no more."""

from __future__ import annotations

import pytest

from channels.chain import Call, Located, ranges
from channels.chain.abi import abi_of
from channels.chain.encode import state_tuple, terms_tuple
from channels.core.facts import ClosedSeen, DepositSeen, PaymentSeen, RegisteredSeen, SettlementSeen
from channels.model import Intent, Party, keccak
from channels.seal import state_digest
from channels.units import WAD
from tests.integration.chain_world import CONDOR, DEPOSITS, START, World
from tests.roles import DAY, ETH, UNIT, alice, bob


@pytest.fixture
def world() -> World:
    return World()


def facts(world: World) -> list[object]:
    """All facts of the channel so far."""
    return [seen.fact for seen in everything(world) if seen.channel == world.channel]


def everything(world: World) -> list[Located]:
    return world.trent.facts(0, world.trent.head().number)


def test_each_fact_equals_what_was_done(world):
    assert everything(world) == []
    world.deposit()
    first = world.agreed(1, withdrawals=(UNIT, 2 * UNIT), balances=(DEPOSITS[0] - UNIT, DEPOSITS[1] - 2 * UNIT))
    final = world.agreed(2, CONDOR, withdrawals=(UNIT, 2 * UNIT), balances=first.state.balances)
    world.alice.send(world.alice.checkpoint(world.terms, first))
    world.disputed(final)
    deadline = world.alice.status(world.channel).deadline
    world.local.set_time(CONDOR.last_expiry)
    world.local.publish_settlement(ETH, CONDOR.last_expiry, 2_300 * WAD)
    world.trent.send(world.trent.pin(world.terms, final.state, CONDOR, ETH, CONDOR.last_expiry))
    due = world.trent.entitlements(world.terms, final.state, CONDOR)
    last = world.trent.send(world.trent.settle(world.terms, final.state, CONDOR))
    assert facts(world) == [
        DepositSeen(Party.ZERO, DEPOSITS[0]),
        DepositSeen(Party.ONE, DEPOSITS[1]),
        RegisteredSeen(first.state, 0),
        PaymentSeen(Party.ZERO, UNIT),
        PaymentSeen(Party.ONE, 2 * UNIT),
        RegisteredSeen(final.state, deadline),
        SettlementSeen(ETH, CONDOR.last_expiry, 2_300 * WAD),
        ClosedSeen(due),
    ]
    assert everything(world)[-1] == Located(last.block, world.channel, ClosedSeen(due))


def test_totals_are_cumulative(world):
    for amount in (UNIT, 2 * UNIT, 4 * UNIT):
        world.bob.send(world.bob.deposit(world.terms, Party.ONE, amount))
    assert facts(world) == [DepositSeen(Party.ONE, total * UNIT) for total in (1, 3, 7)]


def test_an_unsigned_challenge_registers_no_state(world):
    world.deposit()
    world.alice.send(world.alice.challenge_unsigned(world.terms))
    seen = facts(world)[-1]
    assert seen == RegisteredSeen(None, world.alice.status(world.channel).deadline)
    assert seen.version == 0


def test_a_reopen_and_a_close_are_seen(world):
    world.deposit()
    world.alice.send(world.alice.challenge(world.terms, world.agreed(1)))
    reopened = world.agreed(2, intent=Intent.REOPEN, valid_until=START + DAY)
    world.alice.send(world.alice.checkpoint(world.terms, reopened))
    world.alice.send(world.alice.close(world.terms, world.agreed(3, intent=Intent.CLOSE, valid_until=START + DAY)))
    assert facts(world)[-2:] == [RegisteredSeen(reopened.state, 0), ClosedSeen(DEPOSITS)]


def test_negative_balances_survive_the_log(world):
    world.deposit()
    owing = world.agreed(1, CONDOR, balances=(-3 * UNIT, sum(DEPOSITS) + 3 * UNIT))
    world.bob.send(world.bob.checkpoint(world.terms, owing))
    assert facts(world)[-1] == RegisteredSeen(owing.state, 0)


def test_reading_in_ranges_misses_nothing_and_repeats_nothing(world):
    world.deposit()
    for version in range(1, 6):
        world.alice.send(world.alice.checkpoint(world.terms, world.agreed(version)))
    world.local.mine(3)
    head = world.trent.head().number
    pieces = [seen for r in ranges(-1, head, 2, span=3) for seen in world.trent.facts(r.first, r.last)]
    assert pieces == everything(world)
    newest = max(seen.block for seen in pieces)
    cut = [seen for r in ranges(-1, newest, 1, span=3) for seen in world.trent.facts(r.first, r.last)]
    assert cut == [seen for seen in pieces if seen.block < newest]


def test_a_channel_with_an_unspeakable_book_stops_nobody(world):
    """Two colluding signers may pin a name that is not ASCII; everybody else's node reads on."""
    world.deposit()
    name = b"\xff\xfe/USD".ljust(32, b"\0")
    encoded = CONDOR.encoded.replace(ETH.encode().ljust(32, b"\0"), name)
    theirs = world.state(1, book=keccak(encoded))
    digest = state_digest(world.local.deployment, theirs)
    signatures = (alice.signer.sign(digest), bob.signer.sign(digest))
    on_wire = (terms_tuple(world.terms), state_tuple(world.channel, theirs))
    adjudicator, abi = world.local.deployment.adjudicator, abi_of("Adjudicator")
    world.alice.send(Call("challenge", adjudicator, abi.call_data("challenge", *on_wire, *signatures)))
    world.local.set_time(CONDOR.last_expiry + 2 * world.terms.grace)
    before = facts(world)
    pinned = Call("pin", adjudicator, abi.call_data("pin", *on_wire, encoded, name, CONDOR.last_expiry))
    receipt = world.trent.send(pinned)
    assert world.trent.facts(receipt.block, receipt.block) == []
    assert facts(world) == before
    assert before[-1] == RegisteredSeen(theirs, world.alice.status(world.channel).deadline)
