"""What the engine costs, in gas: each figure without the transaction's 21,000 and its calldata.

One option is measured as the same call with the work and without it: a harness around the very module that the engine
is made of calls the formula, or a stub of identical interface, once and twice, and the difference is one call.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from adjudicator_contracts import build
from channels.model import Book, Leg, Marks
from channels.risk import DEFAULT_POLICY, MarginPolicy, Scenario, VolShock
from channels.risk.fixed import ln_q120, sqrt_years_q100_down
from channels.units import SECONDS_PER_DAY as DAY, WAD
from tests.contracts.engine_world import Engine

NOW = 1_704_700_800
TENORS = (7, 30, 60, 90, 120, 180, 270, 365)
HARNESS = """# pragma version 0.4.3
# pragma evm-version cancun
# pragma optimize gas
from modules import black
from modules import fixed

@internal
@pure
def _stub(
    is_put: bool, forward: int256, a: int256, strike: int256, b: int256, width: int256, root: int256, seconds: int256
) -> black.Greeks:
    return empty(black.Greeks)

@external
@pure
def stub(n: uint256, is_put: bool, f: int256, k: int256, a: int256, b: int256, w: int256, r: int256, t: int256):
    for i: uint256 in range(n, bound=2):
        found: black.Greeks = self._stub(is_put, f, a, k, b, w, r, t)

@external
@pure
def unit(n: uint256, is_put: bool, f: int256, k: int256, a: int256, b: int256, w: int256, r: int256, t: int256):
    for i: uint256 in range(n, bound=2):
        found: black.Greeks = black._unit(is_put, f, a, k, b, w, r, t)

@external
@pure
def logarithm(n: uint256, price: int256, hint: uint256):
    for i: uint256 in range(n, bound=2):
        found: int256 = fixed._ln(price, hint)
"""
BUSIEST = MarginPolicy(
    scenarios=tuple(
        Scenario(WAD * (50 + 5 * i + i // 10) // 100, (VolShock.UP, VolShock.DOWN)[i % 2], WAD, i * 3600)
        for i in range(40)
    )
)
"""As many rows as a policy may have, no two of one spot, and a horizon in each."""


@cache
def harness() -> Engine:
    """The formula behind an interface that calls it once or twice."""
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "Harness.vy"
        source.write_text(HARNESS, "utf-8")
        document = json.loads(build.render(build.compile_contract(source)))
    return Engine(bytes.fromhex(document["bytecode"].removeprefix("0x")), tuple(document["abi"]))


def one_call(function: str, *arguments: Any) -> int:
    """Gas of one more call of an inner function, its loop included."""
    engine = harness()
    engine(function, 1, *arguments)
    once = engine.gas
    engine(function, 2, *arguments)
    return engine.gas - once


def single_options() -> Iterator[tuple[str, int]]:
    """(what, gas net of the stub) of price and all Greeks, in and out of the money, and of a strike's logarithm."""
    root = sqrt_years_q100_down(30 * DAY)
    width = WAD * 6 // 10 * root // WAD
    for is_put in (False, True):
        for forward, strike in ((3000 * WAD, 3100 * WAD), (3100 * WAD, 3000 * WAD)):
            arguments = (is_put, forward, strike, ln_q120(forward), ln_q120(strike), width, root, 30 * DAY)
            name = f"{'put' if is_put else 'call'}, {'below' if forward < strike else 'above'} the strike"
            yield name, one_call("unit", *arguments) - one_call("stub", *arguments)
    yield "logarithm of a strike, the forward's highest bit", one_call("logarithm", 3100 * WAD, 71)
    yield "logarithm of a strike, another highest bit", one_call("logarithm", 5000 * WAD, 71)


def book(legs: int, underlyings: int, expiries: int) -> Book:
    """Calls and puts from 70 % to 130 % of spot, long and short in turn, with a carry."""
    names = [f"U{i}/USD" for i in range(underlyings)]
    held = [
        (Leg.call if i % 2 else Leg.put)(
            names[i % underlyings],
            NOW + TENORS[i // underlyings % (expiries // underlyings)] * DAY,
            2100 + 1800 * i // legs,
            quantity=(-1) ** (i // 3) * (1 + i % 3),
        )
        for i in range(legs)
    ]
    pairs = {(leg.underlying, leg.expiry) for leg in held}
    marks = Marks.at(
        NOW,
        spots=dict.fromkeys(names, 3000),
        vols=dict.fromkeys(held, "0.6"),
        forwards=dict.fromkeys(pairs, 3030),
        discounts=dict.fromkeys(pairs, "0.98"),
    )
    return Book.of(held, marks, bytes(31) + b"\1")


SHAPES = ((1, 1, 1), (4, 1, 1), (16, 1, 1), (16, 1, 4), (32, 1, 4), (32, 4, 8))
"""(legs, underlyings, expiries)."""


def costs(engine: Engine, shape: tuple[int, int, int]) -> dict[str, int]:
    """Gas of each entry point on a book of this shape, ten minutes after its marks."""
    held = book(*shape)
    asked = ([mark.spot for mark in held.marks.spots], [0] * len(held.marks.expiries), NOW + 600)
    witness = [29] * len(held.marks.spots)
    calls: dict[str, tuple[Any, ...]] = {
        "value": (held.encoded, *asked),
        "greeks": (held.encoded, *asked),
        "is_breach": (held.encoded, 0, 0, 6, *asked, witness),
        "close_out": (held.encoded, 6, *asked),
        "liquidation": (held.encoded, 0, 0, 6, *asked, witness),
        "excess": (held.encoded, 0, 0, 6, *asked),
        "margin": (held.encoded, (0, 0), 6, *asked),
    }
    found = {}
    for function, arguments in calls.items():
        engine(function, *arguments)
        data = engine.calldata(function, *arguments)
        found[function] = engine.gas - 21_000 - sum(16 if byte else 4 for byte in data)
    return found


def busiest() -> int:
    """Gas of a whole grid of the busiest policy over a full book."""
    return costs(Engine.deployed(BUSIEST), SHAPES[-1])["excess"]


def full_book_with_fewer_rows(rows: int) -> int:
    """Gas of a whole grid over a full book under a policy with the first `rows` of the busiest one's."""
    return costs(Engine.deployed(replace(DEFAULT_POLICY, scenarios=BUSIEST.scenarios[:rows])), SHAPES[-1])["excess"]
