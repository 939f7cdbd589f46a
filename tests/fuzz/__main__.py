"""Coverage-guided fuzzing of the session's bytes-in door.

    python -m tests.fuzz --runs 2000                what CI runs: bounded, the same each time
    python -m tests.fuzz --minutes 60 --into DIR    a long run; what it finds new is kept in DIR
    python -m tests.fuzz --replay FILE              one input: what was said, what came of it
    python -m tests.fuzz --make [DIR ...]           make tests/fuzz/corpus anew, from real sessions and these folders

An input that breaks a law is written to the present folder as `crash-…`. `--engine loop` needs no atheris.
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
import tempfile
from pathlib import Path
from random import Random

ROOMS = ["channels.session", "channels.wire", "channels.core", "channels.model", "channels.seal", "channels.units"]


def main() -> None:
    """Read the command line and do it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--into", type=Path)
    parser.add_argument("--replay", type=Path)
    parser.add_argument("--make", nargs="*", type=Path)
    parser.add_argument("--engine", choices=("atheris", "loop"))
    asked = parser.parse_args()
    if asked.replay:
        replay(asked.replay.read_bytes())
    elif asked.make is not None:
        make(asked.make)
    elif (asked.engine or ("atheris" if importlib.util.find_spec("atheris") else "loop")) == "loop":
        loop(asked.seed, asked.runs, asked.minutes * 60)
    else:
        with tempfile.TemporaryDirectory() as scratch:
            run_atheris(asked.seed, asked.runs, asked.minutes * 60, asked.into or Path(scratch))


def replay(data: bytes) -> None:
    """Say what an input is, and what came of it."""
    from channels.errors import RuleViolation
    from channels.wire.codec import decode

    from .door import frames, play, read

    spec = read(data)
    print(f"at stage {spec.stage!r}, cut {spec.cut}, Bob's clock {spec.skew:+d} s")
    for piece in frames(spec.stream):
        try:
            print("  said:", str(decode(piece[4:]))[:400])
        except RuleViolation as broken:
            print(f"  said: {piece[:40].hex()}… ({len(piece)} bytes; {broken})")
    for heard in play(data)[1]:
        print(f"  -> {heard.outcome.value}", heard.hangup.error if heard.hangup else "")
        for record in heard.records:
            print("     recorded", type(record).__name__)
        for message in (*heard.sent, *heard.kept):
            print("     sent    " if message in heard.sent else "     kept    ", type(message).__name__)


def make(folders: list[Path]) -> None:
    """Write the corpus anew."""
    from .corpus import minimised, spoken, write

    found = [path.read_bytes() for folder in folders for path in sorted(folder.glob("*"))]
    print(write(minimised([*(data for said in spoken().values() for data in said), *found])), "inputs")


def loop(seed: int, runs: int, seconds: float) -> None:
    """Search without atheris."""
    from .corpus import kept, name_of, spoken
    from .loop import FoundInput, search

    try:
        found = search(kept(), spoken(), seed=seed, runs=runs, seconds=seconds)
    except FoundInput as broken:
        path = Path(f"crash-{name_of(broken.data)}")
        path.write_bytes(broken.data)
        print(f"{broken}\nreplay it: python -m tests.fuzz --replay {path}")
        raise SystemExit(77) from None
    print(f"every law held; {len(found)} inputs reached something new")


def run_atheris(seed: int, runs: int, seconds: float, into: Path) -> None:
    """Search with libFuzzer, by the coverage that atheris writes into the library's modules. Ends the process."""
    import atheris

    with atheris.instrument_imports(include=ROOMS, enable_loader_override=False):
        from .corpus import FOLDER, spoken
        from .door import MAX_INPUT, play
    from .mutate import mutate

    words = spoken()

    def test_one_input(data: bytes) -> None:
        play(data)

    def mutator(data: bytes, max_size: int, seed: int) -> bytes:
        return mutate(data, Random(seed), words)[:max_size]

    limits = [f"-runs={runs or -1}", f"-seed={seed}", f"-max_len={MAX_INPUT}", "-timeout=20", "-rss_limit_mb=1024"]
    if seconds:
        limits.append(f"-max_total_time={int(seconds)}")
    atheris.Setup(
        [sys.argv[0], *limits, "-len_control=0", str(into), str(FOLDER)], test_one_input, custom_mutator=mutator
    )
    atheris.Fuzz()


if __name__ == "__main__":
    main()
