"""An import brings a trace into the source, whole and once."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import psycopg
import pytest
from psycopg.rows import dict_row

from pipelines.devtools.trace_import import ImportReport, import_trace
from pipelines.errors import InvalidTrace, SchemaMissing, SourceMissing
from pipelines.postgres.connections import Databases, Run, Stages
from pipelines.postgres.migrations import downgrade
from pipelines.settings import Settings
from tests.support.planting import new_id, plant_job, plant_tenant
from tests.support.small_traces import (
    ANOTHER_JOB,
    CLIENT,
    FILES,
    JOB,
    NEIGHBOUR,
    ORGANIZATION,
    THEIR_JOB,
    THEIR_WORKFLOW,
    WORKFLOW,
    edited,
    write_trace,
)

TABLES = ("organizations", "workflows", "clients", "jobs")

LOGS = f"""job_id,seq,level,timestamp,step_name,duration_ms
{JOB},1,WARN,2024-02-01T00:00:00Z,Submit,-1.5
{JOB.upper()},0,INFO,2024-01-31T08:00:30.000001Z,Open\tpage,
{THEIR_JOB},0,FATAL,2024-01-31T10:00:00Z,,
"""

Load = Callable[..., ImportReport]

pytestmark = pytest.mark.every_postgres


@pytest.fixture
def load(databases: Databases, settings: Settings, tmp_path: Path) -> Load:
    """A function that imports the small trace, with the files given instead of its own."""
    return lambda **files: import_trace(
        write_trace(tmp_path / str(new_id()), **files), Run(databases, settings)
    )


def test_a_trace_arrives_with_the_names_of_the_source(load: Load, source: psycopg.Connection) -> None:
    """`job_id` becomes `id` and so on; what is empty is NULL; times keep their microseconds."""
    before = source.execute("SELECT now()").fetchone()[0]

    report = load()

    assert [(table.name, table.rows, table.rows_written) for table in report.tables] == [
        ("organizations", 2, 2),
        ("workflows", 2, 2),
        ("clients", 2, 2),
        ("jobs", 3, 3),
    ]
    stored = rows(source, "jobs")
    now = stored[0]["updated_at"]
    assert stored[0] == {
        "id": UUID(JOB),
        "organization_id": UUID(ORGANIZATION),
        "workflow_id": UUID(WORKFLOW),
        "client_id": UUID(CLIENT),
        "initiator_type": "USER",
        "status": "COMPLETED",
        "result": None,
        "created_at": datetime(2024, 1, 31, 8, tzinfo=UTC),
        "started_at": datetime(2024, 1, 31, 8, 0, 1, 500_000, tzinfo=UTC),
        "completed_at": datetime(2024, 1, 31, 8, 1, 0, 1, tzinfo=UTC),
        "updated_at": now,
        "deleted_at": None,
    }
    assert (stored[1]["client_id"], stored[1]["initiator_type"], stored[1]["completed_at"]) == (None,) * 3
    assert {row["updated_at"] for table in TABLES for row in rows(source, table)} == {now}
    assert now >= before
    assert [row["time_zone"] for row in rows(source, "organizations")] == ["UTC", "UTC"]


def test_the_same_trace_again_writes_nothing(load: Load, source: psycopg.Connection) -> None:
    """Not one row gets a new version, however the same values are spelt."""
    load()
    before = versions(source)
    respelt = {
        "organizations": FILES["organizations"]
        .upper()
        .replace("ORGANIZATION_ID,NAME", "organization_id,name")
        .replace("ACME", "Acme")
        .replace("NEIGHBOUR", "Neighbour"),
        "workflows": FILES["workflows"].replace("\n", "\r\n"),
        "clients": "\ufeff" + FILES["clients"].replace("Dr. Who", '"Dr. Who"'),
        "jobs": edited("jobs", "2024-01-31T08:00:00.000Z", "2024-01-31 10:00:00+02:00"),
    }

    reports = [load(), load(**respelt)]

    assert [sum(table.rows_written for table in report.tables) for report in reports] == [0, 0]
    assert versions(source) == before


def test_a_changed_row_is_the_only_one_written(load: Load, source: psycopg.Connection) -> None:
    """A later trace of the same jobs brings what changed, with a new `updated_at`, and nothing else."""
    load()
    before = versions(source)
    retried = edited("jobs", ",,,RUNNING,", f",{CLIENT},USER,PENDING,")

    report = load(jobs=retried)

    after = versions(source)
    assert {key for key in after if after[key] != before[key]} == {("jobs", UUID(ANOTHER_JOB))}
    assert [table.rows_written for table in report.tables] == [0, 0, 0, 1]
    changed = rows(source, "jobs")[1]
    assert (changed["status"], changed["client_id"]) == ("PENDING", UUID(CLIENT))
    assert changed["updated_at"] > rows(source, "jobs")[0]["updated_at"]


def test_rows_that_a_trace_does_not_mention_stay(load: Load, source: psycopg.Connection) -> None:
    """Several traces, and whatever was there before them, share one database."""
    tenant = plant_tenant(source, "Somebody else")
    job = plant_job(source, tenant)
    before = versions(source)

    load()

    after = versions(source)
    assert {key: after[key] for key in before} == before
    assert ("jobs", job) in after
    assert len(after) == len(before) + 9


def test_files_of_tables_that_do_not_exist_are_named_as_ignored(
    databases: Databases, settings: Settings, tmp_path: Path
) -> None:
    """A source without logs takes the rest, whatever the file of logs holds, and the report says so."""
    folder = write_trace(tmp_path / "trace", execution_logs="job_id,seq\n", attachments=b"\xff")
    (folder / "oracle.json").write_text("{}")
    downgrade(Run(databases, settings), branch="orchestration", revision="orchestration_0001")

    report = import_trace(folder, Run(databases, settings))

    assert report.ignored == ("attachments.csv.gz", "execution_logs.csv.gz")
    assert [table.name for table in report.tables] == list(TABLES)


def test_a_log_arrives_in_its_months(load: Load, source: psycopg.Connection) -> None:
    """`seq` becomes `sequence`, the organization is that of the job, and each month has its partition."""
    report = load(execution_logs=LOGS)

    logs = report.tables[-1]
    assert (logs.name, logs.rows_written, report.ignored) == ("execution_logs", 3, ())
    assert source.execute(
        "SELECT organization_id, job_id, sequence, level::text, timestamp, step_name, message, duration_ms,"
        " tableoid::regclass::text FROM orchestration.execution_logs ORDER BY timestamp"
    ).fetchall() == [
        (
            *(UUID(ORGANIZATION), UUID(JOB), 0, "INFO", datetime(2024, 1, 31, 8, 0, 30, 1, tzinfo=UTC)),
            *("Open\tpage", None, None, "orchestration.execution_logs_2024_01"),
        ),
        (
            *(UUID(NEIGHBOUR), UUID(THEIR_JOB), 0, "FATAL", datetime(2024, 1, 31, 10, tzinfo=UTC)),
            *(None, None, None, "orchestration.execution_logs_2024_01"),
        ),
        (
            *(UUID(ORGANIZATION), UUID(JOB), 1, "WARN", datetime(2024, 2, 1, tzinfo=UTC)),
            *("Submit", None, -1.5, "orchestration.execution_logs_2024_02"),
        ),
    ]


def test_the_same_log_again_writes_nothing_and_a_changed_line_is_the_only_one_written(
    load: Load, source: psycopg.Connection
) -> None:
    """Also one that has another time now, for which it moves to another month."""
    load(execution_logs=LOGS)
    moved = LOGS.replace("2024-02-01T00:00:00Z", "2024-03-01T00:00:00Z")

    again, changed = load(execution_logs=LOGS), load(execution_logs=moved)

    assert (again.tables[-1].rows_written, changed.tables[-1].rows_written) == (0, 1)
    assert source.execute(
        "SELECT tableoid::regclass::text, count(*) FROM orchestration.execution_logs GROUP BY 1 ORDER BY 1"
    ).fetchall() == [
        ("orchestration.execution_logs_2024_01", 2),
        ("orchestration.execution_logs_2024_03", 1),
    ]


def test_columns_that_the_source_does_not_have_are_left_out(load: Load, source: psycopg.Connection) -> None:
    """A payload in the file stays in the file."""
    lines = FILES["jobs"].splitlines()
    with_payload = "\n".join([f"{lines[0]},result", *(f"{line},Jane Doe" for line in lines[1:])])

    load(jobs=with_payload)

    assert {row["result"] for row in rows(source, "jobs")} == {None}


def test_optional_columns_are_read_when_they_are_there(load: Load, source: psycopg.Connection) -> None:
    """Time zones and deletions arrive; a trace of only the required columns is complete too."""
    with_zone = f"organization_id,name,time_zone,deleted_at\n{ORGANIZATION},Acme,Europe/Amsterdam,\n"
    with_zone += f"{NEIGHBOUR},Neighbour,,2024-02-01T00:00:00Z\n"
    bare_jobs = "job_id,organization_id,workflow_id,status,created_at\n"
    bare_jobs += f"{JOB},{ORGANIZATION},{WORKFLOW},PENDING,2024-01-31T08:00:00Z\n"

    load(organizations=with_zone, jobs=bare_jobs)

    assert [(row["time_zone"], row["deleted_at"]) for row in rows(source, "organizations")] == [
        ("Europe/Amsterdam", None),
        ("UTC", datetime(2024, 2, 1, tzinfo=UTC)),
    ]
    assert [(row["status"], row["client_id"]) for row in rows(source, "jobs")] == [("PENDING", None)]


NAMES = ["tab\there", "line\nbreak", "\\N", "\\.", "a\\tb", 'O\'Brien, "Bob"', "Łódź 😀", "  padded  "]


@pytest.mark.parametrize("name", [*NAMES, "carriage\rreturn", "%(name)s", "NULL"])
def test_a_name_arrives_as_it_was_written(load: Load, source: psycopg.Connection, name: str) -> None:
    """Whatever a name holds, COPY's own signs included, is the name that is stored."""
    quoted = '"' + name.replace('"', '""') + '"'

    load(clients=edited("clients", "Dr. Who", quoted))

    assert [row["name"] for row in rows(source, "clients")] == [name, "Dr. No"]


