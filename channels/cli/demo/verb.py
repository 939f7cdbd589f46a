"""`channels demo`: the verb."""

from __future__ import annotations

import argparse

NAME = "demo"
SUMMARY = "tell the whole story of a channel, on a chain inside this process"
DESCRIPTION = """\
Two parties agree terms, deposit, trade an iron condor and a calendar spread over a real connection, are margined
along recorded prices, and part. Needs no network and no other program. The payoff is computed a second time from
the printed legs and prices; exit status 0 only if it equals what was paid, to the token's last unit.
"""
SCENARIOS = {
    "dispute": "bob cheats with an old state, alice's node answers, the contract settles (default)",
    "cooperative": "both sign a close, and are paid at once",
    "margin-call": "prices crash (synthetic), bob is silent, alice's node calls margin and closes bob out",
    "no-show": "bob never signs anything, alice leaves with its deposit",
}


def configure(parser: argparse.ArgumentParser) -> None:
    """Add `--scenario` and `--json`."""
    parser.add_argument("--scenario", choices=tuple(SCENARIOS), default="dispute", help="how the story ends")
    parser.add_argument(
        "--json", action="store_true", help="print one JSON document instead of the story; progress goes to stderr"
    )
    parser.epilog = "scenarios:\n" + "\n".join(f"  {name:13}{what}" for name, what in SCENARIOS.items())


def run(arguments: argparse.Namespace) -> int:
    """Play a scenario; return 0 if what was paid is what the legs and prices say."""
    from .play import play

    return play(arguments.scenario, as_json=arguments.json)
