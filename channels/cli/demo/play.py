"""Plays a scenario from the first word to the verdict."""

from __future__ import annotations

import json
from contextlib import AsyncExitStack

import trio

from ...core.phases import Phase
from ...errors import InvariantBroken, PeerUnresponsive
from ..render import moment, money, price
from . import acts, margin_acts
from .crash import CrashMarket
from .ending import Ending, end
from .market import RecordedMarket
from .narrator import Narrator
from .stage import DECIMALS, SYMBOL, Stage, open_stage


def play(scenario: str, *, as_json: bool = False) -> int:
    """Play one scenario; return 0 if every token unit is where legs and prices say, else 1. Raises ChannelError."""
    tell = Narrator(quiet=as_json)
    ending = trio.run(_play, scenario, tell)
    if as_json:
        print(json.dumps(ending.document, indent=2))
    return 0 if ending.is_right else 1


async def _play(scenario: str, tell: Narrator) -> Ending:
    margined = scenario == "margin-call"
    market = (CrashMarket if margined else RecordedMarket).load()
    tell.title(f"A channel between alice and bob: scenario {scenario}")
    _introduce(market, tell)
    async with AsyncExitStack() as stack:
        with tell.waiting("starting an Ethereum virtual machine in this process"):
            stage = await stack.enter_async_context(open_stage(market, margined=margined))
        return await _SCENARIOS[scenario](stage, stack, tell)


def _introduce(market: RecordedMarket, tell: Narrator) -> None:
    tell.say(
        f"Prices: a recorded ETH option chain and recorded hourly returns, source {market.source}. "
        f"The returns are replayed from the chain's spot of {market.first_spot} USD; all times of the chain are "
        f"shifted by {market.shift:,} s ({market.shift // 86_400} days) to where the returns were recorded: it opens "
        f"on {moment(market.start)}. Volatilities stick to log-moneyness. No real money, no network."
    )


async def _dispute(stage: Stage, stack: AsyncExitStack, tell: Narrator) -> Ending:
    # Bob's node neither answers nor settles: it is the cheat's.
    await _until_the_low(stage, stack, tell, answer=False, settle=False)
    tell.step(4, "bob cheats")
    with tell.waiting("the chain decides"):
        await acts.cheat(stage, tell)
    tell.step(5, "the contract settles")
    with tell.waiting("time passes"):
        await acts.run_out(stage, tell)
        await acts.expire(stage, tell)
        await acts.paid(stage, tell, "settle")
    return await end(stage, tell, "dispute")


async def _cooperative(stage: Stage, stack: AsyncExitStack, tell: Narrator) -> Ending:
    await _until_the_low(stage, stack, tell)
    tell.step(4, "both agree to part")
    worth = stage.alice.channel.margin.value
    payer, receiver = ("bob", "alice") if worth >= 0 else ("alice", "bob")
    tell.say(
        f"alice offers to close at the agreed marks: all legs go, {payer} pays {receiver}"
        f" {money(abs(worth), DECIMALS, DECIMALS)} {SYMBOL} for them. bob signs."
    )
    tell.step(5, "the contract pays")
    with tell.waiting("the close is mined"):
        await stage.alice.channel.close()
        await acts.paid(stage, tell, "close")
    return await end(stage, tell, "cooperative")


async def _no_show(stage: Stage, stack: AsyncExitStack, tell: Narrator) -> Ending:
    alice = stage.alice
    tell.step(1, "terms, and a deposit")
    acts.show_terms(stage, tell)
    with tell.waiting("alice waits for bob"):
        await stage.open_node(stack, alice, reply_timeout=1.0)
        try:
            await alice.node.open(stage.terms)
        except PeerUnresponsive:
            # The channel stays in alice's store: terms alone make one, and a deposit needs nobody's signature.
            stage.attend(alice, alice.node.channels[stage.terms.channel_id(stage.local.deployment)])
        tell.say("bob agreed to these terms on the telephone. alice's node sends them; bob's never answers.")
        await acts.deposit(stage, tell, alice)
        await stage.until(lambda: sum(alice.channel.state.chain.deposits) > 0, "alice sees its deposit")
    tell.step(2, "bob does not show up")
    await stage.time(stage.market.start)
    spot = price(stage.market.spot_wad(stage.local.now))
    tell.say(
        f"{moment(stage.local.now)}: the market opens at {stage.market.underlying} {spot}. bob has signed nothing:"
        " there is no state to enforce. A channel without one is worth exactly what each party deposited."
    )
    tell.step(3, "alice asks for its deposit")
    with tell.waiting("the chain decides"):
        await alice.channel.challenge()
        await stage.phase(Phase.DISPUTED, alice)
    gas = await stage.gas("challenge_unsigned")
    tell.say(f"challenge_unsigned is mined ({gas:,} gas): whoever holds a signed state has until")
    tell.say(f"{moment(alice.channel.state.chain.deadline)} to show it.")
    tell.step(4, "nobody answers")
    await acts.run_out(stage, tell, alice)
    tell.step(5, "the contract pays")
    await acts.paid(stage, tell, "settle", alice)
    return await end(stage, tell, "no-show")


