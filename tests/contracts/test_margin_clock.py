"""The clock of a margin call (protocol §3.2): deadline, window, what disarms it, when it lapses."""

import pytest

from tests.contracts.encoding import DISPUTED, OPEN, WAD, State
from tests.contracts.evm import Reverted
from tests.contracts.margin_world import BREACH, STAKES, Desk, MarginWorld, called, eth_spot, short_calls, short_forward
from tests.contracts.refusals import refused
from tests.contracts.world import CHALLENGE, CURE, DAY, EXPIRY, GRACE, HOUR, MINUTE, UNIT, Channel, call

NOTHING_TO_EXECUTE = "adjudicator: no executable call"


@pytest.fixture
def world() -> MarginWorld:
    return MarginWorld()


@pytest.fixture
def channel(world: MarginWorld) -> Channel:
    return world.margined(STAKES)


def executable(channel: Channel, state: State, at: int, party: int = 0, price: int = BREACH) -> bool:
    """Whether a liquidation would go through at that second. Only the clock may refuse it."""
    with channel.world.chain.fork():
        channel.world.chain.at(at)
        eth_spot(channel.world, price)
        try:
            channel.liquidate(state, party, Desk.of(channel, state).witness(party))
        except Reverted as error:
            assert error.reason == NOTHING_TO_EXECUTE
            return False
        return True


# ── the window ──


@pytest.mark.parametrize(("late", "runs"), [(-1, False), (0, True), (1, True)])
def test_a_call_is_executable_from_its_deadlines_own_second(channel: Channel, late: int, runs: bool) -> None:
    state = short_calls(channel)
    channel.checkpoint(state)
    deadline = called(channel, state)["deadline"]
    assert deadline == channel.world.chain.now + CURE
    assert executable(channel, state, deadline + late) == runs


@pytest.mark.parametrize(
    ("cure", "window"),
    [
        (5 * MINUTE, HOUR),
        (30 * MINUTE, HOUR),
        (HOUR, HOUR),
        (HOUR + 1, HOUR + 1),
        (2 * HOUR, 2 * HOUR),
        (DAY, DAY),
        (DAY + 1, DAY),
        (36 * HOUR, DAY),
    ],
)
def test_the_window_is_a_cure_period_of_at_least_an_hour_and_at_most_a_day(
    world: MarginWorld, cure: int, window: int
) -> None:
    channel = world.margined(STAKES, cure_period=cure, challenge_period=14 * DAY)
    state = short_calls(channel)
    channel.checkpoint(state)
    deadline = called(channel, state)["deadline"]
    assert deadline == world.chain.now + cure
    price = 2_250  # the last weeks of an option are cheap: the breach must outlive them
    assert [executable(channel, state, deadline + window + late, price=price) for late in (-1, 0)] == [True, False]


@pytest.mark.parametrize("inside", [1, 0])
def test_only_a_leg_that_expires_before_the_windows_end_extends_it(world: MarginWorld, inside: int) -> None:
    """At the expiry's side of the end of the window by one second: two graces after the expiry, or no extension."""
    channel = world.margined(STAKES)
    end = world.chain.now + CURE + HOUR
    state = channel.state(1, call(2_200, -10), call(2_000, -1, expiry=end - inside))
    channel.checkpoint(state)
    deadline = called(channel, state)["deadline"]
    assert deadline + HOUR == end
    world.settle_price(end - inside, BREACH * WAD)
    assert executable(channel, state, end - 1)
    last = end - inside + 2 * GRACE if inside else end
    assert [executable(channel, state, last + late) for late in (-1, 0)] == [True, False]


def test_a_leg_that_expired_long_ago_shortens_nothing(world: MarginWorld) -> None:
    channel = world.margined(STAKES, grace=HOUR)
    early = world.chain.now + HOUR
    state = channel.state(1, call(2_200, -10), call(2_000, -1, expiry=early))
    channel.checkpoint(state)
    world.settle_price(early, 2_000 * WAD)
    world.chain.at(early + DAY)
    deadline = called(channel, state)["deadline"]
    assert [executable(channel, state, deadline + HOUR + late) for late in (-1, 0)] == [True, False]


