"""Follows the chain from a durable cursor, tells each channel what was confirmed, and does what its duties are."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from ..chain.confirm import ranges
from ..chain.port import Block, Call
from ..core import events as e, margin_duties as d, views
from ..core.checkpoint import MAX_OUTSTANDING
from ..core.facts import DepositSeen, RegisteredSeen, SettlementSeen
from ..core.phases import Phase
from ..core.records import Checkpoint, Signed, StateAgreed
from ..errors import ChainError, InsufficientFunds, RuleViolation, TransactionPending, TransactionReverted
from ..model import Book, ChannelId, Operation, Party, State
from ..session import Seat
from ..store import Store
from .log import log
from .silence import Silence

if TYPE_CHECKING:
    from .node import Node

MAX_PATIENCE = 30.0
"""Longest wait, in seconds, before a peer that refused a fact is asked again, while few half-signed states hang."""
LAST_PATIENCE = 86_400.0
"""The same where many do. Each try leaves one more, and from `checkpoint.MAX_OUTSTANDING` on no checkpoint shortens the
journal: a peer that refuses for ever must not make it, and us, grow as long as it likes."""


def patience(waited: float, hanging: int) -> float:
    """Return how long to wait, seconds, before a refused fact is proposed again, after `waited` the last time."""
    return min(2 * waited, MAX_PATIENCE if hanging < MAX_OUTSTANDING else LAST_PATIENCE)


def find_book(store: Store, channel: ChannelId, version: int, book_hash: bytes) -> Book | None:
    """Return the book with this hash from a channel's journal, or of this version from its archive. Blocking."""
    for record in (*store.records(channel), *store.archived(channel, version)):
        match record:
            case Signed(half, _) if half.book.hash == book_hash:
                return half.book
            case StateAgreed(agreed, _) if agreed.book.hash == book_hash:
                return agreed.book
            case Checkpoint():
                for book in record.books:
                    if book.hash == book_hash:
                        return book
    return None


