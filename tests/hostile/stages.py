"""Where Bob may stand when Mallory, who holds Alice's key, speaks: one real history for each state of the machine.

STAGES["open, ours"]        what the history leads to, stated by hand: the phase, whose turn, what bars a signature
stood("open, ours")         the world at that point, built once and never touched again
Victim(stood("open, ours")) a copy of Bob there, with laws on everything that comes out of his session
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from itertools import count

from channels.core import events as e, facts as f, records as r
from channels.core.phases import Phase
from channels.core.recovery import SKIP
from channels.model import Agreed, Close, HalfSigned, Mark, Party, Reopen, Withdraw
from channels.seal import state_digest
from channels.session import Role as End, Session
from channels.wire import messages as m
from tests import sansio
from tests.roles import DEPLOYMENT, HOUR, NOW, TERMS, UNIT, alice, bob, condor
from tests.sansio import Joined, fresh

MARKER = b"recovery".ljust(32)
"""Under which whoever lost data at a stage asks to go on."""


@dataclass(frozen=True)
class Stage:
    """What is true of Bob's channel there. Written down by hand: the matrix expects its outcomes from this alone."""

    build: Callable[[], Joined]
    phase: Phase
    ours: bool = False
    """Bob holds the turn."""
    agreed: int = 1
    """The highest agreed version."""
    flight: tuple[int, ...] = ()
    """Bob's proposals that wait for an answer."""
    signed: int = 1
    """The highest version that Bob ever signed."""
    outstanding: tuple[int, ...] = ()
    """What Bob half-signed and may still be completed, in flight or not."""
    barred: bool = False
    """Something keeps Bob from signing a mark of the peer's: a CLOSE that stands, a dispute, lost data."""
    known: bool = True
    """The handshake is done."""
    resumed: bool = True
    """The peer's Resume has arrived on this connection."""
    wanted: bool = False
    """Bob has asked for the turn."""
    promised: bool = False
    """The peer has asked for it."""
    frozen: bool = False
    """Bob's journal lost data, or may have."""
    copy: bool = False
    """Only his own instance marker says so: nothing was shown that he does not know."""
    asked: bool = False
    """Bob's owner asked to go on after it, and has no answer."""
    heard: bool = False
    """The peer has asked for a recovery on this connection."""
    granted: bool = False
    """Bob's owner agreed to it."""
    leap: int = 0
    """The first version that may be signed after a recovery of either side."""
    recovers: bool = False
    """On this connection Bob asks for his backups and hears nothing else."""
    ending: bool = False
    """A CLOSE or REOPEN that Bob signed may still be mined."""
    called: bool = False
    """Bob is called for margin."""


def opened() -> Joined:
    return Joined()


def funded() -> Joined:
    world = Joined()
    world.fund(10_000, 10_000)
    return world


def ours() -> Joined:
    world = funded()
    world.turn_to(world.bob)
    return world


def opening() -> Joined:
    """Bob asked for the channel; Alice has not answered."""
    world = Joined(opened=False)
    world.connect()
    world.open(world.bob)
    return world


def traded() -> Joined:
    world = funded()
    world.propose(world.alice, world.trade(condor(), premium=5))
    return world


def traded_ours() -> Joined:
    world = traded()
    world.turn_to(world.bob)
    return world


def flying(proposals: int = 1) -> Joined:
    world = ours()
    for _ in range(proposals):
        world.propose(world.bob, Mark(), deliver=False)
    return world


def window() -> Joined:
    world = traded_ours()
    for _ in range(4):
        world.propose(world.bob, world.mark(), deliver=False)
    return world


def withdrawing() -> Joined:
    world = ours()
    world.propose(world.bob, Withdraw(UNIT), deliver=False)
    return world


def killed() -> Joined:
    """Bob's withdrawal is refused and stays half-signed."""
    world = withdrawing()
    world.say(world.bob, m.Reject(world.id, 2, "withdraw: invalid", "no"))
    return world


def silent() -> Joined:
    world = flying()
    world.act(world.bob, e.SilenceNoticed(30))
    return world


def wanting() -> Joined:
    world = funded()
    world.act(world.bob, e.TurnNeeded())
    return world


def promised() -> Joined:
    world = flying()
    world.say(world.bob, m.WantTurn(world.id))
    return world


def unresumed() -> Joined:
    world = funded()
    world.connect()
    return world


def unresumed_flying() -> Joined:
    world = flying()
    world.connect()
    return world


