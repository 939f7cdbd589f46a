"""Risk engines as the model asks them: the shipped one by the library's integers, and one that says what it was told.

The library is asked with the same inputs as the contract: book bytes, cash, spots, settlements, time. So the model's
verdicts are the library's, and the laws can ask once more with what the chain itself shows.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from channels.errors import InvalidBook, OutOfBounds
from channels.model.book import Book, decode_book
from channels.risk import MarginPolicy, MarginReport, Scenario, VolBump, VolShock, margin, scenario_losses
from channels.risk.close_out import close_out, witness
from channels.units import div_up
from tests.contracts.encoding import WAD

MAX_SPOT = 2**92
DAY = 86_400
Pair = tuple[int, int]

SMALL_POLICY = MarginPolicy(
    independent_amounts=(3 * WAD, 0),
    bumps=(VolBump(DAY, WAD, WAD // 2), VolBump(30 * DAY, WAD // 2, WAD // 4)),
    scenarios=(
        Scenario(8 * WAD // 10, VolShock.UP),
        Scenario(WAD, VolShock.NONE, WAD, DAY),
        Scenario(WAD, VolShock.DOWN),
        Scenario(12 * WAD // 10, VolShock.UP),
        Scenario(2 * WAD, VolShock.UP, WAD // 8),
    ),
)
"""A grid of five rows: every kind of row once, and quick in Python."""


NONE, SHIPPED, FICKLE = range(3)
"""What a channel may have for a risk engine."""


class EngineRefuses(Exception):
    """The engine reverts, with this string."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Prices:
    """What an engine is asked at: spots and settlements in the order of the book's marks, zero for missing."""

    spots: tuple[int, ...]
    settlements: tuple[int, ...]
    t: int


@dataclass(frozen=True, slots=True)
class Notice:
    """A margin call as everybody saw it: when, on which version, and until when it could be cured."""

    time: int
    version: int
    deadline: int


@dataclass(frozen=True, slots=True)
class Shipped:
    """The engine that ships, with its policy."""

    policy: MarginPolicy

    def reports(self, book: bytes, cash: Pair, decimals: int, prices: Prices) -> tuple[MarginReport, MarginReport]:
        """Return both parties' reports; EngineRefuses where the contract reverts."""
        decoded = _decoded(book, prices)
        at = _named(decoded, prices)
        try:
            return margin(decoded, cash, decimals, self.policy, t=prices.t, spots=at[0], settlements=at[1])
        except OutOfBounds:
            raise EngineRefuses("risk: out of bounds") from None

    def excess(self, book: bytes, party: int, cash: int, decimals: int, prices: Prices) -> int:
        """Return equity above initial margin."""
        report = self.reports(book, (cash, cash), decimals, prices)[party]
        return report.equity - report.initial_margin

    def liquidation(
        self, book: bytes, party: int, cash: int, decimals: int, prices: Prices, rows: Sequence[int]
    ) -> tuple[bool, Pair, Pair]:
        """Return whether the rows prove a breach, values, and charges."""
        report = self.reports(book, (cash, cash), decimals, prices)[party]
        names = [mark.underlying for mark in _decoded(book, prices).marks.spots]
        if len(rows) != len(names):
            raise EngineRefuses("risk: misaligned")
        if any(row >= len(self.policy.scenarios) for row in rows):
            raise EngineRefuses("risk: no such scenario")
        values, charges = closing(self.policy, book, decimals, prices)
        spots = _named(_decoded(book, prices), prices)[0]
        losses = scenario_losses(
            _decoded(book, prices), dict(zip(names, rows, strict=True)), self.policy, t=prices.t, spots=spots
        )
        scanned = sum(div_up(max(0, loss[party]), WAD) for loss in losses.values())
        scan = div_up(scanned * self.policy.scan_maintenance, 10 ** (54 - decimals))
        needed = max(div_up(report.independent_amount, 2), scan + charges[party])
        return cash + values[party] < needed, values, charges

    def witness(self, book: bytes, party: int, decimals: int, prices: Prices) -> list[int]:
        """Return the rows that prove a breach if any do."""
        return list(witness(self.reports(book, (0, 0), decimals, prices)[party]))


@dataclass(slots=True)
class Fickle:
    """An engine in the adversary's hands: it says what it was told, or nothing."""

    silence: str | None = None
    """What it reverts with, None while it answers."""
    above: int = 0
    proven: bool = False
    worth: int = 0
    cost: int = 0

    def excess(self, book: bytes, party: int, cash: int, decimals: int, prices: Prices) -> int:
        """Say anything."""
        self._misbehave()
        return self.above

    def liquidation(
        self, book: bytes, party: int, cash: int, decimals: int, prices: Prices, rows: Sequence[int]
    ) -> tuple[bool, Pair, Pair]:
        """Say anything."""
        self._misbehave()
        return self.proven, (self.worth, self.worth), (self.cost, self.cost)

    def _misbehave(self) -> None:
        if self.silence is not None:
            raise EngineRefuses(self.silence)


Engine = Shipped | Fickle


@lru_cache(maxsize=10_000)
def closing(policy: MarginPolicy, book: bytes, decimals: int, prices: Prices) -> tuple[Pair, Pair]:
    """Return the library's close-out, values and charges of both parties; EngineRefuses where it has none."""
    decoded = _decoded(book, prices)
    spots, settlements = _named(decoded, prices)
    try:
        return close_out(decoded, decimals, policy, t=prices.t, spots=spots, settlements=settlements)
    except OutOfBounds:
        raise EngineRefuses("risk: out of bounds") from None


def _decoded(book: bytes, prices: Prices) -> Book:
    found = _read(book)
    if found is None:
        # The contract looks at the prices before it looks at the legs.
        beyond = any(spot > MAX_SPOT for spot in prices.spots)
        raise EngineRefuses("risk: out of bounds" if beyond else "book: invalid")
    return found


@lru_cache(maxsize=1_000)
def _read(book: bytes) -> Book | None:
    try:
        return decode_book(book)
    except InvalidBook:
        return None


def _named(book: Book, prices: Prices) -> tuple[dict[str, int], dict[tuple[str, int], int]]:
    spots = {mark.underlying: spot for mark, spot in zip(book.marks.spots, prices.spots, strict=True)}
    lines = [(mark.underlying, mark.expiry) for mark in book.marks.expiries]
    return spots, dict(zip(lines, prices.settlements, strict=True))
