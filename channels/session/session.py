"""One connection to one peer, sans-IO: bytes in, effects out.

A session cuts frames, shakes hands, and hands each message to the seat it is about. It owns no socket, no clock and no
disk: whoever drives it carries out the effects in order, which is all that "persist, then speak" needs.
"""

from __future__ import annotations

from collections.abc import Callable, MutableMapping
from dataclasses import dataclass

from ..core import events as e
from ..core.commands import Effect, Send
from ..errors import (
    BackupUnwanted,
    BadSignature,
    InvariantBroken,
    PeerFault,
    RemoteProtocolError,
    RuleViolation,
    TermsRefused,
    UnexpectedMessage,
    WrongChannel,
)
from ..model import ZERO32, Address, ChannelId, Deployment, Terms
from ..seal import Signer
from ..wire import messages as m
from ..wire.codec import decode, encode
from ..wire.framing import FrameReader, frame
from .handshake import Handshake, Role
from .seat import Seat, printable

MAX_REFUSED = 16
"""Openings that we refuse on one connection before it ends: each is judged, and answered."""


@dataclass(frozen=True, slots=True)
class Routed:
    """An effect and the channel it is about."""

    channel: ChannelId
    effect: Effect


@dataclass(frozen=True, slots=True)
class PeerKnown:
    """The handshake is done; `peer` is who signed."""

    peer: Address


@dataclass(frozen=True, slots=True)
class OpeningRefused:
    """The peer's policy refuses the terms we asked for."""

    channel: ChannelId
    code: str
    reason: str


@dataclass(frozen=True, slots=True)
class Reply:
    """Bytes to send now that no channel of ours is about: the handshake, or a refusal to open one."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Hangup:
    """The connection is over: send `farewell`, close, and carry out nothing more. Always the last output."""

    error: RemoteProtocolError | PeerFault | InvariantBroken
    farewell: bytes


@dataclass(frozen=True, slots=True)
class Kept:
    """The peer says something about backups: `Backup` and `BackupsWanted` to a keeper, the others to who lost data."""

    message: m.Backup | m.BackupsWanted | m.BackupReturned | m.BackupsEnd


Output = Routed | PeerKnown | OpeningRefused | Reply | Hangup | Kept
Opener = Callable[[Deployment, Terms], tuple[Seat, list[Effect]]]
"""The owner's policy for terms that a peer proposes: a new seat and its effects, or TermsRefused."""


def refuse_everything(deployment: Deployment, terms: Terms) -> tuple[Seat, list[Effect]]:
    """The policy of an owner who opens no channels for others."""
    raise TermsRefused("this node opens no channels for others")


