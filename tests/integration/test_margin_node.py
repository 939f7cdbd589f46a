"""What a node does about margin by itself, between real nodes on the embedded chain: calls, answers, close-outs."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
import trio

from channels.chain.port import Block, Call, Receipt
from channels.core import notices as n, records as r
from channels.core.margin_calls import NO_CALL
from channels.core.margin_duties import TopUp
from channels.core.phases import Phase
from channels.errors import MarginCallStands, NotPermitted, PeerUnresponsive, ProposalRejected, TransactionReverted
from channels.model import Leg, Mark, Party
from channels.risk import close_out, margin
from channels.runtime.node import Node, open_node
from channels.session import no_market
from channels.store import MemoryStore
from channels.units import WAD
from tests import roles
from tests.integration.margin_nodes import (
    CURE,
    HASTY,
    PATIENT,
    QUIET,
    RICH,
    SHORT,
    called,
    closed_out,
    cured,
    final,
    heard,
    hurried,
    looked,
    mined,
    missed,
    report,
    sent,
    short,
    spot,
    told,
)
from tests.pair import PATIENCE, Pair, Side, config_for
from tests.roles import ETH, EXPIRY, LATER, UNIT

# Calling


async def test_a_peer_that_does_not_restore_its_margin_is_called_and_closed_out_for_the_librarys_figures() -> None:
    async with short(alice=QUIET, bob=HASTY) as pair:
        agreed = final(pair)
        await looked()
        assert not heard(pair.bob, n.SpotBreach) and sent(pair, "margin_call") == 0, "whole at 2,300"
        spot(pair, 3_300)
        breach = await told(pair.bob, n.SpotBreach)
        found = margin(agreed.book, agreed.state.balances, 6, t=breach.time, spots={ETH: 3_300 * WAD})[0]
        assert breach == n.SpotBreach(
            Party.ZERO, found.equity, found.maintenance_margin, found.initial_margin, breach.time
        )
        assert await told(pair.alice, n.SpotBreach) == breach
        calling = await told(pair.bob, n.CallingMargin)
        assert (calling.version, calling.equity) == (agreed.version, found.equity)
        assert "in time" in calling.reason
        await called(pair)
        with pytest.raises(MarginCallStands):
            await pair.bob.channel.propose(Mark(agreed.book.marks))
        await looked()
        assert sent(pair, "liquidate") == 0
        await missed(pair)
        payouts = await closed_out(pair, agreed, 3_350, payer=0)
        assert payouts[0] < 1_000 * UNIT
        assert await told(pair.bob, n.Liquidating) == n.Liquidating(agreed.version)
        await mined(pair, margin_call=1, liquidate=1)
        assert pair.alice.chain.balance_of(pair.local.token, pair.local.deployment.adjudicator) == 0


async def test_a_peer_that_is_gone_is_called(monkeypatch: pytest.MonkeyPatch) -> None:
    async def unreachable(*address: object, **options: object) -> None:
        raise OSError("no route")

    async with short(alice=QUIET, bob=PATIENT) as pair:
        spot(pair, 3_300)
        await told(pair.bob, n.SpotBreach)
        hurried(pair.bob)
        await trio.sleep(0.6)
        assert not heard(pair.bob, n.CallingMargin), "it is there, and has all the time of a patient owner"
        monkeypatch.setattr("trio.open_tcp_stream", unreachable)
        link = pair.bob.node.link_to(roles.alice.address)
        assert link is not None
        link.hang_up()
        assert (await told(pair.bob, n.CallingMargin)).reason == "it is not connected"
        await called(pair)


async def test_a_peer_that_leaves_a_proposal_without_an_answer_is_called(monkeypatch: pytest.MonkeyPatch) -> None:
    async with short(alice=QUIET, bob=PATIENT) as pair:
        await pair.bob.channel.mark()
        monkeypatch.setattr(pair.alice.channel._seat, "receive", lambda message, now: [])
        hurried(pair.bob)
        with pytest.raises(PeerUnresponsive):
            await pair.bob.channel.mark()
        await trio.sleep(0.1)
        assert not heard(pair.bob, n.CallingMargin), "silent, and not in breach"
        spot(pair, 3_300)
        assert (await told(pair.bob, n.CallingMargin)).reason == "it does not answer"
        await called(pair)


async def test_nobody_is_called_by_a_node_that_is_blind_itself() -> None:
    async with short(alice=QUIET, bob=HASTY) as pair:
        pair.bob.channel._seat.market = pair.bob.node.market = no_market
        spot(pair, 3_300)
        await told(pair.bob, n.SpotBreach)
        await looked()
        assert not heard(pair.bob, n.CallingMargin)
        pair.bob.node.market = pair.desk
        await called(pair)


async def test_a_node_that_may_not_call_only_tells() -> None:
    async with short(alice=QUIET, bob={**HASTY, "call_margin": False}) as pair:
        spot(pair, 3_300)
        await told(pair.bob, n.SpotBreach)
        await looked()
        assert not heard(pair.bob, n.CallingMargin) and sent(pair, "margin_call") == 0
        spot(pair, 2_300)
        assert await told(pair.bob, n.SpotBreachOver) == n.SpotBreachOver(Party.ZERO)
        pair.local.mine(2)
        await looked()
        spot(pair, 3_300)
        await told(pair.bob, n.SpotBreach, count=2)
        assert len(heard(pair.bob, n.SpotBreachOver)) == 1


# Answering


async def test_a_called_node_shows_a_newer_state_and_nothing_else_is_signed_for_it() -> None:
    async with short(bob=HASTY) as pair:
        spot(pair, 3_300)
        await called(pair)
        pair.desk.spot = "3300"
        alice = pair.alice.channel
        with pytest.raises(ProposalRejected, match="margin: called"):
            await alice.mark()
        await alice.propose(alice.trade([SHORT.times(-1)], premium=9_010))
        await pair.until(lambda: all(side.channel.state.chain.version == alice.version for side in pair.sides))
        for side in pair.sides:
            assert not side.channel.state.chain.calls[0].is_armed
        await mined(pair, checkpoint=1)
        pair.local.advance(CURE)
        spot(pair, 3_300)
        await looked()
        await mined(pair, margin_call=1, liquidate=0)
        await pair.bob.channel.propose(pair.bob.channel.trade([SHORT], premium=-400))


async def test_a_called_node_tops_up_once_within_its_limit_and_cures() -> None:
    """More confirmations are wanted than there are blocks: what is mined and not confirmed is not sent again."""
    async with short(alice={"top_up_limit": RICH}, bob=HASTY) as pair:
        agreed, node, depth = final(pair), pair.alice.node, 16
        node.config = replace(node.config, confirmations=depth)
        spot(pair, 3_300)
        paid = await told(pair.alice, n.ToppingUp)
        await mined(pair, cure=1)
        found = report(pair, agreed, 3_300)
        wanted = found.initial_margin - found.equity + found.initial_margin // 100
        assert abs(paid.amount - wanted) < UNIT, "theta of a few seconds"
        await looked()
        await mined(pair, margin_call=1, approve=3, deposit=3, cure=1)
        assert pair.alice.channel.state.chain.deposits[0] == 10_000 * UNIT, "not confirmed yet"
        status = pair.alice.chain.status(pair.alice.channel.id)
        assert status.deposits == (10_000 * UNIT + paid.amount, 10_000 * UNIT)
        assert status.cure_deadlines == (0, 0)

        pair.local.mine(depth)
        await cured(pair)
        await pair.until(lambda: final(pair).state.deposits == status.deposits)

        # The limit is for the life of the channel: what is left of it does not do for a second call.
        spot(pair, 3_900)
        needed = await told(pair.alice, n.TopUpNeeded)
        found = report(pair, final(pair), 3_900)
        assert found.initial_margin - found.equity > RICH - paid.amount
        assert abs(needed.amount - (found.initial_margin - found.equity + found.initial_margin // 100)) < 2 * UNIT
        await looked()
        assert sent(pair, "deposit") == 3
        assert needed.deadline == pair.alice.chain.status(pair.alice.channel.id).cure_deadlines[0]


async def test_a_top_up_that_is_mined_costs_nothing_more_while_the_endpoint_lags(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The last look still asks for a deposit that is mined since: a new look tells, before another transaction."""
    async with short(alice={"top_up_limit": RICH}, bob=HASTY) as pair:
        node, chain = pair.alice.node, pair.alice.node.chain
        send, head, stale = chain.send, chain.head, list[Block]()

        def decided() -> bool:
            view = node.margins._watched[pair.alice.channel.id].view
            return view is not None and isinstance(view.answer, TopUp) and view.answer.is_decided

        def after_a_look(call: Call) -> Receipt:
            if call.name == "deposit":
                stale.append(head())
                until = time.monotonic() + PATIENCE
                while not decided() and time.monotonic() < until:
                    time.sleep(0.005)
            made: Receipt = send(call)
            return made

        monkeypatch.setattr(chain, "send", after_a_look)
        monkeypatch.setattr(chain, "head", lambda: stale[-1] if stale else head())
        spot(pair, 3_300)
        await mined(pair, deposit=3)
        await looked()
        await mined(pair, approve=3, deposit=3)
        monkeypatch.setattr(chain, "head", head)
        await cured(pair)
        await mined(pair, approve=3, deposit=3, cure=1)


