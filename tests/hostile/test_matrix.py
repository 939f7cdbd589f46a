"""Every state of the machine meets every message, legal or not: what is due comes of it, by every law."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any, get_args

import pytest

from channels.core import events as e, outcome, records as r, recovery, rules, updates
from channels.core.channel import Channel
from channels.core.phases import TRANSITIONS, Phase
from channels.session import Kept, Session, seat as seats
from channels.wire import framing, messages as m
from channels.wire.codec import MESSAGE
from tests.sansio import durable

from .stages import STAGES, stood
from .victim import LawBroken, Outcome, Victim
from .vocabulary import EVENTS_OF, OWN_EVENTS, SAMPLES, WORDS, due, speak


def test_every_message_is_placed() -> None:
    """A new message fails here until it is in `EVENTS_OF`, has words, and a sample if it names a channel."""
    assert set(EVENTS_OF) == set(get_args(m.Message))
    assert set(EVENTS_OF) <= {spoken.kind for spoken in WORDS.values()}
    assert set(SAMPLES) == set(get_args(m.ChannelMessage))


def test_every_event_is_placed() -> None:
    """A new row of the table fails here until it is a message's, or known to be no peer's."""
    listed = {event for events in TRANSITIONS.values() for event in events}
    assert listed == OWN_EVENTS | {event for events in EVENTS_OF.values() for event in events}


def test_every_phase_is_stood_in() -> None:
    assert {stage.phase for stage in STAGES.values()} == set(Phase)


@pytest.mark.parametrize("name", STAGES)
def test_each_word_has_the_outcome_that_is_due(name: str) -> None:
    stage, world = STAGES[name], stood(name)
    said = Counter[type | None]()
    for spoken, its in WORDS.items():
        data = speak(spoken, world, stage)
        if data is None:
            continue
        said[its.kind] += 1
        victim = Victim(world)
        heard = victim.hear(data)
        where = (name, spoken, heard.violation)
        assert heard.outcome is due(stage, its), where
        alone = not isinstance(its.says(world, stage), list)
        if heard.outcome is not Outcome.TAKEN and alone:
            assert heard.records == [], where
            assert durable(victim.channel) == durable(victim.before), where
        if heard.outcome is Outcome.FAULT:
            assert heard.hangup is not None and heard.hangup.farewell, where
        if heard.hangup is not None:
            assert victim.hear(data).outputs == [], where
    if stage.known:
        assert set(said) == {None, *get_args(m.Message)}
    # Whoever built the worlds above may use them again: no word has changed this one.
    assert durable(world.bob.channel) == durable(Victim(world).channel)


SIGNING = [name for name, stage in STAGES.items() if due(stage, WORDS["Propose, right"]) is Outcome.TAKEN]
"""Where Bob signs what the peer proposes rightly."""


@pytest.mark.parametrize("name", SIGNING)
def test_each_word_behind_a_right_proposal_in_one_read(name: str) -> None:
    """The proposal is answered and recorded whatever follows it in the same breath: a fault takes nothing back."""
    stage, world = STAGES[name], stood(name)
    right = speak("Propose, right", world, stage)
    assert right is not None
    for spoken in WORDS:
        data = speak(spoken, world, stage)
        if data is not None:
            victim = Victim(world)
            heard = victim.hear(right + data)
            assert r.Signed in map(type, heard.records), (name, spoken)
            assert victim.channel.version > stage.agreed, (name, spoken)


def test_every_row_of_the_table_is_stepped_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a peer's message may lead to, by the table, the words do lead to: no row is there for nothing."""
    stepped: set[tuple[Phase, type[e.Event]]] = set()
    original: Callable[..., Any] = seats.step

    def spy(channel: Any, event: e.Event) -> Any:
        result = original(channel, event)
        stepped.add((channel.phase, type(event)))
        return result

    monkeypatch.setattr(seats, "step", spy)
    for name, stage in STAGES.items():
        for spoken, its in WORDS.items():
            data = None if due(stage, its) is Outcome.FAULT else speak(spoken, stood(name), stage)
            if data is not None:
                Victim(stood(name)).hear(data)
    theirs = {event for events in EVENTS_OF.values() for event in events}
    rows = {(phase, event) for phase, events in TRANSITIONS.items() for event in events if event in theirs}
    assert rows - stepped == UNREACHED


UNREACHED = {
    (Phase.PROPOSED, e.AnswerDue),
    (Phase.CLOSED, e.AnswerDue),
}
"""Who has proposals in flight holds the turn, or has lost data, and accepts nothing; nothing is agreed once closed."""


def test_the_numbers_on_the_wire_are_those_of_the_messages() -> None:
    """What `a message of the next number` tries is the first that nothing has."""
    channels = [sample(bytes(32)) for sample in SAMPLES.values()]
    numbers = {MESSAGE.pack(message)[0] for message in (*channels, m.BackupsEnd(0))}
    assert max(numbers) == len(EVENTS_OF)


# Bugs that it finds

PLANTED: dict[str, tuple[Any, str, Any, str]] = {
    "whose turn it is": (Channel, "my_turn", property(lambda channel: False), "open, ours"),
    "both signatures of a resumed state": (seats, "check_agreed", lambda *given: None, "open, theirs"),
    "the signature of an acceptance": (seats, "check_party", lambda *given: None, "proposed"),
    "how often a turn may be wasted": (outcome, "MAX_IDLE_TURNS", 10**9, "open, theirs"),
    "what a signed close bars": (Channel, "bar", None, "open, closing"),
    "how long a frame may be": (framing, "MAX_MESSAGE", 2**32, "open, theirs"),
    "how far a version may skip": (rules, "MAX_SKIP", 2**64, "open, theirs"),
    "what a loss of data bars": (updates, "check_may_sign", lambda channel: None, "open, lost data"),
    "how far a recovery may skip": (recovery, "_check_version", lambda *given: None, "open, theirs"),
    "which backups were asked for": (Session, "_receive_kept", lambda self, message: Kept(message), "open, theirs"),
}
"""What is not looked at any more: where, its name, what stands in its place, and a stage at which that shows."""


@pytest.mark.parametrize("bug", PLANTED)
def test_a_planted_bug_shows(bug: str, monkeypatch: pytest.MonkeyPatch) -> None:
    where, attribute, planted, name = PLANTED[bug]
    stage, world = STAGES[name], stood(name)
    said = {spoken: data for spoken in WORDS if (data := speak(spoken, world, stage)) is not None}
    monkeypatch.setattr(where, attribute, planted)

    def is_wrong(spoken: str, data: bytes) -> bool:
        try:
            return Victim(world).hear(data).outcome is not due(stage, WORDS[spoken])
        except LawBroken:
            return True

    assert any(is_wrong(spoken, data) for spoken, data in said.items())
