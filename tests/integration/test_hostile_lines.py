"""A node that strangers and peers try to exhaust, over real sockets: every bound by count, and its friends served."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from typing import Any

import pytest
import trio

from channels.core import notices as n
from channels.core.outcome import MAX_IDLE_TURNS
from channels.errors import TermsRefused
from channels.model import ChannelId, Withdraw
from channels.runtime import driver as driving, node as runtime_node, peer as peering
from channels.runtime.live import LiveChannel
from channels.runtime.node import Node
from channels.runtime.tls import TlsLine
from channels.session import Role as End
from channels.session.session import MAX_REFUSED
from channels.wire import messages as m
from channels.wire.codec import MAX_MESSAGE, decode
from channels.wire.framing import FrameReader, frame
from tests import roles
from tests.hostile.attacks import client_hello, dial_raw, drained, flood, hung_up, line_to
from tests.hostile.besieged import node_of, terms_with
from tests.peer_process import CHAIN, both_deposited

BOB = roles.bob.address
PATIENCE = 10


@asynccontextmanager
async def siege(**config: Any) -> AsyncIterator[tuple[Node, int, LiveChannel]]:
    """Bob's node, its port, and the channel that Alice, an honest friend, has with it in her own hands."""
    async with node_of(roles.bob, **config) as bob, node_of(roles.alice) as alice:
        port = await bob.listen()
        await alice.connect("127.0.0.1", port, BOB)
        channel = await alice.open(terms_with(roles.alice.address, BOB))
        await until(lambda: channel.id in bob.channels)
        both_deposited(alice, channel)
        both_deposited(bob, bob.channels[channel.id])
        yield bob, port, channel


@asynccontextmanager
async def mallorys(bob: Node, port: int) -> AsyncIterator[tuple[trio.abc.Stream, ChannelId]]:
    """A line of Mallory's, and the channel that she has just opened on it."""
    terms = terms_with(roles.mallory.address, BOB)
    channel = terms.channel_id(CHAIN)
    async with line_to(port, roles.mallory.signer, BOB) as stream:
        await flood(stream, lambda at: m.Open(CHAIN, terms), 1)
        await until(lambda: channel in bob.channels)
        both_deposited(bob, bob.channels[channel])
        yield stream, channel


async def until(happened: Callable[[], bool]) -> None:
    with trio.fail_after(PATIENCE):
        while not happened():
            await trio.sleep(0.01)


async def serves(friend: LiveChannel) -> None:
    """A friend's channel goes on: one more state is agreed."""
    with trio.fail_after(PATIENCE):
        version = friend.version
        await friend.mark()
        assert friend.version > version


@asynccontextmanager
async def closing(sockets: list[socket.socket]) -> AsyncIterator[list[socket.socket]]:
    try:
        yield sockets
    finally:
        for raw in sockets:
            raw.close()


# Strangers


@pytest.mark.parametrize("said", [b"", client_hello()[:100], b"\x00" * 7], ids=["nothing", "half a hello", "zeros"])
async def test_connections_that_never_get_anywhere(said: bytes) -> None:
    """Many more than may be held: the count never passes the bound, and a friend's trade goes through meanwhile."""
    most = 0
    async with siege(max_strangers=16) as (bob, port, friend):
        async with closing(await dial_raw(port, 400, said)) as raw:
            for _ in range(20):
                most = max(most, len(bob._strangers))
                await trio.sleep(0.005)
            await serves(friend)
            await until(lambda: sum(map(hung_up, raw)) >= 400 - 16)
            assert most <= 16
            assert len(bob._links) == 1
        await until(lambda: not bob._strangers)


async def test_a_hello_said_a_byte_at_a_time_runs_out_of_time(monkeypatch: pytest.MonkeyPatch) -> None:
    async with siege() as (bob, port, friend):
        # From now on, no sooner: the friend may take its time on a busy machine.
        monkeypatch.setattr(runtime_node, "HANDSHAKE_TIMEOUT", 0.3)
        async with closing(await dial_raw(port, 5)) as raw:
            with trio.fail_after(PATIENCE):
                for byte in client_hello():
                    if all(map(hung_up, raw)):
                        break
                    for one in raw:
                        try:
                            one.send(bytes((byte,)))
                        except OSError:
                            continue
                    await trio.sleep(0.05)
            assert all(map(hung_up, raw))
            await until(lambda: not bob._strangers)
            await serves(friend)


