"""Money moved by margin calls: pushes that fail wait for `claim`, and no token gets in while it is moved."""

from dataclasses import astuple

import pytest

from tests.contracts.encoding import CLOSED, WAD, State
from tests.contracts.evm import STRANGER
from tests.contracts.margin_world import BREACH, STAKES, Desk, MarginWorld, called, eth_spot, short_calls, short_forward
from tests.contracts.refusals import refused
from tests.contracts.world import CURE, UNIT, Channel

# ── pushes that fail ──


@pytest.fixture
def strict() -> Channel:
    """A channel in a token with a blacklist."""
    return MarginWorld(token="RevertingToken").margined(STAKES)


def refuse(channel: Channel, party: int, refused: bool = True) -> str:
    """Put an owner on the token's blacklist."""
    owner = channel.terms.owners[party]
    channel.token.transact("refuse", owner, refused)
    return owner


def test_a_release_that_the_token_refuses_waits_for_a_claim(strict: Channel) -> None:
    state = short_calls(strict)
    strict.challenge(state)
    strict.reach_settling()
    eth_spot(strict.world, 2_000)
    owner = refuse(strict, 1)
    receipt = strict.release(state, 1, 100 * UNIT, strict.terms.signers[1])
    assert receipt.one("Deferred")["amount"] == receipt.one("Paid")["amount"] == 100 * UNIT
    assert strict.status().paid == (0, 100 * UNIT)
    assert strict.world.claimable(owner) == 100 * UNIT
    with refused("token: transfer refused"):
        strict.claim(owner)
    refuse(strict, 1, False)
    strict.claim(owner, sender=STRANGER)
    assert (strict.wallets(), strict.world.claimable(owner)) == ((0, 100 * UNIT), 0)


@pytest.mark.parametrize("blocked", [0, 1])
def test_blacklisted_owner_holds_up_no_liquidation(strict: Channel, blocked: int) -> None:
    state = short_calls(strict)
    strict.checkpoint(state)
    called(strict, state)
    strict.world.chain.sleep(CURE)
    eth_spot(strict.world, BREACH)
    report = Desk.of(strict, state).reports[0]
    owner = refuse(strict, blocked)
    strict.liquidate(state, 0, Desk.of(strict, state).witness(0))
    first = STAKES[0] + report.value - report.charges.total
    paid = (first, sum(STAKES) - first)
    assert strict.status().phase == CLOSED
    assert strict.world.claimable(owner) == paid[blocked]
    assert strict.wallets()[1 - blocked] == paid[1 - blocked]
    refuse(strict, blocked, False)
    strict.claim(owner)
    assert strict.wallets() == paid


def test_blacklisted_owner_holds_up_no_margin_call(strict: Channel) -> None:
    """The called side cannot block the call by refusing the withdrawal that the registration pays."""
    state = short_calls(strict, withdrawal0=500 * UNIT)
    owner = refuse(strict, 0)
    eth_spot(strict.world, BREACH)
    row = Desk.of(strict, short_calls(strict, 9)).witness(0)
    receipt = strict.margin_call(state, 0, row)
    assert receipt.one("Called")["party"] == 0
    assert strict.world.claimable(owner) == 500 * UNIT == strict.status().paid[0]


# ── tokens that call back ──


