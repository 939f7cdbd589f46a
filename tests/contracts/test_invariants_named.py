"""Protocol §3.4, invariant by invariant: a short story that keeps it, and the same story with a bug that breaks it."""

from collections.abc import Callable

import pytest

from tests.contracts.duel import FAIR, ROGUE, SYBIL, UNIT, Duel
from tests.contracts.encoding import State
from tests.contracts.laboratory import Mutation, adjudicator
from tests.contracts.margin_play import MarginPlay
from tests.contracts.mutants import MARGIN_MUTANTS, MUTANTS
from tests.contracts.shelf import SANE
from tests.contracts.verdicts import LawBroken

NO_TOP_UP = (Mutation("modules/ledger.vy", "balance + extra + unpaid", "balance + unpaid"),)


def _opened(bytecode: bytes | None = None, honest: int = 0) -> tuple[Duel, MarginPlay]:
    duel = Duel(bytecode, honest=honest)
    duel.wording = False
    play = MarginPlay(duel)
    for seat in duel.seats:
        for party in range(2):
            play.deposit("begin", seat, party, 500 * UNIT, seat.terms.owners[party])
        play.pact(seat, play.moved(seat, "acknowledge", 0, 0, 0), "both")
    return duel, play


def _kept_and_broken(
    invariant: int, mutations: tuple[Mutation, ...], story: Callable[[Duel, MarginPlay], None], honest: int = 0
) -> None:
    story(*_opened(honest=honest))
    with pytest.raises(LawBroken) as caught:
        story(*_opened(adjudicator(*mutations), honest))
    assert caught.value.law == f"invariant {invariant}", caught.value


def _drained(withdrawals: tuple[int, int], balance: int, book: bytes) -> Callable[[Duel, MarginPlay], None]:
    def story(duel: Duel, play: MarginPlay) -> None:
        seat = duel.seats[SYBIL]
        play.pact(seat, play.greedy(seat, withdrawals, balance, 0, book), "both")
        play.submit("checkpoint", seat, 0, 0)

    return story


def test_invariant_1() -> None:
    """Two withdrawals of more than the pot, signed by two keys in one hand, take nothing from the other channels."""
    _kept_and_broken(1, MUTANTS["pot read once for both withdrawals"], _drained((2, 2), 0, SANE[0]))


def test_invariant_2() -> None:
    """A state that the honest party never signed is not registered, so nobody is paid by it."""

    def story(duel: Duel, play: MarginPlay) -> None:
        seat = duel.seats[FAIR]
        play.pact(seat, play.moved(seat, "pay", 1, 4, 0), "adversary")
        play.submit("checkpoint", seat, 0, 0)

    _kept_and_broken(2, MUTANTS["one signature is enough"], story, honest=1)


def test_invariant_3() -> None:
    """A stale challenge, one answer, and a top-up that no state knows: the honest party gets all that is its own."""

    def story(duel: Duel, play: MarginPlay) -> None:
        seat = duel.seats[FAIR]
        play.pact(seat, play.moved(seat, "pay", 1, 2, 0), "both")
        play.deposit("top-up", seat, 0, 100 * UNIT, seat.terms.owners[0])
        play.submit("challenge", seat, 1, 1)
        duel.advance(seat.account.deadline)
        duel.settle_as(seat, seat.terms.owners[0])
        assert seat.account.closed

    duel, play = _opened()
    story(duel, play)
    assert duel.sight.wallets[duel.seats[FAIR].terms.owners[0]] == 850 * UNIT
    with pytest.raises(LawBroken) as caught:
        story(*_opened(adjudicator(*NO_TOP_UP)))
    assert caught.value.law in ("invariant 3", "invariant 8"), caught.value


def test_invariant_4() -> None:
    """From a state whose claims exceed the pot, each party alone still closes the channel."""
    _kept_and_broken(4, MUTANTS["no clamp: a claim outside the pot reverts"], _drained((0, 0), 3, SANE[1]))


