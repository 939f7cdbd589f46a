"""A chain of operations without the marks that later ones replace: shorter, and the same state."""

from __future__ import annotations

from hypothesis import given, strategies as st

from channels.core.apply import apply, condensed
from channels.errors import RuleViolation
from channels.model import Acknowledge, Book, CloseOut, Mark, Operation, Party, SettleExpiry, State, Trade
from channels.risk import DEFAULT_POLICY
from tests.roles import CHANNEL, ETH, EXPIRY, UNIT, book, condor, marks, state

FIRST, SECOND = Mark(marks(time=book().marks.time + 1)), Mark(marks(time=book().marks.time + 2))
SEEN, SETTLED = Acknowledge((10**12, 10**12), (0, 0)), SettleExpiry(ETH, EXPIRY, 2_345 * 10**18)


def led_to(operations: tuple[Operation, ...]) -> tuple[State, Book] | str:
    try:
        return apply(
            CHANNEL,
            state(book()),
            book(),
            operations,
            proposer=Party.ZERO,
            version=9,
            salt=b"s" * 32,
            decimals=6,
            policy=DEFAULT_POLICY,
        )
    except RuleViolation as refused:
        return refused.code


def test_of_marks_without_anything_between_the_last_remains() -> None:
    assert condensed((FIRST, SEEN, FIRST, SECOND)) == (SEEN, SECOND)
    assert condensed((FIRST, SETTLED)) == (FIRST, SETTLED)
    assert condensed(()) == ()


def test_marks_that_something_was_closed_at_remain() -> None:
    kept = (FIRST, CloseOut(Party.ONE), Mark())
    assert condensed(kept) == kept


@given(
    st.lists(
        st.sampled_from([FIRST, SECOND, SEEN, SETTLED, Mark(), CloseOut(Party.ONE), Trade(condor(), UNIT, marks())]),
        max_size=7,
    ).map(tuple)
)
def test_it_leads_to_the_same_state(operations: tuple[Operation, ...]) -> None:
    reached = led_to(operations)
    if not isinstance(reached, str):
        assert led_to(condensed(operations)) == reached
        assert condensed(condensed(operations)) == condensed(operations)
