# pragma version 0.4.3
# pragma evm-version cancun
"""
@title HostileSource
@license MIT
@notice A price source in every way but an honest one.
@dev Modes: 0 answers what it was told, 1 reverts, 2 eats all its gas, 3 answers zero, 4 answers beyond the bounds,
     5 answers far more than was asked, 6 answers less than a word, 7 answers another price each second,
     8 reverts with a very long reason.
"""

mode: public(uint256)
price: public(uint256)
observed: public(uint256)


@external
def set_mode(mode: uint256):
    """
    @notice Behave in this way from now on.
    """
    self.mode = mode


@external
def set_price(price: uint256, observed: uint256):
    """
    @notice What mode 0 answers to every question.
    """
    self.price = price
    self.observed = observed


@external
@view
@raw_return
def spot(underlying: bytes32) -> Bytes[20000]:
    """
    @notice See `IPriceSource.spot`.
    """
    return self._answer()


@external
@view
@raw_return
def settlement(underlying: bytes32, expiry: uint64) -> Bytes[20000]:
    """
    @notice See `IPriceSource.settlement`.
    """
    return self._answer()


@internal
@view
def _answer() -> Bytes[20000]:
    """
    @notice The answer of the mode, wide enough for both questions.
    """
    price: uint256 = self.price
    long: uint256[600] = empty(uint256[600])
    if self.mode == 1:
        raise "source: hostile"
    assert self.mode != 2, UNREACHABLE
    if self.mode == 3:
        price = 0
    if self.mode == 4:
        price = 2**96 + 1
    if self.mode == 5:
        long[0] = self.price
        long[1] = self.observed
        return abi_encode(long)
    if self.mode == 6:
        return b"\x01"
    if self.mode == 7:
        price = 10**18 * block.timestamp
    if self.mode == 8:
        raw_revert(abi_encode(long))
    return abi_encode(price, self.observed)
