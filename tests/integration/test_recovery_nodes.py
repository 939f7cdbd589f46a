"""Real nodes, real files, one disk that dies: what comes back, what does not, and who signs nothing meanwhile."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import trio

from channels.chain.local import LocalChain
from channels.core import notices as n, records as r
from channels.core.channel import MarkPolicy
from channels.core.machine import replay
from channels.core.phases import Phase
from channels.core.recovery import SKIP
from channels.errors import CopySuspected, PeerUnresponsive, RecoveryInvalid, SigningSuspended
from channels.model import ChannelId, Leg
from channels.risk import DEFAULT_POLICY
from channels.runtime.backups import KEEP_INTERVAL, open_backup
from channels.runtime.live import LiveChannel
from channels.runtime.node import Node, open_node
from channels.session import Session, any_deal
from channels.store import SqliteStore
from channels.store.keep import MemoryKeep
from channels.wire import messages as m
from channels.wire.codec import decode
from channels.wire.framing import FrameReader
from tests.integration.dialing import dialed
from tests.pair import Desk, config_for, terms_for
from tests.roles import ETH, EXPIRY, UNIT, Role, alice, bob, mallory

CALL = Leg.call(ETH, EXPIRY, 2400, quantity=1)


@dataclass
class World:
    """One chain, and a directory for each party."""

    local: LocalChain
    home: Path
    desk: Desk = field(default_factory=Desk)
    port: int = 0

    def __post_init__(self) -> None:
        self.terms = terms_for(self.local)

    @property
    def id(self) -> ChannelId:
        return self.terms.channel_id(self.local.client(alice.signer).deployment)

    def directory(self, role: Role) -> Path:
        made = self.home / role.name
        made.mkdir(exist_ok=True)
        return made

    def lose(self, role: Role) -> None:
        """The party's disk is empty."""
        shutil.rmtree(self.directory(role))

    @asynccontextmanager
    async def running(self, role: Role, **changes: Any) -> AsyncIterator[Node]:
        store = SqliteStore.open(self.directory(role) / "channels.db")
        config = config_for(self.local, **{"backup_interval": 0.05, **changes})
        chain = self.local.client(role.signer, tokens=1_000_000 * UNIT)
        try:
            async with open_node(
                role.signer,
                store=store,
                chain=chain,
                market=self.desk,
                deal=any_deal,
                config=config,
                clock=lambda: self.local.now,
            ) as node:
                if role is bob:
                    self.port = await node.listen()
                yield node
        finally:
            store.close()

    async def opened(self, hers: Node, his: Node) -> tuple[LiveChannel, LiveChannel]:
        """A funded channel with one trade in it."""
        await hers.connect("127.0.0.1", self.port, bob.address)
        channel = await hers.open(self.terms)
        theirs = await his.incoming()
        await channel.deposit(10_000)
        await theirs.deposit(10_000)
        await until(lambda: deposits(channel) == (10_000 * UNIT, 10_000 * UNIT))
        await channel.propose(channel.trade([CALL], premium=50))
        return channel, theirs


@pytest.fixture
async def world(tmp_path: Path) -> World:
    return World(await trio.to_thread.run_sync(LocalChain, 1_704_441_600), tmp_path)


async def until(happened: Callable[[], bool]) -> None:
    with trio.fail_after(20):
        while not happened():
            await trio.sleep(0.01)


def deposits(channel: LiveChannel) -> tuple[int, int]:
    state, _ = channel.state.base
    return state.deposits if state else (0, 0)


async def kept(node: Node, owner: Role, version: int, on_disk: bool = False) -> None:
    """Wait until a node keeps a backup that its peer, the owner, made at this version or later."""
    (channel,) = node.channels
    backups = node.backups

    def is_kept() -> bool:
        waiting = backups._waiting.get(channel)
        sealed = waiting or backups._keep.get(channel)
        if sealed is None or (waiting and on_disk):
            return False
        records = open_backup(owner.signer, channel, sealed).records
        return replay(records, DEFAULT_POLICY, MarkPolicy()).version >= version

    await until(is_kept)


async def told(channel: LiveChannel, kind: type) -> Any:
    """Read the channel's notices up to one of a kind."""
    with trio.fail_after(20):
        async for notice in channel:
            if isinstance(notice, kind):
                return notice
    raise AssertionError("the channel tells nothing more")


async def agree_to_recovery(channel: LiveChannel) -> n.RecoveryRequested:
    request = await told(channel, n.RecoveryRequested)
    channel.allow_recovery(request.marker)
    return request


