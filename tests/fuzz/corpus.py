"""The corpus: small files made from real sessions in every phase, each there for a line that no other reaches."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from hashlib import sha256
from pathlib import Path

from tests.hostile.stages import STAGES, stood
from tests.hostile.vocabulary import WORDS, speak

from .coverage import Lines, covered
from .door import MAX_INPUT, Input, play

FOLDER = Path(__file__).parent / "corpus"
MAX_FILE = 4_096
"""Bytes of a file that is kept in the repository."""


def spoken() -> dict[str, list[bytes]]:
    """Return an input for every word at every stage: the dictionary, and what the corpus is chosen from."""
    said: dict[str, list[bytes]] = {}
    for name, stage in STAGES.items():
        streams = [speak(word, stood(name), stage) for word in WORDS]
        said[name] = [Input(name, "whole", 0, s).data for s in streams if s is not None and len(s) < MAX_INPUT]
    return said


def kept() -> list[bytes]:
    """Return the corpus of the repository, in an order that no file system decides."""
    return [path.read_bytes() for path in sorted(FOLDER.glob("*"))]


def minimised(inputs: Iterable[bytes]) -> list[bytes]:
    """Return few inputs that together reach every line that all of them reach: the shortest first."""
    small = sorted(data for data in set(inputs) if len(data) <= MAX_FILE)
    reached: list[tuple[bytes, Lines]] = [(data, covered(partial(play, data))) for data in small]
    chosen: list[bytes] = []
    seen: set[tuple[str, int]] = set()
    while reached:
        best, lines = max(reached, key=lambda pair: (len(pair[1] - seen), -len(pair[0]), pair[0]))
        if not lines - seen:
            break
        chosen.append(best)
        seen |= lines
        reached = [(data, found) for data, found in reached if found - seen]
    return chosen


def name_of(data: bytes) -> str:
    """A file is named after what it holds."""
    return sha256(data).hexdigest()[:16]


def write(inputs: Iterable[bytes]) -> int:
    """Make the corpus of the repository these inputs; return how many they are."""
    FOLDER.mkdir(exist_ok=True)
    for path in FOLDER.glob("*"):
        path.unlink()
    chosen = list(inputs)
    for data in chosen:
        (FOLDER / name_of(data)).write_bytes(data)
    return len(chosen)
