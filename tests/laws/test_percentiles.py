"""Two engines agree: what DuckDB computes, PostgreSQL computes as well."""

from collections.abc import Callable, Iterator, Sequence

import psycopg
import pytest
from hypothesis import given, settings

from tests.support.generated_jobs import ZONES, some_jobs
from tests.support.oracle import Cells, Job, cells_of_rows, differences
from tests.support.sampling import EVERYTHING

JOBS = """
    SELECT * FROM unnest(
        %(organization_id)s::uuid[], %(workflow_id)s::uuid[], %(client_id)s::uuid[],
        %(initiator_type)s::text[], %(status)s::text[],
        %(started_at)s::timestamptz[], %(completed_at)s::timestamptz[], %(time_zone)s::text[]
    ) AS jobs (
        organization_id, workflow_id, client_id, initiator_type, status, started_at, completed_at, time_zone
    )
"""


@pytest.fixture(scope="module")
def postgres(cluster: Callable[[str], str]) -> Iterator[psycopg.Connection]:
    """A connection to any database: the jobs are in the question itself."""
    with psycopg.connect(cluster("embedded"), autocommit=True) as connection:
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

    assert differences(aggregate(jobs), cells_of_rows(postgres, JOBS, columns)) == []
