"""Whatever a query forgets, the database shows a reader one tenant's rows, or none."""

from collections.abc import Iterator
from uuid import UUID

import psycopg
import pytest
from psycopg import Connection

from pipelines.errors import ClientNotVisible, WorkflowNotVisible
from pipelines.query.metrics import AnalyticsRepository
from pipelines.query.tenant import admit, read_as, reading_as
from pipelines.settings import Settings
from pipelines.subjects.dimensions import NO_CLIENT
from pipelines.subjects.jobs import JOBS
from tests.postgres.api.conftest import reading_role
from tests.support.pipeline import Pipeline
from tests.support.planting import DAY, HOUR, NOON, Tenant, new_id, plant_lines

FIGURES = ("aggregate_metrics", "aggregate_step_metrics", "restatements", "watermarks", "refresh_outcomes")

# Which column says whose a row is.
OWNED = dict.fromkeys((*FIGURES, "job_anomalies", "workflows", "clients"), "organization_id")
OWNED["organizations"] = "id"
VIEWS = ("org_totals_v1", "by_workflow_v1", "by_client_v1", "by_initiator_v1", "aggregate_metrics_v1")


@pytest.fixture
def tenants(pipeline: Pipeline) -> list[Tenant]:
    """Three organizations with rows in every table."""
    found = [pipeline.plant_tenant(f"Tenant {number}") for number in range(3)]
    for tenant in found:
        pipeline.plant_jobs(tenant, [{"client_id": None}, {"status": "FAILED"}, {"started_at": NOON + HOUR}])
    pipeline.refresh()
    for tenant in found:
        plant_lines(pipeline.source, tenant, pipeline.plant_job(tenant), [{"step_name": "send"}])
    pipeline.refresh()
    return found


@pytest.fixture
def reader_url(pipeline: Pipeline) -> Iterator[str]:
    """The aggregates, entered as a role that may do what `execmetrics grants` prints for a dashboard."""
    with reading_role(pipeline) as url:
        yield url


def test_every_table_of_tenants_is_protected(analytics: Connection) -> None:
    """A table that names an organization has both policies; its owner obeys them, but for cells."""
    named = analytics.execute(
        "SELECT DISTINCT relname FROM pg_class JOIN pg_attribute ON attrelid = pg_class.oid"
        " WHERE relnamespace = 'analytics'::regnamespace AND relkind = 'r'"
        " AND (attname = 'organization_id' OR relname = 'organizations')"
    ).fetchall()
    protected = analytics.execute(
        "SELECT relname, relrowsecurity, relforcerowsecurity, count(polname) FROM pg_class"
        " JOIN pg_policy ON polrelid = pg_class.oid WHERE relnamespace = 'analytics'::regnamespace"
        " GROUP BY 1, 2, 3"
    ).fetchall()

    assert {row[0] for row in named} == set(OWNED)
    cells = {"aggregate_metrics", "aggregate_step_metrics"}
    assert {row[0]: row[1:] for row in protected} == {name: (True, name not in cells, 2) for name in OWNED}


@pytest.mark.every_postgres
def test_a_reader_sees_one_tenant_or_nobody(reader_url: str, tenants: list[Tenant]) -> None:
    """In every table and view: nothing without saying for whom, and then its own rows alone."""
    with psycopg.connect(reader_url) as reader:
        for table in (*OWNED, *VIEWS):
            assert count(reader, table) == 0
        for tenant in tenants:
            read_as_after(reader, tenant.organization)
            for table in (*OWNED, *VIEWS):
                owner = OWNED.get(table, "organization_id")
                seen = reader.execute(f"SELECT DISTINCT {owner} FROM analytics.{table}").fetchall()
                assert seen == [(tenant.organization,)], table


@pytest.mark.every_postgres
def test_a_connection_carries_nobody_over(reader_url: str, tenants: list[Tenant]) -> None:
    """The next transaction of a pool's connection is nobody's, however the last one ended."""
    with psycopg.connect(reader_url) as reader:
        for end in (reader.commit, reader.rollback):
            read_as_after(reader, tenants[0].organization)
            seen = [count(reader, table) for table in ("aggregate_metrics", "org_totals_v1")]
            end()
            assert min(seen) > 0
            assert (count(reader, "aggregate_metrics"), count(reader, "org_totals_v1")) == (0, 0)


