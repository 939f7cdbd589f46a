"""The laws of the duel: protocol §3.4's invariants by number, then agreement with the model.

The invariants are judged by what the chain shows, by who signed what, and by the library's arithmetic, not by the
model: a mistake made twice, in contract and model, must still break one of them. Margin's stand in `margin_laws`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from channels import model as library
from channels.errors import ChannelError
from channels.risk.payoff import payoff as library_payoff, payouts as library_payouts
from channels.seal.digest import state_digest, state_struct_hash
from tests.contracts.encoding import CALL, CLOSED, DISPUTED, OPEN, OPERATE, PUT, REOPEN, SETTLING, State
from tests.contracts.evm import Reverted
from tests.contracts.laboratory import GAS, REVERTING, words
from tests.contracts.margin_laws import at_the_mark, figures, invariant_6, name, remember
from tests.contracts.margins import SHIPPED
from tests.contracts.shelf import book_of
from tests.contracts.verdicts import LawBroken, law

if TYPE_CHECKING:
    from tests.contracts.duel import Deed, Duel, Seat, Sight
    from tests.contracts.model import Said


def check(duel: Duel, before: Sight, deed: Deed, said: list[Said], expected: str | None) -> None:
    """Raise LawBroken unless the deed kept every law."""
    if deed.refused is None:
        for each in (
            invariant_1,
            invariant_5,
            invariant_6,
            figures,
            invariant_3,
            invariant_2,
            invariant_7,
            invariant_8,
        ):
            each(duel, before, deed)
    elif replace(duel.sight, now=before.now) != before:
        raise LawBroken("refusal", f"{deed.function} was refused and changed something")
    agreement(duel, deed, said, expected)
    if deed.refused is None:
        remember(duel, before, deed)
        for party in range(2):
            invariant_4(duel, duel.seats[deed.seat], party)


def invariant_1(duel: Duel, before: Sight, deed: Deed) -> None:
    """Balance ≥ Σ pots + Σ claimable, and no channel ever moves more than it received."""
    after = duel.sight
    owed = sum(map(_pot, after.statuses)) + sum(after.claimable.values())
    law("invariant 1", after.held >= owed, f"{after.held} held, {owed} owed")
    seat = duel.seats[deed.seat]
    left = before.held - after.held + sum(after.claimable.values()) - sum(before.claimable.values())
    seat.received -= min(left, 0)
    seat.spent += max(left, 0)
    law("invariant 1", seat.spent <= seat.received, f"{seat.spent} left a channel that received {seat.received}")
    for index, pair in enumerate(zip(before.statuses, after.statuses, strict=True)):
        law("invariant 1", index == deed.seat or pair[0] == pair[1], f"a deed in {deed.seat} changed {index}")


def invariant_2(duel: Duel, before: Sight, deed: Deed) -> None:
    """What is registered carries both signatures, and pays nobody more than the best state the other one signed.

    A release comes on top, as far as it was margin-free when it was paid; and a close-out pays the other side's charge.
    """
    seat, was, now = duel.seats[deed.seat], before.statuses[deed.seat], duel.sight.statuses[deed.seat]
    state = deed.state
    if state is not None and deed.function in ("checkpoint", "challenge", "close", "margin_call"):
        old = was.registered == state.struct_hash()
        both = all(state in seat.signed_by(party) for party in range(2))
        law("invariant 2", old or both, f"version {state.version} was taken without both signatures")
    closed = _closed(deed)
    for party in range(2):
        theirs = seat.signed_by(1 - party)
        authorised = max(_withdrawal(other, party) for other in theirs)
        released = deed.args[3] if deed.function == "release" and deed.party == party else 0
        most = max(authorised, was.paid[party] + released)
        law("invariant 2", now.paid[party] <= most, f"{now.paid[party]} paid, {most} authorised and released")
        if closed is not None and not _by_a_fickle_engine(duel, deed):
            total = was.paid[party] + closed[party]
            claims = [_claim(duel, seat, other, party, was.deposits, before, deed) for other in theirs]
            best = max([most, *(claim[1] for claim in claims if claim is not None)])
            law("invariant 2", total <= best, f"party {party} was paid {total}, the best state is worth {best}")


def invariant_3(duel: Duel, before: Sight, deed: Deed) -> None:
    """The honest party ends with at least the minimum over its latest agreed state and its outstanding ones.

    Latest is what it could still show within its window (`_standing`).
    """
    seat, was, closed = duel.seats[deed.seat], before.statuses[deed.seat], _closed(deed)
    if seat.honest is None or closed is None or _by_a_fickle_engine(duel, deed):
        return
    mine, other = seat.honest, 1 - seat.honest
    floors = [_claim(duel, seat, state, mine, was.deposits, before, deed) for state in _standing(seat, before, deed)]
    taken = max(_withdrawal(state, other) for state in seat.signed_by(mine))
    reachable = sum(was.deposits) - max(taken, was.paid[other])
    floor = min((max(0, min(claim[0], reachable)) for claim in floors if claim is not None), default=None)
    total = was.paid[mine] + closed[mine]
    law(
        "invariant 3", floor is None or total >= floor, f"party {mine} ends with {total}, its worst state gives {floor}"
    )


def invariant_4(duel: Duel, seat: Seat, party: int) -> None:
    """From here `party` alone closes the channel within the promised time, whatever source, engine and token do.

    Tried on a fork: party 0 with all as it is, party 1 with a dead source, a dead engine where it is not the shipped
    one, and a token that refuses both owners.
    """
    chain, terms = duel.chain, seat.terms
    with chain.fork():
        if party:
            chain.send(terms.source, "set_mode(uint256)", REVERTING)
            for owner in terms.owners:
                chain.send(terms.token, "refuse(address,bool)", owner, True)
            duel.engines[1].transact("set_mode", REVERTING)
        try:
            _leave(duel, seat, terms.signers[party], chain.now)
        except Reverted as reverted:
            raise LawBroken("invariant 4", f"party {party} cannot leave: {reverted.reason}") from None
        phase = duel.status(seat).phase
        law("invariant 4", phase == CLOSED, f"party {party} did all it could and the phase is {phase}")


def _leave(duel: Duel, seat: Seat, sender: str, now: int) -> None:
    chain, terms, account = duel.chain, seat.terms, seat.account

    def send(function: str, *args: Any) -> None:
        duel.contract.transact(function, words(terms), *args, sender=sender, gas=GAS)

    phase = account.phase(now)
    if phase == CLOSED:
        return
    deadline = account.deadline
    state = account.registered or seat.nothing
    if phase == OPEN:
        deadline = now + terms.challenge_period
        if account.registered is None:
            send("challenge_unsigned")
        else:
            send("challenge", words(state), b"", b"")
    chain.at(max(now, deadline))
    data, contents = book_of(state)
    if contents is None or any(leg.kind not in (CALL, PUT) for leg in contents.legs):
        chain.at(max(now, max(terms.last_resort, deadline) + terms.challenge_period + 2 * terms.grace))
        send("last_resort", words(state))
        return
    for underlying, expiry in contents.lines:
        chain.at(max(chain.now, expiry + 2 * terms.grace))
        if not any(chain.view(duel.contract, "pinned", account.id, underlying, expiry)):
            send("pin", words(state), data, underlying, expiry)
    send("settle", words(state), data)


def invariant_5(duel: Duel, before: Sight, deed: Deed) -> None:
    """Versions never fall, CLOSED is forever, the deadline never moves, after it only REOPEN or CLOSE."""
    for was, now in zip(before.statuses, duel.sight.statuses, strict=True):
        law("invariant 5", now.version >= was.version, f"version {was.version} fell to {now.version}")
        law("invariant 5", was.phase != CLOSED or now == was, "a closed channel changed")
    now = duel.sight.statuses[deed.seat]
    law("invariant 5", _closed(deed) is None or now.phase == CLOSED, "a channel was paid out and lives on")
    for was, now in zip(before.statuses, duel.sight.statuses, strict=True):
        if was.phase in (DISPUTED, SETTLING) and now.phase != CLOSED:
            reopened = deed.function == "checkpoint" and deed.state is not None and deed.state.intent == REOPEN
            moved = now.deadline != was.deadline
            law("invariant 5", not moved or (reopened and now.deadline == 0), f"the deadline moved by {deed.function}")
            changed = was.phase == SETTLING and now.registered != was.registered
            law("invariant 5", not changed or reopened, f"{deed.function} changed the state after the deadline")
        if was.phase == OPEN and now.phase == DISPUTED:
            full = before.now + duel.seats[deed.seat].terms.challenge_period
            law("invariant 5", now.deadline == full, f"a dispute until {now.deadline} instead of {full}")


def invariant_7(duel: Duel, before: Sight, deed: Deed) -> None:
    """A third party shows a newer agreed state in time, states a fact, or makes a gift, and changes no payment else."""
    if not deed.stranger or deed.function == "claim":
        return
    was, now, state = before.statuses[deed.seat], duel.sight.statuses[deed.seat], deed.state
    if deed.function in ("checkpoint", "challenge", "close"):
        assert state is not None
        newer = state.version > was.version
        valid = state.intent == OPERATE or before.now <= state.valid_until
        answers = deed.function != "challenge" or was.phase == DISPUTED
        law("invariant 7", newer and valid and answers, f"a stranger's {deed.function} at version {state.version}")
        return
    sides = ("challenge_unsigned", "margin_call", "liquidate", "release")
    law("invariant 7", deed.function not in sides, f"a stranger's {deed.function}")
    if deed.function == "last_resort":
        return
    earlier, closed = before.entitled[deed.seat], _closed(deed)
    later = closed or duel.sight.entitled[deed.seat]
    if earlier is None or later is None:
        return
    paid = was.paid if closed else now.paid
    if deed.function == "pay" and _overdrawn(duel, deed):
        return
    for party in range(2):
        had, has = earlier[party] + was.paid[party], later[party] + paid[party]
        gift = deed.function in ("deposit", "deposit_with_permit") and has >= had
        law("invariant 7", has == had or gift, f"a stranger's {deed.function} made {had} of party {party} {has}")


def _overdrawn(duel: Duel, deed: Deed) -> bool:
    """Whether the registered state authorised a withdrawal that its party cannot bear.

    Such a withdrawal is paid before the other side's claim, whoever asks for it: that is what both signed.
    """
    seat = duel.seats[deed.seat]
    state, status = seat.account.registered, duel.sight.statuses[deed.seat]
    payoff = None if state is None else _payoff(seat, state, duel.sight)
    if state is None or payoff is None:
        return False
    claims = [_claim_at_par(state, party, status.deposits) - status.paid[party] for party in range(2)]
    return min(claims[0] + payoff, claims[1] - payoff) < 0


def invariant_8(duel: Duel, before: Sight, deed: Deed) -> None:
    """Library and contract agree on every digest, on which states are well-formed, and on every payout."""
    seat, state = duel.seats[deed.seat], deed.state
    if state is not None and state.version:
        told = duel.chain.view(duel.contract, "digest", words(state))[0].to_bytes(32, "big")
        try:
            known = library_state(state)
        except ChannelError as error:
            raise LawBroken("invariant 8", f"the contract took a state that the library refuses: {error}") from None
        law("invariant 8", told == state_digest(duel.deployment, known), "another digest")
        registered = duel.sight.statuses[deed.seat].registered
        if deed.function in ("checkpoint", "challenge"):
            law("invariant 8", registered == state_struct_hash(known), "another struct hash")
    closed = _closed(deed)
    if closed is not None and state is not None:
        _payouts_agree(seat, state, before, deed, closed)
    current, entitled = seat.account.registered, duel.sight.entitled[deed.seat]
    if closed is None and current is not None and entitled is not None:
        _payouts_agree(seat, current, duel.sight, deed, entitled)


def _payouts_agree(seat: Seat, state: State, sight: Sight, deed: Deed, paid: tuple[int, int]) -> None:
    status = sight.statuses[seat.index]
    payoff = 0 if deed.function in ("close", "last_resort") else _payoff(seat, state, sight)
    if closed_out := deed.said("Liquidated"):
        # The figures of the event are the library's: `figures` has checked them, where an honest engine said them.
        payoff = closed_out["value0"] + (-closed_out["charge"] if deed.party == 0 else closed_out["charge"])
    if payoff is None:
        raise LawBroken("invariant 8", "the contract pays legs that have no price")
    cash = [_claim_at_par(state, party, status.deposits) - status.paid[party] for party in range(2)]
    told = library_payouts(cash[0], cash[1], payoff, _pot(status))
    law("invariant 8", told == paid, f"the library pays {told}, the contract {paid}")


def channel_ids_agree(duel: Duel, seat: Seat) -> None:
    """Invariant 8 for the channel id."""
    terms = seat.terms
    known = library.Terms(
        signers=_pair(terms.signers),
        owners=_pair(terms.owners),
        token=library.Address(terms.token),
        decimals=terms.decimals,
        source=library.Address(terms.source),
        engine=library.Address(terms.engine),
        policy=terms.policy,
        challenge_period=terms.challenge_period,
        cure_period=terms.cure_period,
        grace=terms.grace,
        spot_max_age=terms.spot_max_age,
        last_resort=terms.last_resort,
        salt=terms.salt,
    )
    told = duel.chain.view(duel.contract, "channel_id", words(terms))[0].to_bytes(32, "big")
    law("invariant 8", told == known.channel_id(duel.deployment) == seat.account.id, "another channel id")


def agreement(duel: Duel, deed: Deed, said: list[Said], expected: str | None) -> None:
    """Contract and model refuse with the same words, say the same events, and show the same to whoever looks."""
    same = deed.refused == expected or (not duel.wording and deed.refused is not None and expected is not None)
    law("refusal", same, f"{deed.function}: {_words(deed.refused)}, the model: {_words(expected)}")
    events = [(event.name, dict(event.args)) for event in deed.events]
    law("events", events == [tuple(line) for line in said], f"{events} instead of {said}")
    model, sight = duel.model, duel.sight
    for seat, status in zip(duel.seats, sight.statuses, strict=True):
        account = seat.account
        registered = bytes(32) if account.registered is None else account.registered.struct_hash()
        calls = tuple(call.deadline if call.armed else 0 for call in account.calls)
        shown = (status.phase, status.version, status.deadline, status.registered, status.cure_deadlines)
        known = (account.phase(sight.now), account.version, account.deadline, registered, calls)
        law("status", shown == known, f"seat {seat.index} shows {shown} instead of {known}")
        ledger = (list(status.deposits), list(status.paid))
        law("status", ledger == (account.deposits, account.paid), f"seat {seat.index} shows the ledger {ledger}")
    money = model.money[duel.token.address]
    law("balances", sight.held == money.balances[model.address], f"{sight.held} held")
    for who in duel.people:
        wallet, left = money.balances[who], model.deferred[duel.token.address, who]
        law("balances", sight.wallets[who] == wallet, f"{who} has {sight.wallets[who]} instead of {wallet}")
        law("balances", sight.claimable[who] == left, f"{who} may claim {sight.claimable[who]} instead of {left}")
    for (index, underlying, expiry), price in sight.prices.items():
        known_price = model.price(duel.seats[index].account, underlying, expiry)
        law("prices", price == known_price, f"seat {index} shows {price} for {expiry} instead of {known_price}")


def library_state(state: State) -> library.State:
    """Return the library's value of a state; ChannelError if it refuses it."""
    try:
        intent = library.Intent(state.intent)
    except ValueError:
        raise ChannelError(f"no intent {state.intent}") from None
    return library.State(
        library.ChannelId(state.channel),
        state.version,
        intent,
        state.valid_until,
        (state.deposit0, state.deposit1),
        (state.withdrawal0, state.withdrawal1),
        (state.balance0, state.balance1),
        state.book,
    )


