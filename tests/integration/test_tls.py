"""The line between two nodes: nobody reads it, nobody stands in it, nothing talks it down, no stranger fills it."""

from __future__ import annotations

import logging
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import cache, partial

import pytest
import trio
import trio.testing

from channels.chain.local import LocalChain
from channels.errors import PeerUnresponsive
from channels.runtime import node as runtime_node
from channels.runtime.node import Node, open_node
from channels.runtime.tls import PlainLine, TlsLine
from channels.seal import Signer
from channels.session import Role as End, Session
from channels.store import MemoryStore
from channels.wire import messages as m
from channels.wire.messages import PROTOCOL
from tests import roles
from tests.integration.dialing import dialed
from tests.pair import Desk, config_for, opened_pair

GREETING = Session.to_bytes(m.Greeting(PROTOCOL, bytes(32), 32))[:-33]
"""How every conversation begins, up to the nonce and the window."""
HANDSHAKE_RECORD = b"\x16\x03"

Serve = Callable[[trio.SocketStream], Awaitable[None]]


@cache
def embedded() -> LocalChain:
    """One chain for all nodes here: none of them looks at it."""
    return LocalChain(roles.NOW)


@asynccontextmanager
async def node_of(signer: Signer, **config: object) -> AsyncIterator[Node]:
    """A node that stays alone with its peers."""
    local = await trio.to_thread.run_sync(embedded)
    settings = {"reply_timeout": 10.0, "poll": 5.0} | config
    async with open_node(
        signer,
        store=MemoryStore(),
        chain=local.client(signer),
        market=Desk(),
        config=config_for(local, **settings),
        clock=lambda: local.now,
    ) as node:
        yield node


async def until(happened: Callable[[], bool]) -> None:
    with trio.fail_after(20):
        while not happened():
            await trio.sleep(0.01)


@asynccontextmanager
async def server(serve: Serve) -> AsyncIterator[int]:
    """Somebody who listens and does what the test says; yields the port."""
    async with trio.open_nursery() as nursery:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, serve, listeners)
        yield listeners[0].socket.getsockname()[1]
        nursery.cancel_scope.cancel()


async def pump(source: trio.abc.Stream, sink: trio.abc.Stream, seen: bytearray) -> None:
    """Carry bytes one way and remember them."""
    try:
        while data := await source.receive_some():
            seen += data
            await sink.send_all(data)
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        pass
    await trio.aclose_forcefully(sink)


