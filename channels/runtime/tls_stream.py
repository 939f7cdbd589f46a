"""A TLS connection whose writes need no turn of the scheduler while the kernel has room.

trio's own stream takes three turns for a message that the kernel takes at once, and one more for each record read. Here
OpenSSL works on two buffers in memory: `send_now` hands what it makes of a message to the socket in the caller's
breath, and reading returns every record that is there.
"""

from __future__ import annotations

import os
import ssl

import trio

RECEIVE_SIZE = 65_536
"""Bytes asked of the kernel at a time."""


class TlsStream(trio.abc.Stream):
    """TLS over a transport. One task may receive while another sends. Operations raise trio's stream errors.

    The line may end without TLS's farewell, and none is said: frames tell their own length.
    """

    def __init__(self, transport: trio.abc.Stream, context: ssl.SSLContext, *, server_side: bool) -> None:
        self.transport_stream = transport
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=server_side)
        self._rest = b""
        """What the kernel did not take of what left the buffer: goes before all else."""
        self._sending = trio.Lock()
        self._is_broken = False

    async def do_handshake(self) -> None:
        """Bring TLS up. Raises trio.BrokenResourceError where the other end speaks something else."""
        while True:
            try:
                self._tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                await self._flush()
                await self._feed()
            except ssl.SSLError as error:
                raise self._broken() from error
        await self._flush()

    def certificate(self) -> bytes:
        """Return the other end's certificate, DER; nothing where it showed none."""
        return self._tls.getpeercert(binary_form=True) or b""

    def send_now(self, data: bytes) -> bool:
        """Send `data` as far as the kernel takes it without waiting; return whether that was all.

        If not, `send_all` sends the rest, and meets the error if there is one: nothing is raised here.
        """
        try:
            self._tls.write(data)
        except ssl.SSLError:
            self._is_broken = True
        if self._is_broken or self._sending.locked() or not isinstance(self.transport_stream, trio.SocketStream):
            return False
        out = self._rest + self._outgoing.read()
        try:
            # By a descriptor asked for now: after closing there is none, and none of somebody else's.
            sent = os.write(self.transport_stream.socket.fileno(), out)
        except OSError:
            sent = 0
        self._rest = out[sent:]
        return not self._rest

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send what `send_now` left, and `data`."""
        await trio.lowlevel.checkpoint_if_cancelled()
        if self._is_broken:
            raise trio.BrokenResourceError
        try:
            if data:
                self._tls.write(data)
        except ssl.SSLError as error:
            raise self._broken() from error
        await self._flush()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Return bytes that are there, of several records if need be, or wait for some; none at the end of the line."""
        await trio.lowlevel.checkpoint_if_cancelled()
        if self._is_broken:
            raise trio.BrokenResourceError
        has_waited = False
        while (data := self._read(max_bytes or RECEIVE_SIZE)) is None:
            await self._feed()
            has_waited = True
        if data and self._outgoing.pending and not self._is_broken:
            # It changed its keys, say: answered before more is read, so that it cannot make us hoard answers.
            await self._flush()
        if not has_waited:
            await trio.lowlevel.cancel_shielded_checkpoint()
        return data

    def _read(self, most: int) -> bytes | None:
        """Return what can be read without waiting: None where that is nothing, no bytes at the end."""
        found: list[bytes] = []
        size = 0
        while size < most and (self._incoming.pending or self._incoming.eof or self._tls.pending()):
            try:
                piece = self._tls.read(most - size)
            except ssl.SSLWantReadError:
                break
            except (ssl.SSLEOFError, ssl.SSLSyscallError):
                piece = b""
            except ssl.SSLError as error:
                broken = self._broken()
                if not found:
                    raise broken from error
                break  # what came before it is good; the next call raises
            if not piece:
                return b"".join(found)
            found.append(piece)
            size += len(piece)
        return b"".join(found) if found else None

    async def wait_send_all_might_not_block(self) -> None:
        """Return when the transport may take something."""
        async with self._sending:
            await self.transport_stream.wait_send_all_might_not_block()

    async def aclose(self) -> None:
        """Close the transport."""
        await self.transport_stream.aclose()

    async def _feed(self) -> None:
        data = await self.transport_stream.receive_some(RECEIVE_SIZE)
        if data:
            self._incoming.write(data)
        else:
            self._incoming.write_eof()

    async def _flush(self) -> None:
        """Hand everything encrypted to the transport, behind whoever does so already."""
        async with self._sending:
            out, self._rest = self._rest + self._outgoing.read(), b""
            if out:
                await self.transport_stream.send_all(out)

    def _broken(self) -> trio.BrokenResourceError:
        self._is_broken = True
        return trio.BrokenResourceError()
