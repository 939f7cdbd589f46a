"""A state agreed after the called side's cure deadline (ADR 26): the call can be executed until that state is registered.

Found by the machine at night (seed 1641277287). Party 0 is called, misses its deadline, and the caller then signs a better
state with it: whoever is first on the chain decides which of the two counts. No window is left, so none is promised.
"""

import pytest

from tests.contracts.duel import FAIR, UNIT, Duel, Pact, Seat
from tests.contracts.encoding import WAD, State
from tests.contracts.margin_play import MarginPlay
from tests.contracts.margins import SHIPPED
from tests.contracts.shelf import LINES, SECOND
from tests.contracts.verdicts import LawBroken

TOP_UP = 299_999_999
SHORT, BETTER = 4, 3
"""Books whose legs have all settled at 1,900: what the first costs party 0, and what the second brings it."""
COST, GAIN = 52_380_953, 100 * UNIT
"""4's legs: -200/3 + 0 + 100/7; 3's: 500 - 400. A value is rounded down for party 0."""
NOT_NOW = "adjudicator: no executable call"


def _missed() -> tuple[Duel, MarginPlay, Seat]:
    """Both have withdrawn what the state knew, party 0 owes on settled legs, and it does not answer the call."""
    duel = Duel(engines=(SHIPPED, SHIPPED, SHIPPED))
    play, seat = MarginPlay(duel), duel.seats[FAIR]
    for party in range(2):
        play.deposit("begin", seat, party, 500 * UNIT, seat.terms.owners[party])
    play.pact(seat, play.moved(seat, "acknowledge", 0, 0, 0), "both")
    play.pact(seat, play.moved(seat, "acknowledge", 1, 0, 0), "both")
    play.deposit("top-up", seat, 1, TOP_UP, seat.terms.owners[1])
    duel.advance(SECOND)
    for line in LINES:
        play.settlement(FAIR, line, 1_900 * WAD)
    for party in range(2):
        play.pact(seat, play.moved(seat, "withdraw", party, 4, 0), "both")
    play.pact(seat, play.moved(seat, "trade", 0, 0, SHORT), "both")
    play.quote(seat, 1_500)
    assert play.call("call", seat, seat.pacts[-1].state, 0, "signer") == "ok"
    assert seat.account.paid == [500 * UNIT, 500 * UNIT]
    return duel, play, seat


def _executed(duel: Duel, play: MarginPlay, seat: Seat) -> str:
    play.quote(seat, 1_500)
    return play.liquidate(seat, 0, "signer")


def _paid(duel: Duel, seat: Seat) -> list[int]:
    return [duel.sight.wallets[owner] for owner in seat.terms.owners]


def _better(play: MarginPlay, seat: Seat) -> State:
    return play.moved(seat, "trade", 0, 0, BETTER)


def test_what_is_agreed_after_the_cure_deadline_may_come_too_late() -> None:
    """Executed in the second of the agreement: paid by the registered state, to the unit, and invariant 3 is kept."""
    duel, play, seat = _missed()
    duel.advance(seat.account.calls[0].deadline)
    play.pact(seat, _better(play, seat), "both")
    assert _executed(duel, play, seat) == "ok"
    assert _paid(duel, seat) == [500 * UNIT, 500 * UNIT + TOP_UP]
    assert TOP_UP < TOP_UP + COST, "party 0 owes more than its cash, and owes no more than that"


def test_without_the_late_agreement_the_close_out_pays_the_same() -> None:
    """What the caller may choose is to take back what it gave after the deadline: it takes nothing else."""
    duel, play, seat = _missed()
    duel.advance(seat.account.calls[0].deadline)
    assert _executed(duel, play, seat) == "ok"
    assert _paid(duel, seat) == [500 * UNIT, 500 * UNIT + TOP_UP]


@pytest.mark.parametrize("since", [-1, 0, 1, 3_000])
def test_an_agreement_that_is_shown_first_holds(since: int) -> None:
    """In the last second before the deadline that is promised; after it, it is the first transaction that decides."""
    duel, play, seat = _missed()
    duel.advance(seat.account.calls[0].deadline + since)
    play.pact(seat, _better(play, seat), "both")
    duel.advance(duel.chain.now + 1)
    assert seat.account.version == seat.agreed, "the honest party has shown it"
    assert _executed(duel, play, seat) == NOT_NOW
    play.to_settling(seat, 0)
    duel.settle_as(seat, seat.terms.owners[0])
    assert _paid(duel, seat) == [500 * UNIT + GAIN, 500 * UNIT + TOP_UP - GAIN]


def test_invariant_3_breaks_where_the_agreement_had_time() -> None:
    """The same close-out, of a state agreed one second earlier: what the law excuses is that second and no more."""
    duel, play, seat = _missed()
    duel.advance(seat.account.calls[0].deadline)
    state = _better(play, seat)
    seat.pacts.append(Pact(state, frozenset((0, 1))))
    seat.agree(state.version, duel.chain.now - 1)
    with pytest.raises(LawBroken, match="party 0 ends with 500000000, its worst state gives 600000000") as caught:
        _executed(duel, play, seat)
    assert caught.value.law == "invariant 3"
