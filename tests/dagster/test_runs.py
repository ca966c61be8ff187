"""Runs of the two assets: what they read, what they write, and how they fail."""

from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import pytest

from assets import resources
from assets.checks import CHECKS
from pipelines.runs.refresh import refresh
from tests.support.dagster_runs import (
    BOTH,
    backfill_run,
    metadata,
    partitions,
    refresh_run,
    said,
    tries,
    verdicts,
    with_pipeline,
)
from tests.support.pipeline import Pipeline
from tests.support.planting import (
    DAY,
    NOON,
    new_id,
)

pytestmark = pytest.mark.usefixtures("configured")

# How the statement that reads the jobs begins, in the server's log.
A_READ = "COPY (SELECT\n\t    j.id AS job_id"


def test_a_refresh_brings_both_tables_up_to_date(pipeline: Pipeline) -> None:
    """The job of the schedule publishes what changed on any day, for every tenant, and every check passes."""
    tenant, neighbour = pipeline.plant_tenant(), pipeline.plant_tenant("Neighbour")
    pipeline.plant_job(tenant)
    pipeline.plant_job(neighbour, completed_at=NOON - 40 * DAY, status="FAILED")

    result = refresh_run(NOON)

    assert result.success
    assert pipeline.differences() == []
    assert len(pipeline.cells()) == 54
    # The check of the logs is of no table that a refresh makes.
    assert len(verdicts(result)) == len(CHECKS) - 1
    assert all(verdicts(result).values())


def test_a_run_says_what_it_did(pipeline: Pipeline) -> None:
    """Each table shows its rows, what was written and how long the stages took."""
    pipeline.plant_job(pipeline.plant_tenant())

    result = refresh_run(NOON)

    facts, aggregates = metadata(result, "job_facts"), metadata(result, "aggregate_metrics")
    assert (facts["dagster/row_count"], facts["rows_read"], facts["facts_inserted"]) == (1, 1, 1)
    assert (aggregates["dagster/row_count"], aggregates["cells_written"]) == (27, 27)
    assert {"extract_s", "facts_s"} <= facts.keys()
    assert {"compute_s", "publish_s", "total_s"} <= aggregates.keys()


def test_what_a_run_says_is_small(pipeline: Pipeline) -> None:
    """What is stored for a day of a range stays below four kilobytes, whatever the tenants."""
    for number in range(30):
        pipeline.plant_job(pipeline.plant_tenant(f"Tenant {number}"))

    result = backfill_run(NOON, NOON + DAY, checked=False)

    assert partitions(result, "aggregate_metrics") == ["2024-01-31", "2024-02-01"]
    for event in result.get_asset_materialization_events():
        assert len(dg.serialize_value(event)) < 4_000


def test_the_source_is_read_once_in_a_run(pipeline: Pipeline) -> None:
    """What the first asset has read is handed to the second; the server's log is the witness."""
    pipeline.plant_job(pipeline.plant_tenant())
    pipeline.source.execute(f"ALTER DATABASE {pipeline.source.info.dbname} SET log_statement = 'all'")
    log = Path(pipeline.source.execute("SHOW data_directory").fetchone()[0]) / "server.log"
    reads = log.read_text(errors="replace").count(A_READ)

    both = backfill_run(NOON, NOON, checked=False)
    reads_of_both = log.read_text(errors="replace").count(A_READ) - reads
    alone = backfill_run(NOON, NOON, assets=["aggregate_metrics"], checked=False)
    reads_of_all = log.read_text(errors="replace").count(A_READ) - reads

    assert (both.success, alone.success) == (True, True)
    assert (reads_of_both, reads_of_all) == (1, 2)
    assert len(pipeline.cells()) == 27


def test_a_backfill_removes_what_was_deleted_from_the_source_in_its_days(pipeline: Pipeline) -> None:
    """A hard-deleted job leaves the aggregates when its day is backfilled, and no other day does anything."""
    tenant, neighbour = pipeline.plant_tenant(), pipeline.plant_tenant("Neighbour")
    pipeline.plant_job(neighbour)
    days = [NOON, NOON + DAY, NOON + 2 * DAY]
    gone = [pipeline.plant_job(tenant, completed_at=day) for day in days]
    refresh_run(NOON)
    neighbours = pipeline.row_versions(neighbour.organization)
    pipeline.source.execute("DELETE FROM orchestration.jobs WHERE id = any(%s)", [gone])

    result = backfill_run(NOON, NOON + DAY, checked=False)

    assert result.success
    assert partitions(result, "aggregate_metrics") == ["2024-01-31", "2024-02-01"]
    left = {key[2] for key in pipeline.cells(tenant.organization) if key[1] == "day"}
    assert left == {datetime(2024, 2, 2, tzinfo=UTC)}
    assert pipeline.row_versions(neighbour.organization) == neighbours
    assert metadata(result, "job_facts")["facts_deleted"] == 2