def test_who_names_nobody_in_particular_sees_nothing(reader_url: str, tenants: list[Tenant]) -> None:
    """An organization that does not exist has no rows, and what is no id is an error, not a hole."""
    assert tenants
    with psycopg.connect(reader_url) as reader:
        read_as_after(reader, new_id())
        assert count(reader, "aggregate_metrics") == 0
        reader.execute("SELECT set_config('execmetrics.organization_id', 'everybody', true)")
        with pytest.raises(psycopg.errors.InvalidTextRepresentation):
            count(reader, "aggregate_metrics")


def test_a_query_without_a_filter_leaks_nothing(
    reader_url: str, tenants: list[Tenant], settings: Settings
) -> None:
    """A repository that asks for a neighbour's rows by mistake is shown none of them."""
    mine, neighbour = (admit(tenant.organization) for tenant in tenants[:2])
    whole = {"since": NOON.replace(hour=0), "until": NOON.replace(hour=0) + DAY}

    with reading_as(reader_url, settings, mine) as connection:
        right, wrong = AnalyticsRepository(connection, mine), AnalyticsRepository(connection, neighbour)

        assert right.get_total(**whole)["total_executions"] == 4
        assert wrong.get_total(**whole)["total_executions"] == 0
        assert wrong.get_total(**whole, client_id=NO_CLIENT)["total_executions"] == 0
        assert [wrong.get_breakdown(each, **whole) for each in JOBS.dimension_columns] == [()] * 3
        with pytest.raises(WorkflowNotVisible):
            wrong.get_breakdown("client_id", **whole, workflow_id=tenants[1].workflows[0])
        with pytest.raises(ClientNotVisible):
            wrong.get_breakdown("workflow_id", **whole, client_id=tenants[1].clients[0])
        assert wrong.get_completeness() is None


def test_a_reader_cannot_write(reader_url: str, tenants: list[Tenant]) -> None:
    """Not even its own rows."""
    for forbidden in ("DELETE FROM analytics.watermarks", "UPDATE analytics.workflows SET name = ''"):
        with psycopg.connect(reader_url) as reader:
            mine = [str(tenants[0].organization)]
            reader.execute("SELECT set_config('execmetrics.organization_id', %s, true)", mine)
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                reader.execute(forbidden)


def test_a_sum_over_a_slice_counts_each_job_once(
    reader_url: str, tenants: list[Tenant], source: Connection
) -> None:
    """What a dashboard adds up by default is right within a period; no sentinel is shown as an id."""
    tenant = tenants[1].organization
    counted = "SELECT count(*) FROM orchestration.jobs WHERE organization_id = %s"
    jobs = source.execute(counted, [tenant]).fetchone()
    with psycopg.connect(reader_url) as reader:
        read_as_after(reader, tenant)
        for view in VIEWS[:4]:
            summed = f"SELECT sum(total_executions) FROM analytics.{view} WHERE period = 'day'"
            assert reader.execute(summed).fetchone() == jobs, view
        cube = reader.execute(
            "SELECT sum(total_executions) FROM analytics.aggregate_metrics_v1"
            " WHERE period = 'month' AND workflow_is_all AND NOT client_is_all AND initiator_is_all"
        ).fetchone()
        shown = reader.execute(
            "SELECT DISTINCT client_id, client_name FROM analytics.by_client_v1 ORDER BY client_name"
        ).fetchall()

    assert cube == jobs
    assert [(client, name) for client, name in shown if client is None] == [(None, "No client")]
    assert UUID(int=2**128 - 1) not in {client for client, _ in shown}


def count(reader: Connection, table: str) -> int:
    """How many rows are shown."""
    return reader.execute(f"SELECT count(*) FROM analytics.{table}").fetchone()[0]


def read_as_after(connection: Connection, organization: UUID) -> None:
    """Begin a transaction of a tenant's."""
    connection.rollback()
    read_as(connection, admit(organization))
