"""What the command line prints: figures whole, signs right, nothing wider than it may be."""

from __future__ import annotations

import io
import re
from decimal import Decimal

import pytest
from rich.console import Console, RenderableType

from channels.cli import render
from channels.model import Leg, Party, Trade
from channels.risk import explain
from channels.risk.margin import margin
from channels.runtime.confirmation import Confirmation
from channels.units import WAD
from tests import roles

NAMES = ("alice", "bob")


def text(what: RenderableType, width: int = 100) -> str:
    """What a pipe of that width gets."""
    out = io.StringIO()
    Console(file=out, width=width, highlight=False).print(what)
    return out.getvalue()


@pytest.mark.parametrize(
    ("amount", "expected"),
    [(1_234_567_890, "+1,234.57"), (-1_234_567_890, "-1,234.57"), (0, "0.00"), (1, "0.00"), (-1, "-0.00")],
)
def test_signed_money(amount: int, expected: str) -> None:
    assert render.signed(amount, 6) == expected.replace("-0.00", render.money(amount, 6))


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(86_400, "1 day"), (172_800, "2 days"), (5_400, "90 minutes"), (3_600, "1 hour"), (61, "61 seconds")],
)
def test_periods_in_their_largest_whole_unit(seconds: int, expected: str) -> None:
    assert render.period(seconds) == expected


def test_moments_and_days_are_utc() -> None:
    assert render.moment(1_701_688_781) == "Mon 04 Dec 2023 11:19:41 UTC"
    assert render.moment(1_701_763_200) == "Tue 05 Dec 2023 08:00 UTC"
    assert render.day(1_702_627_200) == "15 Dec 2023"
    assert render.day(1_702_627_201) == "15 Dec 2023 08:00:01"


def test_tokens_without_decimals_have_none() -> None:
    assert render.money(1_234, 0) == "1,234"
    assert render.money(1_234, 1) == "123.4"


def test_the_book_shows_each_leg_and_what_it_is_worth_to_whom() -> None:
    book = roles.book()
    shown = text(render.book_table(book, NAMES, 6))
    lines = shown.splitlines()
    assert len(lines) == 2 + len(book.legs) + 1
    for line in lines[2:]:
        *_, mine, theirs = line.split()
        assert {mine[0], theirs[0]} == {"+", "-"}
        assert mine[1:] == theirs[1:]
    assert lines[-1].split()[0] == "together"


def test_margin_shows_greeks_and_requirement_of_both() -> None:
    reports = margin(roles.book(), (10_000 * roles.UNIT, 5_000 * roles.UNIT), 6)
    shown = text(render.margin_table(reports, NAMES))
    assert render.money(reports[0].initial_margin, 6) in shown
    assert render.money(reports[1].maintenance_margin, 6) in shown
    assert render.show(reports[0].greeks[0].theta_per_day, 18, 2) in shown


def test_the_worst_scenario_adds_up_on_paper() -> None:
    for held in (roles.book(), roles.book((Leg.call(roles.ETH, roles.EXPIRY, 3900, quantity=-10),))):
        split = [explain(held, party, 6)[0] for party in (0, 1)]
        shown = text(render.worst_table(split, NAMES, 6), 60)
        amounts = [
            [Decimal(cell.replace(",", "")) for cell in line.split()[-2:]]
            for line in shown.splitlines()
            if re.search(r"\.\d{6}$", line)
        ]
        *lines, together = amounts
        for party in (0, 1):
            assert sum(line[party] for line in lines) == together[party] == -Decimal(split[party].loss) / roles.UNIT
        assert ("damping" in shown) == (split[0].scenario.damping != WAD)


def test_without_positions_there_is_no_ratio() -> None:
    reports = margin(roles.EMPTY_BOOK, (5, 5), 6)
    assert text(render.margin_table(reports, NAMES)).splitlines()[-1].split()[-1] == "-"


@pytest.mark.parametrize("width", [100, 80, 60])
def test_narrow_tables_show_their_figures_whole(width: int) -> None:
    reports = margin(roles.book(), (10_000 * roles.UNIT, 5_000 * roles.UNIT), 6)
    for table in (render.book_table(roles.book(), NAMES, 6), render.margin_table(reports, NAMES)):
        shown = text(table, width)
        assert "…" not in shown
        assert max(map(len, shown.splitlines())) <= width
    flipped = text(render.margin_table(reports, NAMES), width)
    for report in reports:
        assert render.money(report.equity, 6) in flipped


@pytest.mark.parametrize("me", Party)
def test_both_confirmations_say_the_same_but_whose_they_are(me: Party) -> None:
    book = roles.book()
    trade = Trade(book.legs, -12_500_000, book.marks)
    agreed = roles.agreed(book, version=3)
    made = [Confirmation(roles.DEPLOYMENT, roles.TERMS, party, agreed, (trade,)) for party in Party]
    shown = [text(render.confirmation_panel(one, NAMES, "USDC")) for one in made]
    assert f"{NAMES[me]}'s copy" in shown[me]
    assert shown[0].splitlines()[1:] == shown[1].splitlines()[1:]
    assert f"0x{made[0].digest.hex()}" in shown[me]
    assert "bob pays alice 12.500000 USDC" in shown[me]


def test_terms_name_every_period_in_words() -> None:
    shown = text(render.terms_panel(roles.TERMS, NAMES, "USDC", roles.CHANNEL, "a policy"))
    for words in (roles.CHANNEL.hex(), "1 hour", "2 hours", str(roles.TERMS.signers[1]), "no admin"):
        assert words in shown
