"""What the checkers say: nothing."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.places import ROOT


@pytest.mark.parametrize(
    "arguments",
    [
        ["ruff", "check", "--no-cache", "."],
        ["ruff", "format", "--no-cache", "--check", "."],
        pytest.param(["mypy"], marks=pytest.mark.only_in_everything),
    ],
)
def test_a_checker_has_nothing_to_say(tmp_path: Path, arguments: list[str]) -> None:
    """Style, format and strict types are part of the suite, so that a green suite is a mergeable one."""
    program, *rest = arguments
    if program == "mypy":
        rest = ["--cache-dir", str(tmp_path)]

    checked = subprocess.run(
        [Path(sys.executable).parent / program, *rest], cwd=ROOT, capture_output=True, text=True, check=False
    )

    assert checked.returncode == 0, checked.stdout + checked.stderr
