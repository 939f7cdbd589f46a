"""Thousands of runs of the simulator in CI, more at night: no seed breaks a law, and everything that can happen did.

A failure prints the seed and the command that replays it. The long run: `SIM_SEEDS=100000 pytest -m nightly tests/sim`.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests.sansio import nights
from tests.sim.__main__ import main
from tests.sim.faults import CRASHES
from tests.sim.world import run

CHUNKS = range(1_000), range(1_000, 2_000), range(-600, 0)
"""The last one with stern owners."""
FAULTS = {
    *(f"crash {place}" for place in CRASHES), "crash at rest", "cut", "cut with bytes on the way", "half-open",
    "delayed", "split", "partition", "both dial", "slow disk", "clock jump", "endpoint behind", "blocks read again",
    "reorg", "transaction lost in a reorg", "stale state shown", "dispute ran out", "deal declined", "checkpoint",
    "barred at rest",
}  # fmt: skip
ACTS = {
    "open", "deposit", "trade", "mark", "withdraw", "close-out", "close", "challenge", "reopen", "one more mark",
    "trade: ExposureTooHigh",
}  # fmt: skip
MESSAGES = {
    "Greeting", "Hello", "Open", "OpenAccepted", "OpenRefused", "Propose", "Accept", "Reject", "WantTurn", "PassTurn",
    "Resume", "CollateralCall",
}  # fmt: skip
"""All but Fault, which no honest peer ever gets: that is one of the laws."""
OPERATIONS = {"Trade", "Withdraw", "Mark", "Acknowledge", "SettleExpiry", "CloseOut", "Close", "Reopen"}
EXPECTED = FAULTS | ACTS | {f"message {name}" for name in MESSAGES} | {f"agreed {name}" for name in OPERATIONS}


def played(seeds: range) -> Counter[str]:
    """Play seeds; fail with the first that breaks a law; return what happened in all."""
    happened: Counter[str] = Counter()
    for seed in seeds:
        outcome = run(seed)
        if outcome.broken is not None:
            last = "\n".join(outcome.lines[-25:])
            pytest.fail(f"{outcome.broken}\n{last}\n\nreplay: python -m tests.sim {seed}", pytrace=False)
        happened += outcome.happened
    return happened


@pytest.mark.parametrize("seeds", CHUNKS, ids=str)
def test_no_seed_breaks_a_law_and_everything_happened(seeds: range) -> None:
    happened = played(seeds)
    silent = sorted(EXPECTED - happened.keys())
    assert not silent, f"never happened, so the laws were not put to the test: {silent}"


@pytest.mark.nightly
def test_a_long_night() -> None:
    first = int(os.environ.get("SIM_FROM", 1_000_000))
    night = nights("SIM_SEEDS", 100_000)
    happened = played(range(first, first + night)) + played(range(-first - night // 4, -first))
    assert not EXPECTED - happened.keys()


def test_a_seed_is_a_run_whatever_the_process() -> None:
    """Line by line, in this process twice and in another one that hashes differently."""
    seeds = (3, 17, 29)
    here = [run(seed).fingerprint for seed in seeds]
    assert [run(seed, tell=lambda line: None).fingerprint for seed in seeds] == here
    assert len(set(here)) == len(seeds)
    code = f"from tests.sim.world import run; print(*(run(seed).fingerprint for seed in {seeds}))"
    root = Path(__file__).parents[2]
    env = {**os.environ, "PYTHONHASHSEED": "4321", "PYTHONPATH": str(root)}
    there = subprocess.run([sys.executable, "-c", code], cwd=root, env=env, check=True, capture_output=True, text=True)
    assert there.stdout.split() == here


def test_one_command_replays_a_seed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["5"]) == 0
    told = capsys.readouterr().out
    assert "everything heals" in told
    assert told.splitlines()[-1] == f"seed 5, fingerprint {run(5).fingerprint}: every law holds"


def test_a_broken_law_is_told_with_the_command_that_shows_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--plant", "a node speaks before it persists", "--seeds", "1"]) == 1
    assert "python -m tests.sim 0\n" in capsys.readouterr().out
