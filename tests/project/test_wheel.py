"""An installed wheel has what a checkout has."""

import os
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.source_texts import ROOT, page_files, python_files


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The wheel of this repository, built without a network."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder]
    subprocess.run(build, cwd=ROOT, capture_output=True, check=True)
    (built,) = folder.glob("*.whl")
    return built


def test_the_wheel_holds_code_statements_and_migrations(wheel: Path) -> None:
    """Every module, every statement, every migration and the whole page is inside, and no test."""
    held = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}

    packed = [*(ROOT / "sql").glob("*.sql"), *python_files("migrations")]
    files = [*python_files("pipelines", "assets"), *page_files()]
    expected = {path.relative_to(ROOT).as_posix() for path in files}
    assert held == expected | {f"pipelines/_{path.relative_to(ROOT).as_posix()}" for path in packed}


def test_the_wheel_works_away_from_the_checkout(wheel: Path, tmp_path: Path) -> None:
    """Unpacked somewhere else it finds its own statements and its own history of migrations."""
    zipfile.ZipFile(wheel).extractall(tmp_path / "site")
    question = (
        "from pipelines.postgres import schema_checks, statements\n"
        "print(schema_checks.__file__)\n"
        "print(len(statements.statement('state/lock')) > 0, statements.folder_of('sql').name)\n"
        "print(statements.folder_of('migrations'))\n"
        "print(schema_checks.revisions('orchestration'), schema_checks.revisions('analytics'))\n"
    )

    command, places = [sys.executable, "-c", question], {"PYTHONPATH": str(tmp_path / "site")}
    said = subprocess.run(command, cwd=tmp_path, env=os.environ | places, capture_output=True, text=True)

    site = tmp_path / "site" / "pipelines"
    known = f"{revisions('orchestration', 3)} {revisions('analytics', 9)}"
    found = [f"{site / 'postgres' / 'schema_checks.py'}", "True _sql", f"{site / '_migrations'}", known]
    assert said.stdout.splitlines() == found, said.stderr


def revisions(branch: str, newest: int) -> tuple[str, ...]:
    """The revisions of a branch, newest first."""
    return tuple(f"{branch}_{number:04}" for number in range(newest, 0, -1))


def test_the_wheel_has_the_command(wheel: Path) -> None:
    """Installing it puts `execmetrics` on the path."""
    archive = zipfile.ZipFile(wheel)
    (entry_points,) = (name for name in archive.namelist() if name.endswith("entry_points.txt"))

    assert "execmetrics = pipelines.cli.main:run" in archive.read(entry_points).decode()
