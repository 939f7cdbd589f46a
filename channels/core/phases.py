"""Legality is this table: a missing key is the error, the docs' pictures are drawn from it, nothing bypasses it."""

from __future__ import annotations

from enum import Enum

from . import events as e


class Phase(Enum):
    """Where a channel stands. The first three end with its peer's help, the last three without it."""

    OPENING = "opening"
    OPEN = "open"
    PROPOSED = "proposed"
    DISPUTED = "disputed"
    SETTLING = "settling"
    CLOSED = "closed"

    __hash__ = object.__hash__
    """Of a member, of which there is one: Enum's own hashes its name in Python, at each look into the table."""


_OPENING, _OPEN, _PROPOSED = Phase.OPENING, Phase.OPEN, Phase.PROPOSED
_DISPUTED, _SETTLING, _CLOSED = Phase.DISPUTED, Phase.SETTLING, Phase.CLOSED


def _chain(here: Phase, *, live: tuple[Phase, ...]) -> dict[type[e.Event], tuple[Phase, ...]]:
    """What the chain may say in any phase that is not closed: it asks nobody's leave."""
    return {
        e.DepositConfirmed: (here,),
        e.PaymentConfirmed: (here,),
        e.SettlementConfirmed: (here,),
        e.MarginConfirmed: (here,),
        e.RegistrationConfirmed: live,
        e.CloseConfirmed: (_CLOSED,),
    }


