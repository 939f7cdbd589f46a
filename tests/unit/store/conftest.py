"""A store on disk with a short journal."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

from channels.store import SqliteStore
from tests.roles import CHANNEL, DEPLOYMENT
from tests.writer import WRITTEN


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A store with a short journal, closed."""
    place = tmp_path / "alice.sqlite"
    with closing(SqliteStore.open(place)) as store:
        store.append(CHANNEL, WRITTEN)
        store.advance(DEPLOYMENT, 7)
    return place
