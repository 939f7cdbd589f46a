"""The same books through the exact engine: WAD integers, `channels.risk.margin`, one path at a time.

Here a path's verdicts and payouts are those a node and the contract would reach. It replays what the float64 simulation
says, and `test_twin.py` holds the two together.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

import numpy as np

from channels.model import Book, Leg, Marks
from channels.model.option import OptionKind
from channels.risk import MarginReport, margin
from channels.units import wad

from .books import Legs
from .chain import UNDERLYING, Floats, recorded_chain
from .paths import CLOCK, Market
from .play import VOL_RISE
from .rules import End, Leaves, Rules, Strategy

DECIMALS = 6
UNIT = 10**DECIMALS
_SALT = bytes(32)


def exact_legs(legs: Legs) -> tuple[Leg, ...]:
    """Return the legs of a kind of book as the library's."""
    start = recorded_chain().start
    return tuple(
        Leg(
            UNDERLYING,
            start + int(expiry),
            wad(int(strike)),
            OptionKind.CALL if is_call else OptionKind.PUT,
            wad(Decimal(repr(float(quantity)))),
        )
        for expiry, strike, is_call, quantity in zip(legs.expiry, legs.strike, legs.is_call, legs.quantity, strict=True)
    )


def price_wad(price: float) -> int:
    """Return a price of eight decimals as WAD."""
    return round(float(price) * 10**8) * 10**10


def vol_wad(vol: float) -> int:
    """Return a volatility of six decimals as WAD."""
    return round(float(vol) * 10**6) * 10**12


def book_at(legs: Legs, t: float, spot: float, vols: Floats) -> Book:
    """Return the book marked at `t` with this spot and these volatilities."""
    start = recorded_chain().start
    options = exact_legs(legs)
    ratios = legs.ratio(np.array([t]))[0]
    names = {
        leg.expiry: Decimal(repr(float(spot))) * Decimal(repr(float(ratio)))
        for leg, ratio in zip(options, ratios, strict=True)
    }
    marks = Marks.at(
        start + int(t),
        spots={UNDERLYING: Decimal(price_wad(spot)).scaleb(-18)},
        vols={leg: Decimal(vol_wad(vol)).scaleb(-18) for leg, vol in zip(options, vols, strict=True)},
        forwards={(UNDERLYING, expiry): round(forward, 18) for expiry, forward in names.items()},
    )
    return Book(options, marks, _SALT)


@dataclass(frozen=True, slots=True)
class Frozen:
    """The marks of the last co-signed state: the book as it stands in it."""

    book: Book
    index: int


@dataclass(frozen=True, slots=True)
class Replayed:
    """One path to its end: token units, indices of CLOCK, and what happened in words."""

    gain: int
    locked: int
    ended: End
    silent: int
    called: int
    end: int
    story: tuple[str, ...]

    @property
    def percent(self) -> float:
        """Gain in percent of the initial margin locked at the opening."""
        return 100 * self.gain / self.locked


def replay(market: Market, row: int, legs: Legs, rules: Rules, strategy: Strategy) -> Replayed:
    """Play one path of a market by the exact engine; the game of `play`, told one event after the other."""
    return _Replay(market, row, legs, rules, strategy).run()


