"""A risk engine that breaks, burns, lies or calls back: margin stops or misleads; no exit, no other pot suffers."""

from collections.abc import Callable

import pytest

from tests.contracts.encoding import CLOSED, ETH, WAD, State
from tests.contracts.evm import STRANGER, Reverted
from tests.contracts.margin_world import STAKES
from tests.contracts.refusals import refused
from tests.contracts.world import CHALLENGE, CURE, EXPIRY, GRACE, LAST_RESORT, UNIT, Channel, World, call

LIES, REVERTS, BURNS, SHORT, HUGE, SHOUTS, REENTERS = range(7)
BREAKING = (REVERTS, BURNS, SHORT, SHOUTS)
IDENTITY = "0x" + "00" * 19 + "04"
GREATEST, LEAST = 2**255 - 1, -(2**255)


class Hostile:
    """A channel whose engine obeys the test, beside another channel of the same token."""

    def __init__(self) -> None:
        self.world = World()
        self.engine = self.world.chain.deploy("HostileEngine")
        self.other = self.world.channel(STAKES)
        self.channel = self.world.channel(STAKES, engine=self.engine.address)
        self.state = self.channel.state(1, call(2_000, 1), spots={ETH: 2_025 * WAD})
        self.fresh()

    def fresh(self) -> None:
        """Let the spot be fresh."""
        self.world.spot(2_000 * WAD)

    def say(self, mode: int, *words: int) -> None:
        """Tell the engine how to behave."""
        self.engine.transact("set_mode", mode, [word % 2**256 for word in words])

    def proven(self, value0: int = 0, charge: int = 0) -> None:
        """Let the engine prove every breach, at this value and charge."""
        self.say(LIES, 1, value0, -value0, charge, charge)

    def called(self) -> State:
        """Both parties are called, by lies, and their deadlines have come."""
        self.channel.challenge(self.state)
        self.proven()
        for party in (0, 1):
            self.channel.recall(self.state, party, [0])
        self.world.chain.sleep(CURE)
        self.fresh()
        return self.state

    def others_money_is_there(self) -> bool:
        """Whether the adjudicator holds exactly the other channel's pot beside this one's."""
        world = self.world
        return self.other.pot + self.channel.pot == world.balance(world.adjudicator.address)


@pytest.fixture
def hostile() -> Hostile:
    return Hostile()


# ── exits ──


@pytest.mark.parametrize("mode", range(7))
@pytest.mark.parametrize("leave", ["close", "settle", "last_resort", "challenge_unsigned"])
def test_hostile_engine_holds_no_exit(hostile: Hostile, mode: int, leave: str) -> None:
    """Whatever the engine does, and with calls against both parties, who wants to leave leaves with the same money."""
    channel, world = hostile.channel, hostile.world
    if leave == "challenge_unsigned":
        hostile.say(mode, GREATEST, GREATEST)
        channel.challenge_unsigned()
        channel.reach_settling()
        channel.settle(channel.nothing)
        assert channel.wallets() == STAKES
        return
    hostile.called()
    hostile.say(mode, GREATEST, GREATEST)
    if leave == "close":
        channel.close(channel.closing(2, balance0=UNIT))
        assert channel.wallets() == (UNIT, sum(STAKES) - UNIT)
    elif leave == "settle":
        world.chain.at(EXPIRY + 2 * GRACE)
        channel.pin(hostile.state)  # the book's spot: the source knows nothing either
        channel.settle(hostile.state)
        assert channel.wallets() == (STAKES[0] + 25 * UNIT, STAKES[1] - 25 * UNIT)
    else:
        world.chain.at(LAST_RESORT + CHALLENGE + 2 * GRACE)
        channel.last_resort(hostile.state)
        assert channel.wallets() == STAKES
    assert channel.status().phase == CLOSED
    assert hostile.others_money_is_there()


@pytest.mark.parametrize("mode", BREAKING)
def test_an_engine_that_breaks_switches_margin_off_and_changes_nothing(hostile: Hostile, mode: int) -> None:
    channel = hostile.channel
    state = hostile.called()
    channel.reach_settling()
    hostile.fresh()
    hostile.say(mode, 1, 0, 0, 0, 0)
    before = channel.status()
    acts: tuple[Callable[[], object], ...] = (
        lambda: channel.cure(state, 0),
        lambda: channel.liquidate(state, 0, [0]),
        lambda: channel.liquidate(state, 1, [0]),
        lambda: channel.release(state, 0, 1),
    )
    for act in acts:
        with pytest.raises(Reverted) as caught:
            act()
        assert caught.value.reason in ("", "engine: hostile")
        assert channel.status() == before
    assert hostile.others_money_is_there()


