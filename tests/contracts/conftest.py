"""A world for every contract test."""

from collections.abc import Callable

import pytest

from tests.contracts.world import World

MakeWorld = Callable[..., World]


@pytest.fixture
def make_world() -> MakeWorld:
    """How to make a world, with another token or price source than the well-behaved ones."""
    return World


@pytest.fixture
def world() -> World:
    """A world in which token and price source are well-behaved."""
    return World()
