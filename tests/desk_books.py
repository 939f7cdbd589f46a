"""Books as a desk holds them: spreads and strips around the money, ordinary sizes, tenors and volatilities.

`tests.contracts.engine_books` has the opposite: everything at the edges of the protocol. A book is a function of its
seed, so a failure is replayed by one number.
"""

from __future__ import annotations

from random import Random

from channels.model import Book, ExpiryMark, Leg, Marks, OptionKind, SpotMark, VolMark
from channels.units import SECONDS_PER_DAY as DAY, WAD

TIME = 1_704_700_800
SPOTS = {"BTC/USD": 45_000, "ETH/USD": 3_000, "SOL/USD": 100}
CENT = WAD // 100


def desk_book(seed: int) -> Book:
    """One to twenty legs on one or two underlyings and up to four expiries each, a smile, a carry and a discount."""
    dice = Random(seed)
    names = sorted(dice.sample(sorted(SPOTS), dice.choice((1, 1, 1, 2))))
    spots = {name: SPOTS[name] * 100 * CENT * dice.randint(700, 1400) // 1000 for name in names}
    pairs = sorted({(n, TIME + days * DAY) for n in names for days in dice.sample((1, 2, 7, 14, 30, 60, 90, 180), 4)})
    legs: dict[tuple[str, int, int, OptionKind], Leg] = {}
    for _ in range(dice.randint(1, 20)):
        name, expiry = dice.choice(pairs)
        strike = spots[name] * dice.randint(60, 150) // 100 // CENT * CENT
        quantity = dice.choice((-1, 1)) * dice.choice((1, 5, 10, 50)) * WAD * dice.randint(1, 20) // 10
        leg = Leg(name, expiry, strike, OptionKind(dice.getrandbits(1)), quantity)
        legs[leg.key] = leg
    held = tuple(legs[key] for key in sorted(legs))
    used = sorted({(leg.underlying, leg.expiry) for leg in held})
    marks = Marks(
        TIME,
        tuple(SpotMark(name, spots[name]) for name in sorted({name for name, _ in used})),
        tuple(
            ExpiryMark(name, expiry, WAD + dice.randint(-20, 50) * WAD // 1000, WAD - dice.randint(0, 50) * WAD // 1000)
            for name, expiry in used
        ),
        tuple(VolMark(*leg.key, dice.randint(20, 150) * CENT) for leg in held),
    )
    return Book(held, marks, seed.to_bytes(32, "big"))
