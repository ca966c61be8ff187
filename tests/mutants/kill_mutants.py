"""Does the suite notice mistakes? Each is made in a copy and has to fail a test: `make mutants`."""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from rich.console import Console
from rich.table import Column, Table

from tests.mutants.mutants import MUTANTS
from tests.mutants.mutating import Mutant
from tests.support.places import ROOT

FOLDERS = ("pipelines", "assets", "sql", "migrations", "tests")

# A copy that fails with one of these cannot run: nothing follows for the mistake that was to be made.
_CANNOT_RUN = re.compile(
    r"^E\s+(?:[\w.]+\.)?((?:Import|ModuleNotFound|Name|UnboundLocal|Syntax|Indentation)Error"
    r"|Undefined(?:Column|Function|Object|Parameter|Table))\b",
    re.MULTILINE,
)


@dataclass(frozen=True)
class Verdict:
    """The test that failed for a mutant, or the reason why no test did, and the output of pytest."""

    killed_by: str | None
    reason: str
    output: str


def main() -> int:
    """Try the mutants that were asked for; 1 when any survives, cannot be made or cannot run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="parts of names of mutants; all of them when not given")
    parser.add_argument("--processes", type=int, default=2, help="how many are tried at a time")
    asked = parser.parse_args()
    console = Console(width=None if sys.stdout.isatty() else 160)
    chosen = [each for each in MUTANTS if not asked.names or any(name in each.name for name in asked.names)]
    console.print(f"{len(chosen)} mutants, {asked.processes} at a time")
    with ThreadPoolExecutor(max_workers=asked.processes) as pool:
        unharmed = pool.submit(_run_unharmed, sorted({each.test for each in chosen}))
        verdicts = list(zip(chosen, pool.map(_try, chosen), strict=True))
    table = Table("mutant", "what it would do", Column("killed by", overflow="fold"))
    for mutant, verdict in verdicts:
        killed_by = verdict.killed_by or f"[bold red]nothing: {verdict.reason}"
        table.add_row(mutant.name, mutant.breaks, killed_by)
    console.print(table)
    alive = [each for each in verdicts if each[1].killed_by is None]
    for mutant, verdict in alive:
        console.print(f"{mutant.name}: {verdict.reason}\n{verdict.output}", markup=False)
    failed = unharmed.result()
    if failed:
        console.print(f"These tests fail without any mutant, too:\n{failed}", markup=False)
    console.print(f"{len(verdicts) - len(alive)} of {len(verdicts)} mutants killed")
    return 1 if alive or failed else 0


def judge(returncode: int, output: str) -> Verdict:
    """What a run of pytest proves: a failing test kills a mutant; a failing fixture or import does not."""
    broken = _CANNOT_RUN.search(output)
    if broken:
        return Verdict(None, f"the copy cannot run ({broken[1]})", output)
    failed = re.search(r"^FAILED (\S+)", output, re.MULTILINE)
    if failed and returncode == pytest.ExitCode.TESTS_FAILED:
        return Verdict(failed[1].rpartition("::")[2], "", output)
    return Verdict(None, "pytest or a fixture failed, and no test" if returncode else "it survived", output)


def _try(mutant: Mutant) -> Verdict:
    with _copy() as tree:
        try:
            mutant.apply(tree)
        except LookupError as gone:
            return Verdict(None, "its place is gone", str(gone))
        tested = _test(tree, ["-x", mutant.test])
        return judge(tested.returncode, tested.stdout + tested.stderr)


def _run_unharmed(tests: Sequence[str]) -> str:
    """What fails in a copy that is right; raises `RuntimeError` when it is not the copy that is tested."""
    with _copy() as tree:
        where = "import pipelines, assets; print(pipelines.__file__, assets.__file__)"
        imported = _run(tree, "-c", where).stdout.split()
        if len(imported) != 2 or not all(Path(path).is_relative_to(tree) for path in imported):
            raise RuntimeError(f"not the copy in {tree} would be tested but {imported}")
        tested = _test(tree, tests)
    return tested.stdout + tested.stderr if tested.returncode else ""


@contextmanager
def _copy() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="execmetrics-mutant-") as folder:
        tree = Path(folder).resolve()
        for name in FOLDERS:
            shutil.copytree(ROOT / name, tree / name, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(ROOT / "pyproject.toml", tree)
        yield tree


def _test(tree: Path, arguments: Sequence[str]) -> subprocess.CompletedProcess[str]:
    return _run(tree, "-m", "pytest", "-n", "0", "--tb=short", "-rf", *arguments)


def _run(tree: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    # A mutant is killed by the sample that `make test` runs, whatever the shell asks for.
    environment = {name: value for name, value in os.environ.items() if name != "TESTS"}
    environment |= {"PYTHONPATH": str(tree), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, *arguments]
    return subprocess.run(command, cwd=tree, env=environment, capture_output=True, text=True, check=False)


if __name__ == "__main__":
    sys.exit(main())
