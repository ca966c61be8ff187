"""A row that cannot be taken at face value is listed with its reason, and nothing is dropped silently."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from tests.support.oracle import ALL, NO_CLIENT, cells_by_sql, differences
from tests.support.pipeline import Pipeline
from tests.support.planting import DAY, HOUR, MINUTE, NOON, Tenant, without_constraints
from tests.support.sampling import EVERYTHING

NOT_COUNTED, NOT_TIMED = "not_counted", "not_timed"
NEXT_YEAR = datetime.now(UTC) + 365 * DAY

NEGATIVE = "completed before it started"

# How many jobs of each kind of trouble are in a database full of it.
MANY = 20_000 if EVERYTHING else 100

# So mixed that PostgreSQL cannot make it small enough for a key.
PAGE = "".join(chr(33 + (number * number * 7919) % 90) for number in range(3_200))

# What is written into a good job to spoil it, and the one reason that must be given for it.
SPOILT: dict[str, tuple[str, dict[str, Any]]] = {
    NEGATIVE: ("negative_duration", {"started_at": NOON + MINUTE}),
    "never started": ("missing_timestamp", {"started_at": None}),
    "never completed": ("missing_timestamp", {"completed_at": None}),
    "completed at the end of time": ("infinite_timestamp", {"completed_at": "infinity"}),
    "started at the beginning of time": ("infinite_timestamp", {"started_at": "-infinity"}),
    "created at the end of time": ("infinite_timestamp", {"created_at": "infinity"}),
    "completed in the year 12024": ("timestamp_out_of_range", {"completed_at": "12024-01-31 12:00Z"}),
    "started before Christ": ("timestamp_out_of_range", {"started_at": "0044-03-15 12:00Z BC"}),
    "created before Christ": ("timestamp_out_of_range", {"created_at": "0044-03-15 12:00Z BC"}),
    "completed in the last century": (
        "timestamp_out_of_range",
        {"started_at": "1999-12-31 23:59Z", "completed_at": "1999-12-31 23:59:59.999999Z"},
    ),
    "completed next year": ("future_timestamp", {"completed_at": NEXT_YEAR}),
    "of the workflow that means all": ("reserved_identifier", {"workflow_id": ALL}),
    "of a workflow that equals no client": ("reserved_identifier", {"workflow_id": NO_CLIENT}),
    "for the client that means all": ("reserved_identifier", {"client_id": ALL}),
    "for the client that means none": ("reserved_identifier", {"client_id": NO_CLIENT}),
    "started by all": ("reserved_identifier", {"initiator_type": "all"}),
    "started by a whole page of text": ("initiator_type_too_long", {"initiator_type": PAGE}),
    "started by one sign too many": ("initiator_type_too_long", {"initiator_type": "x" * 501}),
    "of an unheard-of status": ("unknown_status", {"status": "ARCHIVED"}),
}

GOOD: dict[str, Any] = {
    "created_at": NOON - 2 * MINUTE,
    "started_at": NOON - MINUTE,
    "completed_at": NOON,
    "status": "COMPLETED",
    "initiator_type": "USER",
}


def test_a_spoilt_row_is_listed_until_it_is_repaired(pipeline: Pipeline) -> None:
    """A counted job that goes bad leaves the cells and is listed; repaired, it is back as it was.

    Each kind of trouble comes to an organization of its own.
    """
    without_constraints(pipeline.source)
    neighbour = pipeline.plant_tenant("Neighbour")
    troubled = {kind: pipeline.plant_tenant() for kind in SPOILT}
    pipeline.plant_job(neighbour)
    for tenant in troubled.values():
        pipeline.plant_job(tenant)
    jobs = {kind: pipeline.plant_job(tenant) for kind, tenant in troubled.items()}
    pipeline.refresh()
    good, neighbours = cells_by_sql(pipeline.source), pipeline.row_versions(neighbour.organization)

    for kind, (_, spoilt) in SPOILT.items():
        pipeline.change_job(jobs[kind], **spoilt)
    pipeline.refresh()

    effects = {kind: NOT_TIMED if kind == NEGATIVE else NOT_COUNTED for kind in SPOILT}
    assert pipeline.listed() == {(jobs[kind], SPOILT[kind][0], effects[kind]) for kind in SPOILT}
    assert {kind: figures(pipeline, tenant) for kind, tenant in troubled.items()} == {
        kind: (2, 1) if effect == NOT_TIMED else (1, 1) for kind, effect in effects.items()
    }
    assert every_row_is_accounted_for(pipeline)
    for kind, tenant in troubled.items():
        mine = {"workflow_id": tenant.workflows[0], "client_id": tenant.clients[0]}
        pipeline.change_job(jobs[kind], **GOOD | mine)
    pipeline.refresh()
    assert pipeline.listed() == set()
    assert differences(pipeline.cells(), good) == []
    assert pipeline.row_versions(neighbour.organization) == neighbours


@pytest.mark.every_postgres
def test_a_database_full_of_spoilt_rows_is_published_all_the_same(pipeline: Pipeline) -> None:
    """Many of every kind on a first refresh: each is listed with its reason, the good rows are counted.

    A second refresh writes nothing, and verify agrees.
    """
    without_constraints(pipeline.source)
    tenant, neighbour = pipeline.plant_tenant(), pipeline.plant_tenant("Neighbour")
    for each in (tenant, neighbour):
        pipeline.plant_jobs(each, [{}] * 3)
    expected = set()
    for reason, spoilt in SPOILT.values():
        effect = NOT_TIMED if reason == "negative_duration" else NOT_COUNTED
        jobs = pipeline.plant_jobs(tenant, [spoilt] * MANY)
        expected |= {(job, reason, effect) for job in jobs}

    report, again = pipeline.refresh(), pipeline.refresh()

    assert pipeline.listed() == expected
    assert report.anomalies == len(SPOILT) * MANY
    assert (again.cells_written, again.cells_deleted, again.facts_inserted) == (0, 0, 0)
    assert figures(pipeline, tenant) == (3 + MANY, 3)
    assert figures(pipeline, neighbour) == (3, 3)
    assert every_row_is_accounted_for(pipeline)
    verified = pipeline.verify()
    assert (verified.differences, verified.cells_pending) == ((), 0)


@pytest.mark.parametrize(
    ("reason", "column"), [("foreign_workflow", "workflow_id"), ("foreign_client", "client_id")]
)
def test_a_job_that_points_at_a_neighbour_is_in_nobodys_figures(
    reason: str, column: str, pipeline: Pipeline
) -> None:
    """Another organization's workflow or client is never shown; when it changes hands the job heals."""
    without_constraints(pipeline.source)
    tenant, neighbour = pipeline.plant_tenant(), pipeline.plant_tenant("Neighbour")
    pipeline.plant_job(neighbour)
    theirs = neighbour.workflows[1] if column == "workflow_id" else neighbour.clients[1]
    job = pipeline.plant_job(tenant, **{column: theirs})

    pipeline.refresh()

    assert pipeline.listed() == {(job, reason, NOT_COUNTED)}
    assert pipeline.cells(tenant.organization) == {}
    assert every_row_is_accounted_for(pipeline)
    table = column.removesuffix("_id") + "s"
    pipeline.source.execute(
        f"UPDATE orchestration.{table} SET organization_id = %s WHERE id = %s", [tenant.organization, theirs]
    )
    pipeline.refresh()
    assert pipeline.listed() == set()
    assert figures(pipeline, tenant) == (1, 1)


