"""The laws of margin: invariant 6, invariant 8 for every proof, and the bound of a release (a part of invariant 2).

Judged by what the chain showed and when: calls are remembered from their events, cash is added up from statuses, spots
are asked from the source, and verdicts are the library's. The model's own bookkeeping is not looked at.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from channels import model as library
from channels.risk.payoff import payoff as library_payoff
from tests.contracts.encoding import REOPEN, SETTLING, State
from tests.contracts.evm import Contract, Reverted
from tests.contracts.margins import EngineRefuses, Notice, Prices, Shipped, closing
from tests.contracts.shelf import book_of
from tests.contracts.verdicts import law

if TYPE_CHECKING:
    from tests.contracts.duel import Deed, Duel, Seat, Sight

MARGIN = ("margin_call", "cure", "liquidate", "release")
HOUR, DAY = 3_600, 86_400
Pair = tuple[int, int]


def remember(duel: Duel, before: Sight, deed: Deed) -> None:
    """Keep the calls that nothing has ended: a cure ends one, a REOPEN and the end of the channel all."""
    seat = duel.seats[deed.seat]
    state, notices = deed.state, list(seat.notices)
    if deed.said("Closed") or (deed.function == "checkpoint" and state is not None and state.intent == REOPEN):
        notices = [(), ()]
    if cured := deed.said("Cured"):
        notices[cured["party"]] = ()
    if called := deed.said("Called"):
        party, version = called["party"], duel.sight.statuses[deed.seat].version
        notices[party] = (*_sequence(seat, party, before.now), Notice(before.now, version, called["deadline"]))
    seat.notices = notices[0], notices[1]


def _sequence(seat: Seat, party: int, now: int) -> tuple[Notice, ...]:
    """The calls that one made now would go on from: not if the last one's deadline is a cure period ago."""
    earlier = seat.notices[party]
    return earlier if earlier and now <= earlier[-1].deadline + seat.terms.cure_period else ()


