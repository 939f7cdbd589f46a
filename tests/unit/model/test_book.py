"""The book refuses what the contract's decoder would let pass: two encodings of one book would be two states."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import eth_abi
import pytest

from channels.errors import InvalidBook
from channels.model import NO_MARKS, Book, Leg, Marks, OptionKind, decode_book
from channels.model.book import MAX_BOOK_BYTES
from channels.model.identity import word
from channels.model.marks import MAX_RATIO, MAX_TENOR, MAX_VOL
from channels.model.option import MAX_PRICE, MAX_QUANTITY
from channels.units import WAD
from tests.roles import BTC, DAY, ETH, EXPIRY, LATER, NOW, book, condor, marks

SHAPE = (
    "(bytes32,uint64,(bytes32,uint128)[],(bytes32,uint64,uint128,uint128)[],"
    "(bytes32,uint64,uint128,uint8,int128,uint128)[])"
)
NAME = b"ETH/USD"
SALT = b"s" * 32


def spot_row(name: bytes = NAME, spot: int = 2_300 * WAD) -> tuple[Any, ...]:
    return (name, spot)


def expiry_row(name: bytes = NAME, expiry: int = EXPIRY, ratio: int = WAD, discount: int = WAD) -> tuple[Any, ...]:
    return (name, expiry, ratio, discount)


def leg_row(
    name: bytes = NAME, expiry: int = EXPIRY, strike: int = WAD, kind: int = 0, quantity: int = WAD, vol: int = WAD
) -> tuple[Any, ...]:
    return (name, expiry, strike, kind, quantity, vol)


def encoded(
    spots: list[Any] | None = None, expiries: list[Any] | None = None, legs: list[Any] | None = None, time: int = NOW
) -> bytes:
    """Whatever the rows are, as eth-abi encodes it: one good leg unless told otherwise."""
    return eth_abi.encode([SHAPE], [(
        SALT,
        time,
        [spot_row()] if spots is None else spots,
        [expiry_row()] if expiries is None else expiries,
        [leg_row()] if legs is None else legs,
    )])  # fmt: skip


def test_the_plain_encoding_is_read() -> None:
    made = decode_book(encoded())
    assert made.legs == (Leg(ETH, EXPIRY, WAD, OptionKind.CALL, WAD),)
    assert made.salt == SALT


def eight_expiries(count: int) -> list[int]:
    return [EXPIRY + i * DAY for i in range(count)]


REFUSED = {
    "legs unsorted": encoded(legs=[leg_row(strike=2), leg_row(strike=1)]),
    "legs unsorted by kind": encoded(legs=[leg_row(kind=1), leg_row(kind=0)]),
    "legs duplicated": encoded(legs=[leg_row(), leg_row()]),
    "legs duplicated but for the quantity": encoded(legs=[leg_row(), leg_row(quantity=2)]),
    "zero quantity": encoded(legs=[leg_row(quantity=0)]),
    "quantity above 2^88": encoded(legs=[leg_row(quantity=MAX_QUANTITY + 1)]),
    "quantity below -2^88": encoded(legs=[leg_row(quantity=-MAX_QUANTITY - 1)]),
    "kind 2": encoded(legs=[leg_row(kind=2)]),
    "strike zero": encoded(legs=[leg_row(strike=0)]),
    "strike above 2^92": encoded(legs=[leg_row(strike=MAX_PRICE + 1)]),
    "vol above 8": encoded(legs=[leg_row(vol=MAX_VOL + 1)]),
    "spot zero": encoded(spots=[spot_row(spot=0)]),
    "spot above 2^92": encoded(spots=[spot_row(spot=MAX_PRICE + 1)]),
    "ratio zero": encoded(expiries=[expiry_row(ratio=0)]),
    "ratio above 4": encoded(expiries=[expiry_row(ratio=MAX_RATIO + 1)]),
    "discount above 4": encoded(expiries=[expiry_row(discount=MAX_RATIO + 1)]),
    "discount zero": encoded(expiries=[expiry_row(discount=0)]),
    "forward above 2^92": encoded(spots=[spot_row(spot=MAX_PRICE)], expiries=[expiry_row(ratio=WAD + 1)]),
    "forward 2^92 and one wei": encoded(
        spots=[spot_row(spot=(2**92 + 1) // 17 * 10)], expiries=[expiry_row(ratio=17 * WAD // 10)]
    ),
    "expiry zero": encoded(expiries=[expiry_row(expiry=0)], legs=[leg_row(expiry=0)]),
    "expiry above ten years": encoded(
        expiries=[expiry_row(expiry=NOW + MAX_TENOR + 1)], legs=[leg_row(expiry=NOW + MAX_TENOR + 1)]
    ),
    "no legs": encoded([], [], []),
    "no spot mark": encoded(spots=[]),
    "a spot mark too many": encoded(spots=[spot_row(b"BTC/USD"), spot_row()]),
    "no expiry mark": encoded(expiries=[]),
    "an expiry mark too many": encoded(expiries=[expiry_row(), expiry_row(expiry=LATER)]),
    "expiry marks unsorted": encoded(
        expiries=[expiry_row(expiry=LATER), expiry_row()], legs=[leg_row(), leg_row(expiry=LATER)]
    ),
    "five underlyings": encoded(
        [spot_row(bytes([65 + i])) for i in range(5)],
        [expiry_row(bytes([65 + i])) for i in range(5)],
        [leg_row(bytes([65 + i])) for i in range(5)],
    ),
    "nine expiries": encoded(
        expiries=[expiry_row(expiry=e) for e in eight_expiries(9)], legs=[leg_row(expiry=e) for e in eight_expiries(9)]
    ),
    "33 legs": encoded(legs=[leg_row(strike=i + 1) for i in range(33)]),
    "an underlying that is not ASCII": encoded(
        [spot_row(b"\xff")], [expiry_row(b"\xff")], [leg_row(b"\xff")]
    ),
    "an underlying with a zero inside": encoded([spot_row(b"E\0H")], [expiry_row(b"E\0H")], [leg_row(b"E\0H")]),
    "an empty underlying": encoded([spot_row(b"")], [expiry_row(b"")], [leg_row(b"")]),
    "one word": bytes(32),
    "zeros": bytes(32 * 21),
    "an odd length": encoded() + b"\0",
    "too long": bytes(MAX_BOOK_BYTES + 32),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_a_book_that_breaks_a_rule_is_refused(name: str) -> None:
    with pytest.raises(InvalidBook):
        decode_book(REFUSED[name])


ACCEPTED = {
    "vol zero": encoded(legs=[leg_row(vol=0)]),
    "vol 8": encoded(legs=[leg_row(vol=MAX_VOL)]),
    "ratio and discount 4": encoded(expiries=[expiry_row(ratio=MAX_RATIO, discount=MAX_RATIO)]),
    "quantity -2^88": encoded(legs=[leg_row(quantity=-MAX_QUANTITY)]),
    "forward 2^92": encoded(spots=[spot_row(spot=MAX_PRICE)]),
    "ten years": encoded(expiries=[expiry_row(expiry=NOW + MAX_TENOR)], legs=[leg_row(expiry=NOW + MAX_TENOR)]),
    "expired": encoded(time=EXPIRY + 1),
    "eight expiries": encoded(
        expiries=[expiry_row(expiry=e) for e in eight_expiries(8)], legs=[leg_row(expiry=e) for e in eight_expiries(8)]
    ),
    "call and put of one strike": encoded(legs=[leg_row(kind=0), leg_row(kind=1)]),
}  # fmt: skip


@pytest.mark.parametrize("name", ACCEPTED)
def test_a_book_at_its_bounds_stands(name: str) -> None:
    assert decode_book(ACCEPTED[name]).encoded == ACCEPTED[name]


def _sections() -> tuple[bytes, bytes, bytes]:
    """The three arrays of the plain book, each with its length word."""
    body = encoded()[32:]
    spots, expiries, legs = (int.from_bytes(body[i * 32 : i * 32 + 32], "big") for i in (2, 3, 4))
    return body[spots:expiries], body[expiries:legs], body[legs:]


def _packed(*parts: bytes, offsets: tuple[int, int, int], start: int = 32) -> bytes:
    return b"".join((word(start), bytes(start - 32), SALT, word(NOW), *map(word, offsets), *parts))


def _spellings() -> dict[str, bytes]:
    spots, expiries, legs = _sections()
    head, s, e, n = 160, len(spots), len(expiries), len(legs)
    return {
        "a gap before the first array": _packed(
            bytes(32), spots, expiries, legs, offsets=(head + 32, head + 32 + s, head + 32 + s + e)
        ),
        "a gap between arrays": _packed(
            spots, bytes(32), expiries, legs, offsets=(head, head + s + 32, head + s + 32 + e)
        ),
        "arrays permuted": _packed(legs, expiries, spots, offsets=(head + n + e, head + n, head)),
        "a word at the end": encoded() + bytes(32),
        "the tuple further on": _packed(spots, expiries, legs, offsets=(head, head + s, head + s + e), start=64),
    }


@pytest.mark.parametrize("name", _spellings())
def test_another_spelling_of_the_same_book_is_refused(name: str) -> None:
    """Decoders that follow offsets read these as the plain book: that is why they must be refused here."""
    spelling = _spellings()[name]
    assert eth_abi.decode([SHAPE], spelling) == eth_abi.decode([SHAPE], encoded())
    with pytest.raises(InvalidBook):
        decode_book(spelling)


def largest() -> Book:
    """Thirty-two legs over eight expiries and four underlyings."""
    names = ("A", "B", "C", "D")
    legs = [Leg.call(names[i % 4], EXPIRY + (i // 4 % 2) * DAY, 1000 + i, quantity=1) for i in range(32)]
    return book(legs)


def test_the_largest_book_takes_the_limit_exactly() -> None:
    assert len(largest().encoded) == MAX_BOOK_BYTES == 7_712
    assert decode_book(largest().encoded) == largest()


def test_a_book_is_built_from_legs_in_any_order() -> None:
    legs = condor()
    assert Book.of(reversed(legs), marks(legs), SALT) == Book.of(legs, marks(legs), SALT)
    assert Book.of(legs, marks(legs), SALT).last_expiry == EXPIRY
    with pytest.raises(InvalidBook, match="unsorted"):
        Book(tuple(reversed(legs)), marks(legs), SALT)


def test_marks_must_cover_exactly_the_legs() -> None:
    legs = condor()
    with pytest.raises(InvalidBook, match="volatilities"):
        Book(legs[:2], marks(legs), SALT)
    both = (*legs, Leg.call(BTC, EXPIRY, 1, quantity=1))
    with pytest.raises(InvalidBook):
        Book(legs, replace(marks(legs), spots=marks(both).spots), SALT)


@pytest.mark.parametrize("salt", [b"", bytes(31), bytes(33), "s" * 32])
def test_a_book_has_a_salt_of_thirty_two_bytes(salt: Any) -> None:
    with pytest.raises(InvalidBook):
        Book(condor(), marks(), salt)


def test_a_book_without_legs_has_neither_marks_nor_salt() -> None:
    for held, salt in ((NO_MARKS, SALT), (Marks(1, (), (), ()), b"")):
        with pytest.raises(InvalidBook):
            Book((), held, salt)


def test_the_salt_hides_the_book() -> None:
    assert book().hash != book(salt=b"t" * 32).hash