def test_invariant_5() -> None:
    """A newer state that comes at the deadline comes too late."""

    def story(duel: Duel, play: MarginPlay) -> None:
        seat = duel.seats[SYBIL]
        play.pact(seat, play.moved(seat, "pay", 0, 1, 0), "both")
        play.submit("challenge", seat, 1, 0)
        duel.advance(seat.account.deadline)
        play.submit("challenge", seat, 0, 0)

    _kept_and_broken(5, MUTANTS["challenge accepted after the deadline"], story)


def _called_on_a_newer_state(duel: Duel, play: MarginPlay) -> None:
    """Party 0, short of four calls, is called; a newer state disarms; called again at once, on that; closed out."""
    seat = duel.seats[FAIR]
    play.pact(seat, play.moved(seat, "trade", 0, 0, 2), "both")
    play.quote(seat, 2_100)
    play.call("call", seat, seat.pacts[-1].state, 0, "owner")
    play.pact(seat, play.moved(seat, "pay", 0, 1, 0), "both")
    duel.advance(seat.account.calls[0].deadline - 1)
    play.submit("checkpoint", seat, 0, None)
    play.quote(seat, 2_100)
    play.call("call", seat, seat.pacts[-1].state, 0, "owner")
    assert seat.account.calls[0].deadline == duel.chain.now + 301, "half a cure period, rounded up"
    duel.advance(seat.account.calls[0].deadline)
    play.quote(seat, 2_200)
    play.liquidate(seat, 0, "owner")
    assert seat.account.closed


@pytest.mark.parametrize(
    "bug",
    [
        "a recall gives a second less than half a cure period",
        "a party calls and liquidates itself",
        "a liquidation needs no second proof",
    ],
)
def test_invariant_6(bug: str) -> None:
    """Notice, on the version that is liquidated; the side it protects; a second proof at a fresh price."""

    def story(duel: Duel, play: MarginPlay) -> None:
        if bug == "a party calls and liquidates itself":
            seat = duel.seats[FAIR]
            play.pact(seat, play.moved(seat, "trade", 0, 0, 2), "both")
            play.quote(seat, 2_100)
            play.call("call", seat, seat.pacts[-1].state, 0, "self")
            return
        if bug == "a liquidation needs no second proof":
            seat = duel.seats[FAIR]
            play.pact(seat, play.moved(seat, "trade", 0, 0, 1), "both")
            play.quote(seat, 2_700)
            play.call("call", seat, seat.pacts[-1].state, 1, "signer")
            duel.advance(seat.account.calls[1].deadline)
            play.quote(seat, 1_900)
            play.liquidate(seat, 1, "signer")
            assert not seat.account.closed, "a dip that is over"
            return
        _called_on_a_newer_state(duel, play)

    _kept_and_broken(6, MARGIN_MUTANTS[bug], story)


def test_invariant_7() -> None:
    """A stranger with an agreed state cannot start a dispute."""
    _kept_and_broken(
        7,
        MUTANTS["a stranger starts a dispute"],
        lambda duel, play: play.submit("challenge", duel.seats[ROGUE], 0, None),
    )


def test_invariant_8() -> None:
    """What a registered state gives each side is what the library computes, also where a claim exceeds the pot."""
    mutant = MUTANTS["no clamp: a claim above the pot is paid with other channels' money"]
    _kept_and_broken(8, mutant, _drained((0, 0), 3, SANE[0]))


def test_a_signature_that_recovers_to_nobody_is_refused_as_such() -> None:
    """The precompile answers with no bytes at all: the contract must read that as nobody, not as what lay in memory."""
    duel, play = _opened()
    seat = duel.seats[FAIR]
    state: State = play.moved(seat, "pay", 0, 1, 0)
    off_the_curve = (5).to_bytes(32, "big") + (1).to_bytes(32, "big") + b"\x1b"
    for function in ("checkpoint", "challenge", "close"):
        duel.wording = True
        sigs = off_the_curve, duel.sign(seat, state)[1]
        outcome = duel.act("nobody", function, seat, state, *sigs, sender=seat.terms.signers[0])
        assert outcome == "signatures: not recoverable"
    assert duel.chain.view(duel.contract, "status", seat.account.id)[1] == 0
