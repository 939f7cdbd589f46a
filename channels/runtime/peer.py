"""One TCP connection: bytes between a socket and a session."""

from __future__ import annotations

import math
import socket
from collections import deque
from collections.abc import Awaitable, Callable

import trio

from ..core.commands import Send
from ..errors import InvariantBroken, PeerFault, RemoteProtocolError
from ..model import Address
from ..session import Hangup, Kept, OpeningRefused, Output, PeerKnown, Reply, Routed, Session
from ..wire.messages import Message
from .clock import Clock
from .log import log

RECEIVE_SIZE = 65_536
TURNS_TO_SAY = 2
"""Turns of the scheduler from queueing a message until the kernel has it, where it takes it at once."""
PATIENCE = 2
"""Turns of the scheduler that a read of what is there already takes at most."""
MAX_UNSENT = 16_384
"""Messages that wait for a slow reader before it is cut off."""
MAX_UNSENT_BYTES = 4 * 1_048_576
"""Bytes of these: several channels' whole windows, each of the largest proposals."""
STALLED = 30.0
"""How long a peer may take to read one message, seconds, before it is cut off."""
HANDSHAKE_TIMEOUT = 10.0
KEEPALIVE = {"TCP_KEEPIDLE": 30, "TCP_KEEPINTVL": 10, "TCP_KEEPCNT": 3, "TCP_USER_TIMEOUT": 60_000}
"""When the kernel asks whether a silent machine is there, in seconds; for how long, in ms, what it does not confirm."""

Ending = RemoteProtocolError | PeerFault | InvariantBroken
"""What may end a connection, network apart."""


def keep_alive(stream: trio.abc.Stream) -> None:
    """Have the kernel find out that the other machine is gone, where it can: a half-open line ends in a minute."""
    if not isinstance(stream, trio.SocketStream):
        return
    stream.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in KEEPALIVE.items():
        if hasattr(socket, name):
            stream.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


async def _at_once(is_answer: bool) -> None:
    """No pace but the network's."""


