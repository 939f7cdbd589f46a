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
VOL_RISE = 1.05


@dataclass(frozen=True, slots=True)
class Outcome:
    """Per path, money of the quote currency. gain = uncovered + rest.

    `uncovered`: what the honest equity lacks below zero, which nobody pays. `rest`: what being closed out at the frozen
    marks, less the charge, pays beyond the positive part of that equity. `silent` is the index of the last co-signed
    mark, `end` that of the last event, `locked` the adversary's initial margin at the opening.
    """

    gain: Floats
    uncovered: Floats
    charge: Floats
    ended: Ints
    silent: Ints
    called: Ints
    end: Ints
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
    WATCHED = 0
    """Silent, not called."""
    CALLING = 1
    """The node's `margin_call` waits for its block."""
    CALLED = 2
    """The cure period runs; the adversary decides at its last mark."""
    DUE = 3
    """The execution window is open."""
    OVER = 4


def relevant_rows(legs: Legs, policy: MarginPolicy, states: int = 1500) -> tuple[int, ...]:
    """Return the rows of the grid that are the adversary's worst in any of many random states.

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
    losses = [
        evaluate(legs, policy, spot, vols, t, age, fixing, rows=(row,)).scan for row in range(len(policy.scenarios))
    ]
    return tuple(sorted({int(row) for row in np.argmax(np.array(losses), axis=0)}))


def play(market: Market, legs: Legs, rules: Rules, strategy: Strategy, rows: tuple[int, ...]) -> Outcome:
    """Play one book on every path of a market under one strategy; `rows` from `relevant_rows`."""
    return _Game(market, legs, rules, strategy, rows).run()


class _Game:
    def __init__(self, market: Market, legs: Legs, rules: Rules, strategy: Strategy, rows: tuple[int, ...]) -> None:
        self.market, self.legs, self.rules, self.strategy, self.rows = market, legs, rules, strategy, rows
        n = len(market)
        at_expiry = np.minimum(np.searchsorted(CLOCK, legs.expiry), len(CLOCK) - 1)
        self.fixing = market.spot[:, at_expiry]
        self.everyone = np.arange(n)
        self.ended = np.full(n, End.SIGNING, dtype=np.int64)
        self.gain, self.uncovered, self.charge = np.zeros(n), np.zeros(n), np.zeros(n)
        self.called, self.end = np.zeros(n, dtype=np.int64), np.full(n, len(CLOCK) - 1, dtype=np.int64)
        opening = self.marked(self.everyone, np.zeros(n, dtype=np.int64), None)
        self.locked = opening.initial(rules.policy)
        self.cash = self.locked - opening.value

    def run(self) -> Outcome:
        silent = self.sign()
        gone = np.flatnonzero(silent < len(CLOCK) - 1)
        if len(gone):
            self.walk_away(gone, silent[gone])
        return Outcome(self.gain, self.uncovered, self.charge, self.ended, silent, self.called, self.end, self.locked)

    def marked(self, who: Ints, at: Ints, frozen: tuple[Floats, Floats] | None, *, scan: bool = True) -> Margins:
        """Margins of these paths at these instants: at the market's volatilities, or at frozen (volatilities, time)."""
        t = CLOCK[at]
        spot = self.market.spot[who, at]
        if frozen is None:
            vols, age = self.true_vols(who, at), np.zeros(len(who))
        else:
            vols, age = frozen[0], t - frozen[1]
        rows = self.rows if scan else ()
        return evaluate(self.legs, self.rules.policy, spot, vols, t, age, self.fixing[who], rows=rows)

    def true_vols(self, who: Ints, at: Ints) -> Floats:
        return self.legs.vols(recorded_chain(), self.market.spot[who, at], self.market.level[who, at], CLOCK[at])

    def sign(self) -> Ints:
        """Sign until the strategy leaves; return the index of the last co-signed mark, the last one if never."""
        last = len(CLOCK) - 1
        silent = np.full(len(self.everyone), last, dtype=np.int64)
        if self.strategy.leaves is Leaves.NEVER:
            return silent
        if self.strategy.leaves is Leaves.AT_ONCE:
            return np.zeros_like(silent)
        policy, signing = self.rules.policy, self.everyone
        for j in range(1, last + 1):
            at = np.full(len(signing), j, dtype=np.int64)
            if CLOCK[j] >= self.legs.expiry.max() or not len(signing):
                break
            now = self.marked(signing, at, None)
            equity = self.cash[signing] + now.value
            leaves = equity < now.maintenance(policy)
            if self.strategy.leaves is Leaves.AT_A_VOL_RISE:
                leaves |= self.market.level[signing, j] >= VOL_RISE * self.market.level[signing, 0]
            silent[signing[leaves]] = j - 1
            if self.strategy.sweeps:
                self.cash[signing] -= np.where(leaves, 0.0, np.maximum(equity - now.initial(policy), 0.0))
            signing = signing[~leaves]
        return silent

    def walk_away(self, gone: Ints, silent: Ints) -> None:
        """Play on from silence to each path's end."""
        rules, n = self.rules, len(self.everyone)
        frozen_vols = np.zeros((n, len(self.legs.strike)))
        frozen_vols[gone] = self.true_vols(gone, silent)
        since = np.zeros(n)
        since[gone] = CLOCK[silent]
        asked = np.zeros(n)
        asked[gone] = CLOCK[silent + 1] + rules.reply_timeout
        settling = np.full(n, np.inf)
        settling[gone] = CLOCK[silent + 1] + rules.challenge
        at = np.zeros(n, dtype=np.int64)
        at[gone] = silent + 1
        step = np.full(n, _Step.OVER, dtype=np.int64)
        step[gone] = _Step.WATCHED
        deadline, bound = np.zeros(n), np.zeros(n)
        hidden = np.full(n, rules.outstanding if self.strategy.reveals else 0)
        while True:
            beyond = np.flatnonzero((step != _Step.OVER) & (at >= len(CLOCK)))
            self.finish(beyond, np.full(len(beyond), len(CLOCK) - 1), End.OPEN)
            step[beyond] = _Step.OVER
            who = np.flatnonzero(step != _Step.OVER)
            expired = who[CLOCK[at[who]] >= self.legs.expiry.max()]
            self.finish(expired, np.minimum(at[expired], _first_at(self.legs.expiry.max())), End.EXPIRED)
            step[expired] = _Step.OVER
            who = np.flatnonzero(step != _Step.OVER)
            if not len(who):
                return
            if not rules.margin_calls:
                at[who] += 1
                continue
            now = self.marked(who, at[who], (frozen_vols[who], since[who]))
            equity = self.cash[who] + now.value
            breach = equity < now.maintenance(rules.policy)
            before, time = step[who], CLOCK[at[who]]

            chosen = before == _Step.WATCHED
            seen = who[chosen & breach]
            step[seen] = _Step.CALLING
            at[seen] = _first_at(np.maximum(CLOCK[at[seen]], asked[seen]) + rules.latency)
            calm = chosen & ~breach
            if self.strategy.releases:
                free = calm & (time >= settling[who])
                amount = np.minimum(equity - now.initial(rules.policy), np.maximum(self.cash[who], 0.0))
                self.cash[who] -= np.where(free, np.maximum(amount, 0.0), 0.0)
            at[who[calm]] += 1

            chosen = before == _Step.CALLING
            mined = who[chosen & breach]
            self.called[mined] = at[mined]
            deadline[mined] = CLOCK[at[mined]] + rules.cure
            bound[mined] = CLOCK[at[mined]] + rules.challenge
            step[mined] = _Step.CALLED
            at[mined] = _last_until(deadline[mined])
            reverted = who[chosen & ~breach]
            step[reverted] = _Step.WATCHED
            at[reverted] += 1

            chosen = before == _Step.CALLED
            stalls = who[chosen & (hidden[who] > 0) & (deadline[who] < bound[who])]
            hidden[stalls] -= 1
            # Called again one block later on the version just shown: half a cure period's notice.
            deadline[stalls] += rules.latency + rules.cure / 2
            at[stalls] = _last_until(deadline[stalls])
            decides = chosen & ~np.isin(who, stalls)
            lets = who[decides]
            if self.strategy.sees:
                cures = self.paid(who, now)[decides] <= self.honest_equity(lets, at[lets])
                cured, lets = lets[cures], lets[~cures]
                self.ended[cured], self.end[cured] = End.CURED, at[cured]
                step[cured] = _Step.OVER
            step[lets] = _Step.DUE
            at[lets] = _first_at(deadline[lets] + rules.latency)

            chosen = before == _Step.DUE
            done = chosen & breach
            if rules.declines:
                due = who[done]
                done[done] = self.paid(who, now)[done] <= np.maximum(self.honest_equity(due, at[due]), 0.0)
            taken = who[done]
            self.charge[taken] = now.cost[done]
            self.finish(taken, at[taken], End.LIQUIDATED, self.paid(who, now)[done])
            step[taken] = _Step.OVER
            spared = who[chosen & ~done]
            at[spared] += 1
            inside = np.minimum(at[spared], len(CLOCK) - 1)
            step[spared[CLOCK[inside] > deadline[spared] + rules.window]] = _Step.WATCHED

    def paid(self, who: Ints, now: Margins) -> Floats:
        """What a liquidation now pays the adversary: cash + V - COST, not below 0."""
        return np.maximum(self.cash[who] + now.value - now.cost, 0.0)

    def honest_equity(self, who: Ints, at: Ints) -> Floats:
        """What an honest party has then: its cash and its positions at the true mark."""
        return self.cash[who] + self.marked(who, at, None, scan=False).value

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
