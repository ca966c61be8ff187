"""What is aggregated is one declaration: a subject that the product does not know goes through all of it."""

from dataclasses import replace
from uuid import UUID

import psycopg
import pytest
from sqlalchemy.dialects import postgresql
from sqlalchemy.schema import CreateTable, MetaData

from pipelines.calendars.calendar import LocalRange
from pipelines.extract.request import Request
from pipelines.postgres.connections import Databases, Run, Stages
from pipelines.postgres.snapshot import open_snapshot
from pipelines.postgres.statements import body
from pipelines.postgres.tables import metrics_table
from pipelines.query.metrics import AnalyticsRepository
from pipelines.query.tenant import admit, reading_as
from pipelines.runs.refresh import refresh, refresh_subject
from pipelines.runs.verify import Sides, Verified, verify_rows
from pipelines.settings import Settings
from pipelines.source.snapshot import open_source
from pipelines.state.watermarks import find_watermarks
from pipelines.subjects.dimensions import Dimension
from pipelines.subjects.jobs import JOBS
from pipelines.subjects.measures import Kind, Measure
from pipelines.subjects.rollup import Period, rollup_plan
from pipelines.subjects.subject import Fact, SourceRows, Subject
from tests.postgres.executions.conftest import plant_screenshot
from tests.support.planting import DAY, NOON, Tenant, change_job, plant_job, plant_tenant

TYPE = Dimension("screenshot_type", "text", "type", "all", "What it shows, or 'all' together.")

SCREENSHOTS = Subject(
    name="screenshots",
    row="screenshot",
    table="aggregate_screenshot_metrics",
    fact=Fact(
        table="screenshot_facts",
        key="screenshot_id",
        partition_column="completed_date",
        columns={
            "screenshot_id": "uuid",
            "organization_id": "uuid",
            "screenshot_type": "text",
            "completed_at": "timestamptz",
            "row_hash": "bigint",
        },
    ),
    dimensions=(TYPE,),
    outcome_column=None,
    outcomes={},
    duration=(),
    measures=(Measure("total_screenshots", Kind.COUNT, "Screenshots counted in this row."),),
    rollup=rollup_plan(["screenshot_type"], dict.fromkeys(Period, 1)),
    rules="rules 1",
    source=SourceRows(
        relation="execution_screenshots",
        columns=("id", "organization_id", "job_id", "screenshot_type", "captured_at"),
        time="captured_at",
        of_jobs=True,
        statement="""
            SELECT
                r.id AS screenshot_id, r.organization_id, r.screenshot_type,
                r.captured_at AS completed_at,
                hash_record_extended((r.organization_id, r.screenshot_type, r.captured_at), 0) AS row_hash,
                j.deleted_at IS NULL AS counts
            FROM orchestration.execution_screenshots AS r
            LEFT JOIN orchestration.jobs AS j ON j.id = r.job_id
            {selected}
        """,
    ),
)

OUTCOME = Dimension("status", "text", "outcome", "all", "How it ended, or 'all' together.")

FOUR = (*JOBS.dimensions, OUTCOME)

JOBS_BY_OUTCOME = replace(
    JOBS,
    name="outcomes",
    table="aggregate_outcome_metrics",
    dimensions=FOUR,
    fact=replace(JOBS.fact, table="outcome_facts", partition_column="completed_date"),
    rollup=rollup_plan([each.column for each in FOUR], dict.fromkeys(Period, 4)),
    source=SourceRows(
        relation="jobs",
        columns=("id", "organization_id", "status", "started_at", "completed_at"),
        statement="""
            SELECT
                r.id AS job_id, r.organization_id, r.workflow_id, r.client_id, r.initiator_type,
                r.status::text AS status, r.created_at, r.started_at, r.completed_at,
                hash_record_extended((r.status::text, r.started_at, r.completed_at), 0) AS row_hash,
                r.status::text IN ('COMPLETED', 'FAILED') AND r.deleted_at IS NULL AS counts
            FROM orchestration.jobs AS r
            {selected}
        """,
    ),
)

SCREENSHOTS_COUNTED = """
counted AS (
    SELECT
        s.organization_id,
        date_trunc('hour', s.captured_at, 'UTC') AS hour_start,
        date_trunc('day', s.captured_at, organizations.time_zone) AS day_start,
        date_trunc('week', s.captured_at, organizations.time_zone) AS week_start,
        date_trunc('month', s.captured_at, organizations.time_zone) AS month_start,
        s.screenshot_type
    FROM orchestration.execution_screenshots AS s
    INNER JOIN organizations USING (organization_id)
)
"""

# What the product's own oracle counts, with one column more.
OUTCOMES_COUNTED = body("verify/counted_jobs").replace(
    "j.workflow_id,", "j.workflow_id, j.status::text AS status,", 1
)


@pytest.fixture(autouse=True)
def published(analytics: psycopg.Connection) -> None:
    """Both subjects have a table, and names that may be published."""
    metadata = MetaData(schema="analytics")
    for subject in (SCREENSHOTS, JOBS_BY_OUTCOME):
        made = CreateTable(metrics_table(subject, metadata)).compile(dialect=postgresql.dialect())
        analytics.execute(str(made))
    for of in ("watermarks", "restatements", "refresh_outcomes"):
        analytics.execute(
            f"ALTER TABLE analytics.{of} DROP CONSTRAINT {of}_subject_is_known,"
            f" ADD CONSTRAINT {of}_subject_is_known CHECK (subject ~ '^[a-z]+$')"
        )


