"""The nightly and the weekly job follow what was deleted for good."""

from datetime import UTC, datetime

import dagster as dg
import psycopg
import pytest

from assets.definitions import defs
from pipelines.postgres.connections import Databases
from pipelines.runs.refresh import refresh
from pipelines.settings import Settings
from tests.support.oracle import cells_by_sql, differences
from tests.support.planting import DAY, cells, plant_job, plant_tenant, row_versions

pytestmark = pytest.mark.usefixtures("configured")


def test_recent_deletes_are_followed_every_night_and_old_ones_every_week(
    databases: Databases, settings: Settings, source: psycopg.Connection, analytics: psycopg.Connection
) -> None:
    """A job of yesterday leaves with the first, one of last year with the second; a neighbour's rows stay."""
    tenant, neighbour = plant_tenant(source), plant_tenant(source, "Neighbour")
    today = datetime.now(UTC)
    recent, old = (plant_job(source, tenant, completed_at=today - age * DAY) for age in (1, 400))
    plant_job(source, neighbour, completed_at=today - DAY)
    refresh(databases, settings)
    neighbours = row_versions(analytics, neighbour.organization)
    source.execute("DELETE FROM orchestration.jobs WHERE id = any(%s)", [[recent, old]])

    night = said_by("nightly_checksums")
    left = {key[2].year for key in cells(analytics, tenant.organization) if key[1] == "month"}
    week = said_by("weekly_checksums")

    assert (night["facts_deleted"], week["facts_deleted"]) == (1, 1)
    assert left == {(today - 400 * DAY).year}
    assert cells(analytics, tenant.organization) == {}
    assert differences(cells(analytics), cells_by_sql(source)) == []
    assert row_versions(analytics, neighbour.organization) == neighbours


def said_by(name: str) -> dict[str, object]:
    """Run a job, and give what its step says."""
    with dg.DagsterInstance.ephemeral() as instance:
        result = defs.resolve_job_def(name).execute_in_process(instance=instance)
    output = next(event for event in result.all_node_events if event.is_successful_output)
    return {key: entry.value for key, entry in output.step_output_data.metadata.items()}
