"""Two engines agree: what DuckDB computes, PostgreSQL computes as well."""

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC

import psycopg
import pytest
from hypothesis import given, settings
from psycopg.rows import dict_row

from tests.support.generated_jobs import ZONES, some_jobs
from tests.support.oracle import ALL, NO_CLIENT, PLAN, Cells, Job, differences
from tests.support.sampling import EVERYTHING

# Each job joined to each combination it is in, then one plain GROUP BY.
SAID_BY_POSTGRES = f"""
WITH jobs AS (
    SELECT *, 1000 * extract(epoch FROM completed_at - started_at) AS ms
    FROM unnest(
        %(organization_id)s::uuid[], %(workflow_id)s::uuid[], %(client_id)s::uuid[],
        %(initiator_type)s::text[], %(status)s::text[],
        %(started_at)s::timestamptz[], %(completed_at)s::timestamptz[], %(time_zone)s::text[]
    ) AS jobs (
        organization_id, workflow_id, client_id, initiator_type, status, started_at, completed_at, time_zone
    )
),
plan (period, by_workflow, by_client, by_initiator) AS (
    VALUES {", ".join(f"('{period}', {', '.join(map(str, chosen))})" for period, chosen in PLAN)}
)
SELECT
    organization_id,
    period,
    date_trunc(period, completed_at, CASE period WHEN 'hour' THEN 'UTC' ELSE time_zone END) AS period_start,
    CASE WHEN by_workflow THEN workflow_id ELSE '{ALL}' END AS workflow_id,
    CASE WHEN by_client THEN coalesce(client_id, '{NO_CLIENT}') ELSE '{ALL}' END AS client_id,
    CASE WHEN by_initiator THEN coalesce(initiator_type, 'unknown') ELSE 'all' END AS initiator_type,
    count(*) AS total_executions,
    count(*) FILTER (WHERE ms >= 0) AS timed_executions,
    coalesce(sum(ms) FILTER (WHERE ms >= 0), 0)::float8 AS total_duration_ms,
    (avg(ms) FILTER (WHERE ms >= 0))::float8 AS average_duration_ms,
    (min(ms) FILTER (WHERE ms >= 0))::float8 AS min_duration_ms,
    (max(ms) FILTER (WHERE ms >= 0))::float8 AS max_duration_ms,
    percentile_cont(0.5) WITHIN GROUP (ORDER BY ms::float8) FILTER (WHERE ms >= 0) AS median_duration_ms,
    percentile_cont(0.9) WITHIN GROUP (ORDER BY ms::float8) FILTER (WHERE ms >= 0) AS p90_duration_ms,
    percentile_cont(0.95) WITHIN GROUP (ORDER BY ms::float8) FILTER (WHERE ms >= 0) AS p95_duration_ms,
    percentile_cont(0.99) WITHIN GROUP (ORDER BY ms::float8) FILTER (WHERE ms >= 0) AS p99_duration_ms,
    percentile_cont(0.5) WITHIN GROUP (ORDER BY ms::float8) FILTER (WHERE ms >= 0 AND status = 'COMPLETED')
        AS median_completed_duration_ms,
    percentile_cont(0.95) WITHIN GROUP (ORDER BY ms::float8) FILTER (WHERE ms >= 0 AND status = 'COMPLETED')
        AS p95_completed_duration_ms
FROM jobs CROSS JOIN plan
GROUP BY 1, 2, 3, 4, 5, 6
"""


@pytest.fixture(scope="module")
def postgres(cluster: Callable[[str], str]) -> Iterator[psycopg.Connection]:
    """A connection to any database: the jobs are in the question itself."""
    with psycopg.connect(cluster("embedded"), autocommit=True, row_factory=dict_row) as connection:
        # The session's own zone must not matter.
        connection.execute("SET TimeZone = 'America/New_York'")
        yield connection


@settings(max_examples=60 if EVERYTHING else 40)
@given(jobs=some_jobs)
def test_duckdb_equals_postgres(
    jobs: list[Job], aggregate: Callable[[Sequence[Job]], Cells], postgres: psycopg.Connection
) -> None:
    """Buckets, counts, means and `percentile_cont` agree in every cell, to one part in 10^9."""
    columns = {name: [getattr(job, name) for job in jobs] for name in Job._fields}
    columns["time_zone"] = [ZONES.get(job.organization_id, "UTC") for job in jobs]
    rows = postgres.execute(SAID_BY_POSTGRES, columns).fetchall()
    for row in rows:
        row["period_start"] = row["period_start"].astimezone(UTC)
    said = {tuple(row.pop(name) for name in list(row)[:6]): row for row in rows}

    assert differences(aggregate(jobs), said) == []
