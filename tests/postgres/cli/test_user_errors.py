"""A mistake ends with one plain sentence on stderr and the exit code that says whose it is."""

import pytest
from psycopg import Connection

from tests.postgres.cli.conftest import Execmetrics
from tests.support.planting import plant_job, plant_tenant

NOBODY = "12345678-0000-4000-8000-000000000000"

# What commands begin with.
RANGE = "reconcile --since 2024-01-01 --until 2024-02-01"
CELL = f"explain --organization {NOBODY} --period day --start 2024-01-31"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ("reconcile --since yesterday --until 2024-02-01", "'yesterday' is neither a date nor a time"),
        ("reconcile --since 2024-02-30 --until 2024-03-01", "'2024-02-30' is neither a date nor a time"),
        ("reconcile --since 20240201 --until 2024-03-01", "'20240201' is neither a date nor a time"),
        ("verify --since 2024-02-01T00:00", "'2024-02-01T00:00' is neither a date nor a time"),
        ("verify --until 0001-01-01T00:00:00+10:00", "is neither a date nor a time"),
        ("reconcile --since 2024-02-01 --until 2024-02-01", "(2024-02-01 is not before 2024-02-01)"),
        ("verify --since 2024-02-01T00:00:00 --until 2024-02-01", "is not before 2024-02-01)"),
        ("verify --since 2024-02-01 --until 2024-02-01T00:00:00Z", "is not before 2024-02-01T00:00:00+00:00"),
        ("refresh --organization acme", "No such organization"),
        (f"refresh --organization {NOBODY}", "No such organization"),
        (f"{RANGE} --organization {NOBODY}", "No such organization"),
        (f"{RANGE} --dry-run --organization {NOBODY}", "No such organization"),
        ("reconcile --since 2024-02-01 --until 2024-02-01 --dry-run", "is not before"),
        (f"verify --organization {NOBODY}", "No such organization"),
        ("import /no/such/folder", "nothing was imported. There is no folder /no/such/folder"),
        ("reconcile --since 2024-01-01", "Missing option '--until'"),
        ("refresh --quickly", "No such option: --quickly"),
        ("explain --period day --start 2024-01-31", "Missing option '--organization'"),
        (f"explain --organization {NOBODY} --period day", "Missing option '--start'"),
        (f"explain --organization {NOBODY} --start 2024-01-31", "Missing option '--period'"),
        (CELL, "No such cell was ever published"),
        (f"explain --organization {NOBODY} --period year --start 2024-01-31", "Invalid value for '--period'"),
        (f"explain --organization {NOBODY} --period day --start now", "'now' is neither a date nor a time"),
        (f"{CELL} --as-of then", "'then' is neither a date nor a time"),
        (f"{CELL} --client mine", "Invalid value for '--client': 'mine' is not all, none or a UUID"),
        (f"{CELL} --workflow none", "Invalid value for '--workflow': 'none' is not all or a UUID"),
        ("refreshen", "No such command 'refreshen'"),
        ("dev --port 99999", "Invalid value for '--port'"),
    ],
)
def test_a_mistake_is_told_in_a_sentence(
    execmetrics: Execmetrics, source: Connection, arguments: str, sentence: str
) -> None:
    """Exit code 2, one line on stderr, nothing on stdout."""
    plant_job(source, plant_tenant(source))

    ended = execmetrics(*arguments.split())

    assert ended.exit_code == 2
    assert sentence in ended.stderr
    assert ended.stderr.count("\n") == 1
    assert ended.stdout == ""


@pytest.mark.parametrize(
    ("variable", "value", "sentence"),
    [
        ("EXECMETRICS_DATABASE_URL", "postgresql://me:sesame@127.0.0.1:1/db", "The database does not answer"),
        ("EXECMETRICS_SOURCE_URL", "postgresql://me:sesame@127.0.0.1:1/db", "The database does not answer"),
        ("EXECMETRICS_DATABASE_URL", "sesame", "EXECMETRICS_DATABASE_URL is not a database URL"),
        ("EXECMETRICS_SOURCE_URL", "mysql://me:sesame@host/db", "must start with postgresql://"),
        ("EXECMETRICS_LOCK_TIMEOUT", "sesame", "EXECMETRICS_LOCK_TIMEOUT"),
        ("EXECMETRICS_EARLIEST_COMPLETION", "sesame", "EXECMETRICS_EARLIEST_COMPLETION"),
        ("EXECMETRICS_ROLLUP_PLAN", "hour=sesame", "EXECMETRICS_ROLLUP_PLAN: "),
        ("EXECMETRICS_KEEP_HOURS", "sesame", "EXECMETRICS_KEEP_HOURS"),
    ],
)
def test_a_setting_that_does_not_work_is_named_without_its_secret(
    execmetrics: Execmetrics, monkeypatch: pytest.MonkeyPatch, variable: str, value: str, sentence: str
) -> None:
    """The variable or the address is named; a password is not, wherever it stood."""
    monkeypatch.setenv(variable, value)

    ended = execmetrics("refresh")

    assert ended.exit_code == 2
    assert sentence in ended.stderr
    assert "sesame" not in ended.stderr
    assert ended.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "command",
    ["refresh", "rebuild", "verify", "status", RANGE, f"{RANGE} --dry-run", CELL],
)
def test_an_empty_database_is_told_apart(
    execmetrics: Execmetrics, analytics: Connection, command: str
) -> None:
    """Without our tables the sentence is what to do about it."""
    analytics.execute("DROP SCHEMA analytics CASCADE")

    ended = execmetrics(*command.split())

    assert ended.exit_code == 2
    assert "run `execmetrics migrate` first" in ended.stderr


def test_a_source_without_jobs_table_is_told_apart(execmetrics: Execmetrics, source: Connection) -> None:
    """What is absent from the source is named."""
    source.execute("ALTER TABLE orchestration.jobs RENAME COLUMN completed_at TO ended_at")

    ended = execmetrics("refresh")

    assert ended.exit_code == 2
    assert "jobs.completed_at" in ended.stderr


def test_another_run_is_waited_for_and_then_named(
    execmetrics: Execmetrics, analytics: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that cannot begin is no mistake of the user: exit code 1."""
    analytics.execute("SELECT pg_advisory_lock(hashtextextended('execution-metrics refresh', 0))")
    monkeypatch.setenv("EXECMETRICS_LOCK_TIMEOUT", "1 second")

    ended = execmetrics("refresh")

    assert ended.exit_code == 1
    assert "Another run is still at work" in ended.stderr


def test_what_nobody_expected_shows_where_but_no_values(
    execmetrics: Execmetrics, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lines of the program are shown; the words of the failure may quote somebody's rows."""
    monkeypatch.setattr("pipelines.runs.status.require_analytics", _fail)

    ended = execmetrics("status")

    assert ended.exit_code == 1
    assert "pipelines/runs/status.py" in ended.stderr
    assert "An unexpected ValueError" in ended.stderr
    assert "John Smith" not in ended.stderr


def _fail(*_: object) -> None:
    patient = "John Smith"
    raise ValueError(f"invalid row of {patient}")
