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
def _after(ledger: Ledger, due: uint256[2]) -> Ledger:
    """
    @notice The ledger once `due` is paid.
    """
    return Ledger(deposits=ledger.deposits, paid=[ledger.paid[0] + due[0], ledger.paid[1] + due[1]])


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
    for i: uint256 in range(2):
        if authorised[i] > ledger.paid[i]:
            due[i] = min(authorised[i] - ledger.paid[i], self._pot(self._after(ledger, due)))
    return due


@internal
@pure
def _cash(state: IAdjudicator.State, ledger: Ledger, party: uint8) -> int256:
    """
    @notice What `party` has in the channel beside its positions: its balance, the deposits that the state does not know yet (or
            lost), and the withdrawals that it authorises and were not paid (or were paid beyond it). All its collateral.
    """
    balance: int256 = state.balance0
    deposit: uint256 = state.deposit0
    withdrawal: uint256 = state.withdrawal0
    if party == 1:
        balance = state.balance1
        deposit = state.deposit1
        withdrawal = state.withdrawal1
    extra: int256 = convert(ledger.deposits[party], int256) - convert(deposit, int256)
    unpaid: int256 = convert(withdrawal, int256) - convert(ledger.paid[party], int256)
    return balance + extra + unpaid


@internal
@pure
def _payouts(state: IAdjudicator.State, ledger: Ledger, payoff: int256) -> uint256[2]:
    """
    @notice How the whole pot splits when the channel closes on `state`: party 0's cash plus payoff, clamped to the pot.
    """
    pot: uint256 = self._pot(ledger)
    claim: int256 = self._cash(state, ledger, 0) + payoff
    first: uint256 = min(convert(max(claim, 0), uint256), pot)
    return [first, pot - first]
