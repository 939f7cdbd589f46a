"""The contract and the library on the same random inputs: no integer differs. A failure names the seed to replay."""

from __future__ import annotations

import pytest

from tests.contracts.engine_books import POLICIES
from tests.contracts.engine_laws import BATCH, check_book, check_options
from tests.contracts.engine_world import Engine

BOOKS, OPTIONS = 2_000, 100_000
NIGHTLY_BOOKS, NIGHTLY_OPTIONS = 20_000, 1_000_000
PARTS = 8
"""Into how many tests a campaign is cut, so that they run beside each other."""


@pytest.fixture(scope="module")
def engines() -> list[Engine]:
    return [Engine.deployed(policy) for policy in POLICIES]


def compare_books(engines: list[Engine], first: int, count: int) -> None:
    compared = 0
    for seed in range(first, first + count):
        try:
            compared += check_book(engines, seed)
        except AssertionError as error:
            raise AssertionError(f"replay with: python -m tests.contracts.engine_replay book {seed}\n{error}") from None
    assert compared > 100 * count


def compare_options(engine: Engine, first: int, count: int) -> None:
    for seed in range(first, first + count // BATCH + 1):
        try:
            check_options(engine, seed)
        except AssertionError as error:
            raise AssertionError(
                f"replay with: python -m tests.contracts.engine_replay options {seed}\n{error}"
            ) from None


@pytest.mark.parametrize("part", range(PARTS))
def test_books(engines: list[Engine], part: int) -> None:
    compare_books(engines, part * 10**6, BOOKS // PARTS)


@pytest.mark.parametrize("part", range(PARTS))
def test_single_options(engines: list[Engine], part: int) -> None:
    compare_options(engines[0], part * 10**6, OPTIONS // PARTS)


@pytest.mark.nightly
@pytest.mark.parametrize("part", range(PARTS))
def test_many_books(engines: list[Engine], part: int) -> None:
    compare_books(engines, part * 10**6 + BOOKS, NIGHTLY_BOOKS // PARTS)


@pytest.mark.nightly
@pytest.mark.parametrize("part", range(PARTS))
def test_many_single_options(engines: list[Engine], part: int) -> None:
    compare_options(engines[0], part * 10**6 + OPTIONS, NIGHTLY_OPTIONS // PARTS)