def _pair(addresses: Iterable[str]) -> tuple[library.Address, library.Address]:
    first, second = (library.Address(address) for address in addresses)
    return first, second


def _standing(seat: Seat, before: Sight, deed: Deed) -> list[State]:
    """What may still be enforced against the honest party: its latest agreed state and what it signed after that.

    A close-out executes a call whose cure period is over, so what was agreed in the close-out's own second came too
    late to answer it, and counts as one of the states after the latest that had a window.
    """
    assert seat.honest is not None
    late = deed.function == "liquidate" and deed.party == seat.honest and seat.agreed_at == before.now
    latest, version = seat.latest(seat.agreed_before if late else None), before.statuses[seat.index].version
    hash_now = before.statuses[seat.index].registered
    mine = seat.signed_by(seat.honest)
    reopened = any(s.version == version and s.intent == REOPEN and s.struct_hash() == hash_now for s in mine)
    base = max(latest.version if latest else 0, version if reopened else 0)
    return [
        state
        for state in mine
        if state.version >= base and (state.intent == OPERATE or state == deed.state or state.valid_until >= before.now)
    ]


def _claim_at_par(state: State, party: int, deposits: tuple[int, int]) -> int:
    """Everything `state` gives a party, paid out already or not, its legs apart."""
    mine = (
        (state.withdrawal0, state.balance0, state.deposit0),
        (state.withdrawal1, state.balance1, state.deposit1),
    )[party]
    return mine[0] + mine[1] + deposits[party] - mine[2]


