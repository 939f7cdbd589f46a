"""Messages to bytes and back: canonical msgpack, or nothing.

Bytes that do not re-encode identically are refused: msgpack has several spellings for one value, and what has several
spellings cannot be replayed byte for byte.
"""

from __future__ import annotations

from typing import Any

import msgpack

from ..errors import MalformedMessage
from ..model import Agreed
from . import schema as s
from .messages import (
    MAX_BACKUP,
    Accept,
    Backup,
    BackupReturned,
    BackupsEnd,
    BackupsWanted,
    CollateralCall,
    Fault,
    Greeting,
    Hello,
    Message,
    Open,
    OpenAccepted,
    OpenRefused,
    PassTurn,
    Propose,
    Recovery,
    RecoveryAllowed,
    Reject,
    Resume,
    WantTurn,
)

MAX_MESSAGE = 65_536
"""Bytes of the largest message: a trade of 64 legs with the marks of a full book takes an eighth of it."""

_CODE, _REASON = s.text(64), s.text(512)
_RECOVERY = s.struct(Recovery, marker=s.BYTES32, version=s.NUMBER)
_BLOB = s.blob(MAX_BACKUP)
AGREED = s.struct(Agreed, state=s.STATE, book=s.BOOK, signatures=s.sequence(s.SIGNATURE, 2, 2))
MESSAGE = s.union(
    [
        (1, Greeting, s.struct(Greeting, protocol=s.NUMBER, nonce=s.BYTES32, window=s.NUMBER)),
        (2, Hello, s.struct(Hello, signature=s.SIGNATURE)),
        (3, Open, s.struct(Open, deployment=s.DEPLOYMENT, terms=s.TERMS)),
        (4, OpenAccepted, s.struct(OpenAccepted, channel=s.BYTES32)),
        (5, OpenRefused, s.struct(OpenRefused, channel=s.BYTES32, code=_CODE, reason=_REASON)),
        (
            6,
            Propose,
            s.struct(
                Propose,
                channel=s.BYTES32,
                version=s.NUMBER,
                operations=s.OPERATIONS,
                salt=s.BYTES32,
                signature=s.SIGNATURE,
                base=s.NUMBER,
            ),
        ),
        (7, Accept, s.struct(Accept, channel=s.BYTES32, version=s.NUMBER, signature=s.SIGNATURE)),
        (8, Reject, s.struct(Reject, channel=s.BYTES32, version=s.NUMBER, code=_CODE, reason=_REASON)),
        (9, WantTurn, s.struct(WantTurn, channel=s.BYTES32)),
        (10, PassTurn, s.struct(PassTurn, channel=s.BYTES32, turn=s.NUMBER)),
        (
            11,
            Resume,
            s.struct(
                Resume,
                channel=s.BYTES32,
                turn=s.NUMBER,
                signed=s.NUMBER,
                agreed=s.optional(AGREED),
                seen=s.NUMBER,
                recovery=s.optional(_RECOVERY),
            ),
        ),
        (12, Fault, s.struct(Fault, code=_CODE, reason=_REASON)),
        (13, CollateralCall, s.struct(CollateralCall, channel=s.BYTES32, version=s.NUMBER, amount=s.AMOUNT)),
        (
            14,
            RecoveryAllowed,
            s.struct(RecoveryAllowed, channel=s.BYTES32, marker=s.BYTES32, version=s.NUMBER, turn=s.NUMBER),
        ),
        (15, Backup, s.struct(Backup, channel=s.BYTES32, blob=_BLOB)),
        (16, BackupsWanted, s.struct(BackupsWanted)),
        (17, BackupReturned, s.struct(BackupReturned, channel=s.BYTES32, blob=_BLOB)),
        (18, BackupsEnd, s.struct(BackupsEnd, count=s.NUMBER)),
    ]
)


def encode(message: Message) -> bytes:
    """Return the canonical bytes of a message."""
    return pack_with(MESSAGE, message)


def decode(data: bytes) -> Message:
    """Return the message whose canonical bytes `data` is.

    Raises MalformedMessage, or the RuleViolation of the value that is out of bounds (InvalidBook, InvalidState, ...).
    """
    message: Message = unpack_with(MESSAGE, data, MAX_MESSAGE)
    return message


def pack_with(codec: s.Codec, value: Any) -> bytes:
    """Return the canonical msgpack bytes of a value under a codec."""
    packed: bytes = msgpack.packb(codec.pack(value), use_bin_type=True)
    return packed


def unpack_with(codec: s.Codec, data: bytes, limit: int) -> Any:
    """Return the value whose canonical bytes under `codec` are `data`; MalformedMessage for anything else."""
    if len(data) > limit:
        raise MalformedMessage(f"{len(data)} bytes exceed {limit}")
    try:
        raw = msgpack.unpackb(data, raw=False, use_list=False, strict_map_key=True)
        # A codec is one-to-one between values and msgpack's types, and msgpack writes each of these in one way.
        canonical = msgpack.packb(raw, use_bin_type=True) == data
    except (ValueError, TypeError, RecursionError, OverflowError, msgpack.exceptions.UnpackException) as broken:
        raise MalformedMessage(f"not msgpack ({type(broken).__name__})") from None
    if not canonical:
        raise MalformedMessage("the bytes are not the canonical encoding")
    return codec.unpack(raw)