def invariant_6(duel: Duel, before: Sight, deed: Deed) -> None:
    """A liquidation: a first call a cure period ago, half of one on this version, two fresh proofs, the right side."""
    if deed.function not in ("margin_call", "liquidate"):
        return
    seat, party, now = duel.seats[deed.seat], deed.party, before.now
    terms, state = seat.terms, deed.state
    assert state is not None
    protected = terms.signers[1 - party], terms.owners[1 - party]
    law("invariant 6", deed.sender in protected, f"{deed.function} of party {party} by {deed.sender}")
    prices = fresh(duel, seat, state, before)
    law("invariant 6", prices is not None, f"{deed.function} without a fresh spot")
    assert prices is not None
    if isinstance(engine := duel.model.engines[terms.engine], Shipped):
        cash = _cash(duel.sight if deed.function == "margin_call" else before, seat, state)
        report = engine.reports(book_of(state)[0], cash, terms.decimals, prices)[party]
        breached = report.equity < report.maintenance_margin
        law("invariant 6", breached, f"{deed.function} at {report.equity}, maintenance {report.maintenance_margin}")
    cure, half = terms.cure_period, -(-terms.cure_period // 2)
    if deed.function == "margin_call":
        until, sequence = deed.said("Called")["deadline"], _sequence(seat, party, now)
        promised = max(now + half, sequence[0].time + cure) if sequence else now + cure
        law("invariant 6", until >= promised, f"called until {until} instead of {promised}")
        return
    contents = book_of(state)[1]
    expired = [line for line in (contents.lines if contents else ()) if line[1] <= now]
    known = all(before.prices.get((seat.index, *line), 0) for line in expired)
    law("invariant 6", known, "a liquidation without an expired leg's settlement")
    version = before.statuses[deed.seat].version
    notices = [notice for notice in seat.notices[party] if notice.version == version]
    law("invariant 6", bool(notices), f"no call on version {version}")
    law(
        "invariant 6", now >= seat.notices[party][0].time + cure, "a liquidation less than a cure period after the call"
    )
    law("invariant 6", now >= notices[-1].time + half, "a liquidation upon less than half a cure period's notice")
    law("invariant 6", _executable(seat, party, version, now, state), "a liquidation outside its window")


def _executable(seat: Seat, party: int, version: int, now: int, state: State) -> bool:
    """Whether the last call on this version is in its execution window."""
    terms = seat.terms
    notice = next((notice for notice in reversed(seat.notices[party]) if notice.version == version), None)
    if notice is None or now < notice.deadline:
        return False
    contents = book_of(state)[1]
    end = notice.deadline + min(max(terms.cure_period, HOUR), DAY)
    lines = contents.lines if contents else ()
    return now < end or any(expiry < end and now < expiry + 2 * terms.grace for _, expiry in lines)


def figures(duel: Duel, before: Sight, deed: Deed) -> None:
    """Invariant 8 for margin: each proof, each close-out and each release is what the library says to the last unit."""
    if deed.function not in MARGIN:
        return
    seat, party, state = duel.seats[deed.seat], deed.party, deed.state
    assert state is not None
    if deed.function == "release":
        _released(duel, before, deed)
    engine = duel.model.engines[seat.terms.engine]
    prices = fresh(duel, seat, state, before)
    law("invariant 8", prices is not None, f"{deed.function} without a fresh spot")
    if not isinstance(engine, Shipped) or prices is None:
        return
    data, decimals = book_of(state)[0], seat.terms.decimals
    cash = _cash(duel.sight if deed.function == "margin_call" else before, seat, state)
    reports = engine.reports(data, cash, decimals, prices)
    asked = (data, list(cash), decimals, list(prices.spots), list(prices.settlements), prices.t)
    told = [row[:3] for row in duel.engines[0].call("margin", *asked)]
    ours = [(report.equity, report.initial_margin, report.maintenance_margin) for report in reports]
    law("invariant 8", told == ours, f"the engine says {told}, the library {ours}")
    if deed.function == "cure":
        law("invariant 8", ours[party][0] >= ours[party][1], f"cured at {ours[party]}")
    if deed.function == "liquidate":
        version = before.statuses[seat.index].version
        values, charges = closing(engine.policy, data, decimals, prices)
        owed = 0 if _executable(seat, 1 - party, version, before.now, state) else charges[party]
        event = deed.said("Liquidated")
        said = event["value0"], event["charge"]
        law("invariant 8", said == (values[0], owed), f"closed out at {said}, the library: {(values[0], owed)}")


def _released(duel: Duel, before: Sight, deed: Deed) -> None:
    """A release is booked, comes from the party itself in SETTLING, and takes no margin and no unrealised gain."""
    seat, party, state, amount = duel.seats[deed.seat], deed.party, deed.state, deed.args[3]
    assert state is not None
    was, now, terms = before.statuses[seat.index], duel.sight.statuses[seat.index], seat.terms
    law("invariant 2", was.phase == SETTLING, "a release before the deadline")
    law("invariant 2", deed.sender in (terms.signers[party], terms.owners[party]), "released by another")
    law("invariant 2", now.paid[party] == was.paid[party] + amount, "a release is not booked")
    contents = book_of(state)[1]
    expired = [leg for leg in (contents.legs if contents else ()) if leg.expiry <= before.now]
    known = {(leg.underlying, leg.expiry): before.prices[seat.index, leg.underlying, leg.expiry] for leg in expired}
    legs = [
        library.Leg(name(leg.underlying), leg.expiry, leg.strike, library.OptionKind(leg.kind), leg.quantity)
        for leg in expired
    ]
    paid = library_payoff(legs, {(name(key[0]), key[1]): price for key, price in known.items()}, terms.decimals)
    cash = _cash(before, seat, state)[party]
    realised = cash + (paid if party == 0 else -paid)
    law("invariant 2", amount <= realised, f"{amount} released of {realised} that is realised")
    prices, engine = fresh(duel, seat, state, before), duel.model.engines[terms.engine]
    law("invariant 2", prices is not None, "a release without a fresh spot")
    if isinstance(engine, Shipped) and prices is not None:
        excess = engine.excess(book_of(state)[0], party, cash, terms.decimals, prices)
        law("invariant 2", amount <= excess, f"{amount} released of an excess of {excess}")


def at_the_mark(duel: Duel, seat: Seat, state: State, sight: Sight) -> tuple[Pair, Pair] | None:
    """Return the library's close-out of a state's book here and now: values and charges; None where it has none."""
    engine = duel.model.engines[seat.terms.engine]
    prices = fresh(duel, seat, state, sight)
    if not isinstance(engine, Shipped) or prices is None:
        return None
    try:
        return closing(engine.policy, book_of(state)[0], seat.terms.decimals, prices)
    except EngineRefuses:
        return None


def fresh(duel: Duel, seat: Seat, state: State, sight: Sight) -> Prices | None:
    """Return what the chain shows of a book's prices, None while the source has no fresh spot for it."""
    contents = book_of(state)[1]
    if contents is None:
        return None
    spots = []
    source: Contract = next(source for source in duel.sources if source.address == seat.terms.source)
    for underlying in sorted(contents.spots):
        try:
            price, seen = duel.chain.view(source, "spot", underlying)
        except Reverted:
            return None
        if not 0 < price <= 2**96 or not seen <= sight.now <= seen + seat.terms.spot_max_age:
            return None
        spots.append(price)
    settlements = (sight.prices.get((seat.index, *line), 0) for line in contents.lines)
    return Prices(tuple(spots), tuple(settlements), sight.now)


def _cash(sight: Sight, seat: Seat, state: State) -> Pair:
    status = sight.statuses[seat.index]
    first = state.balance0 + status.deposits[0] - state.deposit0 + state.withdrawal0 - status.paid[0]
    return first, state.balance1 + status.deposits[1] - state.deposit1 + state.withdrawal1 - status.paid[1]


def name(underlying: bytes) -> str:
    """Return the library's name of an underlying."""
    return underlying.rstrip(b"\0").decode()
