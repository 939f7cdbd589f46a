"""What every test may ask for: hypothesis profiles, and a store of each kind under one name."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.internal.conjecture import providers
from hypothesis.internal.constants_ast import Constants

from channels.store import MemoryStore, SqliteStore, Store

# Hypothesis draws from the constants of whatever modules happen to be loaded: a seed would then mean another campaign
# in another worker. Without them a seed, and a derandomized test, is the same everywhere.
_NO_CONSTANTS = Constants()
providers._get_local_constants = lambda: _NO_CONSTANTS

_SLOW_MACHINES = [HealthCheck.too_slow]
settings.register_profile(
    "ci", deadline=None, max_examples=60, suppress_health_check=_SLOW_MACHINES, print_blob=True, derandomize=True
)
settings.register_profile("nightly", deadline=None, max_examples=5_000, suppress_health_check=_SLOW_MACHINES)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))


@pytest.fixture(params=["sqlite", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    """An open store, of either kind: the same tests hold for both."""
    made: Store = SqliteStore.open(tmp_path / "alice.sqlite") if request.param == "sqlite" else MemoryStore()
    yield made
    made.close()
