"""A connection: it begins with what heals the channel, and what waits to be sent goes out together."""

from __future__ import annotations

from typing import Any

import pytest
import trio
import trio.testing

from channels.core.commands import Send
from channels.errors import RemoteProtocolError, UnexpectedMessage
from channels.runtime import peer
from channels.runtime.driver import Driver
from channels.runtime.peer import RECEIVE_SIZE, Link
from channels.session import Hangup, Output, Role, Session
from channels.store import MemoryStore
from channels.wire import messages as m
from channels.wire.codec import decode
from channels.wire.framing import FrameReader
from tests.roles import CHANNEL, alice


async def test_what_was_decided_before_a_connection_is_not_sent_on_it(autojump_clock: Any) -> None:
    ours, theirs = trio.testing.memory_stream_pair()
    session = Session(alice.signer, Role.DIALER, b"n" * 32, {})
    link = Link(ours, session, lambda: 0, lambda link, output: None)
    driver = Driver(MemoryStore(), lambda channel, message: link.send(message), lambda channel, notice: None)
    driver.submit(CHANNEL, [Send(m.PassTurn(CHANNEL, 1))])
    driver.then(link.begin)
    driver.submit(CHANNEL, [Send(m.Resume(CHANNEL, 1, 0, None))])
    async with trio.open_nursery() as nursery:
        nursery.start_soon(driver.run)
        nursery.start_soon(link.run)
        await trio.sleep(1)
        said = FrameReader().feed(bytes(await theirs.receive_some()))
        nursery.cancel_scope.cancel()
    assert [type(decode(payload)) for payload in said] == [m.Greeting, m.Resume]


async def test_frames_that_wait_go_out_together_as_far_as_they_are_read_together(autojump_clock: Any) -> None:
    ours, theirs = trio.testing.memory_stream_pair()
    written: list[int] = []
    write = ours.send_all

    async def send_all(data: bytes) -> None:
        written.append(len(data))
        await write(data)

    ours.send_all = send_all  # type: ignore[method-assign]
    link = Link(ours, Session(alice.signer, Role.DIALER, b"n" * 32, {}), lambda: 0, lambda link, output: None)
    link.begin()
    sent = [m.Reject(CHANNEL, version, "code", "r" * 400) for version in range(400)]
    size = len(Session.to_bytes(sent[-1]))
    for message in sent:
        link.send(message)
    heard, frames = [], FrameReader()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(link.run)
        while len(heard) < len(sent) + 1:
            heard += frames.feed(bytes(await theirs.receive_some()))
        nursery.cancel_scope.cancel()
    assert [message for message in map(decode, heard) if not isinstance(message, m.Greeting)] == sent
    assert len(written) == -(-sum(written) // RECEIVE_SIZE)
    assert RECEIVE_SIZE <= written[0] < RECEIVE_SIZE + size


async def test_proposals_are_answered_when_no_more_of_them_can_be_read_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two pieces lie in the line, a third comes after the answer to both: two answers, and the line's end a third."""
    ours, theirs = map(trio.SocketStream, trio.socket.socketpair())
    link = Link(ours, Session(alice.signer, Role.DIALER, b"n" * 32, {}), lambda: 0, lambda link, output: None)
    heard: list[bytes] = []
    waiting: list[bytes] = []

    def receive_data(data: bytes, now: int, *, more: bool = False) -> list[Output]:
        waiting.append(data)
        if more:
            return []
        heard.append(b"".join(waiting))
        waiting.clear()
        return []

    monkeypatch.setattr(link.session, "receive_data", receive_data)
    monkeypatch.setattr(Session, "unanswered", property(lambda session: 2 * len(waiting)))
    monkeypatch.setattr(peer, "RECEIVE_SIZE", 3)
    await theirs.send_all(b"onetwo")
    async with theirs, trio.open_nursery() as nursery:
        nursery.start_soon(link.run)
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert heard == [b"onetwo"]
        await theirs.send_all(b"six")
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert heard == [b"onetwo", b"six"]
        await theirs.send_eof()


async def test_what_was_said_rightly_before_a_fault_is_settled_before_the_farewell(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ours, theirs = trio.testing.memory_stream_pair()
    link = Link(
        ours, Session(alice.signer, Role.DIALER, b"n" * 32, {}), lambda: 0, lambda link, output: None,
        settle=lambda is_answer: link.send(m.WantTurn(CHANNEL)),
    )  # fmt: skip
    link.begin()
    fault = Hangup(RemoteProtocolError(UnexpectedMessage("it", "anything")), Session.to_bytes(m.Fault("code", "why")))
    monkeypatch.setattr(link.session, "receive_data", lambda data, now, more=False: [fault] if data else [])
    async with trio.open_nursery() as nursery:
        nursery.start_soon(theirs.send_all, b"x")
        assert await link.run() is fault.error
    said = FrameReader().feed(bytes(await theirs.receive_some()))
    assert [type(decode(payload)) for payload in said] == [m.Greeting, m.WantTurn, m.Fault]