def _claim(
    duel: Duel, seat: Seat, state: State, party: int, deposits: tuple[int, int], sight: Sight, deed: Deed
) -> tuple[int, int] | None:
    """As `_claim_at_par`, with the legs: least and most, which differ by a close-out charge. None without a price."""
    par = _claim_at_par(state, party, deposits)
    if deed.function == "last_resort":
        return par, par
    if deed.function == "liquidate":
        closing = at_the_mark(duel, seat, state, sight)
        if closing is None:
            return None
        worth, charge = closing[0][0] if party == 0 else -closing[0][0], closing[1][deed.party]
        return (par + worth - charge, par + worth) if party == deed.party else (par + worth, par + worth + charge)
    payoff = _payoff(seat, state, sight)
    if payoff is None:
        return None
    claim = par + (payoff if party == 0 else -payoff)
    return claim, claim


def _by_a_fickle_engine(duel: Duel, deed: Deed) -> bool:
    """Whether the deed is a liquidation whose figures an adversary's engine gave: only the pot bounds what it pays."""
    return deed.function == "liquidate" and duel.seats[deed.seat].engine != SHIPPED


def _payoff(seat: Seat, state: State, sight: Sight) -> int | None:
    """The library's payoff of a state's book, None where a leg has no price yet or the book cannot be read."""
    contents = book_of(state)[1]
    if contents is None or any(leg.kind not in (CALL, PUT) for leg in contents.legs):
        return None
    prices = {line: sight.prices.get((seat.index, *line), 0) for line in contents.lines}
    if not all(prices.values()):
        return None
    legs = [
        library.Leg(name(leg.underlying), leg.expiry, leg.strike, library.OptionKind(leg.kind), leg.quantity)
        for leg in contents.legs
    ]
    named = {(name(underlying), expiry): price for (underlying, expiry), price in prices.items()}
    return library_payoff(legs, named, seat.terms.decimals)


def _withdrawal(state: State, party: int) -> int:
    return (state.withdrawal0, state.withdrawal1)[party]


def _closed(deed: Deed) -> tuple[int, int] | None:
    """What a closing paid, None if the deed closed nothing."""
    for event in deed.events:
        if event.name == "Closed":
            return event.args["payout0"], event.args["payout1"]
    return None


def _pot(status: Any) -> int:
    return sum(status.deposits) - sum(status.paid)


def _words(refused: str | None) -> str:
    return "done" if refused is None else f"refused with {refused!r}"
