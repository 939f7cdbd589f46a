"""The machine: `step(channel, event) -> Step(channel, commands)`.

It returns what should happen and never makes it happen; who may do what when is the table in `phases`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from ..errors import InvariantBroken, UnexpectedMessage
from ..model import Deployment, Party, Terms
from ..risk.engine import EXACT, MarginEngine
from ..risk.policy import MarginPolicy
from ..wire import messages as m
from . import collateral, confirmations, events as e, notices as n, records as r, recovery, resumption, updates
from .channel import Channel, MarkPolicy
from .checkpoint import checkpoint, is_due
from .commands import Notify, Persist, Send
from .fold import evolve, replay
from .invariants import check
from .monitor import crossings
from .outcome import Step
from .phases import TRANSITIONS

__all__ = ["Step", "open_channel", "replay", "step"]


def open_channel(
    deployment: Deployment,
    terms: Terms,
    me: Party,
    policy: MarginPolicy,
    mark_policy: MarkPolicy,
    *,
    initiated: bool,
    margin_engine: MarginEngine = EXACT,
) -> Step:
    """Return a new channel: as the initiator with Open to send, else with OpenAccepted."""
    record = r.Opened(deployment, terms, me, initiated)
    channel = replace(evolve(None, record, policy=policy, mark_policy=mark_policy), margin_engine=margin_engine)
    answer = m.Open(deployment, terms) if initiated else m.OpenAccepted(channel.id)
    notice = () if initiated else (Notify(n.ChannelOpened()),)
    return Step(channel, (Persist(record), Send(answer), *notice))


def step(channel: Channel, event: e.Event) -> Step:
    """Return what follows from an event. Raises UnexpectedMessage where the table has no such transition.

    The session and the runtime call nothing else. A RuleViolation raised for a local event means that nothing happened;
    for the peer's events the session turns it into a protocol error.
    """
    allowed = TRANSITIONS[channel.phase].get(type(event))
    if allowed is None:
        raise UnexpectedMessage(type(event).__name__, channel.phase.value)
    result = _HANDLERS[type(event)](channel, event)
    if result.channel.phase not in allowed:
        detail = f"{type(event).__name__} led from {channel.phase.value} to {result.channel.phase.value}"
        raise InvariantBroken("transitions follow the table", detail)
    check(channel, result.channel)
    if told := crossings(channel, result.channel):
        result = replace(result, commands=result.commands + tuple(map(Notify, told)))
    return _checkpointed(result) if is_due(result.channel) else result


def _checkpointed(step: Step) -> Step:
    """Checkpoint the journal behind everything else: nothing that is said waits for it."""
    record = checkpoint(step.channel)
    return Step(evolve(step.channel, record), (*step.commands, Persist(record)))


_HANDLERS: dict[type[e.Event], Callable[[Channel, Any], Step]] = {
    e.ProposalWanted: updates.proposal_wanted,
    e.SignatureMade: updates.signature_made,
    e.TurnNeeded: updates.turn_needed,
    e.TurnSpared: updates.turn_spared,
    e.SilenceNoticed: updates.silence_noticed,
    e.CollateralWanted: collateral.collateral_wanted,
    e.TopUpWanted: collateral.top_up_wanted,
    e.Connected: resumption.connected,
    e.TermsConfirmed: resumption.terms_confirmed,
    e.TermsRepeated: resumption.terms_repeated,
    e.ProposalSeen: updates.proposal_seen,
    e.ProposalBroken: updates.proposal_broken,
    e.AnswerDue: updates.answer_due,
    e.AcceptSeen: updates.accept_seen,
    e.RejectSeen: updates.reject_seen,
    e.TurnWantedSeen: updates.turn_wanted_seen,
    e.TurnPassedSeen: updates.turn_passed_seen,
    e.CollateralCallSeen: collateral.collateral_call_seen,
    e.ResumeSeen: resumption.resume_seen,
    e.RecoveryWanted: recovery.recovery_wanted,
    e.RecoveryConsented: recovery.recovery_consented,
    e.RecoveryAllowedSeen: recovery.recovery_allowed_seen,
    e.BlockConfirmed: confirmations.block_confirmed,
    e.DepositConfirmed: confirmations.amount_confirmed,
    e.PaymentConfirmed: confirmations.amount_confirmed,
    e.RegistrationConfirmed: confirmations.registration_confirmed,
    e.SettlementConfirmed: confirmations.settlement_confirmed,
    e.BookFound: confirmations.book_found,
    e.CloseConfirmed: confirmations.close_confirmed,
    e.MarginConfirmed: confirmations.margin_confirmed,
}
