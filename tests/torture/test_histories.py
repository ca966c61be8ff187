"""Whatever happens to the source, whenever it is read and wherever a run is killed: in the end all is right.

A history raises at the first difference.
"""

from pathlib import Path

from pipelines.postgres.connections import Databases
from tests.support.histories.histories import run_histories
from tests.support.histories.profiles import ANOMALIES, CHANGES, CRASHES, TIERS


def test_every_history_ends_in_the_right_table(databases: Databases, tmp_path: Path) -> None:
    """Jobs that come, finish, are retried, edited, moved and deleted, between runs of every kind."""
    run_histories(CHANGES, databases, tmp_path)


def test_a_killed_run_leaves_the_state_before_or_the_one_after(databases: Databases, tmp_path: Path) -> None:
    """Most runs are cut off at a fault point; files vanish, are cut, or come back from an older copy."""
    run_histories(CRASHES, databases, tmp_path)


def test_no_tier_loses_a_change_for_good(databases: Databases, tmp_path: Path) -> None:
    """What an index cannot show is found by the next sweep, and what neither can by comparing checksums.

    Transactions stay open, rows change behind the application's back, somebody writes during the run.
    """
    run_histories(TIERS, databases, tmp_path)


def test_every_finished_job_is_counted_or_listed(databases: Databases, tmp_path: Path) -> None:
    """In a source without constraints rows are spoilt in every way and repaired; owners change."""
    run_histories(ANOMALIES, databases, tmp_path)
