"""Every message round-trips; everything else is one typed RuleViolation."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, get_args

import msgpack
import pytest

from channels.errors import InvalidBook, InvalidState, MalformedMessage, RuleViolation, TermsRefused, UnbalancedState
from channels.wire.codec import MAX_MESSAGE, decode, encode
from channels.wire.messages import Message, Propose, Reject
from tests.roles import CHANNEL, agreed, book
from tests.unit.wire.samples import MESSAGES, SIGNATURE

NAMES = pytest.mark.parametrize("name", MESSAGES)


def tree(name: str) -> list[Any]:
    """A message as msgpack sees it: nested lists that a test may damage."""
    parsed: list[Any] = msgpack.unpackb(encode(MESSAGES[name]))
    return parsed


def refused(data: bytes) -> None:
    """Exactly one typed refusal, never another exception."""
    with pytest.raises(RuleViolation):
        decode(data)


def refused_or_canonical(data: bytes) -> None:
    """A damaged message may still be a message, but then these are its bytes."""
    try:
        message = decode(data)
    except RuleViolation:
        return
    assert encode(message) == data


def test_there_is_a_sample_of_every_message() -> None:
    assert {type(message) for message in MESSAGES.values()} == set(get_args(Message))


@NAMES
def test_every_message_round_trips(name: str) -> None:
    assert decode(encode(MESSAGES[name])) == MESSAGES[name]


NUMBERS = {
    "Greeting": 1, "Hello": 2, "Open": 3, "OpenAccepted": 4, "OpenRefused": 5, "Propose": 6, "Accept": 7, "Reject": 8,
    "WantTurn": 9, "PassTurn": 10, "Resume": 11, "Fault": 12, "CollateralCall": 13,
    "RecoveryAllowed": 14, "Backup": 15, "BackupsWanted": 16, "BackupReturned": 17, "BackupsEnd": 18,
}  # fmt: skip


@pytest.mark.parametrize("name", NUMBERS)
def test_message_numbers_never_change(name: str) -> None:
    assert tree(name)[0] == NUMBERS[name]


def test_operation_numbers_never_change() -> None:
    assert [operation[0] for operation in tree("Propose")[3]] == [1, 2, 3, 4, 5, 6, 7, 8]


@NAMES
def test_a_message_truncated_at_any_byte_is_refused(name: str) -> None:
    data = encode(MESSAGES[name])
    for size in range(len(data)):
        refused(data[:size])


@NAMES
def test_a_message_with_any_byte_changed_is_refused_or_another_message(name: str) -> None:
    data = bytearray(encode(MESSAGES[name]))
    for at in range(len(data)):
        for mask in (0x01, 0x80, 0xFF):
            data[at] ^= mask
            refused_or_canonical(bytes(data))
            data[at] ^= mask


@NAMES
def test_trailing_bytes_are_refused(name: str) -> None:
    refused(encode(MESSAGES[name]) + b"\xc0")
    refused(encode(MESSAGES[name]) * 2)


def widest(value: Any) -> bytes:
    """The same value in msgpack's widest spelling, which every decoder reads alike."""
    if value is None or isinstance(value, bool):
        return bytes(msgpack.packb(value))
    if isinstance(value, int):
        return b"\xcf" + value.to_bytes(8, "big")
    if isinstance(value, bytes):
        return b"\xc6" + len(value).to_bytes(4, "big") + value
    if isinstance(value, str):
        return b"\xdb" + len(value).to_bytes(4, "big") + value.encode()
    return b"\xdd" + len(value).to_bytes(4, "big") + b"".join(map(widest, value))


@NAMES
def test_another_spelling_of_the_same_message_is_refused(name: str) -> None:
    spelled = widest(tree(name))
    assert msgpack.unpackb(spelled) == tree(name)
    refused(spelled)


def positions(node: Any, path: tuple[int, ...] = ()) -> Iterator[tuple[int, ...]]:
    """The path of every node below the root."""
    if isinstance(node, list):
        for index, child in enumerate(node):
            yield (*path, index)
            yield from positions(child, (*path, index))


