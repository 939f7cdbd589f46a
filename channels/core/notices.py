"""What the owner is told, in the order it happened: `async for event in channel` yields these."""

from __future__ import annotations

from dataclasses import dataclass

from ..model import Agreed, Operation, Party


@dataclass(frozen=True, slots=True)
class ChannelOpened:
    """Both sides have journalled the terms: deposits make sense from now on."""


@dataclass(frozen=True, slots=True)
class Updated:
    """A new agreed state. `proposer` is who proposed the operations that led to it from the one agreed before.

    `versions` are the proposals that it accepts, its own the last: none of the others was signed by both.
    """

    agreed: Agreed
    operations: tuple[Operation, ...]
    proposer: Party
    versions: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class BelowMaintenance:
    """At the marks agreed in `version` a party's equity is below its maintenance margin, and was not before.

    Token units. The first state where this is so, of all that were agreed: a later one of the same window may have been
    agreed with it, and says whether it still is. `MarginRestored` ends it. Until then the party may only reduce.
    """

    party: Party
    version: int
    equity: int
    maintenance_margin: int
    initial_margin: int


@dataclass(frozen=True, slots=True)
class MarginRestored:
    """In `version` the equity of a party that was below maintenance margin covers it again; token units."""

    party: Party
    version: int
    equity: int
    maintenance_margin: int
    initial_margin: int


@dataclass(frozen=True, slots=True)
class CollateralCalled:
    """A party was called for all that it lacks at `version` by the CSA terms, token units: by the peer, or by us.

    The peer's call is told only if we compute the same amount, and not before its version operates here. It replaces
    any call of an older version.
    """

    party: Party
    amount: int
    version: int


@dataclass(frozen=True, slots=True)
class CollateralCallRefused:
    """The peer called us for an amount, or at a version, that does not follow from our agreed state: we ignore it."""

    amount: int
    version: int
    code: str
    reason: str


@dataclass(frozen=True, slots=True)
class WeRefused:
    """We refused the peer's proposal."""

    version: int
    code: str
    reason: str


@dataclass(frozen=True, slots=True)
class PeerRefused:
    """The peer refused our proposal."""

    version: int
    code: str
    reason: str


@dataclass(frozen=True, slots=True)
class PeerSilent:
    """For `seconds` the peer has not answered `version`, or, where that is 0, not passed the turn that we asked for.

    Nothing more is half-signed until it speaks. The owner's policy says whether a dispute follows.
    """

    version: int
    seconds: int


@dataclass(frozen=True, slots=True)
class TurnArrived:
    """We may propose."""

    turn: int


@dataclass(frozen=True, slots=True)
class Deposited:
    """A party's deposit is confirmed; `total` is cumulative, token units."""

    party: Party
    total: int


@dataclass(frozen=True, slots=True)
class PaidOut:
    """The adjudicator paid a party; `total` is cumulative, token units."""

    party: Party
    total: int


@dataclass(frozen=True, slots=True)
class Registered:
    """The adjudicator registered a version outside a dispute."""

    version: int


@dataclass(frozen=True, slots=True)
class Challenged:
    """A dispute runs until `deadline` on `version`; `newest` is what we hold. If it is higher, the node answers."""

    version: int
    newest: int
    deadline: int


@dataclass(frozen=True, slots=True)
class DisputeEnded:
    """A REOPEN was registered: trading goes on."""

    version: int


@dataclass(frozen=True, slots=True)
class Settling:
    """The dispute's deadline has passed: `version` is final and settles when its last leg has expired."""

    version: int


@dataclass(frozen=True, slots=True)
class SettlementFixed:
    """The settlement price of an expiry is known, WAD."""

    underlying: str
    expiry: int
    price: int


@dataclass(frozen=True, slots=True)
class MarginCalled:
    """A party is called for margin on-chain, on registered `version`: cured before `deadline`, or it may be closed out.

    A cure, or a newer registered state, ends it.
    """

    party: Party
    deadline: int
    version: int


@dataclass(frozen=True, slots=True)
class MarginCallCured:
    """A party's margin call is over: it showed that it holds its initial margin."""

    party: Party


