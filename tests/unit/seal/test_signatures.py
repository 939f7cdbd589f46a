"""A signature is canonical, by the right signer, over the right state, on the right chain; or it is refused."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from eth_account import Account
from hypothesis import given, strategies as st

from channels.errors import BadSignature, KeyUnusable
from channels.model import Agreed, Party, keccak
from channels.seal import Signer, check_agreed, check_party, check_signature, recover, state_digest
from channels.seal.verify import HALF_ORDER
from tests.roles import CHANNEL, DEPLOYMENT, TERMS, agreed, alice, bob, book, mallory, signature, state
from tests.strategies import hashes

ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
DIGEST = keccak(b"a digest")
GOOD = alice.signer.sign(DIGEST)
secrets = st.integers(1, ORDER - 1).map(lambda n: n.to_bytes(32, "big"))


@given(secrets, hashes)
def test_signatures_verify_in_eth_account_and_the_other_way_round(secret: bytes, digest: bytes) -> None:
    signer, account = Signer(secret), Account.from_key(secret)
    ours, theirs = signer.sign(digest), bytes(account.unsafe_sign_hash(digest).signature)
    assert signer.address == bytes.fromhex(account.address[2:])
    assert Account._recover_hash(digest, signature=ours) == account.address == str(signer.address)
    assert recover(digest, theirs) == signer.address
    assert ours == theirs


@given(secrets, hashes)
def test_signatures_are_65_bytes_low_s_and_deterministic(secret: bytes, digest: bytes) -> None:
    made = Signer(secret).sign(digest)
    assert len(made) == 65 and made[64] in (27, 28)
    assert int.from_bytes(made[32:64], "big") <= HALF_ORDER == ORDER // 2
    assert made == Signer(secret).sign(digest)


def malleable(sig: bytes) -> bytes:
    """The high-s twin, which plain recovery accepts as the same signer's."""
    s = ORDER - int.from_bytes(sig[32:64], "big")
    return sig[:32] + s.to_bytes(32, "big") + bytes((55 - sig[64],))


def with_s(s: int) -> bytes:
    return GOOD[:32] + s.to_bytes(32, "big") + GOOD[64:]


def compact(sig: bytes) -> bytes:
    """EIP-2098: the parity in the top bit of s."""
    return sig[:32] + bytes((sig[32] | (sig[64] - 27) << 7,)) + sig[33:64]


REFUSED: dict[str, Any] = {
    "high s": malleable(GOOD),
    "compact, 64 bytes": compact(GOOD),
    "64 bytes": GOOD[:64],
    "66 bytes": GOOD + b"\0",
    "a second signature behind it": GOOD + GOOD,
    "empty": b"",
    "v = 0 or 1": GOOD[:64] + bytes((GOOD[64] - 27,)),
    "v = 29": GOOD[:64] + b"\x1d",
    "v of EIP-155": GOOD[:64] + bytes((GOOD[64] + 10,)),
    "v = 255": GOOD[:64] + b"\xff",
    "zeros": bytes(64) + b"\x1b",
    "r = 0": bytes(32) + GOOD[32:],
    "s = 0": with_s(0),
    "s just above half the order": with_s(HALF_ORDER + 1),
    "r = the order": ORDER.to_bytes(32, "big") + GOOD[32:],
    "r = 2^256 - 1": b"\xff" * 32 + GOOD[32:],
    "r is no point": (5).to_bytes(32, "big") + GOOD[32:],
    "None": None,
    "text": "0x" + GOOD.hex(),
    "a list": list(GOOD),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_canonical_is_refused(name: str) -> None:
    with pytest.raises(BadSignature):
        recover(DIGEST, REFUSED[name])


def test_the_refused_twins_would_recover_to_the_same_signer() -> None:
    """So the refusal is the rule's and not the curve's."""
    for twin in (malleable(GOOD), GOOD[:64] + bytes((GOOD[64] - 27,))):
        assert Account._recover_hash(DIGEST, signature=twin) == str(alice.address)
    assert recover(DIGEST, GOOD) == alice.address


@given(st.binary(max_size=70))
def test_garbage_is_refused_or_somebody_elses(garbage: bytes) -> None:
    with pytest.raises(BadSignature):
        check_signature(DIGEST, garbage, alice.address)


@given(st.integers(0, 64), st.integers(1, 255))
def test_a_signature_with_one_byte_changed_is_refused(at: int, mask: int) -> None:
    changed = bytes(b ^ mask if i == at else b for i, b in enumerate(GOOD))
    with pytest.raises(BadSignature):
        check_signature(DIGEST, changed, alice.address)


def test_an_agreed_state_carries_each_signature_in_its_place() -> None:
    good = agreed(book())
    check_agreed(DEPLOYMENT, TERMS, good)
    for pair in (good.signatures[::-1], (good.signatures[0],) * 2, (good.signatures[1],) * 2):
        with pytest.raises(BadSignature, match="not by"):
            check_agreed(DEPLOYMENT, TERMS, Agreed(good.state, good.book, pair))


@pytest.mark.parametrize("party", Party)
def test_a_state_is_signed_by_its_party_and_nobody_else(party: Party) -> None:
    made = state()
    check_party(DEPLOYMENT, TERMS, made, party, signature(party, made))
    for sig in (signature(party.other, made), mallory.signer.sign(state_digest(DEPLOYMENT, made))):
        with pytest.raises(BadSignature):
            check_party(DEPLOYMENT, TERMS, made, party, sig)


def test_a_signature_is_not_replayed_on_another_channel_chain_adjudicator_or_version() -> None:
    sig = signature(Party.ZERO, state())
    reopened = replace(TERMS, salt=keccak(b"reopened")).channel_id(DEPLOYMENT)
    assert reopened != CHANNEL
    elsewhere = (
        (DEPLOYMENT, state(channel=reopened)),
        (DEPLOYMENT, state(version=2)),
        (replace(DEPLOYMENT, chain_id=1), state()),
        (replace(DEPLOYMENT, adjudicator=mallory.owner), state()),
    )
    for deployment, made in elsewhere:
        with pytest.raises(BadSignature):
            check_party(deployment, TERMS, made, Party.ZERO, sig)


@pytest.mark.parametrize("secret", [b"", bytes(32), b"k" * 31, b"k" * 33, b"\xff" * 32, ORDER.to_bytes(32, "big")])
def test_a_key_outside_the_curves_order_is_refused(secret: bytes) -> None:
    with pytest.raises(KeyUnusable):
        Signer(secret)


@pytest.mark.parametrize("text", ["", "0x", "no key", "0x" + "1" * 63, "1" * 66])
def test_a_key_is_written_as_64_hex_digits(text: str) -> None:
    with pytest.raises(KeyUnusable):
        Signer.from_hex(text)


def test_a_key_is_never_shown() -> None:
    secret = keccak(b"secret")
    signer = Signer.from_hex(f"  0x{secret.hex()}\n")
    assert signer.address == Signer(secret).address
    assert repr(signer) == str(signer) == f"Signer({signer.address})"
    with pytest.raises(KeyUnusable) as refused:
        Signer.from_hex(secret.hex() + "zz")
    assert secret.hex() not in str(refused.value)


def test_the_cast_is_ordered() -> None:
    assert alice.address < bob.address