def blob(node: Node, channel: LiveChannel) -> bytes:
    """What a node keeps for its peer."""
    found = node.backups._waiting.get(channel.id) or node.backups._keep.get(channel.id)
    assert found is not None
    return found


def keep(node: Node, channel: LiveChannel, lie: bytes | None) -> None:
    """Have a node return this blob, or none, instead of what it was given."""
    node.backups._keep = MemoryKeep()
    node.backups._waiting.clear()
    if lie is not None:
        node.backups._keep.put(channel.id, lie)


# Alice and Bob


async def test_a_node_with_an_empty_disk_recovers_its_channel_and_trades_on(world: World) -> None:
    async with world.running(bob) as his:
        async with world.running(alice) as hers:
            channel, theirs = await world.opened(hers, his)
            version, positions = channel.version, channel.positions
            await kept(his, alice, version, on_disk=True)
        world.lose(alice)
        # While she is gone the chain goes on: her recovered channel must know of it.
        client = world.local.client(bob.signer, tokens=1_000 * UNIT)
        await trio.to_thread.run_sync(lambda: client.send(client.deposit(world.terms, theirs.state.me, 500 * UNIT)))
    # And his node starts again: what he keeps for her is on his disk.
    async with world.running(bob) as his, world.running(alice) as hers:
        theirs = his.channels[world.id]
        (back,) = await hers.recover("127.0.0.1", world.port, bob.address)
        assert (back.id, back.version, back.positions) == (world.id, version, positions)
        assert back.state.chain.deposits == (10_000 * UNIT, 10_500 * UNIT)
        with pytest.raises(CopySuspected):
            await back.mark()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(agree_to_recovery, theirs)
            with trio.fail_after(20):
                assert await back.recover() == version + SKIP
        await until(lambda: deposits(back) == (10_000 * UNIT, 10_500 * UNIT))
        assert back.version >= version + SKIP
        await back.propose(back.trade([CALL], premium=50))
        assert back.positions[0].quantity == 2 * positions[0].quantity
        assert not back.exposure().has_lost
        with trio.fail_after(20):
            assert sum(await back.close()) == 20_500 * UNIT


async def test_a_recovered_journal_is_one_that_any_restart_reads(world: World) -> None:
    """The node dies between every two steps of the recovery: each start finds what the last one had durable."""
    async with world.running(bob) as his:
        async with world.running(alice) as hers:
            channel, theirs = await world.opened(hers, his)
            version = channel.version
            await kept(his, alice, version)
        world.lose(alice)
        async with world.running(alice) as hers:
            await hers.recover("127.0.0.1", world.port, bob.address)
        async with world.running(alice) as hers:
            back = hers.channels[world.id]
            assert back.state.suspect
            assert isinstance(await told(back, n.CopySuspected), n.CopySuspected)
            assert await hers.recover("127.0.0.1", world.port, bob.address) == [], "nothing comes back twice"
            async with trio.open_nursery() as nursery:
                nursery.start_soon(back.recover)
                await until(lambda: back.state.recovery is not None)
                await hers.driver.flush()
                nursery.cancel_scope.cancel()
        request = await agree_to_recovery(theirs)
        assert request.theirs == request.ours == version
        async with world.running(alice) as hers:
            back = hers.channels[world.id]
            assert back.state.recovery == m.Recovery(request.marker, request.version)
            await hers.connect("127.0.0.1", world.port, bob.address)
            await until(lambda: not back.state.is_frozen)
            await back.mark()
            assert back.version >= request.version
        store = SqliteStore.open(world.directory(alice) / "channels.db")
        records = [type(record) for record in store.records(world.id)]
        store.close()
        assert records.index(r.LossSuspected) < records.index(r.RecoveryAsked) < records.index(r.SigningResumed)


async def test_an_ordinary_restart_is_not_taken_for_a_copy(world: World) -> None:
    async with world.running(bob) as his:
        async with world.running(alice) as hers:
            await world.opened(hers, his)
        for _ in range(2):
            async with world.running(alice) as hers:
                back = hers.channels[world.id]
                assert not back.state.is_frozen
                await hers.connect("127.0.0.1", world.port, bob.address)
                await back.mark()


