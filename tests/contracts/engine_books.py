"""Random books, moments and policies for the differential test: inside the protocol, most of them at its edges.

A case is a function of its seed alone, so that a mismatch is replayed by one number:

    python -m tests.contracts.engine_replay book 12345
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from channels.model import Book, ExpiryMark, Leg, Marks, OptionKind, SpotMark, VolMark
from channels.model.marks import MAX_EXPIRIES, MAX_LEGS, MAX_RATIO, MAX_TENOR, MAX_UNDERLYINGS, MAX_VOL
from channels.model.option import MAX_PRICE, MAX_QUANTITY
from channels.risk import DEFAULT_POLICY, MarginPolicy, Scenario, VolBump, VolShock
from channels.units import SECONDS_PER_DAY as DAY, WAD

NOW = 1_704_700_800
NAMES = ("BTC/USD", "ETH/USD", "SOL/USD", "X", "~" * 32)
WIDEST = MarginPolicy(
    scan_initial=4 * WAD,
    scan_maintenance=4 * WAD,
    delta_charge=4 * WAD,
    gamma_charge=4 * WAD,
    gamma_move=WAD // 2,
    vega_charge=4 * WAD,
    short_charge=4 * WAD,
    vol_max_age=0,
    vol_stale_per_hour=WAD,
    independent_amounts=(2**120, 2**119 + 1),
    bumps=(VolBump(1, 8 * WAD, WAD), VolBump(3650 * DAY, 8 * WAD, WAD)),
    scenarios=(
        Scenario(16 * WAD, VolShock.UP, 1, 30 * DAY),
        Scenario(1, VolShock.DOWN),
        Scenario(WAD, VolShock.NONE),
        Scenario(16 * WAD, VolShock.NONE, WAD, 1),
    ),
)
"""Every factor at its greatest, and the moves that clamp."""
NARROW = MarginPolicy(
    scan_initial=1,
    scan_maintenance=1,
    delta_charge=0,
    gamma_charge=1,
    gamma_move=WAD // 10_000,
    vega_charge=1,
    short_charge=0,
    independent_amounts=(1, 10**18),
    bumps=(VolBump(30 * DAY, 1, 1),),
    scenarios=(Scenario(WAD, VolShock.NONE),),
)
"""A single row in which nothing moves, and rounding that decides everything."""


def random_policy(dice: Random) -> MarginPolicy:
    """A full grid and bump table with no pattern in them."""
    tenors = sorted(dice.sample(range(1, 3650 * DAY), 12))
    rows = {
        Scenario(
            dice.choice((WAD, dice.randint(1, 16 * WAD), dice.randint(WAD // 2, 2 * WAD))),
            dice.choice(tuple(VolShock)),
            dice.choice((WAD, dice.randint(1, WAD))),
            dice.choice((0, 0, DAY, dice.randint(0, 30 * DAY))),
        )
        for _ in range(40)
    }
    maintenance = dice.randint(1, 4 * WAD)
    return MarginPolicy(
        scan_initial=dice.randint(maintenance, 4 * WAD),
        scan_maintenance=maintenance,
        delta_charge=dice.randint(0, 4 * WAD),
        gamma_charge=dice.randint(0, 4 * WAD),
        gamma_move=dice.randint(WAD // 10_000, WAD // 2),
        vega_charge=dice.randint(0, 4 * WAD),
        short_charge=dice.randint(0, 4 * WAD),
        vol_max_age=dice.randint(0, 30 * DAY),
        vol_stale_per_hour=dice.randint(0, WAD),
        independent_amounts=(dice.randint(0, 2**120), dice.randint(0, 2**70)),
        thresholds=(dice.randint(0, 2**120), 0),
        minimum_transfer=dice.randint(0, 2**120),
        transfer_rounding=dice.randint(0, 2**120),
        bumps=tuple(VolBump(tenor, dice.randint(0, 8 * WAD), dice.randint(0, WAD)) for tenor in tenors),
        scenarios=tuple(sorted(rows, key=lambda row: row.damping)),
    )


POLICIES = (DEFAULT_POLICY, WIDEST, NARROW, random_policy(Random(7)))


@dataclass(frozen=True, slots=True)
class Case:
    """What one engine call is told; spots and settlements in the order of the book's marks, `witness` a row a spot."""

    book: Book
    cash: tuple[int, int]
    decimals: int
    spots: tuple[int, ...]
    settlements: tuple[int, ...]
    t: int
    witness: tuple[int, ...]
    policy: int

    def spot_map(self) -> dict[str, int]:
        return {m.underlying: spot for m, spot in zip(self.book.marks.spots, self.spots, strict=True)}

    def settlement_map(self) -> dict[tuple[str, int], int]:
        marks = self.book.marks.expiries
        return {(m.underlying, m.expiry): price for m, price in zip(marks, self.settlements, strict=True)}


