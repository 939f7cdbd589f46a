"""A peer's reasons are shown to a person: they forge no line of a log and steer no terminal."""

from __future__ import annotations

import pytest

from channels.core import notices as n
from channels.errors import PeerFault
from channels.model import Mark
from channels.session import Hangup, OpeningRefused
from channels.session.seat import printable
from channels.wire import messages as m
from tests.sansio import Joined

HOSTILE = "no\n2026-01-01 INFO paid\r\x1b[2J\x07\u202e\x00"


def test_words_are_shown_plainly() -> None:
    world = Joined()
    world.fund(10_000, 10_000)
    world.propose(world.alice, Mark(), deliver=False)
    world.say(world.alice, m.Reject(world.id, 2, HOSTILE, HOSTILE))
    (refused,) = [notice for notice in world.alice.notices if isinstance(notice, n.PeerRefused)]
    assert refused.reason.isprintable() and refused.code.isprintable()
    (opening,) = world.say(world.alice, m.OpenRefused(world.id, HOSTILE, HOSTILE))
    assert isinstance(opening, OpeningRefused)
    assert opening.reason.isprintable() and opening.code.isprintable()
    (hangup,) = world.say(world.alice, m.Fault(HOSTILE, HOSTILE))
    assert isinstance(hangup, Hangup)
    assert isinstance(hangup.error, PeerFault)
    assert str(hangup.error).isprintable()


@pytest.mark.parametrize("text", ["", "a margin of 5 % is lacking", "Δ = ½ σ √t", "保証金"])
def test_what_people_write_stays_as_it_is(text: str) -> None:
    assert printable(text) == text
