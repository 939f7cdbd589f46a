"""The split of a scenario's loss, against derivatives that mpmath takes of Black-76 itself."""

from __future__ import annotations

from dataclasses import replace

import pytest
from mpmath import diff, log, mp, mpf, ncdf, sqrt

from channels.errors import InvalidValue
from channels.model import EMPTY_BOOK, Book, Leg, Marks, OptionKind, net
from channels.model.option import MAX_PRICE
from channels.risk import DEFAULT_POLICY, Explanation, MarginPolicy, Scenario, VolBump, VolShock, explain, margin
from channels.risk.scenarios import shocked_vols
from channels.units import WAD

ETH, BTC = "ETH/USD", "BTC/USD"
TIME = 1_704_700_800
DAY = 86_400
YEAR = 31_536_000
SALT = bytes(31) + b"\7"
LINES = ("delta", "gamma", "vega", "volga", "theta", "cross")
NO_CASH = (0, 0)


def book(*legs: Leg, vol: str = "0.6", forward: str = "3030", discount: str = "0.98") -> Book:
    """ETH at 3000, BTC at 45000; ETH's forwards and discounts as given."""
    pairs = {(leg.underlying, leg.expiry) for leg in legs}
    marks = Marks.at(
        TIME,
        spots={ETH: 3000, BTC: 45000},
        vols=dict.fromkeys(legs, vol),
        forwards={pair: forward for pair in pairs if pair[0] == ETH},
        discounts=dict.fromkeys(pairs, discount),
    )
    return Book.of(legs, marks, SALT)


def moves(factor: int, shock: VolShock, horizon: int, bump: str = "0.05") -> MarginPolicy:
    """A policy of one row, whose volatility moves by the fraction `bump` of itself both ways."""
    size = int(mpf(bump) * WAD)
    row = Scenario(factor, shock, WAD, horizon)
    return replace(DEFAULT_POLICY, bumps=(VolBump(DAY, size, size),), scenarios=(row,))


def alone(held: Book, policy: MarginPolicy, party: int = 0, decimals: int = 18) -> Explanation:
    (found,) = explain(held, party, decimals, policy, rows={held.legs[0].underlying: 0})
    return found


def undiscounted(kind: OptionKind, forward: mpf, strike: mpf, vol: mpf, tau: mpf) -> mpf:
    w = vol * sqrt(tau)
    d1 = log(forward / strike) / w + w / 2
    call = forward * ncdf(d1) - strike * ncdf(d1 - w)
    return call if kind is OptionKind.CALL else call - forward + strike


def lines_by_differentiation(held: Book, policy: MarginPolicy) -> dict[str, mpf]:
    """The six lines of a one-row policy in party 0's view: numerical derivatives of the formula times the moves."""
    lines = dict.fromkeys(LINES, mpf(0))
    (row,) = policy.scenarios
    of = {(mark.underlying, mark.expiry): mark for mark in held.marks.expiries}
    for leg, mark in zip(held.legs, held.marks.vols, strict=True):
        expiry = of[leg.underlying, leg.expiry]
        spot, left = held.marks.spot(leg.underlying), leg.expiry - held.marks.time
        start = spot * expiry.ratio // WAD
        end = spot * row.spot_factor // WAD * expiry.ratio // WAD
        shocked = shocked_vols(policy, mark.vol, left, 0)[row.vol_shock]
        f, k, v, tau = mpf(start) / WAD, mpf(leg.strike) / WAD, mpf(mark.vol) / WAD, mpf(left) / YEAR
        df, dv, dt = mpf(end - start) / WAD, mpf(shocked - mark.vol) / WAD, mpf(row.horizon) / YEAR

        def worth(
            forward: mpf, vol: mpf, tau: mpf, kind: OptionKind = leg.kind, k: mpf = k, held: int = leg.quantity
        ) -> mpf:
            return held * undiscounted(kind, forward, k, vol, tau) / WAD

        def d(*order: int, worth=worth, at=(f, v, tau)) -> mpf:
            return diff(worth, at, order)

        discount = mpf(expiry.discount) / WAD
        lines["delta"] += discount * d(1, 0, 0) * df
        lines["gamma"] += discount * d(2, 0, 0) * df**2 / 2
        lines["vega"] += discount * d(0, 1, 0) * dv
        lines["volga"] += discount * d(0, 2, 0) * dv**2 / 2
        lines["theta"] += discount * d(0, 0, 1) * -dt
        lines["cross"] += discount * (d(1, 1, 0) * df * dv - d(1, 0, 1) * df * dt - d(0, 1, 1) * dv * dt)
    return lines


