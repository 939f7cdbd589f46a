"""Two nodes with everything real between them: the life of a channel, and what interrupts it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Any

import pytest
import trio

from channels.chain.local import LocalChain
from channels.core import facts as f, notices as n, records as r
from channels.core.channel import MarkPolicy
from channels.core.machine import replay
from channels.core.phases import Phase
from channels.errors import (
    MarginShortfall,
    PeerUnresponsive,
    ProposalRejected,
    StoreFailed,
    TermsRefused,
)
from channels.model import ZERO32, ChannelId, Leg, Mark
from channels.risk import DEFAULT_POLICY
from channels.runtime.node import Node, open_node
from channels.session import Session
from channels.store import MemoryStore
from channels.wire import messages as m
from channels.wire.framing import frame
from tests import roles
from tests.integration.dialing import dialed
from tests.pair import DAY, Desk, Pair, Side, config_for, opened_pair, terms_for
from tests.roles import ETH, EXPIRY, UNIT

CALL = Leg.call(ETH, EXPIRY, 2400, quantity=1)


async def traded(pair: Pair) -> None:
    await pair.fund(10_000, 20_000)
    await pair.alice.channel.propose(pair.alice.channel.trade(roles.condor(), premium="12.5"))


def cut(pair: Pair) -> None:
    """The connection breaks."""
    link = pair.alice.node.link_to(roles.bob.address)
    assert link is not None
    link.hang_up()


async def seen(channel: Any, last: type) -> list[Any]:
    """Every notice up to the first of a kind."""
    notices = []
    with trio.fail_after(20):
        async for notice in channel:
            notices.append(notice)
            if isinstance(notice, last):
                return notices
    return notices


async def test_a_channel_from_opening_to_a_cooperative_close() -> None:
    async with opened_pair() as pair:
        await traded(pair)
        before = pair.alice.channel.balance
        confirmation = await pair.bob.channel.propose(pair.bob.channel.trade([CALL], premium="80"))
        assert pair.alice.channel.positions[0].quantity == -pair.bob.channel.positions[0].quantity
        assert pair.alice.channel.balance == before + 80 * UNIT
        assert "party 1 pays 80.00" in str(confirmation)
        pair.desk.spot = "2310"
        await pair.alice.channel.mark()
        await pair.alice.channel.withdraw(100)
        await pair.until(lambda: pair.alice.channel.state.chain.paid == (100 * UNIT, 0))
        with trio.fail_after(20):
            payouts = await pair.alice.channel.close()
        await pair.phase(Phase.CLOSED)
        assert sum(payouts) == 29_900 * UNIT
        assert payouts == await pair.bob.channel.wait_until_closed()


async def test_events_tell_the_story_in_order() -> None:
    async with opened_pair() as pair:
        await traded(pair)
        await pair.alice.channel.close()
        await pair.phase(Phase.CLOSED)
        for side in pair.sides:
            told = [type(notice).__name__ for notice in await seen(side.channel, n.ChannelClosed)]
            kept = [name for name in told if name not in ("WeRefused", "PeerRefused", "TurnArrived")]
            assert kept[0] == "ChannelOpened"
            assert kept[-1] == "ChannelClosed"
            counted = Counter(kept)
            assert counted["Deposited"] == 2
            assert kept.index("Deposited") < kept.index("Updated")
            journal = side.node.store.records(side.channel.id)
            versions = [record.agreed.version for record in journal if isinstance(record, r.StateAgreed)]
            assert versions == sorted(set(versions))
            assert counted["Updated"] == len(versions)


async def test_a_stale_challenge_is_answered_and_the_dispute_settled() -> None:
    async with opened_pair() as pair:
        await traded(pair)
        old = pair.bob.channel.state.agreed
        assert old is not None
        await pair.alice.channel.propose(pair.alice.channel.trade([CALL], premium="30"))
        await pair.alice.channel.mark()
        newest = pair.alice.channel.version
        await trio.to_thread.run_sync(lambda: pair.bob.chain.send(pair.bob.chain.challenge(pair.terms, old)))
        await pair.until(lambda: all(s.channel.state.chain.version == newest for s in pair.sides))
        await pair.advance(3_600)
        await pair.phase(Phase.SETTLING)
        await pair.advance(8 * DAY)
        await trio.to_thread.run_sync(lambda: pair.local.publish_settlement(ETH, EXPIRY, 2_450 * 10**18))
        await pair.phase(Phase.CLOSED)
        cash = 10_000 - 12.5 - 30
        owed = -5 * 50 + 50
        assert pair.alice.channel.state.chain.payouts is not None
        assert pair.alice.channel.state.chain.payouts[0] == int((cash + owed) * UNIT)


async def test_a_stale_state_that_became_final_still_settles() -> None:
    """Nobody answered in time: the old state is final, and its book is found again in the journal."""
    async with opened_pair(alice_config={"answer": False, "settle": False}, bob_config={"answer": False}) as pair:
        await traded(pair)
        old = pair.bob.channel.state.agreed
        assert old is not None
        await pair.alice.channel.propose(pair.alice.channel.trade([CALL], premium="30"))
        await pair.alice.channel.mark()
        await trio.to_thread.run_sync(lambda: pair.bob.chain.send(pair.bob.chain.challenge(pair.terms, old)))
        await pair.advance(3_600)
        await pair.phase(Phase.SETTLING)
        await pair.until(lambda: pair.bob.channel.state.recalled == old.book)
        await pair.advance(8 * DAY)
        await trio.to_thread.run_sync(lambda: pair.local.publish_settlement(ETH, EXPIRY, 2_450 * 10**18))
        await pair.phase(Phase.CLOSED)
        assert pair.bob.channel.state.chain.payouts == (
            int((10_000 - 12.5 - 250) * UNIT),
            int((20_000 + 12.5 + 250) * UNIT),
        )
        records = pair.bob.node.store.records(pair.bob.channel.id)
        assert replay(records, DEFAULT_POLICY, MarkPolicy()).recalled == old.book


async def test_a_dispute_is_ended_by_reopening_and_trading_goes_on() -> None:
    async with opened_pair() as pair:
        await traded(pair)
        await pair.bob.channel.challenge()
        await pair.phase(Phase.DISPUTED)
        await pair.alice.channel.reopen()
        await pair.phase(Phase.OPEN)
        await pair.bob.channel.propose(pair.bob.channel.trade([CALL], premium="80"))
        assert pair.agree()


async def test_an_expiry_is_settled_between_the_two_without_a_dispute() -> None:
    async with opened_pair() as pair:
        await traded(pair)
        await pair.advance(EXPIRY - pair.local.now + 1)
        await trio.to_thread.run_sync(lambda: pair.local.publish_settlement(ETH, EXPIRY, 2_450 * 10**18))
        await pair.until(lambda: not pair.alice.channel.positions and not pair.bob.channel.positions)
        assert pair.alice.channel.balance == int((10_000 - 12.5 - 250) * UNIT)
        assert pair.alice.channel.phase is Phase.OPEN


async def test_margin_is_told_before_anything_is_signed() -> None:
    async with opened_pair() as pair:
        await traded(pair)
        signed = pair.alice.channel.state.signed
        with pytest.raises(MarginShortfall) as caught:
            await pair.alice.channel.propose(pair.alice.channel.trade([CALL.times(-90)], premium=0))
        assert caught.value.shortfall > 0
        assert pair.alice.channel.state.signed == signed
        what_if = pair.alice.channel.what_if(pair.alice.channel.trade([CALL.times(-90)], premium=0))
        assert what_if.shortfall == caught.value.shortfall


async def test_both_propose_at_once_and_both_are_served() -> None:
    """Each wants the turn all the time: nobody passes it on unused, and nobody starves."""
    async with opened_pair() as pair:
        await traded(pair)
        done: Counter[str] = Counter()

        async def keep_marking(side: Any) -> None:
            for _ in range(15):
                await side.channel.mark()
                done[side.role.name] += 1

        with trio.fail_after(20):
            async with trio.open_nursery() as nursery:
                for side in pair.sides:
                    nursery.start_soon(keep_marking, side)
        assert done == {"alice": 15, "bob": 15}
        await pair.until(pair.agree)


async def test_the_link_is_cut_in_the_middle_of_updates() -> None:
    async with opened_pair() as pair:
        await traded(pair)
        first = pair.alice.channel.version

        async def keep_marking(side: Any, stop: trio.Event) -> None:
            while not stop.is_set():
                await side.channel.mark()

        stop = trio.Event()
        with trio.fail_after(20):
            async with trio.open_nursery() as nursery:
                for side in pair.sides:
                    nursery.start_soon(keep_marking, side, stop)
                for _ in range(5):
                    target = pair.alice.channel.version + 3
                    await pair.until(lambda target=target: pair.alice.channel.version >= target)  # type: ignore[misc]
                    cut(pair)
                    await pair.until(lambda: pair.alice.node.link_to(roles.bob.address) is not None)
                stop.set()
        assert pair.alice.channel.version >= first + 15
        await pair.until(pair.agree)
        assert not pair.alice.channel.state.frozen
        assert not pair.bob.channel.state.frozen


async def test_a_peer_without_a_market_refuses_and_says_why() -> None:
    async with opened_pair() as pair:
        await pair.fund(10_000, 10_000)
        seat = pair.bob.node.seats[pair.bob.channel.id]
        seat.market = lambda legs, now: None
        with pytest.raises(ProposalRejected) as caught:
            await pair.alice.channel.propose(pair.alice.channel.trade([CALL], premium=20))
        assert caught.value.code == "mark: refused"
        seat.market = pair.desk
        await pair.alice.channel.propose(pair.alice.channel.trade([CALL], premium=20))
        assert pair.agree()


async def test_a_silent_peer_is_named_and_the_proposal_waits() -> None:
    async with opened_pair() as pair:
        await pair.fund(10_000, 10_000)
        pair.alice.node.config = replace(pair.alice.node.config, reply_timeout=0.5)
        seat = pair.bob.node.seats[pair.bob.channel.id]
        seat_receive = seat.receive
        seat.receive = lambda message, now: []  # type: ignore[method-assign]
        with pytest.raises(PeerUnresponsive):
            await pair.alice.channel.mark()
        assert pair.alice.channel.phase is Phase.PROPOSED
        seat.receive = seat_receive  # type: ignore[method-assign]
        version = pair.alice.channel.state.in_flight[-1]
        cut(pair)
        await pair.until(lambda: pair.alice.channel.version == version and pair.agree())


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"token": roles.TERMS.token}, "token"),
        ({"source": roles.TERMS.source}, "price source"),
        ({"challenge_period": 1_200, "cure_period": 600}, "challenge period"),
        ({"owners": (roles.mallory.address, roles.mallory.address)}, "pay our side"),
    ],
)
async def test_terms_that_the_peers_policy_refuses(changes: dict[str, Any], reason: str) -> None:
    async with opened_pair(alice_config={"min_challenge": 600, "tokens": {}}) as pair:
        odd = terms_for(pair.local, salt=b"odd", **changes)
        with pytest.raises(TermsRefused, match=reason):
            await pair.alice.node.open(odd)
        assert len(pair.bob.node.seats) == 1
        await pair.fund(1_000, 1_000)


class FailingStore(MemoryStore):
    """A disk that fills up when it is told to."""

    full = False

    def append_all(self, batch: Mapping[ChannelId, Sequence[Any]]) -> None:
        if self.full:
            raise StoreFailed(self.path, "no space left on device")
        super().append_all(batch)


async def test_a_full_disk_stops_the_node_before_anything_is_sent() -> None:
    disk = FailingStore()
    arrived: list[m.Message] = []
    with pytest.raises(StoreFailed):
        async with opened_pair(stores=(disk, MemoryStore())) as pair:
            await traded(pair)
            channel = pair.alice.channel.id
            kept = disk.records(channel)
            seat = pair.bob.node.seats[channel]
            seat.receive = lambda message, now: arrived.append(message) or []  # type: ignore[method-assign,func-returns-value]
            disk.full = True
            with trio.fail_after(20):
                await pair.alice.channel.mark()
    assert disk.records(channel) == kept
    assert not [message for message in arrived if isinstance(message, m.Propose)]


async def test_garbage_on_a_connection_hurts_nobody_else() -> None:
    """Mallory connects as herself and breaks rules; Alice and Bob trade on, and she hears one typed fault each time."""
    async with opened_pair() as pair:
        await traded(pair)
        rubbish = [
            frame(b"\xc1"),
            b"\xff" * 64,
            Session.to_bytes(m.PassTurn(pair.alice.channel.id, 1)),
            Session.to_bytes(m.Propose(pair.alice.channel.id, 9, (Mark(),), ZERO32, bytes(65), 8)),
        ]
        for data in rubbish:
            stream, session = await dialed(pair.port, roles.mallory.signer, roles.bob.address)
            await stream.send_all(data)
            answer = b""
            with trio.fail_after(10):
                while more := await stream.receive_some():
                    answer += bytes(more)
            assert session.receive_data(answer, 0)[-1].error.rule  # type: ignore[union-attr]
            await stream.aclose()
            await pair.alice.channel.mark()
        assert pair.agree()
        assert pair.bob.node.link_to(roles.alice.address) is not None


async def _two_nodes(
    stack: AsyncExitStack, local: LocalChain, desk: Desk, stores: tuple[MemoryStore, MemoryStore]
) -> list[Node]:
    nodes = []
    for role, store in zip(roles.PARTIES, stores, strict=True):
        client = local.client(role.signer, tokens=100_000 * UNIT)
        node = open_node(
            role.signer, store=store, chain=client, market=desk, config=config_for(local), clock=lambda: local.now
        )
        nodes.append(await stack.enter_async_context(node))
    port = await nodes[1].listen()
    await nodes[0].connect("127.0.0.1", port, roles.bob.address)
    return nodes


async def test_a_restart_continues_from_the_journal() -> None:
    local = await trio.to_thread.run_sync(LocalChain, roles.NOW)
    desk, stores = Desk(), (MemoryStore(), MemoryStore())
    async with AsyncExitStack() as stack:
        one, two = await _two_nodes(stack, local, desk, stores)
        channel = await one.open(terms_for(local))
        theirs = await two.incoming()
        pair = Pair(local, desk, *(_side(i, node) for i, node in enumerate((one, two))), 0)
        await pair.fund(5_000, 5_000)
        await channel.propose(channel.trade(roles.condor(), premium=5))
        before = theirs.state
    assert before.agreed is not None
    async with AsyncExitStack() as stack:
        one, two = await _two_nodes(stack, local, desk, stores)
        pair = Pair(local, desk, *(_side(i, node) for i, node in enumerate((one, two))), 0)
        assert pair.bob.channel.state.agreed == before.agreed
        assert replace(pair.bob.channel.state.chain, time=0) == replace(before.chain, time=0)
        await pair.bob.channel.mark()
        assert pair.alice.channel.version == before.version + 1
        await pair.alice.channel.close()
        await pair.phase(Phase.CLOSED)


def _side(party: int, node: Node) -> Any:
    (channel,) = node.channels.values()
    return Side(roles.PARTIES[party], node, channel)


async def test_a_refused_fact_is_asked_again_less_and_less_often() -> None:
    """Bob's node does not see the chain's deposits: Alice leaves a few half-signed states, not one at each look."""
    async with opened_pair(bob_config={"confirmations": 50}) as pair:
        await pair.alice.channel.deposit(100)
        await pair.until(lambda: pair.alice.channel.state.signed >= 2)
        await trio.sleep(1)
        assert pair.alice.channel.state.signed <= 10
        await trio.to_thread.run_sync(pair.local.mine, 50)
        await pair.until(lambda: pair.bob.channel.version > 0)
        assert f.DepositSeen(pair.alice.channel.state.me, 100 * UNIT) in [
            record.fact
            for record in pair.bob.node.store.records(pair.bob.channel.id)
            if isinstance(record, r.ChainSaid)
        ]
