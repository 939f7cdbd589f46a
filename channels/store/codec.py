"""Journal records to bytes and back: the wire's canonical msgpack, under record numbers that are never reused.

A record that would not read back is refused before it is written: a journal that nobody can read is worse than a
missing entry, because every later start of the node fails on it. The codecs see to it: they are one-to-one, and as
strict when they pack as when they unpack, so that nothing has to be read back for each write.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ..core.facts import (
    CalledSeen,
    ClosedSeen,
    CuredSeen,
    DepositSeen,
    LiquidatedSeen,
    PaymentSeen,
    RegisteredSeen,
    ReleasedSeen,
    SettlementSeen,
)
from ..core.records import (
    BookRecalled,
    ChainSaid,
    LossSuspected,
    Opened,
    ProposalsKilled,
    Record,
    RecoveryAsked,
    RecoveryGranted,
    Signed,
    SigningFrozen,
    SigningResumed,
    StateAgreed,
    TermsAccepted,
    TopUpDecided,
    TurnMoved,
)
from ..errors import InvariantBroken, MalformedMessage, RuleViolation, StoreCorrupt
from ..model import ZERO32, ChannelId, ExpiryMark, HalfSigned, Marks, SpotMark, State, VolMark, keccak
from ..model.marks import MAX_EXPIRIES, MAX_LEGS, MAX_UNDERLYINGS
from ..seal import state_struct_hash
from ..wire import schema as s
from ..wire.codec import AGREED, pack_with, unpack_with
from ..wire.messages import MAX_WINDOW_OPERATIONS

MAX_RECORD = 2**20
"""Bytes of the largest record: 64 trades of 64 legs, each with the marks of a full book, take two thirds of it."""

MAX_BLOCK = 2**63 - 1
"""The largest integer of an SQLite column, and no chain's block number."""

SIGNED = 3
"""The record number of `Signed`; the schema's sign-once index names it."""

_SPOT = s.struct(SpotMark, underlying=s.UNDERLYING, spot=s.AMOUNT)
_EXPIRY = s.struct(ExpiryMark, underlying=s.UNDERLYING, expiry=s.NUMBER, ratio=s.AMOUNT, discount=s.AMOUNT)
_VOL = s.struct(VolMark, underlying=s.UNDERLYING, expiry=s.NUMBER, strike=s.AMOUNT, kind=s.KIND, vol=s.AMOUNT)
_OLD_MARKS = s.struct(
    Marks,
    time=s.NUMBER,
    spots=s.sequence(_SPOT, 0, MAX_UNDERLYINGS),
    expiries=s.sequence(_EXPIRY, 0, MAX_EXPIRIES),
    vols=s.sequence(_VOL, 0, MAX_LEGS),
)
"""Marks as the first journals hold them: field by field."""
_MARKS = s.Codec(s.MARKS.pack, lambda raw: (s.MARKS if type(raw) is bytes else _OLD_MARKS).unpack(raw))
_OPERATION = s.operation(_MARKS)
_OPERATIONS = s.sequence(_OPERATION, 0, s.MAX_OPERATIONS)
_ALL_OPERATIONS = s.sequence(_OPERATION, 0, MAX_WINDOW_OPERATIONS)
_HALF = s.struct(HalfSigned, state=s.STATE, book=s.BOOK, party=s.PARTY, signature=s.SIGNATURE)
_PLACE = {"block": s.NUMBER, "index": s.NUMBER}
_FACT = s.union(
    [
        (1, DepositSeen, s.struct(DepositSeen, party=s.PARTY, total=s.AMOUNT)),
        (2, PaymentSeen, s.struct(PaymentSeen, party=s.PARTY, total=s.AMOUNT)),
        (3, RegisteredSeen, s.struct(RegisteredSeen, state=s.optional(s.STATE), deadline=s.NUMBER)),
        (4, SettlementSeen, s.struct(SettlementSeen, underlying=s.UNDERLYING, expiry=s.NUMBER, price=s.AMOUNT)),
        (5, ClosedSeen, s.struct(ClosedSeen, payouts=s.PAIR)),
        (6, CalledSeen, s.struct(CalledSeen, party=s.PARTY, deadline=s.NUMBER, **_PLACE)),
        (7, CuredSeen, s.struct(CuredSeen, party=s.PARTY, **_PLACE)),
        (8, LiquidatedSeen, s.struct(LiquidatedSeen, party=s.PARTY, value0=s.AMOUNT, charge=s.AMOUNT, **_PLACE)),
        (9, ReleasedSeen, s.struct(ReleasedSeen, party=s.PARTY, amount=s.AMOUNT, **_PLACE)),
    ]
)
_RECORDS: list[tuple[int, type, s.Codec]] = [
    (1, Opened, s.struct(Opened, deployment=s.DEPLOYMENT, terms=s.TERMS, me=s.PARTY, initiated=s.FLAG)),
    (2, TermsAccepted, s.struct(TermsAccepted)),
    (SIGNED, Signed, s.struct(Signed, half=_HALF, operations=_OPERATIONS)),
    (4, StateAgreed, s.struct(StateAgreed, agreed=AGREED, operations=_ALL_OPERATIONS)),
    (5, TurnMoved, s.struct(TurnMoved, turn=s.NUMBER)),
    (6, ChainSaid, s.struct(ChainSaid, fact=_FACT)),
    (7, SigningFrozen, s.struct(SigningFrozen, theirs=s.NUMBER)),
    (8, BookRecalled, s.struct(BookRecalled, book=s.BOOK)),
    (9, TopUpDecided, s.struct(TopUpDecided, amount=s.AMOUNT, total=s.AMOUNT)),
    (10, ProposalsKilled, s.struct(ProposalsKilled, version=s.NUMBER)),
    (14, LossSuspected, s.struct(LossSuspected, marker=s.BYTES32, signed=s.NUMBER)),
    (15, RecoveryAsked, s.struct(RecoveryAsked, marker=s.BYTES32, version=s.NUMBER)),
    (16, RecoveryGranted, s.struct(RecoveryGranted, marker=s.BYTES32, version=s.NUMBER, turn=s.NUMBER)),
    (17, SigningResumed, s.struct(SigningResumed, marker=s.BYTES32, version=s.NUMBER, turn=s.NUMBER)),
]
RECORD = s.union(_RECORDS)
_NUMBER = {kind: number for number, kind, _ in _RECORDS}