TRANSITIONS: dict[Phase, dict[type[e.Event], tuple[Phase, ...]]] = {
    _OPENING: {
        e.TermsConfirmed: (_OPEN,),
        e.TermsRepeated: (_OPENING,),
        e.Connected: (_OPENING,),
        e.ResumeSeen: (_OPEN,),
        e.BookFound: (_OPENING,),
        e.BlockConfirmed: (_OPENING,),
        **_chain(_OPENING, live=(_OPENING, _DISPUTED, _SETTLING)),
    },
    _OPEN: {
        e.TermsConfirmed: (_OPEN,),
        e.TermsRepeated: (_OPEN,),
        e.Connected: (_OPEN,),
        e.ResumeSeen: (_OPEN,),
        e.ProposalWanted: (_OPEN,),
        e.SignatureMade: (_OPEN, _PROPOSED),
        e.ProposalSeen: (_OPEN,),
        e.ProposalBroken: (_OPEN,),
        e.AnswerDue: (_OPEN,),
        e.AcceptSeen: (_OPEN,),
        e.RejectSeen: (_OPEN,),
        e.CollateralWanted: (_OPEN,),
        e.TurnNeeded: (_OPEN,),
        e.TurnSpared: (_OPEN,),
        e.SilenceNoticed: (_OPEN,),
        e.RecoveryWanted: (_OPEN,),
        e.RecoveryConsented: (_OPEN,),
        e.RecoveryAllowedSeen: (_OPEN,),
        e.TopUpWanted: (_OPEN,),
        e.CollateralCallSeen: (_OPEN,),
        e.TurnWantedSeen: (_OPEN,),
        e.TurnPassedSeen: (_OPEN,),
        e.BookFound: (_OPEN,),
        e.BlockConfirmed: (_OPEN,),
        **_chain(_OPEN, live=(_OPEN, _DISPUTED, _SETTLING)),
    },
    _PROPOSED: {
        e.TermsConfirmed: (_PROPOSED,),
        e.TermsRepeated: (_PROPOSED,),
        e.Connected: (_PROPOSED,),
        e.ResumeSeen: (_PROPOSED, _OPEN),
        e.ProposalWanted: (_PROPOSED,),
        e.SignatureMade: (_PROPOSED,),
        e.AcceptSeen: (_PROPOSED, _OPEN),
        e.RejectSeen: (_PROPOSED, _OPEN),
        e.CollateralWanted: (_PROPOSED,),
        e.TurnNeeded: (_PROPOSED,),
        e.TurnSpared: (_PROPOSED,),
        e.SilenceNoticed: (_PROPOSED,),
        e.RecoveryWanted: (_PROPOSED,),
        e.RecoveryConsented: (_PROPOSED, _OPEN),
        e.RecoveryAllowedSeen: (_PROPOSED, _OPEN),
        e.TopUpWanted: (_PROPOSED,),
        e.CollateralCallSeen: (_PROPOSED,),
        e.TurnWantedSeen: (_PROPOSED,),
        e.TurnPassedSeen: (_PROPOSED,),
        e.ProposalSeen: (_PROPOSED,),
        e.ProposalBroken: (_PROPOSED,),
        e.AnswerDue: (_PROPOSED,),
        e.BookFound: (_PROPOSED,),
        e.BlockConfirmed: (_PROPOSED,),
        **_chain(_PROPOSED, live=(_PROPOSED, _OPEN, _DISPUTED, _SETTLING)),
    },
    _DISPUTED: {
        e.TermsConfirmed: (_DISPUTED,),
        e.TermsRepeated: (_DISPUTED,),
        e.Connected: (_DISPUTED,),
        e.ResumeSeen: (_DISPUTED,),
        e.ProposalWanted: (_DISPUTED,),
        e.SignatureMade: (_DISPUTED,),
        e.ProposalSeen: (_DISPUTED,),
        e.ProposalBroken: (_DISPUTED,),
        e.AnswerDue: (_DISPUTED,),
        e.AcceptSeen: (_DISPUTED,),
        e.RejectSeen: (_DISPUTED,),
        e.TurnNeeded: (_DISPUTED,),
        e.TurnSpared: (_DISPUTED,),
        e.SilenceNoticed: (_DISPUTED,),
        e.RecoveryWanted: (_DISPUTED,),
        e.RecoveryConsented: (_DISPUTED,),
        e.RecoveryAllowedSeen: (_DISPUTED,),
        e.TopUpWanted: (_DISPUTED,),
        e.CollateralCallSeen: (_DISPUTED,),
        e.TurnWantedSeen: (_DISPUTED,),
        e.TurnPassedSeen: (_DISPUTED,),
        e.BookFound: (_DISPUTED,),
        e.BlockConfirmed: (_DISPUTED, _SETTLING),
        **_chain(_DISPUTED, live=(_DISPUTED, _SETTLING, _OPEN, _OPENING, _PROPOSED)),
    },
    _SETTLING: {
        e.TermsConfirmed: (_SETTLING,),
        e.TermsRepeated: (_SETTLING,),
        e.Connected: (_SETTLING,),
        e.ResumeSeen: (_SETTLING,),
        e.ProposalWanted: (_SETTLING,),
        e.SignatureMade: (_SETTLING,),
        e.ProposalSeen: (_SETTLING,),
        e.ProposalBroken: (_SETTLING,),
        e.AnswerDue: (_SETTLING,),
        e.AcceptSeen: (_SETTLING,),
        e.RejectSeen: (_SETTLING,),
        e.TurnNeeded: (_SETTLING,),
        e.TurnSpared: (_SETTLING,),
        e.SilenceNoticed: (_SETTLING,),
        e.RecoveryWanted: (_SETTLING,),
        e.RecoveryConsented: (_SETTLING,),
        e.RecoveryAllowedSeen: (_SETTLING,),
        e.TopUpWanted: (_SETTLING,),
        e.CollateralCallSeen: (_SETTLING,),
        e.TurnWantedSeen: (_SETTLING,),
        e.TurnPassedSeen: (_SETTLING,),
        e.BookFound: (_SETTLING,),
        e.BlockConfirmed: (_SETTLING,),
        **_chain(_SETTLING, live=(_SETTLING, _OPEN, _OPENING, _PROPOSED)),
    },
    _CLOSED: {
        e.TermsConfirmed: (_CLOSED,),
        e.ProposalSeen: (_CLOSED,),
        e.ProposalBroken: (_CLOSED,),
        e.AnswerDue: (_CLOSED,),
        e.TermsRepeated: (_CLOSED,),
        e.Connected: (_CLOSED,),
        e.ResumeSeen: (_CLOSED,),
        e.TurnSpared: (_CLOSED,),
        e.AcceptSeen: (_CLOSED,),
        e.RejectSeen: (_CLOSED,),
        e.CollateralCallSeen: (_CLOSED,),
        e.RecoveryAllowedSeen: (_CLOSED,),
        e.TurnWantedSeen: (_CLOSED,),
        e.TurnPassedSeen: (_CLOSED,),
        e.BookFound: (_CLOSED,),
        e.BlockConfirmed: (_CLOSED,),
        **_chain(_CLOSED, live=(_CLOSED,)),
    },
}
"""Phase → event → the phases it may lead to."""