class Trap:
    """Channels of a token that is itself the owner of every side: whatever it calls back would succeed on its own."""

    def __init__(self) -> None:
        self.world = MarginWorld(token="ReentrantToken")
        token = self.world.token.address
        self.owners = {"owners": (token, token)}
        self.free = self.open((100 * UNIT, 100 * UNIT))
        self.plain = self.free.state(1)
        self.short = self.open((1_000 * UNIT, 1_000 * UNIT))
        self.book = short_forward(self.short)
        self.cured = self.open((1_000 * UNIT, 1_000 * UNIT))
        for channel, state in ((self.free, self.plain), (self.short, self.book), (self.cured, self.again)):
            channel.challenge(state)
            channel.reach_settling()
        self.spot()
        called(self.short, self.book, 0, 2_000)
        called(self.cured, self.again, 0, 2_000)
        self.give(self.cured, 9_000 * UNIT)
        self.world.chain.sleep(CURE)
        self.spot()

    @property
    def again(self) -> State:
        """The book of the channel whose call can be cured."""
        return short_forward(self.cured, deposit0=1_000 * UNIT, deposit1=1_000 * UNIT)

    def spot(self) -> None:
        """Let the spot be fresh."""
        self.world.spot(2_000 * WAD)

    def open(self, deposits: tuple[int, int]) -> Channel:
        """Open a channel and deposit from a stranger's wallet."""
        channel = self.world.margined((0, 0), **self.owners)
        for party in (0, 1):
            self.give(channel, deposits[party], party)
        return channel

    def give(self, channel: Channel, amount: int, party: int = 0) -> None:
        """Deposit from a stranger's wallet."""
        channel.deposit(party, amount, payer=STRANGER)

    def entries(self) -> dict[str, bytes]:
        """Every entry point of margin, as calldata that succeeds when the token sends it."""
        encode, row = self.world.adjudicator.encode, Desk.of(self.short, self.book)
        short = (astuple(self.short.terms), astuple(self.book))
        data = self.short.book_of(self.book)
        return {
            "margin_call": encode("margin_call", *short, b"", b"", data, 1, row.witness(1)),
            "liquidate": encode("liquidate", *short, data, 0, row.witness(0)),
            "cure": encode("cure", astuple(self.cured.terms), astuple(self.again), data, 0),
            "release": encode("release", astuple(self.free.terms), astuple(self.plain), b"", 0, UNIT),
            "deposit_with_permit": encode(
                "deposit_with_permit", astuple(self.free.terms), 0, UNIT, 0, 27, b"r" * 32, b"s" * 32
            ),
        }

    def fund(self) -> None:
        """Let the token own some of itself, and allow the adjudicator to take it: it says so by calling itself."""
        token = self.world.token
        token.transact("mint", token.address, UNIT)
        token.transact("arm", token.address, token.encode("approve", self.world.adjudicator.address, UNIT))
        self.knock()

    def knock(self) -> int:
        """Let the token call back while no one is inside; return whether it got in."""
        token = self.world.token
        before: int = token.call("entered")
        token.transact("transfer", STRANGER, 0, sender=STRANGER, gas=10_000_000)
        after: int = token.call("entered")
        return after - before


@pytest.mark.parametrize("entry", ["margin_call", "liquidate", "cure", "release", "deposit_with_permit"])
def test_nothing_of_margin_is_entered_while_tokens_move(entry: str) -> None:
    """Each entry point from within each payment of margin, of which a pull has gas without a cap; outside, it works."""
    trap = Trap()
    trap.fund()
    token, adjudicator = trap.world.token, trap.world.adjudicator
    paying = trap.open((2_000 * UNIT, 2_000 * UNIT))
    state = short_forward(paying, withdrawal0=UNIT)
    row = Desk.of(paying, short_forward(paying, 9)).witness(0)
    token.transact("mint", STRANGER, UNIT)
    token.transact("approve", adjudicator.address, UNIT, sender=STRANGER)
    token.transact("arm", adjudicator.address, trap.entries()[entry])
    attempts, entered = token.call("attempts"), token.call("entered")
    permit = (0, 27, b"r" * 32, b"s" * 32)
    with trap.world.chain.fork():
        trap.free.send("deposit_with_permit", 0, UNIT, *permit, sender=STRANGER, gas=20_000_000)
        assert paying.margin_call(state, 0, row).one("Paid")["amount"] == UNIT
        trap.free.release(trap.plain, 1, UNIT, trap.free.terms.signers[1])
        trap.world.chain.sleep(CURE)
        trap.spot()
        paying.liquidate(state, 0, row)
        assert token.call("attempts") >= attempts + 4
        assert token.call("entered") == entered
    assert trap.knock() == 1
