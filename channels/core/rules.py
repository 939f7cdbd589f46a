"""What a party signs and what it refuses: the rules that need a clock, the chain, the market or the margin model.

Both sides judge every proposal before signing it, the proposer its own first; the verdict on margin is exact integers,
so two honest sides with one policy never disagree about it.
"""

from __future__ import annotations

from operator import gt, sub

from ..errors import (
    CalledForMargin,
    CloseOutInvalid,
    IntentInvalid,
    MarginShortfall,
    MarkRefused,
    OutstandingProposal,
    QuoteExpired,
    ReduceOnly,
    SettlementInvalid,
    SigningBarred,
    StaleVersion,
    UnconfirmedDeposit,
    UnexpectedMessage,
    VersionSkipTooLarge,
    WithdrawalInvalid,
)
from ..model import (
    EXCLUSIVE,
    ZERO32,
    Acknowledge,
    Book,
    Claimed,
    Close,
    CloseOut,
    HalfSigned,
    Mark,
    Marks,
    Operation,
    Party,
    Reopen,
    SettleExpiry,
    State,
    Trade,
    Withdraw,
)
from ..risk.engine import Standing
from ..risk.report import MarginReport
from ..risk.valuation import check_forwards
from ..units import WAD, show
from ..wire.messages import MAX_WINDOW_OPERATIONS
from .apply import apply
from .channel import Channel
from .monitor import margins, standings
from .phases import Phase
from .views import is_called

MAX_SKIP = 2**16
"""A regular version skips no further than this, so that nobody uses up the version space."""
MAX_VALIDITY = 3_600
"""A CLOSE or REOPEN is valid for at most an hour: meanwhile nothing is signed above it."""


_A_MARK = Mark()


def next_version(channel: Channel) -> int:
    """Return the version our next proposal takes: above every one that either side ever signed, registered or left."""
    return top_version(channel) + 1


def top_version(channel: Channel) -> int:
    """Return the highest version that we know to be signed, registered, or skipped in a recovery."""
    return max(channel.signed, channel.seen, channel.version, channel.chain.version, channel.leap - 1)


def judge(
    channel: Channel,
    operations: tuple[Operation, ...],
    state: State,
    book: Book,
    *,
    proposer: Party,
    now: int,
    view: Marks | None,
) -> None:
    """Raise the first rule that this proposal breaks, if any.

    `view` is the owner's own marks for the book, or for the one that a CloseOut closes; None refuses the peer's marks.
    Our own are not judged by it.
    """
    _check_version(channel, state.version, proposer)
    kinds = {type(op) for op in operations}
    exclusive = [op for op in operations if isinstance(op, EXCLUSIVE)]
    if len(exclusive) > 1 and not all(isinstance(op, Trade) for op in exclusive):
        # Several trades are one option, agreed as a whole or not at all; of anything else there is one.
        raise OutstandingProposal(state.version)
    if not kinds.isdisjoint((Trade, Withdraw, CloseOut)):
        _check_superseded(channel)
    if proposer is channel.me and exclusive:
        check_exclusive(channel)
    for operation in operations:
        _check_phase(channel, operation)
        match operation:
            case Trade(legs=legs):
                for leg in legs:
                    _check_expiry(channel, leg.expiry, now)
            case Acknowledge():
                _check_confirmed(channel, operation)
            case SettleExpiry():
                _check_settlement(channel, operation)
            case Close() | Reopen():
                _check_intent(channel, operation, now)
                if isinstance(operation, Close) and proposer is not channel.me:
                    _check_payout(channel, state)
    closed = closing(channel, operations, proposer) if CloseOut in kinds else None
    if closed is not None:
        _check_close_out(channel, operations, closed, proposer, now)
    if not kinds.isdisjoint((Trade, Mark)):
        # Only the last marks move money: those that an operation brought and the next one replaced bind nobody.
        _check_marks(channel, closed[1].marks if closed else book.marks, proposer, now, view)
        # A book that cannot be priced could be neither monitored here nor called on-chain: OutOfBounds refuses it.
        check_forwards(book)
    if not kinds.isdisjoint((Trade, Withdraw)):
        _check_margin(channel, state, book, withdraws=Withdraw in kinds, by=proposer)
    if proposer is not channel.me:
        _check_called(channel, state, book, proposer)


