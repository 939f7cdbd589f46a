"""Digests against two other encoders, and the one form of a signature that is accepted."""

from dataclasses import astuple

import eth_abi
import pytest
from eth_account import Account
from eth_account.messages import encode_typed_data
from eth_hash.auto import keccak
from hypothesis import given, strategies as st

from tests.contracts.encoding import ORDER, STATE_FIELDS, TERMS_TYPE, Key, State, high_s
from tests.contracts.refusals import refused
from tests.contracts.world import UNIT, Channel, World

WORLD = World()


@pytest.fixture
def channel(world: World) -> Channel:
    """A channel with 100 on each side."""
    return world.channel((100 * UNIT, 100 * UNIT))


def typed(state: State, chain_id: int, adjudicator: str) -> dict[str, object]:
    """Return the EIP-712 document of a state, as a wallet would show it."""
    return {
        "types": {
            "EIP712Domain": [
                {"name": "name", "type": "string"},
                {"name": "version", "type": "string"},
                {"name": "chainId", "type": "uint256"},
                {"name": "verifyingContract", "type": "address"},
            ],
            "State": [{"name": name, "type": kind} for kind, name in STATE_FIELDS],
        },
        "primaryType": "State",
        "domain": {
            "name": "OptionChannel",
            "version": "1",
            "chainId": chain_id,
            "verifyingContract": adjudicator,
        },
        "message": dict(zip((name for _, name in STATE_FIELDS), astuple(state), strict=True)),
    }


def states() -> st.SearchStrategy[State]:
    """States anywhere within their types' widths."""
    word, amount, signed = (
        st.binary(min_size=32, max_size=32),
        st.integers(0, 2**128 - 1),
        st.integers(-(2**127), 2**127 - 1),
    )
    time = st.integers(0, 2**64 - 1)
    return st.builds(State, word, time, st.integers(0, 255), time, amount, amount, amount, amount, signed, signed, word)


@given(state=states())
def test_the_digest_is_what_eth_account_and_eth_abi_say(state: State) -> None:
    adjudicator = WORLD.adjudicator
    digest = adjudicator.call("digest", astuple(state))
    assert digest == state.digest(WORLD.chain.id, adjudicator.address)
    message = encode_typed_data(full_message=typed(state, WORLD.chain.id, adjudicator.address))
    assert digest == keccak(b"\x19" + message.version + message.header + message.body)


def test_eth_accounts_signature_is_accepted(world: World, channel: Channel) -> None:
    state = channel.state(1)
    message = encode_typed_data(full_message=typed(state, world.chain.id, world.adjudicator.address))
    signatures = [bytes(Account.sign_message(message, key.secret).signature) for key in channel.keys]
    assert tuple(signatures) == channel.sign(state)
    channel.checkpoint(state, signatures)


def test_the_channel_id_is_the_hash_of_17_words(world: World, channel: Channel) -> None:
    words = eth_abi.encode(
        ["uint256", "address", TERMS_TYPE], [world.chain.id, world.adjudicator.address, astuple(channel.terms)]
    )
    assert len(words) == 17 * 32
    assert world.adjudicator.call("channel_id", astuple(channel.terms)) == keccak(words) == channel.id


