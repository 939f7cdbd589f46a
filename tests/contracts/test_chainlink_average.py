"""`ChainlinkPriceSource.settle_average`: round by round, call by call, whoever submits them."""

import pytest

from tests.contracts.encoding import ETH
from tests.contracts.evm import START, STRANGER, account
from tests.contracts.refusals import refused
from tests.contracts.rounds import DECIMALS, MAX_AGE, SCALE, Desk, Told, hourly, recorded, wad
from tests.contracts.world import DAY, HOUR, MINUTE

T = START - 100 * HOUR
UNIT = 10**DECIMALS
WINDOW = 6 * HOUR
FIRST = 1 << 64


def desk_with(told: Told, window: int = WINDOW) -> Desk:
    """A desk whose feed has these rounds."""
    desk = Desk(window)
    desk.tell(told)
    return desk


def test_an_average_weighs_prices_by_the_seconds_they_were_in_force() -> None:
    desk = desk_with(
        Told({1: [(T, 1_000 * UNIT), (T + 60, 2_000 * UNIT), (T + 100, 4_000 * UNIT), (T + 400, UNIT)]}), 300
    )
    receipt = desk.step(T + 350, FIRST | 3)
    assert receipt.result == (10 * wad(1_000) + 40 * wad(2_000) + 250 * wad(4_000)) // 300
    assert receipt.one("Settled") == {
        "underlying": ETH,
        "expiry": T + 350,
        "price": receipt.result,
        "round_id": FIRST | 3,
    }
    assert desk.settlement(T + 350) == receipt.result
    with refused("source: already settled"):
        desk.step(T + 350, FIRST | 3)


def test_an_average_rounds_down() -> None:
    desk = Desk(60, decimals=18)
    desk.publish(1, (T, 1), (T + 59, 2), (T + 61, 9))
    assert desk.step(T + 60, FIRST | 2).result == 1


@pytest.mark.parametrize(("opening", "covered"), [(-1, True), (0, True), (1, False)])
def test_the_window_must_be_covered_from_its_first_second(opening: int, covered: bool) -> None:
    desk = desk_with(Told({1: [(T + opening, 2_000 * UNIT), (T + 90, UNIT)]}), 60)
    if covered:
        assert desk.step(T + 60, FIRST | 1).result == wad(2_000)
        return
    with refused("history: not a round before it"):
        desk.step(T + 60, FIRST | 1)


def test_a_feed_without_phases_ends_at_its_first_round() -> None:
    desk = desk_with(Told({0: [(T + 1, 2_000 * UNIT), (T + 90, UNIT)]}), 60)
    with refused("source: no earlier phase"):
        desk.step(T + 60, 1)


@pytest.mark.parametrize(("age", "good"), [(MAX_AGE, True), (MAX_AGE + 1, False)])
def test_a_silence_is_not_an_average(age: int, good: bool) -> None:
    """A price in force for longer than the feed's maximum age, wherever in the window."""
    for quiet in (0, 1, 2):
        times = [T, T + HOUR, T + 2 * HOUR]
        times = [time + (age - HOUR if n > quiet else 0) for n, time in enumerate(times)]
        expiry = T + 3 * HOUR + (age - HOUR)
        desk = desk_with(Told({1: [*((time, 2_000 * UNIT) for time in times), (expiry, UNIT)]}), expiry - T)
        if good:
            assert desk.step(expiry, FIRST | 3).result == wad(2_000)
        else:
            with refused("source: stale in the window"):
                desk.step(expiry, FIRST | 3)


def test_nobody_averages_before_a_round_since_the_expiry() -> None:
    desk = desk_with(Told({1: hourly(*range(2_000, 2_010))}))
    expiry = T + 9 * HOUR + 1
    with refused("source: no round since the expiry"):
        desk.step(expiry, FIRST | 10)
    with refused("source: not expired"):
        desk.step(START + 1, FIRST | 10)
    desk.publish(1, (expiry, UNIT))
    desk.step(expiry, FIRST | 10)
    assert desk.settlement(expiry)


@pytest.mark.parametrize("steps", [1, 2, 3, 64])
def test_any_split_into_calls_gives_the_same_average(steps: int) -> None:
    told = Told({1: hourly(*range(2_000, 2_010)), 2: hourly(*range(2_500, 2_510), start=T + 7 * HOUR + 900)})
    expiry = T + 10 * HOUR + 17
    assert desk_with(told).averaged(told, expiry, steps) == told.average(expiry, WINDOW)


def test_more_steps_than_allowed_are_as_many_as_allowed_and_none_are_none() -> None:
    minutes = Told({1: [(T + n * MINUTE, (2_000 + n) * UNIT) for n in range(100)]})
    desk = desk_with(minutes, 80 * MINUTE)
    expiry = T + 90 * MINUTE
    assert desk.step(expiry, FIRST | 90, 0).one("Averaged")["until"] == expiry
    assert desk.step(expiry, FIRST | 90, 2**256 - 1).one("Averaged")["until"] == expiry - 64 * MINUTE
    assert desk.step(expiry, FIRST | 90).result == minutes.average(expiry, 80 * MINUTE)


