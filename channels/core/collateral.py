"""Collateral calls: one side asks, the other checks and tells its owner. Nothing is signed, nobody is bound.

At most one call leaves for each agreed version, and at most one is judged: the amount is what is lacking in all, not
an addition, so the call at a newer version replaces the older one, and what crossed with it is nothing to argue about.

A REOPEN comes to operate by the chain's word, which each side hears in its own time. A call at one that only the caller
has heard of is right on its side: it is held and judged once the called side has heard of it, too. Until then its owner
is told nothing, neither of a call nor of a wrong one: at that version no money is due yet, and perhaps never will be.
"""

from __future__ import annotations

from ..errors import CollateralCallInvalid, StaleVersion
from ..model import Intent
from ..wire import messages as m
from . import events as e, notices as n, records as r
from .channel import Channel, changed
from .commands import Notify, Send
from .monitor import check_collateral_call
from .outcome import Outcome, Step
from .phases import Phase
from .views import collateral_due


def collateral_wanted(channel: Channel, event: e.CollateralWanted) -> Step:
    amount, version = collateral_due(channel), channel.base_version
    if not amount:
        return Step(channel)
    call = m.CollateralCall(channel.id, version, amount)
    told = n.CollateralCalled(channel.me.other, amount, version)
    return Step(changed(channel, called=version), (Send(call), Notify(told)))


def collateral_call_seen(channel: Channel, event: e.CollateralCallSeen) -> Step:
    if channel.phase is Phase.CLOSED:
        return Step(channel)
    if _is_early(channel, event.version):
        # The first one counts, as where it is judged at once: a second one amends nothing.
        if channel.call_held[0] == event.version:
            return Step(channel)
        return Step(changed(channel, call_held=(event.version, event.amount)))
    version = channel.base_version
    if channel.call_judged == version:
        return Step(channel)
    try:
        check_collateral_call(channel, event.version, event.amount)
    except StaleVersion:
        return Step(channel)
    except CollateralCallInvalid as refused:
        told: n.Notice = n.CollateralCallRefused(event.amount, event.version, refused.code, str(refused))
    else:
        told = n.CollateralCalled(channel.me, event.amount, version)
    return Step(changed(channel, call_judged=version), (Notify(told),))


def _is_early(channel: Channel, version: int) -> bool:
    """Whether the version is a REOPEN that both signed, which may have been registered without our having heard of it.

    Not one that has expired unregistered: what the chain says of a block is heard before its time.
    """
    closing = channel.closing
    if closing is None or closing.version != version or closing.state.intent is not Intent.REOPEN:
        return False
    return channel.chain.time <= closing.state.valid_until


def judge_held(step: Step) -> Step:
    """Judge a held call as if it came now, where this step made its REOPEN operate here; else it waits on."""
    version, amount = step.channel.call_held
    if not version or step.channel.base_version != version:
        return step
    judged = collateral_call_seen(step.channel, e.CollateralCallSeen(version, amount))
    return Step(judged.channel, (*step.commands, *judged.commands))


def top_up_wanted(channel: Channel, event: e.TopUpWanted) -> Step:
    """Money leaves after this is durable: what a crash leaves undone is known to be, and never done twice."""
    outcome = Outcome(channel)
    outcome.persist(r.TopUpDecided(event.amount, event.total))
    outcome.notify(n.ToppingUp(event.amount, event.deadline))
    return outcome.done()
