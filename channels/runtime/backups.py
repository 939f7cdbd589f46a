"""Peers keep each other's backups: this node gives its own, keeps theirs, and recovers its channels from nothing.

A backup is a short journal (`store/backup.py`), sealed with AES-256-GCM under a key that HKDF derives from the signer's
key for each channel, with a fresh random nonce; the format, the channel and the signer are authenticated with it:

    blob = format (1 byte) ‖ nonce (12) ‖ ciphertext and tag (16)

The keeper reads nothing and can change nothing. What it can do is return an older blob, or none: so a recovered channel
is frozen like any old copy (`core/recovery.py`), whatever came back.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

import trio
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from ..chain.confirm import ranges
from ..core import events as e
from ..core.commands import Persist, Send
from ..core.machine import replay, step
from ..core.phases import Phase
from ..core.records import LossSuspected, Opened, Record
from ..errors import BackupUnreadable, PeerUnresponsive, StoreFailed, TermsRefused
from ..model import Address, ChannelId
from ..seal import Signer
from ..session import Kept, OpeningRefused, PeerKnown, Role, Routed, Seat, Session
from ..store.backup import Backup, decode_backup, encode_backup
from ..store.keep import Keep
from ..wire import messages as m
from .log import log
from .peer import Link

if TYPE_CHECKING:
    from .live import LiveChannel
    from .node import Node

FORMAT = b"\x01"
NONCE = 12
KEEP_INTERVAL = 1.0
"""How often at most a peer's blob is written to disk, seconds: in between the newest one waits in memory."""
MAX_RETURNED = 512
"""Backups returned at most for one request: what the line's queue holds with room to spare."""


def seal_backup(signer: Signer, channel: ChannelId, plain: bytes, nonce: bytes) -> bytes:
    """Return the blob to give away. `nonce`: twelve fresh random bytes."""
    return FORMAT + nonce + AESGCM(_key(signer, channel)).encrypt(nonce, plain, _context(signer, channel))


def open_backup(signer: Signer, channel: ChannelId, blob: bytes) -> Backup:
    """Return what this key once sealed for this channel; BackupUnreadable for anything else."""
    if blob[:1] != FORMAT:
        raise BackupUnreadable(f"its format is 0x{blob[:1].hex()}, this release reads 0x{FORMAT.hex()}")
    nonce, sealed = blob[1 : 1 + NONCE], blob[1 + NONCE :]
    try:
        plain = AESGCM(_key(signer, channel)).decrypt(nonce, sealed, _context(signer, channel))
    except (InvalidTag, ValueError):
        raise BackupUnreadable("this key did not seal it for this channel, or it was damaged") from None
    return decode_backup(plain, channel, signer.address)


def _key(signer: Signer, channel: ChannelId) -> bytes:
    return signer.derive(b"backup" + channel)


def _context(signer: Signer, channel: ChannelId) -> bytes:
    return b"option-channels backup" + FORMAT + channel + signer.address


@dataclass
class Returned:
    """What came back, by channel. `count` is how many the peer says that it has returned; None before the last."""

    blobs: dict[ChannelId, bytes] = field(default_factory=dict)
    count: int | None = None


