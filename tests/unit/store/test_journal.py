"""The journal's laws, for the store on disk and the one in memory alike."""

from __future__ import annotations

import threading
from typing import Any, get_args

import msgpack
import pytest

from channels.core.channel import ChainView, Outstanding
from channels.core.facts import (
    CalledSeen,
    ChainFact,
    ClosedSeen,
    CuredSeen,
    DepositSeen,
    LiquidatedSeen,
    PaymentSeen,
    RegisteredSeen,
    ReleasedSeen,
    SettlementSeen,
)
from channels.core.margin_calls import NO_CALL, MarginCall
from channels.core.records import (
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
from channels.errors import AlreadySigned, InvalidValue, InvariantBroken, StoreCorrupt, StoreFailed
from channels.model import Acknowledge, ChannelId, Mark, Party, Trade, keccak
from channels.seal import state_struct_hash
from channels.store import MemoryStore, Store
from channels.store.codec import MAX_RECORD, RECORD, SIGNED, Entry, decode_records, encode_record
from channels.wire.codec import pack_with
from channels.wire.messages import Recovery
from tests.roles import CHANNEL, DEPLOYMENT, ETH, EXPIRY, TERMS, UNIT, agreed, book, condor, half, mallory, marks, state

OTHER = ChannelId(keccak(b"another channel"))
TRADE = (Trade(condor(), 5 * UNIT, marks()),)
OPENED = Opened(DEPLOYMENT, TERMS, Party.ONE, initiated=False)
CHECKPOINT = Checkpoint(
    accepted=True,
    agreed=agreed(book(), version=2),
    closing=agreed(version=2**64 - 2),
    outstanding=(
        Outstanding(half(Party.ONE, book(), version=2**64 - 1), TRADE, 2),
        Outstanding(half(version=3), (), 0),
    ),
    signed=2**64 - 1,
    turn=3,
    chain=ChainView(
        (5_000 * UNIT, 1),
        (0, 2),
        state(book(), version=2),
        EXPIRY,
        (SettlementSeen(ETH, EXPIRY, 2_345 * 10**18), SettlementSeen(ETH, EXPIRY + 1, 0)),
        (1, 2),
        calls=(MarginCall(EXPIRY, 2), NO_CALL),
        margin_place=(2**40, 7),
        liquidated=LiquidatedSeen(Party.ONE, -(2**119), 2**119, 5, 1),
    ),
    recalled=book(),
    frozen=9,
    suspect=b"m" * 32,
    recovery=Recovery(b"m" * 32, 2**48),
    granted=RecoveryGranted(b"n" * 32, 2**48, 3),
    leap=2**48,
    markers=(b"n" * 32, b"o" * 32),
    top_up=TopUpDecided(5 * UNIT, 5_005 * UNIT),
    topped_up=10 * UNIT,
    in_flight=(3, 2**64 - 1),
)
EVERY_RECORD: list[Record] = [
    OPENED,
    TermsAccepted(),
    Signed(half(Party.ONE, book(), version=2), TRADE),
    StateAgreed(agreed(book(), version=2), TRADE),
    StateAgreed(agreed(version=2**64 - 1), ()),
    TurnMoved(3),
    ChainSaid(DepositSeen(Party.ONE, 5_000 * UNIT)),
    ChainSaid(PaymentSeen(Party.ZERO, 1)),
    ChainSaid(RegisteredSeen(state(book(), version=2), EXPIRY)),
    ChainSaid(RegisteredSeen(None, 0)),
    ChainSaid(SettlementSeen(ETH, EXPIRY, 2_345 * 10**18)),
    ChainSaid(ClosedSeen((1, 2))),
    ChainSaid(CalledSeen(Party.ONE, EXPIRY, 2**40, 7)),
    ChainSaid(CuredSeen(Party.ZERO, 5, 0)),
    ChainSaid(LiquidatedSeen(Party.ONE, -(2**119), 2**119, 5, 1)),
    ChainSaid(ReleasedSeen(Party.ZERO, 2**119, 5, 2)),
    BookRecalled(book()),
    SigningFrozen(9),
    LossSuspected(b"m" * 32, 12),
    RecoveryAsked(b"m" * 32, 2**48),
    RecoveryGranted(b"m" * 32, 2**48, 3),
    SigningResumed(b"m" * 32, 2**48, 2**64 - 1),
    TopUpDecided(5 * UNIT, 5_005 * UNIT),
    ProposalsKilled(2**64 - 1),
    CHECKPOINT,
]


def signed(version: int, party: Party = Party.ZERO, **changes: Any) -> Signed:
    """Our signature over a version; `changes` make it another state."""
    return Signed(half(party, version=version, **changes), (Acknowledge((0, 0), (0, 0)),))


ANOTHER = {"balances": (10_000 * UNIT - 1, 5_000 * UNIT + 1)}


def test_there_is_a_sample_of_every_record_and_fact() -> None:
    assert {type(record) for record in EVERY_RECORD} == set(get_args(Record))
    seen = {type(record.fact) for record in EVERY_RECORD if isinstance(record, ChainSaid)}
    assert seen == set(get_args(ChainFact))


def test_what_is_appended_is_read_back_in_order(store: Store) -> None:
    store.append(CHANNEL, EVERY_RECORD[:4])
    store.append(CHANNEL, [])
    for record in EVERY_RECORD[4:]:
        store.append(CHANNEL, [record])
    assert store.records(CHANNEL) == EVERY_RECORD


def test_channels_are_listed_oldest_first_and_kept_apart(store: Store) -> None:
    assert store.channels() == []
    assert store.records(CHANNEL) == []
    store.append(CHANNEL, [OPENED])
    store.append(OTHER, [TurnMoved(1)])
    store.append(CHANNEL, [TermsAccepted()])
    assert store.channels() == [CHANNEL, OTHER]
    assert store.records(CHANNEL) == [OPENED, TermsAccepted()]
    assert store.records(OTHER) == [TurnMoved(1)]


def test_nothing_appended_is_no_channel(store: Store) -> None:
    store.append(CHANNEL, [])
    assert store.channels() == []


def test_a_version_signed_again_for_the_same_digest_changes_nothing(store: Store) -> None:
    store.append(CHANNEL, [signed(5), TurnMoved(1)])
    store.append(CHANNEL, [Signed(signed(5).half, (Mark(),)), TurnMoved(2)])
    assert store.records(CHANNEL) == [signed(5), TurnMoved(1), TurnMoved(2)]


def test_a_version_is_never_signed_for_another_digest(store: Store) -> None:
    store.append(CHANNEL, [signed(5)])
    with pytest.raises(AlreadySigned) as refused:
        store.append(CHANNEL, [TurnMoved(1), signed(6), signed(5, **ANOTHER), TurnMoved(2)])
    assert refused.value.version == 5
    assert store.records(CHANNEL) == [signed(5)]
    store.append(CHANNEL, [signed(6, **ANOTHER)])
    assert store.records(CHANNEL) == [signed(5), signed(6, **ANOTHER)]


def test_two_digests_of_one_version_in_one_call_are_refused_together(store: Store) -> None:
    with pytest.raises(AlreadySigned):
        store.append(CHANNEL, [signed(1), signed(2), signed(2, **ANOTHER)])
    assert store.records(CHANNEL) == []
    assert store.channels() == []
    store.append(CHANNEL, [signed(2), signed(2)])
    assert store.records(CHANNEL) == [signed(2)]


def test_the_highest_version_is_signed_once_too(store: Store) -> None:
    for version in (2**63 - 1, 2**63, 2**64 - 1):
        store.append(CHANNEL, [signed(version)])
        with pytest.raises(AlreadySigned):
            store.append(CHANNEL, [signed(version, **ANOTHER)])


def test_an_agreed_state_is_no_signature_of_ours(store: Store) -> None:
    """The peer may have agreed another state under a version that a lost copy of us signed: both are evidence."""
    store.append(CHANNEL, [StateAgreed(agreed(version=5), ()), signed(5, **ANOTHER)])
    store.append(CHANNEL, [StateAgreed(agreed(version=5), ())])
    assert len(store.records(CHANNEL)) == 3


@pytest.mark.parametrize("record", [signed(1), StateAgreed(agreed(), ())], ids=["signed", "agreed"])
def test_a_state_of_another_channel_is_not_taken(store: Store, record: Record) -> None:
    with pytest.raises(InvariantBroken, match="its own channel"):
        store.append(OTHER, [record])
    assert store.channels() == []


@pytest.mark.parametrize(
    "record",
    [
        "not a record",
        None,
        TurnMoved(2**64),
        TurnMoved(-1),
        TurnMoved("3"),
        ChainSaid(DepositSeen(Party.ZERO, 2**255)),
        ChainSaid(ClosedSeen((1, 2, 3))),
        ChainSaid("closed"),
        StateAgreed(agreed(), tuple([Mark()] * 65)),
        Signed(half(version=3), tuple([Mark()] * 17)),
        Signed(half(version=3), [Mark()]),
        StateAgreed(type(agreed())(state(), agreed().book, (b"short", b"sigs")), ()),
    ],
    ids=repr,
)
def test_a_record_that_would_not_read_back_is_not_written(store: Store, record: Any) -> None:
    with pytest.raises(InvariantBroken, match="reads back"):
        store.append(CHANNEL, [TermsAccepted(), record])
    assert store.records(CHANNEL) == []


def test_the_cursor_never_goes_back(store: Store) -> None:
    elsewhere = type(DEPLOYMENT)(DEPLOYMENT.chain_id, mallory.owner)
    assert store.cursor(DEPLOYMENT) == 0
    for block, expected in ((0, 0), (7, 7), (3, 7), (7, 7), (8, 8)):
        store.advance(DEPLOYMENT, block)
        assert store.cursor(DEPLOYMENT) == expected
    assert store.cursor(elsewhere) == 0
    store.advance(elsewhere, 2**63 - 1)
    assert (store.cursor(DEPLOYMENT), store.cursor(elsewhere)) == (8, 2**63 - 1)


@pytest.mark.parametrize("block", [-1, 2**63, 1.5, True])
def test_a_cursor_is_a_block_number(store: Store, block: Any) -> None:
    with pytest.raises(InvalidValue):
        store.advance(DEPLOYMENT, block)


def test_a_closed_store_does_nothing_more(store: Store) -> None:
    store.append(CHANNEL, [OPENED])
    store.close()
    store.close()
    for call in (
        lambda: store.append(CHANNEL, [OPENED]),
        lambda: store.channels(),
        lambda: store.records(CHANNEL),
        lambda: store.cursor(DEPLOYMENT),
        lambda: store.advance(DEPLOYMENT, 1),
    ):
        with pytest.raises(StoreFailed, match="closed"):
            call()


def test_a_version_has_one_winner_among_threads(store: Store) -> None:
    """Eight threads sign one version each for their own digest, over and over: one digest per version is kept."""
    refused: list[int] = []

    def sign(worker: int) -> None:
        for version in range(1, 9):
            try:
                store.append(CHANNEL, [signed(version, balances=(10_000 * UNIT - worker, 5_000 * UNIT + worker))])
            except AlreadySigned:
                refused.append(version)

    threads = [threading.Thread(target=sign, args=(worker,)) for worker in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    kept = [record.half.state.version for record in store.records(CHANNEL) if isinstance(record, Signed)]
    assert sorted(kept) == list(range(1, 9))
    assert len(refused) == 7 * 8


def test_record_numbers_never_change() -> None:
    numbers = {type(record).__name__: msgpack.unpackb(pack_with(RECORD, record))[0] for record in EVERY_RECORD}
    assert numbers == {
        "Opened": 1, "TermsAccepted": 2, "Signed": 3, "StateAgreed": 4, "TurnMoved": 5, "ChainSaid": 6,
        "SigningFrozen": 7, "BookRecalled": 8, "TopUpDecided": 9, "ProposalsKilled": 10,
        "LossSuspected": 14, "RecoveryAsked": 15, "RecoveryGranted": 16, "SigningResumed": 17, "Checkpoint": 20,
    }  # fmt: skip
    assert numbers["Signed"] == SIGNED


def test_an_entry_carries_the_digest_the_adjudicator_stores() -> None:
    entry = encode_record(CHANNEL, signed(5))
    assert (entry.kind, entry.version, entry.digest) == (3, 5, state_struct_hash(signed(5).half.state))
    assert encode_record(CHANNEL, TurnMoved(1)).digest is None


def linked(*entries: Entry) -> list[tuple[Entry, bytes]]:
    link, rows = bytes(32), []
    for entry in entries:
        link = entry.link(link)
        rows.append((entry, link))
    return rows


def test_a_journal_with_an_entry_changed_lost_or_moved_is_corrupt() -> None:
    first, second, third = (encode_record(CHANNEL, record) for record in (OPENED, TermsAccepted(), signed(5)))
    rows = linked(first, second, third)
    assert decode_records("here", rows) == [OPENED, TermsAccepted(), signed(5)]
    forged = Entry(third.kind, 6, third.digest, third.body)
    for damaged in (rows[1:], [rows[0], rows[2]], [rows[1], rows[0], rows[2]], [*rows[:2], (forged, rows[2][1])]):
        with pytest.raises(StoreCorrupt, match="not the one that was written"):
            decode_records("here", damaged)


@pytest.mark.parametrize(
    "entry",
    [
        Entry(9, None, None, b"\x92\x09\x01"),
        Entry(5, None, None, pack_with(RECORD, TermsAccepted())),
        Entry(5, None, None, b""),
        Entry(5, None, None, pack_with(RECORD, TurnMoved(1)) + b"\xc0"),
        Entry(5, None, None, bytes(MAX_RECORD + 1)),
    ],
)
def test_an_entry_that_is_no_record_is_corrupt(entry: Entry) -> None:
    with pytest.raises(StoreCorrupt, match="does not decode"):
        decode_records("here", linked(entry))


@pytest.mark.parametrize("entry", [Entry(-1, None, None, b""), Entry(256, None, None, b""), Entry(5, -1, None, b"")])
def test_an_entry_out_of_every_range_is_corrupt(entry: Entry) -> None:
    with pytest.raises(StoreCorrupt, match="is not one"):
        decode_records("here", [(entry, bytes(32))])


def test_the_memory_store_says_so() -> None:
    assert MemoryStore().path == ":memory:"
