"""What a store says to signatures around a checkpoint's floor: on disk and in memory the same, batch by batch."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from channels.core.records import Record, Signed
from channels.errors import AlreadySigned, InvariantBroken
from channels.model import ChannelId, Mark, keccak
from channels.store import MemoryStore, SqliteStore, Store
from tests.roles import UNIT, half
from tests.writer import OPENED, holding

OTHER_STATE: dict[str, Any] = {"balances": (1, 15_000 * UNIT - 1)}


def signed(word: str, channel: ChannelId) -> Signed:
    """A signature under this version."""
    return Signed(half(version=int(word[0]), channel=channel, **(OTHER_STATE if word.endswith("'") else {})), (Mark(),))


def record(word: str, channel: ChannelId) -> Record:
    if word == "o":
        return OPENED
    if word.startswith("C"):
        return holding(int(word[1]), *[signed(one, channel) for one in re.findall(r"\d'?", word[2:])])
    return signed(word, channel)


def said(store: Store, channel: ChannelId, batch: list[Record]) -> tuple[Any, ...]:
    """What a store says to a batch, and what it holds then."""
    try:
        store.append(channel, batch)
    except (AlreadySigned, InvariantBroken) as refused:
        return type(refused), str(refused), store.records(channel)
    return (store.records(channel),)


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Store, Store]]:
    with closing(SqliteStore.open(tmp_path_factory.mktemp("floor") / "alice.sqlite")) as on_disk:
        yield on_disk, MemoryStore()


BATCHES = {
    "held": "o123 C3[1] 1",
    "held, another state": "o123 C3[1] 1'",
    "not held": "o123 C3[1] 2",
    "gone with the second": "o123 C3[1] C3[] 1",
    "gone with the second, in one batch": "o123C3[1]C3[]1",
    "gone with a checkpoint in the batch": "o12 C2[] 3 C3[]1",
    "not gone yet": "o12 C2[] 3 C3[]3",
    "held by the last but one, in one batch": "o12 C2[1]C2[]1",
    "the checkpoint says another state": "o1 C1[1'] 1 1'",
    "the checkpoint says another state, and the record is gone": "o1 C1[] C1[1'] 1' 1",
    "the same in one batch": "o1C1[1'] 1' 1C1[1']C1[1']1",
    "never signed, in one batch": "o2C3[] 1 3 C5[]4",
    "a floor that falls": "o12C5[] C4[] C5[]6 C5[]",
    "a floor that falls, in one batch": "o C6[]C2[1]",
    "the first record stays": "1 C1[] C1[] 1 1'",
    "the first record stays, in one batch": "1C1[]C1[]1 1'",
    "a checkpoint first": "C1[]",
    "a floor below the batch's own": "o 3C2[] 3C3[]",
    "twice in one batch": "o11 22'2 2",
    "nobody says it twice": "o1C3[1]1C3[1]1 1 1'",
}
"""Appends, one after the other: `o` is Opened, a number is a signature under it (`'`: over another state), `C3[1]` is
a checkpoint with floor 3 that holds 1's state."""


@pytest.mark.parametrize("name", BATCHES)
def test_both_stores_say_the_same_around_a_floor(both: tuple[Store, Store], name: str) -> None:
    """Also within one batch: what is gone is gone for the next record, not only for the next append."""
    channel = ChannelId(keccak(name.encode()))
    for batch in BATCHES[name].split(" "):
        records = [record(word, channel) for word in re.findall(r"o|C\d\[[\d']*\]|\d'?", batch)]
        on_disk, in_memory = [said(store, channel, records) for store in both]
        assert on_disk == in_memory, batch