def test_days_without_a_job_can_be_backfilled(pipeline: Pipeline) -> None:
    """Nothing to read is nothing to do, also where all that the facts had is gone from the source."""
    tenant, neighbour = pipeline.plant_tenant(), pipeline.plant_tenant("Neighbour")
    gone = pipeline.plant_job(tenant)
    pipeline.plant_job(neighbour, completed_at=NOON + 9 * DAY)
    refresh_run(NOON)
    before = pipeline.row_versions()

    empty = backfill_run(NOON + 3 * DAY, NOON + 5 * DAY)
    untouched = pipeline.row_versions()
    pipeline.source.execute("DELETE FROM orchestration.jobs WHERE id = %s", [gone])
    emptied = backfill_run(NOON, NOON)

    assert (empty.success, untouched) == (True, before)
    assert emptied.success
    assert pipeline.differences() == []


def test_a_backfill_of_one_organization_touches_no_other(pipeline: Pipeline) -> None:
    """Not a row of the neighbour is written, though its jobs were added, changed and deleted meanwhile."""
    tenant, neighbour = pipeline.plant_tenant(), pipeline.plant_tenant("Neighbour")
    mine = pipeline.plant_job(tenant)
    changed, gone = pipeline.plant_job(neighbour), pipeline.plant_job(neighbour)
    refresh_run(NOON)
    neighbours = pipeline.row_versions(neighbour.organization)
    for job in (mine, changed):
        pipeline.change_job(job, status="FAILED")
    pipeline.plant_job(neighbour)
    pipeline.source.execute("DELETE FROM orchestration.jobs WHERE id = %s", [gone])

    result = backfill_run(NOON - DAY, NOON + DAY, organization_ids=[str(tenant.organization)])

    assert result.success
    assert pipeline.row_versions(neighbour.organization) == neighbours
    assert {cell["failed_executions"] for cell in pipeline.cells(tenant.organization).values()} == {1}
    assert backfill_run(NOON, NOON).success
    assert pipeline.differences() == []


@pytest.mark.parametrize("asset", BOTH)
def test_each_asset_can_be_materialized_alone(asset: str, pipeline: Pipeline) -> None:
    """The facts alone publish nothing and lose nothing; the aggregates alone do the whole pass."""
    pipeline.plant_pair()

    alone = backfill_run(NOON, NOON, assets=[asset])

    assert alone.success
    assert len(pipeline.cells()) == {"job_facts": 0, "aggregate_metrics": 54}[asset]
    assert refresh_run(NOON).success
    assert pipeline.differences() == []


def test_assets_configured_differently_are_refused(pipeline: Pipeline) -> None:
    """One pass has one scope: the run fails with a sentence, at once."""
    tenant = pipeline.plant_tenant()
    pipeline.plant_job(tenant)
    one = {"organization_ids": [str(tenant.organization)]}

    result = refresh_run(NOON, run_config={"ops": {"job_facts": {"config": one}}})

    assert said(result) == [
        "job_facts and aggregate_metrics were configured differently; give both the same."
    ]
    assert tries(result, "aggregate_metrics") == 1
    assert pipeline.cells() == {}


def test_the_same_organizations_in_another_order_are_the_same_scope(pipeline: Pipeline) -> None:
    """The order in which a form lists organizations is irrelevant."""
    ids = [str(pipeline.plant_tenant(name).organization) for name in ("First", "Second")]
    orders = zip(BOTH, (ids, ids[::-1]), strict=True)
    config = {asset: {"config": {"organization_ids": order}} for asset, order in orders}

    result = refresh_run(NOON, run_config={"ops": config})

    assert result.success


def test_what_another_run_published_in_between_is_not_overwritten(pipeline: Pipeline) -> None:
    """When somebody publishes between the two assets, the second does a whole pass of its own."""
    tenant = pipeline.plant_tenant()
    pipeline.plant_job(tenant)

    class Overtaken(resources.Pipeline):
        """Before it publishes, another process sees one more job and publishes that."""

        def publish(self, *asked):
            pipeline.plant_job(tenant)
            self.run(refresh)
            pipeline.plant_job(tenant)
            return super().publish(*asked)

    result = refresh_run(NOON, definitions=with_pipeline(Overtaken()))

    assert result.success
    assert pipeline.differences() == []
    assert {cell["total_executions"] for cell in pipeline.cells().values()} == {3}


@pytest.mark.parametrize(
    ("day", "organization_ids", "sentence"),
    [
        (NOON, ["Acme"], "An organization is named by its UUID, 8-4-4-4-12 hexadecimal digits."),
        (NOON, [str(new_id())], "No such organization in the source or in the aggregates; "),
        (None, [], "A run needs days: choose partitions."),
    ],
)
def test_what_a_run_may_not_ask_for_fails_at_once(
    day: datetime | None, organization_ids: list[str], sentence: str, pipeline: Pipeline
) -> None:
    """A wrong organization, or no days: no second try can help, and the sentence says what is wrong."""
    pipeline.plant_job(pipeline.plant_tenant())
    config = {"ops": {asset: {"config": {"organization_ids": organization_ids}} for asset in BOTH}}

    result = refresh_run(day, run_config=config)

    assert len(said(result)) == 1
    assert said(result)[0].startswith(sentence)
    assert tries(result, "job_facts") == 1
