"""The architecture is a test: what is public, what an import pulls in, what the documents promise."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import channels
from channels.core.phases import TRANSITIONS, Phase

ROOT = Path(__file__).parents[2]
PROSE = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]


def test_every_public_name_loads_and_says_what_it_is() -> None:
    for name in channels.__all__:
        value = getattr(channels, name)
        if name != "__version__" and isinstance(value, type):
            assert value.__doc__, f"{name} has no docstring"


def test_what_type_checkers_see_is_what_is_there() -> None:
    tree = ast.parse((ROOT / "channels" / "__init__.py").read_text("utf-8"))
    (block,) = [node for node in tree.body if isinstance(node, ast.If)]
    seen = {alias.asname for node in block.body if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert seen == set(channels.__all__) - {"__version__"}


def test_the_pure_rooms_pull_in_nothing_that_does_io() -> None:
    code = (
        "import sys, channels.core.machine, channels.session, channels.risk, channels.wire.codec, channels.seal;"
        "print(sorted({'web3', 'trio', 'sqlite3', 'eth_account', 'numpy', 'rich'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "[]"


def test_the_version_is_said_once() -> None:
    assert f'version = "{channels.__version__}"' in (ROOT / "pyproject.toml").read_text("utf-8")


def test_every_phase_can_be_left_or_is_the_end() -> None:
    assert set(TRANSITIONS) == set(Phase)
    reachable = {phase for row in TRANSITIONS.values() for targets in row.values() for phase in targets}
    assert reachable == set(Phase)
    assert {phase for targets in TRANSITIONS[Phase.CLOSED].values() for phase in targets} == {Phase.CLOSED}


def test_links_in_the_documents_lead_somewhere() -> None:
    for page in PROSE:
        for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text("utf-8")):
            if "://" not in target:
                assert (page.parent / target).exists(), f"{page.relative_to(ROOT)} links to {target}"


def test_named_tests_of_the_protocol_exist() -> None:
    """Protocol §6 names tests; every one is there, by that name."""
    section = (ROOT / "docs" / "protocol.md").read_text("utf-8").split("## 6.")[1]
    names = set(re.findall(r"`([a-z_]{12,})`", section))
    tests = "\n".join(path.read_text("utf-8") for path in (ROOT / "tests").rglob("test_*.py"))
    missing = {name for name in names if not re.search(rf"def test_{name}\b", tests)}
    assert not missing
