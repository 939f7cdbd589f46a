"""What the chain confirmed: it asks nobody's leave, and saying it twice changes nothing."""

from __future__ import annotations

from dataclasses import replace

from . import events as e, notices as n, records as r
from .channel import Channel, changed
from .collateral import judge_held
from .commands import Notify
from .facts import CalledSeen, CuredSeen, DepositSeen, LiquidatedSeen, ReleasedSeen
from .outcome import Outcome, Step, freeze
from .phases import Phase


def block_confirmed(channel: Channel, event: e.BlockConfirmed) -> Step:
    if event.time <= channel.chain.time:
        return Step(channel)
    after = changed(channel, chain=replace(channel.chain, time=event.time))
    if channel.phase is Phase.DISPUTED and after.phase is Phase.SETTLING:
        return Step(after, (Notify(n.Settling(after.chain.version)),))
    return Step(after)


def amount_confirmed(channel: Channel, event: e.DepositConfirmed | e.PaymentConfirmed) -> Step:
    fact = event.fact
    known = channel.chain.deposits if isinstance(fact, DepositSeen) else channel.chain.paid
    if fact.total <= known[fact.party]:
        return Step(channel)
    outcome = Outcome(channel)
    outcome.persist(r.ChainSaid(fact))
    kind = n.Deposited if isinstance(fact, DepositSeen) else n.PaidOut
    outcome.notify(kind(fact.party, fact.total))
    return outcome.done()


def settlement_confirmed(channel: Channel, event: e.SettlementConfirmed) -> Step:
    fact = event.fact
    if channel.chain.settlement(fact.underlying, fact.expiry) is not None:
        return Step(channel)
    outcome = Outcome(channel)
    outcome.persist(r.ChainSaid(fact))
    outcome.notify(n.SettlementFixed(fact.underlying, fact.expiry, fact.price))
    return outcome.done()


def book_found(channel: Channel, event: e.BookFound) -> Step:
    registered = channel.chain.registered
    known = any(state == registered for state, _ in channel.known())
    if known or registered is None or registered.book != event.book.hash:
        return Step(channel)
    outcome = Outcome(channel)
    outcome.persist(r.BookRecalled(event.book))
    return outcome.done()


def close_confirmed(channel: Channel, event: e.CloseConfirmed) -> Step:
    if channel.chain.payouts is not None:
        return Step(channel)
    outcome = Outcome(channel)
    outcome.persist(r.ChainSaid(event.fact))
    outcome.notify(n.ChannelClosed(event.fact.payouts))
    return outcome.done()


def registration_confirmed(channel: Channel, event: e.RegistrationConfirmed) -> Step:
    fact, chain = event.fact, channel.chain
    # A version registers once, and its dispute starts once: anything else is old news, read again after a crash.
    if fact.version < chain.version or (fact.version == chain.version and fact.deadline <= chain.deadline):
        return Step(channel)
    outcome = Outcome(channel)
    unknown = fact.state is not None and all(state != fact.state for state, _ in channel.known())
    lost = unknown and fact.version > channel.version
    if lost and fact.version >= channel.leap:
        freeze(outcome, fact.version)
    outcome.persist(r.ChainSaid(fact))
    if lost and fact.version < channel.leap:
        outcome.notify(n.LostStateShown(fact.version))
    if fact.deadline:
        outcome.notify(n.Challenged(fact.version, outcome.channel.agreed_version, fact.deadline))
        if outcome.channel.phase is Phase.SETTLING and channel.phase is not Phase.SETTLING:
            outcome.notify(n.Settling(fact.version))
    elif chain.deadline:
        outcome.notify(n.DisputeEnded(fact.version))
    else:
        outcome.notify(n.Registered(fact.version))
    return judge_held(outcome.done())


def margin_confirmed(channel: Channel, event: e.MarginConfirmed) -> Step:
    fact = event.fact
    if fact.place <= channel.chain.margin_place:
        return Step(channel)
    outcome = Outcome(channel)
    outcome.persist(r.ChainSaid(fact))
    match fact:
        case CalledSeen(party, deadline):
            outcome.notify(n.MarginCalled(party, deadline, channel.chain.version))
        case CuredSeen(party):
            outcome.notify(n.MarginCallCured(party))
        case LiquidatedSeen(party, value0, charge):
            outcome.notify(n.Liquidated(party, value0, charge))
        case ReleasedSeen(party, amount):
            outcome.notify(n.Released(party, amount))
    return outcome.done()
