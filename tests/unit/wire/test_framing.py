"""A stream cut anywhere gives the same messages, and a lying length is refused before it costs memory."""

from __future__ import annotations

import pytest

from channels.errors import FrameTooLong, MalformedMessage
from channels.wire.codec import MAX_MESSAGE, encode
from channels.wire.framing import FrameReader, frame
from tests.unit.wire.samples import MESSAGES

PAYLOADS = [encode(message) for message in MESSAGES.values()]
STREAM = b"".join(map(frame, PAYLOADS))


def test_a_frame_is_four_bytes_of_length_and_the_payload() -> None:
    assert frame(b"abc") == b"\0\0\0\x03abc"


def test_a_byte_at_a_time_is_the_same_as_all_at_once() -> None:
    slowly, at_once = FrameReader(), FrameReader()
    received = [payload for i in range(len(STREAM)) for payload in slowly.feed(STREAM[i : i + 1])]
    assert received == at_once.feed(STREAM) == PAYLOADS
    assert slowly.pending == at_once.pending == 0


@pytest.mark.parametrize("size", [2, 3, 4, 5, 7, 64, 1000])
def test_pieces_of_any_size_are_the_same(size: int) -> None:
    reader = FrameReader()
    received = [payload for i in range(0, len(STREAM), size) for payload in reader.feed(STREAM[i : i + size])]
    assert received == PAYLOADS


def test_a_stream_that_ends_inside_a_frame_leaves_something_pending() -> None:
    for cut in range(1, len(frame(PAYLOADS[0]))):
        reader = FrameReader()
        assert reader.feed(STREAM[:cut]) == []
        assert reader.pending == cut


@pytest.mark.parametrize("size", [MAX_MESSAGE + 1, 2**31, 2**32 - 1])
def test_an_oversized_length_is_refused_at_the_header(size: int) -> None:
    reader = FrameReader()
    assert reader.feed(size.to_bytes(4, "big")[:3]) == []
    with pytest.raises(FrameTooLong):
        reader.feed(size.to_bytes(4, "big")[3:])


def test_the_largest_frame_is_read() -> None:
    payload = b"x" * MAX_MESSAGE
    assert FrameReader().feed(frame(payload)) == [payload]
    with pytest.raises(FrameTooLong):
        frame(payload + b"x")


def test_an_empty_frame_is_refused() -> None:
    with pytest.raises(MalformedMessage):
        FrameReader().feed(bytes(4))


def test_a_stream_that_was_refused_stays_refused() -> None:
    reader = FrameReader()
    for _ in range(2):
        with pytest.raises(FrameTooLong):
            reader.feed(b"\xff" * 4 + STREAM)
        assert reader.pending == 4, "of a stream that is over only what refuses it is kept"


def test_what_came_before_a_refused_frame_is_returned_first() -> None:
    reader = FrameReader()
    assert reader.feed(frame(b"abc") + b"\xff" * 4) == [b"abc"]
    with pytest.raises(FrameTooLong):
        reader.feed(b"")
