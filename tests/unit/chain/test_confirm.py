"""Confirmation depth and bounded ranges: nothing unconfirmed is read, nothing is left out, nothing is read twice."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from channels.chain.confirm import MAX_SPAN, BlockRange, next_range, ranges
from channels.errors import InvalidValue

numbers = st.integers(0, 50_000)


def test_depth_zero_reads_the_head():
    assert next_range(-1, 0, 0) == BlockRange(0, 0)
    assert next_range(9, 10, 0) == BlockRange(10, 10)
    assert next_range(10, 10, 0) is None


def test_a_block_is_read_when_depth_blocks_stand_on_it():
    assert next_range(9, 12, 3) is None
    assert next_range(9, 13, 3) == BlockRange(10, 10)


def test_a_lagging_endpoint_gives_nothing():
    assert next_range(100, 50, 0) is None
    assert next_range(-1, 2, 5) is None


def test_the_span_bounds_a_query():
    assert next_range(-1, 10**9, 0) == BlockRange(0, MAX_SPAN - 1)


@given(cursor=st.integers(-1, 5_000), head=numbers, depth=st.integers(0, 100), span=st.integers(1, 3_000))
def test_ranges_cover_exactly_the_confirmed_blocks(cursor, head, depth, span):
    found = list(ranges(cursor, head, depth, span))
    assert [b for r in found for b in range(r.first, r.last + 1)] == list(range(cursor + 1, head - depth + 1))
    assert all(r.last - r.first < span for r in found)


@pytest.mark.parametrize(("cursor", "depth", "span"), [(-2, 0, 1), (0, -1, 1), (0, 0, 0)])
def test_nonsense_is_refused(cursor, depth, span):
    with pytest.raises(InvalidValue):
        next_range(cursor, 10, depth, span)
