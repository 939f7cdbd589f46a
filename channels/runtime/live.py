"""A channel in the owner's hands: its positions and margin, its events, and the operations on it.

Everything here is in the owner's view: a positive quantity is long, a positive premium is paid. The canonical values
that both sides sign (party 0's view) are built here and nowhere else.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import trio

from ..core import events as e, notices as n, rules, views
from ..core.apply import apply
from ..core.channel import Channel
from ..core.exposure import Exposure, exposure
from ..core.margin_duties import releasable
from ..core.notices import Notice
from ..core.phases import Phase
from ..errors import (
    MarginShortfall,
    NotPermitted,
    RuleViolation,
)
from ..model import (
    EMPTY_BOOK,
    NO_MARKS,
    ZERO32,
    ZERO_ADDRESS,
    Agreed,
    Book,
    ChannelId,
    Close,
    CloseOut,
    Leg,
    Mark,
    Marks,
    Operation,
    Party,
    Reopen,
    SettleExpiry,
    Trade,
    Withdraw,
    net,
)
from ..risk import Explanation, MarginReport, explain
from ..session import Seat
from ..units import Human, TokenAmount, token_amount
from .confirmation import Confirmation
from .margin_table import MarginTable
from .proposer import Posted, Proposer

if TYPE_CHECKING:
    from .node import Node

MAX_UNREAD = 4_096
"""Notices kept for an owner who does not read them; older ones are dropped first."""


@dataclass(frozen=True, slots=True)
class WhatIf:
    """What a proposal would do: both parties' margin after it, and the rule it breaks, if any."""

    mine: MarginReport
    theirs: MarginReport
    refusal: RuleViolation | None

    @property
    def shortfall(self) -> TokenAmount:
        """What the party that fails initial margin lacks, token units; 0 where margin would not refuse it."""
        return TokenAmount(self.refusal.shortfall if isinstance(self.refusal, MarginShortfall) else 0)


