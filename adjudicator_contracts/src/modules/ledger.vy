# pragma version 0.4.3
"""
@title ledger
@license MIT
@notice What a channel holds and what it owes: protocol §3.1 as arithmetic.
@dev Deposits and payments are cumulative, two 128-bit halves per storage word (party 0 low). Deposits stay below 2**120
     each, and payments never exceed the deposits of both, so halves cannot overflow. All differences are signed: a
     deposit that a reorg took away is a debt, not a veto.
"""

from interfaces import IAdjudicator
from modules import errors

MASK_128: constant(uint256) = 2**128 - 1

struct Ledger:
    deposits: uint256[2]
    paid: uint256[2]


@internal
@pure
def _unpack(deposits: uint256, paid: uint256) -> Ledger:
    """
    @notice Read the two words.
    """
    return Ledger(deposits=[deposits & MASK_128, deposits >> 128], paid=[paid & MASK_128, paid >> 128])


@internal
@pure
def _pack(halves: uint256[2]) -> uint256:
    """
    @notice Write one word.
    """
    return halves[0] | (halves[1] << 128)


@internal
@pure
def _pot(ledger: Ledger) -> uint256:
    """
    @notice What the channel still holds. Reverts below zero: no sequence of payments may get there.
    """
    deposited: uint256 = ledger.deposits[0] + ledger.deposits[1]
    paid: uint256 = ledger.paid[0] + ledger.paid[1]
    errors._require(paid <= deposited, "ledger: overpaid")
    return deposited - paid


@internal
@pure
def _withdrawals_due(state: IAdjudicator.State, ledger: Ledger) -> uint256[2]:
    """
    @notice What `state` authorises and the pot can bear now: party 0 first, the pot read anew for party 1.
    @dev Nothing while the state counts on a deposit that is not there.
    """
    due: uint256[2] = [0, 0]
    if state.deposit0 > ledger.deposits[0] or state.deposit1 > ledger.deposits[1]:
        return due
    authorised: uint256[2] = [state.withdrawal0, state.withdrawal1]
    after: Ledger = ledger
    for i: uint256 in range(2):
        if authorised[i] > after.paid[i]:
            due[i] = min(authorised[i] - after.paid[i], self._pot(after))
            after.paid[i] += due[i]
    return due


@internal
@pure
def _payouts(state: IAdjudicator.State, ledger: Ledger, payoff: int256) -> uint256[2]:
    """
    @notice How the whole pot splits when the channel closes on `state`: party 0's cash plus payoff, clamped to the pot.
    """
    pot: uint256 = self._pot(ledger)
    extra: int256 = convert(ledger.deposits[0], int256) - convert(state.deposit0, int256)
    unpaid: int256 = convert(state.withdrawal0, int256) - convert(ledger.paid[0], int256)
    claim: int256 = state.balance0 + extra + unpaid + payoff
    first: uint256 = min(convert(max(claim, 0), uint256), pot)
    return [first, pot - first]