async def relay(here: trio.abc.Stream, there: trio.abc.Stream, sent: bytearray, answered: bytearray) -> None:
    """Carry bytes both ways until either end is gone."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(pump, here, there, sent)
        nursery.start_soon(pump, there, here, answered)


async def test_who_listens_to_the_line_reads_nothing() -> None:
    sent, answered = bytearray(), bytearray()

    async with node_of(roles.bob.signer) as bob, node_of(roles.alice.signer) as alice:
        port = await bob.listen()

        async def tap(stream: trio.SocketStream) -> None:
            await relay(stream, await trio.open_tcp_stream("127.0.0.1", port), sent, answered)

        async with server(tap) as tapped:
            await alice.connect("127.0.0.1", tapped, roles.bob.address)
    for heard in (sent, answered):
        assert len(heard) > 300
        assert heard.startswith(HANDSHAKE_RECORD)
        assert GREETING not in heard
    assert b"option-channels" not in answered  # TLS 1.3: not even the certificate is in the clear


async def test_a_man_in_the_middle_is_caught_by_both(caplog: pytest.LogCaptureFixture) -> None:
    """Mallory ends TLS on both sides and passes on every byte; but for the certificate in the Hello, she could."""
    caplog.set_level(logging.WARNING)
    sent, answered = bytearray(), bytearray()
    async with node_of(roles.bob.signer) as bob, node_of(roles.alice.signer, reply_timeout=1.0) as alice:
        port = await bob.listen()

        async def middle(stream: trio.SocketStream) -> None:
            here, _ = await TlsLine().secure(stream, End.LISTENER)
            there, _ = await TlsLine().secure(await trio.open_tcp_stream("127.0.0.1", port), End.DIALER)
            await relay(here, there, sent, answered)

        async with server(middle) as tapped:
            with pytest.raises(PeerUnresponsive):
                await alice.connect("127.0.0.1", tapped, roles.bob.address)
            await until(lambda: sum("it is signed by" in record.message for record in caplog.records) >= 2)
        assert alice.link_to(roles.bob.address) is None
        assert bob.link_to(roles.alice.address) is None
    assert GREETING in sent and GREETING in answered  # she did read it all, and it did not help


async def test_an_older_tls_is_no_line() -> None:
    line = TlsLine()
    line._listening.minimum_version = line._listening.maximum_version = ssl.TLSVersion.TLSv1_2
    refused = []

    async def old(stream: trio.SocketStream) -> None:
        with pytest.raises(trio.BrokenResourceError):
            await line.secure(stream, End.LISTENER)
        refused.append(1)
        await stream.aclose()

    async with node_of(roles.alice.signer, reply_timeout=1.0) as alice, server(old) as port:
        with pytest.raises(PeerUnresponsive):
            await alice.connect("127.0.0.1", port, roles.bob.address)
        await until(lambda: bool(refused))


async def test_a_listener_without_tls_hears_no_message() -> None:
    """A downgrade: the other end speaks the protocol in plain text. Not even a Greeting is said to it."""
    heard = bytearray()

    async def plain(stream: trio.SocketStream) -> None:
        await stream.send_all(Session.to_bytes(m.Greeting(PROTOCOL, b"n" * 32, 32)))
        try:
            while data := await stream.receive_some():
                heard.extend(data)
        except trio.BrokenResourceError:
            pass

    async with node_of(roles.alice.signer, reply_timeout=1.0) as alice, server(plain) as port:
        with pytest.raises(PeerUnresponsive):
            await alice.connect("127.0.0.1", port, roles.bob.address)
        await until(lambda: bool(heard))
    assert heard.startswith(HANDSHAKE_RECORD)
    assert GREETING not in heard


async def test_a_plain_dialer_is_shown_the_door() -> None:
    async with node_of(roles.bob.signer) as bob:
        stream = await trio.open_tcp_stream("127.0.0.1", await bob.listen())
        await stream.send_all(Session.to_bytes(m.Greeting(PROTOCOL, bytes(32), 32)))
        answer = b""
        with trio.fail_after(20):
            try:
                while more := await stream.receive_some():
                    answer += bytes(more)
            except trio.BrokenResourceError:
                pass
        assert len(answer) < 16  # an alert of TLS at most


async def test_two_nodes_without_tls_understand_each_other_only_if_both_say_so() -> None:
    async with node_of(roles.bob.signer, tls=False) as bob, node_of(roles.alice.signer, tls=False) as alice:
        port = await bob.listen()
        await alice.connect("127.0.0.1", port, roles.bob.address)
        async with node_of(roles.mallory.signer, reply_timeout=1.0) as mallory:
            with pytest.raises(PeerUnresponsive):
                await mallory.connect("127.0.0.1", port, roles.bob.address)


async def test_somebody_elses_signature_is_not_the_peers() -> None:
    async with node_of(roles.mallory.signer) as mallory, node_of(roles.alice.signer, reply_timeout=1.0) as alice:
        port = await mallory.listen()
        with pytest.raises(PeerUnresponsive):
            await alice.connect("127.0.0.1", port, roles.bob.address)
        assert alice.link_to(roles.mallory.address) is None


async def test_a_recorded_hello_opens_no_second_line() -> None:
    """Mallory has the Hello that Alice once said to her; to Bob, who drew another nonce, it is somebody else's."""
    async with node_of(roles.bob.signer) as bob:
        port = await bob.listen()
        recorded: list[bytes] = []
        line = TlsLine()

        async def listen(stream: trio.SocketStream) -> None:
            secured, certificate = await line.secure(stream, End.LISTENER)
            session = Session(roles.mallory.signer, End.LISTENER, bytes(32), {}, certificate=certificate)
            await secured.send_all(session.start())
            while data := bytes(await secured.receive_some()):
                recorded.append(data)
                for output in session.receive_data(data, 0):
                    if hasattr(output, "data"):
                        await secured.send_all(output.data)

        async with server(listen) as trap, node_of(roles.alice.signer) as alice:
            await alice.connect("127.0.0.1", trap, roles.mallory.address)
        stream, _ = await TlsLine().secure(await trio.open_tcp_stream("127.0.0.1", port), End.DIALER)
        await stream.send_all(b"".join(recorded))
        await until(lambda: bool(bob._links))
        # A signature of something else is somebody's, but not Alice's, and who has no channel here stays a stranger.
        assert bob.link_to(roles.alice.address) is None
        assert len(bob._strangers) == 1


