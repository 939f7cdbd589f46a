"""`channels margin` on store files: the library's figures, and one line for every bad input."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from channels.cli import main as command
from channels.core.facts import DepositSeen, PaymentSeen, RegisteredSeen
from channels.core.records import ChainSaid, Opened
from channels.model import EMPTY_BOOK, ChannelId, Leg, Party
from channels.risk import explain, liquidation_bands, margin
from channels.store import SqliteStore
from channels.store.instance import FileInstance, Reached
from channels.units import WAD, show
from tests import margin_example, roles
from tests.margin_example import CASH, TERMS, write
from tests.roles import BTC, DAY, ETH, EXPIRY, LATER, NOW, UNIT


@pytest.fixture(autouse=True)
def untouched_logging(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "_quiet_logging", lambda: None)


BOOK = roles.book((*roles.condor(), Leg.call(ETH, LATER, 2300, quantity=-3)))


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return write(tmp_path / "alice.sqlite", (TERMS, BOOK))


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str]) -> Iterator[Any]:
    """Runs the verb: what it prints where it succeeds, its one line on stderr where it does not."""

    def run(*arguments: str | Path, status: int = 0) -> str:
        assert command.main(["margin", *map(str, arguments)]) == status
        out, err = capsys.readouterr()
        assert (err if status == 0 else out) == ""
        assert "Traceback" not in err
        return out if status == 0 else err

    return run


def test_the_table_shows_the_librarys_own_figures(store: Path, said: Any) -> None:
    shown = said(store)
    reports = margin(BOOK, CASH, 6)
    for party, report in enumerate(reports):
        for figure in (report.equity, report.initial_margin, report.maintenance_margin, report.charges.vega):
            assert f" {show(figure, 6, 6)}" in shown
        for row in explain(BOOK, party, 6):
            assert all(f" {show(amount, 6, 6)}" in shown for _, amount in row.lines)
        for band in liquidation_bands(BOOK, CASH, 6)[party]:
            assert all(f" {show(level, 18, 2)} (" in shown for level in (band.below, band.above) if level)
    assert "WHAT IF" not in shown


def test_the_document_holds_the_same_to_the_last_unit(store: Path, said: Any) -> None:
    found = json.loads(said(store, "--json"))
    assert found["channel"] == f"0x{TERMS.channel_id(roles.DEPLOYMENT).hex()}"
    assert (found["version"], found["phase"], found["we_are"], found["time"]) == (1, "open", 0, NOW)
    assert found["spots"] == {ETH: str(2_300 * WAD)}
    assert found["locked"] == {"pot": sum(CASH), "deposits": list(CASH), "paid": [0, 0]}
    assert found["exit"]["last_expiry"] == LATER and found["exit"]["paid_by"] >= LATER + 2 * TERMS.grace
    bands = liquidation_bands(BOOK, CASH, 6)
    for party, report in enumerate(margin(BOOK, CASH, 6)):
        mine = found["parties"][party]
        for name in ("cash", "value", "equity", "initial_margin", "maintenance_margin", "scan_initial", "is_breach"):
            assert mine[name] == getattr(report, name)
        assert sum(mine["charges"].values()) == report.charges.total
        (worst,) = mine["worst"]
        assert worst["loss"] == report.worst[0].loss == -sum(worst["lines"].values())
        assert worst["full_move"] + worst["lines"]["damping"] == worst["pnl"]
        levels = [None if level is None else str(level) for level in (bands[party][0].below, bands[party][0].above)]
        assert [mine["liquidation"][0][side] for side in ("below", "above")] == levels


def test_what_if_at_another_price_and_time(store: Path, said: Any) -> None:
    at = NOW + 2 * DAY
    expected = margin(BOOK, CASH, 6, t=at, spots={ETH: 2_100 * WAD})
    for spot in ("2100", "ETH/USD=2100.0"):
        for when in (str(at), "2024-01-07", "2024-01-07T09:00:00+01:00"):
            found = json.loads(said(store, "--json", "--no-bands", "--spot", spot, "--at", when))
            assert (found["time"], found["spots"]) == (at, {ETH: str(2_100 * WAD)})
            assert [p["maintenance_margin"] for p in found["parties"]] == [r.maintenance_margin for r in expected]
            assert [p["worst"][0]["loss"] for p in found["parties"]] == [r.worst[0].loss for r in expected]
            assert [p["liquidation"] for p in found["parties"]] == [None, None]
            assert found["exit"]["deadline"] == at + TERMS.challenge_period
    assert json.loads(said(store, "--json", "--no-bands", "--at", "0"))["time"] == NOW, "never before the marks"
    shown = said(store, "--no-bands", "--spot", "2100")
    assert "WHAT IF: both agreed on 2024-01-05 08:00:00 UTC, ETH/USD 2,300.00" in shown
    assert "below maintenance from" not in shown


def test_after_an_expiry_the_legs_that_are_left_are_margined(store: Path, said: Any) -> None:
    found = json.loads(said(store, "--json", "--no-bands", "--at", str(EXPIRY)))
    assert found["parties"][0]["equity"] == margin(BOOK, CASH, 6, t=EXPIRY)[0].equity
    (split,) = found["parties"][0]["worst"]
    assert split["loss"] > 0
    past = said(store, "--at", str(LATER))
    assert "worst scenario: spot" not in past and "nothing required" in past


def test_a_channel_is_chosen_by_its_first_digits(tmp_path: Path, said: Any) -> None:
    other = replace(TERMS, salt=b"2" * 32)
    path = write(tmp_path / "two.sqlite", (TERMS, BOOK), (other, EMPTY_BOOK))
    wanted = other.channel_id(roles.DEPLOYMENT).hex()
    assert "no positions: cash alone" in said(path, "--channel", "0x" + wanted[:12])
    assert "the last option expires" not in said(path, "--channel", wanted) and "PAID" in said(
        path, "--channel", wanted
    )
    assert "2 channels match" in said(path, status=1)
    assert "no channel 0xzz" in said(path, "--channel", "0xzz", status=1)


def test_the_peers_store_shows_the_other_side(tmp_path: Path, said: Any) -> None:
    path = write(tmp_path / "bob.sqlite", (TERMS, BOOK), me=Party.ONE)
    shown = said(path, "--no-bands")
    assert shown.index("the peer (party 0)") < shown.index("we (party 1)")


def test_a_dispute_is_seen_at_the_time_that_is_asked_for(store: Path, said: Any) -> None:
    journal = SqliteStore.open(store)
    channel = TERMS.channel_id(roles.DEPLOYMENT)
    registered = roles.state(BOOK, channel=channel)
    journal.append(channel, [ChainSaid(RegisteredSeen(registered, NOW + 600))])
    journal.close()
    for at, phase in ((NOW + 599, "disputed"), (NOW + 600, "settling")):
        found = json.loads(said(store, "--json", "--no-bands", "--at", str(at)))
        assert (found["phase"], found["exit"]["deadline"]) == (phase, NOW + 600)


def test_it_leaves_the_store_to_its_node(store: Path, said: Any) -> None:
    before = store.read_bytes()
    said(store, "--no-bands")
    said(store, "--channel", "ff", status=1)
    SqliteStore.open(store).close()
    assert store.read_bytes() == before


def test_several_underlyings_are_named(tmp_path: Path, said: Any) -> None:
    held = roles.book((Leg.put(BTC, EXPIRY, 2000, quantity=-1), Leg.call(ETH, EXPIRY, 2500, quantity=-1)))
    path = write(tmp_path / "two.sqlite", (TERMS, held))
    found = json.loads(said(path, "--json", "--no-bands", "--spot", "BTC/USD=1900", "--spot", "ETH/USD=2600"))
    assert found["spots"] == {BTC: str(1_900 * WAD), ETH: str(2_600 * WAD)}
    assert "name one of what the book holds (BTC/USD, ETH/USD)" in said(path, "--spot", "1900", status=1)
    assert "given twice" in said(path, "--spot", "BTC/USD=1", "--spot", "BTC/USD=2", status=1)


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--spot", "abc"], "--spot = 'abc' is refused: this is not a number"),
        (["--spot", "nan"], "not a finite number"),
        (["--spot", ""], "not a number"),
        (["--spot", "DOGE/USD=1"], "name one of what the book holds (ETH/USD)"),
        (["--spot", "0"], "the spot 0 is out of bounds"),
        (["--spot=-5"], "out of bounds"),
        (["--spot", "1e30"], "out of bounds"),
        (["--spot", "2100.0000000000000000001"], "more than 18 decimals"),
        (["--at", "tomorrow"], "--at = 'tomorrow' is refused: give unix seconds"),
        (["--at", "2024-01-07T09:00:00"], "give unix seconds, a date, or an ISO time with its zone"),
        (["--at", "1" * 19], "this must lie between"),
        (["--at", "1" * 30], "give unix seconds"),
        (["--at", "0001-01-01"], "this must lie between"),
    ],
)
def test_bad_input_is_one_line(store: Path, said: Any, arguments: list[str], line: str) -> None:
    told = said(store, *arguments, status=1)
    assert line in told and told.count("\n") == 1


def test_a_store_that_cannot_be_shown_is_one_line(tmp_path: Path, said: Any) -> None:
    assert "there is no store" in said(tmp_path / "none.sqlite", status=1)
    garbage = tmp_path / "garbage.sqlite"
    garbage.write_bytes(b"not a database" * 100)
    assert said(garbage, status=1).startswith("channels: ")
    assert said(tmp_path, status=1).startswith("channels: ")
    empty = write(tmp_path / "empty.sqlite")
    assert "there is no channel in this store" in said(empty, status=1)
    strange = write(tmp_path / "strange.sqlite", (roles.TERMS, BOOK))
    assert "the margin policy" in said(strange, status=1)
    mixed = tmp_path / "mixed.sqlite"
    journal = SqliteStore.open(mixed)
    journal.append(ChannelId(b"\x07" * 32), [Opened(roles.DEPLOYMENT, TERMS, Party.ZERO, True)])
    journal.close()
    assert "does not have the terms of that id" in said(mixed, status=1)
    closed = write(tmp_path / "closed.sqlite", (TERMS, BOOK), closed=True)
    assert "it is paid, nothing is margined any more" in said(closed, status=1)


def test_while_a_node_holds_the_store_a_copy_serves(store: Path, tmp_path: Path, said: Any) -> None:
    node = SqliteStore.open(store)
    try:
        told = said(store, "--no-bands", status=1)
        assert "copy its log, then the file" in told and told.count("\n") == 2
        copy = tmp_path / "copy.sqlite"
        shutil.copy(f"{store}-wal", f"{copy}-wal")
        shutil.copy(store, copy)
        assert "Margin in channel" in said(copy, "--no-bands")
        Path(f"{copy}-wal").unlink()
        assert "copy both files" in said(copy, "--no-bands", status=1)
    finally:
        node.close()


def test_a_journal_that_ends_before_its_marker_is_shown_with_a_warning(
    store: Path, said: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    channel = TERMS.channel_id(roles.DEPLOYMENT)
    assert "WARNING" not in said(store, "--no-bands")
    marker = FileInstance(store)
    marker.begin({channel: Reached(9, 9, 9, 9)})
    marker.close()
    assert command.main(["margin", str(store), "--no-bands"]) == 0
    out, err = capsys.readouterr()
    assert "Margin in channel" in out
    assert err.startswith("channels: WARNING") and "ends before what was written to it" in err
    assert err.count("\n") == 1


def test_money_on_its_way_is_told_apart(tmp_path: Path, said: Any) -> None:
    path = write(tmp_path / "alice.sqlite", (TERMS, BOOK))
    store = SqliteStore.open(path)
    channel = TERMS.channel_id(roles.DEPLOYMENT)
    store.append(channel, [ChainSaid(DepositSeen(Party.ZERO, 12_000 * UNIT)), ChainSaid(PaymentSeen(Party.ONE, UNIT))])
    store.close()
    shown = said(path, "--no-bands")
    assert "16,999.000000 in the contract" in shown
    assert "1,999.000000 of it is not in the cash above" in shown


def test_the_page_shows_what_the_command_prints(tmp_path: Path, said: Any) -> None:
    """After a change of the table or the default policy: python -m tests.margin_example --update."""
    path = write(tmp_path / "alice.sqlite", (TERMS, margin_example.STRANGLE))
    printed = said(path, "--at", str(margin_example.AT))
    shown = margin_example.PAGE.read_text("utf-8")
    assert f"--at {margin_example.AT}\n" in shown
    assert margin_example.BEGIN + printed + margin_example.END in shown
