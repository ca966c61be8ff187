"""A source without constraints: what cannot be counted is listed, and comes back by itself."""

from collections.abc import Callable
from pathlib import Path

from pipelines.postgres.connections import Databases
from tests.support.histories.histories import run_histories
from tests.support.histories.profiles import ANOMALIES


def test_every_finished_job_is_counted_or_listed(
    databases: Databases, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    """Rows are spoilt in every way and repaired; workflows and clients change hands."""
    tally = run_histories(ANOMALIES, databases, tmp_path)

    record_property("torture", str(tally))
    assert tally.differences == 0
