"""The margin of both parties: a full revaluation over the policy's grid, plus the cost of replacing the portfolio.

    L_iu(s) = damping_s · (V_iu − V_iu(s))        SCAN_i = Σ_u max(0, max_s L_iu(s))
    IM_i = max(IA_i, up(f_IM · SCAN_i) + COST_i)   MM_i = max(up(IA_i / 2), up(f_MM · SCAN_i) + COST_i)

Values are exact at 1e54 and differences of them below 2^248. A loss is brought to 1e36 (rounded up) before it meets its
damping, the scan once more before it meets its factor, so no product passes 2^251; `docs/risk.md` lists the steps. All
rounding is against the party being measured. Expired legs count in equity at spot intrinsic and carry no margin:
their payoff no longer moves, so it must neither be stressed nor hedge what still does.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import groupby

from ..model.book import Book
from ..units import WAD, div_up
from .black import UnitGreeks, price_down, total_vol_down
from .fixed import ln_q120, sqrt_years_q100_down
from .policy import DEFAULT_POLICY, MarginPolicy, money_to_tokens_up
from .report import Charges, Greeks, MarginReport, WorstScenario
from .scenarios import bumped_vols, bumps_up, shocked_forward
from .valuation import Position, Settlements, greeks_of, positions, tokens_down

Scan = tuple[tuple[int, int], tuple[int, int]]
"""Per party: the worst row and its damped loss at 1e54, which may be negative."""
Candidates = tuple[Sequence[int], Sequence[int]]
"""Per party, rising: the rows of the grid among which its worst one is."""
Scanner = Callable[[Sequence[tuple[Position, ...]], MarginPolicy, int], Sequence[Scan]]
"""From each underlying's live positions, the policy and the age of the marks to each underlying's scan."""


def margin(
    book: Book,
    cash: tuple[int, int],
    decimals: int,
    policy: MarginPolicy = DEFAULT_POLICY,
    *,
    t: int | None = None,
    spots: Mapping[str, int] | None = None,
    settlements: Settlements | None = None,
    scanner: Scanner | None = None,
) -> tuple[MarginReport, MarginReport]:
    """Return both parties' margin reports; `cash` in token units, `t` and `spots` default to the marks'.

    An expired leg counts at its price in `settlements`, without one at spot intrinsic.

    Off-chain verdicts use the marks' time and spots, on-chain ones the block's and the price source's: equal inputs
    give equal bits. A `scanner` may find the worst rows in another way than by pricing them all (`screen.FloatScreen`
    does), but must find the same. Raises OutOfBounds where a spot or forward leaves the protocol's bounds; a scenario
    never does.
    """
    held = positions(book, t, spots, settlements)
    live = tuple(position for position in held if position.is_live)
    age = 0 if t is None else max(0, t - book.marks.time)
    total = sum(position.value for position in held)
    by_underlying = [(name, tuple(group)) for name, group in groupby(live, key=lambda p: p.leg.underlying)]
    scans = list(
        zip(
            [name for name, _ in by_underlying],
            (scanner or scan_all)([group for _, group in by_underlying], policy, age),
            strict=True,
        )
    )
    charges = replacement_cost([group for _, group in by_underlying], policy, decimals)
    greeks = greeks_of(held)
    reports = []
    for party in (0, 1):
        worst = tuple(
            WorstScenario(name, row, policy.scenarios[row], _tokens_up(max(0, loss), decimals))
            for name, (row, loss) in ((name, found[party]) for name, found in scans)
        )
        scan_1e36 = sum(div_up(max(0, found[party][1]), WAD) for _, found in scans)
        reports.append(
            _report(
                party,
                decimals,
                cash[party],
                tokens_down(total if party == 0 else -total, decimals),
                policy,
                scan_1e36,
                charges[party],
                bool(live),
                worst,
                tuple(row.seen_by(party) for row in greeks),
            )
        )
    return reports[0], reports[1]


def scan_all(groups: Sequence[tuple[Position, ...]], policy: MarginPolicy, age: int) -> list[Scan]:
    """Return the scan of each underlying's live positions, every row of the grid priced: the default `Scanner`."""
    return [scan(group, policy, age) for group in groups]


