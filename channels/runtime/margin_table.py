"""The margin of a channel as a table that a trader reads: every figure of both parties, and when the money is free.

Plain text, for a terminal, a log or a mail. Token amounts are shown to the token's last unit, so that the lines that
add up in the library add up on paper; prices and Greeks are rounded for the eye.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from operator import attrgetter
from typing import TypeVar

from ..core.channel import Channel
from ..core.exit import ExitTimes, exit_times, standing
from ..core.rules import reports
from ..errors import InvalidValue
from ..model import ZERO_ADDRESS, Book, Party
from ..model.marks import SpotMark
from ..model.option import LAST_CALENDAR_SECOND
from ..risk import MarginReport
from ..risk.bands import BandSearch, LiquidationBand, liquidation_bands
from ..risk.explain import Explanation, explain
from ..risk.margin import margin
from ..units import SECONDS_PER_DAY, WAD, show

Pair = tuple[str, str]
_T = TypeVar("_T")
SEARCH = BandSearch()
LABEL = 32
"""Columns of the label before the two parties' figures."""


@dataclass(frozen=True, slots=True)
class MarginTable:
    """One channel's margin at one moment, in pairs: party 0's first. `str()` is the text.

    `explanations` split the worst scenario of each underlying; `bands` is None where they were not asked for.
    """

    channel: Channel
    book: Book
    time: int
    """When the positions are valued, unix seconds: the marks' time unless another was asked for."""
    spots: tuple[SpotMark, ...]
    """At which spots, one per underlying of the book."""
    reports: tuple[MarginReport, MarginReport]
    explanations: tuple[tuple[Explanation, ...], tuple[Explanation, ...]]
    bands: tuple[tuple[LiquidationBand, ...], tuple[LiquidationBand, ...]] | None
    exit: ExitTimes

    @classmethod
    def of(
        cls,
        channel: Channel,
        now: int,
        *,
        t: int | None = None,
        spots: Mapping[str, int] | None = None,
        bands: bool = True,
    ) -> MarginTable:
        """Return the table of a channel. `now` is where the exit's times count from.

        Without `t` and `spots` (WAD by underlying) it is valued at the agreed marks, as the verdicts are; with them it
        is a what-if, and legs that expired meanwhile count at their known settlement. The bands take hundreds of
        margins. Raises NotPermitted as `core.exit.standing` does, OutOfBounds as `margin` does, and InvalidValue for
        the spot of an underlying that the book does not hold.
        """
        state, book = standing(channel)
        given = dict(spots or {})
        unknown = set(given) - {mark.underlying for mark in book.marks.spots}
        if unknown:
            raise InvalidValue("spot", min(unknown), "the book holds nothing on this underlying")
        decimals, policy = channel.terms.decimals, channel.policy
        agreed = reports(channel, state, book)
        cash = agreed[0].cash, agreed[1].cash
        time = book.marks.time if t is None else max(t, book.marks.time)
        # A price of 2^96 and less is what the contract settles at; it exists only once the leg has expired.
        settlements = {
            (seen.underlying, seen.expiry): seen.price
            for seen in channel.chain.settlements
            if t is not None and seen.expiry <= time
        }
        if t is None and not given:
            found = agreed
        else:
            found = margin(book, cash, decimals, policy, t=t, spots=given, settlements=settlements)
        split = tuple(
            explain(book, party, decimals, policy, t=t, spots=given, settlements=settlements) for party in Party
        )
        search = None
        if bands:
            search = liquidation_bands(
                book, cash, decimals, policy, t=t, spots=given, settlements=settlements, search=SEARCH
            )
        return cls(
            channel,
            book,
            time,
            tuple(SpotMark(mark.underlying, given.get(mark.underlying, mark.spot)) for mark in book.marks.spots),
            found,
            (split[0], split[1]),
            search,
            exit_times(channel, now),
        )

    def __str__(self) -> str:
        rows = [*self._accounts(), *(row for mark in self.spots for row in self._risk(mark.underlying, mark.spot))]
        width = max(len(cell) for row in rows if not isinstance(row, str) for cell in row[1]) + 2
        lines = [*self._head(), ""]
        for row in rows:
            if isinstance(row, str):
                lines.append(row)
            else:
                label, cells = row
                lines.append((f"  {label:{LABEL}}" + "".join(f"{cell:>{width}}" for cell in cells)).rstrip())
        return "\n".join([*lines, "", *self._terms(), "", *self._exit()])

    # The parts

    def _head(self) -> Iterator[str]:
        channel = self.channel
        yield f"Margin in channel 0x{channel.id.hex()[:16]}…, version {channel.version}, {channel.phase.value}"
        if not self.book.legs:
            yield "  no positions: cash alone, nothing is margined"
            return
        prices = ", ".join(f"{mark.underlying} {show(mark.spot, 18, 2)}" for mark in self.spots)
        yield f"  valued at {utc(self.time)}, {prices}"
        marks = self.book.marks
        if self.time != marks.time or self.spots != marks.spots:
            prices = ", ".join(f"{mark.underlying} {show(mark.spot, 18, 2)}" for mark in marks.spots)
            yield f"  WHAT IF: both agreed on {utc(marks.time)}, {prices}"

    def _accounts(self) -> Iterator[tuple[str, Pair]]:
        both, policy = self.reports, self.channel.policy
        me = self.channel.me
        names = tuple(f"{'we' if party is me else 'the peer'} (party {int(party)})" for party in Party)
        yield "", (names[0], names[1])
        yield "cash", self._money("cash")
        yield "positions", self._money("value")
        yield "equity", self._money("equity")
        yield "", ("", "")
        yield f"worst scenarios × {show(policy.scan_initial, 18)}", self._money("scan_initial")
        for name in ("delta", "gamma", "vega", "short"):
            label = "short options" if name == "short" else name
            yield f"charge: {label}", self._money(f"charges.{name}")
        if any(report.independent_amount for report in both):
            yield "independent amount (at least)", self._money("independent_amount")
        yield "= initial margin", self._money("initial_margin")
        yield f"worst scenarios × {show(policy.scan_maintenance, 18)}", self._money("scan_maintenance")
        yield "= maintenance margin (+ charges)", self._money("maintenance_margin")
        yield "", ("", "")
        yield "equity above initial margin", _cells(both, lambda r: self._amount(r.equity - r.initial_margin))
        yield "collateral call", self._money("collateral_call")
        yield "equity / maintenance margin", _cells(both, _ratio)
        yield "", _cells(both, _standing)

    def _risk(self, name: str, spot: int) -> Iterator[str | tuple[str, Pair]]:
        greeks = [next((row for row in report.greeks if row.underlying == name), None) for report in self.reports]
        yield ""
        yield f"  {name} at {show(spot, 18, 2)}"
        if greeks[0] is not None and greeks[1] is not None:
            both = greeks[0], greeks[1]
            yield "delta, units", _cells(both, lambda g: show(g.delta, 18, 3))
            yield "delta cash", _cells(both, lambda g: show(g.delta_cash, 18, 2))
            yield "gamma, delta cash per 1 %", _cells(both, lambda g: show(g.gamma_per_percent, 18, 2))
            yield "vega per vol point", _cells(both, lambda g: show(g.vega_per_point, 18, 2))
            yield "theta per day", _cells(both, lambda g: show(g.theta_per_day, 18, 2))
        if self.bands is not None:
            one, other = (next(band for band in found if band.underlying == name) for found in self.bands)
            yield "below maintenance from, down", _cells((one, other), lambda b: _level(b, b.below))
            yield "below maintenance from, up", _cells((one, other), lambda b: _level(b, b.above))
        split = [next((row for row in found if row.underlying == name), None) for found in self.explanations]
        if split[0] is not None and split[1] is not None:
            yield from self._split((split[0], split[1]))

    def _split(self, both: tuple[Explanation, Explanation]) -> Iterator[tuple[str, Pair]]:
        damped = any(row.scenario.damping != WAD for row in both)
        yield "worst scenario: spot", _cells(both, _moved)
        yield "  volatility", _cells(both, lambda e: e.scenario.vol_shock.name.lower().replace("none", "unchanged"))
        if any(row.scenario.horizon for row in both):
            yield "  time passes", _cells(both, lambda e: f"{show(e.scenario.horizon * WAD // SECONDS_PER_DAY, 18)} d")
        labels = {"cross": "cross (spot × vol)", "volga": "volga (vol × vol)"}
        for name, _ in both[0].lines[:-1]:
            one, other = map(attrgetter(name), both)
            yield f"  {labels.get(name, name)}", (self._amount(one), self._amount(other))
        if damped:
            yield "  = the full move", _cells(both, lambda e: self._amount(e.full_move))
            yield "  weight", _cells(both, lambda e: f"{show(e.scenario.damping, 16)} %")
            yield "  damping", _cells(both, lambda e: self._amount(e.damping))
        yield "  = what it counts", _cells(both, lambda e: self._amount(e.pnl))

    def _terms(self) -> Iterator[str]:
        terms = self.channel.terms
        yield (
            f"  terms     challenge {span(terms.challenge_period)}, cure {span(terms.cure_period)},"
            f" grace {span(terms.grace)}, a spot counts for {span(terms.spot_max_age)}"
        )
        yield f"            price source {terms.source}"
        yield f"            margin policy 0x{terms.policy.hex()}"
        if terms.engine == ZERO_ADDRESS:
            yield "            no risk engine: margin binds both nodes, the contract does not enforce it"
        else:
            yield f"            risk engine {terms.engine}: the contract enforces maintenance margin"

    def _exit(self) -> Iterator[str]:
        chain, times, terms = self.channel.chain, self.exit, self.channel.terms
        one, other = (self._amount(chain.deposits[party] - chain.paid[party]) for party in Party)
        yield f"  locked    {self._amount(chain.pot)} in the contract: {one} from party 0, {other} from party 1"
        state, _ = standing(self.channel)
        unknown = chain.pot - (sum(state.balances) if state else 0)
        if unknown:
            amount = self._amount(unknown)
            yield f"            {amount} of it is not in the cash above: a deposit or a payment under way"
        if times.agreed_close is not None:
            yield f"  an agreed close pays at once, until {utc(times.agreed_close)}"
        ends = "the dispute's deadline" if chain.deadline else "a dispute opened now ends"
        yield "  should the peer fall silent now, we have our money by ourselves:"
        yield f"            {utc(times.deadline)}  {ends}, the newest state is final"
        if times.last_expiry:
            yield f"            {utc(times.last_expiry)}  the last option expires"
        yield f"            {utc(times.paid_from)}  PAID, if prices are reported at expiry"
        if times.paid_by != times.paid_from:
            yield f"            {utc(times.paid_by)}  PAID, if nobody ever reports one"
        if terms.engine != ZERO_ADDRESS:
            yield "            from the deadline on the contract releases what is above initial margin"
        yield f"            {utc(times.last_resort)}  last resort: the book is lost, cash alone is paid"

    def _money(self, figure: str) -> Pair:
        one, other = map(attrgetter(figure), self.reports)
        return self._amount(one), self._amount(other)

    def _amount(self, amount: int) -> str:
        decimals = self.channel.terms.decimals
        return show(amount, decimals, decimals)


