"""The printed margin: every figure is the report's, and what adds up in the library adds up on paper."""

from __future__ import annotations

import re
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from channels.core.channel import ChainView, Channel
from channels.core.facts import SettlementSeen
from channels.errors import InvalidValue, OutOfBounds
from channels.model import Address, Book, Leg, Party, keccak
from channels.risk import DEFAULT_POLICY, MarginPolicy, Scenario, VolShock, explain, margin
from channels.runtime.margin_table import MarginTable, span, utc
from channels.units import WAD, show
from tests.roles import BTC, CHANNEL, DAY, DEPLOYMENT, ETH, EXPIRY, LATER, NOW, TERMS, UNIT, agreed, book, condor

DEPOSITS = (10_000 * UNIT, 5_000 * UNIT)
TWO = book((Leg.put(BTC, EXPIRY, 2000, quantity=-10), Leg.call(ETH, LATER, 3900, quantity=-10)))


def channel(held: Book, policy: MarginPolicy = DEFAULT_POLICY, **changes: Any) -> Channel:
    made = Channel(DEPLOYMENT, TERMS, CHANNEL, Party.ZERO, policy, accepted=True, agreed=agreed(held))
    return replace(made, chain=ChainView(deposits=DEPOSITS), **changes)


def table(held: Book, policy: MarginPolicy = DEFAULT_POLICY, **options: Any) -> MarginTable:
    return MarginTable.of(channel(held, policy), NOW, **{"bands": False, **options})


def rows(shown: MarginTable, label: str, heading: str = "") -> list[tuple[str, str]]:
    """Both parties' cells of the rows with a label, below a heading."""
    text = str(shown)
    text = text[text.index(heading) :] if heading else text
    found = re.findall(rf"^ +{re.escape(label)} {{2,}}(\S.*?) {{2,}}(\S.*)$", text, re.MULTILINE)
    assert found, f"{label!r} is not in\n{text}"
    return found


def pair(shown: MarginTable, label: str, heading: str = "") -> tuple[Decimal, Decimal]:
    """The two amounts of the first such row."""
    one, other = rows(shown, label, heading)[0]
    return Decimal(one.replace(",", "")), Decimal(other.replace(",", ""))


ACCOUNTS = {
    "cash": "cash",
    "positions": "value",
    "equity": "equity",
    "worst scenarios × 1": "scan_initial",
    "= initial margin": "initial_margin",
    "worst scenarios × 0.8": "scan_maintenance",
    "= maintenance margin (+ charges)": "maintenance_margin",
    "collateral call": "collateral_call",
}


@pytest.mark.parametrize("held", [book(), TWO], ids=["condor", "two underlyings"])
def test_every_amount_is_the_reports_and_the_lines_add_up_on_paper(held: Book) -> None:
    shown = table(held)
    reports = margin(held, DEPOSITS, 6)
    assert shown.reports == reports
    for label, name in ACCOUNTS.items():
        assert pair(shown, label) == tuple(Decimal(getattr(report, name)) / UNIT for report in reports)
    charges = [pair(shown, f"charge: {name}") for name in ("delta", "gamma", "vega", "short options")]
    for party in (0, 1):
        both = sum(line[party] for line in charges)
        assert pair(shown, "worst scenarios × 1")[party] + both == pair(shown, "= initial margin")[party]
        maintenance = pair(shown, "= maintenance margin (+ charges)")[party]
        assert pair(shown, "worst scenarios × 0.8")[party] + both == maintenance
        assert pair(shown, "cash")[party] + pair(shown, "positions")[party] == pair(shown, "equity")[party]


@pytest.mark.parametrize("name", [BTC, ETH])
def test_the_split_adds_up_on_paper_to_the_loss(name: str) -> None:
    shown, heading = table(TWO), f"{name} at"
    lines = ("delta", "gamma", "vega", "volga (vol × vol)", "theta", "cross (spot × vol)", "residual")
    # "delta" alone is a line of the split only: the Greeks' labels say their units.
    split = [pair(shown, line, heading) for line in lines]
    full, damping = pair(shown, "= the full move", heading), pair(shown, "damping", heading)
    counted = pair(shown, "= what it counts", heading)
    for party, report in enumerate(margin(TWO, DEPOSITS, 6)):
        (worst,) = (worst for worst in report.worst if worst.underlying == name)
        assert sum(line[party] for line in split) == full[party]
        assert full[party] + damping[party] == counted[party] == -Decimal(worst.loss) / UNIT
    assert rows(shown, "weight", heading)[0][0] == {BTC: "21 %", ETH: "4.62 %"}[name]


def test_greeks_are_in_desk_units() -> None:
    shown = table(book())
    (mine,) = margin(book(), DEPOSITS, 6)[0].greeks
    desk = {
        "delta, units": show(mine.delta, 18, 3),
        "delta cash": show(mine.delta_cash, 18, 2),
        "gamma, delta cash per 1 %": show(mine.gamma_per_percent, 18, 2),
        "vega per vol point": show(mine.vega_per_point, 18, 2),
        "theta per day": show(mine.theta_per_day, 18, 2),
    }
    for label, text in desk.items():
        one, other = rows(shown, label)[0]
        assert one == text and Decimal(other.replace(",", "")) == -Decimal(one.replace(",", ""))


