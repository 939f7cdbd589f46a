"""Reaching a node over the network as somebody who then does what the test says."""

from __future__ import annotations

import trio

from channels.model import Address
from channels.runtime.tls import TlsLine
from channels.seal import Signer
from channels.session import Role as End, Session


async def dialed(port: int, signer: Signer, peer: Address) -> tuple[trio.abc.Stream, Session]:
    """Connect to a node as somebody who then does what the test says."""
    stream, certificate = await TlsLine().secure(await trio.open_tcp_stream("127.0.0.1", port), End.DIALER)
    session = Session(signer, End.DIALER, bytes(32), {}, expected=peer, certificate=certificate)
    await stream.send_all(session.start())
    while session.peer is None:
        data = bytes(await stream.receive_some())
        assert data, "the node hung up"
        for output in session.receive_data(data, 0):
            if hasattr(output, "data"):
                await stream.send_all(output.data)
    return stream, session