@pytest.mark.parametrize(
    "how", ["restored over it", "restored beside no marker", "copied with its marker", "its log was cut"]
)
async def test_an_old_copy_that_is_put_back_signs_nothing_until_both_agree(world: World, how: str) -> None:
    place = world.home / "alice" / "channels.db"
    async with world.running(bob) as his:
        async with world.running(alice) as hers:
            _, theirs = await world.opened(hers, his)
        shutil.copy(place, world.home / "copy")
        async with world.running(alice) as hers:
            await hers.connect("127.0.0.1", world.port, bob.address)
            log, main = Path(f"{place}-wal").read_bytes(), place.read_bytes()
            await hers.channels[world.id].propose(hers.channels[world.id].trade([CALL], premium=50))
            version = hers.channels[world.id].version
        if how == "its log was cut":  # as after a kill, behind a whole append, which nothing in it shows
            Path(f"{place}-wal").write_bytes(log)
            place.write_bytes(main)
        elif how == "restored over it":
            with place.open("r+b") as file:  # the same inode, as cp does it
                file.truncate()
                file.write((world.home / "copy").read_bytes())
        else:
            marker = Path(f"{place}.instance")
            data = marker.read_bytes()
            world.lose(alice)
            shutil.copy(world.home / "copy", world.directory(alice) / "channels.db")
            if how == "copied with its marker":
                marker.write_bytes(data)
        async with world.running(alice) as hers:
            assert hers.channels[world.id].state.suspect
        # The store is marked as this one now; that it was a copy is in its journal.
        async with world.running(alice) as hers:
            back = hers.channels[world.id]
            assert back.state.suspect
            with pytest.raises(CopySuspected):
                await back.mark()
            await hers.connect("127.0.0.1", world.port, bob.address)
            await until(lambda: back.version == version)
            assert back.state.frozen == version
            assert back.positions[0].quantity == 2 * 10**18, "what was lost, and Bob shows, is known again"
            with pytest.raises(SigningSuspended):
                await back.mark()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(agree_to_recovery, theirs)
                with trio.fail_after(20):
                    await back.recover()
            await back.mark()
        async with world.running(alice) as hers:
            assert not hers.channels[world.id].state.is_frozen, "the store has a marker of its own again"


async def test_a_dispute_that_began_while_the_disk_was_gone_is_answered(world: World) -> None:
    """Nobody's consent is needed for that: the recovered state is newer than the one that Bob shows."""
    async with world.running(bob, answer=False) as his:
        async with world.running(alice) as hers:
            channel, theirs = await world.opened(hers, his)
            old = theirs.state.agreed
            assert old is not None
            await channel.propose(channel.trade([CALL], premium=50))
            version = channel.version
            await kept(his, alice, version)
        world.lose(alice)
        await trio.to_thread.run_sync(lambda: his.chain.send(his.chain.challenge(world.terms, old)))
        async with world.running(alice) as hers:
            (back,) = await hers.recover("127.0.0.1", world.port, bob.address)
            assert back.state.is_frozen
            assert back.phase is Phase.DISPUTED
            # The cursor of the new store is past that block: only the journal brings it back after a crash.
            journalled = replay(hers.store.records(world.id), DEFAULT_POLICY, MarkPolicy())
            assert journalled.chain.deadline == back.state.chain.deadline
            await until(lambda: back.state.chain.version == version)


async def test_without_consent_the_owner_still_settles_on_chain(world: World) -> None:
    async with world.running(bob) as his:
        async with world.running(alice) as hers:
            channel, _ = await world.opened(hers, his)
            await kept(his, alice, channel.version)
        world.lose(alice)
        async with world.running(alice) as hers:
            (back,) = await hers.recover("127.0.0.1", world.port, bob.address)
            with trio.move_on_after(0.5):
                await back.recover()
            assert back.state.is_frozen
            await back.challenge()
            await until(lambda: back.phase is Phase.DISPUTED)
            await trio.to_thread.run_sync(world.local.advance, 3_600)
            await until(lambda: back.phase is Phase.SETTLING)
            await trio.to_thread.run_sync(world.local.advance, EXPIRY - world.local.now + 10)
            await trio.to_thread.run_sync(lambda: world.local.publish_settlement(ETH, EXPIRY, 2_500 * 10**18))
            with trio.fail_after(20):
                assert await back.wait_until_closed() == (10_050 * UNIT, 9_950 * UNIT)


# Mallory, who keeps


async def test_a_keeper_that_returns_an_older_backup_has_won_nothing(world: World) -> None:
    """It cannot be told from a new one: so nothing is signed, and here its own Resume shows what is missing."""
    async with world.running(bob) as his:
        async with world.running(alice) as hers:
            channel, _theirs = await world.opened(hers, his)
            first = channel.version
            await kept(his, alice, first)
            old = blob(his, channel)
            await channel.propose(channel.trade([CALL], premium=50))
            version = channel.version
            await kept(his, alice, version)
        world.lose(alice)
        keep(his, channel, old)
        async with world.running(alice) as hers:
            (back,) = await hers.recover("127.0.0.1", world.port, bob.address)
            assert first <= back.version <= version
            await until(lambda: back.version == version)
            assert back.state.is_frozen
            with pytest.raises((CopySuspected, SigningSuspended)):
                await back.mark()


