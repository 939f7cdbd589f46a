"""How many states a party half-signs, and how much they may cost it. `exposure.check_limits` enforces it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """The owner's. `max_exposure`: token units that half-signed states together may cost; None: margin bounds it.

    `max_outstanding`: how many of them there may be above the agreed state.
    """

    max_exposure: int | None = None
    max_outstanding: int = 128


NO_LIMITS = Limits()