def judge_marks(channel: Channel, claimed: Claimed, *, now: int, view: Marks | None) -> None:
    """`judge` for a peer's proposal of marks alone: the same rules in the same order, and its state is not made."""
    _judge_marks(channel, claimed.version, claimed.book, claimed.party, now, view)
    if is_called(channel, claimed.party):
        _check_called(channel, claimed.state, claimed.book, claimed.party)


def judge_own_marks(channel: Channel, version: int, book: Book, *, now: int) -> None:
    """`judge` for a proposal of ours of marks alone."""
    _judge_marks(channel, version, book, channel.me, now, None)


def _judge_marks(channel: Channel, version: int, book: Book, proposer: Party, now: int, view: Marks | None) -> None:
    _check_version(channel, version, proposer)
    _check_phase(channel, _A_MARK)
    _check_marks(channel, book.marks, proposer, now, view)
    check_forwards(book)


def closing(channel: Channel, operations: tuple[Operation, ...], proposer: Party) -> tuple[State, Book] | None:
    """Return the state and book that the CloseOut in a proposal closes: what precedes it is done. None without one."""
    for at, operation in enumerate(operations):
        if isinstance(operation, CloseOut):
            return apply(
                channel.id,
                *channel.tip,
                operations[:at],
                proposer=proposer,
                version=next_version(channel),
                salt=ZERO32,
                decimals=channel.terms.decimals,
                policy=channel.policy,
            )
    return None


def reports(channel: Channel, state: State | None, book: Book) -> tuple[MarginReport, MarginReport]:
    """Return both parties' margin reports for a state and its book, at the book's marks.

    A half-signed withdrawal of ours that is not superseded counts as gone: the peer may complete it any time.
    """
    return margins(book, _cash(channel, state), channel.terms.decimals, channel.policy, channel.margin_engine)


def verdicts(channel: Channel, state: State | None, book: Book) -> tuple[Standing, Standing]:
    """Return what both parties' `reports` decide, which an engine may know without their figures."""
    return standings(book, _cash(channel, state), channel.terms.decimals, channel.policy, channel.margin_engine)


def _cash(channel: Channel, state: State | None) -> tuple[int, int]:
    cash = list(state.balances if state else (0, 0))
    cash[channel.me] -= channel.withdrawal_at_risk(state)
    return cash[0], cash[1]


def _check_version(channel: Channel, version: int, proposer: Party) -> None:
    if (bar := channel.bar) is not None:
        raise SigningBarred(bar.version, bar.valid_until)
    if channel.unanswered and isinstance(last := channel.unanswered[-1].half, HalfSigned) and last.state.valid_until:
        # We sign this close or reopen next: what stands on it must not depend on which of them were read together.
        raise SigningBarred(last.version, last.state.valid_until)
    floor = max(channel.version, channel.chain.version, channel.signed, channel.tip_version, channel.leap - 1)
    if version <= floor:
        raise StaleVersion(version, floor)
    if version > floor + MAX_SKIP:
        raise VersionSkipTooLarge(version, floor)


def has_room(channel: Channel, window: int, operations: int) -> bool:
    """Return whether a proposal with so many operations may join what is in flight."""
    waiting = channel.in_flight
    if len(waiting) >= window:
        return False
    newest = channel.outstanding[-len(waiting) :] if waiting else ()
    if waiting and newest[0].version != waiting[0]:
        # Not the newest ones, as they nearly always are: between them stands what the peer has refused.
        newest = tuple([out for out in channel.outstanding if out.version in waiting])
    return sum([len(out.operations) for out in newest]) + operations <= MAX_WINDOW_OPERATIONS


def check_exclusive(channel: Channel) -> None:
    """Raise OutstandingProposal while a half-signed exclusive operation of ours is not superseded."""
    for out in channel.outstanding:
        if any(isinstance(op, EXCLUSIVE) for op in out.operations) and out.version > channel.version:
            expired_close = out.half.state.valid_until and out.half.state.valid_until < channel.chain.time
            if not expired_close:
                raise OutstandingProposal(out.version)


