"""A node: one party's channels, its peers, its eye on the chain, and the journal behind all of them.

async with open_node(signer, store=store, chain=chain, market=market) as node:
    await node.connect("127.0.0.1", 9735, peer)
    channel = await node.open(terms)
"""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager

import trio

from ..chain.port import Call, Chain, Receipt
from ..core import events as e
from ..core.commands import Effect, Persist
from ..core.fold import evolve
from ..core.machine import open_channel, replay
from ..core.notices import ChannelOpened, CopySuspected, Notice
from ..core.phases import Phase
from ..core.records import LossSuspected
from ..errors import InvalidValue, KeyUnusable, MarkRefused, PeerUnresponsive, StoreCorrupt, TermsRefused
from ..model import Address, ChannelId, Deployment, Leg, Marks, Party, Terms
from ..seal import Signer
from ..session import Deal, FairDeal, Kept, Market, OpeningRefused, PeerKnown, Role, Routed, Seat, Session, no_market
from ..store import Store
from ..store.instance import Reached, instance_of
from ..store.keep import keep_beside
from ..wire.messages import Message
from .backups import Backups
from .clock import Clock, system_clock
from .config import NodeConfig
from .driver import Driver
from .engines import CheckedEngines
from .live import LiveChannel
from .log import log
from .margin_keeper import MarginKeeper
from .peer import HANDSHAKE_TIMEOUT, Ending, Link, keep_alive
from .sources import CheckedSources
from .tls import Line, PlainLine, TlsLine
from .watcher import Watcher

RECONNECT = (0.05, 30.0)
"""Shortest and longest wait between attempts to reach a peer, seconds."""


