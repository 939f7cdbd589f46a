"""What is said goes out before more is signed or judged: the peer computes at the same time, and not afterwards."""

from __future__ import annotations

from typing import Any

import pytest
import trio
import trio.testing

from channels.core.commands import Send
from channels.runtime import peer as peering
from channels.runtime.peer import TURNS_TO_SAY, Link
from channels.session import Role, Routed, Session
from channels.wire.messages import WantTurn
from tests.roles import CHANNEL, alice

ASKED = WantTurn(CHANNEL)


class Line(trio.abc.Stream):
    """Takes a turn of the scheduler before it writes, as trio's TLS stream does; notes what was written."""

    def __init__(self, inner: trio.abc.Stream, seen: list[str]) -> None:
        self.inner, self.seen = inner, seen
        self.is_stuck = False

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await trio.lowlevel.checkpoint()
        if self.is_stuck:
            await trio.sleep_forever()
        self.seen.append("sent")
        await self.inner.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self.inner.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        return await self.inner.receive_some(max_bytes)

    async def aclose(self) -> None:
        await self.inner.aclose()


def talking(monkeypatch: pytest.MonkeyPatch, seen: list[str]) -> tuple[Link, Line, trio.abc.Stream]:
    """A connection on which whatever is read, a byte at a time, is answered."""
    ours, theirs = trio.testing.memory_stream_pair()
    line = Line(ours, seen)
    link = Link(line, Session(alice.signer, Role.DIALER, b"n" * 32, {}), lambda: 0, lambda link, output: None)
    link.begin()

    def heard(data: bytes, now: int, more: bool = False) -> list[Any]:
        if not data:
            return []
        seen.append("judged")
        link.send(ASKED)
        return [Routed(CHANNEL, Send(ASKED))]

    monkeypatch.setattr(link.session, "receive_data", heard)
    monkeypatch.setattr(peering, "RECEIVE_SIZE", 1)
    return link, line, theirs


async def test_an_answer_goes_out_before_more_is_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    link, _, theirs = talking(monkeypatch, seen)
    await theirs.send_all(bytes(6))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(link.run)
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert seen.count("judged") == 6
    after_hello = seen[seen.index("judged") :]
    assert [what for what in after_hello if what == "judged" or what == "sent"][-12:] == ["judged", "sent"] * 6


async def test_a_line_that_takes_nothing_holds_nobody_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever reads slowly is the writer's affair, and its limits': reading and signing go on."""
    seen: list[str] = []
    link, line, theirs = talking(monkeypatch, seen)
    line.is_stuck = True
    await theirs.send_all(bytes(6))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(link.run)
        await trio.testing.wait_all_tasks_blocked()
        assert seen == ["judged"] * 6
        with trio.testing.assert_checkpoints():
            await link.said()
        nursery.cancel_scope.cancel()


async def test_where_nothing_waits_nobody_waits() -> None:
    link = Link(Line(trio.testing.memory_stream_pair()[0], []), Session(alice.signer, Role.DIALER, b"n" * 32, {}),
                lambda: 0, lambda link, output: None)  # fmt: skip
    with trio.testing.assert_no_checkpoints():
        await link.said()
    assert TURNS_TO_SAY < 10, "a few turns, not a wait"
