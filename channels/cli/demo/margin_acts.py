"""The acts of the scenario `margin-call`: a crash, a counterparty who leaves, a call, a missed cure, a close-out."""

from __future__ import annotations

from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from ...chain.port import Spot
from ...core import notices as n
from ...core.phases import Phase
from ...errors import InvariantBroken
from ...model import Agreed, Leg, Party
from ...risk.close_out import witness
from ...risk.margin import margin
from ...risk.report import MarginReport
from ...units import show
from ..render import moment, money, period, price
from .acts import Series, mark
from .crash import RETURNS, CrashMarket
from .narrator import Narrator
from .stage import DECIMALS, SYMBOL, Stage

GONE = 0.5
"""Real seconds after which alice's node takes bob for gone, once it is: a demonstration has no minutes to wait."""
ENFORCED = " The contract holds the same policy in a risk engine: below maintenance margin it closes a party out."


@dataclass(frozen=True, slots=True)
class ClosedOut:
    """What the chain says of a close-out: of whom, when, at which spot, for what. Token units, WAD, unix seconds."""

    party: Party
    agreed: Agreed
    time: int
    spot: int
    value0: int
    charge: int


def strangle(series: Series) -> tuple[Leg, ...]:
    """Naked puts and calls, in the seller's view: what a crash is bad for."""
    return (
        Leg.put(series.underlying, series.near, 2100, quantity=-27),
        Leg.call(series.underlying, series.far, 2400, quantity=-13),
    )


def announce(stage: Stage, market: CrashMarket, tell: Narrator) -> None:
    """Say what is synthetic, before anything of it happens."""
    changes = ", ".join(f"{float(change):+.0%}" for change in RETURNS)
    tell.say(
        f"SYNTHETIC crash: from {moment(market.crash_at)} on, the hourly returns are not the recorded ones but made up:"
        f" {changes}; then the spot stands still. Nothing like it is in the recorded weeks.",
        "bold yellow",
    )
    stage.facts["synthetic_crash"] = {
        "label": "SYNTHETIC",
        "starts": market.crash_at,
        "hourly_returns": list(RETURNS),
    }


