# pragma version 0.4.3
# pragma nonreentrancy on
"""
@title vault
@license MIT
@notice The money of every channel: what came in, what went out, and what a push could not deliver.
@dev Per channel two words (`ledger`), and per token and owner what waits for `claim`. The only place that writes any of them.
"""

from interfaces import IAdjudicator
from modules import errors
from modules import ledger
from modules import tokens

# channel -> cumulative deposits and payments, each packed as `ledger` says
deposits: HashMap[bytes32, uint256]
payments: HashMap[bytes32, uint256]
# token -> owner -> what failed pushes left behind
deferred: HashMap[address, HashMap[address, uint256]]


@external
def claim(token: address, owner: address):
    """
    @notice See `IAdjudicator.claim`.
    """
    amount: uint256 = self.deferred[token][owner]
    errors._require(amount != 0, "adjudicator: nothing to claim")

    self.deferred[token][owner] = 0
    log IAdjudicator.Claimed(token=token, owner=owner, amount=amount)
    tokens._transfer(token, owner, amount, msg.gas)


@external
@reentrant
def push(token: address, owner: address, amount: uint256):
    """
    @notice See `IAdjudicator.push`.
    """
    errors._require(msg.sender == self, "adjudicator: not the adjudicator")

    tokens._transfer(token, owner, amount, tokens.PUSH_GAS)


@external
@view
def claimable(token: address, owner: address) -> uint256:
    """
    @notice See `IAdjudicator.claimable`.
    """
    return self.deferred[token][owner]


@internal
@view
def _ledger(channel: bytes32) -> ledger.Ledger:
    """
    @notice Cumulative deposits and payments.
    """
    return ledger._unpack(self.deposits[channel], self.payments[channel])


@internal
@view
def _deposits(channel: bytes32) -> uint256[2]:
    """
    @notice Cumulative deposits.
    """
    return ledger._unpack(self.deposits[channel], 0).deposits


@internal
def _credit(channel: bytes32, totals: uint256[2]):
    """
    @notice Write the cumulative deposits.
    """
    self.deposits[channel] = ledger._pack(totals)


@internal
def _pay_due(channel: bytes32, terms: IAdjudicator.Terms, money: ledger.Ledger, due: uint256[2]):
    """
    @notice Book what is due to each party, if anything, then push it.
    """
    if due[0] | due[1] == 0:
        return
    left: ledger.Ledger = ledger._after(money, due)
    # Holds by construction of `due`; asserted because both keys may be one person's and the other channels' money is here.
    ledger._pot(left)

    self.payments[channel] = ledger._pack(left.paid)
    for i: uint256 in range(2):
        if due[i] != 0:
            log IAdjudicator.Paid(channel=channel, party=convert(i, uint8), amount=due[i], total=left.paid[i])
    self._send(channel, terms, due)


@internal
def _empty(channel: bytes32, terms: IAdjudicator.Terms, payouts: uint256[2]):
    """
    @notice Pay out the whole pot.
    @dev The ledger is wiped: a closed channel has no pot, so nothing could be paid from it even without the phase check.
    """
    self.deposits[channel] = 0
    self.payments[channel] = 0
    log IAdjudicator.Closed(channel=channel, payout0=payouts[0], payout1=payouts[1])
    self._send(channel, terms, payouts)


@internal
def _send(channel: bytes32, terms: IAdjudicator.Terms, amounts: uint256[2]):
    """
    @notice Push both parties' amounts, or leave them for `claim`.
    @dev Writes after the call; the lock makes that safe, and the amounts had already left the pot.
    """
    token: address = convert(terms.token, address)
    owners: uint256[2] = [terms.owner0, terms.owner1]
    for i: uint256 in range(2):
        owner: address = convert(owners[i], address)
        if amounts[i] != 0 and not tokens._try_push(token, owner, amounts[i]):
            self.deferred[token][owner] += amounts[i]
            log IAdjudicator.Deferred(channel=channel, owner=owner, token=token, amount=amounts[i])