def test_empty_files_are_a_trace_without_rows(load: Load, source: psycopg.Connection) -> None:
    """Headers alone import nothing and fail nothing."""
    headers = {table: FILES[table].partition("\n")[0] for table in TABLES}

    report = load(**headers)

    assert [(table.rows, table.rows_written) for table in report.tables] == [(0, 0)] * 4
    assert versions(source) == {}


@pytest.mark.parametrize(
    "wrong",
    [
        {"jobs": edited("jobs", THEIR_WORKFLOW, WORKFLOW)},
        {"jobs": edited("jobs", "FAILED", "BROKEN")},
        {"jobs": FILES["jobs"].encode()[:-40] + b"\xff\n"},
        {"clients": edited("clients", "client_id", "patient_id")},
        {"execution_logs": LOGS.replace("FATAL", "GRAVE")},
    ],
)
def test_a_wrong_trace_imports_nothing(load: Load, source: psycopg.Connection, wrong: dict) -> None:
    """One wrong line in the last file keeps the good files out too, and rows that were there stay."""
    plant_job(source, plant_tenant(source, "Somebody else"))
    before = versions(source)

    with pytest.raises(InvalidTrace, match="nothing was imported"):
        load(**wrong)

    assert versions(source) == before


def test_a_trace_that_contradicts_the_database_imports_nothing(
    load: Load, source: psycopg.Connection
) -> None:
    """A workflow with jobs cannot move to another tenant: the broken rule is named, values are not."""
    load()
    before = versions(source)
    moved = {
        "workflows": edited("workflows", f"{THEIR_WORKFLOW},{NEIGHBOUR}", f"{THEIR_WORKFLOW},{ORGANIZATION}"),
        "clients": edited("clients", "Dr. Who", "Jane Doe"),
        "jobs": FILES["jobs"].replace(FILES["jobs"].splitlines()[-1], ""),
    }

    with pytest.raises(InvalidTrace) as refusal:
        load(**moved)

    assert str(refusal.value).endswith(
        "It contradicts rows that are in the database already (jobs_workflow_is_of_the_same_organization);"
        " import into an empty database."
    )
    assert THEIR_JOB not in str(refusal.value)
    assert versions(source) == before


