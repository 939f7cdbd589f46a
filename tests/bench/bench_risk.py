"""How fast the exact integers are, and the float screen in front of them: `python -m tests.bench.bench_risk`.

Best of several repetitions, all in one run, so that the ratios mean something on a busy machine.
"""

from __future__ import annotations

import timeit
from collections.abc import Callable
from dataclasses import replace

from channels.model import Book, Leg, Marks, OptionKind
from channels.risk import margin, price, unit_greeks, value
from channels.risk.black import price_down, total_vol_down
from channels.risk.fixed import ln_q120, sqrt_years_q100_down
from channels.risk.screen import FloatScreen, Verdicts
from channels.units import WAD

TIME = 1_704_700_800
DAY = 86_400
WINDOW = 32
"""Marks that one signature agrees."""


def best_us(function: Callable[[], object], number: int, repeat: int = 7) -> float:
    """Return the best time of one call in microseconds."""
    return min(timeit.repeat(function, number=number, repeat=repeat)) / number * 1e6


def in_turn_ms(*functions: Callable[[], object], rounds: int = 100) -> list[float]:
    """Return the best time of one call of each in milliseconds, taking turns: a busy moment hits all alike."""
    best = [float("inf")] * len(functions)
    for _ in range(rounds):
        for i, function in enumerate(functions):
            best[i] = min(best[i], timeit.timeit(function, number=1))
    return [seconds * 1000 for seconds in best]


def book(count: int) -> Book:
    """Calls and puts from 70 % to 130 % of spot over four expiries, long and short in turn."""
    legs = [
        (Leg.call if i % 2 else Leg.put)(
            "ETH/USD", TIME + (7, 30, 60, 90)[i % 4] * DAY, 2100 + 1800 * i // count, quantity=(-1) ** i * (1 + i % 3)
        )
        for i in range(count)
    ]
    return Book.of(legs, Marks.at(TIME, spots={"ETH/USD": 3000}, vols=dict.fromkeys(legs, "0.6")), bytes(31) + b"\1")


def window(count: int) -> list[Book]:
    """The same legs under marks that move: a spot and a volatility each time, a second every eighth time."""
    held, moved = book(count), list[Book]()
    for i in range(WINDOW):
        spots = tuple(replace(mark, spot=mark.spot * (1000 + i) // 1000) for mark in held.marks.spots)
        vols = tuple(replace(mark, vol=mark.vol + i * WAD // 1000) for mark in held.marks.vols)
        marks = replace(held.marks, time=TIME + i // 8, spots=spots, vols=vols)
        moved.append(Book(held.legs, marks, held.salt))
    return moved


def cents(count: int) -> list[Book]:
    """The same legs under marks that move by cents and hundredths of a point, a second every eighth time."""
    held, moved = book(count), list[Book]()
    for i in range(WINDOW // 2 + 1):
        spots = tuple(replace(mark, spot=mark.spot + i * WAD // 100) for mark in held.marks.spots)
        vols = tuple(replace(mark, vol=mark.vol + i * WAD // 10_000) for mark in held.marks.vols)
        moved.append(Book(held.legs, replace(held.marks, time=TIME + i // 8, spots=spots, vols=vols), held.salt))
    return moved


def priced(screen: FloatScreen, asked: list[tuple[Book, tuple[int, int]]]) -> list[tuple[Verdicts, Verdicts]]:
    """Verdicts by a screen that remembers arrays but no judged state."""
    screen._reached.clear()
    return screen.verdicts_many(asked, 6)


def main() -> None:
    forward, strike, vol, seconds = 3000 * WAD, 3100 * WAD, WAD * 6 // 10, 30 * DAY
    logs = (ln_q120(forward), ln_q120(strike))
    width = total_vol_down(vol, sqrt_years_q100_down(seconds))
    call = OptionKind.CALL
    print("one leg, microseconds")
    rows: tuple[tuple[str, Callable[[], object]], ...] = (
        ("price and Greeks, checked", lambda: unit_greeks(call, forward, strike, vol, seconds)),
        ("price, checked", lambda: price(call, forward, strike, vol, seconds)),
        ("price in the scan", lambda: price_down(call, forward, logs[0], strike, logs[1], width)),
        ("logarithm", lambda: ln_q120(forward)),
    )
    for name, function in rows:
        print(f"  {name:28} {best_us(function, 2000):8.2f}")
    print("margin of both parties, 34 scenarios, milliseconds; in brackets how many times faster than exact")
    print("            exact   screened, same bits    verdicts by floats   us per leg and row, exact")
    screen, cash = FloatScreen(), (10**13, 10**13)
    for count in (4, 16, 32):
        held = book(count)
        exact, screened, floats = in_turn_ms(
            lambda held=held: margin(held, cash, 6),
            lambda held=held: screen.margin(held, cash, 6),
            lambda held=held: priced(screen, [(held, cash)]),
        )
        print(
            f"  {count:2} legs {exact:8.2f}   {screened:8.2f} ({exact / screened:5.1f} x)"
            f"   {floats:8.3f} ({exact / floats:5.1f} x)   {exact * 1000 / count / 34:5.2f}"
        )
    print(f"verdicts by floats, {WINDOW} marks at once, microseconds a book; in brackets against exact, and one by one")
    for count in (4, 16, 32):
        asked = [(held, cash) for held in window(count)]
        exact, alone, together = in_turn_ms(
            lambda asked=asked: margin(*asked[0], 6),
            lambda asked=asked: priced(screen, asked[:1]),
            lambda asked=asked: priced(screen, asked),
        )
        each = together / WINDOW
        print(f"  {count:2} legs {each * 1000:8.1f} ({exact / each:5.1f} x, {alone / each:4.1f} x)")
    print(f"the same near a judged state, {WINDOW // 2} at once and alone, microseconds a book; in brackets priced")
    for count in (4, 16, 32):
        first, *near = [(held, cash) for held in cents(count)]
        priced(screen, [first])
        assert not next(iter(screen._reached.values())).tell(near, range(len(near)), [0] * len(near))
        told, alone = in_turn_ms(
            lambda near=near: screen.verdicts_many(near, 6), lambda near=near: screen.verdicts(*near[0], 6)
        )
        together, one = in_turn_ms(lambda near=near: priced(screen, near), lambda near=near: priced(screen, near[:1]))
        print(
            f"  {count:2} legs {told * 1000 / len(near):8.1f} ({together * 1000 / len(near):5.1f})"
            f"   {alone * 1000:8.1f} ({one * 1000:5.1f})"
        )
    held = book(32)
    print(f"value of 32 legs {best_us(lambda: value(held), 20) / 1000:8.2f} ms")


if __name__ == "__main__":
    main()