async def fall(stage: Stage, tell: Narrator, market: CrashMarket, hours: int) -> None:
    """Let the crash reach an hour while both still mark, and the publishers report the spot."""
    await mark(stage, tell, (market.crash_at - market.start // 3_600 * 3_600) // 3_600 + hours)
    await report(stage, tell)
    asked = await _asked(stage)
    if asked:
        tell.say(
            f"alice's node asks bob for {money(asked.amount, DECIMALS)} {SYMBOL} of collateral: its equity is below"
            " initial margin. That is a message; nobody has to answer it.",
            "yellow",
        )


async def _asked(stage: Stage) -> n.CollateralCalled | None:
    """Return the collateral call at the agreed version, once it is told, if one is due there."""
    channel = stage.alice.channel
    if not channel.peer_margin.collateral_call:
        return None

    def told() -> list[n.CollateralCalled]:
        calls = [notice for notice in stage.alice.told if isinstance(notice, n.CollateralCalled)]
        return [call for call in calls if call.version == channel.version]

    await stage.until(lambda: bool(told()), "alice's node asks for collateral")
    return told()[0]


async def report(stage: Stage, tell: Narrator) -> None:
    """Have the publishers report the spot of this moment."""
    spot = stage.market.spot_wad(stage.local.now)
    await stage.on_chain(stage.local.publish_spot, stage.market.underlying, spot)
    tell.say(
        f"{moment(stage.local.now)}: {stage.local.threshold} of {len(stage.local.publishers)} publishers report"
        f" {stage.market.underlying} {price(spot)}"
    )


async def leave(stage: Stage, stack: AsyncExitStack, tell: Narrator) -> None:
    """Bob's node goes away for good, with its key."""
    await stack.aclose()
    alice = stage.alice.node
    await stage.until(lambda: alice.link_to(stage.bob.signer.address) is None, "the connection is gone")
    alice.config = replace(alice.config, reply_timeout=GONE)
    tell.say("bob switches its node off: it signs nothing more, answers nobody, and tops nothing up.", "bold red")


async def be_called(stage: Stage, tell: Narrator, market: CrashMarket, hours: int) -> None:
    """Let the crash go on; alice's node finds bob below maintenance at the reported spot, and calls."""
    await stage.time(market.crash_at + hours * 3_600)
    await report(stage, tell)
    alice, peer = stage.alice, stage.party(stage.bob)
    agreed = _agreed(stage)
    await stage.until(lambda: alice.channel.state.chain.calls[peer].is_armed, "alice's node calls margin")
    calling = next(notice for notice in alice.told if isinstance(notice, n.CallingMargin))
    gas = await stage.gas("margin_call")
    call = alice.channel.state.chain.calls[peer]
    time = call.deadline - stage.terms.cure_period
    spot = await _spot(stage)
    found = _margin(agreed, time, spot)[peer]
    tell.say(
        f"Nobody told alice's node to: at the reported spot bob's equity is {money(found.equity, DECIMALS)} {SYMBOL},"
        f" below its maintenance margin of {money(found.maintenance_margin, DECIMALS)}, and {calling.reason}."
    )
    tell.say(f"margin_call by alice   {gas:,} gas, on version {calling.version}", "bold red")
    (worst,) = found.worst
    tell.say(
        f"The contract priced the book, and believed one witness: scenario {worst.row} of the policy's grid, which"
        f" would cost bob {money(worst.loss, DECIMALS)}. bob has {period(stage.terms.cure_period)}, until"
        f" {moment(call.deadline)}, to deposit or to show a newer state."
    )
    stage.facts["margin_call"] = {
        "by": alice.name,
        "party": peer,
        "version": calling.version,
        "reason": calling.reason,
        "time": time,
        "spot": str(spot),
        "equity": found.equity,
        "maintenance_margin": found.maintenance_margin,
        "initial_margin": found.initial_margin,
        "witness": list(witness(found)),
        "cure_deadline": call.deadline,
    }


async def miss_the_cure(stage: Stage, tell: Narrator) -> ClosedOut:
    """Let the cure deadline pass; alice's node proves the breach again at a new spot, and closes bob out."""
    alice, peer = stage.alice, stage.party(stage.bob)
    agreed, deadline = _agreed(stage), alice.channel.state.chain.calls[peer].deadline
    await stage.time(deadline)
    tell.say(f"{moment(deadline)}: the cure deadline. bob has deposited nothing, and shown nothing.", "bold")
    await report(stage, tell)
    await stage.phase(Phase.CLOSED, alice)
    gas = await stage.gas("liquidate")
    seen = alice.channel.state.chain.liquidated
    if seen is None:
        raise InvariantBroken("a missed call is executed", "the channel was closed in another way")
    block = await stage.on_chain(alice.chain.block, seen.block)
    spot = await _spot(stage)
    found = _margin(agreed, block.time, spot)[peer]
    closed = ClosedOut(seen.party, agreed, block.time, spot, seen.value0, seen.charge)
    tell.say(f"liquidate by alice     {gas:,} gas, at {_second(block.time)}, spot {show(spot, 18)}", "bold green")
    tell.say(
        f"The breach was proven a second time: equity {money(found.equity, DECIMALS)}, maintenance margin"
        f" {money(found.maintenance_margin, DECIMALS)}. Every position is closed at the mark; bob pays alice"
        f" {money(seen.charge, DECIMALS, DECIMALS)} {SYMBOL}, the cost of replacing them; what is left is bob's."
    )
    stage.facts["margin_call"] |= {
        "liquidated_at": block.time,
        "liquidation_spot": str(spot),
        "liquidation_equity": found.equity,
        "liquidation_maintenance_margin": found.maintenance_margin,
        "value": seen.value0,
        "charge": seen.charge,
    }
    return closed


def _agreed(stage: Stage) -> Agreed:
    agreed = stage.alice.channel.state.agreed
    if agreed is None:
        raise InvariantBroken("both traded", "there is no agreed state")
    return agreed


def _margin(agreed: Agreed, time: int, spot: int) -> tuple[MarginReport, MarginReport]:
    spots: dict[str, Any] = {mark.underlying: spot for mark in agreed.book.marks.spots}
    return margin(agreed.book, agreed.state.balances, DECIMALS, t=time, spots=spots)


async def _spot(stage: Stage) -> int:
    seen: Spot = await stage.on_chain(stage.alice.chain.spot, stage.local.source, stage.market.underlying)
    return seen.price


def _second(time: int) -> str:
    return datetime.fromtimestamp(time, UTC).strftime("%H:%M:%S UTC")
