"""`channels demo` as a newcomer runs it: in a process of its own, read as a person and as a program reads it."""

from __future__ import annotations

import copy
import fcntl
import json
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tests.integration.recompute_demo import faults

ROOT = Path(__file__).parents[2]
DATA = ROOT / "tests" / "data"
SCENARIOS = ("dispute", "cooperative", "margin-call", "no-show")
ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
LIMIT = 60
"""Seconds that the demo may take."""
Document = dict[str, Any]
Finished = subprocess.CompletedProcess[str]


def environment(**changes: str) -> dict[str, str]:
    """This process's environment, without what would change how a terminal is treated."""
    unset = {"NO_COLOR", "FORCE_COLOR", "COLUMNS", "LINES", "TTY_COMPATIBLE", "CHANNELS_DEBUG"}
    kept = {name: value for name, value in os.environ.items() if name not in unset}
    return {**kept, "PYTHONPATH": str(ROOT), **changes}


def run(*command: str, timeout: float = LIMIT, **changes: str) -> Finished:
    """Run Python on this checkout, piped."""
    return subprocess.run(
        [sys.executable, *command],
        cwd=ROOT,
        env=environment(**changes),
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=timeout,
        check=False,
    )


@cache
def played(scenario: str) -> Finished:
    """A scenario told to people, into a pipe."""
    return run("-m", "channels", "demo", "--scenario", scenario)


@cache
def documented(scenario: str) -> Finished:
    """A scenario told to a program."""
    return run("-m", "channels", "demo", "--scenario", scenario, "--json")


def flat(text: str) -> str:
    """The words of a text, however it is wrapped."""
    return " ".join(text.split())


# The document


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_an_independent_script_agrees_with_the_document(scenario: str) -> None:
    done = documented(scenario)
    document = json.loads(done.stdout)
    assert done.returncode == 0, done.stderr
    assert document["scenario"] == scenario
    assert faults(document, DATA) == []


def test_the_independent_script_imports_nothing_of_the_library() -> None:
    script = ROOT / "tests" / "integration" / "recompute_demo.py"
    loads = (
        "import runpy, sys; runpy.run_path(sys.argv[1]); assert not any(n.startswith('channels') for n in sys.modules)"
    )
    assert run("-c", loads, str(script)).returncode == 0


def _one_unit_more(d: Document) -> None:
    d["payout_paid"][0] += 1


def _expected_elsewhere(d: Document) -> None:
    d["payout_expected"].reverse()


def _a_leg_less(d: Document) -> None:
    del d["legs"][-1]


def _another_price(d: Document) -> None:
    d["settlement_prices"][0]["price"] = str(int(d["settlement_prices"][0]["price"]) + 10**12)


def _a_put_for_a_call(d: Document) -> None:
    d["legs"][-1]["kind"] = "put"


def _a_lost_unit(d: Document) -> None:
    d["wallet_after"][1] -= 1


def _a_version_twice(d: Document) -> None:
    d["versions"].append(d["versions"][-1])


def _an_old_state_settled(d: Document) -> None:
    d["settled_state"]["version"] -= 1


def _another_shortfall(d: Document) -> None:
    d["refused_trade"]["shortfall"] += 1


def _another_volatility(d: Document) -> None:
    d["last_book"]["legs"][0]["vol"] = str(int(d["last_book"]["legs"][0]["vol"]) + 10**13)


def _another_charge(d: Document) -> None:
    d["margin"]["bob"]["charges"]["short"] += 1


def _another_delta(d: Document) -> None:
    d["margin"]["alice"]["greeks"][0]["delta"] = "0"


def _something_left(d: Document) -> None:
    d["left_in_adjudicator"] = 1


def _no_gas(d: Document) -> None:
    del d["gas"]


@pytest.mark.parametrize(
    "plant",
    [
        _one_unit_more,
        _expected_elsewhere,
        _a_leg_less,
        _another_price,
        _a_put_for_a_call,
        _a_lost_unit,
        _a_version_twice,
        _an_old_state_settled,
        _another_shortfall,
        _another_volatility,
        _another_charge,
        _another_delta,
        _something_left,
        _no_gas,
    ],
    ids=lambda plant: plant.__name__.strip("_"),
)
def test_the_independent_script_finds_a_planted_fault(plant: Callable[[Document], None]) -> None:
    document = json.loads(documented("dispute").stdout)
    planted = copy.deepcopy(document)
    plant(planted)
    assert planted != document
    assert faults(planted, DATA)


def test_the_independent_script_finds_a_wrong_transfer() -> None:
    document = json.loads(documented("cooperative").stdout)
    document["replaced_by_transfer"]["transfer"] += 2
    assert faults(document, DATA)


def _another_close_out_spot(d: Document) -> None:
    d["margin_call"]["liquidation_spot"] = str(int(d["margin_call"]["liquidation_spot"]) + 10**13)


def _another_close_out_charge(d: Document) -> None:
    d["margin_call"]["charge"] -= 1