class Node:
    """Made by `open_node`. Its methods are called from the trio thread; only the store and the chain run in others."""

    def __init__(
        self,
        signer: Signer,
        *,
        store: Store,
        chain: Chain,
        market: Market,
        deal: Deal,
        config: NodeConfig,
        clock: Clock,
        random: Callable[[int], bytes],
        nursery: trio.Nursery,
        cursor: int,
    ) -> None:
        self.signer, self.store, self.chain, self.config = signer, store, chain, config
        self.market, self.deal, self.now, self.random = market, deal, clock, random
        self.seats: dict[ChannelId, Seat] = {}
        self.channels: dict[ChannelId, LiveChannel] = {}
        self.instance = instance_of(store.path)
        self.driver = Driver(store, self._send, self._notify, self.instance.note)
        self.engines, self.sources = CheckedEngines(chain, config), CheckedSources(chain, config)
        self.margins = MarginKeeper(self)
        self.watcher = Watcher(self, cursor)
        self.backups = Backups(self, keep_beside(store.path))
        self._nursery = nursery
        self._links: dict[Address, Link] = {}
        self._strangers: list[trio.CancelScope] = []
        self._line: Line = TlsLine() if config.tls else PlainLine()
        self._refusals: dict[ChannelId, OpeningRefused] = {}
        self._changed = trio.Event()
        self._unclaimed: list[LiveChannel] = []

    # Peers

    async def listen(self, host: str = "127.0.0.1", port: int = 0) -> int:
        """Accept connections on a TCP port from now on; return the port, which is chosen where `port` is 0."""
        listeners = await trio.open_tcp_listeners(port, host=host)
        self._nursery.start_soon(trio.serve_listeners, self._welcome, listeners)
        chosen: int = listeners[0].socket.getsockname()[1]
        return chosen

    async def _welcome(self, stream: trio.SocketStream) -> None:
        with trio.CancelScope() as scope:
            if len(self._strangers) >= self.config.max_strangers:
                self._strangers.pop(0).cancel()
            self._strangers.append(scope)
            try:
                await self._talk(stream, Role.LISTENER, None, scope)
            finally:
                self._known(scope)

    def _known(self, scope: trio.CancelScope | None) -> None:
        """A connection is no stranger's any more: its peer has a channel with us, or it has ended."""
        if scope in self._strangers:
            self._strangers.remove(scope)

    async def connect(self, host: str, port: int, peer: Address) -> None:
        """Reach `peer` at an address and stay connected for the node's life; return once its signed Hello is there.

        Raises PeerUnresponsive if that takes longer than the reply timeout; the node goes on trying all the same.
        """
        self._nursery.start_soon(self._stay_connected, host, port, peer)
        with trio.move_on_after(self.config.reply_timeout):
            while self.link_to(peer) is None:
                await self._changed.wait()
            return
        raise PeerUnresponsive(f"{host}:{port}", self.config.reply_timeout)

    async def _stay_connected(self, host: str, port: int, peer: Address) -> None:
        wait = RECONNECT[0]
        while True:
            while self.link_to(peer) is not None:
                await self._changed.wait()
            try:
                stream = await trio.open_tcp_stream(host, port)
            except OSError as refused:
                log.info("cannot reach %s:%d: %s", host, port, refused)
            else:
                if await self._talk(stream, Role.DIALER, peer):
                    wait = RECONNECT[0]
            # Unequal waits: two sides that dial each other at once would cut each other off again and again.
            await trio.sleep(wait * (1 + self.random(1)[0] / 256))
            wait = min(2 * wait, RECONNECT[1])

    async def _talk(
        self, socket: trio.SocketStream, role: Role, expected: Address | None, stranger: trio.CancelScope | None = None
    ) -> bool:
        """Run one connection to its end; return whether the peer proved who it is and broke no rule."""
        error: Ending | None = None
        keep_alive(socket)
        secured = await self.secure(socket, role)
        if secured is None:
            return False
        stream, certificate = secured
        session = Session(
            self.signer,
            role,
            self.random(32),
            self.seats,
            opener=self._accept_terms,
            expected=expected,
            certificate=certificate,
            window=self.config.window,
        )
        link = Link(stream, session, self.now, self._on_output, stranger, self.driver.pace, self._settle)
        try:
            error = await link.run()
        except Exception:
            # Whatever a peer can provoke ends its connection and nothing else: this node must live to answer disputes.
            log.exception("connection to %s ended by a bug: please report it", link.peer)
        finally:
            if link.peer is not None and self._links.get(link.peer) is link:
                del self._links[link.peer]
                self._touch()
        return link.peer is not None and error is None

    async def secure(self, socket: trio.SocketStream, role: Role) -> tuple[trio.abc.Stream, bytes] | None:
        """Return the stream and the certificate's hash, or None after closing a line on which TLS does not come up."""
        with trio.move_on_after(HANDSHAKE_TIMEOUT):
            try:
                return await self._line.secure(socket, role)
            except (trio.BrokenResourceError, trio.ClosedResourceError) as broken:
                log.info("no TLS with the other end: %s", broken.__cause__ or broken)
        await trio.aclose_forcefully(socket)
        return None

    def _has_channel_with(self, peer: Address) -> bool:
        return any(peer in live.state.terms.signers for live in self.channels.values())

    def link_to(self, peer: Address) -> Link | None:
        """Return the connection to a peer, or None."""
        return self._links.get(peer)

    def _on_output(self, link: Link, output: Routed | PeerKnown | OpeningRefused | Kept) -> None:
        match output:
            case PeerKnown(peer):
                if self._has_channel_with(peer):
                    self._known(link.stranger)
                former = self._links.get(peer)
                self._links[peer] = link
                if former is not None:
                    former.hang_up()
                # What was decided before this connection is not for it: it begins with what Connected decides.
                self.driver.then(link.begin)
                self._touch()
            case OpeningRefused(channel, _, _):
                self._refusals[channel] = output
                self._touch()
            case Kept():
                self.backups.hear(link, output)
            case Routed(channel, effect):
                self._adopt(channel)
                self._known(link.stranger)
                self.driver.submit(channel, (effect,), wake=False)
                if isinstance(effect, Persist):
                    # The channel has changed, and who waits for room may go on: what it signs shares this write.
                    self.channels[channel].touch()

    def _settle(self, is_answer: bool) -> None:
        """Have carried out what a connection handed over; at once where the peer or a caller waits for just that.

        With proposals of ours in flight, or callers who wait to make some, it is not: what they sign shares the write.
        """
        self.driver.at_once(lambda channel: is_answer or not self.channels[channel].is_streaming)

    # Channels

    async def open(self, terms: Terms) -> LiveChannel:
        """Open a channel on these terms with the connected peer that they name; return it once the peer has agreed.

        Raises TermsRefused (ours or the peer's policy), PeerUnresponsive.
        """
        deployment = self.chain.deployment
        await self.engines.check(terms)
        await self.sources.check(terms)
        self.config.check_terms(terms, deployment, deployment, self.engines.policies, proposed_by_peer=False)
        me = self._party(terms)
        policy = self.config.policy_of(terms)
        marks, engine = self.config.mark_policy, self.config.margin_engine
        step = open_channel(deployment, terms, me, policy, marks, initiated=True, margin_engine=engine)
        channel = step.channel.id
        if channel in self.seats:
            raise InvalidValue("terms", f"0x{channel.hex()}", "this channel exists already: draw another salt")
        seat = self.seats[channel] = Seat(step.channel, self.signer, self.market, self.deal, self.config.limits)
        self._adopt(channel)
        self._unclaimed.remove(self.channels[channel])
        self.driver.submit(channel, [c for c in step.commands if isinstance(c, Effect)])
        with trio.move_on_after(self.config.reply_timeout):
            while not seat.channel.accepted:
                if channel in self._refusals:
                    refusal = self._refusals.pop(channel)
                    raise TermsRefused(f"by the peer ({refusal.code}): {refusal.reason}")
                await self._changed.wait()
            return self.channels[channel]
        raise PeerUnresponsive(str(terms.signers[me.other]), self.config.reply_timeout)

    async def incoming(self) -> LiveChannel:
        """Return the next channel that a peer opened with us."""
        while not self._unclaimed:
            await self._changed.wait()
        return self._unclaimed.pop(0)

    def _accept_terms(self, deployment: Deployment, terms: Terms) -> tuple[Seat, list[Effect]]:
        engines = self.engines.policies
        self.config.check_terms(terms, deployment, self.chain.deployment, engines, proposed_by_peer=True)
        if sum(seat.channel.is_free for seat in self.seats.values()) >= self.config.max_unfunded:
            raise TermsRefused("peers have opened as many channels here as may wait for a deposit")
        me = self._party(terms)
        ours = self.config.owner or self.signer.address
        if terms.owners[me] != ours:
            raise TermsRefused(f"they would pay our side to {terms.owners[me]}, not to {ours}")
        policy = self.config.policy_of(terms)
        marks, engine = self.config.mark_policy, self.config.margin_engine
        step = open_channel(deployment, terms, me, policy, marks, initiated=False, margin_engine=engine)
        seat = Seat(step.channel, self.signer, self.market, self.deal, self.config.limits)
        return seat, [c for c in step.commands if isinstance(c, Effect)]

    def _party(self, terms: Terms) -> Party:
        for party in Party:
            if terms.signers[party] == self.signer.address:
                return party
        raise TermsRefused(f"{self.signer.address} is neither signer")

    async def recover(self, host: str, port: int, peer: Address) -> list[LiveChannel]:
        """Ask a peer for the backups it keeps for us; return the channels that came back, and stay connected.

        For a node with an empty store, or one that lacks channels. A channel that comes back signs nothing until both
        owners agree: `LiveChannel.recover`. A backup that our key did not seal, or that is damaged, is logged and
        skipped; an old one cannot be told from a new one, which is why nothing is signed. Without any channel with the
        peer there is nothing to stay connected for. Raises PeerUnresponsive.
        """
        found = await self.backups.recover(host, port, peer)
        if self._has_channel_with(peer) and self.link_to(peer) is None:
            await self.connect(host, port, peer)
        return found

    def adopt_recovered(self, seat: Seat) -> LiveChannel:
        """Take our seat at a channel that is journalled and known to nobody here yet."""
        channel = seat.channel.id
        self.seats[channel] = seat
        live = self.channels[channel] = LiveChannel(self, seat)
        live.deliver(CopySuspected(seat.channel.version))
        self._touch()
        return live

    def restore(self) -> None:
        """Replay every channel of the store; where that may be an old copy, journal that nothing is signed any more."""
        for channel in self.store.channels():
            records = self.store.records(channel)
            if not records:
                raise StoreCorrupt(self.store.path, f"channel 0x{channel.hex()} has no records")
            terms = getattr(records[0], "terms", None)
            if not isinstance(terms, Terms):
                raise StoreCorrupt(self.store.path, f"channel 0x{channel.hex()} does not begin with its terms")
            if self.signer.address not in terms.signers:
                raise KeyUnusable(f"{self.signer.address} is no signer of channel 0x{channel.hex()} in this store")
            policy, engine = self.config.policy_of(terms), self.config.margin_engine
            state = replay(records, policy, self.config.mark_policy, engine)
            self.seats[channel] = Seat(state, self.signer, self.market, self.deal, self.config.limits)
            self.channels[channel] = LiveChannel(self, self.seats[channel])
        self._mark_instance()

    def _mark_instance(self) -> None:
        states = {channel: seat.channel for channel, seat in self.seats.items()}
        lengths = self.store.lengths()
        found = {id_: Reached(s.signed, s.version, s.turn, lengths.get(id_, 0)) for id_, s in states.items()}
        reason = self.instance.doubt(found)
        if reason:
            log.warning("the store %s may be an old copy, so nothing is signed in it: %s", self.store.path, reason)
            record = LossSuspected(self.random(32), 0)
            doubted = [channel for channel, state in states.items() if state.phase is not Phase.CLOSED]
            self.store.append_all({channel: [record] for channel in doubted})
            for channel in doubted:
                self.seats[channel].channel = evolve(states[channel], record)
        for channel, seat in self.seats.items():
            if seat.channel.suspect:
                self.channels[channel].deliver(CopySuspected(seat.channel.version))
        self.instance.begin(found)

    def _adopt(self, channel: ChannelId) -> None:
        if channel not in self.channels and channel in self.seats:
            self.channels[channel] = LiveChannel(self, self.seats[channel])
            self._unclaimed.append(self.channels[channel])
            self._touch()

    # Effects

    def start(self, task: Callable[[], Awaitable[None]]) -> None:
        """Run a task beside the node's own, for its life at most."""
        self._nursery.start_soon(task)

    def act(self, seat: Seat, event: e.Event) -> None:
        """Step a seat on an event of our side or of the chain, and queue what follows.

        Proposals that were judged before it are answered before it.
        """
        self.submit(seat, seat.answer())
        self.submit(seat, seat.act(event))

    def submit(self, seat: Seat, effects: list[Effect], *, at_once: bool = False) -> None:
        """Queue effects of a seat. `at_once`: whoever calls waits for just them."""
        self.driver.submit(seat.channel.id, effects, wake=not at_once)
        if at_once:
            self.driver.at_once()

    def _send(self, channel: ChannelId, message: Message) -> None:
        seat = self.seats.get(channel)
        link = None if seat is None else self.link_to(seat.channel.terms.signers[seat.channel.me.other])
        if link is not None:
            link.send(message)

    def _notify(self, channel: ChannelId, notice: Notice) -> None:
        self.channels[channel].deliver(notice)
        if isinstance(notice, ChannelOpened):
            # Of all notices, what `open` waits for.
            self._wake()

    def _touch(self) -> None:
        """Wake whoever waits for anything: connections and new channels may concern them all."""
        self._wake()
        for live in self.channels.values():
            live.touch()

    def _wake(self) -> None:
        """Wake who waits for the node itself; a channel wakes those who wait for it."""
        changed, self._changed = self._changed, trio.Event()
        changed.set()

    # The outside

    def marks(self, legs: tuple[Leg, ...]) -> Marks:
        """Return the market's marks for legs now; MarkRefused where the market has none."""
        marks = self.market(legs, self.now())
        if marks is None:
            raise MarkRefused("every price", "no market", "give the node a market, or marks with the trade")
        return marks

    async def send(self, call: Call) -> Receipt:
        """Send a transaction and wait for it, in a worker thread.

        What was decided before is carried out first: a signature leaves for the chain, too, only once it is durable.
        """
        await self.driver.flush()
        return await trio.to_thread.run_sync(self.chain.send, call)


