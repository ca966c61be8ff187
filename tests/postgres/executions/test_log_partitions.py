"""Logs are kept in months: made ahead, filled without losing a line, dropped whole; others are left alone."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from uuid import UUID

import psycopg
import pytest

from pipelines.errors import LogPartitionsInUse
from pipelines.executions import log_partitions
from pipelines.executions.log_archive import Month
from pipelines.executions.log_partitions import find_months
from pipelines.postgres.connections import Databases, Run
from pipelines.postgres.migrations import downgrade
from pipelines.runs.checks import lines_without_a_month
from pipelines.runs.log_retention import LogsReport, keep_logs
from pipelines.settings import Settings
from tests.conftest import CreateDatabase, with_user
from tests.postgres.executions.conftest import Begin, write_lines
from tests.support.log_lines import lines
from tests.support.planting import DAY, MINUTE, NOON, Tenant, new_id, plant_job

pytestmark = pytest.mark.every_postgres

JANUARY, FEBRUARY = Month(2024, 1), Month(2024, 2)

# In the middle of NOON's month.
NOW = datetime(2024, 1, 15, tzinfo=UTC)

Keep = Callable[..., LogsReport]


@pytest.fixture
def keep(databases: Databases, settings: Settings) -> Keep:
    """A function that keeps the logs as of January, with other settings if it is told."""

    def kept(*, now: datetime = NOW, **changed: object) -> LogsReport:
        published = changed.pop("unpublished", lambda _month: None)
        return keep_logs(Run(databases, settings.model_copy(update=changed)), unpublished=published, now=now)

    return kept


def test_months_are_made_ahead(source: psycopg.Connection, keep: Keep) -> None:
    """This month and as many more as the setting says, across the end of a year; once."""
    first = keep(log_months_ahead=12)
    again = keep(log_months_ahead=12)

    assert first.months_made == (*(f"2024-{number:02}" for number in range(1, 13)), "2025-01")
    assert again == LogsReport()
    assert find_months(source)[-1] == Month(2025, 1)


def test_a_line_is_in_the_month_it_was_written_in(
    source: psycopg.Connection, keep: Keep, begin: Begin, acme: Tenant
) -> None:
    """By UTC, to the microsecond at both ends."""
    keep()
    job = plant_job(source, acme)
    moments = [FEBRUARY.start - timedelta(microseconds=1), FEBRUARY.start, FEBRUARY.end]
    write_lines(begin, acme, lines(job, moments))

    assert where(source) == {
        moments[0]: "execution_logs_2024_01",
        moments[1]: "execution_logs_2024_02",
        moments[2]: "execution_logs_2024_03",
    }


def test_lines_that_came_before_their_month_are_moved_into_it(
    source: psycopg.Connection,
    databases: Databases,
    settings: Settings,
    keep: Keep,
    begin: Begin,
    acme: Tenant,
    neighbour: Tenant,
) -> None:
    """Each once and unchanged, whoever's; only what a wrong clock wrote stays, and the check counts it."""
    far = datetime(2031, 5, 1, tzinfo=UTC)
    for tenant in (acme, neighbour):
        job = plant_job(source, tenant)
        write_lines(begin, tenant, lines(job, [NOON, NOON - 400 * DAY, NOON + 40 * DAY, far]))
    before = everything(source)
    unsorted = lines_without_a_month(Run(databases, settings))

    report = keep()

    assert unsorted == 8
    assert (report.lines_moved, lines_without_a_month(Run(databases, settings))) == (6, 2)
    assert everything(source) == before
    assert set(where(source).values()) == {
        "execution_logs_2022_12",
        "execution_logs_2024_01",
        "execution_logs_2024_03",
        "execution_logs_default",
    }


def test_the_key_and_the_cascade_hold_in_every_month(
    source: psycopg.Connection, keep: Keep, begin: Begin, acme: Tenant
) -> None:
    """A month that was made later, around lines that were there, is no way around the rules."""
    job = plant_job(source, acme)
    write_lines(begin, acme, lines(job, [NOON, NOON + 40 * DAY]))
    keep()

    with pytest.raises(psycopg.errors.ForeignKeyViolation):
        source.execute("UPDATE orchestration.execution_logs_2024_01 SET job_id = gen_random_uuid()")
    with pytest.raises(psycopg.errors.CheckViolation):
        source.execute("UPDATE orchestration.execution_logs_2024_01 SET sequence = -1")
    source.execute("DELETE FROM orchestration.jobs")

    assert everything(source) == []


