"""What goes wrong in one run, and how often: drawn from the seed, so that a run is its number.

Each run has some kinds of fault and not others ("swarm testing"): where everything fails at once nothing gets far
enough to fail interestingly. Every fault that fires is counted, and a campaign in which one never fired proves nothing.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from random import Random

CRASHES = ("before persist", "torn persist", "after persist", "before send", "inside send", "after send")
"""Where a machine can lose its power: on each side of every append and of every write to a connection."""


@dataclass
class Faults:
    """One run's weather. Times are virtual seconds, chances per opportunity."""

    rng: Random
    delay: float = 0.02
    """Longest delay of a piece of bytes on its way."""
    pieces: float = 0.0
    """How often what arrives is handed over in two pieces, cut at any byte."""
    cuts: float = 0.0
    """Connections cut per second, each after any byte."""
    partitions: float = 0.0
    """Partitions per second: dialing fails, what is on its way waits."""
    crashes: float = 0.0
    """Crashes per second and machine."""
    slow_disk: float = 0.0
    """Longest time an append takes."""
    clock_jumps: float = 0.0
    skew: int = 0
    """A machine's clock differs from the chain's by at most this many seconds, jumps apart."""
    reorgs: float = 0.0
    cheats: float = 0.0
    """Stale states shown to the chain, per second."""
    lag: int = 0
    """How many blocks a machine's endpoint may be behind."""
    declines: float = 0.0
    """How often an owner declines a deal for no reason that margin knows."""
    forgetful_endpoint: bool = False
    """Whether a machine reads blocks again that it has read before: its cursor did not survive."""
    both_dial: bool = False
    fired: Counter[str] = field(default_factory=Counter)

    @classmethod
    def draw(cls, rng: Random) -> Faults:
        """Return the weather that this generator's next numbers make."""

        def some(chance: float, value: float) -> float:
            return value if rng.random() < chance else 0.0

        return cls(
            rng,
            delay=rng.choice([0.001, 0.05, 0.05, 1.0, 4.0]),
            pieces=some(0.5, 0.3),
            cuts=some(0.5, 0.08),
            partitions=some(0.3, 0.03),
            crashes=some(0.6, 0.05),
            slow_disk=rng.choice([0.0, 0.01, 0.01, 2.0]),
            clock_jumps=some(0.2, 0.05),
            skew=rng.choice([0, 0, 3]),
            reorgs=some(0.3, 0.15),
            cheats=some(0.1, 0.05),
            lag=rng.choice([0, 0, 1, 3]),
            declines=some(0.3, 0.2),
            forgetful_endpoint=rng.random() < 0.3,
            both_dial=rng.random() < 0.3,
        )

    def strikes(self, chance: float, kind: str) -> bool:
        """Return whether something happens this time, and count it if it does."""
        if chance and self.rng.random() < chance:
            self.fired[kind] += 1
            return True
        return False

    def heal(self) -> None:
        """From now on nothing fails any more, and nothing is slow."""
        self.delay, self.slow_disk, self.lag = 0.02, 0.0, 0
        self.pieces = self.cuts = self.partitions = self.crashes = self.clock_jumps = self.reorgs = self.cheats = 0.0
        self.declines = 0.0
        self.forgetful_endpoint = False
