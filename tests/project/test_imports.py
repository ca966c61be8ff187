"""Who may import whom."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.places import ROOT

PROGRAMS = Path(sys.executable).parent


def test_imports_keep_to_the_layers() -> None:
    """The contracts of pyproject.toml hold: down only, each library in one folder."""
    checked = run([PROGRAMS / "lint-imports", "--no-cache", "--no-logo"])

    assert checked.returncode == 0, checked.stdout
    assert " 0 broken." in checked.stdout


def test_the_code_under_test_is_the_code_of_this_folder() -> None:
    """An installed copy of an older version would make every other test meaningless."""
    said = run(
        [sys.executable, "-c", "import pipelines, assets; print(pipelines.__file__); print(assets.__file__)"]
    )

    assert said.stdout.splitlines() == [
        str(ROOT / package / "__init__.py") for package in ("pipelines", "assets")
    ]


@pytest.mark.parametrize("module", ["pipelines.runs.refresh", "pipelines.runs.verify", "pipelines.cli.main"])
def test_the_pipelines_run_without_dagster(module: str) -> None:
    """What Dagster calls can be called without it, and a command need not wait for its import."""
    said = run(
        [
            sys.executable,
            "-c",
            f"import sys, {module}; print([n for n in sys.modules if n.startswith('dagster')])",
        ]
    )

    assert said.stderr == ""
    assert said.stdout == "[]\n"


def run(command: list) -> subprocess.CompletedProcess:
    """Run a program in the repository and keep what it says."""
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
