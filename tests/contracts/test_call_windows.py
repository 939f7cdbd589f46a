"""The library's clock of a margin call against the contract's, on every second that matters.

Each seed draws periods and expiries and plays calls, newer states, cures and time on the contract. After every move,
and on both sides of every boundary that `channels.core.margin_calls` names, the contract is asked what it would do, and
put back: make a call again, make one on a newer state, execute the one that is pending.

    pytest tests/contracts/test_call_windows.py -m nightly          five hundred seeds more, two minutes
"""

from __future__ import annotations

from random import Random

import pytest

from channels.core.margin_calls import NO_CALL, CallTimes, MarginCall, call_times
from channels.model import Address, Deployment, Terms
from channels.model.book import decode_book
from tests.contracts.encoding import State
from tests.contracts.evm import START, Reverted
from tests.contracts.margin_world import MarginWorld, eth_spot
from tests.contracts.world import DAY, HOUR, UNIT, Channel, call

BREACH, CALM = 6_000, 500
"""Spots at which party 0 is below maintenance whatever the clock says, and at which it holds its initial margin."""
MOVES = 5


class Duel:
    """One channel on the contract, and what the library thinks of party 0's call in it."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.world = MarginWorld()
        challenge = (HOUR, DAY, 5 * DAY)[seed % 3]
        cure = (challenge, 601, self.random.randint(300, challenge), 300)[seed // 3 % 4]
        terms = {"challenge_period": challenge, "cure_period": cure, "grace": self.grace()}
        self.channel = self.world.margined((2_800 * UNIT, 2_800 * UNIT), **terms)
        # Where the window of a call made at once ends, and anywhere.
        end = START + cure + min(max(cure, HOUR), DAY)
        expiries = {end + seed % 2, *(START + self.random.randint(HOUR, 3 * DAY) for _ in range(seed % 3))}
        self.legs = tuple(call(2_200, -10, expiry) for expiry in sorted(expiries))
        self.state = self.made(1)
        self.channel.checkpoint(self.state)
        self.call = NO_CALL
        self.questions = 0

    def grace(self) -> int:
        return self.random.choice((HOUR, self.random.randint(HOUR, 8 * HOUR)))

    def made(self, version: int) -> State:
        return self.channel.state(version, *self.legs)

    @property
    def now(self) -> int:
        return self.world.chain.now

    def times(self) -> CallTimes:
        book = decode_book(self.channel.book_of(self.state))
        return call_times(self.call, model_terms(self.channel), book, self.now)

    # The contract's answers

    def calls_again(self) -> int | None:
        """The deadline that the contract gives a call on the registered state; None where one stands."""
        try:
            return self.channel.recall(self.state, 0, [0]).one("Called")["deadline"]
        except Reverted as refusal:
            assert refusal.reason == "adjudicator: call pending"
            return None

    def calls_on_newer(self) -> int:
        return self.channel.margin_call(self.made(self.state.version + 1), 0, [0]).one("Called")["deadline"]

    def executes(self) -> bool:
        try:
            self.channel.liquidate(self.state, 0, [0])
        except Reverted as refusal:
            # Asked for after the window: an expired leg waits for its settlement.
            assert refusal.reason in ("adjudicator: no executable call", "adjudicator: no settlement price")
            return refusal.reason == "adjudicator: no settlement price"
        return True

    def compare(self, moment: int) -> None:
        """Let the clock show `moment`, and hold every answer of the contract to the library's."""
        chain = self.world.chain
        with chain.fork():
            chain.at(moment)
            eth_spot(self.world, BREACH)
            times = self.times()
            pending = self.channel.status().cure_deadlines[0]
            assert pending == (times.deadline if self.call.is_armed else 0)
            with chain.fork():
                assert self.executes() is times.is_executable
            with chain.fork():
                assert self.calls_again() == (None if times.stands else times.new_deadline)
            with chain.fork():
                assert self.calls_on_newer() == times.new_deadline
        self.questions += 1

    # Moves

    def move(self) -> None:
        """Do something, and note it as the core's fold does."""
        version = self.state.version + 1
        match self.random.choice(("call", "call", "newer", "call newer", "cure")):
            case "call":
                eth_spot(self.world, BREACH)
                deadline = self.calls_again()
                if deadline is not None:
                    self.call = MarginCall(deadline, self.state.version)
            case "newer":
                self.state = self.made(version)
                self.channel.checkpoint(self.state)
                self.call = self.call.disarmed
            case "call newer":
                eth_spot(self.world, BREACH)
                deadline = self.calls_on_newer()
                self.state, self.call = self.made(version), MarginCall(deadline, version)
            case "cure" if self.call.is_armed:
                eth_spot(self.world, CALM)
                self.channel.cure(self.state, 0)
                self.call = NO_CALL

    def play(self) -> None:
        for _ in range(MOVES):
            self.move()
            times = self.times()
            last = self.call.deadline + int(self.channel.terms.cure_period)
            edges = (times.deadline, times.until, last, *(leg.expiry for leg in self.legs))
            near = {edge + step for edge in edges for step in (-1, 0, 1)}
            later = sorted(moment for moment in near if moment >= self.now)
            for moment in (self.now, *self.random.sample(later, min(6, len(later)))):
                self.compare(moment)
            self.world.chain.at(self.random.choice([self.now, *later]) + self.random.choice((0, 0, 1, 250, HOUR)))


def model_terms(channel: Channel) -> Terms:
    """The channel's terms as the library has them."""
    said = channel.terms
    return Terms(
        (Address(said.signers[0]), Address(said.signers[1])),
        (Address(said.owners[0]), Address(said.owners[1])),
        Address(said.token),
        said.decimals,
        Address(said.source),
        Address(said.engine),
        said.policy,
        said.challenge_period,
        said.cure_period,
        said.grace,
        said.spot_max_age,
        said.last_resort,
        said.salt,
    )


@pytest.mark.parametrize("seed", range(24))
def test_the_library_and_the_contract_read_one_clock(seed: int) -> None:
    duel = Duel(seed)
    duel.play()
    assert duel.questions >= MOVES


@pytest.mark.nightly
@pytest.mark.parametrize("seed", range(1_000, 1_500))
def test_the_library_and_the_contract_read_one_clock_at_length(seed: int) -> None:
    Duel(seed).play()


def test_the_terms_are_the_contracts() -> None:
    """The translation loses nothing: the library's channel id is the contract's."""
    channel = Duel(0).channel
    deployment = Deployment(channel.world.chain.id, Address(channel.world.adjudicator.address))
    assert model_terms(channel).channel_id(deployment) == channel.id