class Backups:
    """A node's side of the exchange, both ways. `run` gives and keeps for the node's life."""

    def __init__(self, node: Node, keep: Keep) -> None:
        self._node, self._keep = node, keep
        self._given: dict[ChannelId, tuple[Link, tuple[int, ...]]] = {}
        self._forgotten: set[ChannelId] = set()
        self._waiting: dict[ChannelId, bytes] = {}
        self._came = trio.Event()

    # Giving and keeping

    async def run(self) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._write)
            if self._node.config.backup_interval > 0:
                nursery.start_soon(self._give)

    async def _give(self) -> None:
        """Give each connected peer our newest backup, where it is newer than the last one on this connection."""
        node = self._node
        while True:
            for seat in list(node.seats.values()):
                channel = seat.channel
                link = node.link_to(channel.terms.signers[channel.me.other])
                if channel.phase is Phase.CLOSED:
                    await self._forget(channel.id)
                    continue
                if link is None or not channel.accepted:
                    continue
                if channel.is_frozen or not channel.is_resumed:
                    continue  # what the peer keeps may be newer than what we hold, or than what we know we lost
                now = channel.signed, channel.version, channel.agreed_version, channel.chain.version
                if self._given.get(channel.id) != (link, now):
                    self._given[channel.id] = link, now
                    plain = encode_backup(channel, node.watcher.cursor)
                    if plain is not None:
                        blob = seal_backup(node.signer, channel.id, plain, node.random(NONCE))
                        node.submit(seat, [Send(m.Backup(channel.id, blob))])
                    await trio.lowlevel.checkpoint()  # a node with many busy channels does other things in between
            await trio.sleep(node.config.backup_interval)

    async def _forget(self, channel: ChannelId) -> None:
        """Keep nothing for a channel that is closed: there is nothing left to recover."""
        if channel in self._forgotten:
            return
        self._forgotten.add(channel)
        self._waiting.pop(channel, None)
        try:
            await trio.to_thread.run_sync(self._keep.drop, channel)
        except StoreFailed as failed:
            log.warning("a closed channel's backup stays: %s", failed)

    def hear(self, link: Link, kept: Kept) -> None:
        """Take a peer's blob, or start to return those that it wants. Never waits."""
        match kept.message:
            case m.Backup(channel, blob):
                seat = self._node.seats.get(channel)
                if seat is not None and seat.channel.phase is not Phase.CLOSED:
                    self._waiting[channel] = blob
                    self._came.set()
            case m.BackupsWanted():
                self._node.start(partial(self._return, link))

    async def _write(self) -> None:
        """Write what peers gave, the newest of each channel, and not more often than bounds allow."""
        while True:
            await self._came.wait()
            self._came = trio.Event()
            for channel, blob in list(self._waiting.items()):
                try:
                    await trio.to_thread.run_sync(self._keep.put, channel, blob)
                except StoreFailed as failed:
                    log.warning("a peer's backup is not kept: %s", failed)
                if self._waiting.get(channel) is blob:
                    del self._waiting[channel]
            await trio.sleep(KEEP_INTERVAL)

    async def _return(self, link: Link) -> None:
        node, count = self._node, 0
        await node.driver.flush()
        for seat in list(node.seats.values()):
            channel = seat.channel
            if channel.terms.signers[channel.me.other] != link.peer or count == MAX_RETURNED:
                continue
            blob = self._waiting.get(channel.id)
            if blob is None:
                try:
                    blob = await trio.to_thread.run_sync(self._keep.get, channel.id)
                except StoreFailed as failed:
                    log.warning("a peer's backup cannot be read: %s", failed)
            if blob is not None:
                link.send(m.BackupReturned(channel.id, blob))
                count += 1
        link.send(m.BackupsEnd(count))

    # Recovering

    async def recover(self, host: str, port: int, peer: Address) -> list[LiveChannel]:
        """See `Node.recover`."""
        returned = await self._ask(host, port, peer)
        found = []
        for channel, blob in returned.blobs.items():
            if channel in self._node.seats:
                continue  # a journal that is here knows more, or is frozen already
            try:
                backup = open_backup(self._node.signer, channel, blob)
                found.append(await self._adopt(channel, backup))
            except (BackupUnreadable, TermsRefused) as refused:
                log.warning("channel 0x%s is not recovered: %s", channel.hex(), refused)
        return found

    async def _ask(self, host: str, port: int, peer: Address) -> Returned:
        """Ask until all has come. A peer that has another connection with us may cut this one: then once more."""
        wait = self._node.config.reply_timeout
        returned = Returned()
        with trio.move_on_after(wait):
            while returned.count is None:
                try:
                    await self._ask_once(host, port, peer, returned)
                except OSError as refused:
                    raise PeerUnresponsive(f"{host}:{port} ({refused})", wait) from None
                if returned.count is None:
                    await trio.sleep(0.1)
        if returned.count is None and not returned.blobs:
            raise PeerUnresponsive(f"{host}:{port}", wait)
        return returned

    async def _ask_once(self, host: str, port: int, peer: Address, returned: Returned) -> None:
        """Ask on a connection of its own, on which nothing else is heard."""
        node = self._node

        def on_output(link: Link, output: Routed | PeerKnown | OpeningRefused | Kept) -> None:
            match output:
                case PeerKnown():
                    link.begin()
                    link.send(m.BackupsWanted())
                case Kept(m.BackupReturned(channel, blob)) if len(returned.blobs) < MAX_RETURNED:
                    returned.blobs[channel] = blob
                case Kept(m.BackupsEnd(count)):
                    returned.count = count
                    link.hang_up()

        secured = await node.secure(await trio.open_tcp_stream(host, port), Role.DIALER)
        if secured is None:
            return
        stream, certificate = secured
        session = Session(
            node.signer,
            Role.DIALER,
            node.random(32),
            {},
            expected=peer,
            certificate=certificate,
            window=node.config.window,
            recovers=True,
        )
        await Link(stream, session, node.now, on_output).run()

    async def _adopt(self, channel: ChannelId, backup: Backup) -> LiveChannel:
        """Journal a recovered channel with all that the chain has said since, frozen, and take our seat at it."""
        node = self._node
        opened = backup.records[0]
        assert isinstance(opened, Opened)
        if opened.deployment != node.chain.deployment:
            raise BackupUnreadable(f"it is for adjudicator {opened.deployment.adjudicator}, this node follows another")
        policy, engine = node.config.policy_of(opened.terms), node.config.margin_engine
        records: list[Record] = [*backup.records, LossSuspected(node.random(32), backup.signed)]
        state = replay(records, policy, node.config.mark_policy, engine)
        # While we hold the lock the watcher's cursor stands still: no block is missed between its reading and ours.
        async with node.watcher.lock:
            for span in ranges(min(backup.block, node.watcher.cursor), node.watcher.cursor, 0):
                facts = await trio.to_thread.run_sync(node.chain.facts, span.first, span.last)
                for located in facts:
                    if located.channel == channel:
                        result = step(state, e.CHAIN_EVENTS[type(located.fact)](located.fact))
                        state = result.channel
                        records += [effect.record for effect in result.commands if isinstance(effect, Persist)]
            await trio.to_thread.run_sync(node.store.append, channel, records)
            node.instance.note({channel: records})
            return node.adopt_recovered(Seat(state, node.signer, node.market, node.deal, node.config.limits))
