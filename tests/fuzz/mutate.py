"""Mutations that know what a message is: fields change, frames repeat and change places, and bytes break.

Everything here works on msgpack's own values, so a message that is new on the wire is mutated like the others.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from random import Random
from typing import Any

import msgpack

from .door import CUTS, MAX_INPUT, NAMES, UNSIGNED, Input, frames, read

NUMBERS = (0, 1, 2, 3, 4, 5, 6, 7, 32, 64, 255, 256, 2**16, 2**16 + 8, 2**32 - 1, 2**48, 2**53, 2**63, 2**64 - 1)
AMOUNTS = (0, 1, -1, 10**6, -(10**6), 10**10, 10**18, -(10**18), 2**88, 2**92, 2**120, -(2**120), 2**255 - 1, -(2**255))
TIMES = (-1, 1, 29, 31, 60, 3_600, 3_601, 86_400)
MAX_NODES = 20_000
"""Values of a message that are looked at; larger ones are mutated as bytes."""


def mutate(data: bytes, rng: Random, words: Mapping[str, Sequence[bytes]]) -> bytes:
    """Return another input: one to four changes. `words` are inputs, by stage, whose frames may be borrowed."""
    spec = read(data)
    stage, cut, skew, parts = spec.stage, spec.cut, spec.skew, list(frames(spec.stream))
    for _ in range(rng.choice((1, 1, 1, 2, 2, 4))):
        match rng.randrange(16):
            case 0:
                stage = rng.choice(NAMES)
            case 1:
                cut = rng.choice(CUTS)
            case 2:
                skew = rng.choice((0, 0, *TIMES[:5], -3_600, 30_000, -30_000))
            case 3 if parts:
                parts.insert(rng.randrange(len(parts) + 1), rng.choice(parts))
            case 4 if parts:
                del parts[rng.randrange(len(parts))]
            case 5 if len(parts) > 1:
                one, other = rng.randrange(len(parts)), rng.randrange(len(parts))
                parts[one], parts[other] = parts[other], parts[one]
            case 6 if parts:
                at = rng.randrange(len(parts))
                parts[at] = _bytes(parts[at], rng)
            case 7 | 8 | 9:
                # What is said at this very stage gets furthest; what is said elsewhere is a surprise.
                said = words[stage if rng.random() < 0.7 else rng.choice(NAMES)]
                borrowed = list(frames(read(rng.choice(said)).stream))
                at = rng.randrange(len(parts) + 1)
                parts[at:at] = borrowed[: rng.randrange(1, 4)]
            case _ if parts:
                at = rng.randrange(len(parts))
                parts[at] = _message(parts[at], rng)
            case _:
                parts.append(_framed(b"\x92\x09"))
    return Input(stage, cut, skew, b"".join(parts)).data[:MAX_INPUT]


def _framed(payload: bytes) -> bytes:
    """A frame of any length, also of one that no reader takes."""
    return len(payload).to_bytes(4, "big") + payload


def _bytes(piece: bytes, rng: Random) -> bytes:
    """Break bytes: of the length, of the payload, or cut it."""
    broken = bytearray(piece or b"\x00")
    match rng.randrange(4):
        case 0:
            broken[rng.randrange(len(broken))] ^= 1 << rng.randrange(8)
        case 1:
            del broken[rng.randrange(len(broken)) :]
        case 2:
            at = rng.randrange(len(broken) + 1)
            broken[at:at] = rng.randbytes(rng.randrange(1, 9))
        case _:
            # The payload changes and its length with it.
            payload = bytearray(piece[4:])
            if payload:
                payload[rng.randrange(len(payload))] = rng.randrange(256)
            return _framed(bytes(payload))
    return bytes(broken)


def _message(piece: bytes, rng: Random) -> bytes:
    """Change one value of a message; what was signed is signed anew, mostly."""
    try:
        value = msgpack.unpackb(piece[4:], raw=False, use_list=True, strict_map_key=True)
    except (ValueError, TypeError, RecursionError, msgpack.exceptions.UnpackException):
        return _bytes(piece, rng)
    places = list(_places(value))
    if not places or len(places) > MAX_NODES:
        return _bytes(piece, rng)
    holder, key = rng.choice(places)
    holder[key] = _other(holder[key], rng)
    if rng.random() < 0.8:
        for other, at in places:
            if isinstance(other[at], bytes) and len(other[at]) == len(UNSIGNED):
                other[at] = UNSIGNED
    return _framed(msgpack.packb(value, use_bin_type=True))


def _places(value: Any) -> list[tuple[Any, Any]]:
    found: list[tuple[Any, Any]] = []
    open_ = [value] if isinstance(value, list) else []
    while open_ and len(found) <= MAX_NODES:
        holder = open_.pop()
        for at, item in enumerate(holder):
            found.append((holder, at))
            if isinstance(item, list):
                open_.append(item)
    return found


def _other(value: Any, rng: Random) -> Any:
    match value:
        case bool():
            return not value
        case int():
            near = (value + 1, max(0, value - 1), value + rng.choice(TIMES))
            return max(0, min(2**64 - 1, rng.choice((*near, rng.choice(NUMBERS), rng.choice(NUMBERS)))))
        case bytes() if len(value) == 32:
            amount = int.from_bytes(value, "big", signed=True)
            near = (amount + 1, amount - 1, -amount, 2 * amount, amount // 2)
            chosen = rng.choice((rng.choice(near), rng.choice(AMOUNTS)))
            chosen = max(-(2**255), min(2**255 - 1, chosen))
            return chosen.to_bytes(32, "big", signed=True)
        case bytes():
            return rng.choice((bytes(len(value)), value[:-1], value + b"\x00", _flip(value, rng)))
        case str():
            return rng.choice(("", "x" * 64, "x" * 513, "ETH/USD", "BTC/USD", value + "\x00", "é" * 32))
        case list():
            items = list(value)
            match rng.randrange(4):
                case 0 if items:
                    items.append(rng.choice(items))
                case 1 if items:
                    del items[rng.randrange(len(items))]
                case 2:
                    rng.shuffle(items)
                case _:
                    items = items * rng.choice((0, 2, 3, 17))
            return items
        case _:
            return rng.choice((None, 0, [], b"", "", True))


def _flip(value: bytes, rng: Random) -> bytes:
    if not value:
        return b"\x01"
    at = rng.randrange(len(value))
    return value[:at] + bytes((value[at] ^ (1 << rng.randrange(8)),)) + value[at + 1 :]
