"""Opening, and healing after a break: one message each way, whatever was lost between."""

from __future__ import annotations

from dataclasses import replace

from ..errors import WindowFull
from ..model import Agreed
from ..wire import messages as m
from . import events as e, notices as n, records as r
from .channel import Channel, PeerSaid, changed
from .commands import Send
from .outcome import Outcome, Step, agree, freeze, kill, note_version, proposal_message, take_turn
from .phases import Phase
from .recovery import recovery_heard, resume_message


def connected(channel: Channel, event: e.Connected) -> Step:
    if not channel.accepted:
        return Step(channel, (Send(m.Open(channel.deployment, channel.terms)),))
    fresh = changed(channel, turn_wanted=False, called=0, unanswered=(), turn_used=0, idle_turns=0, is_resumed=False)
    return Step(replace(fresh, peer_said=None), (Send(resume_message(channel)),))


def terms_confirmed(channel: Channel, event: e.TermsConfirmed) -> Step:
    if channel.accepted:
        return Step(channel)
    outcome = Outcome(channel)
    _accepted(outcome)
    return outcome.done()


def _accepted(outcome: Outcome) -> None:
    """The peer has the terms too; from it comes what it said before its acceptance reached us."""
    outcome.persist(r.TermsAccepted())
    outcome.send(resume_message(outcome.channel))
    outcome.notify(n.ChannelOpened())


def terms_repeated(channel: Channel, event: e.TermsRepeated) -> Step:
    if not channel.accepted:
        # Both sides asked for the same terms at once: each one's Open is the other's acceptance.
        outcome = Outcome(channel)
        outcome.send(m.OpenAccepted(channel.id))
        return outcome.done()
    return Step(channel, (Send(m.OpenAccepted(channel.id)),))


def resume_seen(channel: Channel, event: e.ResumeSeen) -> Step:
    """One message each way heals any gap: adopt what we half-signed, take the turn, send again what has no answer."""
    outcome = Outcome(changed(channel, is_resumed=True, unresponsive=0))
    if not channel.accepted:
        # Only who has journalled the terms resumes: the acceptance itself was lost.
        _accepted(outcome)
    theirs = event.agreed
    if theirs is not None:
        _compare_agreed(outcome, theirs)
    outcome.channel = note_version(outcome.channel, event.signed)
    shown = theirs.version if theirs else 0
    if event.recovery is not None and outcome.channel.phase is not Phase.CLOSED:
        recovery_heard(outcome, event.recovery, shown)
    asked = event.recovery
    if asked is None or asked.marker in channel.markers:
        asked = channel.peer_said.recovery if channel.peer_said else None
    said = PeerSaid(event.turn, max(event.signed, event.seen), shown, asked)
    outcome.channel = changed(outcome.channel, peer_said=said)
    if outcome.channel.is_frozen:
        # Our counter and what we have in flight may be old: the owners' recovery settles both.
        return outcome.done()
    # A lower counter is old news: two connections that were made at once may be read in another order than written.
    # A peer that really went back finds out by our Resume, whose counter does not follow its own.
    if event.turn > outcome.channel.turn:
        take_turn(outcome, event.turn)
    # Where the opening's own Resume comes late, all that is in flight went out on this very connection.
    if not channel.is_resumed and outcome.channel.my_turn and outcome.channel.phase is not Phase.CLOSED:
        _send_again(outcome, event.window)
    if outcome.channel.turn_needed and not outcome.channel.my_turn:
        outcome.send(m.WantTurn(channel.id))
    return outcome.done()


def _send_again(outcome: Outcome, window: int) -> None:
    """Send what has no answer, byte for byte; what a smaller window than before has no room for is given up."""
    channel = outcome.channel
    if len(channel.in_flight) > window:
        reason = f"the peer's window is {window} since we are connected again"
        kill(outcome, channel.in_flight[window], WindowFull.code, reason)
    halves = outcome.channel.halves
    for version in outcome.channel.in_flight:
        outcome.send(proposal_message(channel, halves[version]))


def _compare_agreed(outcome: Outcome, theirs: Agreed) -> None:
    channel = outcome.channel
    for ours in (channel.agreed, channel.closing):
        if ours and ours.version == theirs.version:
            if ours.state != theirs.state and theirs.version >= channel.leap:
                # Our own signature, over a state that this journal never held: another copy of it signs as well.
                # Below a recovery that is explained, however often it is shown before a state above it is agreed.
                freeze(outcome, theirs.version)
            return
    if theirs.version <= channel.version:
        return
    if any(out.half.state == theirs.state for out in channel.outstanding):
        agree(outcome, theirs)
        return
    if theirs.version >= channel.leap:
        freeze(outcome, theirs.version)
    # Both signed it, so the peer can enforce it: to know it, and its book, can only help.
    outcome.persist(r.StateAgreed(theirs, ()))
    outcome.notify(n.LostStateShown(theirs.version))
