"""Getting operations agreed: what waits is put together, proposed when the turn is ours, and answered one by one.

Callers wait in a queue. Facts that wait together become one proposal (the newest marks, the highest totals), trades
that wait together are agreed on one signature; everything else goes alone. Each caller gets its own confirmation, and
where a proposal of several is refused, each is proposed again by itself: nobody pays for another's refusal.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from itertools import count
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

import trio

from ..core import events as e, notices as n, rules, views
from ..core.channel import Channel
from ..core.outcome import check_may_sign
from ..errors import (
    BaseRefused,
    ChannelError,
    ConnectionLost,
    InvalidBook,
    MarginCallStands,
    OutstandingProposal,
    PeerUnresponsive,
    ProposalRejected,
    RuleViolation,
    SigningSuspended,
)
from ..model import EXCLUSIVE, NO_MARKS, Acknowledge, Close, CloseOut, Leg, Mark, Marks, Operation, Reopen, Trade, net
from ..session import Seat
from ..wire.schema import MAX_OPERATIONS

if TYPE_CHECKING:
    from .confirmation import Confirmation
    from .live import LiveChannel
    from .node import Node

MAX_ANSWERS = 1_024
"""Answers kept until whoever proposed has read them."""
MAX_TRIES = 4
"""How often a request is proposed at most, where others' refusals stand in its way."""

Answer = n.Updated | n.PeerRefused | n.DataLoss
"""What ends the wait for a proposal; with DataLoss there is no answer, and there will be none."""


@dataclass(eq=False)
class Request:
    """What one caller wants agreed. `version` is the proposal it went out in, 0 while it waits; `alone`: in none's.

    `build` makes the operations, anew when the turn has come: what follows from the state must follow from the newest.
    """

    number: int
    build: Callable[[], tuple[Operation, ...]]
    operations: tuple[Operation, ...]
    version: int = 0
    alone: bool = False
    shared: bool = False
    tries: int = 0
    error: Exception | None = None

    @property
    def is_fact(self) -> bool:
        """Whether it says what is so: it waits for nothing that others propose."""
        return all(isinstance(operation, Mark | Acknowledge) for operation in self.operations)

    def goes_with(self, other: Request) -> bool:
        """Whether both may be in one proposal."""
        if self.alone or other.alone:
            return False
        return any(all(isinstance(op, kinds) for op in self.operations + other.operations) for kinds in _TOGETHER)


@dataclass(eq=False)
class Posted:
    """Facts on their way to the peer: half-signed in `version`, and waited for by nobody unless `agreed` is called."""

    version: int
    _live: LiveChannel
    _timeout: float
    _answer: Answer | None = None
    _heard: trio.Event | None = None
    """There once somebody waits."""

    def hear(self, answer: Answer) -> None:
        """Take the peer's answer, or that none will come."""
        self._answer = answer
        if self._heard is not None:
            self._heard.set()

    async def agreed(self) -> Confirmation:
        """Return what both sides agreed that holds these facts: this version, or a later one that stands on it.

        Raises ProposalRejected; the code `proposal: base refused` where another fact before it was refused and this one
        with it. Raises PeerUnresponsive where no answer came within the reply timeout from now, and SigningSuspended
        where none will: our journal lost data.
        """
        if self._heard is None:
            self._heard = trio.Event()
        with trio.move_on_after(self._timeout):
            if self._answer is None:
                await self._heard.wait()
            else:
                await trio.lowlevel.checkpoint()
        if isinstance(self._answer, n.PeerRefused):
            raise ProposalRejected(self.version, self._answer.code, self._answer.reason)
        if isinstance(self._answer, n.DataLoss):
            raise SigningSuspended(self._answer.ours, self._answer.theirs)
        if self._answer is None:
            state = self._live.state
            raise PeerUnresponsive(str(state.terms.signers[state.me.other]), self._timeout)
        return self._live.confirmation(self._answer.agreed, self._answer.operations)


_TOGETHER: tuple[tuple[type, ...], ...] = ((Mark, Acknowledge), (Trade,))


def merged(requests: list[Request]) -> tuple[Operation, ...]:
    """Return the operations of requests that go together: of facts the newest marks and the highest totals."""
    operations = tuple(operation for request in requests for operation in request.operations)
    if len(requests) == 1 or any(isinstance(operation, Trade) for operation in operations):
        return operations
    seen = [op for op in operations if isinstance(op, Acknowledge)]
    marks = [op for op in operations if isinstance(op, Mark)]
    highest = [
        Acknowledge(_highest([op.deposits for op in seen]), _highest([op.payments for op in seen])) for _ in seen[:1]
    ]
    return (*highest, *marks[-1:])


def _highest(totals: list[tuple[int, int]]) -> tuple[int, int]:
    return max(pair[0] for pair in totals), max(pair[1] for pair in totals)


def _cover(marks: Marks, legs: tuple[Leg, ...]) -> bool:
    try:
        return marks == (marks.covering(legs) if legs else NO_MARKS)
    except InvalidBook:
        return False