def _executed_too_soon(d: Document) -> None:
    d["margin_call"]["cure_deadline"] += 3


def _called_without_a_breach(d: Document) -> None:
    d["margin_call"]["maintenance_margin"] = d["margin_call"]["equity"]


def _an_unlabelled_crash(d: Document) -> None:
    d["synthetic_crash"]["label"] = "recorded"


@pytest.mark.parametrize(
    "plant",
    [
        _one_unit_more,
        _another_close_out_spot,
        _another_close_out_charge,
        _executed_too_soon,
        _called_without_a_breach,
        _an_unlabelled_crash,
        _another_volatility,
    ],
    ids=lambda plant: plant.__name__.strip("_"),
)
def test_the_independent_script_finds_a_planted_fault_in_a_close_out(plant: Callable[[Document], None]) -> None:
    document = json.loads(documented("margin-call").stdout)
    plant(document)
    assert faults(document, DATA)


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_the_document_is_all_there_is_on_stdout(scenario: str) -> None:
    done = documented(scenario)
    assert done.stdout == json.dumps(json.loads(done.stdout), indent=2) + "\n"
    assert "5. " in done.stderr
    assert not ANSI.search(done.stderr)


def test_every_field_of_the_document_is_documented() -> None:
    page = (ROOT / "docs" / "demo.md").read_text("utf-8")
    fields = {field for scenario in SCENARIOS for field in json.loads(documented(scenario).stdout)}
    assert [field for field in sorted(fields) if f"`{field}`" not in page] == []


# The story


def test_the_story_of_a_dispute() -> None:
    done, document = played("dispute"), json.loads(documented("dispute").stdout)
    story = flat(done.stdout)
    assert done.returncode == 0, done.stderr
    terms, deposit = story.index("the clock never restarts"), story.index("alice deposits")
    assert terms < deposit, "terms are shown before any money moves"
    assert "replayed from the chain's spot of 2222.19" in story
    assert "shifted by -3,024,000 s" in story
    assert "jiaxiang-cheng/definer" in story
    lacking = document["refused_trade"]["shortfall"]
    assert f"refused, initial margin would fail: shortfall {lacking // 10**6:,}.{lacking % 10**6:06d} USDC" in story
    assert "alice's node to: it saw the challenge and answered" in story
    challenged, answered = re.findall(r"registered: version (\d+)", story)
    assert int(challenged) < int(answered)
    assert f"registered: version {answered}, the latest" in story
    assert story.endswith("Paid is what was due, to the last unit (0.000001 USDC); every unit is accounted for.")


def test_the_story_of_a_margin_call() -> None:
    done, document = played("margin-call"), json.loads(documented("margin-call").stdout)
    story, call = flat(done.stdout), document["margin_call"]
    assert done.returncode == 0, done.stderr
    assert story.index("SYNTHETIC crash: from") < story.index("alice deposits"), "said before any money moves"
    assert call["by"] == "alice" and document["parties"][call["party"]]["name"] == "bob"
    for amount in (call["equity"], call["maintenance_margin"]):
        assert f"{amount / 10**6:,.2f}" in story
    assert f"bob pays alice {call['charge'] / 10**6:.6f} USDC" in story
    assert "the contract says the same" in story
    assert story.endswith("Paid is what was due, to the last unit (0.000001 USDC); every unit is accounted for.")


def test_both_sides_print_one_digest_for_each_trade() -> None:
    digests = re.findall(r"0x[0-9a-f]{64}", played("dispute").stdout.split("an iron condor, then")[1])
    assert len(digests) == 4
    assert digests[0] == digests[1] != digests[2] == digests[3]


def test_every_mark_shows_greeks_and_margin_of_both() -> None:
    story = played("dispute").stdout
    header = r"party +delta +gamma/1% +vega/pt +theta/d +equity +initial +maint\. +ratio"
    rows = re.findall(rf"{header}\n.*\n +alice( +[-,.\d]+)+ % *\n +bob( +[-,.\d]+)+ %", story)
    assert 5 <= len(rows) <= 10


@pytest.mark.parametrize(
    ("scenario", "words"),
    [
        ("cooperative", "no legs: a transfer replaced them all"),
        ("no-show", "bob has signed nothing: there is no state to enforce"),
    ],
)
def test_the_other_endings(scenario: str, words: str) -> None:
    done = played(scenario)
    assert done.returncode == 0, done.stderr
    assert words in flat(done.stdout)


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_piped_output_is_plain_and_fits_a_mail(scenario: str) -> None:
    lines = played(scenario).stdout.splitlines()
    assert not [line for line in lines if ANSI.search(line)]
    assert not [line for line in lines if len(line) > 100]
    assert not [line for line in lines if line != line.rstrip()]
    assert played(scenario).stderr == ""


# A terminal


