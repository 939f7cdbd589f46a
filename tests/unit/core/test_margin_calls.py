"""What a channel makes of the chain's margin facts, and the clock of a call on boundary seconds."""

from __future__ import annotations

from dataclasses import replace
from itertools import accumulate

import pytest
from hypothesis import given, strategies as st

from channels.core import events as e, facts as f, notices as n, records as r, views
from channels.core.channel import Channel
from channels.core.commands import Notify, Persist
from channels.core.fold import evolve
from channels.core.machine import step
from channels.core.margin_calls import NO_CALL, MarginCall, call_times, execution_window, next_deadline
from channels.core.phases import Phase
from channels.model import EMPTY_BOOK, Intent, Party
from tests.roles import DAY, EXPIRY, HOUR, NOW, TERMS, UNIT, agreed, book
from tests.sansio import Joined

CURE = TERMS.cure_period
CALLED = f.CalledSeen(Party.ONE, NOW + CURE, 5, 1)


def heard(channel: Channel, *facts: f.ChainFact) -> tuple[Channel, list[object], list[n.Notice]]:
    """The channel after the chain said these, what was journalled, and what the owner was told."""
    records, told = [], []
    for fact in facts:
        result = step(channel, e.CHAIN_EVENTS[type(fact)](fact))
        channel = result.channel
        records += [command.record for command in result.commands if isinstance(command, Persist)]
        told += [command.notice for command in result.commands if isinstance(command, Notify)]
    return channel, records, told


@pytest.fixture
def channel() -> Channel:
    """Bob's channel, with version 1 registered."""
    world = Joined()
    world.fund(1_000, 1_000)
    world.confirm(f.RegisteredSeen(agreed(version=1).state, 0))
    return world.bob.channel


def registered(version: int, deadline: int = 0, **changes: object) -> f.RegisteredSeen:
    return f.RegisteredSeen(agreed(version=version, **changes).state, deadline)


def test_a_call_leaves_the_phase_and_is_told(channel: Channel) -> None:
    after, records, told = heard(channel, CALLED)
    version = channel.chain.version
    assert after.phase is channel.phase is Phase.OPEN
    assert after.chain.calls == (NO_CALL, MarginCall(NOW + CURE, version))
    assert records == [r.ChainSaid(CALLED)]
    assert told == [n.MarginCalled(Party.ONE, NOW + CURE, version)]


def test_a_cure_forgets_the_deadline_a_newer_state_remembers_it(channel: Channel) -> None:
    called, _, _ = heard(channel, CALLED)
    cured, _, told = heard(called, f.CuredSeen(Party.ONE, 6, 0))
    assert cured.chain.calls == (NO_CALL, NO_CALL)
    assert told == [n.MarginCallCured(Party.ONE)]
    disarmed, _, _ = heard(called, registered(called.chain.version + 1))
    assert disarmed.chain.calls == (NO_CALL, MarginCall(NOW + CURE))
    assert not disarmed.chain.calls[1].is_armed


def test_a_dispute_about_the_registered_state_leaves_the_call(channel: Channel) -> None:
    called, _, _ = heard(channel, CALLED)
    state = called.chain.registered
    disputed, _, _ = heard(called, f.RegisteredSeen(state, NOW + HOUR))
    assert disputed.phase is Phase.DISPUTED
    assert disputed.chain.calls == called.chain.calls


def test_a_reopen_and_a_close_end_every_call(channel: Channel) -> None:
    both = (CALLED, f.CalledSeen(Party.ZERO, NOW + CURE, 5, 3))
    version = channel.chain.version
    called, _, _ = heard(channel, f.RegisteredSeen(channel.chain.registered, NOW + HOUR), *both)
    assert all(call.is_armed for call in called.chain.calls)
    reopened, _, _ = heard(called, registered(version + 1, intent=Intent.REOPEN, valid_until=NOW + HOUR))
    assert reopened.chain.calls == (NO_CALL, NO_CALL)
    liquidated = f.LiquidatedSeen(Party.ONE, -5 * UNIT, UNIT, 7, 0)
    closed, _, told = heard(called, liquidated, f.ClosedSeen((1, 2)))
    assert closed.phase is Phase.CLOSED
    assert (closed.chain.liquidated, closed.chain.calls) == (liquidated, (NO_CALL, NO_CALL))
    assert told == [n.Liquidated(Party.ONE, -5 * UNIT, UNIT), n.ChannelClosed((1, 2))]


