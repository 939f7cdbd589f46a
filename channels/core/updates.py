"""From one agreed state to the next: proposing, answering, and whose turn it is."""

from __future__ import annotations

from ..errors import (
    Equivocation,
    InvariantBroken,
    NotYourTurn,
    RuleViolation,
    StaleVersion,
    TradeInvalid,
    TurnPromised,
    UnexpectedMessage,
    WindowFull,
)
from ..model import ZERO32, Acknowledge, Claimed, HalfSigned, Mark, Operation, promote
from ..wire import messages as m
from ..wire.codec import MAX_MESSAGE, encode
from ..wire.schema import MAX_OPERATIONS
from . import events as e, notices as n, records as r, rules
from .apply import apply, condensed, remarked
from .channel import Channel, Judged, Signing, changed
from .commands import Notify, Send, Sign
from .exposure import check_limits
from .outcome import (
    Outcome,
    Step,
    agree,
    check_may_sign,
    kill,
    note_version,
    pass_turn_if_wanted,
    proposal_message,
    refuse,
    take_turn,
)
from .phases import Phase


def proposal_wanted(channel: Channel, event: e.ProposalWanted) -> Step:
    check_may_sign(channel)
    if not channel.my_turn:
        raise NotYourTurn(channel.turn)
    _check_window(channel, event)
    base, book = channel.tip
    version, marks = rules.next_version(channel), _marks_alone(event.operations)
    if marks and base is not None:
        after = remarked(book, marks, event.salt)
        state = base.marked(version, after.hash)
        rules.judge_own_marks(channel, version, after, now=event.now)
    else:
        state, after = apply(
            channel.id,
            base,
            book,
            event.operations,
            proposer=channel.me,
            version=version,
            salt=event.salt,
            decimals=channel.terms.decimals,
            policy=channel.policy,
        )
        rules.judge(channel, event.operations, state, after, proposer=channel.me, now=event.now, view=None)
    _check_sendable(channel, event.operations)
    check_limits(channel, event.limits, event.operations, state, after)
    signing = Signing(state, after, event.operations, theirs=None)
    return Step(changed(channel, signing=signing), (Sign(state),))


def _marks_alone(operations: tuple[Operation, ...]) -> tuple[Mark, ...]:
    """Return the operations if they are marks, all of them: a stream of prices, for which there is a shorter way."""
    marks = tuple([operation for operation in operations if type(operation) is Mark])
    return marks if len(marks) == len(operations) else ()


def proposal_seen(channel: Channel, event: e.ProposalSeen) -> Step:
    half, version = event.half, event.half.version
    if version <= channel.version:
        return repeat_answer(channel, event)
    _check_in_turn(channel)
    if not isinstance(half, Claimed):
        channel = note_version(channel, version)
    try:
        if channel.phase is Phase.CLOSED:
            raise UnexpectedMessage("Propose", channel.phase.value)
        if version <= channel.refused:
            # The peer may have proposed above it already: a second, kinder answer would leave us with two futures.
            raise StaleVersion(version, channel.refused)
        check_may_sign(channel)
        if isinstance(half, Claimed):
            rules.judge_marks(channel, half, now=event.now, view=event.view)
        else:
            rules.judge(
                channel,
                event.operations,
                half.state,
                half.book,
                proposer=channel.me.other,
                now=event.now,
                view=event.view,
            )
    except RuleViolation as refused:
        return refuse(note_version(channel, version), version, refused)
    return Step(changed(channel, unanswered=(*channel.unanswered, Judged(half, event.operations))))


def _check_in_turn(channel: Channel) -> None:
    """Raise NotYourTurn for a peer that proposes in our turn. Who lost data refuses instead: its counter may be old."""
    if channel.my_turn and not channel.is_frozen:
        raise NotYourTurn(channel.turn)


def answer_due(channel: Channel, event: e.AnswerDue) -> Step:
    """Accept all that was judged right by signing the last: the others are agreed because it stands on them."""
    theirs = event.half
    answered = tuple([judged for judged in channel.unanswered if theirs and judged.version <= theirs.version])
    if theirs is None or not answered:
        return Step(changed(channel, unanswered=()))
    check_may_sign(channel)
    if answered[-1].version != theirs.version:
        raise InvariantBroken("an answer is to a proposal", f"version {theirs.version}")
    channel = note_version(channel, theirs.version)
    operations = condensed(tuple([op for judged in answered for op in judged.operations]))
    signing = Signing(theirs.state, theirs.book, operations, theirs=theirs)
    return Step(changed(channel, signing=signing, unanswered=answered), (Sign(theirs.state),))


def proposal_broken(channel: Channel, event: e.ProposalBroken) -> Step:
    _check_in_turn(channel)
    return refuse(note_version(channel, event.version), event.version, event.violation)


def repeat_answer(channel: Channel, event: e.ProposalSeen) -> Step:
    """A proposal that is agreed already: our Accept was lost, so it is sent again, byte for byte."""
    for agreed in (channel.agreed, channel.closing):
        if agreed and agreed.version == event.half.version:
            if agreed.state != event.half.state:
                raise Equivocation(agreed.version)
            return Step(channel, (Send(m.Accept(channel.id, agreed.version, agreed.signatures[channel.me])),))
    return Step(channel)


