"""A side that lost data: its disk set back to an older copy, and both owners' way out of it."""

from __future__ import annotations

from channels.core import events as e, records as r
from channels.model import Leg, Mark
from tests.roles import ETH, EXPIRY
from tests.sansio import Joined, Side

MARKER, ANOTHER = b"m" * 32, b"n" * 32
CALL = (Leg.call(ETH, EXPIRY, 2400, quantity=1),)


def put_back(world: Joined, side: Side, copy: list[r.Record], *, suspect: bool = False) -> None:
    """The side's disk is set back to an older copy; with `suspect` its instance marker tells."""
    side.store = type(side.store)()
    side.store.append(world.id, [*copy, r.LossSuspected(MARKER, 0)] if suspect else copy)
    world.restart(side)


def bob_lost_two_marks(world: Joined, *, suspect: bool = False) -> None:
    copy = list(world.bob.store.records(world.id))
    world.propose(world.alice, Mark())
    world.propose(world.bob, Mark())
    put_back(world, world.bob, copy, suspect=suspect)


def told(side: Side, kind: type) -> list[object]:
    return [notice for notice in side.notices if isinstance(notice, kind)]


def recover(world: Joined, loser: Side, marker: bytes = MARKER) -> None:
    """Both owners agree."""
    world.act(loser, e.RecoveryWanted(marker))
    world.settle()
    world.act(world.other(loser), e.RecoveryConsented(marker))
    world.settle()
