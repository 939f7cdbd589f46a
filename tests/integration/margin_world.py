"""A channel with a risk engine on an embedded chain, and the library's view of its margin."""

from __future__ import annotations

from dataclasses import replace

from channels.core.facts import ChainFact
from channels.model import Agreed, Book, Leg, Party, State
from channels.risk import DEFAULT_POLICY, MarginReport, margin
from channels.risk.close_out import witness
from channels.units import WAD
from tests.integration.chain_world import World
from tests.roles import ETH, EXPIRY, NOW, book

SHORT = book((Leg.call(ETH, EXPIRY, 2400, quantity=-10),))
"""Party 0, Alice, is short ten calls; both have money for it at 2,300, she has not at 3,300."""


class Desk(World):
    """A world whose terms name the chain's risk engine, and the library's view of the registered state."""

    def __init__(self) -> None:
        super().__init__()
        self.terms = replace(self.terms, engine=self.local.engine, policy=DEFAULT_POLICY.hash)
        self.channel = self.terms.channel_id(self.local.deployment)
        self.local.set_time(NOW)
        self.deposit()

    def spot(self, price: int) -> None:
        self.local.publish_spot(ETH, price * WAD)

    def at(self, time: int) -> None:
        """The next transaction happens at exactly this second."""
        self.local.set_time(time, mine=False)

    def reports(self, state: State, held: Book, t: int) -> tuple[MarginReport, MarginReport]:
        """Both parties' margin at a second, by the library, at what the source says."""
        return margin(held, self.cash(state), 6, DEFAULT_POLICY, t=t, spots=self.spots(held))

    def cash(self, state: State) -> tuple[int, int]:
        status = self.trent.status(self.channel)
        first, second = (
            state.balances[i] + status.deposits[i] - state.deposits[i] + state.withdrawals[i] - status.paid[i]
            for i in Party
        )
        return first, second

    def spots(self, held: Book) -> dict[str, int]:
        return {mark.underlying: self.trent.spot(self.local.source, mark.underlying).price for mark in held.marks.spots}

    def called(self, final: Agreed, price: int = 3_300) -> int:
        """Bob calls Alice on a newer state after a jump of the spot; return the cure deadline."""
        self.spot(price)
        rows = witness(self.reports(final.state, final.book, self.local.now)[0])
        self.bob.send(self.bob.margin_call(self.terms, final, Party.ZERO, rows))
        return self.local.now + self.terms.cure_period

    def facts(self) -> list[ChainFact]:
        """The channel's facts without the deposits."""
        seen = [located for located in self.trent.facts(0, self.trent.head().number) if located.channel == self.channel]
        return [located.fact for located in seen][2:]
