"""Our own marks are proposed by a way of their own, to the same signature or refusal as whatever else we propose."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from channels.core import facts as f, rules, updates
from channels.core.apply import remarked
from channels.core.channel import Channel, changed
from channels.core.commands import Persist
from channels.core.limits import NO_LIMITS, Limits
from channels.errors import ChannelError, RuleViolation
from channels.model import (
    EMPTY_BOOK,
    NO_MARKS,
    Acknowledge,
    Agreed,
    Close,
    Intent,
    Leg,
    Mark,
    Marks,
    Withdraw,
)
from channels.model.marks import MAX_TENOR
from channels.session import Seat
from channels.store.codec import encode_record
from channels.units import WAD, TokenAmount
from tests.roles import BTC, EXPIRY, HOUR, LATER, NOW, UNIT, marks
from tests.sansio import Joined
from tests.unit.core.judging import CALL, holding_a_call

FAR = Leg.put(CALL.underlying, LATER, 2000, quantity=2)
OTHER = Leg.call(BTC, EXPIRY, 50_000, quantity=-1)


@pytest.fixture
def world() -> Joined:
    return holding_a_call()


def in_flight(world: Joined) -> None:
    world.propose(world.alice, world.mark(), deliver=False)
    world.now += 1
    world.propose(world.alice, world.mark(), deliver=False)


def with_agreed(world: Joined, **changes: Any) -> None:
    """Alice's agreed state, but for some fields."""
    agreed = world.agreed
    state = replace(agreed.state, **changes)
    world.alice.seat.channel = changed(world.alice.channel, agreed=Agreed(state, agreed.book, agreed.signatures))


PLACES: dict[str, Callable[[Joined], Any]] = {
    "a call between them": lambda w: None,
    "marks in flight": in_flight,
    "a withdrawal in flight": lambda w: w.propose(w.alice, Withdraw(TokenAmount(5 * UNIT)), deliver=False),
    "a trade in flight": lambda w: w.propose(w.alice, w.trade((FAR,)), deliver=False),
    "what closes everything": lambda w: w.propose(w.alice, w.trade((CALL.times(-1),), marks=NO_MARKS), deliver=False),
    "a close in flight": lambda w: w.propose(w.alice, Close(0, NOW + 60), deliver=False),
    "a dispute": lambda w: w.confirm(f.RegisteredSeen(w.agreed.state, NOW + HOUR)),
    "a reopened channel": lambda w: with_agreed(w, version=9, intent=Intent.REOPEN, valid_until=NOW + 60),
    "a version ahead": lambda w: setattr(w.alice.seat, "channel", changed(w.alice.channel, seen=rules.MAX_SKIP + 9)),
    "the last version but one": lambda w: with_agreed(w, version=2**64 - 2),
    "the last version": lambda w: with_agreed(w, version=2**64 - 1),
    "positions gone": lambda w: w.propose(w.alice, w.trade((CALL.times(-1),), marks=NO_MARKS)),
}
"""Where our marks may come."""


def another(marks: Marks) -> Marks:
    """These marks with rows of their own, as when nobody remembers what they shared."""
    made = Marks(marks.time, marks.spots, marks.expiries, marks.vols)
    object.__setattr__(made, "rows", replace(marks.rows))
    assert made.rows is not marks.rows
    return made


class Quoted(Mark):
    """A kind of mark that the wire does not know."""


