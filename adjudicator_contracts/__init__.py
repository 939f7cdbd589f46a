"""The contracts, as data: ABI and bytecode that were compiled once, committed, and are shipped in the wheel.

Users need no compiler: `artifact("Adjudicator")` reads a JSON file beside this one. What stands in it is reproducible:
`python -m adjudicator_contracts.build --check` compiles the sources again and compares. This package imports nothing
but the standard library, so that whoever needs only an ABI gets only an ABI.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

__all__ = ["Artifact", "Immutable", "artifact", "artifact_names"]


@dataclass(frozen=True, slots=True)
class Immutable:
    """A value that the constructor appends to the code: its bytes begin `offset` after the end of the runtime."""

    name: str
    offset: int
    length: int


@dataclass(frozen=True, slots=True)
class Artifact:
    """One compiled contract.

    `bytecode` is what a deployment transaction carries (constructor arguments follow it); `runtime` is the code it
    leaves behind, without the immutables, and `runtime_hash` its keccak256. `source_hash` covers the contract and
    all it imports; `compiler` and `settings` say how to get the same bytes again.
    """

    name: str
    abi: tuple[Mapping[str, Any], ...]
    bytecode: bytes
    runtime: bytes
    runtime_hash: bytes
    immutables: tuple[Immutable, ...]
    source_hash: bytes
    compiler: str
    settings: Mapping[str, str]

    def matches(self, code: bytes) -> bool:
        """Return whether `code`, as `eth_getCode` answers, is this contract, whatever its immutables are."""
        end = max((value.offset + value.length for value in self.immutables), default=0)
        return len(code) == len(self.runtime) + end and code.startswith(self.runtime)

    def immutable(self, code: bytes, name: str) -> bytes:
        """Return the bytes of the immutable `name` in deployed `code`; KeyError if the contract has none such."""
        for value in self.immutables:
            if value.name == name:
                start = len(self.runtime) + value.offset
                return code[start : start + value.length]
        raise KeyError(f"{self.name} has no immutable {name}")


@cache
def artifact(name: str) -> Artifact:
    """Return the artifact called `name`, e.g. `Adjudicator`; KeyError, with the names there are, if there is none."""
    if name not in artifact_names():
        raise KeyError(f"no artifact {name!r}: there are {', '.join(artifact_names())}")
    document = json.loads((files(__name__) / "artifacts" / f"{name}.json").read_text("utf-8"))
    return Artifact(
        name=document["name"],
        abi=tuple(document["abi"]),
        bytecode=bytes.fromhex(document["bytecode"].removeprefix("0x")),
        runtime=bytes.fromhex(document["runtime"].removeprefix("0x")),
        runtime_hash=bytes.fromhex(document["runtime_hash"].removeprefix("0x")),
        immutables=tuple(Immutable(**value) for value in document["immutables"]),
        source_hash=bytes.fromhex(document["source_hash"].removeprefix("0x")),
        compiler=document["compiler"],
        settings=dict(document["settings"]),
    )


@cache
def artifact_names() -> tuple[str, ...]:
    """Return the names of all artifacts, sorted."""
    found = (files(__name__) / "artifacts").iterdir()
    return tuple(sorted(entry.name.removesuffix(".json") for entry in found if entry.name.endswith(".json")))
