"""One TCP connection: bytes between a socket and a session."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable

import trio

from ..errors import InvariantBroken, PeerFault, RemoteProtocolError
from ..model import Address
from ..session import Hangup, OpeningRefused, Output, PeerKnown, Reply, Routed, Session
from ..wire.messages import Message
from .clock import Clock
from .log import log

RECEIVE_SIZE = 65_536
FULL_RECORD = 16_384
"""Bytes that one TLS record holds at most (RFC 8446, 5.1)."""
MAX_UNSENT = 16_384
"""Messages that wait for a slow reader before it is cut off."""
HANDSHAKE_TIMEOUT = 10.0

Ending = RemoteProtocolError | PeerFault | InvariantBroken
"""What may end a connection, network apart."""


class Link:
    """A connection and its session. `run` returns when the connection has ended, with the error that ended it, if any.

    `on_output` is called for every routed effect and for the peer's identity, in order; it must not block. `stranger`
    is what cuts the connection off while nobody knows whose it is.
    """

    def __init__(
        self,
        stream: trio.abc.Stream,
        session: Session,
        clock: Clock,
        on_output: Callable[[Link, Routed | PeerKnown | OpeningRefused], None],
        stranger: trio.CancelScope | None = None,
    ) -> None:
        self.session, self.stranger = session, stranger
        self._stream, self._clock, self._on_output = stream, clock, on_output
        self._outgoing, self._unsent = trio.open_memory_channel[bytes](MAX_UNSENT)
        self._scope = trio.CancelScope()
        self._begun = False
        self._written = trio.Event()

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
        if not self._begun:
            return
        try:
            self._outgoing.send_nowait(Session.to_bytes(message))
        except (trio.WouldBlock, trio.ClosedResourceError):
            self.hang_up()

    def hang_up(self) -> None:
        """End the connection now."""
        self._scope.cancel()

    async def run(self) -> Ending | None:
        """Talk until either side ends it."""
        ended: Ending | None = None
        with self._scope:
            try:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._write)
                    self._outgoing.send_nowait(self.session.start())
                    ended = await self._read()
                    nursery.cancel_scope.cancel()
            except* (trio.BrokenResourceError, trio.ClosedResourceError):
                log.info("connection to %s broke", self.peer)
        with trio.CancelScope(shield=True, deadline=trio.current_time() + 1):
            await trio.aclose_forcefully(self._stream)
        return ended

    async def _read(self) -> Ending | None:
        deadline = trio.current_time() + HANDSHAKE_TIMEOUT
        while True:
            with trio.CancelScope(deadline=math.inf if self.peer else deadline) as scope:
                data = await self._stream.receive_some(RECEIVE_SIZE)
            if scope.cancelled_caught or not data:
                return None
            for output in self.session.receive_data(bytes(data), self._clock()):
                if isinstance(output, Hangup):
                    bug = output.error if isinstance(output.error, InvariantBroken) else None
                    log.warning("hanging up on %s: %s", self.peer, output.error, exc_info=bug)
                    await self._say_goodbye(output.farewell)
                    return output.error
                self._handle(output)

    def _handle(self, output: Output) -> None:
        if isinstance(output, Reply):
            self._outgoing.send_nowait(output.data)
        elif not isinstance(output, Hangup):
            self._on_output(self, output)

    async def _say_goodbye(self, farewell: bytes) -> None:
        """Let the writer finish what is queued, the farewell last; a peer that does not read misses it."""
        with contextlib.suppress(trio.WouldBlock, trio.ClosedResourceError):
            if farewell:
                self._outgoing.send_nowait(farewell)
        self._outgoing.close()
        with trio.move_on_after(1):
            await self._written.wait()

    def _with_what_waits(self, data: bytes) -> bytes:
        """Join frames that wait already, as far as one TLS record holds them: the peer then reads them together.

        What it reads together it judges together and answers with one signature; each record costs a system call, too.
        """
        frames, size = [data], len(data)
        with contextlib.suppress(trio.WouldBlock, trio.EndOfChannel):
            while size < FULL_RECORD:
                frames.append(self._unsent.receive_nowait())
                size += len(frames[-1])
        return b"".join(frames)

    async def _write(self) -> None:
        try:
            async for data in self._unsent:
                await self._stream.send_all(self._with_what_waits(data))
        finally:
            self._written.set()
