"""Laws of the wire: what is said is what is heard, in one spelling only, and noise is one typed refusal."""

from __future__ import annotations

from typing import Any

import msgpack
from hypothesis import given, strategies as st

from channels.errors import RuleViolation
from channels.wire.codec import decode, encode
from channels.wire.framing import FrameReader, frame
from channels.wire.messages import (
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
from tests.roles import TERMS
from tests.strategies import agreed_states, batches, deployments, hashes, int256, signatures, words64

codes = st.text(st.characters(exclude_categories=["Cs"]), max_size=64)
reasons = st.text(st.characters(exclude_categories=["Cs"]), max_size=512)
recoveries = st.builds(Recovery, hashes, words64)
messages: st.SearchStrategy[Message] = st.one_of(
    st.builds(Greeting, words64, hashes, words64),
    st.builds(Hello, signatures),
    st.builds(Open, deployments, st.just(TERMS)),
    st.builds(OpenAccepted, hashes),
    st.builds(OpenRefused, hashes, codes, reasons),
    st.builds(Propose, hashes, words64, batches, hashes, signatures, words64),
    st.builds(Accept, hashes, words64, signatures),
    st.builds(Reject, hashes, words64, codes, reasons),
    st.builds(WantTurn, hashes),
    st.builds(PassTurn, hashes, words64),
    st.builds(Resume, hashes, words64, words64, st.none() | agreed_states, words64, st.none() | recoveries),
    st.builds(RecoveryAllowed, hashes, hashes, words64, words64),
    st.builds(Backup, hashes, st.binary(max_size=200)),
    st.builds(BackupsWanted),
    st.builds(BackupReturned, hashes, st.binary(max_size=200)),
    st.builds(BackupsEnd, words64),
    st.builds(Fault, codes, reasons),
    st.builds(CollateralCall, hashes, words64, int256),
)
values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.binary(max_size=70) | st.text(),
    lambda inner: st.lists(inner, max_size=6) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=30,
)


def refused_or_canonical(data: bytes) -> None:
    try:
        message = decode(data)
    except RuleViolation:
        return
    assert encode(message) == data


@given(messages)
def test_what_is_said_is_what_is_heard(message: Message) -> None:
    assert decode(encode(message)) == message


@given(messages, messages)
def test_two_messages_never_share_their_bytes(one: Message, other: Message) -> None:
    assert (encode(one) == encode(other)) == (one == other)


@given(st.binary(max_size=300))
def test_noise_is_refused(noise: bytes) -> None:
    refused_or_canonical(noise)


@given(st.integers(0, 15), st.lists(values, max_size=14))
def test_well_formed_nonsense_is_refused(number: int, fields: list[Any]) -> None:
    refused_or_canonical(msgpack.packb([number, *fields]))


@given(messages, st.data())
def test_bytes_cut_out_or_doubled_are_refused_or_another_message(message: Message, data: st.DataObject) -> None:
    said = encode(message)
    low, high = sorted((data.draw(st.integers(0, len(said))), data.draw(st.integers(0, len(said)))))
    refused_or_canonical(said[:low] + said[high:])
    refused_or_canonical(said[:high] + said[low:])


@given(st.lists(st.binary(min_size=1, max_size=40), max_size=8), st.data())
def test_frames_survive_any_cut(payloads: list[bytes], data: st.DataObject) -> None:
    stream, reader, received = b"".join(map(frame, payloads)), FrameReader(), []
    while stream:
        cut = data.draw(st.integers(1, len(stream)))
        received += reader.feed(stream[:cut])
        stream = stream[cut:]
    assert received == payloads
    assert reader.pending == 0
