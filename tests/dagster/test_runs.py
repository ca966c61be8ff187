"""Runs of the two assets: what they read, what they write, and how they fail."""

import json
import socket
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import psycopg
import pytest

from assets.checks import CHECKS
from assets.resources import Pipeline
from pipelines.postgres.statements import statement
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
from tests.support.oracle import cells_by_sql, differences
from tests.support.planting import (
    DAY,
    NOON,
    cells,
    change_job,
    new_id,
    plant_job,
    plant_tenant,
    row_versions,
)

pytestmark = pytest.mark.usefixtures("configured")

# How the statement that reads the jobs begins, in the server's log.
A_READ = "COPY (SELECT\n\t    j.id AS job_id"


def test_a_refresh_brings_both_tables_up_to_date(
    source: psycopg.Connection, analytics: psycopg.Connection
) -> None:
    """The job of the schedule publishes what changed on any day, for every tenant, and every check passes."""
    tenant, neighbour = plant_tenant(source), plant_tenant(source, "Neighbour")
    plant_job(source, tenant)
    plant_job(source, neighbour, completed_at=NOON - 40 * DAY, status="FAILED")

    result = refresh_run(NOON)

    assert result.success
    assert differences(cells(analytics), cells_by_sql(source)) == []
    assert len(cells(analytics)) == 54
    # The check of the logs is of no table that a refresh makes.
    assert len(verdicts(result)) == len(CHECKS) - 1
    assert all(verdicts(result).values())


def test_a_run_says_what_it_did(source: psycopg.Connection) -> None:
    """Each table shows its rows, what was written and how long the stages took."""
    plant_job(source, plant_tenant(source))

    result = refresh_run(NOON)

    facts, aggregates = metadata(result, "job_facts"), metadata(result, "aggregate_metrics")
    assert (facts["dagster/row_count"], facts["rows_read"], facts["facts_inserted"]) == (1, 1, 1)
    assert (aggregates["dagster/row_count"], aggregates["cells_written"]) == (27, 27)
    assert {"extract_s", "facts_s"} <= facts.keys()
    assert {"compute_s", "publish_s", "total_s"} <= aggregates.keys()


def test_what_a_run_says_is_small(source: psycopg.Connection) -> None:
    """What is stored for a day of a range stays below four kilobytes, whatever the tenants."""
    for number in range(30):
        plant_job(source, plant_tenant(source, f"Tenant {number}"))

    result = backfill_run(NOON, NOON + DAY, checked=False)

    assert partitions(result, "aggregate_metrics") == ["2024-01-31", "2024-02-01"]
    for event in result.get_asset_materialization_events():
        assert len(dg.serialize_value(event)) < 4_000


def test_the_source_is_read_once_in_a_run(source: psycopg.Connection, analytics: psycopg.Connection) -> None:
    """What the first asset has read is handed to the second; the server's log is the witness."""
    plant_job(source, plant_tenant(source))
    source.execute(f"ALTER DATABASE {source.info.dbname} SET log_statement = 'all'")
    log = Path(source.execute("SHOW data_directory").fetchone()[0]) / "server.log"
    reads = log.read_text(errors="replace").count(A_READ)

    both = backfill_run(NOON, NOON, checked=False)
    reads_of_both = log.read_text(errors="replace").count(A_READ) - reads
    alone = backfill_run(NOON, NOON, assets=["aggregate_metrics"], checked=False)
    reads_of_all = log.read_text(errors="replace").count(A_READ) - reads

    assert (both.success, alone.success) == (True, True)
    assert (reads_of_both, reads_of_all) == (1, 2)
    assert len(cells(analytics)) == 27