def test_a_source_without_tables_says_what_to_do(
    databases: Databases, settings: Settings, tmp_path: Path, create_database
) -> None:
    """Our own database wants `execmetrics migrate`; a source elsewhere wants its URL and grants looked at."""
    trace = write_trace(tmp_path / "trace")
    downgrade(Run(databases, settings), branch="orchestration", revision="base")
    elsewhere = Databases(create_database(), databases.source_url)

    with pytest.raises(SchemaMissing, match="run `execmetrics migrate` first"):
        import_trace(trace, Run(databases, settings))
    with pytest.raises(SourceMissing, match="check EXECMETRICS_SOURCE_URL"):
        import_trace(trace, Run(elsewhere, settings))


def test_progress_is_told(databases: Databases, settings: Settings, tmp_path: Path) -> None:
    """Progress tells how many rows were read, and how many have been loaded so far."""
    heard: list[tuple[str, int]] = []
    trace = write_trace(tmp_path / "trace")

    followed = Stages(lambda stage, done: heard.append((stage, done)))
    import_trace(trace, Run(databases, settings, followed))

    assert heard == [("read", 9), ("load", 2), ("load", 4), ("load", 6), ("load", 9)]


def rows(source: psycopg.Connection, table: str) -> list[dict]:
    """All rows of a table of the source, by id."""
    with source.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(f"SELECT * FROM orchestration.{table} ORDER BY id").fetchall()


def versions(source: psycopg.Connection) -> dict[tuple[str, UUID], tuple]:
    """Which version of each row is stored."""
    return {
        (table, row[0]): row[1:]
        for table in TABLES
        for row in source.execute(f"SELECT id, xmin::text, ctid::text FROM orchestration.{table}")
    }
