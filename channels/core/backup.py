"""What a channel's recovery needs, as the shortest journal that folds to it: the same records, the same fold.

The market's and the owner's choices are not in it, and neither is the past: only what can still be shown on-chain, what
is half-signed, and what the chain has said so far. It is what a party has the peer keep for it, encrypted.
"""

from __future__ import annotations

from ..model import Party
from . import records as r
from .channel import Channel
from .facts import CalledSeen, ChainFact, ClosedSeen, DepositSeen, PaymentSeen, RegisteredSeen


def short_journal(channel: Channel) -> tuple[tuple[r.Record, ...], tuple[r.Signed, ...]]:
    """Return the records without which there is no recovery, and what is half-signed, newest first.

    Of the latter as many as there is room for: those left out count like everything else that a loss may hide.
    """
    found: list[r.Record] = [r.Opened(channel.deployment, channel.terms, channel.me, channel.initiated)]
    if channel.initiated and channel.accepted:
        found.append(r.TermsAccepted())
    found += [r.StateAgreed(agreed, ()) for agreed in (channel.agreed, channel.closing) if agreed]
    found += [r.ChainSaid(fact) for fact in _facts(channel)]
    if channel.recalled is not None:
        found.append(r.BookRecalled(channel.recalled))
    if channel.granted is not None:
        found.append(channel.granted)
    if channel.turn:
        found.append(r.TurnMoved(channel.turn))
    if channel.top_up is not None:
        found.append(r.TopUpDecided(channel.topped_up, channel.top_up.total))
    halves = sorted(channel.outstanding, key=lambda out: -out.version)
    return tuple(found), tuple(r.Signed(out.half, out.operations) for out in halves)


def _facts(channel: Channel) -> list[ChainFact]:
    """What the chain said, without what is over: disarmed margin calls, and where the last thing about margin stood."""
    chain = channel.chain
    found: list[ChainFact] = []
    for party in Party:
        if chain.deposits[party]:
            found.append(DepositSeen(party, chain.deposits[party]))
        if chain.paid[party]:
            found.append(PaymentSeen(party, chain.paid[party]))
    if chain.registered is not None or chain.deadline:
        found.append(RegisteredSeen(chain.registered, chain.deadline))
    found += chain.settlements
    for party in Party:
        call = chain.calls[party]
        if call.is_armed:
            found.append(CalledSeen(party, call.deadline, max(0, chain.margin_place[0]), max(0, chain.margin_place[1])))
    if chain.payouts is not None:
        found.append(ClosedSeen(chain.payouts))
    return found