def streams(world: Joined) -> dict[str, tuple[Any, ...]]:
    """What may be proposed there: marks alone, and what is none."""
    book = world.alice.channel.tip[1]
    legs = book.legs

    def at(seconds: int, legs: tuple[Leg, ...] = legs, spot: str = "2300") -> Mark:
        world.spot = spot
        marks = world.view(legs, world.now + seconds) if legs else None
        return Mark(marks) if marks else Mark()

    tiny = at(0).marks
    if legs:
        spots = tuple(replace(mark, spot=1) for mark in tiny.spots)
        tiny = replace(tiny, spots=spots, expiries=tuple(replace(mark, ratio=WAD // 2) for mark in tiny.expiries))
    more = tuple(sorted({CALL, OTHER}, key=lambda leg: leg.key))
    return {
        "one": (at(1),),
        "at once": (at(0),),
        "a price": (at(1, spot="2600"),),
        "rows of its own": (Mark(another(at(1).marks)),),
        "three": (at(1), Mark(another(at(1).marks)), at(2)),
        "backwards": (at(2), at(1)),
        "before what is held": (at(-3),),
        "too early": (at(31),),
        "others between": (at(1), at(1, more), at(2)),
        "others at last": (at(1), at(1, more)),
        "none at last": (at(1), Mark()),
        "nothing but a time": (Mark(Marks(NOW + 1, (), (), ())),),
        "no marks": (Mark(None),),  # type: ignore[arg-type]
        "too many": tuple(at(1) for _ in range(17)),
        "sixteen": tuple(at(1) for _ in range(16)),
        "not to be priced": (Mark(tiny),),
        "not to be priced, and too early": (Mark(replace(tiny, time=world.now + 31)),),
        "ten years": (Mark(replace(at(0).marks, time=max(0, book.last_expiry - MAX_TENOR - 1))),),
        "a fact among them": (at(1), Acknowledge((10_000 * UNIT, 10_000 * UNIT), (0, 0)), at(2)),
        "a trade and a mark": (world.trade((OTHER,)), at(1, tuple(sorted((*legs, OTHER), key=lambda leg: leg.key)))),
        "another kind": (Quoted(at(1).marks),),
        "another kind behind": (at(1), Quoted(at(1).marks)),
        "nothing": (),
    }


def proposed(world: Joined, channel: Channel, operations: Any, salt: Any, limits: Limits) -> Any:
    """What a proposal does to a copy of Alice's seat, down to the journal's bytes; or why it is refused."""
    seat = Seat(channel, world.alice.role.signer, world.alice.market, world.alice.deal, limits)
    try:
        effects = seat.propose(operations, salt, world.now)
    except (ChannelError, LookupError) as refused:
        return type(refused), str(refused), seat.channel
    except AttributeError:
        return AttributeError, seat.channel
    bodies = [encode_record(world.id, effect.record) for effect in effects if isinstance(effect, Persist)]
    return effects, repr(effects), bodies, seat.channel, repr(seat.channel)


@pytest.mark.parametrize("place", PLACES)
def test_our_marks_alone_are_proposed_as_anything_else_is(
    world: Joined, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same signature under the same record, or the same refusal, as from `apply` and `judge`."""
    PLACES[place](world)
    channel, quick, signed = world.alice.channel, list[bool](), set[str]()
    alone = updates._marks_alone
    for kind, operations in streams(world).items():
        for salt in (b"n" * 32, b"short"):
            for limits in (NO_LIMITS, Limits(max_outstanding=1)):
                found = []
                for way in (lambda given: (), alone):
                    monkeypatch.setattr(updates, "_marks_alone", way)
                    found.append(proposed(world, channel, operations, salt, limits))
                assert found[0] == found[1], kind
                if isinstance(found[0][0], list):
                    signed.add(kind)
        quick.append(bool(alone(operations)))
    assert quick.count(False) == 5, "a fact, a trade, nothing, and what the wire does not know"
    right = {"one", "at once", "a price", "rows of its own", "three", "sixteen"}
    expected = {
        "a close in flight": set(),
        "a dispute": set(),
        "a version ahead": set(),
        "the last version": set(),
        "what closes everything": {"one", "at once"},
        "positions gone": {"one", "at once"},
    }.get(place, right)
    assert signed >= expected
    assert bool(signed) is bool(expected)


def test_before_the_first_state_marks_are_what_they_are_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    world = Joined()
    channel = world.alice.channel
    assert channel.base == (None, EMPTY_BOOK)
    for operations in ((Mark(),), (Mark(marks()),), (Mark(), Mark())):
        found = []
        for way in (lambda given: (), updates._marks_alone):
            monkeypatch.setattr(updates, "_marks_alone", way)
            found.append(proposed(world, channel, operations, b"n" * 32, NO_LIMITS))
        assert found[0] == found[1]


def test_our_marks_alone_take_the_short_way(world: Joined, monkeypatch: pytest.MonkeyPatch) -> None:
    """Or the law above compares one way with itself."""

    def never(*_: Any, **__: Any) -> Any:
        raise AssertionError("the long way")

    monkeypatch.setattr(updates, "apply", never)
    monkeypatch.setattr(rules, "judge", never)
    world.propose(world.alice, world.mark(), deliver=False)
    with pytest.raises(AssertionError, match="the long way"):
        world.propose(world.alice, world.mark(), Acknowledge((10_000 * UNIT,) * 2, (0, 0)), deliver=False)


def test_a_book_without_legs_takes_no_marks_of_any_type() -> None:
    for odd in (None, "marks", marks()):
        with pytest.raises(RuleViolation, match="do not cover"):
            remarked(EMPTY_BOOK, (Mark(odd),), b"")  # type: ignore[arg-type]
    assert remarked(EMPTY_BOOK, (Mark(), Mark()), b"any") is EMPTY_BOOK
