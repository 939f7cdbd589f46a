"""Collateral calls: one side asks, the other checks and tells its owner. Nothing is signed, nobody is bound.

At most one call leaves for each agreed version, and at most one is judged: the amount is what is lacking in all, not
an addition, so the call at a newer version replaces the older one, and what crossed with it is nothing to argue about.
"""

from __future__ import annotations

from ..errors import CollateralCallInvalid, StaleVersion
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
    version = channel.base_version
    if channel.phase is Phase.CLOSED or channel.call_judged == version:
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


def top_up_wanted(channel: Channel, event: e.TopUpWanted) -> Step:
    """Money leaves after this is durable: what a crash leaves undone is known to be, and never done twice."""
    outcome = Outcome(channel)
    outcome.persist(r.TopUpDecided(event.amount, event.total))
    outcome.notify(n.ToppingUp(event.amount, event.deadline))
    return outcome.done()