async def test_beyond_its_limit_a_node_tells_its_owner_and_cures_what_the_owner_pays() -> None:
    async with short(bob=HASTY) as pair:
        agreed = final(pair)
        spot(pair, 3_300)
        needed = await told(pair.alice, n.TopUpNeeded)
        found = report(pair, agreed, 3_300)
        assert abs(needed.amount - (found.initial_margin - found.equity + found.initial_margin // 100)) < UNIT
        assert needed.deadline == await called(pair)
        pair.local.mine(2)
        await looked()
        assert len(heard(pair.alice, n.TopUpNeeded)) == 1 and not heard(pair.alice, n.ToppingUp)
        await pair.alice.channel.deposit(needed.amount // UNIT + 1)
        await cured(pair)
        pair.local.set_time(needed.deadline)
        spot(pair, 3_300)
        await looked()
        await mined(pair, cure=1, liquidate=0)


async def test_a_top_up_that_does_not_do_is_not_agreed_to_while_the_call_stands() -> None:
    """It counts on-chain as it is; agreed to, it would be a newer state to defer the close-out with."""
    async with short(alice=QUIET, bob=HASTY) as pair:
        await pair.bob.channel.mark()
        assert pair.bob.channel.state.my_turn
        version = pair.bob.channel.version
        spot(pair, 3_300)
        await called(pair)
        await pair.alice.channel.deposit(100)
        await pair.until(lambda: pair.bob.channel.state.chain.deposits[0] == 10_100 * UNIT)
        await looked()
        assert pair.bob.channel.state.signed == version
        spot(pair, 2_300)
        pair.alice.node.config = replace(pair.alice.node.config, answer=True)
        await cured(pair)
        await pair.until(lambda: pair.bob.channel.version > version)


async def test_a_called_node_that_the_spot_restores_cures_for_gas_alone() -> None:
    async with short(bob=HASTY) as pair:
        spot(pair, 3_300)
        await called(pair)
        await looked()
        assert sent(pair, "cure") == 0
        spot(pair, 2_300)
        await cured(pair)
        await mined(pair, cure=1, deposit=2)


# Executing


async def test_where_both_missed_their_calls_no_charge_moves() -> None:
    calendar = (Leg.call(ETH, EXPIRY, 3000, quantity=-40), Leg.call(ETH, LATER, 3000, quantity=40))
    async with short(alice=HASTY, bob=HASTY, legs=calendar, funds=(570, 3_270), premium=189) as pair:
        agreed = final(pair)
        spot(pair, 3_300)
        await pair.until(lambda: all(call.is_armed for call in pair.bob.channel.state.chain.calls))
        for side in pair.sides:
            assert {breach.party for breach in heard(side, n.SpotBreach)} == set(Party)
        deadlines = [call.deadline for call in pair.bob.channel.state.chain.calls]
        pair.local.set_time(max(deadlines) + 5)
        spot(pair, 3_310)
        await closed_out(pair, agreed, 3_310, payer=None)
        await mined(pair, liquidate=1)


async def test_a_leg_that_expires_in_the_window_gets_its_price_before_the_close_out() -> None:
    legs = (Leg.call(ETH, EXPIRY, 2400, quantity=-5), Leg.call(ETH, LATER, 2400, quantity=-5))
    async with short(alice=QUIET, bob=HASTY, legs=legs) as pair:
        agreed = final(pair)
        pair.local.set_time(EXPIRY - 900)
        spot(pair, 3_300)
        await called(pair)
        pair.local.set_time(EXPIRY + 60)
        spot(pair, 3_300)
        await looked()
        assert sent(pair, "liquidate") == sent(pair, "pin") == 0, "nobody has reported a settlement"
        pair.local.set_time(EXPIRY + pair.terms.grace + 1)
        spot(pair, 3_400)
        await pair.until(lambda: pair.bob.channel.phase is Phase.CLOSED)
        await mined(pair, pin=1, liquidate=1)
        seen = pair.bob.channel.state.chain.liquidated
        assert seen is not None
        settled = {(ETH, EXPIRY): 3_400 * WAD}
        mined_at = pair.bob.chain.block(seen.block).time
        values, charges = close_out(agreed.book, 6, t=mined_at, spots={ETH: 3_400 * WAD}, settlements=settled)
        assert (seen.value0, seen.charge) == (values[0], charges[0])


# A crash, and a peer that is nowhere


@asynccontextmanager
async def alone(pair: Pair, role: roles.Role, store: MemoryStore, **config: Any) -> AsyncIterator[Node]:
    """One party's node, opened again from its store; the other party is not there."""
    trusted = config_for(pair.local, engines=frozenset({pair.local.engine}), min_cure=600, **config)
    chain = pair.local.client(role.signer)
    async with open_node(
        role.signer, store=store, chain=chain, market=pair.desk, config=trusted, clock=lambda: pair.local.now
    ) as node:
        yield node


async def test_a_node_that_crashed_after_its_call_executes_it_against_a_peer_that_is_nowhere() -> None:
    stores = MemoryStore(), MemoryStore()
    async with short(alice=QUIET, bob={**HASTY, "liquidate": False}, stores=stores) as pair:
        agreed = final(pair)
        spot(pair, 3_300)
        await missed(pair)
        await looked()
        assert sent(pair, "liquidate") == 0
    async with alone(pair, roles.bob, stores[1], **HASTY) as node:
        (channel,) = node.channels.values()
        pair.bob = Side(roles.bob, node, channel)
        await closed_out(pair, agreed, 3_350, payer=0)
        await mined(pair, margin_call=1, liquidate=1)


@pytest.mark.parametrize("fate", ["never sent", "in the pool", "mined"])
async def test_a_top_up_that_a_crash_interrupted_is_paid_once(fate: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The journal says that it was decided; only the chain knows whether it was done, or is about to be."""
    stores, amount = (MemoryStore(), MemoryStore()), 5_500 * UNIT
    async with short(bob=HASTY, stores=stores) as pair:
        spot(pair, 3_300)
        await called(pair)
        if fate == "mined":
            pair.alice.node.config = replace(pair.alice.node.config, answer=False)
            await pair.alice.channel.deposit(5_500)
    chain = pair.alice.chain
    send, pool = chain.send, [chain.deposit(pair.terms, Party.ZERO, amount)] if fate == "in the pool" else []

    def after_the_pool(call: Call) -> Receipt:
        while pool:
            send(pool.pop())
        made: Receipt = send(call)
        return made

    monkeypatch.setattr(chain, "send", after_the_pool)
    total = 10_000 * UNIT + amount
    stores[0].append(pair.alice.channel.id, [r.TopUpDecided(amount, total)])
    async with alone(pair, roles.alice, stores[0], top_up_limit=amount) as node:
        (channel,) = node.channels.values()
        assert (channel.state.topped_up, channel.state.top_up) == (amount, r.TopUpDecided(amount, total))
        await pair.until(lambda: channel.state.chain.calls[0] == NO_CALL)
        await looked()
        await mined(pair, deposit=3, cure=1)
        assert channel.state.chain.deposits[0] == total
        assert channel.state.topped_up == amount


async def test_a_top_up_that_the_token_refuses_is_tried_again_and_costs_nothing_meanwhile(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with short(alice={"top_up_limit": RICH}, bob=HASTY) as pair:
        chain = pair.alice.node.chain
        deposit = chain.deposit
        monkeypatch.setattr(chain, "deposit", lambda terms, party, amount: deposit(terms, party, 0))
        spot(pair, 3_300)
        paid = await told(pair.alice, n.ToppingUp)
        for _ in range(3):
            pair.local.mine()
            await looked()
        await pair.until(lambda: sent(pair, "deposit") >= 2)
        monkeypatch.setattr(chain, "deposit", deposit)
        pair.local.mine()
        await cured(pair)
        # One more may have been refused on the way: the node looks in its own time.
        await pair.until(lambda: sent(pair, "deposit") == sent(pair, "approve") >= 3)
        await mined(pair, cure=1)
        assert heard(pair.alice, n.ToppingUp) == [paid]
        assert pair.alice.channel.state.topped_up == paid.amount


# Releasing


async def test_an_owner_releases_what_is_above_initial_margin_and_no_more() -> None:
    async with short(bob=HASTY) as pair:
        bob, agreed = pair.bob.channel, final(pair)
        with pytest.raises(NotPermitted, match="it takes a final state"):
            await bob.release()
        await bob.challenge()
        await pair.phase(Phase.DISPUTED)
        pair.local.set_time(bob.state.chain.deadline)
        await pair.phase(Phase.SETTLING)
        with pytest.raises(NotPermitted, match="nothing is above initial margin at a fresh spot"):
            await bob.release()
        spot(pair, 2_000)
        found = report(pair, agreed, 2_000, party=1)
        with pytest.raises(TransactionReverted, match="beyond the excess"):
            await bob.release(found.excess // UNIT + 1)
        paid = await bob.release()
        assert 0 <= found.excess - paid < 2 * UNIT, "theta of a minute"
        await pair.until(lambda: bob.state.chain.paid == (0, paid))
        with pytest.raises(TransactionReverted, match="beyond the excess"):
            await bob.release(3)
        await looked()
        await mined(pair, release=1)
        assert sent(pair, "margin_call") == 0


async def test_an_unrealised_gain_is_not_released() -> None:
    async with short(alice=QUIET, bob={**HASTY, "call_margin": False}) as pair:
        bob = pair.bob.channel
        await bob.challenge()
        await pair.phase(Phase.DISPUTED)
        pair.local.set_time(bob.state.chain.deadline)
        await pair.phase(Phase.SETTLING)
        spot(pair, 3_300)
        assert await bob.release() == final(pair).state.balances[1], "his cash, and nothing of what the calls are worth"
