"""TLS whose writes need no turn of the scheduler: every byte arrives, in order, however the two ways of writing mix."""

from __future__ import annotations

import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cache
from typing import Any

import pytest
import trio
import trio.testing

from channels.runtime import peer
from channels.runtime.peer import STALLED, Link
from channels.runtime.tls import TlsLine
from channels.runtime.tls_stream import TlsStream
from channels.session import Role, Session
from channels.wire import messages as m
from channels.wire.codec import decode
from channels.wire.framing import FrameReader
from tests.roles import CHANNEL, alice

MEGABYTE = bytes(range(256)) * 4_096


@cache
def line() -> TlsLine:
    return TlsLine()


@asynccontextmanager
async def joined() -> AsyncIterator[tuple[TlsStream, TlsStream]]:
    """Both ends of a TLS line over real sockets with small buffers."""
    sockets = trio.socket.socketpair()
    for one in sockets:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8_192)
    ends: dict[Role, TlsStream] = {}

    async def secure(role: Role, transport: trio.SocketStream) -> None:
        stream, _ = await line().secure(transport, role)
        assert isinstance(stream, TlsStream)
        ends[role] = stream

    async with trio.open_nursery() as nursery:
        for role, one in zip((Role.DIALER, Role.LISTENER), sockets, strict=True):
            nursery.start_soon(secure, role, trio.SocketStream(one))
    async with ends[Role.DIALER] as here, ends[Role.LISTENER] as there:
        yield here, there


def descriptor(stream: TlsStream) -> int:
    assert isinstance(stream.transport_stream, trio.SocketStream)
    return stream.transport_stream.socket.fileno()


async def read(stream: TlsStream, count: int) -> bytes:
    data = b""
    while len(data) < count:
        data += await stream.receive_some()
    return data


async def test_what_the_kernel_has_room_for_is_sent_without_a_turn() -> None:
    async with joined() as (here, there):
        assert here.send_now(b"one")
        assert here.send_now(b"two")
        assert await there.receive_some() == b"onetwo", "two records that are there are read together"


async def test_reading_returns_no_more_than_it_was_asked_for() -> None:
    async with joined() as (here, there):
        assert here.send_now(b"abcdefgh")
        assert [await there.receive_some(3) for _ in range(3)] == [b"abc", b"def", b"gh"]


async def test_every_byte_arrives_in_order_whoever_writes_it() -> None:
    async with joined() as (here, there):
        assert not here.send_now(MEGABYTE), "a small buffer takes no megabyte"
        assert not here.send_now(b"behind it"), "nothing overtakes"
        found = b""

        async def collect() -> None:
            nonlocal found
            found = await read(there, 2 * len(MEGABYTE) + 12)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(here.send_all, MEGABYTE)
            await trio.testing.wait_all_tasks_blocked(0.01)
            # There is room in the kernel now, and whoever is writing has not had its turn.
            there._incoming.write(os.read(descriptor(there), 65_536))
            assert not here.send_now(b"end"), "somebody is writing"
            nursery.start_soon(here.send_all, b"")
            nursery.start_soon(collect)
        assert found == MEGABYTE + b"behind it" + MEGABYTE + b"end"


async def test_what_one_call_leaves_the_next_one_sends() -> None:
    async with joined() as (here, there):
        assert not here.send_now(MEGABYTE)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(here.send_all, b"")
            assert await read(there, len(MEGABYTE)) == MEGABYTE
        assert here.send_now(b"more")
        assert await there.receive_some() == b"more"


async def test_a_read_that_is_cancelled_loses_nothing() -> None:
    async with joined() as (here, there):
        with trio.move_on_after(0.01):
            await there.receive_some()
        assert here.send_now(b"late")
        assert await there.receive_some() == b"late"


async def test_who_reads_what_is_there_gives_others_a_turn() -> None:
    """A peer that has filled our buffer keeps nobody else from running."""
    async with joined() as (here, there):
        assert here.send_now(b"a" * 3_000)
        await there.receive_some(1)
        turns = 0

        async def other() -> None:
            nonlocal turns
            for _ in range(1_000):
                turns += 1
                await trio.lowlevel.checkpoint()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(other)
            for _ in range(500):
                await there.receive_some(1)
            nursery.cancel_scope.cancel()
        assert turns >= 490


async def test_the_end_of_the_line_is_no_bytes_with_or_without_a_farewell() -> None:
    async with joined() as (here, there):
        assert here.send_now(b"bye")
        await here.aclose()
        assert await there.receive_some() == b"bye"
        assert await there.receive_some() == b""
        assert await there.receive_some() == b""


async def test_a_forged_record_breaks_the_line_after_what_came_before_it() -> None:
    async with joined() as (here, there):
        assert here.send_now(b"good")
        os.write(descriptor(here), b"\x17\x03\x03\x00\x20" + bytes(32))
        assert await there.receive_some() == b"good"
        with pytest.raises(trio.BrokenResourceError):
            await there.receive_some()
        assert not there.send_now(b"x")
        with pytest.raises(trio.BrokenResourceError):
            await there.send_all(b"x")


async def test_a_closed_line_raises_where_it_is_waited_for_only() -> None:
    async with joined() as (here, _):
        await here.aclose()
        assert not here.send_now(b"x")
        with pytest.raises(trio.ClosedResourceError):
            await here.send_all(b"")
        with pytest.raises(trio.ClosedResourceError):
            await here.receive_some()


