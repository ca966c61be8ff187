"""The copy of jobs with their names is what a join of the sources says, and writes only what changed."""

import json
import re
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, replace
from datetime import timedelta
from typing import Any
from uuid import UUID

import psycopg
import pytest

from pipelines.cli.output import plain
from pipelines.errors import AnotherRunHoldsTheLock, StatementTimedOut, UnknownOrganization
from pipelines.executions.metadata import SyncReport
from pipelines.postgres.connections import Databases, Run
from pipelines.postgres.grants import grants
from pipelines.runs.execution_metadata import find_drift, reconcile_metadata, sync_metadata
from pipelines.settings import Settings
from tests.conftest import with_user
from tests.support.metadata_oracle import copies, written_between, wrong
from tests.support.places import ROOT
from tests.support.planting import NOON, Tenant, new_id, plant_job, plant_jobs, plant_tenant

Pair = tuple[Tenant, Tenant]
Do = Callable[..., Any]
Limits = dict[str, Any]

COPY = "orchestration.execution_metadata"


@pytest.fixture
def do(databases: Databases, settings: Settings) -> Do:
    """A function that calls a use case, with other settings or as another reader if it is told."""

    def done(use_case: Callable[..., Any], url: str = "", limits: Limits | None = None, **asked: Any) -> Any:
        places = replace(databases, source_url=url or databases.source_url)
        return use_case(Run(places, settings.model_copy(update=limits or {})), **asked)

    return done


@pytest.fixture
def tenants(do: Do, source: psycopg.Connection) -> Pair:
    """Two tenants with jobs of every client and workflow, one of them deleted, all of them copied."""
    pair = plant_tenant(source), plant_tenant(source, "Neighbour")
    for tenant in pair:
        plant_jobs(
            source,
            tenant,
            [
                *({}, {"workflow_id": tenant.workflows[1], "client_id": tenant.clients[1]}),
                *({"client_id": None, "initiator_type": None}, {"deleted_at": NOON}),
                {"status": "RUNNING", "completed_at": None},
            ],
        )
    assert do(sync_metadata).rows_inserted == 10
    return pair


@pytest.mark.every_postgres
def test_every_job_is_copied_with_its_names(tenants: Pair, do: Do, source: psycopg.Connection) -> None:
    """With and without a client, deleted or not, and with times that no calendar has."""
    plant_job(source, tenants[0], created_at="infinity", started_at="-infinity")

    report = do(sync_metadata)

    assert report == SyncReport(organizations=2, rows_inserted=1)
    assert wrong(source) == []
    assert len(copies(source)) == 11
    deleted = "SELECT count(*) FROM orchestration.execution_metadata WHERE deleted_at = %s"
    assert source.execute(deleted, [NOON]).fetchone() == (2,)


@pytest.mark.every_postgres
def test_what_is_equal_is_not_written(tenants: Pair, do: Do, source: psycopg.Connection) -> None:
    """`last_synced_at` says when a row was written, `synced_at` through when its organization is copied."""
    before, through = copies(source), synced_at(source)
    nothing = [do(sync_metadata), do(sync_metadata, full=True)]
    kept, later = copies(source), synced_at(source)
    job = plant_job(source, tenants[0])
    # Written in the source, but to say what it said.
    source.execute("UPDATE orchestration.jobs SET updated_at = now()")

    report = do(sync_metadata)

    assert nothing == [SyncReport(organizations=2)] * 2
    assert kept == before
    assert all(later[tenant.organization] > through[tenant.organization] for tenant in tenants)
    assert report == SyncReport(organizations=2, rows_inserted=1)
    assert written_between(before, copies(source)) == {job}
    assert (
        later[tenants[0].organization] < copies(source)[job][2] <= synced_at(source)[tenants[0].organization]
    )


