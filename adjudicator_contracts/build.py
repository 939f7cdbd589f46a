"""Compile the contracts into the committed artifacts, and prove that the committed ones are what the sources give.

    python -m adjudicator_contracts.build            write artifacts/*.json
    python -m adjudicator_contracts.build --check    compile again and compare; exit status 1 names what differs
    python -m adjudicator_contracts.build --gas      write snapshots/gas.json from transaction receipts

The compiler is a development dependency, called as a program, so that nothing of it is imported. Settings:

- `cancun`: the re-entrancy lock lives in transient storage (two TLOAD/TSTORE pairs instead of a storage slot, about
  2,300 gas a call) and structs move with MCOPY. Later forks would add nothing to these contracts and would exclude
  chains; earlier ones lack both.
- `legacy` code generation. The experimental generator (venom) makes the adjudicator a quarter smaller, but in this
  compiler it drops the zeroing of the output buffer before `ecrecover` (vyperlang/vyper#4783, fixed after 0.4.3): a
  signature that recovers nothing then "recovers" whatever lay in memory. Not for a contract that holds money.
- Optimised for gas, except the adjudicator, which is optimised for size: it is the one near the limit of EIP-170, and
  pays about 300 gas a call for it.
- No bytecode metadata: the source hash stands in the artifact, and the bytes then depend on the code alone.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
SOURCES = HERE / "src"
ARTIFACTS = HERE / "artifacts"
SNAPSHOT = HERE / "snapshots" / "gas.json"

COMPILER = "0.4.3"
SETTINGS = {"evm_version": "cancun", "optimize": "gas", "codegen": "legacy"}
OVERRIDES = {"Adjudicator": {"optimize": "codesize"}}
FORMATS = ("abi", "bytecode", "bytecode_runtime", "layout", "integrity")

_SHIPPED = ("Adjudicator.vy", "RiskEngine.vy", "sources/*.vy", "mocks/*.vy")


class BuildError(Exception):
    """The compiler is missing, is another version, or refused a source."""


def sources() -> tuple[Path, ...]:
    """Return every contract that has an artifact, sorted by name."""
    found = (path for pattern in _SHIPPED for path in SOURCES.glob(pattern))
    return tuple(sorted(found, key=lambda path: path.stem))


def compile_contract(source: Path) -> dict[str, Any]:
    """Return the artifact document of one contract; BuildError if it does not compile."""
    settings = SETTINGS | OVERRIDES.get(source.stem, {})
    abi, bytecode, runtime, layout, integrity = _vyper(
        "--no-bytecode-metadata",
        "--disable-sys-path",
        f"--evm-version={settings['evm_version']}",
        f"--optimize={settings['optimize']}",
        f"--path={SOURCES}",
        "-f",
        ",".join(FORMATS),
        str(source),
    )
    if runtime.removeprefix("0x") not in bytecode:
        raise BuildError(f"the runtime of {source.stem} is not in its deployment code")
    immutables = _places(json.loads(layout).get("code_layout", {}))
    return {
        "name": source.stem,
        "compiler": f"vyper {COMPILER}",
        "settings": settings,
        "source_hash": integrity,
        "runtime_hash": _keccak(runtime),
        "immutables": [
            {"name": name, "offset": place["offset"], "length": place["length"]}
            for name, place in sorted(immutables.items(), key=lambda item: int(item[1]["offset"]))
        ],
        "abi": json.loads(abi),
        "bytecode": bytecode,
        "runtime": runtime,
    }


def _places(layout: dict[str, dict[str, Any]], prefix: str = "") -> dict[str, dict[str, Any]]:
    """Return where each immutable lies; those of a module are called `module.NAME`."""
    places: dict[str, dict[str, Any]] = {}
    for name, entry in layout.items():
        places.update({prefix + name: entry} if "offset" in entry else _places(entry, f"{prefix}{name}."))
    return places


def render(document: dict[str, Any]) -> str:
    """Return the one textual form of an artifact: one key a line, one ABI entry a line, so that diffs can be read."""
    lines = []
    for key, value in document.items():
        if key == "abi":
            entries = ",\n".join(f"    {json.dumps(entry, sort_keys=True)}" for entry in value)
            lines.append(f'  "abi": [\n{entries}\n  ]')
        else:
            lines.append(f"  {json.dumps(key)}: {json.dumps(value)}")
    return "{\n" + ",\n".join(lines) + "\n}\n"


def compile_all() -> dict[str, str]:
    """Return the text of every artifact by file name."""
    version = _vyper("--version")[0]
    if not version.startswith(COMPILER):
        raise BuildError(f"vyper {COMPILER} is needed, this is {version}")
    return {f"{source.stem}.json": render(compile_contract(source)) for source in sources()}


def differences() -> tuple[str, ...]:
    """Compile again and return one sentence for each committed artifact that is not what the sources give."""
    fresh = compile_all()
    committed = {path.name: path.read_text("utf-8") for path in ARTIFACTS.glob("*.json")}
    found = [f"{name} is missing" for name in sorted(fresh.keys() - committed.keys())]
    found += [f"{name} has no source" for name in sorted(committed.keys() - fresh.keys())]
    for name in sorted(fresh.keys() & committed.keys()):
        if fresh[name] != committed[name]:
            old, new = json.loads(committed[name]), json.loads(fresh[name])
            found.append(f"{name} differs in {', '.join(key for key in new if old.get(key) != new[key]) or 'form'}")
    return tuple(found)


def write() -> None:
    """Write every artifact and remove those without a source."""
    fresh = compile_all()
    ARTIFACTS.mkdir(exist_ok=True)
    for path in ARTIFACTS.glob("*.json"):
        if path.name not in fresh:
            path.unlink()
    for name, text in fresh.items():
        (ARTIFACTS / name).write_text(text, "utf-8")
        size = len(json.loads(text)["runtime"]) // 2 - 1
        print(f"{name.removesuffix('.json'):20} {size:6} bytes")


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m adjudicator_contracts.build", description=__doc__.split("\n")[0])
    choice = parser.add_mutually_exclusive_group()
    choice.add_argument("--check", action="store_true", help="compare the committed artifacts with the sources")
    choice.add_argument("--gas", action="store_true", help="measure gas from receipts and write the snapshot")
    options = parser.parse_args(arguments)
    try:
        if options.check:
            found = differences()
            for sentence in found:
                print(f"artifacts: {sentence}", file=sys.stderr)
            if found:
                print("run `python -m adjudicator_contracts.build` and commit the result", file=sys.stderr)
            return 1 if found else 0
        if options.gas:
            measured = _python("-m", "tests.contracts.gas")
            SNAPSHOT.parent.mkdir(exist_ok=True)
            SNAPSHOT.write_text(measured, "utf-8")
            return 0
        write()
    except BuildError as error:
        print(f"build: {error}", file=sys.stderr)
        return 1
    return 0


def _vyper(*arguments: str) -> list[str]:
    return _python("-W", "ignore", "-m", "vyper", *arguments).strip().splitlines()


def _python(*arguments: str) -> str:
    finished = subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, check=False, cwd=HERE.parent
    )
    if finished.returncode:
        raise BuildError(finished.stderr.strip())
    return finished.stdout


def _keccak(code: str) -> str:
    from eth_hash.auto import keccak

    return "0x" + keccak(bytes.fromhex(code.removeprefix("0x"))).hex()


if __name__ == "__main__":
    sys.exit(main())
