"""Words about a loss of data: what was lost and is shown, recoveries asked for and allowed, and backups."""

from __future__ import annotations

from dataclasses import replace

from channels.core.phases import Phase
from channels.core.recovery import MAX_TURNS, SKIP
from channels.core.rules import MAX_SKIP
from channels.model import EMPTY_BOOK, Intent, Withdraw, keccak
from channels.wire import messages as m
from tests.roles import UNIT
from tests.sansio import Joined

from .stages import MARKER, Stage, foreign, shifted, signed_by_both
from .victim import Outcome
from .words import (
    ELSEWHERE,
    FAULT,
    IGNORED,
    KEPT,
    TAKEN,
    Said,
    above,
    altered,
    mark,
    newest_agreed,
    proposal,
    refused,
    word,
)
from .words_meeting import heals

OTHER = keccak(b"another loss")


def resume(world: Joined, recovery: m.Recovery | None) -> m.Resume:
    """An honest Resume with a recovery in it."""
    newest = newest_agreed(world.bob.channel)
    version = newest.version if newest else 0
    return m.Resume(world.id, world.bob.channel.turn, version, newest, version, recovery)


# What was lost, shown


@word("Resume, a state we have lost", m.Resume, TAKEN)
def _(world: Joined, stage: Stage) -> Said:
    if world.bob.channel.agreed is None:
        return None
    return m.Resume(world.id, world.bob.channel.turn, 50, foreign(world, 50))


@word("Resume, a state we have lost, of the last version there is", m.Resume, TAKEN)
def _(world: Joined, stage: Stage) -> Said:
    if world.bob.channel.agreed is None:
        return None
    return m.Resume(world.id, world.bob.channel.turn, 2**64 - 1, foreign(world, 2**64 - 1))


@word("Resume, a close we have lost", m.Resume, TAKEN)
def _(world: Joined, stage: Stage) -> Said:
    if world.bob.channel.agreed is None:
        return None
    shown = foreign(world, 50)
    closed = replace(shown.state, intent=Intent.CLOSE, valid_until=world.now + 600, book=EMPTY_BOOK.hash)
    return m.Resume(world.id, world.bob.channel.turn, 50, signed_by_both(replace(shown, state=closed, book=EMPTY_BOOK)))


def forks(stage: Stage) -> Outcome:
    """It proves a loss, unless one is proven already, or a recovery went on above it."""
    is_known = stage.frozen and not stage.copy
    return heals(stage) if is_known or stage.leap > stage.agreed else TAKEN


@word("Resume, the agreed version in another state", m.Resume, forks)
def _(world: Joined, stage: Stage) -> Said:
    newest = newest_agreed(world.bob.channel)
    if newest is None:
        return None
    return m.Resume(world.id, world.bob.channel.turn, stage.agreed, shifted(newest))


# Recoveries asked for


def entreats(stage: Stage) -> Outcome:
    """Our owner is told, once on a connection; a closed channel needs no recovery."""
    return FAULT if stage.heard and stage.phase is not Phase.CLOSED else heals(stage)


def overreaches(stage: Stage) -> Outcome:
    return heals(stage) if stage.phase is Phase.CLOSED else FAULT


@word("Resume, asking to recover", m.Resume, entreats)
def _(world: Joined, stage: Stage) -> Said:
    return resume(world, m.Recovery(OTHER, above(stage) + SKIP))


@word("Resume, asking to recover a hundred times", m.Resume, entreats)
def _(world: Joined, stage: Stage) -> list[Said]:
    return [resume(world, m.Recovery(OTHER, above(stage) + SKIP))] * 100


@word("Resume, asking to recover under two markers", m.Resume, overreaches)
def _(world: Joined, stage: Stage) -> list[Said]:
    return [resume(world, m.Recovery(marker, above(stage) + SKIP)) for marker in (OTHER, keccak(OTHER))]


@word("Resume, asking to recover too far", m.Resume, overreaches)
def _(world: Joined, stage: Stage) -> Said:
    return resume(world, m.Recovery(OTHER, above(stage) + SKIP + MAX_SKIP + 64))


@word("Resume, asking to recover at the last version there is", m.Resume, overreaches)
def _(world: Joined, stage: Stage) -> Said:
    return resume(world, m.Recovery(OTHER, 2**64 - 1))


@word("Resume, asking to sign again what is signed", m.Resume, overreaches)
def _(world: Joined, stage: Stage) -> Said:
    return resume(world, m.Recovery(OTHER, max(stage.agreed, stage.signed)))


def repeats(stage: Stage) -> Outcome:
    """A consent is said again to who did not hear it."""
    return TAKEN if stage.granted else heals(stage)


@word("Resume, asking to recover as before", m.Resume, repeats)
def _(world: Joined, stage: Stage) -> Said:
    return resume(world, m.Recovery(MARKER, 1 + SKIP)) if stage.heard else None


@word("Resume, asking under a marker that was used, from elsewhere", m.Resume, heals)
def _(world: Joined, stage: Stage) -> Said:
    return resume(world, m.Recovery(MARKER, stage.leap + SKIP)) if stage.leap else None


@word("Resume, asking no more, having signed above it", m.Resume, heals)
def _(world: Joined, stage: Stage) -> list[Said]:
    """The consent is not repeated: who asks again has lost what it signed since."""
    newest = newest_agreed(world.bob.channel)
    if not stage.granted:
        return [None]
    said = m.Resume(world.id, world.bob.channel.turn, stage.leap, newest, stage.leap, m.Recovery(MARKER, stage.leap))
    return [replace(said, recovery=None), said]


# Recoveries allowed


@word("RecoveryAllowed, what we asked for", m.RecoveryAllowed, TAKEN)
def _(world: Joined, stage: Stage) -> Said:
    return allowed(world)


