"""The constants in the tree are the ones that the fit gives: run at night, since fitting takes seconds."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]


@pytest.mark.nightly
def test_every_fitted_constant_is_regenerated_to_the_last_digit() -> None:
    tool = subprocess.run(
        [sys.executable, "tools/fit_constants.py", "--check"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert tool.returncode == 0, tool.stdout
    assert "tail: absolute error of N 9.76e-20" in tool.stdout
    assert "coarse tail, Q: absolute error of N 5.96e-8" in tool.stdout
