"""The `channels` command: whatever happens is one line and an exit status."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Callable, Iterator

import pytest

from channels import __version__
from channels.cli import main as command, verbs
from channels.cli.verbs import VERBS
from channels.errors import RpcUnavailable, StoreMissing


@pytest.fixture(autouse=True)
def untouched_logging() -> Iterator[None]:
    """The command sets up the library's logger: put it back for the tests that come after."""
    logger = logging.getLogger("channels")
    before = logger.handlers, logger.propagate
    yield
    logger.handlers, logger.propagate = before


def a_verb(run: Callable[[], int], monkeypatch: pytest.MonkeyPatch) -> None:
    """Make `channels act` do `run`."""

    class Act:
        NAME, SUMMARY, DESCRIPTION = "act", "", ""

        @staticmethod
        def configure(parser: argparse.ArgumentParser) -> None: ...

        @staticmethod
        def run(arguments: argparse.Namespace) -> int:
            return run()

    monkeypatch.setattr(command, "verbs", lambda: iter([Act]))


def raising(error: BaseException) -> Callable[[], int]:
    def run() -> int:
        raise error

    return run


MISSING = StoreMissing("/tmp/alice", "there is no store at this path")


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (MISSING, 1, f"channels: {MISSING}\n"),
        (ExceptionGroup("in a nursery", [ExceptionGroup("inner", [MISSING])]), 1, f"channels: {MISSING}\n"),
        (RpcUnavailable("http://x", "refused"), 1, "channels: the RPC at http://x does not answer (refused):"),
        (OSError(28, "No space left on device"), 1, "channels: [Errno 28] No space left on device\n"),
        (KeyboardInterrupt(), 130, "channels: interrupted\n"),
        (BaseExceptionGroup("in a nursery", [KeyboardInterrupt(), MISSING]), 130, "channels: interrupted\n"),
        (ValueError("two\nlines"), 1, "channels: a bug, please report it (ValueError: two); CHANNELS_DEBUG=1 shows"),
        (ExceptionGroup("both", [MISSING, ValueError("x")]), 1, "channels: a bug, please report it (ValueError: x);"),
    ],
)
def test_an_error_is_one_line_and_a_status(
    error: BaseException, status: int, said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    a_verb(raising(error), monkeypatch)
    monkeypatch.delenv(command.DEBUG_VARIABLE, raising=False)
    assert command.main(["act"]) == status
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(said)
    assert err.count("\n") == 1


def test_a_verbs_own_status_is_the_commands(monkeypatch: pytest.MonkeyPatch) -> None:
    a_verb(lambda: 7, monkeypatch)
    assert command.main(["act"]) == 7


def test_a_verb_may_exit_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    a_verb(raising(SystemExit(3)), monkeypatch)
    with pytest.raises(SystemExit) as left:
        command.main(["act"])
    assert left.value.code == 3


def test_debugging_shows_where_a_bug_is(monkeypatch: pytest.MonkeyPatch) -> None:
    a_verb(raising(ValueError("x")), monkeypatch)
    monkeypatch.setenv(command.DEBUG_VARIABLE, "1")
    with pytest.raises(ValueError, match="x"):
        command.main(["act"])


def test_a_warning_is_one_line_even_with_an_exception(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def warn() -> int:
        try:
            raise ValueError("inside")
        except ValueError:
            logging.getLogger("channels").exception("a connection ended")
        logging.getLogger("channels").info("nobody asked")
        return 0

    a_verb(warn, monkeypatch)
    assert command.main(["act"]) == 0
    assert capsys.readouterr().err.strip() == "channels: ERROR: a connection ended"


def test_version_and_help(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        command.main(["--version"])
    assert left.value.code == 0
    assert __version__ in capsys.readouterr().out
    assert command.main([]) == 2
    assert "channels demo" in capsys.readouterr().err


def test_every_verb_of_the_table_has_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert len({verb.NAME for verb in verbs.verbs()}) == len(VERBS)
    for verb in verbs.verbs():
        with pytest.raises(SystemExit) as left:
            command.main([verb.NAME, "--help"])
        assert left.value.code == 0
        assert f"usage: channels {verb.NAME}" in capsys.readouterr().out


def test_help_loads_no_chain_and_no_event_loop() -> None:
    from subprocess import run

    listed = "import sys; from channels.cli.main import build_parser; build_parser(); print(*sys.modules)"
    loaded = run([sys.executable, "-c", listed], capture_output=True, text=True, check=True).stdout.split()
    assert not {"web3", "trio", "rich", "eth_tester"} & set(loaded)
