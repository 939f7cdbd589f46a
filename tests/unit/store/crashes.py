"""What a power cut leaves of a store: its files before each statement that SQLite runs."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from channels.store import file

Files = tuple[bytes, bytes | None]
"""The main file and its log."""


def files_of(place: Path) -> Files:
    log = Path(f"{place}-wal")
    return place.read_bytes(), log.read_bytes() if log.exists() else None


def every_crash(place: Path, act: Callable[[], object], monkeypatch: pytest.MonkeyPatch) -> tuple[list[Files], int]:
    """Return the files as they were before each statement of `act` and after it, each once; and how many there were."""
    found: dict[Files, None] = {}
    statements: list[str] = []
    connect = file.connect

    def note(statement: str) -> None:
        statements.append(statement)
        found[files_of(place)] = None

    def traced(at: Path, mode: str) -> sqlite3.Connection:
        connection = connect(at, mode)
        connection.set_trace_callback(note)
        return connection

    with monkeypatch.context() as patch:
        patch.setattr(file, "connect", traced)
        act()
    found[files_of(place)] = None
    return list(found), len(statements)


def laid_out(files: Files, place: Path) -> Path:
    """Write files as a crash left them."""
    main, log = files
    place.write_bytes(main)
    if log is not None:
        Path(f"{place}-wal").write_bytes(log)
    return place