def test_call_survives_a_late_settlement(world: MarginWorld) -> None:
    """A leg expires in the window and its settlement comes late: the liquidation waits for it, and so does the call."""
    channel = world.margined(STAKES)
    expiry = world.chain.now + CURE + 30 * MINUTE
    state = channel.state(1, call(2_200, -10), call(2_000, -1, expiry=expiry))
    channel.challenge(state)
    deadline = called(channel, state)["deadline"]
    world.chain.at(expiry + GRACE)
    assert world.chain.now > deadline + HOUR
    eth_spot(world, BREACH)
    witness = Desk.of(channel, state).witness(0)
    with refused("adjudicator: no settlement price"):
        channel.liquidate(state, 0, witness)
    world.chain.at(expiry + 2 * GRACE - 1)
    eth_spot(world, BREACH)
    channel.pin(state, expiry)
    world.settle_price(expiry, 9_000 * WAD)  # later than the pin: ignored
    desk = Desk.of(channel, state, settlements={("ETH/USD", expiry): BREACH * WAD})
    assert channel.liquidate(state, 0, desk.witness(0)).one("Liquidated")["value0"] == desk.reports[0].value


def test_call_lapses_and_a_late_dip_needs_new_notice(channel: Channel) -> None:
    """A call that nobody executed is no licence for later: after its window a breach needs a call of its own."""
    world = channel.world
    state = short_calls(channel)
    channel.challenge(state)
    deadline = called(channel, state)["deadline"]
    eth_spot(world, 2_000)
    world.chain.at(deadline + HOUR)
    eth_spot(world, BREACH)
    witness = Desk.of(channel, state).witness(0)
    with refused(NOTHING_TO_EXECUTE):
        channel.liquidate(state, 0, witness)
    again = called(channel, state)["deadline"]
    assert again == world.chain.now + CURE
    with refused(NOTHING_TO_EXECUTE):
        channel.liquidate(state, 0, witness)
    assert not executable(channel, state, again - 1)
    assert executable(channel, state, again)


# ── calls made again ──


