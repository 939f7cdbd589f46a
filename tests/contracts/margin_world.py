"""Channels with a risk engine: what a party's margin is now, by the library, beside what the contract says of it.

The library's figures come from `channels.risk` on the book bytes that went on-chain, at the chain's time and the mock
source's spots: so every test here also holds the contract to the library, bit for bit.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from channels.model.book import decode_book
from channels.risk import DEFAULT_POLICY, MarginPolicy, MarginReport, margin
from channels.risk.close_out import witness
from tests.contracts.encoding import ETH, WAD, Key, State
from tests.contracts.evm import Chain, Contract
from tests.contracts.world import UNIT, Channel, World, call, put

SPOT = 2_000
BREACH = 2_150
"""A spot at which 2,800 no longer carry ten short calls at 2,200 with a week to live; at 2,000 they do."""
STAKES = (2_800 * UNIT, 2_800 * UNIT)


class MarginWorld(World):
    """A world with a risk engine whose policy every channel's terms name."""

    def __init__(
        self,
        policy: MarginPolicy = DEFAULT_POLICY,
        source: str = "MockSource",
        token: str = "TestToken",
        chain: Chain | None = None,
    ) -> None:
        super().__init__(token, source, chain)
        self.policy = policy
        self.engine = self.deploy_engine(policy)

    def deploy_engine(self, policy: MarginPolicy) -> Contract:
        """Deploy the shipped engine with a policy."""
        return self.chain.deploy_encoded("RiskEngine", policy.encode())

    def margined(self, deposits: tuple[int, int], keys: tuple[Key, Key] | None = None, **changes: object) -> Channel:
        """Open a channel with the engine in its terms, the source marking ETH at 2,000 now."""
        self.spot(SPOT * WAD)
        terms = {"engine": self.engine.address, "policy": self.policy.hash} | changes
        return self.channel(deposits, keys, **terms)


@dataclass(frozen=True, slots=True)
class Desk:
    """Both parties' margin in a channel, as the library sees it now."""

    reports: tuple[MarginReport, MarginReport]

    @classmethod
    def of(
        cls,
        channel: Channel,
        state: State,
        spots: Mapping[str, int] | None = None,
        settlements: Mapping[tuple[str, int], int] | None = None,
    ) -> "Desk":
        """Return both reports on `state` at the chain's time, cash by protocol §3.1."""
        status = channel.status()
        said = (
            (state.balance0, state.balance1),
            (state.deposit0, state.deposit1),
            (state.withdrawal0, state.withdrawal1),
        )
        cash = tuple(said[0][i] + status.deposits[i] - said[1][i] + said[2][i] - status.paid[i] for i in (0, 1))
        book = decode_book(channel.book_of(state))
        world = channel.world
        assert isinstance(world, MarginWorld)
        names = [mark.underlying for mark in book.marks.spots]
        found = spots or {name: world.source.call("spot", name.encode().ljust(32, b"\0"))[0] for name in names}
        return cls(
            margin(
                book,
                (cash[0], cash[1]),
                channel.terms.decimals,
                world.policy,
                t=max(world.chain.now, book.marks.time),
                spots=found,
                settlements=settlements,
            )
        )

    def witness(self, party: int) -> list[int]:
        """Return the worst row of each underlying."""
        return list(witness(self.reports[party]))


def eth_spot(world: World, price: int) -> None:
    """Let the source mark ETH at a whole price now."""
    world.spot(price * WAD, underlying=ETH)


def short_calls(channel: Channel, version: int = 1, **fields: int) -> State:
    """Return a state in which party 0 is short ten calls at 2,200."""
    return channel.state(version, call(2_200, -10), **fields)


def short_forward(channel: Channel, version: int = 1, **fields: int) -> State:
    """Return a state in which party 0 is short ten calls and long ten puts: whoever is poor, a move hurts."""
    return channel.state(version, call(2_200, -10), put(1_900, 10), **fields)


def called(channel: Channel, state: State, party: int = 0, price: int = BREACH) -> Mapping[str, Any]:
    """Let the spot move and call `party` on the registered state; return the event."""
    eth_spot(channel.world, price)
    return channel.recall(state, party, Desk.of(channel, state).witness(party)).one("Called")


def lacking(channel: Channel, state: State, party: int = 0) -> int:
    """Return what `party` lacks now to its initial margin, token units."""
    report = Desk.of(channel, state).reports[party]
    return report.initial_margin - report.equity
