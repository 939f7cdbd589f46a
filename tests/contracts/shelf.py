"""Every book that the machine signs: what the parties keep, and what the adjudicator can read of it."""

from tests.contracts.encoding import BTC, ETH, WAD, Leg, State, book as encode_book, book_hash
from tests.contracts.evm import START
from tests.contracts.model import Contents

DAY = 86_400
FIRST, SECOND = START + DAY, START + 3 * DAY
"""The two expiries."""
MARKED = 2_000 * WAD
"""The spot that every book marks."""

_SHELF: dict[bytes, tuple[bytes, Contents | None]] = {}


def book_of(state: State) -> tuple[bytes, Contents | None]:
    """Return the bytes behind a state's book hash and what they say; no contents where nobody can read them."""
    return _SHELF[state.book]


def read(data: bytes) -> Contents | None:
    """Return what book bytes say, None if they are no book."""
    return _SHELF[book_hash(data)][1]


def _line(expiry: int, strike: int, kind: int, quantity: int, underlying: bytes = ETH) -> Leg:
    return Leg(underlying, expiry, strike * WAD, kind, quantity)


def _keep(data: bytes, contents: Contents | None) -> bytes:
    _SHELF[book_hash(data)] = data, contents
    return book_hash(data)


def _of(*legs: Leg) -> bytes:
    ordered = tuple(sorted(legs, key=lambda leg: (leg.underlying, leg.expiry, leg.strike, leg.kind)))
    return _keep(encode_book(*legs), Contents(ordered, {leg.underlying: MARKED for leg in legs}))


SANE = (
    _of(),
    _of(_line(FIRST, 1_900, 0, WAD)),
    _of(_line(FIRST, 1_900, 0, -4 * WAD)),
    _of(_line(FIRST, 2_400, 1, WAD), _line(SECOND, 1_500, 0, -WAD)),
    _of(_line(FIRST, 2_100, 1, -(WAD // 3)), _line(FIRST, 1_000, 1, WAD, BTC), _line(SECOND, 1_800, 0, WAD // 7)),
    _of(_line(FIRST, 1_900, 0, WAD // 9), _line(SECOND, 2_000, 0, 2 * WAD), _line(SECOND, 2_000, 1, -2 * WAD)),
)
"""The last one is a forward: either side can be in breach, and it outlives its first leg."""
LOST = book_hash(b"lost")
MAD = (_of(_line(FIRST, 1_900, 2, WAD)), _keep(b"\1" * 100, None), LOST)
"""An unknown kind of option, bytes that are no book, and a book whose bytes are gone."""
_SHELF[LOST] = b"", None

LINES = tuple(dict.fromkeys(line for key in SANE for line in (_SHELF[key][1] or Contents((), {})).lines))
"""Every (underlying, expiry) of a readable book."""
