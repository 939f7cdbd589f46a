"""Marks alone are judged as the proposal that they are: by columns and without a state, to the same outcome."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import example, given, strategies as st

from channels.core import events as e, rules, updates
from channels.core.apply import apply, remarked
from channels.core.channel import Outstanding, changed
from channels.errors import InvalidBook, OutOfBounds, RuleViolation
from channels.model import (
    EMPTY_BOOK,
    ZERO32,
    Book,
    Claimed,
    ExpiryMark,
    HalfSigned,
    Intent,
    Leg,
    Mark,
    Marks,
    Party,
    SpotMark,
    State,
    VolMark,
)
from channels.model.marks import MAX_RATIO, MAX_VOL
from channels.model.option import MAX_PRICE
from channels.risk.valuation import check_forwards, schedule
from channels.units import WAD
from tests.roles import ETH, EXPIRY, NOW
from tests.sansio import Joined, fresh
from tests.strategies import books
from tests.unit.core.judging import CALL, holding_a_call

JUNK = bytes(64) + b"\x1b"


@pytest.fixture
def world() -> Joined:
    return holding_a_call()


@pytest.mark.parametrize("time", [0, -31, 31])
@pytest.mark.parametrize("version", [0, 1, rules.MAX_SKIP + 1])
@pytest.mark.parametrize("spot", ["2300", "2322.99", "2324", "2400"])
@pytest.mark.parametrize("vol", ["0.6", "0.65", "0.6501"])
def test_a_claim_is_judged_as_the_state_it_stands_for(
    world: Joined, time: int, version: int, spot: str, vol: str
) -> None:
    channel, view = world.bob.channel, world.view((CALL,), NOW)
    world.spot, world.vol = spot, vol
    marks = world.view((CALL,), NOW + time)
    assert view is not None
    assert marks is not None
    state, book = channel.base
    assert state is not None
    salt, at = fresh(), channel.version + version
    try:
        made = apply(
            channel.id, state, book, (Mark(marks),), proposer=Party.ZERO, version=at, salt=salt,
            decimals=6, policy=channel.policy,
        )  # fmt: skip
    except RuleViolation:
        assert time < 0
        return
    claimed = Claimed(state, at, made[1], Party.ZERO, JUNK)
    assert claimed.state == made[0]
    told: list[Any] = []
    for judge in (
        lambda: rules.judge(channel, (Mark(marks),), *made, proposer=Party.ZERO, now=NOW, view=view),
        lambda: rules.judge_marks(channel, claimed, now=NOW, view=view),
    ):
        try:
            judge()
            told.append(None)
        except RuleViolation as refused:
            told.append((type(refused), str(refused)))
    assert told[0] == told[1]
    right = (time, version, spot, vol) in {(0, 1, s, v) for s in ("2300", "2322.99") for v in ("0.6", "0.65")}
    assert (told[0] is None) == right


def outcome(act: Callable[[], Any]) -> Any:
    try:
        return act()
    except RuleViolation as refused:
        return type(refused), str(refused)


@pytest.mark.parametrize("seconds", [(0, 1), (1, 0), (0, 0, 0), (2, 1, 2), (-1, 5), (5, -1)])
@pytest.mark.parametrize("wrong", [None, 0, -1])
def test_several_marks_in_one_proposal_lead_where_apply_leads(
    world: Joined, seconds: tuple[int, ...], wrong: int | None
) -> None:
    channel = world.bob.channel
    state, book = channel.base
    marks = [world.view((CALL,), NOW + second) for second in seconds]
    if wrong is not None:
        marks[wrong] = world.view((replace(CALL, strike=CALL.strike + WAD),), NOW + seconds[wrong])
    operations = tuple(Mark(each) for each in marks if each)
    salt = fresh()

    def applied() -> Book:
        return apply(
            channel.id, state, book, operations, proposer=Party.ZERO, version=9, salt=salt, decimals=6,
            policy=channel.policy,
        )[1]  # fmt: skip

    assert outcome(lambda: remarked(book, operations, salt)) == outcome(applied)


FAR = Leg.put(ETH, EXPIRY + 86_400 * 28, 2000, quantity=2)
BTC = Leg.call("BTC/USD", EXPIRY, 50_000, quantity=-1)


def wide(time: int = NOW, **changes: Any) -> Marks:
    """Marks of two underlyings, three expiry rows and three series."""
    legs = sorted((CALL, FAR, BTC), key=lambda leg: leg.key)
    values: dict[str, Any] = {
        "spots": {ETH: "2300", "BTC/USD": "48000"},
        "vols": dict.fromkeys(legs, "0.6"),
        "forwards": {}, "discounts": {},
    }  # fmt: skip
    for name, change in changes.items():
        values[name] = values[name] | change
    return Marks.at(time, **values)


@pytest.mark.parametrize(
    "far",
    [
        {"spots": {"BTC/USD": "48481"}},
        {"spots": {ETH: "2276"}},
        {"vols": {CALL: "0.6501"}},
        {"vols": {FAR: "0.5499"}},
        {"vols": {BTC: "0.7"}},
        {"forwards": {(ETH, FAR.expiry): "2324"}},
        {"forwards": {("BTC/USD", EXPIRY): "47519"}},
        {"discounts": {(ETH, EXPIRY): "0.989"}},
        {"discounts": {("BTC/USD", EXPIRY): "1.0101"}},
        {"discounts": {(ETH, FAR.expiry): "0.9899"}},
        {},
    ],
)
def test_each_number_of_the_marks_is_held_against_the_owners(world: Joined, far: dict[str, Any]) -> None:
    """Whatever is too far, the first in order is named; the columns only say quickly that none is."""
    legs = tuple(sorted((CALL, FAR, BTC), key=lambda leg: leg.key))
    channel, view, marks = world.bob.channel, wide(), wide(**far)
    state, _ = channel.base
    assert state is not None
    claimed = Claimed(state, channel.version + 1, Book.of(legs, marks, fresh()), Party.ZERO, JUNK)
    quick = outcome(lambda: rules.judge_marks(channel, claimed, now=NOW, view=view))
    assert (quick is None) == (not far)
    if far:
        ((what, rows),) = far.items()
        name = {"spots": "spot", "vols": "volatility", "forwards": "forward", "discounts": "discount"}[what]
        assert name in quick[1]
        (row,) = rows
        underlying = row.underlying if isinstance(row, Leg) else row if isinstance(row, str) else row[0]
        assert underlying in quick[1]


def test_a_forward_that_cannot_be_priced_is_no_claim_either(world: Joined) -> None:
    channel, salt = world.bob.channel, fresh()
    tiny = Marks.at(NOW, spots={ETH: "0.000000000000000001"}, vols={CALL: "0.6"})
    mark = replace(tiny.expiries[0], ratio=WAD // 2)
    marks = Marks(NOW, tiny.spots, (mark,), tiny.vols)
    state, _ = channel.base
    assert state is not None
    claimed = Claimed(state, channel.version + 1, Book((CALL,), marks, salt), Party.ZERO, JUNK)
    with pytest.raises(OutOfBounds):
        rules.judge_marks(channel, claimed, now=NOW, view=marks)


def two_names(one: int, other: int, ratio: int, time: int = NOW) -> Book:
    """One call on each of two underlyings, with these spots; the second's forward ratio."""
    legs = tuple(Leg.call(name, EXPIRY, 1, quantity=1) for name in ("A", "B"))
    marks = Marks(
        time,
        (SpotMark("A", one), SpotMark("B", other)),
        (ExpiryMark("A", EXPIRY, WAD, WAD), ExpiryMark("B", EXPIRY, ratio, WAD)),
        tuple(VolMark(*leg.key, 0) for leg in legs),
    )
    return Book(legs, marks, fresh())


