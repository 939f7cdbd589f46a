# pragma version 0.4.3
"""
@title prices
@license MIT
@notice Asks the price source without trusting it: capped gas, capped return data, no revert passed on.
@dev Zero means missing. The source runs in a static call. Before each call the gas for its full cap is proven to be there,
     so that nobody can forge "missing" by starving it.
"""

from modules import errors

SOURCE_GAS: constant(uint256) = 200_000
SOURCE_RESERVE: constant(uint256) = 50_000
MAX_PRICE: constant(uint256) = 2**96


@internal
@view
def _require_gas():
    """
    @notice Revert unless the next call can be given its cap: a call passes on at most 63/64 of what is left.
    """
    errors._require(msg.gas * 63 // 64 > SOURCE_GAS + SOURCE_RESERVE, "prices: too little gas")


@internal
@pure
def _bounded(price: uint256) -> uint256:
    """
    @notice The price, or zero if it is beyond every bound.
    """
    return price if price <= MAX_PRICE else 0


@internal
@view
def _settlement(source: uint256, underlying: bytes32, expiry: uint256) -> uint256:
    """
    @notice The source's settlement price, zero if missing.
    """
    self._require_gas()
    success: bool = False
    answer: Bytes[32] = b""
    success, answer = raw_call(
        convert(source, address),
        abi_encode(underlying, expiry, method_id=method_id("settlement(bytes32,uint64)")),
        max_outsize=32,
        gas=SOURCE_GAS,
        is_static_call=True,
        revert_on_failure=False,
    )
    if not success or len(answer) < 32:
        return 0
    return self._bounded(convert(answer, uint256))


@internal
@view
def _spot(source: uint256, underlying: bytes32) -> (uint256, uint256):
    """
    @notice The source's last price and when it was observed; price zero if missing.
    """
    self._require_gas()
    success: bool = False
    answer: Bytes[64] = b""
    success, answer = raw_call(
        convert(source, address),
        abi_encode(underlying, method_id=method_id("spot(bytes32)")),
        max_outsize=64,
        gas=SOURCE_GAS,
        is_static_call=True,
        revert_on_failure=False,
    )
    if not success or len(answer) < 64:
        return 0, 0
    return self._bounded(extract32(answer, 0, output_type=uint256)), extract32(answer, 32, output_type=uint256)


@internal
@view
def _fresh_spot(source: uint256, underlying: bytes32, not_before: uint256, max_age: uint256) -> uint256:
    """
    @notice The source's last price if it was observed at or after `not_before`, at most `max_age` ago, and not in the future.
    """
    price: uint256 = 0
    observed: uint256 = 0
    price, observed = self._spot(source, underlying)
    if observed < not_before or observed > block.timestamp:
        return 0
    if block.timestamp - observed > max_age:
        return 0
    return price
