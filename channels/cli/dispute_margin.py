"""What the dispute's screen says of margin calls: by when, and what each side can do about it.

A call against us comes with everything that ends it, the cheapest first; one against the peer with when it can be
executed. Times in UTC and on this machine, because the deadline of a call is usually the nearest of all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from ..runtime.dispute_calls import PendingCall
from ..runtime.dispute_steps import Evidence, Orders, Outlook
from .dispute_times import local, span, utc

AGAINST_US, AGAINST_PEER = "! CALLED", "PEER CALLED"


def call_lines(
    evidence: Evidence, outlook: Outlook, orders: Orders, newer: int, money: Callable[[int], str]
) -> Iterator[tuple[str, str]]:
    """Yield a label and a sentence for each thing to know; a label is empty where the line belongs to the one above.

    `newer`: the version that we can still show in place of the registered one, 0 for none.
    """
    for call in outlook.calls:
        if call.party is evidence.me:
            yield from _against_us(call, outlook, orders, newer, money)
        else:
            yield from _against_peer(call, outlook, orders, money)


def _against_us(
    call: PendingCall, outlook: Outlook, orders: Orders, newer: int, money: Callable[[int], str]
) -> Iterator[tuple[str, str]]:
    if not call.stands:
        yield AGAINST_US, "a margin call against you has lapsed: nobody can be closed out on it any more"
        return
    left = call.deadline - outlook.now
    if left > 0:
        when = f"{utc(call.deadline)}, in {span(left)}"
        yield AGAINST_US, f"FOR MARGIN, until {when}. From then on the peer may close you out"
        yield "", f"{local(call.deadline)} in your time zone"
    else:
        until = f" until {utc(call.times.until)}" if call.times else ""
        yield AGAINST_US, f"FOR MARGIN, and the deadline has passed: the peer may close you out{until}"
    if newer:
        yield "CURE", f"version {newer} ends the call: it is newer than the called one"
    elif call.lacking is None:
        yield "CURE", f"what is lacking is not known: {call.unknown}"
    elif not call.lacking:
        yield "CURE", "you hold your initial margin at this moment's spot: curing costs only gas"
    else:
        need = f"you lack {money(call.lacking)} of initial margin at this moment's spot"
        if call.lacking <= orders.top_up:
            yield "CURE", f"{need}: {money(min(call.top_up, orders.top_up))} will be deposited"
        else:
            yield (
                "CURE",
                f"{need}. To deposit it, give --top-up {money(call.top_up).partition(' ')[0].replace(',', '')}",
            )


def _against_peer(
    call: PendingCall, outlook: Outlook, orders: Orders, money: Callable[[int], str]
) -> Iterator[tuple[str, str]]:
    if not call.stands:
        yield AGAINST_PEER, "the margin call has lapsed: to close the peer out it needs a new one"
        return
    flag = "" if orders.liquidate else " (give --liquidate to do it)"
    if call.times is None:
        yield AGAINST_PEER, f"for margin until {utc(call.deadline)}; {call.unknown}"
        return
    window = f"from {utc(call.deadline)} until {utc(call.times.until)}"
    if outlook.now < call.deadline:
        yield AGAINST_PEER, f"for margin: you may close it out {window}{flag}"
    else:
        yield AGAINST_PEER, f"for margin, not cured: you may close it out until {utc(call.times.until)}{flag}"
    if call.report is None:
        yield "", f"its margin is not known: {call.unknown}"
    elif call.report.is_breach:
        yield "", f"now it is {money(call.report.maintenance_margin - call.report.equity)} below maintenance"
    else:
        yield "", "now it is not below maintenance: as long as that is so, it cannot be closed out"
