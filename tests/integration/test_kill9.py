"""A node is killed with SIGKILL while updates flow, again and again: nothing agreed is lost, nothing is signed twice.

KILLS=50 pytest tests/integration/test_kill9.py      as many kills as you like; KILL_SEED repeats a campaign
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trio

from channels.core import records as r
from channels.core.channel import MarkPolicy
from channels.core.fold import replay
from channels.model import HalfSigned, State
from channels.risk import DEFAULT_POLICY
from channels.runtime.node import open_node
from channels.session import Seat
from channels.store import MemoryStore, SqliteStore
from channels.wire import messages as m
from tests import peer_process, roles

ROOT = Path(__file__).resolve().parents[2]


class Witness:
    """Everything Alice's key ever said to Bob, by version."""

    def __init__(self) -> None:
        self.digests: dict[int, tuple[State, bytes]] = {}

    def heard(self, seat: Seat, message: m.ChannelMessage) -> None:
        """Note the state that a proposal's signature is over; a second one under its version is a fault."""
        for judged in seat.channel.unanswered:
            if isinstance(message, m.Propose) and judged.half.state.version == message.version:
                self.note(judged.half.state, message.signature)
        if isinstance(message, m.Resume) and message.agreed:
            self.note(message.agreed.state, message.agreed.signatures[0])

    def note(self, state: State, signature: bytes) -> None:
        known = self.digests.setdefault(state.version, (state, signature))
        assert known == (state, signature), f"version {state.version} was signed twice"


def watched(seat: Seat, witness: Witness) -> None:
    """Let the witness hear whatever the seat receives."""
    receive: Callable[..., Any] = seat.receive

    def listen(message: m.ChannelMessage, now: int) -> Any:
        effects = receive(message, now)
        witness.heard(seat, message)
        return effects

    seat.receive = listen  # type: ignore[method-assign]


async def campaign(store: Path, kills: int, seed: int) -> None:
    print(f"KILL_SEED={seed} KILLS={kills}")
    moments, witness = random.Random(seed), Witness()
    chain: Any = peer_process.QuietChain()
    relied_on = compacted = 0
    async with open_node(
        roles.bob.signer, store=MemoryStore(), chain=chain, config=peer_process.CONFIG, clock=lambda: roles.NOW
    ) as bob:
        port = await bob.listen()
        for life in range(kills + 1):
            command = [sys.executable, "-m", "tests.peer_process", str(store), str(port)]
            output, errors = store.with_suffix(f".{life}.out"), store.with_suffix(f".{life}.err")
            with output.open("w") as out, errors.open("w") as err:
                child = subprocess.Popen(command, cwd=ROOT, stdout=out, stderr=err)
            try:
                with trio.fail_after(30):
                    channel = await bob.incoming() if not life else channel  # noqa: F821  (bound in the first life)
                    if not life:
                        watched(bob.seats[channel.id], witness)
                        peer_process.both_deposited(bob, channel)
                    start = channel.version
                    while channel.version < start + 3:
                        assert child.poll() is None, errors.read_text()
                        await trio.sleep(0.002)
                await trio.sleep(moments.random() * 0.1)
                assert child.poll() is None, errors.read_text()
            finally:
                child.send_signal(signal.SIGKILL)
                await trio.to_thread.run_sync(child.wait)
            printed = [int(line) for line in output.read_text().split()]
            relied_on = max([relied_on, *printed])
            compacted += check_journal(store, channel.id, witness, relied_on)
            assert not bob.seats[channel.id].channel.frozen
        assert len(witness.digests) >= 3 * kills
        assert compacted >= kills // 2, "the journal was seldom compacted"


def check_journal(store: Path, channel_id: Any, witness: Witness, relied_on: int) -> bool:
    """The journal holds what the owner was told, and each signature the peer ever saw, once per version.

    What a checkpoint replaced is below the floor, under which nothing is signed again. Returns whether there is one.
    """
    journal = SqliteStore.open(store, create=False)
    records = journal.records(channel_id)
    journal.close()
    signed: dict[int, HalfSigned] = {}
    for record in records:
        if isinstance(record, r.Signed):
            known = signed.setdefault(record.half.state.version, record.half)
            assert known == record.half
    channel = replay(records, DEFAULT_POLICY, MarkPolicy())
    assert channel.version >= relied_on, "what the owner was told is lost"
    signed |= {version: out.half for version, out in channel.halves.items()}
    floor = max((record.signed for record in records if isinstance(record, r.Checkpoint)), default=0)
    for version, (state, signature) in witness.digests.items():
        if version in signed:
            assert (signed[version].state, signed[version].signature) == (state, signature)
        else:
            assert version <= floor, f"version {version} is forgotten"
    return floor > 0


async def test_killed_at_random_moments_while_updates_flow(tmp_path: Path) -> None:
    seed = int(os.environ.get("KILL_SEED", random.randrange(2**32)))
    await campaign(tmp_path / "alice.sqlite", int(os.environ.get("KILLS", "5")), seed)


@pytest.mark.nightly
async def test_killed_fifty_times(tmp_path: Path) -> None:
    await campaign(tmp_path / "alice.sqlite", 50, random.randrange(2**32))
