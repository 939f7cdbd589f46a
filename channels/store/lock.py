"""One process at a time: an advisory lock that the kernel drops with its process, however that dies.

It is taken on a file beside the store and not on the store. SQLite's own locks are POSIX record locks, which a process
loses when it closes *any* descriptor of the file, so a backup that reads the store would silently unlock it. flock has
no such trap, and keeps two stores of one process apart too. Windows has no flock, and no such trap: there SQLite's
exclusive mode is the lock.
"""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path

from ..errors import StoreFailed, StoreLocked

if sys.platform != "win32":
    import fcntl


class StoreLock:
    """The lock of one store, held from construction to `release`. Shared among readers, exclusive for the writer.

    Raises StoreLocked while another holds it. The lock file stays behind: to remove it would let two processes lock
    two files of one name.
    """

    def __init__(self, store: Path, *, shared: bool) -> None:
        self._descriptor: int | None = None
        if sys.platform == "win32":
            return
        flags, kind = (os.O_RDONLY, fcntl.LOCK_SH) if shared else (os.O_RDWR | os.O_CREAT, fcntl.LOCK_EX)
        try:
            descriptor = os.open(f"{store}.lock", flags | os.O_CLOEXEC, 0o600)
        except FileNotFoundError:
            return  # a reader of a copy that no writer ever had open; for a writer, the directory was checked
        except OSError as refused:
            raise StoreFailed(str(store), f"its lock file: {refused.strerror}") from refused
        try:
            fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
        except OSError as refused:
            os.close(descriptor)
            if isinstance(refused, BlockingIOError):
                raise StoreLocked(str(store)) from None
            raise StoreFailed(str(store), f"its lock file: {refused.strerror}") from refused
        self._descriptor = descriptor

    def release(self) -> None:
        """Let the next one in; a second call does nothing."""
        if self._descriptor is not None:
            descriptor, self._descriptor = self._descriptor, None
            with contextlib.suppress(OSError):
                os.close(descriptor)
