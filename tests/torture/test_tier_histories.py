"""What an index cannot show is found by the next sweep, and what neither can by a checksum comparison."""

from collections.abc import Callable
from pathlib import Path

from pipelines.postgres.connections import Databases
from tests.support.histories.histories import run_histories
from tests.support.histories.profiles import TIERS


def test_no_tier_loses_a_change_for_good(
    databases: Databases, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    """Transactions stay open, rows change behind the application's back, somebody writes during the run."""
    tally = run_histories(TIERS, databases, tmp_path)

    record_property("torture", str(tally))
    assert tally.differences == 0