def test_strangers_go_on_where_others_stopped_and_wrong_starts_disturb_nobody() -> None:
    """Mallory races, repeats, starts from other rounds: each refused, or a step that Alice need not pay for."""
    told = Told({1: hourly(*range(2_000, 2_020))})
    desk = desk_with(told)
    expiry = T + 12 * HOUR + 5
    proof = FIRST | 13
    mallory, alice = account(66), account(65)
    for wrong, reason in ((12, "history: a later round is before it"), (14, "history: not a round before it")):
        with refused(reason):
            desk.step(expiry, FIRST | wrong, 1, sender=mallory)
    desk.step(expiry, proof, 2, sender=alice)
    desk.step(expiry, proof, 1, crossing=proof, sender=mallory)
    desk.step(expiry, proof, 0, sender=mallory)
    last, until, _ = desk.source.call("average", ETH, expiry, proof)
    assert (last, until) == (FIRST | 11, T + 10 * HOUR)
    desk.step(expiry - HOUR, FIRST | 12, 3, sender=mallory)
    assert desk.step(expiry, proof, sender=alice).result == told.average(expiry, WINDOW)
    assert desk.step(expiry - HOUR, FIRST | 12, sender=STRANGER).result == told.average(expiry - HOUR, WINDOW)


def test_the_crossing_into_an_earlier_phase_is_proven_too() -> None:
    told = Told({1: hourly(*range(2_000, 2_010)), 2: hourly(*range(2_500, 2_510), start=T + 7 * HOUR + 900)})
    desk = desk_with(told)
    expiry = T + 10 * HOUR
    proof = 2 << 64 | 3
    for crossing, reason in (
        (0, "history: not a round before it"),
        (FIRST | 9, "history: not a round before it"),
        (FIRST | 7, "history: a later round is before it"),
        (2 << 64 | 1, "history: not a round before it"),
    ):
        with refused(reason):
            desk.step(expiry, proof, crossing=crossing)
    desk.step(expiry, proof, crossing=FIRST | 8)
    assert desk.settlement(expiry) == told.average(expiry, WINDOW)


def test_a_crossing_cannot_skip_a_phase() -> None:
    """Three phases within one window: from the third only the second can be reached, unless it is empty or too late."""
    phases = {1: hourly(*range(2_000, 2_010)), 2: hourly(2_500, start=T + 6 * HOUR + 9)}
    told = Told(phases | {3: hourly(*range(2_900, 2_909), start=T + 7 * HOUR)})
    desk = desk_with(told)
    expiry = T + 9 * HOUR
    with refused("history: a later phase is before it"):
        desk.step(expiry, 3 << 64 | 2, crossing=FIRST | 7)
    assert desk.averaged(told, expiry) == told.average(expiry, WINDOW)
    for second in ([], hourly(2_500, start=T + 7 * HOUR), hourly(2_500, start=T + 8 * HOUR)):
        other = Told({**told.phases, 2: second})
        assert desk_with(other).averaged(other, expiry) == other.average(expiry, WINDOW)


def test_a_phase_confirmed_on_the_way_starts_the_average_anew() -> None:
    """What is written is true of the block that writes it, also where a proof was right when the average began."""
    told = Told({1: hourly(*range(2_000, 2_020)), 2: hourly(*range(2_500, 2_515), start=T + 5 * HOUR + 1)})
    desk = desk_with(told)
    desk.feed.transact("confirm", 1)
    expiry = T + 12 * HOUR
    desk.step(expiry, FIRST | 12, 3)
    desk.feed.transact("confirm", 2)
    with refused("history: a later phase is before it"):
        desk.step(expiry, FIRST | 12)
    assert desk.averaged(told, expiry) == told.average(expiry, WINDOW)


@pytest.mark.parametrize(("gap", "provable"), [(0, True), (7, True), (8, False)])
def test_rounds_without_a_price_are_passed_over_backward_too(gap: int, provable: bool) -> None:
    for first in ((T, 2_000 * UNIT), (0, 0)):  # a gap between rounds, and one before the first of a phase
        rounds = [first, *[(0, 0)] * gap, (T + 60, 4_000 * UNIT), (T + 130, UNIT)]
        told = Told({1: [(T - HOUR, 1_000 * UNIT)], 2: rounds})
        desk = desk_with(told, 120)
        if provable and not (gap == 7 and first == (0, 0)):
            assert desk.averaged(told, T + 120) == told.average(T + 120, 120)
        else:
            with refused("history: gap too long"):
                desk.step(T + 120, 2 << 64 | gap + 2, crossing=FIRST | 1)


def test_an_expiry_before_the_window_fits_into_time() -> None:
    """The subtraction of a window from such an expiry reverts without text."""
    desk = desk_with(Told({1: hourly(2_000)}))
    with refused(""):
        desk.step(WINDOW - 1, FIRST | 1)


def test_a_day_of_recorded_prices_across_a_phase_change() -> None:
    """Recorded hourly prices presented as rounds, the phase change placed by us, in steps of seven rounds."""
    told = recorded(switch=500, overlap=3)
    desk = desk_with(told, DAY)
    desk.chain.at(1_705_000_000)
    around = told.phases[2][0][0]
    for expiry in (around + 8 * HOUR, around + 20 * HOUR + 1, around + 400 * HOUR):
        price = desk.averaged(told, expiry, steps=7)
        assert price == told.average(expiry, DAY)
        closes = [one.answer * SCALE for one in told.history() if expiry - DAY - HOUR < one.time < expiry]
        assert min(closes) <= price <= max(closes)
