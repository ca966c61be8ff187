"""The jobs that keep the tables: they follow deletes, keep the months of logs, and sync the copy of names."""

from datetime import UTC, datetime

import dagster as dg
import pytest

from assets.definitions import defs
from pipelines.postgres.migrations import downgrade
from tests.support.dagster_runs import checks_run, job_run, metadata, outcome, refresh_run, said, verdicts
from tests.support.metadata_oracle import copies, wrong
from tests.support.pipeline import Pipeline
from tests.support.planting import DAY, NOON, plant_lines

pytestmark = pytest.mark.usefixtures("configured")

LOGS_CHECK = "every_line_is_in_its_month"
METADATA_CHECK = "metadata_equals_its_sources"
NOTHING = {
    "organizations": 2,
    "organizations_waiting": 0,
    "rows_inserted": 0,
    "rows_updated": 0,
    "rows_deleted": 0,
}


def test_recent_deletes_are_followed_every_night_and_old_ones_every_week(pipeline: Pipeline) -> None:
    """A job of yesterday leaves with the first, one of last year with the second; a neighbour's rows stay."""
    tenant, neighbour = pipeline.plant_tenant(), pipeline.plant_tenant("Neighbour")
    today = datetime.now(UTC)
    recent, old = (pipeline.plant_job(tenant, completed_at=today - age * DAY) for age in (1, 400))
    pipeline.plant_job(neighbour, completed_at=today - DAY)
    pipeline.refresh()
    neighbours = pipeline.row_versions(neighbour.organization)
    pipeline.source.execute("DELETE FROM orchestration.jobs WHERE id = any(%s)", [[recent, old]])

    night = outcome(job_run("nightly_checksums"))
    left = {key[2].year for key in pipeline.cells(tenant.organization) if key[1] == "month"}
    week = outcome(job_run("weekly_checksums"))

    assert (night["facts_deleted"], week["facts_deleted"]) == (1, 1)
    assert left == {(today - 400 * DAY).year}
    assert pipeline.cells(tenant.organization) == {}
    assert pipeline.differences() == []
    assert pipeline.row_versions(neighbour.organization) == neighbours


def test_the_check_is_no_part_of_the_sync() -> None:
    """Comparing everything every hour would cost more than it tells."""
    assert [node.name for node in defs.resolve_job_def("sync_execution_metadata").nodes] == [
        "execution_metadata"
    ]


def test_drift_is_noticed_and_repaired(pipeline: Pipeline) -> None:
    """The check warns and names whom, where and how often, not what; the job makes it right."""
    tenant, neighbour = pipeline.plant_tenant(), pipeline.plant_tenant("Neighbour")
    job, _ = pipeline.plant_job(tenant), pipeline.plant_job(neighbour)
    synced = job_run("sync_execution_metadata")
    pipeline.source.execute(
        "UPDATE orchestration.execution_metadata SET client_name = 'Jane Roe' WHERE job_id = %s", [job]
    )

    noticed = job_run("check_execution_metadata")
    repaired = job_run("reconcile_execution_metadata")
    clean = checks_run(METADATA_CHECK)

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
    assert outcome(repaired) == NOTHING | {"rows_updated": 1, "rows_drifted": 1}
    assert verdicts(clean) == {METADATA_CHECK: True}
    assert wrong(pipeline.source) == []


def test_some_organizations_can_be_chosen(pipeline: Pipeline) -> None:
    """The configuration names them; an id that is none fails in a sentence, and is not tried again."""
    tenant, neighbour = pipeline.plant_tenant(), pipeline.plant_tenant("Neighbour")
    job, _ = pipeline.plant_job(tenant), pipeline.plant_job(neighbour)

    chosen = job_run("sync_execution_metadata", organization_ids=[str(tenant.organization)])
    refused = job_run("sync_execution_metadata", organization_ids=["Jane Roe"])

    assert chosen.success
    assert copies(pipeline.source).keys() == {job}
    assert not refused.success
    assert ["An organization is named by its UUID" in sentence for sentence in said(refused)] == [True]
    assert "Jane" not in "".join(said(refused))


def test_a_source_of_somebody_elses_is_no_failure(pipeline: Pipeline) -> None:
    """Asset, check and job succeed, and each says why nothing was done."""
    pipeline.source.execute("DROP TABLE orchestration.execution_metadata")
    sentence = {
        "left_alone": "The source has no table execution_metadata of ours, so there is nothing to sync."
    }

    synced = job_run("sync_execution_metadata")
    checked = job_run("check_execution_metadata")
    repaired = job_run("reconcile_execution_metadata")

    (check,) = checked.get_asset_check_evaluations()
    assert metadata(synced, "execution_metadata") == sentence
    assert (check.passed, check.metadata["left_alone"].value) == (True, sentence["left_alone"])
    assert outcome(repaired) == sentence


def test_the_nightly_job_empties_the_default_partition(pipeline: Pipeline) -> None:
    """A line without a month is a warning until then, and no failure; the run says what it moved."""
    plant_line(pipeline)
    before = checks_run(LOGS_CHECK)

    said = outcome(job_run("keep_log_partitions"))

    assert before.success
    assert (verdicts(before), verdicts(checks_run(LOGS_CHECK))) == ({LOGS_CHECK: False}, {LOGS_CHECK: True})
    assert said["lines_moved"] == 1
    assert said["months_made"].startswith("2024-01, ")
    assert len(said["months_made"].split(", ")) == 1 + 1 + 3
    assert said["left_alone"] == ""


def test_without_logs_of_ours_it_says_so_and_succeeds(pipeline: Pipeline) -> None:
    """One sentence; the check has nothing to find."""
    downgrade(pipeline.run, branch="orchestration", revision="orchestration_0001")

    said = outcome(job_run("keep_log_partitions"))

    assert said["left_alone"] == "The source has no execution_logs, so there is nothing to do."
    assert verdicts(checks_run(LOGS_CHECK)) == {LOGS_CHECK: True}


def test_no_month_is_dropped_before_its_steps_are_published(
    configured: pytest.MonkeyPatch, pipeline: Pipeline
) -> None:
    """The setting alone drops nothing; after a refresh it does."""
    configured.setenv("EXECMETRICS_KEEP_LOGS", "30 days")
    plant_line(pipeline)

    said = outcome(job_run("keep_log_partitions"))
    still_there = pipeline.source.execute("SELECT count(*) FROM orchestration.execution_logs").fetchone()
    refresh_run(NOON)
    again = outcome(job_run("keep_log_partitions"))

    assert (said["months_dropped"], said["months_held_back"][:8]) == ("", "2024-01:")
    assert still_there == (1,)
    assert (again["months_dropped"], again["months_held_back"]) == ("2024-01", "")


def plant_line(pipeline: Pipeline) -> None:
    """A line of two years ago, before any partition was made."""
    tenant = pipeline.plant_tenant()
    plant_lines(pipeline.source, tenant, pipeline.plant_job(tenant), [{"step_name": "send"}])
