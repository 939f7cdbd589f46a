"""Tokens that are not what the standard says: refused at the door, or unable to hurt anyone but their own channels."""

from dataclasses import astuple

import pytest

from tests.contracts.conftest import MakeWorld
from tests.contracts.evm import STRANGER
from tests.contracts.refusals import refused
from tests.contracts.world import UNIT, Channel

PAYING_MODES = (0, 4, 5)
"""Answers of `OddToken` that begin with true."""
LYING_MODES = (1, 2, 3, 6)
"""Answers that mean no, though the token moved the money before it gave them."""


def test_a_token_that_returns_nothing_works(make_world: MakeWorld) -> None:
    channel = make_world(token="NoReturnToken").channel((100 * UNIT, 100 * UNIT))
    channel.checkpoint(channel.state(1, withdrawal0=UNIT))
    channel.close(channel.closing(2, withdrawal0=UNIT))
    assert channel.wallets() == (100 * UNIT, 100 * UNIT)


def test_a_token_that_takes_a_fee_is_refused_at_the_deposit(make_world: MakeWorld) -> None:
    channel = make_world(token="FeeToken").channel()
    with refused("token: wrong amount arrived"):
        channel.deposit(0, 100 * UNIT)
    channel.deposit(0, 99)
    assert channel.status().deposits == (99, 0)


@pytest.mark.parametrize("mode", PAYING_MODES)
def test_answers_that_begin_with_true_are_accepted(make_world: MakeWorld, mode: int) -> None:
    world = make_world(token="OddToken")
    world.token.transact("set_mode", mode)
    channel = world.channel((100 * UNIT, 100 * UNIT))
    channel.close(channel.closing(1))
    assert channel.wallets() == (100 * UNIT, 100 * UNIT)


@pytest.mark.parametrize("mode", LYING_MODES)
def test_other_answers_are_refused_at_the_deposit(make_world: MakeWorld, mode: int) -> None:
    world = make_world(token="OddToken")
    world.token.transact("set_mode", mode)
    channel = world.channel()
    with refused("token: transfer refused"):
        channel.deposit(0, UNIT)


def test_a_token_that_moves_nothing_and_says_true_is_refused(make_world: MakeWorld) -> None:
    world = make_world(token="OddToken")
    world.token.transact("set_mode", 7)
    with refused("token: wrong amount arrived"):
        world.channel((UNIT, 0))


@pytest.mark.parametrize("mode", LYING_MODES)
def test_a_push_that_is_denied_has_moved_nothing(make_world: MakeWorld, mode: int) -> None:
    """The money moved and then the token said no: without a frame to undo it, claiming would pay it a second time."""
    world = make_world(token="OddToken")
    other = world.channel((500 * UNIT, 500 * UNIT))
    channel = world.channel((100 * UNIT, 100 * UNIT))
    world.token.transact("set_mode", mode)
    channel.close(channel.closing(1))
    assert channel.wallets() == (0, 0)
    assert world.balance(world.adjudicator.address) == 1_200 * UNIT
    with refused("token: transfer refused"):
        channel.claim(channel.terms.owners[0])
    world.token.transact("set_mode", 0)
    for owner in channel.terms.owners:
        channel.claim(owner)
    assert channel.wallets() == (100 * UNIT, 100 * UNIT)
    assert other.pot == world.balance(world.adjudicator.address) == 1_000 * UNIT


@pytest.fixture
def reentrant(make_world: MakeWorld) -> Channel:
    """A channel in a token that calls back."""
    return make_world(token="ReentrantToken").channel((100 * UNIT, 100 * UNIT))


def callbacks(channel: Channel) -> dict[str, bytes]:
    """Every entry point as calldata that would succeed on its own, and the views that would show half a payment."""
    encode = channel.world.adjudicator.encode
    terms, twin = astuple(channel.terms), channel.world.channel((50 * UNIT, 0), token=channel.token)
    closing, next_one = twin.closing(1), twin.state(1, withdrawal0=UNIT)
    twin_terms = astuple(twin.terms)
    return {
        "claim": encode("claim", channel.token.address, STRANGER),
        "close": encode("close", twin_terms, astuple(closing), *twin.sign(closing)),
        "checkpoint": encode("checkpoint", twin_terms, astuple(next_one), *twin.sign(next_one)),
        "deposit": encode("deposit", terms, 0, 1),
        "push": encode("push", channel.token.address, STRANGER, UNIT),
        "status": encode("status", channel.id),
        "claimable": encode("claimable", channel.token.address, STRANGER),
    }


@pytest.mark.parametrize("name", ["claim", "close", "checkpoint", "deposit", "push", "status", "claimable"])
@pytest.mark.parametrize("when", ["deposit", "checkpoint", "close"])
def test_nothing_can_be_entered_while_tokens_move(reentrant: Channel, name: str, when: str) -> None:
    token = reentrant.token
    token.transact("arm", reentrant.world.adjudicator.address, callbacks(reentrant)[name])
    if when == "deposit":
        reentrant.deposit(0, UNIT)
    elif when == "checkpoint":
        reentrant.checkpoint(reentrant.state(1, withdrawal0=UNIT))
    else:
        reentrant.close(reentrant.closing(1))
    assert token.call("attempts") >= 1
    assert token.call("entered") == 0


def test_the_same_calls_succeed_when_no_tokens_move(reentrant: Channel) -> None:
    """So that the law above is about re-entrancy, not about calldata that never worked."""
    world = reentrant.world
    for name in ("close", "checkpoint", "status", "claimable"):
        world.chain.execute(STRANGER, world.adjudicator.address, callbacks(reentrant)[name], 3_000_000, False)
