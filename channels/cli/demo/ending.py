"""The end of every scenario: the independent payoff against the wallets on-chain, and the JSON document of the run.

docs/demo.md lists the document's fields.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from ... import __version__
from ...model import EMPTY_BOOK, Agreed, Leg, State
from ...risk.margin import margin
from ...risk.report import Greeks, MarginReport
from ...units import show
from ..render import Sheet, day, money
from . import mark, verdict
from .margin_acts import ClosedOut
from .narrator import Narrator
from .stage import DECIMALS, SYMBOL, Stage

Pair = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Settled:
    """What the channel was paid by. `cash`: the state's balances with every deposit it did not know, party 0 first."""

    state: State | None
    legs: tuple[Leg, ...]
    cash: Pair
    deposits: Pair
    prices: tuple[tuple[str, int, int], ...]
    """Underlying, expiry and settlement price of each expiry held."""
    replaced: Agreed | None
    """The last state with positions, where a close replaced them by a transfer."""
    closed_out: ClosedOut | None
    """How a margin call ended it, where one did."""

    @classmethod
    def of(cls, stage: Stage, closed_out: ClosedOut | None) -> Settled:
        """Read it from alice's channel, once it is closed."""
        channel = stage.alice.channel.state
        closing = channel.closing
        final = closing or channel.agreed
        state = final.state if final else None
        legs = final.book.legs if final else ()
        deposits = channel.chain.deposits
        known, balances = (state.deposits, state.balances) if state else ((0, 0), (0, 0))
        cash = (balances[0] + deposits[0] - known[0], balances[1] + deposits[1] - known[1])
        held = dict.fromkeys(leg.key[:2] for leg in legs)
        prices = tuple((*key, channel.chain.settlement(*key) or 0) for key in held) if closed_out is None else ()
        return cls(state, legs, cash, deposits, prices, channel.agreed if closing else None, closed_out)

    def due(self) -> Pair:
        """Return what each party should be paid, from legs and prices as they are printed."""
        if self.closed_out is not None:
            return verdict.payouts(self.cash, mark.gained(self.closed_out), sum(self.deposits))
        printed = [_printed(leg) for leg in self.legs]
        prices = {(name, day(expiry)): show(settled, 18) for name, expiry, settled in self.prices}
        pot = sum(self.deposits)
        return verdict.payouts(self.cash, verdict.payoff(printed, prices, DECIMALS), pot)


@dataclass(frozen=True, slots=True)
class Ending:
    """How a run came out."""

    is_right: bool
    document: dict[str, Any]


async def end(stage: Stage, tell: Narrator, scenario: str, closed_out: ClosedOut | None = None) -> Ending:
    """Compare what was due with what the wallets got, say so, and write the document."""
    settled = Settled.of(stage, closed_out)
    after = await stage.on_chain(stage.wallets)
    token, adjudicator = stage.local.token, stage.local.deployment.adjudicator
    chain = stage.alice.chain
    left = await stage.on_chain(chain.balance_of, token, adjudicator)
    owners = stage.terms.owners
    claimable = (
        await stage.on_chain(chain.claimable, token, owners[0]),
        await stage.on_chain(chain.claimable, token, owners[1]),
    )
    before, deposits, due = stage.wallets_before, settled.deposits, settled.due()
    paid = tuple(after[i] - before[i] + deposits[i] for i in (0, 1))
    accounted = left == sum(claimable) == 0 and sum(after) == sum(before)
    is_right = due == paid and accounted

    tell.gap()
    what = "The close-out" if closed_out else "The payoff"
    tell.say(f"{what}, computed again from the printed legs and prices, by other code:", "bold")
    tell.gap()
    if closed_out:
        mark.show_close_out(tell, closed_out, stage.names)
    else:
        _show_legs(stage, tell, settled)
    table = Sheet("", *stage.names, f"in all, {SYMBOL}", left=("",))
    for label, pair in (
        ("deposited", deposits),
        ("cash in the last state" if settled.state else "cash: its own deposit", settled.cash),
        (
            "positions and charge" if closed_out else "payoff of the legs",
            (due[0] - settled.cash[0], due[1] - settled.cash[1]),
        ),
        ("should be paid", due),
        ("was paid", paid),
        ("wallet before", before),
        ("wallet after", after),
    ):
        table.add_row(label, *(money(amount, DECIMALS, DECIMALS) for amount in (*pair, sum(pair))))
    tell.gap()
    tell.show(table)
    tell.gap()
    held = f"{money(left, DECIMALS, DECIMALS)} {SYMBOL}"
    tell.say(f"left in the adjudicator: {held}, to be claimed: {money(sum(claimable), DECIMALS, DECIMALS)} {SYMBOL}")
    if is_right:
        tell.verdict(
            f"Paid is what was due, to the last unit ({show(1, DECIMALS)} {SYMBOL}); every unit is accounted for.",
            good=True,
        )
    else:
        tell.verdict(f"NOT EQUAL: due {due}, paid {paid}, left {left}, claimable {claimable}.", good=False)

    last = next((update.agreed for update in reversed(stage.alice.updates) if update.agreed.book.legs), None)
    document = {
        "scenario": scenario,
        "version": __version__,
        "exit_status": 0 if is_right else 1,
        "chain_id": stage.local.deployment.chain_id,
        "adjudicator": str(adjudicator),
        "channel": f"0x{stage.alice.channel.id.hex()}",
        "token": str(token),
        "decimals": DECIMALS,
        "parties": [
            {"party": i, "name": name, "signer": str(stage.terms.signers[i]), "owner": str(owners[i])}
            for i, name in enumerate(stage.names)
        ],
        "data": {"source": stage.market.source, "time_shift": stage.market.shift, "start": stage.market.start},
        "deposits": list(deposits),
        "versions": [update.agreed.version for update in stage.alice.updates],
        "legs": [_leg(leg) for leg in settled.legs],
        "settlement_prices": [
            {"underlying": name, "expiry": expiry, "price": str(settled_at)}
            for name, expiry, settled_at in settled.prices
        ],
        "balances": list(settled.cash),
        "settled_state": _state(settled.state),
        "replaced_by_transfer": _replaced(settled),
        "payout_expected": list(due),
        "payout_paid": list(paid),
        "wallet_before": list(before),
        "wallet_after": list(after),
        "left_in_adjudicator": left,
        "claimable": list(claimable),
        "gas": {name: max(used) for name, used in stage.local.gas.items()},
        "gas_by_transaction": {name: list(used) for name, used in stage.local.gas.items()},
        "last_book": _book(last),
        "margin": _margin(stage, last, settled.cash),
        **stage.facts,
    }
    return Ending(is_right, document)


