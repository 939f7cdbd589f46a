"""What can be done to a listening node over a socket, by somebody with time, connections and a key of its own."""

from __future__ import annotations

import socket
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

import trio

from channels.model import Address
from channels.runtime.tls import TlsLine
from channels.seal import Signer
from channels.session import Role as End, Session
from channels.wire import messages as m
from tests.sansio import fresh


def client_hello() -> bytes:
    """The first bytes of a TLS connection, as a library makes them."""
    outgoing = ssl.MemoryBIO()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with suppress(ssl.SSLWantReadError):
        context.wrap_bio(ssl.MemoryBIO(), outgoing).do_handshake()
    return outgoing.read()


async def dial_raw(port: int, count: int, say: bytes = b"") -> list[socket.socket]:
    """Open so many TCP connections, in bursts, and say the same on each; the sockets are the caller's."""
    opened: list[socket.socket] = []
    for _ in range(count):
        raw = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        raw.setblocking(False)
        raw.connect_ex(("127.0.0.1", port))
        opened.append(raw)
        if len(opened) % 100 == 0:
            await trio.sleep(0.01)
    if say:
        await trio.sleep(0.05)
        for raw in opened:
            try:
                raw.send(say)
            except (BlockingIOError, ConnectionError):
                continue
    return opened


def hung_up(raw: socket.socket) -> bool:
    """Whether the other end has ended the connection."""
    try:
        return raw.recv(65_536, socket.MSG_DONTWAIT) == b""
    except BlockingIOError:
        return False
    except ConnectionError:
        return True


@asynccontextmanager
async def line_to(port: int, signer: Signer, peer: Address) -> AsyncIterator[trio.SSLStream[trio.SocketStream]]:
    """A connection on which both have proved who they are; from here on the attacker says what it likes."""
    transport = await trio.open_tcp_stream("127.0.0.1", port)
    stream, certificate = await TlsLine().secure(transport, End.DIALER)
    session = Session(signer, End.DIALER, fresh(), {}, expected=peer, certificate=certificate)
    try:
        await stream.send_all(session.start())
        while session.peer is None:
            data = bytes(await stream.receive_some())
            assert data, "the node hung up"
            for output in session.receive_data(data, 0):
                if hasattr(output, "data"):
                    await stream.send_all(output.data)
        yield stream  # type: ignore[misc]
    finally:
        with trio.CancelScope(shield=True):
            await trio.aclose_forcefully(stream)


async def flood(
    stream: trio.abc.Stream, make: Callable[[int], m.Message | bytes], count: int, *, patience: float = 10.0
) -> int:
    """Say `count` things without reading an answer; return how many were taken before the node stopped us."""
    said = 0
    with trio.move_on_after(patience):
        try:
            while said < count:
                burst = [make(said + at) for at in range(min(64, count - said))]
                await stream.send_all(b"".join(b if isinstance(b, bytes) else Session.to_bytes(b) for b in burst))
                said += len(burst)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass
    return said


async def drained(stream: trio.abc.Stream, patience: float = 5.0) -> bytes:
    """Read until the node hangs up, or for so long."""
    heard = bytearray()
    with trio.move_on_after(patience):
        try:
            while data := await stream.receive_some():
                heard += data
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass
    return bytes(heard)
