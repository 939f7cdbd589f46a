"""Addresses, deployments, terms and the channel id: two spellings are never two things, two things never one id."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import eth_abi
import pytest
from eth_utils import to_checksum_address
from hypothesis import given, strategies as st

from channels.errors import InvalidValue, TermsRefused
from channels.model import ZERO_ADDRESS, Address, Deployment, Party, Terms, keccak
from channels.model.identity import checked_hash, checked_range, word
from tests.roles import CHANNEL, DEPLOYMENT, TERMS, alice, bob, mallory

EIP55 = "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed"
TERMS_TYPE = "(address[2],address[2],address,uint8,address,address,bytes32,uint32,uint32,uint32,uint32,uint64,bytes32)"


@given(st.binary(min_size=20, max_size=20))
def test_an_address_prints_with_its_checksum_and_reads_back(raw: bytes) -> None:
    address = Address(raw)
    assert str(address) == to_checksum_address(raw)
    assert Address(str(address)) == Address(str(address).lower()) == Address("0x" + raw.hex().upper()) == address
    assert address.word == bytes(12) + raw


@pytest.mark.parametrize(
    "value",
    [
        EIP55.replace("a", "A", 1), EIP55[:-1], EIP55 + "0", EIP55[2:], EIP55.replace("0x", "0X"), "0x" + "g" * 40,
        "0x" + "  " * 20, "", b"", bytes(19), bytes(21), bytearray(20), None, 5,
    ],
)  # fmt: skip
def test_what_is_not_an_address_is_refused(value: Any) -> None:
    with pytest.raises(InvalidValue):
        Address(value)


@pytest.mark.parametrize("chain_id", [0, -1, 2**64, True, "1", 1.0, None])
def test_a_chain_id_is_a_positive_64_bit_integer(chain_id: Any) -> None:
    with pytest.raises(InvalidValue):
        Deployment(chain_id, DEPLOYMENT.adjudicator)


def test_an_adjudicator_is_an_address() -> None:
    with pytest.raises(InvalidValue):
        Deployment(1, bytes(20))


def test_integers_are_words_in_twos_complement() -> None:
    assert word(-1) == b"\xff" * 32
    assert word(258) == bytes(30) + b"\x01\x02"


@pytest.mark.parametrize("value", [True, 1.0, "1", -1, 11])
def test_ranges_take_integers_only(value: Any) -> None:
    assert checked_range("n", 10, 0, 10) == 10
    with pytest.raises(InvalidValue):
        checked_range("n", value, 0, 10)


def test_hashes_have_thirty_two_bytes() -> None:
    assert checked_hash("h", bytes(32)) == bytes(32)
    with pytest.raises(InvalidValue):
        checked_hash("h", bytes(31))


def by_eth_abi(terms: Terms) -> list[Any]:
    """The terms as eth-abi takes them."""
    return [getattr(terms, f.name) for f in fields(terms)]


def test_the_channel_id_is_eth_abis() -> None:
    encoded = eth_abi.encode([TERMS_TYPE], [by_eth_abi(TERMS)])
    assert TERMS.encode() == encoded
    assert keccak(eth_abi.encode(["uint256", "address", TERMS_TYPE], [
        DEPLOYMENT.chain_id, DEPLOYMENT.adjudicator, by_eth_abi(TERMS),
    ])) == CHANNEL  # fmt: skip


CHANGES: dict[str, Any] = {
    "signers": (alice.address, max(bob.address, Address(b"\xff" * 20))),
    "owners": (alice.owner, mallory.owner),
    "token": mallory.owner,
    "decimals": 18,
    "source": mallory.owner,
    "engine": mallory.owner,
    "policy": keccak(b"another policy"),
    "challenge_period": 7_200,
    "cure_period": 601,
    "grace": 7_201,
    "spot_max_age": 301,
    "last_resort": TERMS.last_resort + 1,
    "salt": keccak(b"re-opened"),
}


def test_every_term_and_the_deployment_change_the_channel_id() -> None:
    assert set(CHANGES) == {f.name for f in fields(Terms)}
    others = {replace(TERMS, **{name: value}).channel_id(DEPLOYMENT) for name, value in CHANGES.items()}
    others.add(TERMS.channel_id(replace(DEPLOYMENT, chain_id=1)))
    others.add(TERMS.channel_id(replace(DEPLOYMENT, adjudicator=mallory.owner)))
    assert len(others | {CHANNEL}) == len(CHANGES) + 3


REFUSED: list[dict[str, Any]] = [
    {"signers": (bob.address, alice.address)},
    {"signers": (alice.address, alice.address)},
    {"signers": (ZERO_ADDRESS, alice.address)},
    {"signers": (alice.address,)},
    {"signers": [alice.address, bob.address]},
    {"signers": (bytes(alice.address), bytes(bob.address))},
    {"owners": (alice.owner, ZERO_ADDRESS)},
    {"owners": (alice.owner, bob.owner, bob.owner)},
    {"token": ZERO_ADDRESS},
    {"token": str(mallory.owner)},
    {"source": ZERO_ADDRESS},
    {"decimals": 19},
    {"decimals": -1},
    {"decimals": True},
    {"challenge_period": 599},
    {"challenge_period": 14 * 86_400 + 1},
    {"challenge_period": 3600.0},
    {"cure_period": 299},
    {"cure_period": TERMS.challenge_period + 1},
    {"grace": 3_599},
    {"grace": 30 * 86_400 + 1},
    {"spot_max_age": 0},
    {"spot_max_age": 2**32},
    {"last_resort": 0},
    {"last_resort": 2**40},
    {"policy": bytes(31)},
    {"salt": bytes(33)},
    {"salt": "s" * 32},
]


@pytest.mark.parametrize("change", REFUSED, ids=str)
def test_terms_out_of_bounds_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises(TermsRefused):
        replace(TERMS, **change)


@pytest.mark.parametrize(
    "change",
    [
        {"challenge_period": 600, "cure_period": 600},
        {"challenge_period": 14 * 86_400},
        {"cure_period": 300},
        {"grace": 3_600},
        {"grace": 30 * 86_400},
        {"decimals": 0},
        {"decimals": 18},
        {"engine": ZERO_ADDRESS},
        {"owners": (alice.address, alice.address)},
    ],
    ids=str,
)
def test_terms_at_their_bounds_stand(change: dict[str, Any]) -> None:
    assert replace(TERMS, **change).channel_id(DEPLOYMENT)


def test_signer_and_owner_act_for_their_party() -> None:
    assert [TERMS.party_of(a) for a in (alice.address, alice.owner, bob.address, bob.owner)] == [0, 0, 1, 1]
    assert TERMS.party_of(mallory.address) is None
    assert Party.ZERO.other is Party.ONE and Party.ONE.other is Party.ZERO
