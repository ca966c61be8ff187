"""What an execution said is written whole, found by its tenant alone, and paged without a gap."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest

from pipelines.errors import (
    ExecutionQueryError,
    InvalidRange,
    JobNotVisible,
    JsonTooLarge,
    RowRefused,
)
from pipelines.executions.execution_logs import LogLine, NewLogLine
from pipelines.subjects.steps import Level
from tests.postgres.executions.conftest import Begin, count_rows, write_lines
from tests.support.log_lines import line
from tests.support.planting import DAY, NOON, Tenant, change_job, new_id, plant_job

pytestmark = pytest.mark.every_postgres


def test_a_line_comes_back_as_it_was_written(
    source: psycopg.Connection, begin: Begin, acme: Tenant, neighbour: Tenant
) -> None:
    """Every column and character, nothing where nothing was said, and an id that orders as lines came."""
    job, another, theirs = plant_job(source, acme), plant_job(source, acme), plant_job(source, neighbour)
    written = [
        line(another, 2**31 - 1),
        line(
            job,
            1,
            level=Level.FATAL,
            timestamp=datetime(2024, 1, 31, 12, 0, 0, 1, tzinfo=UTC),
            step_name="Łódź\t😀",
            message='tab\t, "quotes", \\N and\nlines',
            duration_ms=-0.1,
            metadata={"try": [1, None, "é"]},
        ),
        line(job, 0, message=None),
        line(job, 2, timestamp=datetime(1969, 1, 1, tzinfo=UTC), metadata={}, step_name=""),
    ]
    write_lines(begin, neighbour, [line(theirs)])

    with begin(acme) as work:
        count = work.logs.create_many(written)
        work.commit()

    with begin(acme) as work:
        found = [*work.logs.find_by_job(another), *work.logs.find_by_job(job)]
    assert count == 4
    assert [without_id(each) for each in found] == [without_id(each) for each in written]
    assert sorted(each.id for each in found) == [each.id for each in found]
    assert {each.id.version for each in found} == {7}


@pytest.mark.parametrize("place", [0, 1_500, 3_000])
def test_lines_of_another_tenants_job_cannot_be_written(
    source: psycopg.Connection, begin: Begin, acme: Tenant, neighbour: Tenant, place: int
) -> None:
    """Nor of one that does not exist: wherever it comes, nothing of the unit of work is kept."""
    mine, theirs = plant_job(source, acme), plant_job(source, neighbour)

    for foreign in (theirs, new_id()):
        said = [line(mine, number) for number in range(3_000)]
        said.insert(place, line(foreign))
        with begin(acme) as work:
            work.logs.create_many([line(mine)])
            with pytest.raises(JobNotVisible):
                work.logs.create_many(said)
            with pytest.raises(ExecutionQueryError):
                work.commit()

    assert count_rows(source, "execution_logs") == 0


def test_a_failure_of_the_caller_leaves_no_line_behind(
    source: psycopg.Connection, begin: Begin, acme: Tenant
) -> None:
    """Also if the caller goes on; the log of the server has no word of it, which may be a value."""
    job, secret = plant_job(source, acme), f"patient {new_id()}"

    def cut_off() -> Iterator[NewLogLine]:
        yield from (line(job, number) for number in range(3_000))
        raise KeyError(secret)

    with begin(acme) as work:
        with pytest.raises(KeyError, match=secret):
            work.logs.create_many(cut_off())
        with pytest.raises(ExecutionQueryError):
            work.commit()

    assert count_rows(source, "execution_logs") == 0
    ((data,),) = source.execute("SHOW data_directory").fetchall()
    log = (Path(data) / "server.log").read_text("utf-8", errors="replace")
    assert "COPY from stdin failed" in log
    assert secret not in log


def test_a_line_that_cannot_be_stored_stores_nothing(
    source: psycopg.Connection, begin: Begin, acme: Tenant
) -> None:
    """Whatever is wrong is a sentence without the value, and the lines beside it are not kept."""
    job = plant_job(source, acme)
    refused = {
        "sequence_is_not_negative": {"sequence": -1},
        "duration_is_a_number": {"duration_ms": float("nan")},
        "timestamp_is_a_moment": {"timestamp": datetime(9999, 2, 1, tzinfo=UTC)},
        "cannot be stored": {"sequence": 2**31},
        "a value cannot be stored": {"sequence": 2**63},
        "a value cannot be stored in": {"sequence": 1.5},
        "cannot be stored in": {"message": "Jane\0Doe"},
        "cannot be stored in its": {"message": "Jane \ud800"},
        "cannot be stored in its column": {"timestamp": datetime(2024, 1, 31)},  # noqa: DTZ001
    }

    for sentence, columns in refused.items():
        with begin(acme) as work, pytest.raises(RowRefused, match=sentence) as refusal:
            work.logs.create_many([line(job), line(job, **columns)])
        assert "Jane" not in str(refusal.value)
    with (
        begin(acme, json_limit_bytes=20) as work,
        pytest.raises(JsonTooLarge, match=r"execution_logs\.metadata"),
    ):
        work.logs.create_many([line(job), line(job, metadata="x" * 20)])

    assert count_rows(source, "execution_logs") == 0


def test_a_tenant_sees_only_its_own_lines(
    source: psycopg.Connection, begin: Begin, acme: Tenant, neighbour: Tenant
) -> None:
    """Of a neighbour's job there are no lines, no counts, nothing to delete; who asked is written down."""
    mine, theirs = plant_job(source, acme), plant_job(source, neighbour)
    for tenant, job in ((acme, mine), (neighbour, theirs)):
        write_lines(begin, tenant, [line(job, level=level) for level in Level])

    with begin(acme) as work:
        found = work.logs.find_by_job(theirs), work.logs.find_errors_by_job(theirs)
        counts = work.logs.get_level_counts(theirs)
        deleted = work.logs.delete_by_job(theirs)
        own = work.logs.get_level_counts(mine)
        work.commit()

    assert (found, deleted) == (((), ()), 0)
    assert counts == dict.fromkeys(Level, 0)
    assert own == dict.fromkeys(Level, 1)
    accesses = source.execute("SELECT job_id FROM orchestration.phi_access_log ORDER BY id").fetchall()
    assert accesses == [(theirs,)] * 3 + [(mine,)]
    assert count_rows(source, "execution_logs") == 12


