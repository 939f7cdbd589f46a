"""A state agreed after the called side's cure deadline: until it is registered, the call can be executed (ADR 30).

Found by the machine at night (seed 1641277287). Party 0 is called and misses its deadline; then the caller signs a
better state with it. Who is first on the chain decides which of the two counts: no window is left, none is promised.
"""

import pytest

from tests.contracts.duel import FAIR, UNIT, Duel, Pact, Seat
from tests.contracts.encoding import WAD, State
from tests.contracts.laboratory import Mutation, adjudicator
from tests.contracts.margin_play import MarginPlay
from tests.contracts.margins import SHIPPED
from tests.contracts.shelf import LINES, SECOND
from tests.contracts.verdicts import LawBroken

TOP_UP = 299_999_999
OWING, BETTER = 4, 3
"""Books whose legs have all settled at 1,900: in the first party 0 owes, in the second it is owed."""
OWED, GAIN = 52_380_953, 100 * UNIT
"""OWING's legs: -200/3 + 0 + 100/7, rounded down for party 0; BETTER's: 500 - 400."""
NOT_NOW = "adjudicator: no executable call"
NO_TOP_UP = Mutation("modules/ledger.vy", "balance + extra + unpaid", "balance + unpaid")


def _opened(bytecode: bytes | None = None) -> tuple[Duel, MarginPlay, Seat]:
    duel = Duel(bytecode, engines=(SHIPPED, SHIPPED, SHIPPED))
    play, seat = MarginPlay(duel), duel.seats[FAIR]
    for party in range(2):
        play.deposit("begin", seat, party, 500 * UNIT, seat.terms.owners[party])
    for party in range(2):
        play.pact(seat, play.moved(seat, "acknowledge", party, 0, 0), "both")
    return duel, play, seat


def _missed() -> tuple[Duel, MarginPlay, Seat]:
    """Both have withdrawn what the state knew, party 0 owes on settled legs, and is called."""
    duel, play, seat = _opened()
    play.deposit("top-up", seat, 1, TOP_UP, seat.terms.owners[1])
    duel.advance(SECOND)
    for line in LINES:
        play.settlement(FAIR, line, 1_900 * WAD)
    for party in range(2):
        play.pact(seat, play.moved(seat, "withdraw", party, 4, 0), "both")
    play.pact(seat, play.moved(seat, "trade", 0, 0, OWING), "both")
    play.quote(seat, 1_500)
    state = seat.pacts[-1].state
    assert play.call("call", seat, state, 0, "signer") == "ok"
    reports = play.reports(seat, state)
    assert reports is not None and reports[0].equity == -OWED
    return duel, play, seat


def _better(play: MarginPlay, seat: Seat) -> State:
    return play.moved(seat, "trade", 0, 0, BETTER)


def _executed(play: MarginPlay, seat: Seat) -> str:
    play.quote(seat, 1_500)
    return play.liquidate(seat, 0, "signer")


def _paid(duel: Duel, seat: Seat) -> list[int]:
    return [duel.sight.wallets[owner] for owner in seat.terms.owners]


@pytest.mark.parametrize("late", [False, True])
def test_a_close_out_pays_the_same_whatever_was_agreed_after_the_deadline(late: bool) -> None:
    """The caller takes back what it gave too late, and not a unit more: invariant 3 holds on the registered state."""
    duel, play, seat = _missed()
    duel.advance(seat.account.calls[0].deadline)
    if late:
        play.pact(seat, _better(play, seat), "both")
    assert _executed(play, seat) == "ok"
    assert _paid(duel, seat) == [500 * UNIT, 500 * UNIT + TOP_UP], "who owes more than it has pays what it has"


@pytest.mark.parametrize("since", [-1, 0, 1, 3_000])
def test_an_agreement_that_is_shown_first_holds(since: int) -> None:
    """A second before the deadline that is promised; from the deadline on, the first transaction decides."""
    duel, play, seat = _missed()
    duel.advance(seat.account.calls[0].deadline + since)
    play.pact(seat, _better(play, seat), "both")
    duel.advance(duel.chain.now + 1)
    assert seat.account.version == seat.agreed, "the honest party has shown it"
    assert _executed(play, seat) == NOT_NOW
    play.to_settling(seat, 0)
    duel.settle_as(seat, seat.terms.owners[0])
    assert _paid(duel, seat) == [500 * UNIT + GAIN, 500 * UNIT + TOP_UP - GAIN]


def test_invariant_3_breaks_where_the_agreement_had_time() -> None:
    """The same close-out of a state agreed a second earlier: the law excuses the close-out's own second, no more."""
    duel, play, seat = _missed()
    duel.advance(seat.account.calls[0].deadline)
    state = _better(play, seat)
    seat.pacts.append(Pact(state, frozenset((0, 1))))
    seat.agree(state.version, duel.chain.now - 1)
    with pytest.raises(LawBroken, match="party 0 ends with 500000000, its worst state gives 600000000") as caught:
        _executed(play, seat)
    assert caught.value.law == "invariant 3"


@pytest.mark.parametrize("mutations", [(), (NO_TOP_UP,)])
def test_a_late_agreement_excuses_nothing_below_the_registered_state(mutations: tuple[Mutation, ...]) -> None:
    """A breach that leaves party 0 something, and a bug that forgets a top-up of ten: invariant 3 finds it still."""
    duel, play, seat = _opened(adjudicator(*mutations) if mutations else None)
    play.pact(seat, play.moved(seat, "trade", 0, 0, 2), "both")
    play.quote(seat, 1_950)
    assert play.call("call", seat, seat.pacts[-1].state, 0, "signer") == "ok"
    duel.advance(seat.account.calls[0].deadline)
    play.quote(seat, 1_950)
    play.deposit("top-up", seat, 0, 10 * UNIT, seat.terms.owners[0])
    play.pact(seat, play.moved(seat, "trade", 0, 0, 1), "both")
    if not mutations:
        assert play.liquidate(seat, 0, "signer") == "ok"
        assert duel.sight.wallets[seat.terms.owners[0]] > 10 * UNIT
        return
    with pytest.raises(LawBroken) as caught:
        play.liquidate(seat, 0, "signer")
    assert caught.value.law == "invariant 3"
