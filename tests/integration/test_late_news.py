"""What a node learns late and must not miss: a trade while it waits for the turn, a dispute from before the opening.

Each was found by a seed of the simulator first.
"""

from __future__ import annotations

from dataclasses import replace

import trio

from channels.core.phases import Phase
from channels.model import Leg
from tests.pair import opened_pair
from tests.roles import ETH, EXPIRY

CALL = Leg.call(ETH, EXPIRY, 2400, quantity=1)


async def test_a_mark_covers_the_book_at_its_turn() -> None:
    """Bob asks for a mark of the empty book he sees; before the turn is his, Alice trades."""
    async with opened_pair() as pair:
        await pair.fund(10_000, 10_000)
        alice, bob = pair.alice.channel, pair.bob.channel
        await alice.mark()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(alice.propose, alice.trade([CALL]))
            await trio.lowlevel.checkpoint()
            nursery.start_soon(bob.mark)
        await pair.until(pair.agree)
        assert alice.positions == (CALL,)
        assert alice.phase is Phase.OPEN


async def test_a_dispute_from_before_the_opening_is_seen() -> None:
    """Bob opens a dispute with nothing signed and only then proposes the terms: the clock runs, and Alice knows."""
    async with opened_pair() as pair:
        bob = pair.bob
        early = replace(pair.terms, salt=bytes(31) + b"\x07")
        await bob.node.send(bob.node.chain.challenge_unsigned(early))
        await trio.sleep(0.2)
        await bob.node.open(early)
        with trio.fail_after(20):
            theirs = await pair.alice.node.incoming()
        await pair.until(lambda: theirs.phase is Phase.DISPUTED)
        assert theirs.state.chain.deadline > 0
        assert theirs.state.chain.registered is None
