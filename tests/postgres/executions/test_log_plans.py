"""Each question about a log is answered from the index made for it, and looks into no month in vain."""

import re
from collections.abc import Callable
from datetime import UTC, datetime
from uuid import UUID

import psycopg
import pytest

from pipelines.executions.execution_logs import ExecutionLogRepository, LinePlace
from pipelines.postgres.connections import Databases, Run
from pipelines.runs.log_retention import keep_logs
from pipelines.settings import Settings
from pipelines.subjects.steps import Level
from tests.postgres.executions.conftest import Begin
from tests.support.planting import Tenant, plant_job
from tests.support.query_plans import Recorded, below, plan_of

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
IN_MARCH = {"since": MARCH, "until": APRIL}
QUESTIONS: dict[str, tuple[Ask, tuple[str, ...], tuple[int, ...]]] = {
    "a month": (lambda logs, job: logs.find_by_job(job, **IN_MARCH), (BY_TIME,), (3,)),
    "the first page": (
        lambda logs, job: logs.find_by_job(job, since=MARCH, rows=10),
        *((BY_TIME,), (0, 3, 4, 5, 6, 7)),
    ),
    "the next page": (
        lambda logs, job: logs.find_by_job(job, after=LinePlace(MARCH, 0, job), rows=10),
        *((BY_TIME,), (0, 1, 2, 3)),
    ),
    "a level": (
        lambda logs, job: logs.find_by_job(job, level=Level.INFO, **IN_MARCH),
        *((BY_LEVEL,), (3,)),
    ),
    "errors": (lambda logs, job: logs.find_errors_by_job(job, **IN_MARCH), (OF_PROBLEMS, BY_LEVEL), (3,)),
    "errors and warnings": (
        lambda logs, job: logs.find_errors_by_job(job, with_warnings=True, **IN_MARCH),
        *((OF_PROBLEMS,), (3,)),
    ),
    "counts": (lambda logs, job: logs.get_level_counts(job, **IN_MARCH), (BY_LEVEL, BY_TIME), (3,)),
    "all of it": (lambda logs, job: logs.delete_by_job(job), (BY_LEVEL, BY_TIME), tuple(range(8))),
}

PARTITION = re.compile(r"execution_logs_(default|\d{4}_\d\d)")
EMPTY = ("execution_logs_2024_07", "execution_logs_default")


@pytest.mark.every_postgres
def test_each_question_is_answered_by_its_index_in_its_months(
    source: psycopg.Connection,
    databases: Databases,
    settings: Settings,
    begin: Begin,
    acme: Tenant,
    neighbour: Tenant,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """No partition outside of the range is opened, and in those inside a search finds the job's lines."""
    keep_logs(Run(databases, settings.model_copy(update={"log_months_ahead": 6})), now=FIRST)
    job, _ = plant_job(source, acme), plant_job(source, neighbour)
    source.execute(
        "INSERT INTO orchestration.jobs (id, organization_id, workflow_id, status)"
        " SELECT gen_random_uuid(), organization_id, workflow_id, 'RUNNING'"
        " FROM orchestration.jobs, generate_series(1, 149)"
    )
    source.execute(LINES)
    source.execute("VACUUM (ANALYZE) orchestration.execution_logs")

    plans = {}
    with begin(acme) as work:
        connection = work.logs._connection
        monkeypatch.setattr(connection, "cursor_factory", Recorded)
        for question, (ask, _, _) in QUESTIONS.items():
            with connection.transaction(force_rollback=True):
                monkeypatch.setattr(Recorded, "told", [])
                assert ask(work.logs, job)
                (asked, *_) = (told for told in Recorded.told if ".execution_logs" in str(told[0]))
                plans[question] = list(plan_of(connection, *asked))

    for question, plan in plans.items():
        _, searched_by, months = QUESTIONS[question]
        nodes = [node for node in plan if PARTITION.fullmatch(node.get("Relation Name", ""))]
        assert {int(node["Relation Name"][-2:].replace("lt", "0")) for node in nodes} == set(months)
        # A month without a line is read whole as fast.
        searches = [node for node in nodes if node["Relation Name"] not in EMPTY]
        indexes = {inner.get("Index Name") for node in searches for inner in below(node)} - {None}
        assert {whole_index(source, index) for index in indexes} <= set(searched_by)
        assert [node for node in searches if node["Node Type"] == "Seq Scan"] == []


def whole_index(connection: psycopg.Connection, part: str) -> str:
    """The index of the whole table that an index of a partition is a part of."""
    ((name,),) = connection.execute(
        "SELECT relname FROM pg_inherits JOIN pg_class ON pg_class.oid = inhparent"
        " WHERE inhrelid = to_regclass('orchestration.' || %s)",
        [part],
    ).fetchall()
    return name