@pytest.mark.parametrize(
    ("change", "rows"),
    [
        ("UPDATE orchestration.workflows SET name = 'new' WHERE id = %(workflow)s", 4),
        ("UPDATE orchestration.clients SET name = 'new' WHERE id = %(client)s", 3),
        ("UPDATE orchestration.jobs SET workflow_id = %(other_workflow)s WHERE client_id = %(client)s", 3),
        ("UPDATE orchestration.jobs SET client_id = %(other_client)s WHERE client_id = %(client)s", 3),
        ("UPDATE orchestration.jobs SET status = 'FAILED', deleted_at = now() WHERE client_id IS NULL"
         " AND organization_id = %(organization)s", 1),
        ("DELETE FROM orchestration.clients WHERE id = %(client)s", 3),
    ],
    ids=["rename workflow", "rename client", "other workflow", "other client", "edit", "delete client"],
)  # fmt: skip
def test_a_change_is_healed_by_the_next_sync(
    tenants: Pair, do: Do, source: psycopg.Connection, change: str, rows: int
) -> None:
    """It waits as pending, is copied to each job that it touches, and to no other and no neighbour's."""
    tenant = tenants[0]
    before = copies(source)
    ids = {"organization": tenant.organization, "workflow": tenant.workflows[0], "client": tenant.clients[0]}
    source.execute(change, ids | {"other_workflow": tenant.workflows[1], "other_client": tenant.clients[1]})
    touched = {row[0] for row in wrong(source)}
    waiting = do(find_drift)

    report = do(sync_metadata)

    assert len(touched) == rows
    assert (waiting.rows_pending, waiting.drifted) == (rows, ())
    assert report == SyncReport(organizations=2, rows_updated=rows)
    assert wrong(source) == []
    assert written_between(before, copies(source)) == touched
    assert do(find_drift).rows_pending == 0


def test_only_the_organizations_that_are_named_are_synced(
    tenants: Pair, do: Do, source: psycopg.Connection
) -> None:
    """Everybody else's rows and horizon stay; an organization that nobody knows is refused by its id."""
    for tenant in tenants:
        plant_job(source, tenant)
    nobody, through = new_id(), synced_at(source)

    report = do(sync_metadata, organization_ids=[tenants[0].organization])

    assert report == SyncReport(organizations=1, rows_inserted=1)
    assert {row[1] for row in wrong(source)} == {tenants[1].organization}
    assert synced_at(source)[tenants[1].organization] == through[tenants[1].organization]
    for ask in (sync_metadata, find_drift, reconcile_metadata):
        with pytest.raises(UnknownOrganization, match=str(nobody)):
            do(ask, organization_ids=[nobody])


def test_organizations_are_synced_some_at_a_time(tenants: Pair, do: Do, source: psycopg.Connection) -> None:
    """Each EXECMETRICS_BATCH_ORGANIZATIONS of them in a transaction, and the report is the sum."""
    for tenant in tenants:
        plant_job(source, tenant)
    one = {"batch_organizations": 1}

    reports = do(sync_metadata, limits=one), do(find_drift, limits=one)

    assert reports[0] == SyncReport(organizations=2, rows_inserted=2)
    assert (reports[1].organizations, reports[1].rows_compared) == (2, 12)
    written = "SELECT count(DISTINCT xmin::text) FROM orchestration.execution_metadata_syncs"
    assert source.execute(written).fetchone() == (2,)


@pytest.mark.every_postgres
def test_an_edit_by_hand_is_drift_that_only_reconciling_repairs(
    tenants: Pair, do: Do, source: psycopg.Connection
) -> None:
    """The check names organization, columns, counts and jobs; no word of what stands in the rows."""
    tenant, neighbour = tenants
    (job,) = one_of(source, tenant)
    source.execute(
        f"UPDATE {COPY} SET client_name = 'Jane Roe', status = 'FAILED' WHERE job_id = %s",
        [job],
    )
    source.execute(
        "DELETE FROM orchestration.execution_metadata WHERE job_id = ANY(%s)", [one_of(source, neighbour)]
    )

    synced = do(sync_metadata)
    found = do(find_drift)
    repaired = do(reconcile_metadata)

    assert synced == SyncReport(organizations=2)
    mine, theirs = found.drifted
    assert (found.rows_compared, found.rows_pending) == (10, 0)
    assert (mine.organization_id, mine.rows_differing, mine.rows_missing) == (tenant.organization, 1, 0)
    assert (mine.columns, mine.job_ids) == ({"client_name": 1, "status": 1}, [job])
    assert (theirs.organization_id, theirs.rows_missing, theirs.columns) == (neighbour.organization, 1, {})
    assert not {"Jane Roe", "FAILED"} & set(json.dumps(plain(asdict(found))).split('"'))
    assert repaired.found == found
    assert repaired.sync == SyncReport(organizations=2, rows_inserted=1, rows_updated=1)
    assert wrong(source) == []
    assert do(find_drift).drifted == ()


