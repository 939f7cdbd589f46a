"""When a party has its money if its peer falls silent this second: what the protocol guarantees it alone can reach.

Every leg has to expire and get a price, and the dispute has to end; nobody's help is needed for either. All times are
by the chain's clock, and a step costs besides the blocks it takes to be mined.

    deadline    = the dispute's, or now + challenge period
    paid_from   = max(deadline, every expiry)                  prices are reported the moment a leg expires
    paid_by     = max(deadline, every expiry + 2 · grace)      nobody reports any: the book's own spot is pinned then
    last_resort = max(deadline, last resort time) + challenge period + 2 · grace           the book is lost: cash alone

Source: protocol §3, `pin`, `settle` and `last_resort`. An expiry whose settlement is known waits for no grace.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import NotPermitted
from ..model import Book, Intent, State
from .channel import Channel
from .phases import Phase
from .views import final_state


@dataclass(frozen=True, slots=True)
class ExitTimes:
    """Unix seconds; the formulas are the module's. `agreed_close`: until when a signed CLOSE pays at once, or None."""

    deadline: int
    last_expiry: int
    """0 where there is no leg to wait for."""
    paid_from: int
    paid_by: int
    last_resort: int
    agreed_close: int | None


def standing(channel: Channel) -> tuple[State | None, Book]:
    """Return the state and book that the channel's money hangs on: the agreed one, once it is final the registered one.

    Raises NotPermitted for a closed channel, and where the registered state is final and its book is not known here.
    """
    if channel.phase is Phase.CLOSED:
        raise NotPermitted("show the margin", channel.phase.value, "it is paid, nothing is margined any more")
    if channel.phase is not Phase.SETTLING:
        return channel.base
    final = final_state(channel)
    if final is None:
        raise NotPermitted("show the margin", channel.phase.value, "the book of the final state is not known here")
    return final


def exit_times(channel: Channel, now: int) -> ExitTimes:
    """Return when our side has its money without the peer, counted from `now`. Raises as `standing` does."""
    _, book = standing(channel)
    terms, chain, closing = channel.terms, channel.chain, channel.closing
    deadline = chain.deadline or now + terms.challenge_period
    waits = [
        (leg.expiry, 0 if chain.settlement(leg.underlying, leg.expiry) is not None else 2 * terms.grace)
        for leg in book.legs
    ]
    closes = closing is not None and closing.state.intent is Intent.CLOSE and now <= closing.state.valid_until
    return ExitTimes(
        deadline,
        book.last_expiry,
        max([deadline, *(expiry for expiry, _ in waits)]),
        max([deadline, *(expiry + wait for expiry, wait in waits)]),
        max(deadline, terms.last_resort) + terms.challenge_period + 2 * terms.grace,
        closing.state.valid_until if closing and closes else None,
    )
