"""Where both parties stand against their margin in the agreed state: verdicts that both sides share, to the last unit.

They depend on the agreed state, its marks and the terms' policy alone, so both sides come to the same integers at the
same version and the first agreed mark at which equity is below maintenance is one event, not two opinions. What hangs
in between (a withdrawal of ours that the peer may still complete) counts when we sign, in `rules.reports`, not here.
"""

from __future__ import annotations

from functools import lru_cache

from ..errors import CollateralCallInvalid, StaleVersion
from ..model import Book, Party
from ..risk.engine import MarginEngine, Standing
from ..risk.policy import MarginPolicy
from ..risk.report import MarginReport
from . import notices as n
from .channel import Channel


@lru_cache(maxsize=64)
def margins(
    book: Book, cash: tuple[int, int], decimals: int, policy: MarginPolicy, engine: MarginEngine
) -> tuple[MarginReport, MarginReport]:
    """Return both parties' reports at the book's marks. Remembered: a state is judged, monitored and called upon."""
    return engine.margin(book, cash, decimals, policy)


@lru_cache(maxsize=64)
def standings(
    book: Book, cash: tuple[int, int], decimals: int, policy: MarginPolicy, engine: MarginEngine
) -> tuple[Standing, Standing]:
    """Return both parties' verdicts at the book's marks, by their reports only where the engine cannot do without."""
    found = engine.standings(book, cash, decimals, policy)
    if found is None:
        one, other = margins(book, cash, decimals, policy, engine)
        return Standing.of(one), Standing.of(other)
    return found


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

    Both ends follow from the journal, so a restarted node neither repeats a notice nor misses the next one.
    """
    if before.base_version == after.base_version:
        return ()
    found: list[n.BelowMaintenance | n.MarginRestored] = []
    for was, is_ in zip(agreed_standings(before), agreed_standings(after), strict=True):
        if was.covers_maintenance is not is_.covers_maintenance:
            kind = n.MarginRestored if is_.covers_maintenance else n.BelowMaintenance
            now = agreed_margins(after)[is_.party]
            facts = (Party(now.party), after.base_version, now.equity, now.maintenance_margin, now.initial_margin)
            found.append(kind(*facts))
    return tuple(found)


def check_collateral_call(channel: Channel, version: int, amount: int) -> None:
    """Raise StaleVersion or CollateralCallInvalid for a peer's call that does not follow from our agreed state."""
    if version < channel.base_version:
        raise StaleVersion(version, channel.base_version)
    if version > channel.base_version:
        raise CollateralCallInvalid(f"it names version {version}, {channel.base_version} is agreed here")
    due = agreed_margins(channel)[channel.me].collateral_call
    if amount != due or not due:
        raise CollateralCallInvalid(f"it asks for {amount} token units, at version {version} {due} are due")
