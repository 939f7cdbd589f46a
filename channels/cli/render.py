"""What the command line prints of a channel: one look for every verb.

Tables and panels for rich, from the library's own values; nothing here computes money. Amounts are rounded for the eye
only where `places` says so. Colour goes where a terminal is, and nowhere else (NO_COLOR is honoured by rich).
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from rich import box
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.measure import Measurement
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from ..model import Book, Leg, Marks, Operation, Party, Terms, Trade
from ..risk import Explanation
from ..risk.report import MarginReport
from ..risk.valuation import positions, tokens_down
from ..runtime.confirmation import Confirmation
from ..units import WAD, show

WIDTH = 100
"""Nothing is wider, so that a story pasted into a mail stays what it is."""
Names = tuple[str, str]
"""What to call party 0 and party 1."""


def console(*, stderr: bool = False) -> Console:
    """Return a console at most WIDTH wide: colours on a terminal only, exactly WIDTH where output is piped."""
    made = Console(stderr=stderr, highlight=False, soft_wrap=False)
    width = min(WIDTH, made.width) if made.is_terminal else WIDTH
    return Console(file=sys.stderr if stderr else sys.stdout, highlight=False, width=width)


# Values as text


def money(amount: int, decimals: int, places: int = 2) -> str:
    """Return a token amount for the eye: grouped, rounded half-even to `places`."""
    return show(amount, decimals, min(places, decimals))


def signed(amount: int, decimals: int, places: int = 2) -> str:
    """Return a token amount with its sign always shown, except on zero."""
    text = money(amount, decimals, places)
    return f"+{text}" if amount > 0 and text.strip("0.,") else text


def price(wad: int, places: int = 2) -> str:
    """Return a WAD price for the eye."""
    return show(wad, 18, places)


def percent(wad: int, places: int = 1) -> str:
    """Return a WAD ratio as a percentage for the eye."""
    return f"{show(wad, 16, places)} %"


def moment(time: int) -> str:
    """Return a unix time in UTC, to the minute, or to the second where there is one."""
    when = datetime.fromtimestamp(time, UTC)
    return f"{when:%a %d %b %Y %H:%M:%S} UTC" if when.second else f"{when:%a %d %b %Y %H:%M} UTC"


def day(time: int) -> str:
    """Return an expiry: its day, with the hour where it is not 08:00 UTC."""
    when = datetime.fromtimestamp(time, UTC)
    return f"{when:%d %b %Y}" if (when.hour, when.minute, when.second) == (8, 0, 0) else f"{when:%d %b %Y %H:%M:%S}"


def period(seconds: int) -> str:
    """Return a length of time in its largest whole unit."""
    for unit, name in ((86_400, "day"), (3_600, "hour"), (60, "minute")):
        if seconds >= unit and seconds % unit == 0:
            return f"{seconds // unit} {name}{'' if seconds == unit else 's'}"
    return f"{seconds} seconds"


# Tables


def grid(rows: Iterable[tuple[RenderableType, RenderableType]]) -> Table:
    """Return pairs of a label and what it says, without lines."""
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for label, said in rows:
        table.add_row(label, said)
    return table


class Sheet:
    """A table in the house's style that shows its figures whole on a narrow terminal too.

    Columns are right-aligned except those in `left`. Where the table is wider than there is room, the columns in
    `spare` go, the first one first; with `flip`, rows become columns instead.
    """

    def __init__(self, *columns: str, left: Sequence[str] = (), spare: Sequence[str] = (), flip: bool = False) -> None:
        self._columns, self._left, self._spare, self._flip = columns, left, spare, flip
        self._rows: list[tuple[str | Text, ...]] = []

    def add_row(self, *cells: str | Text) -> None:
        """Add a row: one cell per column."""
        self._rows.append(cells)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield self._fitting(console, options)

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        return Measurement.get(console, options, self._fitting(console, options))

    def _fitting(self, console: Console, options: ConsoleOptions) -> Table:
        for count in range(len(self._spare) + 1):
            table = self._without(self._spare[:count])
            # An unbounded measure: what the table would take if it were given all the room it wants.
            if Measurement.get(console, options.update(width=10 * WIDTH), table).maximum <= options.max_width:
                return table
        return self._flipped() if self._flip else table

    def _without(self, dropped: Sequence[str]) -> Table:
        kept = [i for i, column in enumerate(self._columns) if column not in dropped]
        table = _table()
        for i in kept:
            column = self._columns[i]
            table.add_column(column, justify="left" if column in self._left else "right", no_wrap=True)
        for row in self._rows:
            table.add_row(*(row[i] for i in kept))
        return table

    def _flipped(self) -> Table:
        table = _table()
        table.add_column(self._columns[0], no_wrap=True)
        for row in self._rows:
            table.add_column(row[0], justify="right", no_wrap=True)
        for i, column in enumerate(self._columns[1:], 1):
            table.add_row(column, *(row[i] for row in self._rows))
        return table


def _table() -> Table:
    return Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1))


def terms_panel(terms: Terms, names: Names, token: str, channel: bytes, policy: str) -> Panel:
    """Return the terms of a channel in plain words."""
    rows = [
        *((name, str(signer)) for name, signer in zip(names, terms.signers, strict=True)),
        ("channel", f"0x{channel.hex()}"),
        ("money", f"{token}, {terms.decimals} decimals; held by the adjudicator contract, by nobody else"),
        ("options", f"European, cash-settled in {token} at the settlement price that the price source reports"),
        ("price source", f"{terms.source}"),
        ("margin", policy),
        (
            "if you disagree",
            f"either may show the contract a state both signed; the other then has {period(terms.challenge_period)}"
            " to show a newer one. The newest wins, and the clock never restarts.",
        ),
        (
            "if one is silent",
            "the positions stay alive and settle at expiry as they would have; nobody is needed for that.",
        ),
        (
            "if prices are late",
            f"from {period(terms.grace)} after an expiry, anyone may fix a fresh spot as its settlement price.",
        ),
        (
            "last resort",
            f"from {moment(terms.last_resort)} a disputed channel whose prices never came is paid by its cash alone.",
        ),
        ("nobody", "no admin, no fee, no upgrade, no pause: what you sign is all there is."),
    ]
    return Panel(grid(rows), title="terms", title_align="left", box=box.ROUNDED, border_style="dim")


def legs_table(legs: Iterable[Leg], names: Names, marks: Marks) -> Sheet:
    """Return legs as a trader writes them: who is long, who is short, and the volatility where `marks` have one."""
    columns = ("long", "short", "quantity", "underlying", "expiry", "strike", "kind", "vol")
    table = Sheet(*columns, left=("long", "short", "kind"), spare=("underlying", "vol", "short"))
    vols = {mark.key: percent(mark.vol) for mark in marks.vols}
    for leg in legs:
        long, short = names if leg.quantity > 0 else names[::-1]
        strike, quantity = show(leg.strike, 18), show(abs(leg.quantity), 18)
        table.add_row(
            long, short, quantity, leg.underlying, day(leg.expiry), strike, leg.kind.name.lower(), vols.get(leg.key, "")
        )
    return table


def book_table(book: Book, names: Names, decimals: int) -> Sheet:
    """Return the positions at the book's own marks: forward, volatility, price, and what each leg is worth to whom."""
    name0, name1 = names
    columns = ("expiry", "strike", "kind", f"{name0} holds", "forward", "vol", "price", f"to {name0}", f"to {name1}")
    table = Sheet(*columns, left=("expiry", "kind"), spare=("forward", columns[-1], "vol"))
    held = positions(book)
    for position in held:
        leg = position.leg
        worth = (tokens_down(position.value, decimals), tokens_down(-position.value, decimals))
        table.add_row(
            day(leg.expiry),
            show(leg.strike, 18),
            leg.kind.name.lower(),
            f"{'+' if leg.quantity > 0 else ''}{show(leg.quantity, 18)}",
            price(position.forward),
            percent(position.vol),
            price(position.unit.price),
            *(_coloured(amount, decimals) for amount in worth),
        )
    total = sum(position.value for position in held)
    both = (_coloured(tokens_down(amount, decimals), decimals) for amount in (total, -total))
    table.add_row("together", *[""] * 6, *both)
    return table