def signature_made(channel: Channel, event: e.SignatureMade) -> Step:
    signing = channel.signing
    if signing is None or signing.state.version != event.version:
        raise InvariantBroken("signatures answer a Sign command", f"version {event.version}")
    half = HalfSigned(signing.state, signing.book, channel.me, event.signature)
    if signing.theirs is None:
        outcome = Outcome(changed(channel, signing=None, turn_used=channel.turn_used + 1))
        outcome.persist(r.Signed(half, signing.operations))
        if channel.is_resumed:
            outcome.send(proposal_message(channel, outcome.channel.outstanding[-1]))
        return outcome.done()
    answered = channel.unanswered
    outcome = Outcome(changed(channel, signing=None, unanswered=(), idle_turns=0))
    agreed = promote(signing.theirs, event.signature)
    outcome.persist(r.Signed(half, answered[-1].operations))
    outcome.persist(r.StateAgreed(agreed, signing.operations))
    outcome.send(m.Accept(channel.id, event.version, event.signature))
    versions = tuple([judged.version for judged in answered])
    outcome.notify(n.Updated(agreed, signing.operations, channel.me.other, versions))
    return outcome.done()


def accept_seen(channel: Channel, event: e.AcceptSeen) -> Step:
    out = channel.half(event.version)
    if out is None or event.version <= channel.agreed_version:
        if event.version <= channel.version:
            return Step(channel)
        raise UnexpectedMessage(f"Accept({event.version})", channel.phase.value)
    outcome = Outcome(changed(channel, unresponsive=0))
    agree(outcome, promote(out.half, event.signature))
    pass_turn_if_wanted(outcome)
    return outcome.done()


def reject_seen(channel: Channel, event: e.RejectSeen) -> Step:
    if event.version not in channel.in_flight:
        if event.version <= channel.signed:
            return Step(channel)
        raise UnexpectedMessage(f"Reject({event.version})", channel.phase.value)
    outcome = Outcome(changed(channel, unresponsive=0))
    kill(outcome, event.version, event.code, event.reason)
    pass_turn_if_wanted(outcome)
    return outcome.done()


def turn_needed(channel: Channel, event: e.TurnNeeded) -> Step:
    channel = changed(channel, turn_needed=True)
    return Step(channel) if channel.my_turn else Step(channel, (Send(m.WantTurn(channel.id)),))


def turn_spared(channel: Channel, event: e.TurnSpared) -> Step:
    outcome = Outcome(changed(channel, turn_needed=False))
    pass_turn_if_wanted(outcome)
    return outcome.done()


def silence_noticed(channel: Channel, event: e.SilenceNoticed) -> Step:
    """Told once for what is waited for; the turn's holder is silent to who asked for it."""
    version = channel.in_flight[0] if channel.in_flight else 0
    waits = version > channel.unresponsive if version else channel.turn_needed and not channel.my_turn
    if not waits:
        return Step(channel)
    told = Notify(n.PeerSilent(version, event.seconds))
    return Step(changed(channel, unresponsive=version), (told,))


def turn_wanted_seen(channel: Channel, event: e.TurnWantedSeen) -> Step:
    if not channel.my_turn:
        return Step(channel)
    used = channel.turn_used if channel.turn_wanted else 0
    outcome = Outcome(changed(channel, turn_wanted=True, turn_used=used))
    pass_turn_if_wanted(outcome)
    return outcome.done()


def turn_passed_seen(channel: Channel, event: e.TurnPassedSeen) -> Step:
    if event.turn <= channel.turn or channel.is_frozen:
        return Step(channel)
    outcome = Outcome(channel)
    take_turn(outcome, event.turn)
    return outcome.done()


def _check_sendable(channel: Channel, operations: tuple[Operation, ...]) -> None:
    """Raise TradeInvalid where the message would not fit: after signing it would be a state that nobody can send."""
    if not 1 <= len(operations) <= MAX_OPERATIONS:
        raise TradeInvalid(f"{len(operations)} operations in one proposal, allowed 1 to {MAX_OPERATIONS}")
    if len(operations) == 1 and isinstance(operations[0], Mark | Acknowledge):
        return  # one fact always fits: the marks of a full book are bounded far below a message (wire.MAX_MESSAGE)
    size = len(encode(m.Propose(channel.id, channel.signed, operations, ZERO32, bytes(65), 0)))
    if size > MAX_MESSAGE - 16:
        raise TradeInvalid(f"the proposal takes {size} bytes, allowed {MAX_MESSAGE - 16}: split it")


def _check_window(channel: Channel, event: e.ProposalWanted) -> None:
    """Raise WindowFull or TurnPromised: a peer that waits for the turn waits for one window of proposals at most."""
    if not rules.has_room(channel, event.window, len(event.operations)):
        raise WindowFull(event.window, m.MAX_WINDOW_OPERATIONS)
    if channel.turn_wanted and channel.turn_used >= event.window:
        raise TurnPromised(channel.turn + 1)