@pytest.mark.parametrize("table", ["workflows", "clients"])
def test_a_missing_or_deleted_workflow_or_client_excludes_nothing(table: str, pipeline: Pipeline) -> None:
    """A job whose workflow or client is gone, softly or for good, still happened."""
    without_constraints(pipeline.source)
    tenant = pipeline.plant_beside_a_neighbour()
    pipeline.plant_job(tenant)
    pipeline.plant_job(tenant, workflow_id=tenant.workflows[1], client_id=tenant.clients[1])
    first, second = tenant.workflows if table == "workflows" else tenant.clients
    pipeline.source.execute(f"UPDATE orchestration.{table} SET deleted_at = now() WHERE id = %s", [first])
    pipeline.source.execute(f"DELETE FROM orchestration.{table} WHERE id = %s", [second])

    pipeline.refresh()

    assert pipeline.listed() == set()
    assert figures(pipeline, tenant) == (2, 2)


def test_an_organization_that_equals_a_sentinel_is_listed(pipeline: Pipeline) -> None:
    """An organization with the nil id has no figures, and its neighbours have theirs."""
    without_constraints(pipeline.source)
    neighbour = pipeline.plant_tenant("Neighbour")
    pipeline.plant_job(neighbour)
    pipeline.source.execute("INSERT INTO orchestration.organizations (id, name) VALUES (%s, 'Nil')", [ALL])
    job = pipeline.plant_job(Tenant(ALL, neighbour.workflows, ()), workflow_id=UUID(int=5))

    pipeline.refresh()

    assert pipeline.listed() == {(job, "reserved_identifier", NOT_COUNTED)}
    assert {key[0] for key in pipeline.cells()} == {neighbour.organization}


def test_any_reason_not_to_count_wins(pipeline: Pipeline) -> None:
    """A job with two reasons is listed under both, and one that forbids counting is enough."""
    without_constraints(pipeline.source)
    tenant = pipeline.plant_beside_a_neighbour()
    job = pipeline.plant_job(tenant, started_at=NOON + HOUR, initiator_type="all")

    pipeline.refresh()

    assert pipeline.listed() == {
        (job, "negative_duration", NOT_TIMED),
        (job, "reserved_identifier", NOT_COUNTED),
    }
    assert pipeline.cells(tenant.organization) == {}
    assert every_row_is_accounted_for(pipeline)
    pipeline.change_job(job, initiator_type="USER")
    pipeline.refresh()
    assert pipeline.listed() == {(job, "negative_duration", NOT_TIMED)}
    assert figures(pipeline, tenant) == (1, 0)


