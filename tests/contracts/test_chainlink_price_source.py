"""`ChainlinkPriceSource`: what it is deployed with, its spot, and an expiry settled at the first round."""

import eth_abi
import pytest

from adjudicator_contracts import artifact
from tests.contracts.encoding import BTC, ETH, NOWHERE, WAD
from tests.contracts.evm import STRANGER, Chain
from tests.contracts.refusals import refused
from tests.contracts.rounds import DECIMALS, MAX_AGE, Desk, Round, Told, hourly, recorded, wad
from tests.contracts.world import DAY, HOUR, MINUTE

NOW = Chain().now
T = NOW - 100 * HOUR
UNIT = 10**DECIMALS


def desk_with(told: Told, window: int = 0) -> Desk:
    """A desk whose feed has these rounds."""
    desk = Desk(window)
    desk.tell(told)
    return desk


# ── deployment ──


def test_what_it_was_deployed_with_can_be_read_back() -> None:
    chain = Chain()
    feeds = [chain.deploy("RoundFeed", decimals) for decimals in (8, 18)]
    listings = [(BTC, feeds[0].address, DAY), (ETH, feeds[1].address, HOUR)]
    source = chain.deploy("ChainlinkPriceSource", listings, 30 * MINUTE)
    assert source.call("window") == 30 * MINUTE
    assert source.call("feeds") == tuple(
        (*listing, decimals) for listing, decimals in zip(listings, (8, 18), strict=True)
    )


def test_feeds_and_window_are_read_from_the_deployed_code() -> None:
    """What a node checks before it names a source in its terms: the artifact's code with these immutables."""
    desk = Desk(30 * MINUTE, max_age=DAY)
    shipped = artifact("ChainlinkPriceSource")
    code = desk.chain.code(desk.source.address)[:-33]  # without the padding of revm
    assert shipped.matches(code)
    assert int.from_bytes(shipped.immutable(code, "WINDOW"), "big") == 30 * MINUTE
    listed = eth_abi.encode(["bytes32", "address", "uint256", "uint256"], [ETH, desk.feed.address, DAY, DECIMALS])
    feeds = shipped.immutable(code, "FEEDS")
    assert (int.from_bytes(feeds[:32], "big"), feeds[32:160]) == (1, listed)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"window": 59}, "source: window"),
        ({"window": DAY + 1}, "source: window"),
        ({"max_age": 59}, "source: max age"),
        ({"max_age": 3 * DAY + 1}, "source: max age"),
        ({"underlying": bytes(32)}, "source: underlyings not ascending"),
        ({"decimals": 37}, "source: decimals"),
        ({"feed_address": STRANGER}, "source: decimals"),
        ({"feed_address": NOWHERE}, "source: decimals"),
        ({"window": 60, "max_age": 60, "decimals": 36}, ""),
        ({"window": DAY, "max_age": 3 * DAY, "decimals": 0}, ""),
    ],
)
def test_bounds_are_checked_at_deployment(changes: dict[str, object], reason: str) -> None:
    chain = Chain()
    feed = chain.deploy("RoundFeed", changes.get("decimals", 8))
    listing = (
        changes.get("underlying", ETH),
        changes.get("feed_address", feed.address),
        changes.get("max_age", HOUR),
    )
    arguments = ([listing], changes.get("window", 0))
    if not reason:
        chain.deploy("ChainlinkPriceSource", *arguments)
        return
    with refused(reason):
        chain.deploy("ChainlinkPriceSource", *arguments)


def test_underlyings_are_distinct_and_there_is_at_least_one() -> None:
    chain = Chain()
    feed = chain.deploy("RoundFeed", 8).address
    with refused("source: no feed"):
        chain.deploy("ChainlinkPriceSource", [], 0)
    for pair in ((ETH, BTC), (ETH, ETH)):
        with refused("source: underlyings not ascending"):
            chain.deploy("ChainlinkPriceSource", [(name, feed, HOUR) for name in pair], 0)


# ── spot ──


