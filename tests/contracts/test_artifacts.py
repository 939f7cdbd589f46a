"""The committed artifacts are what the sources give, what gets deployed, and small enough; gas is what receipts say."""

import json
import re
from importlib.resources import files
from pathlib import Path

import pytest

from adjudicator_contracts import artifact, artifact_names, build
from tests.contracts.evm import Chain
from tests.contracts.gas import measure, snapshot
from tests.contracts.test_signed_price_source import BASE, MAX_AGE, PUBLISHERS, SLOPE, deploy

TARGETS = {
    "deposit.new": 80_000,
    "deposit.top_up": 62_000,
    "checkpoint.first": 105_000,
    "checkpoint.next": 70_000,
    "challenge": 105_000,
    "challenge.answer": 72_000,
    "close": 108_000,
    "settle.4": 125_000,
    "settle.32": 200_000,
    "margin_call.4_newer": 190_000,
    "margin_call.16_newer": 330_000,
    "liquidate.16": 320_000,
    "release.16": 1_600_000,
}
REVM_PADDING = 33
EIP_170 = 24_576


def test_compiling_again_gives_the_committed_artifacts() -> None:
    assert build.differences() == ()


def test_the_check_names_what_differs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in artifact_names():
        (tmp_path / f"{name}.json").write_bytes((build.ARTIFACTS / f"{name}.json").read_bytes())
    document = json.loads((tmp_path / "TestToken.json").read_text())
    document["bytecode"] += "00"
    (tmp_path / "TestToken.json").write_text(json.dumps(document))
    (tmp_path / "FeeToken.json").unlink()
    (tmp_path / "Ghost.json").write_text("{}")
    monkeypatch.setattr(build, "ARTIFACTS", tmp_path)
    assert build.differences() == (
        "FeeToken.json is missing",
        "Ghost.json has no source",
        "TestToken.json differs in bytecode",
    )


def test_what_is_deployed_is_the_runtime_of_the_artifact() -> None:
    chain = Chain()
    adjudicator = chain.deploy("Adjudicator")
    shipped = artifact("Adjudicator")
    code = chain.code(adjudicator.address)[:-REVM_PADDING]
    assert shipped.matches(code)
    assert not shipped.matches(code + b"\0")
    assert not shipped.matches(b"\0" + code[1:])
    assert shipped.immutables == ()


def test_immutables_are_found_in_deployed_code() -> None:
    chain = Chain()
    code = chain.code(deploy(chain).address)[:-REVM_PADDING]
    shipped = artifact("SignedPriceSource")
    assert shipped.matches(code)
    for name, value in {
        "THRESHOLD": 3,
        "DEVIATION_BASE": BASE,
        "DEVIATION_PER_SECOND": SLOPE,
        "MAX_AGE": MAX_AGE,
    }.items():
        assert int.from_bytes(shipped.immutable(code, name), "big") == value
    publishers = shipped.immutable(code, "PUBLISHERS")
    assert int.from_bytes(publishers[:32], "big") == len(PUBLISHERS)
    assert "0x" + publishers[44:64].hex() == PUBLISHERS[0].address
    with pytest.raises(KeyError, match="has no immutable OWNER"):
        shipped.immutable(code, "OWNER")


def test_an_unknown_artifact_names_the_known_ones() -> None:
    with pytest.raises(KeyError, match=r"there are Adjudicator, .*FeeToken"):
        artifact("Nothing")


def test_the_adjudicator_can_be_deployed() -> None:
    assert len(artifact("Adjudicator").runtime) < 23_300 < EIP_170


def test_sources_keep_to_their_size() -> None:
    for path in build.SOURCES.rglob("*.vy*"):
        lines = len(path.read_text().splitlines())
        limit = 600 if path.stem == "Adjudicator" else 150 if path.parent.name == "modules" else 500
        assert lines < limit, path


def test_every_error_names_its_module() -> None:
    texts = [path.read_text() for path in build.SOURCES.rglob("*.vy")]
    reasons = {reason for text in texts for reason in re.findall(r'(?:_require\(.*?|assert .*?), "(.*?)"', text)}
    assert len(reasons) > 50
    assert not [reason for reason in reasons if not re.fullmatch(r"[a-z]+: [a-z0-9 -]+", reason)]


def test_the_documented_errors_are_the_contracts() -> None:
    docs = Path(__file__).parents[2] / "docs"
    pages = [(docs / name).read_text("utf-8") for name in ("adjudicator.md", "price_sources.md")]
    listed = {reason for page in pages for reason in re.findall(r"^\| `([a-z]+: [^`]+)` \|", page, re.MULTILINE)}
    paths = [path for path in build.SOURCES.rglob("*.vy") if path.parent.name not in ("mocks", "parts")]
    found = {reason for path in paths for reason in re.findall(r'"([a-z]+: [^"]+)"', path.read_text())}
    assert listed == found - {"module: reason"}


def test_gas_is_what_the_snapshot_says() -> None:
    committed = json.loads((files("adjudicator_contracts") / "snapshots" / "gas.json").read_text("utf-8"))
    assert committed == snapshot()


def test_the_documented_gas_and_size_are_the_snapshots() -> None:
    committed = json.loads(build.SNAPSHOT.read_text("utf-8"))
    page = (Path(__file__).parents[2] / "docs" / "adjudicator.md").read_text("utf-8").split("## Build, size, gas")[1]
    size = committed["code_bytes"]
    assert f"{size:,}\nbytes" in page
    figures = {int(figure.replace(",", "")) for figure in re.findall(r"\| (\d+,\d+[,\d]*) ", page)}
    assert figures <= set(committed["gas"].values())
    assert len(figures) == 11


def test_gas_is_within_its_targets() -> None:
    measured = measure()
    assert {key: measured[key] for key in TARGETS if measured[key] > TARGETS[key]} == {}