def magnitude(dice: Random, high: int) -> int:
    """An integer from 1 to `high`, every number of bits as likely as another."""
    return min(high, dice.getrandbits(dice.randint(1, high.bit_length())) or 1)


def price_near(dice: Random, centre: int) -> int:
    """A price: usually within a factor of four of `centre`, sometimes at it, sometimes anywhere."""
    if centre and dice.random() < 0.75:
        return min(
            MAX_PRICE, max(1, centre * dice.choice((1000, dice.randint(700, 1400), dice.randint(250, 4000))) // 1000)
        )
    return dice.choice((1, 2, WAD, MAX_PRICE - 1, MAX_PRICE, magnitude(dice, MAX_PRICE), magnitude(dice, MAX_PRICE)))


def volatility(dice: Random) -> int:
    return dice.choice((0, 1, MAX_VOL, magnitude(dice, MAX_VOL), WAD * 6 // 10, dice.randint(WAD // 10, 2 * WAD)))


def tenor(dice: Random) -> int:
    """Seconds from the marks to an expiry, expired ones included."""
    usual = dice.choice((1, 7, 30, 90, 365)) * DAY + dice.choice((0, dice.randint(-DAY // 2, DAY)))
    return dice.choice((usual, usual, usual, dice.randint(1, MAX_TENOR), MAX_TENOR, magnitude(dice, DAY), 1, 0, -DAY))


def quantity(dice: Random) -> int:
    size = dice.choice((WAD, dice.randint(1, 100) * WAD, magnitude(dice, MAX_QUANTITY), MAX_QUANTITY, 1))
    return size if dice.random() < 0.5 else -size


def random_book(dice: Random) -> Book:
    """One to thirty-two legs on one to four underlyings and up to eight expiries; a third of the books are full."""
    names = sorted(dice.sample(NAMES, dice.randint(1, MAX_UNDERLYINGS)))
    spots = {name: price_near(dice, dice.choice((3000 * WAD, 0))) for name in names}
    pairs = sorted(
        {(name, NOW + tenor(dice)) for name in names}
        | {(dice.choice(names), NOW + tenor(dice)) for _ in range(dice.randint(0, MAX_EXPIRIES - len(names)))}
    )
    legs: dict[tuple[str, int, int, OptionKind], Leg] = {}
    for i in range(dice.choice((len(pairs), dice.randint(len(pairs), MAX_LEGS), MAX_LEGS))):
        name, expiry = pairs[i % len(pairs)]
        leg = Leg(name, expiry, price_near(dice, spots[name]), OptionKind(dice.getrandbits(1)), quantity(dice))
        legs[leg.key] = leg
    held = tuple(legs[key] for key in sorted(legs))
    ratios = {pair: min(MAX_RATIO, MAX_PRICE * WAD // spots[pair[0]]) for pair in pairs}
    marks = Marks(
        NOW,
        tuple(SpotMark(name, spots[name]) for name in names),
        tuple(
            ExpiryMark(
                name,
                expiry,
                min(top, dice.choice((WAD, dice.randint(WAD * 9 // 10, WAD * 11 // 10), top, magnitude(dice, top)))),
                dice.choice((WAD, dice.randint(WAD * 9 // 10, WAD), MAX_RATIO, magnitude(dice, MAX_RATIO))),
            )
            for (name, expiry), top in ratios.items()
        ),
        tuple(VolMark(*leg.key, volatility(dice)) for leg in held),
    )
    return Book(held, marks, dice.randbytes(32))


def random_case(seed: int) -> Case:
    """The case of a seed; its cash is arbitrary: `engine_laws` moves it onto the boundary of a verdict."""
    dice = Random(seed)
    book = random_book(dice)
    marks = book.marks
    some_expiry = dice.choice(marks.expiries).expiry
    t = dice.choice(
        (0, NOW, NOW + 30, NOW + 3601, NOW + dice.randint(0, 40 * DAY), some_expiry, some_expiry - 1, some_expiry + DAY)
        + ((2**63,) if dice.random() < 0.1 else ())
    )
    now = max(t, NOW)
    moved = dice.random() < 0.8
    spots = tuple(price_near(dice, m.spot) if moved else m.spot for m in marks.spots)
    settlements = tuple(
        0 if m.expiry > now or dice.random() < 0.3 else dice.choice((1, 2**96, magnitude(dice, 2**96), MAX_PRICE // 3))
        for m in marks.expiries
    )
    policy = dice.choice((0, 0, 0, 1, 2, 3, 3))
    rows = len(POLICIES[policy].scenarios)
    cash = tuple(dice.choice((0, 1, -1, 1)) * magnitude(dice, 2**120 - 1) for _ in range(2))
    return Case(
        book,
        (cash[0], cash[1]),
        dice.choice((0, 6, 6, 8, 18)),
        spots,
        settlements,
        t,
        tuple(dice.randrange(rows) for _ in marks.spots),
        policy,
    )
