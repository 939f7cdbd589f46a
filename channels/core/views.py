"""What follows from a channel's state without changing it: what to do on-chain, what to propose, what it waits for.

Duties are computed from what is, not remembered from what happened: a node that crashed, or missed a block, or sent a
transaction that was never mined, finds the same duty again at the next look.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..model import EMPTY_BOOK, Acknowledge, Agreed, Book, Intent, Operation, Party, SettleExpiry, State
from .channel import Channel
from .margin_calls import CallTimes, call_times
from .monitor import agreed_margins, agreed_standings
from .phases import Phase


@dataclass(frozen=True, slots=True)
class Answer:
    """Register this newer agreed state before the dispute's deadline."""

    agreed: Agreed
    deadline: int


@dataclass(frozen=True, slots=True)
class SubmitClose:
    """Bring the agreed CLOSE on-chain before it expires."""

    agreed: Agreed


@dataclass(frozen=True, slots=True)
class SubmitReopen:
    """Bring the agreed REOPEN on-chain before it expires."""

    agreed: Agreed


@dataclass(frozen=True, slots=True)
class CollectWithdrawal:
    """Register the agreed state that authorises a withdrawal of ours which is not paid yet."""

    agreed: Agreed


@dataclass(frozen=True, slots=True)
class FixPrice:
    """Learn an expired leg's settlement price from the source, or pin it. `book` is that of the registered `state`."""

    state: State | None
    book: Book
    underlying: str
    expiry: int


@dataclass(frozen=True, slots=True)
class Settle:
    """Every leg of the final state has expired and has its price: pay out. `state` None: only deposits go back."""

    state: State | None
    book: Book


Duty = Answer | SubmitClose | SubmitReopen | CollectWithdrawal | FixPrice | Settle


def duties(channel: Channel) -> tuple[Duty, ...]:
    """Return what should be done on-chain now, by the time of the latest confirmed block."""
    chain, phase = channel.chain, channel.phase
    if phase is Phase.CLOSED:
        return ()
    agreed, ending = channel.agreed, _ending_duty(channel)
    if phase is Phase.SETTLING:
        # What both agreed to end with goes before what the last state would pay.
        return (ending,) if ending else _settling_duties(channel)
    found: list[Duty] = [ending] if ending else []
    if phase is Phase.DISPUTED:
        # The answer does not wait for the ending to be mined: that may fail, and the deadline stands.
        if agreed and agreed.version > chain.version:
            found.append(Answer(agreed, chain.deadline))
        return tuple(found)
    found += _missing_prices(channel, *channel.base)
    me = channel.me
    if agreed and agreed.version > chain.version and agreed.state.withdrawals[me] > chain.paid[me]:
        found.append(CollectWithdrawal(agreed))
    return tuple(found)


def _ending_duty(channel: Channel) -> SubmitClose | SubmitReopen | None:
    closing = channel.closing
    if closing is None or channel.chain.time > closing.state.valid_until:
        return None
    if closing.state.intent is Intent.CLOSE:
        return SubmitClose(closing)
    return SubmitReopen(closing) if channel.chain.deadline else None


def _settling_duties(channel: Channel) -> tuple[Duty, ...]:
    final = final_state(channel)
    if final is None:
        return ()
    state, book = final
    missing = _missing_prices(channel, state, book)
    if missing:
        return missing
    return (Settle(state, book),) if book.last_expiry <= channel.chain.time else ()


def missing_book(channel: Channel) -> State | None:
    """Return the registered state if its book is not known here: the journal may still hold it."""
    registered = channel.chain.registered
    if registered is None or any(state == registered for state, _ in channel.known()):
        return None
    return registered


def final_state(channel: Channel) -> tuple[State | None, Book] | None:
    """Return the registered state with its book, or None if its book is not known here."""
    registered = channel.chain.registered
    if registered is None:
        return None, EMPTY_BOOK
    return next(((state, book) for state, book in channel.known() if state == registered), None)


def _missing_prices(channel: Channel, state: State | None, book: Book) -> tuple[FixPrice, ...]:
    due = dict.fromkeys(leg.key[:2] for leg in book.legs if leg.expiry <= channel.chain.time)
    return tuple(
        FixPrice(state, book, underlying, expiry)
        for underlying, expiry in due
        if channel.chain.settlement(underlying, expiry) is None
    )