def test_a_backfill_removes_what_was_deleted_from_the_source_in_its_days(
    source: psycopg.Connection, analytics: psycopg.Connection
) -> None:
    """A hard-deleted job leaves the aggregates when its day is backfilled, and no other day does anything."""
    tenant, neighbour = plant_tenant(source), plant_tenant(source, "Neighbour")
    plant_job(source, neighbour)
    days = [NOON, NOON + DAY, NOON + 2 * DAY]
    gone = [plant_job(source, tenant, completed_at=day) for day in days]
    refresh_run(NOON)
    neighbours = row_versions(analytics, neighbour.organization)
    source.execute("DELETE FROM orchestration.jobs WHERE id = any(%s)", [gone])

    result = backfill_run(NOON, NOON + DAY, checked=False)

    assert result.success
    assert partitions(result, "aggregate_metrics") == ["2024-01-31", "2024-02-01"]
    left = {key[2] for key in cells(analytics, tenant.organization) if key[1] == "day"}
    assert left == {datetime(2024, 2, 2, tzinfo=UTC)}
    assert row_versions(analytics, neighbour.organization) == neighbours
    assert metadata(result, "job_facts")["facts_deleted"] == 2


def test_days_without_a_job_can_be_backfilled(
    source: psycopg.Connection, analytics: psycopg.Connection
) -> None:
    """Nothing to read is nothing to do, also where all that the facts had is gone from the source."""
    tenant, neighbour = plant_tenant(source), plant_tenant(source, "Neighbour")
    gone = plant_job(source, tenant)
    plant_job(source, neighbour, completed_at=NOON + 9 * DAY)
    refresh_run(NOON)
    before = row_versions(analytics)

    empty = backfill_run(NOON + 3 * DAY, NOON + 5 * DAY)
    untouched = row_versions(analytics)
    source.execute("DELETE FROM orchestration.jobs WHERE id = %s", [gone])
    emptied = backfill_run(NOON, NOON)

    assert (empty.success, untouched) == (True, before)
    assert emptied.success
    assert differences(cells(analytics), cells_by_sql(source)) == []


def test_a_backfill_of_one_organization_touches_no_other(
    source: psycopg.Connection, analytics: psycopg.Connection
) -> None:
    """Not a row of the neighbour is written, though its jobs were added, changed and deleted meanwhile."""
    tenant, neighbour = plant_tenant(source), plant_tenant(source, "Neighbour")
    mine = plant_job(source, tenant)
    changed, gone = plant_job(source, neighbour), plant_job(source, neighbour)
    refresh_run(NOON)
    neighbours = row_versions(analytics, neighbour.organization)
    for job in (mine, changed):
        change_job(source, job, status="FAILED")
    plant_job(source, neighbour)
    source.execute("DELETE FROM orchestration.jobs WHERE id = %s", [gone])

    result = backfill_run(NOON - DAY, NOON + DAY, organization_ids=[str(tenant.organization)])

    assert result.success
    assert row_versions(analytics, neighbour.organization) == neighbours
    assert {cell["failed_executions"] for cell in cells(analytics, tenant.organization).values()} == {1}
    assert backfill_run(NOON, NOON).success
    assert differences(cells(analytics), cells_by_sql(source)) == []


@pytest.mark.parametrize("asset", BOTH)
def test_each_asset_can_be_materialized_alone(
    asset: str, source: psycopg.Connection, analytics: psycopg.Connection
) -> None:
    """The facts alone publish nothing and lose nothing; the aggregates alone do the whole pass."""
    plant_job(source, plant_tenant(source))
    plant_job(source, plant_tenant(source, "Neighbour"))

    alone = backfill_run(NOON, NOON, assets=[asset])

    assert alone.success
    assert len(cells(analytics)) == {"job_facts": 0, "aggregate_metrics": 54}[asset]
    assert refresh_run(NOON).success
    assert differences(cells(analytics), cells_by_sql(source)) == []


def test_assets_configured_differently_are_refused(
    source: psycopg.Connection, analytics: psycopg.Connection
) -> None:
    """One pass has one scope: the run fails with a sentence, at once."""
    tenant = plant_tenant(source)
    plant_job(source, tenant)
    one = {"organization_ids": [str(tenant.organization)]}

    result = refresh_run(NOON, run_config={"ops": {"job_facts": {"config": one}}})

    assert said(result) == [
        "job_facts and aggregate_metrics were configured differently; give both the same."
    ]
    assert tries(result, "aggregate_metrics") == 1
    assert cells(analytics) == {}


