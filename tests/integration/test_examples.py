"""The examples, each in the one command that its first lines give, as a newcomer runs it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
EXAMPLES = sorted((ROOT / "examples").glob("[0-9]*.py"))


def run(*command: str, timeout: float = 60, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run Python on this checkout, piped, in an environment without a key."""
    inherited = {name: value for name, value in os.environ.items() if name != "CHANNELS_KEY"}
    return subprocess.run(
        [sys.executable, *command],
        cwd=ROOT,
        env={**inherited, "PYTHONPATH": str(ROOT), **environment},
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


def test_the_examples_are_numbered_without_a_gap() -> None:
    assert [int(example.name[:2]) for example in EXAMPLES] == list(range(1, len(EXAMPLES) + 1)) != []


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_the_command_is_in_the_docstring(example: Path) -> None:
    assert f"\n    python examples/{example.name}" in example.read_text("utf-8")


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_imports_nothing_but_the_library_trio_and_the_standard_library(example: Path) -> None:
    lines = example.read_text("utf-8").splitlines()
    roots = {line.split()[1].split(".")[0] for line in lines if line.startswith(("import ", "from "))}
    assert roots - set(sys.stdlib_module_names) <= {"channels", "trio"}


def test_01_trades_is_refused_and_closes() -> None:
    done = run("examples/01_trade_a_spread.py")
    assert done.returncode == 0, done.stderr
    told = {line.split()[0]: line for line in done.stdout.splitlines()}
    assert "lacks" in told["refused"] and "margin: initial margin" in told["refused"]
    assert done.stdout.count("position ") == 2
    # The spread costs what it is marked at: together they are paid what they put in, to the last unit.
    paid = [float(amount.replace(",", "")) for amount in told["closed"].rpartition(": ")[2].split(" and ")]
    assert sum(paid) == pytest.approx(20_000, abs=0.005) and min(paid) > 9_500
    assert done.stdout.splitlines()[-1].split() == ["event", "ChannelClosed"]
    assert not done.stderr


def test_02_the_stale_challenge_is_answered_and_the_newest_state_is_paid() -> None:
    done = run("examples/02_stale_challenge.py")
    assert done.returncode == 0, done.stderr
    told = re.search(r"a challenge with version (\d+); she holds (\d+): her node answers", done.stdout)
    assert told is not None and int(told[1]) < int(told[2])
    assert f"version {told[2]} is final" in done.stdout
    assert done.stdout.splitlines()[-1] == "paid        alice 10,600.00, mallory 9,400.00"
    assert not done.stderr


def test_03_both_sides_hold_the_same_state_and_persist_before_they_speak() -> None:
    done = run("examples/03_sans_io.py")
    assert done.returncode == 0, done.stderr
    steps = [line.split() for line in done.stdout.splitlines()]
    alices = [" ".join(step[1:]) for step in steps if step[0] == "alice"]
    proposals = [i for i, what in enumerate(alices) if what == "send Propose"]
    assert len(proposals) == 2 and all(alices[i - 1] == "persist Signed" for i in proposals)
    bobs = [" ".join(step[1:]) for step in steps if step[0] == "bob"]
    accepts = [i for i, what in enumerate(bobs) if what == "send Accept"]
    assert len(accepts) == 2 and all(bobs[i - 2 : i] == ["persist Signed", "persist StateAgreed"] for i in accepts)
    assert [what for name, *what in steps if what[0] == "holds"] == [
        ["holds", "version", "2,", "2", "legs,", "open"]
    ] * 2
    assert not done.stderr


def test_05_a_peer_that_cannot_pay_is_called_and_closed_out() -> None:
    done = run("examples/05_margin_call.py")
    assert done.returncode == 0, done.stderr
    story = [line.split()[0] for line in done.stdout.splitlines()]
    assert story == ["agreed", "alice", "alice", "alice", "alice", "paid"]
    told = done.stdout
    equity, maintenance = (
        float(x.replace(",", "")) for x in re.findall(r"equity ([\d,.]+), .* margin ([\d,.]+):", told)[0]
    )
    assert equity < maintenance
    value, charge = (float(x.replace(",", "")) for x in re.findall(r"value ([\d,.]+), charge ([\d,.]+)", told)[0])
    paid = [float(x.replace(",", "")) for x in re.findall(r"(?:alice|mallory) ([\d,.]+)(?:,|$)", told.splitlines()[-1])]
    # She paid 400 for the calls, and is paid what they are worth and what replacing them costs.
    assert paid[0] == pytest.approx(10_000 - 400 + value + charge, abs=0.02)
    assert sum(paid) == pytest.approx(20_000, abs=0.01)
    assert not done.stderr


def test_06_a_channel_comes_back_from_nothing_and_the_docs_show_what_is_printed() -> None:
    done = run("examples/06_recover_from_nothing.py")
    assert done.returncode == 0, done.stderr
    page = (ROOT / "docs" / "recovery.md").read_text("utf-8")
    shown = re.search(r"<!-- example 06 -->\n```\n(.*?)```", page, re.DOTALL)
    assert shown is not None
    told = done.stdout.splitlines()
    # Keys are drawn anew, so who is party 0 is not fixed; and both deposits may be agreed in one version or in two.
    versions = re.compile(r"(version|hold) [\d,]+")
    assert [versions.sub("", line) for line in told[:-1]] == [
        versions.sub("", line) for line in shown[1].splitlines()[:-1]
    ]
    before, after = (int(found.replace(",", "")) for found in re.findall(r"version ([\d,]+)", done.stdout)[:4:3])
    assert after == before + 2**48
    paid = [float(amount.replace(",", "")) for amount in told[-1].rpartition(": ")[2].split(" and ")]
    assert sorted(paid) == pytest.approx([9_999.82, 10_000.18], abs=0.02)
    assert done.stderr.count("may be an old copy") == 0


def test_the_sans_io_layer_needs_neither_trio_nor_web3() -> None:
    script = "import runpy, sys; runpy.run_path('examples/03_sans_io.py'); print(*{'trio', 'web3'} & set(sys.modules))"
    done = run("-c", script)
    assert (done.returncode, done.stdout) == (0, "\n"), done.stderr
