"""What the game is played under: the channel's rules, and what an adversary may decide knowing the past alone."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from channels.risk import DEFAULT_POLICY, MarginPolicy

HOUR = 3600


@dataclass(frozen=True, slots=True)
class Rules:
    """The margin policy, the periods, and how fast the honest side's node is. Seconds.

    The periods' defaults are those of `Terms.between`, the reply timeout's that of `NodeConfig`. `latency`: from a
    transaction's decision to its block. `outstanding`: marks that the honest side half-signed and the silent one can
    still register one by one, at least the very one that it refused. Without `margin_calls` there is nothing between
    silence and expiry. `declines`: the node leaves a close-out undone that would pay it less than the book is worth to
    it at the true mark, and waits.
    """

    policy: MarginPolicy = DEFAULT_POLICY
    cure: float = 6 * HOUR
    challenge: float = 24 * HOUR
    reply_timeout: float = 30.0
    latency: float = 24.0
    outstanding: int = 1
    margin_calls: bool = True
    declines: bool = False

    @property
    def window(self) -> float:
        """How long after the cure deadline a call can be executed (protocol §3.2)."""
        return min(max(self.cure, HOUR), 24 * HOUR)


class Leaves(IntEnum):
    """When the adversary stops signing."""

    NEVER = 0
    AT_ITS_BREACH = 1
    """It refuses the first mark that puts it below maintenance."""
    AT_A_VOL_RISE = 2
    """It refuses the first mark whose volatilities are 5 % above those it began to sign at, or that of its breach."""
    AT_ONCE = 3
    """It signs nothing after the opening, or after a cure."""


@dataclass(frozen=True, slots=True)
class Strategy:
    """What an adversary does. Each choice is made on marks already seen.

    `sees`: at the cure deadline it cures, and signs on as an honest party, unless being liquidated at that mark would
    pay it more. `sweeps`: while signing it withdraws whatever exceeds its initial margin. `releases`: once silent for a
    challenge period it takes by `release` what the frozen marks allow. `reveals`: before each cure deadline it
    registers another state that the honest side half-signed, as long as it has one and the challenge runs.
    """

    name: str
    leaves: Leaves
    sees: bool = True
    sweeps: bool = False
    releases: bool = False
    reveals: bool = False


HONEST = Strategy("honest", Leaves.NEVER)
WALKS = Strategy("walks", Leaves.AT_ITS_BREACH, sees=False)
WAITS = Strategy("waits and sees", Leaves.AT_ITS_BREACH)
SWEEPS = Strategy("sweeps", Leaves.AT_ITS_BREACH, sweeps=True)
VOL = Strategy("refuses volatility", Leaves.AT_A_VOL_RISE, sweeps=True)
EARLY = Strategy("leaves early", Leaves.AT_ONCE, releases=True)
REVEALS = Strategy("reveals one by one", Leaves.AT_ITS_BREACH, sweeps=True, reveals=True)
MENU = (WALKS, WAITS, SWEEPS, VOL, EARLY, REVEALS)


class End(IntEnum):
    """How a path ended for the adversary."""

    SIGNING = 0
    LIQUIDATED = 1
    EXPIRED = 2
    """Silent to the last expiry."""
    OPEN = 3
    """Still silent when the path ends; measured as if everything closed there at the true mark, debts unpaid."""