@pytest.mark.parametrize("engine", [STRANGER, IDENTITY])
def test_an_engine_without_code_proves_nothing(hostile: Hostile, engine: str) -> None:
    """An account answers nothing. The precompile that repeats the question names an excess; cash bounds it."""
    channel = hostile.world.channel(STAKES, engine=engine)
    state = channel.state(1, call(2_000, 1))
    channel.challenge(state)
    with refused(""):
        channel.recall(state, 0, [0])
    channel.reach_settling()
    hostile.fresh()
    with refused("adjudicator: beyond the excess" if engine == IDENTITY else ""):
        channel.release(state, 0, STAKES[0] + 1)


def test_an_answer_longer_than_asked_is_read_as_far_as_asked(hostile: Hostile) -> None:
    hostile.called()
    hostile.say(HUGE, 1, 7 * UNIT, -7 * UNIT, 0, 0)
    hostile.channel.liquidate(hostile.state, 0, [0])
    assert hostile.channel.wallets() == (STAKES[0] + 7 * UNIT, STAKES[1] - 7 * UNIT)


# ── lies ──


@pytest.mark.parametrize("value", [0, 5 * UNIT, -5 * UNIT, 2**200, -(2**200), GREATEST, LEAST])
@pytest.mark.parametrize("charge", [0, UNIT, -UNIT, 2**200, GREATEST, LEAST])
@pytest.mark.parametrize("party", [0, 1])
def test_a_lie_moves_the_pot_between_the_two_and_no_more(hostile: Hostile, value: int, charge: int, party: int) -> None:
    """Numbers beyond any book revert or are clamped: whom the two trusted can cost them their pot, no other."""
    channel = hostile.channel
    channel.challenge(hostile.state)
    hostile.proven()
    channel.recall(hostile.state, party, [0])
    hostile.world.chain.sleep(CURE)
    hostile.fresh()
    hostile.proven(value, charge)
    try:
        channel.liquidate(hostile.state, party, [0])
    except Reverted as error:
        assert max(abs(value), abs(charge)) >= 2**255 - 1 and error.reason == ""
        assert channel.status().phase != CLOSED
    else:
        claim = STAKES[0] + value + (charge if party else -charge)
        first = min(max(claim, 0), sum(STAKES))
        assert channel.wallets() == (first, sum(STAKES) - first)
    assert hostile.others_money_is_there()


@pytest.mark.parametrize("flag", [2, GREATEST])
def test_a_verdict_that_is_no_boolean_reverts(hostile: Hostile, flag: int) -> None:
    hostile.called()
    hostile.say(LIES, flag, 0, 0, 0, 0)
    with refused(""):
        hostile.channel.liquidate(hostile.state, 0, [0])


def test_an_excess_that_is_a_lie_releases_no_more_than_cash(hostile: Hostile) -> None:
    channel = hostile.channel
    channel.challenge(hostile.state)
    channel.reach_settling()
    hostile.fresh()
    hostile.say(LIES, GREATEST)
    for party in (0, 1):
        with refused("adjudicator: beyond the excess"):
            channel.release(hostile.state, party, STAKES[party] + 1)
        channel.release(hostile.state, party, STAKES[party])
    assert channel.pot == 0
    hostile.say(LIES, LEAST)
    with refused("adjudicator: beyond the excess"):
        channel.release(hostile.state, 0, 1)
    assert hostile.others_money_is_there()


# ── calling back ──


def callbacks(channel: Channel, state: State) -> dict[str, bytes]:
    """Views that would show half a payment; in a static call nothing else could ever succeed."""
    encode = channel.world.adjudicator.encode
    return {
        "status": encode("status", channel.id),
        "claimable": encode("claimable", channel.token.address, STRANGER),
        "pinned": encode("pinned", channel.id, ETH, EXPIRY),
    }


@pytest.mark.parametrize("view", ["status", "claimable", "pinned"])
@pytest.mark.parametrize("mode", [REENTERS, 7])
@pytest.mark.parametrize("function", ["margin_call", "cure", "liquidate", "release"])
def test_neither_engine_nor_source_gets_in_again(view: str, mode: int, function: str) -> None:
    """The engine asks back while it is asked, or the price source does (one mock is both)."""
    world = World()
    mock = world.chain.deploy("HostileEngine")
    channel = world.channel(STAKES, engine=mock.address, source=mock.address)
    state = channel.state(1, call(2_000, 1))
    data = callbacks(channel, state)[view]
    mock.transact("arm", world.adjudicator.address, data)
    world.chain.execute(STRANGER, world.adjudicator.address, data, 100_000, True)  # it works when nobody is inside
    proof, plenty = [1, 0, 0, 0, 0], [10 * UNIT]
    channel.challenge(state)
    if function in ("cure", "liquidate"):
        mock.transact("set_mode", LIES, proof)
        channel.recall(state, 0, [0])
    channel.reach_settling()
    mock.transact("set_mode", mode, plenty if function in ("cure", "release") else proof)
    acts: dict[str, Callable[[], object]] = {
        "margin_call": lambda: channel.recall(state, 0, [0]),
        "cure": lambda: channel.cure(state, 0),
        "liquidate": lambda: channel.liquidate(state, 0, [0]),
        "release": lambda: channel.release(state, 0, UNIT),
    }
    acts[function]()
