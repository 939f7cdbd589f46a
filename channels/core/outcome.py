"""What a step leads to, and the few moves that several steps share."""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import (
    BaseRefused,
    CopySuspected,
    InvariantBroken,
    RuleViolation,
    SigningSuspended,
    TurnOutOfOrder,
    TurnsWasted,
)
from ..model import ZERO32, Agreed
from ..wire import messages as m
from . import notices as n, records as r, rules
from .apply import condensed
from .channel import Channel, Outstanding, changed
from .commands import Command, Notify, Persist, Send
from .fold import evolve

MAX_IDLE_TURNS = 1_024
"""How often the turn moves on one connection while nothing is agreed: each move is a record in the journal."""


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


def agree(outcome: Outcome, agreed: Agreed) -> None:
    """Our proposals up to this one are agreed: the last by both signatures, those it stands on because it does."""
    chain = outcome.channel.chain_to(agreed.version)
    operations = condensed(tuple(op for out in chain for op in out.operations))
    outcome.persist(r.StateAgreed(agreed, operations))
    outcome.notify(n.Updated(agreed, operations, outcome.channel.me, tuple(out.version for out in chain)))
    outcome.channel = changed(outcome.channel, idle_turns=0)


def kill(outcome: Outcome, version: int, code: str, reason: str) -> None:
    """Our proposals in flight from `version` on wait no longer: what stood on a refused one has no base any more."""
    killed = [v for v in outcome.channel.in_flight if v >= version]
    outcome.persist(r.ProposalsKilled(version))
    outcome.notify(n.PeerRefused(killed[0], code, reason))
    for later in killed[1:]:
        outcome.notify(n.PeerRefused(later, BaseRefused.code, str(BaseRefused(later, killed[0]))))


def pass_turn_if_wanted(outcome: Outcome) -> None:
    """Hand over a turn that the peer waits for, once nothing is in flight: an owner who needs it has used it, too."""
    channel = outcome.channel
    if channel.is_frozen:
        return  # our counter may be an old one: the peer's is adopted in the recovery
    idle = not channel.in_flight and channel.signing is None and not (channel.turn_needed and not channel.turn_used)
    if channel.turn_wanted and channel.my_turn and idle:
        outcome.channel = changed(channel, turn_wanted=False)
        _move_turn(outcome, channel.turn + 1)
        outcome.send(m.PassTurn(channel.id, channel.turn + 1))
        if channel.turn_needed:
            outcome.send(m.WantTurn(channel.id))


def _move_turn(outcome: Outcome, turn: int) -> None:
    outcome.persist(r.TurnMoved(turn))
    outcome.channel = changed(outcome.channel, turn_used=0, idle_turns=outcome.channel.idle_turns + 1)


def take_turn(outcome: Outcome, turn: int) -> None:
    """Adopt a counter above ours: only the holder can pass, so it is one above and the turn was not ours."""
    if turn != outcome.channel.turn + 1 or outcome.channel.my_turn:
        raise TurnOutOfOrder(turn, outcome.channel.turn)
    if outcome.channel.idle_turns >= MAX_IDLE_TURNS:
        raise TurnsWasted(MAX_IDLE_TURNS)
    _move_turn(outcome, turn)
    outcome.notify(n.TurnArrived(turn))


def freeze(outcome: Outcome, theirs: int) -> None:
    """Somebody shows our signature over a state that our journal does not know: this journal is an old copy.

    Before the state itself is journalled: what it supersedes is then still known to wait, and its waiters are told.
    """
    channel = outcome.channel
    if channel.frozen < theirs:
        if channel.in_flight:
            outcome.persist(r.ProposalsKilled(channel.in_flight[0]))
        outcome.persist(r.SigningFrozen(theirs))
        outcome.notify(n.DataLoss(channel.version, theirs, channel.in_flight))


def note_version(channel: Channel, version: int) -> Channel:
    """Remember what the peer has signed, so that our own next version is above it."""
    plausible = version <= rules.next_version(channel) + rules.MAX_SKIP
    return changed(channel, seen=version) if plausible and version > channel.seen else channel


def check_may_sign(channel: Channel) -> None:
    """Raise SigningSuspended for a journal that lost data, CopySuspected for one that may have."""
    if channel.frozen:
        raise SigningSuspended(channel.version, channel.frozen)
    if channel.suspect:
        raise CopySuspected(channel.version)
    if channel.signing is not None:
        raise InvariantBroken("one signature is asked for at a time", f"version {channel.signing.state.version}")


def proposal_message(channel: Channel, out: Outstanding) -> m.Propose:
    """The message of a half-signed state: the same bytes whenever it is sent. An empty book has no salt to send."""
    salt = out.half.book.salt or ZERO32
    return m.Propose(channel.id, out.version, out.operations, salt, out.half.signature, out.base)


def refuse(channel: Channel, version: int, violation: RuleViolation) -> Step:
    """Return the refusal of a peer's proposal: nothing is signed, the peer learns the rule and its facts."""
    reason = str(violation)[:512]
    if version <= rules.next_version(channel) + rules.MAX_SKIP:
        channel = changed(channel, refused=max(channel.refused, version))
    return Step(
        channel,
        (
            Send(m.Reject(channel.id, version, violation.code, reason)),
            Notify(n.WeRefused(version, violation.code, reason)),
        ),
    )