async def _margin_call(stage: Stage, stack: AsyncExitStack, tell: Narrator) -> Ending:
    market, series, alice = stage.market, acts.Series.of(stage), stage.alice
    if not isinstance(market, CrashMarket):
        raise InvariantBroken("this scenario has a crash", type(market).__name__)
    bobs_stack = await stack.enter_async_context(AsyncExitStack())
    tell.step(1, "terms and deposits")
    margin_acts.announce(stage, market, tell)
    acts.show_terms(stage, tell, margin_acts.ENFORCED)
    with tell.waiting("deposits"):
        await acts.open_channel(stage, stack, tell, bobs_stack)
        await acts.deposit(stage, tell, alice, stage.bob)
        await acts.count_deposits(stage, tell)
    tell.step(2, "bob sells a strangle, naked")
    await stage.time(market.start)
    with tell.waiting("trading"):
        await acts.trade(stage, tell, stage.bob, "27 puts and 13 calls", margin_acts.strangle(series))
    tell.step(3, "prices: recorded first, then the SYNTHETIC crash")
    for hours in acts.HOURS_LATER[:2]:
        with tell.waiting("the clock moves"):
            await acts.mark(stage, tell, hours)
    for hours in (1, 2):
        with tell.waiting("the crash"):
            await margin_acts.fall(stage, tell, market, hours)
    tell.step(4, "bob is gone, alice's node calls margin")
    with tell.waiting("the chain decides"):
        await margin_acts.leave(stage, bobs_stack, tell)
        await margin_acts.be_called(stage, tell, market, 3)
    tell.step(5, "a missed cure, and a close-out")
    with tell.waiting("time passes"):
        closed_out = await margin_acts.miss_the_cure(stage, tell)
    return await end(stage, tell, "margin-call", closed_out)


async def _until_the_low(stage: Stage, stack: AsyncExitStack, tell: Narrator, **bobs: bool) -> None:
    """Steps 1 to 3, which two of the scenarios share."""
    series = acts.Series.of(stage)
    tell.step(1, "terms and deposits")
    acts.show_terms(stage, tell)
    with tell.waiting("deposits"):
        await acts.open_channel(stage, stack, tell, None, **bobs)
        await acts.deposit(stage, tell, stage.alice, stage.bob)
        await acts.count_deposits(stage, tell)
    tell.step(2, "an iron condor, then a calendar spread")
    await stage.time(stage.market.start)
    with tell.waiting("trading"):
        await acts.trade(stage, tell, stage.alice, "an iron condor", series.condor())
        await acts.trade(stage, tell, stage.bob, "a calendar spread", series.calendar())
    tell.step(3, "time and prices move: recorded hourly returns, replayed")
    tell.say(
        f"Per party: delta in ETH; gamma: what a move of 1 % adds to the delta, in {SYMBOL}; vega per vol point and"
        f" theta per day, in {SYMBOL}; equity = cash + positions; ratio = equity / maintenance margin."
    )
    acts.show_mark(stage, tell)
    for hours in acts.HOURS_LATER:
        with tell.waiting("the clock moves"):
            await acts.mark(stage, tell, hours)
        if hours == acts.REFUSED_AT:
            await acts.refused_trade(stage, tell, series)
    acts.show_worst(stage, tell)


_SCENARIOS = {"dispute": _dispute, "cooperative": _cooperative, "margin-call": _margin_call, "no-show": _no_show}
