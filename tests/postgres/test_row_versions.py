"""What no version tells is read whole: a change is never missed because a relation is no plain table."""

import psycopg
import pytest
from psycopg import Connection

from pipelines.doctor.checks import examine
from pipelines.doctor.matching import Said
from pipelines.errors import SourceUnfit
from pipelines.postgres.connections import Databases, Run
from pipelines.postgres.schemas import SOURCE_COLUMNS
from pipelines.runs.status import status
from pipelines.settings import Settings
from pipelines.source.contract import ROW_VERSION, held_by
from pipelines.source.snapshot import open_source
from tests.conftest import CreateDatabase, system_15, with_database
from tests.support.oracle import cells_by_sql, differences
from tests.support.pipeline import Pipeline
from tests.support.planting import change_job, plant_job, plant_tenant

TIMES = (
    "j.id, j.organization_id, j.workflow_id, j.client_id, j.initiator_type, j.created_at, j.started_at,"
    " j.completed_at, j.updated_at, j.deleted_at"
)
VERSION = "j.xmin AS xmin, j.tableoid AS tableoid FROM app.jobs AS j"
LOOKED_UP = "(SELECT o.status FROM app.{} AS o WHERE o.id = j.id) AS status"

# What the contract's jobs are, and whether `xmin` tells which of them changed.
JOBS = {
    "a view of a table": (
        f"VIEW orchestration.jobs AS SELECT j.*, {VERSION} WHERE j.created_at < 'infinity'",
        True,
    ),
    "a view of a view": (
        f"VIEW app.below AS SELECT j.*, {VERSION};"
        " CREATE VIEW orchestration.jobs AS SELECT b.*, b.tableoid AS t FROM app.below AS b",
        True,
    ),
    **{
        kind: (f"VIEW orchestration.jobs AS SELECT {TIMES}, {selected}", False)
        for kind, selected in {
            "a join": f"s.status, {VERSION} JOIN app.states AS s ON s.id = j.id",
            "a table beside a lookup": f"{LOOKED_UP.format('states')}, {VERSION}",
            "a table beside itself": f"{LOOKED_UP.format('jobs')}, {VERSION}",
            "a view that calls a function": f"app.status_of(j.id) AS status, {VERSION}",
            "a made-up version": "j.status, '7'::xid AS xmin, j.tableoid AS tableoid FROM app.jobs AS j",
            "no version in some rows": "j.status, j.tableoid AS tableoid, CASE WHEN j.initiator_type = 'USER'"
            " THEN '0'::xid ELSE j.xmin END AS xmin FROM app.jobs AS j",
            "a function": "j.status, '7'::xid AS xmin, 7::oid AS tableoid FROM app.all_jobs() AS j",
        }.items()
    },
    "one row of several": (
        f"VIEW orchestration.jobs AS SELECT DISTINCT ON (j.id) {TIMES}, j.status, {VERSION}"
        " ORDER BY j.id, j.updated_at DESC",
        False,
    ),
    "a materialized view": (
        f"MATERIALIZED VIEW orchestration.jobs AS SELECT {TIMES}, j.status FROM app.jobs AS j",
        False,
    ),
}


@pytest.fixture
def application(source: Connection) -> None:
    """An organization with a job and a neighbour with another, in tables of an application's own."""
    tenant, neighbour = plant_tenant(source), plant_tenant(source, "Neighbour")
    plant_job(source, tenant)
    plant_job(source, neighbour)
    source.execute("CREATE SCHEMA app; ALTER TABLE orchestration.jobs SET SCHEMA app")
    source.execute("CREATE TABLE app.states AS SELECT id, status FROM app.jobs")
    source.execute("""
        CREATE FUNCTION app.status_of(uuid) RETURNS app.jobs.status%TYPE STABLE LANGUAGE sql
            AS 'SELECT status FROM app.jobs WHERE id = $1';
        CREATE FUNCTION app.all_jobs() RETURNS SETOF app.jobs STABLE LANGUAGE sql AS 'SELECT * FROM app.jobs'
    """)


