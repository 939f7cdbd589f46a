"""The game, on many paths at once: an adversary stops signing, its honest peer's node calls, waits and liquidates.

The adversary (party 0) opens with equity equal to its initial margin and signs marks until its strategy leaves; from
then on the co-signed marks are frozen, only time and the price source's spot move on. The node sees a breach at a mark,
sends `margin_call` once the reply timeout is over, is mined `latency` later if the breach is still there, and
liquidates in the first block after the cure deadline, or while the execution window lasts, if it is there again
(protocol §3, §3.2). The adversary's gain is what it is paid less what an honest party has at that moment: its cash and
its positions at the true mark, losses in full. The honest side keeps its own margin good throughout, so the pot never
limits from above what the adversary is paid.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from channels.risk import MarginPolicy

from .books import Legs
from .chain import Floats, recorded_chain
from .paths import CLOCK, Market
from .rules import End, Leaves, Rules, Strategy
from .twin import Margins, evaluate

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
VOL_RISE = 1.05


@dataclass(frozen=True, slots=True)
class Outcome:
    """Per path, money of the quote currency. gain = uncovered + rest.

    `uncovered`: what the honest equity lacks below zero, which nobody pays. `rest`: what being closed out at the frozen
    marks, less the charge, pays beyond the positive part of that equity. `silent` is the index of the last co-signed
    mark, `called` of the last call, `end` of the last event; `cures` counts calls it cured, each time signing on as an
    honest party does; `locked` is the adversary's initial margin at the opening.
    """

    gain: Floats
    uncovered: Floats
    charge: Floats
    ended: Ints
    silent: Ints
    called: Ints
    end: Ints
    cures: Ints
    locked: Floats

    @property
    def rest(self) -> Floats:
        """The part of the gain that the frozen marks and the charge make."""
        return self.gain - self.uncovered

    @property
    def percent(self) -> Floats:
        """Gain in percent of the initial margin locked at the opening."""
        return 100 * self.gain / self.locked


class _Step(IntEnum):
    SIGNING = 0
    """A mark is proposed: it signs, or leaves."""
    WATCHED = 1
    """Silent, not called."""
    CALLING = 2
    """The node's `margin_call` waits for its block."""
    CALLED = 3
    """The cure period runs; the adversary decides at its last mark."""
    DUE = 4
    """The execution window is open."""
    OVER = 5


def relevant_rows(legs: Legs, policy: MarginPolicy, states: int = 1500) -> tuple[int, ...]:
    """Return few rows of the grid whose worst is the whole grid's to 0.2 % in each of many random states.

    The others are left out of the simulation, for speed. A scan over fewer rows asks for less margin: leaving one out
    can only help the adversary.
    """
    rng = np.random.default_rng(7)
    chain = recorded_chain()
    t = rng.uniform(0.0, CLOCK[-1], states)
    spot = chain.spot * np.exp(rng.uniform(-0.9, 0.5, states) * (rng.random(states) < 0.7))
    marked = np.where(rng.random(states) < 0.5, spot, chain.spot)
    vols = legs.vols(chain, marked, rng.uniform(0.5, 3.0, states), t)
    age = rng.uniform(0.0, 1.0, states) * t
    fixing = np.broadcast_to(spot[:, None], vols.shape)
    losses = np.array(
        [evaluate(legs, policy, spot, vols, t, age, fixing, rows=(row,)).scan for row in range(len(policy.scenarios))]
    )
    needed = 0.998 * losses.max(axis=0)
    rows: list[int] = []
    covered = np.zeros(states)
    while (covered < needed).any():
        rows.append(int(np.argmax(np.sum(losses >= needed, axis=1, where=covered < needed))))
        np.maximum(covered, losses[rows[-1]], out=covered)
    return tuple(sorted(rows))


def play(market: Market, legs: Legs, rules: Rules, strategy: Strategy, rows: tuple[int, ...]) -> Outcome:
    """Play one book on every path of a market under one strategy; `rows` from `relevant_rows`."""
    return _Game(market, legs, rules, strategy, rows).run()


