"""Messages on a byte stream: four bytes of length, big-endian, then the message. Works a byte at a time."""

from __future__ import annotations

from ..errors import FrameTooLong, MalformedMessage
from .codec import MAX_MESSAGE

_HEADER = 4


def frame(payload: bytes) -> bytes:
    """Return the payload behind its length; FrameTooLong for what every reader would refuse."""
    if len(payload) > MAX_MESSAGE:
        raise FrameTooLong(len(payload), MAX_MESSAGE)
    return len(payload).to_bytes(_HEADER, "big") + payload


class FrameReader:
    """Cuts a stream into payloads. A declared length beyond the limit is refused before a byte of it is kept."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        """Return the payloads completed by `data`; FrameTooLong or MalformedMessage (empty frame) end the stream.

        Payloads before such a frame are returned first: the next call, with no bytes more, raises.
        """
        self._buffer += data
        payloads: list[bytes] = []
        while len(self._buffer) >= _HEADER:
            size = int.from_bytes(self._buffer[:_HEADER], "big")
            if not 0 < size <= MAX_MESSAGE:
                if payloads:
                    break
                del self._buffer[_HEADER:]
                raise FrameTooLong(size, MAX_MESSAGE) if size else MalformedMessage("a frame is empty")
            if len(self._buffer) < _HEADER + size:
                break
            payloads.append(bytes(self._buffer[_HEADER : _HEADER + size]))
            del self._buffer[: _HEADER + size]
        return payloads

    @property
    def pending(self) -> int:
        """How many bytes of an unfinished frame are held: at the end of a stream, not zero means it was cut."""
        return len(self._buffer)
