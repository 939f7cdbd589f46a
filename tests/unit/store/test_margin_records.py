"""Margin in the journal: the numbers of its facts and records are taken for good."""

from __future__ import annotations

import pytest

from channels.core.facts import CalledSeen, ChainFact, CuredSeen, LiquidatedSeen, ReleasedSeen
from channels.core.records import ChainSaid, TopUpDecided
from channels.model import Party
from channels.store.codec import MAX_RECORD, RECORD, encode_record
from channels.wire.codec import unpack_with
from tests.roles import CHANNEL

TIME = 1_704_441_600
FACTS: dict[int, ChainFact] = {
    6: CalledSeen(Party.ONE, TIME, 2**40, 7),
    7: CuredSeen(Party.ZERO, 5, 0),
    8: LiquidatedSeen(Party.ONE, -(2**119), 2**119, 5, 1),
    9: ReleasedSeen(Party.ZERO, 2**119, 5, 2),
}


@pytest.mark.parametrize("number", FACTS)
def test_a_margin_fact_is_journalled_under_its_number_and_reads_back(number: int) -> None:
    record = ChainSaid(FACTS[number])
    body = encode_record(CHANNEL, record).body
    assert unpack_with(RECORD, body, MAX_RECORD) == record
    # Two fields: record number 6, and the fact, an array that begins with the fact's number.
    assert body[:2] == bytes.fromhex("9206")
    assert body[3] == number


def test_a_decided_top_up_is_journalled_under_its_number_and_reads_back() -> None:
    record = TopUpDecided(2**119, 2**120 - 1)
    body = encode_record(CHANNEL, record).body
    assert unpack_with(RECORD, body, MAX_RECORD) == record
    assert body[:2] == bytes.fromhex("9309")
