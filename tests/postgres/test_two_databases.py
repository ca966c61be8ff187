"""In production the source is another database, which is read and never written to."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import psycopg
import pytest
from psycopg import Connection

from pipelines.errors import DatabaseUnreachable, SchemaMissing, SourceMissing
from pipelines.postgres.connections import Databases, Run
from pipelines.runs.refresh import reconcile, refresh
from pipelines.runs.verify import verify
from pipelines.settings import load_settings
from tests.support.oracle import cells_by_sql, differences
from tests.support.pipeline import Pipeline, live_in
from tests.support.planting import DAY, HOUR, NOON, cells, listed, plant_job, plant_jobs, plant_tenant


@pytest.fixture
def databases(create_database: Callable[[], str]) -> Databases:
    """Two databases, each stripped of the schema that belongs in the other."""
    urls = {"source": create_database(), "analytics": create_database()}
    for url, schema in ((urls["source"], "analytics"), (urls["analytics"], "orchestration")):
        with psycopg.connect(url) as connection:
            connection.execute(f"DROP SCHEMA {schema} CASCADE")
    return Databases(analytics_url=urls["analytics"], source_url=urls["source"])


def test_two_databases_give_what_one_gives(pipeline: Pipeline) -> None:
    """Cells, names and anomalies cross over; a refresh, a reconcile and a verify all work."""
    tenant, neighbour = pipeline.plant_tenant(), pipeline.plant_tenant("Neighbour")
    spoilt = pipeline.plant_job(tenant, started_at=NOON + DAY)
    gone = pipeline.plant_job(neighbour)
    pipeline.refresh()
    job = pipeline.plant_job(tenant, completed_at=NOON + DAY)
    pipeline.refresh()
    pipeline.change_job(job, client_id=None)
    pipeline.delete_jobs(gone)

    pipeline.reconcile(since=NOON - DAY, until=NOON + 2 * DAY)

    assert pipeline.differences() == []
    assert pipeline.listed() == {(spoilt, "negative_duration", "not_timed")}
    assert pipeline.select("SELECT count(*) FROM analytics.workflows") == [(4,)]
    assert pipeline.verify().differences == ()
    assert pipeline.refresh().cells_written == 0


def test_nothing_is_written_to_the_source(pipeline: Pipeline) -> None:
    """A database that refuses every write is a good source."""
    pipeline.plant_job(pipeline.plant_tenant())
    name = pipeline.source.info.dbname
    pipeline.source.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")

    pipeline.refresh()

    assert pipeline.verify().differences == ()
    assert pipeline.reconcile(since=NOON, until=NOON + DAY).rows_read == 0


def test_another_source_is_read_from_the_beginning(
    pipeline: Pipeline, create_database: Callable[[], str]
) -> None:
    """A copy of the source has a horizon of its own, so what it holds is read whole, once."""
    tenant = pipeline.plant_tenant()
    for day in range(3):
        pipeline.plant_job(tenant, completed_at=NOON + day * DAY)
    pipeline.refresh()
    copy_url = create_database()
    with psycopg.connect(copy_url, autocommit=True) as copy:
        copy_rows(pipeline.source, copy)
        plant_job(copy, tenant, completed_at=NOON + 7 * DAY)
    moved = Databases(pipeline.databases.analytics_url, copy_url)

    first, second = (refresh(Run(moved, pipeline.settings)) for _ in range(2))

    assert (first.rows_read, first.facts_inserted, second.rows_read) == (4, 1, 0)
    with psycopg.connect(copy_url) as copy:
        assert differences(pipeline.cells(), cells_by_sql(copy)) == []


def test_a_source_without_its_tables_is_named(pipeline: Pipeline) -> None:
    """A wrong EXECMETRICS_SOURCE_URL costs nothing that was there already."""
    pipeline.plant_job(pipeline.plant_tenant())
    pipeline.refresh()
    before = pipeline.row_versions()
    backwards = Databases(pipeline.databases.analytics_url, pipeline.databases.analytics_url)

    with pytest.raises(SourceMissing, match="EXECMETRICS_SOURCE_URL"):
        refresh(Run(backwards, pipeline.settings))

    assert pipeline.row_versions() == before


@pytest.mark.parametrize(
    ("table", "column"),
    [("jobs", "client_id"), ("jobs", "deleted_at"), ("organizations", "time_zone"), ("clients", "name")],
)
def test_a_source_that_lacks_a_column_is_told_which(table: str, column: str, pipeline: Pipeline) -> None:
    """The column of the contract that is not there is in the message."""
    pipeline.source.execute(f"ALTER TABLE orchestration.{table} DROP COLUMN {column} CASCADE")

    with pytest.raises(SourceMissing, match=f"{table}.*{column}"):
        pipeline.refresh()


@pytest.mark.every_postgres
def test_analytics_that_were_not_migrated_are_told_how(pipeline: Pipeline) -> None:
    """Every command that needs the tables says which command makes them, instead of a missing table."""
    pipeline.plant_job(pipeline.plant_tenant())
    bare = Databases(analytics_url=pipeline.databases.source_url, source_url=pipeline.databases.source_url)

    for command in (refresh, partial(reconcile, since=NOON, until=NOON + DAY), verify):
        with pytest.raises(SchemaMissing, match="run `execmetrics migrate` first"):
            command(Run(bare, pipeline.settings))


def test_a_database_that_does_not_answer_is_named_without_its_password(pipeline: Pipeline) -> None:
    """The message has the place and not the secret."""
    nowhere = "postgresql://reader:s3cret@127.0.0.1:9/nothing"
    hasty = load_settings(home=pipeline.settings.home, connect_timeout=1)

    for unreachable in (
        Databases(nowhere, pipeline.databases.source_url),
        Databases(pipeline.databases.analytics_url, nowhere),
    ):
        with pytest.raises(DatabaseUnreachable, match=r"127\.0\.0\.1") as refused:
            refresh(Run(unreachable, hasty))
        assert "s3cret" not in str(refused.value)


def copy_rows(source: Connection, target: Connection) -> None:
    """Copy the four tables of the source into another database."""
    for table in ("organizations", "workflows", "clients", "jobs"):
        with (
            source.cursor().copy(f"COPY orchestration.{table} TO STDOUT") as rows,
            target.cursor().copy(f"COPY orchestration.{table} FROM STDIN") as copied,
        ):
            for block in rows:
                copied.write(block)


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
            live_in(source, tenant, lives_in)
            moments = [NOON, NOON + 10 * HOUR, NOON + 11.5 * HOUR, NOON + 12 * HOUR, NOON + 60 * DAY]
            plant_jobs(source, tenant, [{"completed_at": moment} for moment in moments])
            plant_job(source, tenant, started_at=NOON + HOUR)
        for server_zone in ("UTC", zone):
            source.execute(f"ALTER DATABASE {source.info.dbname} SET timezone = '{server_zone}'")
            databases = Databases(create_database(), source_url)
            with psycopg.connect(databases.analytics_url, autocommit=True) as analytics:
                analytics.execute(f"ALTER DATABASE {analytics.info.dbname} SET timezone = '{server_zone}'")
            settings = load_settings(home=tmp_path / server_zone.replace("/", "-"))

            refresh(Run(databases, settings))

            assert verify(Run(databases, settings)).differences == ()
            with psycopg.connect(databases.analytics_url, options="-c TimeZone=UTC") as analytics:
                # All of a cell but when it was computed.
                figures = {key: cell | {"computed_at": None} for key, cell in cells(analytics).items()}
                seen.append((figures, listed(analytics)))

    assert seen[0] == seen[1]
    assert len(seen[0][0]) > 54
    assert len(seen[0][1]) == 2