def housekeeping(channel: Channel) -> tuple[Operation, ...]:
    """Return the facts that the turn holder should get agreed: confirmed deposits and payments, settled expiries."""
    if channel.phase not in (Phase.OPEN, Phase.PROPOSED) or channel.bar is not None or channel.is_frozen:
        return ()
    state, book = channel.tip
    deposits = state.deposits if state else (0, 0)
    withdrawals = state.withdrawals if state else (0, 0)
    chain = channel.chain
    operations: list[Operation] = []
    unknown_payment = any(paid > known for paid, known in zip(chain.paid, withdrawals, strict=True))
    if unknown_payment or any(new > old for new, old in zip(chain.deposits, deposits, strict=True)):
        confirmed = tuple(max(new, old) for new, old in zip(chain.deposits, deposits, strict=True))
        operations.append(Acknowledge((confirmed[0], confirmed[1]), chain.paid))
    for underlying, expiry in dict.fromkeys(leg.key[:2] for leg in book.legs):
        price = chain.settlement(underlying, expiry)
        if price is not None:
            operations.append(SettleExpiry(underlying, expiry, price))
    if not operations and channel.leap > channel.tip_version:
        # After a recovery any fact supersedes what was lost: this one says what both know already.
        operations.append(Acknowledge(deposits, withdrawals))
    return tuple(operations)


def margin_call_times(channel: Channel, party: Party) -> CallTimes | None:
    """Return what the clock of a party's margin call says at the latest confirmed block's time.

    None where the book of the registered state is not known here, since an armed call's window depends on it.
    `new_deadline` is what a call made now would get: on the registered state unless one stands, or on a newer one.
    """
    final = final_state(channel)
    return call_times(channel.chain.calls[party], channel.terms, final[1], channel.chain.time) if final else None


def is_called(channel: Channel, party: Party) -> bool:
    """Return whether a confirmed margin call of the party is armed and has not lapsed."""
    if not channel.chain.calls[party].is_armed:
        return False
    times = margin_call_times(channel, party)
    return times is not None and times.stands


def is_below_maintenance(channel: Channel, party: Party) -> bool:
    """Return whether a party's equity is below its maintenance margin in the agreed state, at its marks."""
    return not agreed_standings(channel)[party].covers_maintenance


def collateral_due(channel: Channel) -> int:
    """Return what the peer should be called for now, token units; 0 where it lacks nothing or was called already.

    The amount is that of the agreed state by the policy's CSA terms. A top-up that is confirmed and not agreed yet is
    agreed first; in a dispute, and once a close is signed, the contract's margin call is what counts.
    """
    state, _ = channel.base
    peer = channel.me.other
    trading = channel.phase in (Phase.OPEN, Phase.PROPOSED) and channel.bar is None
    if state is None or not trading or channel.called == state.version:
        return 0
    topped_up = channel.chain.deposits[peer] > state.deposits[peer]
    if topped_up or agreed_standings(channel)[peer].covers_initial:
        return 0
    return agreed_margins(channel)[peer].collateral_call


def waiting_for(channel: Channel) -> str:
    """Return in one sentence what the channel waits for, for logs and for people."""
    chain = channel.chain
    match channel.phase:
        case Phase.CLOSED:
            return "nothing: the channel is closed and paid"
        case Phase.OPENING:
            return "the peer to accept the terms"
        case Phase.PROPOSED:
            first, last = channel.in_flight[0], channel.in_flight[-1]
            return f"the peer's answer to version {first}" + (f", and up to {last}" if last > first else "")
        case Phase.DISPUTED:
            return f"the dispute's deadline, in {chain.deadline - chain.time} s"
        case Phase.SETTLING:
            final = final_state(channel)
            if final is None:
                return "the book of the registered state, which this store does not hold"
            left = final[1].last_expiry - chain.time
            return f"the last expiry, in {left} s" if left > 0 else "settlement prices, then anyone settles"
    if channel.is_frozen:
        who = "the peer's owner" if channel.recovery else "our owner"
        return f"{who} to agree to a recovery: this journal has lost data, or may have"
    if channel.bar:
        return f"version {channel.bar.version} to be mined, or to expire at {channel.bar.valid_until}"
    return "an operation by " + ("us: we hold the turn" if channel.my_turn else "the peer, who holds the turn")
