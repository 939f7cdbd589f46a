"""Close-out and witness of the library against the engine that ships: random books, no integer apart."""

from __future__ import annotations

import pytest

from channels.errors import OutOfBounds
from channels.risk import close_out, margin, witness
from tests.contracts.engine_books import POLICIES, random_case
from tests.contracts.engine_world import Engine

SEEDS = range(7_000_000, 7_000_120)


@pytest.fixture(scope="module")
def engines() -> list[Engine]:
    return [Engine.deployed(policy) for policy in POLICIES]


def test_close_out_and_witness_are_the_engines(engines: list[Engine]) -> None:
    """The library's witness proves a breach one unit below maintenance, and none at it."""
    compared = 0
    for seed in SEEDS:
        case = random_case(seed)
        engine, policy = engines[case.policy], POLICIES[case.policy]
        asked = (list(case.spots), list(case.settlements), case.t)
        at = {"t": case.t, "spots": case.spot_map(), "settlements": case.settlement_map()}
        try:
            ours = close_out(case.book, case.decimals, policy, **at)
        except OutOfBounds:
            continue
        assert engine("close_out", case.book.encoded, case.decimals, *asked) == ours, seed
        for report in margin(case.book, (0, 0), case.decimals, policy, **at):
            for below in (1, 0):
                cash = report.maintenance_margin - report.value - below
                query = (case.book.encoded, report.party, cash, case.decimals, *asked, list(witness(report)))
                proven, values, charges = engine("liquidation", *query)
                assert proven is bool(below), seed
                assert (values, charges) == ours
        compared += 1
    assert compared > len(SEEDS) // 2
