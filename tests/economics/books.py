"""The books that the adversary holds: real strikes and expiries of the recorded chain, in the adversary's view.

Quantities are units of the underlying; the adversary is party 0, so positive is what it is long.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .chain import Chain, Floats, recorded_chain

NEXT_DAY, NEAR, WEEK, FORTNIGHT, MONTH, QUARTER = (
    "2024-01-09",
    "2024-01-12",
    "2024-01-19",
    "2024-01-26",
    "2024-02-23",
    "2024-03-29",
)


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of book: its name and legs (expiry date, strike, "C" or "P", quantity)."""

    name: str
    legs: tuple[tuple[str, int, str, float], ...]


def _wings(expiry: str, put: int, call: int, size: float) -> tuple[tuple[str, int, str, float], ...]:
    """Short a strangle, long the wings 10 % further out at a quarter of the size."""
    return (
        (expiry, put, "P", -size),
        (expiry, call, "C", -size),
        (expiry, put - 200, "P", size / 4),
        (expiry, call + 200, "C", size / 4),
    )


KINDS = (
    Kind("short strangle, 11 d", ((WEEK, 2000, "P", -10), (WEEK, 2500, "C", -10))),
    Kind("short straddle, 21 h", ((NEXT_DAY, 2200, "P", -10), (NEXT_DAY, 2200, "C", -10))),
    Kind(
        "iron condor, 11 d",
        ((WEEK, 2000, "P", 10), (WEEK, 2100, "P", -10), (WEEK, 2400, "C", -10), (WEEK, 2500, "C", 10)),
    ),
    Kind("calendar, 11/18 d", ((WEEK, 2250, "C", 10), (FORTNIGHT, 2250, "C", -10))),
    Kind("short puts, 18 d", ((FORTNIGHT, 2000, "P", -10), (FORTNIGHT, 1800, "P", -10))),
    Kind("short far call, 18 d", ((FORTNIGHT, 3000, "C", -10),)),
    Kind("put ratio 1×3, 18 d", ((FORTNIGHT, 2200, "P", 10), (FORTNIGHT, 1900, "P", -30))),
    Kind("long straddle, 4 d", ((NEAR, 2200, "P", 10), (NEAR, 2200, "C", 10))),
    Kind(
        "multi-expiry, 8 legs",
        (
            (NEXT_DAY, 2100, "P", -10),
            (NEXT_DAY, 2350, "C", -10),
            (WEEK, 2000, "P", -10),
            (WEEK, 2500, "C", 10),
            (FORTNIGHT, 1800, "P", 20),
            (FORTNIGHT, 2600, "C", -15),
            (MONTH, 2200, "P", -5),
            (MONTH, 2200, "C", 5),
        ),
    ),
    Kind(
        "dealer, 16 legs",
        (
            *_wings(NEAR, 2100, 2400, 10),
            *_wings(WEEK, 2000, 2500, 10),
            *_wings(FORTNIGHT, 2000, 2600, 10),
            *_wings(MONTH, 1800, 2800, 10),
        ),
    ),
)


@dataclass(frozen=True, slots=True)
class Legs:
    """A kind of book as arrays, one entry for each leg, sorted as the protocol sorts; expiries in CLOCK seconds.

    `group` has a row for each leg and a one in its expiry's column; `premium` is the recorded forward over spot less 1.
    """

    kind: Kind
    expiry: Floats
    strike: Floats
    is_call: np.ndarray[tuple[int, ...], np.dtype[np.bool_]]
    quantity: Floats
    premium: Floats
    group: Floats
    dates: tuple[str, ...]

    @classmethod
    def of(cls, kind: Kind) -> Legs:
        """Lay a kind of book out."""
        chain = recorded_chain()
        rows = sorted(kind.legs, key=lambda leg: (chain.smiles[leg[0]].expiry, leg[1], leg[2]))
        dates = tuple(row[0] for row in rows)
        unique = sorted(set(dates))
        return cls(
            kind,
            np.array([float(chain.smiles[date].expiry) for date in dates]),
            np.array([float(row[1]) for row in rows]),
            np.array([row[2] == "C" for row in rows]),
            np.array([float(row[3]) for row in rows]),
            np.array([chain.smiles[date].ratio - 1 for date in dates]),
            np.array([[float(date == other) for other in unique] for date in dates]),
            dates,
        )

    def ratio(self, t: Floats) -> Floats:
        """Return forward over spot at times `t`, a row each: the recorded premium, gone linearly at expiry."""
        left = np.maximum(self.expiry - t[:, None], 0.0)
        return 1.0 + self.premium * left / self.expiry

    def vols(self, chain: Chain, spot: Floats, level: Floats, t: Floats) -> Floats:
        """Return the market's volatilities, rounded as marks are: the recorded smile at ln(K/F), times the level."""
        moneyness = np.log(self.strike / (spot[:, None] * self.ratio(t)))
        recorded = np.column_stack([chain.smiles[d].vol(moneyness[:, i]) for i, d in enumerate(self.dates)])
        return np.round(np.clip(recorded * level[:, None], 0.01, 8.0), 6)


def kind_named(name: str) -> Kind:
    """Return the kind of book with this name."""
    return next(kind for kind in KINDS if kind.name == name)
