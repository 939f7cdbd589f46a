"""Carries out effects in the order they were decided: first everything durable, then speak, then tell.

Steps happen at once, in the trio thread. Effects queue here, and whatever waits is made durable together, whichever
channels it belongs to: one pass of the queue appends all records in one transaction, and only then sends messages and
delivers notices. A quick disk is written to in the trio thread, a slow one in a worker thread. When nothing has waited
for a while the store may tidy its log.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from time import perf_counter

import trio

from ..core.commands import Effect, Notify, Persist, Send
from ..core.notices import Notice
from ..core.records import Record
from ..model import ChannelId
from ..store import Store
from ..wire.messages import Message

MAX_WAITING = 4_096
"""Effects that wait for the disk before no more is read from peers."""
MANY = 64
"""Effects that wait for the disk before more is proposed: the peer begins with a part of what many channels say."""
TURNS_TO_SHARE = 4
"""Turns of the scheduler before a pass: callers whom the same news woke need fewer to say and sign what they have."""
QUIET = 0.5
"""Seconds without anything to make durable after which the store moves its log into the main file."""
QUICK = 0.005
"""Seconds that an append may take in the trio thread: as long as another thread may keep the interpreter from it."""
PAUSE = 10
"""How many times as long as a slow append took the disk is not waited for in the trio thread: slow ones stall it for
less than a tenth of the time, whatever the disk does."""
FEW = 64
"""Records in a batch that says something about the disk. Larger ones are always written in a worker thread."""


@dataclass(frozen=True, slots=True)
class Then:
    """Marks a place in the queue: `do` is called when everything before it has been carried out."""

    do: Callable[[], None]


Batch = dict[ChannelId, list[Record]]


@dataclass
class DiskWatch:
    """Whether the disk is so quick that the trio thread may wait for it.

    Nobody knows before the first append. A slow one sends the next ones to a worker thread for `PAUSE` times as long,
    and until one there was quick again.
    """

    clock: Callable[[], float]
    is_quick: bool = False
    _barred_until: float = -math.inf

    def timed(self, append: Callable[[Batch], None], batch: Batch) -> None:
        """Append, in whichever thread this is called, and remember how long it took."""
        start = self.clock()
        append(batch)
        end = self.clock()
        if end - start > QUICK:
            self.is_quick = False
            self._barred_until = end + PAUSE * (end - start)
        elif not self.is_quick:
            self.is_quick = end >= self._barred_until


class Driver:
    """One queue of effects for all channels of a node. Raises what the store raises; then nothing more is carried out.

    `send(channel, message)`, `notify(channel, notice)` and `durable(records)`, told after an append, must not block.
    """

    def __init__(
        self,
        store: Store,
        send: Callable[[ChannelId, Message], None],
        notify: Callable[[ChannelId, Notice], None],
        durable: Callable[[Mapping[ChannelId, Sequence[Record]]], None] = lambda batch: None,
    ) -> None:
        self._store, self._send, self._notify, self._durable = store, send, notify, durable
        self._queue: deque[tuple[ChannelId, Effect] | Then] = deque()
        self._wake = trio.Event()
        self._quiet = trio.CancelScope()
        self._disk = DiskWatch(perf_counter)
        self._is_idle = False
        """Whether `run` is there and does nothing: then what waits may be carried out by whoever put it there."""
        self._last: ChannelId | None = None
        """Whose the last batch was, where it was one channel's."""
        self._passes = 0
        """How often what waited was taken to be carried out."""
        self._logged = math.inf
        """When something was last appended that is in the store's log only, as far as we know."""
        self._failure: BaseException | None = None

    def submit(self, channel: ChannelId, effects: Iterable[Effect], *, wake: bool = True) -> None:
        """Queue effects in order. Never waits: call it in the same breath as the step that decided them.

        Without `wake` the caller calls `at_once` in the same breath, which wakes whom it must.
        """
        self._queue.extend((channel, effect) for effect in effects)
        if wake:
            self._wake.set()

    def then(self, do: Callable[[], None]) -> None:
        """Call `do` when everything queued so far has been carried out; it must not block."""
        self._queue.append(Then(do))
        self._wake.set()

    async def flush(self) -> None:
        """Return when everything queued so far has been carried out."""
        done = trio.Event()
        self.then(done.set)
        await done.wait()

    async def pace(self, is_answer: bool) -> None:
        """Return once few enough effects wait: who reads from peers asks first, so that none outruns the disk.

        After an answer, once it was said: the peer goes on with it while what it sent besides is judged here.
        """
        while (is_answer and not self._is_done()) or len(self._queue) > MAX_WAITING:
            await self.flush()
            is_answer = False

    async def breathe(self) -> None:
        """Return once what waits is no more than one write should take: who proposes without end asks first."""
        while len(self._queue) >= MANY:
            await self.flush()

    def at_once(self, may: Callable[[ChannelId], bool] = lambda channel: True) -> None:
        """Carry out what waits in the caller's breath, where that holds nobody up; else have `run` do it.

        For who waits for nothing else. It holds nobody up while nothing is under way, the disk is quick, and what waits
        is of one channel alone, as the last batch was: where many speak their records wait for one another, and are one
        write. `may` has the last word. Never raises: what goes wrong is raised by `run`.
        """
        if not self._queue:
            return
        channel = self._alone()
        if channel is None or not may(channel):
            self._wake.set()
            return
        self._is_idle = False
        try:
            batch, records = self._taken()
            if records:
                self._disk.timed(self._store.append_all, records)
            self._carry_out(batch, records)
            if self._quiet.deadline == math.inf:
                self._quiet.deadline = self._logged + QUIET
        except BaseException as failure:
            # Whoever called is a connection or an owner: neither may take a failed disk for its own affair.
            self._failure = failure
            self._wake.set()
        finally:
            self._is_idle = self._failure is None

    async def run(self) -> None:
        """Carry out effects for ever; what is queued when it is cancelled was never said to anybody."""
        try:
            while True:
                await self._something_to_do()
                self._is_idle = False
                batch, records = self._taken()
                # A thread is not abandoned, so a batch that was begun is carried out to its end, as it is without one.
                if sum(map(len, records.values())) > FEW:
                    await trio.to_thread.run_sync(self._store.append_all, records)
                elif records and self._disk.is_quick:
                    self._disk.timed(self._store.append_all, records)
                elif records:
                    await trio.to_thread.run_sync(self._disk.timed, self._store.append_all, records)
                self._carry_out(batch, records)
        finally:
            self._is_idle = False

    async def _something_to_do(self) -> None:
        """Return when something waits, and who was woken together with us had a turn; else have the store tidy up."""
        self._is_idle = True
        passes = -1
        while passes != self._passes and self._failure is None:
            while not self._queue and self._failure is None:
                self._wake = trio.Event()
                with trio.CancelScope(deadline=self._logged + QUIET) as self._quiet:
                    await self._wake.wait()
                if not self._queue and trio.current_time() >= self._logged + QUIET:
                    self._is_idle = False
                    # In a thread that is not abandoned: whoever cancels waits for it, as for an append.
                    await trio.to_thread.run_sync(self._store.checkpoint_log)
                    self._logged, self._is_idle = math.inf, True
            # What callers sign whom the same read has woken shares this write. Where they made it the write, it is
            # carried out by now, and what came since has turns of its own.
            passes = self._passes
            for _ in range(TURNS_TO_SHARE):
                await trio.lowlevel.checkpoint()
        if self._failure is not None:
            raise self._failure

    def _is_done(self) -> bool:
        return self._is_idle and not self._queue

    def _alone(self) -> ChannelId | None:
        """Return whose everything is that waits, if it may be carried out by who put it there."""
        if not self._is_idle or not self._disk.is_quick or self._last is None or len(self._queue) > 2 * FEW:
            return None
        others = any(not isinstance(item, Then) and item[0] != self._last for item in self._queue)
        return None if others else self._last

    def _taken(self) -> tuple[deque[tuple[ChannelId, Effect] | Then], Batch]:
        """Take what waits, and the records in it."""
        batch, self._queue = self._queue, deque()
        self._passes += 1
        records: Batch = {}
        for item in batch:
            if not isinstance(item, Then) and isinstance(item[1], Persist):
                records.setdefault(item[0], []).append(item[1].record)
        return batch, records

    def _carry_out(self, batch: deque[tuple[ChannelId, Effect] | Then], records: Batch) -> None:
        """Speak and tell, in order: the records are durable."""
        if records:
            self._durable(records)
            self._logged = trio.current_time()
            self._last = next(iter(records)) if len(records) == 1 else None
        for item in batch:
            if isinstance(item, Then):
                item.do()
            elif isinstance(item[1], Send):
                self._send(item[0], item[1].message)
            elif isinstance(item[1], Notify):
                self._notify(item[0], item[1].notice)
