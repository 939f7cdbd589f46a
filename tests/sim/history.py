"""What really happened, written down outside the nodes: every durable record, every byte that left, every state shown.

The laws are read off this log, not off what a node believes of itself. Those that hold at every moment are checked as
the log grows, so that a run stops at the first event that breaks one.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field

from channels.core import records as r
from channels.errors import ChannelError
from channels.model import EXCLUSIVE, Address, Agreed, ChannelId, Deployment, Operation, Party, State, Terms
from channels.seal import recover, state_digest
from channels.wire import messages as m
from channels.wire.codec import decode
from channels.wire.framing import FrameReader

Place = tuple[str, ChannelId]
"""A machine and one of its channels."""


class LawBroken(Exception):
    """A law does not hold; the text names it."""


@dataclass(frozen=True)
class Signature:
    """Who put a signature under a state."""

    digest: bytes
    signature: bytes


@dataclass
class History:
    """The log of one run."""

    deployment: Deployment
    tell: Callable[[str], None] | None = None
    lines: list[str] = field(default_factory=list)
    terms: dict[ChannelId, Terms] = field(default_factory=dict)
    party: dict[Place, Party] = field(default_factory=dict)
    signed: dict[tuple[Address, ChannelId, int], bytes] = field(default_factory=dict)
    """The digest that a signer put its name to, per version: there is one."""
    proposer: dict[tuple[ChannelId, int], Party] = field(default_factory=dict)
    """Who signed a version first."""
    halves: dict[Place, dict[int, r.Signed]] = field(default_factory=lambda: defaultdict(dict))
    """What each machine's disk knows to be signed by it."""
    agreed: dict[ChannelId, dict[int, r.StateAgreed]] = field(default_factory=lambda: defaultdict(dict))
    held: Counter[Place] = field(default_factory=Counter)
    """The highest version that each machine's disk holds with both signatures."""
    turns: Counter[Place] = field(default_factory=Counter)
    messages: Counter[str] = field(default_factory=Counter)
    operations: Counter[str] = field(default_factory=Counter)
    time: int = 0
    """Of the last block that can no longer change."""
    _digests: dict[State, bytes] = field(default_factory=dict)
    _readers: dict[int, FrameReader] = field(default_factory=dict)
    _verified: set[tuple[bytes, bytes, Address]] = field(default_factory=set)
    _begun: set[tuple[int, ChannelId]] = field(default_factory=set)
    _pinned: list[object] = field(default_factory=list)
    clock: float = 0.0

    def note(self, line: str) -> None:
        """Write a line into the log."""
        self.lines.append(f"{self.clock:9.3f}  {line}")
        if self.tell is not None:
            self.tell(self.lines[-1])

    # What the disks hold

    def durable(self, machine: str, channel: ChannelId, record: r.Record) -> None:
        """A record is durable."""
        place = (machine, channel)
        self.note(f"{machine} keeps {_short(record)}")
        match record:
            case r.Opened(_, terms, me, _):
                self.terms[channel], self.party[place] = terms, me
            case r.Signed(half, operations):
                version = half.state.version
                self._sign(channel, self.party[place], half.state, half.signature)
                self._check_options(place, version, operations)
                self.halves[place][version] = record
                self.proposer.setdefault((channel, version), self.party[place])
            case r.StateAgreed(agreed, operations):
                self._seal(channel, agreed)
                self.agreed[channel].setdefault(agreed.version, record)
                self.held[place] = max(self.held[place], agreed.version)
                self.operations.update(type(operation).__name__ for operation in operations)
            case r.TurnMoved(turn):
                self.turns[place] = turn
            case r.SigningFrozen(theirs):
                raise LawBroken(f"nothing is lost: {machine} is shown version {theirs}, which its disk does not know")

    def restarted(self, machine: str, channel: ChannelId, version: int, signed: int, turn: int) -> None:
        """A machine is up again and believes this of a channel."""
        place = (machine, channel)
        if version < self.held[place]:
            raise LawBroken(f"nothing agreed is lost: {machine} held version {self.held[place]}, now {version}")
        if signed != max(self.halves[place], default=0):
            raise LawBroken(f"nothing signed is forgotten: {machine} says {signed}, signed {max(self.halves[place])}")
        if turn != self.turns[place]:
            raise LawBroken(f"the turn is durable: {machine} was at {self.turns[place]}, now {turn}")

    # What left

    def left(self, machine: str, peer: str, connection: object, data: bytes) -> None:
        """Bytes left a machine."""
        reader = self._readers.get(id(connection))
        if reader is None:
            reader = self._readers[id(connection)] = FrameReader()
            self._pinned.append(connection)
        for payload in reader.feed(data):
            message = decode(payload)
            self.messages[type(message).__name__] += 1
            self.note(f"{machine} → {peer}  {_short(message)}")
            self._check_said(machine, message)
            self._check_first(machine, connection, message)

    def _check_said(self, machine: str, message: m.Message) -> None:
        match message:
            case m.Propose(channel, version, _, _, signature) | m.Accept(channel, version, signature):
                known = self.halves[machine, channel].get(version)
                if known is None or known.half.signature != signature:
                    raise LawBroken(f"persist, then speak: {machine} says version {version}, which its disk does not")
            case m.Resume(channel, turn, signed, agreed):
                place = (machine, channel)
                if agreed is not None:
                    self._seal(channel, agreed)
                    if agreed.version > self.held[place]:
                        raise LawBroken(f"persist, then speak: {machine} shows version {agreed.version}")
                if signed > max(self.halves[place], default=0) or turn > self.turns[place]:
                    raise LawBroken(f"persist, then speak: {machine} resumes at {signed}, turn {turn}")
            case m.PassTurn(channel, turn):
                if turn > self.turns[machine, channel]:
                    raise LawBroken(f"persist, then speak: {machine} passes turn {turn}")
            case m.Fault(code, reason):
                raise LawBroken(f"honest peers get along: {machine} hangs up with {code}: {reason}")

    def _check_first(self, machine: str, connection: object, message: m.Message) -> None:
        """On a new connection a channel begins with what heals it: what came before may have been lost."""
        channel = getattr(message, "channel", None)
        if isinstance(message, m.Open):
            channel = message.terms.channel_id(message.deployment)
        if channel is None or (id(connection), channel) in self._begun:
            return
        self._begun.add((id(connection), channel))
        if not isinstance(message, m.Open | m.OpenAccepted | m.OpenRefused | m.Resume):
            raise LawBroken(f"a connection begins with Resume: {machine} says {type(message).__name__} first")

    def shown(self, agreed: Agreed) -> None:
        """A state was shown to the adjudicator."""
        self._seal(agreed.state.channel, agreed)

    # The laws of every moment

    def digest(self, state: State) -> bytes:
        found = self._digests.get(state)
        if found is None:
            found = self._digests[state] = state_digest(self.deployment, state)
        return found

    def _sign(self, channel: ChannelId, party: Party, state: State, signature: bytes) -> None:
        """`party` signed this: for good, under this version, and nothing else under it; and its money adds up."""
        digest, signer = self.digest(state), self.terms[channel].signers[party]
        if (digest, signature, signer) in self._verified:
            return
        try:
            real = recover(digest, signature) == signer
        except ChannelError:
            real = False
        if not real:
            raise LawBroken(f"what is agreed is signed: version {state.version} lacks party {int(party)}'s signature")
        self._verified.add((digest, signature, signer))
        if self.signed.setdefault((signer, channel, state.version), digest) != digest:
            raise LawBroken(f"no version has two digests: party {int(party)} signed version {state.version} twice")
        if sum(state.balances) != sum(state.deposits) - sum(state.withdrawals):
            raise LawBroken(f"money is conserved: version {state.version} holds {state.balances}")

    def _seal(self, channel: ChannelId, agreed: Agreed) -> None:
        for party in Party:
            self._sign(channel, party, agreed.state, agreed.signatures[party])

    def _check_options(self, place: Place, version: int, operations: tuple[Operation, ...]) -> None:
        """Of what we propose, at most one trade, withdrawal, close or reopen hangs: each is an option for the peer."""
        if self.proposer.get((place[1], version), self.party[place]) is not self.party[place]:
            return
        if not any(isinstance(operation, EXCLUSIVE) for operation in operations):
            return
        for earlier, record in self.halves[place].items():
            state = record.half.state
            exclusive = any(isinstance(operation, EXCLUSIVE) for operation in record.operations)
            over = 0 < state.valid_until < self.time
            if self.held[place] < earlier and exclusive and not over:
                raise LawBroken(f"policy: {place[0]} signs version {version} while {earlier} is half-signed")


def _short(value: object) -> str:
    """Return one line that says what a record or message is."""
    name = type(value).__name__
    match value:
        case r.Signed(half, operations):
            return f"{name} {half.state.version} {_names(operations)}"
        case r.StateAgreed(agreed, operations):
            return f"{name} {agreed.version} {_names(operations)}"
        case r.TurnMoved(turn):
            return f"{name} {turn}"
        case r.ChainSaid(fact):
            return f"{name} {type(fact).__name__}"
        case m.Propose(_, version, operations):
            return f"{name} {version} {_names(operations)}"
        case m.Accept(_, version):
            return f"{name} {version}"
        case m.Reject(_, version, code, reason):
            return f"{name} {version} {code}: {reason}"
        case m.PassTurn(_, turn):
            return f"{name} {turn}"
        case m.Resume(_, turn, signed, agreed):
            return f"{name} turn {turn}, signed {signed}, agreed {agreed.version if agreed else 0}"
        case m.Fault(code, reason):
            return f"{name} {code}: {reason}"
    return name


def _names(operations: tuple[Operation, ...]) -> str:
    return "+".join(type(operation).__name__ for operation in operations)