def test_lines_are_chosen_by_level_and_time(
    source: psycopg.Connection, begin: Begin, acme: Tenant, neighbour: Tenant
) -> None:
    """A range begins with its first moment and ends before its last; errors begin at ERROR, or at WARN."""
    job, theirs = plant_job(source, acme), plant_job(source, neighbour)
    write_lines(begin, neighbour, [line(theirs, level=Level.ERROR)])
    with begin(acme) as work:
        work.logs.create_many(
            [
                line(job, number, level=level, timestamp=NOON + number * DAY)
                for number, level in enumerate(Level)
            ]
        )
        asked = {"since": NOON + DAY, "until": NOON + 4 * DAY}
        found = {
            "a level": levels(work.logs.find_by_job(job, level=Level.WARN)),
            "a level out of range": levels(work.logs.find_by_job(job, level=Level.TRACE, **asked)),
            "a range": levels(work.logs.find_by_job(job, **asked)),
            "errors": levels(work.logs.find_errors_by_job(job)),
            "errors and warnings": levels(work.logs.find_errors_by_job(job, with_warnings=True)),
            "errors of a range": levels(work.logs.find_errors_by_job(job, with_warnings=True, **asked)),
            "counted": [level for level, count in work.logs.get_level_counts(job, **asked).items() if count],
        }
        with pytest.raises(InvalidRange):
            work.logs.find_by_job(job, since=NOON, until=NOON)

    assert found == {
        "a level": ["WARN"],
        "a level out of range": [],
        "a range": ["WARN", "INFO", "DEBUG"],
        "errors": ["FATAL", "ERROR"],
        "errors and warnings": ["FATAL", "ERROR", "WARN"],
        "errors of a range": ["WARN"],
        "counted": ["DEBUG", "INFO", "WARN"],
    }


def test_a_deleted_jobs_lines_are_not_there(source: psycopg.Connection, begin: Begin, acme: Tenant) -> None:
    """Unless deleted ones are asked for; deleting the lines works either way, and is for good."""
    job, another = plant_job(source, acme), plant_job(source, acme)
    write_lines(begin, acme, [line(job), line(another, level=Level.ERROR)])
    change_job(source, another, deleted_at=NOON)

    with begin(acme) as work:
        hidden = work.logs.find_errors_by_job(another), sum(work.logs.get_level_counts(another).values())
        shown = work.logs.find_errors_by_job(another, include_deleted=True)
        counted = sum(work.logs.get_level_counts(another, include_deleted=True).values())
        deleted = work.logs.delete_by_job(another)
        work.commit()

    assert (hidden, len(shown), counted, deleted) == (((), 0), 1, 1, 1)
    assert source.execute("SELECT job_id FROM orchestration.execution_logs").fetchall() == [(job,)]


def without_id(each: object) -> dict:
    """The columns of a line but for its id."""
    return {name: value for name, value in vars(each).items() if name != "id"}


def levels(found: tuple[LogLine, ...]) -> list[str]:
    """The levels of lines, in their order."""
    return [each.level.value for each in found]
