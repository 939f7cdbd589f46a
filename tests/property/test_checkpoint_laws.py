"""A checkpoint is the fold of what it replaces: for random sessions of two parties, at every cut of either's journal.

The sessions are those of `test_session_machine`, with every kind of operation, loss and death; their journals are
whole, since none is long enough for a checkpoint of its own.
"""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any, ClassVar

from hypothesis import seed, settings
from hypothesis.stateful import run_state_machine_as_test

from channels.core import records as r
from channels.core.channel import Channel
from channels.core.checkpoint import adopt, checkpoint
from channels.core.fold import evolve
from channels.store.codec import decode_record, encode_record
from tests.keeper import POLICIES
from tests.property.test_session_machine import ROUNDS, TwoSides
from tests.sansio import Side

VOLATILE = {
    "seen", "peer_said", "refused", "unanswered", "signing", "is_resumed", "unresponsive", "turn_wanted", "turn_used",
    "idle_turns", "turn_needed", "called", "call_judged", "call_held", "mark_policy", "policy", "margin_engine",
    "recorded",
}  # fmt: skip
"""What no record brings back: what the owner's configuration says, and what a connection tells anew."""
OPENING = {"deployment", "terms", "id", "me", "initiated"}
"""What the first record says for good."""


def test_a_checkpoint_holds_every_field_that_a_journal_brings_back() -> None:
    """Whoever adds a field to the channel says here whether it survives a restart; if so, it is in the checkpoint."""
    durable = {field.name for field in fields(Channel)} - VOLATILE - OPENING
    assert {field.name for field in fields(r.Checkpoint)} == durable


def check_every_cut(records: list[r.Record]) -> set[str]:
    """Checkpoint after each record; return which fields were put to the test."""
    opened = evolve(None, records[0], **POLICIES)
    whole, differs = opened, set[str]()
    versions = [record.half.state.version for record in records if isinstance(record, r.Signed)]
    assert versions == sorted(set(versions)), "the floor relies on it: nobody signs below what he signed"
    for record in records[1:]:
        whole = evolve(whole, record)
        taken = checkpoint(whole)
        written = decode_record("here", encode_record(whole.id, taken))
        assert isinstance(written, r.Checkpoint)
        behind_opened, in_place = evolve(opened, written), evolve(whole, written)
        assert behind_opened == in_place == whole
        assert checkpoint(behind_opened) == taken, "it is idempotent"
        assert evolve(behind_opened, taken) == whole
        differs |= {f.name for f in fields(r.Checkpoint) if getattr(whole, f.name) != getattr(opened, f.name)}
    return differs


class Compacted(TwoSides):
    """The same two sides; at the end both journals are cut everywhere."""

    differs: ClassVar[set[str]] = set()
    kinds: ClassVar[set[str]] = set()

    def teardown(self) -> None:
        side: Side
        for side in self.world.sides:
            records = side.store.records(self.world.id)
            assert not any(isinstance(record, r.Checkpoint) for record in records)
            self.differs |= check_every_cut(records)
            self.kinds |= {type(record).__name__ for record in records}
        super().teardown()


def test_a_checkpoint_at_any_cut_of_any_session_folds_to_the_same_channel() -> None:
    run_state_machine_as_test(seed(1)(Compacted), settings=settings(stateful_step_count=60, max_examples=ROUNDS // 4))  # type: ignore[no-untyped-call]
    assert {"agreed", "closing", "outstanding", "signed", "turn", "chain", "in_flight"} <= Compacted.differs
    assert {"Signed", "StateAgreed", "TurnMoved", "ChainSaid", "ProposalsKilled"} <= Compacted.kinds


def test_the_rest_of_the_fields_too() -> None:
    """What two honest sides seldom do: a frozen journal, a recalled book, a top-up."""
    from tests.unit.store.test_journal import CHECKPOINT, OPENED

    opened = evolve(None, OPENED, **POLICIES)
    held = replace(CHECKPOINT, accepted=not opened.accepted)
    adopted = evolve(opened, held)
    assert checkpoint(adopted) == held
    for name in (field.name for field in fields(r.Checkpoint)):
        assert getattr(adopted, name) == getattr(held, name) != getattr(opened, name), name


def test_a_checkpoint_leaves_the_clock_and_the_connection_alone() -> None:
    from tests.unit.store.test_journal import CHECKPOINT, OPENED

    volatile: dict[str, Any] = {"seen": 7, "turn_wanted": True, "turn_used": 2, "called": 3, "unresponsive": 4}
    opened = evolve(None, OPENED, **POLICIES)
    running = replace(opened, chain=replace(opened.chain, time=99), **volatile)
    adopted = adopt(running, CHECKPOINT)
    assert adopted.chain.time == 99
    assert {name: getattr(adopted, name) for name in volatile} == volatile
    assert checkpoint(running).chain.time == 0
