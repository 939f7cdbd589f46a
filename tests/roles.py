"""The cast: Alice and Bob trade, Mallory cheats, Trent watches. Deterministic keys, and small true values to play with.

alice, bob, mallory, trent    roles with a `signer`; Alice is party 0
TERMS, DEPLOYMENT, CHANNEL    one channel between Alice and Bob
condor(), marks(), book()     a book of positions with its marks
state(), half(), agreed()     version 1, or what the keywords say, signed by the right keys
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from channels.model import (
    EMPTY_BOOK,
    ZERO_ADDRESS,
    Address,
    Agreed,
    Book,
    Deployment,
    HalfSigned,
    Intent,
    Leg,
    Marks,
    Party,
    State,
    Terms,
    keccak,
)
from channels.seal import Signer, state_digest

HOUR, DAY = 3_600, 86_400
NOW = 1_704_441_600
"""2024-01-05 08:00 UTC, the moment of the marks."""
EXPIRY, LATER = NOW + 7 * DAY, NOW + 21 * DAY
ETH, BTC = "ETH/USD", "BTC/USD"
UNIT = 10**6
"""One token, in its smallest units."""


@dataclass(frozen=True)
class Role:
    """Somebody with a key."""

    name: str
    signer: Signer

    @property
    def address(self) -> Address:
        return self.signer.address

    @property
    def owner(self) -> Address:
        """A cold address of the same person."""
        return Address(keccak(b"owner of " + self.name.encode())[12:])


def _role(name: str) -> Role:
    return Role(name, Signer(keccak(f"key of {name}".encode())))


alice, bob, mallory, trent = _role("alice"), _role("bob"), _role("mallory"), _role("trent")
PARTIES = (alice, bob)

DEPLOYMENT = Deployment(31_337, Address(keccak(b"adjudicator")[12:]))
TERMS = Terms(
    signers=(alice.address, bob.address),
    owners=(alice.owner, bob.owner),
    token=Address(keccak(b"token")[12:]),
    decimals=6,
    source=Address(keccak(b"price source")[12:]),
    engine=ZERO_ADDRESS,
    policy=keccak(b"policy"),
    challenge_period=HOUR,
    cure_period=HOUR // 6,
    grace=2 * HOUR,
    spot_max_age=300,
    last_resort=NOW + 365 * DAY,
    salt=keccak(b"terms"),
)
CHANNEL = TERMS.channel_id(DEPLOYMENT)


def condor() -> tuple[Leg, ...]:
    """A short iron condor on ETH, in Alice's view."""
    return (
        Leg.put(ETH, EXPIRY, 2000, quantity=5),
        Leg.put(ETH, EXPIRY, 2200, quantity=-5),
        Leg.call(ETH, EXPIRY, 2400, quantity=-5),
        Leg.call(ETH, EXPIRY, 2600, quantity=5),
    )


def marks(legs: Iterable[Leg] | None = None, *, time: int = NOW, spot: int = 2_300, vol: str = "0.6") -> Marks:
    """Marks that cover `legs` (the condor by default): one spot for all, carry of one per mille, no discounting."""
    chosen = condor() if legs is None else tuple(legs)
    return Marks.at(
        time,
        spots={leg.underlying: spot for leg in chosen},
        vols=dict.fromkeys(chosen, vol),
        forwards={(leg.underlying, leg.expiry): f"{spot}.{spot:04d}" for leg in chosen},
    )


def book(legs: Iterable[Leg] | None = None, salt: bytes = b"s" * 32) -> Book:
    """A book of `legs` (the condor by default) at `marks`."""
    chosen = condor() if legs is None else tuple(legs)
    return Book.of(chosen, marks(chosen), salt) if chosen else EMPTY_BOOK


def state(held: Book = EMPTY_BOOK, **changes: Any) -> State:
    """Version 1 after deposits of 10,000 and 5,000 tokens, holding `held`; any field may be replaced."""
    first = State(
        channel=CHANNEL,
        version=1,
        intent=Intent.OPERATE,
        valid_until=0,
        deposits=(10_000 * UNIT, 5_000 * UNIT),
        withdrawals=(0, 0),
        balances=(10_000 * UNIT, 5_000 * UNIT),
        book=held.hash,
    )
    return replace(first, **changes)


def signature(party: Party, of: State, deployment: Deployment = DEPLOYMENT) -> bytes:
    """What the party's key says about a state."""
    return PARTIES[party].signer.sign(state_digest(deployment, of))


def half(by: Party = Party.ZERO, held: Book = EMPTY_BOOK, **changes: Any) -> HalfSigned:
    """A state that one party signed."""
    made = state(held, **changes)
    return HalfSigned(made, held, by, signature(by, made))


def agreed(held: Book = EMPTY_BOOK, **changes: Any) -> Agreed:
    """A state that both signed."""
    made = state(held, **changes)
    return Agreed(made, held, (signature(Party.ZERO, made), signature(Party.ONE, made)))
