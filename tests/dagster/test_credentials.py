"""Passwords of databases are used and forgotten: no table, no fact and no record of Dagster has one."""

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import psycopg
import pytest

from pipelines.postgres.connections import Databases, Run
from pipelines.runs.refresh import refresh
from pipelines.settings import Settings, load_settings
from tests.conftest import OWNER
from tests.support.dagster_runs import refresh_run
from tests.support.planting import plant_job, plant_tenant

PASSWORD = "s3cret-of-the-source"


@pytest.fixture
def secretive(databases: Databases, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Databases:
    """Databases and an environment with a password in each URL; the server asks for none on its socket."""
    with_password = databases.source_url.replace("///", f"//{OWNER}:{PASSWORD}@/")
    for name in ("DATABASE_URL", "SOURCE_URL", "READER_URL"):
        monkeypatch.setenv(f"EXECMETRICS_{name}", with_password)
    monkeypatch.setenv("EXECMETRICS_HOME", str(settings.home))
    return Databases(with_password, with_password)


@pytest.mark.usefixtures("impatient")
def test_no_password_is_stored(
    secretive: Databases, source: psycopg.Connection, analytics: psycopg.Connection, tmp_path: Path
) -> None:
    """Neither by a pass that succeeds nor by a run that fails, in any column or any file."""
    plant_job(source, plant_tenant(source))
    plant_job(source, plant_tenant(source, "Neighbour"))
    refresh(Run(secretive, load_settings()))
    source.execute("ALTER TABLE orchestration.jobs RENAME TO gone")
    (tmp_path / "dagster").mkdir()
    with dg.DagsterInstance.local_temp(str(tmp_path / "dagster")) as instance:
        failed = refresh_run(None, instance=instance)

    assert not failed.success
    assert list(tables_with(analytics, PASSWORD)) == []
    assert [path for path in files(tmp_path) if PASSWORD.encode() in path.read_bytes()] == []

    # The control: had one been stored, it would have been found.
    analytics.execute("UPDATE analytics.organizations SET name = %s", [f"{PASSWORD}!"])
    assert list(tables_with(analytics, PASSWORD)) == ["analytics.organizations"]
    assert len(list(files(tmp_path))) > 5


def tables_with(connection: psycopg.Connection, text: str) -> Iterator[str]:
    """Yield the tables of both schemas in which any column of any row holds a text."""
    tables = connection.execute(
        "SELECT oid::regclass::text FROM pg_class WHERE relkind = 'r'"
        " AND relnamespace IN ('orchestration'::regnamespace, 'analytics'::regnamespace)"
    ).fetchall()
    assert len(tables) > 20
    for (table,) in tables:
        if connection.execute(
            f"SELECT FROM {table} AS row WHERE row::text LIKE '%%' || %s || '%%' LIMIT 1", [text]
        ).rowcount:
            yield table


def files(folder: Path) -> Iterator[Path]:
    """Yield every file below a folder."""
    return (path for path in folder.rglob("*") if path.is_file())
