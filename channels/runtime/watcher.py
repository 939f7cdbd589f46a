"""Follows the chain from a durable cursor, tells each channel what was confirmed, and does what its duties are."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from ..chain.confirm import ranges
from ..chain.port import Block, Call
from ..core import events as e, views
from ..core.facts import SettlementSeen
from ..core.records import Signed, StateAgreed
from ..errors import ChainError, RuleViolation, TransactionPending, TransactionReverted
from ..model import Book, ChannelId, Operation, State
from ..session import Seat
from ..store import Store
from .log import log

if TYPE_CHECKING:
    from .node import Node

MAX_PATIENCE = 60.0
"""Longest wait, in seconds, before a peer that refused a fact is asked again."""


def find_book(store: Store, channel: ChannelId, book_hash: bytes) -> Book | None:
    """Return the book with this hash from a channel's journal, or None. Blocking."""
    for record in store.records(channel):
        match record:
            case Signed(half, _) if half.book.hash == book_hash:
                return half.book
            case StateAgreed(agreed, _) if agreed.book.hash == book_hash:
                return agreed.book
    return None


class Watcher:
    """The node's eye on the chain. `run` never returns; an endpoint that fails is asked again at the next poll."""

    def __init__(self, node: Node, cursor: int) -> None:
        self._node = node
        self._cursor = cursor
        self._sought: dict[ChannelId, State] = {}
        self._busy: set[tuple[bytes, str]] = set()
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
                    self._start_duties(nursery, seat)
                    self._keep_house(seat)
                    self._call_collateral(seat)
                await trio.sleep(self._node.config.poll)

    async def look(self) -> None:
        """Read every newly confirmed block once, and move the cursor past it when all of it is durable."""
        node, chain = self._node, self._node.chain
        head = await trio.to_thread.run_sync(chain.head, abandon_on_cancel=True)
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

    async def _recall_book(self, seat: Seat) -> None:
        """Look up the book of an old state that was registered: the journal holds every one we ever signed."""
        channel = seat.channel
        state = views.missing_book(channel)
        if state is None or state == self._sought.get(channel.id):
            return
        self._sought[channel.id] = state
        book = await trio.to_thread.run_sync(find_book, self._node.store, channel.id, state.book)
        if book is not None:
            self._node.act(seat, e.BookFound(book))
        else:
            log.warning("version %d is registered and this journal does not hold its book", state.version)

    async def _block(self, number: int) -> Block:
        return await trio.to_thread.run_sync(self._node.chain.block, number, abandon_on_cancel=True)

    def _start_duties(self, nursery: trio.Nursery, seat: Seat) -> None:
        for duty in views.duties(seat.channel):
            wanted = self._node.config.answer if isinstance(duty, views.Answer) else self._node.config.settle
            key = (seat.channel.id, type(duty).__name__)
            if wanted and key not in self._busy:
                self._busy.add(key)
                nursery.start_soon(self._perform, seat, duty, key)

    async def _perform(self, seat: Seat, duty: views.Duty, key: tuple[bytes, str]) -> None:
        try:
            if isinstance(duty, views.FixPrice) and await self._learn_price(seat, duty):
                return
            call = self._call_for(seat, duty)
            if call is None:
                return
            await trio.to_thread.run_sync(self._node.chain.simulate, call, abandon_on_cancel=True)
            receipt = await self._node.send(call)
            log.info("%s mined in block %d, %d gas", receipt.call, receipt.block, receipt.gas_used)
        except TransactionReverted as refused:
            # Usually the peer was first, or the time has not come; the duty is computed anew at the next look.
            log.info("%s", refused)
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

    def _call_for(self, seat: Seat, duty: views.Duty) -> Call | None:
        chain, terms = self._node.chain, seat.channel.terms
        match duty:
            case views.Answer(agreed, _):
                return chain.challenge(terms, agreed)
            case views.SubmitClose(agreed):
                return chain.close(terms, agreed)
            case views.SubmitReopen(agreed) | views.CollectWithdrawal(agreed):
                return chain.checkpoint(terms, agreed)
            case views.FixPrice(state, book, underlying, expiry):
                registered = state is not None and state == seat.channel.chain.registered
                return chain.pin(terms, state, book, underlying, expiry) if state and registered else None
            case views.Settle(state, book):
                return chain.settle(terms, state, book)

    def _call_collateral(self, seat: Seat) -> None:
        """Ask a connected peer for what it lacks, once at each agreed state."""
        node, terms = self._node, seat.channel.terms
        connected = node.link_to(terms.signers[seat.channel.me.other]) is not None
        if node.config.call_collateral and connected and views.collateral_due(seat.channel):
            node.act(seat, e.CollateralWanted())

    def _keep_house(self, seat: Seat) -> None:
        """Get facts agreed while we hold the turn: deposits and payments confirmed, expiries settled."""
        node, channel = self._node, seat.channel
        connected = node.link_to(channel.terms.signers[channel.me.other]) is not None
        operations = views.housekeeping(channel)
        if not (node.config.housekeeping and operations and connected and channel.my_turn):
            return
        asked, wait, until = self._asked.get(channel.id, ((), 0.0, 0.0))
        if operations == asked and trio.current_time() < until:
            return
        try:
            node.submit(seat, seat.propose(operations, node.random(32), node.now()))
            # A peer that refuses, because its chain lags or because it will not, is asked again, but less and less
            # often: each time leaves one more half-signed state.
            wait = min(2 * wait, MAX_PATIENCE) if operations == asked else node.config.poll
            self._asked[channel.id] = (operations, wait, trio.current_time() + wait)
        except RuleViolation as refused:
            log.info("housekeeping waits: %s", refused)
