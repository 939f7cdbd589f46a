"""What Mallory may say: for each wire message legal and illegal forms of it, each with the outcome that is due.

A word is built for the stage it is said at; `due` says what must come of it there, from the stage's facts and the table
of transitions alone. A new message is a line in `EVENTS_OF` and some words; without them the matrix fails.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import msgpack

from channels.core import events as e
from channels.core.apply import apply
from channels.core.channel import Channel
from channels.core.phases import TRANSITIONS, Phase
from channels.errors import RuleViolation
from channels.model import (
    EMPTY_BOOK,
    ZERO32,
    Agreed,
    Book,
    Deployment,
    Mark,
    Operation,
    Party,
    State,
    keccak,
)
from channels.seal import Signer, state_digest
from channels.session import Session
from channels.wire import messages as m
from channels.wire.codec import encode
from channels.wire.framing import frame
from tests.roles import DEPLOYMENT, alice
from tests.sansio import Joined

from .stages import Stage
from .victim import Outcome

TAKEN, KEPT, REFUSED, IGNORED, FAULT = Outcome.TAKEN, Outcome.KEPT, Outcome.REFUSED, Outcome.IGNORED, Outcome.FAULT
Said = m.Message | bytes | None
"""A message, bytes that are none, or None where the word makes no sense at a stage."""

EVENTS_OF: dict[type, tuple[type[e.Event], ...]] = {
    m.Greeting: (),
    m.Hello: (),
    m.Open: (e.TermsRepeated,),
    m.OpenAccepted: (e.TermsConfirmed,),
    m.OpenRefused: (),
    m.Propose: (e.ProposalSeen, e.ProposalBroken, e.AnswerDue),
    m.Accept: (e.AcceptSeen,),
    m.Reject: (e.RejectSeen,),
    m.WantTurn: (e.TurnWantedSeen,),
    m.PassTurn: (e.TurnPassedSeen,),
    m.Resume: (e.ResumeSeen,),
    m.Fault: (),
    m.CollateralCall: (e.CollateralCallSeen,),
    m.RecoveryAllowed: (e.RecoveryAllowedSeen,),
    m.Backup: (),
    m.BackupsWanted: (),
    m.BackupReturned: (),
    m.BackupsEnd: (),
}
"""What the core hears of each message; nothing where the session answers alone."""
OWN_EVENTS = {
    e.ProposalWanted,
    e.SignatureMade,
    e.TurnNeeded,
    e.TurnSpared,
    e.SilenceNoticed,
    e.CollateralWanted,
    e.TopUpWanted,
    e.RecoveryWanted,
    e.RecoveryConsented,
    e.Connected,
    e.BookFound,
    e.BlockConfirmed,
    *e.CHAIN_EVENTS.values(),
}
"""What no message of a peer's is: our side, our clock and the chain."""


HEARD_RECOVERING = (m.Greeting, m.Hello, m.Backup, m.BackupsWanted, m.BackupReturned, m.BackupsEnd)
"""What a connection that asks for backups hears."""


@dataclass(frozen=True)
class Word:
    """One thing to say. `says` may return several messages, said in one read."""

    kind: type | None
    """The wire message it is a form of; None for bytes that are no message."""
    says: Callable[[Joined, Stage], Said | list[Said]]
    rule: Callable[[Stage], Outcome]
    """What comes of it where the table has a transition for it."""


WORDS: dict[str, Word] = {}


def word(
    name: str, kind: type | None, rule: Outcome | Callable[[Stage], Outcome]
) -> Callable[[Callable[[Joined, Stage], Said | list[Said]]], None]:
    """Add a word; `rule` is its outcome, or what computes it from the stage."""

    def add(says: Callable[[Joined, Stage], Said | list[Said]]) -> None:
        assert name not in WORDS
        WORDS[name] = Word(kind, says, rule if callable(rule) else lambda stage: rule)

    return add


def due(stage: Stage, spoken: Word) -> Outcome:
    """Return what must come of a word at a stage."""
    if spoken.kind is m.Fault:
        return Outcome.ENDED
    if spoken.kind is None:
        return spoken.rule(stage)
    if not stage.known and spoken.kind not in (m.Greeting, m.Hello):
        return FAULT
    if stage.recovers and spoken.kind not in HEARD_RECOVERING:
        return IGNORED
    events = EVENTS_OF[spoken.kind]
    if events and not any(event in TRANSITIONS[stage.phase] for event in events):
        return FAULT
    return spoken.rule(stage)


def speak(name: str, world: Joined, stage: Stage) -> bytes | None:
    """Return the bytes of a word at a stage, or None where it makes no sense there."""
    said = WORDS[name].says(world, stage)
    parts = said if isinstance(said, list) else [said]
    if None in parts:
        return None
    return b"".join(p if isinstance(p, bytes) else Session.to_bytes(p) for p in parts if p is not None)


# Building blocks


def sign(state: State, signer: Signer = alice.signer, deployment: Deployment = DEPLOYMENT) -> bytes:
    return signer.sign(state_digest(deployment, state))


