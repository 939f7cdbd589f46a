"""Two nodes and a risk engine: which terms they agree to, and what they are told when the contract speaks of margin."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from channels.chain.local import LocalChain
from channels.core import notices as n
from channels.core.margin_calls import MarginCall
from channels.errors import ContractMismatch, TermsRefused
from channels.model import Leg, Party
from channels.risk import DEFAULT_POLICY, margin
from channels.risk.close_out import witness
from channels.runtime.node import open_node
from channels.store import MemoryStore
from channels.units import WAD
from tests import roles
from tests.pair import Pair, config_for, opened_pair, terms_for
from tests.roles import ETH, EXPIRY, UNIT

LENIENT = replace(DEFAULT_POLICY, scan_maintenance=WAD // 2)
SHORT = Leg.call(ETH, EXPIRY, 2400, quantity=-10)


def odd(pair: Pair, **changes: Any) -> Any:
    """Terms of another channel between the two."""
    return terms_for(pair.local, salt=b"odd", **changes)


async def test_an_engine_that_both_checked_is_agreed_to_and_a_call_is_told_to_both() -> None:
    async with opened_pair(margined=True) as pair:
        assert pair.terms.engine == pair.local.engine
        await pair.fund(10_000, 10_000)
        await pair.alice.channel.propose(pair.alice.channel.trade([SHORT], premium="400"))
        await pair.until(pair.agree)
        agreed = pair.bob.channel.state.agreed
        assert agreed is not None
        pair.local.publish_spot(ETH, 3_400 * WAD)
        spots = {ETH: 3_400 * WAD}
        report = margin(agreed.book, agreed.state.balances, 6, DEFAULT_POLICY, t=pair.local.now, spots=spots)[0]
        call = pair.bob.chain.margin_call(pair.terms, agreed, Party.ZERO, witness(report))
        await pair.bob.node.send(call)
        deadline = pair.local.now + pair.terms.cure_period
        pending = (MarginCall(deadline, agreed.version), MarginCall())
        await pair.until(lambda: all(side.channel.state.chain.calls == pending for side in pair.sides))
        for side in pair.sides:
            told = [event async for event in taken(side.channel, n.MarginCalled)]
            assert told == [n.MarginCalled(Party.ZERO, deadline, agreed.version)]


async def taken(channel: Any, kind: type[n.Notice]) -> Any:
    """Yield the channel's notices up to the first of a kind, and only that."""
    async for event in channel:
        if isinstance(event, kind):
            yield event
            return


async def test_an_engine_that_the_peer_never_checked_is_refused() -> None:
    async with opened_pair(bob_config={"min_cure": 600}, alice_config={"min_cure": 600}) as pair:
        with pytest.raises(TermsRefused, match=r"by the peer .* is not one this node has checked"):
            await pair.alice.node.open(odd(pair, engine=pair.local.engine))


@pytest.mark.parametrize(
    ("engine", "reason"),
    [
        ("another policy", "HASH, SCAN_MAINTENANCE differ"),
        ("another contract", "not that of the shipped RiskEngine"),
        ("nothing", "there is no code"),
    ],
)
async def test_our_own_terms_are_held_against_the_engines_code(engine: str, reason: str) -> None:
    async with opened_pair(alice_config={"min_cure": 600}) as pair:
        address = {
            "another policy": pair.local.engine_for(LENIENT),
            "another contract": pair.local.token,
            "nothing": roles.mallory.address,
        }[engine]
        with pytest.raises(TermsRefused, match=reason):
            await pair.alice.node.open(odd(pair, engine=address))
        assert len(pair.alice.node.seats) == 1


async def test_an_engine_with_another_policy_than_the_terms_is_refused() -> None:
    """Both know both policies, and the engine was checked for the other one."""
    both = {"policies": (DEFAULT_POLICY, LENIENT), "min_cure": 600}
    async with opened_pair(margined=True, alice_config=both, bob_config=both) as pair:
        with pytest.raises(TermsRefused, match="holds the margin policy"):
            await pair.alice.node.open(odd(pair, engine=pair.local.engine, policy=LENIENT.hash))


@pytest.mark.parametrize("judge", ["alice", "bob"])
async def test_a_cure_shorter_than_an_outage_is_refused_where_there_is_an_engine(judge: str) -> None:
    strict = {f"{judge}_config": {"min_cure": 601}}
    with pytest.raises(TermsRefused, match="a cure period of 600 s is below 601 s"):
        async with opened_pair(margined=True, **strict):  # type: ignore[arg-type]  # one keyword of the two
            raise AssertionError("it opened")
    async with opened_pair(**strict) as pair:  # type: ignore[arg-type]  # one keyword of the two
        assert pair.alice.channel.state.accepted


@pytest.mark.parametrize("engine", ["another policy", "another contract"])
async def test_a_node_does_not_start_on_an_engine_that_is_not_as_configured(engine: str) -> None:
    local = LocalChain(roles.NOW)
    address = local.engine_for(LENIENT) if engine == "another policy" else local.token
    reason = "not known to this node" if engine == "another policy" else str(local.token)
    chain = local.client(roles.alice.signer, tokens=UNIT)
    config = config_for(local, engines=frozenset({address}))
    with pytest.raises(ContractMismatch, match=reason):
        async with open_node(roles.alice.signer, store=MemoryStore(), chain=chain, market=nothing, config=config):
            raise AssertionError("it started")


def nothing(legs: tuple[Leg, ...], now: int) -> None:
    """A market without prices."""
