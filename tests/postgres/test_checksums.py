"""Checksums count the rows that count, by the very rules and hashes that judge them when they are read."""

from collections import defaultdict
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from itertools import product
from typing import Any
from uuid import UUID

import polars as pl
import pytest
from psycopg import Connection
from psycopg.types.json import Jsonb

from pipelines.extract.validation import with_verdict
from pipelines.source.selections import Swept
from pipelines.source.snapshot import SourceSnapshot, open_source
from tests.support.pipeline import Pipeline
from tests.support.planting import (
    DAY,
    HOUR,
    MINUTE,
    NOON,
    Tenant,
    new_id,
    plant_job,
    plant_jobs,
    plant_tenant,
    without_constraints,
)

pytestmark = pytest.mark.every_postgres

MICROSECOND = timedelta(microseconds=1)
EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)
NIL, MAX = UUID(int=0), UUID(int=2**128 - 1)

EVERY_TIME = ("created_at", "started_at", "completed_at", "updated_at")
UNREADABLE = (
    "infinity",
    "-infinity",
    "0044-03-15 12:00Z BC",
    "0001-12-31 23:59:59.999999Z BC",
    "10000-01-01 00:00Z",
)

# What is written into a good job to make it one that does not count, or one that only just does.
NOT_COUNTED: list[dict[str, Any]] = [
    {"status": "PENDING", "started_at": None, "completed_at": None},
    {"status": "RUNNING", "completed_at": None},
    {"status": "CANCELLED"},
    {"status": "ARCHIVED"},
    {"deleted_at": NOON},
    {"deleted_at": "infinity"},
    {"deleted_at": "-infinity"},
    {"started_at": None},
    {"completed_at": None},
    {"started_at": None, "completed_at": None},
    *({name: value} for name, value in product(EVERY_TIME, UNREADABLE)),
    {"started_at": "1999-12-31 23:59Z", "completed_at": "1999-12-31 23:59:59.999999Z"},
    {"workflow_id": NIL},
    {"workflow_id": MAX},
    {"client_id": NIL},
    {"client_id": MAX},
    {"initiator_type": "all"},
]
COUNTED: list[dict[str, Any]] = [
    {},
    {"status": "FAILED"},
    {"client_id": None, "initiator_type": None},
    {"initiator_type": "unknown"},
    {"initiator_type": "ALL"},
    {"started_at": NOON + HOUR},
    {"started_at": NOON},
    {"started_at": "0001-01-01 00:00Z", "created_at": "0001-01-01 00:00Z", "updated_at": "0001-01-01 00:00Z"},
    {"started_at": "9999-12-31 23:59:59.999999Z"},
    {"created_at": "9999-12-31 23:59:59.999999Z", "updated_at": "9999-12-31 23:59:59.999999Z"},
    {"completed_at": EARLIEST},
    {"workflow_id": UUID(int=5), "client_id": UUID(int=6)},
]

# Created around the ends of a day, and each completed within the hour.
TIMES = [NOON + days * DAY - HOUR * 12 + ends for days in (-1, 0, 1, 40) for ends in (-MICROSECOND, 0 * HOUR)]


@pytest.fixture
def tenants(source: Connection) -> list[Tenant]:
    """Three organizations, one of them with a reserved id, and jobs of every kind that counts or does not."""
    without_constraints(source)
    source.execute("INSERT INTO orchestration.organizations (id, name) VALUES (%s, 'Nil')", [NIL])
    one, other = plant_tenant(source), plant_tenant(source, "Neighbour")
    nil = Tenant(NIL, (new_id(),), (new_id(),))
    for tenant in (one, other, nil):
        plant_jobs(source, tenant, NOT_COUNTED + COUNTED)
        plant_jobs(source, tenant, [{"completed_at": at + HOUR, "created_at": at} for at in TIMES])
    for tenant, neighbour in ((one, other), (other, one)):
        plant_job(source, tenant, workflow_id=neighbour.workflows[0])
        plant_job(source, tenant, client_id=neighbour.clients[0])
    return [one, other, nil]


