"""Transactions packed by hand equal eth-account's, byte for byte."""

from __future__ import annotations

from eth_account import Account
from hypothesis import given, strategies as st

from channels.chain.account import KeyAccount
from channels.seal import Signer

wei = st.integers(0, 2**100)
common = {
    "chainId": st.integers(1, 2**40),
    "nonce": st.integers(0, 2**40),
    "gas": st.integers(21_000, 30_000_000),
    "to": st.binary(min_size=20, max_size=20).map(lambda raw: Account.from_key(b"\1" + raw[:19] + bytes(12)).address),
    "value": wei,
    "data": st.one_of(*(st.binary(min_size=low, max_size=high) for low, high in ((0, 2), (54, 58), (250, 9_000)))),
}
dynamic = st.fixed_dictionaries({**common, "type": st.just(2), "maxFeePerGas": wei, "maxPriorityFeePerGas": wei})
legacy = st.fixed_dictionaries({**common, "gasPrice": wei})
secrets = st.integers(1, 2**255).map(lambda n: n.to_bytes(32, "big"))


@given(secret=secrets, transaction=st.one_of(dynamic, legacy))
def test_signed_bytes_equal_eth_accounts(secret, transaction):
    ours, theirs = KeyAccount(Signer(secret)), Account.from_key(secret)
    assert ours.address == theirs.address
    signed = theirs.sign_transaction(transaction).raw_transaction
    assert ours.sign_transaction(transaction).raw_transaction == bytes(signed)


@given(secret=secrets)
def test_a_creation_has_no_recipient(secret):
    transaction = {"chainId": 1, "nonce": 0, "gas": 21_000, "gasPrice": 1, "to": None, "value": 0, "data": b"\x60"}
    theirs = Account.from_key(secret).sign_transaction({**transaction, "to": ""})
    assert KeyAccount(Signer(secret)).sign_transaction(transaction).raw_transaction == bytes(theirs.raw_transaction)


def test_the_key_is_never_shown():
    secret = b"\x42" * 32
    assert secret.hex() not in repr(KeyAccount(Signer(secret)))