async def test_a_greeting_and_no_hello_runs_out_of_time(monkeypatch: pytest.MonkeyPatch) -> None:
    async with siege() as (bob, port, friend):
        monkeypatch.setattr(peering, "HANDSHAKE_TIMEOUT", 0.3)
        stream, _ = await TlsLine().secure(await trio.open_tcp_stream("127.0.0.1", port), End.DIALER)
        await flood(stream, lambda at: m.Greeting(m.PROTOCOL, b"n" * 32, 32), 1)
        assert await drained(stream)
        await until(lambda: not bob._strangers)
        await serves(friend)


async def test_opening_channels_without_end() -> None:
    """An Open costs its peer nothing: so many are kept as the owner allows, whoever asks, and none is opened twice."""
    async with siege(max_unfunded=8) as (bob, port, friend):
        async with line_to(port, roles.mallory.signer, BOB) as stream:
            asked = [terms_with(roles.mallory.address, BOB, bytes((at,))) for at in range(60)]
            await flood(stream, lambda at: m.Open(CHAIN, asked[at % 60]), 240)
            answers = FrameReader().feed(await drained(stream, 0.5))
        said = [decode(payload) for payload in answers]
        refused = [message for message in said if isinstance(message, m.OpenRefused)]
        assert len(refused) <= MAX_REFUSED
        assert {message.code for message in refused} <= {TermsRefused.code}
        assert len(bob.seats) == 8 + 1
        await until(lambda: bob.link_to(roles.mallory.address) is None)
        await serves(friend)
        # Money makes room: a channel in which somebody has deposited counts no more.
        first = asked[0].channel_id(CHAIN)
        both_deposited(bob, bob.channels[first])
        async with line_to(port, roles.mallory.signer, BOB) as stream:
            await flood(stream, lambda at: m.Open(CHAIN, asked[59]), 1)
            await until(lambda: len(bob.seats) == 10)


# Frames


async def test_a_frame_that_is_never_finished_holds_no_more_than_itself() -> None:
    async with siege() as (bob, port, friend), mallorys(bob, port) as (stream, _):
        link = bob.link_to(roles.mallory.address)
        assert link is not None
        await stream.send_all(MAX_MESSAGE.to_bytes(4, "big") + bytes(MAX_MESSAGE - 1))
        await until(lambda: link.session._frames.pending == MAX_MESSAGE + 3)
        await serves(friend)


@pytest.mark.parametrize("length", [MAX_MESSAGE + 1, 2**31, 2**32 - 1])
async def test_a_length_beyond_the_limit_ends_the_line_before_the_frame_is_there(length: int) -> None:
    async with siege() as (bob, port, friend), mallorys(bob, port) as (stream, channel):
        await stream.send_all(length.to_bytes(4, "big") + b"some")
        farewell = [decode(payload) for payload in FrameReader().feed(await drained(stream))]
        assert [fault.code for fault in farewell if isinstance(fault, m.Fault)] == ["wire: frame too long"]
        await until(lambda: bob.link_to(roles.mallory.address) is None)
        assert bob.channels[channel].version == 0
        await serves(friend)


# Peers who have a channel here


def to_and_fro(channel: ChannelId, at: int) -> m.Message:
    """Mallory passes the turn, asks for it back, has it, and passes it again."""
    return m.WantTurn(channel) if at % 2 else m.PassTurn(channel, at + 1)


FLOODS: dict[str, Callable[[ChannelId, int], m.Message | bytes]] = {
    "WantTurn": lambda channel, at: m.WantTurn(channel),
    "PassTurn, to and fro": to_and_fro,
    "Propose, nonsense": lambda channel, at: m.Propose(channel, 1 + at, (Withdraw(10**9),), bytes(32), bytes(65), 0),
    "Propose, on no base": lambda channel, at: m.Propose(channel, 1 + at, (Withdraw(10**9),), bytes(32), bytes(65), 9),
    "Reject": lambda channel, at: m.Reject(channel, 0, "x" * 64, "y" * 512),
    "Accept": lambda channel, at: m.Accept(channel, 0, bytes(65)),
    "CollateralCall": lambda channel, at: m.CollateralCall(channel, at, 10**9),
    "Resume": lambda channel, at: m.Resume(channel, 0, at, None),
    "OpenRefused": lambda channel, at: m.OpenRefused(channel, "x" * 64, "y" * 512),
    "Greeting": lambda channel, at: m.Greeting(m.PROTOCOL, bytes(32), 32),
    "garbage": lambda channel, at: frame(b"\xc1" * 40),
}
"""What is said again and again, numbered from 0."""


