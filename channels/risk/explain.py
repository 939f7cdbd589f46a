"""Why a scenario costs what it costs: its profit or loss split by Greek, in lines that add up to the figure charged.

The margin is a full revaluation, so no Greek enters it; this splits its answer for people. Each Greek times its move is
a line of the second-order expansion at today's marks, the residual is what full revaluation adds to them, and damping
is what the policy does not charge of a tail. Residual and damping are differences, so the lines always add up:

    delta + gamma + vega + volga + theta + cross + residual = value(s) − value         the full move
    full move + damping = − loss                                                       what the margin was made on

Near the money and over small moves the residual is small. On a tail it is most of the answer, which is why the margin
is not made of Greeks. `docs/risk_report.md` lists the steps.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import groupby

from ..errors import InvalidValue
from ..model.book import Book
from ..model.identity import checked_range
from ..units import SECONDS_PER_YEAR, WAD, div_toward_zero, div_up
from .fixed import ln_q120
from .margin import scan, scenario_values
from .policy import DEFAULT_POLICY, MarginPolicy, Scenario
from .scenarios import shocked_forward, shocked_vols
from .valuation import Position, Settlements, positions, tokens_down

_GREEK_LINES = ("delta", "gamma", "vega", "volga", "theta", "cross")


@dataclass(frozen=True, slots=True)
class Explanation:
    """One scenario on one underlying, as a party's profit or loss: token units, negative where the party loses.

    `delta`, `gamma`, `vega`, `theta`: the Greek of today's marks times the scenario's move. `volga`: the square of the
    volatility move. `cross`: moves that work together, spot with volatility (vanna), and with time where the scenario
    has a horizon (charm, veta). Each is truncated toward zero once, so that the two parties' lines mirror exactly.
    `residual`: the full move less these six. `damping`: what the policy's weight takes off the full move.
    """

    party: int
    underlying: str
    row: int
    scenario: Scenario
    spot: int
    """Spot before the move, WAD."""
    shocked_spot: int
    """Spot after it, WAD, within the protocol's bounds."""
    delta: int
    gamma: int
    vega: int
    volga: int
    theta: int
    cross: int
    residual: int
    damping: int

    @property
    def lines(self) -> tuple[tuple[str, int], ...]:
        """Every line with its name, in the order of a report; they add up to `pnl`."""
        return tuple((name, getattr(self, name)) for name in (*_GREEK_LINES, "residual", "damping"))

    @property
    def full_move(self) -> int:
        """The profit or loss by full revaluation, before the policy's weight, rounded down."""
        return self.pnl - self.damping

    @property
    def pnl(self) -> int:
        """What the margin counts: the full move times the policy's weight, rounded down."""
        return sum(amount for _, amount in self.lines)

    @property
    def loss(self) -> int:
        """The loss as the scan knows it, rounded up: `WorstScenario.loss` for the worst row. Zero for a gain."""
        return max(0, -self.pnl)


def explain(
    book: Book,
    party: int,
    decimals: int,
    policy: MarginPolicy = DEFAULT_POLICY,
    *,
    rows: Mapping[str, int] | None = None,
    t: int | None = None,
    spots: Mapping[str, int] | None = None,
    settlements: Settlements | None = None,
) -> tuple[Explanation, ...]:
    """Return the split of one scenario for each underlying with a live leg: its row in `rows`, by default the worst.

    The other arguments are those of `margin`; equal ones explain exactly its losses. Raises InvalidValue for a party,
    an underlying or a row that does not exist, and OutOfBounds as `margin` does.
    """
    checked_range("party", party, 0, 1)
    chosen = rows or {}
    live = [position for position in positions(book, t, spots, settlements) if position.is_live]
    groups = [(name, tuple(group)) for name, group in groupby(live, key=lambda p: p.leg.underlying)]
    unknown = set(chosen) - {name for name, _ in groups}
    if unknown:
        raise InvalidValue("underlying", min(unknown), "the book has no live leg on it")
    age = 0 if t is None else max(0, t - book.marks.time)
    found = []
    for name, group in groups:
        row = chosen[name] if name in chosen else scan(group, policy, age)[party][0]
        checked_range("row", row, 0, len(policy.scenarios) - 1)
        found.append(_explained(party, name, row, group, decimals, policy, age))
    return tuple(found)