class Link:
    """A connection and its session. `run` returns when the connection has ended, with the error that ended it, if any.

    `on_output` is called for every routed effect and for the peer's identity, in order; it must not block. `stranger`
    is what cuts the connection off while nobody knows whose it is. `settle` is called when all outputs that belong
    together were handed over, and `pace` is waited for before more is read; both are told whether what was read led to
    something to say.
    """

    def __init__(
        self,
        stream: trio.abc.Stream,
        session: Session,
        clock: Clock,
        on_output: Callable[[Link, Routed | PeerKnown | OpeningRefused | Kept], None],
        stranger: trio.CancelScope | None = None,
        pace: Callable[[bool], Awaitable[None]] = _at_once,
        settle: Callable[[bool], None] = lambda is_answer: None,
    ) -> None:
        self.session, self.stranger = session, stranger
        self._stream, self._clock, self._on_output, self._pace, self._settle = stream, clock, on_output, pace, settle
        self._unsent: deque[bytes] = deque()
        self._unsent_bytes = 0
        self._more = trio.Event()
        self._is_leaving = False
        self._scope = trio.CancelScope()
        self._begun = False
        self._written = trio.Event()
        self._asked = trio.Event()
        self._reads = 0
        self._ended: Ending | None = None

    @property
    def peer(self) -> Address | None:
        return self.session.peer

    def begin(self) -> None:
        """From now on messages about channels are sent."""
        self._begun = True

    def send(self, message: Message) -> None:
        """Queue a message; a peer that does not read is cut off, and Resume makes good for what it missed.

        Before `begin` a message is dropped: it was decided on for an earlier connection, and here Resume goes first.
        """
        if self._begun:
            self._queue(Session.to_bytes(message))

    async def said(self) -> None:
        """Return when everything queued so far is on its way, or the peer turns out to be slow to read.

        A message takes some turns of the scheduler. Who computes on meanwhile keeps the peer waiting for all of it.
        """
        for _ in range(TURNS_TO_SAY):
            if not self._unsent_bytes:
                return
            await trio.lowlevel.checkpoint()

    def _queue(self, data: bytes) -> None:
        # After the farewell, the last thing said here, nothing may follow or cut it off.
        if self._scope.cancel_called or self._is_leaving:
            return
        if len(self._unsent) >= MAX_UNSENT or self._unsent_bytes + len(data) > MAX_UNSENT_BYTES:
            log.warning("%s does not read: %d bytes wait for it", self.peer, self._unsent_bytes)
            self.hang_up()
            return
        self._unsent.append(data)
        self._unsent_bytes += len(data)
        self._more.set()

    def hang_up(self) -> None:
        """End the connection now."""
        self._scope.cancel()

    async def run(self) -> Ending | None:
        """Talk until either side ends it."""
        try:
            with self._scope:
                try:
                    async with trio.open_nursery() as nursery:
                        nursery.start_soon(self._write)
                        nursery.start_soon(self._answer)
                        self._queue(self.session.start())
                        await self._read()
                        nursery.cancel_scope.cancel()
                except* (trio.BrokenResourceError, trio.ClosedResourceError):
                    log.info("connection to %s broke", self.peer)
            # What was judged is answered, in the journal at least: no later step then finds it half done.
            for output in self.session.receive_data(b"", self._clock()):
                self._handle(output)
        finally:
            # Also where a bug ended it between handing over and settling.
            self._settle(False)
        with trio.CancelScope(shield=True, deadline=trio.current_time() + 1):
            await trio.aclose_forcefully(self._stream)
        return self._ended

    async def _read(self) -> None:
        deadline = trio.current_time() + HANDSHAKE_TIMEOUT
        while self._ended is None:
            data = await (self._stream.receive_some(RECEIVE_SIZE) if self.peer else self._greeted(deadline))
            if not data or self._scope.cancel_called:
                # What still arrived while a newer connection took over was said before its Resume: it comes again.
                return
            self._reads += 1
            outputs = self.session.receive_data(bytes(data), self._clock(), more=True)
            is_answer = any(isinstance(o, Routed) and isinstance(o.effect, Send) for o in outputs)
            await self._carry_out(outputs)
            if self.session.unanswered == 1 and not is_answer:
                await self._carry_out(self.session.receive_data(b"", self._clock()))
            self._settle(is_answer)
            await self._pace(is_answer)
            if is_answer:
                await self.said()
            if self.session.unanswered:
                # From here on it is read again: what more there is comes within some turns.
                self._asked.set()

    async def _greeted(self, deadline: float) -> bytes | bytearray:
        """Receive from a peer that nobody knows yet, until its time is over."""
        with trio.CancelScope(deadline=deadline):
            return await self._stream.receive_some(RECEIVE_SIZE)
        return b""

    async def _answer(self) -> None:
        """Answer several proposals once nothing more can be read at once: what is read together gets one signature.

        The kernel and TLS hand over a window in pieces. Some turns of the scheduler in which none arrived are the end
        of it; a peer cannot put the answer off by saying more, since half a window is answered at once.
        """
        while self._ended is None:
            await self._asked.wait()
            reads = -1
            while reads != self._reads:
                reads = self._reads
                for _ in range(PATIENCE):
                    await trio.lowlevel.checkpoint()
            self._asked = trio.Event()
            await self._carry_out(self.session.receive_data(b"", self._clock()))
            self._settle(True)

    async def _carry_out(self, outputs: list[Output]) -> None:
        for output in outputs:
            self._handle(output)
        if self._ended is not None and outputs and isinstance(outputs[-1], Hangup):
            # What was said rightly before is journalled, and answered, before the farewell.
            self._settle(False)
            await self._say_goodbye(outputs[-1].farewell)
            self._scope.cancel()

    def _handle(self, output: Output) -> None:
        if isinstance(output, Reply):
            self._queue(output.data)
        elif isinstance(output, Hangup):
            self._ended = output.error
            bug = output.error if isinstance(output.error, InvariantBroken) else None
            log.warning("hanging up on %s: %s", self.peer, output.error, exc_info=bug)
        else:
            self._on_output(self, output)

    async def _say_goodbye(self, farewell: bytes) -> None:
        """Let the writer finish what is queued, the farewell last; a peer that does not read misses it."""
        if farewell and len(self._unsent) < MAX_UNSENT:
            self._unsent.append(farewell)
            self._unsent_bytes += len(farewell)
        self._is_leaving = True
        self._more.set()
        with trio.move_on_after(1):
            await self._written.wait()

    def _taken(self) -> bytes:
        """Take frames that wait, as far as the peer reads them together.

        What it reads together it judges together and answers with one signature; each call costs system calls, too.
        """
        frames = [self._unsent.popleft()]
        size = len(frames[0])
        while self._unsent and size < RECEIVE_SIZE:
            frames.append(self._unsent.popleft())
            size += len(frames[-1])
        return b"".join(frames)

    async def _write(self) -> None:
        try:
            with trio.CancelScope() as reading:
                while True:
                    if self._unsent:
                        data = self._taken()
                        reading.deadline = trio.current_time() + STALLED
                        await self._stream.send_all(data)
                        reading.deadline = math.inf
                        self._unsent_bytes -= len(data)
                    elif self._is_leaving:
                        return
                    else:
                        self._more = trio.Event()
                        await self._more.wait()
            log.warning("%s has not read a message for %.0f s", self.peer, STALLED)
            self.hang_up()
        finally:
            self._written.set()
