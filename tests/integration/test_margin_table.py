"""The margin table of a live channel, on both sides of a real connection."""

from __future__ import annotations

import pytest

from channels import MarginTable
from channels.errors import NotPermitted
from channels.units import show
from tests import roles
from tests.pair import opened_pair


async def test_both_sides_print_one_margin_and_each_knows_when_its_money_is_free() -> None:
    async with opened_pair() as pair:
        await pair.fund(10_000, 5_000)
        await pair.alice.channel.propose(pair.alice.channel.trade(roles.condor(), premium="-12.5"))
        await pair.until(pair.agree)
        tables: list[MarginTable] = []
        for side in pair.sides:
            table = await side.channel.margin_table()
            tables.append(table)
            me = side.channel.state.me
            assert table.reports[me] == side.channel.margin
            assert table.reports[me.other] == side.channel.peer_margin
            assert table.explanations[me] == side.channel.explain()
            assert [row.loss for row in side.channel.explain()] == [worst.loss for worst in side.channel.margin.worst]
            assert show(side.channel.margin.equity, 6, 6) in str(table)
            assert table.exit.deadline == pair.local.now + pair.terms.challenge_period
            assert (await side.channel.margin_table(bands=False)).bands is None
        one, other = tables
        assert (one.reports, one.bands, one.exit) == (other.reports, other.bands, other.exit)
        await pair.alice.channel.challenge()
        await pair.until(lambda: pair.alice.channel.state.chain.deadline > 0)
        disputed = await pair.alice.channel.margin_table(bands=False)
        assert disputed.exit.deadline == pair.alice.channel.state.chain.deadline
        assert "the dispute's deadline" in str(disputed)


async def test_a_closed_channel_has_no_table() -> None:
    async with opened_pair() as pair:
        await pair.fund(100, 100)
        await pair.alice.channel.close()
        with pytest.raises(NotPermitted, match="it is paid"):
            await pair.alice.channel.margin_table()
