# pragma version 0.4.3
# pragma evm-version cancun
"""
@title HostileEngine
@license MIT
@notice A risk engine in every way but an honest one. Named as a price source too, it answers like a good one.
@dev Modes: 0 answers whatever words it was told, 1 reverts, 2 eats all its gas, 3 answers one byte, 4 answers far more than
     was asked, 5 reverts with a very long reason, 6 calls its victim back and reverts with "engine: entered" if it got in,
     7 the same, but as the price source. The callbacks are static: whom it answers asked it in a static call.
"""

mode: public(uint256)
words: DynArray[uint256, 8]
victim: public(address)
calldata: Bytes[16000]


@external
def set_mode(mode: uint256, words: DynArray[uint256, 8]):
    """
    @notice Behave in this way from now on, with these words for an answer.
    """
    self.mode = mode
    self.words = words


@external
def arm(victim: address, calldata: Bytes[16000]):
    """
    @notice Call `victim` with `calldata` in modes 6 and 7.
    """
    self.victim = victim
    self.calldata = calldata


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
) -> Bytes[20000]:
    """
    @notice See `IRiskEngine.liquidation`.
    """
    return self._answer()


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
) -> Bytes[20000]:
    """
    @notice See `IRiskEngine.excess`.
    """
    return self._answer()


@external
@view
def spot(underlying: bytes32) -> (uint256, uint256):
    """
    @notice 2,000, now.
    """
    if self.mode == 7:
        self._reenter()
    return 2_000 * 10**18, block.timestamp


@external
@view
def settlement(underlying: bytes32, expiry: uint64) -> uint256:
    """
    @notice 2,000.
    """
    if self.mode == 7:
        self._reenter()
    return 2_000 * 10**18


@internal
@view
def _answer() -> Bytes[20000]:
    """
    @notice The answer of the mode, wide enough for both questions.
    """
    long: uint256[600] = empty(uint256[600])
    i: uint256 = 0
    for told: uint256 in self.words:
        long[i] = told
        i += 1
    if self.mode == 1:
        raise "engine: hostile"
    assert self.mode != 2, UNREACHABLE
    if self.mode == 3:
        return b"\x01"
    if self.mode == 5:
        raw_revert(abi_encode(long))
    if self.mode == 6:
        self._reenter()
    if self.mode == 4:
        return abi_encode(long)
    return slice(abi_encode(long), 0, 8 * 32)


@internal
@view
def _reenter():
    """
    @notice Call the victim back; it must not get in.
    """
    entered: bool = raw_call(self.victim, self.calldata, is_static_call=True, revert_on_failure=False)
    assert not entered, "engine: entered"