@pytest.mark.parametrize("tolerance", [timedelta(days=1), None], ids=["tolerant", "believing"])
@pytest.mark.parametrize(
    "completed",
    [None, (NOON - DAY, NOON), (NOON, NOON + MICROSECOND)],
    ids=["ever", "before noon", "at noon"],
)
def test_checksums_say_what_the_counted_rows_add_up_to(
    tolerance: timedelta | None,
    completed: tuple[datetime, datetime] | None,
    pipeline: Pipeline,
    tenants: list[Tenant],
) -> None:
    """For every kind of row, it counts what the judgement counts; limits leave out what lies outside."""
    for tenant in tenants:
        pipeline.plant_job(tenant, completed_at=datetime.now(UTC) + 2 * DAY)
    one, other, nil = (tenant.organization for tenant in tenants)
    with open_source(pipeline.databases.source_url, pipeline.settings) as snapshot:
        for who, since in product(((), (one,), (other, nil), (new_id(),)), (None, date(2024, 1, 31))):
            found = snapshot.checksums(
                organization_ids=who,
                created_since=since,
                completed=completed,
                earliest=EARLIEST,
                tolerance=tolerance,
            )

            def asked_for(row: dict[str, Any], who: Any = who, since: Any = since) -> bool:
                mine = not who or UUID(bytes=row["organization_id"]) in who
                recent = since is None or row["created_at"].date() >= since
                within = completed is None or completed[0] <= row["completed_at"] < completed[1]
                return mine and recent and within

            assert as_sums(found) == sums_of_counted(snapshot, tolerance, asked_for)
            assert found.columns == ["organization_id", "created_date", "rows", "low", "high"]


def test_every_planted_kind_is_on_the_side_it_should_be(pipeline: Pipeline, tenants: list[Tenant]) -> None:
    """The rows above are what they are said to be: some count and some do not, in each organization."""
    with open_source(pipeline.databases.source_url, pipeline.settings) as snapshot:
        found = snapshot.checksums(earliest=EARLIEST, tolerance=timedelta(days=1))

    counted = dict(found.group_by("organization_id").agg(pl.col("rows").sum()).iter_rows())
    assert counted == {
        tenant.organization.bytes: len(COUNTED) + len(TIMES)
        for tenant in tenants
        if tenant.organization != NIL
    }
    days = set(found.filter(pl.col("organization_id") == tenants[0].organization.bytes)["created_date"])
    assert {at.date() for at in TIMES} <= days


@pytest.mark.parametrize(("past", "counted"), [(0 * HOUR, 1), (MICROSECOND, 0)])
def test_the_future_begins_a_microsecond_after_the_tolerance(
    past: timedelta, counted: int, pipeline: Pipeline
) -> None:
    """The clock of the snapshot decides, to the microsecond, as it does for rows."""
    tenant = pipeline.plant_beside_a_neighbour()
    due = datetime.now(UTC) + 3 * DAY
    pipeline.plant_job(tenant, completed_at=due)

    with open_source(pipeline.databases.source_url, pipeline.settings) as snapshot:
        tolerance = due - snapshot.moment.extracted_at - past
        found = snapshot.checksums(
            organization_ids=[tenant.organization], earliest=EARLIEST, tolerance=tolerance
        )
        rows = sums_of_counted(
            snapshot, tolerance, lambda row: row["organization_id"] == tenant.organization.bytes
        )

    assert found["rows"].sum() == counted
    assert as_sums(found) == rows


@pytest.mark.parametrize(
    "change",
    [
        {"status": "FAILED"},
        {"initiator_type": "API"},
        {"initiator_type": None},
        {"client_id": None},
        {"completed_at": NOON + MICROSECOND},
        {"started_at": NOON - MINUTE - MICROSECOND},
        {"created_at": NOON - 2 * MINUTE + MICROSECOND},
        {"deleted_at": NOON},
    ],
    ids=str,
)
def test_whatever_can_move_a_figure_changes_the_checksums(change: dict[str, Any], pipeline: Pipeline) -> None:
    """And changed back it is what it was; the neighbour's never changes."""
    tenant, neighbour = pipeline.plant_tenant(), pipeline.plant_tenant("Neighbour")
    pipeline.plant_jobs(tenant, [{}, {}])
    pipeline.plant_job(neighbour)
    job = pipeline.plant_job(tenant)
    before = checksums(pipeline)
    values = pipeline.source.execute(
        f"SELECT {', '.join(change)} FROM orchestration.jobs WHERE id = %s", [job]
    ).fetchone()

    pipeline.change_job(job, **change)

    changed = checksums(pipeline)
    assert changed != before
    assert of(changed, neighbour) == of(before, neighbour)
    pipeline.change_job(job, **dict(zip(change, values, strict=True)))
    assert checksums(pipeline) == before


def test_what_moves_no_figure_changes_no_checksum(pipeline: Pipeline) -> None:
    """Another payload, a renamed workflow and a row that was only written anew are all the same jobs."""
    tenant = pipeline.plant_beside_a_neighbour()
    job = pipeline.plant_job(tenant)
    before = checksums(pipeline)

    pipeline.change_job(job, result=Jsonb({"other": "payload"}))
    pipeline.source.execute("UPDATE orchestration.workflows SET name = 'renamed', deleted_at = now()")

    assert checksums(pipeline) == before