async def test_a_keeper_that_lies_brings_nothing_back_and_harms_nothing(world: World) -> None:
    async with world.running(bob) as his:
        async with world.running(alice) as hers:
            channel, _ = await world.opened(hers, his)
            await kept(his, alice, channel.version)
            await kept(hers, bob, channel.version)
            good, his_own = blob(his, channel), blob(hers, channel)
        world.lose(alice)
        async with world.running(alice) as hers:
            for lie in (None, good[:-1], his_own, bytes(200), b""):
                keep(his, channel, lie)
                assert await hers.recover("127.0.0.1", world.port, bob.address) == []
            assert hers.channels == {}
            assert hers.store.channels() == []
            keep(his, channel, good)
            assert len(await hers.recover("127.0.0.1", world.port, bob.address)) == 1


async def test_a_keeper_that_is_not_there_is_told_as_that(world: World) -> None:
    async with world.running(alice, reply_timeout=0.5) as hers:
        with pytest.raises(PeerUnresponsive):
            await hers.recover("127.0.0.1", 1, bob.address)


# Mallory, who gives


async def test_a_flood_of_backups_fills_no_disk(world: World) -> None:
    """Hundreds of the largest ones, as fast as they go: one file, written a few times."""
    async with world.running(bob) as his:
        async with world.running(alice, backup_interval=0) as hers:
            channel, _ = await world.opened(hers, his)
        writes = list[tuple[ChannelId, bytes]]()
        put = his.backups._keep.put
        his.backups._keep.put = lambda *given: (writes.append(given), put(*given))[1]  # type: ignore[method-assign]
        stream, _session = await dialed(world.port, alice.signer, bob.address)
        began = trio.current_time()
        for number in range(300):
            await stream.send_all(Session.to_bytes(m.Backup(world.id, number.to_bytes(2, "big") * (m.MAX_BACKUP // 2))))
        last = (299).to_bytes(2, "big")
        await until(lambda: bool(writes) and writes[-1][1][:2] == last and not his.backups._waiting)
        assert len(writes) <= 2 + (trio.current_time() - began) / KEEP_INTERVAL
        (kept_file,) = Path(f"{his.store.path}.backups").iterdir()
        assert kept_file.name == channel.id.hex()
        assert kept_file.stat().st_size <= 2 * m.MAX_BACKUP
        await stream.aclose()


@pytest.mark.parametrize(
    ("said", "code"),
    [
        ([m.BackupsWanted(), m.BackupsWanted()], "backup: unwanted"),
        ([m.BackupReturned(b"c" * 32, b"blob")], "backup: unwanted"),  # type: ignore[arg-type]
        ([m.BackupsEnd(0)], "backup: unwanted"),
        ([m.Backup(b"c" * 32, b"blob")], "state: wrong channel"),  # type: ignore[arg-type]
    ],
    ids=["asks twice", "returns unasked", "ends unasked", "a channel that is not"],
)
async def test_what_nobody_asked_for_ends_the_connection(world: World, said: list[m.Message], code: str) -> None:
    async with world.running(bob):
        stream, _ = await dialed(world.port, mallory.signer, bob.address)
        for message in said:
            await stream.send_all(Session.to_bytes(message))
        reader, heard = FrameReader(), list[m.Message]()
        with trio.fail_after(10):
            while data := bytes(await stream.receive_some()):
                heard += [decode(payload) for payload in reader.feed(data)]
        assert isinstance(heard[-1], m.Fault)
        assert heard[-1].code == code


async def test_a_stranger_gets_nobody_elses_backup(world: World) -> None:
    async with world.running(bob) as his:
        async with world.running(alice) as hers:
            channel, _ = await world.opened(hers, his)
            await kept(his, alice, channel.version)
        stream, _ = await dialed(world.port, mallory.signer, bob.address)
        await stream.send_all(Session.to_bytes(m.BackupsWanted()))
        reader = FrameReader()
        with trio.fail_after(10):
            heard = [decode(payload) for payload in reader.feed(bytes(await stream.receive_some()))]
        assert heard == [m.BackupsEnd(0)]
        await stream.aclose()


async def test_a_marker_that_nobody_asked_with_is_refused_here(world: World) -> None:
    async with world.running(bob) as his, world.running(alice) as hers:
        channel, theirs = await world.opened(hers, his)
        with pytest.raises(RecoveryInvalid):
            theirs.allow_recovery(b"m" * 32)
        with pytest.raises(RecoveryInvalid, match="lost nothing"):
            await channel.recover()
