"""Who is there: a Greeting each way with fresh nonces, then a Hello each way that signs both.

The listener's certificate is signed too (thirty-two zero bytes where the transport has none), so that a man in the
middle, who has another certificate, is caught whoever he is. Roles differ, so that a Hello cannot be sent back.
"""

from __future__ import annotations

from enum import IntEnum

from ..errors import BadSignature, HandshakeRefused, UnexpectedMessage, UnsupportedProtocol
from ..model import ZERO32, Address
from ..seal import Signer, hello_digest, recover
from ..wire.messages import PROTOCOL, WINDOW, Greeting, Hello, Message


class Role(IntEnum):
    """Which end of the connection speaks; signed in the Hello."""

    DIALER = 0
    LISTENER = 1

    @property
    def other(self) -> Role:
        return Role(1 - self)


class Handshake:
    """Sans-IO: `greeting` to send first, `receive` each message, `peer` once it is known. `nonce` is fresh randomness.

    `expected` is the only peer accepted, where it is known beforehand. `window` is how many proposals we let be in
    flight; after the peer's Greeting the attribute is what both let. Raises HandshakeRefused, UnsupportedProtocol or
    UnexpectedMessage; every one ends the connection.
    """

    def __init__(
        self,
        signer: Signer,
        role: Role,
        nonce: bytes,
        *,
        expected: Address | None = None,
        certificate: bytes = ZERO32,
        window: int = WINDOW,
    ) -> None:
        self.greeting = Greeting(PROTOCOL, nonce, window)
        self.peer: Address | None = None
        self.window = window
        self._signer, self._role, self._expected, self._certificate = signer, role, expected, certificate
        self._theirs: bytes | None = None

    def receive(self, message: Message) -> Hello | None:
        """Take the next message; return the Hello to send, if it is time."""
        if isinstance(message, Greeting) and self._theirs is None:
            if message.protocol != PROTOCOL:
                raise UnsupportedProtocol(message.protocol, PROTOCOL)
            if message.nonce == self.greeting.nonce:
                raise HandshakeRefused("it repeats our own nonce")
            if message.window < 1:
                raise HandshakeRefused("it lets no proposal be in flight")
            self._theirs, self.window = message.nonce, min(self.window, message.window)
            digest = hello_digest(message.nonce, self.greeting.nonce, self._certificate, self._role)
            return Hello(self._signer.sign(digest))
        if isinstance(message, Hello) and self._theirs is not None and self.peer is None:
            digest = hello_digest(self.greeting.nonce, self._theirs, self._certificate, self._role.other)
            try:
                peer = recover(digest, message.signature)
            except BadSignature as bad:
                raise HandshakeRefused(str(bad)) from None
            if peer == self._signer.address:
                raise HandshakeRefused("it is signed with our own key")
            if self._expected is not None and peer != self._expected:
                raise HandshakeRefused(f"it is signed by {peer}, expected {self._expected}")
            self.peer = peer
            return None
        raise UnexpectedMessage(type(message).__name__, "shaking hands")
