"""The proof itself: enough histories, and mutants that still say what they said."""

import shutil
from pathlib import Path

import pytest

from tests.torture.kill_mutants import FOLDERS, ROOT
from tests.torture.mutants import MUTANTS, Mutant
from tests.torture.profiles import PROFILES


def test_every_run_of_the_suite_tells_two_hundred_histories() -> None:
    """Each profile has a test that tells so many as it says."""
    assert sum(profile.histories for profile in PROFILES.values()) >= 200


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_mutant_can_still_be_made(mutant: Mutant, tmp_path: Path) -> None:
    """Its text is in the product, once, and the test that has to notice it is in the suite."""
    for change in mutant.changes:
        (tmp_path / change.path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / change.path, tmp_path / change.path)

    mutant.apply(tmp_path)

    path, _, name = mutant.test.partition("::")
    assert f"def {name}" in (ROOT / path).read_text("utf-8")
    assert Path(path).parts[0] in FOLDERS


def test_the_page_about_reliability_lists_every_mutant() -> None:
    """And no other, in their order."""
    page = (
        (ROOT / "docs/reliability.md").read_text("utf-8").partition("\n## Mutants\n")[2].partition("\n## ")[0]
    )

    rows = [line for line in page.splitlines() if line.startswith("| ")][2:]

    assert rows == [
        f"| {mutant.name} | {mutant.breaks} | `{mutant.test.rpartition('::')[2]}` |" for mutant in MUTANTS
    ]
