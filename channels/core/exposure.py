"""What our half-signed states may cost us: each is an option that the peer may exercise instead of the agreed state.

For every scenario of the margin grid the positions of each state that the peer could have enforced are valued at one
market, the newest marks that we know, so that states which differ in their marks alone cost nothing. The peer chooses
the state, the market the row of each underlying:

    value_u(row) = value + (value under the row − value) · the row's damping     as for margin, docs/risk.md
    equity(s)    = cash(s) + Σ_u min over rows value_u(s, row)                    rounded down
    cost(s)      = cash(agreed) − cash(s) + Σ_u max over rows (value_u(agreed, row) − value_u(s, row))     rounded up

Cash that a state pays out to us (a withdrawal) counts as ours, paid or not.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby

from ..errors import ExposureTooHigh, PeerIsSilent, TooManyOutstanding
from ..model import EXCLUSIVE, Book, ExpiryMark, Marks, Operation, SpotMark, State, VolMark
from ..risk.margin import scenario_values
from ..risk.policy import MarginPolicy
from ..risk.valuation import positions, tokens_down
from ..units import WAD
from .channel import Channel
from .limits import Limits

NO_STATE = 0
"""The version of what is agreed where nothing is: both sides hold what they deposited."""


@dataclass(frozen=True, slots=True)
class StateExposure:
    """One state that the peer may enforce. Token units in our view; `rows` is each underlying's costliest row.

    `equity` is what we hold in it under the worst rows, `cost` what the agreed state is better by under its own.
    """

    version: int
    equity: int
    cost: int
    rows: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class Exposure:
    """The agreed state first, then every outstanding one, by version.

    `has_lost`: after a loss of data, ours or the peer's, there may be others that are not in this list, up to one
    trade, withdrawal, close-out or close and a window of facts above every state that was ever agreed.
    """

    states: tuple[StateExposure, ...]
    has_lost: bool = False

    @property
    def worst(self) -> StateExposure:
        """The state in which we hold least in the worst case."""
        return min(self.states, key=lambda state: state.equity)

    @property
    def costliest(self) -> StateExposure:
        """The state that the peer would gain most by, at our expense, if it enforced it instead of the agreed one."""
        return max(self.states, key=lambda state: state.cost)

    @property
    def cost(self) -> int:
        """What half-signed states may cost us, token units; 0 where there are none."""
        return self.costliest.cost


def exposure(channel: Channel, *, with_state: tuple[State, Book] | None = None) -> Exposure:
    """Return our worst case over the agreed state and every half-signed one above it.

    `with_state` counts as half-signed too: what we are about to sign. Raises OutOfBounds for a book that cannot be
    priced at the newest marks; none is signed that cannot be at its own.
    """
    agreed, held = channel.base
    options = [(out.half.state, out.half.book) for out in channel.outstanding if out.version > channel.base_version] + (
        [with_state] if with_state else []
    )
    market = max([held, *(book for _, book in options)], key=lambda book: book.marks.time).marks
    known = [(agreed, held), *sorted(options, key=lambda option: option[0].version)]
    sign = 1 if channel.me == 0 else -1
    tables = [_values(at_market(book, market), channel.policy) for _, book in known]
    cash = [_cash(channel, state) for state, _ in known]
    found = []
    for (state, _), table, ours in zip(known, tables, cash, strict=True):
        names = dict.fromkeys([*dict(tables[0]), *dict(table)])
        flat = (0,) * len(channel.policy.scenarios)
        worst = total = 0
        rows = []
        for name in names:
            values, base = dict(table).get(name, flat), dict(tables[0]).get(name, flat)
            worst += min(sign * value for value in values)
            losses = [sign * (was - is_) for was, is_ in zip(base, values, strict=True)]
            total += max(losses)
            rows.append((name, losses.index(max(losses))))
        decimals = channel.terms.decimals
        found.append(
            StateExposure(
                state.version if state else NO_STATE,
                ours + tokens_down(worst, decimals),
                cash[0] - ours - tokens_down(-total, decimals),
                tuple(rows),
            )
        )
    return Exposure(tuple(found), channel.has_lost)


def _cash(channel: Channel, state: State | None) -> int:
    """Our cash in a state, with what it pays out to us and with our deposits that it does not know."""
    deposited = channel.chain.deposits[channel.me]
    if state is None:
        return deposited
    me = channel.me
    return state.balances[me] + state.withdrawals[me] + max(0, deposited - state.deposits[me])


@lru_cache(maxsize=64)
def _values(book: Book, policy: MarginPolicy) -> tuple[tuple[str, tuple[int, ...]], ...]:
    """Return party 0's damped value at 1e54 under every row, per underlying; expired legs count in every row."""
    found = []
    for name, group in groupby(positions(book), key=lambda position: position.leg.underlying):
        held = tuple(group)
        live = tuple(position for position in held if position.is_live)
        settled = sum(position.value for position in held if not position.is_live)
        base = sum(position.value for position in live)
        moved = scenario_values(live, base, policy, 0)
        damped = [
            settled + base + (value - base) * row.damping // WAD
            for value, row in zip(moved, policy.scenarios, strict=True)
        ]
        found.append((name, tuple(damped)))
    return tuple(found)


def at_market(book: Book, market: Marks) -> Book:
    """Return the book marked at `market` wherever that has a mark; the rest keeps its own."""
    own = book.marks
    if not book.legs or own == market:
        return book
    spots = {mark.underlying: mark for mark in market.spots}
    expiries = {(mark.underlying, mark.expiry): mark for mark in market.expiries}
    vols = {mark.key: mark for mark in market.vols}
    spot: list[SpotMark] = [spots.get(mark.underlying, mark) for mark in own.spots]
    expiry: list[ExpiryMark] = [expiries.get((mark.underlying, mark.expiry), mark) for mark in own.expiries]
    vol: list[VolMark] = [vols.get(mark.key, mark) for mark in own.vols]
    return Book(book.legs, Marks(max(own.time, market.time), tuple(spot), tuple(expiry), tuple(vol)), book.salt)


def check_limits(channel: Channel, limits: Limits, operations: tuple[Operation, ...], state: State, book: Book) -> None:
    """Raise PeerIsSilent, TooManyOutstanding or ExposureTooHigh where this must not be half-signed as well.

    Facts on the agreed state are the way out, and never too many: agreed, they supersede all that hangs.
    """
    if channel.unresponsive:
        raise PeerIsSilent(channel.unresponsive)
    if not channel.in_flight and not any(isinstance(operation, EXCLUSIVE) for operation in operations):
        return
    if len(channel.outstanding) >= limits.max_outstanding:
        base = channel.base_version
        if sum(out.version > base for out in channel.outstanding) >= limits.max_outstanding:
            raise TooManyOutstanding(limits.max_outstanding)
    if limits.max_exposure is not None:
        found = exposure(channel, with_state=(state, book)).costliest
        if found.cost > limits.max_exposure:
            raise ExposureTooHigh(found.version, found.cost, limits.max_exposure, channel.terms.decimals)