COLUMNS = {
    "organization_id": "%(neighbour)s",
    "workflow_id": "gen_random_uuid()",
    "workflow_name": "'another'",
    "client_id": "NULL",
    "client_name": "NULL",
    "initiator_type": "NULL",
    "status": "'CANCELLED'",
    "created_at": "created_at + interval '1 microsecond'",
    "started_at": "NULL",
    "completed_at": "'infinity'",
    "deleted_at": "now()",
}


def test_every_column_is_compared_and_repaired(tenants: Pair, do: Do, source: psycopg.Connection) -> None:
    """Whichever is changed by hand, it is the one that is named; `last_synced_at` has no source."""
    tenant, neighbour = tenants
    columns = source.execute(
        f"SELECT attname FROM pg_attribute WHERE attrelid = '{COPY}'::regclass AND attnum > 0"
    )
    named = {}
    for column, value in COLUMNS.items():
        edit = f"UPDATE orchestration.execution_metadata SET {column} = {value} WHERE job_id = %(job)s"
        (job,) = one_of(source, tenant)
        source.execute(edit, {"job": job, "neighbour": neighbour.organization})
        (found,) = do(reconcile_metadata).found.drifted
        named[column] = dict(found.columns)
        assert found.organization_id == tenant.organization
        assert wrong(source) == []

    assert named == {column: {column: 1} for column in COLUMNS}
    assert {name for (name,) in columns} == {*COLUMNS, "job_id", "last_synced_at"}


def test_rows_of_jobs_that_are_gone_are_left_over(tenants: Pair, do: Do, source: psycopg.Connection) -> None:
    """Where the foreign key was switched off, the check counts them and reconciling deletes them."""
    source.execute(f"ALTER TABLE {COPY} DROP CONSTRAINT execution_metadata_job_exists")
    gone = one_of(source, tenants[0])
    source.execute("DELETE FROM orchestration.jobs WHERE id = ANY(%s)", [gone])

    (found,) = do(find_drift).drifted
    repaired = do(reconcile_metadata).sync

    assert (found.organization_id, found.rows_left_over) == (tenants[0].organization, 1)
    assert (found.rows_drifted, found.job_ids) == (1, gone)
    assert repaired == SyncReport(organizations=2, rows_deleted=1)
    assert wrong(source) == []


@pytest.mark.every_postgres
@pytest.mark.parametrize("table", ["jobs", "organizations"])
def test_no_application_is_waited_for_and_nothing_is_lost(
    tenants: Pair, do: Do, databases: Databases, source: psycopg.Connection, table: str
) -> None:
    """What somebody holds, or may yet delete, keeps the horizon where it was, though they let it be."""
    tenant, neighbour = tenants
    job, theirs = plant_job(source, tenant), plant_job(source, neighbour)
    held = {"jobs": job, "organizations": tenant.organization}[table]
    impatient = {"lock_timeout": timedelta(milliseconds=1)}
    with psycopg.connect(databases.source_url) as application:
        application.execute(f"SELECT FROM orchestration.{table} WHERE id = %s FOR UPDATE", [held])

        meanwhile = do(sync_metadata, limits=impatient)
        behind = wrong(source)
        waiting = do(find_drift)
        application.rollback()
    report = do(sync_metadata)

    assert meanwhile == SyncReport(organizations=1, organizations_waiting=1, rows_inserted=1)
    assert {row[0] for row in behind} == {job}
    assert (waiting.rows_pending, waiting.drifted) == (1, ())
    assert report == SyncReport(organizations=2, rows_inserted=1)
    assert wrong(source) == []
    assert theirs in copies(source)


