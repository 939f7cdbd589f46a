"""Words of meeting: greetings, openings, what is known after a break, calls, faults, and bytes that are no message."""

from __future__ import annotations

from dataclasses import replace
from typing import get_args

from channels.core.phases import Phase
from channels.model import (
    Agreed,
    Deployment,
    keccak,
)
from channels.seal import Signer, hello_digest
from channels.wire import messages as m
from channels.wire.codec import MAX_MESSAGE, encode
from channels.wire.framing import frame
from tests.roles import DEPLOYMENT, TERMS, alice, bob, mallory
from tests.sansio import Joined

from .stages import Stage, foreign
from .victim import Outcome
from .words import (
    ELSEWHERE,
    EVENTS_OF,
    FAULT,
    IGNORED,
    REFUSED,
    SAMPLES,
    TAKEN,
    Said,
    above,
    moved,
    newest_agreed,
    sign,
    word,
)

# Greetings


@word("Greeting", m.Greeting, lambda stage: FAULT)
def _(world: Joined, stage: Stage) -> Said:
    return m.Greeting(m.PROTOCOL, keccak(b"again"), 32) if stage.known else None


@word("Greeting of a stranger", m.Greeting, lambda stage: TAKEN)
def _(world: Joined, stage: Stage) -> Said:
    handshake = world.bob.session._handshake  # type: ignore[union-attr]
    return m.Greeting(m.PROTOCOL, b"n" * 32, 32) if handshake._theirs is None else None


@word("Greeting in another protocol", m.Greeting, FAULT)
def _(world: Joined, stage: Stage) -> Said:
    return m.Greeting(m.PROTOCOL + 1, b"n" * 32, 32)


@word("Greeting without a window", m.Greeting, FAULT)
def _(world: Joined, stage: Stage) -> Said:
    return m.Greeting(m.PROTOCOL, b"n" * 32, 0)


@word("Hello", m.Hello, lambda stage: FAULT if stage.known else TAKEN)
def _(world: Joined, stage: Stage) -> Said:
    """Alice's, over the nonces of this very connection."""
    theirs = world.bob.session._handshake._theirs  # type: ignore[union-attr]
    return None if theirs is None else hello(world, theirs)


@word("Hello before the Greeting", m.Hello, FAULT)
def _(world: Joined, stage: Stage) -> Said:
    return m.Hello(bytes(65)) if world.bob.session._handshake._theirs is None else None  # type: ignore[union-attr]


@word("Hello signed with zeros", m.Hello, FAULT)
def _(world: Joined, stage: Stage) -> Said:
    return m.Hello(bytes(65))


def hello(world: Joined, theirs: bytes, signer: Signer = alice.signer) -> m.Hello:
    """The Hello that a peer with this key owes on Bob's present connection."""
    handshake = world.bob.session._handshake  # type: ignore[union-attr]
    digest = hello_digest(handshake.greeting.nonce, theirs, handshake._certificate, handshake._role.other)
    return m.Hello(signer.sign(digest))


# Openings


@word("Open of this channel", m.Open, TAKEN)
def _(world: Joined, stage: Stage) -> Said:
    return m.Open(DEPLOYMENT, TERMS)


@word("Open of another channel", m.Open, TAKEN)
def _(world: Joined, stage: Stage) -> Said:
    return m.Open(DEPLOYMENT, replace(TERMS, salt=keccak(b"another")))


@word("Open of twenty channels", m.Open, TAKEN)
def _(world: Joined, stage: Stage) -> list[Said]:
    return [m.Open(DEPLOYMENT, replace(TERMS, salt=keccak(bytes((i,))))) for i in range(20)]


@word("Open on terms we refuse", m.Open, REFUSED)
def _(world: Joined, stage: Stage) -> Said:
    return m.Open(DEPLOYMENT, replace(TERMS, decimals=8))


@word("Open on terms we refuse, again and again", m.Open, FAULT)
def _(world: Joined, stage: Stage) -> list[Said]:
    return [m.Open(DEPLOYMENT, replace(TERMS, decimals=8))] * 17


@word("Open on another chain", m.Open, REFUSED)
def _(world: Joined, stage: Stage) -> Said:
    return m.Open(Deployment(1, DEPLOYMENT.adjudicator), TERMS)


@word("Open between others", m.Open, FAULT)
def _(world: Joined, stage: Stage) -> Said:
    others = (min(bob.address, mallory.address), max(bob.address, mallory.address))
    return m.Open(DEPLOYMENT, replace(TERMS, signers=others))


@word("OpenAccepted", m.OpenAccepted, lambda stage: TAKEN if stage.phase is Phase.OPENING else IGNORED)
def _(world: Joined, stage: Stage) -> Said:
    return m.OpenAccepted(world.id)


@word("OpenRefused", m.OpenRefused, IGNORED)
def _(world: Joined, stage: Stage) -> Said:
    return m.OpenRefused(world.id, "terms: refused", "no")


# Resumption


def heals(stage: Stage) -> Outcome:
    """The peer's Resume: what is in flight is sent again, once on a connection; what we wait for is asked again."""
    if stage.phase is Phase.OPENING:
        return TAKEN
    if stage.frozen:
        return IGNORED
    again = not stage.resumed and stage.ours and stage.flight and stage.phase is not Phase.CLOSED
    return TAKEN if again or stage.wanted else IGNORED


