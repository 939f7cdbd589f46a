"""A copy of Bob at a stage, and the laws that hold of whatever comes out of his session, whoever speaks to it.

Only typed errors; nothing after a hangup; no signature without its record; one state per version; the channel is the
fold of its journal; money is conserved; memory and answers are bounded by what was said.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from channels.core import notices as n, records as r
from channels.core.channel import Channel
from channels.core.commands import Effect, Notify, Persist, Send
from channels.core.fold import evolve
from channels.core.machine import open_channel
from channels.core.outcome import MAX_IDLE_TURNS
from channels.errors import PeerFault, RemoteProtocolError, RuleViolation, TermsRefused
from channels.model import Deployment, HalfSigned, Party, State, Terms
from channels.risk import DEFAULT_POLICY
from channels.seal import check_agreed, check_party
from channels.session import Hangup, Kept, OpeningRefused, Output, PeerKnown, Reply, Routed, Seat, Session, any_deal
from channels.wire import messages as m
from channels.wire.codec import MAX_MESSAGE, decode
from channels.wire.framing import FrameReader
from tests.roles import bob
from tests.sansio import MARK_POLICY, Joined, durable

FRAME_LIMIT = MAX_MESSAGE + 4


class Outcome(Enum):
    """What a message led to, seen from outside."""

    TAKEN = "taken"
    """Something is recorded, or answered with something else than a refusal."""
    KEPT = "kept"
    """Nothing recorded, nothing sent: it is about backups, and whoever keeps or recovers them is given it."""
    REFUSED = "refused"
    """A Reject or an OpenRefused: nothing recorded, the connection goes on."""
    IGNORED = "ignored"
    """Nothing recorded, nothing sent; the owner may be told."""
    FAULT = "fault"
    """A rule is broken: one Fault, and the connection ends."""
    ENDED = "ended"
    """The peer said Fault."""


class LawBroken(AssertionError):
    """A law does not hold: a bug in the library, or in the law."""


@dataclass
class Heard:
    """What came of some bytes."""

    outputs: list[Output]
    records: list[r.Record] = field(default_factory=list)
    sent: list[m.Message] = field(default_factory=list)
    replies: list[bytes] = field(default_factory=list)
    kept: list[m.Message] = field(default_factory=list)
    hangup: Hangup | None = None

    @property
    def violation(self) -> type[RuleViolation] | None:
        error = self.hangup.error if self.hangup else None
        return type(error.violation) if isinstance(error, RemoteProtocolError) else None

    @property
    def outcome(self) -> Outcome:
        if self.hangup is not None:
            return Outcome.ENDED if isinstance(self.hangup.error, PeerFault) else Outcome.FAULT
        said = [*self.sent, *(decode(data[4:]) for data in self.replies)]
        if self.records or any(not isinstance(message, m.Reject | m.OpenRefused) for message in said):
            return Outcome.TAKEN
        if self.kept:
            return Outcome.KEPT
        return Outcome.REFUSED if said else Outcome.IGNORED


class Victim:
    """Bob's own session and seat, copied from a world that stays as it is."""

    def __init__(self, world: Joined) -> None:
        side = world.bob
        self.id, self.now = world.id, world.now
        self.before: Channel = side.channel
        self.seats: dict[Any, Seat] = {self.id: Seat(side.channel, bob.signer, side.market, any_deal, world.limits)}
        assert side.session is not None
        self.session: Session = copy.copy(side.session)
        self.session._seats = self.seats if side.session._seats is side.seats else {}
        self.session._frames = FrameReader()
        self.session._asked = []
        self.session._handshake = copy.copy(side.session._handshake)
        self.session._opener = self._open
        self.seats[self.id].window = self.session._handshake.window
        self.folds: dict[Any, Channel | None] = {self.id: side.channel}
        """Each channel as its records alone describe it."""
        self.halves: dict[tuple[Any, int], HalfSigned] = {
            (self.id, version): half for version, half in side.signed.items()
        }
        """By channel and version, everything this side ever journalled as signed, also in a journal that it lost."""
        self.adopted: set[tuple[Any, int]] = set()
        """What this side agreed to in a journal that it lost, and was shown here."""
        self.requests = 0
        """How often our owner was told that the peer asks to recover."""
        self.wanted = 0
        """How often the keeper was told that the peer wants its backups."""

    @property
    def channel(self) -> Channel:
        return self.seats[self.id].channel

    def _open(self, deployment: Deployment, terms: Terms) -> tuple[Seat, list[Effect]]:
        """A policy as a node's is: known deployments, six decimals, few channels."""
        if bob.address not in terms.signers or terms.decimals != 6 or deployment != self.before.deployment:
            raise TermsRefused("they are not what this node wants")
        if len(self.seats) >= 8:
            raise TermsRefused("there are channels enough")
        me = Party(terms.signers.index(bob.address))
        made = open_channel(deployment, terms, me, DEFAULT_POLICY, MARK_POLICY, initiated=False)
        return Seat(made.channel, bob.signer, self.seats[self.id].market, any_deal), list(made.commands)  # type: ignore[arg-type]

    def hear(self, data: bytes) -> Heard:
        """Let bytes arrive in one read, and hold what follows against every law."""
        over = self.session._over
        try:
            outputs = self.session.receive_data(data, self.now)
        except Exception as escaped:
            raise LawBroken(f"{type(escaped).__name__} came out of the session: {escaped}") from escaped
        heard = Heard(outputs)
        if over and outputs:
            raise LawBroken("something is said after a hangup")
        for output in outputs:
            if heard.hangup is not None:
                raise LawBroken("something follows a hangup")
            self._note(heard, output)
        self._check(heard, data)
        return heard

    def _note(self, heard: Heard, output: Output) -> None:
        match output:
            case Hangup(error, farewell):
                heard.hangup = output
                if not isinstance(error, RemoteProtocolError | PeerFault):
                    raise LawBroken(f"a peer's bytes led to {error!r}") from error.__cause__
                if len(farewell) > 2_560:
                    raise LawBroken(f"a farewell of {len(farewell)} bytes")
            case Reply(data):
                heard.replies.append(data)
            case Routed(channel, effect):
                self._carry(heard, channel, effect)
            case Kept(message):
                heard.kept.append(message)
                self._check_kept(message)
            case PeerKnown() | OpeningRefused():
                pass

    def _carry(self, heard: Heard, channel: Any, effect: Effect) -> None:
        match effect:
            case Persist(record):
                heard.records.append(record)
                self._journal(channel, record)
            case Send(message):
                heard.sent.append(message)
                self._check_said(channel, message)
            case Notify(notice):
                if len(repr(notice)) > 4 * MAX_MESSAGE:
                    raise LawBroken(f"a notice of {len(repr(notice))} characters")
                self.requests += isinstance(notice, n.RecoveryRequested)
                if self.requests > 1:
                    raise LawBroken("our owner is told of a recovery more than once on a connection")

    def _check_kept(self, message: m.Message) -> None:
        """A peer's blob is of bounded size and about a channel with it; what comes back was asked for."""
        match message:
            case m.Backup(channel, blob):
                if channel not in self.session._seats or len(blob) > m.MAX_BACKUP:
                    raise LawBroken(f"{len(blob)} bytes are kept for a channel that is not there, or too many")
            case m.BackupsWanted():
                self.wanted += 1
                if self.wanted > 1:
                    raise LawBroken("all backups are returned twice on one connection")
            case _:
                if not self.session._recovers:
                    raise LawBroken(f"{type(message).__name__} is let through, and nobody asked")

    def _check_loss(self, known: Channel | None, record: r.Record) -> None:
        """After a loss nothing is signed until both owners agreed, then above it; no owner agrees by a peer's word."""
        if isinstance(record, r.RecoveryAsked | r.RecoveryGranted | r.LossSuspected):
            raise LawBroken(f"a peer's bytes lead to {type(record).__name__}")
        if known is None:
            return
        if isinstance(record, r.Signed) and (known.is_frozen or record.half.state.version < known.leap):
            raise LawBroken(f"version {record.half.state.version} is signed after a loss of data")
        if isinstance(record, r.TurnMoved) and known.is_frozen:
            raise LawBroken("a journal that lost data moves the turn")
        if isinstance(record, r.SigningResumed):
            asked = known.recovery
            if asked is None or (asked.marker, asked.version) != (record.marker, record.version):
                raise LawBroken("signing goes on though our owner did not ask for that")

    def _adopt(self, channel: Any, record: r.StateAgreed) -> None:
        """What no record holds as signed is from a journal that was lost: it freezes, or a recovery covers it."""
        agreed, seat = record.agreed, self.seats[channel].channel
        half = self.halves.get((channel, agreed.version))
        if half is None or half.state != agreed.state:
            folded = self.folds[channel]
            assert folded is not None
            if not folded.is_frozen and agreed.version >= folded.leap:
                raise LawBroken(f"version {agreed.version} is adopted, and nothing is frozen")
            signature = agreed.signatures[seat.me]
            self.adopted.add((channel, agreed.version))
            self.halves[channel, agreed.version] = HalfSigned(agreed.state, agreed.book, seat.me, signature)

    def _journal(self, channel: Any, record: r.Record) -> None:
        known = self.folds.get(channel)
        self._check_loss(known, record)
        self.folds[channel] = evolve(known, record, policy=DEFAULT_POLICY, mark_policy=MARK_POLICY)
        if isinstance(record, r.Signed):
            half = record.half
            if self.halves.setdefault((channel, half.state.version), half).state != half.state:
                raise LawBroken(f"version {half.state.version} is signed twice")
        elif isinstance(record, r.StateAgreed):
            seat = self.seats[channel].channel
            try:
                check_agreed(seat.deployment, seat.terms, record.agreed)
            except RuleViolation as broken:
                raise LawBroken(f"what is agreed is not signed: {broken}") from broken
            self._conserved(record.agreed.state)
            self._adopt(channel, record)
            self._backed(channel, record.agreed.state)

    @staticmethod
    def _conserved(state: State) -> None:
        if sum(state.balances) + sum(state.withdrawals) != sum(state.deposits):
            raise LawBroken(f"money is made up: {state}")

    def _backed(self, channel: Any, state: State) -> None:
        """No deposit counts that the chain has not shown; a journal that was lost may have seen more of it."""
        seen = self.seats[channel].channel.chain.deposits
        made_up = [said for said, confirmed in zip(state.deposits, seen, strict=True) if said > confirmed]
        if made_up and (channel, state.version) not in self.adopted:
            raise LawBroken(f"deposits are made up: {state}")

    def _check_said(self, channel: Any, message: m.Message) -> None:
        """Whatever leaves with a signature of ours was recorded before, under this version and no other state."""
        signed: tuple[int, bytes] | None = None
        if isinstance(message, m.Propose | m.Accept):
            signed = message.version, message.signature
        elif isinstance(message, m.Resume) and message.agreed is not None:
            me = self.seats[channel].channel.me
            signed = message.agreed.version, message.agreed.signatures[me]
        if signed is None:
            return
        half = self.halves.get((channel, signed[0]))
        if half is None or half.signature != signed[1]:
            raise LawBroken(f"{type(message).__name__}({signed[0]}) is said without a record")
        seat = self.seats[channel].channel
        check_party(seat.deployment, seat.terms, half.state, seat.me, half.signature)

    def _check(self, heard: Heard, data: bytes) -> None:
        for channel, seat in self.seats.items():
            now, folded = seat.channel, self.folds.get(channel)
            if folded is None or durable(now) != durable(folded):
                raise LawBroken("the channel is not the fold of its journal")
            if len(now.unanswered) or now.signing is not None:
                raise LawBroken("something is left without an answer when the bytes are read")
            if len(now.outstanding) > len(self.before.outstanding) + 1:
                raise LawBroken("a peer's bytes make us hold more half-signed states")
            # The move behind the last that the peer may make is our own: we pass a turn on, and take none after it.
            if now.idle_turns > MAX_IDLE_TURNS + 1:
                raise LawBroken("turns without end")
        if self.session._frames.pending > FRAME_LIMIT:
            raise LawBroken(f"{self.session._frames.pending} bytes of an unfinished frame are held")
        if len(heard.outputs) > 4 * (len(data) // 5 + 2) + 64:
            raise LawBroken(f"{len(heard.outputs)} effects of {len(data)} bytes")