def half_closing() -> Joined:
    world = ours()
    world.propose(world.bob, Close(0, NOW + 600), deliver=False)
    return world


def closing() -> Joined:
    world = funded()
    world.propose(world.alice, Close(0, NOW + 600))
    return world


def disputed(build: Callable[[], Joined] = traded) -> Joined:
    world = build()
    newest = world.bob.channel.agreed
    world.confirm(f.RegisteredSeen(newest.state if newest else None, NOW + HOUR))
    world.block(NOW + 1)
    return world


def disputed_stale() -> Joined:
    world = funded()
    old = world.agreed.state
    world.propose(world.alice, Mark())
    world.confirm(f.RegisteredSeen(old, NOW + HOUR))
    world.block(NOW + 1)
    return world


def reopening() -> Joined:
    world = disputed(funded)
    world.propose(world.holder, Reopen((0, 0), world.now + 600))
    return world


def reopened() -> Joined:
    world = reopening()
    closing = world.bob.channel.closing
    assert closing is not None
    world.confirm(f.RegisteredSeen(closing.state, 0))
    return world


def settling(build: Callable[[], Joined] = traded) -> Joined:
    world = disputed(build)
    world.block(NOW + HOUR)
    return world


def called() -> Joined:
    world = traded()
    world.confirm(f.RegisteredSeen(world.agreed.state, 0))
    world.confirm(f.CalledSeen(Party.ONE, NOW + HOUR, 1, 0))
    return world


def closed(build: Callable[[], Joined] = funded) -> Joined:
    world = build()
    world.confirm(f.ClosedSeen((10_000 * UNIT, 10_000 * UNIT)))
    return world


def lost(build: Callable[[], Joined] = funded) -> Joined:
    """Alice has shown a state that Bob signed and his journal does not know: it is adopted, and he is frozen."""
    world = build()
    show(world, foreign(world))
    return world


def show(world: Joined, shown: Agreed) -> None:
    """Have Alice show a state that the journal which Bob lost held as signed."""
    half = HalfSigned(shown.state, shown.book, Party.ONE, shown.signatures[Party.ONE])
    world.bob.signed.setdefault(shown.version, half)
    world.say(world.bob, m.Resume(world.id, world.bob.channel.turn, shown.version, shown))


def suspect(build: Callable[[], Joined] = funded) -> Joined:
    """Bob's instance marker says that his journal may be an old copy; nobody has shown anything newer."""
    world = build()
    world.bob.store.append(world.id, [r.LossSuspected(b"suspect".ljust(32), 0)])
    world.restart(world.bob)
    world.reconnect()
    return world


def forked() -> Joined:
    """What Bob holds as agreed he also signed in another state, in the journal that he lost: while he waits."""
    world = flying()
    base = world.bob.channel.agreed
    assert base is not None
    show(world, shifted(base))
    return world


def forked_before() -> Joined:
    """An older release found a loss of data and went on waiting: what it has in flight is so in its journal."""
    world = flying()
    world.bob.store.append(world.id, [r.SigningFrozen(world.bob.channel.agreed_version)])
    world.restart(world.bob)
    world.reconnect()
    return world


def asked(build: Callable[[], Joined] = lost) -> Joined:
    """Bob's owner wants to go on."""
    world = build()
    world.act(world.bob, e.RecoveryWanted(MARKER))
    world.bob.transit.clear()
    world.alice.transit.clear()
    return world


def recovered(turns: int = 0) -> Joined:
    """Alice's owner agreed: Bob signs again, and nothing above the loss is agreed yet."""
    world = asked()
    wanted = world.bob.channel.recovery
    assert wanted is not None
    world.say(world.bob, m.RecoveryAllowed(world.id, MARKER, wanted.version, world.bob.channel.turn + turns))
    return world


def entreated() -> Joined:
    """Alice says that she lost data and wants to go on."""
    world = funded()
    base = world.bob.channel.agreed
    wanted = m.Recovery(MARKER, 1 + SKIP)
    world.say(world.bob, m.Resume(world.id, world.bob.channel.turn, 1, base, 1, wanted))
    return world


def granted() -> Joined:
    """Bob's owner agreed to it."""
    world = entreated()
    world.act(world.bob, e.RecoveryConsented(MARKER))
    world.alice.transit.clear()
    return world


