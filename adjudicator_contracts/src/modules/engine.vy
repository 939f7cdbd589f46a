# pragma version 0.4.3
"""
@title engine
@license MIT
@notice Puts a margin question to the channel's risk engine: a book, at fresh spots, now.
@dev The engine is part of the terms. If it reverts or starves, so does the caller, and nothing else follows from it: so its gas needs
     no cap and its answer no interpretation. No exit comes this way.
"""

from interfaces import IAdjudicator
from interfaces import IRiskEngine
from modules import errors
from modules import payoff
from modules import pins
from modules import prices

uses: pins

# Prices of a book's marks, in their order: spots, and settlements of the expiries that have passed, zero for none.
struct Prices:
    spots: DynArray[uint256, 4]
    settlements: DynArray[uint256, 8]


@internal
@view
def _excess(
    channel: bytes32,
    terms: IAdjudicator.Terms,
    name: bytes32,
    book: Bytes[7712],
    party: uint8,
    cash: int256,
    settled: bool,
) -> int256:
    """
    @notice Equity of `party` above its initial margin over the whole grid, token units.
    """
    found: Prices = self._prices(channel, terms, name, book, settled)
    return staticcall IRiskEngine(convert(terms.engine, address)).excess(
        book,
        party,
        cash,
        convert(terms.decimals, uint8),
        found.spots,
        found.settlements,
        convert(block.timestamp, uint64),
    )


@internal
@view
def _require_breach(
    channel: bytes32,
    terms: IAdjudicator.Terms,
    name: bytes32,
    book: Bytes[7712],
    party: uint8,
    cash: int256,
    witness: DynArray[uint256, 4],
    settled: bool,
) -> (int256, int256):
    """
    @notice Revert unless the witness proves `party` below maintenance.
    @return What the positions are worth to party 0, and the close-out charge of `party`. Token units.
    """
    found: Prices = self._prices(channel, terms, name, book, settled)
    proven: bool = False
    values: int256[2] = [0, 0]
    charges: int256[2] = [0, 0]
    proven, values, charges = staticcall IRiskEngine(convert(terms.engine, address)).liquidation(
        book,
        party,
        cash,
        convert(terms.decimals, uint8),
        found.spots,
        found.settlements,
        convert(block.timestamp, uint64),
        witness,
    )
    errors._require(proven, "adjudicator: no breach")
    return values[0], charges[party]


@internal
@view
def _prices(
    channel: bytes32, terms: IAdjudicator.Terms, name: bytes32, book: Bytes[7712], settled: bool
) -> Prices:
    """
    @notice A fresh spot for each underlying, and what expired legs settled at: which must be there if `settled` says so.
    """
    errors._require(terms.engine != 0, "adjudicator: no risk engine")
    contents: payoff.Book = payoff._open(name, book)
    found: Prices = empty(Prices)
    for mark: payoff.Spot in contents.spots:
        spot: uint256 = prices._fresh_spot(terms.source, mark.underlying, 0, terms.spot_max_age)
        errors._require(spot != 0, "adjudicator: no fresh spot")
        found.spots.append(spot)
    for mark: payoff.Forward in contents.forwards:
        price: uint256 = pins._settlement(channel, terms.source, mark.underlying, mark.expiry)
        errors._require(
            price != 0 or not settled or block.timestamp < mark.expiry, "adjudicator: no settlement price"
        )
        found.settlements.append(price)
    return found
