"""A backup is a short journal: what it folds to is what was backed up, it fits, and nobody else's is taken for ours."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from channels.core import events as e, facts as f, records as r
from channels.core.backup import short_journal
from channels.core.channel import Channel
from channels.core.machine import replay
from channels.errors import BackupUnreadable, StoreFailed
from channels.model import Close, Leg, OptionKind, Party, Reopen, Withdraw
from channels.risk import DEFAULT_POLICY
from channels.store.backup import MAX_PLAIN, Backup, decode_backup, encode_backup
from channels.store.keep import FileKeep, MemoryKeep, keep_beside
from channels.wire.messages import MAX_BACKUP, WINDOW
from tests.roles import BTC, CHANNEL, ETH, EXPIRY, HOUR, LATER, NOW, UNIT, alice, bob, condor, mallory
from tests.sansio import MARK_POLICY, Joined

CALL = (Leg.call(ETH, EXPIRY, 2400, quantity=1),)


@pytest.fixture
def world() -> Joined:
    made = Joined()
    made.fund(10_000, 10_000)
    return made


def trades(world: Joined) -> None:
    world.propose(world.alice, world.trade(condor(), 5))
    world.propose(world.bob, world.mark())


def hangs(world: Joined) -> None:
    trades(world)
    world.propose(world.bob, world.trade(CALL, 50), deliver=False)


def withdraws_and_is_disputed(world: Joined) -> None:
    trades(world)
    world.propose(world.alice, Withdraw(100 * UNIT))
    world.confirm(f.PaymentSeen(Party.ZERO, 100 * UNIT), f.RegisteredSeen(world.agreed.state, NOW + HOUR))
    world.propose(world.alice, Reopen((100 * UNIT, 0), NOW + 600))
    world.confirm(f.CalledSeen(Party.ONE, NOW + HOUR, 7, 3), f.SettlementSeen(ETH, EXPIRY, 10**18))


def closes(world: Joined) -> None:
    trades(world)
    world.propose(world.alice, Close(5, NOW + 600))


LIVES = [trades, hangs, withdraws_and_is_disputed, closes]


def known(channel: Channel) -> tuple[object, ...]:
    chain = replace(channel.chain, time=0, margin_place=(0, 0))
    outs = tuple((out.half, out.operations) for out in channel.outstanding)
    return channel.id, channel.me, channel.agreed, channel.closing, outs, channel.turn, channel.accepted, chain


@pytest.mark.parametrize("life", LIVES)
@pytest.mark.parametrize("party", Party)
def test_a_backup_folds_to_what_was_backed_up(world: Joined, life, party: Party) -> None:  # type: ignore[no-untyped-def]
    life(world)
    channel, signer = world.sides[party].channel, (alice, bob)[party].signer
    data = encode_backup(channel, 7)
    assert data is not None
    backup = decode_backup(data, channel.id, signer.address)
    assert (backup.signed, backup.block) == (channel.signed, 7)
    recovered = replay([*backup.records, r.LossSuspected(b"m" * 32, backup.signed)], DEFAULT_POLICY, MARK_POLICY)
    assert known(recovered) == known(channel)
    assert recovered.signed == channel.signed
    assert recovered.is_frozen
    assert recovered.in_flight == ()


def test_the_largest_book_and_as_many_half_signed_states_as_fit(world: Joined, monkeypatch: pytest.MonkeyPatch) -> None:
    """Thirty-two legs and a window in flight fit; with less room the newest are kept, and always the agreed state."""
    legs = tuple(
        Leg(underlying, expiry, strike * 10**18, kind, 10**18)
        for underlying in (ETH, BTC)
        for expiry in (EXPIRY, LATER)
        for strike in range(2_000, 2_800, 200)
        for kind in OptionKind
    )
    world.propose(world.alice, world.trade(sorted(legs, key=lambda leg: leg.key)))
    for _ in range(WINDOW):
        world.act(world.alice, e.TurnNeeded())
        world.carry(world.alice, world.alice.seat.propose((world.mark(),), world.now.to_bytes(32, "big"), world.now))
    channel = world.alice.channel
    assert len(channel.outstanding) == WINDOW
    for room, fewest, most in ((MAX_PLAIN, WINDOW, WINDOW), (MAX_PLAIN // 4, 5, 15)):
        monkeypatch.setattr("channels.store.backup.MAX_PLAIN", room)
        data = encode_backup(channel, 0)
        assert data is not None
        assert len(data) <= room < MAX_BACKUP
        backup = decode_backup(data, channel.id, alice.signer.address)
        kept = [record.half.state.version for record in backup.records if isinstance(record, r.Signed)]
        assert fewest <= len(kept) <= most
        assert kept == [out.version for out in channel.outstanding][-len(kept) :], "the newest, in their order"
        assert [type(record) for record in backup.records].count(r.StateAgreed) == 1


def test_no_room_for_the_agreed_state_is_no_backup(world: Joined, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("channels.store.backup.MAX_PLAIN", 300)
    assert encode_backup(world.alice.channel, 0) is None


def test_another_channels_another_partys_and_a_changed_backup_are_refused(world: Joined) -> None:
    trades(world)
    channel = world.alice.channel
    data = encode_backup(channel, 7)
    assert data is not None
    ours = alice.signer.address
    for bytes_, id_, signer, said in (
        (data, type(CHANNEL)(b"x" * 32), ours, "another channel"),
        (data, channel.id, bob.signer.address, "its signer is"),
        (data, channel.id, mallory.signer.address, "its signer is"),
        (data[:-1], channel.id, ours, "canonical"),
        (b"", channel.id, ours, "canonical"),
        (bytes(MAX_PLAIN + 1), channel.id, ours, "exceed"),
    ):
        with pytest.raises(BackupUnreadable, match=said):
            decode_backup(bytes_, id_, signer)


def test_a_signature_that_would_not_count_on_chain_is_refused(world: Joined) -> None:
    """Only our own key seals a backup, so this would be a bug of ours: it must not become a journal."""
    hangs(world)
    needed, halves = short_journal(world.bob.channel)
    assert len(halves) == 1
    forged = replace(halves[0], half=replace(halves[0].half, signature=bob.signer.sign(b"z" * 32)))
    twice = (*needed, needed[0])
    agreed = world.agreed
    swapped = r.StateAgreed(replace(agreed, signatures=agreed.signatures[::-1]), ())
    for records, said in (
        ((*needed, forged), "by"),
        ((*needed, swapped), "by"),
        (needed[1:], "begin"),
        (twice, "begin"),
    ):
        data = _packed(Backup(9, 0, records))
        with pytest.raises(BackupUnreadable, match=said):
            decode_backup(data, world.id, bob.signer.address)


def _packed(backup: Backup) -> bytes:
    from channels.store.backup import BACKUP
    from channels.wire.codec import pack_with

    return pack_with(BACKUP, backup)


def test_a_keep_holds_the_newest_blob_of_each_channel(tmp_path: Path) -> None:
    other = type(CHANNEL)(b"o" * 32)
    for keep in (MemoryKeep(), FileKeep(tmp_path / "kept")):
        assert keep.get(CHANNEL) is None
        keep.put(CHANNEL, b"old")
        keep.put(CHANNEL, b"new")
        keep.put(other, b"another")
        assert (keep.get(CHANNEL), keep.get(other)) == (b"new", b"another")
        keep.drop(other)
        keep.drop(other)
        assert keep.get(other) is None
    files = list((tmp_path / "kept").iterdir())
    assert [file.name for file in files] == [CHANNEL.hex()], "no draft, and nothing but the newest"
    assert files[0].stat().st_mode & 0o777 == 0o600
    assert FileKeep(tmp_path / "kept").get(CHANNEL) == b"new"


def test_a_keep_that_cannot_write_says_so(tmp_path: Path) -> None:
    (tmp_path / "kept").write_text("a file where the directory should be")
    keep = FileKeep(tmp_path / "kept")
    with pytest.raises(StoreFailed):
        keep.put(CHANNEL, b"blob")
    with pytest.raises(StoreFailed):
        keep.get(CHANNEL)
    with pytest.raises(StoreFailed):
        keep.drop(CHANNEL)
    assert isinstance(keep_beside(":memory:"), MemoryKeep)
