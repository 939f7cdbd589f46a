"""When our money is free without the peer: each term of the formulas, in each phase."""

from __future__ import annotations

from dataclasses import replace

import pytest

from channels.core.channel import ChainView, Channel
from channels.core.exit import ExitTimes, exit_times, standing
from channels.core.facts import SettlementSeen
from channels.errors import NotPermitted
from channels.model import EMPTY_BOOK, Intent, Party
from channels.risk import DEFAULT_POLICY
from tests.roles import (
    CHANNEL,
    DAY,
    DEPLOYMENT,
    ETH,
    EXPIRY,
    HOUR,
    LATER,
    NOW,
    TERMS,
    Leg,
    agreed,
    book,
    condor,
    state,
)

BOOK = book((*condor(), Leg.call(ETH, LATER, 2300, quantity=1)))
OPEN = Channel(DEPLOYMENT, TERMS, CHANNEL, Party.ZERO, DEFAULT_POLICY, accepted=True, agreed=agreed(BOOK))
"""Challenge 1 h, grace 2 h, last resort a year from now; expiries 7 and 21 days from now."""


def seen(channel: Channel, **facts: object) -> Channel:
    return replace(channel, chain=replace(channel.chain, **facts))  # type: ignore[arg-type]


def test_an_open_channel_is_paid_at_its_last_expiry() -> None:
    assert exit_times(OPEN, NOW) == ExitTimes(
        deadline=NOW + HOUR,
        last_expiry=LATER,
        paid_from=LATER,
        paid_by=LATER + 4 * HOUR,
        last_resort=NOW + 365 * DAY + HOUR + 4 * HOUR,
        agreed_close=None,
    )


def test_without_positions_the_challenge_is_all_there_is_to_wait_for() -> None:
    for channel in (replace(OPEN, agreed=agreed()), replace(OPEN, agreed=None)):
        times = exit_times(channel, NOW)
        assert (times.deadline, times.last_expiry, times.paid_from, times.paid_by) == (NOW + HOUR, 0, *[NOW + HOUR] * 2)


def test_a_dispute_that_runs_has_its_own_deadline() -> None:
    disputed = seen(OPEN, deadline=NOW + 60, time=NOW, registered=state(BOOK))
    assert exit_times(disputed, NOW).deadline == NOW + 60
    late = seen(OPEN, deadline=NOW + 400 * DAY, time=NOW, registered=state(BOOK))
    times = exit_times(late, NOW)
    assert times.paid_from == times.paid_by == times.deadline
    assert times.last_resort == times.deadline + 5 * HOUR


def test_expiries_that_passed_are_not_waited_for_again() -> None:
    after = LATER + DAY
    assert exit_times(OPEN, after).paid_from == exit_times(OPEN, after).paid_by == after + HOUR


def test_a_known_settlement_waits_for_no_grace() -> None:
    final = seen(OPEN, settlements=(SettlementSeen(ETH, LATER, 1),))
    assert exit_times(final, NOW).paid_by == LATER
    other = seen(OPEN, settlements=(SettlementSeen(ETH, EXPIRY, 1),))
    assert exit_times(other, NOW).paid_by == LATER + 4 * HOUR


def test_an_agreed_close_pays_at_once_while_it_is_good() -> None:
    close = agreed(EMPTY_BOOK, version=2, intent=Intent.CLOSE, valid_until=NOW + 600)
    closing = replace(OPEN, closing=close)
    assert exit_times(closing, NOW + 600).agreed_close == NOW + 600
    assert exit_times(closing, NOW + 601).agreed_close is None
    reopen = replace(OPEN, closing=agreed(BOOK, version=2, intent=Intent.REOPEN, valid_until=NOW + 600))
    assert exit_times(reopen, NOW).agreed_close is None


def test_after_the_deadline_the_registered_state_is_what_counts() -> None:
    newer = replace(OPEN, agreed=agreed(book(), version=2))
    over = {"deadline": NOW - 1, "time": NOW}
    assert standing(seen(newer, deadline=NOW + 1, time=NOW, registered=state()))[1] == book()
    assert standing(seen(newer, registered=state(), **over)) == (state(), EMPTY_BOOK)
    assert exit_times(seen(newer, registered=state(), **over), NOW).paid_by == NOW - 1
    with pytest.raises(NotPermitted, match="the book of the final state is not known here"):
        standing(seen(newer, registered=state(BOOK), **over))


def test_a_closed_channel_has_no_margin() -> None:
    closed = replace(OPEN, chain=ChainView(payouts=(1, 2)))
    for ask in (standing, lambda channel: exit_times(channel, NOW)):
        with pytest.raises(NotPermitted, match="it is paid"):
            ask(closed)
