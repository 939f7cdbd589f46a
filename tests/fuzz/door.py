"""One input of the fuzzer: where Bob stands, his clock, how the bytes are cut, and the bytes that reach his session.

    byte 0       the stage, a place in `STAGES` (appended to, so that an input keeps its meaning)
    byte 1       how the stream is cut into reads: whole, by frame, in sevens, a byte at a time
    bytes 2, 3   how many seconds Bob's clock is ahead of the history's, signed
    the rest     the stream

A signature of sixty-five zero bytes is made right before the frame is fed: the peer holds Alice's key. So a mutation of
what is signed gets past the signature, into what the rules make of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from channels.core.apply import apply
from channels.errors import RuleViolation
from channels.model import Agreed, Book, Party, State
from channels.session import Session
from channels.wire import messages as m
from channels.wire.codec import MAX_MESSAGE, decode
from tests.hostile.stages import STAGES, stood
from tests.hostile.victim import Heard, LawBroken, Victim
from tests.hostile.words import sign
from tests.hostile.words_meeting import hello
from tests.roles import alice, bob
from tests.sansio import Joined, durable

HEADER = 4
UNSIGNED = bytes(65)
"""Stands for the signature that Alice's key would make."""
MAX_INPUT = HEADER + 2 * MAX_MESSAGE
NAMES = tuple(STAGES)
CUTS = ("whole", "by frame", "in sevens", "a byte at a time")
MAX_PIECES = 4_096
"""A byte at a time up to here; what is left comes whole."""


@dataclass(frozen=True)
class Input:
    """An input, read."""

    stage: str
    cut: str
    skew: int
    stream: bytes

    @property
    def data(self) -> bytes:
        head = bytes((NAMES.index(self.stage), CUTS.index(self.cut)))
        return head + self.skew.to_bytes(2, "big", signed=True) + self.stream


def read(data: bytes) -> Input:
    """Read any bytes as an input."""
    head = data[:HEADER].ljust(HEADER, b"\x00")
    skew = int.from_bytes(head[2:4], "big", signed=True)
    return Input(NAMES[head[0] % len(NAMES)], CUTS[head[1] % len(CUTS)], skew, data[HEADER:MAX_INPUT])


def frames(stream: bytes) -> Iterator[bytes]:
    """Yield the whole frames of a stream with their lengths, then what is left."""
    while len(stream) >= 4 and len(stream) >= 4 + (size := int.from_bytes(stream[:4], "big")):
        yield stream[: 4 + size]
        stream = stream[4 + size :]
    if stream:
        yield stream


def play(data: bytes) -> tuple[Victim, list[Heard]]:
    """Feed one input to Bob, under every law, twice: LawBroken if one does not hold, or if the runs differ."""
    first, again = _play(read(data)), _play(read(data))
    if _trace(*first) != _trace(*again):
        raise LawBroken("the same bytes do not lead to the same")
    return first


def _trace(victim: Victim, heard: list[Heard]) -> object:
    said = [(h.sent, h.replies, h.kept, h.records, h.violation) for h in heard]
    return said, {channel: durable(seat.channel) for channel, seat in victim.seats.items()}


def _play(spec: Input) -> tuple[Victim, list[Heard]]:
    world = stood(spec.stage)
    victim = Victim(world)
    victim.now += spec.skew
    heard = []
    for piece in _reads(spec, victim, world):
        heard.append(victim.hear(piece))
        if heard[-1].hangup is not None:
            if victim.hear(piece).outputs:
                raise LawBroken("something is said after a hangup")
            break
    return victim, heard


def _reads(spec: Input, victim: Victim, world: Joined) -> Iterator[bytes]:
    if spec.cut == "by frame":
        for piece in frames(spec.stream):
            yield Forger(victim, world).forge(piece)
        return
    forger = Forger(victim, world)
    stream = b"".join(forger.forge(piece) for piece in frames(spec.stream))
    size = {"in sevens": 7, "a byte at a time": 1}.get(spec.cut, len(stream) or 1)
    pieces = range(0, min(len(stream), MAX_PIECES * size), size)
    yield from (stream[at : at + size] for at in pieces)
    yield stream[MAX_PIECES * size :]


class Forger:
    """Makes Alice's signatures right where an input leaves them out, on what Bob holds when it begins."""

    def __init__(self, victim: Victim, world: Joined) -> None:
        self._victim, self._world = victim, world
        self._tip: tuple[State | None, Book] = victim.channel.tip
        self._theirs = victim.session._handshake._theirs

    def forge(self, piece: bytes) -> bytes:
        """Return a frame with its signatures made; anything that is no message as it is."""
        try:
            message = decode(piece[4:])
        except RuleViolation:
            return piece
        match message:
            case m.Greeting():
                self._theirs = self._theirs or message.nonce
                return piece
            case m.Hello(signature) if signature == UNSIGNED and self._theirs:
                return Session.to_bytes(hello(self._world, self._theirs))
            case m.Propose():
                return Session.to_bytes(self._proposed(message))
            case m.Accept(_, version, signature) if signature == UNSIGNED:
                half = self._victim.halves.get((message.channel, version))
                return Session.to_bytes(replace(message, signature=sign(half.state))) if half else piece
            case m.Resume(agreed=agreed) if (
                agreed is not None and UNSIGNED in agreed.signatures and self._may_have_signed(agreed)
            ):
                keys = (alice.signer, bob.signer)
                made = tuple(
                    sign(agreed.state, key) if given == UNSIGNED else given
                    for key, given in zip(keys, agreed.signatures, strict=True)
                )
                return Session.to_bytes(replace(message, agreed=replace(agreed, signatures=made)))
            case _:
                return piece

    def _may_have_signed(self, agreed: Agreed) -> bool:
        """Whether Bob may have signed it in a journal that he lost: money adds up, and the book is the state's."""
        state, deposits = agreed.state, self._victim.channel.chain.deposits
        adds_up = sum(state.balances) + sum(state.withdrawals) == sum(state.deposits)
        backed = all(said <= seen for said, seen in zip(state.deposits, deposits, strict=True))
        return adds_up and backed and state.book == agreed.book.hash

    def _proposed(self, message: m.Propose) -> m.Propose:
        """Sign what the operations lead to; the next proposal of the stream may stand on it."""
        seat = self._victim.seats.get(message.channel)
        if seat is None:
            return message
        state, book = self._tip if seat is self._victim.seats[self._victim.id] else seat.channel.tip
        try:
            after, held = apply(
                message.channel,
                state,
                book,
                message.operations,
                proposer=Party.ZERO,
                version=message.version,
                salt=message.salt,
                decimals=seat.channel.terms.decimals,
                policy=seat.channel.policy,
            )
        except RuleViolation:
            return message
        if message.base == (state.version if state else 0):
            self._tip = after, held
        return replace(message, signature=sign(after)) if message.signature == UNSIGNED else message
