"""The messages of the channel protocol, each with a number that is never reused."""

from __future__ import annotations

from dataclasses import dataclass

from ..model import Agreed, ChannelId, Deployment, Operation, Terms

PROTOCOL = 1
"""The version of the wire protocol, negotiated in the first message."""
WINDOW = 32
"""How many proposals may be in flight by default; the smaller of both sides' numbers counts."""
MAX_WINDOW_OPERATIONS = 64
"""How many operations they may hold together: what is agreed at once is one record of the journal."""
MAX_BACKUP = 61_440
"""Bytes of the largest backup that one party keeps for another: it fits into one message."""


@dataclass(frozen=True, slots=True)
class Greeting:
    """First message of each side: the protocol it speaks, a fresh nonce, how many proposals it lets be in flight."""

    protocol: int
    nonce: bytes
    window: int


@dataclass(frozen=True, slots=True)
class Hello:
    """Second message: a signature over both nonces, the listener's certificate and the sender's role."""

    signature: bytes


@dataclass(frozen=True, slots=True)
class Open:
    """Asks the peer to open a channel on these terms."""

    deployment: Deployment
    terms: Terms


@dataclass(frozen=True, slots=True)
class OpenAccepted:
    """The peer journalled the terms: the channel exists for both."""

    channel: ChannelId


@dataclass(frozen=True, slots=True)
class OpenRefused:
    """The peer's policy refuses the terms, with the reason."""

    channel: ChannelId
    code: str
    reason: str


@dataclass(frozen=True, slots=True)
class Propose:
    """Operations, the new book's salt, and the proposer's signature over the state they lead to.

    They apply to the state of version `base`: the agreed one, or that of the proposal before this one; 0 for none.
    """

    channel: ChannelId
    version: int
    operations: tuple[Operation, ...]
    salt: bytes
    signature: bytes
    base: int


@dataclass(frozen=True, slots=True)
class Accept:
    """The other signature: the version is agreed, and with it every proposal that it stands on."""

    channel: ChannelId
    version: int
    signature: bytes


@dataclass(frozen=True, slots=True)
class Reject:
    """The version is refused, and all proposals after it; they stay half-signed until a higher one is agreed."""

    channel: ChannelId
    version: int
    code: str
    reason: str


@dataclass(frozen=True, slots=True)
class WantTurn:
    """Asks the holder to pass the turn."""

    channel: ChannelId


@dataclass(frozen=True, slots=True)
class PassTurn:
    """Hands the turn over: `turn` is the new counter, whose parity names the holder."""

    channel: ChannelId
    turn: int


@dataclass(frozen=True, slots=True)
class Recovery:
    """The sender lost data and its owner wants to go on: from `version` on, once for this `marker`, if both agree."""

    marker: bytes
    version: int


@dataclass(frozen=True, slots=True)
class Resume:
    """After a (re)connection: the latest agreed state with its book, the highest version ever signed, the turn.

    `seen` is the highest version that the sender knows to be signed or skipped by either side, `recovery` what it asks
    of the peer's owner after a loss of data.
    """

    channel: ChannelId
    turn: int
    signed: int
    agreed: Agreed | None
    seen: int = 0
    recovery: Recovery | None = None


@dataclass(frozen=True, slots=True)
class RecoveryAllowed:
    """The sender's owner agrees to the peer's recovery: it goes on from `version`, with the turn at `turn`."""

    channel: ChannelId
    marker: bytes
    version: int
    turn: int


@dataclass(frozen=True, slots=True)
class Backup:
    """Asks the peer to keep these bytes, instead of those before, until they are wanted. Only the sender reads them."""

    channel: ChannelId
    blob: bytes


@dataclass(frozen=True, slots=True)
class BackupsWanted:
    """Asks for every backup that the peer keeps for the sender, who has lost its journal."""


@dataclass(frozen=True, slots=True)
class BackupReturned:
    """What the sender keeps for the peer, about one channel."""

    channel: ChannelId
    blob: bytes


@dataclass(frozen=True, slots=True)
class BackupsEnd:
    """All backups were returned: so many."""

    count: int


@dataclass(frozen=True, slots=True)
class Fault:
    """The one typed error a peer gets before it is disconnected."""

    code: str
    reason: str


@dataclass(frozen=True, slots=True)
class CollateralCall:
    """Asks for collateral: what the receiver lacks in the agreed `version` by the policy's CSA terms, token units.

    Nothing is signed: the receiver computes the same amount from the same state, and deposits if it wants to.
    """

    channel: ChannelId
    version: int
    amount: int


Message = (
    Greeting
    | Hello
    | Open
    | OpenAccepted
    | OpenRefused
    | Propose
    | Accept
    | Reject
    | WantTurn
    | PassTurn
    | Resume
    | Fault
    | CollateralCall
    | RecoveryAllowed
    | Backup
    | BackupsWanted
    | BackupReturned
    | BackupsEnd
)
ChannelMessage = (
    OpenAccepted
    | OpenRefused
    | Propose
    | Accept
    | Reject
    | WantTurn
    | PassTurn
    | Resume
    | CollateralCall
    | RecoveryAllowed
)
"""Messages that name the channel they are about."""
