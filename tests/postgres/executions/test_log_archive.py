"""An archived month is read as if it were still in the database, by its tenant alone, and damage is named."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import hypothesis
import polars as pl
import psycopg
import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from pipelines.errors import LogArchiveNotWritten, LogArchiveUnusable
from pipelines.executions.log_archive import Month
from pipelines.postgres.connections import Databases, Run
from pipelines.runs.log_retention import LogsReport, keep_logs
from pipelines.settings import Settings
from pipelines.subjects.steps import Level
from tests.postgres.executions.conftest import Begin, write_lines
from tests.support.log_lines import all_pages, line, lines
from tests.support.planting import DAY, MINUTE, NOON, Tenant, change_job, plant_job

JANUARY = Month(2024, 1)

# When January has been old enough to go, and February not yet.
LATER = datetime(2024, 2, 20, tzinfo=UTC)

Archive = Callable[..., LogsReport]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where archives go."""
    return tmp_path / "my archives"


@pytest.fixture
def archive(databases: Databases, settings: Settings, folder: Path) -> Archive:
    """A function that keeps the logs as of February and lets January go into the folder."""

    def archived(*, now: datetime = LATER, **changed: object) -> LogsReport:
        limits = {"keep_logs": 10 * DAY, "log_archive_url": str(folder)} | changed
        return keep_logs(
            Run(databases, settings.model_copy(update=limits)), unpublished=lambda _month: None, now=now
        )

    return archived


@pytest.fixture
def jobs(source: psycopg.Connection, begin: Begin, acme: Tenant, neighbour: Tenant) -> tuple[UUID, UUID]:
    """A job of the tenant and one of its neighbour, each with the same lines in January and in February."""
    found = []
    for tenant in (acme, neighbour):
        job = plant_job(source, tenant)
        with begin(tenant) as work:
            work.logs.create_many(
                [
                    line(job, 0, timestamp=NOON - 3 * DAY, level=Level.FATAL, metadata={"a": [1, None]}),
                    line(job, 1, message='tab\t, "quotes", \\N and\nlines', step_name="", duration_ms=-0.1),
                    line(job, 2, message=None, level=Level.WARN),
                    line(job, 3, timestamp=NOON + 5 * DAY, level=Level.ERROR),
                ]
            )
            work.commit()
        found.append(job)
    return found[0], found[1]


@pytest.mark.every_postgres
def test_an_archived_month_is_read_as_before(
    source: psycopg.Connection,
    begin: Begin,
    acme: Tenant,
    jobs: tuple[UUID, UUID],
    archive: Archive,
    folder: Path,
) -> None:
    """Every question has the answer it had when the lines were in the database, and they are not any more."""
    before = answers(begin, acme, jobs[0])

    report = archive()

    assert report.months_dropped == ("2024-01",)
    assert report.archive_verified == "2024-01"
    assert source.execute("SELECT count(*) FROM orchestration.execution_logs").fetchone() == (2,)
    assert answers(begin, acme, jobs[0]) == before
    (kept,) = source.execute(
        "SELECT archive_reference, archived_rows, archived_at IS NULL, dropped_at IS NULL"
        " FROM orchestration.execution_log_months"
    ).fetchall()
    assert kept == (str(*folder.iterdir()), 6, False, False)
    assert folder.stat().st_mode & 0o777 == 0o700


def test_an_archive_shows_a_tenant_nobody_elses_lines(
    source: psycopg.Connection, begin: Begin, acme: Tenant, jobs: tuple[UUID, UUID], archive: Archive
) -> None:
    """Nor those of a job that is deleted; each reading of it is logged."""
    archive()
    mine, theirs = jobs

    with begin(acme) as work:
        foreign = work.logs.find_by_job(theirs), work.logs.find_errors_by_job(theirs)
        counted = sum(work.logs.get_level_counts(theirs).values())
    change_job(source, mine, deleted_at=NOON)
    with begin(acme) as work:
        deleted = work.logs.find_by_job(mine)
        asked_for = work.logs.find_by_job(mine, include_deleted=True)

    assert (foreign, counted, deleted, len(asked_for)) == (((), ()), 0, (), 4)
    assert source.execute("SELECT count(*) FROM orchestration.phi_access_log").fetchone() == (5,)


@pytest.mark.every_postgres
@hypothesis.settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    moments=st.lists(
        st.sampled_from([NOON - MINUTE, NOON, Month(2024, 2).start - timedelta(microseconds=1)]), max_size=5
    ),
    later=st.lists(st.sampled_from([Month(2024, 2).start, NOON + 5 * DAY]), max_size=5),
    late=st.lists(st.sampled_from([NOON - MINUTE, NOON]), max_size=3),
    rows=st.integers(1, 5),
    errors=st.booleans(),
)
def test_pages_go_on_across_the_border(
    source: psycopg.Connection,
    begin: Begin,
    acme: Tenant,
    neighbour: Tenant,
    archive: Archive,
    moments: list[datetime],
    later: list[datetime],
    late: list[datetime],
    rows: int,
    errors: bool,
) -> None:
    """No line is left out or told twice, also where lines of an archived month came after it was archived."""
    job, theirs = plant_job(source, acme), plant_job(source, neighbour)
    write_lines(begin, neighbour, lines(theirs, moments + later, level=Level.ERROR))
    for some, archived in ((moments + later, True), (late, False)):
        write_lines(begin, acme, [each for each in lines(job, some, level=Level.ERROR) for _ in range(2)])
        if archived:
            archive()

    with begin(acme) as work:
        find = work.logs.find_errors_by_job if errors else work.logs.find_by_job
        whole = find(job)
        paged = list(all_pages(lambda **page: find(job, **page), rows))
        counted = work.logs.get_level_counts(job)[Level.ERROR]

    assert len(whole) == counted == 2 * len(moments + later + late)
    assert paged == list(whole) == sorted(whole, key=lambda each: each.place, reverse=True)


