# pragma version 0.4.3
"""
@title terms_rules
@license MIT
@notice Which terms a channel may have: the bounds without which an exit could be closed, and no opinion beyond them.
@dev Terms come as whole words (`IAdjudicator`), so the widths of protocol §2 are checked here too.
     Terms are checked where a channel is first touched. Only the first deposit looks at the clock: a rule that time can
     break must never stand between a party and its exit.
"""

from interfaces import IAdjudicator
from modules import errors

MAX_ADDRESS: constant(uint256) = 2**160 - 1
MAX_32: constant(uint256) = 2**32 - 1
MAX_64: constant(uint256) = 2**64 - 1
MIN_CHALLENGE: constant(uint256) = 600
MAX_CHALLENGE: constant(uint256) = 14 * 86_400
MIN_CURE: constant(uint256) = 300
MIN_GRACE: constant(uint256) = 3_600
MAX_GRACE: constant(uint256) = 30 * 86_400
# Expiries lie at most 10 years ahead; one more for the periods after the last of them.
MAX_LAST_RESORT: constant(uint256) = 11 * 365 * 86_400


@internal
@pure
def _check(terms: IAdjudicator.Terms):
    """
    @notice Revert unless the terms are within bounds that hold at any time.
    """
    # A union of words is below a power of two exactly if each of them is; the lower signer is below the higher one.
    addresses: uint256 = terms.signer1 | terms.owner0 | terms.owner1 | terms.token | terms.source | terms.engine
    errors._require(
        addresses <= MAX_ADDRESS and terms.spot_max_age <= MAX_32 and terms.last_resort <= MAX_64, "terms: out of bounds"
    )
    errors._require(terms.signer0 != 0, "terms: zero signer")
    errors._require(terms.signer0 < terms.signer1, "terms: signers not ascending")
    errors._require(terms.owner0 != 0 and terms.owner1 != 0, "terms: zero owner")
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
    errors._require(
        terms.last_resort > block.timestamp and terms.last_resort <= block.timestamp + MAX_LAST_RESORT, "terms: last resort"
    )
