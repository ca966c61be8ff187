"""Planting tenants and jobs in a real source, and looking at what a refresh made of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any
from uuid import UUID

import psycopg
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

# An hour that shares its day with other hours, its week with February and its month with other weeks.
NOON = datetime(2024, 1, 31, 12, tzinfo=UTC)
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)

KEY = "organization_id, period, period_start, workflow_id, client_id, initiator_type"

_OF_ONE_OR_ALL = "WHERE %(organization)s::uuid IS NULL OR organization_id = %(organization)s"

# A statement has at most 65,535 values, and a job has some twelve.
_ROWS_OF_A_STATEMENT = 4_000

_ids = (UUID(int=number) for number in count(0xA0000000_0000_4000_8000_000000000000))

Cell = dict[str, Any]
Key = tuple[Any, ...]


@dataclass(frozen=True)
class Tenant:
    """An organization with workflows and clients of its own."""

    organization: UUID
    workflows: tuple[UUID, ...]
    clients: tuple[UUID, ...]


def new_id() -> UUID:
    """An id that nobody else has."""
    return next(_ids)


def plant_tenant(
    source: psycopg.Connection, name: str = "Acme", *, workflows: int = 2, clients: int = 2
) -> Tenant:
    """Insert an organization with named workflows and clients."""
    organization, *owned = (new_id() for _ in range(1 + workflows + clients))
    tenant = Tenant(organization, tuple(owned[:workflows]), tuple(owned[workflows:]))
    insert = "INSERT INTO orchestration.organizations (id, name) VALUES (%s, %s)"
    source.execute(insert, [organization, name])
    for table, ids in (("workflows", tenant.workflows), ("clients", tenant.clients)):
        source.execute(
            f"INSERT INTO orchestration.{table} (id, organization_id, name)"
            " SELECT id, %s, %s || number FROM unnest(%s::uuid[]) WITH ORDINALITY AS new (id, number)",
            [tenant.organization, f"{name} {table[:-1]} ", list(ids)],
        )
    return tenant


def plant_job(source: psycopg.Connection, tenant: Tenant, **columns: Any) -> UUID:
    """Insert a job that completed at noon after a minute, except for the columns given."""
    return plant_jobs(source, tenant, [columns])[0]


def plant_jobs(
    source: psycopg.Connection, tenant: Tenant, many: Sequence[dict[str, Any]]
) -> tuple[UUID, ...]:
    """Insert a job for each dictionary of columns, in one transaction."""
    jobs = [_job(tenant, columns) for columns in many]
    _insert(source, "jobs", jobs)
    return tuple(job["id"] for job in jobs)


def plant_lines(
    source: psycopg.Connection, tenant: Tenant, job_id: UUID, many: Sequence[dict[str, Any]]
) -> list[UUID]:
    """Insert lines of a job's log: INFO, at noon, naming no step, except for the columns given."""
    line = {"organization_id": tenant.organization, "job_id": job_id, "level": "INFO", "timestamp": NOON}
    lines = [line | {"id": new_id(), "sequence": number} | columns for number, columns in enumerate(many)]
    _insert(source, "execution_logs", lines)
    return [line["id"] for line in lines]


def plant_long_jobs(source: psycopg.Connection, tenant: Tenant) -> None:
    """Insert unfinished jobs whose rows are small in the table and together 48 MB on their way.

    That is more than a reader takes at a time, so it can be disturbed while its rows are streamed.
    """
    source.execute(
        "INSERT INTO orchestration.jobs"
        " (id, organization_id, workflow_id, status, created_at, initiator_type)"
        " SELECT gen_random_uuid(), %s, %s, 'PENDING', %s, repeat('𝄞', 500) FROM generate_series(1, 24000)",
        [tenant.organization, tenant.workflows[0], NOON],
    )


def change_job(source: psycopg.Connection, job_id: UUID, **columns: Any) -> None:
    """Change columns of a job, and its `updated_at` as the application would."""
    changed = ", ".join(f"{name} = %({name})s" for name in columns)
    change = f"UPDATE orchestration.jobs SET {changed}, updated_at = now() WHERE id = %(job_id)s"
    source.execute(change, {**columns, "job_id": job_id})