def check_options(channel: Channel) -> None:
    """Raise OutstandingProposal where a fact has to be agreed before the next option is written."""
    _check_superseded(channel)
    check_exclusive(channel)


def _check_superseded(channel: Channel) -> None:
    """After a recovery a fact is agreed first: it supersedes whatever was lost, which an option would only add to."""
    if channel.leap > channel.agreed_version:
        raise OutstandingProposal(channel.leap)


def _check_phase(channel: Channel, operation: Operation) -> None:
    """In a dispute only a CLOSE or a REOPEN may be agreed; a REOPEN nowhere else."""
    disputed = channel.chain.deadline and channel.phase in (Phase.DISPUTED, Phase.SETTLING)
    if disputed and not isinstance(operation, Close | Reopen):
        raise UnexpectedMessage(type(operation).__name__, channel.phase.value)
    if isinstance(operation, Reopen) and not disputed:
        raise IntentInvalid("there is no confirmed dispute to end")


def _check_expiry(channel: Channel, expiry: int, now: int) -> None:
    terms = channel.terms
    limit = terms.last_resort - 2 * terms.grace - 2 * terms.challenge_period - terms.cure_period
    if not now < expiry <= limit:
        raise QuoteExpired(expiry, limit if expiry > now else now)


def _check_marks(channel: Channel, marks: Marks, proposer: Party, now: int, view: Marks | None) -> None:
    if not marks.rows.keys:
        return
    policy = channel.mark_policy
    if abs(marks.time - now) > policy.seconds:
        raise MarkRefused("time", f"{marks.time}", f"within {policy.seconds} s of {now}")
    if proposer is channel.me:
        return
    if view is None:
        raise MarkRefused("every price", "no own view of the market", "only with one: give the node a market")
    near, apart = policy.spot, policy.vol
    if _is_near(marks, view, near, apart):
        return
    for ours, theirs in zip(view.spots, marks.spots, strict=True):
        if _is_far(theirs.spot, ours.spot, near):
            raise _far(f"spot {theirs.underlying}", theirs.spot, ours.spot, near)
    for here, there in zip(view.expiries, marks.expiries, strict=True):
        if _is_far(there.ratio, here.ratio, near):
            raise _far(f"forward {there.underlying} {there.expiry}", there.ratio, here.ratio, near)
        if _is_far(there.discount, here.discount, near):
            raise _far(f"discount {there.underlying} {there.expiry}", there.discount, here.discount, near)
    for own, vol in zip(view.vols, marks.vols, strict=True):
        if abs(vol.vol - own.vol) > apart:
            raise MarkRefused(
                f"volatility {vol.key}", show(vol.vol, 18), f"within {show(apart, 18)} of {show(own.vol, 18)}"
            )