def scan(live: tuple[Position, ...], policy: MarginPolicy, age: int, candidates: Candidates | None = None) -> Scan:
    """Return each party's worst row and damped loss at 1e54 over the grid, for live positions of one underlying.

    With `candidates` only those rows are priced: the result is the grid's if every row of greatest loss is among them.
    """
    everything = range(len(policy.scenarios))
    first, second = candidates or (everything, everything)
    base = sum(position.value for position in live)
    moved = scenario_values(live, base, policy, age, None if candidates is None else {*first, *second})
    worst: list[tuple[int, int]] = []
    for sign, rows in ((1, first), (-1, second)):
        # Down to 1e36 with the loss rounded up, then exactly up to 1e54 by the damping: below 2^189 · 2^60.
        losses = [div_up(sign * (base - moved[row]), WAD) * policy.scenarios[row].damping for row in rows]
        loss = max(losses)
        worst.append((rows[losses.index(loss)], loss))
    return worst[0], worst[1]


def scenario_losses(
    book: Book,
    witness: Mapping[str, int],
    policy: MarginPolicy = DEFAULT_POLICY,
    *,
    t: int | None = None,
    spots: Mapping[str, int] | None = None,
) -> dict[str, tuple[int, int]]:
    """Return what the row that `witness` names for each underlying costs (party 0, party 1), damped, at 1e54.

    Negative for a gain; underlyings without a live leg are left out. With the worst rows of a report these are the
    losses of its scan, which is what makes a witness of one row for each underlying prove exactly a breach.
    """
    live = [position for position in positions(book, t, spots) if position.is_live]
    age = 0 if t is None else max(0, t - book.marks.time)
    losses = {}
    for name, group in groupby(live, key=lambda p: p.leg.underlying):
        (_, first), (_, second) = scan(tuple(group), replace(policy, scenarios=(policy.scenarios[witness[name]],)), age)
        losses[name] = (first, second)
    return losses


def scenario_values(
    live: tuple[Position, ...], base: int, policy: MarginPolicy, age: int, only: Collection[int] | None = None
) -> list[int]:
    """Return party 0's value at 1e54 under every row of the grid, for live positions of one underlying worth `base`.

    Rows that are not in `only`, where it is given, are left at `base`. Discounts stay as they are: a horizon shortens
    the volatility's time only. One logarithm per expiry and spot factor serves all strikes, one per strike serves all
    scenarios, one total volatility per leg, shock and horizon all spots.
    """
    rows = [(i, row) for i, row in enumerate(policy.scenarios) if not row.is_base and (only is None or i in only)]
    times = list({(row.vol_shock, row.horizon): None for _, row in rows})
    time_of_row = [times.index((row.vol_shock, row.horizon)) for _, row in rows]
    factors = [row.spot_factor for _, row in rows]
    horizons = {horizon for _, horizon in times}
    at: dict[int, tuple[list[tuple[int, int]], tuple[int, int], dict[int, int]]] = {}
    totals = [0] * len(rows)
    for position in live:
        leg, ln_strike, notional = position.leg, position.ln_strike, position.notional
        kind, strike = leg.kind, leg.strike
        if leg.expiry not in at:
            at[leg.expiry] = (
                _shocked_forwards(position, factors),
                bumps_up(policy, position.seconds, age),
                {horizon: sqrt_years_q100_down(max(0, position.seconds - horizon)) for horizon in horizons},
            )
        forwards, bumps, roots = at[leg.expiry]
        vols = bumped_vols(position.vol, *bumps)
        widths = [total_vol_down(vols[shock], roots[horizon]) for shock, horizon in times]
        totals = [
            total + notional * price_down(kind, forward, ln_forward, strike, ln_strike, widths[time])
            for total, (forward, ln_forward), time in zip(totals, forwards, time_of_row, strict=True)
        ]
    values = [base] * len(policy.scenarios)
    for (i, _), total in zip(rows, totals, strict=True):
        values[i] = total
    return values


def _shocked_forwards(position: Position, factors: list[int]) -> list[tuple[int, int]]:
    """Return (forward, its logarithm) for each factor, each distinct one computed once."""
    found = {}
    for factor in set(factors):
        forward = shocked_forward(position.spot, factor, position.ratio)
        found[factor] = (forward, ln_q120(forward))
    return [found[factor] for factor in factors]


