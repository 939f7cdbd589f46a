"""Gas of margin calls, cures, liquidations, releases and permits, as `gas` measures everything else.

The books are straddles around the spot over one underlying, 16 legs over four expiries; every channel has been
registered before, so that a call or a release pays for what it does and not for a first storage word. "newer" brings a
state with two signatures to be checked, "registered" names the registered one. The source answers from its storage.
"""

from collections.abc import Iterator

from tests.contracts.encoding import ETH, WAD, Leg, State
from tests.contracts.evm import START
from tests.contracts.margin_world import Desk, MarginWorld
from tests.contracts.mined import DEPOSITS, Laboratory, MinedChain
from tests.contracts.test_permit import PAYER, permit
from tests.contracts.world import CURE, DAY, UNIT, Channel

SPOT = 2_000
SHAPES = {"4": (4, 1), "16": (16, 4)}


def figures() -> Iterator[tuple[str, int]]:
    """Yield the gas of every entry point of margin, by its key in the snapshot."""
    lab = Laboratory(MarginWorld(chain=MinedChain()))
    for name, (legs, expiries) in SHAPES.items():
        channel = _open(lab)
        fresh(lab)
        channel.checkpoint(_state(channel, 1, legs, expiries, 0))
        poor = _breaching(channel, 2, legs, expiries)
        yield f"margin_call.{name}_newer", channel.margin_call(poor, 0, Desk.of(channel, poor).witness(0)).gas
        report = Desk.of(channel, poor).reports[0]
        lab.world.chain.sleep(CURE)
        fresh(lab)
        yield f"liquidate.{name}", channel.liquidate(poor, 0, Desk.of(channel, poor).witness(0)).gas

        channel = _open(lab)
        poor = _breaching(channel, 1, legs, expiries)
        channel.challenge(poor)
        yield f"margin_call.{name}_registered", channel.recall(poor, 0, Desk.of(channel, poor).witness(0)).gas
        lacking = report.initial_margin - report.equity + 100 * UNIT
        channel.send("deposit", 0, lacking, sender=channel.terms.owners[0])
        yield f"cure.{name}", channel.cure(poor, 0).gas
        lab.world.chain.at(channel.status().deadline)
        fresh(lab)
        channel.release(poor, 1, UNIT)
        yield f"release.{name}", channel.release(poor, 1, UNIT).gas

    permits = Laboratory(MarginWorld(token="PermitToken", chain=MinedChain()))
    channel = _open(permits)
    chain = permits.world.chain
    assert isinstance(chain, MinedChain)
    chain.adopt(PAYER)
    channel.token.transact("mint", PAYER.address, 1_000 * UNIT)
    for _ in range(2):  # the second one finds its nonce and its balances warm
        said = permit(channel, UNIT)
        arguments = (0, UNIT, said.deadline, said.v, said.r, said.s)
        cost = channel.send("deposit_with_permit", *arguments, sender=PAYER.address).gas
    yield "deposit_with_permit.top_up", cost


def fresh(lab: Laboratory) -> None:
    """Let the source have a spot of now."""
    lab.world.spot(SPOT * WAD)


def _open(lab: Laboratory) -> Channel:
    world = lab.world
    assert isinstance(world, MarginWorld)
    fresh(lab)
    return lab.open(engine=world.engine.address, policy=world.policy.hash)


def _state(channel: Channel, version: int, legs: int, expiries: int, balance0: int) -> State:
    return channel.state(version, *_straddles(legs, expiries), balance0=balance0)


def _breaching(channel: Channel, version: int, legs: int, expiries: int) -> State:
    """Return a state in which party 0 is 100 under its maintenance margin."""
    report = Desk.of(channel, _state(channel, version, legs, expiries, 0)).reports[0]
    cash = report.maintenance_margin - report.value - 100 * UNIT
    assert cash < 2 * DEPOSITS[0], "party 1 needs cash for a release"
    return _state(channel, version, legs, expiries, cash)


def _straddles(count: int, expiries: int) -> tuple[Leg, ...]:
    """Calls and puts in pairs, each expiry at strikes of its own, party 0 short of all but the wings."""
    each = count // expiries
    return tuple(
        Leg(
            ETH,
            START + (7 + 21 * e) * DAY,
            (SPOT - 50 * each // 4 + 50 * (i // 2)) * WAD,
            i % 2,
            -WAD // (10 * expiries),
        )
        for e in range(expiries)
        for i in range(each)
    )