@dataclass(frozen=True, slots=True)
class SpotBreach:
    """The contract would find a party below maintenance margin now, at its price source's spot; it did not before.

    Token units, in the newest state that it would take. Not agreed by anybody, and not called yet: the node calls the
    peer for margin if it goes on, and the peer's node us. `SpotBreachOver` ends it.
    """

    party: Party
    equity: int
    maintenance_margin: int
    initial_margin: int
    time: int


@dataclass(frozen=True, slots=True)
class SpotBreachOver:
    """The contract would not find the party below maintenance margin any more."""

    party: Party


@dataclass(frozen=True, slots=True)
class CallingMargin:
    """This node calls the peer for margin on `version`, because of `reason`; `MarginCalled` follows once it is mined.

    From here until the call is over it signs nothing that the peer could reveal to defer it. Token units.
    """

    version: int
    reason: str
    equity: int
    maintenance_margin: int


@dataclass(frozen=True, slots=True)
class TopUpNeeded:
    """A margin call stands against us, and `amount` token units deposited before `deadline` would answer it.

    More than the owner's limit, or its wallet, lets the node spend: `LiveChannel.deposit` does it, the node then cures.
    """

    amount: int
    deadline: int


@dataclass(frozen=True, slots=True)
class ToppingUp:
    """This node deposits `amount` token units within the owner's limit, to cure a margin call before `deadline`."""

    amount: int
    deadline: int


@dataclass(frozen=True, slots=True)
class Liquidating:
    """This node closes the peer out on `version`, after a margin call that was not cured; `Liquidated` follows."""

    version: int


@dataclass(frozen=True, slots=True)
class Liquidated:
    """A party missed its margin call and was closed out at the mark; `ChannelClosed` follows.

    Token units: `value0` is what the positions were worth to party 0, `charge` went from `party` to the other side.
    """

    party: Party
    value0: int
    charge: int


@dataclass(frozen=True, slots=True)
class Released:
    """A party took excess collateral out of a channel that settles, token units; `PaidOut` follows with the total."""

    party: Party
    amount: int


@dataclass(frozen=True, slots=True)
class ChannelClosed:
    """The channel is closed; token units paid to party 0 and 1."""

    payouts: tuple[int, int]


@dataclass(frozen=True, slots=True)
class DataLoss:
    """Peer or chain show `theirs` with our signature, our journal ends at `ours`: nothing more is signed.

    `LiveChannel.recover` asks the peer's owner to go on all the same; a dispute needs nobody. `dropped` are versions
    whose answer is not waited for any more: they stay half-signed.
    """

    ours: int
    theirs: int
    dropped: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class CopySuspected:
    """This store was restored, moved or made from a backup, and may lack what was signed above `ours`.

    Nothing is signed. What the peer and the chain show since then is the evidence to look at; `LiveChannel.recover`
    then asks the peer's owner to go on.
    """

    ours: int


@dataclass(frozen=True, slots=True)
class LostStateShown:
    """Peer or chain showed a state that both signed and that our journal had lost. It counts as agreed from now on."""

    version: int


@dataclass(frozen=True, slots=True)
class RecoveryRequested:
    """The peer says that it lost data, and asks to go on from `version`; its newest state is `theirs`, ours `ours`.

    `LiveChannel.allow_recovery` with the marker agrees; to do nothing refuses. If `theirs` is below `ours`, the peer
    has really lost something, and adopts ours.
    """

    marker: bytes
    version: int
    ours: int
    theirs: int


@dataclass(frozen=True, slots=True)
class RecoveryAgreed:
    """Both owners agree that signing goes on from `version`, after a loss of data by `party`.

    Until a state at it or above it is agreed, what was signed before the loss may still be shown.
    """

    party: Party
    version: int


Notice = (
    ChannelOpened
    | Updated
    | BelowMaintenance
    | MarginRestored
    | CollateralCalled
    | CollateralCallRefused
    | WeRefused
    | PeerRefused
    | PeerSilent
    | TurnArrived
    | Deposited
    | PaidOut
    | Registered
    | Challenged
    | DisputeEnded
    | Settling
    | SettlementFixed
    | MarginCalled
    | MarginCallCured
    | SpotBreach
    | SpotBreachOver
    | CallingMargin
    | TopUpNeeded
    | ToppingUp
    | Liquidating
    | Liquidated
    | Released
    | ChannelClosed
    | DataLoss
    | CopySuspected
    | LostStateShown
    | RecoveryRequested
    | RecoveryAgreed
)