async def test_a_peer_that_is_gone_raises_where_it_is_waited_for_only() -> None:
    async with joined() as (here, there):
        await there.aclose()
        await trio.testing.wait_all_tasks_blocked()
        while here.send_now(b"x" * 1_000):
            pass
        with pytest.raises(trio.BrokenResourceError):
            await here.send_all(b"")


async def test_tls_over_a_line_without_a_socket_is_written_by_the_writer() -> None:
    ours, theirs = trio.testing.memory_stream_pair()
    ends = {}

    async def secure(role: Role, transport: trio.abc.Stream) -> None:
        ends[role] = TlsStream(transport, line()._listening if role is Role.LISTENER else line()._dialing,
                               server_side=role is Role.LISTENER)  # fmt: skip
        await ends[role].do_handshake()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(secure, Role.DIALER, ours)
        nursery.start_soon(secure, Role.LISTENER, theirs)
    assert not ends[Role.DIALER].send_now(b"one")
    await ends[Role.DIALER].send_all(b"two")
    assert await ends[Role.LISTENER].receive_some() == b"onetwo"


# A connection on such a line


def link_on(stream: trio.abc.Stream) -> Link:
    link = Link(stream, Session(alice.signer, Role.DIALER, b"n" * 32, {}), lambda: 0, lambda link, output: None)
    link.begin()
    return link


def words(count: int, size: int = 400) -> list[m.Message]:
    return [m.Reject(CHANNEL, version, "code", "r" * size) for version in range(count)]


async def test_what_is_said_together_is_one_write_in_the_speakers_breath(monkeypatch: pytest.MonkeyPatch) -> None:
    async with joined() as (here, there), trio.open_nursery() as nursery:
        link = link_on(here)
        nursery.start_soon(link.run)
        await there.receive_some()
        await trio.testing.wait_all_tasks_blocked()
        written: list[int] = []
        send_now = here.send_now

        def counted(data: bytes) -> bool:
            written.append(len(data))
            return send_now(data)

        monkeypatch.setattr(here, "send_now", counted)
        for message in words(5):
            link.send(message, wake=False)
        assert not written
        link.push()
        assert len(written) == 1
        assert link._unsent_bytes == 0
        assert len(FrameReader().feed(await there.receive_some())) == 5
        nursery.cancel_scope.cancel()


async def test_what_does_not_fit_is_finished_by_the_writer_in_order() -> None:
    async with joined() as (here, there), trio.open_nursery() as nursery:
        link = link_on(here)
        nursery.start_soon(link.run)
        await there.receive_some()
        await trio.testing.wait_all_tasks_blocked()
        said = words(2_000)
        for message in said:
            link.send(message, wake=False)
        link.push()
        assert 0 < link._unsent_bytes <= 2_000 * 500
        frames, heard = FrameReader(), list[Any]()
        while len(heard) < 2_000:
            heard += map(decode, frames.feed(await there.receive_some()))
            link.push()  # whoever speaks meanwhile changes no order
        assert heard == said
        await trio.testing.wait_all_tasks_blocked()
        assert link._unsent_bytes == 0
        nursery.cancel_scope.cancel()


async def test_who_stops_reading_what_was_pushed_is_cut_off_in_time(
    autojump_clock: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(peer, "HANDSHAKE_TIMEOUT", 10 * STALLED)
    async with joined() as (here, there), trio.open_nursery() as nursery:
        link = link_on(here)
        nursery.start_soon(link.run)
        await there.receive_some()
        began = trio.current_time()
        for message in words(2_000):
            link.send(message, wake=False)
        link.push()
        with trio.fail_after(2 * STALLED):
            while not link._scope.cancel_called:
                await trio.sleep(0.1)
        assert STALLED <= trio.current_time() - began < STALLED + 1


async def test_a_peer_that_reads_slowly_is_not_cut_off(autojump_clock: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The time is for one message at a time, however long all of them take."""
    monkeypatch.setattr(peer, "HANDSHAKE_TIMEOUT", 100 * STALLED)
    monkeypatch.setattr(peer, "RECEIVE_SIZE", 1_000)
    ours, theirs = trio.testing.lockstep_stream_pair()
    link = link_on(ours)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(link.run)
        await theirs.receive_some()
        for message in words(10, size=500):
            link.send(message)
        for _ in range(5):
            await trio.sleep(0.9 * STALLED)
            await theirs.receive_some()
            assert not link._scope.cancel_called
        while link._unsent_bytes:
            await theirs.receive_some()
            await trio.testing.wait_all_tasks_blocked()
        await trio.sleep(2 * STALLED)
        assert not link._scope.cancel_called, "nothing waits for it any more"
        nursery.cancel_scope.cancel()


async def test_a_line_that_broke_while_we_spoke_ends_the_connection_and_nothing_else() -> None:
    async with joined() as (here, there):
        link = link_on(here)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(link.run)
            await there.receive_some()
            await there.aclose()
            for _ in range(100):
                for message in words(10):
                    link.send(message, wake=False)
                link.push()
        assert link._ended is None
        link.send(words(1)[0], wake=False)
        link.push()
