"""Coverage-guided fuzzing without atheris: slower by much, under the same laws, and the same run for a seed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from random import Random
from time import monotonic

from .coverage import covered
from .door import play
from .mutate import mutate


def search(
    seeds: Sequence[bytes], words: Mapping[str, Sequence[bytes]], *, seed: int, runs: int, seconds: float = 0
) -> list[bytes]:
    """Play mutations of what reached something new; return the inputs that did. `runs` 0: until the seconds are over.

    Raises FoundInput with the input that breaks a law.
    """
    rng, pool = Random(seed), list(seeds)
    seen: set[tuple[str, int]] = set()
    for data in pool:
        seen |= covered(partial(_held, data))
    found: list[bytes] = []
    started, done = monotonic(), 0
    while (not runs or done < runs) and (not seconds or monotonic() - started < seconds):
        data = mutate(rng.choice(pool), rng, words)
        lines = covered(partial(_held, data))
        done += 1
        if lines - seen:
            seen |= lines
            pool.append(data)
            found.append(data)
    return found


class FoundInput(AssertionError):
    """An input breaks a law; `data` replays it."""

    def __init__(self, data: bytes, broken: AssertionError) -> None:
        super().__init__(f"{broken} (input {data.hex()[:200]}, {len(data)} bytes)")
        self.data = data


def _held(data: bytes) -> None:
    try:
        play(data)
    except AssertionError as broken:
        raise FoundInput(data, broken) from broken
