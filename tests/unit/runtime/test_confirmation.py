"""What a desk files of an agreed state."""

from __future__ import annotations

import pytest

from channels.model import NO_MARKS, Mark, Operation, Trade
from channels.runtime.confirmation import Confirmation
from tests.sansio import Joined
from tests.unit.core.judging import CALL, holding_a_call

MARKED = "  marks       2024-01-05 08:00:00 UTC, ETH/USD 2,300.00"


@pytest.fixture
def world() -> Joined:
    return holding_a_call()


def filed(world: Joined, *operations: Operation) -> list[str]:
    agreed = world.alice.channel.agreed
    assert agreed is not None
    channel = world.alice.channel
    return str(Confirmation(channel.deployment, channel.terms, channel.me, agreed, operations)).splitlines()


def test_a_trade_says_who_buys_what_for_how_much_and_at_which_spot(world: Joined) -> None:
    text = filed(world, world.trade((CALL.times(-3),), premium=40))
    assert f"  trade       party 1 buys {CALL.times(3)}" in text
    assert "  premium     party 0 pays 40.00" in text
    assert MARKED in text


def test_marks_are_told_with_their_moment_and_their_spots(world: Joined) -> None:
    assert MARKED in filed(world, world.mark())
    assert "  cash        0: 10,000.00   1: 10,000.00" in filed(world, world.mark())


def test_the_marks_of_an_empty_book_have_no_moment(world: Joined) -> None:
    assert "  marks       none: there is no position to mark" in filed(world, Mark())
    assert not [line for line in filed(world, Trade((CALL,), 0, NO_MARKS)) if "marks" in line]