@pytest.mark.parametrize(
    ("after", "rest"),
    [
        (0, CURE),  # at once: the old deadline
        (CURE // 2 - 1, CURE - (CURE // 2 - 1)),
        (CURE // 2, CURE // 2),
        (CURE // 2 + 1, CURE // 2),  # from here on half a cure period's notice
        (CURE, CURE // 2),
        (2 * CURE, CURE // 2),  # a cure period after the old deadline
        (2 * CURE + 1, CURE),  # later: afresh
        (DAY, CURE),
    ],
)
def test_a_call_made_again_keeps_its_deadline_and_half_a_period_of_notice(
    channel: Channel, after: int, rest: int
) -> None:
    channel.checkpoint(short_calls(channel))
    called(channel, short_calls(channel))
    newer = short_calls(channel, 2)
    channel.checkpoint(newer)
    channel.world.chain.sleep(after)
    deadline = called(channel, newer)["deadline"]
    assert deadline == channel.world.chain.now + rest
    assert [executable(channel, newer, deadline + late) for late in (-1, 0)] == [False, True]


def test_half_of_an_odd_cure_period_is_rounded_up(world: MarginWorld) -> None:
    channel = world.margined(STAKES, cure_period=601)
    channel.checkpoint(short_calls(channel))
    first = called(channel, short_calls(channel))["deadline"]
    newer = short_calls(channel, 2)
    channel.checkpoint(newer)
    world.chain.at(first)
    assert called(channel, newer)["deadline"] == first + 301


def test_a_call_that_lapsed_within_a_cure_period_is_a_call_made_again(world: MarginWorld) -> None:
    """With a cure period of two days the window ends after one; the same state called again gets half a period."""
    channel = world.margined(STAKES, cure_period=2 * DAY, challenge_period=7 * DAY)
    state = short_calls(channel)
    channel.checkpoint(state)
    deadline = called(channel, state)["deadline"]
    world.chain.at(deadline + DAY)
    assert called(channel, state, price=2_250)["deadline"] == deadline + 2 * DAY


# ── what disarms ──


def both_called(channel: Channel) -> State:
    """Both parties are poor and called on version 1."""
    state = short_forward(channel)
    channel.checkpoint(state)
    for party in (0, 1):
        called(channel, state, party, 2_000)
    assert min(channel.status().cure_deadlines) == channel.world.chain.now + CURE
    return state


@pytest.fixture
def poor(world: MarginWorld) -> Channel:
    return world.margined((1_000 * UNIT, 1_000 * UNIT))


@pytest.mark.parametrize("by", ["checkpoint", "challenge", "answer", "margin_call"])
def test_a_newer_state_disarms_both_calls(poor: Channel, by: str) -> None:
    state = both_called(poor)
    newer = short_forward(poor, 2)
    if by == "checkpoint":
        poor.checkpoint(newer)
    elif by == "margin_call":
        poor.margin_call(newer, 0, Desk.of(poor, newer).witness(0))
    else:
        if by == "answer":
            poor.rechallenge(state)
        poor.challenge(newer)
    expected = poor.world.chain.now + CURE if by == "margin_call" else 0
    assert poor.status().cure_deadlines == (expected, 0)
    assert poor.status().phase == (DISPUTED if by in ("challenge", "answer") else OPEN)
    poor.world.chain.sleep(CURE)
    eth_spot(poor.world, 2_000)
    with refused(NOTHING_TO_EXECUTE):
        poor.liquidate(newer, 1, Desk.of(poor, newer).witness(1))
    with refused("adjudicator: no call pending"):
        poor.cure(newer, 1)


def test_a_dispute_about_the_registered_state_and_its_end_disarm_nothing(poor: Channel) -> None:
    state = both_called(poor)
    deadlines = poor.status().cure_deadlines
    poor.rechallenge(state)
    assert poor.status().cure_deadlines == deadlines
    poor.reach_settling()
    assert poor.status().cure_deadlines == deadlines


def test_a_reopen_ends_both_calls_and_forgets_them(poor: Channel) -> None:
    state = both_called(poor)
    poor.rechallenge(state)
    reopened = poor.reopening(state)
    poor.checkpoint(reopened)
    assert poor.status().cure_deadlines == (0, 0)
    poor.world.chain.sleep(1)
    assert called(poor, reopened, 0, 2_000)["deadline"] == poor.world.chain.now + CURE


def test_a_cure_forgets_the_call(channel: Channel) -> None:
    state = short_calls(channel)
    channel.checkpoint(state)
    called(channel, state)
    eth_spot(channel.world, 1_900)
    channel.cure(state, 0)
    channel.world.chain.sleep(1)
    assert called(channel, state)["deadline"] == channel.world.chain.now + CURE


def test_reveal_one_by_one_bounds_deferral(channel: Channel) -> None:
    """The called side shows a state it has in hand at each deadline: each buys half a cure period, never a whole one.

    In a dispute the last of them comes before the dispute's deadline.
    """
    world = channel.world
    channel.challenge(short_calls(channel))
    dispute = channel.status().deadline
    start = world.chain.now
    deadline = called(channel, short_calls(channel))["deadline"]
    versions = 1
    while deadline < dispute:
        world.chain.at(deadline)
        versions += 1
        channel.challenge(short_calls(channel, versions), sender=channel.terms.signers[0])
        later = called(channel, short_calls(channel, versions))["deadline"]
        assert later == deadline + CURE // 2
        deadline = later
    world.chain.at(deadline)
    with refused("adjudicator: deadline passed"):
        channel.challenge(short_calls(channel, versions + 1))
    assert versions == 1 + 2 * (CHALLENGE - CURE) // CURE
    assert deadline <= start + CHALLENGE + CURE // 2
    state = short_calls(channel, versions)
    eth_spot(world, BREACH)
    channel.liquidate(state, 0, Desk.of(channel, state).witness(0))


def test_the_called_side_cannot_reset_its_clock_by_a_call_of_its_own(poor: Channel) -> None:
    """A margin call with a newer state disarms the caller's own call too; made again, it has not begun anew."""
    both_called(poor)
    poor.world.chain.sleep(CURE - 1)
    newer = short_forward(poor, 2)
    eth_spot(poor.world, 2_000)
    poor.margin_call(newer, 1, Desk.of(poor, newer).witness(1))
    assert called(poor, newer, 0, 2_000)["deadline"] == poor.world.chain.now + CURE // 2
    assert poor.world.chain.now < EXPIRY
