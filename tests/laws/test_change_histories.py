"""Whatever happens to the source, and whenever it is read: in the end every cell is right."""

from collections.abc import Callable
from pathlib import Path

from pipelines.postgres.connections import Databases
from tests.support.histories.histories import run_histories
from tests.support.histories.profiles import CHANGES


def test_every_history_ends_in_the_right_table(
    databases: Databases, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    """Jobs that come, finish, are retried, edited, moved and deleted, between runs of every kind."""
    tally = run_histories(CHANGES, databases, tmp_path)

    record_property("torture", str(tally))
    assert tally.differences == 0