@pytest.mark.parametrize("kind", FLOODS)
async def test_a_flood(kind: str) -> None:
    """Three thousand of each: what we keep is bounded by count, whatever is said, and a friend is served meanwhile."""
    async with siege() as (bob, port, friend), mallorys(bob, port) as (stream, channel):
        live = bob.channels[channel]
        await bob.driver.flush()
        records = len(bob.store.records(channel))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(serves, friend)
            await flood(stream, lambda at: FLOODS[kind](channel, at), 3_000, patience=5)
            nursery.start_soon(drained, stream, 0.3)
        await bob.driver.flush()
        assert len(bob.store.records(channel)) <= records + MAX_IDLE_TURNS
        assert len(bob.driver._queue) <= driving.MAX_WAITING
        assert len(live._unread) <= 4_096
        assert len(live.state.outstanding) == 0
        assert len(bob.seats) == 2
        assert len(bob._refusals) <= 1
        await serves(friend)


async def test_a_peer_that_reads_nothing_is_cut_off_and_its_neighbours_are_not(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It asks for answers without end and takes none of them: what waits for it stays within the bound."""
    monkeypatch.setattr(peering, "MAX_UNSENT_BYTES", 200_000)
    async with siege() as (bob, port, friend), mallorys(bob, port) as (stream, channel):
        link = bob.link_to(roles.mallory.address)
        assert link is not None
        waiting: list[int] = []

        async def watch() -> None:
            while bob.link_to(roles.mallory.address) is link:
                waiting.append(link._unsent_bytes)
                await trio.sleep(0.005)

        with trio.fail_after(2 * PATIENCE):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(watch)
                nonsense = FLOODS["Propose, on no base"]
                await flood(stream, lambda at: nonsense(channel, at), 400_000, patience=2 * PATIENCE)
        assert 0 < max(waiting) <= 200_000
        assert bob.link_to(roles.mallory.address) is None
        assert "does not read" in caplog.text
        assert "bug" not in caplog.text
        await serves(friend)


async def test_the_kernel_is_told_to_ask_whether_a_silent_machine_is_there() -> None:
    """A line whose other end lost its power says nothing ever again: keepalive ends it, and unconfirmed bytes do."""
    async with siege() as (bob, port, friend):
        links = [bob.link_to(roles.alice.address), friend._node.link_to(BOB)]
        for link in links:
            assert link is not None
            raw = link._stream.transport_stream.socket  # type: ignore[attr-defined]
            assert raw.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
            for name, value in peering.KEEPALIVE.items():
                if hasattr(socket, name):
                    assert raw.getsockopt(socket.IPPROTO_TCP, getattr(socket, name)) == value
        assert port


async def test_a_line_on_which_the_peer_falls_silent_is_told_and_can_be_made_anew() -> None:
    """Half-open in the middle: somebody confirms every byte and passes on none."""
    async with node_of(roles.bob) as bob, node_of(roles.alice) as alice:
        port = await bob.listen()
        deaf = trio.Event()

        async def middle(here: trio.SocketStream) -> None:
            there = await trio.open_tcp_stream("127.0.0.1", port)

            async def pump(source: trio.abc.Stream, sink: trio.abc.Stream, until: trio.Event) -> None:
                with suppress(trio.ClosedResourceError, trio.BrokenResourceError):
                    async for data in source:
                        if not until.is_set():
                            await sink.send_all(data)
                await trio.aclose_forcefully(sink)

            mine = deaf
            async with trio.open_nursery() as nursery:
                nursery.start_soon(pump, here, there, mine)
                nursery.start_soon(pump, there, here, mine)

        async with trio.open_nursery() as nursery:
            listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
            nursery.start_soon(trio.serve_listeners, middle, listeners)
            await alice.connect("127.0.0.1", listeners[0].socket.getsockname()[1], BOB)
            channel = await alice.open(terms_with(roles.alice.address, BOB))
            both_deposited(alice, channel)
            both_deposited(bob, bob.channels[channel.id])
            await serves(channel)
            patient, alice.config = alice.config, replace(alice.config, reply_timeout=0.5)
            deaf.set()
            with trio.move_on_after(0.2):
                await channel.mark()
            await until(lambda: any(isinstance(notice, n.PeerSilent) for notice in channel._unread))
            deaf = trio.Event()
            alice.config = patient
            link = alice.link_to(BOB)
            if link is not None:
                link.hang_up()
            await until(lambda: not channel.state.in_flight)
            await serves(channel)
            nursery.cancel_scope.cancel()
