"""The acts of the story, each done through the library's public names, as a trading bot would do it."""

from __future__ import annotations

from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any

from ...core.phases import Phase
from ...core.rules import reports
from ...errors import InvariantBroken, MarginShortfall
from ...model import Agreed, Book, Leg, Party
from ...risk import explain
from ...risk.margin import margin
from ...risk.valuation import value
from ...runtime.confirmation import Confirmation
from ...units import show, wad
from ..render import (
    book_table,
    confirmation_panel,
    day,
    margin_table,
    moment,
    money,
    percent,
    period,
    price,
    terms_panel,
    worst_table,
)
from .narrator import Narrator
from .stage import DECIMALS, SYMBOL, UNIT, Player, Stage

DEPOSITS = {"alice": 10_000 * UNIT, "bob": 8_000 * UNIT}
POLICY = (
    "the worst of 33 scenarios of spot and volatility, plus what replacing the positions would cost;"
    " both nodes compute it with the same integers and refuse a trade that would leave either below it."
)
HOURS_LATER = (21, 80, 153, 169, 213)
"""When the desks mark the book again, in full hours after the market opens: a rally, a top, the worst day, a low."""
REFUSED_AT = 80
_SALT = bytes(32)


@dataclass(frozen=True, slots=True)
class Series:
    """The two expiries that the story trades: near and far, unix seconds on the shifted clock."""

    underlying: str
    near: int
    far: int

    @classmethod
    def of(cls, stage: Stage) -> Series:
        """Return the expiries 11 and 18 days after the chain's instant."""
        _, near, far, *_ = sorted(stage.market.smiles)
        return cls(stage.market.underlying, near, far)

    def condor(self) -> tuple[Leg, ...]:
        """A short iron condor, in the seller's view."""
        return (
            Leg.put(self.underlying, self.near, 2000, quantity=50),
            Leg.put(self.underlying, self.near, 2100, quantity=-50),
            Leg.call(self.underlying, self.near, 2400, quantity=-50),
            Leg.call(self.underlying, self.near, 2500, quantity=50),
        )

    def calendar(self) -> tuple[Leg, ...]:
        """A short calendar spread, in the seller's view: long the near call, short the far one."""
        return (
            Leg.call(self.underlying, self.near, 2250, quantity="37.5"),
            Leg.call(self.underlying, self.far, 2250, quantity="-37.5"),
        )

    def too_much(self) -> tuple[Leg, ...]:
        """Naked puts beyond what the seller's collateral carries, in the seller's view."""
        return (Leg.put(self.underlying, self.far, 2200, quantity=-60),)


# 1. Terms and deposits


def show_terms(stage: Stage, tell: Narrator, more: str = "") -> None:
    """Show the terms, before any money moves."""
    channel = stage.terms.channel_id(stage.local.deployment)
    tell.show(terms_panel(stage.terms, stage.names, SYMBOL, channel, POLICY + more))


async def open_channel(
    stage: Stage, stack: AsyncExitStack, tell: Narrator, bobs_stack: AsyncExitStack | None, **bobs: Any
) -> None:
    """Start both nodes, connect them over TCP, and open the channel on the terms shown.

    `bobs` is what bob's owner decided otherwise; bob's node stops with `bobs_stack`, where there is one.
    """
    await stage.open_node(stack, stage.alice)
    await stage.open_node(bobs_stack or stack, stage.bob, **bobs)
    port = await stage.bob.node.listen()
    await stage.alice.node.connect("127.0.0.1", port, stage.bob.signer.address)
    stage.attend(stage.alice, await stage.alice.node.open(stage.terms))
    stage.attend(stage.bob, await stage.bob.node.incoming())
    tell.say(f"Two nodes, each with its own SQLite store, meet on 127.0.0.1:{port}; each proves its key; both agree.")


async def deposit(stage: Stage, tell: Narrator, *players: Player) -> None:
    """Have players deposit, and wait until every agreed state counts it where there is a peer to agree."""
    for player in players:
        amount = DEPOSITS[player.name]
        call = player.chain.deposit(stage.terms, stage.party(player), amount)
        receipt = await stage.on_chain(player.chain.send, call)
        tell.say(
            f"{player.name} deposits {money(amount, DECIMALS)} {SYMBOL} into the adjudicator"
            f" (block {receipt.block}, {receipt.gas_used:,} gas)"
        )


async def count_deposits(stage: Stage, tell: Narrator) -> None:
    """Wait until both deposits are in a state that both signed."""
    one, other = stage.by_party
    want = (DEPOSITS[one.name], DEPOSITS[other.name])
    await stage.until(lambda: all(_deposits(player) == want for player in stage.players), "both deposits are agreed")
    tell.say(f"Both nodes saw the deposits and agreed on version {stage.alice.channel.version}, which counts them.")


