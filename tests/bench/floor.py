"""The floor under one agreed update: two signatures, two verifications and two digests, which no protocol of co-signed
states can do without, by the fastest calls of the libraries on this machine and nothing of ours around them.

Each figure of the benchmark is divided by a floor that was sampled between its own repetitions, so that a busy moment
hits both.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import coincurve
from coincurve._libsecp256k1 import ffi, lib
from coincurve.context import GLOBAL_CONTEXT
from sha3 import keccak_256

_SECRET = bytes(31) + b"\x07"
_KEY = coincurve.PrivateKey(_SECRET)
DIGEST = keccak_256(b"state").digest()
_PACKED = bytes(12 * 32)
"""As long as an encoded state with its type hash."""
_SIGNATURE = _KEY.sign_recoverable(DIGEST, hasher=None)
_CONTEXT = GLOBAL_CONTEXT.ctx
_PARSED = ffi.new("secp256k1_ecdsa_recoverable_signature *")
lib.secp256k1_ecdsa_recoverable_signature_parse_compact(_CONTEXT, _PARSED, _SIGNATURE[:64], _SIGNATURE[64])
_PLAIN = ffi.new("secp256k1_ecdsa_signature *")
lib.secp256k1_ecdsa_recoverable_signature_convert(_CONTEXT, _PLAIN, _PARSED)
_PUBLIC = _KEY.public_key.public_key


def sign() -> None:
    """Make a recoverable signature."""
    made = ffi.new("secp256k1_ecdsa_recoverable_signature *")
    assert lib.secp256k1_ecdsa_sign_recoverable(_CONTEXT, made, DIGEST, _SECRET, ffi.NULL, ffi.NULL)


def verify() -> None:
    """Verify a signature under a known key."""
    assert lib.secp256k1_ecdsa_verify(_CONTEXT, _PLAIN, DIGEST, _PUBLIC)


def digest() -> None:
    """Hash a state and what is signed of it."""
    keccak_256(b"\x19\x01" + bytes(32) + keccak_256(_PACKED).digest()).digest()


PIECES: dict[str, Callable[[], None]] = {"signature": sign, "verification": verify, "digest": digest}
REPEAT = 30
"""Calls of each piece in one sample: a few milliseconds."""


@dataclass(frozen=True, slots=True)
class Sample:
    """What the floor of one update took at a moment, seconds: of the processor, and on the wall."""

    cpu: float
    wall: float


def sample() -> Sample:
    """Take the floor's time now."""
    cpu, wall = time.process_time(), time.perf_counter()
    for _ in range(REPEAT):
        for piece in PIECES.values():
            piece()
    return Sample((time.process_time() - cpu) * 2 / REPEAT, (time.perf_counter() - wall) * 2 / REPEAT)


def middle(values: Iterable[float]) -> float:
    """Return the median, the upper one of two."""
    ordered = sorted(values)
    return ordered[len(ordered) // 2]


def pieces() -> dict[str, float]:
    """Return the processor seconds of one call of each piece."""
    took = {}
    for name, piece in PIECES.items():
        rounds = []
        for _ in range(20):
            start = time.process_time()
            for _ in range(REPEAT):
                piece()
            rounds.append((time.process_time() - start) / REPEAT)
        took[name] = middle(rounds)
    return took


def fsyncs(folder: Path, count: int = 40, pause: float = 0.0) -> list[float]:
    """Return what `count` syncs of a page written in place took, seconds, shortest first; `pause` seconds between."""
    place = folder / "fsync"
    took = []
    with place.open("wb+", buffering=0) as file:
        file.write(bytes(4096 * 64))
        os.fsync(file.fileno())
        for at in range(count):
            file.seek(4096 * (at % 64))
            file.write(os.urandom(4096))
            time.sleep(pause)
            start = time.perf_counter()
            os.fdatasync(file.fileno())
            took.append(time.perf_counter() - start)
    place.unlink()
    return sorted(took)
