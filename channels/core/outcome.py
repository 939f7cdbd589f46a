"""What a step leads to, and the few moves that several steps share."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ..errors import InvariantBroken, RuleViolation, SigningSuspended, TurnOutOfOrder
from ..model import ZERO32, Agreed
from ..wire import messages as m
from . import notices as n, records as r, rules
from .channel import Channel, Outstanding
from .commands import Command, Notify, Persist, Send
from .fold import evolve


@dataclass(frozen=True, slots=True)
class Step:
    """The next channel and what should happen, in order."""

    channel: Channel
    commands: tuple[Command, ...] = ()


class Outcome:
    """Collects commands while folding every persisted record into the channel at once."""

    def __init__(self, channel: Channel) -> None:
        self.channel = channel
        self.commands: list[Command] = []

    def persist(self, record: r.Record) -> None:
        self.channel = evolve(self.channel, record)
        self.commands.append(Persist(record))

    def send(self, message: m.Message) -> None:
        self.commands.append(Send(message))

    def notify(self, notice: n.Notice) -> None:
        self.commands.append(Notify(notice))

    def done(self) -> Step:
        return Step(self.channel, tuple(self.commands))


def agree(outcome: Outcome, agreed: Agreed, out: Outstanding) -> None:
    outcome.persist(r.StateAgreed(agreed, out.operations))
    outcome.notify(n.Updated(agreed, out.operations, outcome.channel.me))


def pass_turn_if_wanted(outcome: Outcome) -> None:
    channel = outcome.channel
    idle = not channel.turn_needed and not channel.in_flight and channel.signing is None
    if channel.turn_wanted and channel.my_turn and idle:
        outcome.channel = replace(channel, turn_wanted=False)
        outcome.persist(r.TurnMoved(channel.turn + 1))
        outcome.send(m.PassTurn(channel.id, channel.turn + 1))


def take_turn(outcome: Outcome, turn: int) -> None:
    """Adopt a counter above ours: only the holder can pass, so it is one above and the turn was not ours."""
    if turn != outcome.channel.turn + 1 or outcome.channel.my_turn:
        raise TurnOutOfOrder(turn, outcome.channel.turn)
    outcome.persist(r.TurnMoved(turn))
    outcome.notify(n.TurnArrived(turn))


def freeze(outcome: Outcome, theirs: int) -> None:
    """Somebody shows our signature over a state that our journal does not know: this journal is an old copy."""
    if outcome.channel.frozen < theirs:
        ours = outcome.channel.version
        outcome.persist(r.SigningFrozen(theirs))
        outcome.notify(n.DataLoss(ours, theirs))


def note_version(channel: Channel, version: int) -> Channel:
    """Remember what the peer has signed, so that our own next version is above it."""
    plausible = version <= rules.next_version(channel) + rules.MAX_SKIP
    return replace(channel, seen=max(channel.seen, version)) if plausible else channel


def check_may_sign(channel: Channel) -> None:
    """Raise SigningSuspended for a journal that lost data."""
    if channel.frozen:
        raise SigningSuspended(channel.version, channel.frozen)
    if channel.signing is not None:
        raise InvariantBroken("one signature is asked for at a time", f"version {channel.signing.state.version}")


def proposal_message(channel: Channel, out: Outstanding) -> m.Propose:
    """The message of a half-signed state: the same bytes whenever it is sent. An empty book has no salt to send."""
    return m.Propose(channel.id, out.version, out.operations, out.half.book.salt or ZERO32, out.half.signature)


def refuse(channel: Channel, version: int, violation: RuleViolation) -> Step:
    """Return the refusal of a peer's proposal: nothing is signed, the peer learns the rule and its facts."""
    reason = str(violation)[:512]
    if version <= rules.next_version(channel) + rules.MAX_SKIP:
        channel = replace(channel, refused=max(channel.refused, version))
    return Step(
        channel,
        (
            Send(m.Reject(channel.id, version, violation.code, reason)),
            Notify(n.WeRefused(version, violation.code, reason)),
        ),
    )
