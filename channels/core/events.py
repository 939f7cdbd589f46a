"""What can happen to a channel. What comes from the peer was authenticated by the session before, but for claims."""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import RuleViolation
from ..model import Agreed, Book, Claimed, HalfSigned, Marks, Operation
from ..wire.messages import WINDOW, Recovery
from .facts import (
    CalledSeen,
    ClosedSeen,
    CuredSeen,
    DepositSeen,
    LiquidatedSeen,
    MarginFact,
    PaymentSeen,
    RegisteredSeen,
    ReleasedSeen,
    SettlementSeen,
)
from .limits import NO_LIMITS, Limits


class Event:
    """Anything the machine steps on."""

    __slots__ = ()


# From our side


@dataclass(frozen=True, slots=True)
class ProposalWanted(Event):
    """The owner wants these operations agreed. `salt` is fresh randomness, `now` unix seconds.

    `window` is how many proposals the peer lets us keep in flight, `limits` what the owner lets us half-sign.
    """

    operations: tuple[Operation, ...]
    salt: bytes
    now: int
    window: int = WINDOW
    limits: Limits = NO_LIMITS


@dataclass(frozen=True, slots=True)
class SignatureMade(Event):
    """The signature that a Sign command asked for."""

    version: int
    signature: bytes


@dataclass(frozen=True, slots=True)
class TurnNeeded(Event):
    """The owner wants to propose and needs the turn: until TurnSpared it is asked for, and not passed on unused."""


@dataclass(frozen=True, slots=True)
class TurnSpared(Event):
    """The owner has proposed, or given up: the turn may go to a peer that wants it."""


@dataclass(frozen=True, slots=True)
class SilenceNoticed(Event):
    """Our clock says that the peer has left us without an answer, or without the turn, for `seconds`: too long."""

    seconds: int


@dataclass(frozen=True, slots=True)
class CollateralWanted(Event):
    """Call the peer for the collateral that is due in the agreed state, if any and if it was not called there yet."""


@dataclass(frozen=True, slots=True)
class TopUpWanted(Event):
    """The node wants to deposit `amount` token units by `deadline` to cure a margin call; `total` is then deposited."""

    amount: int
    total: int
    deadline: int


@dataclass(frozen=True, slots=True)
class RecoveryWanted(Event):
    """The owner, whose journal lost data, wants to sign again. `marker` is fresh randomness: one for each loss."""

    marker: bytes


@dataclass(frozen=True, slots=True)
class RecoveryConsented(Event):
    """The owner agrees to the recovery that the peer asked for under this marker."""

    marker: bytes


@dataclass(frozen=True, slots=True)
class Connected(Event):
    """A connection to the peer is authenticated."""


@dataclass(frozen=True, slots=True)
class BookFound(Event):
    """The book of the registered state, looked up in the journal."""

    book: Book


# From the peer


@dataclass(frozen=True, slots=True)
class TermsConfirmed(Event):
    """The peer accepted the terms."""


@dataclass(frozen=True, slots=True)
class TermsRepeated(Event):
    """The peer asks again to open this channel: our acceptance was lost."""


@dataclass(frozen=True, slots=True)
class ProposalSeen(Event):
    """The peer's state, computed by us from its operations. `view` is the owner's own marks, if any.

    Its signature was checked, but for marks alone, which are `Claimed` until they are answered.
    """

    half: HalfSigned | Claimed
    operations: tuple[Operation, ...]
    now: int
    view: Marks | None


@dataclass(frozen=True, slots=True)
class AnswerDue(Event):
    """No more of the peer's is at hand: accept, with one signature, all of its proposals that were judged right.

    `half` is the newest of them that the peer signed, which was checked; what it only claims above is forgotten.
    None: it signed none.
    """

    half: HalfSigned | None = None


@dataclass(frozen=True, slots=True)
class ProposalBroken(Event):
    """Operations of the peer's that do not apply to the agreed state, so that there is nothing to judge."""

    version: int
    violation: RuleViolation


@dataclass(frozen=True, slots=True)
class AcceptSeen(Event):
    """The peer's verified signature over a version that we half-signed."""

    version: int
    signature: bytes


@dataclass(frozen=True, slots=True)
class RejectSeen(Event):
    """The peer refuses a version that we half-signed."""

    version: int
    code: str
    reason: str


@dataclass(frozen=True, slots=True)
class TurnWantedSeen(Event):
    """The peer asks for the turn."""


@dataclass(frozen=True, slots=True)
class TurnPassedSeen(Event):
    """The peer passed the turn."""

    turn: int


@dataclass(frozen=True, slots=True)
class CollateralCallSeen(Event):
    """The peer asks for `amount` token units of collateral, which we should lack at `version`."""

    version: int
    amount: int


@dataclass(frozen=True, slots=True)
class ResumeSeen(Event):
    """What the peer knows, after a (re)connection; both signatures of `agreed` were verified.

    `window` is how many proposals it lets us keep in flight.
    """

    turn: int
    signed: int
    agreed: Agreed | None
    window: int = WINDOW
    seen: int = 0
    recovery: Recovery | None = None


@dataclass(frozen=True, slots=True)
class RecoveryAllowedSeen(Event):
    """The peer's owner agrees to the recovery that we asked for."""

    marker: bytes
    version: int
    turn: int


# From the chain, confirmed


@dataclass(frozen=True, slots=True)
class BlockConfirmed(Event):
    """The time of the latest confirmed block."""

    time: int


@dataclass(frozen=True, slots=True)
class DepositConfirmed(Event):
    fact: DepositSeen


@dataclass(frozen=True, slots=True)
class PaymentConfirmed(Event):
    fact: PaymentSeen


@dataclass(frozen=True, slots=True)
class RegistrationConfirmed(Event):
    fact: RegisteredSeen


@dataclass(frozen=True, slots=True)
class SettlementConfirmed(Event):
    fact: SettlementSeen


@dataclass(frozen=True, slots=True)
class CloseConfirmed(Event):
    fact: ClosedSeen


@dataclass(frozen=True, slots=True)
class MarginConfirmed(Event):
    fact: MarginFact


CHAIN_EVENTS = {
    DepositSeen: DepositConfirmed,
    PaymentSeen: PaymentConfirmed,
    RegisteredSeen: RegistrationConfirmed,
    SettlementSeen: SettlementConfirmed,
    ClosedSeen: CloseConfirmed,
    CalledSeen: MarginConfirmed,
    CuredSeen: MarginConfirmed,
    LiquidatedSeen: MarginConfirmed,
    ReleasedSeen: MarginConfirmed,
}
"""The event that carries each kind of fact."""

ChainEvent = (
    DepositConfirmed | PaymentConfirmed | RegistrationConfirmed | SettlementConfirmed | CloseConfirmed | MarginConfirmed
)
