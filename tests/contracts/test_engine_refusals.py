"""Hostile input to the engine: it answers what the library answers, or reverts; it never has a number of its own."""

from __future__ import annotations

from dataclasses import dataclass, replace
from random import Random
from typing import Any

import pytest

from channels.errors import InvalidBook, OutOfBounds
from channels.model import EMPTY_BOOK, Book, Leg, Marks
from channels.model.book import decode_book
from channels.risk import DEFAULT_POLICY, margin
from channels.units import SECONDS_PER_DAY as DAY, WAD
from tests.contracts.engine_books import POLICIES, random_book, random_case
from tests.contracts.engine_laws import check_case
from tests.contracts.engine_world import Engine, Reverted

NOW = 1_704_700_800
WORD = 32
HEAD = 6
"""Words before the spot marks' count: offset, salt, time, three offsets."""


@pytest.fixture(scope="module")
def engine() -> Engine:
    return Engine.deployed(DEFAULT_POLICY)


def small_book() -> Book:
    """Two underlyings, three expiries, four legs."""
    legs = [
        Leg.call("BTC/USD", NOW + 7 * DAY, 40_000, quantity=1),
        Leg.call("ETH/USD", NOW + 7 * DAY, 3000, quantity=-2),
        Leg.put("ETH/USD", NOW + 7 * DAY, 3000, quantity=5),
        Leg.put("ETH/USD", NOW + 30 * DAY, 2500, quantity=-1),
    ]
    marks = Marks.at(NOW, spots={"BTC/USD": 42_000, "ETH/USD": 3000}, vols=dict.fromkeys(legs, "0.6"))
    return Book.of(legs, marks, bytes(31) + b"\1")


BOOK = small_book()
SPOTS = [mark.spot for mark in BOOK.marks.spots]
NONE = [0, 0, 0]
SPOT_AT, EXPIRY_AT, LEG_AT = HEAD + 1, HEAD + 1 + 2 * 2 + 1, HEAD + 1 + 2 * 2 + 1 + 3 * 4 + 1
"""Words at which the three arrays' first rows stand."""


def reason(engine: Engine, function: str, *arguments: Any) -> str:
    with pytest.raises(Reverted) as refusal:
        engine(function, *arguments)
    return str(refusal.value)


def with_word(at: int, value: int) -> bytes:
    return BOOK.encoded[: at * WORD] + (value % 2**256).to_bytes(WORD, "big") + BOOK.encoded[(at + 1) * WORD :]


def rows(encoded: bytes, at: int, width: int, order: list[int]) -> bytes:
    """The encoding with the rows of one array permuted or repeated."""
    size = width * WORD
    start = at * WORD
    table = [encoded[start + i * size : start + (i + 1) * size] for i in range(len(order))]
    return encoded[:start] + b"".join(table[i] for i in order) + encoded[start + len(order) * size :]


BROKEN = {
    "a word short": BOOK.encoded[:-WORD],
    "a word long": BOOK.encoded + bytes(WORD),
    "a byte long": BOOK.encoded + b"\0",
    "another head": with_word(0, 64),
    "spots elsewhere": with_word(3, 192),
    "expiries elsewhere": with_word(4, 288),
    "legs elsewhere": with_word(5, 160),
    "an offset beyond every memory": with_word(5, 2**255),
    "five spots": with_word(HEAD, 5),
    "no spots": with_word(HEAD, 0),
    "no legs": with_word(LEG_AT - 1, 0),
    "33 legs": with_word(LEG_AT - 1, 33),
    "unsorted spots": rows(BOOK.encoded, SPOT_AT, 2, [1, 0]),
    "one spot twice": rows(BOOK.encoded, SPOT_AT, 2, [1, 1]),
    "unsorted expiries": rows(BOOK.encoded, EXPIRY_AT, 4, [0, 2, 1]),
    "an expiry without a leg": rows(BOOK.encoded, LEG_AT, 6, [0, 1, 2, 2]),
    "unsorted legs": rows(BOOK.encoded, LEG_AT, 6, [0, 2, 1, 3]),
    "one leg twice": rows(BOOK.encoded, LEG_AT, 6, [0, 1, 1, 3]),
    "a leg of an expiry without marks": with_word(LEG_AT + 1, NOW + 8 * DAY),
    "a leg of an underlying without marks": with_word(LEG_AT, int.from_bytes(b"SOL/USD".ljust(32, b"\0"), "big")),
    "an underlying without a name": with_word(SPOT_AT, 0),
    "spot 0": with_word(SPOT_AT + 1, 0),
    "spot above 2^92": with_word(SPOT_AT + 1, 2**92 + 1),
    "spot of 129 bits": with_word(SPOT_AT + 1, 2**128),
    "forward above 2^92": with_word(SPOT_AT + 1, 2**92)[: (EXPIRY_AT + 2) * WORD]
    + (4 * WAD).to_bytes(WORD, "big")
    + BOOK.encoded[(EXPIRY_AT + 3) * WORD :],
    "expiry 0": with_word(EXPIRY_AT + 1, 0),
    "expiry above 2^63": with_word(EXPIRY_AT + 1, 2**63),
    "expiry in eleven years": rows(with_word(EXPIRY_AT + 9, NOW + 4015 * DAY), EXPIRY_AT, 4, [0, 1, 2]),
    "marks at 2^63": with_word(2, 2**63),
    "ratio 0": with_word(EXPIRY_AT + 2, 0),
    "ratio above 4": with_word(EXPIRY_AT + 2, 4 * WAD + 1),
    "discount 0": with_word(EXPIRY_AT + 3, 0),
    "discount above 4": with_word(EXPIRY_AT + 3, 4 * WAD + 1),
    "strike 0": with_word(LEG_AT + 2, 0),
    "strike above 2^92": with_word(LEG_AT + 2, 2**92 + 1),
    "kind 2": with_word(LEG_AT + 3, 2),
    "kind 257": with_word(LEG_AT + 3, 257),
    "quantity 0": with_word(LEG_AT + 4, 0),
    "quantity above 2^88": with_word(LEG_AT + 4, 2**88 + 1),
    "quantity below -2^88": with_word(LEG_AT + 4, -(2**88) - 1),
    "the most negative quantity": with_word(LEG_AT + 4, -(2**127)),
    "quantity of 129 bits": with_word(LEG_AT + 4, 2**128 + 1),
    "volatility above 8": with_word(LEG_AT + 5, 8 * WAD + 1),
    "no ABI at all": b"\xff" * 512,
    "a single byte": b"\1",
}


