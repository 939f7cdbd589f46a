"""Saying that something must be refused, and why."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.contracts.evm import Reverted


@contextmanager
def refused(reason: str) -> Iterator[None]:
    """The body must revert with exactly this reason; "" for a revert without one (calldata that does not decode)."""
    with pytest.raises(Reverted) as caught:
        yield
    assert caught.value.reason == reason