def shifted(agreed: Agreed) -> Agreed:
    """The same version with one token unit elsewhere, signed by both: what an old copy of a journal leads to."""
    first, second = agreed.state.balances
    return signed_by_both(replace(agreed, state=replace(agreed.state, balances=(first + 1, second - 1))))


def signed_by_both(agreed: Agreed) -> Agreed:
    digest = state_digest(DEPLOYMENT, agreed.state)
    return replace(agreed, signatures=(alice.signer.sign(digest), bob.signer.sign(digest)))


def foreign(world: Joined, version: int = 5) -> Agreed:
    """A state that both keys signed and Bob's journal never held."""
    base = world.bob.channel.agreed
    assert base is not None
    return signed_by_both(replace(base, state=replace(base.state, version=version)))


def strange() -> Joined:
    """A new connection on which nobody has spoken."""
    world = funded()
    world.drop()
    for side, end in zip(world.sides, End, strict=True):
        side.session = Session(side.role.signer, end, fresh(), side.seats, opener=world.opener(side))
    return world


def greeted() -> Joined:
    world = strange()
    assert world.alice.session is not None
    world.feed(world.bob, world.alice.session.start())
    return world


def recovering() -> Joined:
    """Bob asks for his backups, on a connection of its own."""
    world = strange()
    world.bob.session = Session(bob.signer, End.LISTENER, fresh(), {}, recovers=True)
    for side in world.sides:
        assert side.session is not None
        world.other(side).transit.append(side.session.start())
    for _ in range(2):
        for side in world.sides:
            world.deliver(side)
    return world


