"""A channel between Alice and Bob on an embedded chain, for the tests of the chain room."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from channels.chain import Chain
from channels.chain.local import LocalChain
from channels.model import EMPTY_BOOK, Agreed, Book, Intent, Party, State, Terms
from channels.seal import state_digest
from channels.units import WAD
from tests.roles import DAY, ETH, NOW, TERMS, UNIT, alice, bob, book, condor, trent

START = NOW - DAY
CONDOR: Book = book(condor())
DEPOSITS = (10_000 * UNIT, 5_000 * UNIT)


@dataclass
class World:
    """The chain, the channel's terms on it, and a client for each role."""

    local: LocalChain = field(default_factory=lambda: LocalChain(START))

    def __post_init__(self) -> None:
        self.terms: Terms = replace(TERMS, token=self.local.token, source=self.local.source)
        self.channel = self.terms.channel_id(self.local.deployment)
        self.alice: Chain = self.local.client(alice.signer, tokens=20_000 * UNIT)
        self.bob: Chain = self.local.client(bob.signer, tokens=20_000 * UNIT)
        self.trent: Chain = self.local.client(trent.signer)

    def deposit(self) -> None:
        """Both parties pay in."""
        for party, chain in zip(Party, (self.alice, self.bob), strict=True):
            chain.send(chain.deposit(self.terms, party, DEPOSITS[party]))

    def state(self, version: int, held: Book = EMPTY_BOOK, **changes: Any) -> State:
        """A state of this channel after both deposits."""
        made = State(self.channel, version, Intent.OPERATE, 0, DEPOSITS, (0, 0), DEPOSITS, held.hash)
        return replace(made, **changes)

    def agreed(self, version: int, held: Book = EMPTY_BOOK, **changes: Any) -> Agreed:
        """The same, signed by both."""
        made = self.state(version, held, **changes)
        digest = state_digest(self.local.deployment, made)
        return Agreed(made, held, (alice.signer.sign(digest), bob.signer.sign(digest)))

    def disputed(self, final: Agreed) -> None:
        """Challenge with `final` and let the deadline pass."""
        self.alice.send(self.alice.challenge(self.terms, final))
        self.local.set_time(self.alice.status(self.channel).deadline)

    def publish(self, held: Book, price: int) -> None:
        """Let the book expire, and have the publishers settle its one expiry at a whole price."""
        self.local.set_time(max(self.local.now, held.last_expiry))
        self.local.publish_settlement(ETH, held.last_expiry, price * WAD)