def _coloured(amount: int, decimals: int) -> Text:
    return Text(signed(amount, decimals), style="green" if amount >= 0 else "red")


def margin_table(reports: Iterable[MarginReport], names: Names) -> Sheet:
    """Return Greeks and margin, a row per party.

    Delta in units of the underlying, gamma as the change of cash delta per 1 %, vega per vol point, theta per day.
    """
    table = Sheet(
        "party",
        "delta",
        "gamma/1%",
        "vega/pt",
        "theta/d",
        "equity",
        "initial",
        "maint.",
        "ratio",
        left=("party",),
        flip=True,
    )
    for report in reports:
        one = report.decimals
        greeks = report.greeks
        ratio = report.collateralisation
        style = "bold red" if report.is_breach else ("yellow" if report.initial_margin_shortfall else "green")
        table.add_row(
            names[report.party],
            show(sum(g.delta for g in greeks), 18, 3),
            *(
                show(sum(getattr(g, name) for g in greeks), 18, 2)
                for name in ("gamma_per_percent", "vega_per_point", "theta_per_day")
            ),
            *(money(amount, one) for amount in (report.equity, report.initial_margin, report.maintenance_margin)),
            Text("-" if ratio is None else percent(ratio, 0), style=style),
        )
    return table


def worst_table(explained: Iterable[Explanation], names: Names, decimals: int) -> Sheet:
    """Return the worst scenario of each party, a column each, split by Greek to the token's last unit."""
    split = list(explained)
    table = Sheet("worst scenario", *(names[row.party] for row in split), left=("worst scenario",))
    moves = [row.scenario.spot_factor - WAD for row in split]
    signs = ["+" if move > 0 else "" for move in moves]
    spots = [price(row.shocked_spot) for row in split]
    table.add_row("spot", *(f"{to} ({sign}{percent(by)})" for to, sign, by in zip(spots, signs, moves, strict=True)))
    table.add_row("volatility", *(row.scenario.vol_shock.name.lower() for row in split))
    for line, _ in split[0].lines if split else ():
        if line != "damping" or any(row.damping for row in split):
            table.add_row(line, *(money(dict(row.lines)[line], decimals, decimals) for row in split))
    table.add_row("together", *(money(row.pnl, decimals, decimals) for row in split))
    return table


