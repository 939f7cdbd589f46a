"""TLS 1.3 under every connection, and what both sides sign of it.

Only the listener has a certificate, made anew by each node and signed by nobody: it proves no name. It keeps readers
and forgers off the line, and its hash, which each side takes from the connection it has, is in the Hello that both
sign. So a man in the middle, who must show a certificate of his own, is caught by either side's Hello, whoever he is.
Nothing falls back to an older version or to plain text: a line that does not come up as TLS 1.3 is closed.
"""

from __future__ import annotations

import ssl
import tempfile
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

import trio
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from ..model import ZERO32
from ..session import Role

VALID = (datetime(2020, 1, 1, tzinfo=UTC), datetime(9999, 1, 1, tzinfo=UTC))
"""No clock takes part in trusting a certificate that only its hash identifies."""


class PlainLine:
    """No TLS: for tests, and for a line that something else protects. The Hello then signs thirty-two zero bytes."""

    async def secure(self, transport: trio.abc.Stream, role: Role) -> tuple[trio.abc.Stream, bytes]:
        """Return the stream to talk on and the hash of the listener's certificate."""
        return transport, ZERO32


class TlsLine:
    """One node's side of TLS: a certificate for those who dial it, and the rule for those it dials."""

    def __init__(self) -> None:
        self._listening = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._dialing = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        # The certificate names nobody; who answers is known by the Hello, which signs its hash.
        self._dialing.check_hostname = False
        self._dialing.verify_mode = ssl.CERT_NONE
        for context in (self._listening, self._dialing):
            context.minimum_version = ssl.TLSVersion.TLSv1_3
        # Every connection is a handshake in full: a resumed one would show no certificate.
        self._listening.num_tickets = 0
        certificate, key = _self_signed()
        self.certificate_sha256 = sha256(certificate.public_bytes(serialization.Encoding.DER)).digest()
        _load(self._listening, certificate, key)

    async def secure(self, transport: trio.abc.Stream, role: Role) -> tuple[trio.abc.Stream, bytes]:
        """Return the stream to talk on and the hash of the listener's certificate, once TLS is up.

        Raises trio.BrokenResourceError if the other end speaks something else, or older.
        """
        context = self._listening if role is Role.LISTENER else self._dialing
        # A line may end without TLS's farewell: frames say their own length, so a cut one is seen without it.
        stream = trio.SSLStream(transport, context, server_side=role is Role.LISTENER, https_compatible=True)
        try:
            await stream.do_handshake()
        except BaseException:
            # It refers to itself: a flood of strangers would hold TLS buffers until the collector comes by.
            vars(stream).clear()
            raise
        if role is Role.LISTENER:
            return stream, self.certificate_sha256
        return stream, sha256(stream.getpeercert(binary_form=True)).digest()


Line = PlainLine | TlsLine


def _self_signed() -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "option-channels")])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(VALID[0])
        .not_valid_after(VALID[1])
    )
    return made.sign(key, hashes.SHA256()), key


def _load(context: ssl.SSLContext, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> None:
    """Hand both to a context, which takes them from files only: there for that moment, and for this user alone."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "listener.pem"
        path.touch(0o600)
        path.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
            + certificate.public_bytes(serialization.Encoding.PEM)
        )
        context.load_cert_chain(path)
