"""The floor under one agreed update: two signatures, two verifications and two digests, which no protocol of co-signed
states can do without, by the fastest calls of the libraries on this machine and nothing of ours around them.

Each figure of the benchmark is divided by a floor that was sampled between its own repetitions, so that a busy moment
hits both.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import coincurve
from coincurve._libsecp256k1 import ffi, lib
from coincurve.context import GLOBAL_CONTEXT
from sha3 import keccak_256

_SECRET = bytes(31) + b"\x07"
_KEY = coincurve.PrivateKey(_SECRET)
_DIGEST = keccak_256(b"state").digest()
_PACKED = bytes(12 * 32)
"""As long as an encoded state with its type hash."""
_SIGNATURE = _KEY.sign_recoverable(_DIGEST, hasher=None)
_CONTEXT = GLOBAL_CONTEXT.ctx
_PARSED = ffi.new("secp256k1_ecdsa_recoverable_signature *")
lib.secp256k1_ecdsa_recoverable_signature_parse_compact(_CONTEXT, _PARSED, _SIGNATURE[:64], _SIGNATURE[64])
_PLAIN = ffi.new("secp256k1_ecdsa_signature *")
lib.secp256k1_ecdsa_recoverable_signature_convert(_CONTEXT, _PLAIN, _PARSED)
_PUBLIC = _KEY.public_key.public_key


def _sign() -> None:
    made = ffi.new("secp256k1_ecdsa_recoverable_signature *")
    assert lib.secp256k1_ecdsa_sign_recoverable(_CONTEXT, made, _DIGEST, _SECRET, ffi.NULL, ffi.NULL)


def _verify() -> None:
    assert lib.secp256k1_ecdsa_verify(_CONTEXT, _PLAIN, _DIGEST, _PUBLIC)


def _digest() -> None:
    keccak_256(b"\x19\x01" + bytes(32) + keccak_256(_PACKED).digest()).digest()


PIECES: dict[str, Callable[[], None]] = {"signature": _sign, "verification": _verify, "digest": _digest}


def sample(clock: Callable[[], float] = time.process_time, number: int = 40) -> dict[str, float]:
    """Return the seconds that one call of each piece takes now."""
    took = {}
    for name, piece in PIECES.items():
        start = clock()
        for _ in range(number):
            piece()
        took[name] = (clock() - start) / number
    return took


@dataclass
class Floor:
    """Collects samples; `seconds` is the floor of one update, from the middle of them."""

    clock: Callable[[], float] = time.process_time
    samples: list[dict[str, float]] = field(default_factory=list)

    def take(self) -> float:
        """Sample once; return this moment's floor."""
        self.samples.append(sample(self.clock))
        return 2 * sum(self.samples[-1].values())

    def piece(self, name: str) -> float:
        """Return the median of one piece, seconds."""
        return sorted(taken[name] for taken in self.samples)[len(self.samples) // 2]

    @property
    def seconds(self) -> float:
        return sorted(2 * sum(taken.values()) for taken in self.samples)[len(self.samples) // 2]


def fsyncs(folder: Path, count: int = 40) -> list[float]:
    """Return what `count` syncs of a page written in place took, seconds, shortest first."""
    place = folder / "fsync"
    took = []
    with place.open("wb+", buffering=0) as file:
        file.write(bytes(4096 * 64))
        os.fsync(file.fileno())
        for at in range(count):
            file.seek(4096 * (at % 64))
            file.write(os.urandom(4096))
            start = time.perf_counter()
            os.fdatasync(file.fileno())
            took.append(time.perf_counter() - start)
    place.unlink()
    return sorted(took)
