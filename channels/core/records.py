"""What the journal holds: one record per thing that must survive a crash.

The channel's durable part is the fold of its records (`machine.evolve`) and nothing else: the running machine applies
the same fold to the same records that it hands to the store, so replaying the journal is exact by construction.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..model import Agreed, Book, Deployment, HalfSigned, Operation, Party, State, Terms
from ..wire.messages import Recovery
from .facts import ChainFact

if TYPE_CHECKING:
    from .channel import ChainView, Outstanding


@dataclass(frozen=True, slots=True)
class Opened:
    """The terms of the channel, before the first message about it leaves. `initiated`: we asked."""

    deployment: Deployment
    terms: Terms
    me: Party
    initiated: bool


@dataclass(frozen=True, slots=True)
class TermsAccepted:
    """The peer has journalled the terms too."""


@dataclass(frozen=True, slots=True)
class Signed:
    """A signature of ours: durable before it leaves, once per version. `operations` led to the state."""

    half: HalfSigned
    operations: tuple[Operation, ...]


@dataclass(frozen=True, slots=True)
class StateAgreed:
    """A state with both signatures. `operations` led to it from the one agreed before, over all that it accepts."""

    agreed: Agreed
    operations: tuple[Operation, ...]


@dataclass(frozen=True, slots=True)
class ProposalsKilled:
    """Our proposals in flight from `version` on wait for no answer any more. They stay outstanding."""

    version: int


@dataclass(frozen=True, slots=True)
class TurnMoved:
    """The turn counter; its parity names the holder."""

    turn: int


@dataclass(frozen=True, slots=True)
class ChainSaid:
    """A confirmed fact of the chain."""

    fact: ChainFact


@dataclass(frozen=True, slots=True)
class BookRecalled:
    """The book of the registered state, found again in this journal: an old state was registered and became final."""

    book: Book


@dataclass(frozen=True, slots=True)
class SigningFrozen:
    """The peer proved that this journal lost data: nothing is signed any more."""

    theirs: int


@dataclass(frozen=True, slots=True)
class LossSuspected:
    """This journal may be an old copy: it was restored, moved, or made anew from a backup. Nothing is signed any more.

    `signed` is the highest version that it is known to have signed all the same, 0 where nothing more is known.
    """

    marker: bytes
    signed: int


@dataclass(frozen=True, slots=True)
class RecoveryAsked:
    """Our owner wants to go on after a loss of data, from `version` on, if the peer's owner agrees."""

    marker: bytes
    version: int


@dataclass(frozen=True, slots=True)
class RecoveryGranted:
    """Our owner agrees that the peer, which lost data, goes on from `version`, with the turn at `turn`."""

    marker: bytes
    version: int
    turn: int


@dataclass(frozen=True, slots=True)
class SigningResumed:
    """Both owners agree: after our loss of data we sign again, from `version` on, with the peer's turn counter."""

    marker: bytes
    version: int
    turn: int


@dataclass(frozen=True, slots=True)
class TopUpDecided:
    """This node spends `amount` token units of its owner's to cure a margin call: journalled before they leave.

    `total` is what our cumulative deposits are once it is mined.
    """

    amount: int
    total: int


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The channel's whole durable part at this place, so that records between `Opened` and it may go.

    Every field is the channel's of the same name; the chain's clock in `chain` is 0, since no record holds it.
    """

    accepted: bool
    agreed: Agreed | None
    closing: Agreed | None
    outstanding: tuple[Outstanding, ...]
    signed: int
    turn: int
    chain: ChainView
    recalled: Book | None
    frozen: int
    suspect: bytes
    recovery: Recovery | None
    granted: RecoveryGranted | None
    leap: int
    markers: tuple[bytes, ...]
    top_up: TopUpDecided | None
    topped_up: int
    in_flight: tuple[int, ...]

    @property
    def floor(self) -> int:
        """The floor of the sign-once guard: no version up to it is ever signed again.

        A state that both signed counts as well: another copy of this journal may have signed it.
        """
        return max([self.signed, *(state.version for state, _ in self.states)])

    @property
    def states(self) -> tuple[tuple[State, Book], ...]:
        """The states with our signature in it, and their books: half-signed ones first."""
        agreed = (made for made in (self.agreed, self.closing) if made)
        return (
            *((out.half.state, out.half.book) for out in self.outstanding),
            *((made.state, made.book) for made in agreed),
        )

    @property
    def books(self) -> tuple[Book, ...]:
        """Every book in it."""
        return (*(book for _, book in self.states), *((self.recalled,) if self.recalled else ()))


Record = (
    Opened
    | TermsAccepted
    | Signed
    | StateAgreed
    | ProposalsKilled
    | TurnMoved
    | ChainSaid
    | BookRecalled
    | SigningFrozen
    | LossSuspected
    | RecoveryAsked
    | RecoveryGranted
    | SigningResumed
    | TopUpDecided
    | Checkpoint
)
