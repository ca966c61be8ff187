"""A tenant lists its own executions with their names, page by page, by the indexes that were made for it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import product
from typing import Any
from uuid import UUID

import psycopg
import pytest

from pipelines.errors import AnalyticsQueryError
from pipelines.executions.metadata import SyncReport
from pipelines.postgres.connections import Databases, Run
from pipelines.query.executions import ExecutionMetadata, ExecutionMetadataRepository
from pipelines.query.tenant import admit, reading_as
from pipelines.runs.execution_metadata import sync_metadata
from pipelines.settings import Settings
from pipelines.subjects.dimensions import NO_CLIENT
from pipelines.subjects.jobs import Status
from tests.support.planting import MINUTE, NOON, Tenant, new_id, plant_job, plant_jobs, plant_tenant
from tests.support.query_plans import Recorded, plan_of

Opened = Callable[[Tenant], Any]
Sync = Callable[[], SyncReport]
Pair = tuple[Tenant, Tenant]

MANY = """
    INSERT INTO orchestration.jobs (id, organization_id, workflow_id, client_id, status, created_at)
    SELECT
        gen_random_uuid(), %(organization)s, (%(workflows)s::uuid[])[1 + number %% 20],
        (%(clients)s::uuid[])[1 + number %% 40], 'PENDING', %(noon)s + number * interval '1 minute'
    FROM generate_series(1, 1500) AS jobs (number)
"""


@pytest.fixture
def tenants(source: psycopg.Connection) -> Pair:
    """The tenant that asks, and its neighbour."""
    return plant_tenant(source), plant_tenant(source, "Neighbour")


@pytest.fixture
def sync(databases: Databases, settings: Settings) -> Sync:
    """A function that copies what changed."""
    return partial(sync_metadata, Run(databases, settings))


@pytest.fixture
def opened(databases: Databases, settings: Settings) -> Opened:
    """A function that opens a tenant's repository, in a transaction of its own."""

    @contextmanager
    def open_(tenant: Tenant) -> Iterator[ExecutionMetadataRepository]:
        identity = admit(tenant.organization)
        with reading_as(databases.source_url, settings, identity) as connection:
            yield ExecutionMetadataRepository(connection, identity)

    return open_


@pytest.mark.every_postgres
def test_an_execution_is_told_with_its_names(
    tenants: Pair, sync: Sync, source: psycopg.Connection, opened: Opened
) -> None:
    """Each column of its row; None for another tenant's, a deleted one and one that is not copied yet."""
    tenant, neighbour = tenants
    job, deleted = plant_jobs(source, tenant, [{}, {"deleted_at": NOON, "client_id": None}])
    plant_job(source, neighbour)
    sync()
    later = plant_job(source, tenant)
    synced_at, last_synced_at = source.execute(
        "SELECT s.synced_at, m.last_synced_at FROM orchestration.execution_metadata_syncs AS s"
        " JOIN orchestration.execution_metadata AS m ON m.job_id = %s WHERE s.organization_id = %s",
        [job, tenant.organization],
    ).fetchone()

    with opened(tenant) as executions:
        found = executions.find_by_job(job)
        absent = [executions.find_by_job(each) for each in (deleted, later, new_id())]
        gone = executions.find_by_job(deleted, include_deleted=True)
    with opened(neighbour) as executions:
        foreign = executions.find_by_job(job, include_deleted=True)

    assert found == ExecutionMetadata(
        organization_id=tenant.organization,
        job_id=job,
        workflow_id=tenant.workflows[0],
        workflow_name="Acme workflow 1",
        client_id=tenant.clients[0],
        client_name="Acme client 1",
        initiator_type="USER",
        status=Status.COMPLETED,
        created_at=NOON - 2 * MINUTE,
        started_at=NOON - MINUTE,
        completed_at=NOON,
        deleted_at=None,
        is_deleted=False,
        last_synced_at=last_synced_at,
        synced_at=synced_at,
        place=("2024-01-31 11:58:00+00", job),
    )
    assert (absent, foreign) == ([None] * 3, None)
    assert (gone.client_id, gone.client_name, gone.is_deleted, gone.deleted_at) == (None, None, True, NOON)


