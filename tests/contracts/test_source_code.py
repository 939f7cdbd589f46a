"""A price source's code against the library's idea of it: what the constructors leave behind, byte for byte."""

from __future__ import annotations

from dataclasses import replace

import pytest

from adjudicator_contracts import artifact
from channels.chain.source import AuditedCode, ChainlinkSetup, Feed, SignedSetup, require_source
from channels.errors import InvalidValue, SourceMismatch
from channels.model import ZERO_ADDRESS, Address, keccak
from channels.units import WAD
from tests.contracts.evm import Chain

REVM_PADDING = 33
"""Bytes that revm keeps behind a contract's code."""
WHERE = Address(b"\1" * 20)
HOUR, DAY = 3_600, 86_400
PUBLISHERS = tuple(Address(bytes([n]) * 20) for n in range(1, 17))
SIGNED = SignedSetup(PUBLISHERS[:3], 2, WAD // 100, WAD // 10_000, HOUR)
CHAINLINK = ChainlinkSetup((Feed("BTC/USD", PUBLISHERS[0], DAY), Feed("ETH/USD", PUBLISHERS[1], HOUR, 18)), 600)
SHIPPED = {setup: artifact(setup.contract) for setup in (SIGNED, CHAINLINK)}


def code_of(setup: SignedSetup | ChainlinkSetup) -> bytes:
    """What the constructor should leave behind."""
    return artifact(setup.contract).runtime + setup.immutables


@pytest.mark.parametrize(
    "setup",
    [
        SIGNED,
        SignedSetup(PUBLISHERS[:1], 1, 0, 0, HOUR),
        SignedSetup(PUBLISHERS, 16, WAD, WAD, 30 * DAY),
    ],
    ids=lambda setup: f"{setup.threshold} of {len(setup.publishers)}",
)
def test_the_signed_sources_constructor_writes_what_the_library_expects(setup: SignedSetup) -> None:
    chain = Chain()
    bounds = (setup.deviation_base, setup.deviation_per_second, setup.max_age)
    source = chain.deploy("SignedPriceSource", [str(key) for key in setup.publishers], setup.threshold, *bounds)
    code = chain.code(source.address)[:-REVM_PADDING]
    assert code == code_of(setup)
    assert require_source(WHERE, code, None) == require_source(WHERE, code, (setup,)) == setup


@pytest.mark.parametrize(("count", "window"), [(1, 0), (2, 60), (8, DAY)])
def test_the_chainlink_sources_constructor_writes_what_the_library_expects(count: int, window: int) -> None:
    chain = Chain()
    names = [f"{letter}/USD" for letter in "ABCDEFGH"[:count]]
    decimals = [(8, 18, 0, 36)[i % 4] for i in range(count)]
    feeds = [chain.deploy("RoundFeed", places).address for places in decimals]
    words = [name.encode().ljust(32, b"\0") for name in names]
    listings = [(words[i], feeds[i], HOUR + i) for i in range(count)]
    source = chain.deploy("ChainlinkPriceSource", listings, window)
    listed = zip(names, feeds, decimals, strict=True)
    setup = ChainlinkSetup(
        tuple(Feed(name, Address(feed), HOUR + i, places) for i, (name, feed, places) in enumerate(listed)), window
    )
    code = chain.code(source.address)[:-REVM_PADDING]
    assert code == code_of(setup)
    assert require_source(WHERE, code, None) == require_source(WHERE, code, (SIGNED, setup)) == setup


@pytest.mark.parametrize("setup", SHIPPED, ids=lambda setup: setup.contract)
def test_every_bit_behind_the_runtime_counts(setup: SignedSetup | ChainlinkSetup) -> None:
    """One flipped bit in any word, those that no array reaches included, is another source; no bit passes unread."""
    code, start = bytearray(code_of(setup)), len(SHIPPED[setup].runtime)
    assert sum(value.length for value in SHIPPED[setup].immutables) == len(code) - start
    for place in sorted({*range(start, len(code), 32), *range(start + 31, len(code), 32)}):
        code[place] ^= 1
        with pytest.raises(SourceMismatch):
            require_source(WHERE, bytes(code), (setup,))
        code[place] ^= 1
    assert require_source(WHERE, bytes(code), (setup,)) == setup


@pytest.mark.parametrize(
    ("other", "said"),
    [
        (replace(SIGNED, threshold=1), ("threshold 1 of 3", "threshold 2 of 3")),
        (replace(SIGNED, publishers=PUBLISHERS[1:4]), (str(PUBLISHERS[3]), str(PUBLISHERS[0]))),
        (replace(SIGNED, deviation_base=WAD), (f"deviation_base {WAD}", f"deviation_base {WAD // 100}")),
        (replace(CHAINLINK, window=0), ("window 0 s", "window 600 s")),
        (
            replace(CHAINLINK, feeds=(CHAINLINK.feeds[0], replace(CHAINLINK.feeds[1], feed=PUBLISHERS[8]))),
            (f"ETH/USD from {PUBLISHERS[8]}", f"ETH/USD from {PUBLISHERS[1]}"),
        ),
    ],
)
def test_another_setup_is_told_beside_the_nearest_accepted_one(
    other: SignedSetup | ChainlinkSetup, said: tuple[str, str]
) -> None:
    far = replace(SIGNED, publishers=PUBLISHERS[4:6], max_age=DAY), ChainlinkSetup(CHAINLINK.feeds[:1], 60)
    with pytest.raises(SourceMismatch) as refused:
        require_source(WHERE, code_of(other), (*far, SIGNED, CHAINLINK))
    assert (said[0] in refused.value.found, said[1] in refused.value.expected) == (True, True), str(refused.value)
    assert "max_age 3600" not in str(refused.value), "what agrees is not told"
    assert "NodeConfig.source_setups" in str(refused.value)
    assert require_source(WHERE, code_of(other), None) == other


def test_another_kind_than_the_accepted_one_is_told_whole() -> None:
    with pytest.raises(
        SourceMismatch, match=f"found SignedPriceSource with publishers {PUBLISHERS[0]}, .* expected Ch"
    ):
        require_source(WHERE, code_of(SIGNED), (CHAINLINK,))
    with pytest.raises(SourceMismatch, match="expected none at all"):
        require_source(WHERE, code_of(SIGNED), ())


SLOTS = {value.name: value for setup in SHIPPED.values() for value in setup.immutables}


@pytest.mark.parametrize(
    ("setup", "name", "word", "value", "reason"),
    [
        (SIGNED, "THRESHOLD", 0, 0, "threshold = 0"),
        (SIGNED, "THRESHOLD", 0, 4, "threshold = 4"),
        (SIGNED, "PUBLISHERS", 0, 0, "publishers = 0"),
        (SIGNED, "PUBLISHERS", 0, 17, "entries = 17"),
        (SIGNED, "PUBLISHERS", 0, 2**255, "entries = "),
        (SIGNED, "PUBLISHERS", 1, 0, "ascending, distinct and not zero"),
        (SIGNED, "PUBLISHERS", 2, int.from_bytes(PUBLISHERS[0]), "ascending, distinct and not zero"),
        (SIGNED, "PUBLISHERS", 2, int.from_bytes(PUBLISHERS[1]) + 2**160, "never writes"),
        (SIGNED, "PUBLISHERS", 4, int.from_bytes(PUBLISHERS[4]), "never writes"),
        (SIGNED, "DEVIATION_BASE", 0, WAD + 1, "deviation_base = "),
        (SIGNED, "DEVIATION_PER_SECOND", 0, WAD + 1, "deviation_per_second = "),
        (SIGNED, "MAX_AGE", 0, HOUR - 1, "max_age = 3599"),
        (CHAINLINK, "FEEDS", 0, 0, "feeds = 0"),
        (CHAINLINK, "FEEDS", 0, 9, "entries = 9"),
        (CHAINLINK, "FEEDS", 1, 2**255 + 1, "underlying = "),
        (CHAINLINK, "FEEDS", 2, 0, "feed = "),
        (CHAINLINK, "FEEDS", 3, 3 * DAY + 1, "max_age = "),
        (CHAINLINK, "FEEDS", 4, 37, "decimals = 37"),
        (CHAINLINK, "FEEDS", 5, int.from_bytes(b"BTC/USD".ljust(32, b"\0")), "ascending underlying"),
        (CHAINLINK, "WINDOW", 0, 59, "window = 59"),
    ],
)
def test_immutables_that_no_constructor_writes_are_refused_whoever_is_accepted(
    setup: SignedSetup | ChainlinkSetup, name: str, word: int, value: int, reason: str
) -> None:
    """Mallory's init code leaves the shipped runtime behind, with a threshold of nobody or a publisher twice."""
    code, shipped = bytearray(code_of(setup)), SHIPPED[setup]
    place = len(shipped.runtime) + SLOTS[name].offset + 32 * word
    code[place : place + 32] = value.to_bytes(32)
    for accepted in (None, (setup,)):
        with pytest.raises(SourceMismatch, match=reason):
            require_source(WHERE, bytes(code), accepted)


def test_what_is_no_shipped_source_is_refused_and_its_hash_told() -> None:
    code = code_of(SIGNED)
    proxy = bytes.fromhex("363d3d373d3d3d363d73") + WHERE + bytes.fromhex("5af43d82803e903d91602b57fd5bf3")
    delegating = bytes.fromhex("ef0100") + WHERE
    mock = artifact("MockSource").runtime
    for other in (proxy, delegating, mock, b"\0" + code[1:], code[:-1], code + b"\0", SHIPPED[SIGNED].runtime):
        told = f"{len(other)} bytes of other code: a contract with code_hash 0x{keccak(other).hex()}"
        with pytest.raises(SourceMismatch, match=told):
            require_source(WHERE, other, None)
        with pytest.raises(SourceMismatch, match=told):
            require_source(WHERE, other, (SIGNED, AuditedCode(keccak(code))))
        audited = AuditedCode(keccak(other))
        assert require_source(WHERE, other, (SIGNED, audited)) == audited, "the owner has read it"


def test_an_account_without_code_is_no_source_whatever_is_accepted() -> None:
    for accepted in (None, (SIGNED, AuditedCode(keccak(b"")))):
        with pytest.raises(SourceMismatch, match="found no code; expected"):
            require_source(WHERE, b"", accepted)


def test_a_setup_that_cannot_be_is_refused_where_it_is_stated() -> None:
    for changes in ({"threshold": 4}, {"publishers": PUBLISHERS[2::-1]}, {"publishers": (*PUBLISHERS, WHERE)}):
        with pytest.raises(InvalidValue):
            replace(SIGNED, **changes)  # type: ignore[arg-type]  # fields by name
    for feed in ({"underlying": "É"}, {"underlying": "X" * 33}, {"feed": ZERO_ADDRESS}, {"max_age": 59}):
        with pytest.raises(InvalidValue):
            replace(CHAINLINK.feeds[0], **feed)  # type: ignore[arg-type]  # fields by name
    with pytest.raises(InvalidValue):
        ChainlinkSetup(CHAINLINK.feeds[::-1])
    with pytest.raises(InvalidValue):
        AuditedCode(b"short")