def allowed(world: Joined) -> m.RecoveryAllowed | None:
    asked = world.bob.channel.recovery
    turn = world.bob.channel.turn
    return m.RecoveryAllowed(world.id, asked.marker, asked.version, turn) if asked else None


@word("RecoveryAllowed, twice", m.RecoveryAllowed, TAKEN)
def _(world: Joined, stage: Stage) -> list[Said]:
    return [allowed(world)] * 2


@word("RecoveryAllowed, with our turn", m.RecoveryAllowed, TAKEN)
def _(world: Joined, stage: Stage) -> Said:
    made = allowed(world)
    return replace(made, turn=made.turn + 1) if made else None


@word("RecoveryAllowed, with the furthest turn", m.RecoveryAllowed, TAKEN)
def _(world: Joined, stage: Stage) -> Said:
    made = allowed(world)
    return replace(made, turn=made.turn + MAX_TURNS) if made else None


@word("RecoveryAllowed, with a turn too far", m.RecoveryAllowed, FAULT)
def _(world: Joined, stage: Stage) -> Said:
    made = allowed(world)
    return replace(made, turn=made.turn + MAX_TURNS + 1) if made else None


@word("RecoveryAllowed, with a turn that is over", m.RecoveryAllowed, FAULT)
def _(world: Joined, stage: Stage) -> Said:
    made = allowed(world)
    return replace(made, turn=made.turn - 1) if made and made.turn else None


@word("RecoveryAllowed, from the version before", m.RecoveryAllowed, FAULT)
def _(world: Joined, stage: Stage) -> Said:
    made = allowed(world)
    return replace(made, version=made.version - 1) if made else None


@word("RecoveryAllowed, from the last version there is", m.RecoveryAllowed, FAULT)
def _(world: Joined, stage: Stage) -> Said:
    made = allowed(world)
    return replace(made, version=2**64 - 1) if made else None


@word("RecoveryAllowed, that nobody asked for", m.RecoveryAllowed, FAULT)
def _(world: Joined, stage: Stage) -> Said:
    return m.RecoveryAllowed(world.id, OTHER, above(stage) + SKIP, world.bob.channel.turn)


@word("RecoveryAllowed, long ago", m.RecoveryAllowed, IGNORED)
def _(world: Joined, stage: Stage) -> Said:
    return m.RecoveryAllowed(world.id, MARKER, 2 * stage.leap, 2**63) if stage.leap else None


@word("RecoveryAllowed, and a proposal at once", m.RecoveryAllowed, lambda stage: FAULT if stage.ours else TAKEN)
def _(world: Joined, stage: Stage) -> list[Said]:
    """What comes right behind it is judged by what it led to."""
    made = allowed(world)
    if made is None:
        return [None]
    return [made, proposal(world.bob.channel, (mark(world),), version=made.version)[0]]


# Proposals around a recovery


@word("Propose, below where we go on", m.Propose, refused)
def _(world: Joined, stage: Stage) -> Said:
    return proposal(world.bob.channel, (mark(world),), version=stage.leap - 1)[0] if stage.leap else None


@word("Propose, an option before a fact", m.Propose, refused)
def _(world: Joined, stage: Stage) -> Said:
    """Until something above the loss is agreed a withdrawal would add to what may have been lost."""
    return proposal(world.bob.channel, (Withdraw(UNIT),), version=above(stage))[0] if stage.leap else None


# Backups


def kept(stage: Stage) -> Outcome:
    return FAULT if stage.recovers else KEPT


def returned(stage: Stage) -> Outcome:
    return KEPT if stage.recovers else FAULT


@word("Backup", m.Backup, kept)
def _(world: Joined, stage: Stage) -> Said:
    return m.Backup(world.id, b"sealed")


@word("Backup, of nothing", m.Backup, kept)
def _(world: Joined, stage: Stage) -> Said:
    return m.Backup(world.id, b"")


@word("Backup, as large as may be, three times", m.Backup, kept)
def _(world: Joined, stage: Stage) -> list[Said]:
    return [m.Backup(world.id, bytes(m.MAX_BACKUP))] * 3


@word("Backup, one byte too large", None, FAULT)
def _(world: Joined, stage: Stage) -> Said:
    return altered(m.Backup(world.id, b""), 2, lambda one: bytes(m.MAX_BACKUP + 1))


@word("Backup, of no channel here", m.Backup, FAULT)
def _(world: Joined, stage: Stage) -> Said:
    return m.Backup(ELSEWHERE, b"sealed")  # type: ignore[arg-type]


@word("BackupsWanted", m.BackupsWanted, KEPT)
def _(world: Joined, stage: Stage) -> Said:
    return m.BackupsWanted()


@word("BackupsWanted, twice", m.BackupsWanted, FAULT)
def _(world: Joined, stage: Stage) -> list[Said]:
    return [m.BackupsWanted()] * 2


@word("BackupReturned", m.BackupReturned, returned)
def _(world: Joined, stage: Stage) -> Said:
    return m.BackupReturned(world.id, b"sealed")


@word("BackupReturned, of no channel here", m.BackupReturned, returned)
def _(world: Joined, stage: Stage) -> Said:
    """Who lost its journal knows of no channel: what is in it decides."""
    return m.BackupReturned(ELSEWHERE, b"sealed")  # type: ignore[arg-type]


@word("BackupsEnd", m.BackupsEnd, returned)
def _(world: Joined, stage: Stage) -> Said:
    return m.BackupsEnd(0)


@word("BackupsEnd, of more than there can be", m.BackupsEnd, returned)
def _(world: Joined, stage: Stage) -> Said:
    return m.BackupsEnd(2**64 - 1)