@pytest.mark.parametrize("name", BROKEN)
def test_malformed_book_bytes_revert_and_the_library_refuses_them_too(engine: Engine, name: str) -> None:
    encoded = BROKEN[name]
    assert encoded != BOOK.encoded
    with pytest.raises(InvalidBook):
        decode_book(encoded)
    for spots, settlements in ((SPOTS, NONE), ([], []), ([WAD] * 4, [0] * 8)):
        assert reason(engine, "value", encoded, spots, settlements, NOW) in ("book: invalid", "", "risk: misaligned")
    assert reason(engine, "value", encoded, SPOTS, NONE, NOW) != "risk: misaligned" or name in (
        "no spots",
        "five spots",
    )


def test_the_book_itself_passes(engine: Engine) -> None:
    assert engine("value", BOOK.encoded, SPOTS, NONE, NOW) != 0
    assert decode_book(BOOK.encoded) == BOOK


def test_bytes_with_flipped_bits_agree_or_revert(engine: Engine) -> None:
    """Whatever the library would still decode has the library's value; whatever it would not, reverts."""
    dice = Random(3)
    agreed = 0
    for seed in range(3_000):
        book = random_book(Random(seed % 50))
        raw = bytearray(book.encoded)
        for _ in range(dice.choice((1, 1, 2))):
            at = dice.randrange(len(raw) // WORD) * WORD + dice.choice((31, 31, 30, 24, 16, 0, dice.randrange(WORD)))
            raw[at] ^= 1 << dice.randrange(8)
        spots = [mark.spot for mark in book.marks.spots]
        arguments = (bytes(raw), spots, [0] * len(book.marks.expiries), 0)
        try:
            changed = decode_book(bytes(raw))
        except InvalidBook as refused:
            if "ASCII" in refused.detail or "blank" in refused.detail:
                continue  # the one rule that moves no number, and that the contract leaves to the nodes
            reason(engine, "value", *arguments)
            continue
        given = dict(zip([mark.underlying for mark in changed.marks.spots], spots, strict=True))
        try:
            exact = margin(changed, (0, 0), 18, t=0, spots=given)
        except OutOfBounds as refused:
            assert reason(engine, "value", *arguments) == refused.code
            continue
        values = engine("close_out", arguments[0], 18, *arguments[1:])[0]
        assert values == tuple(report.value for report in exact)
        agreed += 1
    assert agreed > 300


@pytest.mark.parametrize(
    ("spots", "settlements", "witness"),
    [
        ([], NONE, [0, 0]),
        (SPOTS[:1], NONE, [0, 0]),
        (SPOTS + SPOTS, NONE, [0, 0]),
        (SPOTS, [], [0, 0]),
        (SPOTS, [0] * 4, [0, 0]),
        (SPOTS, NONE, []),
        (SPOTS, NONE, [0]),
    ],
)
def test_arrays_of_another_length_are_misaligned(
    engine: Engine, spots: list[int], settlements: list[int], witness: list[int]
) -> None:
    assert reason(engine, "is_breach", BOOK.encoded, 0, 0, 6, spots, settlements, NOW, witness) == "risk: misaligned"


@pytest.mark.parametrize("spot", [0, 2**92 + 1, 2**255, 2**256 - 1])
def test_spots_out_of_bounds(engine: Engine, spot: int) -> None:
    for spots in ([spot, SPOTS[1]], [SPOTS[0], spot]):
        assert reason(engine, "value", BOOK.encoded, spots, NONE, NOW) == "risk: out of bounds"


def test_settlements_out_of_bounds(engine: Engine) -> None:
    after = NOW + 8 * DAY
    assert engine("value", BOOK.encoded, SPOTS, [2**96, 1, 0], after)
    for settlements in ([2**96 + 1, 0, 0], [2**256 - 1, 0, 0], [0, 0, 1]):
        assert reason(engine, "value", BOOK.encoded, SPOTS, settlements, after) == "risk: out of bounds"


@pytest.mark.parametrize("t", [0, 1, NOW - 1, NOW, 2**64 - 1])
def test_any_second_has_an_answer(engine: Engine, t: int) -> None:
    values = engine("close_out", BOOK.encoded, 18, SPOTS, NONE, t)[0]
    assert values == tuple(report.value for report in margin(BOOK, (0, 0), 18, t=t))


def test_parties_decimals_and_rows_that_do_not_exist(engine: Engine) -> None:
    asked = (SPOTS, NONE, NOW)
    assert reason(engine, "excess", BOOK.encoded, 2, 0, 6, *asked) == "risk: no such party"
    assert reason(engine, "scenario_loss", BOOK.encoded, 255, *asked, [0, 0]) == "risk: no such party"
    assert reason(engine, "excess", BOOK.encoded, 0, 0, 19, *asked) == "risk: out of bounds"
    for witness in ([34, 0], [0, 34], [2**256 - 1, 0]):
        assert reason(engine, "is_breach", BOOK.encoded, 0, 0, 6, *asked, witness) == "risk: no such scenario"


def test_cash_beyond_every_balance_reverts_rather_than_wraps(engine: Engine) -> None:
    asked = (SPOTS, NONE, NOW)
    for cash in (2**255 - 1, -(2**255)):
        assert reason(engine, "excess", BOOK.encoded, 1 if cash < 0 else 0, cash, 6, *asked) == ""


def test_no_book_has_no_value_and_no_margin(engine: Engine) -> None:
    assert EMPTY_BOOK.encoded == b""
    assert engine("value", b"", [], [], NOW) == 0
    assert engine("excess", b"", 0, 7, 6, [], [], NOW) == 7
    assert engine("is_breach", b"", 1, -1, 6, [], [], NOW, []) is True
    assert engine("is_breach", b"", 1, 0, 6, [], [], NOW, []) is False
    assert engine("liquidation", b"", 1, 0, 6, [], [], NOW, []) == (False, (0, 0), (0, 0))
    assert reason(engine, "value", b"", [WAD], [], NOW) == "risk: misaligned"
    reports = margin(EMPTY_BOOK, (7, -1), 6)
    assert engine("margin", b"", (7, -1), 6, [], [], NOW)[1][0] == reports[1].equity == -1


@dataclass(frozen=True, slots=True)
class Out:
    """An option outside the bounds of `units`."""

    kind: int = 0
    forward: int = WAD
    strike: int = WAD
    vol: int = WAD
    seconds: int = DAY

    def row(self) -> tuple[int, int, int, int, int]:
        return (self.kind, self.forward, self.strike, self.vol, self.seconds)


@pytest.mark.parametrize(
    "option",
    [
        Out(kind=2),
        Out(forward=0),
        Out(forward=2**92 + 1),
        Out(strike=0),
        Out(strike=2**255),
        Out(vol=8 * WAD + 1),
        Out(vol=2**255),
        Out(seconds=3650 * DAY + 1),
    ],
)
def test_single_options_out_of_bounds(engine: Engine, option: Out) -> None:
    assert len(engine("units", [Out().row()])) == 1
    assert reason(engine, "units", [Out().row(), option.row()]) == "risk: out of bounds"


def test_the_law_notices_a_different_policy_spot_time_and_volatility() -> None:
    """Break each input of one side only: the comparison must fail, or it compares nothing."""
    engine = Engine.deployed(DEFAULT_POLICY)
    case = replace(
        random_case(0), book=BOOK, spots=tuple(SPOTS), settlements=(0, 0, 0), t=NOW, witness=(0, 0), policy=0
    )
    assert check_case(engine, case) > 50
    for other in (replace(case, policy=3), replace(case, policy=2)):
        with pytest.raises(AssertionError):
            check_case(engine, other)
    stale = Engine.deployed(replace(POLICIES[0], vol_stale_per_hour=WAD // 50))
    check_case(stale, case)
    with pytest.raises(AssertionError):
        check_case(stale, replace(case, t=NOW + DAY))
