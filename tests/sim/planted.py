"""Bugs to plant: each breaks one promise of the library or of a disk, and each must be found by the law that it breaks.

A law that no bug can break proves nothing. `PLANTS` names the bug, how it is planted, the law that has to notice, and
within how many seeds.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any
from unittest.mock import patch

import trio

from channels.core import apply, events as e, machine, records as r, resumption, rules, updates
from channels.core.channel import Channel
from channels.core.commands import Notify, Persist, Send
from channels.errors import DealDeclined
from channels.model import Trade
from channels.runtime import driver, peer, watcher
from channels.runtime.config import NodeConfig
from channels.session import Offer, seat
from channels.wire import messages as m
from channels.wire.codec import decode, encode
from channels.wire.framing import frame

from . import chain, disk, history, machine as computer, network

Patches = list[Any]


def _filtered(events: list[type[e.Event]], keep: Callable[[Any], bool]) -> Patches:
    """Drop commands from the steps that these events lead to."""

    def wrapped(handler: Callable[..., machine.Step]) -> Callable[..., machine.Step]:
        def handle(channel: Any, event: Any) -> machine.Step:
            step = handler(channel, event)
            return replace(step, commands=tuple(command for command in step.commands if keep(command)))

        return handle

    return [patch.dict(machine._HANDLERS, {event: wrapped(machine._HANDLERS[event]) for event in events})]


async def _speak_first(self: driver.Driver) -> None:
    """The driver's loop with its two halves exchanged."""
    while True:
        await self._wake.wait()
        self._wake = trio.Event()
        batch, self._queue = self._queue, deque()
        for item in batch:
            if isinstance(item, tuple) and isinstance(item[1], Send):
                self._send(item[0], item[1].message)
        await trio.sleep(0.01)
        for item in batch:
            if isinstance(item, driver.Then):
                item.do()
            elif isinstance(item[1], Persist):
                await trio.to_thread.run_sync(self._store.append_all, {item[0]: [item[1].record]})
            elif isinstance(item[1], Notify):
                self._notify(item[0], item[1].notice)


def _forgetful(store: Any, forgets: Any, remade: Any = disk.remade) -> Any:
    return remade(store, lambda entries: entries[:-1])


def _tampered(self: network.Network, sender: network.End, data: bytes, carry: Any = network.Network.carry) -> None:
    """Somebody on the line gives every Accept another signature."""
    if data[5:6] == b"\x07":
        message = decode(data[4:])
        assert isinstance(message, m.Accept)
        data = frame(encode(replace(message, signature=b"\x01" * 64 + b"\x1b")))
    carry(self, sender, data)


def _generous(account: Any, state: Any, gain: int, pay_out: Any = chain._pay_out) -> Any:
    after, said = pay_out(account, state, gain)
    return replace(after, payouts=(after.payouts[0] + 1, after.payouts[1])), said


def _backwards(draft: Any, trade: Trade, setting: Any, step: Any = apply._STEPS[Trade]) -> Any:
    return step(draft, replace(trade, premium=-trade.premium), setting)


def _bar_for_good(self: Channel, bar: Any = Channel.bar) -> Any:
    """A channel to which no time is past a validity."""
    return bar.fget(replace(self, chain=replace(self.chain, time=0)))


def _no(self: computer.Machine, offer: Offer) -> None:
    """Owners who decline every deal: closes are refused, and what is half-signed hangs until it expires."""
    raise DealDeclined("the owner does not want it")


def _never(*arguments: object, **named: object) -> None:
    return None


def _yes(self: object) -> bool:
    return True


@dataclass(frozen=True)
class Plant:
    """A bug, the law that must notice it, and within how many seeds."""

    law: str
    within: int
    patches: Callable[[], Patches]

    @contextmanager
    def planted(self) -> Iterator[None]:
        """For the time of the block the library, or the world, has this bug."""
        with ExitStack() as stack:
            for each in self.patches():
                stack.enter_context(each)
            yield


PLANTS = {
    "a disk forgets its last record": Plant("is forgotten", 60, lambda: [patch.object(disk, "remade", _forgetful)]),
    "a disk forgets, and the node signs that version again": Plant(
        "no version has two digests",
        200,
        lambda: [
            patch.object(disk, "remade", _forgetful),
            patch.object(history.History, "restarted", _never),
        ],
    ),
    "a node speaks before it persists": Plant(
        "persist, then speak", 5, lambda: [patch.object(driver.Driver, "run", _speak_first)]
    ),
    "the turn passes without a record": Plant(
        "persist, then speak",
        5,
        lambda: _filtered(
            [e.TurnWantedSeen, e.AcceptSeen, e.RejectSeen, e.TurnSpared],
            lambda command: not (isinstance(command, Persist) and isinstance(command.record, r.TurnMoved)),
        ),
    ),
    "an Accept is taken without a look at its signature": Plant(
        "what is agreed is signed",
        5,
        lambda: [
            patch.object(seat, "check_party", _never),
            patch.object(network.Network, "carry", _tampered),
        ],
    ),
    "Resume does not send again what has no answer": Plant(
        "every proposal is answered",
        60,
        lambda: _filtered(
            [e.ResumeSeen], lambda command: not (isinstance(command, Send) and isinstance(command.message, m.Propose))
        ),
    ),
    "nothing makes good for an Accept that was lost": Plant(
        "every proposal is answered",
        100,
        lambda: [
            patch.object(resumption, "_compare_agreed", _never),
            patch.object(updates, "repeat_answer", lambda channel, event: machine.Step(channel)),
        ],
    ),
    "a connection begins with what was left from the last": Plant(
        "a connection begins with Resume",
        300,
        lambda: [patch.object(peer.Link, "_begun", property(_yes, _never), create=True)],
    ),
    "a second option is signed while the first is out": Plant(
        "policy", 200, lambda: [patch.object(rules, "check_exclusive", _never)]
    ),
    "the owner's limit on exposure is not asked": Plant(
        "policy: half-signed states cost", 40, lambda: [patch.object(updates, "check_limits", _never)]
    ),
    "a close that expired bars for good": Plant(
        "what expired bars nobody",
        60,
        lambda: [patch.object(Channel, "bar", property(_bar_for_good)), patch.object(computer.Machine, "deal", _no)],
    ),
    "who was refused a fact may wait an hour to ask again": Plant(
        "every proposal is answered",
        250,
        lambda: [patch.object(watcher, "MAX_PATIENCE", 3_600.0), patch.object(computer.Machine, "deal", _no)],
    ),
    "nobody answers a stale challenge": Plant(
        "an old state never wins",
        300,
        lambda: [patch.object(computer, "NodeConfig", partial(NodeConfig, answer=False))],
    ),
    "a premium goes the wrong way": Plant(
        "money goes where it was agreed to go", 20, lambda: [patch.dict(apply._STEPS, {Trade: _backwards})]
    ),
    "the adjudicator pays one unit too many": Plant(
        "money is conserved", 100, lambda: [patch.object(chain, "_pay_out", _generous)]
    ),
}
