"""The fold that a journal is: a channel's durable part, and the one way in which it changes.

A record is handed to the store and, in the same breath, folded into the running channel. Replaying the journal is the
same fold over the same records, so what a restarted node knows is exactly what it had made durable.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from ..errors import InvariantBroken, RuleViolation
from ..model import Agreed, Book, HalfSigned, Intent, Operation, Party, State
from ..risk.engine import EXACT, MarginEngine
from ..risk.policy import MarginPolicy
from ..wire.messages import Recovery
from . import records as r
from .apply import apply
from .channel import ChainView, Channel, MarkPolicy, Outstanding, changed
from .checkpoint import adopt
from .facts import (
    CalledSeen,
    ChainFact,
    ClosedSeen,
    CuredSeen,
    DepositSeen,
    LiquidatedSeen,
    MarginFact,
    PaymentSeen,
    RegisteredSeen,
    ReleasedSeen,
    SettlementSeen,
)
from .margin_calls import NO_CALL, MarginCall


def replay(
    records: Iterable[r.Record], policy: MarginPolicy, mark_policy: MarkPolicy, margin_engine: MarginEngine = EXACT
) -> Channel:
    """Return the channel that a journal describes. What was in flight is: it is sent again when the peer is there."""
    channel: Channel | None = None
    for record in records:
        channel = evolve(channel, record, policy=policy, mark_policy=mark_policy)
    if channel is None:
        raise InvariantBroken("a journal starts with Opened", "it is empty")
    return changed(_mend_bases(channel), margin_engine=margin_engine)


def _mend_bases(channel: Channel) -> Channel:
    """Find the bases of what an older release left in flight: it did not journal that the peer had refused.

    There, every proposal stood on the agreed state, and of several only the last still waited for its answer.
    """
    for version in channel.in_flight[1:]:
        halves, (state, _) = channel.halves, channel.base
        out = halves[version]
        if not _leads_to(channel, halves[out.base].half.state, halves[out.base].half.book, out):
            mended = replace(out, base=state.version if state else 0)
            others = tuple(mended if o is out else o for o in channel.outstanding)
            waiting = tuple(v for v in channel.in_flight if v >= version)
            channel = changed(channel, outstanding=others, in_flight=waiting)
    return channel


def _leads_to(channel: Channel, base: State, book: Book, out: Outstanding) -> bool:
    try:
        state, _ = apply(
            channel.id,
            base,
            book,
            out.operations,
            proposer=channel.me,
            version=out.version,
            salt=out.half.book.salt,
            decimals=channel.terms.decimals,
            policy=channel.policy,
        )
    except RuleViolation:
        return False
    return state == out.half.state


def evolve(
    channel: Channel | None,
    record: r.Record,
    *,
    policy: MarginPolicy | None = None,
    mark_policy: MarkPolicy | None = None,
) -> Channel:
    """Fold one record into the channel. The policies are needed only for the first one."""
    if isinstance(record, r.Opened):
        if channel is not None or policy is None or mark_policy is None:
            raise InvariantBroken("a channel opens once", "a second Opened record, or no policy")
        return Channel(
            record.deployment,
            record.terms,
            record.terms.channel_id(record.deployment),
            record.me,
            policy,
            mark_policy,
            initiated=record.initiated,
            accepted=not record.initiated,
            recorded=1,
        )
    if channel is None:
        raise InvariantBroken("a journal starts with Opened", f"it starts with {type(record).__name__}")
    if isinstance(record, r.Checkpoint):
        return adopt(channel, record)
    if isinstance(record, r.Signed):
        return _evolve_signed(channel, record.half, record.operations)
    channel = changed(channel, recorded=channel.recorded + 1)
    match record:
        case r.TermsAccepted():
            return changed(channel, accepted=True)
        case r.StateAgreed(agreed, _):
            return _evolve_agreed(channel, agreed)
        case r.ProposalsKilled(version):
            return changed(channel, in_flight=tuple(v for v in channel.in_flight if v < version))
        case r.TurnMoved(turn):
            return changed(channel, turn=turn)
        case r.ChainSaid(fact):
            return _evolve_chain(channel, fact)
        case r.BookRecalled(book):
            return changed(channel, recalled=book)
        case r.SigningFrozen(theirs):
            asked = channel.recovery if channel.recovery and channel.recovery.version > theirs else None
            return changed(channel, frozen=theirs, recovery=asked)
        case r.LossSuspected(marker, signed):
            known = max(channel.signed, signed)
            return changed(channel, suspect=marker, signed=known, recovery=None, in_flight=(), unanswered=())
        case r.RecoveryAsked(marker, version):
            return changed(channel, recovery=Recovery(marker, version))
        case r.RecoveryGranted():
            return changed(_evolve_recovered(channel, record), granted=record)
        case r.SigningResumed():
            return changed(_evolve_recovered(channel, record), frozen=0, suspect=b"", recovery=None)
        case r.TopUpDecided(amount):
            return changed(channel, top_up=record, topped_up=channel.topped_up + amount)


def _evolve_recovered(channel: Channel, record: r.RecoveryGranted | r.SigningResumed) -> Channel:
    """Where both sides lost data their recoveries cross: the higher version of the two counts."""
    leap, markers = max(channel.leap, record.version), (*channel.markers, record.marker)
    return changed(channel, leap=leap, turn=record.turn, markers=markers)


def _evolve_signed(channel: Channel, half: HalfSigned, operations: tuple[Operation, ...]) -> Channel:
    """Only the turn's holder proposes: what we sign without the turn completes a proposal of the peer's."""
    version = half.state.version
    out = Outstanding(half, operations, channel.tip_version)
    return changed(
        channel,
        recorded=channel.recorded + 1,
        outstanding=(*channel.outstanding, out),
        signed=max(channel.signed, version),
        in_flight=(*channel.in_flight, version) if channel.my_turn else channel.in_flight,
    )


def _evolve_agreed(channel: Channel, agreed: Agreed) -> Channel:
    # A REOPEN whose registration was heard of first, its signatures later, ends nothing any more: it operates.
    reopened = agreed.state.intent is Intent.REOPEN and agreed.state == channel.chain.registered
    if agreed.state.intent is Intent.OPERATE or reopened:
        if agreed.version > channel.agreed_version:
            # What operates above a CLOSE or REOPEN was signed after that had expired unmined.
            over = channel.closing is not None and channel.closing.version < agreed.version
            channel = changed(channel, agreed=agreed, closing=None if over else channel.closing)
    elif channel.closing is None or agreed.version > channel.closing.version:
        channel = changed(channel, closing=agreed)
    return _drop_superseded(channel)


def _drop_superseded(channel: Channel) -> Channel:
    """Forget halves that a higher operating state superseded. A CLOSE that expires supersedes nothing.

    A half-signed withdrawal is remembered until a version above it is registered: until then it can still be paid.
    """
    floor, registered, me = channel.agreed_version, channel.chain.version, channel.me
    newest = max(channel.version, registered)
    done = [agreed.state for agreed in (channel.agreed, channel.closing) if agreed is not None]
    withdrawn = channel.agreed.state.withdrawals[me] if channel.agreed else -1

    def keep(state: State) -> bool:
        withdraws = registered < state.version and withdrawn < state.withdrawals[me]
        hangs = state.version > floor or withdraws or state.version == registered
        return hangs and state not in done

    kept = tuple([out for out in channel.outstanding if keep(out.half.state)])
    waiting = tuple([version for version in channel.in_flight if version > newest])
    return changed(channel, outstanding=kept, in_flight=waiting)


def _evolve_chain(channel: Channel, fact: ChainFact) -> Channel:
    chain = channel.chain
    match fact:
        case DepositSeen(party, total):
            deposits = (total, chain.deposits[1]) if party is Party.ZERO else (chain.deposits[0], total)
            return changed(channel, chain=replace(chain, deposits=deposits))
        case PaymentSeen(party, total):
            paid = (total, chain.paid[1]) if party is Party.ZERO else (chain.paid[0], total)
            return changed(channel, chain=replace(chain, paid=paid))
        case SettlementSeen():
            return changed(channel, chain=replace(chain, settlements=(*chain.settlements, fact)))
        case ClosedSeen(payouts):
            closed = replace(chain, payouts=payouts, calls=(NO_CALL, NO_CALL))
            return changed(channel, chain=closed, unanswered=())
        case RegisteredSeen(state, deadline):
            calls = _calls_after(chain, fact)
            heard = replace(chain, registered=state, deadline=deadline, calls=calls)
            channel = changed(channel, chain=heard, unanswered=())
            closing = channel.closing
            if closing and state == closing.state and closing.state.intent is Intent.REOPEN:
                channel = changed(channel, agreed=closing, closing=None)
            return _drop_superseded(channel)
        case CalledSeen() | CuredSeen() | LiquidatedSeen() | ReleasedSeen():
            return changed(channel, chain=_evolve_margin(chain, fact))


def _calls_after(chain: ChainView, fact: RegisteredSeen) -> tuple[MarginCall, MarginCall]:
    """A newer state disarms both parties' calls, a REOPEN ends them; the registered one, shown again, does neither."""
    first, second = chain.calls
    if fact.version <= chain.version:
        return first, second
    if fact.state is not None and fact.state.intent is Intent.REOPEN:
        return NO_CALL, NO_CALL
    return first.disarmed, second.disarmed


def _evolve_margin(chain: ChainView, fact: MarginFact) -> ChainView:
    chain = replace(chain, margin_place=fact.place)
    match fact:
        case CalledSeen(party, deadline):
            return _with_call(chain, party, MarginCall(deadline, chain.version))
        case CuredSeen(party):
            return _with_call(chain, party, NO_CALL)
        case LiquidatedSeen():
            return replace(chain, liquidated=fact)
        case ReleasedSeen():
            return chain


def _with_call(chain: ChainView, party: Party, call: MarginCall) -> ChainView:
    first, second = chain.calls
    return replace(chain, calls=(call, second) if party is Party.ZERO else (first, call))
