"""How fast logs are written and read, before and after they are archived, beside PostgreSQL alone."""

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing
from datetime import timedelta
from functools import partial
from statistics import median
from typing import Any
from uuid import UUID

import psycopg

from pipelines.devtools.generated_month import GeneratedMonth
from pipelines.executions.execution_logs import NewLogLine
from pipelines.executions.log_archive import Month
from pipelines.executions.unit_of_work import unit_of_work
from pipelines.postgres.connections import Databases, Run
from pipelines.query.tenant import admit
from pipelines.runs.log_retention import keep_logs
from pipelines.settings import Settings
from pipelines.subjects.steps import Level

LINES_OF_A_JOB = 50
BATCHES, BATCH_JOBS = 5, 2_000
READ_JOBS = 30

# Opens a unit of work of the tenant.
Opened = Callable[[], AbstractContextManager[Any]]


def measure_logs(url: str, settings: Settings, month: GeneratedMonth) -> list[str]:
    """Write logs of the biggest organization's jobs, read some, archive the month, read them again.

    What was measured, in sentences, and whether the aim is met.
    """
    tenant = admit(month.organization_ids[0])
    opened = partial(unit_of_work, url, settings, tenant, accessed_by="bench", purpose="measuring")
    archive = settings.home / "logs"
    kept = settings.model_copy(update={"keep_logs": timedelta(1), "log_archive_url": str(archive)})
    keep_logs(Run(Databases(url, url), settings), now=month.since)
    with psycopg.connect(url, autocommit=True) as connection:
        found = connection.execute(
            "SELECT id FROM orchestration.jobs"
            " WHERE organization_id = %s AND completed_at >= %s AND deleted_at IS NULL"
            " ORDER BY completed_at LIMIT %s",
            [tenant.organization_id, month.since, BATCHES * BATCH_JOBS],
        )
        jobs = [job for (job,) in found]
        batches = [jobs[at : at + BATCH_JOBS] for at in range(0, len(jobs), BATCH_JOBS)]
        fastest = {}
        for said in (False, True):
            connection.execute("TRUNCATE orchestration.execution_logs")
            fastest[said] = max(
                written_in(opened, list(lines_of(each, month, said=said))) for each in batches
            )
        copied = max(copied_in(connection) for _ in range(BATCHES))
        connection.execute("VACUUM (ANALYZE) orchestration.execution_logs")
        partition = f"orchestration.{Month.of(month.since).partition}"
        ((table_bytes,),) = connection.execute("SELECT pg_total_relation_size(%s)", [partition]).fetchall()
    some = jobs[:: max(1, len(jobs) // READ_JOBS)]
    job_ms, counts_ms = read_in(opened, some)
    now = Month.of(month.since).end + timedelta(2)
    dropped = keep_logs(Run(Databases(url, url), kept), unpublished=lambda _month: None, now=now)
    assert str(Month.of(month.since)) in dropped.months_dropped
    archived_job_ms, archived_counts_ms = read_in(opened, some)
    archived_bytes = sum(file.stat().st_size for file in archive.iterdir())
    # What both real traces have is steps, and not what they said.
    met = "met   " if fastest[False] >= 50_000 else "missed"
    return [
        f"{met}  50,000 lines of steps written per second, in the fastest of {BATCHES} batches:"
        f" {fastest[False]:,.0f}; with a message and metadata each: {fastest[True]:,.0f}; a"
        f" COPY of those into a table without an index or a rule: {copied:,.0f}"
        f" ({copied / fastest[True]:.1f}x)",
        f"{LINES_OF_A_JOB * len(jobs):,} lines: {table_bytes / 2**20:,.0f} MiB in PostgreSQL,"
        f" {archived_bytes / 2**20:,.1f} MiB archived ({table_bytes / archived_bytes:.0f}x smaller)",
        f"a job's {LINES_OF_A_JOB} lines: {job_ms:.1f} ms, archived {archived_job_ms:.1f} ms;"
        f" their counts by level: {counts_ms:.1f} ms, archived {archived_counts_ms:.1f} ms",
    ]


def read_in(opened: Opened, jobs: list[UUID]) -> tuple[float, float]:
    """Milliseconds until the lines of a job are read, and until they are counted by level, medians."""
    found, counted = [], []
    for job in jobs:
        with opened() as work:
            # The first question opens the connection that logs accesses.
            work.logs.find_by_job(job, rows=1)
            begun = time.perf_counter()
            assert len(work.logs.find_by_job(job)) == LINES_OF_A_JOB
            found.append(time.perf_counter() - begun)
            begun = time.perf_counter()
            assert sum(work.logs.get_level_counts(job).values()) == LINES_OF_A_JOB
            counted.append(time.perf_counter() - begun)
    return 1000 * median(found), 1000 * median(counted)


def lines_of(jobs: list[UUID], month: GeneratedMonth, *, said: bool) -> Iterator[NewLogLine]:
    """Yield the steps of these jobs, a job after the other, with or without what they said."""
    for number, job in enumerate(jobs):
        begun = month.since + timedelta(minutes=4 * number)
        page = f"https://payer.example/claims/{number}"
        for sequence in range(LINES_OF_A_JOB):
            yield NewLogLine(
                job_id=job,
                sequence=sequence,
                level=Level.ERROR if sequence % 25 == 24 else Level.INFO,
                timestamp=begun + timedelta(seconds=sequence),
                step_name=f"Step {sequence % 10}",
                duration_ms=sequence * 17.25,
                message=f"The page said that claim {number * sequence:08} was received." if said else None,
                metadata={"attempt": sequence % 3, "page": page} if said else None,
            )


def written_in(opened: Opened, lines: list[NewLogLine]) -> float:
    """How many lines were written and committed per second, every rule and index in place."""
    with opened() as work:
        begun = time.perf_counter()
        work.logs.create_many(lines)
        work.commit()
    return len(lines) / (time.perf_counter() - begun)


def copied_in(connection: psycopg.Connection) -> float:
    """The same for a COPY of one batch, ready made, into a table without an index or a rule."""
    connection.execute("DROP TABLE IF EXISTS bench.execution_logs")
    connection.execute("CREATE TABLE bench.execution_logs (LIKE orchestration.execution_logs)")
    batch = BATCH_JOBS * LINES_OF_A_JOB
    reading = f"COPY (SELECT * FROM orchestration.execution_logs LIMIT {batch}) TO STDOUT (FORMAT binary)"
    with closing(connection.cursor()) as cursor:
        with cursor.copy(reading) as out:
            rows = [bytes(row) for row in out]
        begun = time.perf_counter()
        with cursor.copy("COPY bench.execution_logs FROM STDIN (FORMAT binary)") as copy:
            for row in rows:
                copy.write(row)
        return batch / (time.perf_counter() - begun)
