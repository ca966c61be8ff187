"""Each question about a log is answered from the index made for it, and looks into no month in vain."""

import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import psycopg
import pytest

from pipelines.executions.execution_logs import ExecutionLogRepository, LinePlace
from pipelines.executions.transactions import AccessLog
from pipelines.postgres.connections import Databases
from pipelines.query.tenant import admit
from pipelines.runs.log_retention import keep_logs
from pipelines.settings import Settings, load_settings
from pipelines.subjects.logs import Level
from tests.conftest import Cluster, system_15, with_database
from tests.support.planting import plant_job, plant_tenant

FIRST = datetime(2024, 1, 1, tzinfo=UTC)
MARCH, APRIL = datetime(2024, 3, 1, tzinfo=UTC), datetime(2024, 4, 1, tzinfo=UTC)

# Six months of lines of three hundred jobs; one in ten is a problem.
LINES = """
    INSERT INTO orchestration.execution_logs (organization_id, job_id, sequence, level, timestamp)
    SELECT
        organization_id, id, number,
        (CASE WHEN number % 10 < 8 THEN 'INFO' WHEN number % 10 = 8 THEN 'WARN' ELSE 'ERROR' END)
        ::orchestration.log_level,
        timestamptz '2024-01-01 00:00+00' + (number * interval '1 day' * 1.8)
    FROM (SELECT *, row_number() OVER () FROM orchestration.jobs) AS jobs
    CROSS JOIN generate_series(0, 99) AS lines (number)
"""

BY_LEVEL, BY_TIME, OF_PROBLEMS = (
    f"execution_logs_by_job_id_{columns}"
    for columns in ("level_timestamp", "timestamp", "timestamp_of_problems")
)

Ask = Callable[[ExecutionLogRepository, UUID], object]

# A question, by which of the indexes it is searched, and in which months; 0 is the default partition.
QUESTIONS: dict[str, tuple[Ask, tuple[str, ...], tuple[int, ...]]] = {
    "a month": (
        lambda logs, job: logs.find_by_job(job, since=MARCH, until=APRIL),
        (BY_TIME,),
        (3,),
    ),
    "the first page": (
        lambda logs, job: logs.find_by_job(job, since=MARCH, rows=10),
        (BY_TIME,),
        (0, 3, 4, 5, 6, 7),
    ),
    "the next page": (
        lambda logs, job: logs.find_by_job(job, after=LinePlace(MARCH, 0, job), rows=10),
        (BY_TIME,),
        (0, 1, 2, 3),
    ),
    "a level": (
        lambda logs, job: logs.find_by_job(job, level=Level.INFO, since=MARCH, until=APRIL),
        (BY_LEVEL,),
        (3,),
    ),
    "errors": (
        lambda logs, job: logs.find_errors_by_job(job, since=MARCH, until=APRIL),
        (OF_PROBLEMS, BY_LEVEL),
        (3,),
    ),
    "errors and warnings": (
        lambda logs, job: logs.find_errors_by_job(job, with_warnings=True, since=MARCH, until=APRIL),
        (OF_PROBLEMS,),
        (3,),
    ),
    "counts": (
        lambda logs, job: logs.get_level_counts(job, since=MARCH, until=APRIL),
        (BY_LEVEL, BY_TIME),
        (3,),
    ),
    "all of it": (
        lambda logs, job: logs.delete_by_job(job),
        (BY_LEVEL, BY_TIME),
        tuple(range(8)),
    ),
}


PARTITION = re.compile(r"execution_logs_(default|\d{4}_\d\d)")
EMPTY = ("execution_logs_2024_07", "execution_logs_default")


class Recorded(psycopg.Cursor[Any]):
    """A cursor that remembers what it was told to execute."""

    told: list[tuple[Any, Any]]

    def execute(self, query: Any, params: Any = None, **options: Any) -> "Recorded":
        if "execution_logs" in str(query):
            self.connection.told.append((query, params))
        return super().execute(query, params, **options)


class Recording(psycopg.Connection[Any]):
    """A connection of such cursors."""

    told: list[tuple[Any, Any]]


