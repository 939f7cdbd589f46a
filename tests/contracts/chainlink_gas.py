"""Gas of `ChainlinkPriceSource`, from the receipts of transactions that eth-tester mined, against a proxied feed.

    python -m tests.contracts.chainlink_gas

The feed is a proxy in front of two aggregators; a real one also asks an access controller, some 5,000 gas in a call and
less in each further round.
"""

import json
from collections.abc import Iterator

from tests.contracts.encoding import ETH
from tests.contracts.evm import START, Contract
from tests.contracts.gas import MinedChain
from tests.contracts.rounds import DECIMALS, MAX_AGE
from tests.contracts.world import MINUTE

OPENING = 65
ROUNDS = 100
INTRINSIC = 21_000


def measure() -> dict[str, int]:
    """Return the figures by what was done."""
    return dict(_figures())


def _figures() -> Iterator[tuple[str, int]]:
    chain = MinedChain(START)
    aggregators = [_aggregator(chain, START - ROUNDS * MINUTE), _aggregator(chain, START - OPENING * MINUTE + 7)]
    proxy = chain.deploy("FeedProxy", aggregators[0].address)
    listing = [(ETH, proxy.address, MAX_AGE)]
    first, average = (chain.deploy("ChainlinkPriceSource", listing, window) for window in (0, 60 * MINUTE))
    early = START - (OPENING + 10) * MINUTE
    before = 1 << 64 | ROUNDS - OPENING - 10
    yield "spot.net", first.transact("spot", ETH).gas - INTRINSIC - _calldata(first.encode("spot", ETH))
    yield "settle_first", first.transact("settle_first", ETH, early, before).gas
    proxy.transact("confirm", aggregators[1].address)
    crossing = 1 << 64 | ROUNDS - OPENING + 1
    last = START - OPENING * MINUTE + 1
    yield "settle_first.phase_change", first.transact("settle_first", ETH, last, crossing).gas
    expiry = START - MINUTE
    proof = 2 << 64 | OPENING - 1
    yield "settle_average.1_round", average.transact("settle_average", ETH, expiry, proof, crossing, 1).gas
    yield "settle_average.30_rounds", average.transact("settle_average", ETH, expiry, proof, crossing, 30).gas
    yield "settle_average.last_30_rounds", average.transact("settle_average", ETH, expiry, proof, crossing, 64).gas
    whole = expiry - MINUTE
    yield (
        "settle_average.61_rounds",
        average.transact("settle_average", ETH, whole, proof - 1, crossing, 64, gas=9_000_000).gas,
    )


def _aggregator(chain: MinedChain, start: int) -> Contract:
    made = chain.deploy("RoundFeed", DECIMALS)
    made.transact("confirm", 0)
    prices = [(2_000 + n) * 10**DECIMALS for n in range(ROUNDS)]
    made.transact("publish", 0, prices, [start + n * MINUTE for n in range(ROUNDS)], gas=20_000_000)
    return made


def _calldata(data: bytes) -> int:
    return sum(16 if byte else 4 for byte in data)


if __name__ == "__main__":
    print(json.dumps(measure(), indent=2))