@pytest.mark.parametrize("table", ["workflows", "clients"])
def test_a_workflow_or_client_that_changes_hands_changes_the_checksums(
    table: str, pipeline: Pipeline
) -> None:
    """Its jobs stop to count although none of them was written."""
    without_constraints(pipeline.source)
    tenant, neighbour = pipeline.plant_tenant(), pipeline.plant_tenant("Neighbour")
    pipeline.plant_job(tenant)
    pipeline.plant_job(tenant, workflow_id=tenant.workflows[1], client_id=tenant.clients[1])
    pipeline.plant_job(neighbour)
    before = checksums(pipeline)
    moved = (tenant.workflows if table == "workflows" else tenant.clients)[0]

    pipeline.source.execute(
        f"UPDATE orchestration.{table} SET organization_id = %s WHERE id = %s",
        [neighbour.organization, moved],
    )

    after = checksums(pipeline)
    assert [sums[0] for sums in of(before, tenant).values()] == [2]
    assert [sums[0] for sums in of(after, tenant).values()] == [1]
    assert of(after, neighbour) == of(before, neighbour)


def test_a_deleted_row_is_missed_whichever_it_was(pipeline: Pipeline) -> None:
    """A row that was deleted for good is seen in the day that it was created on, and only there."""
    tenant, neighbour = pipeline.plant_tenant(), pipeline.plant_tenant("Neighbour")
    pipeline.plant_job(neighbour)
    jobs = [pipeline.plant_job(tenant, created_at=NOON - days * DAY) for days in (0, 0, 1)]
    before = checksums(pipeline)

    pipeline.delete_jobs(jobs[1])

    after = checksums(pipeline)
    differing = {key for key in before if before[key] != after.get(key)}
    assert differing == {(tenant.organization.bytes, NOON.date())}


def test_sums_of_many_hashes_fit(pipeline: Pipeline) -> None:
    """The two sums of a day with thirty thousand jobs are those of its rows, and no number overflows."""
    tenant = pipeline.plant_beside_a_neighbour()
    pipeline.source.execute(
        "INSERT INTO orchestration.jobs (id, organization_id, workflow_id, status,"
        " created_at, started_at, completed_at)"
        " SELECT gen_random_uuid(), %s, %s, 'COMPLETED', %s, %s, %s + n * interval '1 microsecond'"
        " FROM generate_series(1, 30000) AS n",
        [tenant.organization, tenant.workflows[0], NOON, NOON, NOON],
    )

    with open_source(pipeline.databases.source_url, pipeline.settings) as snapshot:
        found = as_sums(snapshot.checksums(earliest=EARLIEST, tolerance=timedelta(days=1)))
        rows = sums_of_counted(snapshot, timedelta(days=1), lambda _: True)

    assert found == rows
    assert found[tenant.organization.bytes, NOON.date()][0] == 30_000


Sums = dict[tuple[bytes, date], tuple[int, int, int]]


def sums_of_counted(
    snapshot: SourceSnapshot, tolerance: timedelta | None, asked_for: Callable[[dict[str, Any]], bool]
) -> Sums:
    """The rows that count and are asked for, added up one by one."""
    sums: dict[tuple[bytes, date], list[int]] = defaultdict(lambda: [0, 0, 0])
    for jobs in snapshot.jobs(Swept({})):
        judged = with_verdict(
            jobs, clock=snapshot.moment.extracted_at, earliest=EARLIEST, tolerance=tolerance
        )
        for row in judged.iter_rows(named=True):
            if row["counts"] and asked_for(row):
                day = sums[row["organization_id"], row["created_at"].date()]
                day[0] += 1
                day[1] += row["row_hash"] % 2**32
                day[2] += row["row_hash"] // 2**32
    return {key: (jobs, low, high) for key, (jobs, low, high) in sums.items()}


def as_sums(found: pl.DataFrame) -> Sums:
    """Checksums, by organization and day."""
    return {(organization, day): tuple(sums) for organization, day, *sums in found.iter_rows()}


def checksums(pipeline: Pipeline) -> Sums:
    """The checksums of everything there is."""
    with open_source(pipeline.databases.source_url, pipeline.settings) as snapshot:
        return as_sums(snapshot.checksums(earliest=EARLIEST, tolerance=timedelta(days=1)))


def of(found: Sums, tenant: Tenant) -> Sums:
    """One organization's days."""
    return {key: sums for key, sums in found.items() if key[0] == tenant.organization.bytes}
