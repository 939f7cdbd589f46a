"""The adjudicator's logs as facts of the core. Pure.

A log that no valid value can express (a book with a name that is not ASCII, say) is passed over: both signers of that
channel left the protocol to write it, and it must not stop the nodes of everybody else.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

from eth_abi.abi import decode

from ..core.facts import (
    CalledSeen,
    ChainFact,
    ClosedSeen,
    CuredSeen,
    DepositSeen,
    LiquidatedSeen,
    PaymentSeen,
    RegisteredSeen,
    ReleasedSeen,
    SettlementSeen,
)
from ..errors import InvalidBook, RuleViolation
from ..model import ChannelId, Intent, Party, State
from ..model.option import underlying_word
from .abi import Entry, abi_of

Place = tuple[int, int]
"""Block number and log index."""


def decode_log(topics: Sequence[bytes], data: bytes, block: int, index: int) -> tuple[ChannelId, ChainFact] | None:
    """Return the channel and the fact that a log of the adjudicator states; None if it states none.

    `block` and `index` are where the log stands: margin facts carry them.
    Raises eth_abi's DecodingError if the bytes are not what the event's declaration says: no adjudicator wrote them.
    """
    reader = _readers().get(bytes(topics[0])) if topics else None
    if reader is None:
        return None
    entry, read = reader
    if len(topics) != 2:
        return None
    channel = ChannelId(bytes(topics[1]))
    try:
        return channel, read((block, index), *decode(entry.inputs, data))
    except RuleViolation:
        return None


@cache
def _readers() -> Mapping[bytes, tuple[Entry, Callable[..., ChainFact]]]:
    events = abi_of("Adjudicator").events
    readers: dict[str, Callable[..., ChainFact]] = {
        "Deposited": _deposited,
        "Paid": _paid,
        "Registered": _registered,
        "Pinned": _pinned,
        "Closed": _closed,
        "Called": _called,
        "Cured": _cured,
        "Liquidated": _liquidated,
        "Released": _released,
    }
    return {events[name].topic: (events[name], read) for name, read in readers.items()}


def _deposited(_: Place, party: int, amount: int, total: int) -> ChainFact:
    return DepositSeen(Party(party), total)


def _paid(_: Place, party: int, amount: int, total: int) -> ChainFact:
    return PaymentSeen(Party(party), total)


def _registered(_: Place, deadline: int, row: Sequence[Any]) -> ChainFact:
    return RegisteredSeen(state_of(row), deadline)


def _pinned(_: Place, underlying: bytes, expiry: int, price: int, origin: int) -> ChainFact:
    return SettlementSeen(underlying_of(underlying), expiry, price)


def _closed(_: Place, payout0: int, payout1: int) -> ChainFact:
    return ClosedSeen((payout0, payout1))


def _called(place: Place, party: int, deadline: int) -> ChainFact:
    return CalledSeen(Party(party), deadline, *place)


def _cured(place: Place, party: int) -> ChainFact:
    return CuredSeen(Party(party), *place)


def _liquidated(place: Place, party: int, value0: int, charge: int) -> ChainFact:
    return LiquidatedSeen(Party(party), value0, charge, *place)


def _released(place: Place, party: int, amount: int) -> ChainFact:
    return ReleasedSeen(Party(party), amount, *place)


def state_of(row: Sequence[Any]) -> State | None:
    """Return the state in a decoded struct, None for the all-zero one; InvalidState for one nobody may sign."""
    channel, version, intent, valid_until, d0, d1, w0, w1, b0, b1, book = row
    if version == 0:
        return None
    return State(ChannelId(channel), version, Intent(intent), valid_until, (d0, d1), (w0, w1), (b0, b1), book)


def underlying_of(word: bytes) -> str:
    """Return the name in a left-aligned word; InvalidBook unless the name encodes to exactly that word."""
    name = word.rstrip(b"\0").decode("ascii", "replace")
    if underlying_word(name) != word:
        raise InvalidBook(f"the underlying {word.hex()} is not a left-aligned name")
    return name
