"""In production the source is another database, which is read and never written to."""

from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from pipelines.errors import DatabaseUnreachable, SchemaMissing, SourceMissing
from pipelines.postgres.connections import Databases
from pipelines.runs.refresh import reconcile, refresh
from pipelines.runs.verify import verify
from pipelines.settings import Settings, load_settings
from tests.support.oracle import cells_by_sql, differences
from tests.support.planting import (
    DAY,
    HOUR,
    NOON,
    Cell,
    Key,
    cells,
    change_job,
    listed,
    plant_job,
    plant_jobs,
    plant_tenant,
    row_versions,
)


@pytest.fixture
def databases(create_database: Callable[[], str]) -> Iterator[Databases]:
    """Two databases, each stripped of the schema that belongs in the other."""
    source_url, analytics_url = create_database(), create_database()
    run(source_url, "DROP SCHEMA analytics CASCADE")
    run(analytics_url, "DROP SCHEMA orchestration CASCADE")
    return Databases(analytics_url=analytics_url, source_url=source_url)


def test_two_databases_give_what_one_gives(
    databases: Databases, settings: Settings, source: psycopg.Connection, analytics: psycopg.Connection
) -> None:
    """Cells, names and anomalies cross over; a refresh, a reconcile and a verify all work."""
    tenant, neighbour = plant_tenant(source), plant_tenant(source, "Neighbour")
    spoilt = plant_job(source, tenant, started_at=NOON + DAY)
    gone = plant_job(source, neighbour)
    refresh(databases, settings)
    job = plant_job(source, tenant, completed_at=NOON + DAY)
    refresh(databases, settings)
    change_job(source, job, client_id=None)
    source.execute("DELETE FROM orchestration.jobs WHERE id = %s", [gone])

    reconcile(databases, settings, since=NOON - DAY, until=NOON + 2 * DAY)

    assert differences(cells(analytics), cells_by_sql(source)) == []
    assert listed(analytics) == {(spoilt, "negative_duration", "not_timed")}
    assert analytics.execute("SELECT count(*) FROM analytics.workflows").fetchone() == (4,)
    assert verify(databases, settings).differences == ()
    assert refresh(databases, settings).cells_written == 0


def test_nothing_is_written_to_the_source(
    databases: Databases, settings: Settings, source: psycopg.Connection
) -> None:
    """A database that refuses every write is a good source."""
    plant_job(source, plant_tenant(source))
    name = source.info.dbname
    source.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")

    refresh(databases, settings)

    assert verify(databases, settings).differences == ()
    assert reconcile(databases, settings, since=NOON, until=NOON + DAY).rows_read == 0


def test_another_source_is_read_from_the_beginning(
    databases: Databases,
    settings: Settings,
    source: psycopg.Connection,
    analytics: psycopg.Connection,
    create_database: Callable[[], str],
) -> None:
    """A copy of the source has a horizon of its own, so what it holds is read whole, once."""
    tenant = plant_tenant(source)
    for day in range(3):
        plant_job(source, tenant, completed_at=NOON + day * DAY)
    refresh(databases, settings)
    copy_url = create_database()
    with psycopg.connect(copy_url, autocommit=True) as copy:
        copy_rows(source, copy)
        plant_job(copy, tenant, completed_at=NOON + 7 * DAY)
    moved = Databases(databases.analytics_url, copy_url)

    report = refresh(moved, settings)

    assert (report.rows_read, report.facts_inserted) == (4, 1)
    with psycopg.connect(copy_url) as copy:
        assert differences(cells(analytics), cells_by_sql(copy)) == []
    assert refresh(moved, settings).rows_read == 0


def test_a_source_without_its_tables_is_named(
    databases: Databases, settings: Settings, source: psycopg.Connection, analytics: psycopg.Connection
) -> None:
    """A wrong EXECMETRICS_SOURCE_URL costs nothing that was there already."""
    plant_job(source, plant_tenant(source))
    refresh(databases, settings)
    before = row_versions(analytics)
    backwards = Databases(databases.analytics_url, databases.analytics_url)

    with pytest.raises(SourceMissing, match="EXECMETRICS_SOURCE_URL"):
        refresh(backwards, settings)

    assert row_versions(analytics) == before