class LiveChannel:
    """One open channel of a node. Made by `Node`; iterate it for its events: `async for event in channel`."""

    def __init__(self, node: Node, seat: Seat) -> None:
        self._node, self._seat = node, seat
        self._unread: deque[Notice] = deque(maxlen=MAX_UNREAD)
        self._proposer = Proposer(node, seat, self)
        self._changed = trio.Event()
        self.peer_is_called = False
        """Whether the peer is called for margin, or about to be: set by the node's margin keeper."""
        self._told_all = seat.channel.phase is Phase.CLOSED
        """Whether the last notice has been delivered; a channel restored as closed tells nothing more."""

    # What it is

    @property
    def id(self) -> ChannelId:
        return self.state.id

    @property
    def state(self) -> Channel:
        """Everything we know of the channel, as one frozen value."""
        return self._seat.channel

    @property
    def phase(self) -> Phase:
        return self.state.phase

    @property
    def version(self) -> int:
        """The highest version both sides agreed."""
        return self.state.version

    @property
    def positions(self) -> tuple[Leg, ...]:
        """The agreed legs in our view: positive quantities are our longs."""
        return self._mine(self.state.book.legs)

    @property
    def balance(self) -> int:
        """Our agreed cash, token units; may be negative against a live gain."""
        base, _ = self.state.base
        return base.balances[self.state.me] if base else 0

    @property
    def margin(self) -> MarginReport:
        """Our margin at the agreed marks. A half-signed withdrawal of ours counts as gone."""
        return rules.reports(self.state, *self.state.base)[self.state.me]

    @property
    def peer_margin(self) -> MarginReport:
        """The peer's margin at the agreed marks."""
        return rules.reports(self.state, *self.state.base)[self.state.me.other]

    def exposure(self) -> Exposure:
        """Return what our half-signed states could cost us against the agreed one, in the grid's scenarios."""
        return exposure(self.state)

    def explain(self) -> tuple[Explanation, ...]:
        """Return our worst scenario on each underlying at the agreed marks, by Greek: lines that sum to its loss."""
        channel = self.state
        return explain(channel.book, channel.me, channel.terms.decimals, channel.policy)

    async def margin_table(self, *, bands: bool = True) -> MarginTable:
        """Return both parties' margin as a table to print, with terms and when our money is free without the peer.

        The liquidation bands take hundreds of margins, so a worker thread computes them; without `bands` there are
        none. Raises NotPermitted once the channel is closed.
        """
        return await trio.to_thread.run_sync(partial(MarginTable.of, self.state, self._node.now(), bands=bands))

    def waiting_for(self) -> str:
        """Return in one sentence what the channel waits for."""
        return views.waiting_for(self.state)

    @property
    def is_streaming(self) -> bool:
        """Whether callers are about to sign more: proposals are in flight, or wait for their turn or for room."""
        return bool(self.state.in_flight) or self._proposer.is_waited_for

    # What happens

    def __aiter__(self) -> AsyncIterator[Notice]:
        return self._events()

    async def _events(self) -> AsyncIterator[Notice]:
        while True:
            while self._unread:
                yield self._unread.popleft()
            if self._told_all:
                return
            await self._changed.wait()

    async def wait_until_closed(self) -> tuple[int, int]:
        """Return what the adjudicator paid to party 0 and 1, token units, once it has."""
        while self.state.chain.payouts is None:
            await self._changed.wait()
        return self.state.chain.payouts

    def deliver(self, notice: Notice) -> None:
        """Take a notice from the driver: everything it tells of is durable."""
        self._unread.append(notice)
        self._told_all = self._told_all or isinstance(notice, n.ChannelClosed)
        self._proposer.hear(notice)
        self.touch()

    def touch(self) -> None:
        """Wake whoever waits for the channel to change."""
        changed, self._changed = self._changed, trio.Event()
        changed.set()

    async def changed(self) -> None:
        """Return when something about the channel, or about who asks for what in it, has changed."""
        await self._changed.wait()

    # What could happen

    def trade(self, legs: Iterable[Leg], premium: Human = 0, *, marks: Marks | None = None, quote: int = 0) -> Trade:
        """Build a trade from our view: positive quantities are bought by us, a positive premium (in tokens) is paid.

        Marks default to the node's market at this moment; given ones are cut to what the resulting book needs.
        Raises InvalidBook or MarkRefused where marks are missing.
        """
        signed = tuple(sorted(self._mine(legs), key=lambda leg: leg.key))
        paid = token_amount(premium, self.state.terms.decimals, "premium")
        after = net(self.state.book.legs, signed)
        if not after:
            covering = NO_MARKS
        else:
            covering = (marks or self._node.marks(after)).covering(after)
        return Trade(signed, paid if self.state.me is Party.ZERO else -paid, covering, quote)

    def what_if(self, *operations: Operation) -> WhatIf:
        """Return what these operations would do to both margins, without signing anything.

        Raises the RuleViolation of operations that cannot be applied at all.
        """
        channel = self.state
        base, held = channel.tip
        state, book = apply(
            channel.id,
            base,
            held,
            operations,
            proposer=channel.me,
            version=rules.next_version(channel),
            salt=ZERO32,
            decimals=channel.terms.decimals,
            policy=channel.policy,
        )
        reports = rules.reports(channel, state, book)
        refusal: RuleViolation | None = None
        try:
            rules.judge(channel, operations, state, book, proposer=channel.me, now=self._node.now(), view=None)
        except RuleViolation as broken:
            refusal = broken
        return WhatIf(reports[channel.me], reports[channel.me.other], refusal)

    # What should happen

    async def propose(self, *operations: Operation) -> Confirmation:
        """Get operations agreed, all or none of them; return the confirmation of the state that they led to.

        Waits for the turn, and for the peer's answer. What other callers want meanwhile may be agreed with it: then the
        confirmation lists that too, and newer marks have taken the place of older ones. Marks made for another book
        than the operations meet are taken anew from the node's market. Raises the rule it breaks (MarginShortfall names
        what is lacking) before anything is signed, MarginCallStands, ProposalRejected with the peer's reason, or
        PeerUnresponsive: then the proposal stays half-signed and the peer may still complete it. So does one in flight
        when it comes out that our journal lost data: SigningSuspended, and `recover` is the way on.
        """
        return await self._agree(lambda: operations)

    async def _agree(self, build: Callable[[], tuple[Operation, ...]]) -> Confirmation:
        """Get agreed what `build` returns once it is our turn: what follows from the state must follow from the newest.

        While we wait for the turn the peer may trade, and the clock runs on.
        """
        update = await self._proposer.propose(build)
        return self.confirmation(update.agreed, update.operations)

    async def mark(self, marks: Marks | None = None) -> Confirmation:
        """Get new marks agreed: the node's market's, or those given."""
        return await self._agree(lambda: (self._marked(marks, self.state.book),))

    async def post_mark(self, marks: Marks | None = None) -> Posted:
        """Propose new marks in a version of their own and return without the answer: `agreed()` of the result waits.

        For whoever streams prices: where `mark` of many tasks becomes one proposal, each of these is signed by itself,
        and a window of them is in flight. Waits for the turn and for room, so the peer sets the pace. Raises like
        `propose`, and what the answer raises in `agreed()`.
        """
        return await self._proposer.post(lambda: (self._marked(marks, self.state.tip[1]),))

    def _marked(self, marks: Marks | None, book: Book) -> Mark:
        return Mark(book.cut(marks or self._node.marks(book.legs)) if book.legs else NO_MARKS)

    async def withdraw(self, amount: Human) -> Confirmation:
        """Get a withdrawal of ours agreed, in tokens; the node then registers it and the adjudicator pays."""
        return await self.propose(Withdraw(token_amount(amount, self.state.terms.decimals)))

    async def deposit(self, amount: Human) -> int:
        """Deposit tokens for ourselves; return the block it was mined in. It counts once it is confirmed and agreed."""
        units = token_amount(amount, self.state.terms.decimals)
        receipt = await self._node.send(self._node.chain.deposit(self.state.terms, self.state.me, units))
        return receipt.block

    async def close(self, transfer: Human | None = None) -> tuple[int, int]:
        """Close cooperatively and return what party 0 and 1 were paid.

        `transfer` tokens, paid by us, replace all legs; by default their value at the agreed marks, rounded down for
        us. Raises like `propose`.
        """
        given = None if transfer is None else token_amount(transfer, self.state.terms.decimals)

        def closing() -> tuple[Operation, ...]:
            units = -self.margin.value if given is None else given
            party0 = units if self.state.me is Party.ZERO else -units
            return (Close(party0, self._node.now() + self._node.config.close_validity),)

        valid_until = (await self._agree(closing)).agreed.state.valid_until
        while self.state.chain.payouts is None:
            if self.state.chain.time > valid_until:
                raise NotPermitted("close", "expired", "the agreed close was not mined in time: close again")
            await self._changed.wait()
        return self.state.chain.payouts

    async def close_out(self, payer: Party | None = None, *, marks: Marks | None = None) -> Confirmation:
        """Get every position closed at the mark; `payer` (we, by default) pays the other its close-out charge.

        Facts that are due are agreed with it: deposits, payments, settled expiries. Marks default to the node's
        market's at this moment, without a market to the agreed ones. The channel stays open. Raises like `propose`.
        """

        def closing_out() -> tuple[Operation, ...]:
            due = views.housekeeping(self.state)
            settled = {(op.underlying, op.expiry) for op in due if isinstance(op, SettleExpiry)}
            legs = tuple(leg for leg in self.state.book.legs if leg.key[:2] not in settled)
            fresh = (marks or self._node.market(legs, self._node.now())) if legs else None
            mark = (Mark(fresh.covering(legs)),) if fresh else ()
            return *due, *mark, CloseOut(self.state.me if payer is None else payer)

        return await self._agree(closing_out)

    def call_collateral(self) -> int:
        """Ask the peer for the collateral it lacks at the agreed marks; return the amount in token units.

        0 where nothing is due, or it was asked at this version already. A node asks by itself unless its config says
        otherwise. Nothing is signed: `deposit` is what answers a call.
        """
        due = views.collateral_due(self.state)
        if due:
            self._node.act(self._seat, e.CollateralWanted())
        return due

    async def reopen(self) -> Confirmation:
        """Agree to end the dispute and go on; the node registers it."""
        return await self._agree(
            lambda: (Reopen(self.state.chain.paid, self._node.now() + self._node.config.close_validity),)
        )

    async def challenge(self) -> int:
        """Open a dispute on-chain with the newest agreed state, or with none; return the block it was mined in."""
        channel, chain = self.state, self._node.chain
        if channel.chain.deadline or channel.phase is Phase.CLOSED:
            raise NotPermitted("open a dispute", channel.phase.value, "it is there already")
        agreed, registered = channel.agreed, channel.chain.registered
        if agreed and agreed.version > channel.chain.version:
            call = chain.challenge(channel.terms, agreed)
        elif registered:
            call = chain.challenge_registered(channel.terms, registered)
        else:
            call = chain.challenge_unsigned(channel.terms)
        return (await self._node.send(call)).block

    async def recover(self) -> int:
        """After a loss of data, ask the peer's owner to go on; return the first version of what is signed from then on.

        Look first at what the peer and the chain have shown (`state`, the notices): our owner's consent is final, and a
        peer may have hidden the newest state. Waits for the peer, and for its owner as long as that takes; may be
        called again, also after a restart. Raises RecoveryInvalid where nothing was lost.
        """
        await self._hear_peer()
        self._node.act(self._seat, e.RecoveryWanted(self._node.random(32)))
        while self.state.is_frozen:
            await self._changed.wait()
        return self.state.leap

    async def _hear_peer(self) -> None:
        """Wait for the peer's Resume. On the connection on which a channel was opened there is none: that is cut."""
        peer = self.state.terms.signers[self.state.me.other]
        while self.state.is_frozen and self.state.peer_said is None:
            with trio.move_on_after(self._node.config.reply_timeout):
                while self.state.peer_said is None:
                    await trio.sleep(self._node.config.poll)
            link = self._node.link_to(peer)
            if self.state.peer_said is None and link is not None:
                link.hang_up()

    def allow_recovery(self, marker: bytes) -> None:
        """Agree that the peer, which says it lost data, goes on; `RecoveryRequested` has the marker.

        What it half-signed before and we know of stays ours to show; from here on both sign far above it. Raises
        RecoveryInvalid for a marker that the peer does not ask with, or asked with before.
        """
        self._node.act(self._seat, e.RecoveryConsented(marker))

    async def release(self, amount: Human | None = None) -> int:
        """Take excess collateral out of a channel that settles; return the token units paid.

        `amount` in tokens; None: the most that the contract pays, as `margin_duties.releasable` says. A node never does
        it by itself. Raises NotPermitted in another phase, without a risk engine, and where nothing can be released;
        TransactionReverted where the contract refuses.
        """
        channel, chain = self.state, self._node.chain
        final = views.final_state(channel)
        if channel.phase is not Phase.SETTLING or channel.terms.engine == ZERO_ADDRESS:
            raise NotPermitted("release", channel.phase.value, "it takes a final state, and terms with a risk engine")
        state, book = final or (None, EMPTY_BOOK)
        if state is None:
            raise NotPermitted("release", channel.phase.value, "no state with a known book is registered")
        if amount is None:
            look = await self._node.margins.look(self._seat)
            units = releasable(channel, look) if look else 0
        else:
            units = token_amount(amount, channel.terms.decimals)
        if units <= 0:
            raise NotPermitted("release", channel.phase.value, "nothing is above initial margin at a fresh spot")
        call = chain.release(channel.terms, state, book, channel.me, units)
        await trio.to_thread.run_sync(chain.simulate, call)
        await self._node.send(call)
        return units

    # How

    def _mine(self, legs: Iterable[Leg]) -> tuple[Leg, ...]:
        """Turn legs between our view and party 0's: the same turn both ways."""
        sign = 1 if self.state.me is Party.ZERO else -1
        return tuple(leg.times(sign) for leg in legs)

    def confirmation(self, agreed: Agreed, operations: tuple[Operation, ...]) -> Confirmation:
        """Return what both sides can print of an agreed state."""
        return Confirmation(self.state.deployment, self.state.terms, self.state.me, agreed, operations)
