"""Does the suite notice mistakes? Each is made in a copy and has to fail a test: `make mutants`."""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.torture.histories import HISTORIES, SEED
from tests.torture.mutants import MUTANTS, Mutant

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("pipelines", "assets", "sql", "migrations", "tests")

# Few histories and always the same, so that a mutant is killed every time or never.
SAME_HISTORIES = {SEED: "1", HISTORIES: "25"}

_FAILED_TESTS = 1
_AT_A_TIME = 2


@dataclass(frozen=True)
class Verdict:
    """What became of a mutant: the test that failed, or None, and what was said when none did."""

    mutant: Mutant
    killed_by: str | None
    said: str
    seconds: float


def main(names: Sequence[str]) -> int:
    """Try every mutant, or those whose names have one of the words; 1 when any survives."""
    console = Console(width=None if sys.stdout.isatty() else 160)
    chosen = [each for each in MUTANTS if not names or any(name in each.name for name in names)]
    begun = time.monotonic()
    with ThreadPoolExecutor(max_workers=_AT_A_TIME) as pool:
        unharmed = pool.submit(_run_unharmed, sorted({each.test for each in chosen}))
        verdicts = list(pool.map(_try, chosen))
    table = Table("mutant", "what it would do", "killed by", "s")
    for each in verdicts:
        killed_by = each.killed_by or "[bold red]nothing: it survived"
        table.add_row(each.mutant.name, each.mutant.breaks, killed_by, f"{each.seconds:.0f}")
    console.print(table)
    survivors = [each for each in verdicts if not each.killed_by]
    for each in survivors:
        console.print(f"{each.mutant.name}:\n{each.said}", markup=False)
    failed = unharmed.result()
    if failed:
        console.print(f"These tests fail without any mutant, too:\n{failed}", markup=False)
    killed = len(verdicts) - len(survivors)
    console.print(f"{killed} of {len(verdicts)} mutants killed in {time.monotonic() - begun:.0f} s")
    return 1 if survivors or failed else 0


def _try(mutant: Mutant) -> Verdict:
    begun = time.monotonic()
    with _copy() as tree:
        mutant.apply(tree)
        tested = _test(tree, ["-x", mutant.test])
    failed = re.search(r"^FAILED (\S+)", tested.stdout, re.MULTILINE)
    killed_by = failed.group(1).rpartition("::")[2] if failed and tested.returncode == _FAILED_TESTS else None
    return Verdict(mutant, killed_by, tested.stdout + tested.stderr, time.monotonic() - begun)


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
    # One server is enough to notice.
    options = ["-p", "no:cacheprovider", "-n", "0", "-q", "--tb=short", "-rf", "-k", "not system"]
    return _run(tree, "-m", "pytest", *options, *arguments)


def _run(tree: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=tree,
        env=os.environ | SAME_HISTORIES | {"PYTHONPATH": str(tree), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