def _deposits(player: Player) -> tuple[int, int] | None:
    state, _ = player.channel.state.base
    return state.deposits if state else None


# 2. Trades


async def trade(stage: Stage, tell: Narrator, seller: Player, what: str, legs: tuple[Leg, ...]) -> None:
    """Deal legs at the desks' marks, rounded to the cent, and show both sides' confirmations."""
    buyer = stage.bob if seller is stage.alice else stage.alice
    marks = stage.market(legs, stage.local.now)
    if marks is None:
        raise InvariantBroken("the recorded chain has the series", what)
    worth, _ = value(Book.of(legs, marks, _SALT), decimals=DECIMALS)
    cents = worth // (UNIT // 100)
    premium = show(cents, 2)
    who = "receives" if cents < 0 else "pays"
    tell.gap()
    tell.say(
        f"{seller.name} sells {what} to {buyer.name} and {who} {money(abs(cents), 2)} {SYMBOL} at the marks:", "bold"
    )
    confirmation = await seller.channel.propose(seller.channel.trade(legs, premium))
    theirs = await _confirmed(stage, buyer, confirmation.version)
    tell.show(confirmation_panel(confirmation, stage.names, SYMBOL))
    same = theirs.digest == confirmation.digest
    tell.say(
        f"{buyer.name}'s copy   0x{theirs.digest.hex()}   {'the same' if same else 'ANOTHER'}",
        "green" if same else "red",
    )
    if not same:
        raise InvariantBroken("both sides confirm one trade", f"version {theirs.version} has two digests")


async def _confirmed(stage: Stage, player: Player, version: int) -> Confirmation:
    await stage.until(lambda: player.confirmation(version) is not None, f"{player.name} confirms version {version}")
    made = player.confirmation(version)
    assert made is not None  # just waited for
    return made


# 3. Marks


def show_mark(stage: Stage, tell: Narrator, change: str = "") -> None:
    """Show the agreed book, and Greeks and margin of both parties."""
    channel = stage.alice.channel
    book = channel.state.book
    spot = price(book.marks.spot(stage.market.underlying))
    tell.gap()
    tell.say(
        f"{moment(book.marks.time)}   {stage.market.underlying} {spot}{change}   version {channel.version}", "bold"
    )
    tell.gap()
    tell.show(book_table(book, stage.names, DECIMALS))
    tell.gap()
    tell.show(margin_table(reports(channel.state, *channel.state.base), stage.names))


