"""What the checkers say, which is nothing, and who may import whom."""

import subprocess
import sys
from pathlib import Path

import pytest

import assets
import pipelines
from tests.support.places import ROOT


@pytest.mark.parametrize(
    "command",
    [
        "ruff check --no-cache .",
        "ruff format --no-cache --check .",
        # The contracts of pyproject.toml: down only, each library in one folder.
        "lint-imports --no-cache --no-logo",
        pytest.param("mypy --cache-dir", marks=pytest.mark.only_in_everything),
    ],
)
def test_a_checker_has_nothing_to_say(tmp_path: Path, command: str) -> None:
    """Style, format, layers and strict types are part of the suite: a green suite is a mergeable one."""
    program, *arguments = command.split()
    arguments += [str(tmp_path)] if program == "mypy" else []

    checked = run([Path(sys.executable).with_name(program), *arguments])

    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert program != "lint-imports" or " 0 broken." in checked.stdout


def test_the_code_under_test_is_the_code_of_this_folder() -> None:
    """An installed copy of an older version would make every other test meaningless."""
    found = [Path(package.__file__).parent for package in (pipelines, assets)]

    assert found == [ROOT / "pipelines", ROOT / "assets"]


def test_the_pipelines_run_without_dagster() -> None:
    """What Dagster calls can be called without it, and a command need not wait for its import."""
    modules = "pipelines.runs.refresh, pipelines.runs.verify, pipelines.cli.main"
    code = f"import sys, {modules}; print([name for name in sys.modules if name.startswith('dagster')])"

    said = run([sys.executable, "-c", code])

    assert (said.stdout, said.stderr) == ("[]\n", "")


def run(command: list) -> subprocess.CompletedProcess:
    """Run a program in the repository and keep what it says."""
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