async def test_strangers_that_never_speak_make_room_for_friends(monkeypatch: pytest.MonkeyPatch) -> None:
    """At most so many connections of nobody known, the oldest cut off first, and each cut off in time."""
    async with node_of(roles.bob.signer, max_strangers=4) as bob, node_of(roles.alice.signer) as alice:
        port = await bob.listen()
        silent = [await trio.open_tcp_stream("127.0.0.1", port) for _ in range(12)]
        with trio.fail_after(0.9 * runtime_node.HANDSHAKE_TIMEOUT):
            for stream in silent[:8]:
                assert await ended(stream)
        await alice.connect("127.0.0.1", port, roles.bob.address)
        # Time is short from now on, no sooner: Alice may take hers on a busy machine.
        monkeypatch.setattr(runtime_node, "HANDSHAKE_TIMEOUT", 0.3)
        silent += [await trio.open_tcp_stream("127.0.0.1", port) for _ in range(3)]
        with trio.fail_after(20):
            for stream in silent:
                assert await ended(stream)
        assert bob.link_to(roles.alice.address) is not None
        # Alice is left, who has no channel here either; a line is forgotten a moment after it was closed.
        await until(lambda: len(bob._strangers) == 1)


async def ended(stream: trio.SocketStream) -> bool:
    """Wait for the other end to hang up."""
    try:
        return not await stream.receive_some()
    except trio.BrokenResourceError:
        return True


async def test_who_has_a_channel_with_us_is_no_stranger() -> None:
    """Mallory proves who she is as often as she likes: with no channel here, her lines count, and Alice's does not."""
    async with opened_pair(bob_config={"max_strangers": 2}) as pair:
        bob = pair.bob.node
        line = bob.link_to(roles.alice.address)
        port = await bob.listen()
        # Kept: a line that nobody holds is closed.
        lines = [await dialed(port, roles.mallory.signer, roles.bob.address) for _ in range(4)]
        await until(lambda: bob.link_to(roles.mallory.address) is not None)
        assert len(bob._strangers) <= 2
        assert bob.link_to(roles.alice.address) is line
        assert len(lines) == 4
        await pair.alice.channel.deposit(5)


async def test_a_stranger_who_opens_a_channel_is_one_no_more() -> None:
    async with opened_pair(bob_config={"max_strangers": 1}) as pair:
        assert pair.bob.node._strangers == []


@pytest.mark.parametrize("line", [PlainLine, TlsLine])
async def test_both_ends_have_the_same_certificate(line: Callable[[], PlainLine | TlsLine]) -> None:
    one, other = trio.testing.memory_stream_pair()
    found: dict[End, bytes] = {}

    async def end(stream: trio.abc.Stream, role: End) -> None:
        found[role] = (await line().secure(stream, role))[1]

    async with trio.open_nursery() as nursery:
        nursery.start_soon(partial(end, one, End.LISTENER))
        nursery.start_soon(partial(end, other, End.DIALER))
    assert found[End.LISTENER] == found[End.DIALER]
    assert (found[End.DIALER] == bytes(32)) is (line is PlainLine)


def test_every_node_has_a_certificate_of_its_own() -> None:
    assert len({TlsLine().certificate_sha256 for _ in range(3)}) == 3
