"""Who tells the story: to people on stdout; where a document is wanted instead, only its headings, on stderr."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from textwrap import wrap

from rich.console import RenderableType
from rich.markup import escape
from rich.padding import Padding
from rich.rule import Rule
from rich.text import Text

from ..render import console

INDENT = 2


class Narrator:
    """Prints as the story goes. `quiet` keeps stdout free: headings and progress go to stderr."""

    def __init__(self, *, quiet: bool = False) -> None:
        self._quiet = quiet
        self._console = console(stderr=quiet)

    def title(self, text: str) -> None:
        """Open the story."""
        self._console.print(Text(text, style="bold"))

    def step(self, number: int, text: str) -> None:
        """Open one of the numbered steps."""
        if self._quiet:
            self._console.print(f"{number}. {escape(text)}")
        else:
            self._console.print()
            self._console.print(Rule(f"[bold]{number}[/bold]  {escape(text)}", align="left", style="dim"))

    def say(self, text: str, style: str = "") -> None:
        """Say a paragraph, wrapped here: rich would fill its lines with blanks to the right."""
        if not self._quiet:
            for line in wrap(text, self._console.width - INDENT):
                self._console.print(Text(" " * INDENT + line, style=style))

    def gap(self) -> None:
        """Leave a line free."""
        if not self._quiet:
            self._console.print()

    def show(self, what: RenderableType) -> None:
        """Show a table or a panel."""
        if not self._quiet:
            self._console.print(Padding.indent(what, INDENT))

    def verdict(self, text: str, *, good: bool) -> None:
        """Close the story: the one line that matters."""
        self._console.print()
        self._console.print(Text(text, style="bold green" if good else "bold red"))

    @contextmanager
    def waiting(self, text: str) -> Iterator[None]:
        """Show that something is under way, where there is a terminal to show it on."""
        if self._console.is_terminal:
            with self._console.status(escape(text), spinner="dots"):
                yield
        else:
            yield
