"""Two nodes and a price source: whose prices they agree to settle by, and what Mallory deploys instead."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Any

import pytest

from adjudicator_contracts import artifact
from channels.chain.local import LocalChain
from channels.chain.source import AuditedCode, ChainlinkSetup, Feed, SignedSetup
from channels.errors import SourceMismatch, TermsRefused
from channels.model import Address, keccak
from channels.runtime.node import open_node
from channels.store import MemoryStore
from tests import roles
from tests.pair import Pair, config_for, opened_pair, terms_for

HOUR = 3_600


def leave_behind(local: LocalChain, code: bytes) -> Address:
    """Deploy init code that leaves exactly `code` at an address: copy and return what follows it."""
    return local._create(b"\x61" + len(code).to_bytes(2) + bytes.fromhex("80600c6000396000f3") + code)


def signed(local: LocalChain, **changes: Any) -> tuple[Address, SignedSetup]:
    """A shipped source of the chain's publishers, deployed as shipped, with changes."""
    setup = replace(local.source_setup, **changes)
    bounds = (setup.deviation_base, setup.deviation_per_second, setup.max_age)
    return local.deploy("SignedPriceSource", setup.publishers, setup.threshold, *bounds), setup


def mallorys(local: LocalChain, what: str) -> Address:
    """Somewhere else for prices to come from."""
    runtime, honest = artifact("SignedPriceSource").runtime, local.source_setup.immutables
    forged = bytearray(honest)
    forged[544:576] = bytes(32)
    proxy = bytes.fromhex("363d3d373d3d3d363d73") + local.source + bytes.fromhex("5af43d82803e903d91602b57fd5bf3")
    match what:
        case "an account":
            return roles.mallory.address
        case "a proxy":
            return leave_behind(local, proxy)
        case "nobody signs":
            return leave_behind(local, runtime + forged)
        case "one signs":
            return signed(local, threshold=1)[0]
        case "other publishers":
            publishers = tuple(sorted((*local.source_setup.publishers[:2], roles.mallory.address)))
            return signed(local, publishers=publishers)[0]
        case _:
            return local.deploy("MockSource")


CASES = {
    "an account": "found no code",
    "a proxy": "45 bytes of other code",
    "nobody signs": r"its constructor would refuse: threshold = 0",
    "one signs": "found SignedPriceSource with threshold 1 of 3; expected SignedPriceSource with threshold 2 of 3",
    "other publishers": f"found SignedPriceSource with publishers .*{roles.mallory.address}.*; expected ",
    "a mock": "bytes of other code",
}


@pytest.mark.parametrize("what", CASES)
async def test_our_own_terms_are_held_against_the_sources_code(what: str) -> None:
    async with opened_pair() as pair:
        address = mallorys(pair.local, what)
        with pytest.raises(TermsRefused, match=CASES[what]) as refused:
            await pair.alice.node.open(odd(pair, address))
        assert isinstance(refused.value.__cause__, SourceMismatch)
        assert refused.value.__cause__.address == str(address)
        assert len(pair.alice.node.seats) == 1


def odd(pair: Pair, source: Address) -> Any:
    """Terms of another channel between the two, that names another source."""
    return terms_for(pair.local, salt=b"odd", source=source)


@pytest.mark.parametrize("what", CASES)
async def test_a_node_does_not_start_on_a_source_that_is_not_as_stated(what: str) -> None:
    local = LocalChain(roles.NOW)
    address = mallorys(local, what)
    with pytest.raises(SourceMismatch, match=CASES[what]):
        async with starting(local, sources=frozenset({local.source, address})):
            raise AssertionError("it started")


@pytest.mark.parametrize("what", ["an account", "a proxy", "nobody signs", "a mock"])
async def test_without_a_statement_a_source_is_still_a_shipped_one(what: str) -> None:
    local = LocalChain(roles.NOW)
    address = mallorys(local, what)
    with pytest.raises(SourceMismatch, match=f"{CASES[what]}.*; expected ChainlinkPriceSource or SignedPriceSource"):
        async with starting(local, sources=frozenset({address}), source_setups=None):
            raise AssertionError("it started")
    one_signs = mallorys(local, "one signs")
    async with starting(local, sources=frozenset({one_signs}), source_setups=None) as node:
        assert node.channels == {}


async def test_the_owner_may_accept_other_prices_and_code_it_has_read(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    local = LocalChain(roles.NOW)
    feed = local.deploy("RoundFeed", 8)
    listing = (b"ETH/USD".ljust(32, b"\0"), feed, HOUR)
    chainlink = local.deploy("ChainlinkPriceSource", [listing], 600)
    setup = ChainlinkSetup((Feed("ETH/USD", feed, HOUR),), 600)
    mock = local.deploy("MockSource")
    audited = AuditedCode(keccak(artifact("MockSource").runtime))
    one_signs, lenient = signed(local, threshold=1)
    named = frozenset({local.source, chainlink, mock, one_signs})
    async with starting(local, sources=named, source_setups=(local.source_setup, setup, audited, lenient)):
        pass
    assert f"price source {chainlink}: ChainlinkPriceSource with feeds ETH/USD from {feed}" in caplog.text
    other = replace(setup, feeds=(Feed("ETH/USD", roles.mallory.address, HOUR),))
    with pytest.raises(SourceMismatch, match=f"found .* from {feed}, .*; expected .* from {roles.mallory.address}"):
        async with starting(local, sources=frozenset({chainlink}), source_setups=(other,)):
            raise AssertionError("it started")


async def test_a_peer_names_no_source_that_was_not_accepted() -> None:
    """Alice accepts one signature of three, Bob does not: what counts is each node's own word."""
    local_setup = LocalChain(roles.NOW).source_setup
    lenient = {"source_setups": (local_setup, replace(local_setup, threshold=1))}
    async with opened_pair(alice_config=lenient) as pair:
        assert pair.local.source_setup == local_setup
        address, _ = signed(pair.local, threshold=1)
        with pytest.raises(
            TermsRefused, match=f"by the peer .* the price source {address} is not one this node trusts"
        ):
            await pair.alice.node.open(odd(pair, address))


def starting(local: LocalChain, **config: Any) -> Any:
    """Alice's node, on its way up."""
    chain = local.client(roles.alice.signer)
    return open_node(roles.alice.signer, store=MemoryStore(), chain=chain, config=config_for(local, **config))
