"""Journal records to bytes and back: the wire's canonical msgpack, under record numbers that are never reused.

A record that would not read back is refused before it is written: a journal that nobody can read is worse than a
missing entry, because every later start of the node fails on it. The codecs see to it: they are one-to-one, and as
strict when they pack as when they unpack, so that nothing has to be read back for each write.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ..core.channel import ChainView, Outstanding
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
from ..core.margin_calls import MarginCall
from ..core.records import (
    BookRecalled,
    ChainSaid,
    Checkpoint,
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
from ..model import ZERO32, ChannelId, State, keccak
from ..seal import state_struct_hash
from ..wire import schema as s
from ..wire.codec import pack_with, unpack_with
from ..wire.messages import MAX_WINDOW_OPERATIONS, Recovery
from .bodies import AGREED, BOOK, HALF, with_operations

MAX_RECORD = 2**20
"""Bytes of the largest record: 64 trades of 64 legs, each with the marks of a full book, take half of it."""

MAX_CHECKPOINT = 2**24
"""Bytes of the largest checkpoint: 64 half-signed states of 16 trades each, and every price of some years."""

MAX_BLOCK = 2**63 - 1
"""The largest integer of an SQLite column, and no chain's block number."""

SIGNED = 3
"""The record number of `Signed`; the schema's sign-once index names it."""

CHECKPOINT = 20
"""The record number of `Checkpoint`; the schema's guards name it."""

_PLACE = {"block": s.NUMBER, "index": s.NUMBER}
_SETTLEMENT = s.struct(SettlementSeen, underlying=s.UNDERLYING, expiry=s.NUMBER, price=s.AMOUNT)
_LIQUIDATED = s.struct(LiquidatedSeen, party=s.PARTY, value0=s.AMOUNT, charge=s.AMOUNT, **_PLACE)
_FACT = s.union(
    [
        (1, DepositSeen, s.struct(DepositSeen, party=s.PARTY, total=s.AMOUNT)),
        (2, PaymentSeen, s.struct(PaymentSeen, party=s.PARTY, total=s.AMOUNT)),
        (3, RegisteredSeen, s.struct(RegisteredSeen, state=s.optional(s.STATE), deadline=s.NUMBER)),
        (4, SettlementSeen, _SETTLEMENT),
        (5, ClosedSeen, s.struct(ClosedSeen, payouts=s.PAIR)),
        (6, CalledSeen, s.struct(CalledSeen, party=s.PARTY, deadline=s.NUMBER, **_PLACE)),
        (7, CuredSeen, s.struct(CuredSeen, party=s.PARTY, **_PLACE)),
        (8, LiquidatedSeen, _LIQUIDATED),
        (9, ReleasedSeen, s.struct(ReleasedSeen, party=s.PARTY, amount=s.AMOUNT, **_PLACE)),
    ]
)
_TOP_UP = s.struct(TopUpDecided, amount=s.AMOUNT, total=s.AMOUNT)


def _no_clock(value: Any) -> int:
    return 0 if type(value) is int and value == 0 else s.refuse("no record holds the chain's clock")


_CHAIN = s.struct(
    ChainView,
    deposits=s.PAIR,
    paid=s.PAIR,
    registered=s.optional(s.STATE),
    deadline=s.NUMBER,
    settlements=s.sequence(_SETTLEMENT, 0, 2**20),
    payouts=s.optional(s.PAIR),
    time=s.Codec(_no_clock, _no_clock),
    calls=s.sequence(s.struct(MarginCall, deadline=s.NUMBER, version=s.NUMBER), 2, 2),
    margin_place=s.PAIR,
    liquidated=s.optional(_LIQUIDATED),
)
_GRANTED = s.struct(RecoveryGranted, marker=s.BYTES32, version=s.NUMBER, turn=s.NUMBER)
_CHECKPOINT = s.struct(
    Checkpoint,
    accepted=s.FLAG,
    agreed=s.optional(AGREED),
    closing=s.optional(AGREED),
    outstanding=s.sequence(with_operations(Outstanding, "half", HALF, s.MAX_OPERATIONS, base=s.NUMBER), 0, 2**10),
    signed=s.NUMBER,
    turn=s.NUMBER,
    chain=_CHAIN,
    recalled=s.optional(BOOK),
    frozen=s.NUMBER,
    suspect=s.blob(32),
    recovery=s.optional(s.struct(Recovery, marker=s.BYTES32, version=s.NUMBER)),
    granted=s.optional(_GRANTED),
    leap=s.NUMBER,
    markers=s.sequence(s.BYTES32, 0, 2**10),
    top_up=s.optional(_TOP_UP),
    topped_up=s.AMOUNT,
    in_flight=s.sequence(s.NUMBER, 0, 2**10),
)
_RECORDS: list[tuple[int, type, s.Codec]] = [
    (1, Opened, s.struct(Opened, deployment=s.DEPLOYMENT, terms=s.TERMS, me=s.PARTY, initiated=s.FLAG)),
    (2, TermsAccepted, s.struct(TermsAccepted)),
    (SIGNED, Signed, with_operations(Signed, "half", HALF, s.MAX_OPERATIONS)),
    (4, StateAgreed, with_operations(StateAgreed, "agreed", AGREED, MAX_WINDOW_OPERATIONS)),
    (5, TurnMoved, s.struct(TurnMoved, turn=s.NUMBER)),
    (6, ChainSaid, s.struct(ChainSaid, fact=_FACT)),
    (7, SigningFrozen, s.struct(SigningFrozen, theirs=s.NUMBER)),
    (8, BookRecalled, s.struct(BookRecalled, book=BOOK)),
    (9, TopUpDecided, _TOP_UP),
    (10, ProposalsKilled, s.struct(ProposalsKilled, version=s.NUMBER)),
    (14, LossSuspected, s.struct(LossSuspected, marker=s.BYTES32, signed=s.NUMBER)),
    (15, RecoveryAsked, s.struct(RecoveryAsked, marker=s.BYTES32, version=s.NUMBER)),
    (16, RecoveryGranted, _GRANTED),
    (17, SigningResumed, s.struct(SigningResumed, marker=s.BYTES32, version=s.NUMBER, turn=s.NUMBER)),
    (CHECKPOINT, Checkpoint, _CHECKPOINT),
]
RECORD = s.union(_RECORDS)
_NUMBER = {kind: number for number, kind, _ in _RECORDS}


