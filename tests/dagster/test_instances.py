"""The two configurations of Dagster that we ship, as Dagster itself reads them."""

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import dagster as dg
import psycopg
import pytest

from tests.support.places import ROOT

Configured = Callable[[str], Path]


@pytest.fixture
def configured_home(tmp_path: Path) -> Configured:
    """A function that makes a DAGSTER_HOME with one of our files."""

    def home(which: str) -> Path:
        shutil.copyfile(ROOT / "deploy" / which / "dagster.yaml", tmp_path / "dagster.yaml")
        return tmp_path

    return home


@pytest.fixture
def url(create_database: Callable[[], str], monkeypatch: pytest.MonkeyPatch) -> str:
    """A database that the environment names to Dagster."""
    url = create_database()
    monkeypatch.setenv("DAGSTER_PG_URL", url.replace("postgresql://", "postgresql+psycopg2://", 1))
    return url


def test_production_keeps_its_records_in_postgresql(
    configured_home: Configured, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`dagster instance info` loads the file, and its tables are in the database that the variable names."""
    monkeypatch.setenv("DAGSTER_HOME", str(configured_home("production")))

    said = subprocess.run(
        [sys.executable, "-m", "dagster", "instance", "info"], capture_output=True, text=True
    )

    assert said.returncode == 0, said.stderr
    assert "PostgresRunStorage" in said.stdout
    with psycopg.connect(url) as connection:
        tables = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall()
    assert {("runs",), ("event_logs",), ("jobs",)} <= set(tables)


@pytest.mark.usefixtures("url")
def test_a_slot_is_kept_for_the_hourly_run(configured_home: Configured) -> None:
    """Backfills never fill the queue's slots, dead runs are noticed, and nobody is told about us."""
    with dg.DagsterInstance.from_config(str(configured_home("production"))) as production:
        runs = production.get_concurrency_config().run_queue_config
        assert limits(runs)["dagster/backfill"] < runs.max_concurrent_runs
        assert production.run_monitoring_enabled
        assert (production.run_retries_enabled, production.run_retries_max_retries) == (True, 1)
        assert production.run_retries_retry_on_asset_or_op_failure is False
        assert production.telemetry_enabled is False


def test_development_needs_no_database(configured_home: Configured) -> None:
    """Records in files of its own home, and the same rules for the queue."""
    home = configured_home("development")

    with dg.DagsterInstance.from_config(str(home)) as development:
        runs = development.get_concurrency_config().run_queue_config
        assert limits(runs)["dagster/backfill"] < runs.max_concurrent_runs
        assert development.run_monitoring_enabled
        assert development.run_retries_enabled is False
        assert development.telemetry_enabled is False
        assert "Sqlite" in type(development.run_storage).__name__


def limits(runs: object) -> dict[str, int]:
    """How many runs with a tag may be at work at a time."""
    return {limit["key"]: limit["limit"] for limit in runs.tag_concurrency_limits}