def test_a_third_subject_is_one_declaration_and_one_statement(
    databases: Databases,
    settings: Settings,
    source: psycopg.Connection,
    analytics: psycopg.Connection,
) -> None:
    """Screenshots are counted by type, follow what is deleted, and are verified, each tenant's apart."""
    tenant, neighbour = plant_tenant(source), plant_tenant(source, "Neighbour")
    taken = [shot(source, tenant, kind) for kind in ("ERROR", "ERROR", "FINAL")]
    shot(source, neighbour, "ERROR")
    refresh(Run(databases, settings))
    run = Run(databases, settings, Stages(None))

    first = refresh_subject(run, Request(), SCREENSHOTS)
    again = refresh_subject(run, Request(), SCREENSHOTS)

    assert first is not None
    assert again is not None
    assert (first.facts_inserted, first.failed, again.cells_written) == (4, (), 0)
    month = {"all": 3, "ERROR": 2, "FINAL": 1}
    assert counted(analytics, tenant) == month
    assert counted(analytics, neighbour) == {"all": 1, "ERROR": 1}
    assert verified(databases, settings, SCREENSHOTS, SCREENSHOTS_COUNTED).differences == ()

    source.execute("DELETE FROM orchestration.execution_screenshots WHERE id = %s", [taken[0]])
    refresh_subject(run, Request(everything=True), SCREENSHOTS)

    assert counted(analytics, tenant) == {"all": 2, "ERROR": 1, "FINAL": 1}
    assert counted(analytics, neighbour) == {"all": 1, "ERROR": 1}
    analytics.execute("UPDATE analytics.aggregate_screenshot_metrics SET total_screenshots = 7")
    told = verified(databases, settings, SCREENSHOTS, SCREENSHOTS_COUNTED)
    assert {each.stored for each in told.differences} == {7}


def test_a_fourth_dimension_is_a_word_in_a_declaration(
    databases: Databases,
    settings: Settings,
    source: psycopg.Connection,
    analytics: psycopg.Connection,
) -> None:
    """Jobs by workflow, client, initiator and outcome: 4 periods of 16 cells, verified, and asked for."""
    tenant, neighbour = plant_tenant(source), plant_tenant(source, "Neighbour")
    job = plant_job(source, tenant)
    plant_job(source, neighbour)
    for _ in range(2):
        plant_job(source, tenant, status="FAILED", started_at=NOON - DAY)
    refresh(Run(databases, settings))
    run = Run(databases, settings, Stages(None))

    report = refresh_subject(run, Request(), JOBS_BY_OUTCOME)

    assert report is not None
    assert (report.facts_inserted, report.failed) == (4, ())
    stored = analytics.execute(
        "SELECT count(*) FILTER (WHERE status = 'all'), count(*) FROM analytics.aggregate_outcome_metrics"
        " WHERE organization_id = %s",
        [tenant.organization],
    ).fetchone()
    assert stored == (4 * 8, 4 * 8 * 3)
    assert verified(databases, settings, JOBS_BY_OUTCOME, OUTCOMES_COUNTED).differences == ()
    assert asked(databases, settings, tenant) == {"COMPLETED": 1, "FAILED": 2, None: 3}

    change_job(source, job, status="FAILED")
    refresh_subject(run, Request(), JOBS_BY_OUTCOME)

    assert asked(databases, settings, tenant) == {"COMPLETED": 0, "FAILED": 3, None: 3}
    assert asked(databases, settings, neighbour) == {"COMPLETED": 1, "FAILED": 0, None: 1}


def asked(databases: Databases, settings: Settings, tenant: Tenant) -> dict[str | None, float]:
    """How many jobs of two days ended how, as the repository tells it."""
    whole = admit(tenant.organization)
    with reading_as(databases.analytics_url, settings, whole) as connection:
        metrics = AnalyticsRepository(connection, whole, JOBS_BY_OUTCOME.rollup, JOBS_BY_OUTCOME)
        found = {
            outcome: metrics.get_total(since=NOON - DAY, until=NOON + DAY, status=outcome)
            for outcome in ("COMPLETED", "FAILED", None)
        }
    return {outcome: each["total_executions"] for outcome, each in found.items()}


def shot(source: psycopg.Connection, tenant: Tenant, kind: str) -> UUID:
    """A screenshot of a new job."""
    return plant_screenshot(source, tenant, plant_job(source, tenant), screenshot_type=kind, captured_at=NOON)


def counted(analytics: psycopg.Connection, tenant: Tenant) -> dict[str, int]:
    """A tenant's month, by type."""
    return dict(
        analytics.execute(
            "SELECT screenshot_type, total_screenshots FROM analytics.aggregate_screenshot_metrics"
            " WHERE organization_id = %s AND period = 'month'",
            [tenant.organization],
        ).fetchall()
    )


def verified(databases: Databases, settings: Settings, subject: Subject, counted_by: str) -> Verified:
    """What an oracle of its own says of every stored cell."""
    with (
        psycopg.connect(databases.analytics_url) as connection,
        open_snapshot(databases.analytics_url, settings) as analytics,
        open_source(databases.source_url, settings) as source,
    ):
        jobs = find_watermarks(connection, JOBS)
        sides = Sides(analytics, source, settings, jobs, sorted(jobs))
        return verify_rows(sides, LocalRange(), subject, counted_by)