FAR = TIME + 30 * DAY
BOOKS = {
    "a long call": book(Leg.call(ETH, FAR, 3300, quantity=7)),
    "a short put": book(Leg.put(ETH, FAR, 2800, quantity=-7)),
    "a call in the money": book(Leg.call(ETH, FAR, 2500, quantity="0.5"), vol="1.2"),
    "a condor and a calendar": book(
        Leg.put(ETH, FAR, 2400, quantity=5),
        Leg.put(ETH, FAR, 2700, quantity=-5),
        Leg.call(ETH, FAR, 3300, quantity=-5),
        Leg.call(ETH, FAR, 3600, quantity=5),
        Leg.call(ETH, FAR + 60 * DAY, 3100, quantity=3),
    ),
}


@pytest.mark.parametrize("name", BOOKS)
@pytest.mark.parametrize(
    "policy",
    [
        moves(WAD * 104 // 100, VolShock.NONE, 0),
        moves(WAD * 91 // 100, VolShock.UP, 0),
        moves(WAD, VolShock.DOWN, 0),
        moves(WAD, VolShock.NONE, DAY),
        moves(WAD * 97 // 100, VolShock.UP, 2 * DAY),
        moves(WAD * 105 // 100, VolShock.DOWN, DAY),
    ],
    ids=["spot", "spot and vol", "vol", "time", "all three", "all three, the other way"],
)
def test_each_line_is_the_derivative_times_the_move(name: str, policy: MarginPolicy) -> None:
    found = alone(BOOKS[name], policy)
    with mp.workdps(40):
        expected = lines_by_differentiation(BOOKS[name], policy)
        scale = sum(abs(amount) for amount in expected.values())
        for line in LINES:
            assert abs(mpf(getattr(found, line)) / WAD - expected[line]) <= scale * mpf("1e-12"), line
    assert any(getattr(found, line) for line in LINES)


@pytest.mark.parametrize("name", BOOKS)
@pytest.mark.parametrize("down", [False, True])
def test_the_residual_is_of_third_order(name: str, down: bool) -> None:
    """Halving every move takes seven eighths of the residual away; the time line is of first order, so its square."""

    def residual(part: int) -> int:
        move = WAD // (200 * part)
        policy = moves(WAD - move if down else WAD + move, VolShock.UP, 0, bump=str(mpf("0.01") / part))
        found = alone(BOOKS[name], policy)
        assert abs(found.residual) * 50 < max(abs(found.gamma), abs(found.delta), abs(found.vega))
        return found.residual

    assert residual(1) / residual(2) == pytest.approx(8, rel=0.15)


def test_over_a_tail_the_residual_is_most_of_the_answer() -> None:
    """Ten short 7-day 3900 calls: what delta, gamma and vega do not see, and why the margin is a revaluation."""
    held = book(Leg.call(ETH, TIME + 7 * DAY, 3900, quantity=-10), forward="3000", discount="1")
    (found,) = explain(held, 0, 6)
    assert found.scenario.spot_factor == 4 * WAD and found.scenario.damping == 462 * WAD // 10_000
    assert found.shocked_spot == 12_000 * WAD
    assert found.loss == pytest.approx(3_742 * 10**6, rel=1e-3)
    assert found.full_move == pytest.approx(-81_000 * 10**6, rel=1e-3)
    assert found.residual < 10 * sum(getattr(found, line) for line in LINES) < 0
    assert -found.pnl == pytest.approx(-found.full_move * 0.0462, rel=1e-9)
    assert found.damping == found.pnl - found.full_move > 0


def test_signs_are_those_a_desk_expects() -> None:
    straddle = (Leg.call(ETH, FAR, 3000, quantity=-1), Leg.put(ETH, FAR, 3000, quantity=-1))
    policy = moves(WAD * 9 // 10, VolShock.UP, DAY)
    short, long = (alone(book(*straddle), policy, party) for party in (0, 1))
    assert short.gamma < 0 and short.vega < 0 and short.theta > 0
    assert long.gamma > 0 and long.vega > 0 and long.theta < 0
    buyer = book(Leg.call(ETH, FAR, 3000, quantity=1))
    assert alone(buyer, policy).delta < 0 < alone(buyer, moves(WAD * 11 // 10, VolShock.UP, DAY)).delta


def test_a_scenario_that_gains_is_split_too_and_loses_nothing() -> None:
    found = alone(book(Leg.call(ETH, FAR, 3000, quantity=1)), moves(WAD * 11 // 10, VolShock.UP, 0))
    assert found.pnl > 0 == found.loss
    assert sum(amount for _, amount in found.lines) == found.pnl == found.full_move


@pytest.mark.parametrize("decimals", [0, 6, 18])
@pytest.mark.parametrize("age", [0, 10 * 3_600])
def test_the_worst_row_is_split_into_the_loss_of_the_margin_report(decimals: int, age: int) -> None:
    legs = tuple(leg for held in BOOKS.values() for leg in held.legs)
    held = book(*net(legs, (Leg.put(BTC, FAR, 40_000, quantity=-2),)))
    for party, report in enumerate(margin(held, NO_CASH, decimals, t=TIME + age)):
        found = explain(held, party, decimals, t=TIME + age)
        assert [(e.underlying, e.row, e.scenario, e.loss) for e in found] == [
            (worst.underlying, worst.row, worst.scenario, worst.loss) for worst in report.worst
        ]
        assert all(sum(amount for _, amount in e.lines) == -e.loss for e in found)
        assert all(e.damping == 0 for e in found if e.scenario.damping == WAD)


def test_stale_marks_widen_the_volatility_lines() -> None:
    held = BOOKS["a long call"]
    fresh, stale = (explain(held, 0, 18, rows={ETH: 12}, t=TIME + hours * 3_600)[0] for hours in (0, 50))
    assert fresh.scenario == Scenario(WAD, VolShock.DOWN)
    assert stale.vega < fresh.vega * 5 // 4 < 0


def test_expired_legs_and_settled_books_have_nothing_to_explain() -> None:
    near = Leg.call(ETH, TIME + DAY, 2000, quantity=50)
    both = book(near, Leg.call(ETH, FAR, 3300, quantity=-7))
    (found,) = explain(both, 0, 6, t=TIME + DAY, rows={ETH: 0})
    assert abs(found.full_move) < 50 * 2_000 * 10**6 // 10
    assert explain(book(near), 0, 6, t=TIME + 2 * DAY) == ()
    assert explain(EMPTY_BOOK, 1, 6) == ()


def test_no_more_time_passes_than_is_left() -> None:
    legs = (Leg.call(ETH, TIME + DAY // 24, 3000, quantity=1),)
    day, hour = (alone(book(*legs, forward="3000"), moves(WAD, VolShock.NONE, h)) for h in (DAY, DAY // 24))
    assert day.theta == hour.theta < 0
    assert day.full_move == hour.full_move


def test_a_move_is_cut_where_the_bounds_cut_it() -> None:
    held = book(Leg.call(ETH, FAR, 3000, quantity=1), forward="3000")
    (found,) = explain(held, 1, 6, moves(4 * WAD, VolShock.NONE, 0), rows={ETH: 0}, spots={ETH: MAX_PRICE // 2})
    assert found.shocked_spot == MAX_PRICE
    assert found.delta == pytest.approx(found.full_move, rel=1e-6)


def test_without_volatility_only_delta_is_left() -> None:
    held = book(Leg.call(ETH, FAR, 2900, quantity=1), vol="0", forward="3000", discount="1")
    found = alone(held, moves(WAD * 11 // 10, VolShock.UP, DAY), decimals=6)
    assert dict(found.lines) == dict.fromkeys([name for name, _ in found.lines], 0) | {"delta": 300 * 10**6}


@pytest.mark.parametrize(
    ("party", "rows", "named"),
    [(2, {}, "party"), (-1, {}, "party"), (0, {BTC: 0}, BTC), (0, {ETH: 34}, "row"), (0, {ETH: -1}, "row")],
)
def test_what_does_not_exist_is_refused(party: int, rows: dict[str, int], named: str) -> None:
    with pytest.raises(InvalidValue, match=named):
        explain(BOOKS["a long call"], party, 6, rows=rows)
