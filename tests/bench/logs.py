"""How fast logs are written and read, before and after they are archived, beside PostgreSQL alone."""

import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from statistics import median
from typing import Any
from uuid import UUID

import psycopg

from pipelines.devtools.generated_month import GeneratedMonth
from pipelines.executions.execution_logs import NewLogLine
from pipelines.executions.log_archive import Month
from pipelines.executions.unit_of_work import unit_of_work
from pipelines.postgres.connections import Databases
from pipelines.query.tenant import admit
from pipelines.runs.log_retention import keep_logs
from pipelines.settings import Settings
from pipelines.subjects.steps import Level

LINES_OF_A_JOB = 50
BATCHES, BATCH_JOBS = 5, 2_000
READ_JOBS = 30


@dataclass(frozen=True)
class Logs:
    """Rows per second, bytes, and milliseconds."""

    lines: int
    written_per_s: float
    steps_written_per_s: float
    copied_per_s: float
    table_bytes: int
    archive_bytes: int
    job_ms: float
    archived_job_ms: float
    counts_ms: float
    archived_counts_ms: float


def measure_logs(url: str, settings: Settings, month: GeneratedMonth) -> Logs:
    """Write logs of the biggest organization's jobs, read some, archive the month, read them again."""
    tenant, named = admit(month.organization_ids[0]), {"accessed_by": "bench", "purpose": "measuring"}
    kept = settings.model_copy(
        update={"keep_logs": timedelta(1), "log_archive_url": str(settings.home / "logs")}
    )
    keep_logs(Databases(url, url), settings, now=month.since)
    with psycopg.connect(url, autocommit=True) as connection:
        jobs = [
            job
            for (job,) in connection.execute(
                "SELECT id FROM orchestration.jobs"
                " WHERE organization_id = %s AND completed_at >= %s AND deleted_at IS NULL"
                " ORDER BY completed_at LIMIT %s",
                [tenant.organization_id, month.since, BATCHES * BATCH_JOBS],
            )
        ]
        rates = {}
        for said in (False, True):
            connection.execute("TRUNCATE orchestration.execution_logs")
            rates[said] = [
                rate(written_in(url, settings, tenant, list(lines_of(part, month, said=said)), named))
                for part in (jobs[at : at + BATCH_JOBS] for at in range(0, len(jobs), BATCH_JOBS))
            ]
        copied = [rate(copied_in(connection)) for _ in range(BATCHES)]
        connection.execute("VACUUM (ANALYZE) orchestration.execution_logs")
        partition = f"orchestration.{Month.of(month.since).partition}"
        ((size,),) = connection.execute("SELECT pg_total_relation_size(%s)", [partition]).fetchall()
    some = jobs[:: max(1, len(jobs) // READ_JOBS)]

    def read() -> tuple[float, float]:
        found, counted = [], []
        for job in some:
            with unit_of_work(url, settings, tenant, **named) as work:
                # The first question opens the connection that logs accesses.
                work.logs.find_by_job(job, rows=1)
                begun = time.perf_counter()
                assert len(work.logs.find_by_job(job)) == LINES_OF_A_JOB
                found.append(time.perf_counter() - begun)
                begun = time.perf_counter()
                assert sum(work.logs.get_level_counts(job).values()) == LINES_OF_A_JOB
                counted.append(time.perf_counter() - begun)
        return 1000 * median(found), 1000 * median(counted)

    job_ms, counts_ms = read()
    now = Month.of(month.since).end + timedelta(2)
    dropped = keep_logs(Databases(url, url), kept, unpublished=lambda _month: None, now=now)
    assert str(Month.of(month.since)) in dropped.months_dropped
    archived_job_ms, archived_counts_ms = read()
    archived = sum(file.stat().st_size for file in Path(kept.log_archive_url or "").iterdir())
    lines = LINES_OF_A_JOB * len(jobs)
    return Logs(
        lines,
        max(rates[True]),
        max(rates[False]),
        max(copied),
        size,
        archived,
        job_ms,
        archived_job_ms,
        counts_ms,
        archived_counts_ms,
    )


def lines_of(jobs: list[UUID], month: GeneratedMonth, *, said: bool) -> Iterator[NewLogLine]:
    """Yield the steps of these jobs, a job after the other, with or without what they said."""
    for number, job in enumerate(jobs):
        begun = month.since + timedelta(minutes=4 * number)
        for sequence in range(LINES_OF_A_JOB):
            yield NewLogLine(
                job_id=job,
                sequence=sequence,
                level=Level.ERROR if sequence % 25 == 24 else Level.INFO,
                timestamp=begun + timedelta(seconds=sequence),
                step_name=f"Step {sequence % 10}",
                message=f"The page said that claim {number * sequence:08} was received." if said else None,
                duration_ms=sequence * 17.25,
                metadata={"attempt": sequence % 3, "page": f"https://payer.example/claims/{number}"}
                if said
                else None,
            )


def written_in(
    url: str, settings: Settings, tenant: Any, lines: list[NewLogLine], named: Any
) -> tuple[int, float]:
    """How many lines were written and committed in how many seconds, every rule and index in place."""
    with unit_of_work(url, settings, tenant, **named) as work:
        begun = time.perf_counter()
        work.logs.create_many(lines)
        work.commit()
    return len(lines), time.perf_counter() - begun


def copied_in(connection: psycopg.Connection) -> tuple[int, float]:
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
        return batch, time.perf_counter() - begun


def rate(done: tuple[int, float]) -> float:
    """Rows per second."""
    rows, seconds = done
    return rows / seconds


def sentences(logs: Logs) -> Iterator[str]:
    """Yield what was measured, and whether the aim is met."""
    # What both real traces have is steps, and not what they said.
    met = "met   " if logs.steps_written_per_s >= 50_000 else "missed"
    yield (
        f"{met}  50,000 lines of steps written per second, in the fastest of {BATCHES} batches:"
        f" {logs.steps_written_per_s:,.0f}; with a message and metadata each: {logs.written_per_s:,.0f}; a"
        f" COPY of those into a table without an index or a rule: {logs.copied_per_s:,.0f}"
        f" ({logs.copied_per_s / logs.written_per_s:.1f}x)"
    )
    yield (
        f"{logs.lines:,} lines: {logs.table_bytes / 2**20:,.0f} MiB in PostgreSQL,"
        f" {logs.archive_bytes / 2**20:,.1f} MiB archived"
        f" ({logs.table_bytes / logs.archive_bytes:.0f}x smaller)"
    )
    yield (
        f"a job's {LINES_OF_A_JOB} lines: {logs.job_ms:.1f} ms, archived {logs.archived_job_ms:.1f} ms;"
        f" their counts by level: {logs.counts_ms:.1f} ms, archived {logs.archived_counts_ms:.1f} ms"
    )