def gamma_move_down(unit: UnitGreeks, width: int, move: int) -> int:
    """Return what one unit's gamma earns over a relative move, ½ · gamma_cash · move², WAD, rounded down.

    The total volatility in gamma_cash = density / w is floored at the move: ½·Γ·m² is the P&L of a move only while the
    move is small beside w. Without the floor a strike at the forward has unbounded gamma in its last second.
    """
    move_q100 = (move << 100) // WAD
    # density below 2^91, move below 2^59, its Q100 below 2^99.
    return unit.density * move * move_q100 // (2 * WAD * max(width, move_q100))


def replacement_cost(
    groups: Iterable[tuple[Position, ...]], policy: MarginPolicy, decimals: int
) -> tuple[Charges, Charges]:
    """Return both parties' charges, token units: each line summed over underlyings, then rounded up once.

    Delta nets over an underlying, gamma and vega only within an expiry (term-structure risk), short options not at all.
    Sums at 1e54 come down to 1e36, rounded up, before the charge multiplies them: at most 2^188 · 2^62.
    """
    delta = gamma = vega = 0
    short = [0, 0]
    for group in groups:
        net_delta = 0
        for _, same_expiry in groupby(group, key=lambda p: p.leg.expiry):
            net_gamma = net_vega = 0
            for position in same_expiry:
                unit = position.unit
                net_delta += position.notional * unit.delta_cash
                net_gamma += position.notional * gamma_move_down(unit, position.width, policy.gamma_move)
                net_vega += position.notional * unit.vega
                quantity = position.leg.quantity
                short[0 if quantity < 0 else 1] += abs(quantity) * position.forward
            gamma += div_up(abs(net_gamma), WAD)
            vega += div_up(abs(net_vega), WAD)
        delta += div_up(abs(net_delta), WAD)
    gross = (
        _tokens_up(delta * policy.delta_charge, decimals),
        _tokens_up(gamma * policy.gamma_charge, decimals),
        _tokens_up(vega * policy.vega_charge, decimals),
    )
    first, second = (Charges(*gross, _tokens_up(amount * policy.short_charge, decimals)) for amount in short)
    return first, second


def _report(
    party: int,
    decimals: int,
    cash: int,
    value: int,
    policy: MarginPolicy,
    scan_1e36: int,
    charges: Charges,
    any_live: bool,
    worst: tuple[WorstScenario, ...],
    greeks: tuple[Greeks, ...],
) -> MarginReport:
    scan_initial = _tokens_up(scan_1e36 * policy.scan_initial, decimals)
    scan_maintenance = _tokens_up(scan_1e36 * policy.scan_maintenance, decimals)
    independent = money_to_tokens_up(policy.independent_amounts[party], decimals) if any_live else 0
    initial_margin = max(independent, scan_initial + charges.total)
    return MarginReport(
        party,
        decimals,
        cash,
        value,
        initial_margin,
        max(div_up(independent, 2), scan_maintenance + charges.total),
        scan_initial,
        scan_maintenance,
        charges,
        independent,
        collateral_call(party, cash + value, initial_margin, decimals, policy),
        worst,
        greeks,
    )


def collateral_call(party: int, equity: int, initial_margin: int, decimals: int, policy: MarginPolicy) -> int:
    """Return what may be called from a party, token units: all of IM − equity once it exceeds the threshold, else 0.

    Rounded up to the transfer rounding; nothing below the minimum transfer amount. ISDA CSA terms, off-chain only.
    """
    threshold = policy.thresholds[party] * 10**decimals // WAD
    lacking = initial_margin - equity
    if lacking <= threshold:
        return 0
    unit = money_to_tokens_up(policy.transfer_rounding, decimals)
    amount = div_up(lacking, unit) * unit if unit else lacking
    return amount if amount >= money_to_tokens_up(policy.minimum_transfer, decimals) else 0


def _tokens_up(amount_1e54: int, decimals: int) -> int:
    unit: int = 10 ** (54 - decimals)
    return div_up(amount_1e54, unit)