class _Game:
    """One entry for each path: `at` is the mark it is at, `vols` and `since` the co-signed volatilities and time."""

    def __init__(self, market: Market, legs: Legs, rules: Rules, strategy: Strategy, rows: tuple[int, ...]) -> None:
        self.market, self.legs, self.rules, self.strategy, self.rows = market, legs, rules, strategy, rows
        n = len(market)
        self.expiry = float(legs.expiry.max())
        at_expiry = np.minimum(np.searchsorted(CLOCK, legs.expiry), len(CLOCK) - 1)
        self.fixing = market.spot[:, at_expiry]
        self.ended = np.full(n, End.SIGNING, dtype=np.int64)
        self.gain, self.uncovered, self.charge = np.zeros(n), np.zeros(n), np.zeros(n)
        self.at, self.opened, self.called, self.cures = (np.zeros(n, dtype=np.int64) for _ in range(4))
        self.silent, self.end = (np.full(n, len(CLOCK) - 1, dtype=np.int64) for _ in range(2))
        self.step = np.full(n, _Step.OVER if strategy.leaves is Leaves.NEVER else _Step.SIGNING, dtype=np.int64)
        self.asked, self.settling, self.deadline, self.bound, self.since = (np.zeros(n) for _ in range(5))
        self.hidden = np.zeros(n, dtype=np.int64)
        everyone = np.arange(n)
        self.vols = self.true_vols(everyone, self.at)
        opening = self.margins(everyone, self.vols)
        self.locked = opening.initial(rules.policy)
        self.cash = self.locked - opening.value

    def run(self) -> Outcome:
        while True:
            self.end_what_ends()
            who = np.flatnonzero(self.step != _Step.OVER)
            if not len(who):
                break
            step = self.step[who]
            vols, proposed = self.vols[who], step == _Step.SIGNING
            vols[proposed] = self.true_vols(who[proposed], self.at[who[proposed]])
            self.since[who[proposed]] = CLOCK[self.at[who[proposed]]]
            now = self.margins(who, vols)
            equity = self.cash[who] + now.value
            breach = equity < now.maintenance(self.rules.policy)
            excess = equity - now.initial(self.rules.policy)
            paid = np.maximum(equity - now.cost, 0.0)
            self.proposed(who[proposed], vols[proposed], breach[proposed], excess[proposed])
            for at_step, move in (
                (_Step.WATCHED, self.watched),
                (_Step.CALLING, self.calling),
                (_Step.CALLED, self.decided),
                (_Step.DUE, self.due),
            ):
                those = step == at_step
                if those.any():
                    move(who[those], breach[those], excess[those], paid[those], now.cost[those])
        return Outcome(
            self.gain,
            self.uncovered,
            self.charge,
            self.ended,
            self.silent,
            self.called,
            self.end,
            self.cures,
            self.locked,
        )

    def end_what_ends(self) -> None:
        """End the paths that are at their last expiry or beyond the clock, and without margin calls all silent ones."""
        last = len(CLOCK) - 1
        if not self.rules.margin_calls:
            self.at[self.step == _Step.WATCHED] = last + 1
        beyond = (self.step != _Step.OVER) & (self.at > last)
        expired = (self.step != _Step.OVER) & (CLOCK[np.minimum(self.at, last)] >= self.expiry)
        silent = self.step != _Step.SIGNING
        who = np.flatnonzero(expired & silent)
        self.finish(who, np.full(len(who), _first_at(self.expiry)), End.EXPIRED)
        who = np.flatnonzero(beyond & silent & ~expired)
        self.finish(who, np.full(len(who), last), End.OPEN)
        self.step[beyond | expired] = _Step.OVER

    def proposed(self, who: Ints, vols: Floats, breach: Bools, excess: Floats) -> None:
        """Sign the mark, topping up to IM or withdrawing down to it, or refuse it and be silent from here."""
        at, strategy = self.at[who], self.strategy
        first = at == self.opened[who]
        leaves = breach.copy()
        if strategy.leaves is Leaves.AT_A_VOL_RISE:
            leaves |= self.market.level[who, at] >= VOL_RISE * self.market.level[who, self.opened[who]]
        if strategy.leaves is Leaves.AT_ONCE:
            leaves[:] = True
        leaves &= ~first
        signs, gone = who[~leaves], who[leaves]
        self.cash[signs] += np.where(first[~leaves], np.maximum(-excess[~leaves], 0.0), 0.0)
        if strategy.sweeps:
            self.cash[signs] -= np.maximum(excess[~leaves], 0.0)
        self.vols[signs] = vols[~leaves]
        self.at[signs] += 1
        self.silent[gone] = self.at[gone] - 1
        self.since[gone] = CLOCK[self.silent[gone]]
        self.asked[gone] = CLOCK[self.at[gone]] + self.rules.reply_timeout
        self.settling[gone] = CLOCK[self.at[gone]] + self.rules.challenge
        self.hidden[gone] = self.rules.outstanding if strategy.reveals else 0
        self.step[gone] = _Step.WATCHED

    def watched(self, who: Ints, breach: Bools, excess: Floats, *_: Floats) -> None:
        """Call where there is a breach; elsewhere the adversary may `release`, once the state is final."""
        seen, calm = who[breach], who[~breach]
        self.step[seen] = _Step.CALLING
        self.at[seen] = _first_at(np.maximum(CLOCK[self.at[seen]], self.asked[seen]) + self.rules.latency)
        if self.strategy.releases:
            amount = np.maximum(np.minimum(excess[~breach], self.cash[calm]), 0.0)
            self.cash[calm] -= np.where(CLOCK[self.at[calm]] >= self.settling[calm], amount, 0.0)
        self.at[calm] += 1

    def calling(self, who: Ints, breach: Bools, *_: Floats) -> None:
        """Mine the call; it reverts where the breach has gone."""
        mined, reverted = who[breach], who[~breach]
        now = CLOCK[self.at[mined]]
        self.called[mined] = self.at[mined]
        self.deadline[mined], self.bound[mined] = now + self.rules.cure, now + self.rules.challenge
        self.step[mined] = _Step.CALLED
        self.at[mined] = _last_until(self.deadline[mined])
        self.step[reverted] = _Step.WATCHED
        self.at[reverted] += 1

    def decided(self, who: Ints, breach: Bools, excess: Floats, paid: Floats, cost: Floats) -> None:
        """Reveal another half-signed state, cure, or let the deadline pass."""
        stalls = (self.hidden[who] > 0) & (self.deadline[who] < self.bound[who])
        stalling = who[stalls]
        self.hidden[stalling] -= 1
        # Called again one block later on the version just shown: half a cure period's notice.
        self.deadline[stalling] += self.rules.latency + self.rules.cure / 2
        self.at[stalling] = _last_until(self.deadline[stalling])
        lets = who[~stalls]
        if self.strategy.sees:
            cures = paid[~stalls] <= self.honest_equity(lets, self.at[lets])
            cured, lets = lets[cures], lets[~cures]
            self.cures[cured] += 1
            self.opened[cured] = self.at[cured]
            self.silent[cured] = len(CLOCK) - 1
            self.step[cured] = _Step.SIGNING
        self.step[lets] = _Step.DUE
        self.at[lets] = _first_at(self.deadline[lets] + self.rules.latency)

    def due(self, who: Ints, breach: Bools, excess: Floats, paid: Floats, cost: Floats) -> None:
        """Liquidate where the breach is still there; after the window the call has lapsed."""
        done = breach.copy()
        if self.rules.declines:
            done &= paid <= np.maximum(self.honest_equity(who, self.at[who]), 0.0)
        taken, spared = who[done], who[~done]
        self.charge[taken] = cost[done]
        self.finish(taken, self.at[taken], End.LIQUIDATED, paid[done])
        self.step[taken] = _Step.OVER
        self.at[spared] += 1
        inside = CLOCK[np.minimum(self.at[spared], len(CLOCK) - 1)] <= self.deadline[spared] + self.rules.window
        self.step[spared[~inside]] = _Step.WATCHED

    def margins(self, who: Ints, vols: Floats) -> Margins:
        """Margins of these paths where they are, at these volatilities of the time `since`."""
        at = self.at[who]
        t, spot = CLOCK[at], self.market.spot[who, at]
        age, fixing = t - self.since[who], self.fixing[who]
        return evaluate(self.legs, self.rules.policy, spot, vols, t, age, fixing, rows=self.rows)

    def true_vols(self, who: Ints, at: Ints) -> Floats:
        """The market's volatilities at these instants."""
        return self.legs.vols(recorded_chain(), self.market.spot[who, at], self.market.level[who, at], CLOCK[at])

    def honest_equity(self, who: Ints, at: Ints) -> Floats:
        """What an honest party has then: its cash and its positions at the true mark."""
        t, spot = CLOCK[at], self.market.spot[who, at]
        vols, fixing = self.true_vols(who, at), self.fixing[who]
        value = evaluate(self.legs, self.rules.policy, spot, vols, t, np.zeros(len(t)), fixing, rows=()).value
        return self.cash[who] + value

    def finish(self, who: Ints, at: Ints, how: End, paid: Floats | None = None) -> None:
        """End these paths; where no close-out says what is paid, it is the equity at the true mark, if there is any."""
        if not len(who):
            return
        honest = self.honest_equity(who, at)
        if paid is None:
            paid = np.maximum(honest, 0.0)
        self.gain[who] = paid - honest
        self.uncovered[who] = np.maximum(-honest, 0.0)
        self.ended[who], self.end[who] = how, at


def _first_at(time: Floats | float) -> Ints:
    """Index of the first mark at or after these times; beyond the clock's end, its length."""
    return np.searchsorted(CLOCK, time, side="left")


def _last_until(time: Floats) -> Ints:
    """Index of the last mark at or before these times."""
    return np.searchsorted(CLOCK, time, side="right") - 1
