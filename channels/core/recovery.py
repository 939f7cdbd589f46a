"""The way out of a loss of data: both owners agree, versions skip far ahead, one new state supersedes what was lost.

Whoever lost data may have signed states that it does not know, and the peer may hold them. So nothing is signed until

1. our owner, who has seen what the peer and the chain show, asks (`RecoveryAsked`, announced in every Resume since),
2. the peer's owner agrees (`RecoveryGranted`), which gives us its turn counter,
3. we take it (`SigningResumed`): from now on both sides sign at `version` and above only, a fact first.

Each step is journalled by whoever takes it before the other hears of it, and said again on every connection, so a crash
between any two changes nothing. A marker is used once, a side agrees `MAX_RECOVERIES` times at most in a channel's
life, and no recovery skips further than `SKIP` above what is proven or was claimed within reason: claims of loss do
not use up the versions.
"""

from __future__ import annotations

from ..errors import RecoveryInvalid, TurnOutOfOrder, UnexpectedMessage
from ..wire import messages as m
from . import events as e, notices as n, records as r, rules
from .channel import Channel
from .outcome import Outcome, Step, kill

SKIP = 2**48
"""How far above the highest known version a recovery goes on: whatever was lost lies below."""
MAX_CLAIM = 2**55
"""How far above what is proven the peer's word about versions is believed: all its recoveries skip less together."""
MAX_RECOVERIES = 64
"""How often this channel recovers, both sides together: each time spends `SKIP` of 2^64 versions."""
MAX_VERSION = 2**63
"""No recovery goes on from here: what is left is for ordinary versions."""
MAX_TURNS = 2**32
"""How far a recovery moves the turn counter."""


def resume_message(channel: Channel) -> m.Resume:
    """Return what we say of ourselves first on every connection."""
    newest = max((a for a in (channel.agreed, channel.closing) if a), key=lambda a: a.version, default=None)
    return m.Resume(channel.id, channel.turn, channel.signed, newest, rules.top_version(channel), channel.recovery)


def recovery_wanted(channel: Channel, event: e.RecoveryWanted) -> Step:
    """Our owner wants to go on. Asked again while there is no answer, it says the same again."""
    if not channel.is_frozen:
        raise RecoveryInvalid("this journal has lost nothing")
    said = channel.peer_said
    if said is None:
        raise RecoveryInvalid("the peer has not said yet what it holds: connect to it first")
    outcome = Outcome(channel)
    if channel.recovery is None or said.seen >= channel.recovery.version:
        # Also where the peer saw that version signed already: then we lost more than we knew when we asked.
        _check_marker(channel, event.marker)
        proven = max(rules.top_version(channel), channel.frozen)
        known = max(proven, said.seen) if said.seen <= proven + MAX_CLAIM else proven
        if known + SKIP > MAX_VERSION:
            raise RecoveryInvalid(f"version {known} leaves no room for another one: settle on-chain")
        outcome.persist(r.RecoveryAsked(event.marker, known + SKIP))
    outcome.send(resume_message(outcome.channel))
    return outcome.done()


def recovery_heard(outcome: Outcome, asked: m.Recovery, theirs: int) -> None:
    """The peer, at agreed version `theirs`, asks: tell our owner once, repeat a consent, ignore what is over."""
    channel = outcome.channel
    granted = channel.granted
    if granted is not None and granted.marker == asked.marker:
        # Not where the peer has signed above it since: it has lost its recovery as well, and would sign that again.
        if granted.version == asked.version and max(channel.agreed_version, channel.seen) < granted.version:
            outcome.send(_allowed(channel, granted))
        return
    if asked.marker in channel.markers:
        return
    _check_version(channel, asked.version)
    before = channel.peer_said.recovery if channel.peer_said else None
    if before is not None and before != asked:
        raise RecoveryInvalid("the peer asks for a second one on the same connection")
    if before != asked:
        outcome.notify(n.RecoveryRequested(asked.marker, asked.version, channel.version, theirs))


def recovery_consented(channel: Channel, event: e.RecoveryConsented) -> Step:
    """Our owner agrees. The turn is the higher of both counters: who lost data has the lower one, both may have."""
    said = channel.peer_said
    if said is None or said.recovery is None or said.recovery.marker != event.marker:
        raise RecoveryInvalid("the peer does not ask for it on this connection")
    _check_marker(channel, event.marker)
    _check_version(channel, said.recovery.version)
    turn = max(channel.turn, said.turn)
    if turn > channel.turn + MAX_TURNS:
        raise TurnOutOfOrder(turn, channel.turn)
    outcome = Outcome(channel)
    _give_up(outcome)
    granted = r.RecoveryGranted(event.marker, said.recovery.version, turn)
    outcome.persist(granted)
    outcome.send(_allowed(channel, granted))
    outcome.notify(n.RecoveryAgreed(channel.me.other, granted.version))
    return outcome.done()


def recovery_allowed_seen(channel: Channel, event: e.RecoveryAllowedSeen) -> Step:
    """The peer's owner agrees too: sign again, above everything that either side may have forgotten."""
    asked = channel.recovery
    if asked is None:
        if event.marker in channel.markers:
            return Step(channel)
        raise UnexpectedMessage("RecoveryAllowed", channel.phase.value)
    if (asked.marker, asked.version) != (event.marker, event.version):
        raise RecoveryInvalid(f"we asked to go on from version {asked.version}, the peer allows {event.version}")
    if not channel.turn <= event.turn <= channel.turn + MAX_TURNS:
        raise TurnOutOfOrder(event.turn, channel.turn)
    outcome = Outcome(channel)
    _give_up(outcome)
    outcome.persist(r.SigningResumed(event.marker, event.version, event.turn))
    outcome.notify(n.RecoveryAgreed(channel.me, event.version))
    if outcome.channel.my_turn:
        outcome.notify(n.TurnArrived(event.turn))
    return outcome.done()


def _give_up(outcome: Outcome) -> None:
    """Nothing in flight survives a recovery: it stays half-signed, and is superseded like what was lost."""
    if outcome.channel.in_flight:
        reason = "one side lost data: both go on above everything signed before"
        kill(outcome, outcome.channel.in_flight[0], RecoveryInvalid.code, reason)


def _allowed(channel: Channel, granted: r.RecoveryGranted) -> m.RecoveryAllowed:
    return m.RecoveryAllowed(channel.id, granted.marker, granted.version, granted.turn)


def _check_marker(channel: Channel, marker: bytes) -> None:
    if marker in channel.markers:
        raise RecoveryInvalid("its marker was used before: each loss has its own")
    if len(channel.markers) >= MAX_RECOVERIES:
        raise RecoveryInvalid(f"this channel has recovered {MAX_RECOVERIES} times: settle on-chain")


def _check_version(channel: Channel, version: int) -> None:
    """Raise RecoveryInvalid unless it is above all that is signed, and skips no further than a recovery does."""
    signed = max(channel.signed, channel.seen, channel.version, channel.chain.version)
    limit = rules.top_version(channel) + SKIP + rules.MAX_SKIP
    if not signed < version <= min(limit, MAX_VERSION):
        raise RecoveryInvalid(f"it would go on from version {version}, allowed {signed + 1} to {limit}")