def parent_of(root: list[Any], path: tuple[int, ...]) -> list[Any]:
    for index in path[:-1]:
        root = root[index]
    return root


STRANGERS = [
    None, True, False, 0, 1, -1, 255, 2**63, 2**64 - 1, -(2**63), 1.5, "", "x", "x" * 600, b"", bytes(32), bytes(65),
    b"\xff" * 32, [], [0], [[]], [None] * 40, {}, {1: 2}, {b"k": []}, msgpack.ExtType(5, b"x"), msgpack.Timestamp(1, 0),
]  # fmt: skip


@NAMES
def test_a_value_of_another_type_anywhere_is_refused(name: str) -> None:
    root = tree(name)
    for path in positions(root):
        parent, at = parent_of(root, path), path[-1]
        kept = parent[at]
        for stranger in STRANGERS:
            parent[at] = stranger
            refused_or_canonical(msgpack.packb(root))
        parent[at] = kept


@NAMES
def test_one_entry_more_or_less_anywhere_is_refused_or_another_message(name: str) -> None:
    root = tree(name)
    for path in [(), *positions(root)]:
        node = parent_of(root, (*path, 0))
        if not isinstance(node, list) or not node:
            continue
        for again in (0, len(node) - 1):
            node.insert(again, node[again])
            refused_or_canonical(msgpack.packb(root))
            entry = node.pop(again)
            node.pop(again)
            refused_or_canonical(msgpack.packb(root))
            node.insert(again, entry)


@NAMES
def test_one_field_more_or_less_is_refused(name: str) -> None:
    fields = tree(name)
    refused(msgpack.packb([*fields, None]))
    refused(msgpack.packb(fields[:-1]))


