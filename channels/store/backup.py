"""A channel in bytes that somebody else keeps: a short journal, in the journal's own encoding, bounded.

The bytes are plain here; `runtime/backups.py` seals them with a key that only the signer's key gives.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..core.backup import short_journal
from ..core.channel import Channel
from ..core.records import Opened, Record, Signed, StateAgreed
from ..errors import BackupUnreadable, BadSignature, RuleViolation
from ..model import Address, ChannelId
from ..seal import check_agreed, check_party
from ..wire import schema as s
from ..wire.codec import pack_with, unpack_with
from ..wire.messages import MAX_BACKUP
from .codec import RECORD

MAX_PLAIN = MAX_BACKUP - 64
"""Bytes of the largest short journal: sealing adds a format byte, a nonce and a tag."""
MAX_RECORDS = 512


@dataclass(frozen=True, slots=True)
class Backup:
    """What was kept. `signed` is the highest version that we had signed, `block` the last one whose facts are in it."""

    signed: int
    block: int
    records: tuple[Record, ...]


BACKUP = s.struct(Backup, signed=s.NUMBER, block=s.NUMBER, records=s.sequence(RECORD, 1, MAX_RECORDS))


def encode_backup(channel: Channel, block: int) -> bytes | None:
    """Return the bytes of a channel's backup, with the newest half-signed states that fit.

    None where even the agreed state does not fit, which no channel within the protocol's bounds reaches.
    """
    needed, halves = short_journal(channel)
    room = MAX_PLAIN - len(pack_with(BACKUP, Backup(channel.signed, block, needed))) - 8
    kept: list[Signed] = []
    for half in halves[: MAX_RECORDS - len(needed)]:
        room -= len(pack_with(RECORD, half))
        if room < 0:
            break
        kept.insert(0, half)
    data = pack_with(BACKUP, Backup(channel.signed, block, (*needed, *kept)))
    return data if len(data) <= MAX_PLAIN and len(needed) <= MAX_RECORDS else None


def decode_backup(data: bytes, channel: ChannelId, signer: Address) -> Backup:
    """Return the backup of a channel of ours; BackupUnreadable for anything else.

    Only our own key sealed it, so what is checked here is that this release reads what an earlier one wrote, and that a
    recovered journal holds no signature that would not count on-chain.
    """
    try:
        backup: Backup = unpack_with(BACKUP, data, MAX_PLAIN)
    except RuleViolation as broken:
        raise BackupUnreadable(str(broken)) from broken
    opened, *rest = backup.records
    if not isinstance(opened, Opened) or any(isinstance(record, Opened) for record in rest):
        raise BackupUnreadable("it does not begin with the terms of one channel")
    if opened.terms.channel_id(opened.deployment) != channel:
        raise BackupUnreadable("it is another channel's")
    if opened.terms.signers[opened.me] != signer:
        raise BackupUnreadable(f"its signer is {opened.terms.signers[opened.me]}, ours is {signer}")
    try:
        for record in rest:
            if isinstance(record, StateAgreed):
                check_agreed(opened.deployment, opened.terms, record.agreed)
            elif isinstance(record, Signed):
                check_party(opened.deployment, opened.terms, record.half.state, opened.me, record.half.signature)
    except BadSignature as bad:
        raise BackupUnreadable(str(bad)) from bad
    return backup