def _is_near(marks: Marks, view: Marks, near: int, apart: int) -> bool:
    """Whether no number of the marks is too far from the owner's: what the rows tell one by one, from their columns."""
    relative = len(marks.rows.names) + 2 * len(marks.rows.pairs)
    apart_by = [*map(abs, map(sub, marks.levels, view.levels))]
    # |theirs - ours| · WAD > near · ours, in whole numbers.
    limits = [near * ours // WAD for ours in view.levels[:relative]]
    return max(apart_by[relative:]) <= apart and not any(map(gt, apart_by, limits))


def _is_far(theirs: int, ours: int, tolerance: int) -> bool:
    return abs(theirs - ours) * WAD > tolerance * ours


def _far(what: str, theirs: int, ours: int, tolerance: int) -> MarkRefused:
    return MarkRefused(what, show(theirs, 18), f"within {show(tolerance * 100, 18)} % of {show(ours, 18)}")


def _check_confirmed(channel: Channel, seen: Acknowledge) -> None:
    for party in Party:
        if seen.deposits[party] > channel.chain.deposits[party]:
            raise UnconfirmedDeposit(party, seen.deposits[party], channel.chain.deposits[party])
        if seen.payments[party] > channel.chain.paid[party]:
            raise UnconfirmedDeposit(party, seen.payments[party], channel.chain.paid[party])


def _check_settlement(channel: Channel, settle: SettleExpiry) -> None:
    price = channel.chain.settlement(settle.underlying, settle.expiry)
    if price is None:
        raise SettlementInvalid(f"{settle.underlying} {settle.expiry} has no confirmed settlement price here yet")
    if price != settle.price:
        raise SettlementInvalid(f"{settle.underlying} {settle.expiry} settled at {price}, not {settle.price}")


def _check_intent(channel: Channel, operation: Close | Reopen, now: int) -> None:
    if not now < operation.valid_until <= now + MAX_VALIDITY:
        raise IntentInvalid(f"valid until {operation.valid_until}, allowed {now + 1} to {now + MAX_VALIDITY}")
    if isinstance(operation, Reopen) and is_called(channel, channel.me.other):
        raise IntentInvalid("a margin call on the peer stands, and a REOPEN would end it")
    if channel.tip_version != channel.base_version:
        raise IntentInvalid("a close or reopen stands on the agreed state: what is in flight is agreed first")
    if isinstance(operation, Reopen) and operation.payments != channel.chain.paid:
        raise IntentInvalid(f"it folds in payments {operation.payments}, confirmed are {channel.chain.paid}")


def _check_payout(channel: Channel, close: State) -> None:
    """A peer's CLOSE pays us our equity at the agreed marks, or it is not signed without our owner proposing it."""
    state, book = channel.base
    equity = (state.balances[channel.me] if state else 0) + reports(channel, state, book)[channel.me].value
    if close.balances[channel.me] < equity:
        paid = close.balances[channel.me]
        raise IntentInvalid(f"it would pay us {paid} token units, our equity at the agreed marks is {equity}")


def _check_called(channel: Channel, state: State, book: Book, party: Party) -> None:
    """A newer state disarms a margin call, so a called peer gets one only where it answers the call."""
    if is_called(channel, party) and not verdicts(channel, state, book)[party].covers_maintenance:
        raise CalledForMargin(party, channel.chain.calls[party].deadline)


def _check_close_out(
    channel: Channel, operations: tuple[Operation, ...], closed: tuple[State, Book], proposer: Party, now: int
) -> None:
    """What is closed is alive, all collateral counts, and nobody is closed out at its own expense without cause."""
    state, book = closed
    last = operations[-1]
    if not isinstance(last, CloseOut):
        raise CloseOutInvalid("nothing can follow it in one proposal")
    for leg in book.legs:
        if leg.expiry <= now:
            raise CloseOutInvalid(f"{leg} has expired: settle it first")
    chain = channel.chain
    known = zip(chain.deposits + chain.paid, state.deposits + state.withdrawals, strict=True)
    if any(confirmed > agreed for confirmed, agreed in known):
        raise CloseOutInvalid("deposits or payments confirmed on-chain are not in the state: acknowledge them first")
    if last.party is not proposer:
        facts = (book, state.balances, channel.terms.decimals, channel.policy, channel.margin_engine)
        if standings(*facts)[last.party].covers_maintenance:
            raise CloseOutInvalid(f"party {int(last.party)} is not below maintenance: who leaves early pays the charge")


def _check_margin(channel: Channel, state: State, book: Book, *, withdraws: bool, by: Party) -> None:
    if withdraws and state.collateral < 0:
        raise WithdrawalInvalid("it exceeds the collateral in the channel")
    held, asked = verdicts(channel, *channel.tip), verdicts(channel, state, book)
    if all(was.covers_maintenance for was in held) and all(is_.covers_initial for is_ in asked):
        return  # neither rule below applies to it, and no figure is needed to know
    before = reports(channel, *channel.tip)
    after = reports(channel, state, book)
    for party in Party:
        was, is_ = before[party], after[party]
        worse = is_.initial_margin - is_.equity > was.initial_margin - was.equity
        idle = withdraws and party is not by
        if was.is_breach and not idle and (withdraws or is_.initial_margin >= was.initial_margin):
            raise ReduceOnly(party, was.equity, was.maintenance_margin, was.initial_margin, is_.initial_margin)
        if is_.equity < is_.initial_margin and (worse or (withdraws and party is by)):
            raise MarginShortfall(
                party, is_.equity, is_.initial_margin, is_.initial_margin - is_.equity, channel.terms.decimals
            )
