# pragma version 0.4.3
# pragma evm-version cancun
"""
@title HostileFeed
@license MIT
@notice An AggregatorV3 feed in every way but an honest one.
@dev Round n of phase 1 exists and is dated `origin + n`, for n up to `count`, unless a mode says otherwise: 0 is honest, 1 reverts,
     2 eats all its gas, 3 answers zeros, 4 answers four words, 5 answers far more than was asked, 6 answers ones only,
     7 answers another price each second, 8 calls back before it answers, and says 1 if anybody listened, 9 speaks of another
     round, 10 answers a negative price, 11 answers from the future, 12 dates later rounds earlier, 13 reverts with a very long
     reason, 14 dates all rounds alike, 15 answers a price beyond the bounds, 16 is in a phase beyond reach, 17 dates rounds
     before time began, 18 answers from an earlier round, 19 has a price without a date,
     20 is honest and takes much of the gas it may be given.
"""

WORK: constant(uint256) = 420

mode: public(uint256)
decimals_mode: public(uint256)
price: public(uint256)
origin: public(uint256)
count: public(uint256)
target: address
message: Bytes[256]


@deploy
def __init__(price: uint256, origin: uint256, count: uint256):
    """
    @notice Honest to begin with: `count` rounds at one price, a second apart.
    """
    self.price = price
    self.origin = origin
    self.count = count


@external
def set_mode(mode: uint256, decimals_mode: uint256):
    """
    @notice Behave in this way from now on.
    """
    self.mode = mode
    self.decimals_mode = decimals_mode


@external
def set_price(price: uint256):
    """
    @notice Answer this price from now on, also about the past.
    """
    self.price = price


@external
def set_call(target: address, message: Bytes[256]):
    """
    @notice What mode 8 calls.
    """
    self.target = target
    self.message = message


@external
@raw_return
def decimals() -> Bytes[20000]:
    """
    @notice Eight, if it says so.
    """
    if self.decimals_mode == 20:
        self._work()
    if self.decimals_mode in [0, 20]:
        return abi_encode(convert(8, uint256))
    return self._answer(self.decimals_mode, 0)


@external
@raw_return
def latestRoundData() -> Bytes[20000]:
    """
    @notice The answer of the mode.
    """
    return self._answer(self.mode, (1 << 64) | self.count)


@external
@raw_return
def getRoundData(round_id: uint80) -> Bytes[20000]:
    """
    @notice The answer of the mode.
    """
    return self._answer(self.mode, convert(round_id, uint256))


@internal
def _answer(mode: uint256, round_id: uint256) -> Bytes[20000]:
    """
    @notice Five words, more, fewer, or none.
    """
    long: uint256[600] = empty(uint256[600])
    if mode == 1:
        raise "feed: hostile"
    assert mode != 2, UNREACHABLE
    if mode == 4:
        return abi_encode(round_id, self.price, self.origin, self.origin)
    if mode == 6:
        ones: uint256 = max_value(uint256)
        return abi_encode(ones, ones, ones, ones, ones)
    if mode == 13:
        raw_revert(abi_encode(long))
    id: uint256 = round_id
    number: uint256 = round_id & (2**64 - 1)
    price: uint256 = self.price
    time: uint256 = self.origin + number
    answered: uint256 = round_id
    if mode == 3 or number > self.count or round_id >> 64 != 1:
        price = 0
        time = 0
    if mode == 7:
        price += block.timestamp
    if mode == 8:
        heard: bool = raw_call(self.target, self.message, revert_on_failure=False)
        price = 1 if heard else price
    if mode == 9:
        id += 1
    if mode == 10:
        price = max_value(uint256)
    if mode == 11:
        time = block.timestamp + 1
    if mode == 12:
        time = self.origin + self.count - min(number, self.count)
    if mode == 14:
        time = self.origin
    if mode == 15:
        price = 2**200
    if mode == 16:
        id |= 2**79
        answered = id
    if mode == 17:
        time = 1
    if mode == 18:
        answered -= 1
    if mode == 19:
        time = 0
    if mode == 20:
        self._work()
    if mode == 5:
        long[0] = id
        long[1] = price
        long[2] = time
        long[3] = time
        long[4] = answered
        return abi_encode(long)
    return abi_encode(id, price, time, time, answered)


@internal
@pure
def _work():
    """
    @notice Some 40,000 gas.
    """
    hash: bytes32 = empty(bytes32)
    for i: uint256 in range(WORK):
        hash = keccak256(hash)
