"""A network in virtual time: connections that carry bytes in order, late, in pieces, and sometimes not at all.

It stands in for TCP, so within one connection nothing is reordered, repeated or lost in the middle: a connection is cut
after some byte, each end learns of it in its own time, and until then what it says goes nowhere. Reordering and
repetition are between connections, where the protocol has to cope with them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable

import trio

from .faults import Faults

Boundary = Callable[[str], bool]
"""Called at a place where the machine may lose its power: returns whether it just did."""


class Pipe:
    """One direction of a connection."""

    def __init__(self) -> None:
        self.pieces: deque[tuple[float, bytes]] = deque()
        """Arrival and bytes."""
        self.ended_at: float | None = None
        """When the reader learns that nothing more comes."""
        self.lost = False
        """What is written now is lost."""
        self.news = trio.Event()

    def wake(self) -> None:
        news, self.news = self.news, trio.Event()
        news.set()


class End(trio.abc.Stream):
    """One machine's end of a connection."""

    def __init__(self, net: Network, owner: str, peer: str, inbox: Pipe, outbox: Pipe) -> None:
        self.net, self.owner, self.peer = net, owner, peer
        self.inbox, self.outbox = inbox, outbox
        self.closed = False
        self.boundary: Boundary = lambda place: False
        self.tap: Callable[[bytes], None] = lambda data: None
        """Hears every byte that leaves."""

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        raw = bytes(data)
        await trio.lowlevel.checkpoint_if_cancelled()
        if self.closed:
            raise trio.ClosedResourceError
        if self.boundary("before send"):
            await trio.sleep_forever()
        if self.boundary("inside send"):
            # A signature is out as soon as any part of the frame may be; the tap gets what got out.
            self._put(raw[: self.net.faults.rng.randrange(len(raw))])
            await trio.sleep_forever()
        self._put(raw)
        if self.boundary("after send"):
            await trio.sleep_forever()

    def _put(self, raw: bytes) -> None:
        self.tap(raw)
        if not self.outbox.lost and raw:
            self.net.carry(self, raw)

    async def wait_send_all_might_not_block(self) -> None:
        await trio.lowlevel.checkpoint()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        await trio.lowlevel.checkpoint_if_cancelled()
        pipe = self.inbox
        while True:
            now = trio.current_time()
            if self.closed:
                raise trio.ClosedResourceError
            if pipe.pieces and pipe.pieces[0][0] <= now:
                return self._take(max_bytes or 65_536)
            if not pipe.pieces and pipe.ended_at is not None and pipe.ended_at <= now:
                return b""
            due = pipe.pieces[0][0] if pipe.pieces else pipe.ended_at
            if due is None:
                await pipe.news.wait()
                continue
            with trio.CancelScope(deadline=due):
                await pipe.news.wait()

    def _take(self, limit: int) -> bytes:
        faults, now = self.net.faults, trio.current_time()
        data = b""
        while self.inbox.pieces and self.inbox.pieces[0][0] <= now and len(data) < limit:
            data += self.inbox.pieces.popleft()[1]
        if len(data) > 1 and faults.strikes(faults.pieces, "split"):
            at = faults.rng.randrange(1, len(data))
            self.inbox.pieces.appendleft((now, data[at:]))
            data = data[:at]
        return data

    async def aclose(self) -> None:
        self.shut()
        await trio.lowlevel.checkpoint()

    def shut(self) -> None:
        """Close: the other end reads what is on its way and then learns of it."""
        if not self.closed:
            self.closed = True
            self.net.hang_up(self)
            self.inbox.wake()