@pytest.mark.parametrize(("column", "value"), [("horizon", 10**12), ("horizon", -(2**31)), ("server", 1)])
def test_a_horizon_that_tells_nothing_asks_for_everything(
    tenants: Pair, do: Do, source: psycopg.Connection, column: str, value: int
) -> None:
    """One that lies ahead, one so old that 32 bits have come round, and one of another server."""
    (lost,) = one_of(source, tenants[0])
    source.execute("DELETE FROM orchestration.execution_metadata WHERE job_id = %s", [lost])
    source.execute(f"UPDATE {COPY}_syncs SET {column} = %s", [value])
    waiting = do(find_drift)

    report = do(sync_metadata)

    assert (waiting.rows_pending, waiting.drifted) == (10, ())
    assert report == SyncReport(organizations=2, rows_inserted=1)
    assert wrong(source) == []


def test_syncs_at_once_end_as_one_would(tenants: Pair, do: Do, source: psycopg.Connection) -> None:
    """Each waits for the other, whichever kind it is: no deadlock, and no row is inserted twice."""
    jobs = [plant_job(source, tenant) for tenant in tenants for _ in range(20)]
    source.execute("UPDATE orchestration.workflows SET name = 'renamed'")

    with ThreadPoolExecutor(4) as pool:
        runs = [pool.submit(do, sync_metadata, full=bool(n % 2)) for n in range(4)]
        reports = [run.result() for run in runs]

    assert sum(each.rows_inserted for each in reports) == 40
    assert sum(each.rows_updated for each in reports) == 10
    assert wrong(source) == []
    assert set(jobs) <= copies(source).keys()


@pytest.mark.parametrize(
    ("limits", "failure"),
    [
        ({"lock_timeout": timedelta(milliseconds=50)}, AnotherRunHoldsTheLock),
        ({"statement_timeout": timedelta(milliseconds=50)}, StatementTimedOut),
    ],
)
@pytest.mark.usefixtures("tenants")
def test_a_sync_that_cannot_begin_says_so(
    do: Do, source: psycopg.Connection, limits: dict, failure: type
) -> None:
    """After EXECMETRICS_LOCK_TIMEOUT, or when a statement takes too long; the rows stay as they are."""
    before = copies(source)
    with source.transaction():
        source.execute("SELECT pg_advisory_xact_lock(hashtextextended('execution-metrics metadata', 0))")

        for ask in (sync_metadata, reconcile_metadata):
            with pytest.raises(failure):
                do(ask, limits=limits)

    assert copies(source) == before


def test_a_failure_in_the_middle_leaves_everything_as_it_was(
    tenants: Pair, do: Do, source: psycopg.Connection
) -> None:
    """Rows and horizon are of one transaction, so a sync that broke off is made up for by the next."""
    before, through = copies(source), synced_at(source)
    plant_job(source, tenants[0])
    source.execute(f"ALTER TABLE {COPY}_syncs ADD CONSTRAINT broken CHECK (horizon < 0) NOT VALID")

    with pytest.raises(psycopg.errors.CheckViolation):
        do(sync_metadata)

    assert (copies(source), synced_at(source)) == (before, through)
    source.execute(f"ALTER TABLE {COPY}_syncs DROP CONSTRAINT broken")
    assert do(sync_metadata).rows_inserted == 1


def test_a_row_is_of_a_job_and_a_horizon_of_an_organization(source: psycopg.Connection) -> None:
    """Of nobody's neither can be written, not even by hand."""
    plant_job(source, plant_tenant(source, "Neighbour"))
    refused = {}
    for table, rest in (
        (
            COPY,
            "gen_random_uuid(), gen_random_uuid(), 'A', NULL, NULL, NULL, 'PENDING', now(), NULL, NULL, NULL",
        ),
        (f"{COPY}_syncs", "0, 0"),
    ):
        with pytest.raises(psycopg.errors.ForeignKeyViolation) as refusal:
            source.execute(f"INSERT INTO {table} SELECT gen_random_uuid(), {rest}, now()")
        refused[table] = refusal.value.diag.constraint_name

    assert refused == {
        COPY: "execution_metadata_job_exists",
        f"{COPY}_syncs": "execution_metadata_syncs_organization_exists",
    }


