"""A node's eye on margin as the contract would find it: looks at each new block, and says what is to be done.

What follows from a look is `core.margin_duties`; here are the reads, the owner's patience with a peer, what was told.
Nothing is kept that a restart would miss: calls and deadlines are the chain's, top-ups the journal's, and a peer's
time starts anew.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import trio

from ..chain.port import Block, Chain, ChannelPhase, OnChain
from ..core import margin_duties as d, notices as n
from ..core.channel import Channel
from ..core.commands import Notify
from ..core.phases import Phase
from ..core.views import FixPrice
from ..model import ZERO_ADDRESS, ChannelId, Party, Terms
from ..session import Seat
from .log import log

if TYPE_CHECKING:
    from .node import Node
    from .peer import Link

Duty = d.CallMargin | d.Disarm | d.Cure | d.TopUp | d.Liquidate | FixPrice


def _known(channel: Channel) -> object:
    """Return what a look and a view depend on, beside the chain."""
    return channel.agreed, channel.closing, channel.chain.registered, channel.recalled, channel.top_up, channel.frozen


def margin_look(chain: Chain, channel: Channel, head: Block) -> d.MarginLook | None:
    """Read what the contract would go by at the newest block; None once it is closed. Blocking; raises ChainError.

    Everything is asked for every known book: which of them is registered is part of the answer.
    """
    terms, status = channel.terms, chain.status(channel.id)
    if status.phase is ChannelPhase.CLOSED:
        return None
    books = [book for _, book in channel.known()]
    names = dict.fromkeys(mark.underlying for book in books for mark in book.marks.spots)
    due = dict.fromkeys(leg.key[:2] for book in books for leg in book.legs if leg.expiry <= head.time)
    spots = [(name, chain.spot(terms.source, name).fresh(head.time, terms.spot_max_age)) for name in names]
    prices = [(key, chain.effective_settlement(terms, *key)) for key in due]
    return d.MarginLook(
        head.time,
        status.version,
        status.deadline,
        status.cure_deadlines,
        status.deposits,
        status.paid,
        tuple((name, price) for name, price in spots if price),
        tuple((key, price) for key, price in prices if price),
        _wallet(chain, terms, channel.me, status),
    )


def _wallet(chain: Chain, terms: Terms, me: Party, status: OnChain) -> int:
    """Only a call against us can ask for money."""
    return chain.balance_of(terms.token, chain.account) if status.cure_deadlines[me] else 0


@dataclass
class Watched:
    """What is known of one channel since this node started; times are trio's."""

    place: tuple[int, int] | None = None
    known: object = None
    """The block of the look, and what of the channel it was seen with."""
    look: d.MarginLook | None = None
    view: d.MarginView | None = None
    breach: dict[Party, float] = field(default_factory=dict)
    """Since when the contract would find the party below maintenance."""
    link: Link | None = None
    link_since: float = 0.0
    """Since when the connection is what it is: this one, or none."""
    asked: tuple[str, int] | None = None
    asked_since: float = 0.0
    told: tuple[int, int] = (0, 0)
    """Deadline and amount of the last TopUpNeeded."""
    stale: str = ""
    """Why a call that is due was not made."""
    pursued: bool = False
    """Whether CallingMargin, or Liquidating, was told of the pursuit that is on."""


