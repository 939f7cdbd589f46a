"""`SignedPriceSource`: m of n publishers, strictly newer, soon enough, near enough, and settled once."""

from collections.abc import Sequence

import eth_abi
import pytest
from eth_hash.auto import keccak

from tests.contracts.encoding import BTC, ETH, WAD, Key, high_s
from tests.contracts.evm import STRANGER, Chain, Contract, Receipt
from tests.contracts.refusals import refused
from tests.contracts.world import EXPIRY, HOUR

MAX_AGE = 2 * HOUR
BASE, SLOPE = WAD // 100, WAD // 10_000
PUBLISHERS = sorted((Key(n) for n in (11, 12, 13, 14, 15)), key=lambda key: int(key.address, 16))
PRICE = 2_000 * WAD
DOMAIN = keccak(b"EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)")
SPOT = keccak(b"Spot(bytes32 underlying,uint256 price,uint64 timestamp)")
SETTLEMENT = keccak(b"Settlement(bytes32 underlying,uint64 expiry,uint256 price)")


class Desk:
    """A source with three of five publishers, and a desk that collects their signatures."""

    def __init__(self, threshold: int = 3) -> None:
        self.chain = Chain()
        self.source = deploy(self.chain, threshold=threshold)

    def spot(
        self, price: int, timestamp: int, keys: Sequence[Key] = PUBLISHERS[:3], underlying: bytes = ETH
    ) -> Receipt:
        """Submit a signed spot."""
        report = eth_abi.encode(["bytes32", "bytes32", "uint256", "uint64"], [SPOT, underlying, price, timestamp])
        return self.source.transact("report_spot", underlying, price, timestamp, self.sign(report, keys))

    def settle(self, price: int, keys: Sequence[Key] = PUBLISHERS[:3], expiry: int = EXPIRY) -> Receipt:
        """Submit a signed settlement."""
        report = eth_abi.encode(["bytes32", "bytes32", "uint64", "uint256"], [SETTLEMENT, ETH, expiry, price])
        return self.source.transact("report_settlement", ETH, expiry, price, self.sign(report, keys))

    def sign(self, report: bytes, keys: Sequence[Key]) -> bytes:
        """Return the signatures of a report, one after the other."""
        domain = eth_abi.encode(
            ["bytes32", "bytes32", "bytes32", "uint256", "address"],
            [DOMAIN, keccak(b"OptionChannelPrices"), keccak(b"1"), self.chain.id, self.source.address],
        )
        digest = keccak(b"\x19\x01" + keccak(domain) + keccak(report))
        return b"".join(key.sign(digest) for key in keys)


def deploy(chain: Chain, **changes: object) -> Contract:
    """Deploy a source, its parameters overridden by `changes`."""
    parameters = {
        "publishers": [key.address for key in PUBLISHERS],
        "threshold": 3,
        "deviation_base": BASE,
        "deviation_per_second": SLOPE,
        "max_age": MAX_AGE,
    } | changes
    return chain.deploy("SignedPriceSource", *parameters.values())


@pytest.fixture
def desk() -> Desk:
    """Three of five."""
    return Desk()


def test_a_report_is_the_spot_whoever_submits_it(desk: Desk) -> None:
    now = desk.chain.now
    assert desk.source.call("spot", ETH) == (0, 0)
    said = desk.spot(PRICE, now).one("SpotReported")
    assert (said["price"], said["timestamp"]) == (PRICE, now)
    assert desk.source.call("spot", ETH) == (PRICE, now)
    assert desk.source.call("spot", BTC) == (0, 0)


def test_constructor_parameters_can_be_read_back(desk: Desk) -> None:
    assert list(desk.source.call("publishers")) == [key.address for key in PUBLISHERS]
    assert desk.source.call("parameters") == (3, BASE, SLOPE, MAX_AGE)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"threshold": 0}, "source: threshold"),
        ({"threshold": 6}, "source: threshold"),
        ({"publishers": [], "threshold": 1}, "source: threshold"),
        ({"publishers": [key.address for key in PUBLISHERS[::-1]]}, "source: publishers not ascending"),
        ({"publishers": [PUBLISHERS[0].address] * 3}, "source: publishers not ascending"),
        ({"publishers": ["0x" + "00" * 20], "threshold": 1}, "source: publishers not ascending"),
        ({"deviation_base": WAD + 1}, "source: deviation"),
        ({"deviation_per_second": WAD + 1}, "source: deviation"),
        ({"max_age": HOUR - 1}, "source: max age"),
        ({"max_age": 30 * 24 * HOUR + 1}, "source: max age"),
    ],
)
def test_a_source_that_could_not_be_trusted_is_not_deployed(changes: dict[str, object], reason: str) -> None:
    with refused(reason):
        deploy(Chain(), **changes)


def test_only_enough_distinct_publishers_in_order_count(desk: Desk) -> None:
    now, (a, b, c, d, _) = desk.chain.now, PUBLISHERS
    for keys, reason in (
        ((a, b), "source: too few signatures"),
        ((), "source: too few signatures"),
        ((a, a, b), "source: signers not ascending"),
        ((b, a, c), "source: signers not ascending"),
        ((a, b, Key(99)), "source: not a publisher"),
        ((a, b, c, Key(99)), "source: not a publisher"),
    ):
        with refused(reason):
            desk.spot(PRICE, now, keys)
    desk.spot(PRICE, now, (b, c, d))
    desk.chain.sleep(1)
    desk.spot(PRICE, desk.chain.now, PUBLISHERS)


