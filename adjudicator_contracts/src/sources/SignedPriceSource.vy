# pragma version 0.4.3
# pragma evm-version cancun
"""
@title SignedPriceSource
@license MIT
@notice A price source fed by m of n publishers, who sign EIP-712 reports off-chain; anyone submits them.
@dev Publishers, threshold and bounds are immutable: part of the deployed code, so a party that checks the code checks them.
     - `Spot(bytes32 underlying, uint256 price, uint64 timestamp)`: strictly newer than the last one, at most 30 seconds old,
       never from the future. Its deviation from the last one is bounded by `base + slope * seconds` since then; the bound
       ends at `max_age`, else one gap would freeze the source for ever.
     - `Settlement(bytes32 underlying, uint64 expiry, uint256 price)`: an average agreed by the publishers, from the expiry
       on, written once.
     WARNING: `threshold` publishers together can report what they like within the deviation bound, and any settlement.
"""

from interfaces import IPriceSource
from modules import signatures

implements: IPriceSource

MAX_PUBLISHERS: constant(uint256) = 16
SIGNATURE_LENGTH: constant(uint256) = 65
MAX_SIGNATURES_LENGTH: constant(uint256) = MAX_PUBLISHERS * SIGNATURE_LENGTH
# Prices of the protocol's bounds (§2).
MAX_PRICE: constant(uint256) = 2**92
MAX_REPORT_AGE: constant(uint256) = 30
WAD: constant(uint256) = 10**18

DOMAIN_TYPEHASH: constant(bytes32) = keccak256(
    "EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"
)
NAME_HASH: constant(bytes32) = keccak256("OptionChannelPrices")
VERSION_HASH: constant(bytes32) = keccak256("1")
SPOT_TYPEHASH: constant(bytes32) = keccak256("Spot(bytes32 underlying,uint256 price,uint64 timestamp)")
SETTLEMENT_TYPEHASH: constant(bytes32) = keccak256("Settlement(bytes32 underlying,uint64 expiry,uint256 price)")

struct Report:
    price: uint256
    observed: uint256


# A new spot was accepted.
event SpotReported:
    underlying: indexed(bytes32)
    price: uint256
    timestamp: uint64


# An expiry was settled, for ever.
event SettlementReported:
    underlying: indexed(bytes32)
    expiry: indexed(uint64)
    price: uint256


PUBLISHERS: immutable(DynArray[address, MAX_PUBLISHERS])
THRESHOLD: immutable(uint256)
DEVIATION_BASE: immutable(uint256)
DEVIATION_PER_SECOND: immutable(uint256)
MAX_AGE: immutable(uint256)

spots: HashMap[bytes32, Report]
settlements: HashMap[bytes32, HashMap[uint64, uint256]]


@deploy
def __init__(
    publishers: DynArray[address, MAX_PUBLISHERS],
    threshold: uint256,
    deviation_base: uint256,
    deviation_per_second: uint256,
    max_age: uint256,
):
    """
    @notice Fix who reports and how far a report may move.
    @param publishers Strictly ascending addresses, at most 16.
    @param threshold How many must sign, 1 to their number.
    @param deviation_base WAD share of the last price that may always move; at most 1.
    @param deviation_per_second WAD share added per second since the last report; at most 1.
    @param max_age Seconds after which the last report no longer bounds the next; 1 hour to 30 days.
    """
    assert threshold != 0 and threshold <= len(publishers), "source: threshold"
    assert deviation_base <= WAD and deviation_per_second <= WAD, "source: deviation"
    assert max_age >= 3_600 and max_age <= 30 * 86_400, "source: max age"
    last: uint160 = 0
    for publisher: address in publishers:
        assert convert(publisher, uint160) > last, "source: publishers not ascending"
        last = convert(publisher, uint160)
    PUBLISHERS = publishers
    THRESHOLD = threshold
    DEVIATION_BASE = deviation_base
    DEVIATION_PER_SECOND = deviation_per_second
    MAX_AGE = max_age


