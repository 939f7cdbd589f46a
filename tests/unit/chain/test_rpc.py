"""The small pure parts of the edge: what may be shown of an address, and what JSON may look like."""

from __future__ import annotations

import json
import time

import pytest
from hypothesis import given, strategies as st

from channels.chain.rpc import _check_depth, printable, public_endpoint

leaves = st.one_of(st.none(), st.booleans(), st.integers(), st.text())
values = st.recursive(leaves, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=20)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("http://127.0.0.1:8545", "http://127.0.0.1:8545"),
        ("https://user:password@node.example/v3/0123456789abcdef", "https://node.example"),
        ("https://node.example:443/?apikey=secret#secret", "https://node.example:443"),
    ],
)
def test_keys_in_an_address_are_not_shown(url, shown):
    assert public_endpoint(url) == shown


def test_text_from_a_chain_is_fit_for_a_terminal():
    assert printable("adjudicator: closed") == "adjudicator: closed"
    assert printable("\x1b[31mfake\r\nline") == "?[31mfake??line"
    assert len(printable("x" * 10_000)) == 200


@pytest.mark.parametrize("body", [b'"' + b'\\"' * 1_000_000, b'"a' * 1_000_000, b"[]" * 1_000_000])
def test_no_bytes_take_more_than_linear_time(body):
    started = time.perf_counter()
    _check_depth(body)
    assert time.perf_counter() - started < 5


def depth(value: object) -> int:
    if isinstance(value, list):
        return 1 + max(map(depth, value), default=0)
    if isinstance(value, dict):
        return 1 + max(map(depth, value.values()), default=0)
    return 0


@given(values)
def test_any_json_of_ordinary_depth_passes(value):
    if depth(value) <= 32:
        _check_depth(json.dumps(value).encode())


@given(st.text(alphabet='[]{}"\\a', max_size=200))
def test_brackets_in_strings_do_not_count(text):
    _check_depth(json.dumps({"message": text * 3}).encode())


@pytest.mark.parametrize("opening", [b"[", b'{"a":', b'["x",{"y":'])
def test_depth_is_bounded(opening):
    with pytest.raises(ValueError):
        _check_depth(opening * 33)
