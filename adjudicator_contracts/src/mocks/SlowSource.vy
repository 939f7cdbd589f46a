# pragma version 0.4.3
# pragma evm-version cancun
"""
@title SlowSource
@license MIT
@notice An honest price source that needs most of the gas it may be given: what a starved call would make look silent.
"""

from interfaces import IPriceSource

implements: IPriceSource

# Cold storage reads: 2,100 gas each, so that an answer costs some 190,000 of the 200,000.
READS: constant(uint256) = 82

price: public(uint256)
observed: public(uint256)
ballast: uint256[READS]


@external
def set_price(price: uint256, observed: uint256):
    """
    @notice What to answer, to every question.
    """
    self.price = price
    self.observed = observed


@external
@view
def spot(underlying: bytes32) -> (uint256, uint256):
    """
    @notice See `IPriceSource.spot`.
    """
    return self.price + self._work(), self.observed


@external
@view
def settlement(underlying: bytes32, expiry: uint64) -> uint256:
    """
    @notice See `IPriceSource.settlement`.
    """
    return self.price + self._work()


@internal
@view
def _work() -> uint256:
    """
    @notice Read everything, which is nothing.
    """
    total: uint256 = 0
    for i: uint256 in range(READS):
        total += self.ballast[i]
    return total