@pytest.mark.parametrize("status", ["PENDING", "RUNNING", "CANCELLED"])
def test_what_never_finished_is_not_an_anomaly(status: str, pipeline: Pipeline) -> None:
    """Unfinished and cancelled jobs are neither counted nor listed, however odd their times are."""
    without_constraints(pipeline.source)
    tenant = pipeline.plant_tenant()
    pipeline.plant_job(tenant)
    pipeline.plant_job(tenant, status=status, started_at=None, completed_at="infinity")

    pipeline.refresh()

    assert pipeline.listed() == set()
    assert figures(pipeline, tenant) == (1, 1)


def test_a_row_repaired_in_another_organization_leaves_the_list(pipeline: Pipeline) -> None:
    """It was listed for the tenant it left, and only the one it went to is refreshed."""
    tenant, other = pipeline.plant_tenant(), pipeline.plant_tenant("Neighbour")
    job = pipeline.plant_job(tenant, started_at=None)
    pipeline.refresh()
    pipeline.give_job(job, other, started_at=NOON - MINUTE)

    pipeline.refresh(organization_ids=[other.organization])
    pipeline.refresh()

    assert pipeline.listed() == set()


def test_a_deleted_row_leaves_the_list(pipeline: Pipeline) -> None:
    """A soft-deleted row needs no explanation, and gets one again when it is undeleted."""
    tenant = pipeline.plant_beside_a_neighbour()
    job = pipeline.plant_job(tenant, started_at=NOON + MINUTE)
    pipeline.refresh()
    pipeline.change_job(job, deleted_at=NOON)

    pipeline.refresh()

    assert (pipeline.listed(), pipeline.cells(tenant.organization)) == (set(), {})
    pipeline.change_job(job, deleted_at=None)
    pipeline.refresh()
    assert pipeline.listed() == {(job, "negative_duration", NOT_TIMED)}


def test_a_job_from_the_future_is_counted_when_it_is_due(pipeline: Pipeline) -> None:
    """It waits on the list with its first sight kept, and counts without being touched again."""
    tenant = pipeline.plant_beside_a_neighbour()
    due = datetime.now(UTC) + 2 * DAY
    job = pipeline.plant_job(tenant, completed_at=due)
    pipeline.refresh()
    first_seen, last_seen = seen(pipeline, job)

    pipeline.refresh()

    assert pipeline.listed() == {(job, "future_timestamp", NOT_COUNTED)}
    assert seen(pipeline, job)[0] == first_seen
    assert seen(pipeline, job)[1] > last_seen
    assert pipeline.cells(tenant.organization) == {}
    patient = pipeline.having(future_tolerance=timedelta(days=3))
    patient.refresh()
    assert pipeline.listed() == set()
    assert figures(pipeline, tenant) == (1, 1)


@pytest.mark.parametrize(
    ("tolerance", "completed_at"),
    [(None, datetime(2150, 1, 1, tzinfo=UTC)), (DAY, datetime.now(UTC) + DAY - HOUR)],
)
def test_a_future_that_is_tolerated_is_believed(
    tolerance: timedelta | None, completed_at: datetime, pipeline: Pipeline
) -> None:
    """`off` accepts any finite completion, as anonymised data has; a clock may be fast by the tolerance."""
    tenant = pipeline.plant_beside_a_neighbour()
    pipeline.plant_job(tenant, completed_at=completed_at)

    pipeline.having(future_tolerance=tolerance).refresh()

    assert pipeline.listed() == set()
    assert figures(pipeline, tenant) == (1, 1)
    assert pipeline.differences() == []


def figures(pipeline: Pipeline, tenant: Tenant) -> tuple[int, int]:
    """How many jobs of the tenant are counted, and how many of them timed."""
    return pipeline.count(tenant), sum(cell["timed_executions"] for cell in pipeline.totals(tenant).values())


def every_row_is_accounted_for(pipeline: Pipeline) -> bool:
    """Whether finished rows of the source = counted + distinct jobs listed as not counted."""
    finished = pipeline.source.execute(
        "SELECT count(*) FROM orchestration.jobs"
        " WHERE deleted_at IS NULL AND status::text NOT IN ('PENDING', 'RUNNING', 'CANCELLED')"
    ).fetchone()[0]
    owners = {key[0] for key in pipeline.cells()}
    counted = sum(pipeline.count(Tenant(owner, (), ())) for owner in owners)
    return finished == counted + len({job for job, _, effect in pipeline.listed() if effect == NOT_COUNTED})


def seen(pipeline: Pipeline, job: UUID) -> tuple[datetime, datetime]:
    """When an anomaly was first and last seen."""
    select = "SELECT first_seen_at, last_seen_at FROM analytics.job_anomalies WHERE job_id = %s"
    return pipeline.select(select, [job])[0]