def test_whoever_writes_meanwhile_loses_nothing(
    source: psycopg.Connection, databases: Databases, keep: Keep, acme: Tenant
) -> None:
    """Jobs and lines in either order, in transactions of their own: all arrive, none is cut off."""
    job, stop = plant_job(source, acme), threading.Event()

    def writes(jobs_first: bool) -> int:
        done = 0
        with psycopg.connect(databases.source_url) as writer:
            while not stop.is_set():
                acts = [partial_insert(writer, acme, job, done), touch(writer, job)]
                for act in reversed(acts) if jobs_first else acts:
                    act()
                writer.commit()
                done += 1
                stop.wait(0.002)
        return done

    with ThreadPoolExecutor(2) as pool:
        writers = [pool.submit(writes, first) for first in (True, False)]
        try:
            for ahead in (1, 2):
                keep(log_months_ahead=ahead)
        finally:
            stop.set()
        written = sum(each.result() for each in writers)

    assert len(everything(source)) == written > 0
    assert set(where(source).values()) == {"execution_logs_2024_01"}


def test_a_table_in_use_is_left_for_the_next_run(
    source: psycopg.Connection,
    databases: Databases,
    keep: Keep,
    begin: Begin,
    acme: Tenant,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A transaction that stays open is not waited for long; nothing was moved, and later all of it is."""
    monkeypatch.setattr(log_partitions, "_PAUSES_S", (0.01,))
    job = plant_job(source, acme)
    write_lines(begin, acme, lines(job, [NOON]))
    with psycopg.connect(databases.source_url) as writer:
        partial_insert(writer, acme, job, 7)()

        with pytest.raises(LogPartitionsInUse):
            keep()
        left = find_months(source)

        writer.commit()
    report = keep()

    assert left == []
    assert report.lines_moved == 2


def test_old_months_are_dropped_whole(
    source: psycopg.Connection, keep: Keep, begin: Begin, acme: Tenant
) -> None:
    """A month goes once all of it is older than the setting, and its end is on record."""
    job = plant_job(source, acme)
    keep()
    write_lines(begin, acme, lines(job, [NOON, NOON + 20 * DAY]))

    kept = keep(now=FEBRUARY.start + 10 * DAY - MINUTE, keep_logs=10 * DAY)
    dropped = keep(now=FEBRUARY.start + 10 * DAY, keep_logs=10 * DAY)
    never = keep(now=datetime(2044, 1, 1, tzinfo=UTC), keep_logs=None)

    assert (kept.months_dropped, dropped.months_dropped, never.months_dropped) == ((), ("2024-01",), ())
    assert set(where(source).values()) == {"execution_logs_2024_02"}
    assert source.execute(
        "SELECT month_start, month_end, dropped_at IS NULL, archive_reference"
        " FROM orchestration.execution_log_months"
    ).fetchall() == [(JANUARY.start, JANUARY.end, False, None)]


def test_a_month_that_feeds_what_is_not_published_is_held_back(
    keep: Keep,
) -> None:
    """It stays with the reason, and the others go."""
    keep()

    report = keep(
        now=FEBRUARY.end + 11 * DAY,
        keep_logs=10 * DAY,
        unpublished=lambda month: "its steps wait" if month == JANUARY else None,
    )

    assert (report.months_held_back, report.months_dropped) == ({"2024-01": "its steps wait"}, ("2024-02",))


def test_a_line_cannot_slip_into_a_month_between_its_publishing_and_its_drop(
    source: psycopg.Connection, databases: Databases, keep: Keep, acme: Tenant
) -> None:
    """A session that writes into it waits until it is decided, or goes first: then it is decided anew."""
    job = plant_job(source, acme)
    keep()
    with ThreadPoolExecutor(1) as pool, psycopg.connect(databases.source_url, autocommit=True) as writer:
        late = []
        seen = []

        def decide(_month: Month) -> None:
            seen.append(len(everything(source)))
            if not late:
                late.append(pool.submit(partial_insert(writer, acme, job, 1)))
                until(source, "SELECT count(*) > 0 FROM pg_locks WHERE NOT granted")
            else:
                late[0].result()

        report = keep(now=FEBRUARY.start + 11 * DAY, keep_logs=10 * DAY, unpublished=decide)

    assert (seen[0], seen[-1]) == (0, 1)
    assert report.months_dropped == ("2024-01",)
    assert everything(source) == []


def test_without_logs_of_ours_nothing_is_done(
    databases: Databases,
    settings: Settings,
    create_database: CreateDatabase,
    server: str,
) -> None:
    """No table, another program's table, another role's table: one sentence each, and no failure."""
    theirs = Databases(databases.analytics_url, create_database())
    with psycopg.connect(theirs.source_url, autocommit=True) as other:
        other.execute("DROP TABLE orchestration.execution_logs CASCADE")
        other.execute("CREATE TABLE orchestration.execution_logs (id text, timestamp timestamp(3))")
    reader = f"reader_{new_id().hex[-6:]}"
    with psycopg.connect(server, autocommit=True) as admin:
        admin.execute(f"CREATE ROLE {reader} LOGIN")
    read_only = Databases(databases.analytics_url, with_user(databases.source_url, reader))

    try:
        said = [keep_logs(Run(each, settings)).left_alone for each in (theirs, read_only)]
        counted = [lines_without_a_month(Run(each, settings)) for each in (theirs, read_only)]
    finally:
        with psycopg.connect(server, autocommit=True) as admin:
            admin.execute(f"DROP ROLE {reader}")
    downgrade(Run(databases, settings), branch="orchestration", revision="orchestration_0001")
    said.append(keep_logs(Run(databases, settings)).left_alone)
    counted.append(lines_without_a_month(Run(databases, settings)))

    assert said == [
        "The source's execution_logs were made by another program, which keeps them itself.",
        "The source's execution_logs belong to another role, so they are left alone.",
        "The source has no execution_logs, so there is nothing to do.",
    ]
    assert counted == [0, 0, 0]


@pytest.mark.parametrize("interrupted", [False, True])
def test_an_index_is_completed_while_others_write(
    source: psycopg.Connection, databases: Databases, keep: Keep, acme: Tenant, interrupted: bool
) -> None:
    """One that was declared on the whole table alone becomes valid, whoever has a transaction open."""
    keep(log_months_ahead=1)
    job = plant_job(source, acme)
    source.execute(
        "CREATE INDEX execution_logs_by_step ON ONLY orchestration.execution_logs (step_name, timestamp)"
    )
    if interrupted:
        leave_a_build_behind(source, acme, job)
    with (
        ThreadPoolExecutor(1) as pool,
        psycopg.connect(databases.source_url) as writer,
        psycopg.connect(databases.source_url, autocommit=True) as another,
    ):
        partial_insert(writer, acme, job, 1)()
        building = pool.submit(keep, log_months_ahead=1)
        until(source, "SELECT count(*) > 0 FROM pg_locks WHERE NOT granted")
        another.execute("SET lock_timeout = '5s'")
        partial_insert(another, acme, job, 2)()
        writer.commit()
        report = building.result()

    assert report.indexes_built == (
        "execution_logs_2024_01_by_step",
        "execution_logs_2024_02_by_step",
        "execution_logs_default_by_step",
    )
    assert source.execute(
        "SELECT count(*), bool_and(indisvalid) FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid"
        " WHERE relname LIKE 'execution_logs%by_step'"
    ).fetchone() == (4, True)
    assert keep(log_months_ahead=1).indexes_built == ()


def leave_a_build_behind(source: psycopg.Connection, tenant: Tenant, job: UUID) -> None:
    """Two lines that a unique index cannot have leave what a killed build leaves: an invalid index."""
    for sequence in (8, 9):
        partial_insert(source, tenant, job, sequence)()
    with pytest.raises(psycopg.errors.UniqueViolation):
        source.execute(
            "CREATE UNIQUE INDEX CONCURRENTLY execution_logs_2024_01_by_step"
            " ON orchestration.execution_logs_2024_01 (job_id)"
        )


def partial_insert(
    writer: psycopg.Connection, tenant: Tenant, job: UUID, sequence: int
) -> Callable[[], object]:
    """An act of whoever writes without our repository: one line at NOON."""
    return lambda: writer.execute(
        "INSERT INTO orchestration.execution_logs (organization_id, job_id, sequence, level, timestamp)"
        " VALUES (%s, %s, %s, 'INFO', %s)",
        [tenant.organization, job, sequence, NOON],
    )


def touch(writer: psycopg.Connection, job: UUID) -> Callable[[], object]:
    """An act that changes a job."""
    return lambda: writer.execute("UPDATE orchestration.jobs SET updated_at = now() WHERE id = %s", [job])


def where(source: psycopg.Connection) -> dict[datetime, str]:
    """In which table the line of each moment is."""
    return dict(
        source.execute(
            "SELECT timestamp, relname FROM orchestration.execution_logs AS l"
            " JOIN pg_class ON pg_class.oid = l.tableoid"
        ).fetchall()
    )


def everything(source: psycopg.Connection) -> list[tuple]:
    """Every line."""
    return source.execute("SELECT * FROM orchestration.execution_logs ORDER BY id").fetchall()


def until(source: psycopg.Connection, question: str) -> None:
    """Ask until the answer is yes."""
    for _ in range(2000):
        if source.execute(question).fetchone()[0]:
            return
        threading.Event().wait(0.005)
    raise AssertionError(question)
