"""Words about one update after another: proposals, answers to them, and whose turn it is."""

from __future__ import annotations

from dataclasses import replace

from channels.core.rules import MAX_SKIP
from channels.model import (
    ZERO32,
    Book,
    Deployment,
    Mark,
    Party,
    Reopen,
    State,
    Withdraw,
)
from channels.wire import messages as m
from tests.roles import DEPLOYMENT, UNIT, mallory
from tests.sansio import Joined

from .stages import Stage
from .victim import Outcome
from .words import (
    FAULT,
    IGNORED,
    TAKEN,
    Said,
    above,
    altered,
    bent,
    forged,
    judged,
    mark,
    moved,
    newest_agreed,
    proposal,
    refused,
    reopening,
    sign,
    word,
)

# Proposals


@word("Propose, right", m.Propose, judged)
def _(world: Joined, stage: Stage) -> Said:
    return proposal(world.bob.channel, (mark(world),), version=above(stage))[0]


@word("Propose, three at once", m.Propose, judged)
def _(world: Joined, stage: Stage) -> list[Said]:
    return chain(world, stage, 3)


@word("Propose, more than the window", m.Propose, lambda stage: FAULT if judged(stage) is TAKEN else judged(stage))
def _(world: Joined, stage: Stage) -> list[Said]:
    return chain(world, stage, m.WINDOW + 1)


def chain(world: Joined, stage: Stage, length: int) -> list[Said]:
    """Proposals, each on the one before it."""
    said: list[Said] = []
    base: tuple[State | None, Book] | None = None
    for at in range(length):
        made, state, book = proposal(world.bob.channel, (mark(world),), version=above(stage) + at, base=base)
        said.append(made)
        base = None if state is None else (state, book)
    return said


@word("Propose, to reopen", m.Propose, reopening)
def _(world: Joined, stage: Stage) -> Said:
    return proposal(world.bob.channel, (Reopen((0, 0), world.now + 600),), version=above(stage))[0]


@word("Propose, again what is agreed", m.Propose, TAKEN)
def _(world: Joined, stage: Stage) -> Said:
    newest = newest_agreed(world.bob.channel)
    if newest is None:
        return None
    return m.Propose(world.id, newest.version, (Mark(),), newest.book.salt or ZERO32, newest.signatures[Party.ZERO], 0)


@word("Propose, what is agreed in another state", m.Propose, FAULT)
def _(world: Joined, stage: Stage) -> Said:
    newest = newest_agreed(world.bob.channel)
    if newest is None:
        return None
    return proposal(world.bob.channel, (Withdraw(UNIT),), version=newest.version)[0]


@word("Propose, version 0", m.Propose, FAULT)
def _(world: Joined, stage: Stage) -> Said:
    return m.Propose(world.id, 0, (Mark(),), ZERO32, bytes(65), 0)


@word("Propose, from the past", m.Propose, FAULT)
def _(world: Joined, stage: Stage) -> Said:
    return proposal(world.bob.channel, (Withdraw(UNIT),), version=stage.agreed - 1)[0] if stage.agreed > 1 else None


@word("Propose, from the future", m.Propose, refused)
def _(world: Joined, stage: Stage) -> Said:
    return proposal(world.bob.channel, (mark(world),), version=above(stage) + MAX_SKIP + 9)[0]


@word("Propose, the last version there is", m.Propose, refused)
def _(world: Joined, stage: Stage) -> Said:
    return proposal(world.bob.channel, (mark(world),), version=2**64 - 1)[0]


@word("Propose, on another base", m.Propose, refused)
def _(world: Joined, stage: Stage) -> Said:
    return replace(proposal(world.bob.channel, version=above(stage))[0], base=999)


@word("Propose, a withdrawal of all there is", m.Propose, refused)
def _(world: Joined, stage: Stage) -> Said:
    return proposal(world.bob.channel, (Withdraw(30_000 * UNIT),), version=above(stage))[0]


@word("Propose, marks from another day", m.Propose, refused)
def _(world: Joined, stage: Stage) -> Said:
    """Mallory's clock is a day ahead of Bob's."""
    legs = world.bob.channel.book.legs
    marks = world.view(legs, world.now + 86_400)
    if not legs or marks is None:
        return None
    return proposal(world.bob.channel, (Mark(marks),), version=above(stage))[0]


@word("Propose, a signature with a bit turned", m.Propose, forged)
def _(world: Joined, stage: Stage) -> Said:
    made = proposal(world.bob.channel, (mark(world),), version=above(stage))[0]
    return replace(made, signature=bent(made.signature))


@word("Propose, signed by somebody else", m.Propose, forged)
def _(world: Joined, stage: Stage) -> Said:
    return proposal(world.bob.channel, (mark(world),), version=above(stage), signer=mallory.signer)[0]


