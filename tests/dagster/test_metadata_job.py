"""Dagster syncs the copy every hour, compares it every night, and repairs it when somebody asks."""

from typing import Any

import dagster as dg
import psycopg
import pytest

from assets.definitions import defs
from assets.schedules import hourly_sync, nightly_check
from tests.support.dagster_runs import Result, checks_run, metadata, said, verdicts
from tests.support.metadata_oracle import copies, wrong
from tests.support.planting import plant_job, plant_tenant

pytestmark = pytest.mark.usefixtures("configured")

CHECK = "metadata_equals_its_sources"
NOTHING = {
    "organizations": 2,
    "organizations_waiting": 0,
    "rows_inserted": 0,
    "rows_updated": 0,
    "rows_deleted": 0,
}


def test_a_sync_runs_every_hour_and_a_check_every_night() -> None:
    """By UTC, from the day they are deployed; the check is not part of the sync."""
    assert (hourly_sync.cron_schedule, nightly_check.cron_schedule) == ("17 * * * *", "12 4 * * *")
    for schedule in (hourly_sync, nightly_check):
        assert schedule.execution_timezone == "UTC"
        assert schedule.default_status is dg.DefaultScheduleStatus.RUNNING
    assert [node.name for node in defs.resolve_job_def("sync_execution_metadata").nodes] == [
        "execution_metadata"
    ]


def test_drift_is_noticed_and_repaired(source: psycopg.Connection) -> None:
    """The check warns and names whom, where and how often, not what; the job makes it right."""
    tenant, neighbour = plant_tenant(source), plant_tenant(source, "Neighbour")
    job, _ = plant_job(source, tenant), plant_job(source, neighbour)
    synced = run("sync_execution_metadata")
    source.execute(
        "UPDATE orchestration.execution_metadata SET client_name = 'Jane Roe' WHERE job_id = %s", [job]
    )

    noticed = run("check_execution_metadata")
    repaired = run("reconcile_execution_metadata")
    clean = checks_run(CHECK)

    assert metadata(synced, "execution_metadata") == NOTHING | {"rows_inserted": 2}
    (check,) = noticed.get_asset_check_evaluations()
    assert (noticed.success, check.passed, check.severity) == (True, False, dg.AssetCheckSeverity.WARN)
    assert {name: entry.value for name, entry in check.metadata.items()} == {
        "rows_compared": 2,
        "rows_pending": 0,
        "rows_drifted": 1,
        "organizations_drifted": 1,
        "organizations": f"{tenant.organization} (client_name 1)",
    }
    assert told(repaired) == NOTHING | {"rows_updated": 1, "rows_drifted": 1}
    assert verdicts(clean) == {CHECK: True}
    assert wrong(source) == []


def test_some_organizations_can_be_chosen(source: psycopg.Connection) -> None:
    """The configuration names them; an id that is none fails in a sentence, and is not tried again."""
    tenant, neighbour = plant_tenant(source), plant_tenant(source, "Neighbour")
    job, _ = plant_job(source, tenant), plant_job(source, neighbour)

    chosen = run("sync_execution_metadata", organization_ids=[str(tenant.organization)])
    refused = run("sync_execution_metadata", organization_ids=["Jane Roe"])

    assert chosen.success
    assert copies(source).keys() == {job}
    assert not refused.success
    assert ["An organization is named by its UUID" in sentence for sentence in said(refused)] == [True]
    assert "Jane" not in "".join(said(refused))


def test_a_source_of_somebody_elses_is_no_failure(source: psycopg.Connection) -> None:
    """Asset, check and job succeed, and each says why nothing was done."""
    source.execute("DROP TABLE orchestration.execution_metadata")
    sentence = {
        "left_alone": "The source has no table execution_metadata of ours, so there is nothing to sync."
    }

    synced = run("sync_execution_metadata")
    checked = run("check_execution_metadata")
    repaired = run("reconcile_execution_metadata")

    (check,) = checked.get_asset_check_evaluations()
    assert metadata(synced, "execution_metadata") == sentence
    assert (check.passed, check.metadata["left_alone"].value) == (True, sentence["left_alone"])
    assert told(repaired) == sentence


def run(name: str, **config: Any) -> Result:
    """Run a job, its only step configured."""
    job = defs.resolve_job_def(name)
    configured = {"ops": {node.name: {"config": config} for node in job.nodes}} if config else None
    return job.execute_in_process(run_config=configured, raise_on_error=False)


def told(result: Result) -> dict[str, object]:
    """What the step says."""
    output = next(event for event in result.all_node_events if event.is_successful_output)
    return {key: entry.value for key, entry in output.step_output_data.metadata.items()}