@dataclass(frozen=True, slots=True)
class Entry:
    """A record as the journal keeps it; `version` and `digest` are None where the record holds no state.

    A checkpoint's version is the floor below which nothing is signed any more, and its digest the link of the entry
    before it, which the store puts in: so the chain of links can be followed from there when that entry is gone.

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
    states = _states_of(record)
    for state in states:
        if state.channel != channel:
            foreign = f"a state of {state.channel.hex()} in {channel.hex()}"
            raise InvariantBroken("a journal holds its own channel", foreign)
    try:
        body = pack_with(RECORD, record)
    except (RuleViolation, ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as broken:
        raise InvariantBroken("every record reads back", f"{type(record).__name__}: {broken}") from broken
    if len(body) > (MAX_CHECKPOINT if isinstance(record, Checkpoint) else MAX_RECORD):
        raise InvariantBroken("every record reads back", f"{type(record).__name__} of {len(body)} bytes")
    if isinstance(record, Checkpoint):
        return Entry(CHECKPOINT, record.floor, None, body)
    if not states:
        return Entry(_NUMBER[type(record)], None, None, body)
    return Entry(_NUMBER[type(record)], states[0].version, state_struct_hash(states[0]), body)


def decode_records(path: str, entries: Iterable[tuple[Entry, bytes]]) -> list[Record]:
    """Return the records of a channel's entries with their links, in order; StoreCorrupt at the first damaged one.

    Only a checkpoint directly behind the first entry may follow something that is not there any more.
    """
    records: list[Record] = []
    link = FIRST_LINK
    try:
        for entry, found in entries:
            before = link if entry.kind != CHECKPOINT or len(records) != 1 else entry.digest or FIRST_LINK
            link = entry.link(before)
            if link != found or (entry.kind == CHECKPOINT and entry.digest != before):
                raise StoreCorrupt(path, f"record {len(records) + 1} of a channel is not the one that was written")
            records.append(decode_record(path, entry))
    except (TypeError, ValueError, OverflowError) as broken:  # a damaged column holds another type or range
        raise StoreCorrupt(path, f"record {len(records) + 1} of a channel is not one: {broken}") from broken
    return records


def decode_record(path: str, entry: Entry) -> Record:
    """Return the record of one entry; StoreCorrupt if it is none."""
    try:
        limit = MAX_CHECKPOINT if entry.kind == CHECKPOINT else MAX_RECORD
        record: Record = unpack_with(RECORD, entry.body, limit)
        if _NUMBER[type(record)] != entry.kind:
            raise MalformedMessage(f"a record of kind {_NUMBER[type(record)]} is filed as {entry.kind}")
    except RuleViolation as broken:
        raise StoreCorrupt(path, f"a record does not decode: {broken}") from broken
    return record


def check_floor(version: int, signed: int, *, is_first: bool) -> None:
    """Raise InvariantBroken for a checkpoint that begins a journal, or forgets a signature.

    `signed` is the highest version that has one.
    """
    if is_first:
        raise InvariantBroken("a journal starts with Opened", "it starts with a checkpoint")
    if version < signed:
        raise InvariantBroken("a checkpoint forgets no signature", f"version {signed} is signed, it says {version}")


def signed_in(path: str, entry: Entry) -> Mapping[int, bytes]:
    """Return the digests of the states with our signature that a checkpoint holds, by version."""
    record = decode_record(path, entry)
    if not isinstance(record, Checkpoint):
        raise StoreCorrupt(path, "a checkpoint is none")
    return {state.version: state_struct_hash(state) for state in _states_of(record)}


def _states_of(record: Record) -> tuple[State, ...]:
    """The states with our signature in a record."""
    match record:
        case Signed(half, _):
            return (half.state,)
        case StateAgreed(agreed, _):
            return (agreed.state,)
        case Checkpoint():
            return tuple(state for state, _ in record.states)
        case _:
            return ()