def test_lines_that_come_after_the_archive_are_added_to_it(
    source: psycopg.Connection,
    begin: Begin,
    acme: Tenant,
    jobs: tuple[UUID, UUID],
    archive: Archive,
    folder: Path,
) -> None:
    """The month is made again, archived with what there was, and dropped again; the old file goes later."""
    archive()
    write_lines(begin, acme, [line(jobs[0], 9, level=Level.ERROR)])
    before = answers(begin, acme, jobs[0])

    report = archive()
    swept = archive(now=datetime.now(UTC) + 2 * DAY, keep_logs=None).archives_swept

    assert (report.months_made, report.lines_moved, report.months_dropped) == (("2024-01",), 1, ("2024-01",))
    assert answers(begin, acme, jobs[0]) == before
    assert source.execute("SELECT archived_rows FROM orchestration.execution_log_months").fetchall() == [(7,)]
    assert (swept, len(list(folder.iterdir()))) == (1, 1)


def test_deleting_a_log_deletes_the_archived_part(
    begin: Begin,
    acme: Tenant,
    neighbour: Tenant,
    jobs: tuple[UUID, UUID],
    archive: Archive,
) -> None:
    """Once it is committed; the neighbour's part of the same file stays as it is."""
    archive()
    theirs = answers(begin, neighbour, jobs[1])
    with begin(acme) as work:
        work.logs.delete_by_job(jobs[0])
    untouched = len(read(begin, acme, jobs[0]))

    with begin(acme) as work:
        foreign, deleted = work.logs.delete_by_job(jobs[1]), work.logs.delete_by_job(jobs[0])
        work.commit()

    assert (untouched, foreign, deleted) == (4, 0, 4)
    assert read(begin, acme, jobs[0]) == ()
    assert answers(begin, neighbour, jobs[1]) == theirs
    assert archive().archive_verified == "2024-01"


def test_a_missing_archive_is_named(
    begin: Begin, acme: Tenant, jobs: tuple[UUID, UUID], archive: Archive, folder: Path
) -> None:
    """The month and the file; a range that does not need it is answered."""
    archive()
    (file,) = folder.iterdir()
    file.unlink()

    with pytest.raises(LogArchiveUnusable, match=r"\(2024-01: .*execution_logs_2024_01-\w+\.parquet\)$"):
        read(begin, acme, jobs[0])
    with begin(acme) as work:
        assert len(work.logs.find_by_job(jobs[0], since=Month(2024, 2).start)) == 1
        assert len(work.logs.find_by_job(jobs[0], rows=1)) == 1


def test_another_file_in_its_place_is_noticed_when_it_is_read(
    begin: Begin, acme: Tenant, jobs: tuple[UUID, UUID], archive: Archive, folder: Path
) -> None:
    """One that was cut short, and one with fewer lines."""
    archive()
    (file,) = folder.iterdir()
    whole = file.read_bytes()

    file.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(LogArchiveUnusable, match="2024-01"):
        read(begin, acme, jobs[0])
    file.write_bytes(whole)
    pl.read_parquet(file).head(5).write_parquet(file)
    with pytest.raises(LogArchiveUnusable, match="2024-01"):
        read(begin, acme, jobs[0])


@pytest.mark.usefixtures("jobs")
@pytest.mark.parametrize(
    "change",
    [
        pl.col("message").fill_null("somebody else's"),
        pl.col("message").fill_null(""),
        pl.col("duration_ms") + 1e-9,
        pl.col("level").replace("FATAL", "ERROR"),
        pl.col("timestamp") + timedelta(microseconds=1),
        pl.col("sequence").reverse(),
    ],
)
def test_a_line_that_was_changed_is_noticed_by_the_nightly_run(
    archive: Archive, folder: Path, change: pl.Expr
) -> None:
    """Whatever is not as it was written; all else goes on as before."""
    archive()
    (file,) = folder.iterdir()
    pl.read_parquet(file).with_columns(change).write_parquet(file)

    with pytest.raises(LogArchiveUnusable, match="2024-01"):
        archive()


@pytest.mark.usefixtures("jobs")
def test_a_month_that_cannot_be_archived_is_not_dropped(
    source: psycopg.Connection, archive: Archive, folder: Path
) -> None:
    """The lines stay where they are, and nothing is on record."""
    folder.write_text("a file where the folder should be")

    with pytest.raises(LogArchiveNotWritten, match="2024-01"):
        archive()

    assert source.execute("SELECT count(*) FROM orchestration.execution_logs").fetchone() == (8,)
    assert source.execute("SELECT count(*) FROM orchestration.execution_log_months").fetchone() == (0,)


def answers(begin: Begin, tenant: Tenant, job: UUID) -> list[object]:
    """What the repository says of a job's log."""
    with begin(tenant) as work:
        logs = work.logs
        return [
            logs.find_by_job(job),
            logs.find_by_job(job, level=Level.FATAL),
            logs.find_by_job(job, since=NOON, until=NOON + MINUTE),
            logs.find_by_job(job, rows=2),
            logs.find_errors_by_job(job),
            logs.find_errors_by_job(job, with_warnings=True, rows=2),
            logs.get_level_counts(job),
            logs.get_level_counts(job, until=NOON),
        ]


def read(begin: Begin, tenant: Tenant, job: UUID) -> tuple:
    """A job's log."""
    with begin(tenant) as work:
        return work.logs.find_by_job(job)
