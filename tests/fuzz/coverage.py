"""Which lines of the peer's edge an input reaches: it makes the corpus small, and guides where atheris is not."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import channels

HOME = Path(channels.__file__).parent
WATCHED = tuple(str(HOME / room) + "/" for room in ("session", "wire", "core"))
Lines = frozenset[tuple[str, int]]


def covered(act: Callable[[], object]) -> Lines:
    """Do something; return the pairs of file and line of the watched rooms that it ran."""
    seen: set[tuple[str, int]] = set()
    watched: dict[CodeType, bool] = {}

    def lines(frame: FrameType, event: str, arg: object) -> Any:
        if event == "line":
            seen.add((frame.f_code.co_filename, frame.f_lineno))
        return lines

    def calls(frame: FrameType, event: str, arg: object) -> Any:
        code = frame.f_code
        known = watched.get(code)
        if known is None:
            known = watched[code] = code.co_filename.startswith(WATCHED)
        return lines if known else None

    before = sys.gettrace()
    sys.settrace(calls)
    try:
        act()
    finally:
        sys.settrace(before)
    return frozenset(seen)