def malformed(good: bytes) -> dict[str, tuple[bytes, str]]:
    """Every way to spoil a signature, and what is said of it."""
    r, s, v = good[:32], good[32:64], good[64]
    return {
        "empty": (b"", "signatures: not 65 bytes"),
        "compact, 64 bytes": (good[:64], "signatures: not 65 bytes"),
        "66 bytes": (good + b"\0", ""),
        "high s": (high_s(good), "signatures: high s"),
        "smallest high s": (r + (ORDER // 2 + 1).to_bytes(32, "big") + bytes([v]), "signatures: high s"),
        "v 0": (good[:64] + bytes([v - 27]), "signatures: v is not 27 or 28"),
        "v 26": (good[:64] + bytes([26]), "signatures: v is not 27 or 28"),
        "v 29": (good[:64] + bytes([29]), "signatures: v is not 27 or 28"),
        "v of EIP-155": (good[:64] + bytes([37]), "signatures: v is not 27 or 28"),
        "the other v": (good[:64] + bytes([55 - v]), "signatures: wrong signer"),
        "r 0": (bytes(32) + s + bytes([v]), "signatures: not recoverable"),
        "s 0": (r + bytes(32) + bytes([v]), "signatures: not recoverable"),
        "r too large": (b"\xff" * 32 + s + bytes([v]), "signatures: not recoverable"),
        "zeros": (bytes(64) + bytes([27]), "signatures: not recoverable"),
    }


@pytest.mark.parametrize("spoiled", [0, 1])
@pytest.mark.parametrize("how", list(malformed(bytes(64) + bytes([27]))))
@pytest.mark.parametrize("entry", ["checkpoint", "challenge", "close"])
def test_only_canonical_signatures_count(channel: Channel, entry: str, how: str, spoiled: int) -> None:
    state = channel.closing(1) if entry == "close" else channel.state(1)
    signatures = list(channel.sign(state))
    signatures[spoiled], reason = malformed(signatures[spoiled])[how]
    with refused(reason):
        getattr(channel, entry)(state, signatures)
    getattr(channel, entry)(state)


@pytest.mark.parametrize("entry", ["checkpoint", "challenge", "close"])
def test_both_parties_must_have_signed_each_in_its_place(channel: Channel, world: World, entry: str) -> None:
    state = channel.closing(1) if entry == "close" else channel.state(1)
    first, second = channel.sign(state)
    stranger = Key(99).sign(state.digest(world.chain.id, world.adjudicator.address))
    for signatures in ((second, first), (first, first), (second, second), (stranger, second), (first, stranger)):
        with refused("signatures: wrong signer"):
            getattr(channel, entry)(state, signatures)


def test_an_owner_who_is_not_the_signer_cannot_sign(world: World) -> None:
    owner = Key(77)
    channel = world.channel((UNIT, UNIT), owners=(owner.address, owner.address))
    state = channel.state(1)
    signature = owner.sign(state.digest(world.chain.id, world.adjudicator.address))
    with refused("signatures: wrong signer"):
        channel.checkpoint(state, (signature, signature))


def test_a_signature_counts_on_one_chain_in_one_contract_and_as_typed_data(channel: Channel, world: World) -> None:
    state = channel.state(1)
    here = state.digest(world.chain.id, world.adjudicator.address)
    elsewhere = (
        state.digest(2, world.adjudicator.address),
        state.digest(world.chain.id, world.token.address),
        state.struct_hash(),
        keccak(b"\x19Ethereum Signed Message:\n32" + here),
    )
    for digest in elsewhere:
        with refused("signatures: wrong signer"):
            channel.checkpoint(state, tuple(key.sign(digest) for key in channel.keys))


@pytest.mark.parametrize("field", [name for _, name in STATE_FIELDS if name not in ("channel", "version")])
def test_every_field_is_signed(channel: Channel, field: str) -> None:
    """Changing any field after the fact leaves no valid signature behind (fields that must agree change together)."""
    together = {
        "intent": {"intent": 1, "valid_until": 2**60},
        "validUntil": {"valid_until": 2**60 + 1, "intent": 1},
        "deposit0": {"deposit0": 101 * UNIT, "balance0": 101 * UNIT},
        "deposit1": {"deposit1": 101 * UNIT, "balance1": 101 * UNIT},
        "withdrawal0": {"withdrawal0": UNIT, "balance0": 99 * UNIT},
        "withdrawal1": {"withdrawal1": UNIT, "balance1": 99 * UNIT},
        "balance0": {"balance0": 99 * UNIT, "balance1": 101 * UNIT},
        "balance1": {"balance0": 101 * UNIT, "balance1": 99 * UNIT},
        "book": {"book": b"b" * 32},
    }
    state = channel.state(1)
    with refused("signatures: wrong signer"):
        channel.checkpoint(state.but(**together[field]), channel.sign(state))


def test_the_version_is_signed(channel: Channel) -> None:
    state = channel.state(1)
    with refused("signatures: wrong signer"):
        channel.checkpoint(state.but(version=2), channel.sign(state))
