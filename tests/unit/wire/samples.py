"""One message of every kind, as large and as varied as a test needs."""

from __future__ import annotations

from channels.model import Acknowledge, Close, CloseOut, Mark, Party, Reopen, SettleExpiry, Trade, Withdraw
from channels.wire.messages import (
    MAX_BACKUP,
    PROTOCOL,
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
from tests.roles import CHANNEL, DEPLOYMENT, ETH, EXPIRY, NOW, TERMS, UNIT, agreed, book, condor, half, marks

SIGNATURE = half().signature
OPERATIONS = (
    Trade(condor(), -25 * UNIT, marks(), quote=7),
    Withdraw(100 * UNIT),
    Mark(marks()),
    Acknowledge((10_000 * UNIT, 5_000 * UNIT), (0, 100 * UNIT)),
    SettleExpiry(ETH, EXPIRY, 2_345 * 10**18),
    CloseOut(Party.ONE),
    Close(-3 * UNIT, NOW + 3_600),
    Reopen((1, 2), NOW + 3_600),
)

MESSAGES: dict[str, Message] = {
    "Greeting": Greeting(PROTOCOL, b"n" * 32, 32),
    "Hello": Hello(SIGNATURE),
    "Open": Open(DEPLOYMENT, TERMS),
    "OpenAccepted": OpenAccepted(CHANNEL),
    "OpenRefused": OpenRefused(CHANNEL, "terms: refused", "the challenge period is too short"),
    "Propose": Propose(CHANNEL, 2, OPERATIONS, b"s" * 32, SIGNATURE, 1),
    "Propose, one mark": Propose(CHANNEL, 3, (Mark(),), b"s" * 32, SIGNATURE, 1),
    "Accept": Accept(CHANNEL, 2, SIGNATURE),
    "Reject": Reject(CHANNEL, 2, "margin: initial margin", "lacks 12.5"),
    "WantTurn": WantTurn(CHANNEL),
    "PassTurn": PassTurn(CHANNEL, 5),
    "Resume": Resume(CHANNEL, 4, 12, agreed(book(), version=11)),
    "Resume of a new channel": Resume(CHANNEL, 0, 0, None),
    "Fault": Fault("wire: malformed", "not a canonical message"),
    "CollateralCall": CollateralCall(CHANNEL, 11, 1_250 * UNIT),
    "Resume after a loss": Resume(CHANNEL, 4, 12, None, 2**48, Recovery(b"m" * 32, 2**49)),
    "RecoveryAllowed": RecoveryAllowed(CHANNEL, b"m" * 32, 2**49, 7),
    "Backup": Backup(CHANNEL, b"sealed" * 1_000),
    "BackupsWanted": BackupsWanted(),
    "BackupReturned": BackupReturned(CHANNEL, bytes(MAX_BACKUP)),
    "BackupsEnd": BackupsEnd(1),
}