@pytest.mark.every_postgres
def test_pages_follow_each_other(
    tenants: Pair, sync: Sync, source: psycopg.Connection, opened: Opened
) -> None:
    """The newest first, each once, though many share a moment and some have one that no calendar holds."""
    tenant, neighbour = tenants
    moments = [*[NOON] * 3, NOON + MINUTE, NOON - MINUTE, *["infinity"] * 2, "-infinity", "20000-01-01"]
    jobs = plant_jobs(source, tenant, [{"created_at": moment} for moment in moments])
    plant_job(source, tenant, deleted_at="infinity")
    plant_job(source, neighbour)
    sync()

    with opened(tenant) as executions:
        everything = executions.find_recent()
        paged: list[ExecutionMetadata] = []
        while page := executions.find_recent(after=paged[-1].place if paged else None, rows=2):
            paged += page
        deleted = executions.find_recent(include_deleted=True)

    order = source.execute(
        "SELECT id FROM orchestration.jobs WHERE id = ANY(%s) ORDER BY created_at DESC, id DESC", [list(jobs)]
    ).fetchall()
    assert [each.job_id for each in everything] == [job for (job,) in order]
    assert tuple(paged) == everything
    assert [each.created_at for each in everything[:3]] == [None] * 3
    assert [(each.is_deleted, each.deleted_at) for each in deleted if each not in everything] == [
        (True, None)
    ]


def test_a_list_can_be_narrowed(
    tenants: Pair, sync: Sync, source: psycopg.Connection, opened: Opened
) -> None:
    """To a workflow, a client, those without one, a status, and all of these; a neighbour's is nobody's."""
    tenant, neighbour = tenants
    for one in (tenant, neighbour):
        every = product(one.workflows, (*one.clients, None), ("COMPLETED", "FAILED"))
        names = ("workflow_id", "client_id", "status")
        plant_jobs(source, one, [dict(zip(names, values, strict=True)) for values in every])
    sync()
    workflow, client = tenant.workflows[1], tenant.clients[0]

    with opened(tenant) as executions:
        of_workflow = executions.find_recent(workflow_id=workflow)
        of_client = executions.find_recent(client=client)
        of_none = executions.find_recent(client=NO_CLIENT)
        failed = executions.find_recent(status=Status.FAILED)
        one = executions.find_recent(workflow_id=workflow, client=client, status=Status.FAILED)
        foreign = [
            executions.find_recent(workflow_id=neighbour.workflows[0]),
            executions.find_recent(client=neighbour.clients[0]),
        ]

    assert [len(found) for found in (of_workflow, of_client, of_none, failed, one)] == [6, 4, 4, 6, 1]
    assert {each.workflow_id for each in of_workflow} == {workflow}
    assert {each.client_id for each in of_client} == {client}
    assert {(each.client_id, each.client_name) for each in of_none} == {(None, None)}
    assert {each.status for each in failed} == {Status.FAILED}
    assert foreign == [(), ()]


@pytest.mark.every_postgres
def test_a_page_is_read_from_the_index_of_its_question(
    sync: Sync, source: psycopg.Connection, opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One query each, which looks at the rows of the page and at hardly any other, and sorts nothing."""
    tenants = [plant_tenant(source, f"Tenant {number}", workflows=20, clients=40) for number in range(6)]
    for tenant in tenants:
        values = {"workflows": list(tenant.workflows), "clients": list(tenant.clients), "noon": NOON}
        source.execute(MANY, values | {"organization": tenant.organization})
    sync()
    source.execute("VACUUM (ANALYZE) orchestration.execution_metadata")
    tenant = tenants[3]
    with opened(tenant) as executions:
        newest = executions.find_recent(rows=500)
    questions: dict[str, dict[str, Any]] = {
        "created_at": {},
        "created_at ": {"after": newest[-1].place},
        "workflow_id_created_at": {"workflow_id": tenant.workflows[7]},
        "client_id_created_at": {"client": tenant.clients[3], "after": newest[-1].place},
    }

    plans = {}
    with opened(tenant) as executions:
        connection = executions._connection
        monkeypatch.setattr(connection, "cursor_factory", Recorded)
        for name, asked in questions.items():
            monkeypatch.setattr(Recorded, "told", [])
            assert len(executions.find_recent(**asked, rows=20)) == 20
            ((query, values),) = Recorded.told
            plans[name.strip(), "after" in asked] = list(plan_of(connection, query, values, "ANALYZE"))

    for (name, _), plan in plans.items():
        (look,) = [node for node in plan if node.get("Relation Name") == "execution_metadata"]
        assert look["Index Name"] == f"execution_metadata_by_organization_id_{name}"
        assert look["Actual Rows"] + look.get("Rows Removed by Filter", 0) <= 21
        assert "Sort" not in {node["Node Type"] for node in plan}
    assert len(plans) == 4


def test_the_drivers_words_stay_behind(opened: Opened, source: psycopg.Connection) -> None:
    """A place that is none, or a table that is not there, is for the operator and not for who asked."""
    tenant = plant_tenant(source)
    plant_tenant(source, "Neighbour")

    with opened(tenant) as executions, pytest.raises(AnalyticsQueryError) as refused:
        executions.find_recent(after=("Jane Roe", UUID(int=1)))

    assert "Jane" not in str(refused.value)
