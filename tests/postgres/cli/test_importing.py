"""Importing a trace from the command line: all of it or nothing."""

import gzip
from pathlib import Path

import pytest
from psycopg import Connection

from tests.postgres.cli.conftest import Execmetrics

ORGANIZATION = "0b000000-0000-4000-8000-000000000001"
WORKFLOW = "0b000000-0000-4000-8000-000000000002"
CLIENT = "0b000000-0000-4000-8000-000000000003"
JOB = "0b000000-0000-4000-8000-00000000000"

TRACE = {
    "organizations": ["organization_id,name", f"{ORGANIZATION},Acme"],
    "workflows": ["workflow_id,organization_id,name", f"{WORKFLOW},{ORGANIZATION},Intake"],
    "clients": ["client_id,organization_id,name", f"{CLIENT},{ORGANIZATION},Ward"],
    "jobs": [
        "job_id,organization_id,workflow_id,client_id,status,created_at,started_at,completed_at",
        *(
            f"{JOB}{number},{ORGANIZATION},{WORKFLOW},{CLIENT},COMPLETED,"
            "2024-01-31T11:00:00Z,2024-01-31T11:30:00Z,2024-01-31T12:00:00Z"
            for number in (4, 5)
        ),
    ],
    "execution_logs": ["job_id,seq,level,timestamp", f"{JOB}4,0,INFO,2024-01-31T12:00:00Z"],
    "attachments": ["attachment_id,job_id"],
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A small trace that is in order."""
    for name, lines in TRACE.items():
        write(tmp_path / f"{name}.csv.gz", lines)
    return tmp_path


def test_an_import_says_what_each_file_brought(
    execmetrics: Execmetrics, source: Connection, folder: Path
) -> None:
    """Rows and written rows of each table, and the files that no table takes yet."""
    first, again = execmetrics("import", str(folder), "--json"), execmetrics("import", str(folder))

    assert (first.exit_code, again.exit_code) == (0, 0)
    assert first.document == {
        "tables": [
            {"name": "organizations", "rows": 1, "rows_written": 1},
            {"name": "workflows", "rows": 1, "rows_written": 1},
            {"name": "clients", "rows": 1, "rows_written": 1},
            {"name": "jobs", "rows": 2, "rows_written": 2},
            {"name": "execution_logs", "rows": 1, "rows_written": 1},
        ],
        "ignored": ["attachments.csv.gz"],
    }
    assert "Ignored, because the source has no table for them: attachments.csv.gz" in again.stdout
    assert source.execute("SELECT count(*) FROM orchestration.jobs").fetchone() == (2,)


@pytest.mark.parametrize(
    ("find", "replace", "sentence"),
    [
        ("workflow_id,client_id", "client_id,workflow", "jobs.csv.gz, line 1: the header lacks workflow_id"),
        (f"{JOB}5", "patient Smith", "jobs.csv.gz, line 3, column job_id: not a UUID"),
        ("COMPLETED", "DONE", "jobs.csv.gz, line 2, column status: unknown"),
        ("2024-01-31T12", "31/1/2024T12", "jobs.csv.gz, line 2, column completed_at: not a time"),
    ],
)
def test_a_bad_file_imports_nothing(
    execmetrics: Execmetrics, source: Connection, folder: Path, find: str, replace: str, sentence: str
) -> None:
    """The file, the line and the column are named, its value is not, and no table has a row of it."""
    write(folder / "jobs.csv.gz", [line.replace(find, replace) for line in TRACE["jobs"]])

    ended = execmetrics("import", str(folder))

    assert ended.exit_code == 2
    assert sentence in ended.stderr
    assert "Smith" not in ended.stderr
    assert ended.stdout == ""
    assert source.execute("SELECT count(*) FROM orchestration.organizations").fetchone() == (0,)


def write(path: Path, lines: list[str]) -> None:
    """Write the lines as a gzipped file."""
    path.write_bytes(gzip.compress("\n".join([*lines, ""]).encode()))
