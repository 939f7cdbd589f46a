"""No intermediate passes 2^255: the real functions run on intervals over their domain, the margin on its extremes.

An interval refuses what the EVM and Python would do differently: a division of or by something that may be negative, a
shift by a negative amount, a magnitude of 2^255.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from channels.model import Book, Leg, Marks, OptionKind
from channels.model.marks import MAX_RATIO, MAX_TENOR, MAX_VOL
from channels.model.option import MAX_PRICE, MAX_QUANTITY
from channels.risk import MarginPolicy, VolBump, VolShock, black, fixed
from channels.risk.black import GUARD_BITS, LIMIT_Q72, greeks_down, price_down, tails, tails_at, total_vol_down
from channels.risk.margin import replacement_cost, scan
from channels.risk.policy import MAX_AMOUNT
from channels.risk.scenarios import converge_down, shocked_forward, shocked_vols
from channels.risk.valuation import MAX_SETTLEMENT, Position, positions
from channels.units import SECONDS_PER_YEAR, WAD

WORD = 2**255


class Interval:
    """All integers from low to high, and what the integer operations make of them."""

    forced = True
    """The answer to a comparison that both outcomes are possible for; tests run with either."""

    def __init__(self, low: int, high: int) -> None:
        assert -WORD < low <= high < WORD, "an intermediate leaves the word"
        self.low, self.high = low, high

    @staticmethod
    def of(value: Interval | int) -> Interval:
        return value if isinstance(value, Interval) else Interval(value, value)

    def __add__(self, other: Interval | int) -> Interval:
        o = Interval.of(other)
        return Interval(self.low + o.low, self.high + o.high)

    def __sub__(self, other: Interval | int) -> Interval:
        o = Interval.of(other)
        return Interval(self.low - o.high, self.high - o.low)

    def __rsub__(self, other: int) -> Interval:
        return Interval.of(other) - self

    def __neg__(self) -> Interval:
        return Interval(-self.high, -self.low)

    def __mul__(self, other: Interval | int) -> Interval:
        o = Interval.of(other)
        ends = [a * b for a in (self.low, self.high) for b in (o.low, o.high)]
        if other is self:
            return Interval(0 if self.low <= 0 <= self.high else min(ends), max(ends))
        return Interval(min(ends), max(ends))

    __radd__, __rmul__ = __add__, __mul__

    def __floordiv__(self, other: Interval | int) -> Interval:
        o = Interval.of(other)
        assert self.low >= 0 and o.low > 0, "a division whose sign the EVM and Python would treat differently"
        return Interval(self.low // o.high, self.high // o.low)

    def __rshift__(self, other: Interval | int) -> Interval:
        o = Interval.of(other)
        assert o.low >= 0
        ends = [a >> b for a in (self.low, self.high) for b in (o.low, o.high)]
        return Interval(min(ends), max(ends))

    def __lshift__(self, bits: int) -> Interval:
        return Interval(self.low << bits, self.high << bits)

    def __ge__(self, other: int) -> bool:
        return self.low >= other if self.low >= other or self.high < other else Interval.forced

    def __gt__(self, other: int) -> bool:
        return self >= other + 1

    def bit_length(self) -> int:
        assert self.low.bit_length() == self.high.bit_length()
        return self.high.bit_length()


class Word(int):
    """An integer that refuses to leave the word, and to be divided where the signs would matter."""

    def __new__(cls, value: int) -> Word:
        assert -WORD < value < WORD, f"an intermediate of 2^{value.bit_length()} leaves the word"
        return super().__new__(cls, value)


def _checked(name: str) -> Callable[..., Any]:
    plain = getattr(int, name)

    def operate(self: int, *others: int) -> Any:
        result = plain(self, *others)
        return result if result is NotImplemented else Word(result)

    return operate


for _name in ("add", "sub", "mul", "floordiv", "rshift", "lshift"):
    setattr(Word, f"__{_name}__", _checked(f"__{_name}__"))
    setattr(Word, f"__r{_name}__", _checked(f"__r{_name}__"))
for _name in ("neg", "abs"):
    setattr(Word, f"__{_name}__", _checked(f"__{_name}__"))


@pytest.fixture(params=[True, False])
def either_branch(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Interval, "forced", request.param)


def test_the_instruments_themselves_can_fail() -> None:
    with pytest.raises(AssertionError):
        Interval(0, 2**128) * Interval(0, 2**128)
    with pytest.raises(AssertionError):
        Interval(-1, 5) // 2
    with pytest.raises(AssertionError):
        Word(2**128) * 2**128
    assert (3 - Word(5)) * 2 == -4


def test_ln_over_all_prices() -> None:
    for bits in range(1, 128):
        low, high = 1 << (bits - 1), (1 << bits) - 1
        seam = fixed.SQRT2_Q127 >> (128 - bits)
        for box in {(low, max(low, seam)), (min(seam + 1, high), high)}:
            if (box[0] << (128 - bits) > fixed.SQRT2_Q127) == (box[1] << (128 - bits) > fixed.SQRT2_Q127):
                found = fixed.ln_q120(Interval(*box))
                assert found.low >= -1 and found.high < 2**127


EXP_STEP = 1 << 68


def exp_box(s: Interval) -> tuple[Interval, Interval]:
    """What exp_neg gives over an interval, as the union over pieces so short that n hardly varies within one."""
    pieces = [fixed.exp_neg(Interval(low, low + EXP_STEP)) for low in range(s.low, s.high + 1, EXP_STEP)]
    return tuple(
        Interval(min(piece[i].low for piece in pieces), max(piece[i].high for piece in pieces)) for i in (0, 1)
    )


def test_exp_over_its_domain() -> None:
    r, n = exp_box(Interval(0, 64 << 72))
    assert r.low > 2**99 and r.high < 2**101 and n.high < 100


def test_tail_over_its_domain() -> None:
    for z in range(0, 36 << 72, 1 << 70):
        p, q = fixed.scaled_tail(Interval(z, z + (1 << 70)))
        assert p.low > 0 and p.high < 2**105 and q.high < 2**111


@pytest.mark.usefixtures("either_branch")
def test_the_two_tails_for_every_moneyness_and_width(monkeypatch: pytest.MonkeyPatch) -> None:
    known: dict[tuple[int, int], tuple[Interval, Interval]] = {}
    monkeypatch.setattr(
        black, "exp_neg", lambda s: known.get((s.low, s.high)) or known.setdefault((s.low, s.high), exp_box(s))
    )
    step = 1 << 70
    greatest_half = total_vol_down(MAX_VOL, fixed.sqrt_years_q100_down(MAX_TENOR)) >> 29
    seen = 0
    for half in range(0, greatest_half + step, step):
        for moneyness in range(max(0, half - LIMIT_Q72), half + LIMIT_Q72, step):
            boxes = Interval(moneyness, moneyness + step), Interval(half, half + step)
            for found in tails_at(Interval(1, MAX_PRICE), *boxes):
                assert Interval.of(found).high < 2 ** (92 + GUARD_BITS + 4)
            seen += 1
    assert seen > 3000


def test_shocks_of_marks_as_old_as_time_can_tell() -> None:
    """The contract takes any 64-bit second: nothing in bump, widening and shocked volatility leaves the word."""
    widest = MarginPolicy(
        vol_max_age=0,
        vol_stale_per_hour=WAD,
        bumps=(VolBump(1, 8 * WAD, WAD), VolBump(MAX_TENOR, 8 * WAD, WAD)),
    )
    for left in (1, 2, MAX_TENOR - 1, MAX_TENOR):
        vols = shocked_vols(widest, Word(MAX_VOL), Word(left), Word(2**64 - 1))
        assert vols[VolShock.UP] == MAX_VOL and vols[VolShock.DOWN] == 0


def test_thirty_two_legs_settled_at_the_greatest_price() -> None:
    leg_value = Word(MAX_QUANTITY) * Word(WAD) * Word(MAX_SETTLEMENT)
    assert 32 * Word(leg_value) < WORD
    time, expiry = 1_700_000_000, 1_700_000_001
    legs = [Leg("X", expiry, 1 + i, OptionKind.CALL, MAX_QUANTITY) for i in range(32)]
    held = Book.of(legs, Marks.at(time, spots={"X": 1}, vols=dict.fromkeys(legs, "0")), bytes(31) + b"\1")
    settled = positions(held, expiry, None, {("X", expiry): MAX_SETTLEMENT})
    total = sum((Word(position.value) for position in settled), Word(0))
    assert 2**247 < total < WORD - 10**54, "what is added before a division rounds up must fit too"


def test_the_totals_of_the_greeks_view() -> None:
    """All but gamma and theta, which the contract sums with checked arithmetic."""
    notional = Word(MAX_QUANTITY) * MAX_RATIO
    for greatest in (2 * WAD, MAX_PRICE, 2**94):  # delta; delta_cash; vega, as measured below
        assert 32 * Word(notional * greatest) < WORD
    carry = Word(MAX_PRICE) * (MAX_RATIO - WAD) * SECONDS_PER_YEAR // WAD
    assert 32 * Word(MAX_QUANTITY) * carry < WORD


def test_the_charges_as_the_contract_forms_them() -> None:
    """Gain over the move, sums at 1e36 times the greatest charge, independent amount at 1e54."""
    move = WAD // 2
    density = Word(MAX_PRICE) * fixed.INV_SQRT_2PI_Q120 >> 120
    gain = Word(density) * move * ((move << 100) // WAD) // (2 * WAD * ((move << 100) // WAD))
    for unit in (gain, Word(MAX_PRICE), Word(2**94)):
        assert 32 * Word(MAX_QUANTITY) * MAX_RATIO * unit // WAD * (4 * WAD) < WORD
    assert 32 * Word(MAX_QUANTITY) * MAX_PRICE * (4 * WAD) < WORD
    assert Word(MAX_AMOUNT) * WAD * WAD < WORD


EXTREMES = (1, 2, WAD, 3000 * WAD, MAX_PRICE - 1, MAX_PRICE)


@pytest.mark.parametrize("seconds", [1, 60, 86_400, MAX_TENOR])
@pytest.mark.parametrize("vol", [0, 1, 10**9, WAD // 2, MAX_VOL])
def test_prices_and_greeks_at_the_corners_of_the_bounds(seconds: int, vol: int) -> None:
    root = Word(fixed.sqrt_years_q100_down(seconds))
    width = total_vol_down(Word(vol), root)
    for forward in map(Word, EXTREMES):
        for strike in map(Word, EXTREMES):
            logs = (Word(fixed.ln_q120(forward)), Word(fixed.ln_q120(strike)))
            for kind in OptionKind:
                found = greeks_down(kind, forward, logs[0], strike, logs[1], Word(width), root, seconds)
                assert found.price == price_down(kind, forward, logs[0], strike, logs[1], width)
                assert abs(found.vega) < 2**94 and abs(found.theta) < 2**107
                assert all(part >= 0 for part in tails(min(forward, strike), abs(logs[0] - logs[1]), Word(width)))


def test_convergence_and_shocks_at_the_corners_of_the_bounds() -> None:
    widest = MarginPolicy(vol_max_age=0, vol_stale_per_hour=WAD)
    for left in (1, MAX_TENOR):
        assert converge_down(Word(MAX_RATIO), Word(left), Word(MAX_TENOR)) <= MAX_RATIO
        vols = shocked_vols(widest, Word(MAX_VOL), Word(left), Word(MAX_TENOR))
        assert all(0 <= vol <= MAX_VOL for vol in vols.values())
    for spot in (1, MAX_PRICE):
        for ratio in (1, MAX_RATIO):
            assert 1 <= shocked_forward(Word(spot), Word(16 * WAD), Word(ratio)) <= MAX_PRICE


def test_a_margin_of_thirty_two_largest_legs() -> None:
    """The book of greatest value, tracked through scan and charges with the greatest factors a policy may have."""
    time, expiry = 1_700_000_000, 1_700_000_000 + MAX_TENOR
    legs = [
        Leg("X", expiry, MAX_PRICE - i, kind, sign * MAX_QUANTITY)
        for i in range(16)
        for kind, sign in ((OptionKind.CALL, 1), (OptionKind.PUT, 1 if i % 2 else -1))
    ]
    marks = Marks.at(
        time,
        spots={"X": "1000000000"},
        vols=dict.fromkeys(legs, "0.001"),
        forwards={("X", expiry): "4000000000"},
        discounts={("X", expiry): 4},
    )
    greatest = MarginPolicy(4 * WAD, 4 * WAD, 4 * WAD, 4 * WAD, WAD // 2, 4 * WAD, 4 * WAD)

    def tracked(position: Position) -> Position:
        return replace(
            position,
            leg=replace(position.leg),
            notional=Word(position.notional),
            unit=replace(
                position.unit,
                **{name: Word(getattr(position.unit, name)) for name in ("price", "delta_cash", "density", "vega")},
            ),
        )

    held = tuple(map(tracked, positions(Book.of(legs, marks, bytes(31) + b"\1"))))
    assert type(held[0].value) is Word
    worst = scan(held, greatest, 0)
    assert all(type(loss) is Word and abs(loss) < 2**250 for _, loss in worst)
    first, second = replacement_cost([held], greatest, 0)
    assert first.total > 0 and second.total > 0
    assert max(loss for _, loss in worst) // WAD * greatest.scan_initial + 4 * 2**250 < WORD
