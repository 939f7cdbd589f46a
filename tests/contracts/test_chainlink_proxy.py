"""`ChainlinkPriceSource` behind a proxy with one aggregator a phase: as feeds are deployed, rollbacks included."""

import pytest

from tests.contracts.evm import START, Chain, Contract
from tests.contracts.refusals import refused
from tests.contracts.rounds import DECIMALS, Desk, Told, hourly, wad
from tests.contracts.world import HOUR

T = START - 100 * HOUR
ROUNDS = {
    "old": hourly(*range(2_000, 2_040)),
    "new": hourly(*range(2_500, 2_530), start=T + 9 * HOUR + 7),
    "idle": [],
}


class Proxied(Desk):
    """A desk whose feed is a proxy; `phases` names the aggregator of each phase from 1 on."""

    def __init__(self, *phases: str, window: int = 0) -> None:
        chain = Chain()
        self.aggregators: dict[str, Contract] = {}
        for name, rounds in ROUNDS.items():
            made = self.aggregators[name] = chain.deploy("RoundFeed", DECIMALS)
            made.transact("confirm", 0)
            made.transact("publish", 0, [answer for _, answer in rounds], [time for time, _ in rounds])
        self.proxy = chain.deploy("FeedProxy", self.aggregators[phases[0]].address)
        for name in phases[1:]:
            self.proxy.transact("confirm", self.aggregators[name].address)
        self.told = Told({n: ROUNDS[name] for n, name in enumerate(phases, 1)})
        super().__init__(window, feed=self.proxy)


@pytest.mark.parametrize(
    "phases",
    [
        ("old",),
        ("old", "new"),
        ("old", "old"),  # confirmed twice
        ("old", "new", "old"),  # rolled back
        ("new", "old"),
        ("old", "idle", "new"),
        ("idle", "old", "new", "idle"),
    ],
)
def test_every_expiry_settles_as_the_history_of_its_phases_says(phases: tuple[str, ...]) -> None:
    window = 4 * HOUR
    desk, average = Proxied(*phases), Proxied(*phases, window=window)
    for expiry in range(T + 5 * HOUR, T + 30 * HOUR, 4_321):
        proof, first = desk.told.before(expiry), desk.told.first(expiry)
        assert proof is not None
        assert first is not None
        assert desk.first(expiry, proof.id).one("Settled")["round_id"] == first.id
        expected = average.told.average(expiry, window)
        if expected is not None:
            assert average.averaged(average.told, expiry) == expected
    assert average.settlement(T + 5 * HOUR)


def test_the_proxys_phases_are_the_high_bits() -> None:
    """A published mainnet round: 92233720368547771539 is round 13459 of phase 5."""
    assert (92233720368547771539 >> 64, 92233720368547771539 & 2**64 - 1) == (5, 0x3493)
    desk = Proxied("idle", "idle", "idle", "idle", "old")
    assert desk.spot() == (0, 0)
    assert desk.first(T + HOUR, 5 << 64 | 1).result == wad(2_001)


def test_a_phase_without_an_aggregator_is_refused() -> None:
    desk = Proxied("old")
    for before in (2 << 64 | 1, 9 << 64 | 1, 1):
        with refused("history: not a round before it"):
            desk.first(T + HOUR, before)


def test_a_proxy_switched_to_an_aggregator_that_reverts_when_idle_is_silent_until_it_answers() -> None:
    desk = Proxied("old", "idle")
    idle = desk.aggregators["idle"]
    idle.transact("set_reverts", True)
    with refused("source: feed is silent"):
        desk.first(T + HOUR, 1 << 64 | 1)
    idle.transact("publish", 0, [2_900 * 10**DECIMALS], [START])
    assert desk.spot() == (wad(2_900), START)
    assert desk.first(T + HOUR, 1 << 64 | 1).result == wad(2_001)
