"""What the rules of the machine draw from."""

from hypothesis import strategies as st

from tests.contracts.duel import CURE, SPOT_MAX_AGE, UNIT
from tests.contracts.encoding import WAD
from tests.contracts.margins import FICKLE, NONE, SHIPPED
from tests.contracts.shelf import FIRST, SANE, SECOND

seats = st.sampled_from((0, 1, 1, 2))
desks = st.sampled_from((0, 0, 0, 1, 2, 2))
"""Seats for margin stories: a close-out ends a channel, and SYBIL has more to say than that."""
parties = st.integers(0, 1)
recency = st.sampled_from((0, 0, 0, 1, 2, 4))
people = st.sampled_from((0, 1, 2, 3, None, None))
"""Who acts: party 0's signer or owner, party 1's, or a stranger."""
amounts = st.sampled_from((1, 100 * UNIT, 333_333_333, 1_000 * UNIT))
payers = st.integers(0, 3)
"""Who gives a permit, which takes a key: the signers of FAIR and ROGUE, then SYBIL's, each a stranger to the other."""
permits = st.sampled_from(
    (
        "valid",
        "valid",
        "last second",
        "front-run",
        "front-run",
        "allowed",
        "refused",
        "short",
        "expired",
        "stolen",
        "again",
    )
)
"""What is wrong with a permit, if anything."""
hasty = st.sampled_from((True, False, False, False))
prices = st.sampled_from((1, 1_900 * WAD, 2_000 * WAD + 7, 2_345 * WAD, 9_000 * WAD, 2**96))

engines = st.sampled_from(
    ((SHIPPED, SHIPPED, SHIPPED), (SHIPPED, FICKLE, SHIPPED), (SHIPPED, SHIPPED, FICKLE), (NONE, SHIPPED, SHIPPED))
)
"""The risk engine of each seat."""
books = st.integers(1, len(SANE) - 1)
spots = st.sampled_from((1_500, 1_900, 2_000, 2_100, 2_100, 2_250, 2_345, 2_700, 6_000))
"""Whole prices around the marks, so that the books' short sides fall into breach and out of it."""
callers = st.sampled_from(("signer", "signer", "signer", "owner", "self", "stranger"))
"""Who makes a margin deed: the side it protects, mostly."""
rows = st.sampled_from(("worst", "worst", "worst", "worst", "harmless", "none", "beyond"))
"""A witness."""
ages = st.sampled_from((0, 0, 0, 0, SPOT_MAX_AGE, SPOT_MAX_AGE + 1))
moments = st.sampled_from((None, None, None, None, FIRST - 2 * CURE, FIRST - 7 * CURE, SECOND - CURE))
"""When a story begins: also shortly before an expiry, so that the expiry falls into the window."""
lies = st.tuples(
    st.sampled_from((-1, 0, 10**9, 2**127, 2**255 - 1)),
    st.sampled_from((True, True, True, False)),
    st.sampled_from((0, 10**8, -(10**8), 10**15, 2**255 - 1, -(2**255))),
    st.sampled_from((0, 10**8, -(10**8), 2**255 - 1, -(2**255))),
)
"""What a fickle engine is told to say: excess, verdict, value, charge."""
