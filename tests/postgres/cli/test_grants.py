"""The grants that the command line prints are enough for each role, and no more than enough."""

import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import count

import psycopg
import pytest
from psycopg import Connection
from psycopg.errors import InsufficientPrivilege

from pipelines.postgres.connections import Databases, Run
from pipelines.runs.audit import audit
from pipelines.runs.dry_run import dry_run
from pipelines.runs.explain import CellName, explain
from pipelines.runs.maintenance import retain
from pipelines.runs.refresh import rebuild, reconcile, refresh
from pipelines.runs.status import status
from pipelines.runs.verify import verify
from pipelines.settings import Settings
from pipelines.subjects.jobs import JOBS
from pipelines.subjects.rollup import Period, grouping_sets
from tests.conftest import with_user
from tests.postgres.cli.conftest import Execmetrics
from tests.support.pipeline import Pipeline
from tests.support.planting import DAY, MINUTE, NOON, change_job, plant_job, plant_tenant
from tests.support.postgres_catalog import tables_of

_numbers = count()


@dataclass(frozen=True)
class Roles:
    """URLs of the test's database, each with another role."""

    source_reader: str
    writer: str
    dashboard_reader: str


@pytest.fixture
def roles(execmetrics: Execmetrics, databases: Databases) -> Iterator[Roles]:
    """Three new roles that may do what the printed statements allow, and nothing by default."""
    number = next(_numbers)
    names = [f"{purpose} {number}" for purpose in ("source reader", "writer", "dashboard reader")]
    printed = execmetrics(
        "grants", "--source-reader", names[0], "--writer", names[1], "--dashboard-reader", names[2]
    )
    assert printed.exit_code == 0
    with psycopg.connect(databases.analytics_url, autocommit=True) as owner:
        owner.execute(f"REVOKE ALL ON DATABASE {owner.info.dbname} FROM PUBLIC")
        for name in names:
            owner.execute(f'CREATE ROLE "{name}" LOGIN')
            owner.execute(f'GRANT "{name}" TO CURRENT_USER')
        owner.execute(printed.stdout)
    yield Roles(*(with_user(databases.analytics_url, name) for name in names))
    with psycopg.connect(databases.analytics_url, autocommit=True) as owner:
        for name in names:
            owner.execute(f'DROP OWNED BY "{name}"')
            owner.execute(f'DROP ROLE "{name}"')


def test_a_reader_and_a_writer_are_enough_for_the_whole_pipeline(
    roles: Roles, source: Connection, settings: Settings
) -> None:
    """With the source reader and the writer alone, everything a run does can be done and verified."""
    apart = Databases(analytics_url=roles.writer, source_url=roles.source_reader)
    everything = {"since": NOON - DAY, "until": NOON + 2 * DAY}
    tenant, neighbour = plant_tenant(source), plant_tenant(source, "Neighbour")
    odd = plant_job(source, tenant, started_at=NOON + MINUTE)
    moving = plant_job(source, tenant)
    gone = plant_job(source, tenant, workflow_id=tenant.workflows[1])
    plant_job(source, neighbour)
    refresh(Run(apart, settings))
    change_job(source, odd, started_at=NOON - MINUTE)
    change_job(source, moving, completed_at=NOON + DAY)
    source.execute("DELETE FROM orchestration.jobs WHERE id = %s", [gone])
    source.execute("UPDATE orchestration.workflows SET name = 'renamed'")

    proposed = dry_run(Run(apart, settings), **everything)
    refreshed = refresh(Run(apart, settings))
    reconciled = reconcile(Run(apart, settings), **everything)
    other = settings.model_copy(
        update={"rollup_plan": dict.fromkeys(Period, grouping_sets(JOBS.dimension_columns, 1))}
    )
    rebuilt = rebuild(Run(apart, other))["jobs"]
    audited = audit(Run(apart, other))
    retained = retain(Run(apart, other.model_copy(update={"keep_hours": DAY})))
    settings = other

    assert [each.organization_id for each in proposed] == [tenant.organization]
    assert rebuilt.written > 0
    assert (len(audited.verified), audited.found) == (2, ())
    assert retained.hourly_cells > 0
    assert refreshed.cells_deleted + reconciled.cells_deleted > 0
    compared = verify(Run(apart, settings))
    assert compared.cells_compared > 0
    assert not compared.differences
    assert status(Run(apart, settings)).jobs == 3


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT result FROM orchestration.jobs",
        "SELECT * FROM orchestration.jobs",
        "SELECT created_at FROM orchestration.organizations",
        "UPDATE orchestration.jobs SET status = 'FAILED'",
        "DELETE FROM orchestration.jobs",
        "SELECT * FROM analytics.aggregate_metrics",
        "CREATE TEMPORARY TABLE mine ()",
    ],
)
def test_the_source_reader_cannot_reach_the_payload(roles: Roles, source: Connection, statement: str) -> None:
    """It reads the contract's columns and nothing else, and it writes nothing."""
    plant_job(source, plant_tenant(source))

    refusals = refused(roles.source_reader, statement)

    assert refusals


