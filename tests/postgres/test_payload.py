"""What an execution returned may be a patient's record: it is never read, so it cannot be kept."""

from collections.abc import Callable, Iterator
from pathlib import Path

import polars as pl
import psycopg
import pytest
from psycopg.types.json import Jsonb

from pipelines.errors import SourceMissing
from pipelines.postgres.connections import Databases, Run
from pipelines.runs.refresh import reconcile, refresh
from pipelines.runs.verify import verify
from pipelines.settings import Settings
from tests.support.oracle import cells_by_sql, differences
from tests.support.planting import DAY, MINUTE, NOON, cells, change_job, plant_job, plant_tenant

pytestmark = pytest.mark.every_postgres

SECRET = "Jane-Doe-HIV-positive-4711"

GRANTED = {
    "organizations": "id, name, time_zone, deleted_at, xmin, tableoid",
    "workflows": "id, organization_id, name, deleted_at, xmin, tableoid",
    "clients": "id, organization_id, name, deleted_at, xmin, tableoid",
    "jobs": "id, organization_id, workflow_id, client_id, initiator_type, status, created_at, started_at,"
    " completed_at, updated_at, deleted_at, xmin, tableoid",
}


@pytest.fixture
def databases(create_database: Callable[[], str]) -> Databases:
    """A source, and aggregates elsewhere."""
    return Databases(analytics_url=create_database(), source_url=create_database())


@pytest.fixture
def reader(server: str, source: psycopg.Connection) -> Iterator[str]:
    """A role that may read the contract's columns of the source, and no other."""
    role = f"reader_of_{source.info.dbname}"
    source.execute(f"CREATE ROLE {role} LOGIN")
    source.execute(f"GRANT {role} TO CURRENT_USER")
    source.execute(f"GRANT USAGE ON SCHEMA orchestration TO {role}")
    for table, columns in GRANTED.items():
        source.execute(f"GRANT SELECT ({columns}) ON orchestration.{table} TO {role}")
    yield role
    source.execute(f"DROP OWNED BY {role}")
    with psycopg.connect(server, autocommit=True) as admin:
        admin.execute(f"DROP ROLE {role}")


def test_the_payload_is_nowhere_but_in_the_source(
    databases: Databases, settings: Settings, source: psycopg.Connection, analytics: psycopg.Connection
) -> None:
    """After every kind of run it is in no fact, no file of the home and no row of the aggregates."""
    tenant = plant_tenant(source)
    plant_job(source, plant_tenant(source, "Neighbour"), result=Jsonb({"note": SECRET}))
    plant_job(source, tenant, result=Jsonb({"note": SECRET}), started_at=NOON + MINUTE)
    job = plant_job(source, tenant, result=Jsonb([SECRET]))
    refresh(Run(databases, settings))
    change_job(source, job, result=Jsonb({"again": SECRET}), status="FAILED")
    refresh(Run(databases, settings))

    reconcile(Run(databases, settings), since=NOON - DAY, until=NOON + DAY)

    facts = [path for path in Path(settings.home).rglob("*.parquet") if path.is_file()]
    assert any(tenant.organization.bytes in pl.read_parquet(path)["organization_id"] for path in facts)
    for path in facts:
        # Files are compressed, so their columns are read rather than their bytes.
        assert SECRET not in str(pl.read_parquet(path, hive_partitioning=False).to_dicts())
    for path in Path(settings.home).rglob("*"):
        assert path.is_dir() or SECRET.encode() not in path.read_bytes()
    assert SECRET not in everything_in(analytics)
    assert SECRET in everything_in(source), "the search finds what is there"


def test_the_payload_need_not_be_readable(
    databases: Databases,
    settings: Settings,
    source: psycopg.Connection,
    analytics: psycopg.Connection,
    reader: str,
) -> None:
    """A role without a right to `result` can refresh, reconcile and verify."""
    tenant = plant_tenant(source)
    plant_job(source, plant_tenant(source, "Neighbour"))
    plant_job(source, tenant, client_id=None)
    restricted = Databases(databases.analytics_url, as_role(databases.source_url, reader))

    refresh(Run(restricted, settings))
    plant_job(source, tenant)
    refresh(Run(restricted, settings))
    reconcile(Run(restricted, settings), since=NOON - DAY, until=NOON + DAY)

    assert verify(Run(restricted, settings)).differences == ()
    assert differences(cells(analytics), cells_by_sql(source)) == []
    with (
        psycopg.connect(restricted.source_url) as connection,
        pytest.raises(psycopg.errors.InsufficientPrivilege),
    ):
        connection.execute("SELECT result FROM orchestration.jobs")


def test_a_role_that_may_not_read_enough_is_told_what(
    databases: Databases, settings: Settings, source: psycopg.Connection, reader: str
) -> None:
    """The column that is not granted is named before anything is read."""
    source.execute(f"REVOKE SELECT (client_id) ON orchestration.jobs FROM {reader}")
    restricted = Databases(databases.analytics_url, as_role(databases.source_url, reader))

    with pytest.raises(SourceMissing, match=r"jobs.*client_id"):
        refresh(Run(restricted, settings))


def everything_in(connection: psycopg.Connection) -> str:
    """Every row of every table of ours in a database, as text."""
    tables = connection.execute(
        "SELECT format('%I.%I', schemaname, tablename) FROM pg_tables"
        " WHERE schemaname IN ('analytics', 'orchestration')"
    ).fetchall()
    rows = [connection.execute(f"SELECT t::text FROM {table} AS t").fetchall() for (table,) in tables]
    return str(rows)


def as_role(url: str, role: str) -> str:
    """The same database, entered as somebody else."""
    return f"{url}&user={role}"
