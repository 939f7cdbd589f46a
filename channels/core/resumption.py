"""Opening, and healing after a break: one message each way, whatever was lost between."""

from __future__ import annotations

from dataclasses import replace

from ..model import Agreed
from ..wire import messages as m
from . import events as e, notices as n, records as r
from .channel import Channel
from .commands import Send
from .outcome import Outcome, Step, agree, freeze, note_version, proposal_message, take_turn
from .phases import Phase


def connected(channel: Channel, event: e.Connected) -> Step:
    if not channel.accepted:
        return Step(channel, (Send(m.Open(channel.deployment, channel.terms)),))
    return Step(replace(channel, turn_wanted=False, called=0), (Send(_resume(channel)),))


def _resume(channel: Channel) -> m.Resume:
    newest = max((a for a in (channel.agreed, channel.closing) if a), key=lambda a: a.version, default=None)
    return m.Resume(channel.id, channel.turn, channel.signed, newest)


def terms_confirmed(channel: Channel, event: e.TermsConfirmed) -> Step:
    if channel.accepted:
        return Step(channel)
    outcome = Outcome(channel)
    _accepted(outcome)
    return outcome.done()


def _accepted(outcome: Outcome) -> None:
    """The peer has the terms too; from it comes what it said before its acceptance reached us."""
    outcome.persist(r.TermsAccepted())
    outcome.send(_resume(outcome.channel))
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
    outcome = Outcome(channel)
    if not channel.accepted:
        # Only who has journalled the terms resumes: the acceptance itself was lost.
        _accepted(outcome)
    theirs = event.agreed
    if theirs is not None:
        _compare_agreed(outcome, theirs)
    outcome.channel = note_version(outcome.channel, event.signed)
    # A lower counter is old news: two connections that were made at once may be read in another order than written.
    # A peer that really went back finds out by our Resume, whose counter does not follow its own.
    if event.turn > outcome.channel.turn:
        take_turn(outcome, event.turn)
    waiting = next((o for o in outcome.channel.outstanding if o.version == outcome.channel.in_flight), None)
    if waiting and outcome.channel.my_turn and outcome.channel.phase is not Phase.CLOSED:
        outcome.send(proposal_message(channel, waiting))
    if outcome.channel.turn_needed and not outcome.channel.my_turn:
        outcome.send(m.WantTurn(channel.id))
    return outcome.done()


def _compare_agreed(outcome: Outcome, theirs: Agreed) -> None:
    channel = outcome.channel
    for ours in (channel.agreed, channel.closing):
        if ours and ours.version == theirs.version:
            if ours.state != theirs.state:
                # Our own signature, over a state that this journal never held: another copy of it signs as well.
                freeze(outcome, theirs.version)
            return
    if theirs.version <= channel.version:
        return
    out = next((o for o in channel.outstanding if o.half.state == theirs.state), None)
    if out is None:
        freeze(outcome, theirs.version)
    else:
        agree(outcome, theirs, out)
