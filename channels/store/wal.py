"""The write-ahead log's file, read without SQLite: whether it is one, and whole as far as it was ever synced.

SQLite takes the first frame that does not fit for the end of the log: it must, since a power cut tears the last
transaction. So it also forgets, without a word, every transaction behind a damaged frame. But each commit of ours is
synced before the next one is written, and none is ever written over by another of the same log. A frame of this log
behind a commit that is not reached is therefore proof of damage, and no power cut.

The format: https://www.sqlite.org/fileformat2.html#the_write_ahead_log
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from enum import Enum
from pathlib import Path

_HEADER = struct.Struct(">8I")
_FRAME = struct.Struct(">6I")
_MAGIC, _FORMAT = 0x377F0682, 3_007_000
"""The magic number's last bit says that the checksums are over big-endian words."""
_WORD = 0xFFFFFFFF


class LogState(Enum):
    """What a log is good for. The values end the sentence "the log ..."."""

    MISSING = "is not there"
    EMPTY = "is empty"
    FOREIGN = "is not one: it does not begin as one"
    BEGUN = "has begun and holds no transaction"
    COMMITTED = "holds transactions"
    DAMAGED = "is damaged before its end"


def log_of(store: Path) -> Path:
    """Return where SQLite keeps the log of a database."""
    return Path(f"{store}-wal")


def state_of(log: Path) -> tuple[LogState, bool]:
    """Read a log to its end; return its state, and whether SQLite will find a transaction in it. Raises OSError."""
    try:
        data = log.read_bytes()
    except FileNotFoundError:
        return LogState.MISSING, False
    if not data:
        return LogState.EMPTY, False
    header = _header(data)
    if header is None:
        return LogState.FOREIGN, False
    page, salts, order, first = header
    size = _FRAME.size + page
    ends = [at for at, is_end in _frames(data, size, salts) if is_end]
    reached = 0
    sums = first
    for at, is_end in _frames(data, size, salts):
        sums = _checksum(data[at : at + 8], order, sums)
        sums = _checksum(data[at + _FRAME.size : at + size], order, sums)
        if sums != _FRAME.unpack_from(data, at)[4:]:
            break
        if is_end:
            reached = at + size
    missed = [end for end in ends if end >= reached]
    if missed and any(at > missed[0] for at, _ in _frames(data, size, salts)):
        return LogState.DAMAGED, reached > 0
    return (LogState.COMMITTED, True) if reached else (LogState.BEGUN, False)


def _header(data: bytes) -> tuple[int, tuple[int, int], str, tuple[int, int]] | None:
    """Return the page size, the salts, the order of bytes in words and the checksum so far; None if it is no header."""
    if len(data) < _HEADER.size:
        return None
    magic, version, page, _, *salts, one, two = _HEADER.unpack_from(data)
    order = ">" if magic & 1 else "<"
    sums = _checksum(data[: _HEADER.size - 8], order, (0, 0))
    if magic & ~1 != _MAGIC or version != _FORMAT or page & (page - 1) or page < 512 or sums != (one, two):
        return None
    return page, (salts[0], salts[1]), order, sums


def _frames(data: bytes, size: int, salts: tuple[int, int]) -> Iterator[tuple[int, bool]]:
    """Where the whole frames of this log are, torn or not, and which of them end a transaction."""
    for at in range(_HEADER.size, len(data) - size + 1, size):
        _, pages, *found, _, _ = _FRAME.unpack_from(data, at)
        if tuple(found) == salts:
            yield at, pages > 0


def _checksum(data: bytes, order: str, sums: tuple[int, int]) -> tuple[int, int]:
    one, two = sums
    words = iter(struct.unpack(f"{order}{len(data) // 4}I", data))
    for even, odd in zip(words, words, strict=True):
        one = (one + even + two) & _WORD
        two = (two + odd + one) & _WORD
    return one, two