@pytest.mark.parametrize(
    ("table", "column"),
    [("jobs", "client_id"), ("jobs", "deleted_at"), ("organizations", "time_zone"), ("clients", "name")],
)
def test_a_source_that_lacks_a_column_is_told_which(
    table: str, column: str, databases: Databases, settings: Settings, source: psycopg.Connection
) -> None:
    """The column of the contract that is not there is in the message."""
    source.execute(f"ALTER TABLE orchestration.{table} DROP COLUMN {column} CASCADE")

    with pytest.raises(SourceMissing, match=f"{table}.*{column}"):
        refresh(databases, settings)


def test_analytics_that_were_not_migrated_are_told_how(
    databases: Databases, settings: Settings, source: psycopg.Connection
) -> None:
    """Every command that needs the tables says which command makes them."""
    plant_job(source, plant_tenant(source))
    bare = Databases(analytics_url=databases.source_url, source_url=databases.source_url)

    with pytest.raises(SchemaMissing, match="execmetrics migrate"):
        refresh(bare, settings)
    with pytest.raises(SchemaMissing, match="execmetrics migrate"):
        reconcile(bare, settings, since=NOON, until=NOON + DAY)
    with pytest.raises(SchemaMissing, match="execmetrics migrate"):
        verify(bare, settings)


def test_a_database_that_does_not_answer_is_named_without_its_password(
    databases: Databases, settings: Settings
) -> None:
    """The message has the place and not the secret."""
    nowhere = "postgresql://reader:s3cret@127.0.0.1:9/nothing"
    hasty = load_settings(home=settings.home, connect_timeout=1)

    for unreachable in (
        Databases(nowhere, databases.source_url),
        Databases(databases.analytics_url, nowhere),
    ):
        with pytest.raises(DatabaseUnreachable, match=r"127\.0\.0\.1") as refused:
            refresh(unreachable, hasty)
        assert "s3cret" not in str(refused.value)


def copy_rows(source: psycopg.Connection, target: psycopg.Connection) -> None:
    """Copy the four tables of the source into another database."""
    for table in ("organizations", "workflows", "clients", "jobs"):
        with (
            source.cursor().copy(f"COPY orchestration.{table} TO STDOUT") as rows,
            target.cursor().copy(f"COPY orchestration.{table} FROM STDIN") as copied,
        ):
            for block in rows:
                copied.write(block)


def run(url: str, command: str) -> None:
    """Execute one statement."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(command)


@pytest.mark.every_postgres
@pytest.mark.parametrize("zone", ["America/New_York", "Asia/Kolkata"])
def test_the_servers_own_time_zone_changes_nothing(
    zone: str, create_database: Callable[[], str], tmp_path: Path
) -> None:
    """Both servers think in another zone, and cells and anomalies are those of UTC, to the letter."""
    seen = []
    source_url = create_database()
    with psycopg.connect(source_url, autocommit=True) as source:
        for name, lives_in in (("Acme", "Europe/Amsterdam"), ("Neighbour", "UTC")):
            tenant = plant_tenant(source, name)
            source.execute(
                "UPDATE orchestration.organizations SET time_zone = %s WHERE id = %s",
                [lives_in, tenant.organization],
            )
            moments = [NOON, NOON + 10 * HOUR, NOON + 11.5 * HOUR, NOON + 12 * HOUR, NOON + 60 * DAY]
            plant_jobs(source, tenant, [{"completed_at": moment} for moment in moments])
            plant_job(source, tenant, started_at=NOON + HOUR)
        for server_zone in ("UTC", zone):
            source.execute(f"ALTER DATABASE {source.info.dbname} SET timezone = '{server_zone}'")
            databases = Databases(create_database(), source_url)
            with psycopg.connect(databases.analytics_url, autocommit=True) as analytics:
                analytics.execute(f"ALTER DATABASE {analytics.info.dbname} SET timezone = '{server_zone}'")
            settings = load_settings(home=tmp_path / server_zone.replace("/", "-"))

            refresh(databases, settings)

            assert verify(databases, settings).differences == ()
            with psycopg.connect(databases.analytics_url, options="-c TimeZone=UTC") as analytics:
                seen.append((figures(cells(analytics)), listed(analytics)))

    assert seen[0] == seen[1]
    assert len(seen[0][0]) > 54
    assert len(seen[0][1]) == 2


def figures(stored: dict[Key, Cell]) -> dict[Key, Cell]:
    """The cells without when they were computed."""
    return {key: {name: cell[name] for name in cell if name != "computed_at"} for key, cell in stored.items()}