class Watcher:
    """The node's eye on the chain. `run` never returns; an endpoint that fails is asked again at the next poll."""

    def __init__(self, node: Node, cursor: int) -> None:
        self._node = node
        self._cursor = cursor
        self.lock = trio.Lock()
        """Held while blocks are read: who holds it sees the cursor stand still."""
        self._head: Block | None = None
        self._met: set[ChannelId] = set()
        self._silence = Silence(node)
        self._sought: dict[ChannelId, State] = {}
        self._busy: set[tuple[bytes, str]] = set()
        self._refused: dict[tuple[bytes, str], tuple[d.MarginDuty, Block | None]] = {}
        """The last step about margin that the contract refused, and at which block."""
        self._not_sent: set[ChannelId] = set()
        """Channels whose decided top-up, where a look still lacks it, is known not to be on its way: it was refused
        before it left, or all that our account had sent is mined."""
        self._paid_in: dict[ChannelId, int] = {}
        """The block of the last transaction for a top-up: an older look, by an endpoint that lags, says nothing."""
        self._covered: dict[ChannelId, tuple[object, ...]] = {}
        """What was judged where no collateral was due: a margin for every channel at every poll is too much."""
        self._asked: dict[ChannelId, tuple[tuple[Operation, ...], float, float]] = {}
        """What the peer was last asked to agree, and until when it is not asked the same again."""

    async def run(self) -> None:
        async with trio.open_nursery() as nursery:
            while True:
                try:
                    await self.look()
                except ChainError as failed:
                    log.warning("%s", failed)
                for seat in list(self._node.seats.values()):
                    await self._watch_margin(seat)
                    self._start_duties(nursery, seat)
                    self._keep_house(seat)
                    self._silence.watch(seat)
                    self._call_collateral(seat)
                await trio.sleep(self._node.config.poll)

    @property
    def cursor(self) -> int:
        """The last block whose facts every channel of the node has heard."""
        return self._cursor

    async def look(self) -> None:
        """Read every newly confirmed block once, and move the cursor past it when all of it is durable."""
        async with self.lock:
            await self._look()

    async def _look(self) -> None:
        node, chain = self._node, self._node.chain
        head = await trio.to_thread.run_sync(chain.head, abandon_on_cancel=True)
        self._head = head
        confirmed = head.number - node.config.confirmations
        for span in ranges(self._cursor, head.number, node.config.confirmations):
            facts = await trio.to_thread.run_sync(chain.facts, span.first, span.last, abandon_on_cancel=True)
            for located in facts:
                seat = node.seats.get(located.channel)
                if seat is not None:
                    node.act(seat, e.CHAIN_EVENTS[type(located.fact)](located.fact))
            await node.driver.flush()
            await trio.to_thread.run_sync(node.store.advance, chain.deployment, span.last)
            self._cursor = span.last
        if confirmed >= 0:
            block = head if not node.config.confirmations else await self._block(confirmed)
            for seat in list(node.seats.values()):
                if block.time > seat.channel.chain.time:
                    node.act(seat, e.BlockConfirmed(block.time))
                    node.channels[seat.channel.id].touch()
                await self._recall_book(seat)
        if confirmed == self._cursor:
            for seat in list(node.seats.values()):
                await self._meet(seat)

    async def _meet(self, seat: Seat) -> None:
        """Learn once what the chain said of a channel before this node knew of it: the cursor is past those blocks.

        A peer may deposit, and even open a dispute with nothing signed, before it proposes the terms: the clock would
        run out unseen while we trade. The status after the cursor's block, which is confirmed, tells what was said up
        to it; what is said after it comes with the logs. An endpoint that lags is asked when it has caught up.
        """
        channel, node = seat.channel, self._node
        if channel.id in self._met or channel.phase is Phase.CLOSED:
            return
        status = await trio.to_thread.run_sync(node.chain.status, channel.id, self._cursor, abandon_on_cancel=True)
        self._met.add(channel.id)
        for party in Party:
            node.act(seat, e.DepositConfirmed(DepositSeen(party, status.deposits[party])))
        if status.deadline and not status.version:
            node.act(seat, e.RegistrationConfirmed(RegisteredSeen(None, status.deadline)))

    async def _recall_book(self, seat: Seat) -> None:
        """Look up the book of an old state that was registered: a checkpoint may have let go of it."""
        channel = seat.channel
        state = views.missing_book(channel)
        if state is None or state == self._sought.get(channel.id):
            return
        self._sought[channel.id] = state
        book = await trio.to_thread.run_sync(find_book, self._node.store, channel.id, state.version, state.book)
        if book is not None:
            self._node.act(seat, e.BookFound(book))
        else:
            log.warning("version %d is registered and this journal does not hold its book", state.version)

    async def _block(self, number: int) -> Block:
        return await trio.to_thread.run_sync(self._node.chain.block, number, abandon_on_cancel=True)

    async def _watch_margin(self, seat: Seat) -> None:
        if self._head is None:
            return
        try:
            await self._node.margins.watch(seat, self._head)
        except ChainError as failed:
            log.warning("%s", failed)

    def _start_duties(self, nursery: trio.Nursery, seat: Seat) -> None:
        config = self._node.config
        for duty in (*views.duties(seat.channel), *self._node.margins.duties(seat)):
            answers = isinstance(duty, views.Answer | d.Disarm | d.Cure | d.TopUp)
            wanted = config.answer if answers else config.settle or isinstance(duty, d.CallMargin | d.Liquidate)
            key = (seat.channel.id, type(duty).__name__)
            if isinstance(duty, d.CallMargin) and seat.channel.is_frozen:
                continue  # what we lost may have cured the peer
            if wanted and key not in self._busy and self._refused.get(key) != (duty, self._head):
                self._busy.add(key)
                nursery.start_soon(self._perform, seat, duty, key)

    async def _perform(self, seat: Seat, duty: views.Duty | d.MarginDuty, key: tuple[bytes, str]) -> None:
        head = self._head
        try:
            if isinstance(duty, views.FixPrice) and await self._learn_price(seat, duty):
                return
            if isinstance(duty, d.TopUp):
                await self._top_up(seat, duty)
                return
            call = self._call_for(seat, duty)
            if call is None:
                return
            await trio.to_thread.run_sync(self._node.chain.simulate, call, abandon_on_cancel=True)
            if isinstance(duty, d.Liquidate):
                self._node.margins.liquidating(seat, duty)
            receipt = await self._node.send(call)
            log.info("%s mined in block %d, %d gas", receipt.call, receipt.block, receipt.gas_used)
        except (TransactionReverted, InsufficientFunds) as refused:
            # Usually the peer was first, or the time has not come; the duty is computed anew at the next look, and what
            # asks about margin only at the next block: it would find the same prices.
            log.info("%s", refused)
            if isinstance(duty, d.MarginDuty):
                self._refused[key] = (duty, head)
        except (ChainError, TransactionPending) as failed:
            log.warning("%s", failed)
        finally:
            self._busy.discard(key)

    async def _learn_price(self, seat: Seat, duty: views.FixPrice) -> bool:
        """Ask for the effective settlement price; tell the channel once there is one."""
        terms = seat.channel.terms
        price = await trio.to_thread.run_sync(
            self._node.chain.effective_settlement, terms, duty.underlying, duty.expiry, abandon_on_cancel=True
        )
        if not price:
            return False
        fact = SettlementSeen(duty.underlying, duty.expiry, price)
        self._node.act(seat, e.SettlementConfirmed(fact))
        return True

    async def _top_up(self, seat: Seat, duty: d.TopUp) -> None:
        """Deposit once: what was journalled before and is not there may be on its way, from before a crash."""
        node, channel = self._node, seat.channel
        now = await node.margins.top_up(seat, self._paid_in.get(channel.id, 0))
        if now is not None and now.is_decided and channel.id not in self._not_sent:
            # Sending waits for whatever this account sent earlier, and an approval of nothing is harmless.
            mined = self._paid_in[channel.id] = (await node.send(node.chain.approve(channel.terms.token, 0))).block
            self._not_sent.add(channel.id)
            now = await node.margins.top_up(seat, mined)
        if now is None:
            return
        if not now.is_decided:
            node.act(seat, e.TopUpWanted(now.amount, now.total, now.deadline))
            await node.driver.flush()
        self._not_sent.discard(channel.id)
        try:
            receipt = await node.send(node.chain.deposit(channel.terms, channel.me, now.amount))
        except (TransactionReverted, InsufficientFunds):
            self._not_sent.add(channel.id)
            raise
        self._paid_in[channel.id] = receipt.block
        log.info("topped up by %d in block %d", now.amount, receipt.block)

    def _call_for(self, seat: Seat, duty: views.Duty | d.MarginStep) -> Call | None:
        chain, terms = self._node.chain, seat.channel.terms
        match duty:
            case views.Answer(agreed, _):
                return chain.challenge(terms, agreed)
            case views.SubmitClose(agreed):
                return chain.close(terms, agreed)
            case d.Disarm(agreed) if seat.channel.chain.deadline:
                return chain.challenge(terms, agreed)
            case views.SubmitReopen(agreed) | views.CollectWithdrawal(agreed) | d.Disarm(agreed):
                return chain.checkpoint(terms, agreed)
            case d.CallMargin(newer, state, book, rows):
                if newer is None:
                    return chain.margin_call_registered(terms, state, book, seat.channel.me.other, rows)
                return chain.margin_call(terms, newer, seat.channel.me.other, rows)
            case d.Cure(state, book):
                return chain.cure(terms, state, book, seat.channel.me)
            case d.Liquidate(state, book, rows):
                return chain.liquidate(terms, state, book, seat.channel.me.other, rows)
            case views.FixPrice(state, book, underlying, expiry):
                registered = state is not None and state == seat.channel.chain.registered
                return chain.pin(terms, state, book, underlying, expiry) if state and registered else None
            case views.Settle(state, book):
                return chain.settle(terms, state, book)

    def _call_collateral(self, seat: Seat) -> None:
        """Ask a connected peer for what it lacks, once at each agreed state."""
        node, channel = self._node, seat.channel
        connected = node.link_to(channel.terms.signers[channel.me.other]) is not None
        judged = (channel.base_version, channel.phase, channel.bar is None, channel.chain.deposits)
        if not (node.config.call_collateral and connected) or self._covered.get(channel.id) == judged:
            return
        if views.collateral_due(channel):
            node.act(seat, e.CollateralWanted())
        elif channel.called != channel.base_version:
            self._covered[channel.id] = judged

    def _keep_house(self, seat: Seat) -> None:
        """Get facts agreed while we hold the turn: deposits and payments confirmed, expiries settled."""
        node, channel = self._node, seat.channel
        connected = node.link_to(channel.terms.signers[channel.me.other]) is not None
        operations = views.housekeeping(channel)
        if not (node.config.housekeeping and operations and connected and channel.my_turn):
            return
        if node.channels[channel.id].peer_is_called:
            # A top-up counts on-chain as it is; agreed to, it would be a newer state to defer the close-out with.
            return
        asked, wait, until = self._asked.get(channel.id, ((), 0.0, 0.0))
        if operations == asked and trio.current_time() < until:
            return
        try:
            node.submit(seat, seat.propose(operations, node.random(32), node.now()))
            # A peer that refuses, because its chain lags or because it will not, is asked again, but less and less
            # often: each time leaves one more half-signed state.
            wait = patience(wait, len(channel.outstanding)) if operations == asked else node.config.poll
            self._asked[channel.id] = (operations, wait, trio.current_time() + wait)
        except RuleViolation as refused:
            log.info("housekeeping waits: %s", refused)