def _show_legs(stage: Stage, tell: Narrator, settled: Settled) -> None:
    if not settled.legs:
        tell.say("no legs: a transfer replaced them all" if settled.replaced else "no legs: nothing was ever traded")
        return
    one, _ = stage.names
    prices = {(name, expiry): show(settled_at, 18) for name, expiry, settled_at in settled.prices}
    table = Sheet("expiry", "strike", "kind", f"{one} holds", "settled at", f"pays {one}", left=("expiry", "kind"))
    for leg in settled.legs:
        printed, at = _printed(leg), prices[leg.underlying, leg.expiry]
        pays = verdict.payoff([printed], {(leg.underlying, printed["expiry"]): at}, DECIMALS)
        fields = (printed["expiry"], printed["strike"], printed["kind"], printed["quantity"])
        table.add_row(*fields, at, money(pays, DECIMALS, DECIMALS))
    tell.show(table)


def _printed(leg: Leg) -> dict[str, str]:
    """Return a leg as the text that people read."""
    return {
        "underlying": leg.underlying,
        "expiry": day(leg.expiry),
        "strike": show(leg.strike, 18),
        "kind": leg.kind.name.lower(),
        "quantity": show(leg.quantity, 18),
    }


# The document's parts


def _leg(leg: Leg) -> dict[str, Any]:
    return {
        "underlying": leg.underlying,
        "expiry": leg.expiry,
        "expiry_date": datetime.fromtimestamp(leg.expiry, UTC).isoformat(),
        "strike": str(leg.strike),
        "kind": leg.kind.name.lower(),
        "quantity": str(leg.quantity),
    }


def _state(state: State | None) -> dict[str, Any] | None:
    if state is None:
        return None
    return {
        "version": state.version,
        "intent": state.intent.name.lower(),
        "deposits": list(state.deposits),
        "withdrawals": list(state.withdrawals),
        "balances": list(state.balances),
        "book": f"0x{state.book.hex()}",
    }


def _replaced(settled: Settled) -> dict[str, Any] | None:
    """Return the positions that a close replaced, and the transfer from party 0 to party 1 that did."""
    if settled.replaced is None or settled.state is None:
        return None
    before = settled.replaced
    return {
        "version": before.version,
        "legs": [_leg(leg) for leg in before.book.legs],
        "balances": list(before.state.balances),
        "transfer": before.state.balances[0] - settled.state.balances[0],
    }


def _book(agreed: Agreed | None) -> dict[str, Any] | None:
    if agreed is None:
        return None
    marks = agreed.book.marks
    return {
        "version": agreed.version,
        "time": marks.time,
        "spots": [{"underlying": mark.underlying, "spot": str(mark.spot)} for mark in marks.spots],
        "expiries": [
            {"underlying": m.underlying, "expiry": m.expiry, "ratio": str(m.ratio), "discount": str(m.discount)}
            for m in marks.expiries
        ],
        "legs": [{**_leg(leg), "vol": str(mark.vol)} for leg, mark in zip(agreed.book.legs, marks.vols, strict=True)],
    }


def _margin(stage: Stage, last: Agreed | None, cash: Pair) -> dict[str, Any]:
    """Return both parties' margin of the last book with positions, by name; without one, that of cash alone."""
    found = margin(last.book, last.state.balances, DECIMALS) if last else margin(EMPTY_BOOK, cash, DECIMALS)
    return {name: _report(report) for name, report in zip(stage.names, found, strict=True)}


def _report(report: MarginReport) -> dict[str, Any]:
    ratio = report.collateralisation
    return {
        "cash": report.cash,
        "value": report.value,
        "equity": report.equity,
        "initial_margin": report.initial_margin,
        "maintenance_margin": report.maintenance_margin,
        "scan_initial": report.scan_initial,
        "scan_maintenance": report.scan_maintenance,
        "charges": {name: getattr(report.charges, name) for name in ("delta", "gamma", "vega", "short")},
        "collateralisation": None if ratio is None else str(ratio),
        "worst": [{"underlying": w.underlying, "row": w.row, "loss": w.loss} for w in report.worst],
        "greeks": [_greeks(row) for row in report.greeks],
    }


def _greeks(row: Greeks) -> dict[str, str]:
    names = ("delta", "gamma_per_percent", "vega_per_point", "theta_per_day")
    return {"underlying": row.underlying, **{name: str(getattr(row, name)) for name in names}}
