"""The table of verbs: one module per verb, named here in the order of `channels --help`.

A verb's module is light to import (the table is read for every command), and loads what it needs when it runs.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from importlib import import_module
from typing import Protocol, cast

VERBS = (".demo.verb", ".margin", ".dispute")
"""Modules of the verbs, relative to this package."""


class Verb(Protocol):
    """What a verb's module has."""

    NAME: str
    SUMMARY: str
    """One line for `channels --help`."""
    DESCRIPTION: str
    """What `channels VERB --help` opens with."""

    def configure(self, parser: argparse.ArgumentParser) -> None:
        """Add the verb's arguments."""

    def run(self, arguments: argparse.Namespace) -> int:
        """Do it, and return the exit status. Any ChannelError raised becomes one line and exit status 1."""


def verbs() -> Iterator[Verb]:
    """Yield every verb, in the table's order."""
    for place in VERBS:
        yield cast(Verb, import_module(place, __package__))
