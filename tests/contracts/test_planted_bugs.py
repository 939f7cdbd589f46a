"""One bug at a time is planted in the adjudicator's source; the machine must find each of them, by a law that names it.

The laws judge by deeds here, not by words: a mutant that merely refuses with another text has not been found yet.
"""

from collections.abc import Collection

import pytest

from tests.contracts.laboratory import Mutation, adjudicator
from tests.contracts.machine import campaign
from tests.contracts.mutants import MARGIN_MUTANTS, MUTANTS
from tests.contracts.verdicts import LawBroken

MONEY = frozenset({"invariant 1", "invariant 2", "invariant 3", "invariant 8"})
"""Somebody was paid what is not theirs."""
CAUGHT_BY = {
    "no clamp: a claim above the pot is paid with other channels' money": MONEY,
    "no clamp: a claim outside the pot reverts": {"invariant 4"},
    "pot read once for both withdrawals": {"invariant 1"},
    "pot read once for both withdrawals, behind the backstop": {"refusal", "invariant 4"},
    "cash without withdrawal - W": MONEY,
    "challenge accepted after the deadline": {"invariant 5"},
    "challenge accepted in the deadline's own second": {"invariant 5"},
    "the deadline restarts with each answer": {"invariant 5"},
    "a reopen may forget a payment": {"refusal"},
    "no tombstone": {"invariant 4", "invariant 5"},
    "high s accepted": {"refusal", "invariant 2"},
    "one signature is enough": {"refusal", "invariant 2"},
    "a live leg settles": MONEY | {"refusal"},
    "a pin can be overwritten": {"refusal", "invariant 7"},
    "a failed push blocks the other side": {"invariant 4", "refusal"},
    "a source that reverts holds the money": {"invariant 4", "refusal"},
    "withdrawals are not booked": {"status", "invariant 1"},
    "a stranger starts a dispute": {"invariant 7"},
    "a permit that fails refuses the deposit": {"refusal"},
    "the last resort does not wait": {"refusal"},
}
CALLED = {"invariant 6", "status", "events"}
"""A call, or a close-out, that is against its rules."""
MARGIN_CAUGHT_BY = {
    "a recall gives no notice": CALLED,
    "a recall gives a second less than half a cure period": CALLED,
    "a call long ago shortens a new one": CALLED,
    "a newer state does not disarm": CALLED | {"refusal"},
    "anyone calls and liquidates": {"invariant 6"},
    "a party calls and liquidates itself": {"invariant 6"},
    "a call pending is renewed": {"refusal", "invariant 6"},
    "a call needs no breach": {"invariant 6", "refusal"},
    "a liquidation needs no second proof": {"invariant 6"},
    "a liquidation a second before the deadline": {"invariant 6"},
    "the charge moves although both are called": {"invariant 8", "events"},
    "the execution window never lapses": {"invariant 6", "refusal"},
    "the execution window is a second longer": {"invariant 6", "refusal"},
    "the execution window does not wait for a settlement": {"refusal"},
    "a withdrawal that is due still counts as collateral": {"refusal", "invariant 6"},
    "a cure passes one row instead of the grid": {"invariant 8", "refusal"},
    "a cured call stays": {"status"},
    "a reopening leaves the calls": {"status"},
    "a release pays an unrealised gain": {"invariant 2"},
    "a release takes margin out": {"invariant 2"},
    "a release is not booked": {"invariant 2", "invariant 1", "status"},
    "a release before the deadline": {"invariant 2"},
    "a stale spot will do": {"invariant 6", "invariant 2", "invariant 8"},
    "a call holds the channel open": {"invariant 4"},
    "a liquidation does not wait for a settlement": {"invariant 6"},
}
EXAMPLES, STEPS = 400, 40
SEEDS = range(1, 6)
"""One after the other until one meets the bug: most do at once, and a rare bug may pass four hundred lives by."""

AT_NIGHT = {
    "a recall gives a second less than half a cure period",
    "anyone calls and liquidates",
    "a call pending is renewed",
    "a call needs no breach",
    "the execution window is a second longer",
    "a withdrawal that is due still counts as collateral",
    "a cure passes one row instead of the grid",
    "a cured call stays",
    "a reopening leaves the calls",
    "a release takes margin out",
    "a release is not booked",
    "a release before the deadline",
}
"""Neighbours of a bug that CI plants: `pytest -m nightly tests/contracts/test_planted_bugs.py`."""


def _nightly(name: str) -> object:
    return pytest.param(name, marks=pytest.mark.nightly) if name in AT_NIGHT else name


@pytest.mark.parametrize("name", MUTANTS)
def test_the_machine_catches(name: str) -> None:
    """A campaign against the mutant ends early, by the law that the bug breaks."""
    _caught(MUTANTS[name], CAUGHT_BY[name])


@pytest.mark.parametrize("name", map(_nightly, MARGIN_MUTANTS))
def test_the_machine_catches_in_margin(name: str) -> None:
    """As above: a call, a cure, a close-out or a release that should not have been."""
    _caught(MARGIN_MUTANTS[name], MARGIN_CAUGHT_BY[name])


def _caught(mutations: tuple[Mutation, ...], by: Collection[str]) -> None:
    mutant = adjudicator(*mutations)
    for seed in SEEDS:
        try:
            campaign(EXAMPLES, STEPS, seed, bytecode=mutant, wording=False)
        except LawBroken as caught:
            assert caught.law in by, caught
            return
    pytest.fail("no campaign met the bug")
