# pragma version 0.4.3
# pragma evm-version cancun
"""
@title FickleEngine
@license MIT
@notice A risk engine that says what it was told to say, whatever it is asked: for tests of what a hostile engine can do.
@dev Modes: 0 answers as scripted, 1 reverts, 2 eats all the gas it is given, 3 answers a word that is no answer to anything.
"""

MODES: constant(uint256) = 4

mode: public(uint256)
proven: public(bool)
above: public(int256)
worth: public(int256)
cost: public(int256)


@external
def set_mode(mode: uint256):
    """
    @notice What to be like from now on.
    """
    assert mode < MODES, "engine: no such mode"
    self.mode = mode


@external
def tell(above: int256, proven: bool, worth: int256, cost: int256):
    """
    @notice What to answer: the excess, and of a liquidation the verdict, the first value and both charges.
    """
    self.above = above
    self.proven = proven
    self.worth = worth
    self.cost = cost


@external
@view
@raw_return
def excess(
    book: Bytes[7712],
    party: uint8,
    cash: int256,
    decimals: uint8,
    spots: DynArray[uint256, 4],
    settlements: DynArray[uint256, 8],
    t: uint64,
) -> Bytes[160]:
    """
    @notice See `IRiskEngine.excess`.
    """
    self._misbehave()
    if self.mode == 3:
        return b"\x01"
    return abi_encode(self.above)


@external
@view
@raw_return
def liquidation(
    book: Bytes[7712],
    party: uint8,
    cash: int256,
    decimals: uint8,
    spots: DynArray[uint256, 4],
    settlements: DynArray[uint256, 8],
    t: uint64,
    witness: DynArray[uint256, 4],
) -> Bytes[160]:
    """
    @notice See `IRiskEngine.liquidation`.
    """
    self._misbehave()
    if self.mode == 3:
        return abi_encode(convert(2, uint256), self.worth, self.worth, self.cost, self.cost)
    return abi_encode(self.proven, self.worth, self.worth, self.cost, self.cost)


@internal
@view
def _misbehave():
    """
    @notice Answer nothing in modes 1 and 2.
    """
    assert self.mode != 1, "engine: hostile"
    assert self.mode != 2, UNREACHABLE