def confirmation_panel(confirmation: Confirmation, names: Names, token: str) -> Panel:
    """Return one side's confirmation of an agreed state: what was done, and the digest that both signed."""
    state, decimals = confirmation.agreed.state, confirmation.terms.decimals
    rows: list[tuple[RenderableType, RenderableType]] = []
    for operation in confirmation.operations:
        rows += _described(operation, names, token, decimals)
    balances = "   ".join(
        f"{name} {money(amount, decimals)}" for name, amount in zip(names, state.balances, strict=True)
    )
    rows += [("cash after", f"{balances} {token}"), ("digest", f"0x{confirmation.digest.hex()}")]
    title = f"confirmation · {names[confirmation.me]}'s copy · version {state.version}"
    return Panel(grid(rows), title=title, title_align="left", box=box.ROUNDED, border_style="dim")


def _described(
    operation: Operation, names: Names, token: str, decimals: int
) -> list[tuple[RenderableType, RenderableType]]:
    if not isinstance(operation, Trade):
        return [("what", type(operation).__name__.lower())]
    rows: list[tuple[RenderableType, RenderableType]] = [("legs", legs_table(operation.legs, names, operation.marks))]
    payer = Party.ZERO if operation.premium >= 0 else Party.ONE
    amount = f"{money(abs(operation.premium), decimals, decimals)} {token}"
    rows.append(("premium", f"{names[payer]} pays {names[payer.other]} {amount}"))
    if operation.marks.vols:
        spots = ", ".join(f"{mark.underlying} {price(mark.spot)}" for mark in operation.marks.spots)
        rows.append(("marks", f"{moment(operation.marks.time)}, spot {spots}"))
    return rows
