"""Carries out effects in the order they were decided: first everything durable, then speak, then tell.

Steps happen at once, in the trio thread; the disk is slow. So effects queue here, and whatever waits is made durable
together, whichever channels it belongs to: one pass of the queue appends all records in one transaction, and only then
sends messages and delivers notices. When nothing has waited for a while the store may tidy its log.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

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
QUIET = 0.5
"""Seconds without anything to make durable after which the store moves its log into the main file."""


@dataclass(frozen=True, slots=True)
class Then:
    """Marks a place in the queue: `do` is called when everything before it has been carried out."""

    do: Callable[[], None]


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

    def submit(self, channel: ChannelId, effects: Iterable[Effect]) -> None:
        """Queue effects in order. Never waits: call it in the same breath as the step that decided them."""
        self._queue.extend((channel, effect) for effect in effects)
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
        while is_answer or len(self._queue) > MAX_WAITING:
            await self.flush()
            is_answer = False

    async def breathe(self) -> None:
        """Return once what waits is no more than one write should take: who proposes without end asks first."""
        while len(self._queue) >= MANY:
            await self.flush()

    async def run(self) -> None:
        """Carry out effects for ever; what is queued when it is cancelled was never said to anybody."""
        is_logged = False
        while True:
            if is_logged:
                with trio.move_on_after(QUIET):
                    await self._wake.wait()
                if not self._wake.is_set():
                    # In a thread that is not abandoned: whoever cancels waits for it, as for an append.
                    await trio.to_thread.run_sync(self._store.checkpoint_log)
                    is_logged = False
            await self._wake.wait()
            self._wake = trio.Event()
            batch, self._queue = self._queue, deque()
            records: dict[ChannelId, list[Record]] = {}
            for item in batch:
                if not isinstance(item, Then) and isinstance(item[1], Persist):
                    records.setdefault(item[0], []).append(item[1].record)
            if records:
                await trio.to_thread.run_sync(self._store.append_all, records)
                self._durable(records)
                is_logged = True
            for item in batch:
                if isinstance(item, Then):
                    item.do()
                elif isinstance(item[1], Send):
                    self._send(item[0], item[1].message)
                elif isinstance(item[1], Notify):
                    self._notify(item[0], item[1].notice)
