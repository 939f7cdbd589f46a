"""The clock of a margin call, as the contract's `modules/margin_calls.vy` runs it: who may call, until when, what then.

    window       = min(max(cure period, 1 h), 24 h)
    execution    = [deadline, max(deadline + window, expiry + 2 · grace for each expiry before deadline + window))
    new deadline = now + cure period; at most a cure period after an earlier deadline: max(it, now + cure period / 2 up)

Source: protocol §3.2. Times are unix seconds by the chain's clock. An armed call stands until its window ends, and
while it stands it cannot be made again on the registered state; a newer state disarms it at any time and can be called
upon at once. The deadline of a disarmed or lapsed call is remembered, a cured one's is not.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..model import Book, Terms

MIN_WINDOW, MAX_WINDOW = 3_600, 86_400
"""Bounds of the time to execute a call in, seconds."""


@dataclass(frozen=True, slots=True)
class MarginCall:
    """The latest margin call of one party. `deadline` is its cure deadline; 0: never called, or cured.

    `version` is the registered version that it stands against; 0: a newer state disarmed it.
    """

    deadline: int = 0
    version: int = 0

    @property
    def is_armed(self) -> bool:
        """Whether no newer state, cure or end took it back; it may have lapsed (`CallTimes.stands`)."""
        return self.version != 0

    @property
    def disarmed(self) -> MarginCall:
        """The same after a newer state."""
        return MarginCall(self.deadline)


NO_CALL = MarginCall()


@dataclass(frozen=True, slots=True)
class CallTimes:
    """What the clock says of one party's margin call at one moment. `call_times` makes it.

    `deadline` and `until` are 0 where no call is armed; an armed call whose window is over has lapsed and keeps both.
    """

    now: int
    deadline: int
    """The cure deadline of an armed call: it can be executed from then on."""
    until: int
    """The first second in which it cannot be executed any more."""
    new_deadline: int
    """The cure deadline that a call made now would get."""

    @property
    def stands(self) -> bool:
        """Whether a call is armed and has not lapsed: no other can be made on the registered state."""
        return self.now < self.until

    @property
    def is_executable(self) -> bool:
        """Whether the call may be executed now, on a breach proven again."""
        return self.stands and self.now >= self.deadline


def execution_window(deadline: int, terms: Terms, book: Book) -> tuple[int, int]:
    """Return the first second in which a call with this cure deadline can be executed, and the first in which not."""
    end = deadline + min(max(terms.cure_period, MIN_WINDOW), MAX_WINDOW)
    settling = (leg.expiry + 2 * terms.grace for leg in book.legs if leg.expiry < end)
    return deadline, max([end, *settling])


def next_deadline(call: MarginCall, terms: Terms, now: int) -> int:
    """Return the cure deadline of a call made at `now`, after `call`."""
    cure = terms.cure_period
    if call.deadline and now <= call.deadline + cure:
        return max(call.deadline, now + (cure + 1) // 2)
    return now + cure


def call_times(call: MarginCall, terms: Terms, book: Book, now: int) -> CallTimes:
    """Return what the clock says of a call at `now`; `book` is the registered state's."""
    deadline, until = execution_window(call.deadline, terms, book) if call.is_armed else (0, 0)
    return CallTimes(now, deadline, until, next_deadline(call, terms, now))