def live_in(source: psycopg.Connection, tenant: Tenant, zone: str | None) -> None:
    """Move an organization to another time zone."""
    values = [zone, tenant.organization]
    source.execute("UPDATE orchestration.organizations SET time_zone = %s WHERE id = %s", values)


def without_constraints(source: psycopg.Connection) -> None:
    """Make the source as loose as one that we did not migrate: no foreign keys, no checks, more statuses."""
    constraints = source.execute(
        "SELECT conrelid::regclass::text, conname FROM pg_constraint"
        " WHERE connamespace = 'orchestration'::regnamespace AND contype IN ('c', 'f') AND conislocal"
    ).fetchall()
    for table, name in constraints:
        source.execute(f"ALTER TABLE {table} DROP CONSTRAINT {name}")
    source.execute("ALTER TYPE orchestration.job_status ADD VALUE IF NOT EXISTS 'ARCHIVED'")


def plant_watermark(
    analytics: psycopg.Connection, organization: UUID, table_id: UUID, version: int, zone: str = "UTC"
) -> None:
    """Record that the cells of an organization in this zone show a version of a table of facts."""
    analytics.execute(
        "INSERT INTO analytics.watermarks (subject, organization_id, swept_at, complete_through,"
        " extracted_at, facts_table_id, published_version, published_at, definition_version, time_zone,"
        " zone_offsets) VALUES ('jobs', %s, now(), now(), now(), %s, %s, now(), 1, %s, '')"
        " ON CONFLICT (subject, organization_id) DO UPDATE"
        " SET facts_table_id = excluded.facts_table_id, published_version = excluded.published_version",
        [organization, table_id, version, zone],
    )


def cells(analytics: psycopg.Connection, organization: UUID | None = None) -> dict[Key, Cell]:
    """The stored cells, by the six columns of their key."""
    with analytics.cursor(row_factory=dict_row) as cursor:
        select = f"SELECT * FROM analytics.aggregate_metrics {_OF_ONE_OR_ALL}"
        rows = cursor.execute(select, {"organization": organization})
        return {tuple(row.pop(name) for name in KEY.split(", ")): row for row in rows}


def row_versions(analytics: psycopg.Connection, organization: UUID | None = None) -> dict[Key, Key]:
    """Which version of each row is stored: writing a row anew changes it, even with the same values."""
    select = f"SELECT {KEY}, xmin::text, ctid::text, computed_at FROM analytics.aggregate_metrics"
    rows = analytics.execute(f"{select} {_OF_ONE_OR_ALL}", {"organization": organization})
    return {row[:6]: row[6:] for row in rows}


def listed(analytics: psycopg.Connection, organization: UUID | None = None) -> set[tuple[UUID, str, str]]:
    """The listed anomalies: job, reason and effect."""
    select = f"SELECT job_id, reason, effect FROM analytics.job_anomalies {_OF_ONE_OR_ALL}"
    return set(analytics.execute(select, {"organization": organization}))


def _insert(source: psycopg.Connection, table: str, rows: Sequence[dict[str, Any]]) -> None:
    """Insert rows in one transaction and few statements; a column that a row lacks has its default."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    with source.transaction():
        for first in range(0, len(rows), _ROWS_OF_A_STATEMENT):
            chunk = rows[first : first + _ROWS_OF_A_STATEMENT]
            marks = (["%s" if name in row else "DEFAULT" for name in columns] for row in chunk)
            values = ", ".join(f"({', '.join(row)})" for row in marks)
            insert = f"INSERT INTO orchestration.{table} ({', '.join(columns)}) VALUES {values}"
            source.execute(insert, [row[name] for row in chunk for name in columns if name in row])


def _job(tenant: Tenant, columns: dict[str, Any]) -> dict[str, Any]:
    completed_at = columns.get("completed_at", NOON)
    fitting = completed_at if isinstance(completed_at, datetime) else NOON
    job = {
        "id": new_id(),
        "organization_id": tenant.organization,
        "workflow_id": tenant.workflows[0],
        "client_id": tenant.clients[0] if tenant.clients else None,
        "initiator_type": "USER",
        "status": "COMPLETED",
        "result": Jsonb({"patient": "private"}),
        "created_at": fitting - 2 * MINUTE,
        "started_at": fitting - MINUTE,
        "completed_at": fitting,
        "updated_at": fitting,
    }
    return job | columns