class MarginKeeper:
    """Watches margin for all channels of a node whose terms name a risk engine."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._watched: dict[ChannelId, Watched] = {}

    def orders(self) -> d.MarginOrders:
        """Return what the owner's config allows."""
        config = self._node.config
        return d.MarginOrders(config.call_margin, config.liquidate, config.top_up_limit, config.top_up_cushion)

    async def watch(self, seat: Seat, head: Block) -> None:
        """Look again if there is a new block, or something new is known; tell the owner what has changed."""
        channel = seat.channel
        if channel.terms.engine == ZERO_ADDRESS or channel.phase in (Phase.OPENING, Phase.CLOSED):
            return
        watched = self._watched.setdefault(channel.id, Watched())
        self._note_conduct(watched, channel)
        place = (head.number, head.time)
        if watched.place != place or watched.known != _known(channel):
            # Without a look nothing is done: the last one is not to be acted on twice.
            watched.look = watched.view = None
            watched.look = await trio.to_thread.run_sync(
                margin_look, self._node.chain, channel, head, abandon_on_cancel=True
            )
            watched.place, watched.known = place, _known(channel)
        # The channel may have moved on while the chain was asked.
        if watched.look is not None and (watched.view is None or watched.known != _known(seat.channel)):
            watched.view = d.margin_view(seat.channel, watched.look, self.orders())
            self._tell(seat, watched, watched.look, watched.view)

    async def look(self, seat: Seat, at_least: int = 0) -> d.MarginLook | None:
        """Look at the newest block now; None once it is closed, and before block `at_least`. Raises ChainError."""
        chain = self._node.chain
        head = await trio.to_thread.run_sync(chain.head)
        return (
            await trio.to_thread.run_sync(margin_look, chain, seat.channel, head) if head.number >= at_least else None
        )

    async def top_up(self, seat: Seat, at_least: int) -> d.TopUp | None:
        """Return the top-up that a new look asks for, if any: none is sent on an old one."""
        look = await self.look(seat, at_least)
        answer = d.margin_view(seat.channel, look, self.orders()).answer if look else None
        return answer if isinstance(answer, d.TopUp) else None

    def duties(self, seat: Seat) -> tuple[Duty, ...]:
        """Return what is to be sent now; proposals stop where the peer is about to be called, and while it is."""
        watched = self._watched.get(seat.channel.id)
        live = self._node.channels.get(seat.channel.id)
        if watched is None or live is None:
            return ()
        if watched.view is None or watched.look is None:
            live.peer_is_called = live.peer_is_called and seat.channel.phase is not Phase.CLOSED
            return ()
        found: list[Duty] = []
        answer, pursuit = watched.view.answer, watched.view.pursuit
        if answer is not None and not isinstance(answer, d.AskForTopUp):
            found.append(answer)
        if pursuit is not None and not isinstance(pursuit, d.CallMargin):
            found.append(pursuit)
        calling = isinstance(pursuit, d.CallMargin) and self._is_due(seat, watched, watched.look, pursuit)
        if isinstance(pursuit, d.CallMargin) and calling:
            found.append(pursuit)
        live.peer_is_called = calling or d.call_stands(seat.channel, watched.look, seat.channel.me.other)
        return tuple(found)

    def tell(self, seat: Seat, notice: n.Notice) -> None:
        """Tell the owner, in the order of everything else."""
        self._node.submit(seat, [Notify(notice)])

    def liquidating(self, seat: Seat, duty: d.Liquidate) -> None:
        """Tell the owner of a liquidation that is about to be sent, once."""
        watched = self._watched[seat.channel.id]
        if not watched.pursued:
            watched.pursued = True
            self.tell(seat, n.Liquidating(duty.state.version))

    # The peer

    def _note_conduct(self, watched: Watched, channel: Channel) -> None:
        now = trio.current_time()
        link = self._node.link_to(channel.terms.signers[channel.me.other])
        if link is not watched.link or not watched.link_since:
            watched.link, watched.link_since = link, now
        asked: tuple[str, int] | None = None
        if channel.in_flight:
            asked = ("version", channel.in_flight[0])
        elif not channel.my_turn and (channel.turn_needed or watched.asked == ("turn", channel.turn)):
            asked = ("turn", channel.turn)
        if asked != watched.asked:
            watched.asked, watched.asked_since = asked, now

    def _is_due(self, seat: Seat, watched: Watched, look: d.MarginLook, call: d.CallMargin) -> bool:
        """Whether the peer has had its time, and what we go by is fresh."""
        now, config = trio.current_time(), self._node.config
        peer = seat.channel.me.other
        since = watched.link_since
        conduct = d.Conduct(
            breach=now - watched.breach.get(peer, now),
            silent=now - max(watched.asked_since, since) if watched.asked and watched.link else 0.0,
            away=now - since if watched.link is None else 0.0,
        )
        reason = d.reason_to_call(conduct, config.margin_patience, config.reply_timeout)
        if reason is None:
            return False
        before, watched.stale = watched.stale, self._stale(seat, look, call)
        if watched.stale:
            if not before:
                log.warning("margin is not called on %s: %s", seat.channel.terms.signers[peer], watched.stale)
            return False
        if not watched.pursued:
            watched.pursued = True
            self.tell(seat, n.CallingMargin(call.state.version, reason, call.equity, call.maintenance_margin))
        return True

    def _stale(self, seat: Seat, look: d.MarginLook, call: d.CallMargin) -> str:
        """Say why we may be the ones who are blind: no market of our own, or an endpoint that hangs behind."""
        now = self._node.now()
        if abs(now - look.now) > seat.channel.terms.spot_max_age:
            return f"the newest block known here is of {look.now}, and it is {now}"
        live = tuple(leg for leg in call.book.legs if leg.expiry > now)
        marks = self._node.market(live, now) if live else None
        if not live:
            return ""
        if marks is None:
            return "our own market has no marks for its book"
        if abs(marks.time - now) > seat.channel.mark_policy.seconds:
            return f"our own marks are of {marks.time}, and it is {now}"
        return ""

    # The owner

    def _tell(self, seat: Seat, watched: Watched, look: d.MarginLook, view: d.MarginView) -> None:
        if view.reports is not None:
            for party, report in zip(Party, view.reports, strict=True):
                if report.is_breach and party not in watched.breach:
                    watched.breach[party] = trio.current_time()
                    amounts = report.equity, report.maintenance_margin, report.initial_margin
                    self.tell(seat, n.SpotBreach(party, *amounts, look.now))
                elif not report.is_breach and party in watched.breach:
                    del watched.breach[party]
                    self.tell(seat, n.SpotBreachOver(party))
        if not isinstance(view.pursuit, d.CallMargin | d.Liquidate):
            watched.pursued = False
        answer = view.answer
        if isinstance(answer, d.AskForTopUp):
            deadline, amount = watched.told
            # Once for each call, and again where a tenth more has come to lack.
            if answer.deadline != deadline or answer.amount * 10 > amount * 11:
                watched.told = answer.deadline, answer.amount
                self.tell(seat, n.TopUpNeeded(answer.amount, answer.deadline))