@external
def report_spot(underlying: bytes32, price: uint256, timestamp: uint64, signed: Bytes[MAX_SIGNATURES_LENGTH]):
    """
    @notice Submit a spot report. Anyone may.
    @param underlying ASCII, left-aligned.
    @param price WAD, 1 to 2**92.
    @param timestamp When the publishers observed it.
    @param signed At least `threshold` signatures of 65 bytes, concatenated, by ascending publisher address.
    """
    observed: uint256 = convert(timestamp, uint256)
    assert price != 0 and price <= MAX_PRICE, "source: price out of bounds"
    assert observed <= block.timestamp, "source: report from the future"
    assert observed + MAX_REPORT_AGE >= block.timestamp, "source: report too old"
    last: Report = self.spots[underlying]
    assert observed > last.observed, "source: not newer"
    elapsed: uint256 = observed - last.observed
    if last.price != 0 and elapsed < MAX_AGE:
        moved: uint256 = max(price, last.price) - min(price, last.price)
        allowed: uint256 = last.price * (DEVIATION_BASE + DEVIATION_PER_SECOND * elapsed) // WAD
        assert moved <= allowed, "source: deviates too far"
    self._require_signed(keccak256(abi_encode(SPOT_TYPEHASH, underlying, price, timestamp)), signed)

    self.spots[underlying] = Report(price=price, observed=observed)
    log SpotReported(underlying=underlying, price=price, timestamp=timestamp)


@external
def report_settlement(underlying: bytes32, expiry: uint64, price: uint256, signed: Bytes[MAX_SIGNATURES_LENGTH]):
    """
    @notice Submit a settlement price. Anyone may, from the expiry on, once.
    @param underlying ASCII, left-aligned.
    @param expiry Unix seconds.
    @param price WAD, 1 to 2**92.
    @param signed As in `report_spot`.
    """
    assert price != 0 and price <= MAX_PRICE, "source: price out of bounds"
    assert block.timestamp >= convert(expiry, uint256), "source: not expired"
    assert self.settlements[underlying][expiry] == 0, "source: already settled"
    self._require_signed(keccak256(abi_encode(SETTLEMENT_TYPEHASH, underlying, expiry, price)), signed)

    self.settlements[underlying][expiry] = price
    log SettlementReported(underlying=underlying, expiry=expiry, price=price)


@external
@view
def spot(underlying: bytes32) -> (uint256, uint256):
    """
    @notice See `IPriceSource.spot`.
    """
    last: Report = self.spots[underlying]
    return last.price, last.observed


@external
@view
def settlement(underlying: bytes32, expiry: uint64) -> uint256:
    """
    @notice See `IPriceSource.settlement`.
    """
    return self.settlements[underlying][expiry]


@external
@view
def publishers() -> DynArray[address, MAX_PUBLISHERS]:
    """
    @notice Who reports.
    @return Ascending addresses.
    """
    return PUBLISHERS


@external
@view
def parameters() -> (uint256, uint256, uint256, uint256):
    """
    @notice The bounds this source was deployed with.
    @return Threshold, deviation base (WAD), deviation per second (WAD), max age (seconds).
    """
    return THRESHOLD, DEVIATION_BASE, DEVIATION_PER_SECOND, MAX_AGE


@internal
@view
def _require_signed(report: bytes32, signed: Bytes[MAX_SIGNATURES_LENGTH]):
    """
    @notice At least `THRESHOLD` distinct publishers signed `report`: one signature each, by ascending address.
    """
    count: uint256 = len(signed) // SIGNATURE_LENGTH
    assert len(signed) == count * SIGNATURE_LENGTH, "source: ragged signatures"
    assert count >= THRESHOLD, "source: too few signatures"
    domain: bytes32 = keccak256(abi_encode(DOMAIN_TYPEHASH, NAME_HASH, VERSION_HASH, chain.id, self))
    digest: bytes32 = keccak256(concat(0x1901, domain, report))
    last: uint160 = 0
    for i: uint256 in range(count, bound=MAX_PUBLISHERS):
        signer: address = signatures._recover(digest, slice(signed, i * SIGNATURE_LENGTH, SIGNATURE_LENGTH))
        assert signer in PUBLISHERS, "source: not a publisher"
        assert convert(signer, uint160) > last, "source: signers not ascending"
        last = convert(signer, uint160)
