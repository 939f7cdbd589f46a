"""The machine against the shipped adjudicator, and the proof that every rule and every refusal happened on the way.

A campaign is replayed by its seed: `MACHINE_SEED=… pytest tests/contracts/test_state_machine.py`.
"""

import os
import re
import secrets
from collections import Counter
from inspect import getmembers

import pytest
from hypothesis import settings

from channels.risk import DEFAULT_POLICY, MarginPolicy
from tests.contracts.laboratory import SOURCES
from tests.contracts.machine import Machine, campaign
from tests.contracts.margins import SMALL_POLICY
from tests.contracts.verdicts import LawBroken

pytestmark = pytest.mark.xdist_group("one campaign")
"""All proofs are read off one campaign, which one worker runs."""

CI_SEEDS, EXAMPLES, STEPS = (2, 3), 600, 32

STORIES = {"call", "recall", "reveal", "cured", "close_out", "late", "top-up"}
"""What the margin rules do on the way."""

NOT_NOW = "adjudicator: no executable call"

RULE = "hypothesis_stateful_rule"
"""How hypothesis marks a method that is a rule."""

ALWAYS_REFUSED = {"bad_deposit", "another_state", "settle_madness", "margin_madness", "forge"}
"""Rules whose every deed must fail; all others must have succeeded too."""

SILENT_RULES = {"mood", "engine_mood", "advance"}
"""Rules that ask the adjudicator for nothing."""

ELSEWHERE = {
    "adjudicator: not the adjudicator": "`push` called by others: an entry point test",
    "ledger: overpaid": "the backstop of an arithmetic that cannot get there: a planted bug reaches it",
    "state: version 0": "version 0 is stale before it is malformed",
    "token: wrong amount arrived": "a token that takes a fee: an entry point test",
    "token: too little gas": "counted as starved",
    "prices: too little gas": "counted as starved",
}
"""Refusals that the machine does not reach, and why."""


@pytest.fixture(scope="module")
def tally() -> Counter[tuple[str, str]]:
    """Campaigns of the size that CI affords."""
    seeds = (int(os.environ["MACHINE_SEED"]),) if "MACHINE_SEED" in os.environ else CI_SEEDS
    return sum((_campaign(EXAMPLES, STEPS, seed) for seed in seeds), Counter())


def test_every_law_holds_and_every_rule_fired(tally: Counter[tuple[str, str]]) -> None:
    """No law broke in the campaign; each rule of the machine did its deed, and succeeded where it may."""
    rules = {name for name, member in getmembers(Machine) if hasattr(member, RULE)} - SILENT_RULES
    done = {name.split()[0] for (name, outcome), count in tally.items() if count}
    succeeded = {name.split()[0] for (name, outcome), count in tally.items() if count and outcome == "ok"}
    named_otherwise = {"sign_anything": "anything", "blacklist": "claim", "cure": "cured"}
    assert {named_otherwise.get(rule, rule) for rule in rules} - done == set()
    assert {named_otherwise.get(rule, rule) for rule in rules} - ALWAYS_REFUSED - succeeded - {
        "sign",
        "report",
    } == set()
    assert {"gift", "guard", "dispute", "blocked", "returned", "last"} | STORIES <= succeeded, "deeds within rules"
    for how in ("valid", "last second", "front-run", "allowed", "again"):
        assert tally[f"deposit_with_permit {how}", "ok"], f"no deposit with a permit: {how}"
    for how in ("refused", "short", "expired", "stolen", "again"):
        assert tally[f"deposit_with_permit {how}", "token: transfer refused"], f"no permit failed: {how}"
    for move in ("pay", "withdraw", "trade", "acknowledge", "phantom"):
        assert tally["sign", move], f"no state was signed for {move}"
    assert tally["report", "spot"] and tally["report", "settlement"] and tally["starve", "starved"]
    assert all(tally["mood", str(mode)] and tally["engine_mood", str(mode)] for mode in range(4))


def test_every_refusal_was_heard(tally: Counter[tuple[str, str]]) -> None:
    """Every revert string of the adjudicator came up, in a deed that the model refused in the same words."""
    texts = [path.read_text("utf-8") for path in (SOURCES / "modules").glob("*.vy")]
    texts.append((SOURCES / "Adjudicator.vy").read_text("utf-8"))
    known = set(re.findall(r'"((?:adjudicator|ledger|payoff|prices|signatures|state|token): [^"]+)"', "\n".join(texts)))
    heard = {outcome for _, outcome in tally}
    assert known, "the sources name their refusals"
    assert known - heard - ELSEWHERE.keys() == set()
    assert ELSEWHERE.keys() <= known, "an exception for a refusal that is gone"
    assert "" in heard, "bytes that are no book"


def test_every_boundary_second_was_visited(tally: Counter[tuple[str, str]]) -> None:
    """A second before, at and after: deadlines, expiries, both graces, the last resort, the validity of a state."""
    for until in ("deadline", "expiry", "grace", "grace twice", "valid until"):
        for offset in ("-1", "+0", "+1"):
            assert tally["advance", f"{until} {offset}"], f"never at {until} {offset}"
    assert tally["answer -1", "ok"] and tally["answer +0", "adjudicator: deadline passed"]
    assert tally["last_resort -1", "adjudicator: too early"] and tally["last_resort +0", "ok"]
    for until in ("deadline of a call", "window of a call"):
        for offset in ("-1", "+0", "+1"):
            assert tally["advance", f"{until} {offset}"], f"never at the {until} {offset}"
    assert tally["close_out deadline -1", NOT_NOW] and tally["close_out deadline +0", "ok"]
    assert tally["late window -1", "ok"] and tally["late window +0", NOT_NOW], "a window that waited for a settlement"
    assert tally["cured -1", "adjudicator: not compliant"] and tally["cured +0", "ok"]


def test_an_adversary_laid_siege_to_whoever_left(tally: Counter[tuple[str, str]]) -> None:
    """Honest parties on their way out were called, by the shipped engine or by one that died thereafter."""
    for kind in ("shipped", "fickle"):
        assert tally[f"siege call {kind}", "ok"], f"nobody was called: {kind}"
        assert sum(count for (name, _), count in tally.items() if name == f"siege liquidation {kind}")
    assert tally["siege liquidation shipped", "ok"], "a true breach is executed"
    assert not tally["siege liquidation fickle", "ok"], "a dead engine executes nothing"
    assert {tally[f"siege {deed} fickle", "engine: hostile"] > 0 for deed in ("cure", "liquidation")} == {True}


@pytest.mark.nightly
def test_a_night_of_it() -> None:
    """The long campaign: `HYPOTHESIS_PROFILE=nightly pytest -m nightly`; a fresh seed every time."""
    number = int(os.environ.get("MACHINE_SEED", secrets.randbits(32)))
    _campaign(settings().max_examples, 2 * STEPS, number)


@pytest.mark.nightly
def test_a_night_with_the_default_policy() -> None:
    """As above, margin by the policy that ships: seven times the rows, so a fifth of the examples."""
    number = int(os.environ.get("MACHINE_SEED", secrets.randbits(32)))
    _campaign(settings().max_examples // 5, STEPS, number, DEFAULT_POLICY)


def _campaign(examples: int, steps: int, number: int, policy: MarginPolicy = SMALL_POLICY) -> Counter[tuple[str, str]]:
    print(f"MACHINE_SEED={number}")
    try:
        return campaign(examples, steps, number, shrink=True, policy=policy)
    except LawBroken as broken:
        broken.add_note(f"replay with MACHINE_SEED={number}")
        raise
