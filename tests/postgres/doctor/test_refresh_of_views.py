"""On the views that doctor prints, a role with the printed grants alone does all that a run does."""

from hashlib import md5
from uuid import UUID

import psycopg
import pytest
from psycopg import Connection
from psycopg.errors import InsufficientPrivilege

from pipelines.postgres.connections import Databases
from pipelines.settings import Tier
from tests.conftest import CreateDatabase
from tests.postgres.doctor.conftest import Doctor, Mend
from tests.support.pipeline import Pipeline
from tests.support.planting import DAY, HOUR, MINUTE, NOON
from tests.support.prisma_application import change_job, plant_job, plant_tenant, uuid, wall_clock


@pytest.fixture
def databases(databases: Databases, create_database: CreateDatabase) -> Databases:
    """The aggregates in a database of their own, and the source as the reader sees it."""
    return Databases(analytics_url=create_database(), source_url=databases.source_url)


def as_uuid(text: str) -> UUID:
    """What an id of the application is called in the metrics."""
    return UUID(text if len(text) == 36 else md5(text.encode()).hexdigest())


@pytest.mark.every_postgres
def test_a_refresh_runs_on_what_doctor_prints(
    doctor: Doctor, mend: Mend, pipeline: Pipeline, source: Connection
) -> None:
    """Late, edited and deleted jobs heal, hard deletes too, nothing is written twice, and ids keep apart."""
    tenant, neighbour = plant_tenant(source), plant_tenant(source, "Neighbour", uuid)
    edited, deleted = plant_job(source, tenant), plant_job(source, tenant, workflowId=tenant.workflows[1])
    backwards = plant_job(source, tenant, startedAt=wall_clock(NOON + MINUTE))
    gone = plant_job(source, neighbour, id=uuid(), clientId=None, initiatorType=None)
    plant_job(source, neighbour, status="RUNNING", completedAt=None)

    sick = doctor()
    mend()
    healthy = doctor()

    assert (sick.exit_code, healthy.exit_code) == (1, 0), healthy.stdout
    assert "Nothing to mend" in healthy.stdout
    assert pipeline.refresh().facts_inserted == 4
    assert_true(pipeline)
    organizations = {as_uuid(each.organization) for each in (tenant, neighbour)}
    assert {key[0] for key in pipeline.cells()} == organizations
    assert pipeline.listed() == {(as_uuid(backwards), "negative_duration", "not_timed")}

    plant_job(source, neighbour, completed=NOON - HOUR)
    change_job(source, edited, status="FAILED", clientId=None)
    change_job(source, deleted, deletedAt=wall_clock(NOON))

    assert pipeline.refresh().rows_read == 3
    assert_true(pipeline)
    assert pipeline.refresh().cells_written == 0

    source.execute('DELETE FROM "Job" WHERE "id" = %s', [gone])
    pipeline.reconcile(since=NOON - DAY, until=NOON + 3 * DAY)

    assert_true(pipeline)
    assert pipeline.refresh().cells_written == 0


def assert_true(pipeline: Pipeline) -> None:
    """Every cell is what plain SQL says, here and in the product's own comparison."""
    compared = pipeline.verify()
    assert (compared.cells_pending, compared.differences) == (0, ())
    assert compared.cells_compared > 0
    assert pipeline.differences() == []


@pytest.mark.parametrize("statement", ['SELECT "result" FROM "Job"', "SELECT result FROM orchestration.jobs"])
def test_the_payload_is_out_of_reach(
    mend: Mend, pipeline: Pipeline, source: Connection, statement: str
) -> None:
    """The reader may read the views, which do not have it, and nothing of the tables below."""
    plant_job(source, plant_tenant(source))
    mend()

    with psycopg.connect(pipeline.databases.source_url) as reader:
        assert reader.execute("SELECT count(*) FROM orchestration.jobs").fetchone() == (1,)
        with pytest.raises((InsufficientPrivilege, psycopg.errors.UndefinedColumn)):
            reader.execute(statement)


@pytest.mark.every_postgres
def test_a_time_without_zone_is_utc_whoever_wrote_it_and_wherever_the_server_lives(
    mend: Mend, pipeline: Pipeline, source: Connection
) -> None:
    """Prisma writes UTC and says so to nobody; neither its session's zone nor the server's moves a job."""
    tenant = plant_tenant(source)
    plant_job(source, plant_tenant(source, "Neighbour"), completed=NOON + DAY)
    source.execute("SET TimeZone = 'Asia/Kolkata'")
    plant_job(source, tenant)
    mend()
    source.execute(f"ALTER DATABASE {source.info.dbname} SET timezone = 'America/New_York'")

    pipeline.refresh()

    seen = source.execute("SELECT DISTINCT completed_at FROM orchestration.jobs ORDER BY 1").fetchall()
    hours = {key[2] for key in pipeline.cells(as_uuid(tenant.organization)) if key[1] == "hour"}
    assert seen == [(NOON,), (NOON + DAY,)]
    assert hours == {NOON}
    assert pipeline.verify().differences == ()


def test_an_index_finds_what_changed_through_the_view(
    mend: Mend, pipeline: Pipeline, source: Connection
) -> None:
    """With the indexed tier a refresh sees updates by `updatedAt` alone, and heals the rest in a sweep."""
    tenant, neighbour = plant_tenant(source), plant_tenant(source, "Neighbour")
    edited, quietly = plant_job(source, tenant), plant_job(source, neighbour)
    mend()
    pipeline.refresh()
    change_job(source, edited, status="FAILED")
    source.execute("""UPDATE "Job" SET "status" = 'FAILED' WHERE "id" = %s""", [quietly])

    by_index = pipeline.having(extraction=Tier.INDEXED).refresh()
    swept = pipeline.refresh()

    assert (by_index.facts_updated, swept.facts_updated) == (1, 1)
    assert pipeline.verify().differences == ()


def test_a_view_that_says_something_else_is_read_anew(
    mend: Mend, pipeline: Pipeline, source: Connection
) -> None:
    """No row changes when a view translates a status otherwise, and every figure follows all the same."""
    source.execute("""ALTER TYPE "JobStatus" ADD VALUE 'ABANDONED'""")
    tenant = plant_tenant(source)
    plant_job(source, tenant, status="ABANDONED")
    plant_job(source, plant_tenant(source, "Neighbour"))
    mend()
    assert pipeline.refresh().facts_inserted == 1

    mend("--status", "ABANDONED=FAILED")

    assert pipeline.refresh().facts_inserted == 1
    assert pipeline.verify().differences == ()