@pytest.mark.every_postgres
@pytest.mark.usefixtures("application")
def test_a_relation_is_believed_when_its_rows_are_those_of_one_table(
    databases: Databases, settings: Settings, source: Connection
) -> None:
    """A refresh, `doctor` and `status` agree on what is read whole, and say why."""
    for kind, (definition, told) in JOBS.items():
        source.execute(f"CREATE {definition}")

        with open_source(databases.source_url, settings) as snapshot:
            refreshed = dict(snapshot.read_whole)
        found = examine(Run(databases, settings), Said("app")).findings
        doctored = {each.where: each.why for each in found if each.what == "read_whole"}

        assert refreshed == status(Run(databases, settings)).read_whole, kind
        assert (refreshed == {}) is told, (kind, refreshed)
        for relation, why in zip(refreshed, doctored.values(), strict=True):
            assert refreshed[relation] in why, kind
        source.execute(f"DROP {'MATERIALIZED VIEW' if 'MATER' in definition else 'VIEW'} orchestration.jobs")
        source.execute("DROP VIEW IF EXISTS app.below")


@pytest.mark.usefixtures("application")
def test_a_change_in_the_other_table_of_a_join_is_not_missed(pipeline: Pipeline) -> None:
    """What `xmin` does not tell is read all the same, and the figures are right after the next refresh."""
    pipeline.source.execute(f"CREATE {JOBS['a join'][0]}")
    pipeline.refresh()

    pipeline.source.execute("UPDATE app.states SET status = 'FAILED'")
    report = pipeline.refresh()

    assert (report.rows_read, report.facts_updated) == (2, 2)
    assert pipeline.verify().differences == ()
    assert pipeline.differences() == []


@pytest.mark.skipif(system_15() is None, reason="the embedded server has no foreign tables")
@pytest.mark.parametrize("server", ["system"], indirect=True)
def test_a_change_on_another_server_is_not_missed(
    server: str, pipeline: Pipeline, create_database: CreateDatabase
) -> None:
    """Rows of foreign tables have no version of this server, whatever a view over them shows."""
    with psycopg.connect(create_database(), autocommit=True) as remote:
        tenant, neighbour = plant_tenant(remote), plant_tenant(remote, "Neighbour")
        job = plant_job(remote, tenant)
        plant_job(remote, neighbour)
        make_foreign(server, pipeline.source, remote.info.dbname)
        pipeline.refresh()

        change_job(remote, job, status="FAILED")
        report = pipeline.refresh()

        assert report.facts_updated == 1
        assert pipeline.verify().differences == ()
        assert differences(pipeline.cells(), cells_by_sql(remote)) == []
        read_whole = pipeline.status().read_whole or ()
        assert set(read_whole) == {"organizations", "workflows", "clients", "jobs"}


def make_foreign(server: str, source: Connection, remote: str) -> None:
    """Put views over foreign tables in the place of the source's own tables."""
    at = psycopg.conninfo.conninfo_to_dict(server)
    with psycopg.connect(with_database(server, source.info.dbname), autocommit=True) as admin:
        admin.execute("CREATE EXTENSION postgres_fdw")
        admin.execute(
            f"CREATE SERVER remote FOREIGN DATA WRAPPER postgres_fdw OPTIONS"
            f" (host '{at['host']}', port '{at.get('port', 5432)}', dbname '{remote}')"
        )
        admin.execute(
            "CREATE USER MAPPING FOR PUBLIC SERVER remote"
            f" OPTIONS (user '{source.info.user}', password_required 'false')"
        )
        admin.execute(f"GRANT USAGE ON FOREIGN SERVER remote TO {source.info.user}")
    source.execute("ALTER SCHEMA orchestration RENAME TO away")
    source.execute("CREATE SCHEMA orchestration; CREATE SCHEMA f")
    for table, columns in SOURCE_COLUMNS.items():
        types = {name: str(held_by(name)) for name in columns if name not in ROW_VERSION}
        types |= {"status": "away.job_status"} if "status" in types else {}
        typed = ", ".join(f"{name} {declared}" for name, declared in types.items())
        source.execute(
            f"CREATE FOREIGN TABLE f.{table} ({typed}) SERVER remote OPTIONS (schema_name 'orchestration')"
        )
        source.execute(
            f"CREATE VIEW orchestration.{table} AS"
            f" SELECT *, xmin AS xmin, tableoid AS tableoid FROM f.{table}"
        )


@pytest.mark.parametrize(
    ("done", "named"),
    [
        ("jobs ALTER completed_at TYPE timestamp", "jobs.completed_at is timestamp"),
        ("clients ALTER deleted_at TYPE date", "clients.deleted_at is date"),
    ],
)
def test_a_column_of_another_type_is_refused_by_name(pipeline: Pipeline, done: str, named: str) -> None:
    """It could be misread; the words name the column, its type and who prints what mends it."""
    pipeline.plant_job(pipeline.plant_tenant())
    pipeline.source.execute(f"ALTER TABLE orchestration.{done}")

    with pytest.raises(SourceUnfit, match=named):
        pipeline.refresh()