@dataclass
class Proposer:
    """A channel's queue of requests. A task of the node's serves it while there are any."""

    node: Node
    seat: Seat
    live: LiveChannel
    _queue: list[Request] = field(default_factory=list)
    _answers: dict[int, Answer] = field(default_factory=dict)
    _posted: WeakValueDictionary[int, Posted] = field(default_factory=WeakValueDictionary)
    """Facts posted and not answered yet; one whose owner has let go of it hears nothing."""
    _numbers: count[int] = field(default_factory=count)
    _is_serving: bool = False
    _without_room: int = 0
    """How many callers wait to post facts."""

    @property
    def is_waited_for(self) -> bool:
        """Whether anybody waits to propose something."""
        return self._is_serving or self._without_room > 0

    async def propose(self, build: Callable[[], tuple[Operation, ...]]) -> n.Updated:
        """Return what was agreed with the operations that `build` makes in it. See `LiveChannel.propose`."""
        request = Request(next(self._numbers), build, build())
        self._check_call(request.operations)
        if self._goes_at_once() and not self._channel.in_flight and request.is_fact:
            await trio.lowlevel.checkpoint_if_cancelled()
            request.version = self._propose_now(self._fitted(request.operations), at_once=True)
        else:
            self._enqueue(request)
        try:
            while True:
                await self._until(lambda: request.version > 0 or request.error is not None)
                if request.error is not None:
                    raise request.error
                answer = await self._answer_to(request.version)
                if isinstance(answer, n.Updated):
                    return answer
                request.tries += 1
                innocent = request.shared or answer.code == BaseRefused.code
                if not innocent or request.tries == MAX_TRIES:
                    raise ProposalRejected(request.version, answer.code, answer.reason)
                request.version, request.alone = 0, request.shared or request.alone
                self._enqueue(request)
        finally:
            if request in self._queue:
                self._queue.remove(request)

    async def post(self, build: Callable[[], tuple[Operation, ...]]) -> Posted:
        """Propose facts in a version of their own; return when they are on their way. See `LiveChannel.post_mark`."""
        await trio.lowlevel.checkpoint_if_cancelled()
        if not self._channel.in_flight:
            await self.node.driver.breathe()
        at_once = self._goes_at_once()
        if not at_once and not self._is_serving and self._may_propose():
            # The window is full: what was signed goes out now, or other news would come before it.
            self.node.driver.at_once()
            self._without_room += 1
            try:
                await self._patiently(self._has_room, self.node.config.reply_timeout)
            finally:
                self._without_room -= 1
            await self._said()
            at_once = self._goes_at_once()
        version = self._propose_now(build()) if at_once else await self._queued(build)
        posted = Posted(version, self.live, self.node.config.reply_timeout)
        if version in self._answers:
            posted.hear(self._answers[version])
        self._posted[version] = posted
        return posted

    async def _said(self) -> None:
        """Let go out what was said before more is signed: the peer then judges it while we sign."""
        link = self.node.link_to(self._channel.terms.signers[self._channel.me.other])
        if link is not None:
            await link.said()

    def _goes_at_once(self) -> bool:
        return not self._is_serving and self._may_propose() and self._has_room()

    async def _queued(self, build: Callable[[], tuple[Operation, ...]]) -> int:
        """Propose these alone, behind whoever waits already; return the version they went out in."""
        request = Request(next(self._numbers), build, build(), alone=True)
        self._enqueue(request)
        try:
            await self._until(lambda: request.version > 0 or request.error is not None)
        finally:
            if request in self._queue:
                self._queue.remove(request)
        if request.error is not None:
            raise request.error
        return request.version

    def hear(self, notice: n.Notice) -> None:
        """Take the peer's answers, and that there will be none, from what the owner is told."""
        match notice:
            case n.Updated(versions=versions) | n.DataLoss(dropped=versions):
                pass
            case n.PeerRefused(version):
                versions = (version,)
            case _:
                return
        for version in versions:
            self._answers[version] = notice
            if (posted := self._posted.pop(version, None)) is not None:
                posted.hear(notice)
        while len(self._answers) > MAX_ANSWERS:
            self._answers.pop(next(iter(self._answers)))

    # The queue

    def _enqueue(self, request: Request) -> None:
        insort(self._queue, request, key=lambda waiting: waiting.number)
        if not self._is_serving:
            self._is_serving = True
            self.node.start(self._serve)

    async def _serve(self) -> None:
        """Propose what waits until nothing does. What stands in the way of one stands in the way of all."""
        try:
            while self._queue:
                try:
                    await self._next_proposal()
                except Exception as refused:
                    for request in self._queue:
                        request.error = refused
                    self._queue.clear()
        finally:
            self._is_serving = False
            if self._channel.turn_needed:
                self.node.act(self.seat, e.TurnSpared())
            self.live.touch()

    async def _next_proposal(self) -> None:
        if not self._channel.turn_needed:
            self.node.act(self.seat, e.TurnNeeded())
        await self._patiently(lambda: self._may_propose() or self._channel.is_frozen, self.node.config.turn_timeout)
        if not self._queue:
            return
        if self._channel.is_frozen:
            # The turn will not come: not before the owners' recovery, which waits for no request.
            check_may_sign(self._channel)
        operations = self._queue[0].operations
        if any(isinstance(op, EXCLUSIVE) for op in operations):
            # An option stands on what is agreed: what it is worth should not hang on another answer.
            await self._patiently(lambda: not self._channel.in_flight, self.node.config.reply_timeout)
            if not any(isinstance(op, Close | Reopen) for op in operations):
                await self._supersede()
        else:
            await self._patiently(self._has_room, self.node.config.reply_timeout)
        if not self._queue or not self._may_propose():
            return
        batch = self._renewed(self._batch())
        if not batch:
            return
        try:
            version = self._propose_now(self._fitted(merged(batch)))
        except RuleViolation as refused:
            batch[0].alone = True
            if len(batch) == 1:
                self._queue.remove(batch[0])
                batch[0].error = refused
        else:
            for request in batch:
                self._queue.remove(request)
                request.version, request.shared = version, len(batch) > 1
        self.live.touch()

    def _batch(self) -> list[Request]:
        batch, size = [self._queue[0]], len(self._queue[0].operations)
        for request in self._queue[1:]:
            size += len(request.operations)
            if not request.goes_with(batch[0]) or size > MAX_OPERATIONS:
                break
            batch.append(request)
        return batch

    def _renewed(self, batch: list[Request]) -> list[Request]:
        """Make the operations anew, from the newest state. Whose cannot be made any more is told why, and no other."""
        able = []
        for request in batch:
            try:
                request.operations = request.build()
            except ChannelError as refused:
                self._queue.remove(request)
                request.error = refused
                self.live.touch()
            else:
                able.append(request)
        return able

    def _fitted(self, operations: tuple[Operation, ...]) -> tuple[Operation, ...]:
        """Mark at our market what was marked for another book: others' operations may go before these now."""
        legs, fitted = self._channel.tip[1].legs, list[Operation]()
        if not all(isinstance(op, Mark | Trade | Acknowledge) for op in operations):
            return operations
        for operation in operations:
            if isinstance(operation, Trade):
                legs = net(legs, operation.legs)
            if isinstance(operation, Trade | Mark) and not _cover(operation.marks, legs):
                marks = self.node.market(legs, self.node.now()) if legs else NO_MARKS
                if marks is not None:
                    operation = replace(operation, marks=marks.covering(legs) if legs else NO_MARKS)
            fitted.append(operation)
        return tuple(fitted)

    async def _supersede(self) -> None:
        """Agree a mark above a refused trade or withdrawal, or a loss of data: free options that the peer holds."""
        try:
            rules.check_options(self._channel)
        except OutstandingProposal:
            version = self._propose_now(self._fitted((Mark(),)))
            answer = await self._answer_to(version)
            if isinstance(answer, n.PeerRefused):
                raise ProposalRejected(version, answer.code, answer.reason) from None
            await self._patiently(self._may_propose, self.node.config.turn_timeout)

    def _propose_now(self, operations: tuple[Operation, ...], *, at_once: bool = False) -> int:
        """Propose these; return the version. `at_once`: nobody has anything to add to what is written for it."""
        self._check_call(operations)
        effects = self.seat.propose(operations, self.node.random(32), self.node.now())
        self.node.submit(self.seat, effects, at_once=at_once)
        return self._channel.signed

    def _check_call(self, operations: tuple[Operation, ...]) -> None:
        """Raise MarginCallStands where this would be a state that a called peer could reveal."""
        called = self.live.peer_is_called or views.is_called(self._channel, self._channel.me.other)
        if called and not any(isinstance(op, Close | CloseOut | Reopen) for op in operations):
            raise MarginCallStands("propose")

    # Waiting

    @property
    def _channel(self) -> Channel:
        return self.seat.channel

    def _may_propose(self) -> bool:
        """Whether the turn is ours; one that the peer waits for, and that we have used, is as good as passed on."""
        channel = self._channel
        return channel.my_turn and not (channel.turn_wanted and channel.turn_used)

    def _has_room(self) -> bool:
        return rules.has_room(self._channel, self.seat.window, MAX_OPERATIONS)

    async def _until(self, happened: Callable[[], bool]) -> None:
        while not happened():
            await self.live.changed()

    async def _patiently(self, happened: Callable[[], bool], seconds: float) -> None:
        """Wait until something is so. Raises ConnectionLost or PeerUnresponsive after `seconds`."""
        with trio.move_on_after(seconds):
            await self._until(happened)
            return
        peer = self._channel.terms.signers[self._channel.me.other]
        if self.node.link_to(peer) is None:
            raise ConnectionLost(str(peer))
        raise PeerUnresponsive(str(peer), seconds)

    async def _answer_to(self, version: int) -> n.Updated | n.PeerRefused:
        with trio.move_on_after(self.node.config.reply_timeout):
            await self._until(lambda: version in self._answers)
            answer = self._answers[version]
            if isinstance(answer, n.DataLoss):
                raise SigningSuspended(answer.ours, answer.theirs)
            return answer
        peer = self._channel.terms.signers[self._channel.me.other]
        raise PeerUnresponsive(str(peer), self.node.config.reply_timeout)