OUTRIGHT = {
    "nothing": b"",
    "nil": b"\xc0",
    "the byte msgpack never uses": b"\xc1",
    "an empty list": b"\x90",
    "an unknown message": b"\x92\x0e\xc0",
    "message number 0": b"\x92\x00\xc0",
    "a message number that is true": b"\x92\xc3\xc4\x20" + bytes(32),
    "a map": b"\x81\x01\x02",
    "duplicate keys": b"\x82\x01\x02\x01\x03",
    "a map in a list": b"\x92\x09\x81\x01\x02",
    "a map with a list as key": b"\x92\x09\x81\x90\x02",
    "an integer of 2^64": b"\xd3" + b"\xff" * 9,
    "half a string": b"\xd9\xff",
    "text that is not UTF-8": b"\x93\x0c\xa1\xff\xa0",
    "a lone surrogate": b"\x93\x0c\xa3\xed\xa0\x80\xa0",
    "a list that claims 2^32 entries": b"\xdd" + b"\xff" * 4,
    "a map that claims 2^32 entries": b"\xdf" + b"\xff" * 4,
    "bytes that claim 2^32": b"\xc6" + b"\xff" * 4,
    "a timestamp out of range": b"\xc7\x0c\xff" + b"\xff" * 12,
    "nested as deep as a message can be": b"\x91" * (MAX_MESSAGE - 1) + b"\xc0",
    "nested maps": b"\x81\x01" * (MAX_MESSAGE // 2 - 1) + b"\x01\x01",
    "oversized": b"\x90" * (MAX_MESSAGE + 1),
    "oversized and well-formed": msgpack.packb([12, "x", "y" * MAX_MESSAGE]),
}


@pytest.mark.parametrize("name", OUTRIGHT)
def test_what_is_no_message_is_malformed(name: str) -> None:
    with pytest.raises(MalformedMessage):
        decode(OUTRIGHT[name])


def test_a_message_beyond_the_limit_is_not_even_parsed() -> None:
    with pytest.raises(MalformedMessage, match=f"{MAX_MESSAGE + 1} bytes exceed"):
        decode(b"\xc1" * (MAX_MESSAGE + 1))


def test_a_message_of_exactly_the_limit_is_read_and_refused_for_what_it_is() -> None:
    data = msgpack.packb([12, "x", "y" * (MAX_MESSAGE - 7)])
    assert len(data) == MAX_MESSAGE
    with pytest.raises(MalformedMessage, match="text of at most 512"):
        decode(data)


def test_integers_of_2_to_the_64_are_refused_as_themselves() -> None:
    highest = tree("Accept")
    highest[2] = 2**64 - 1
    assert decode(msgpack.packb(highest)).version == 2**64 - 1
    spelled = msgpack.packb(highest).replace(b"\xcf" + b"\xff" * 8, b"\xcb" + b"\x43\xf0" + bytes(6))
    assert msgpack.unpackb(spelled)[2] == 2.0**64
    refused(spelled)


@pytest.mark.parametrize(
    ("name", "path", "value", "error"),
    [
        ("Greeting", (1,), -1, MalformedMessage),
        ("Accept", (2,), -1, MalformedMessage),
        ("PassTurn", (2,), -(2**63), MalformedMessage),
        ("Resume", (4, 0, 1), 0, InvalidState),
        ("Resume", (4, 0, 6, 0), (1).to_bytes(32, "big"), UnbalancedState),
        ("Resume", (4, 0, 4, 0), b"\xff" * 32, InvalidState),
        ("Resume", (4, 0, 7), bytes(32), InvalidState),
        ("Resume", (4, 1), b"", InvalidState),
        ("Resume", (4, 1), bytes(32), InvalidBook),
        ("Resume", (4, 1), book(salt=b"t" * 32).encoded, InvalidState),
        ("Resume", (4, 1), book().encoded + bytes(32), InvalidBook),
        ("Open", (2, 7), 599, TermsRefused),
        ("Open", (1, 0), 0, MalformedMessage),
        ("Propose", (3, 0, 1, 0, 4), bytes(32), InvalidBook),
        ("Propose", (3, 0, 1, 0, 3), 2, MalformedMessage),
        ("Propose", (3, 0, 1), [], MalformedMessage),
        ("Propose", (3, 0, 0), 6, MalformedMessage),
        ("Propose", (3, 0, 0), 9, MalformedMessage),
        ("Propose", (3, 5, 1), 2, MalformedMessage),
        ("Propose", (3, 5, 1), True, MalformedMessage),
        ("CollateralCall", (2,), -1, MalformedMessage),
        ("CollateralCall", (3,), 5, MalformedMessage),
        ("Propose", (3,), [], MalformedMessage),
        ("Propose", (5,), bytes(64), MalformedMessage),
    ],
)
def test_a_value_out_of_bounds_is_refused_by_its_own_rule(
    name: str, path: tuple[int, ...], value: Any, error: type[RuleViolation]
) -> None:
    root = tree(name)
    parent_of(root, path)[path[-1]] = value
    with pytest.raises(error):
        decode(msgpack.packb(root))


def test_seventeen_operations_are_refused() -> None:
    root = tree("Propose, one mark")
    root[3] *= 17
    refused(msgpack.packb(root))
    root[3].pop()
    assert len(decode(msgpack.packb(root)).operations) == 16


def test_texts_end_at_their_limits() -> None:
    assert decode(encode(Reject(CHANNEL, 1, "c" * 64, "é" * 512))).reason == "é" * 512
    for code, reason in (("c" * 65, ""), ("", "r" * 513)):
        refused(msgpack.packb([8, CHANNEL, 1, code, reason]))
        with pytest.raises(MalformedMessage):
            encode(Reject(CHANNEL, 1, code, reason))


def test_a_signature_of_64_bytes_never_becomes_a_message() -> None:
    refused(msgpack.packb([2, SIGNATURE[:64]]))
    with pytest.raises(MalformedMessage):
        encode(Propose(CHANNEL, 1, MESSAGES["Propose"].operations, b"s" * 32, SIGNATURE[:64], 1))
    assert agreed().signatures[0] == SIGNATURE