def test_a_release_is_told_and_its_payment_counted(channel: Channel) -> None:
    released = f.ReleasedSeen(Party.ZERO, 3 * UNIT, 5, 0)
    after, _, told = heard(channel, released, f.PaymentSeen(Party.ZERO, 3 * UNIT))
    assert after.chain.paid == (3 * UNIT, 0)
    assert told == [n.Released(Party.ZERO, 3 * UNIT), n.PaidOut(Party.ZERO, 3 * UNIT)]


def test_blocks_read_again_after_a_crash_change_nothing(channel: Channel) -> None:
    """Wherever the crash fell, reading the whole range again ends where one reading ends, and tells nothing twice."""
    version = channel.chain.version
    said = (
        CALLED,
        f.CuredSeen(Party.ONE, 5, 2),
        f.CalledSeen(Party.ONE, NOW + CURE, 5, 3),
        registered(version + 1),
        f.CalledSeen(Party.ZERO, NOW + 2 * CURE, 6, 1),
        f.CuredSeen(Party.ZERO, 7, 0),
        f.CalledSeen(Party.ONE, NOW + CURE, 8, 1),
    )
    once, _, told = heard(channel, *said)
    for cut in range(len(said) + 1):
        before, _, first = heard(channel, *said[:cut])
        again, _, second = heard(before, *said)
        assert again.chain == once.chain, cut
        assert first + second == told, cut


def test_the_fold_of_the_journal_is_the_channel(channel: Channel) -> None:
    after, records, _ = heard(channel, CALLED, registered(channel.chain.version + 1), replace(CALLED, block=9))
    *_, folded = accumulate(records, lambda held, record: evolve(held, record), initial=channel)
    assert folded == after


def test_the_clock_is_read_at_the_confirmed_blocks_time_and_with_the_registered_book(channel: Channel) -> None:
    assert views.margin_call_times(channel, Party.ONE) == call_times(NO_CALL, TERMS, EMPTY_BOOK, channel.chain.time)
    called, _, _ = heard(channel, CALLED)
    times = views.margin_call_times(step(called, e.BlockConfirmed(NOW + CURE)).channel, Party.ONE)
    assert times is not None and times.is_executable and times.until == NOW + CURE + HOUR
    foreign, _, _ = heard(called, registered(called.chain.version + 1, held=book()))
    assert views.margin_call_times(foreign, Party.ONE) is None


# The clock

BOOK = book()
"""Its legs expire at EXPIRY."""


def test_the_window_is_a_cure_period_within_bounds() -> None:
    for cure, window in ((300, HOUR), (HOUR, HOUR), (5 * HOUR, 5 * HOUR), (3 * DAY, DAY)):
        terms = replace(TERMS, cure_period=cure, challenge_period=7 * DAY)
        assert execution_window(NOW, terms, EMPTY_BOOK) == (NOW, NOW + window)


def test_an_expiry_before_the_windows_end_extends_it() -> None:
    late = EXPIRY + 2 * TERMS.grace
    assert execution_window(EXPIRY - HOUR, TERMS, BOOK) == (EXPIRY - HOUR, EXPIRY)
    assert execution_window(EXPIRY - HOUR + 1, TERMS, BOOK) == (EXPIRY - HOUR + 1, late)
    assert execution_window(late, TERMS, BOOK) == (late, late + HOUR)


def test_a_call_made_again_gets_the_rest_and_at_least_half() -> None:
    last = MarginCall(NOW)
    terms = replace(TERMS, cure_period=601)
    assert next_deadline(NO_CALL, terms, NOW) == NOW + 601
    assert next_deadline(last, terms, NOW - 500) == NOW
    assert next_deadline(last, terms, NOW - 301) == NOW
    assert next_deadline(last, terms, NOW - 300) == NOW + 1
    assert next_deadline(last, terms, NOW + 601) == NOW + 601 + 301
    assert next_deadline(last, terms, NOW + 602) == NOW + 602 + 601


@given(st.integers(-2 * DAY, 2 * DAY), st.integers(0, 1))
def test_a_call_stands_until_its_window_ends_and_is_executable_in_it(offset: int, version: int) -> None:
    call = MarginCall(NOW, version)
    times = call_times(call, TERMS, EMPTY_BOOK, NOW + offset)
    armed = version == 1
    assert times.stands is (armed and offset < HOUR)
    assert times.is_executable is (armed and 0 <= offset < HOUR)