def test_the_spot_is_the_latest_round_of_the_confirmed_phase() -> None:
    desk = Desk()
    assert desk.spot() == (0, 0)
    desk.publish(1, (NOW - 9, 2_000 * UNIT), (NOW - 5, 2_001 * UNIT))
    desk.publish(2, (NOW - 7, 1_990 * UNIT))
    assert desk.spot() == (wad(2_001), NOW - 5)
    desk.feed.transact("confirm", 2)
    assert desk.spot() == (wad(1_990), NOW - 7)
    desk.feed.transact("confirm", 3)
    assert desk.spot() == (0, 0)
    assert desk.source.call("spot", BTC) == (0, 0)


@pytest.mark.parametrize(("age", "fresh"), [(0, True), (MAX_AGE, True), (MAX_AGE + 1, False), (-1, False)])
def test_a_spot_is_at_most_so_old_and_never_from_the_future(age: int, fresh: bool) -> None:
    desk = Desk()
    desk.publish(1, (NOW - age, 2_000 * UNIT))
    assert desk.spot() == ((wad(2_000), NOW - age) if fresh else (0, 0))


@pytest.mark.parametrize("answer", [0, -1, -(2**255), 2**255 - 1, 2**160 + 1, 2**92 // 10**10 + 1])
def test_an_answer_that_is_no_price_is_missing(answer: int) -> None:
    desk = Desk()
    desk.publish(1, (NOW, answer))
    assert desk.spot() == (0, 0)


@pytest.mark.parametrize(
    ("decimals", "answer", "price"),
    [
        (0, 2_000, 2_000 * WAD),
        (8, 2_000 * 10**8 + 1, 2_000 * WAD + 10**10),
        (18, 2**92, 2**92),
        (18, 2**92 + 1, 0),
        (19, 19, 1),
        (19, 9, 0),
        (36, 2_000 * 10**36 + 10**18 - 1, 2_000 * WAD),
        (36, 2**92 * 10**18 + 10**18 - 1, 2**92),
        (36, (2**92 + 1) * 10**18, 0),
    ],
)
def test_answers_are_scaled_to_wad_rounded_down(decimals: int, answer: int, price: int) -> None:
    desk = Desk(decimals=decimals)
    desk.publish(1, (NOW, answer))
    assert desk.spot() == ((price, NOW) if price else (0, 0))


def test_a_round_that_timed_out_is_missing() -> None:
    """Older aggregators end a round without answers by repeating the answer of an earlier one, freshly dated."""
    desk = Desk()
    desk.publish(1, (NOW - 60, 2_000 * UNIT), (NOW, 2_000 * UNIT))
    desk.feed.transact("carry_over", 1 << 64 | 2)
    assert desk.spot() == (0, 0)


def test_a_feed_that_changes_its_decimals_is_missing() -> None:
    desk = desk_with(Told({1: hourly(*range(2_000, 2_101))}))
    desk.feed.transact("set_decimals", 18)
    assert desk.spot() == (0, 0)
    with refused("source: decimals"):
        desk.first(T + HOUR, 1 << 64 | 1)


# ── the first round at or after an expiry ──


def test_an_expiry_settles_once_at_the_first_round_since_by_anyone() -> None:
    desk = desk_with(Told({1: hourly(2_000, 2_010, 2_020)}))
    expiry = T + HOUR + 1
    assert desk.settlement(expiry) == 0
    receipt = desk.first(expiry, 1 << 64 | 2, sender=STRANGER)
    assert receipt.result == wad(2_020)
    said = receipt.one("Settled")
    assert said == {"underlying": ETH, "expiry": expiry, "price": wad(2_020), "round_id": 1 << 64 | 3}
    assert desk.settlement(expiry) == wad(2_020)
    for before in (1 << 64 | 1, 1 << 64 | 2):
        with refused("source: already settled"):
            desk.first(expiry, before)
    assert desk.settlement(expiry + 1) == desk.source.call("settlement", BTC, expiry) == 0


def test_a_round_at_the_expiry_is_the_first_since() -> None:
    desk = desk_with(Told({1: hourly(2_000, 2_010, 2_020)}))
    with refused("history: not a round before it"):
        desk.first(T + HOUR, 1 << 64 | 2)
    assert desk.first(T + HOUR, 1 << 64 | 1).result == wad(2_010)


def test_of_simultaneous_rounds_the_first_since_and_the_last_before_count() -> None:
    """Two rounds in one block happen (five times in 11,106 rounds of mainnet's ETH/USD): the id breaks the tie."""
    times = (T, T, T + 9, T + 9)
    desk = desk_with(Told({1: [(time, (2_000 + n) * UNIT) for n, time in enumerate(times)]}))
    with refused("history: a later round is before it"):
        desk.first(T + 9, 1 << 64 | 1)
    assert desk.first(T + 9, 1 << 64 | 2).result == wad(2_002)


def test_not_before_the_expiry_nor_before_a_round_since() -> None:
    desk = desk_with(Told({1: hourly(2_000, 2_010)}))
    with refused("source: not expired"):
        desk.first(NOW + 1, 1 << 64 | 2)
    with refused("source: no round since the expiry"):
        desk.first(NOW, 1 << 64 | 2)
    desk.publish(1, (NOW, 2_020 * UNIT))
    assert desk.first(NOW, 1 << 64 | 2).result == wad(2_020)


def test_an_expiry_before_the_first_round_ever_has_no_proof() -> None:
    desk = desk_with(Told({1: hourly(2_000, 2_010)}))
    for before in (0, 1, 1 << 64, 1 << 64 | 1, 1 << 64 | 2, 2 << 64 | 1, 2**80 - 1, 2**80 | 1 << 64 | 1, 2**256 - 1):
        with refused("history: not a round before it"):
            desk.first(T, before)


def test_each_deployment_settles_by_its_own_rule() -> None:
    told = Told({1: hourly(*range(2_000, 2_010))})
    with refused("source: settles at an average"):
        desk_with(told, HOUR).first(T + 4 * HOUR, 1 << 64 | 4)
    with refused("source: settles at a round"):
        desk_with(told).step(T + 4 * HOUR, 1 << 64 | 4)
    with refused("source: no feed"):
        desk_with(told).source.transact("settle_first", BTC, T + 4 * HOUR, 1 << 64 | 4)


@pytest.mark.parametrize("reverts", [False, True])
@pytest.mark.parametrize(("gap", "provable"), [(1, True), (7, True), (8, False)])
@pytest.mark.parametrize("kind", ["absent", "zero", "negative"])
def test_rounds_without_a_price_are_passed_over(reverts: bool, gap: int, provable: bool, kind: str) -> None:
    empty = {"absent": (0, 0), "zero": (T + HOUR, 0), "negative": (T + HOUR, -UNIT)}[kind]
    desk = Desk()
    desk.feed.transact("set_reverts", reverts)
    desk.publish(1, (T, 2_000 * UNIT), *[empty] * gap, (T + 2 * HOUR, 2_020 * UNIT))
    if provable:
        assert desk.first(T + HOUR, 1 << 64 | 1).result == wad(2_020)
        return
    with refused("source: no round since the expiry"):
        desk.first(T + HOUR, 1 << 64 | 1)


# ── across phases ──


def test_the_last_round_of_a_phase_and_the_first_of_the_next() -> None:
    desk = desk_with(Told({1: hourly(2_000, 2_010), 2: hourly(2_500, 2_510, start=T + 2 * HOUR)}))
    expiry = T + 2 * HOUR - 5
    with refused("history: a later round is before it"):
        desk.first(expiry, 1 << 64 | 1)
    with refused("history: not a round before it"):
        desk.first(expiry, 2 << 64 | 1)
    receipt = desk.first(expiry, 1 << 64 | 2)
    assert receipt.one("Settled")["round_id"] == 2 << 64 | 1


def test_an_old_aggregator_that_goes_on_is_not_heard() -> None:
    """Both phases straddle the expiry, so both could show "a round since whose predecessor is before": one counts."""
    desk = desk_with(Told({1: hourly(*range(2_000, 2_050)), 2: hourly(*range(2_500, 2_540), start=T + 5 * HOUR + 7)}))
    expiry = T + 20 * HOUR
    with refused("history: a later phase is before it"):
        desk.first(expiry, 1 << 64 | 20)
    assert desk.first(expiry, 2 << 64 | 15).result == wad(2_515)


@pytest.mark.parametrize(("opening", "winner"), [(-1, 2), (0, 2), (1, 1)])
def test_between_the_next_round_and_a_new_phase_the_earlier_counts(opening: int, winner: int) -> None:
    told = Told({1: hourly(2_000, 2_010), 2: hourly(2_500, start=T + HOUR + opening)})
    assert desk_with(told).first(T + HOUR - 5, 1 << 64 | 1).one("Settled")["round_id"] == winner << 64 | (3 - winner)


def test_empty_and_skipped_phases_are_passed_over() -> None:
    desk = desk_with(Told({1: hourly(2_000, 2_010), 2: [(0, 0)], 3: [], 5: hourly(2_500, start=T + 9 * HOUR)}))
    desk.feed.transact("set_reverts", True)
    assert desk.first(T + 2 * HOUR, 1 << 64 | 2).result == wad(2_500)


def test_a_phase_that_is_not_confirmed_does_not_count() -> None:
    desk = desk_with(Told({1: hourly(2_000, 2_010, 2_020)}))
    desk.publish(2, *hourly(2_500, 2_510, 2_520))
    with refused("history: phases out of reach"):
        desk.first(T + HOUR, 2 << 64 | 1)
    assert desk.first(T + HOUR, 1 << 64 | 1).result == wad(2_010)


@pytest.mark.parametrize(("newer", "provable"), [(8, True), (9, False)])
def test_phases_are_searched_so_far(newer: int, provable: bool) -> None:
    phases = {1 + n: hourly(2_500 + n, start=T + (2 + n) * HOUR) for n in range(1, newer + 1)}
    desk = desk_with(Told({1: hourly(2_000, 2_010)} | phases))
    if provable:
        assert desk.first(T + 2 * HOUR, 1 << 64 | 2, gas=20_000_000).result == wad(2_501)
        return
    with refused("history: phases out of reach"):
        desk.first(T + 2 * HOUR, 1 << 64 | 2, gas=20_000_000)


def test_a_phase_confirmed_late_changes_the_result_once_for_everybody() -> None:
    """Known residual: an aggregator already answering before the expiry is confirmed before its proof."""
    told = Told({1: hourly(2_000, 2_010, 2_020), 2: hourly(2_500, 2_510, 2_520, start=T + 1)})
    expiry = T + 2 * HOUR - 5
    early, late = Desk(), Desk()
    for desk in (early, late):
        desk.tell(told)
        desk.feed.transact("confirm", 1)
    assert early.first(expiry, 1 << 64 | 2).result == wad(2_020)
    for desk in (early, late):
        desk.feed.transact("confirm", 2)
    assert late.first(expiry, 2 << 64 | 2).result == wad(2_520)
    with refused("source: already settled"):
        early.first(expiry, 2 << 64 | 2)
    assert early.settlement(expiry) == wad(2_020)


def test_recorded_prices_settle_on_both_sides_of_a_phase_change() -> None:
    """Recorded hourly prices presented as rounds, the phase change placed by us."""
    told = recorded(switch=500, overlap=3)
    desk = Desk()
    desk.chain.at(1_705_000_000)
    desk.tell(told)
    around = told.phases[2][0][0]
    nearby = [one for one in told.rounds() if abs(one.time - around) < 8 * HOUR]
    for expiry in range(around - 4 * HOUR - 1_000, around + 6 * HOUR, 2_100):
        proof, answer = told.before(expiry), told.first(expiry)
        assert isinstance(proof, Round)
        assert isinstance(answer, Round)
        for one in nearby:
            if one != proof:
                with refused(refusal(told, expiry, one)):
                    desk.first(expiry, one.id)
        assert desk.first(expiry, proof.id).result == answer.answer * 10**10


def refusal(told: Told, expiry: int, one: Round) -> str:
    """Return why a round that is not the proof is refused."""
    if one.time >= expiry:
        return "history: not a round before it"
    if any(other.phase == one.phase and one.id < other.id and other.time < expiry for other in told.rounds()):
        return "history: a later round is before it"
    return "history: a later phase is before it"
