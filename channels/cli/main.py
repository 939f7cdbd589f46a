"""The `channels` command: finds the verb, runs it, and turns whatever went wrong into one line and an exit status.

Exit status: 0 done, 1 failed or refused, 2 wrong arguments, 130 interrupted. No traceback reaches a user; with
CHANNELS_DEBUG set in the environment, an error that nobody foresaw shows its own.
"""

from __future__ import annotations

import argparse
import io
import logging
import os
import sys
from collections.abc import Iterator, Sequence

from .. import __version__
from ..errors import ChannelError
from .verbs import verbs

DEBUG_VARIABLE = "CHANNELS_DEBUG"
EXIT_FAILED, EXIT_USAGE, EXIT_INTERRUPTED = 1, 2, 130
_EPILOG = """\
start with:
  channels demo                          two parties trade, disagree and are paid, on a chain in this process
  channels demo --scenario cooperative   the same, ending in agreement
  channels margin STORE                  what a channel's positions need, and when its money is free
  channels VERB --help                   what a verb takes
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command line (default: this process's) and return its exit status."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A terminal that lacks a letter of ours gets a question mark, not a traceback.
            stream.reconfigure(errors="replace")
    _quiet_logging()
    parser = build_parser()
    chosen = parser.parse_args(arguments)
    if chosen.verb is None:
        parser.print_help(sys.stderr)
        return EXIT_USAGE
    try:
        status: int = chosen.run(chosen)
        sys.stdout.flush()
    except BaseException as error:
        return _report(error)
    return status


def build_parser() -> argparse.ArgumentParser:
    """Return the parser with every verb of the table."""
    parser = argparse.ArgumentParser(
        prog="channels",
        description="Option trading off-chain, in channels that a contract settles whatever happens.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"channels {__version__} (option-channels)")
    table = parser.add_subparsers(dest="verb", metavar="VERB", title="verbs")
    for verb in verbs():
        made = table.add_parser(
            verb.NAME,
            help=verb.SUMMARY,
            description=verb.DESCRIPTION,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        verb.configure(made)
        made.set_defaults(run=verb.run)
    return parser


def _report(error: BaseException) -> int:
    """Print what went wrong in one line; return the exit status."""
    causes = list(_flat(error))
    if any(isinstance(cause, KeyboardInterrupt) for cause in causes):
        print("channels: interrupted", file=sys.stderr)
        return EXIT_INTERRUPTED
    first = next((cause for cause in causes if not isinstance(cause, ChannelError)), causes[0])
    if isinstance(first, SystemExit):
        raise first
    if isinstance(first, BrokenPipeError):
        # Whoever read our output has gone; Python would complain once more when it closes the pipe.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_FAILED
    if isinstance(first, ChannelError | OSError):
        print(f"channels: {first}", file=sys.stderr)
        return EXIT_FAILED
    if os.environ.get(DEBUG_VARIABLE):
        raise error
    text = f"{type(first).__name__}: {first}".splitlines()[0]
    print(f"channels: a bug, please report it ({text}); {DEBUG_VARIABLE}=1 shows where", file=sys.stderr)
    return EXIT_FAILED


def _flat(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from _flat(inner)
    else:
        yield error


class _OneLine(logging.Formatter):
    """Warnings of a node are for its owner: one line, and no traceback."""

    def formatException(self, exc_info: object) -> str:  # noqa: N802  # logging's own name
        return ""


def _quiet_logging() -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_OneLine("channels: %(levelname)s: %(message)s"))
    handler.setLevel(logging.WARNING)
    logger = logging.getLogger("channels")
    logger.handlers = [handler]
    logger.propagate = False
