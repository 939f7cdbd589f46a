"""A dispute's world: two stores written by real nodes, the chain they left behind as a JSON-RPC, and the command.

with world(tmp_path, a_trade) as w:
    done = w.dispute("--dry-run")
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import trio

from channels.chain.client import Web3Chain
from channels.chain.local import LocalChain
from channels.chain.port import ChannelPhase, OnChain
from channels.model import Agreed, ChannelId, Leg, Terms, keccak
from channels.seal import Signer
from channels.store import SqliteStore
from tests import roles
from tests.pair import Pair, opened_pair
from tests.rpc_server import RpcServer, serving

ROOT = Path(__file__).parents[2]
PATIENCE = 60.0
DEPOSITS = (10_000, 20_000)
PERIOD = 3_600

Script = Callable[[Pair], Awaitable[None]]


@dataclass
class World:
    """What is left when the nodes are gone. Alice is party 0; `states` are her agreed states by version."""

    local: LocalChain
    server: RpcServer
    folder: Path
    terms: Terms
    channel: ChannelId
    states: dict[int, Agreed]
    running: list[subprocess.Popen[str]] = field(default_factory=list)

    @property
    def store(self) -> Path:
        return self.folder / "alice.sqlite"

    @property
    def newest(self) -> Agreed:
        return self.states[max(self.states)]

    @property
    def status(self) -> OnChain:
        return self.client(roles.mallory).status(self.channel)

    def client(self, role: roles.Role) -> Web3Chain:
        return self.local.client(role.signer)

    def balance(self, role: roles.Role) -> int:
        return self.client(roles.mallory).balance_of(self.terms.token, role.address)

    def sent(self) -> int:
        """How many transactions the command has sent."""
        return self.server.methods.count("eth_sendRawTransaction")

    def start(
        self, *arguments: str, key: Signer | str | None = roles.alice.signer, store: Path | None = None, rpc: str = ""
    ) -> subprocess.Popen[str]:
        """Start the command; it gets Alice's key unless told otherwise."""
        environment = {k: v for k, v in os.environ.items() if not k.startswith("CHANNELS_")}
        environment |= {"PYTHONPATH": str(ROOT), "COLUMNS": "80", "LINES": "24", "TZ": "Europe/Zurich"}
        if key is not None:
            environment["CHANNELS_KEY"] = key if isinstance(key, str) else secret_of(key)
        command = ["examples/04_submit_dispute.py", str(store or self.store), "--poll", "0.05"]
        process = subprocess.Popen(
            [sys.executable, "-u", *command, "--rpc", rpc or self.server.url, *arguments],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.running.append(process)
        return process

    def dispute(self, *arguments: str, **options: Any) -> Done:
        """Run the command to its end."""
        return finished(self.start(*arguments, **options))

    def until(self, happened: Callable[[], bool]) -> None:
        """Wait until something is so; fail after a while."""
        deadline = time.monotonic() + PATIENCE
        while not happened():
            assert time.monotonic() < deadline, "it did not happen"
            time.sleep(0.02)

    def phase(self, phase: ChannelPhase) -> None:
        self.until(lambda: self.status.phase is phase)

    def pass_the_deadline(self) -> None:
        """Let the dispute's clock run out."""
        self.local.set_time(self.status.deadline)

    def expire(self, price: int = 2_450) -> None:
        """Let the condor expire, and the publishers report."""
        self.local.set_time(max(roles.EXPIRY, self.local.now))
        self.local.publish_settlement(roles.ETH, roles.EXPIRY, price * 10**18)


@dataclass(frozen=True)
class Done:
    """How the command ended, and what it said."""

    status: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()


def finished(process: subprocess.Popen[str]) -> Done:
    """Wait for the command's end; no ending may show a traceback."""
    out, err = process.communicate(timeout=PATIENCE)
    assert "Traceback" not in err + out, err
    return Done(process.returncode, out, err)


def interrupt(process: subprocess.Popen[str]) -> Done:
    """Press Ctrl-C."""
    process.send_signal(signal.SIGINT)
    return finished(process)


def secret_of(signer: Signer) -> str:
    """The hex key of one of the cast."""
    names = {role.address: role.name for role in (roles.alice, roles.bob, roles.mallory, roles.trent)}
    return "0x" + keccak(f"key of {names[signer.address]}".encode()).hex()


async def a_trade(pair: Pair) -> None:
    """Deposits, then a condor that Alice gets 12.5 for: the state of every test that needs no other."""
    await pair.fund(*DEPOSITS)
    await pair.alice.channel.propose(pair.alice.channel.trade(roles.condor(), premium="-12.5"))


async def two_trades(pair: Pair) -> None:
    """The condor, then a call that Alice buys from Bob."""
    await a_trade(pair)
    call = Leg.call(roles.ETH, roles.EXPIRY, 2400, quantity=2)
    await pair.alice.channel.propose(pair.alice.channel.trade([call], premium="80"))


@contextmanager
def world(folder: Path, script: Script, **options: Any) -> Iterator[World]:
    """Let two nodes play a script on SQLite stores, stop them, and serve the chain they leave behind."""
    stores = SqliteStore.open(folder / "alice.sqlite"), SqliteStore.open(folder / "bob.sqlite")

    async def play() -> tuple[LocalChain, Terms, ChannelId]:
        async with opened_pair(stores=stores, **options) as pair:
            await script(pair)
            return pair.local, pair.terms, pair.alice.channel.id

    try:
        local, terms, channel = trio.run(play)
        states = {
            record.agreed.version: record.agreed for record in stores[0].records(channel) if hasattr(record, "agreed")
        }
    finally:
        for store in stores:
            store.close()
    with serving(local) as server:
        made = World(local, server, folder, terms, channel, states)
        try:
            yield made
        finally:
            for process in made.running:
                if process.poll() is None:
                    process.kill()
                process.communicate()
