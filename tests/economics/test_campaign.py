"""The campaign's plumbing: one seed is one path, and the page has a place for every table and carries every table."""

from __future__ import annotations

import numpy as np
import pytest

from tests.economics.__main__ import PAGE, REPEATED, RISK_PAGE, written
from tests.economics.books import KINDS
from tests.economics.paths import CLOCK, FAMILIES, HOURS, family_of, recorded, synthetic
from tests.economics.report import TABLES, Campaign, game, opening_margin
from tests.economics.rules import MENU, WALKS, Rules


def test_a_path_follows_from_its_seed_and_index_alone() -> None:
    many, one = synthetic(9, range(40)), synthetic(9, [33])
    assert (many.spot[33] == one.spot[0]).all()
    assert (many.level[33] == one.level[0]).all()
    assert (synthetic(10, [33]).spot != one.spot).any()
    assert {family_of(i) for i in range(20)} == set(FAMILIES)
    assert CLOCK[-1] == HOURS * 3600


def test_recorded_windows_take_the_recorded_returns_and_volatilities() -> None:
    market = recorded()
    assert len(market) == 940
    assert (market.level == 1).all()
    assert np.allclose(market.spot[5, 1:] / market.spot[5, :-1], 1, atol=0.05)


def test_a_strategy_and_a_kind_are_named_once() -> None:
    assert len({strategy.name for strategy in MENU}) == len(MENU)
    assert len({kind.name for kind in KINDS}) == len(KINDS)
    assert {len(kind.legs) for kind in KINDS} >= {1, 2, 4, 8, 16}


def test_gains_are_in_percent_of_what_the_default_policy_locks() -> None:
    kind = KINDS[0]
    played = game(kind, Rules(cure=1800), WALKS, Campaign().seed, 20)
    assert played.locked == pytest.approx(opening_margin(kind), rel=2e-3)
    assert -100 < played.mean < 100
    assert (played.uncovered >= 0).all()


def test_the_risk_page_shows_the_same_figures() -> None:
    one, other = (
        page.read_text(encoding="utf-8").partition(f"<!-- {REPEATED} -->\n")[2].partition(f"<!-- /{REPEATED} -->")[0]
        for page in (PAGE, RISK_PAGE)
    )
    assert one.strip()
    assert one == other


def test_the_page_carries_every_table() -> None:
    page = PAGE.read_text(encoding="utf-8")
    for name in ("command", *TABLES):
        body = page.partition(f"<!-- {name} -->\n")[2].partition(f"<!-- /{name} -->")[0]
        assert body.strip(), name
    assert f"--seed {Campaign().seed} --paths {Campaign().paths}" in page
    changed = written(page, [("reach", ["| new |"])])
    assert "<!-- reach -->\n| new |\n<!-- /reach -->" in changed
    assert (
        written(changed, [("reach", page.partition("<!-- reach -->\n")[2].partition("\n<!-- /reach")[0].split("\n"))])
        == page
    )
    with pytest.raises(SystemExit):
        written(page, [("no such table", [])])
