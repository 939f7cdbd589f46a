"""The bounded fuzzing that CI does, the corpus under every law, and proof that a bug behind a signature is found."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any, get_args

import pytest

from channels.core import events as e, machine, updates
from channels.core.commands import Persist
from channels.core.outcome import Step
from channels.errors import RuleViolation
from channels.session import Seat, Session
from channels.wire import messages as m
from channels.wire.codec import decode
from tests.hostile.stages import STAGES

from .corpus import FOLDER, MAX_FILE, kept, name_of, spoken
from .door import CUTS, HEADER, MAX_INPUT, Input, frames, play, read
from .loop import FoundInput, search
from .mutate import mutate

RUNS = 1_000
NIGHT = float(os.environ.get("FUZZ_MINUTES", "60"))
HOME = Path(__file__).parents[2]


def fuzz(tmp_path: Path, *arguments: str) -> None:
    """Run the command that a person would."""
    command = [sys.executable, "-m", "tests.fuzz", *arguments]
    done = subprocess.run(command, cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(HOME)}, capture_output=True)
    assert done.returncode == 0, (done.stdout + done.stderr)[-4_000:].decode()


@pytest.mark.parametrize("data", kept(), ids=name_of)
def test_the_corpus_keeps_every_law(data: bytes) -> None:
    play(data)


def test_a_bounded_search_finds_nothing(tmp_path: Path) -> None:
    """By atheris where it is installed, else by the loop: the same laws, the same inputs to begin with."""
    fuzz(tmp_path, "--runs", str(RUNS), "--seed", "1")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.nightly
def test_a_long_search_finds_nothing(tmp_path: Path) -> None:
    fuzz(tmp_path, "--minutes", str(NIGHT), "--seed", str(Random().randrange(2**31)))


def test_the_corpus_is_small_named_by_its_content_and_in_every_phase() -> None:
    files = sorted(FOLDER.glob("*"))
    assert 20 <= len(files) <= 200
    for path in files:
        assert path.name == name_of(path.read_bytes())
        assert HEADER <= path.stat().st_size <= MAX_FILE
    stages = {read(data).stage for data in kept()}
    assert {STAGES[name].phase for name in stages} == {stage.phase for stage in STAGES.values()}


def test_every_message_is_in_the_dictionary() -> None:
    said = set()
    for data in (data for each in spoken().values() for data in each):
        for piece in frames(read(data).stream):
            try:
                said.add(type(decode(piece[4:])))
            except RuleViolation:
                continue
    assert said == set(get_args(m.Message))


def test_any_bytes_are_an_input_and_a_mutation_is_one_too() -> None:
    rng, words = Random(1), spoken()
    for _ in range(300):
        data = mutate(rng.randbytes(rng.randrange(40)), rng, words)
        assert read(data) == read(read(data).data)
        assert len(data) <= MAX_INPUT
    assert read(b"") == Input("a stranger", CUTS[0], 0, b"")


# Bugs that are found


def unrecorded(original: Callable[..., Step]) -> Callable[..., Step]:
    """An answer that leaves without its records."""

    def step(channel: Any, event: Any) -> Step:
        made = original(channel, event)
        return Step(made.channel, tuple(c for c in made.commands if not isinstance(c, Persist)))

    return step


def lost_answers(self: Session, message: Any, now: int, outputs: list[Any]) -> None:
    """What is signed before a fault in the same read is lost: the bug that this fuzzer found when it was new."""
    waiting: list[Any] = []
    ORIGINAL(self, message, now, waiting)
    outputs += waiting


ORIGINAL = Session._receive


def untyped(self: Seat, version: int, signature: bytes) -> Any:
    return self.channel.halves[version].half.state


PLANTED: dict[str, Callable[[pytest.MonkeyPatch], None]] = {
    "a signature without a record": lambda patch: patch.setitem(
        machine._HANDLERS, e.SignatureMade, unrecorded(updates.signature_made)
    ),
    "an answer lost with the fault behind it": lambda patch: patch.setattr(Session, "_receive", lost_answers),
    "an error that is not typed": lambda patch: patch.setattr(Seat, "_receive_accept", untyped),
}


@pytest.mark.parametrize("bug", PLANTED)
def test_a_planted_bug_is_found(bug: str, monkeypatch: pytest.MonkeyPatch) -> None:
    words = spoken()  # from worlds that were made before the bug was
    PLANTED[bug](monkeypatch)
    with pytest.raises(FoundInput) as found:
        search(kept(), words, seed=3, runs=3_000)
    monkeypatch.undo()
    play(found.value.data)
