"""What a keeper holds: it reads nothing of it, changes nothing in it, and can swap it for nothing but an older one."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from channels.errors import BackupUnreadable
from channels.model import ChannelId
from channels.runtime.backups import open_backup, seal_backup
from channels.seal import Signer
from channels.seal.signer import hkdf
from channels.store.backup import decode_backup, encode_backup
from channels.wire.messages import MAX_BACKUP
from tests.roles import alice, bob, condor
from tests.sansio import Joined

NONCE = b"n" * 12


@pytest.fixture(scope="module")
def world() -> Joined:
    made = Joined()
    made.fund(10_000, 10_000)
    made.propose(made.alice, made.trade(condor(), 5))
    return made


def sealed(world: Joined, nonce: bytes = NONCE) -> bytes:
    plain = encode_backup(world.alice.channel, 3)
    assert plain is not None
    return seal_backup(alice.signer, world.id, plain, nonce)


def test_only_the_signer_opens_it(world: Joined) -> None:
    blob = sealed(world)
    assert len(blob) <= MAX_BACKUP
    backup = open_backup(alice.signer, world.id, blob)
    assert backup.signed == world.alice.channel.signed
    with pytest.raises(BackupUnreadable):
        open_backup(bob.signer, world.id, blob)
    with pytest.raises(BackupUnreadable):
        open_backup(alice.signer, ChannelId(b"x" * 32), blob)


def test_nothing_of_it_shows(world: Joined) -> None:
    blob, channel = sealed(world), world.alice.channel
    assert channel.agreed is not None
    for secret in (channel.agreed.signatures[0], channel.agreed.book.encoded[:64], bytes(channel.terms.token)):
        assert secret not in blob
    assert sealed(world, b"o" * 12)[13:] != blob[13:]
    # One key for each channel: the same nonce, drawn twice, then says nothing about either.
    one, other = (seal_backup(alice.signer, ChannelId(name * 32), bytes(64), NONCE) for name in (b"a", b"b"))
    assert one[13:77] != other[13:77]


def test_every_changed_lost_or_added_byte_is_noticed(world: Joined) -> None:
    blob = sealed(world)
    for at in range(0, len(blob), 41):
        with pytest.raises(BackupUnreadable):
            open_backup(alice.signer, world.id, blob[:at] + bytes((blob[at] ^ 1,)) + blob[at + 1 :])
    for other in (b"", blob[:1], blob[:13], blob[:28], blob[:-1], blob + b"\0", b"\x02" + blob[1:]):
        with pytest.raises(BackupUnreadable):
            open_backup(alice.signer, world.id, other)


def test_the_key_is_derived_by_hkdf_for_each_purpose_and_channel() -> None:
    # RFC 5869, test case 1, whose output is 42 bytes: the first block is ours.
    secret, salt = b"\x0b" * 22, bytes(range(13))
    info = bytes(range(0xF0, 0xFA))
    expected = "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf"
    assert hkdf(secret, salt, info).hex() == expected
    key = Signer(b"\x07" * 32)
    oracle = HKDF(hashes.SHA256(), 32, b"option-channels", b"backup" + b"c" * 32).derive(b"\x07" * 32)
    assert key.derive(b"backup" + b"c" * 32) == oracle
    assert key.derive(b"backup" + b"d" * 32) != oracle
    assert Signer(b"\x08" * 32).derive(b"backup" + b"c" * 32) != oracle


def test_a_plain_backup_is_what_was_sealed(world: Joined) -> None:
    plain = encode_backup(world.alice.channel, 3)
    assert plain is not None
    assert open_backup(alice.signer, world.id, sealed(world)) == decode_backup(plain, world.id, alice.signer.address)
