"""What time it is, handed in: the machine's clock for a real node, a virtual one where the chain's is."""

from __future__ import annotations

import time
from collections.abc import Callable

Clock = Callable[[], int]
"""Returns unix seconds."""


def system_clock() -> int:
    """Return this machine's time. Deadlines never count by it: those run by block timestamps."""
    return int(time.time())