@word("Propose, signed for another chain", m.Propose, forged)
def _(world: Joined, stage: Stage) -> Said:
    elsewhere = Deployment(1, DEPLOYMENT.adjudicator)
    return proposal(world.bob.channel, (mark(world),), version=above(stage), deployment=elsewhere)[0]


@word("Propose, no operation", None, FAULT)
def _(world: Joined, stage: Stage) -> Said:
    return altered(m.Propose(world.id, above(stage), (Mark(),), ZERO32, bytes(65), stage.agreed), 3, lambda one: [])


@word("Propose, too many operations", None, FAULT)
def _(world: Joined, stage: Stage) -> Said:
    return altered(
        m.Propose(world.id, above(stage), (Mark(),), ZERO32, bytes(65), stage.agreed), 3, lambda one: one * 17
    )


# Answers


@word("Accept, the newest outstanding", m.Accept, TAKEN)
def _(world: Joined, stage: Stage) -> Said:
    return accepted(world, stage.outstanding[-1]) if stage.outstanding else None


@word("Accept, the oldest outstanding", m.Accept, TAKEN)
def _(world: Joined, stage: Stage) -> Said:
    return accepted(world, stage.outstanding[0]) if stage.outstanding else None


def accepted(world: Joined, version: int) -> m.Accept:
    return m.Accept(world.id, version, sign(world.bob.channel.halves[version].half.state))


@word("Accept, a signature with a bit turned", m.Accept, FAULT)
def _(world: Joined, stage: Stage) -> Said:
    if not stage.outstanding:
        return None
    made = accepted(world, stage.outstanding[-1])
    return replace(made, signature=bent(made.signature))


@word("Accept, our own signature", m.Accept, FAULT)
def _(world: Joined, stage: Stage) -> Said:
    if not stage.outstanding:
        return None
    version = stage.outstanding[-1]
    return m.Accept(world.id, version, world.bob.channel.halves[version].half.signature)


@word("Accept, what is agreed", m.Accept, IGNORED)
def _(world: Joined, stage: Stage) -> Said:
    return m.Accept(world.id, stage.agreed, bytes(65))


@word("Accept, what was never proposed", m.Accept, FAULT)
def _(world: Joined, stage: Stage) -> Said:
    return m.Accept(world.id, above(stage) + 3, bytes(65))


@word("Reject, what is in flight", m.Reject, TAKEN)
def _(world: Joined, stage: Stage) -> Said:
    return m.Reject(world.id, stage.flight[0], "trade: invalid", "no") if stage.flight else None


@word("Reject, what is answered", m.Reject, IGNORED)
def _(world: Joined, stage: Stage) -> Said:
    return m.Reject(world.id, 1, "trade: invalid", "no") if stage.agreed and stage.signed else None


@word("Reject, what was never proposed", m.Reject, FAULT)
def _(world: Joined, stage: Stage) -> Said:
    return m.Reject(world.id, above(stage) + 3, "trade: invalid", "no")


@word("Reject, with too many words", None, FAULT)
def _(world: Joined, stage: Stage) -> Said:
    return altered(m.Reject(world.id, 1, "trade: invalid", "n"), 4, lambda one: one * 513)


# Turns


def parted(stage: Stage) -> Outcome:
    """The turn is passed to who wants it, once nothing is in flight."""
    return TAKEN if stage.ours and not stage.flight else IGNORED


@word("WantTurn", m.WantTurn, moved(parted))
def _(world: Joined, stage: Stage) -> Said:
    return m.WantTurn(world.id)


@word("WantTurn, a hundred times", m.WantTurn, moved(parted))
def _(world: Joined, stage: Stage) -> list[Said]:
    return [m.WantTurn(world.id)] * 100


@word("PassTurn", m.PassTurn, moved(lambda stage: FAULT if stage.ours else TAKEN))
def _(world: Joined, stage: Stage) -> Said:
    return m.PassTurn(world.id, world.bob.channel.turn + 1)


@word("PassTurn, again", m.PassTurn, IGNORED)
def _(world: Joined, stage: Stage) -> Said:
    return m.PassTurn(world.id, world.bob.channel.turn)


@word("PassTurn, two at once", m.PassTurn, moved(FAULT))
def _(world: Joined, stage: Stage) -> Said:
    return m.PassTurn(world.id, world.bob.channel.turn + 2)


@word("PassTurn, the last there is", m.PassTurn, moved(FAULT))
def _(world: Joined, stage: Stage) -> Said:
    return m.PassTurn(world.id, 2**64 - 1)


@word("PassTurn, passed to and fro for ever", m.PassTurn, moved(FAULT))
def _(world: Joined, stage: Stage) -> list[Said]:
    """Whoever holds it: the peer asks for the turn and passes it at once, 600 times."""
    turn, said = world.bob.channel.turn, list[Said]()
    for _ in range(600):
        if turn % 2 == Party.ONE:
            said.append(m.WantTurn(world.id))
            turn += 1
        said.append(m.PassTurn(world.id, turn + 1))
        turn += 1
    return said