@dataclass(frozen=True, slots=True)
class Entry:
    """A record as the journal keeps it; `version` and `digest` are None where the record holds no state.

    The digest is the state's struct hash. It names the channel id, and that id hashes chain, adjudicator and terms, so
    for one channel it is one-to-one with the EIP-712 digest that is signed, and needs no look-up of the deployment.
    """

    kind: int
    version: int | None
    digest: bytes | None
    body: bytes

    def link(self, previous: bytes) -> bytes:
        """Return keccak256(previous link ‖ kind ‖ version ‖ digest ‖ body), without the parts that are None.

        One flipped, lost or moved entry breaks its own link and every later one.
        """
        return keccak(b"".join((previous, bytes((self.kind,)), self.version_key or b"", self.digest or b"", self.body)))

    @property
    def version_key(self) -> bytes | None:
        """The version in eight bytes, big-endian: SQLite's integers are signed."""
        return None if self.version is None else self.version.to_bytes(8, "big")


FIRST_LINK = ZERO32
"""What the first entry of a channel links to."""


def encode_record(channel: ChannelId, record: Record) -> Entry:
    """Return the journal entry of a record; InvariantBroken if it would not read back, or is another channel's."""
    state = _state_of(record)
    if state is not None and state.channel != channel:
        raise InvariantBroken("a journal holds its own channel", f"a state of {state.channel.hex()} in {channel.hex()}")
    try:
        body = pack_with(RECORD, record)
    except (RuleViolation, ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as broken:
        raise InvariantBroken("every record reads back", f"{type(record).__name__}: {broken}") from broken
    if len(body) > MAX_RECORD:
        raise InvariantBroken("every record reads back", f"{type(record).__name__} of {len(body)} bytes")
    if state is None:
        return Entry(_NUMBER[type(record)], None, None, body)
    return Entry(_NUMBER[type(record)], state.version, state_struct_hash(state), body)


def decode_records(path: str, entries: Iterable[tuple[Entry, bytes]]) -> list[Record]:
    """Return the records of a channel's entries with their links, in order; StoreCorrupt at the first damaged one."""
    records: list[Record] = []
    link = FIRST_LINK
    try:
        for entry, found in entries:
            link = entry.link(link)
            if link != found:
                raise StoreCorrupt(path, f"record {len(records) + 1} of a channel is not the one that was written")
            records.append(_decode(path, entry))
    except (TypeError, ValueError, OverflowError) as broken:  # a damaged column holds another type or range
        raise StoreCorrupt(path, f"record {len(records) + 1} of a channel is not one: {broken}") from broken
    return records


def _decode(path: str, entry: Entry) -> Record:
    try:
        record: Record = unpack_with(RECORD, entry.body, MAX_RECORD)
        if _NUMBER[type(record)] != entry.kind:
            raise MalformedMessage(f"a record of kind {_NUMBER[type(record)]} is filed as {entry.kind}")
    except RuleViolation as broken:
        raise StoreCorrupt(path, f"a record does not decode: {broken}") from broken
    return record


def _state_of(record: Record) -> State | None:
    if isinstance(record, Signed):
        return record.half.state
    return record.agreed.state if isinstance(record, StateAgreed) else None