async def mark(stage: Stage, tell: Narrator, hours: int) -> None:
    """Move the clock along the recorded returns, agree new marks, and show them."""
    before = stage.market.spot(stage.local.now)
    await stage.time(stage.market.start // 3_600 * 3_600 + hours * 3_600)
    confirmation = await stage.alice.channel.mark()
    await _confirmed(stage, stage.bob, confirmation.version)
    change = wad((stage.market.spot(stage.local.now) / before - 1).quantize(before))
    show_mark(stage, tell, f" ({'+' if change > 0 else ''}{percent(change)})")


def show_worst(stage: Stage, tell: Narrator) -> None:
    """Show what the scan part of each party's margin is made of, at the agreed marks."""
    channel = stage.alice.channel.state
    split = [explain(channel.book, party, DECIMALS, channel.policy)[0] for party in Party]
    tell.gap()
    tell.say(
        f"The scenario that would cost each of them most, by Greek, in {SYMBOL}. The residual is what revaluing every"
        " leg adds to delta, gamma, vega, volga, theta and the cross term: the lines sum to the loss exactly."
    )
    tell.gap()
    tell.show(worst_table(split, stage.names, DECIMALS))


async def refused_trade(stage: Stage, tell: Narrator, series: Series) -> None:
    """Have bob try to sell more than it can carry: its node refuses, and names what is lacking. Nothing is signed."""
    bob, legs = stage.bob, series.too_much()
    (leg,) = legs
    marks = stage.market(bob.channel.positions + legs, stage.local.now)
    if marks is None:
        raise InvariantBroken("the recorded chain has the series", str(leg))
    worth, _ = value(Book.of(legs, marks, _SALT), decimals=DECIMALS)
    tell.gap()
    tell.say(
        f"bob wants to sell {show(-leg.quantity, 18)} puts struck at {show(leg.strike, 18)} for {day(leg.expiry)},"
        f" for {money(-worth, DECIMALS)} {SYMBOL}:",
        "bold",
    )
    signed = bob.channel.state.signed
    try:
        await bob.channel.propose(bob.channel.trade(legs, show(worth, DECIMALS)))
    except MarginShortfall as refusal:
        if bob.channel.state.signed != signed:
            raise InvariantBroken("a refused trade is not signed", f"version {bob.channel.state.signed}") from refusal
        tell.say(
            f"refused, initial margin would fail: shortfall {money(refusal.shortfall, DECIMALS, DECIMALS)} {SYMBOL}",
            "bold red",
        )
        tell.say(
            f"{stage.names[refusal.party]} would need {money(refusal.initial_margin, DECIMALS)}"
            f" and would have {money(refusal.equity, DECIMALS)}."
            " bob's own node says so, before anything is signed; alice's would have said the same."
        )
        stage.facts["refused_trade"] = {
            "by": bob.name,
            "party": refusal.party,
            "equity": refusal.equity,
            "initial_margin": refusal.initial_margin,
            "shortfall": refusal.shortfall,
        }
        return
    raise InvariantBroken("a trade beyond initial margin is refused", "it was agreed")


# 4. The cheat


def best_for(stage: Stage, player: Player) -> tuple[Agreed, int, int]:
    """Return the older agreed state that a player likes best at today's prices, its worth, and the latest's."""
    party, now = stage.party(player), stage.local.now

    def worth(agreed: Agreed) -> int:
        legs = agreed.book.legs
        marks = stage.market(legs, now)
        book = Book.of(legs, marks, _SALT) if marks else agreed.book
        return margin(book, agreed.state.balances, DECIMALS)[party].equity

    *older, latest = [update.agreed for update in player.updates]
    # A deposit counts whether or not a state knows it, so the states before both were known are no better.
    best = max((a for a in older if a.state.deposits == latest.state.deposits), key=worth)
    return best, worth(best), worth(latest)


async def cheat(stage: Stage, tell: Narrator) -> None:
    """Have bob challenge with the old state it likes best; alice's node answers by itself."""
    alice, bob = stage.alice, stage.bob
    old, then, now = best_for(stage, bob)
    newest = alice.channel.version
    held = "no positions at all" if not old.book.legs else f"{len(old.book.legs)} legs"
    tell.say(
        f"At today's prices the latest state, version {newest}, is worth {money(now, DECIMALS)} {SYMBOL} to bob;"
        f" the old version {old.version} ({held}) would be worth {money(then, DECIMALS)}."
    )
    tell.say(f"bob goes to the contract with version {old.version}: both signed it once, so it is taken.", "bold red")
    sent = await stage.on_chain(bob.chain.send, bob.chain.challenge(stage.terms, old))
    tell.say(f"challenge by bob     block {sent.block}, {sent.gas_used:,} gas, registered: version {old.version}")
    await stage.until(lambda: alice.channel.state.chain.version == newest, "alice's node answers the challenge")
    await stage.until(lambda: bob.channel.state.chain.version == newest, "bob's node sees the answer")
    chain = alice.channel.state.chain
    gas = await stage.gas("challenge", 2)
    stage.facts["challenge"] = {
        "by": bob.name,
        "version": old.version,
        "answered_with": chain.version,
        "deadline": chain.deadline,
        "worth_to_challenger": [then, now],
    }
    tell.say(f"answer by alice      {gas:,} gas, registered: version {chain.version}, the latest", "bold green")
    tell.say(
        f"Nobody told alice's node to: it saw the challenge and answered. The dispute ends {moment(chain.deadline)},"
        " as it would have without the answer."
    )


# 5. The end


async def run_out(stage: Stage, tell: Narrator, *players: Player) -> None:
    """Let the dispute's deadline pass."""
    deadline = stage.alice.channel.state.chain.deadline
    await stage.time(deadline)
    await stage.phase(Phase.SETTLING, *players)
    version = stage.alice.channel.state.chain.version
    tell.say(
        f"{moment(deadline)}: the time to answer ({period(stage.terms.challenge_period)}) is over,"
        + (f" version {version} is final." if version else " nobody showed a state: the deposits go back.")
    )


async def expire(stage: Stage, tell: Narrator) -> None:
    """Let every expiry pass, and have the publishers report what it settled at."""
    book = stage.alice.channel.state.book
    for underlying, expiry in dict.fromkeys(leg.key[:2] for leg in book.legs):
        await stage.time(expiry)
        settled = stage.market.spot_wad(expiry)
        await stage.on_chain(stage.local.publish_settlement, underlying, expiry, settled)
        tell.say(
            f"{moment(expiry)}: {stage.local.threshold} of {len(stage.local.publishers)} publishers report"
            f" {underlying} {show(settled, 18)}"
        )
        await stage.until(
            partial(_is_settled, stage.alice, underlying, expiry), f"alice learns the price of {day(expiry)}"
        )


def _is_settled(player: Player, underlying: str, expiry: int) -> bool:
    return player.channel.state.chain.settlement(underlying, expiry) is not None


async def paid(stage: Stage, tell: Narrator, how: str, *players: Player) -> None:
    """Wait until the channel is closed and paid."""
    await stage.phase(Phase.CLOSED, *players)
    gas = await stage.gas(how)
    tell.say(f"{how} is mined ({gas:,} gas): both are paid, the channel is closed for ever.", "bold green")