def test_a_source_without_the_table_is_left_alone(do: Do, source: psycopg.Connection) -> None:
    """One that another program made, or that was migrated before: a sentence, and no failure."""
    plant_job(source, plant_tenant(source))
    source.execute("DROP TABLE orchestration.execution_metadata_syncs")

    assert sentences(do) == {
        "The source has no table execution_metadata of ours, so there is nothing to sync."
    }
    assert copies(source) == {}


def test_a_role_that_may_only_read_leaves_it_alone(
    tenants: Pair, do: Do, databases: Databases, settings: Settings, source: psycopg.Connection
) -> None:
    """Until it has every privilege that is printed and documented; with these it syncs and reconciles."""
    job = plant_job(source, tenants[0])
    with role(source) as name:
        url = with_user(databases.source_url, name)
        said = sentences(do, url)
        for grant in (*printed_grants(settings), *documented_grants()):
            said |= sentences(do, url)
            source.execute(grant.replace("execmetrics_source_reader", name))
        report = do(sync_metadata, url=url)
        reconciled = do(reconcile_metadata, url=url)

    assert said == {"This role may not write execution_metadata in the source; another role has to sync it."}
    assert report == SyncReport(organizations=2, rows_inserted=1)
    assert reconciled.found.rows_compared == 11
    assert job in copies(source)
    assert wrong(source) == []


def printed_grants(settings: Settings) -> Sequence[str]:
    """What `execmetrics grants` has the owner of a source run for whoever reads it."""
    names = {name: f"execmetrics_{name}" for name in ("source_reader", "writer", "dashboard_reader")}
    return grants(settings, **names)[0].statements


def documented_grants() -> list[str]:
    """What the page about it has the owner of a source run, without its comments."""
    page = (ROOT / "docs/execution-metadata.md").read_text("utf-8")
    text = re.sub(r"--[^\n]*\n", "", page.partition("```sql\n")[2].partition("```")[0])
    return [grant.strip() for grant in text.split(";") if grant.strip()]


@contextmanager
def role(source: psycopg.Connection) -> Iterator[str]:
    """Make a role that may do nothing, and remove it."""
    name = f"reader_{new_id().hex}"
    source.execute(f"CREATE ROLE {name} LOGIN")
    source.execute(f"GRANT {name} TO CURRENT_USER")
    yield name
    source.execute(f"DROP OWNED BY {name}")
    source.execute(f"DROP ROLE {name}")


def sentences(do: Do, url: str = "") -> set[str | None]:
    """What each of the three says instead of doing anything."""
    reconciled = do(reconcile_metadata, url)
    synced, found = do(sync_metadata, url), do(find_drift, url)
    assert replace(synced, left_alone=None) == replace(reconciled.sync, left_alone=None) == SyncReport()
    assert found.organizations == reconciled.found.organizations == 0
    return {synced.left_alone, found.left_alone, reconciled.found.left_alone, reconciled.sync.left_alone}


def one_of(source: psycopg.Connection, tenant: Tenant) -> list[UUID]:
    """A finished job of the tenant that has a client."""
    jobs = source.execute(
        "SELECT id FROM orchestration.jobs WHERE organization_id = %s AND client_id IS NOT NULL"
        " AND status = 'COMPLETED' AND deleted_at IS NULL ORDER BY id LIMIT 1",
        [tenant.organization],
    ).fetchall()
    return [job for (job,) in jobs]


def synced_at(source: psycopg.Connection) -> dict[UUID, object]:
    """Through when each organization is copied."""
    return dict(
        source.execute(
            "SELECT organization_id, synced_at FROM orchestration.execution_metadata_syncs"
        ).fetchall()
    )