def test_the_same_organizations_in_another_order_are_the_same_scope(source: psycopg.Connection) -> None:
    """The order in which a form lists organizations is irrelevant."""
    ids = [str(plant_tenant(source, name).organization) for name in ("First", "Second")]
    orders = zip(BOTH, (ids, ids[::-1]), strict=True)
    config = {asset: {"config": {"organization_ids": order}} for asset, order in orders}

    result = refresh_run(NOON, run_config={"ops": config})

    assert result.success


def test_what_another_run_published_in_between_is_not_overwritten(
    source: psycopg.Connection, analytics: psycopg.Connection
) -> None:
    """When somebody publishes between the two assets, the second does a whole pass of its own."""
    tenant = plant_tenant(source)
    plant_job(source, tenant)

    class Overtaken(Pipeline):
        """Before it publishes, another process sees one more job and publishes that."""

        def publish(self, *asked):
            plant_job(source, tenant)
            self.run(refresh)
            plant_job(source, tenant)
            return super().publish(*asked)

    result = refresh_run(NOON, definitions=with_pipeline(Overtaken()))

    assert result.success
    assert differences(cells(analytics), cells_by_sql(source)) == []
    assert {cell["total_executions"] for cell in cells(analytics).values()} == {3}


@pytest.mark.parametrize(
    ("organization_id", "sentence"),
    [
        ("Acme", "An organization is named by its UUID, 8-4-4-4-12 hexadecimal digits."),
        (str(new_id()), "No such organization in the source or in the aggregates; "),
    ],
)
def test_a_wrong_organization_fails_at_once(
    organization_id: str, sentence: str, source: psycopg.Connection
) -> None:
    """No second try can help, and the sentence says what is wrong."""
    plant_job(source, plant_tenant(source))

    result = backfill_run(NOON, NOON, organization_ids=[organization_id])

    assert len(said(result)) == 1
    assert said(result)[0].startswith(sentence)
    assert tries(result, "job_facts") == 1


def test_a_missing_schema_fails_at_once(analytics: psycopg.Connection) -> None:
    """The sentence names the command that makes the tables."""
    analytics.execute("DROP SCHEMA analytics CASCADE")

    result = refresh_run(NOON)

    assert said(result) == ["The database has no up-to-date tables of ours; run `execmetrics migrate` first."]
    assert tries(result, "job_facts") == 1


def test_a_run_without_days_is_refused(source: psycopg.Connection) -> None:
    """Launched outside the partitions, a run says what to choose."""
    plant_job(source, plant_tenant(source))

    result = refresh_run(None)

    assert said(result) == ["A run needs days: choose partitions."]
    assert tries(result, "job_facts") == 1


@pytest.mark.usefixtures("impatient")
def test_an_unreachable_database_is_tried_again(
    configured: pytest.MonkeyPatch, instance: dg.DagsterInstance
) -> None:
    """Three times in all; then the sentence names the place, and the password is in no event."""
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        port = nobody.getsockname()[1]
        configured.setenv("EXECMETRICS_DATABASE_URL", f"postgresql://me:geheim@127.0.0.1:{port}/metrics")

        result = refresh_run(NOON, instance=instance)

    assert tries(result, "job_facts") == 3
    (sentence,) = said(result)
    assert sentence.startswith("The database does not answer or lets nobody in; check the URL")
    assert f"(postgresql://me:***@127.0.0.1:{port}/metrics: " in sentence
    assert sentence.endswith("Connection refused)")
    assert "geheim" not in json.dumps([dg.serialize_value(e) for e in instance.all_logs(result.run_id)])


@pytest.mark.usefixtures("impatient")
def test_a_run_that_waited_too_long_for_another_is_tried_again(
    configured: pytest.MonkeyPatch, source: psycopg.Connection, analytics: psycopg.Connection
) -> None:
    """Once the other has ended, the next try does the work."""
    plant_job(source, plant_tenant(source))
    configured.setenv("EXECMETRICS_LOCK_TIMEOUT", "1 second")
    other = psycopg.connect(analytics.info.dsn, autocommit=True)
    other.execute(statement("state/lock"))
    configured.setattr(dg.RetryPolicy, "calculate_delay", lambda policy, attempt: other.close() or 0)  # noqa: ARG005

    result = refresh_run(NOON)

    assert result.success
    assert tries(result, "job_facts") == 2
    assert len(cells(analytics)) == 27
