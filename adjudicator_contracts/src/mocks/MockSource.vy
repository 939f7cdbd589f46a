# pragma version 0.4.3
# pragma evm-version cancun
"""
@title MockSource
@license MIT
@notice A price source that answers what a test tells it to.
"""

from interfaces import IPriceSource

implements: IPriceSource

prices: HashMap[bytes32, uint256]
observed: HashMap[bytes32, uint256]
settlements: HashMap[bytes32, HashMap[uint64, uint256]]


@external
def set_spot(underlying: bytes32, price: uint256, updated_at: uint256):
    """
    @notice Answer `price`, observed at `updated_at`, from now on.
    """
    self.prices[underlying] = price
    self.observed[underlying] = updated_at


@external
def set_settlement(underlying: bytes32, expiry: uint64, price: uint256):
    """
    @notice Settle, or change, or unset (0) an expiry.
    """
    self.settlements[underlying][expiry] = price


@external
@view
def spot(underlying: bytes32) -> (uint256, uint256):
    """
    @notice See `IPriceSource.spot`.
    """
    return self.prices[underlying], self.observed[underlying]


@external
@view
def settlement(underlying: bytes32, expiry: uint64) -> uint256:
    """
    @notice See `IPriceSource.settlement`.
    """
    return self.settlements[underlying][expiry]