def test_the_writer_cannot_reach_the_source(roles: Roles) -> None:
    """In production the source is elsewhere; where it is not, the writer has no way to it either."""
    forbidden = ("SELECT id FROM orchestration.jobs", "DROP TABLE analytics.clients", "CREATE SCHEMA mine")

    assert all(refused(roles.writer, statement) for statement in forbidden)


def test_the_dashboard_reader_reads_one_tenant_and_writes_nothing(roles: Roles, pipeline: Pipeline) -> None:
    """Every table and view of the aggregates can be read, of the tenant that is named; none is changed."""
    tenant, _ = pipeline.plant_pair()
    pipeline.refresh()
    tables = tables_of(pipeline.source, "analytics")

    with psycopg.connect(roles.dashboard_reader, autocommit=True) as reader:
        for table in tables:
            reader.execute(f"SELECT * FROM {table}")

    nobody = replace(pipeline.databases, analytics_url=roles.dashboard_reader)
    asking = f"&options=-c%20execmetrics.organization_id%3D{tenant.organization}"
    as_tenant = replace(pipeline.databases, analytics_url=f"{roles.dashboard_reader}{asking}")
    assert status(Run(nobody, pipeline.settings)).jobs == 0
    assert status(Run(as_tenant, pipeline.settings)).jobs == 1
    assert (
        explain(Run(as_tenant, pipeline.settings), CellName(tenant.organization, Period.DAY, NOON)).rows == 1
    )
    for table in tables:
        assert refused(roles.dashboard_reader, f"DELETE FROM {table}")
        assert refused(roles.dashboard_reader, f"INSERT INTO {table} DEFAULT VALUES")
        assert refused(roles.dashboard_reader, f"TRUNCATE {table}")
    assert refused(roles.dashboard_reader, "CREATE TABLE analytics.mine ()")
    assert refused(roles.dashboard_reader, "CREATE TEMPORARY TABLE mine ()")
    assert refused(roles.dashboard_reader, "SELECT id FROM orchestration.jobs")


def test_grants_name_the_database_they_are_for(
    execmetrics: Execmetrics, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The databases come from the URLs, whose passwords are not shown; nothing is connected to."""
    monkeypatch.setenv("EXECMETRICS_DATABASE_URL", "postgresql://me:sesame@127.0.0.1:1/metrics")
    monkeypatch.setenv("EXECMETRICS_SOURCE_URL", "postgresql://me:sesame@127.0.0.1:1/orders")

    ended = execmetrics("grants", "--json")

    assert [(role["purpose"], role["role"], role["database"]) for role in ended.document["roles"]] == [
        ("source_reader", "execmetrics_source_reader", "orders"),
        ("writer", "execmetrics_writer", "metrics"),
        ("dashboard_reader", "execmetrics_dashboard_reader", "metrics"),
    ]
    statements = [statement for role in ended.document["roles"] for statement in role["statements"]]
    assert all(re.match(r"GRANT |DO \$\$ BEGIN IF to_regclass\(.* THEN GRANT ", each) for each in statements)
    assert "sesame" not in ended.stdout


def refused(url: str, statement: str) -> bool:
    """Whether the role may not do it."""
    with psycopg.connect(url) as connection:
        with suppress(InsufficientPrivilege):
            connection.execute(statement)
            return False
        return True


def test_an_application_is_granted_what_it_needs_when_it_is_named(execmetrics: Execmetrics) -> None:
    """A source that somebody else migrates lacks these tables, so they are named only when asked for."""
    three, four = execmetrics("grants"), execmetrics("grants", "--application", "clinic app")

    assert (three.exit_code, four.exit_code) == (0, 0)
    assert four.stdout.startswith(three.stdout)
    more = four.stdout.removeprefix(three.stdout)
    assert 'GRANT INSERT ON "orchestration"."phi_access_log" TO "clinic app";' in more
    assert "analytics" not in more.split(";", 1)[1]
    assert "DELETE" not in more.replace('SELECT, INSERT, DELETE ON "orchestration"."execution_logs"', "")