@word("Resume, honest", m.Resume, heals)
def _(world: Joined, stage: Stage) -> Said:
    newest = newest_agreed(world.bob.channel)
    return m.Resume(world.id, world.bob.channel.turn, stage.agreed, newest)


@word("Resume, of nothing", m.Resume, heals)
def _(world: Joined, stage: Stage) -> Said:
    return m.Resume(world.id, 0, 0, None)


@word("Resume, everything signed", m.Resume, heals)
def _(world: Joined, stage: Stage) -> Said:
    return m.Resume(world.id, world.bob.channel.turn, 2**64 - 1, None)


@word("Resume, the turn passed", m.Resume, moved(lambda stage: FAULT if stage.ours else TAKEN))
def _(world: Joined, stage: Stage) -> Said:
    return m.Resume(world.id, world.bob.channel.turn + 1, stage.agreed, None)


@word("Resume, two turns ahead", m.Resume, moved(FAULT))
def _(world: Joined, stage: Stage) -> Said:
    return m.Resume(world.id, world.bob.channel.turn + 2, stage.agreed, None)


@word("Resume, what we half-signed", m.Resume, TAKEN)
def _(world: Joined, stage: Stage) -> Said:
    if not stage.outstanding:
        return None
    half = world.bob.channel.halves[stage.outstanding[-1]].half
    shown = Agreed(half.state, half.book, (sign(half.state), half.signature))
    return m.Resume(world.id, world.bob.channel.turn, half.state.version, shown)


@word("Resume, forged", m.Resume, FAULT)
def _(world: Joined, stage: Stage) -> Said:
    if world.bob.channel.agreed is None:
        return None
    shown = foreign(world, 50)
    return m.Resume(world.id, 0, 50, replace(shown, signatures=(shown.signatures[0], shown.signatures[0])))


@word("Resume, of another channel", m.Resume, FAULT)
def _(world: Joined, stage: Stage) -> Said:
    newest = world.bob.channel.agreed
    if newest is None:
        return None
    state = replace(newest.state, channel=keccak(b"another"))
    shown = Agreed(state, newest.book, (sign(state), sign(state, bob.signer)))
    return m.Resume(world.id, 0, 0, shown)


# Calls and faults


@word("CollateralCall, of nothing due", m.CollateralCall, IGNORED)
def _(world: Joined, stage: Stage) -> Said:
    return m.CollateralCall(world.id, stage.agreed, 5)


@word("CollateralCall, of less than nothing", m.CollateralCall, IGNORED)
def _(world: Joined, stage: Stage) -> Said:
    return m.CollateralCall(world.id, stage.agreed, -(2**255))


@word("CollateralCall, from the future", m.CollateralCall, IGNORED)
def _(world: Joined, stage: Stage) -> Said:
    return m.CollateralCall(world.id, above(stage) + 3, 5)


@word("Fault", m.Fault, Outcome.ENDED)
def _(world: Joined, stage: Stage) -> Said:
    return m.Fault("state: stale version", "you said 3")


for _kind in get_args(m.ChannelMessage):
    if _kind in SAMPLES:
        word(f"{_kind.__name__}, of no channel here", _kind, FAULT)(
            lambda world, stage, kind=_kind: SAMPLES[kind](ELSEWHERE)  # type: ignore[misc]
        )


# Bytes that are no message

CUT: dict[str, tuple[bytes, Outcome]] = {
    "half a header": (b"\x00\x00", IGNORED),
    "a frame that never ends": (MAX_MESSAGE.to_bytes(4, "big") + b"\x93" * 1_000, IGNORED),
    "a frame of four gigabytes": (b"\xff\xff\xff\xff", FAULT),
    "a frame one byte too long": ((MAX_MESSAGE + 1).to_bytes(4, "big"), FAULT),
    "an empty frame": (bytes(4), FAULT),
    "a message of an unknown number": (frame(b"\x92\x7f\xc4\x20" + bytes(32)), FAULT),
    "a message of the next number": (frame(b"\x92" + bytes((len(EVENTS_OF) + 1,)) + b"\xc4\x20" + bytes(32)), FAULT),
    "a map": (frame(b"\x80"), FAULT),
    "sixty thousand lists": (frame(b"\x91" * 60_000), FAULT),
    "a list of four billion": (frame(b"\xdd\xff\xff\xff\xff"), FAULT),
    "text that is not text": (frame(b"\x93\x0c\xa1\xff\xa1\xff"), FAULT),
    "a number spelled long": (frame(b"\x92\xcc\x09" + encode(m.WantTurn(ELSEWHERE))[2:]), FAULT),  # type: ignore[arg-type]
    "bytes behind a message": (frame(encode(m.WantTurn(ELSEWHERE)) + b"\x00"), FAULT),  # type: ignore[arg-type]
    "a plain request": (b"GET / HTTP/1.1\r\n\r\n", FAULT),
}
for _name, (_data, _outcome) in CUT.items():
    word(_name, None, _outcome)(lambda world, stage, data=_data: data)  # type: ignore[misc]