def _explained(
    party: int, name: str, row: int, group: tuple[Position, ...], decimals: int, policy: MarginPolicy, age: int
) -> Explanation:
    sign = 1 if party == 0 else -1
    only = replace(policy, scenarios=(policy.scenarios[row],))
    base = sum(position.value for position in group)
    (moved,) = scenario_values(group, base, only, age)
    charged = -div_up(scan(group, only, age)[party][1], 10 ** (54 - decimals))
    full_move = tokens_down(sign * (moved - base), decimals)
    greeks = {
        line: div_toward_zero(sign * amount, 10 ** (54 - decimals))
        for line, amount in _expansion(group, policy.scenarios[row], policy, age).items()
    }
    spot, factor = group[0].spot, policy.scenarios[row].spot_factor
    return Explanation(
        party,
        name,
        row,
        policy.scenarios[row],
        spot,
        shocked_forward(spot, factor, WAD),
        **greeks,
        residual=full_move - sum(greeks.values()),
        damping=charged - full_move,
    )


def _expansion(group: tuple[Position, ...], row: Scenario, policy: MarginPolicy, age: int) -> dict[str, int]:
    """Return the six lines of the expansion at 1e54 in party 0's view: one truncation per leg and line."""
    sums = dict.fromkeys(_GREEK_LINES, 0)
    for position in group:
        for line, amount in _leg_lines(position, row, policy, age).items():
            sums[line] += amount
    return sums


def _leg_lines(position: Position, row: Scenario, policy: MarginPolicy, age: int) -> dict[str, int]:
    """Return one leg's lines at 1e54, each truncated toward zero.

    With φ = F·pdf(d1), w = σ·sqrt(τ), f = dF/F, v = dσ/σ and u = dt/2τ, quantity and discount outside:

        delta Δ·dF    gamma ½·(φ/w)·f²    vega ν·dσ    volga ½·φ·w·d1·d2·v²    theta Θ·dt
        cross −φ·d2·f·v (vanna) + φ·d2·f·u (charm) − φ·w·(1 + d1·d2)·v·u (veta)

    Source: Black-76's derivatives, e.g. E. G. Haug, "The Complete Guide to Option Pricing Formulas", ch. 2. A horizon
    shortens the volatility's time only, so there is no rho and no carry.
    """
    unit, forward, notional, vol = position.unit, position.forward, position.notional, position.vol
    d_forward = shocked_forward(position.spot, row.spot_factor, position.ratio) - forward
    d_vol = shocked_vols(policy, vol, position.seconds, age)[row.vol_shock] - vol if row.vol_shock else 0
    elapsed = min(row.horizon, position.seconds)
    lines = {
        "delta": div_toward_zero(notional * unit.delta * d_forward, WAD),
        "gamma": div_toward_zero(notional * unit.gamma_cash * d_forward**2, 2 * forward**2),
        "vega": div_toward_zero(notional * unit.vega * d_vol, WAD),
        "theta": div_toward_zero(notional * unit.theta * elapsed, SECONDS_PER_YEAR),
    }
    if unit.density == 0:
        return lines
    d1, d2 = d1_d2(position)
    moment = notional * unit.density
    # d1, d2 and w in Q72 from here on; v = d_vol/vol and u = elapsed/(2·seconds) stay fractions until the division.
    width, twice = position.width >> 28, 2 * position.seconds
    lines["volga"] = div_toward_zero(moment * width * d1 * d2 * d_vol**2, vol**2 << (3 * 72 + 1))
    vanna = div_toward_zero(-moment * d2 * d_forward * d_vol, (forward * vol) << 72)
    charm = div_toward_zero(moment * d2 * d_forward * elapsed, (forward * twice) << 72)
    veta = div_toward_zero(-moment * width * ((1 << 144) + d1 * d2) * d_vol * elapsed, (vol * twice) << (3 * 72))
    lines["cross"] = vanna + charm + veta
    return lines


def d1_d2(position: Position) -> tuple[int, int]:
    """Return d1 = ln(F/K)/w + w/2 and d2 = d1 − w in Q72, the quotient truncated toward zero; the width is not zero."""
    moneyness = div_toward_zero((ln_q120(position.forward) - position.ln_strike) << 52, position.width)
    half = position.width >> 29
    return moneyness + half, moneyness - half