def test_the_scenario_is_in_words() -> None:
    decay = Scenario(WAD, VolShock.NONE, WAD, DAY)
    # Nothing moves but time, so who is long the wings loses nothing by row one.
    policy = replace(DEFAULT_POLICY, scenarios=(decay, Scenario(WAD * 109 // 100, VolShock.NONE)))
    shown = table(book((Leg.call(ETH, EXPIRY, 2300, quantity=3),)), policy)
    assert rows(shown, "worst scenario: spot") == [("2,300.00 (unmoved)", "2,507.00 (+9.0 %)")]
    assert rows(shown, "volatility") == [("unchanged", "unchanged")]
    assert rows(shown, "time passes") == [("1 d", "0 d")]
    plain = table(book())
    assert rows(plain, "worst scenario: spot")[0][0] == "1,886.00 (-18.0 %)"
    assert rows(plain, "volatility")[0] == ("down", "down")
    assert "time passes" not in str(plain) and "weight" not in str(plain)


def test_bands_and_standing_in_words() -> None:
    held = book((Leg.call(ETH, EXPIRY, 2500, quantity=-10),))
    shown = table(held, bands=True)
    assert shown.bands is not None
    (band,) = shown.bands[0]
    assert band.above is not None and band.below is None
    (up,) = rows(shown, "below maintenance from, up")
    assert up[0].startswith(f"{show(band.above, 18, 2)} (+") and up[1] == "none from 0.2x to 5x"
    assert rows(shown, "below maintenance from, down") == [("none from 0.2x to 5x", "none from 0.2x to 5x")]
    assert "covered" in str(shown)
    under = table(held, bands=True, spots={ETH: band.above})
    assert under.reports[0].is_breach
    assert rows(under, "below maintenance from, up")[0][0] == "now"
    assert "BELOW MAINTENANCE" in str(under) and "WHAT IF" in str(under)
    between = next(
        shown
        for spot in range(2_300, 3_500, 5)
        if (shown := table(held, spots={ETH: spot * WAD})).reports[0].excess == 0
    )
    assert not between.reports[0].is_breach and "below initial" in str(between)


def test_independent_amounts_and_calls_are_shown_where_there_are_any() -> None:
    policy = replace(DEFAULT_POLICY, independent_amounts=(20_000 * WAD, 0))
    shown = table(book(), policy)
    assert pair(shown, "independent amount (at least)") == (20_000, 0)
    call = pair(shown, "collateral call")
    assert call[0] == -pair(shown, "equity above initial margin")[0] > 0 == call[1]
    assert "independent" not in str(table(book()))


def test_terms_and_where_the_money_is() -> None:
    text = str(table(book()))
    for words in (
        "challenge 1 hour",
        "cure 10 minutes",
        "grace 2 hours",
        "5 minutes",
        str(TERMS.source),
        "no risk engine",
    ):
        assert words in text
    assert "15,000.000000 in the contract: 10,000.000000 from party 0, 5,000.000000 from party 1" in text
    times = {
        NOW + 3_600: "a dispute opened now ends",
        EXPIRY: "the last option expires",
        EXPIRY + 4 * 3_600: "PAID, if nobody ever reports one",
        TERMS.last_resort + 5 * 3_600: "last resort: the book is lost",
    }
    for at, what in times.items():
        assert f"{utc(at)}  {what}" in text
    assert f"{utc(EXPIRY)}  PAID, if prices are reported at expiry" in text
    engine = replace(TERMS, engine=Address(keccak(b"engine")[12:]))
    enforced = str(MarginTable.of(replace(channel(book()), terms=engine), NOW, bands=False))
    assert f"risk engine {engine.engine}" in enforced and "releases what is above initial margin" in enforced
    disputed = replace(channel(book()), chain=ChainView(deposits=DEPOSITS, deadline=NOW + 9, time=NOW))
    assert f"{utc(NOW + 9)}  the dispute's deadline" in str(MarginTable.of(disputed, NOW, bands=False))


def test_known_settlements_value_what_has_expired() -> None:
    held = book((*condor(), Leg.call(ETH, LATER, 2300, quantity=1)))
    settled = channel(held)
    fact = SettlementSeen(ETH, EXPIRY, 2_450 * WAD)
    settled = replace(settled, chain=replace(settled.chain, settlements=(fact,)))
    at = EXPIRY + DAY
    found = MarginTable.of(settled, NOW, t=at, bands=False)
    expected = margin(held, DEPOSITS, 6, t=at, settlements={(ETH, EXPIRY): 2_450 * WAD})
    assert found.reports == expected != margin(held, DEPOSITS, 6, t=at)
    assert found.explanations[0] == explain(held, 0, 6, t=at)
    early = MarginTable.of(settled, NOW, t=EXPIRY - 1, bands=False)
    assert early.reports == margin(held, DEPOSITS, 6, t=EXPIRY - 1)


def test_a_table_is_narrow_enough_to_mail_and_has_no_trailing_blanks() -> None:
    for shown in (table(book(), bands=True), table(TWO, bands=True)):
        for line in str(shown).splitlines():
            assert len(line) <= 100 and line == line.rstrip()


def test_eighteen_decimals_are_shown_whole() -> None:
    wide = replace(channel(book()), terms=replace(TERMS, decimals=18))
    shown = MarginTable.of(wide, NOW, bands=False)
    assert pair(shown, "positions")[0] == Decimal(shown.reports[0].value).scaleb(-18)


def test_what_the_book_does_not_hold_is_refused() -> None:
    with pytest.raises(InvalidValue, match=BTC):
        table(book(), spots={BTC: WAD})
    with pytest.raises(OutOfBounds):
        table(book(), spots={ETH: 0})


def test_times_past_the_calendar_and_lengths_of_time() -> None:
    assert utc(2**40 - 1) == f"unix time {2**40 - 1}"
    assert utc(NOW) == "2024-01-05 08:00:00 UTC"
    assert [span(n) for n in (86_400, 7_200, 61, 60, 1)] == ["1 day", "2 hours", "61 seconds", "1 minute", "1 second"]
