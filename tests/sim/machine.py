"""One party's computer: a disk that stays, and processes on it that come and go, each a real `Node`.

What a node asks of the world outside goes through three functions of trio (open a connection, listen, run something in
a worker thread). For the run they are these here, so the node is the shipped one and nothing in it runs in real time.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import trio

from channels.errors import DealDeclined, PeerUnresponsive, TransactionReverted
from channels.model import ChannelId, Leg, Marks
from channels.runtime import driver
from channels.runtime.config import NodeConfig
from channels.runtime.node import Node, open_node
from channels.session import Offer
from tests.roles import Role

from .chain import Endpoint, Sent
from .disk import Disk, Mounted, PowerCut
from .network import End

if TYPE_CHECKING:
    from .world import World

POLL = 4.0
"""Seconds between a node's looks at the chain."""
HERE: ContextVar[Machine] = ContextVar("the machine that the running task is on")


class Machine:
    """A party's computer. `run` keeps a node up on it until the world ends."""

    def __init__(self, world: World, role: Role, port: int) -> None:
        self.world, self.role, self.port, self.name = world, role, port, role.name
        self.faults = world.faults
        self.disk = Disk(self.faults, self.boundary, self._keep)
        self.node: Node | None = None
        self.endpoint: Endpoint | None = None
        self.store: Mounted | None = None
        self.fuse: int | None = None
        """How many more boundaries are passed before the power goes; None: it does not."""
        self.skew = self.faults.rng.randint(-self.faults.skew, self.faults.skew)
        self.jump = 0
        self.down_until = 0.0
        self._scope = trio.CancelScope()
        self._up = False
        self.dials: list[Machine] = []

    def _keep(self, channel: ChannelId, record: Any) -> None:
        self.world.guard(self.world.history.durable, self.name, channel, record)

    # Power

    def boundary(self, place: str) -> bool:
        """Pass a place where the power may go; return whether it just did."""
        if not self._up:
            return True
        if self.fuse is None:
            return False
        self.fuse -= 1
        if self.fuse > 0:
            return False
        self.faults.fired[f"crash {place}"] += 1
        self.crash(place)
        return True

    def crash(self, why: str) -> None:
        """The power goes, now: the process does nothing more, its connections are dead, the disk stays."""
        if not self._up:
            return
        self.world.note(f"{self.name} loses its power: {why}")
        self._up, self.fuse, self.node = False, None, None
        if self.store is not None and self.endpoint is not None:
            self.store.gone = self.endpoint.gone = True
        self.world.network.forget(self.name)
        self._scope.cancel()

    async def run(self) -> None:
        """Keep a node up; after a crash start another one on the same disk."""
        HERE.set(self)
        while True:
            with trio.CancelScope() as self._scope:
                self._up = True
                try:
                    await self._process()
                except* PowerCut:
                    pass  # in the middle of an append in the node's own thread: `crash` has cancelled the rest
                except* Exception as died:
                    self.world.fail(f"a node lives as long as its machine: {self.name} ends with {died!r}")
            await trio.sleep(self.faults.rng.random() * (1.0 if self.world.healed else 10.0))
            self.world.note(f"{self.name} starts again")

    async def _process(self) -> None:
        world = self.world
        self.store = self.disk.mounted()
        self.endpoint = Endpoint(world.chain, self.role.address)
        async with open_node(
            self.role.signer,
            store=self.store,
            chain=self.endpoint,  # type: ignore[arg-type]  # it answers what a node without an engine asks
            market=self.market,
            deal=self.deal,
            config=self.config(),
            clock=self.clock,
            random=self.faults.rng.randbytes,
        ) as node:
            self.node = node
            for channel, seat in node.seats.items():
                state = seat.channel
                world.guard(world.history.restarted, self.name, channel, state.version, state.signed, state.turn)
            async with trio.open_nursery() as nursery:
                await node.listen(port=self.port)
                for peer in self.dials:
                    nursery.start_soon(self._reach, node, peer)
                await world.work(self, node, nursery)
                nursery.start_soon(trio.sleep_forever)  # owners come and go, their node stays up

    async def _reach(self, node: Node, peer: Machine) -> None:
        try:
            await node.connect("simulated", peer.port, peer.role.address)
        except PeerUnresponsive:
            return  # the node goes on trying

    # What its owner set

    def config(self) -> NodeConfig:
        terms = self.world.sample
        return NodeConfig(
            tokens={terms.token: terms.decimals},
            sources=frozenset({terms.source}),
            policies=(self.world.policy,),
            min_challenge=terms.challenge_period,
            owner=self.role.owner,
            confirmations=self.world.chain.confirmations,
            poll=POLL,
            reply_timeout=20.0,
            close_validity=60,
            limits=self.world.limits,
            tls=False,
        )

    def clock(self) -> int:
        return self.world.chain.now + self.skew + self.jump

    def market(self, legs: tuple[Leg, ...], now: int) -> Marks:
        spot = self.world.spot
        return Marks.at(now, spots={leg.underlying: spot for leg in legs}, vols=dict.fromkeys(legs, "0.6"))

    def deal(self, offer: Offer) -> None:
        if self.faults.strikes(self.faults.declines, "deal declined"):
            raise DealDeclined("the owner does not want it")

    async def in_a_thread(self, function: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
        """Do what a worker thread would, at once, after or before the time it takes."""
        if self.faults.slow_disk and any(getattr(f, "__name__", "") == "append_all" for f in (function, *arguments)):
            wait = self.faults.rng.random() * self.faults.slow_disk
            if wait > 0.5:
                self.faults.fired["slow disk"] += 1
            # What a worker thread has begun goes on when its caller is cancelled.
            with trio.CancelScope(shield=True):
                await trio.sleep(wait)
        await trio.lowlevel.checkpoint_if_cancelled()
        try:
            found = function(*arguments)
        except PowerCut:
            await trio.sleep_forever()
        if isinstance(found, Sent):
            await found.done.wait()
            if found.receipt is None:
                raise TransactionReverted(found.act.name, found.reverted)
            return found.receipt
        return found


# The three functions, and the clock by which a driver knows a quick disk


def _disk_clock() -> float:
    """Return a time on which an append takes as long as the disk says: in the node's own thread nothing can sleep.

    Once everything has healed the laws' own tasks act on nodes as well: then no disk is slow.
    """
    machine = HERE.get(None)
    return trio.current_time() + (machine.disk.spent if machine else 0.0)


async def _run_sync(
    function: Callable[..., Any], *arguments: Any, abandon_on_cancel: bool = False, limiter: Any = None
) -> Any:
    return await HERE.get().in_a_thread(function, arguments)


async def _open_tcp_stream(host: str, port: int) -> End:
    machine = HERE.get()
    return await machine.world.network.dial(machine.name, port)


class _Listener:
    """What `Node.listen` needs of a listener."""

    def __init__(self, port: int) -> None:
        self.socket = self
        self.port = port

    def getsockname(self) -> tuple[str, int]:
        return "simulated", self.port


async def _open_tcp_listeners(port: int, host: str) -> list[_Listener]:
    await trio.lowlevel.checkpoint()
    return [_Listener(port)]


async def _serve_listeners(handler: Callable[[Any], Awaitable[object]], listeners: list[_Listener]) -> None:
    machine = HERE.get()

    async def welcome(end: End) -> None:
        # The dialer's task starts this one, on the listener's machine.
        HERE.set(machine)
        await handler(end)

    await trio.lowlevel.checkpoint()  # not even a first step is taken without power
    async with trio.open_nursery() as nursery:
        machine.world.network.handlers[listeners[0].port] = (machine.name, welcome, nursery)
        await trio.sleep_forever()


@contextmanager
def simulated_trio() -> Iterator[None]:
    """For the time of the block, connections and worker threads are simulated, and the scheduler rolls no dice."""
    from trio._core import _run

    swapped: list[tuple[Any, str, Any]] = [
        (trio.to_thread, "run_sync", _run_sync),
        (trio, "open_tcp_stream", _open_tcp_stream),
        (trio, "open_tcp_listeners", _open_tcp_listeners),
        (trio, "serve_listeners", _serve_listeners),
        (driver, "perf_counter", _disk_clock),
        # Not public, and the same switch that hypothesis-trio turns: tasks that are ready at once run in a fixed order.
        (_run, "_ALLOW_DETERMINISTIC_SCHEDULING", True),
    ]
    kept = [(place, name, getattr(place, name)) for place, name, _ in swapped]
    for place, name, value in swapped:
        setattr(place, name, value)
    try:
        yield
    finally:
        for place, name, value in kept:
            setattr(place, name, value)
