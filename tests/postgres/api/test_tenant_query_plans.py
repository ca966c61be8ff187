"""How the database finds thirty days of one tenant among two hundred: by the key, and nothing else's rows."""

import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from pipelines.postgres.connections import Connection
from pipelines.query.metrics import AnalyticsRepository
from pipelines.query.tenant import Tenant, admit, reading_as
from pipelines.subjects.dimensions import ALL_OF_EACH
from pipelines.subjects.rollup import Period
from tests.conftest import Cluster
from tests.postgres.api.conftest import opened, pipeline_for_many
from tests.support.pipeline import Pipeline
from tests.support.planting import DAY, NOON
from tests.support.query_plans import Recorded, below, plan_of

UNTIL = (NOON + 40 * DAY).replace(hour=0)
ASKED = {"since": UNTIL - timedelta(days=30), "until": UNTIL}

# Forty days of two workflows and of all together for two hundred, as refreshes would have left them.
STORED = """
    INSERT INTO analytics.aggregate_metrics
    SELECT
        md5('organization ' || number)::uuid, period, moment, workflow, %(all_clients)s, %(all_initiators)s,
        3, 3, 0, 3, 100, 9, 3, 3, 3, 3, 3, 3, 3, now(), 1,
        CASE WHEN period = 'day' THEN ARRAY[404]::smallint[] END, CASE WHEN period = 'day' THEN ARRAY[3] END
    FROM generate_series(1, 200) AS organization (number)
    CROSS JOIN (VALUES ('hour', interval '1 hour'), ('day', interval '1 day')) AS periods (period, length)
    CROSS JOIN generate_series(%(until)s - interval '40 days', %(until)s, length) AS moments (moment)
    CROSS JOIN (VALUES (%(all_workflows)s), (md5('one')::uuid), (md5('two')::uuid)) AS workflows (workflow)
    WHERE period = 'day' OR workflow = %(all_workflows)s
"""
NAMED = """
    INSERT INTO analytics.workflows (id, organization_id, name)
    SELECT md5(name)::uuid, md5('organization 77')::uuid, name FROM (VALUES ('one'), ('two')) AS named (name)
"""

# A month of an organization with many workflows, each with jobs on its second day, and never analyzed.
MANY_WORKFLOWS = 500
MANY = f"""
    INSERT INTO analytics.workflows (id, organization_id, name)
    SELECT md5('many ' || number)::uuid, md5('organization 77')::uuid, 'many ' || number
    FROM generate_series(1, {MANY_WORKFLOWS}) AS numbered (number);
    INSERT INTO analytics.aggregate_metrics
    SELECT
        md5('organization 77')::uuid, period, moment, workflow, %(all_clients)s, %(all_initiators)s,
        3, 3, 0, 3, 100, 9, 3, 3, 3, 3, 3, 3, 3, now(), 1,
        CASE WHEN period = 'day' THEN ARRAY[404]::smallint[] END, CASE WHEN period = 'day' THEN ARRAY[3] END
    FROM (VALUES ('month', timestamptz '2024-03-01Z'), ('day', '2024-03-02Z'), ('hour', '2024-03-02 12:00Z'))
        AS periods (period, moment)
    CROSS JOIN (
        SELECT %(all_workflows)s
        UNION ALL
        SELECT md5('many ' || number)::uuid FROM generate_series(1, {MANY_WORKFLOWS}) AS numbered (number)
    ) AS workflows (workflow)
"""

Question = Callable[[AnalyticsRepository], object]

KEY, BY_TIME = "aggregate_metrics_primary_key", ("organization_id", "period", "period_start")

# A question, what its rows are searched by, and how many it may look at: what it tells of, and histograms.
QUESTIONS: dict[str, tuple[Question, tuple[str, ...], int]] = {
    "the days": (lambda metrics: metrics.get_metrics(period=Period.DAY, **ASKED), BY_TIME, 30 * 3),
    "the hours": (lambda metrics: metrics.get_metrics(period=Period.HOUR, **ASKED), BY_TIME, 30 * 24),
    "a summary": (lambda metrics: metrics.get_total(**ASKED), BY_TIME, 2 * 30 * 3),
    # For so few rows of so many workflows, all of the tenant's are as good.
    "all workflows": (
        lambda metrics: metrics.get_breakdown("workflow_id", **ASKED),
        ("organization_id", "client_id", "initiator_type"),
        2 * 41 * (24 + 3),
    ),
}


@pytest.fixture(scope="module")
def reader(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Connection, Tenant]]:
    """A connection in a transaction of one of them, as the API has it."""
    with pipeline_for_many(cluster, tmp_path_factory) as pipeline, opened(pipeline) as api:
        pipeline.analytics.execute(STORED, ALL_OF_EACH | {"until": UNTIL})
        pipeline.analytics.execute(NAMED)
        pipeline.analytics.execute("VACUUM (ANALYZE) analytics.aggregate_metrics")
        tenant = admit(pipeline.select("SELECT md5('organization 77')::uuid")[0][0])
        with api.pool.reading_as(tenant) as connection:
            yield connection, tenant


@pytest.mark.parametrize("name", QUESTIONS)
def test_a_tenants_rows_are_found_by_the_key(
    reader: tuple[Connection, Tenant], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Each look at the table is a search by its key, and meets few rows that are not asked for."""
    connection, tenant = reader
    question, searched_by, rows = QUESTIONS[name]
    monkeypatch.setattr(connection, "cursor_factory", Recorded)
    monkeypatch.setattr(Recorded, "told", [])
    assert question(AnalyticsRepository(connection, tenant))
    query, values = Recorded.told[-1]

    plan = plan_of(connection, query, values, "ANALYZE")

    looks = [node for node in plan if node.get("Relation Name") == "aggregate_metrics"]
    for look in looks:
        (search,) = [node for node in below(look) if node.get("Index Name") == KEY]
        for column in searched_by:
            assert re.search(rf"\b{column} [=<>]", search["Index Cond"])
    looked_at = sum(
        look["Actual Loops"] * (look["Actual Rows"] + look.get("Rows Removed by Filter", 0)) for look in looks
    )
    assert 0 < looked_at <= rows


@pytest.mark.parametrize(
    "days", [{}, {"until": datetime(2024, 3, 30, tzinfo=UTC)}], ids=["a month", "thirty days"]
)
def test_many_workflows_are_told_before_anybody_has_analyzed_a_table(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch, days: dict[str, Any]
) -> None:
    """Right after a first publication, nothing is compared with everything."""
    tenant = admit(pipeline.select("SELECT md5('organization 77')::uuid")[0][0])
    for planting in MANY.split(";"):
        pipeline.analytics.execute(planting, ALL_OF_EACH)
    monkeypatch.setattr(Recorded, "told", [])
    month = {"since": datetime(2024, 3, 1, tzinfo=UTC), "until": datetime(2024, 4, 1, tzinfo=UTC)}

    with reading_as(pipeline.databases.analytics_url, pipeline.settings, tenant) as connection:
        connection.cursor_factory = Recorded
        told = AnalyticsRepository(connection, tenant).get_breakdown("workflow_id", **month | days)
        query, values = Recorded.told[-1]
        plan = list(plan_of(connection, query, values, "ANALYZE"))

    assert len(told) == MANY_WORKFLOWS
    compared = [node.get("Rows Removed by Join Filter", 0) for node in plan]
    assert max(compared) < 10 * MANY_WORKFLOWS