def test_malleable_and_ragged_signatures_are_refused(desk: Desk) -> None:
    now = desk.chain.now
    report = eth_abi.encode(["bytes32", "bytes32", "uint256", "uint64"], [SPOT, ETH, PRICE, now])
    signed = desk.sign(report, PUBLISHERS[:3])
    for signatures, reason in (
        (signed + b"\0", "source: ragged signatures"),
        (signed[:-1], "source: ragged signatures"),
        (high_s(signed[:65]) + signed[65:], "signatures: high s"),
        (signed[:64] + bytes([signed[64] - 27]) + signed[65:], "signatures: v is not 27 or 28"),
    ):
        with refused(reason):
            desk.source.transact("report_spot", ETH, PRICE, now, signatures)


def test_a_signature_counts_for_its_underlying_price_time_and_source(desk: Desk) -> None:
    now = desk.chain.now
    report = eth_abi.encode(["bytes32", "bytes32", "uint256", "uint64"], [SPOT, ETH, PRICE, now])
    signed = desk.sign(report, PUBLISHERS[:3])
    for underlying, price, timestamp in ((BTC, PRICE, now), (ETH, PRICE + 1, now), (ETH, PRICE, now - 1)):
        with refused("source: not a publisher"):
            desk.source.transact("report_spot", underlying, price, timestamp, signed)
    with refused("source: not a publisher"):
        deploy(desk.chain).transact("report_spot", ETH, PRICE, now, signed)
    with refused("source: not a publisher"):
        desk.source.transact("report_settlement", ETH, now, PRICE, signed)


@pytest.mark.parametrize(
    ("age", "reason"), [(30, ""), (31, "source: report too old"), (-1, "source: report from the future")]
)
def test_reports_are_at_most_30_seconds_old(desk: Desk, age: int, reason: str) -> None:
    timestamp = desk.chain.now - age
    if reason:
        with refused(reason):
            desk.spot(PRICE, timestamp)
    else:
        desk.spot(PRICE, timestamp)


def test_reports_must_be_strictly_newer(desk: Desk) -> None:
    now = desk.chain.now
    desk.spot(PRICE, now)
    for timestamp in (now, now - 1):
        with refused("source: not newer"):
            desk.spot(PRICE, timestamp)


@pytest.mark.parametrize("direction", [1, -1])
@pytest.mark.parametrize("elapsed", [1, 60, MAX_AGE - 1])
def test_the_allowed_deviation_grows_with_time(desk: Desk, direction: int, elapsed: int) -> None:
    desk.spot(PRICE, desk.chain.now)
    desk.chain.sleep(elapsed)
    allowed = PRICE * (BASE + SLOPE * elapsed) // WAD
    with refused("source: deviates too far"):
        desk.spot(PRICE + direction * (allowed + 1), desk.chain.now)
    desk.spot(PRICE + direction * allowed, desk.chain.now)


def test_the_bound_ends_at_max_age_so_a_gap_freezes_nothing(desk: Desk) -> None:
    desk.spot(PRICE, desk.chain.now)
    desk.chain.sleep(MAX_AGE)
    desk.spot(3 * PRICE, desk.chain.now)
    assert desk.source.call("spot", ETH)[0] == 3 * PRICE


@pytest.mark.parametrize(("price", "good"), [(0, False), (1, True), (2**92, True), (2**92 + 1, False)])
def test_prices_stay_within_the_protocols_bounds(desk: Desk, price: int, good: bool) -> None:
    desk.chain.at(EXPIRY)
    if good:
        desk.spot(price, desk.chain.now)
        desk.settle(price)
        return
    with refused("source: price out of bounds"):
        desk.spot(price, desk.chain.now)
    with refused("source: price out of bounds"):
        desk.settle(price)


def test_an_expiry_settles_once_and_not_before_it(desk: Desk) -> None:
    desk.chain.at(EXPIRY - 1)
    with refused("source: not expired"):
        desk.settle(PRICE)
    desk.chain.at(EXPIRY)
    assert desk.source.call("settlement", ETH, EXPIRY) == 0
    with refused("source: too few signatures"):
        desk.settle(PRICE, PUBLISHERS[:2])
    assert desk.settle(PRICE).one("SettlementReported")["price"] == PRICE
    for price in (PRICE, PRICE + 1):
        with refused("source: already settled"):
            desk.settle(price)
    assert desk.source.call("settlement", ETH, EXPIRY) == PRICE
    assert desk.source.call("settlement", BTC, EXPIRY) == 0
    assert desk.source.call("spot", ETH) == (0, 0)


def test_one_of_one_is_a_source_too() -> None:
    desk = Desk(threshold=1)
    desk.spot(PRICE, desk.chain.now, PUBLISHERS[4:])
    assert desk.source.call("spot", ETH, sender=STRANGER)[0] == PRICE
