"""A close-out as it is printed, and what follows from what was printed: `verdict_margin` gets the texts only."""

from __future__ import annotations

from ...risk import DEFAULT_POLICY
from ...units import show
from ..render import Names, Sheet, day, moment, money, price
from . import verdict_margin
from .margin_acts import ClosedOut
from .narrator import Narrator
from .stage import DECIMALS, SYMBOL

POLICY = verdict_margin.Policy(
    *(
        show(charge, 18)
        for charge in (
            DEFAULT_POLICY.delta_charge,
            DEFAULT_POLICY.gamma_charge,
            DEFAULT_POLICY.gamma_move,
            DEFAULT_POLICY.vega_charge,
            DEFAULT_POLICY.short_charge,
        )
    )
)


def gained(closed: ClosedOut) -> int:
    """Return what party 0 gains by the close-out beyond its cash, token units: the value, and the charge either way."""
    value, charges, _ = _again(closed)
    charge = charges[closed.party]
    return value - charge if closed.party == 0 else value + charge


def show_close_out(tell: Narrator, closed: ClosedOut, names: Names) -> None:
    """Show every leg at the close-out with all that its price needs, and the two amounts that follow."""
    value, charges, priced = _again(closed)
    book = closed.agreed.book
    columns = ("expiry", "strike", "kind", f"{names[0]} holds", "vol", "price", f"worth to {names[0]}")
    table = Sheet(*columns, left=("expiry", "kind"))
    for leg, row, found in zip(book.legs, _printed(closed), priced, strict=True):
        worth = int((found.worth * 10**DECIMALS).to_integral_value())
        cells = (row["strike"], row["kind"], row["quantity"], row["vol"])
        table.add_row(day(leg.expiry), *cells, price(int(found.price.scaleb(18))), money(worth, DECIMALS, DECIMALS))
    tell.say(
        f"Marked {moment(book.marks.time)}, closed out {closed.time - book.marks.time:,} s later at a spot of"
        f" {show(closed.spot, 18)}."
    )
    for mark in book.marks.expiries:
        carry = f"forward ratio {show(mark.ratio, 18)}, discount {show(mark.discount, 18)}"
        tell.say(f"{day(mark.expiry)} as marked: {carry}; both go to 1 at the expiry.")
    tell.gap()
    tell.show(table)
    tell.gap()
    tell.say(
        f"value to {names[0]} {money(value, DECIMALS, DECIMALS)} {SYMBOL}; charge of {names[closed.party]}"
        f" {money(charges[closed.party], DECIMALS, DECIMALS)} {SYMBOL}"
    )
    same = (value, charges[closed.party]) == (closed.value0, closed.charge)
    tell.say("the contract says the same" if same else "the contract says OTHERWISE", "green" if same else "red")


def _again(closed: ClosedOut) -> tuple[int, tuple[int, int], list[verdict_margin.Priced]]:
    marked_at, spot = closed.agreed.book.marks.time, show(closed.spot, 18)
    return verdict_margin.close_out(_printed(closed), marked_at, spot, closed.time, POLICY, DECIMALS)


def _printed(closed: ClosedOut) -> list[dict[str, str]]:
    """Return the legs with their marks as texts."""
    book = closed.agreed.book
    carry = {(mark.underlying, mark.expiry): mark for mark in book.marks.expiries}
    return [
        {
            "expiry": str(leg.expiry),
            "strike": show(leg.strike, 18),
            "kind": leg.kind.name.lower(),
            "quantity": show(leg.quantity, 18),
            "vol": show(mark.vol, 18),
            "ratio": show(carry[leg.underlying, leg.expiry].ratio, 18),
            "discount": show(carry[leg.underlying, leg.expiry].discount, 18),
        }
        for leg, mark in zip(book.legs, book.marks.vols, strict=True)
    ]