def _cells(both: tuple[_T, _T], text: Callable[[_T], str]) -> Pair:
    return text(both[0]), text(both[1])


def _ratio(report: MarginReport) -> str:
    ratio = report.collateralisation
    return "nothing required" if ratio is None else f"{show(ratio, 16, 1)} %"


def _standing(report: MarginReport) -> str:
    if report.is_breach:
        return "BELOW MAINTENANCE"
    return "below initial" if report.initial_margin_shortfall else "covered"


def _level(band: LiquidationBand, level: int | None) -> str:
    if band.is_breach:
        return "now"
    if level is None:
        return f"none from {show(SEARCH.low, 18)}x to {show(SEARCH.high, 18)}x"
    return f"{show(level, 18, 2)} ({_percent(level, band.spot)})"


def _moved(explanation: Explanation) -> str:
    to = explanation.shocked_spot
    return f"{show(to, 18, 2)} ({_percent(to, explanation.spot)})"


def _percent(to: int, spot: int) -> str:
    """The relative move for the eye, one place, with its sign."""
    if to == spot:
        return "unmoved"
    text = show((to - spot) * WAD // spot, 16, 1)
    return f"{'' if text.startswith('-') else '+'}{text} %"


def utc(at: int) -> str:
    """Return a unix time in UTC to the second; as the bare number where the calendar has ended."""
    if at > LAST_CALENDAR_SECOND:
        return f"unix time {at}"
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M:%S} UTC"


def span(seconds: int) -> str:
    """Return a length of time in its largest whole unit."""
    units = ((SECONDS_PER_DAY, "day"), (3_600, "hour"), (60, "minute"), (1, "second"))
    unit, name = next(pair for pair in units if seconds % pair[0] == 0)
    return f"{seconds // unit} {name}{'' if seconds == unit else 's'}"
