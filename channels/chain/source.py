"""Whether a price source is a shipped one, and set up as its owner wants it: its code, to the last immutable. Pure.

Prices are the one thing a channel trusts, and whose prices they are stands in the immutables: the publishers and how
many of them must sign, or the feeds. The shipped constructors keep these within bounds, but init code is the deployer's
own and can leave the shipped runtime behind with a threshold of none. So what is read back must be what a constructor
could have written, and its encoding must be the code, byte for byte. A proxy, an account, or an account that delegates
has other code than that, whatever it answers.

What is checked is code, not history: a deployer's own init code may also leave prices behind in storage, which no
code shows. So the address of a source is taken from who deployed it, or from somebody whom the owner trusts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields
from typing import ClassVar

from adjudicator_contracts import Artifact, artifact

from ..errors import InvalidBook, InvalidValue, SourceMismatch
from ..model import ZERO_ADDRESS, Address, keccak
from ..model.identity import checked_range, word
from ..model.option import underlying_word
from ..units import WAD

MAX_PUBLISHERS, MAX_FEEDS = 16, 8
_HOUR, _DAY = 3_600, 86_400


@dataclass(frozen=True, slots=True)
class SignedSetup:
    """What a `SignedPriceSource` is deployed with; InvalidValue for what its constructor refuses.

    `publishers` by ascending address, of which `threshold` must sign; a report may differ from the last one by
    `deviation_base + deviation_per_second * seconds`, WAD shares of its price, until `max_age` seconds have passed.
    """

    publishers: tuple[Address, ...]
    threshold: int
    deviation_base: int
    deviation_per_second: int
    max_age: int
    contract: ClassVar[str] = "SignedPriceSource"

    def __post_init__(self) -> None:
        count = len(self.publishers)
        checked_range("publishers", count, 1, MAX_PUBLISHERS)
        if any(a >= b for a, b in zip((ZERO_ADDRESS, *self.publishers), self.publishers, strict=False)):
            raise InvalidValue("publishers", [str(p) for p in self.publishers], "ascending, distinct and not zero")
        checked_range("threshold", self.threshold, 1, count)
        checked_range("deviation_base", self.deviation_base, 0, WAD)
        checked_range("deviation_per_second", self.deviation_per_second, 0, WAD)
        checked_range("max_age", self.max_age, _HOUR, 30 * _DAY)

    @property
    def immutables(self) -> bytes:
        """What the constructor appends to the code."""
        numbers = (self.threshold, self.deviation_base, self.deviation_per_second, self.max_age)
        return _array([p.word for p in self.publishers], MAX_PUBLISHERS, 1) + b"".join(map(word, numbers))

    @property
    def told(self) -> dict[str, str]:
        """The parameters as text, by name."""
        return {
            "publishers": ", ".join(map(str, self.publishers)),
            "threshold": f"{self.threshold} of {len(self.publishers)}",
            "deviation_base": str(self.deviation_base),
            "deviation_per_second": str(self.deviation_per_second),
            "max_age": f"{self.max_age} s",
        }


@dataclass(frozen=True, slots=True)
class Feed:
    """An AggregatorV3 feed of one underlying: a round counts for `max_age` seconds; its answers have `decimals`."""

    underlying: str
    feed: Address
    max_age: int
    decimals: int = 8

    def __post_init__(self) -> None:
        try:
            underlying_word(self.underlying)
        except InvalidBook as refused:
            raise InvalidValue("underlying", self.underlying, str(refused)) from None
        if self.feed == ZERO_ADDRESS:
            raise InvalidValue("feed", str(self.feed), "a contract")
        checked_range("max_age", self.max_age, 60, 3 * _DAY)
        checked_range("decimals", self.decimals, 0, 36)

    def __str__(self) -> str:
        return f"{self.underlying} from {self.feed}, at most {self.max_age} s old, {self.decimals} decimals"


@dataclass(frozen=True, slots=True)
class ChainlinkSetup:
    """What a `ChainlinkPriceSource` is deployed with; InvalidValue for what its constructor refuses.

    `feeds` by ascending underlying; `window` seconds are averaged before an expiry, 0: its first round since.
    """

    feeds: tuple[Feed, ...]
    window: int = 0
    contract: ClassVar[str] = "ChainlinkPriceSource"

    def __post_init__(self) -> None:
        checked_range("feeds", len(self.feeds), 1, MAX_FEEDS)
        names = [feed.underlying for feed in self.feeds]
        if names != sorted(set(names)):
            raise InvalidValue("feeds", names, "distinct, by ascending underlying")
        if self.window:
            checked_range("window", self.window, 60, _DAY)

    @property
    def immutables(self) -> bytes:
        """What the constructor appends to the code."""
        rows = [
            underlying_word(feed.underlying) + feed.feed.word + word(feed.max_age) + word(feed.decimals)
            for feed in self.feeds
        ]
        return _array(rows, MAX_FEEDS, 4) + word(self.window)

    @property
    def told(self) -> dict[str, str]:
        """The parameters as text, by name."""
        return {"feeds": "; ".join(map(str, self.feeds)), "window": f"{self.window} s"}


@dataclass(frozen=True, slots=True)
class AuditedCode:
    """A contract that this release does not ship and its owner has read: keccak256 of its code, immutables included.

    A proxy's code says nothing of what it answers next: accept none.
    """

    code_hash: bytes
    contract: ClassVar[str] = "a contract"

    def __post_init__(self) -> None:
        if len(self.code_hash) != 32:
            raise InvalidValue("code_hash", self.code_hash.hex(), "thirty-two bytes")

    @property
    def told(self) -> dict[str, str]:
        """The hash as text."""
        return {"code_hash": f"0x{self.code_hash.hex()}"}


SourceSetup = SignedSetup | ChainlinkSetup | AuditedCode
"""What a price source may be."""

SHIPPED = (ChainlinkSetup.contract, SignedSetup.contract)


def require_source(address: Address, code: bytes, accepted: Sequence[SourceSetup] | None) -> SourceSetup:
    """Return how the price source whose code is `code` is set up, if that is one of `accepted`.

    None accepts whatever a shipped constructor lets through. Raises SourceMismatch, which says what differs.
    """
    expected = " or ".join(SHIPPED) if accepted is None else " or ".join(map(described, accepted)) or "none at all"
    if not code:
        raise SourceMismatch(str(address), "no code", expected)
    audited = AuditedCode(keccak(code))
    if accepted is not None and audited in accepted:
        return audited
    found = _read(address, code, audited, expected)
    if accepted is None or found in accepted:
        return found
    alike = [setup for setup in accepted if type(setup) is type(found)]
    if not alike:
        raise SourceMismatch(str(address), described(found), expected)
    nearest = min(alike, key=lambda setup: len(_differing(setup, found)))
    names = _differing(nearest, found)
    raise SourceMismatch(str(address), described(found, names), described(nearest, names))


def described(setup: SourceSetup, names: Iterable[str] | None = None) -> str:
    """Return a setup as text: all its parameters, or those of these names."""
    told = setup.told
    return f"{setup.contract} with " + ", ".join(f"{name} {told[name]}" for name in (names or told))


def _differing(one: SourceSetup, other: SourceSetup) -> list[str]:
    return [field.name for field in fields(one) if getattr(one, field.name) != getattr(other, field.name)]


def _read(address: Address, code: bytes, audited: AuditedCode, expected: str) -> SignedSetup | ChainlinkSetup:
    readers: dict[str, Callable[[Artifact, bytes], SignedSetup | ChainlinkSetup]]
    readers = {SignedSetup.contract: _signed, ChainlinkSetup.contract: _chainlink}
    for name, reader in readers.items():
        shipped = artifact(name)
        if not shipped.matches(code):
            continue
        try:
            found = reader(shipped, code)
        except InvalidValue as broken:
            raise SourceMismatch(
                str(address), f"{name} that its constructor would refuse: {broken}", expected
            ) from None
        if code != shipped.runtime + found.immutables:
            raise SourceMismatch(str(address), f"{name} with immutables that its constructor never writes", expected)
        return found
    raise SourceMismatch(str(address), f"{len(code)} bytes of other code: {described(audited)}", expected)


def _signed(shipped: Artifact, code: bytes) -> SignedSetup:
    scalars = ("THRESHOLD", "DEVIATION_BASE", "DEVIATION_PER_SECOND", "MAX_AGE")
    rows = _rows(shipped.immutable(code, "PUBLISHERS"), MAX_PUBLISHERS, 1)
    numbers = [int.from_bytes(shipped.immutable(code, name)) for name in scalars]
    return SignedSetup(tuple(Address(row[12:]) for row in rows), *numbers)


def _chainlink(shipped: Artifact, code: bytes) -> ChainlinkSetup:
    feeds = tuple(
        Feed(_name(row[:32]), Address(row[44:64]), int.from_bytes(row[64:96]), int.from_bytes(row[96:]))
        for row in _rows(shipped.immutable(code, "FEEDS"), MAX_FEEDS, 4)
    )
    return ChainlinkSetup(feeds, int.from_bytes(shipped.immutable(code, "WINDOW")))


def _name(underlying: bytes) -> str:
    return underlying.rstrip(b"\0").decode("ascii", errors="replace")


def _array(rows: Sequence[bytes], most: int, words: int) -> bytes:
    """Return how an immutable dynamic array lies in the code: its length, its rows, zeros."""
    return (word(len(rows)) + b"".join(rows)).ljust(32 * (1 + most * words), b"\0")


def _rows(data: bytes, most: int, words: int) -> list[bytes]:
    count, width = int.from_bytes(data[:32]), 32 * words
    checked_range("entries", count, 0, most)
    return [data[at : at + width] for at in range(32, 32 + count * width, width)]
