"""Runs may be killed anywhere, and facts be lost or damaged: the next run makes it good."""

from collections.abc import Callable
from pathlib import Path

from pipelines.postgres.connections import Databases
from tests.support.histories.histories import run_histories
from tests.support.histories.profiles import CRASHES


def test_a_killed_run_leaves_the_state_before_or_the_one_after(
    databases: Databases, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    """Most runs are cut off at a fault point; files vanish, are cut, or come back from an older copy."""
    tally = run_histories(CRASHES, databases, tmp_path)

    record_property("torture", str(tally))
    assert tally.differences == 0
