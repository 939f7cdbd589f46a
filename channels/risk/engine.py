"""Who computes the margin: the seam at which a faster engine is handed in, without an import of what makes it fast.

Every engine gives the same integers and the same verdicts, so two parties may run different ones. `EXACT` prices every
row of the grid and needs nothing but Python; `screen.FloatScreen` needs numpy, and whoever wants it imports it. Not to
be confused with the risk engine of the terms, which is a contract.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from ..model.book import Book
from .margin import margin
from .policy import DEFAULT_POLICY, MarginPolicy
from .report import MarginReport
from .valuation import Settlements


@dataclass(frozen=True, slots=True)
class Standing:
    """What a margin decides about one party, without its figures."""

    party: int
    covers_initial: bool
    """equity ≥ initial margin: no collateral can be called from it, and it may trade."""
    covers_maintenance: bool
    """equity ≥ maintenance margin: not in breach."""

    @classmethod
    def of(cls, report: MarginReport) -> Standing:
        """Return the verdicts of a report."""
        return cls(report.party, report.equity >= report.initial_margin, not report.is_breach)


class MarginEngine(Protocol):
    """Reports for both parties, and verdicts where they can be had for less; arguments and errors as for `margin`."""

    def margin(
        self,
        book: Book,
        cash: tuple[int, int],
        decimals: int,
        policy: MarginPolicy = DEFAULT_POLICY,
        *,
        t: int | None = None,
        spots: Mapping[str, int] | None = None,
        settlements: Settlements | None = None,
    ) -> tuple[MarginReport, MarginReport]:
        """Return both parties' margin reports."""
        ...

    def standings(
        self,
        book: Book,
        cash: tuple[int, int],
        decimals: int,
        policy: MarginPolicy = DEFAULT_POLICY,
        *,
        t: int | None = None,
        spots: Mapping[str, int] | None = None,
        settlements: Settlements | None = None,
    ) -> tuple[Standing, Standing] | None:
        """Return the verdicts that both reports would give, or None where it takes the reports to tell."""
        ...

    def standings_many(
        self, asked: Sequence[tuple[Book, tuple[int, int]]], decimals: int, policy: MarginPolicy = DEFAULT_POLICY
    ) -> Sequence[tuple[Standing, Standing] | None]:
        """Return for each book and cash what `standings` returns at the book's marks: a window is judged at once."""
        ...

    def __hash__(self) -> int:
        """By identity will do: reports are remembered per engine."""
        ...


class ExactEngine:
    """The reference: every row of the grid in integers."""

    def margin(
        self,
        book: Book,
        cash: tuple[int, int],
        decimals: int,
        policy: MarginPolicy = DEFAULT_POLICY,
        *,
        t: int | None = None,
        spots: Mapping[str, int] | None = None,
        settlements: Settlements | None = None,
    ) -> tuple[MarginReport, MarginReport]:
        """Return what `margin` returns."""
        return margin(book, cash, decimals, policy, t=t, spots=spots, settlements=settlements)

    def standings(
        self,
        book: Book,
        cash: tuple[int, int],
        decimals: int,
        policy: MarginPolicy = DEFAULT_POLICY,
        *,
        t: int | None = None,
        spots: Mapping[str, int] | None = None,
        settlements: Settlements | None = None,
    ) -> None:
        """Return None: integers know a verdict by its figures only."""
        return

    def standings_many(
        self, asked: Sequence[tuple[Book, tuple[int, int]]], decimals: int, policy: MarginPolicy = DEFAULT_POLICY
    ) -> list[None]:
        """Return None for each: every book takes a report of its own."""
        return [None] * len(asked)


EXACT = ExactEngine()