@cache
def on_a_terminal(columns: int, **changes: str) -> str:
    """The dispute as a terminal of that width gets it, escape sequences included."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
    command = [sys.executable, "-m", "channels", "demo"]
    child = subprocess.Popen(
        command, cwd=ROOT, env=environment(TERM="xterm-256color", **changes), stdout=slave, stderr=slave
    )
    os.close(slave)
    seen = b""
    while True:
        try:
            piece = os.read(master, 65_536)
        except OSError:  # how Linux says that the other end of a terminal is gone
            break
        if not piece:
            break
        seen += piece
    os.close(master)
    assert child.wait(LIMIT) == 0
    return seen.decode()


def test_colours_on_a_terminal_and_progress() -> None:
    text = on_a_terminal(100)
    assert "\x1b[32m" in text
    assert "the clock moves" in text


def test_no_color_is_honoured() -> None:
    assert not re.search(r"\x1b\[(\d+;)*[349][0-7]", on_a_terminal(80, NO_COLOR="1"))


def test_a_narrow_terminal_gets_every_figure_whole() -> None:
    text = ANSI.sub("", on_a_terminal(80, NO_COLOR="1")).replace("\r\n", "\n")
    lines = [line.rpartition("\r")[2] for line in text.split("\n")]
    assert max(map(len, lines)) <= 80
    assert "…" not in text
    for figure in ("maint.", "theta/d", "to alice"):
        assert figure in text


# What goes wrong


def test_wrong_arguments_exit_with_2() -> None:
    for arguments in (["--scenario", "war"], ["--jsn"], ["more"]):
        done = run("-m", "channels", "demo", *arguments)
        assert (done.returncode, done.stdout) == (2, "")
        assert "usage: channels" in done.stderr
        assert "Traceback" not in done.stderr


def test_a_wrong_payment_is_not_hidden() -> None:
    planted = (
        "import sys; from channels.cli.demo import verdict; real = verdict.payouts\n"
        "verdict.payouts = lambda *a: tuple(x + d for x, d in zip(real(*a), (1, -1)))\n"
        "from channels.cli.main import main; sys.exit(main(['demo', '--scenario', 'no-show', *sys.argv[1:]]))"
    )
    done = run("-c", planted, "--json")
    assert done.returncode == json.loads(done.stdout)["exit_status"] == 1
    assert "NOT EQUAL" in done.stderr


def test_a_unit_too_many_in_the_contract_is_not_hidden() -> None:
    planted = """
import sys
from channels.cli.demo import acts
from channels.cli.main import main
real = acts.paid
async def paid(stage, *rest):
    await real(stage, *rest)
    stage.local.fund(stage.local.deployment.adjudicator, tokens=1)
acts.paid = paid
sys.exit(main(["demo", "--scenario", "no-show", "--json"]))
"""
    done = run("-c", planted)
    document = json.loads(done.stdout)
    assert done.returncode == document["exit_status"] == document["left_in_adjudicator"] == 1
    assert document["payout_paid"] == document["payout_expected"]


def test_without_the_extra_it_says_what_to_install() -> None:
    hidden = (
        "import sys; sys.modules['eth_tester'] = None; from channels.cli.main import main; sys.exit(main(['demo']))"
    )
    done = run("-c", hidden)
    assert done.returncode == 1
    assert done.stderr == "channels: the embedded chain needs an extra: pip install 'option-channels[local]'\n"


def test_it_needs_no_network_and_no_other_program() -> None:
    guarded = """
import sys
def guard(event, arguments):
    if event == "socket.connect" and arguments[1][0] != "127.0.0.1":
        raise SystemExit(f"connects to {arguments[1]}")
    if event == "socket.getaddrinfo" and arguments[0] not in ("127.0.0.1", b"127.0.0.1"):
        raise SystemExit(f"asks for {arguments[0]}")
    if event in ("subprocess.Popen", "os.system", "os.posix_spawn", "os.exec"):
        raise FileNotFoundError(2, "this machine has no other program", arguments[0])
sys.addaudithook(guard)
from channels.cli.main import main
sys.exit(main(["demo"]))
"""
    done = run("-c", guarded)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("moment", ["A channel between", "alice deposits", "time and prices move"])
def test_interrupted_it_says_so_and_leaves_nothing_behind(moment: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "channels", "demo"]
    child = subprocess.Popen(
        command,
        cwd=ROOT,
        env=environment(TMPDIR=str(tmp_path)),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert child.stdout is not None
    while moment not in child.stdout.readline():
        assert child.poll() is None
    child.send_signal(signal.SIGINT)
    _, errors = child.communicate(timeout=LIMIT)
    assert child.returncode == 130
    assert errors == "channels: interrupted\n"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "reader", "lines"), [("", "head -2", 2), ("--json --scenario no-show", "true", 0)]
)
def test_a_reader_who_leaves_gets_no_traceback(arguments: str, reader: str, lines: int) -> None:
    command = f"{sys.executable} -m channels demo {arguments} | {reader}"
    done = subprocess.run(
        command, shell=True, cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=LIMIT, check=False
    )
    assert len(done.stdout.splitlines()) == lines
    for complaint in ("Traceback", "Exception ignored", "Broken pipe", "channels:"):
        assert complaint not in done.stderr
