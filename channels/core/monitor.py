"""Where both parties stand against their margin in every state that they agree: verdicts both share, to the last unit.

They depend on a state, its marks and the terms' policy alone, so both sides come to the same integers at the same
version, and the first mark at which equity is below maintenance is one event, not two opinions. An agreement covers a
whole chain of proposals: each of its states is judged, the last of them is what everything else is measured in. What
hangs in between (a withdrawal of ours that the peer may still complete) counts when we sign, in `rules.reports`, not
here.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise

from ..errors import CollateralCallInvalid, StaleVersion
from ..model import Book, Claimed, HalfSigned, Party
from ..risk.engine import MarginEngine, Standing
from ..risk.policy import MarginPolicy
from ..risk.report import MarginReport
from . import notices as n
from .channel import Channel

Standings = tuple[Standing, Standing]
STANDINGS_KEPT = 512
"""Verdicts that are remembered, with their books: one or two for each of some hundred channels."""
_Key = tuple[int, tuple[int, int], int, int, int]
_remembered: dict[_Key, tuple[Standings, Book, MarginPolicy, MarginEngine]] = {}
"""By cash, decimals and the identities of book, policy and engine, which an entry keeps alive."""


@lru_cache(maxsize=128)
def margins(
    book: Book, cash: tuple[int, int], decimals: int, policy: MarginPolicy, engine: MarginEngine
) -> tuple[MarginReport, MarginReport]:
    """Return both parties' reports at the book's marks. Remembered: a state is judged, monitored and called upon."""
    return engine.margin(book, cash, decimals, policy)


def standings(
    book: Book, cash: tuple[int, int], decimals: int, policy: MarginPolicy, engine: MarginEngine
) -> Standings:
    """Return both parties' verdicts at the book's marks, by their reports only where the engine cannot do without.

    Remembered, like `margins`.
    """
    known = _remembered.get((id(book), cash, decimals, id(policy), id(engine)))
    return known[0] if known else _judged([(book, cash)], decimals, policy, engine)[0]


def standings_many(
    asked: Sequence[tuple[Book, tuple[int, int]]], decimals: int, policy: MarginPolicy, engine: MarginEngine
) -> list[Standings]:
    """Return `standings` of each book and cash, which the engine judges at once. The last one is remembered."""
    if len(asked) == 1:
        (book, cash), *_ = asked
        return [standings(book, cash, decimals, policy, engine)]
    return _judged(asked, decimals, policy, engine) if asked else []


def _judged(
    asked: Sequence[tuple[Book, tuple[int, int]]], decimals: int, policy: MarginPolicy, engine: MarginEngine
) -> list[Standings]:
    judged: list[Standings] = []
    for (book, cash), told in zip(asked, engine.standings_many(asked, decimals, policy), strict=True):
        if told is None:
            one, other = margins(book, cash, decimals, policy, engine)
            told = Standing.of(one), Standing.of(other)
        judged.append(told)
    # What comes next stands on the last: it is asked about again, the others are passed over.
    if len(_remembered) >= STANDINGS_KEPT:
        # The keys are copied in one call: tables are made in other threads, and may remember and forget meanwhile.
        oldest, *_ = _remembered
        _remembered.pop(oldest, None)
    _remembered[id(book), cash, decimals, id(policy), id(engine)] = judged[-1], book, policy, engine
    return judged


def agreed_margins(channel: Channel) -> tuple[MarginReport, MarginReport]:
    """Return both parties' reports in the agreed state.

    Never raises: a book that cannot be priced is refused before it is signed (`rules.judge`).
    """
    state, book = channel.base
    cash = state.balances if state else (0, 0)
    return margins(book, cash, channel.terms.decimals, channel.policy, channel.margin_engine)


def agreed_standings(channel: Channel) -> tuple[Standing, Standing]:
    """Return both parties' verdicts in the agreed state, those of `agreed_margins`."""
    state, book = channel.base
    cash = state.balances if state else (0, 0)
    return standings(book, cash, channel.terms.decimals, channel.policy, channel.margin_engine)


def crossings(before: Channel, after: Channel) -> tuple[n.BelowMaintenance | n.MarginRestored, ...]:
    """Return what a step did to the parties' standing: one notice for each that fell below maintenance, or came back.

    In the order of the states that the step agreed, so one that a later state of the same window passed over is told
    as well. Both ends follow from the journal, so a restarted node neither repeats a notice nor misses the next one.
    """
    untouched = before.agreed is after.agreed and before.chain.registered is after.chain.registered
    if untouched or before.base_version == after.base_version:
        return ()
    terms, policy, engine = after.terms, after.policy, after.margin_engine
    state, book = before.base
    path = covered(before, after)
    stood = standings(book, state.balances if state else (0, 0), terms.decimals, policy, engine)
    asked = [(book, cash) for _, book, cash in path]
    verdicts = [stood, *standings_many(asked, terms.decimals, policy, engine)]
    found: list[n.BelowMaintenance | n.MarginRestored] = []
    for (version, book, cash), (was, is_) in zip(path, pairwise(verdicts), strict=True):
        if was == is_:
            continue
        for party in Party:
            if was[party].covers_maintenance is not is_[party].covers_maintenance:
                kind = n.MarginRestored if is_[party].covers_maintenance else n.BelowMaintenance
                now = margins(book, cash, terms.decimals, policy, engine)[party]
                found.append(kind(party, version, now.equity, now.maintenance_margin, now.initial_margin))
    return tuple(found)


def covered(before: Channel, after: Channel) -> tuple[tuple[int, Book, tuple[int, int]], ...]:
    """Return version, book and cash of each state that a step agreed, oldest first: what it stands on, then itself.

    Whose proposals they are decides where they are found; the chain, and so what is returned, is the same.
    """
    agreed, book = after.base
    if agreed is None:
        return ()
    version = agreed.version
    halves: list[HalfSigned | Claimed] = [judged.half for judged in before.unanswered]
    if version not in [half.version for half in halves]:
        halves = [out.half for out in before.chain_to(version)]
    passed = [(half.version, half.book, _cash(half)) for half in halves if half.version < version]
    return (*passed, (version, book, agreed.balances))


def _cash(half: HalfSigned | Claimed) -> tuple[int, int]:
    return half.amounts.balances if isinstance(half, Claimed) else half.state.balances


def check_collateral_call(channel: Channel, version: int, amount: int) -> None:
    """Raise StaleVersion or CollateralCallInvalid for a peer's call that does not follow from our agreed state."""
    if version < channel.base_version:
        raise StaleVersion(version, channel.base_version)
    if version > channel.base_version:
        raise CollateralCallInvalid(f"it names version {version}, {channel.base_version} is agreed here")
    due = agreed_margins(channel)[channel.me].collateral_call
    if amount != due or not due:
        raise CollateralCallInvalid(f"it asks for {amount} token units, at version {version} {due} are due")