class _Replay:
    def __init__(self, market: Market, row: int, legs: Legs, rules: Rules, strategy: Strategy) -> None:
        self.spot, self.level, self.legs = market.spot[row], market.level[row], legs
        self.rules, self.strategy, self.policy = rules, strategy, rules.policy
        self.last_expiry = float(legs.expiry.max())
        self.story: list[str] = []
        self.called = 0
        opening = self.at(0, None, cash=0)
        self.locked = opening.initial_margin
        self.cash = self.locked - opening.value
        self.tell(0, f"opens with {self.locked / UNIT:.2f} of initial margin")

    def tell(self, j: int, what: str) -> None:
        self.story.append(f"{CLOCK[j] / 60:8.0f} min  spot {self.spot[j]:10.2f}  level {self.level[j]:5.2f}  {what}")

    def mark(self, j: int) -> Frozen:
        t = CLOCK[j]
        one = np.array([j])
        vols = self.legs.vols(recorded_chain(), self.spot[one], self.level[one], CLOCK[one])[0]
        return Frozen(book_at(self.legs, t, self.spot[j], vols), j)

    def at(self, j: int, frozen: Frozen | None, cash: int | None = None) -> MarginReport:
        """The adversary's report at instant j, at the market's volatilities or at frozen marks."""
        marked = frozen or self.mark(j)
        start = recorded_chain().start
        settlements = {
            (leg.underlying, leg.expiry): price_wad(self.spot[np.searchsorted(CLOCK, leg.expiry - start)])
            for leg in marked.book.legs
            if leg.expiry <= start + CLOCK[j]
        }
        held = self.cash if cash is None else cash
        return margin(
            marked.book,
            (held, 0),
            DECIMALS,
            self.policy,
            t=start + int(CLOCK[j]),
            spots={UNDERLYING: price_wad(self.spot[j])},
            settlements=settlements,
        )[0]

    def run(self) -> Replayed:
        opened: int | None = 0
        while opened is not None:
            silent = self.sign(opened)
            if silent is None:
                return self.ends(len(CLOCK) - 1, End.SIGNING, 0, len(CLOCK) - 1)
            self.tell(silent, "signs for the last time")
            opened = self.stay_silent(silent)
        return self.found

    def sign(self, opened: int) -> int | None:
        """Sign from the mark at which this begins until the strategy leaves: the last co-signed mark's index."""
        if self.strategy.leaves is Leaves.NEVER:
            return None
        report = self.at(opened, None)
        self.cash += report.initial_margin_shortfall
        if self.strategy.sweeps:
            self.cash -= report.excess
        for j in range(opened + 1, len(CLOCK)):
            if CLOCK[j] >= self.last_expiry:
                return None
            if self.strategy.leaves is Leaves.AT_ONCE:
                return j - 1
            report = self.at(j, None)
            rise = self.level[j] >= VOL_RISE * self.level[opened]
            if report.is_breach or (self.strategy.leaves is Leaves.AT_A_VOL_RISE and rise):
                return j - 1
            if self.strategy.sweeps:
                self.cash -= report.excess
        return None

    def stay_silent(self, silent: int) -> int | None:
        """Be silent until the path's end (None, and `found` says it), or until a cure: the index it happens at."""
        last, rules = len(CLOCK) - 1, self.rules
        frozen = self.mark(silent)
        asked = CLOCK[silent + 1] + rules.reply_timeout
        hidden = rules.outstanding if self.strategy.reveals else 0
        j = silent + 1 if rules.margin_calls else last + 1
        while True:
            if self.over(j, silent):
                return None
            report = self.at(j, frozen)
            if not report.is_breach:
                if self.strategy.releases and CLOCK[j] >= CLOCK[silent + 1] + rules.challenge:
                    self.cash -= max(0, min(report.excess, self.cash))
                j += 1
                continue
            j = int(np.searchsorted(CLOCK, max(CLOCK[j], asked) + rules.latency))
            if self.over(j, silent):
                return None
            if not self.at(j, frozen).is_breach:
                j += 1
                continue
            self.called = j
            self.tell(j, "is called")
            deadline, bound = CLOCK[j] + rules.cure, CLOCK[j] + rules.challenge
            while hidden and deadline < bound:
                hidden -= 1
                deadline += rules.latency + rules.cure / 2
                self.tell(j, "will reveal one more half-signed state before the deadline")
            j = int(np.searchsorted(CLOCK, deadline, side="right")) - 1
            if self.over(j, silent):
                return None
            if self.strategy.sees and self.paid(self.at(j, frozen)) <= self.at(j, None).equity:
                self.tell(j, "cures")
                return j
            j = int(np.searchsorted(CLOCK, deadline + rules.latency))
            while True:
                if self.over(j, silent):
                    return None
                report = self.at(j, frozen)
                if report.is_breach and not (rules.declines and self.paid(report) > max(0, self.at(j, None).equity)):
                    self.liquidated(j, report, silent)
                    return None
                j += 1
                if CLOCK[min(j, last)] > deadline + rules.window:
                    break

    def paid(self, report: MarginReport) -> int:
        return max(0, report.equity - report.charges.total)

    def liquidated(self, j: int, report: MarginReport, silent: int) -> None:
        honest, paid = self.at(j, None).equity, self.paid(report)
        self.tell(
            j,
            f"is liquidated: equity {report.equity / UNIT:.2f} at the frozen marks, charge "
            f"{report.charges.total / UNIT:.2f}, paid {paid / UNIT:.2f}; honest {honest / UNIT:.2f}",
        )
        self.ends(j, End.LIQUIDATED, paid - honest, silent)

    def over(self, j: int, silent: int) -> bool:
        """Whether the silent path ends here, at its last expiry or with the clock; it is settled then."""
        last = len(CLOCK) - 1
        if CLOCK[min(j, last)] >= self.last_expiry:
            self.settles(int(np.searchsorted(CLOCK, self.last_expiry)), End.EXPIRED, silent)
        elif j > last:
            self.settles(last, End.OPEN, silent)
        else:
            return False
        return True

    def settles(self, j: int, how: End, silent: int) -> None:
        honest = self.at(j, None).equity
        self.tell(j, f"ends {how.name.lower()}: honest {honest / UNIT:.2f}")
        self.ends(j, how, max(0, honest) - honest, silent)

    def ends(self, j: int, how: End, gain: int, silent: int) -> Replayed:
        self.tell(j, f"gains {gain / UNIT:.2f}, {100 * gain / self.locked:.2f} % of the margin it locked")
        self.found = Replayed(gain, self.locked, how, silent, self.called, j, tuple(self.story))
        return self.found
