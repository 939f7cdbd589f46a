"""When a journal is checkpointed, and that a session does it by itself."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from channels.core import checkpoint, facts as f, records as r
from channels.core.channel import Channel, Outstanding
from channels.core.checkpoint import MAX_OUTSTANDING, MAX_SETTLEMENTS, is_due
from channels.core.commands import Persist
from channels.core.events import DepositConfirmed
from channels.core.fold import evolve, replay
from channels.core.machine import step
from channels.errors import InvariantBroken
from channels.model import Acknowledge, Mark, Party
from channels.risk import DEFAULT_POLICY
from channels.store.codec import MAX_CHECKPOINT, encode_record
from tests.roles import ETH, UNIT, book, half
from tests.sansio import MARK_POLICY, Joined, durable, fresh, replayed

EVERY = 8


@pytest.fixture
def world() -> Iterator[Joined]:
    """Two sides with ten thousand tokens each, agreed; a checkpoint every eight records."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checkpoint, "EVERY", EVERY)
        world = Joined()
        world.fund(10_000, 10_000)
        yield world


def checkpoints(records: list[r.Record]) -> list[r.Checkpoint]:
    return [record for record in records if isinstance(record, r.Checkpoint)]


def test_a_session_keeps_its_journals_short_and_restarts_from_them(world: Joined) -> None:
    for turn in range(60):
        side = world.sides[turn // 3 % 2]
        world.propose(side, Mark())
        if turn % 7 == 0:
            world.restart(side)
            world.reconnect()
        for each in world.sides:
            records = each.store.records(world.id)
            assert len(records) <= 2 * (EVERY + 3) + 1
            assert durable(replayed(each)) == durable(each.channel)
    assert all(len(checkpoints(side.store.records(world.id))) == 2 for side in world.sides)
    assert world.agreed.version >= 61


def test_it_is_due_after_so_many_records_and_waits_for_what_is_in_flight(world: Joined) -> None:
    channel = replace(world.alice.channel, in_flight=())
    assert not is_due(replace(channel, recorded=EVERY - 1))
    assert is_due(replace(channel, recorded=EVERY))
    waiting = replace(channel, in_flight=(9,))
    assert not is_due(replace(waiting, recorded=2 * EVERY - 1))
    assert is_due(replace(waiting, recorded=2 * EVERY))


def test_it_is_put_off_where_it_would_be_too_large_for_a_record(world: Joined) -> None:
    out = Outstanding(half(Party.ZERO, book()), (Mark(),))
    price = f.SettlementSeen(ETH, 2**40, 1)

    def grown(outstanding: int, settlements: int) -> Channel:
        chain = replace(world.alice.channel.chain, settlements=(price,) * settlements)
        return replace(world.alice.channel, recorded=99, outstanding=(out,) * outstanding, chain=chain)

    assert is_due(grown(MAX_OUTSTANDING, MAX_SETTLEMENTS))
    assert not is_due(grown(MAX_OUTSTANDING + 1, 0))
    assert not is_due(grown(0, MAX_SETTLEMENTS + 1))
    record = checkpoint.checkpoint(grown(0, MAX_SETTLEMENTS))
    prices = len(encode_record(world.id, record).body)
    assert prices + MAX_OUTSTANDING * (2**16 + 2**15) < MAX_CHECKPOINT, "messages of the largest size, and their books"


def test_it_stands_behind_everything_else_of_its_step(world: Joined) -> None:
    channel = replace(world.alice.channel, recorded=EVERY - 1)
    commands = step(channel, DepositConfirmed(f.DepositSeen(Party.ZERO, 10_001 * UNIT))).commands
    assert isinstance(commands[-1], Persist)
    assert isinstance(commands[-1].record, r.Checkpoint)
    assert commands[-1].record.chain.deposits[0] == 10_001 * UNIT
    assert isinstance(commands[0], Persist)
    assert isinstance(commands[0].record, r.ChainSaid)
    assert len(checkpoints([c.record for c in commands if isinstance(c, Persist)])) == 1


def test_a_journal_does_not_begin_with_a_checkpoint(world: Joined) -> None:
    record = checkpoint.checkpoint(world.alice.channel)
    with pytest.raises(InvariantBroken, match="starts with Opened"):
        replay([record], DEFAULT_POLICY, MARK_POLICY)


def test_what_replay_mends_in_an_older_journal_is_in_its_first_checkpoint() -> None:
    world = Joined()
    world.fund(10_000, 10_000)
    world.confirm(f.DepositSeen(Party.ZERO, 11_000 * UNIT), to=[world.alice])
    for operation in (Acknowledge((11_000 * UNIT, 10_000 * UNIT), (0, 0)), Mark()):
        world.carry(world.alice, world.alice.seat.propose((operation,), fresh(), world.now))
        if not isinstance(operation, Mark):
            world.settle()
    older = [record for record in world.alice.store.records(world.id) if not isinstance(record, r.ProposalsKilled)]
    mended = replay(older, DEFAULT_POLICY, MARK_POLICY)
    folded: Channel | None = None
    for each in older:
        folded = evolve(folded, each, policy=DEFAULT_POLICY, mark_policy=MARK_POLICY)
    assert folded is not None
    assert folded.in_flight != mended.in_flight, "there is nothing to mend"
    record = checkpoint.checkpoint(mended)
    assert replay([*older, record], DEFAULT_POLICY, MARK_POLICY) == mended
    assert replay([older[0], record], DEFAULT_POLICY, MARK_POLICY) == mended
    assert durable(mended) == durable(world.alice.channel)
