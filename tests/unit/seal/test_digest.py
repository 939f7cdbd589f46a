"""Digests are those of eth-account's EIP-712 encoder, for every state."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from eth_account.messages import SignableMessage, encode_typed_data
from hypothesis import given, strategies as st

from channels.model import Deployment, Intent, State, keccak
from channels.seal import hello_digest, state_digest, state_struct_hash
from channels.seal.typehash import domain_separator
from tests.roles import DEPLOYMENT, mallory, state
from tests.strategies import deployments, hashes, states

STATE_FIELDS = [
    ("bytes32", "channel"), ("uint64", "version"), ("uint8", "intent"), ("uint64", "validUntil"),
    ("uint128", "deposit0"), ("uint128", "deposit1"), ("uint128", "withdrawal0"), ("uint128", "withdrawal1"),
    ("int128", "balance0"), ("int128", "balance1"), ("bytes32", "book"),
]  # fmt: skip
HELLO_FIELDS = [
    ("bytes32", "theirNonce"), ("bytes32", "myNonce"), ("bytes32", "listenerCertificateSha256"), ("uint8", "role"),
]  # fmt: skip
DOMAIN_FIELDS = [("string", "name"), ("string", "version"), ("uint256", "chainId"), ("address", "verifyingContract")]


def typed_data(
    name: str, fields: list[tuple[str, str]], values: list[Any], deployment: Deployment | None
) -> SignableMessage:
    """What eth-account makes of the same fields."""
    domain: dict[str, Any] = {"name": "OptionChannel", "version": "1"}
    if deployment is not None:
        domain |= {"chainId": deployment.chain_id, "verifyingContract": str(deployment.adjudicator)}
    return encode_typed_data(
        full_message={
            "types": {
                "EIP712Domain": [{"type": t, "name": n} for t, n in DOMAIN_FIELDS[: len(domain)]],
                name: [{"type": t, "name": n} for t, n in fields],
            },
            "primaryType": name,
            "domain": domain,
            "message": dict(zip([n for _, n in fields], values, strict=True)),
        }
    )


def state_message(deployment: Deployment, of: State) -> SignableMessage:
    """A state as eth-account encodes it."""
    values = [of.channel, of.version, int(of.intent), of.valid_until, *of.deposits, *of.withdrawals, *of.balances]
    return typed_data("State", STATE_FIELDS, [*values, of.book], deployment)


def digest_of(message: SignableMessage) -> bytes:
    """What a wallet signs for the message."""
    return keccak(b"\x19" + message.version + message.header + message.body)


@given(deployments, states())
def test_a_state_digest_is_eth_accounts(deployment: Deployment, of: State) -> None:
    message = state_message(deployment, of)
    assert domain_separator(deployment) == message.header
    assert state_struct_hash(of) == message.body
    assert state_digest(deployment, of) == digest_of(message)


@given(hashes, hashes, hashes, st.integers(0, 255))
def test_a_hello_digest_is_eth_accounts(theirs: bytes, mine: bytes, certificate: bytes, role: int) -> None:
    message = typed_data("Hello", HELLO_FIELDS, [theirs, mine, certificate, role], None)
    assert hello_digest(theirs, mine, certificate, role) == digest_of(message)


@pytest.mark.parametrize(
    "change",
    [
        {"channel": b"c" * 32},
        {"version": 2},
        {"intent": Intent.REOPEN, "valid_until": 1},
        {"intent": Intent.REOPEN, "valid_until": 2},
        {"intent": Intent.CLOSE, "valid_until": 1},
        {"deposits": (5_000, 10_000), "balances": (10_000, 5_000)},
        {"deposits": (10_000, 5_000), "balances": (10_000, 5_000)},
        {"deposits": (10_000, 5_000), "balances": (5_000, 10_000)},
        {"deposits": (15_001, 0), "withdrawals": (1, 0), "balances": (10_000, 5_000)},
        {"deposits": (15_001, 0), "withdrawals": (0, 1), "balances": (10_000, 5_000)},
        {"book": b"b" * 32},
    ],
    ids=str,
)
def test_every_field_changes_the_digest(change: dict[str, Any]) -> None:
    assert state_digest(DEPLOYMENT, state(**change)) != state_digest(DEPLOYMENT, state())


def test_chain_and_adjudicator_change_the_digest() -> None:
    digests = {
        state_digest(deployment, state())
        for deployment in (
            DEPLOYMENT,
            replace(DEPLOYMENT, chain_id=1),
            replace(DEPLOYMENT, adjudicator=mallory.owner),
        )
    }
    assert len(digests) == 3
