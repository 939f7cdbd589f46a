# pragma version 0.4.3
"""
@title terms_rules
@license MIT
@notice Which terms a channel may have: the bounds without which an exit could be closed, and no opinion beyond them.
@dev Terms are checked where a channel is first touched. Only the first deposit looks at the clock: a rule that time can
     break must never stand between a party and its exit.
"""

from interfaces import IAdjudicator
from modules import errors

MIN_CHALLENGE: constant(uint32) = 600
MAX_CHALLENGE: constant(uint32) = 14 * 86_400
MIN_CURE: constant(uint32) = 300
MIN_GRACE: constant(uint32) = 3_600
MAX_GRACE: constant(uint32) = 30 * 86_400
# Expiries lie at most 10 years ahead; one more for the periods after the last of them.
MAX_LAST_RESORT: constant(uint256) = 11 * 365 * 86_400


@internal
@pure
def _check(terms: IAdjudicator.Terms):
    """
    @notice Revert unless the terms are within bounds that hold at any time.
    """
    first: uint160 = convert(terms.signers[0], uint160)
    errors._require(first != 0, "terms: zero signer")
    errors._require(first < convert(terms.signers[1], uint160), "terms: signers not ascending")
    errors._require(terms.owners[0] != empty(address) and terms.owners[1] != empty(address), "terms: zero owner")
    errors._require(terms.decimals <= 18, "terms: too many decimals")
    errors._require(terms.challenge_period >= MIN_CHALLENGE and terms.challenge_period <= MAX_CHALLENGE, "terms: challenge period")
    errors._require(terms.cure_period >= MIN_CURE and terms.cure_period <= terms.challenge_period, "terms: cure period")
    errors._require(terms.grace >= MIN_GRACE and terms.grace <= MAX_GRACE, "terms: grace")


@internal
@view
def _check_new(terms: IAdjudicator.Terms):
    """
    @notice Revert unless money may enter under these terms now.
    """
    self._check(terms)
    last_resort: uint256 = convert(terms.last_resort, uint256)
    errors._require(last_resort > block.timestamp and last_resort <= block.timestamp + MAX_LAST_RESORT, "terms: last resort")