class Network:
    """Who listens where, every connection there is, and what is wrong with them."""

    def __init__(self, faults: Faults) -> None:
        self.faults = faults
        self.handlers: dict[int, tuple[str, Callable[[End], Awaitable[object]], trio.Nursery]] = {}
        self.connections: list[tuple[End, End]] = []
        self.parted: dict[frozenset[str], float] = {}
        """Until when two machines cannot reach each other."""
        self.made: Callable[[End], None] = lambda end: None
        """Told of each new end."""

    async def dial(self, owner: str, port: int) -> End:
        """Connect to whoever listens; OSError where nobody does, or the way is blocked."""
        await trio.sleep(self._delay())
        listener = self.handlers.get(port)
        if listener is None:
            raise OSError("connection refused")
        peer, handler, nursery = listener
        if self._parted(owner, peer) > trio.current_time():
            raise OSError("network unreachable")
        there, back = Pipe(), Pipe()
        near, far = End(self, owner, peer, back, there), End(self, peer, owner, there, back)
        self.connections.append((near, far))
        self.made(near)
        self.made(far)
        nursery.start_soon(handler, far)
        return near

    def carry(self, sender: End, data: bytes) -> None:
        """Put bytes on their way, behind those that are on it already."""
        pipe = sender.outbox
        arrival = max(trio.current_time() + self._delay(), self._parted(sender.owner, sender.peer))
        if pipe.pieces:
            arrival = max(arrival, pipe.pieces[-1][0])
        if arrival > trio.current_time() + 0.5:
            self.faults.fired["delayed"] += 1
        pipe.pieces.append((arrival, data))
        pipe.wake()

    def hang_up(self, end: End) -> None:
        """One end closes: what it wrote arrives, then the other end reads the end of the stream."""
        now = trio.current_time()
        pipe = end.outbox
        if pipe.ended_at is None:
            last = pipe.pieces[-1][0] if pipe.pieces else now
            pipe.ended_at = max(last, now + self._delay())
            pipe.wake()
        end.inbox.lost = True
        end.inbox.pieces.clear()
        self.connections = [pair for pair in self.connections if end not in pair or not all(e.closed for e in pair)]

    def cut(self, pair: tuple[End, End], silence: float) -> None:
        """Cut a connection after any byte: each end learns of it within `silence` seconds, and speaks until then."""
        now = trio.current_time()
        for end in pair:
            pipe = end.outbox
            on_its_way = b"".join(data for _, data in pipe.pieces)
            pipe.pieces.clear()
            kept = on_its_way[: self.faults.rng.randint(0, len(on_its_way))]
            if len(kept) < len(on_its_way):
                self.faults.fired["cut with bytes on the way"] += 1
            if kept:
                pipe.pieces.append((now, kept))
            pipe.lost = True
            heard = now + self.faults.rng.random() * silence
            if heard > now + 1:
                self.faults.fired["half-open"] += 1
            pipe.ended_at = heard if pipe.ended_at is None else min(heard, pipe.ended_at)
            pipe.wake()

    def part(self, one: str, other: str, seconds: float) -> None:
        """Nothing gets from one machine to the other for a while; what was on its way waits too."""
        until = trio.current_time() + seconds
        self.parted[frozenset((one, other))] = until
        for pair in self.connections:
            if {pair[0].owner, pair[1].owner} == {one, other}:
                for end in pair:
                    end.outbox.pieces = deque((max(at, until), data) for at, data in end.outbox.pieces)
                    end.outbox.wake()

    def forget(self, owner: str) -> None:
        """A machine has lost its power: nobody listens there any more and its connections are dead."""
        self.handlers = {port: kept for port, kept in self.handlers.items() if kept[0] != owner}
        for pair in [pair for pair in self.connections if owner in (pair[0].owner, pair[1].owner)]:
            self.cut(pair, 8.0)
            for end in pair:
                end.closed = end.closed or end.owner == owner

    def heal(self) -> None:
        """Every way is open again."""
        self.parted.clear()
        for pair in self.connections:
            for end in pair:
                end.outbox.pieces = deque((min(at, trio.current_time()), data) for at, data in end.outbox.pieces)
                end.outbox.wake()

    def _parted(self, one: str, other: str) -> float:
        return self.parted.get(frozenset((one, other)), 0.0)

    def _delay(self) -> float:
        return self.faults.rng.random() * self.faults.delay