STAGES: dict[str, Stage] = {
    "a stranger": Stage(strange, Phase.OPEN, known=False),
    "greeted": Stage(greeted, Phase.OPEN, known=False),
    "opening": Stage(opening, Phase.OPENING, agreed=0, signed=0),
    "open, nothing agreed": Stage(opened, Phase.OPEN, agreed=0, signed=0),
    "open, theirs": Stage(funded, Phase.OPEN),
    "open, ours": Stage(ours, Phase.OPEN, ours=True),
    "open, with a book": Stage(traded, Phase.OPEN, agreed=2, signed=2),
    "open, ours, with a book": Stage(traded_ours, Phase.OPEN, ours=True, agreed=2, signed=2),
    "open, we want the turn": Stage(wanting, Phase.OPEN, wanted=True),
    "open, not resumed": Stage(unresumed, Phase.OPEN, resumed=False),
    "open, a half-signed withdrawal": Stage(killed, Phase.OPEN, ours=True, signed=2, outstanding=(2,)),
    "open, lost data": Stage(lost, Phase.OPEN, agreed=5, barred=True, frozen=True),
    "open, closing": Stage(closing, Phase.OPEN, agreed=2, signed=2, barred=True, ending=True),
    "open, called": Stage(called, Phase.OPEN, agreed=2, signed=2, called=True),
    "open again": Stage(reopened, Phase.OPEN, agreed=2, signed=2),
    "proposed": Stage(flying, Phase.PROPOSED, ours=True, signed=2, flight=(2,), outstanding=(2,)),
    "proposed, a window": Stage(
        window, Phase.PROPOSED, ours=True, agreed=2, signed=6, flight=(3, 4, 5, 6), outstanding=(3, 4, 5, 6)
    ),
    "proposed, a withdrawal": Stage(withdrawing, Phase.PROPOSED, ours=True, signed=2, flight=(2,), outstanding=(2,)),
    "proposed, a close": Stage(
        half_closing, Phase.PROPOSED, ours=True, signed=2, flight=(2,), outstanding=(2,), barred=True
    ),
    "proposed, to a silent peer": Stage(silent, Phase.PROPOSED, ours=True, signed=2, flight=(2,), outstanding=(2,)),
    "proposed, turn promised": Stage(
        promised, Phase.PROPOSED, ours=True, signed=2, flight=(2,), outstanding=(2,), promised=True
    ),
    "proposed, not resumed": Stage(
        unresumed_flying, Phase.PROPOSED, ours=True, signed=2, flight=(2,), outstanding=(2,), resumed=False
    ),
    "disputed": Stage(disputed, Phase.DISPUTED, agreed=2, signed=2, barred=True),
    "disputed, unsigned": Stage(lambda: disputed(opened), Phase.DISPUTED, agreed=0, signed=0, barred=True),
    "disputed, with an old state": Stage(disputed_stale, Phase.DISPUTED, agreed=2, signed=2, barred=True),
    "disputed, ours": Stage(lambda: disputed(ours), Phase.DISPUTED, ours=True, barred=True),
    "disputed, proposed": Stage(
        lambda: disputed(flying), Phase.DISPUTED, ours=True, signed=2, flight=(2,), outstanding=(2,), barred=True
    ),
    "disputed, reopening": Stage(reopening, Phase.DISPUTED, agreed=2, signed=2, barred=True, ending=True),
    "settling": Stage(settling, Phase.SETTLING, agreed=2, signed=2, barred=True),
    "settling, proposed": Stage(
        lambda: settling(flying), Phase.SETTLING, ours=True, signed=2, flight=(2,), outstanding=(2,), barred=True
    ),
    "closed": Stage(closed, Phase.CLOSED, barred=True),
    "closed, ours": Stage(lambda: closed(ours), Phase.CLOSED, ours=True, barred=True),
    "closed, proposed": Stage(
        lambda: closed(flying), Phase.CLOSED, ours=True, signed=2, flight=(2,), outstanding=(2,), barred=True
    ),
    "open, perhaps an old copy": Stage(suspect, Phase.OPEN, barred=True, frozen=True, copy=True),
    "open, perhaps an old copy, ours": Stage(
        lambda: suspect(ours), Phase.OPEN, ours=True, barred=True, frozen=True, copy=True
    ),
    "open, we ask to recover": Stage(asked, Phase.OPEN, agreed=5, barred=True, frozen=True, asked=True),
    "open, a copy asks to recover": Stage(
        lambda: asked(suspect), Phase.OPEN, barred=True, frozen=True, copy=True, asked=True
    ),
    "open, we recovered": Stage(recovered, Phase.OPEN, agreed=5, leap=5 + SKIP),
    "open, we recovered, ours": Stage(lambda: recovered(1), Phase.OPEN, ours=True, agreed=5, leap=5 + SKIP),
    "open, the peer asks to recover": Stage(entreated, Phase.OPEN, heard=True),
    "open, the peer recovered": Stage(granted, Phase.OPEN, heard=True, granted=True, leap=1 + SKIP),
    "open, lost data with a proposal out": Stage(
        forked, Phase.OPEN, ours=True, signed=2, outstanding=(2,), barred=True, frozen=True
    ),
    "proposed, lost data": Stage(
        forked_before, Phase.PROPOSED, ours=True, signed=2, flight=(2,), outstanding=(2,), barred=True, frozen=True
    ),
    "proposed, we ask to recover": Stage(
        lambda: asked(forked_before),
        Phase.PROPOSED,
        ours=True,
        signed=2,
        flight=(2,),
        outstanding=(2,),
        barred=True,
        frozen=True,
        asked=True,
    ),
    "disputed, we ask to recover": Stage(
        lambda: disputed(asked), Phase.DISPUTED, agreed=5, barred=True, frozen=True, asked=True
    ),
    "settling, we ask to recover": Stage(
        lambda: settling(asked), Phase.SETTLING, agreed=5, barred=True, frozen=True, asked=True
    ),
    "closed, we ask to recover": Stage(
        lambda: closed(asked), Phase.CLOSED, agreed=5, barred=True, frozen=True, asked=True
    ),
    "recovering backups": Stage(recovering, Phase.OPEN, recovers=True),
}


@contextmanager
def same_salts() -> Iterator[None]:
    """Salts and nonces drawn inside are the same in every process; those outside go on as if nothing had been drawn."""
    outside = sansio._SALTS
    sansio._SALTS = count(2**40)
    try:
        yield
    finally:
        sansio._SALTS = outside


@cache
def stood(name: str) -> Joined:
    """Return the world at a stage: shared, so look at it and change nothing."""
    with same_salts():
        world = STAGES[name].build()
    stage, channel = STAGES[name], world.bob.channel
    assert channel.terms == TERMS
    facts = (channel.phase, channel.my_turn, channel.version, channel.in_flight, channel.signed, channel.is_frozen)
    assert facts == (stage.phase, stage.ours, stage.agreed, stage.flight, stage.signed, stage.frozen), (name, facts)
    assert (tuple(channel.halves), channel.is_resumed) == (stage.outstanding, stage.resumed), name
    said = channel.peer_said.recovery if channel.peer_said else None
    losses = (channel.recovery is not None, said is not None, channel.granted is not None, channel.leap)
    assert losses == (stage.asked, stage.heard, stage.granted, stage.leap), (name, losses)
    return world