def proposal(
    channel: Channel,
    operations: Iterable[Operation] = (Mark(),),
    *,
    version: int | None = None,
    base: tuple[State | None, Book] | None = None,
    signer: Signer = alice.signer,
    deployment: Deployment = DEPLOYMENT,
) -> tuple[m.Propose, State | None, Book]:
    """A proposal of Alice's on what Bob holds, signed as she would; one that does not apply is signed as nothing."""
    state, book = base or (channel.tip if not channel.in_flight else channel.base)
    version = channel.version + 1 if version is None else version
    chosen, salt = tuple(operations), keccak(b"word" + version.to_bytes(8, "big"))
    based = state.version if state else 0
    try:
        after, held = apply(
            channel.id,
            state,
            book,
            chosen,
            proposer=Party.ZERO,
            version=version,
            salt=salt,
            decimals=channel.terms.decimals,
            policy=channel.policy,
        )
    except RuleViolation:
        return m.Propose(channel.id, version, chosen, salt, bytes(64) + b"\x1b", based), None, EMPTY_BOOK
    return m.Propose(channel.id, version, chosen, salt, sign(after, signer, deployment), based), after, held


def above(stage: Stage) -> int:
    """A version that nobody has signed."""
    return max(stage.agreed, stage.signed, stage.leap - 1) + 1


def altered(message: m.Message, field: int, change: Callable[[Any], Any]) -> bytes:
    """A message in which one field, by its place on the wire, is what no codec would write."""
    raw = msgpack.unpackb(encode(message), raw=False, use_list=True)
    raw[field] = change(raw[field])
    return frame(msgpack.packb(raw, use_bin_type=True))


def mark(world: Joined) -> Mark:
    """Marks for what Bob holds, at his own market."""
    legs = world.bob.channel.book.legs
    marks = world.view(legs, world.now)
    return Mark(marks) if legs and marks else Mark()


def bent(signature: bytes) -> bytes:
    return bytes((signature[0] ^ 1,)) + signature[1:]


def outturned(stage: Stage) -> bool:
    """A proposal is out of turn. Who lost data does not know whose turn it is."""
    return stage.ours and not stage.frozen


def forged(stage: Stage) -> Outcome:
    """A proposal in another's name; its base is looked at first, and who lost data may have an old one in flight."""
    return REFUSED if stage.frozen and stage.flight else FAULT


def moved(otherwise: Outcome | Callable[[Stage], Outcome]) -> Callable[[Stage], Outcome]:
    """What names a turn is not heard by who lost data: its own counter may be old."""
    return lambda stage: IGNORED if stage.frozen else otherwise(stage) if callable(otherwise) else otherwise


def judged(stage: Stage) -> Outcome:
    """A right fact of the peer's: signed, unless it is not its turn or something keeps Bob from signing."""
    if outturned(stage):
        return FAULT
    return REFUSED if stage.barred or stage.phase is Phase.CLOSED else TAKEN


def refused(stage: Stage) -> Outcome:
    """A proposal that breaks a rule of judgement: the peer may propose another."""
    return FAULT if outturned(stage) else REFUSED


def reopening(stage: Stage) -> Outcome:
    """Only a dispute can be ended, and only one agreed end of it stands at a time."""
    disputed = stage.phase in (Phase.DISPUTED, Phase.SETTLING)
    return refused(stage) if stage.ours or not disputed or stage.ending or stage.frozen else TAKEN


def newest_agreed(channel: Channel) -> Agreed | None:
    """The agreed state of the highest version, whatever its intent."""
    return max((a for a in (channel.agreed, channel.closing) if a), key=lambda a: a.version, default=None)


# The channel of somebody else: every message that names one

ELSEWHERE = keccak(b"nowhere")
SAMPLES: dict[type, Callable[[bytes], m.Message]] = {
    m.OpenAccepted: lambda channel: m.OpenAccepted(channel),  # type: ignore[arg-type]
    m.OpenRefused: lambda channel: m.OpenRefused(channel, "x", "y"),  # type: ignore[arg-type]
    m.Propose: lambda channel: m.Propose(channel, 2, (Mark(),), ZERO32, bytes(65), 1),  # type: ignore[arg-type]
    m.Accept: lambda channel: m.Accept(channel, 1, bytes(65)),  # type: ignore[arg-type]
    m.Reject: lambda channel: m.Reject(channel, 1, "x", "y"),  # type: ignore[arg-type]
    m.WantTurn: lambda channel: m.WantTurn(channel),  # type: ignore[arg-type]
    m.PassTurn: lambda channel: m.PassTurn(channel, 1),  # type: ignore[arg-type]
    m.Resume: lambda channel: m.Resume(channel, 0, 0, None),  # type: ignore[arg-type]
    m.CollateralCall: lambda channel: m.CollateralCall(channel, 1, 5),  # type: ignore[arg-type]
    m.RecoveryAllowed: lambda channel: m.RecoveryAllowed(channel, bytes(32), 1, 0),  # type: ignore[arg-type]
}
"""One message of every kind that names a channel, about any channel."""
