"""Rounds of a feed, told to a mock and to a model: what `ChainlinkPriceSource` must find, by another way.

The contract walks from round to round; the model lists all rounds of all phases, keeps those that one sentence keeps
(a phase counts from its first round until the first round of a later phase), and looks.
"""

from collections.abc import Mapping, Sequence
from csv import DictReader
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from tests.contracts.encoding import ETH, WAD
from tests.contracts.evm import START, Chain, Contract, Receipt
from tests.contracts.world import HOUR

RECORDED = Path(__file__).parents[1] / "data" / "eth_usd_hourly_2023-11-27_2024-01-08.csv"
OFFSET = 64
DECIMALS = 8
SCALE = 10 ** (18 - DECIMALS)
MAX_AGE = HOUR + HOUR // 2


@dataclass(frozen=True, slots=True)
class Round:
    """One round; the answer in the feed's units."""

    phase: int
    number: int
    time: int
    answer: int

    @property
    def id(self) -> int:
        """The id a proxy gives it."""
        return self.phase << OFFSET | self.number

    @property
    def counts(self) -> bool:
        """Whether it has a price."""
        return self.time > 0 and self.answer > 0


@dataclass(frozen=True, slots=True)
class Told:
    """What a feed has: per phase its rounds from number 1 on, as (time, answer); time 0 for a round that is absent."""

    phases: Mapping[int, Sequence[tuple[int, int]]]

    @property
    def confirmed(self) -> int:
        """The phase the proxy is switched to."""
        return max(self.phases)

    def rounds(self) -> list[Round]:
        """Return every round with a price, by id."""
        every = (Round(p, n, *r) for p, rounds in sorted(self.phases.items()) for n, r in enumerate(rounds, 1))
        return [one for one in every if one.counts]

    def history(self) -> list[Round]:
        """Return the rounds of the one history, by time."""
        rounds = self.rounds()
        opening = {p: min((r.time for r in rounds if r.phase == p), default=None) for p in self.phases}

        def superseded(one: Round) -> bool:
            later = (time for phase, time in opening.items() if phase > one.phase and time is not None)
            return any(one.time >= time for time in later)

        return sorted((one for one in rounds if not superseded(one)), key=lambda one: (one.time, one.id))

    def before(self, moment: int) -> Round | None:
        """Return the last round of the history before a moment: the proof."""
        return next((one for one in reversed(self.history()) if one.time < moment), None)

    def first(self, moment: int) -> Round | None:
        """Return the first round of the history at or after a moment."""
        return next((one for one in self.history() if one.time >= moment), None)

    def average(self, expiry: int, window: int, max_age: int = MAX_AGE) -> int | None:
        """Return the average over the window in WAD, second by second where the contract goes round by round."""
        history = [one for one in self.history() if one.time < expiry]
        if not history or history[0].time > expiry - window:
            return None
        total, start = 0, expiry - window
        for one, end in zip(history, [*(later.time for later in history[1:]), expiry], strict=True):
            seconds = end - max(one.time, start)
            if end > start and end - one.time > max_age:
                return None
            total += one.answer * SCALE * max(0, seconds)
        return total // window

    def way(self, last: int) -> tuple[int, int]:
        """Return the crossing to name when going back from a round, and how many rounds one call can then add."""
        down = [one for one in reversed(self.history()) if one.id <= last]
        crossings = [at for at in range(1, len(down)) if down[at].phase != down[at - 1].phase]
        crossing = down[crossings[0]].id if crossings else 0
        return crossing, crossings[1] - 1 if crossings[1:] else len(down)


class Desk:
    """A feed, a source that asks it, and whoever submits the proofs."""

    def __init__(self, window: int = 0, decimals: int = DECIMALS, feed: Contract | None = None, **listing: Any) -> None:
        self.chain = feed.chain if feed else Chain()
        self.feed = feed or self.chain.deploy("RoundFeed", decimals)
        said = {"underlying": ETH, "feed": self.feed.address, "max_age": MAX_AGE} | listing
        self.source = self.chain.deploy("ChainlinkPriceSource", [tuple(said.values())], window)

    def tell(self, told: Told) -> None:
        """Let the feed have these rounds, and be in the last phase."""
        for phase, rounds in told.phases.items():
            for at in range(0, len(rounds), 256):
                part = rounds[at : at + 256]
                self.publish(phase, *part)
        self.feed.transact("confirm", told.confirmed)

    def publish(self, phase: int, *rounds: tuple[int, int]) -> None:
        """Let a phase of the feed have more rounds: (time, answer)."""
        answers, times = [answer for _, answer in rounds], [time for time, _ in rounds]
        self.feed.transact("publish", phase, answers, times, gas=30_000_000)

    def first(self, expiry: int, before: int, **options: Any) -> Receipt:
        """Settle at the first round."""
        return self.source.transact("settle_first", ETH, expiry, before, **options)

    def step(self, expiry: int, before: int, steps: int = 64, crossing: int = 0, **options: Any) -> Receipt:
        """Go on with an average."""
        options = {"gas": 20_000_000} | options
        return self.source.transact("settle_average", ETH, expiry, before, crossing, steps, **options)

    def settlement(self, expiry: int) -> int:
        """Return what an expiry settled at."""
        price: int = self.source.call("settlement", ETH, expiry)
        return price

    def spot(self) -> tuple[int, int]:
        """Return what the adjudicator would be told, with what it would give."""
        price, time = self.source.call("spot", ETH, gas=200_000)
        return price, time

    def averaged(self, told: Told, expiry: int, steps: int = 64) -> int:
        """Settle an average in calls of so many steps; return the price."""
        proof = told.before(expiry)
        assert proof is not None
        while not self.settlement(expiry):
            last, until, _ = self.source.call("average", ETH, expiry, proof.id)
            crossing, reach = told.way(last or proof.id)
            self.step(expiry, proof.id, min(steps, max(reach, 1)), crossing)
            if self.settlement(expiry):
                break
            assert self.source.call("average", ETH, expiry, proof.id)[1] != until, "a call that adds nothing"
        return self.settlement(expiry)


def recorded(switch: int, overlap: int = 0, lag: int = 13) -> Told:
    """Return the recorded hourly ETH-USD closes presented as rounds of a feed, a phase change placed by us.

    The prices and hours are those of `tests/data` (see SOURCES.md). Round ids, the `lag` in seconds after the hour and
    the switch to a second phase after `switch` rounds are ours; on each side of it the phases share `overlap` rounds.
    """
    with RECORDED.open(encoding="utf-8", newline="") as lines:
        bars = [
            (
                int(datetime.fromisoformat(row["timestamp"]).timestamp()) + lag,
                int(Decimal(row["close"]) * 10**DECIMALS),
            )
            for row in DictReader(lines)
        ]
    return Told({1: bars[: switch + overlap], 2: bars[switch - overlap :]})


def hourly(*prices: int, start: int = START - 100 * HOUR) -> list[tuple[int, int]]:
    """Return one round an hour at whole prices."""
    return [(start + n * HOUR, price * 10**DECIMALS) for n, price in enumerate(prices)]


def wad(price: int) -> int:
    """Return a whole price in WAD."""
    return price * WAD
