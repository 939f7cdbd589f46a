"""Gas per entry point, from the receipts of transactions that eth-tester mined.

    python -m tests.contracts.gas        print the figures (`python -m adjudicator_contracts.build --gas` commits them)

Token balances are warm: adjudicator and recipients hold tokens before. Each key is an entry point, after the dot what
sets its price.
"""

import json
from collections.abc import Iterator
from functools import cache
from typing import Any

from adjudicator_contracts import artifact
from tests.contracts import margin_gas
from tests.contracts.encoding import WAD, Leg
from tests.contracts.mined import DEPOSITS, FORK, Laboratory, MinedChain
from tests.contracts.world import CHALLENGE, EXPIRY, GRACE, HOUR, UNIT, World, call


@cache
def measure() -> dict[str, int]:
    """Return the gas of every entry point, by its key in the snapshot."""
    return dict(sorted([*_figures(), *margin_gas.figures()]))


def snapshot() -> dict[str, Any]:
    """Return the document that is committed."""
    return {
        "fork": FORK,
        "compiler": artifact("Adjudicator").compiler,
        "unit": "gas used by the receipt; ERC-20 with 6 decimals, token balances warm",
        "code_bytes": len(artifact("Adjudicator").runtime),
        "gas": measure(),
    }


def _figures() -> Iterator[tuple[str, int]]:
    lab = Laboratory(World(chain=MinedChain()))
    world = lab.world

    fresh = lab.open()
    yield "deposit.new", lab.first_deposit
    yield "deposit.top_up", fresh.send("deposit", 0, UNIT, sender=fresh.terms.owners[0]).gas
    yield "checkpoint.first", fresh.checkpoint(fresh.state(1)).gas
    yield "checkpoint.next", fresh.checkpoint(fresh.state(2)).gas
    taken = {"withdrawal0": 100 * UNIT}
    yield "checkpoint.withdrawal_first", fresh.checkpoint(fresh.state(3, **taken)).gas
    taken = {"withdrawal0": 200 * UNIT}
    yield "checkpoint.withdrawal_next", fresh.checkpoint(fresh.state(4, **taken)).gas
    yield "challenge.registered", fresh.rechallenge(fresh.state(4, **taken)).gas
    yield "challenge.answer", fresh.challenge(fresh.state(5, **taken)).gas
    yield "checkpoint.reopen", fresh.checkpoint(fresh.reopening(fresh.state(5, **taken))).gas
    yield "close.registered", fresh.close(fresh.closing(7, **taken)).gas

    fresh = lab.open()
    yield "challenge", fresh.challenge(fresh.state(1)).gas
    fresh = lab.open()
    yield "challenge_unsigned", fresh.challenge_unsigned().gas
    fresh = lab.open()
    yield "close", fresh.close(fresh.closing(1)).gas

    fresh = lab.open()
    short = fresh.state(1, deposit1=DEPOSITS[1] + UNIT, withdrawal1=UNIT, balance0=DEPOSITS[0])
    fresh.checkpoint(short)
    fresh.send("deposit", 1, UNIT, sender=fresh.terms.owners[1])
    yield "pay", fresh.pay(short).gas

    refusing = world.chain.deploy("RevertingToken")
    late = lab.open(token=refusing)
    refusing.transact("refuse", late.terms.owners[0], True)
    yield "close.deferred", late.close(late.closing(1)).gas
    refusing.transact("refuse", late.terms.owners[0], False)
    yield "claim", late.claim(late.terms.owners[0]).gas

    books = {
        "settle.0": (),
        "settle.4": _legs(4, 1),
        "settle.16": _legs(16, 1),
        "settle.32": _legs(32, 1),
        "settle.32_in_8_expiries": _legs(32, 8),
    }
    disputes = {key: (lab.open(), legs) for key, legs in books.items()}
    disputes["last_resort"] = (lab.open(), _legs(4, 1))
    states = {}
    for key, (channel, legs) in disputes.items():
        states[key] = channel.state(1, *legs)
        channel.challenge(states[key])
    world.chain.at(EXPIRY + 2 * GRACE)
    for leg in _legs(32, 8):
        world.settle_price(leg.expiry, 2_030 * WAD)
    yield "pin", disputes["settle.4"][0].pin(states["settle.4"]).gas
    for key in ("settle.0", "settle.16", "settle.32", "settle.32_in_8_expiries"):
        yield key, disputes[key][0].settle(states[key]).gas
    yield "settle.4_pinned", disputes["settle.4"][0].settle(states["settle.4"]).gas
    fresh = lab.open(last_resort=world.chain.now + HOUR)
    unpinned = fresh.state(1, *_legs(4, 1))
    fresh.challenge(unpinned)
    world.chain.sleep(CHALLENGE + HOUR)
    yield "settle.4", fresh.settle(unpinned).gas

    lost, _ = disputes["last_resort"]
    world.chain.at(lost.terms.last_resort + CHALLENGE + 2 * GRACE)
    yield "last_resort", lost.last_resort(states["last_resort"]).gas


def _legs(count: int, expiries: int) -> tuple[Leg, ...]:
    return tuple(
        call(1_800 + 10 * (i // expiries), (-1) ** i * (1 + i % 3), EXPIRY - i % expiries * HOUR) for i in range(count)
    )


if __name__ == "__main__":
    print(json.dumps(snapshot(), indent=2))