@asynccontextmanager
async def open_node(
    signer: Signer,
    *,
    store: Store,
    chain: Chain,
    market: Market = no_market,
    deal: Deal | None = None,
    config: NodeConfig | None = None,
    clock: Clock = system_clock,
    random: Callable[[int], bytes] = secrets.token_bytes,
) -> AsyncIterator[Node]:
    """Run a node for the time of an `async with` block: restore its channels, follow the chain, talk to peers.

    `market` judges the peer's marks, `deal` the price of trades and closes that it proposes: by default at the market,
    within 1 % of the legs' gross value for all deals of a channel together. Checks first that the adjudicator's code is
    the shipped one, and that of the config's engines and price sources. Raises StoreError, ChainError, KeyUnusable.
    """
    await trio.to_thread.run_sync(chain.verify_code, chain.deployment.adjudicator, "Adjudicator")
    config = config or NodeConfig()
    cursor = await trio.to_thread.run_sync(store.cursor, chain.deployment)
    if not cursor and not store.channels():
        # A channel's id is drawn fresh, so nothing about ours is older than what is not confirmed yet.
        cursor = max(0, (await trio.to_thread.run_sync(chain.head)).number - config.confirmations)
        # Remembered at once: who crashes before the first look would read every block there ever was.
        await trio.to_thread.run_sync(store.advance, chain.deployment, cursor)
    failure: Exception | None = None
    try:
        async with trio.open_nursery() as nursery, AsyncExitStack() as stack:
            node = Node(
                signer,
                store=store,
                chain=chain,
                market=market,
                deal=deal or FairDeal(),
                config=config,
                clock=clock,
                random=random,
                nursery=nursery,
                cursor=cursor,
            )
            stack.callback(node.instance.close)
            await node.engines.check_configured()
            await node.sources.check_configured()
            node.restore()
            nursery.start_soon(node.driver.run)
            nursery.start_soon(node.watcher.run)
            nursery.start_soon(node.backups.run)
            try:
                yield node
                await node.driver.flush()
            except Exception as raised:
                # Kept out of the nursery's exception group: the owner gets the error that was raised.
                failure = raised
            nursery.cancel_scope.cancel()
    except BaseExceptionGroup as group:
        raise _only(group) from None
    if failure is not None:
        raise failure


def _only(error: BaseException) -> BaseException:
    """Return the one exception in a group of one, however deep; the group where there are several."""
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error
