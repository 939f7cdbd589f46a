"""One bug at a time is planted in the adjudicator's source; the machine must find each of them, by a law that names it.

The laws judge by deeds here, not by words: a mutant that merely refuses with another text has not been found yet.
"""

import pytest

from tests.contracts.laboratory import adjudicator
from tests.contracts.laws import LawBroken
from tests.contracts.machine import campaign
from tests.contracts.mutants import MUTANTS

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
    "the last resort does not wait": {"refusal"},
}
EXAMPLES, STEPS, SEED = 400, 40, 1


@pytest.mark.parametrize("name", MUTANTS)
def test_the_machine_catches(name: str) -> None:
    """A campaign against the mutant ends early, by the law that the bug breaks."""
    mutant = adjudicator(*MUTANTS[name])
    with pytest.raises(LawBroken) as caught:
        campaign(EXAMPLES, STEPS, SEED, bytecode=mutant, wording=False)
    assert caught.value.law in CAUGHT_BY[name], caught.value
