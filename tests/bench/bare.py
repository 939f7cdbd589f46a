"""One update at a time with nothing of ours in it: what the waits and the calls that it cannot do without take alone.

Two processes and a plain TCP connection. The proposer signs, appends a row of a record's size to an SQLite file, sends
it; the other side verifies, signs, appends, answers; the proposer verifies and appends. No TLS, no margin, no codec, no
channel: `python -m tests.bench.bare FOLDER PORT` is the other side.
"""

from __future__ import annotations

import os
import socket
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

from tests.bench.floor import DIGEST, sign, verify

ROOT = Path(__file__).parents[2]
PROPOSAL, ANSWER, RECORD = bytes(660), bytes(110), 900
"""As long as a mark of sixteen legs, its answer and their records are."""
WARM, UPDATES = 100, 600


class Rows:
    """A table of records in a write-ahead log, one sync for each."""

    def __init__(self, place: Path) -> None:
        self._connection = sqlite3.connect(place, isolation_level=None)
        for pragma in ("journal_mode = WAL", "synchronous = FULL", "locking_mode = EXCLUSIVE"):
            self._connection.execute(f"PRAGMA {pragma}")
        self._connection.execute("CREATE TABLE record (version INTEGER PRIMARY KEY, digest BLOB, body BLOB)")

    def append(self) -> None:
        """Return when a record is durable."""
        self._connection.execute("INSERT INTO record (digest, body) VALUES (?, ?)", (DIGEST, os.urandom(RECORD)))


def _received(line: socket.socket, size: int) -> bool:
    while size:
        data = line.recv(size)
        if not data:
            return False
        size -= len(data)
    return True


def _undelayed(line: socket.socket) -> socket.socket:
    line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return line


def updates(folder: Path) -> list[float]:
    """Return how long each update took, seconds, shortest first."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = str(listener.getsockname()[1])
        command = [sys.executable, "-m", "tests.bench.bare", str(folder), port]
        with subprocess.Popen(command, cwd=ROOT) as other, _undelayed(listener.accept()[0]) as line:
            rows, took = Rows(folder / "bare-proposer.sqlite3"), []
            for _ in range(WARM + UPDATES):
                start = time.perf_counter()
                sign()
                rows.append()
                line.sendall(PROPOSAL)
                assert _received(line, len(ANSWER)), "the other side has ended"
                verify()
                rows.append()
                took.append(time.perf_counter() - start)
            line.shutdown(socket.SHUT_RDWR)
            other.wait(30)
    return sorted(took[WARM:])


def answer(folder: Path, port: int) -> None:
    """Be the other side."""
    rows = Rows(folder / "bare-other.sqlite3")
    with _undelayed(socket.create_connection(("127.0.0.1", port))) as line:
        while _received(line, len(PROPOSAL)):
            verify()
            sign()
            rows.append()
            line.sendall(ANSWER)


if __name__ == "__main__":
    answer(Path(sys.argv[1]), int(sys.argv[2]))
