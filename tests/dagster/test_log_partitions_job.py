"""Dagster keeps the months of logs, and says what it did and what is in no month."""

import dagster as dg
import psycopg
import pytest

from assets.definitions import defs
from pipelines.postgres.connections import Databases
from pipelines.postgres.migrations import downgrade
from pipelines.settings import Settings
from tests.support.dagster_runs import checks_run, refresh_run, verdicts
from tests.support.planting import NOON, plant_job, plant_tenant

pytestmark = pytest.mark.usefixtures("configured")

CHECK = "every_line_is_in_its_month"


def test_the_nightly_job_empties_the_default_partition(source: psycopg.Connection) -> None:
    """A line without a month is a warning until then, and no failure; the run says what it moved."""
    plant_line(source)
    before = checks_run(CHECK)

    said = kept()

    assert before.success
    assert (verdicts(before), verdicts(checks_run(CHECK))) == ({CHECK: False}, {CHECK: True})
    assert said["lines_moved"] == 1
    assert said["months_made"].startswith("2024-01, ")
    assert len(said["months_made"].split(", ")) == 1 + 1 + 3
    assert said["left_alone"] == ""


def test_without_logs_of_ours_it_says_so_and_succeeds(databases: Databases, settings: Settings) -> None:
    """One sentence; the check has nothing to find."""
    downgrade(databases, settings, branch="orchestration", revision="orchestration_0001")

    said = kept()

    assert said["left_alone"] == "The source has no execution_logs, so there is nothing to do."
    assert verdicts(checks_run(CHECK)) == {CHECK: True}


def test_no_month_is_dropped_before_its_steps_are_published(
    configured: pytest.MonkeyPatch, source: psycopg.Connection
) -> None:
    """The setting alone drops nothing; after a refresh it does."""
    configured.setenv("EXECMETRICS_KEEP_LOGS", "30 days")
    plant_line(source)

    said = kept()
    still_there = source.execute("SELECT count(*) FROM orchestration.execution_logs").fetchone()
    refresh_run(NOON)
    again = kept()

    assert (said["months_dropped"], said["months_held_back"][:8]) == ("", "2024-01:")
    assert still_there == (1,)
    assert (again["months_dropped"], again["months_held_back"]) == ("2024-01", "")


def kept() -> dict[str, object]:
    """Run the job, and give what it said."""
    with dg.DagsterInstance.ephemeral() as instance:
        result = defs.resolve_job_def("keep_log_partitions").execute_in_process(instance=instance)
    assert result.success
    output = next(event for event in result.all_node_events if event.is_successful_output)
    return {name: entry.value for name, entry in output.step_output_data.metadata.items()}


def plant_line(source: psycopg.Connection) -> None:
    """A line of two years ago, before any partition was made."""
    tenant = plant_tenant(source)
    source.execute(
        "INSERT INTO orchestration.execution_logs"
        " (organization_id, job_id, sequence, level, timestamp, step_name)"
        " VALUES (%s, %s, 0, 'INFO', %s, 'send')",
        [tenant.organization, plant_job(source, tenant), NOON],
    )