def test_each_forward_is_its_own_underlyings() -> None:
    check_forwards(two_names(1, WAD, WAD // 2))
    with pytest.raises(OutOfBounds):
        check_forwards(two_names(WAD, 1, WAD // 2))
    check_forwards(two_names(WAD, 1, WAD // 2, time=EXPIRY))  # expired: its forward is the spot
    two_names(MAX_PRICE, WAD, 2 * WAD)
    two_names(WAD, MAX_PRICE, WAD)
    with pytest.raises(InvalidBook, match="forward of B"):
        two_names(WAD, MAX_PRICE, 2 * WAD)


@example([(16, True)] * 3 + [(1, True), (1, False)], 9, 16)
@given(st.lists(st.tuples(st.integers(1, 16), st.booleans()), max_size=10), st.integers(1, 9), st.integers(1, 16))
def test_only_what_waits_takes_room(sizes: list[tuple[int, bool]], window: int, more: int) -> None:
    """Refused proposals hang between those in flight, and take none of the window."""
    channel = Joined().alice.channel
    half = HalfSigned(
        State(channel.id, 1, Intent.OPERATE, 0, (0, 0), (0, 0), (0, 0), ZERO32), EMPTY_BOOK, Party.ZERO, JUNK
    )
    held = tuple(
        Outstanding(replace(half, state=replace(half.state, version=at)), (Mark(),) * size)
        for at, (size, _) in enumerate(sizes, 1)
    )
    waiting = tuple(at for at, (_, waits) in enumerate(sizes, 1) if waits)
    channel = changed(channel, outstanding=held, in_flight=waiting)
    operations = sum(size for size, waits in sizes if waits)
    assert rules.has_room(channel, window, more) == (len(waiting) < window and operations + more <= 64)


@pytest.mark.parametrize("claimed", [True, False])
@pytest.mark.parametrize("is_right", [True, False])
def test_a_version_is_noted_where_it_is_refused_or_answered(world: Joined, claimed: bool, is_right: bool) -> None:
    """Of what is judged right and not answered yet only the peer's full signature counts; of what is refused each."""
    channel = world.bob.channel
    state, book = channel.base
    assert state is not None
    view = world.view(book.legs, NOW if is_right else NOW + 99)
    assert view is not None
    after, version = book.marked(view, fresh()), channel.version + 3
    made = replace(state, version=version, book=after.hash)
    half = Claimed(state, version, after, Party.ZERO, JUNK) if claimed else HalfSigned(made, after, Party.ZERO, JUNK)
    seen = updates.proposal_seen(channel, e.ProposalSeen(half, (Mark(view),), NOW, view)).channel
    assert bool(seen.unanswered) is is_right
    assert seen.seen == (channel.seen if claimed and is_right else version)
    assert seen.refused == (0 if is_right else version)
    if is_right:
        signed = HalfSigned(made, after, Party.ZERO, JUNK)
        assert updates.answer_due(seen, e.AnswerDue(signed)).channel.seen == version


# ── Columns, and the rows they stand for ────────────────────────────────────────────────────────────────────────────


def far_apart(marks: Marks, view: Marks, near: int, apart: int) -> bool:
    """By fractions, number by number."""
    relative = zip(
        [m.spot for m in marks.spots] + [x for m in marks.expiries for x in (m.ratio, m.discount)],
        [m.spot for m in view.spots] + [x for m in view.expiries for x in (m.ratio, m.discount)],
        strict=True,
    )
    absolute = zip(marks.vols, view.vols, strict=True)
    return any(abs(Fraction(theirs, ours) - 1) > Fraction(near, WAD) for theirs, ours in relative) or any(
        abs(theirs.vol - ours.vol) > apart for theirs, ours in absolute
    )


@given(books(max_legs=3), st.sampled_from([0, 1, 10**16, WAD - 1, WAD]), st.sampled_from([0, 5 * 10**16]), st.data())
def test_what_is_near_is_near_to_the_last_wei(view: Book, near: int, apart: int, data: st.DataObject) -> None:
    """One number or two of all are as far as they may be, or a wei farther."""
    ours = view.marks
    spots, pairs = len(ours.spots), len(ours.expiries)
    bounds = [(1, MAX_PRICE)] * spots + [(1, MAX_RATIO)] * 2 * pairs + [(0, MAX_VOL)] * len(ours.vols)
    levels = [*ours.levels]
    for at in data.draw(st.lists(st.integers(0, len(levels) - 1), max_size=2, unique=True)):
        most = near * levels[at] // WAD if at < spots + 2 * pairs else apart
        low, high = bounds[at]
        moved = levels[at] + data.draw(st.sampled_from([most, -most, most + 1, -most - 1]))
        levels[at] = min(high, max(low, moved))
    ratios, discounts = levels[spots : spots + pairs], levels[spots + pairs :]
    theirs = Marks(
        ours.time,
        tuple(map(SpotMark, ours.rows.names, levels)),
        tuple(ExpiryMark(*p, *x) for p, *x in zip(ours.rows.pairs, ratios, discounts, strict=False)),
        tuple(VolMark(*key, vol) for key, vol in zip(ours.keys, levels[-len(ours.vols) :], strict=True)),
    )
    assert rules._is_near(theirs, ours, near, apart) is not far_apart(theirs, ours, near, apart)


def outcome_of_forwards(check: Callable[[Book], Any], book: Book) -> Any:
    try:
        check(book)
    except OutOfBounds as refused:
        return str(refused)
    return None


@example(0, two_names(1, WAD, WAD))
@example(0, two_names(1, WAD, WAD - 1))
@example(0, two_names(WAD, 1, WAD))
@example(0, two_names(WAD, 1, WAD - 1))
@example(0, two_names(2, WAD, WAD // 2))
@example(0, two_names(WAD, 2, WAD // 2))
@example(0, two_names(WAD, 2, WAD // 2 - 1))
@example(0, two_names(WAD, 1, 1, time=EXPIRY))
@example(0, EMPTY_BOOK)
@given(st.sampled_from([0, 1, 10**9, WAD]), books(max_legs=4))
def test_forwards_are_refused_where_the_schedule_refuses_them(least: int, held: Book) -> None:
    """Forward by forward; the least of all numbers only says quickly that none is too small."""
    if least:
        spots = tuple(replace(mark, spot=min(mark.spot, least)) for mark in held.marks.spots)
        held = Book(held.legs, replace(held.marks, spots=spots), held.salt)
    found = outcome_of_forwards(check_forwards, held)
    assert found == outcome_of_forwards(schedule, held)
    spots_of = {mark.underlying: mark.spot for mark in held.marks.spots}
    dead = [m for m in held.marks.expiries if m.expiry > held.marks.time and spots_of[m.underlying] * m.ratio < WAD]
    assert (found is None) is (not dead)
