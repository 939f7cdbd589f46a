"""A journal that an earlier release wrote is read by this one: record, operation and fact numbers only grow.

`tests/vectors/journal_spine.json` holds the bytes of every kind of record, and of every operation, as they were written
before close-outs and margin calls existed. It is never regenerated.
"""

from __future__ import annotations

import json
from pathlib import Path

import msgpack
import pytest

from channels.core.facts import MarginFact
from channels.core.records import (
    BookRecalled,
    ChainSaid,
    Checkpoint,
    LossSuspected,
    ProposalsKilled,
    Record,
    RecoveryAsked,
    RecoveryGranted,
    Signed,
    SigningResumed,
    StateAgreed,
    TopUpDecided,
)
from channels.model import EMPTY_BOOK, Book, CloseOut, Party
from channels.store.codec import MAX_RECORD, RECORD, encode_record
from channels.wire.codec import pack_with, unpack_with
from tests.roles import CHANNEL, half
from tests.unit.store.test_journal import EVERY_RECORD
from tests.unit.wire.samples import OPERATIONS

OLD = json.loads((Path(__file__).parents[2] / "vectors" / "journal_spine.json").read_text("utf-8"))
OLD_OPERATIONS = tuple(operation for operation in OPERATIONS if not isinstance(operation, CloseOut))


def _is_newer(record: Record) -> bool:
    """Whether the first release knew no such record."""
    recovery = LossSuspected | RecoveryAsked | RecoveryGranted | SigningResumed
    return isinstance(record, TopUpDecided | ProposalsKilled | Checkpoint | recovery) or (
        isinstance(record, ChainSaid) and isinstance(record.fact, MarginFact)
    )


OLD_RECORDS = tuple(record for record in EVERY_RECORD if not _is_newer(record))
EXPECTED = [*OLD_RECORDS, Signed(half(Party.ZERO, version=3), OLD_OPERATIONS)]


def _operations_of(record: Record, body: bytes) -> bytes:
    """The bytes of a record's operations, which are its last field; of another record none."""
    return msgpack.packb(msgpack.unpackb(body)[-1]) if isinstance(record, Signed | StateAgreed) else b""


def _book_of(record: Record) -> Book:
    match record:
        case Signed(half, _):
            return half.book
        case StateAgreed(agreed, _):
            return agreed.book
        case BookRecalled(book):
            return book
        case _:
            return EMPTY_BOOK


def test_no_record_was_left_out() -> None:
    assert len(OLD) == len(EXPECTED)


@pytest.mark.parametrize("at", range(len(OLD)))
def test_a_record_of_the_first_release_reads_back(at: int) -> None:
    record, body = EXPECTED[at], bytes.fromhex(OLD[at]["body"])
    assert type(record).__name__ == OLD[at]["record"]
    assert unpack_with(RECORD, body, MAX_RECORD) == record
    # Books and marks had another spelling then: a record with legs or marks in it is written shorter today.
    spelled_anew = bool(_book_of(record).legs) or b"ETH/USD" in _operations_of(record, body)
    assert (pack_with(RECORD, record) != body) == spelled_anew
    assert len(pack_with(RECORD, record)) <= len(body)


def test_a_close_out_is_journalled_and_reads_back() -> None:
    record = Signed(half(Party.ZERO, version=3), (CloseOut(Party.ONE),))
    entry = encode_record(CHANNEL, record)
    assert unpack_with(RECORD, entry.body, MAX_RECORD) == record