class Session:
    """The bytes-in door of one connection.

    `start()` gives the first bytes to send. `receive_data` returns outputs in order, each to be carried out before the
    next; `to_bytes` frames the message of a Send. A peer that breaks a rule gets a Hangup as the last output, after the
    effects of whatever it said rightly before; from then on the session returns nothing. With `recovers` the connection
    only asks for backups: what the peer says about channels is not heard.
    """

    def __init__(
        self,
        signer: Signer,
        role: Role,
        nonce: bytes,
        seats: MutableMapping[ChannelId, Seat],
        *,
        opener: Opener = refuse_everything,
        expected: Address | None = None,
        certificate: bytes = ZERO32,
        window: int = m.WINDOW,
        recovers: bool = False,
    ) -> None:
        self._recovers = recovers
        self._has_returned = False
        self._handshake = Handshake(signer, role, nonce, expected=expected, certificate=certificate, window=window)
        self._frames = FrameReader()
        self._seats, self._opener = seats, opener
        self._over = False
        self._refused = 0
        self._asked: list[Seat] = []
        """Where the peer has proposed since we last answered."""
        self._early: list[Seat] = []
        """Where we answered proposals and read on: the peer had not heard of it when it sent what is read now."""

    @property
    def peer(self) -> Address | None:
        """Who is there; None until the handshake is done."""
        return self._handshake.peer

    def start(self) -> bytes:
        """Return the first bytes to send."""
        return self.to_bytes(self._handshake.greeting)

    @staticmethod
    def to_bytes(message: m.Message) -> bytes:
        """Return a message framed for the wire."""
        return frame(encode(message))

    def seats_with_peer(self) -> list[Seat]:
        """Return our seats at channels with this peer."""
        return [seat for seat in self._seats.values() if self._counterparty(seat) == self.peer]

    @property
    def unanswered(self) -> int:
        """How many proposals the peer has made since we last answered."""
        return sum(len(seat.channel.unanswered) for seat in self._asked)

    def receive_data(self, data: bytes, now: int, *, more: bool = False) -> list[Output]:
        """Take bytes from the wire at unix time `now`; return what follows, in order.

        Proposals that came together are answered together, by one signature, half a window at a time. `more` says that
        others may come at once: then the answer waits for the next call without it, which may bring no data, or for a
        message of another kind.
        """
        outputs: list[Output] = []
        if self._over:
            return outputs
        ended = self._guarded(lambda: self._take(data, now, outputs))
        if ended is not None or not more:
            # Also those before whatever ended the connection.
            ended = self._guarded(lambda: self._answer(outputs)) or ended
        while self._early:
            self._early.pop().unheard = 0
        if ended is not None:
            outputs.append(ended)
            self._frames = FrameReader()
        self._over = ended is not None
        return outputs

    def _guarded(self, act: Callable[[], None]) -> Hangup | None:
        """Do something; return the end of the connection that it leads to, if any. What it did before stands."""
        try:
            act()
        except PeerFault as fault:
            return Hangup(fault, b"")
        except RuleViolation as violation:
            farewell = self.to_bytes(m.Fault(violation.code, str(violation)[:512]))
            return Hangup(RemoteProtocolError(violation), farewell)
        except Exception as bug:
            # The seats have moved on with what came before: those effects must still be carried out.
            broken = InvariantBroken("a message ends in a typed error", f"{type(bug).__name__}: {bug}")
            broken.__cause__ = bug
            return Hangup(broken, b"")
        return None

    def _take(self, data: bytes, now: int, outputs: list[Output]) -> None:
        payloads = self._frames.feed(data)
        while payloads:
            for payload in payloads:
                self._receive(decode(payload), now, outputs)
            payloads = self._frames.feed(b"")

    def _answer(self, outputs: list[Output]) -> None:
        forged: BadSignature | None = None
        while self._asked:
            try:
                self._answer_in(self._asked.pop(), outputs)
            except BadSignature as forgery:
                forged = forgery
        if forged is not None:
            raise forged

    def _answer_in(self, seat: Seat, outputs: list[Output]) -> None:
        """Answer what the peer proposed in one channel. Raises BadSignature where it did not sign it all."""
        if seat.channel.unanswered and seat.heard_on is not self:
            return
        seat.unheard += len(seat.channel.unanswered)
        self._early.append(seat)
        outputs += [Routed(seat.channel.id, effect) for effect in seat.answer()]
        forgery, seat.forgery = seat.forgery, None
        if forgery is not None:
            raise forgery

    def _receive(self, message: m.Message, now: int, outputs: list[Output]) -> None:
        if isinstance(message, m.Fault):
            raise PeerFault(printable(message.code), printable(message.reason))
        if self.peer is None:
            outputs += self._shake(message)
            return
        match message:
            case m.Greeting() | m.Hello():
                raise UnexpectedMessage(type(message).__name__, "the handshake is done")
            case m.Backup() | m.BackupsWanted() | m.BackupReturned() | m.BackupsEnd():
                outputs.append(self._receive_kept(message))
            case _ if self._recovers:
                return
            case m.Open(deployment, terms):
                self._receive_open(deployment, terms, outputs)
            case m.OpenRefused(channel, code, reason):
                self._seat(channel)
                outputs.append(OpeningRefused(channel, printable(code), printable(reason)))
            case _:
                seat = self._seat(message.channel)
                self._asked = [other for other in self._asked if other is not seat]
                if isinstance(message, m.Propose):
                    self._asked.append(seat)
                    seat.heard_on = self
                else:
                    # These stand whatever the message leads to: were it a fault, a signature would have no record.
                    self._answer_in(seat, outputs)
                outputs += [Routed(message.channel, effect) for effect in seat.receive(message, now)]
                if 2 * len(seat.channel.unanswered) >= seat.window:
                    # While the answer is on its way the other half of the window is judged: neither side waits.
                    self._answer_in(seat, outputs)

    def _shake(self, message: m.Message) -> list[Output]:
        hello = self._handshake.receive(message)
        if hello is not None:
            return [Reply(self.to_bytes(hello))]
        assert self.peer is not None
        outputs: list[Output] = [PeerKnown(self.peer)]
        for seat in self.seats_with_peer():
            seat.window = self._handshake.window
            # What an earlier connection brought is answered into the journal; Resume, which goes first, says so.
            answered = [effect for effect in seat.answer() if not isinstance(effect, Send)]
            seat.forgery = None
            outputs += [Routed(seat.channel.id, effect) for effect in (*answered, *seat.act(e.Connected()))]
        return outputs

    def _receive_kept(self, message: m.Backup | m.BackupsWanted | m.BackupReturned | m.BackupsEnd) -> Kept:
        """Let through what was asked for: a blob for a channel with this peer, one request on each connection."""
        match message:
            case m.Backup(channel, _):
                self._seat(channel)
            case m.BackupsWanted():
                if self._has_returned:
                    raise BackupUnwanted("all backups were wanted before on this connection")
                self._has_returned = True
            case m.BackupReturned() | m.BackupsEnd():
                if not self._recovers:
                    raise BackupUnwanted("nobody asked for one")
        return Kept(message)

    def _receive_open(self, deployment: Deployment, terms: Terms, outputs: list[Output]) -> None:
        channel = terms.channel_id(deployment)
        known = self._seats.get(channel)
        if known is not None:
            seat = self._seat(channel)
            self._answer_in(seat, outputs)
            outputs += [Routed(channel, effect) for effect in seat.act(e.TermsRepeated())]
            return
        if self.peer not in terms.signers:
            raise BadSignature(f"{self.peer} is no signer of the terms it proposes")
        try:
            seat, effects = self._opener(deployment, terms)
        except TermsRefused as refused:
            self._refused += 1
            if self._refused > MAX_REFUSED:
                raise
            outputs.append(Reply(self.to_bytes(m.OpenRefused(channel, refused.code, str(refused)[:512]))))
            return
        seat.window = self._handshake.window
        self._seats[channel] = seat
        outputs += [Routed(channel, effect) for effect in effects]

    def _seat(self, channel: ChannelId) -> Seat:
        """Return the seat that a message names: one we have, with this very peer."""
        seat = self._seats.get(channel)
        if seat is None or self._counterparty(seat) != self.peer:
            raise WrongChannel("one with this peer", channel.hex())
        seat.window = self._handshake.window
        return seat

    @staticmethod
    def _counterparty(seat: Seat) -> Address:
        return seat.channel.terms.signers[seat.channel.me.other]
