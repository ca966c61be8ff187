"""The indexes of the source serve the questions that they were made for."""

import json
from collections.abc import Iterator

import psycopg
import pytest
from psycopg import Connection

from pipelines.devtools.generated_month import generate_month
from pipelines.postgres.connections import Databases, Run
from pipelines.postgres.subject_statements import oracle_statement
from pipelines.settings import load_settings
from pipelines.subjects.jobs import JOBS
from tests.conftest import Cluster, system_15, with_database


@pytest.fixture(scope="module", params=["embedded", "system"])
def source(
    request: pytest.FixtureRequest, cluster: Cluster, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Connection]:
    """A month of 30,000 jobs, with statistics, in a transaction for settings."""
    if request.param == "system" and system_15() is None:
        pytest.skip("PostgreSQL 15 is not installed here")
    server = cluster(request.param)
    with psycopg.connect(server, autocommit=True) as admin:
        admin.execute("CREATE DATABASE indexed TEMPLATE template_of_tests")
    url = with_database(server, "indexed")
    try:
        generate_month(
            Run(Databases(url, url), load_settings(home=tmp_path_factory.mktemp("month"))), jobs=30_000
        )
        with psycopg.connect(url) as connection:
            yield connection
    finally:
        with psycopg.connect(server, autocommit=True) as admin:
            admin.execute("DROP DATABASE indexed WITH (FORCE)")


def test_verifying_a_day_reads_a_range_of_an_index(source: Connection) -> None:
    """`verify --since --until` looks at the jobs completed then, not at every job there is."""
    since = {"extracted_at": "2026-08-01T00:00:00Z", "time_zone": "UTC"}
    ids = source.execute("SELECT id::text FROM orchestration.organizations").fetchall()
    for name, value in {
        "organizations": json.dumps([{"organization_id": id_, **since} for (id_,) in ids]),
        "started_since": "2026-07-01T00:00:00Z",
        "started_until": "2026-07-02T00:00:00Z",
        "started_own": "[]",
        "earliest": "2000-01-01T00:00:00Z",
        "tolerance": "",
    }.items():
        source.execute("SELECT set_config('execmetrics.' || %s, %s, true)", [name, value])

    plan = explain(source, oracle_statement(JOBS, JOBS.rollup))

    assert "Seq Scan on jobs" not in plan
    assert "jobs_by_completed_at" in plan or "jobs_by_organization_id_completed_at" in plan


@pytest.mark.parametrize("column", ["workflow_id", "client_id"])
def test_deleting_a_workflow_or_client_finds_its_jobs(source: Connection, column: str) -> None:
    """What a foreign key looks for when its target is deleted, in the words it uses."""
    owner = source.execute(
        f"SELECT organization_id, {column} FROM orchestration.jobs WHERE {column} IS NOT NULL"
        " GROUP BY 1, 2 ORDER BY count(*) LIMIT 1"
    ).fetchone()

    looked_up = f"organization_id = '{owner[0]}' AND {column} = '{owner[1]}'"
    plan = explain(source, f"SELECT 1 FROM ONLY orchestration.jobs WHERE {looked_up}")

    assert f"jobs_by_organization_id_{column}" in plan


def explain(source: Connection, question: str) -> str:
    """The plan of a statement."""
    return "\n".join(line for (line,) in source.execute(f"EXPLAIN {question}").fetchall())
