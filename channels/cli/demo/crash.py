"""The market of the scenario `margin-call`: the recorded path up to one hour, then a SYNTHETIC crash.

What margin is for shows beyond what the recorded weeks hold: so the story ends on returns that somebody made up, that
are printed, and that nobody could take for a record.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from .market import SHIFT, RecordedMarket

CRASH_AFTER = 80
"""Full hours of the recorded path before the crash, counted from the hour in which the market opens."""
RETURNS = ("-0.03", "-0.05", "-0.07", "-0.04")
"""The synthetic hourly returns that follow. After them the spot stands still."""


class CrashMarket(RecordedMarket):
    """The recorded market until `crash_at`, unix seconds; the synthetic returns from there."""

    def __init__(self, chain: Mapping[str, Any], hourly: Mapping[str, Any], shift: int = SHIFT) -> None:
        super().__init__(chain, hourly, shift)
        self.crash_at = self.start // 3_600 * 3_600 + CRASH_AFTER * 3_600

    def spot(self, time: int) -> Decimal:
        """Return the recorded spot, and after the last recorded hour that of the synthetic returns."""
        spot = super().spot(min(time, self.crash_at))
        for change in RETURNS[: max(0, time - self.crash_at) // 3_600]:
            spot *= 1 + Decimal(change)
        return spot.quantize(Decimal("0.00000001"))
