"""A world for every contract test, twice: on the shipped build and on the other code generator's."""

from collections.abc import Callable
from functools import cache

import pytest

from adjudicator_contracts.build import SOURCES, compile_contract
from tests.contracts.world import World

MakeWorld = Callable[..., World]


@cache
def legacy_bytecode() -> bytes:
    """Return the adjudicator as the legacy generator compiles it."""
    document = compile_contract(SOURCES / "Adjudicator.vy", codegen="legacy", optimize="gas")
    return bytes.fromhex(document["bytecode"].removeprefix("0x"))


@pytest.fixture(params=["shipped", "legacy"])
def make_world(request: pytest.FixtureRequest) -> MakeWorld:
    """How to make a world, with another token or price source than the well-behaved ones."""
    bytecode = legacy_bytecode() if request.param == "legacy" else None

    def make(token: str = "TestToken", source: str = "MockSource") -> World:
        return World(token, source, bytecode=bytecode)

    return make


@pytest.fixture
def world(make_world: MakeWorld) -> World:
    """A world in which token and price source are well-behaved."""
    return make_world()