@pytest.fixture(scope="module", params=["embedded", "system"])
def logs(
    request: pytest.FixtureRequest, cluster: Cluster, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[ExecutionLogRepository, psycopg.Connection, UUID]]:
    """A tenant's repository, its connection, and one of its jobs among three hundred."""
    if request.param == "system" and system_15() is None:
        pytest.skip("PostgreSQL 15 is not installed here")
    server, name = cluster(request.param), "plans_of_logs"
    with psycopg.connect(server, autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {name} TEMPLATE template_of_tests STRATEGY file_copy")
    url = with_database(server, name)
    databases, settings = Databases(url, url), load_settings(home=tmp_path_factory.mktemp(name))
    try:
        yield from repository(databases, settings)
    finally:
        with psycopg.connect(server, autocommit=True) as admin:
            admin.execute(f"DROP DATABASE {name} WITH (FORCE)")


def repository(
    databases: Databases, settings: Settings
) -> Iterator[tuple[ExecutionLogRepository, psycopg.Connection, UUID]]:
    """Yield the same for a database that has nothing yet."""
    keep_logs(databases, settings.model_copy(update={"log_months_ahead": 6}), now=FIRST)
    with psycopg.connect(databases.source_url, autocommit=True) as source:
        tenant = plant_tenant(source)
        jobs = [plant_job(source, tenant) for _ in range(2)]
        source.execute(
            "INSERT INTO orchestration.jobs (id, organization_id, workflow_id, status)"
            " SELECT gen_random_uuid(), organization_id, workflow_id, 'RUNNING'"
            " FROM orchestration.jobs, generate_series(1, 149)"
        )
        source.execute(LINES)
        source.execute("VACUUM (ANALYZE) orchestration.execution_logs")
    with Recording.connect(databases.source_url, cursor_factory=Recorded) as connection:
        admitted = admit(tenant.organization)

        def opened() -> Any:
            return psycopg.connect(databases.source_url, autocommit=True)

        accesses = AccessLog(opened, admitted, accessed_by="dr.who", purpose="treatment")
        yield ExecutionLogRepository(connection, admitted, accesses, settings), connection, jobs[0]
        connection.rollback()


@pytest.mark.parametrize("question", QUESTIONS)
def test_a_question_is_answered_by_its_index_in_its_months(
    logs: tuple[ExecutionLogRepository, Recording, UUID], question: str
) -> None:
    """No partition outside of the range is opened, and in those inside a search finds the job's lines."""
    repository, connection, job = logs
    ask, searched_by, months = QUESTIONS[question]
    connection.told = []
    with connection.transaction(force_rollback=True):
        assert ask(repository, job)
        query, values = connection.told[0]
        (told,) = psycopg.Cursor(connection).execute(f"EXPLAIN (FORMAT JSON) {query}", values).fetchone()

    nodes = [node for node in below(told[0]["Plan"]) if PARTITION.fullmatch(node.get("Relation Name", ""))]
    assert {int(node["Relation Name"][-2:].replace("lt", "0")) for node in nodes} == set(months)
    # A month without a line is read whole as fast.
    searches = [node for node in nodes if node["Relation Name"] not in EMPTY]
    indexes = {inner.get("Index Name") for node in searches for inner in below(node)} - {None}
    assert {whole_index(connection, index) for index in indexes} <= set(searched_by)
    assert [node for node in searches if node["Node Type"] == "Seq Scan"] == []


def whole_index(connection: psycopg.Connection, part: str) -> str:
    """The index of the whole table that an index of a partition is a part of."""
    return (
        psycopg.Cursor(connection)
        .execute(
            "SELECT relname FROM pg_inherits JOIN pg_class ON pg_class.oid = inhparent"
            " WHERE inhrelid = to_regclass('orchestration.' || %s)",
            [part],
        )
        .fetchone()[0]
    )


def below(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """A plan's node and all below it."""
    yield plan
    for inner in plan.get("Plans", []):
        yield from below(inner)
